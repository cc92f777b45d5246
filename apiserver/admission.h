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

/* Completes the new @obj, which has been decoded but not defaulted. VERDICT_WRITE: go on;
 * VERDICT_REFUSE and VERDICT_LATER with a new *status. */
enum verdict admit_create(const struct admission *a, json_t *obj, json_t **status);

/* ---- parts ---- */

/* A pod acts as an account: that must exist, and gives the pod a token and secrets to pull with. */
enum verdict admit_pod_account(const struct admission *a, json_t *pod, json_t **status);
