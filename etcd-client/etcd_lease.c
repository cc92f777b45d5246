/*
 * Leases, and the keeper that renews one.
 *
 * A keeper has a stream, which stays open, and sends on it every third of the lease's time. When
 * the stream breaks it is opened again, at the next endpoint, until the time since the last answer
 * exceeds the lease's.
 */
#include <errno.h>

#include "etcd-client/etcd_internal.h"

static int parse_grant(const ProtobufCMessage *response, struct etcd_reply *reply)
{
    const Etcdserverpb__LeaseGrantResponse *r = (const void *)response;
    etcd_reply_header(reply, r->header);
    reply->lease = r->id;
    reply->ttl = reply->granted_ttl = r->ttl;
    return r->error && r->error[0] ? -EIO : 0;
}

static int parse_revoke(const ProtobufCMessage *response, struct etcd_reply *reply)
{
    const Etcdserverpb__LeaseRevokeResponse *r = (const void *)response;
    etcd_reply_header(reply, r->header);
    return 0;
}

static int parse_ttl(const ProtobufCMessage *response, struct etcd_reply *reply)
{
    const Etcdserverpb__LeaseTimeToLiveResponse *r = (const void *)response;
    etcd_reply_header(reply, r->header);
    if (r->ttl < 0)
        return ETCD_E_NOT_FOUND;
    reply->lease = r->id;
    reply->ttl = r->ttl;
    reply->granted_ttl = r->grantedttl;
    if (r->n_keys == 0)
        return 0;
    struct etcd_kv *kvs = calloc(r->n_keys, sizeof(*kvs));
    if (!kvs)
        return -ENOMEM;
    for (size_t i = 0; i < r->n_keys; i++)
        kvs[i].key = (struct etcd_bytes){r->keys[i].data, r->keys[i].len};
    reply->kvs = kvs;
    reply->n = r->n_keys;
    return 0;
}

static const struct etcd_method grant_method = {{"/etcdserverpb.Lease/LeaseGrant",
                                                 &etcdserverpb__lease_grant_response__descriptor},
                                                parse_grant},
                                revoke_method = {{"/etcdserverpb.Lease/LeaseRevoke",
                                                  &etcdserverpb__lease_revoke_response__descriptor},
                                                 parse_revoke},
                                ttl_method = {
                                    {"/etcdserverpb.Lease/LeaseTimeToLive",
                                     &etcdserverpb__lease_time_to_live_response__descriptor},
                                    parse_ttl};

struct etcd_call *etcd_lease_grant(struct etcd *etcd, int64_t id, int64_t ttl_s,
                                   uint64_t deadline_ms, etcd_reply_fn *cb, void *arg)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.id = id;
    request.ttl = ttl_s;
    return etcd_call_new(etcd, &grant_method, &request.base, false, deadline_ms, cb, arg);
}

struct etcd_call *etcd_lease_revoke(struct etcd *etcd, int64_t id, uint64_t deadline_ms,
                                    etcd_reply_fn *cb, void *arg)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    request.id = id;
    return etcd_call_new(etcd, &revoke_method, &request.base, false, deadline_ms, cb, arg);
}

struct etcd_call *etcd_lease_ttl(struct etcd *etcd, int64_t id, bool keys, uint64_t deadline_ms,
                                 etcd_reply_fn *cb, void *arg)
{
    Etcdserverpb__LeaseTimeToLiveRequest request = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    request.id = id;
    request.keys = keys;
    return etcd_call_new(etcd, &ttl_method, &request.base, true, deadline_ms, cb, arg);
}

/* ---- keepers ---- */
static const struct rpc_method keep_alive = {"/etcdserverpb.Lease/LeaseKeepAlive",
                                             &etcdserverpb__lease_keep_alive_response__descriptor};

struct etcd_keeper {
    struct list entry;
    struct etcd *e;
    int64_t id;
    uint64_t ttl_ms, expires_at;
    size_t endpoint;
    unsigned tries;
    struct rpc_stream *stream;
    bool unanswered;
    struct loop_timer timer; /* the next renewal, or the next attempt */
    void (*on_lost)(void *arg, int code, const char *message);
    void *arg;
};

struct etcd_keeper *etcd_keeper_of(struct list *entry)
{
    return LIST_ENTRY(entry, struct etcd_keeper, entry);
}

void etcd_lease_keep_cancel(struct etcd_keeper *keeper)
{
    if (!keeper)
        return;
    list_remove(&keeper->entry);
    loop_timer_done(&keeper->timer);
    rpc_stream_cancel(keeper->stream);
    free(keeper);
}

static void keeper_lost(struct etcd_keeper *k, int code, const char *message)
{
    void (*on_lost)(void *, int, const char *) = k->on_lost;
    void *arg = k->arg;
    etcd_lease_keep_cancel(k);
    on_lost(arg, code, message);
}

static void on_kept(void *arg, const ProtobufCMessage *message)
{
    struct etcd_keeper *k = arg;
    const Etcdserverpb__LeaseKeepAliveResponse *r = (const void *)message;
    if (r->ttl <= 0) {
        keeper_lost(k, ETCD_E_NOT_FOUND, "etcd has no such lease any more");
        return;
    }
    k->unanswered = false;
    k->tries = 0;
    k->expires_at = now_ms() + (uint64_t)r->ttl * 1000;
    loop_timer_set(&k->timer, k->ttl_ms / 3);
}

static void retry(struct etcd_keeper *k)
{
    etcd_endpoint_failed(k->e, k->endpoint);
    k->unanswered = false;
    loop_timer_set(&k->timer, etcd_backoff(k->e, ++k->tries));
}

static void on_keep_end(void *arg, enum rpc_status status, const char *message)
{
    struct etcd_keeper *k = arg;
    k->stream = NULL;
    if (status == RPC_NOT_FOUND)
        keeper_lost(k, ETCD_E_NOT_FOUND, message);
    else if (etcd_token_refused(k->e, status, message))
        loop_timer_set(&k->timer, 0);
    else
        retry(k);
}

static const struct rpc_stream_events keep_events = {.on_message = on_kept, .on_end = on_keep_end};

static void on_renew(void *arg)
{
    struct etcd_keeper *k = arg;
    if (now_ms() >= k->expires_at) {
        keeper_lost(k, -ETIMEDOUT, "the lease could not be renewed in time");
        return;
    }
    if (k->unanswered) { /* the member hangs */
        rpc_stream_cancel(TAKE_PTR(k->stream));
        retry(k);
        return;
    }
    if (!etcd_ready(k->e)) {
        loop_timer_set(&k->timer, 1000); /* or when the token is there */
        return;
    }
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    request.id = k->id;
    k->unanswered = true;
    if (k->stream) {
        (void)rpc_stream_send(k->stream, &request.base);
    } else {
        k->endpoint = k->e->current;
        k->stream = rpc_client_stream(k->e->endpoints[k->endpoint].client, &keep_alive,
                                      &request.base, false, 0, &keep_events, k);
    }
    /* No answer within this time: try elsewhere. */
    loop_timer_set(&k->timer, k->ttl_ms > 15000 ? 5000 : k->ttl_ms / 3);
}

void etcd_keeper_wake(struct etcd_keeper *keeper)
{
    if (!keeper->stream && keeper->e->auth_code == 0)
        loop_timer_set(&keeper->timer, 0);
}

struct etcd_keeper *etcd_lease_keep(struct etcd *etcd, int64_t id, int64_t ttl_s,
                                    void (*on_lost)(void *arg, int code, const char *message),
                                    void *arg)
{
    struct etcd_keeper *k = mem_zalloc(sizeof(*k));
    k->e = etcd;
    k->id = id;
    k->ttl_ms = (uint64_t)(ttl_s > 0 ? ttl_s : 1) * 1000;
    k->expires_at = now_ms() + k->ttl_ms;
    k->on_lost = on_lost;
    k->arg = arg;
    loop_timer_init(&k->timer, etcd->loop, "lease", on_renew, k);
    list_append(&etcd->keepers, &k->entry);
    loop_timer_set(&k->timer, 0);
    return k;
}
