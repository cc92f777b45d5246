/*
 * etcd v3 client library in C, asynchronous, over gRPC.
 *
 * It can be used alone: this header needs nothing but the C library, and the pkg-config module
 * coracle-etcd names what to link. A program that has no event loop of its own calls etcd_open(),
 * makes calls, and gives the thread to etcd_run(); examples/watch.c is one. Inside a program with a
 * loop of lib/base and a gRPC context of lib/net, etcd_new() joins them.
 *
 * Rules that hold for every call:
 *   - It returns at once with a handle; its callback comes exactly once, always later than the call
 *     and on the loop's thread, unless the handle was cancelled. The handle is invalid after
 * either.
 *   - What is passed in is copied or encoded before the call returns. What a callback gets is valid
 *     during the callback.
 *   - Keys and values are bytes, not strings. ETCD_STR("text") makes bytes of a string.
 *   - @deadline_ms is counted from the call, over all attempts; 0: the default of the options.
 *
 * Several endpoints are members of one cluster: a call that certainly did not reach a member is
 * made at the next one until its deadline; a read is repeated also when an answer got lost. A write
 * whose answer got lost is reported (-ECONNRESET), never repeated.
 *
 * Codes that callbacks get: 0, a positive ETCD_E_…, or -errno:
 *   -ECONNREFUSED no endpoint can be reached     -ECONNRESET  lost: a write may have happened
 *   -ETIMEDOUT    deadline; a write may have happened
 *   -EACCES       permission denied              -EPERM       user or password refused
 *   -EINVAL       etcd refuses the request       -EMSGSIZE    request or answer too large
 *   -ENOSPC       etcd's database is full        -EAGAIN      no leader, too many requests: try
 * later -EIO          anything else; the message says what
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

struct etcd;
struct etcd_call;
struct etcd_watch;
struct etcd_keeper;
struct loop;
struct rpc;

enum {
    ETCD_E_COMPACTED = 1, /* the revision asked for was compacted away */
    ETCD_E_FUTURE = 2,    /* the revision asked for does not exist yet */
    ETCD_E_NOT_FOUND = 3, /* no such lease */
    ETCD_E_EXISTS = 4,    /* lease grant: the ID is in use */
};

struct etcd_bytes {
    const void *data;
    size_t len;
};
#define ETCD_STR(text) ((struct etcd_bytes){(text), strlen(text)})

/* The end of the range of all keys with a prefix: writes at most prefix.len (at least 1) bytes to
 * @out and returns how many. */
size_t etcd_prefix_end(struct etcd_bytes prefix, void *out);

/* ---- opening ---- */
struct etcd_options {
    /* "http://host:port", "https://host:port", "host:port" (TLS if ca_file is given) or
     * "unix:///absolute/path". */
    const char *const *endpoints;
    size_t n_endpoints;
    const char *ca_file, *cert_file, *key_file; /* PEM files, read once; NULL: none */
    const char *server_name;                    /* to check instead of the endpoint's host */
    const char *user, *password;                /* NULL: no authentication */
    uint64_t deadline_ms;                       /* default of calls; 0: 10 s */
    uint32_t keepalive_ms; /* ping a silent connection after so long; 0: 30 s, never on loopback */
};

/* Opens a client with a loop and a thread of its own for etcd_run(). Connects with the first call.
 * NULL when an endpoint or a file is bad, with the reason in @message (cut to @size). */
struct etcd *etcd_open(const struct etcd_options *options, char *message, size_t size);
/* As etcd_open() on the caller's loop and gRPC context; they must outlive the client. */
struct etcd *etcd_new(struct loop *loop, struct rpc *rpc, const struct etcd_options *options,
                      char *message, size_t size);
/* Runs the loop of etcd_open() until etcd_stop(); returns the code given there. */
int etcd_run(struct etcd *etcd);
void etcd_stop(struct etcd *etcd, int code);
/* Cancels everything without callbacks and closes. NULL is harmless. Returns NULL. */
struct etcd *etcd_free(struct etcd *etcd);

/* ---- what is stored, and what answers hold ---- */
struct etcd_kv {
    struct etcd_bytes key, value;
    int64_t create_revision, mod_revision;
    int64_t version; /* number of writes since the creation */
    int64_t lease;   /* 0: none */
};

struct etcd_reply {
    uint64_t cluster_id, member_id;
    int64_t revision; /* of the store when the request was applied */

    /* Range: the pairs. Put and delete with prev: the pairs before. */
    const struct etcd_kv *kvs;
    size_t n;
    bool more;     /* range: there are pairs beyond the limit */
    int64_t count; /* range: pairs in the range, whatever the limit; delete: pairs deleted */

    /* Transaction: whether the compares held, and an answer for each operation. */
    bool succeeded;
    const struct etcd_reply *responses;
    size_t n_responses;

    /* Lease: seconds. */
    int64_t lease, ttl, granted_ttl;

    /* Status. */
    const char *version; /* of the member, "3.4.23" */
    int64_t db_size;     /* bytes */
    uint64_t leader;     /* member ID; 0: none */
};
/* @reply is NULL unless @code is 0. @message is for people, never NULL. */
typedef void etcd_reply_fn(void *arg, int code, const char *message,
                           const struct etcd_reply *reply);

/* Gives a call up. A write may still happen. NULL is harmless. */
void etcd_cancel(struct etcd_call *call);

/* ---- KV ---- */
enum etcd_sort_order { ETCD_UNSORTED, ETCD_ASCENDING, ETCD_DESCENDING };
enum etcd_sort_target { ETCD_BY_KEY, ETCD_BY_VERSION, ETCD_BY_CREATE, ETCD_BY_MOD, ETCD_BY_VALUE };

struct etcd_range {
    struct etcd_bytes key;
    /* Which keys: key alone (default), all with the prefix key, or [key, end). */
    bool prefix;
    struct etcd_bytes end;
    int64_t limit;    /* 0: none */
    int64_t revision; /* 0: the newest */
    enum etcd_sort_order order;
    enum etcd_sort_target target;
    bool keys_only, count_only;
    bool serializable; /* the member answers from what it has: faster, maybe stale */
    int64_t min_mod_revision, max_mod_revision, min_create_revision, max_create_revision;
};
struct etcd_call *etcd_range(struct etcd *etcd, const struct etcd_range *range,
                             uint64_t deadline_ms, etcd_reply_fn *cb, void *arg);

struct etcd_put {
    struct etcd_bytes key, value;
    int64_t lease;
    bool prev;         /* answer with the pair before */
    bool ignore_value; /* keep the value, change the lease; the key must exist */
    bool ignore_lease; /* keep the lease, change the value; the key must exist */
};
struct etcd_call *etcd_put(struct etcd *etcd, const struct etcd_put *put, uint64_t deadline_ms,
                           etcd_reply_fn *cb, void *arg);

struct etcd_delete {
    struct etcd_bytes key, end; /* as in etcd_range */
    bool prefix;
    bool prev;
};
struct etcd_call *etcd_delete(struct etcd *etcd, const struct etcd_delete *del,
                              uint64_t deadline_ms, etcd_reply_fn *cb, void *arg);

enum etcd_compare_result { ETCD_EQUAL, ETCD_GREATER, ETCD_LESS, ETCD_NOT_EQUAL };
enum etcd_compare_target { ETCD_VERSION, ETCD_CREATE, ETCD_MOD, ETCD_VALUE, ETCD_LEASE };
struct etcd_compare {
    struct etcd_bytes key;
    struct etcd_bytes end; /* empty: the one key, else every key in [key, end) */
    enum etcd_compare_target target;
    enum etcd_compare_result result;
    int64_t number;          /* version, revision or lease */
    struct etcd_bytes value; /* ETCD_VALUE */
};
enum etcd_op_kind { ETCD_OP_RANGE, ETCD_OP_PUT, ETCD_OP_DELETE };
struct etcd_op {
    enum etcd_op_kind kind;
    union {
        struct etcd_range range;
        struct etcd_put put;
        struct etcd_delete del;
    };
};
struct etcd_txn {
    const struct etcd_compare *compares; /* all hold → success, else failure */
    size_t n_compares;
    const struct etcd_op *success, *failure;
    size_t n_success, n_failure;
};
/* @txn with no put and no delete counts as a read. */
struct etcd_call *etcd_txn(struct etcd *etcd, const struct etcd_txn *txn, uint64_t deadline_ms,
                           etcd_reply_fn *cb, void *arg);

/* Forgets history before @revision; @physical: answered only when the space is free. The answer is
 * ETCD_E_COMPACTED when that was done before. */
struct etcd_call *etcd_compact(struct etcd *etcd, int64_t revision, bool physical,
                               uint64_t deadline_ms, etcd_reply_fn *cb, void *arg);

/* ---- leases ---- */
/* @id 0: etcd chooses. reply->lease and ->ttl. */
struct etcd_call *etcd_lease_grant(struct etcd *etcd, int64_t id, int64_t ttl_s,
                                   uint64_t deadline_ms, etcd_reply_fn *cb, void *arg);
/* Ends a lease; its keys are deleted. */
struct etcd_call *etcd_lease_revoke(struct etcd *etcd, int64_t id, uint64_t deadline_ms,
                                    etcd_reply_fn *cb, void *arg);
/* reply->ttl: seconds left; ->granted_ttl. With @keys, ->kvs are the keys attached. */
struct etcd_call *etcd_lease_ttl(struct etcd *etcd, int64_t id, bool keys, uint64_t deadline_ms,
                                 etcd_reply_fn *cb, void *arg);
/* Renews a lease at a third of its @ttl_s until cancelled, over broken connections too. @on_lost
 * comes at most once: ETCD_E_NOT_FOUND when etcd no longer has the lease, -ETIMEDOUT when it could
 * not be renewed within its time. The handle is invalid after. */
struct etcd_keeper *etcd_lease_keep(struct etcd *etcd, int64_t id, int64_t ttl_s,
                                    void (*on_lost)(void *arg, int code, const char *message),
                                    void *arg);
/* Stops renewing; the lease runs out unless revoked. NULL is harmless. */
void etcd_lease_keep_cancel(struct etcd_keeper *keeper);

/* ---- watches ---- */
struct etcd_event {
    bool deleted;
    struct etcd_kv kv;   /* deleted: key and mod_revision only */
    struct etcd_kv prev; /* with prev: the pair before; key.data NULL when there was none */
};
struct etcd_watch_request {
    struct etcd_bytes key, end; /* as in etcd_range */
    bool prefix;
    int64_t start_revision; /* the first to see; 0: from now on */
    bool prev, no_put, no_delete;
    bool progress_notify; /* etcd reports progress now and then while nothing changes */
};
struct etcd_watch_events {
    /* The watch stands at etcd (each time it was made: at first and after each reconnection).
     * @revision is the store's then. May be NULL. */
    void (*on_created)(void *arg, int64_t revision);
    /* Changes in order. All changes of one revision come in one call; @revision is the last. */
    void (*on_events)(void *arg, const struct etcd_event *events, size_t n, int64_t revision);
    /* Every change up to @revision was delivered. May be NULL. */
    void (*on_progress)(void *arg, int64_t revision);
    /* Over for good: ETCD_E_COMPACTED (changes were missed: read everything again; also when the
     * cluster is not the one it was before), -EACCES, -EPERM, -EINVAL. */
    void (*on_end)(void *arg, int code, const char *message);
};
/* Watches. When a connection or a member is lost it goes on by itself from the revision after the
 * last one delivered: nothing is lost, nothing comes twice. */
struct etcd_watch *etcd_watch(struct etcd *etcd, const struct etcd_watch_request *request,
                              const struct etcd_watch_events *events, void *arg);
/* Asks for on_progress. etcd before 3.4.25 and 3.5.8 may answer with a revision whose changes are
 * still to be delivered; such an answer is therefore dropped. Periodic progress is exact always. */
void etcd_watch_progress(struct etcd_watch *watch);
/* While paused nothing is delivered; the server is slowed down. */
void etcd_watch_pause(struct etcd_watch *watch, bool paused);
/* Ends it without on_end; allowed inside its callbacks. NULL is harmless. */
void etcd_watch_cancel(struct etcd_watch *watch);

/* ---- the cluster ---- */
/* Version, database size and leader, of the member that is in use. */
struct etcd_call *etcd_status(struct etcd *etcd, uint64_t deadline_ms, etcd_reply_fn *cb,
                              void *arg);
/* The endpoint in use, as given in the options. */
const char *etcd_endpoint(const struct etcd *etcd);

#ifdef __cplusplus
}
#endif
