/*
 * Admission: what the server completes in an object, or refuses about it, by looking at other
 * objects and at who asks. It happens while a write is being decided (change.h): what it looks at
 * goes into the plan, so nothing can change in between.
 */
#pragma once

#include "apiserver/change.h"

struct admission {
    struct apiserver *srv;
    const struct route *route;
    const struct user *user; /* NULL: the server itself */
    const char *ns, *name;   /* "" when none */
    struct plan *plan;
};

/* That of a request about one object. Borrows from @r. */
struct admission request_admission(const struct request *r, struct plan *plan);

/* Completes the new @obj, which has been decoded but not defaulted. VERDICT_WRITE: go on;
 * VERDICT_REFUSE and VERDICT_LATER with a new *status. */
enum verdict admit_create(const struct admission *a, json_t *obj, json_t **status);

/* Refuses what may not be written: @obj is complete, @old (with its resourceVersion) what is
 * stored.
 * @old NULL: a creation; @obj NULL: a deletion, or what @subresource (eviction) comes to. Verdicts
 * as above. */
enum verdict admit_write(const struct admission *a, const char *subresource, const json_t *obj,
                         const json_t *old, json_t **status);
/* What a kubelet may not have a token for. @pod: what it is bound to, NULL when that is no pod.
 * NULL or a new Status. */
json_t *admit_node_token(const struct admission *a, const json_t *request, const json_t *pod);

/* ---- parts ---- */

/* A pod acts as an account: that must exist, and gives the pod a token and secrets to pull with. */
enum verdict admit_pod_account(const struct admission *a, json_t *pod, json_t **status);
/* The classes that a pod names, or gets. */
enum verdict admit_pod_priority(const struct admission *a, json_t *pod, json_t **status);
enum verdict admit_pod_runtime(const struct admission *a, json_t *pod, json_t **status);
/* Persistent volumes and claims. */
enum verdict admit_volume(const struct admission *a, json_t *obj, json_t **status);
enum verdict admit_claim(const struct admission *a, json_t *obj, json_t **status);
enum verdict admit_claim_write(const struct admission *a, const json_t *obj, const json_t *old,
                               json_t **status);
/* Who may write roles and bindings. */
enum verdict admit_role(const struct admission *a, const json_t *obj, const json_t *old,
                        json_t **status);
enum verdict admit_binding(const struct admission *a, const json_t *obj, const json_t *old,
                           json_t **status);
/* Certificate signing requests: who asks; who approves and signs. */
enum verdict admit_csr(const struct admission *a, json_t *obj, json_t **status);
enum verdict admit_csr_write(const struct admission *a, const char *subresource, const json_t *obj,
                             const json_t *old, json_t **status);
/* What kubelets may write. */
enum verdict admit_node_write(const struct admission *a, const char *subresource, const json_t *obj,
                              const json_t *old, json_t **status);
