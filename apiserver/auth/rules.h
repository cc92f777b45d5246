/*
 * The rules of roles (rbac.authorization.k8s.io/v1 PolicyRule): whether one allows a request, and
 * whether some of them allow all that others do. What a star means, alone, before a subresource or
 * at the end of a path, is upstream's.
 */
#pragma once

#include <jansson.h>

#include "apiserver/auth/access.h"
#include "base/strbuf.h"

/* Lists are NULL-terminated; an empty one is NULL. */
struct rule {
    char **verbs, **groups, **resources, **names, **urls;
};
struct rules {
    struct rule *items;
    size_t count;
};

/* From a role's "rules"; what is no text is passed over. */
void role_rules_parse(const json_t *array, struct rules *ret);
void role_rules_done(struct rules *rules);

/* Whether the rule allows @a. @resource is "resource" or "resource/subresource", made once for many
 * rules. */
bool rule_allows(const struct rule *rule, const struct access *a, const char *resource);

/* As a PolicyRule. New reference. */
json_t *rule_json(const struct rule *rule);

/* Pairs of a verb, group, resource and name (or verb and URL) that one rule is taken apart into, at
 * most. */
#define RULE_PARTS_MAX 20000
/* Whether @owned, together, allow everything that @wanted does. What they do not is added to
 * @missing (may be NULL), a line each, in the form that upstream's messages have. -E2BIG when
 * @wanted has more than RULE_PARTS_MAX parts. */
int role_rules_cover(const struct rule *const *owned, size_t n_owned, const struct rules *wanted,
                     struct strbuf *missing);
