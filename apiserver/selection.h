/* Which objects a list, a watch or a collection's deletion is about: namespace and selectors. */
#pragma once

#include "apiserver/server.h"
#include "kube/selector.h"

struct selection {
    char *prefix; /* of the keys; a whole key when @exact */
    bool exact;   /* metadata.name=… or a name in the path: at most that one object */
    struct selector *labels;
    struct field_selector *fields;
    bool everything; /* no selector */
};
/* From the path and the query. 0, or -EINVAL and a Status (400) in *ret_status. */
int selection_parse(struct selection *s, const struct request *r, json_t **ret_status);
void selection_done(struct selection *s);
/* Whether the selectors match. */
bool selection_matches(const struct selection *s, struct encoded *e,
                       const struct schema_resource *res);
/* Whether @key lies in the namespace (or is the object) that was asked for. */
bool selection_covers(const struct selection *s, const char *key);
