/* What a person names on the command line: "pods", "po web", "deployment/hello", "svc,ep". */
#pragma once

#include "cli/session.h"
#include "kube/schema.h"

struct target {
    const struct schema_resource *resource;
    const char *name; /* NULL: all of the kind */
};
struct targets {
    struct target *items;
    size_t count;
};

/* Words after the verb: "KIND[,KIND] [NAME…]" or "KIND/NAME …". -EINVAL names what is unknown.
 * Names are borrowed from @words, which may be written to. */
int targets_parse(const struct schema_registry *registry, int n, char **words, struct targets *ret,
                  struct error *err);
void targets_done(struct targets *t);

/* The path of a target in @ns (NULL: everywhere). The caller frees. */
char *target_path(const struct target *t, const char *ns);

/* The pod behind a word as `logs` and `exec` take it: "web", "pod/web", or "deployment/hello",
 * "rs/x", "svc/y": the first running pod that the selector matches. *ret_pod: name, the caller
 * frees. */
int target_find_pod(struct session *s, const struct schema_registry *registry, char *word,
                    char **ret_pod, struct error *err);
