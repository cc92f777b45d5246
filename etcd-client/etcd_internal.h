/* What the files of the etcd client share. */
#pragma once

#include "base/loop.h"
#include "base/strbuf.h"
#include "etcd-client/etcd.h"
#include "etcd-client/proto/etcd.pb-c.h"
#include "net/grpc_client.h"

struct endpoint {
    char *url;    /* as given */
    char *target; /* as gRPC wants it */
    bool tls, loopback;
    struct rpc_client *client;
    int exact_progress; /* 1: answers to progress requests can be trusted, -1: not, 0: not known */
};

struct etcd {
    struct loop *loop;
    struct rpc *rpc;
    bool own_loop;
    struct endpoint *endpoints;
    size_t n_endpoints, current;
    uint64_t deadline_ms;

    char *user, *password;
    char *token; /* of the user; NULL: to be had */
    struct rpc_call *authenticating;
    size_t auth_endpoint;
    int auth_code; /* why the last attempt failed, 0 when it did not */

    struct list calls, watches, keepers;
};

/* ---- endpoints and authentication (etcd_client.c) ---- */
/* The member @index did not answer: others try the next one, unless that was done already. */
void etcd_endpoint_failed(struct etcd *e, size_t index);
/* Whether streams and calls can start now; else authentication is under way, and waiting calls
 * are started when it is through. */
bool etcd_ready(struct etcd *e);
/* Forgets the token when @status and @message say that it is not accepted (any more). */
bool etcd_token_refused(struct etcd *e, enum rpc_status status, const char *message);
/* The code of etcd.h for a gRPC status. */
int etcd_code(enum rpc_status status, const char *message);
/* Milliseconds before attempt number @tries (from 1): 0 while there are endpoints not tried. */
uint64_t etcd_backoff(const struct etcd *e, unsigned tries);

/* ---- calls (etcd_client.c) ---- */
/* Fills @reply from a decoded response; memory that it needs goes with etcd_reply_done(). */
typedef int etcd_parse_fn(const ProtobufCMessage *response, struct etcd_reply *reply);

struct etcd_method {
    struct rpc_method rpc;
    etcd_parse_fn *parse;
};
struct etcd_call *etcd_call_new(struct etcd *e, const struct etcd_method *method,
                                const ProtobufCMessage *request, bool repeatable,
                                uint64_t deadline_ms, etcd_reply_fn *cb, void *arg);
void etcd_reply_done(struct etcd_reply *reply);

/* ---- conversions (etcd_kv.c) ---- */
void etcd_reply_header(struct etcd_reply *reply, const Etcdserverpb__ResponseHeader *header);
void etcd_kv_from(struct etcd_kv *out, const Etcdserverpb__KeyValue *in);
/* protobuf-c wants memory it could write to, and does not write. */
static inline ProtobufCBinaryData etcd_data(struct etcd_bytes b)
{
    union {
        const void *in;
        uint8_t *out;
    } u = {.in = b.data};
    return (ProtobufCBinaryData){b.len, u.out};
}
/* The end of a range; @buf is memory for a prefix's, which the caller frees. */
ProtobufCBinaryData etcd_range_end(struct etcd_bytes key, bool prefix, struct etcd_bytes end,
                                   void **buf);
/* The first key: an empty one stands for the first of all. */
ProtobufCBinaryData etcd_range_key(struct etcd_bytes key, bool prefix);

/* ---- streams ---- */
/* Authentication is through (or failed with e->auth_code): start what waits. */
void etcd_watch_wake(struct etcd_watch *watch);
void etcd_keeper_wake(struct etcd_keeper *keeper);
struct etcd_watch *etcd_watch_of(struct list *entry);
struct etcd_keeper *etcd_keeper_of(struct list *entry);
