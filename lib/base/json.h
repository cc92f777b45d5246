/*
 * JSON through jansson, with the limits and the exactness the project needs: duplicate keys are
 * refused, depth and size are bounded, reals are written in their shortest round-trip form (jansson
 * turns 0.1 into 0.10000000000000001), key order is kept.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

#define _cleanup_json_ _cleanup_(json_decrefp_)
static inline void json_decrefp_(json_t **j)
{
    json_decref(*j);
}

/* Parses one value. Depth is bounded by jansson's limit (2048), size by the caller. Returns NULL
 * and sets @err ("line 3, column 7: …") for anything malformed. */
json_t *json_parse(const char *data, size_t len, struct error *err);
/* Reads and parses a file of at most @limit bytes. */
json_t *json_parse_file(const char *path, size_t limit, struct error *err);

/* Appends the compact encoding of @j. */
void json_encode(const json_t *j, struct strbuf *out);
/* As json_encode(), indented with @indent spaces a level. */
void json_encode_pretty(const json_t *j, int indent, struct strbuf *out);

/* Lookups that tolerate NULL and wrong types. Paths are dotted keys: "metadata.name" (a key that
 * itself holds a dot is out of reach of a path). Borrowed references. */
const json_t *json_path(const json_t *j, const char *path);
const char *json_path_string(const json_t *j, const char *path); /* NULL when not a string */
int64_t json_path_int(const json_t *j, const char *path, int64_t fallback);
bool json_path_bool(const json_t *j, const char *path, bool fallback);

/* Sets @value (stolen) at a dotted path, making the objects on the way. 0, or -EINVAL when
 * something on the way is not an object. */
int json_path_set(json_t *j, const char *path, json_t *value);

/* A JSON string; NULL gives JSON null. Invalid UTF-8 is replaced, never refused. New reference. */
json_t *json_text(const char *s);
