/* What the files of the etcd back end share. */
#pragma once

#include "apiserver/store/store_etcd.h"
#include "base/strbuf.h"
#include "etcd-client/etcd.h"

struct etcd_store {
    struct store base;
    struct etcd *etcd;
    struct list requests;

    /* leases (store_etcd_lease.c) */
    struct list leases;

    /* the watch that all watches share (store_etcd_watch.c) */
    struct etcd_watch *shared;
    int64_t seen; /* everything up to this revision was delivered; 0: not known yet */
    struct list watches;
    unsigned delivering;         /* nesting of callbacks: nothing is freed meanwhile */
    struct loop_deferred answer; /* to store_watch_progress() */

    /* compaction */
    uint64_t compact_interval_ms;
    struct loop_timer compact_timer;
    struct etcd_call *compacting;
    int64_t compact_time; /* version of the key that servers agree through */
    int64_t compact_next; /* revision to compact at the next turn */
};

static inline struct etcd_store *etcd_store_of(struct store *store)
{
    return CONTAINER_OF(store, struct etcd_store, base);
}

/* The result of the store for one of the etcd client. */
int etcd_store_code(int code);

/* Pairs with NUL-terminated keys. */
struct kv_block {
    struct store_kv *kvs;
    char *keys;
};
/* Converts @n pairs. Values are not copied. -ENOMEM, or -EBADMSG for a key that holds a NUL byte.
 */
int kv_block_make(struct kv_block *block, const struct etcd_kv *const *pairs, size_t n,
                  struct error *err);
void kv_block_done(struct kv_block *block);

/* ---- leases ---- */
/* Calls @cb, now or later, with a lease that has at least @ttl_s seconds left, or with a code. The
 * handle (NULL when @cb was called already) can be cancelled. */
struct lease_wait;
struct lease_wait *lease_get(struct etcd_store *s, uint64_t ttl_s,
                             void (*cb)(void *arg, int code, const char *message, int64_t lease),
                             void *arg);
void lease_wait_cancel(struct lease_wait *wait);
/* etcd does not have it any more. */
void lease_forget(struct etcd_store *s, int64_t lease);
void leases_done(struct etcd_store *s);

/* ---- watches: the ops ---- */
struct store_watch *etcd_store_watch(struct store *store, const char *prefix, int64_t revision,
                                     const struct store_watch_events *events, void *arg);
void etcd_store_watch_progress(struct store_watch *watch);
void etcd_store_watch_pause(struct store_watch *watch, bool paused);
void etcd_store_watch_cancel(struct store_watch *watch);
void etcd_store_watches_init(struct etcd_store *s);
void etcd_store_watches_done(struct etcd_store *s);
extern const struct store_ops etcd_store_ops;
