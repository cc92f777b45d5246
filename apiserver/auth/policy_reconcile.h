/*
 * Brings the built-in roles and bindings (policy.h) into the store, at each start: what is missing
 * is made, rules and subjects that are missing are added. What somebody has added stays, and an
 * object that is annotated rbac.authorization.kubernetes.io/autoupdate: "false" is left alone.
 */
#pragma once

#include "apiserver/server.h"

struct policy_reconcile;
/* @code: 0 or -errno. */
typedef void policy_reconcile_fn(void *arg, int code, const struct error *err);

/* The watch cache must be loaded. @done is called once, later; the handle is valid until then. */
struct policy_reconcile *policy_reconcile(struct apiserver *srv, policy_reconcile_fn *done,
                                          void *arg);
struct policy_reconcile *policy_reconcile_cancel(struct policy_reconcile *p); /* returns NULL */

/* ---- parts, for tests ---- */

/* What should be stored in place of @old (NULL: nothing is there) for @wanted of policy_objects().
 * New reference; NULL when @old may stay as it is. */
json_t *policy_merge(const json_t *wanted, const json_t *old);
