/*
 * A write being put together: the guards and operations of one transaction, and what earlier
 * attempts at it have taught.
 *
 * Whatever a write depends on (its object, its namespace, the range of node ports) goes in as a
 * guard at the revision that is believed to be current. When the store refuses, it returns what is
 * there instead; the plan keeps that, and the next attempt starts from it. So nothing needs to be
 * read first, and two servers on one store cannot step on each other.
 */
#pragma once

#include "apiserver/store/store.h"
#include "base/map.h"

/* What the last refused attempt found under a key. */
struct learned {
    int64_t revision; /* 0: there is nothing */
    size_t len;
    char value[]; /* NUL-terminated */
};

struct plan {
    struct store_guard guards[STORE_TXN_MAX]; /* keys owned */
    size_t n_guards;
    struct store_op ops[STORE_TXN_MAX]; /* keys and values owned */
    size_t n_ops;
    struct map learned; /* key → struct learned */
};

void plan_init(struct plan *plan);
void plan_done(struct plan *plan);
/* Drops guards and operations; what was learned stays. */
void plan_reset(struct plan *plan);
/* Drops the operations: what is left checks the guards. */
void plan_drop_ops(struct plan *plan);
/* Drops what was learned. */
void plan_forget(struct plan *plan);

/* Each aborts beyond STORE_TXN_MAX: the callers add a bounded number. */
void plan_guard(struct plan *plan, const char *key, enum store_compare compare, int64_t revision);
/* @value is copied. */
void plan_put(struct plan *plan, const char *key, const void *value, size_t len, uint64_t ttl_s);
void plan_delete(struct plan *plan, const char *key);
bool plan_has_room(const struct plan *plan, size_t more);

/* NULL when nothing is known of @key from an earlier attempt. */
const struct learned *plan_learned(const struct plan *plan, const char *key);
/* Notes what a refused transaction found. */
void plan_learn(struct plan *plan, const struct store_txn_result *result);
/* The value that was put under @key, NULL when none. */
const struct store_op *plan_op(const struct plan *plan, const char *key);

struct store_request *plan_submit(struct plan *plan, struct store *store, store_txn_fn *cb,
                                  void *arg);
