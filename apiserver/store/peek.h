/*
 * Other objects that a write depends on: its namespace, a pod's account. What is known of one goes
 * into the plan as a guard, so that the write happens only if it still holds.
 */
#pragma once

#include "apiserver/store/plan.h"
#include "apiserver/server.h"

struct peeked {
    bool known;   /* else the store says with the next attempt: peek_guard() makes this one fail */
    bool fresh;   /* from the store, not from the cache */
    json_t *tree; /* NULL: there is none (or it is not known); owned */
    int64_t revision;
};
void peeked_done(struct peeked *p);

struct peeked peek(struct apiserver *srv, const struct plan *plan, const char *key);
/* The write depends on what was peeked at. */
void peek_guard(struct plan *plan, const char *key, const struct peeked *p);
/* What was peeked at is too old to be believed: asks the store. */
void peek_again(struct plan *plan, const char *key);
