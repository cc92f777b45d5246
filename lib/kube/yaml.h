/*
 * YAML as Kubernetes reads it: documents become JSON trees. Scalars follow YAML 1.1 (0644 is 420,
 * on and yes are booleans), anchors and merge keys are expanded within a bound, duplicate keys are
 * refused. JSON is YAML, so a JSON manifest is read too.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

#define YAML_MAX_NODES 500000 /* of all documents, after expansion of aliases */
#define YAML_MAX_DEPTH 200

struct yaml_document {
    json_t *value; /* owned */
    int number;    /* from 1, counting empty ones */
    int line;      /* where it starts, from 1 */
};
struct yaml_documents {
    struct yaml_document *items;
    size_t count; /* empty documents are left out */
};
void yaml_documents_done(struct yaml_documents *docs);

/* Every document of @data. 0, or -EINVAL ("document 2, line 7: …"); nothing is returned then. */
int yaml_parse(const char *data, size_t len, struct yaml_documents *ret, struct error *err);
/* Exactly one document, else NULL and @err. New reference. */
json_t *yaml_parse_one(const char *data, size_t len, struct error *err);

/* Appends @value as block-style YAML with sorted keys, as `kubectl get -o yaml` prints. */
void yaml_write(const json_t *value, struct strbuf *out);

/* Whether a scalar without quotes is read as a string, not a number, boolean or null. */
bool yaml_plain_is_string(const char *text);
