/*
 * The store behind the API server: keys and values with one revision counter over all of them, as
 * etcd v3 has it. Every call completes by callback on the loop, always later than the call; the
 * back end is a const table of functions (store_etcd.h makes one over etcd).
 *
 * Keys are absolute upstream names ("/registry/pods/default/web"). Nothing outside the prefix the
 * store was opened with ("/registry") can be read or written: such a key gives -EINVAL.
 *
 * Values are complete objects in JSON. The store hands out whatever bytes are there; before it uses
 * a value the registry calls store_value_check(), which refuses upstream's protobuf form with an
 * error naming the key.
 *
 * Results are 0, a positive STORE_E_… that callers must expect, or -errno with text in @err:
 * -ECONNREFUSED (back end unreachable, nothing was written), -ECONNRESET and -ETIMEDOUT (a write
 * may or may not have happened), -EAGAIN (no leader: try later), -EINVAL, -EMSGSIZE (value larger
 * than STORE_VALUE_MAX), -ERANGE (revision in the future), -EACCES/-EPERM (credentials refused),
 * -ENOSPC (store full), -EIO.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"

enum {
    STORE_E_CONFLICT = 1,  /* exists, but not at the expected revision (or a compare failed) */
    STORE_E_EXISTS = 2,    /* create: the key is there already */
    STORE_E_NOT_FOUND = 3, /* update, delete, get: no such key */
    STORE_E_COMPACTED = 4, /* the revision asked for is gone: list again */
};

/* The largest value (upstream's limit for a request is 1.5 MB). */
#define STORE_VALUE_MAX (1536u << 10)
/* Operations and compares of one transaction. */
#define STORE_TXN_MAX 128

struct store;
struct store_request; /* one call under way */
struct store_watch;

struct store_kv {
    const char *key;
    const void *value; /* not NUL-terminated; NULL when empty or keys_only */
    size_t len;
    int64_t mod_revision;    /* of its last write: the object's resourceVersion */
    int64_t create_revision; /* of its creation */
};

/* ---- reading ---- */
struct store_range {
    const char *key;  /* the one key, or with @prefix every key that starts with it */
    bool prefix;      /* end it with '/' so that "/registry/pods/a" does not match "…/ab" */
    const char *from; /* with prefix: the first key to return (continue); NULL: from the start */
    int64_t revision; /* read at this revision; 0: the newest. In the future: -ERANGE */
    size_t limit;     /* at most so many; 0: all that fit (a prefix should be paged) */
    bool keys_only, count_only;
};
struct store_range_result {
    const struct store_kv *kvs; /* in key order; valid during the callback */
    size_t n;
    bool more;        /* keys follow beyond the limit */
    int64_t count;    /* keys in the whole range from @from on, at that revision */
    int64_t revision; /* the store's revision when it answered (the list's resourceVersion when
                       * range.revision was 0) */
};
/* @result is NULL unless @code is 0. A single key that is not there is STORE_E_NOT_FOUND, with a
 * @result of n = 0 that holds the revision. */
typedef void store_range_fn(void *arg, int code, const struct store_range_result *result,
                            const struct error *err);

/* Reads. The strings are copied. The handle is valid until @cb; never NULL. */
struct store_request *store_range(struct store *store, const struct store_range *range,
                                  store_range_fn *cb, void *arg);

/* Reads a whole prefix in pages of @page keys at one revision; @cb is called for each page, the
 * last one with more == false (or with a code other than 0). result->revision is that of the first
 * page in all of them. */
struct store_request *store_list(struct store *store, const struct store_range *range, size_t page,
                                 store_range_fn *cb, void *arg);

/* ---- writing ---- */
enum store_compare {
    STORE_ABSENT,       /* the key does not exist */
    STORE_PRESENT,      /* it exists */
    STORE_AT_REVISION,  /* its mod_revision is @revision */
    STORE_NOT_MODIFIED, /* absent, or its mod_revision is at most @revision */
};
struct store_guard {
    const char *key;
    enum store_compare compare;
    int64_t revision;
};
enum store_action { STORE_PUT, STORE_DELETE };
struct store_op {
    enum store_action action;
    const char *key;
    const void *value; /* STORE_PUT */
    size_t len;
    uint64_t ttl_s; /* STORE_PUT: gone after about so many seconds (leases are shared, it may live
                     * a few percent longer); 0: stays */
};
/* All of @guards hold → all of @ops are done at one revision. */
struct store_txn {
    const struct store_guard *guards;
    size_t n_guards;
    const struct store_op *ops;
    size_t n_ops;
};
struct store_txn_result {
    int64_t revision; /* of the write when it succeeded, else of the store */
    /* Done: for each op the pair before it (key NULL when there was none).
     * STORE_E_CONFLICT: for each guard the pair that is there now (key NULL when absent).
     * Valid during the callback. */
    const struct store_kv *kvs;
    size_t n;
};
/* @result is NULL when @code is negative. */
typedef void store_txn_fn(void *arg, int code, const struct store_txn_result *result,
                          const struct error *err);

/* Everything in @txn is copied. The code is 0, STORE_E_CONFLICT or -errno. */
struct store_request *store_txn(struct store *store, const struct store_txn *txn, store_txn_fn *cb,
                                void *arg);

/* The three of the registry, in terms of store_txn(); the result has one pair: what was there
 * before (update, delete), or what is there instead (STORE_E_EXISTS, STORE_E_CONFLICT). */
/* Code 0 or STORE_E_EXISTS. */
struct store_request *store_create(struct store *store, const char *key, const void *value,
                                   size_t len, uint64_t ttl_s, store_txn_fn *cb, void *arg);
/* Replaces the value if its mod_revision is @revision. 0, STORE_E_CONFLICT, STORE_E_NOT_FOUND. */
struct store_request *store_update(struct store *store, const char *key, int64_t revision,
                                   const void *value, size_t len, uint64_t ttl_s, store_txn_fn *cb,
                                   void *arg);
/* Deletes if mod_revision is @revision (0: whichever). 0, STORE_E_CONFLICT, STORE_E_NOT_FOUND. */
struct store_request *store_delete(struct store *store, const char *key, int64_t revision,
                                   store_txn_fn *cb, void *arg);

/* Gives a call up: its callback is not called; a write may still happen. NULL is harmless. */
void store_cancel(struct store_request *request);

/* ---- watching ---- */
struct store_event {
    bool deleted;
    struct store_kv kv;   /* deleted: key and mod_revision of the deletion only */
    struct store_kv prev; /* before it; key NULL when created, or when that was compacted */
};
struct store_watch_events {
    /* Changes in order of revision; all changes of one revision come in one call. @revision is
     * that of the last one. */
    void (*on_events)(void *arg, const struct store_event *events, size_t n, int64_t revision);
    /* Everything up to @revision was delivered (for bookmarks): after store_watch_progress(), and
     * now and then when it is quiet. May be NULL. */
    void (*on_progress)(void *arg, int64_t revision);
    /* Over: STORE_E_COMPACTED (list again, and watch from there) or -errno for what a retry cannot
     * mend (-EPERM, -EINVAL). A broken connection does not end a watch: it resumes by itself where
     * it stood, losing and repeating nothing. The handle is invalid after. */
    void (*on_end)(void *arg, int code, const struct error *err);
};
/* Watches every key that starts with @prefix for changes after @revision (a list's revision), 0:
 * from now on. Never NULL. */
struct store_watch *store_watch(struct store *store, const char *prefix, int64_t revision,
                                const struct store_watch_events *events, void *arg);
/* Asks for an on_progress soon. */
void store_watch_progress(struct store_watch *watch);
/* Back pressure: no more events are delivered while paused. */
void store_watch_pause(struct store_watch *watch, bool paused);
/* Ends it without on_end. Allowed inside its callbacks. NULL is harmless. */
void store_watch_cancel(struct store_watch *watch);

/* ---- upkeep ---- */
typedef void store_revision_fn(void *arg, int code, int64_t revision, const struct error *err);
/* Forgets history before @revision: watches and reads from there on get STORE_E_COMPACTED. A
 * revision that was compacted before is 0 too. */
struct store_request *store_compact(struct store *store, int64_t revision, store_revision_fn *cb,
                                    void *arg);
/* The newest revision: also says whether the store answers (health). */
struct store_request *store_revision(struct store *store, store_revision_fn *cb, void *arg);

/* Cancels everything and closes. NULL is harmless. */
struct store *store_free(struct store *store);
DEFINE_CLEANUP(struct store *, store_free);

/* 0, or -EBADMSG with an error naming the key when the value is in a form we do not read:
 * upstream's protobuf ("k8s\0…") or an encrypted envelope ("k8s:enc:…"). */
int store_value_check(const struct store_kv *kv, struct error *err);

/* ---- for back ends ---- */
/* A back end embeds these as first members and fills ops. */
struct store_request {
    const struct store_ops *ops;
};
struct store_watch {
    const struct store_ops *ops;
};
struct store {
    const struct store_ops *ops;
    struct loop *loop;
    char *prefix; /* owned; "/registry/" */
};
/* The functions behind the calls above; store.c has checked keys, sizes and numbers before it calls
 * them, and makes store_list(), _create(), _update() and _delete() of them. */
struct store_ops {
    const char *name;
    struct store_request *(*range)(struct store *, const struct store_range *, store_range_fn *,
                                   void *);
    struct store_request *(*txn)(struct store *, const struct store_txn *, store_txn_fn *, void *);
    struct store_request *(*compact)(struct store *, int64_t, store_revision_fn *, void *);
    struct store_request *(*revision)(struct store *, store_revision_fn *, void *);
    void (*cancel)(struct store_request *);
    struct store_watch *(*watch)(struct store *, const char *, int64_t,
                                 const struct store_watch_events *, void *);
    void (*watch_progress)(struct store_watch *);
    void (*watch_pause)(struct store_watch *, bool);
    void (*watch_cancel)(struct store_watch *);
    void (*free)(struct store *);
};
