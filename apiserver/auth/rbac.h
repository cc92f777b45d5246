/*
 * Role-based access control: an index over the roles and bindings in the watch cache, kept up to
 * date by its events. A question looks up the user and each of the groups, and walks the rules of
 * the roles that are bound to them; nothing is allocated.
 */
#pragma once

#include "apiserver/auth/access.h"
#include "apiserver/auth/rules.h"

struct apiserver;
struct rbac;

struct rbac *rbac_new(struct apiserver *srv);
struct rbac *rbac_free(struct rbac *rbac); /* returns NULL */
/* The watch cache has a (new) state: builds the index. */
void rbac_load(struct rbac *rbac);

/* Whether some rule allows it. @reason (may be NULL): which one, or what is wrong with the bindings
 * that might have. */
bool rbac_allows(const struct rbac *rbac, const struct access *a, struct strbuf *reason);

/* The rules of the role stored under @key, borrowed until the loop turns; NULL when there is none.
 */
const struct rules *rbac_rules_at(const struct rbac *rbac, const char *key);

/* Rules that hold for @user in @ns ("": those of the whole cluster only), borrowed until the loop
 * turns. The caller frees *ret. */
size_t rbac_rules_of(const struct rbac *rbac, const struct user *user, const char *ns,
                     const struct rule ***ret);
