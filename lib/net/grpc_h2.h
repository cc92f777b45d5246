/*
 * gRPC's use of HTTP/2: connections over a bufferevent, streams that carry length-prefixed
 * messages both ways with flow control. grpc_client.c and grpc_server.c stand on it; nobody else
 * includes it.
 *
 * Callbacks never come from inside a call of these functions, but from the loop. Inside them, but
 * for two that say so, the stream may be detached and freed, and the connection freed.
 */
#pragma once

#include <string.h>

#include <event2/bufferevent.h>
#include <nghttp2/nghttp2.h>
#include <protobuf-c/protobuf-c.h>

#include "base/loop.h"
#include "base/strbuf.h"
#include "net/grpc_core.h"
#include "net/grpc_status.h"

struct evdns_base;

struct rpc {
    struct loop *loop;
    struct evdns_base *dns; /* NULL until a name has to be looked up */
};

/* ---- messages ---- */
/* An encoded message with its 5 bytes of header, waiting to be sent. */
struct rpc_frame {
    struct rpc_frame *next;
    size_t len, off; /* off: already handed on */
    uint8_t data[];
};
struct rpc_frame *rpc_frame_of(const ProtobufCMessage *message);
struct rpc_frame *rpc_frame_of_bytes(const void *data, size_t len);
/* Decodes; NULL when it does not parse, has a string with a NUL in it, or would take far more
 * memory than its bytes justify. */
ProtobufCMessage *rpc_decode(const void *data, size_t len, const ProtobufCMessageDescriptor *type);
void rpc_message_free(ProtobufCMessage *message);
/* grpc-message is percent-encoded; both allocate. */
char *rpc_text_encode(const char *text);
char *rpc_text_decode(const char *text);
/* "unix:///path" and "unix:/path" give the path, other targets NULL. */
const char *rpc_unix_path(const char *target);

/* ---- streams: embedded in calls ---- */
struct h2_conn;
struct h2_stream;
struct h2_stream_ops {
    /* Headers, and trailers. Only to be stored: the one callback that comes while nghttp2 works. */
    void (*on_header)(struct h2_stream *s, const char *name, const char *value);
    /* Server: the request's headers are complete. */
    void (*on_request)(struct h2_stream *s);
    void (*on_message)(struct h2_stream *s, const void *data, size_t len);
    /* A message that cannot be accepted: too large, compressed, or cut off. */
    void (*on_bad_message)(struct h2_stream *s, enum rpc_status status, const char *text);
    /* The peer sends nothing more; all messages were delivered. May be NULL. */
    void (*on_remote_end)(struct h2_stream *s);
    void (*on_writable)(struct h2_stream *s);
    /* Over; the last call, the stream is detached already. @error is HTTP/2's; @lost: the
     * connection went away under it. */
    void (*on_close)(struct h2_stream *s, uint32_t error, bool lost);
    /* Everything was sent and ended (server): the trailers to send. 0: end without. May be NULL. */
    size_t (*trailers)(struct h2_stream *s, nghttp2_nv *nv);
};
#define H2_TRAILERS_MAX 2

struct h2_stream {
    struct h2_conn *conn; /* NULL: not on a connection (any more) */
    struct list entry, ready;
    const struct h2_stream_ops *ops;
    int32_t id;
    uint32_t message_max;

    struct strbuf in; /* received, not delivered */
    size_t in_off;
    size_t unconsumed; /* bytes the peer was not given credit for */
    bool requested, remote_end, end_told, closed, lost, paused;
    uint32_t error;

    struct rpc_frame *head, **tail; /* to be sent */
    size_t queued;
    bool full, ending, local_end, deferred;

    bool *gone; /* set while callbacks run: tells them that the stream was detached */
    struct loop_deferred resume;
};

void h2_stream_init(struct h2_stream *s, struct loop *loop, const struct h2_stream_ops *ops,
                    uint32_t message_max);
/* Queues a message (takes it). 0, or RPC_E_FULL (not taken). */
int h2_stream_send(struct h2_stream *s, struct rpc_frame *frame);
/* Ends our side after what is queued. */
void h2_stream_end(struct h2_stream *s);
void h2_stream_pause(struct h2_stream *s, bool paused);
/* Takes the stream off its connection, resetting it there with @error unless it is over; frees what
 * it holds (not the stream). No callback comes after. */
void h2_stream_detach(struct h2_stream *s, uint32_t error);

/* ---- connections ---- */
struct h2_conn_ops {
    /* Client: connected, and the server has sent its settings. May be NULL. */
    void (*on_ready)(struct h2_conn *conn, void *owner);
    /* Client: takes no new streams, those it has go on. May be NULL. */
    void (*on_draining)(struct h2_conn *conn, void *owner);
    /* Server: a request begins: returns the stream that shall carry it (nghttp2 is at work: nothing
     * else may be done). */
    struct h2_stream *(*on_stream)(struct h2_conn *conn, void *owner);
    /* Lost, or drained: the owner forgets it. Its streams are told after, and it frees itself. */
    void (*on_lost)(struct h2_conn *conn, const char *reason, void *owner);
};

struct h2_conn_options {
    bool server;
    bool connecting; /* a client's bufferevent that is still connecting */
    bool tls;
    uint32_t keepalive_ms, keepalive_timeout_ms, connect_ms;
    uint32_t streams_max; /* server: at a time */
};
/* Takes the bufferevent. The new connection is in the owner's list @conns until it is lost or
 * freed. */
struct h2_conn *h2_conn_new(struct loop *loop, struct bufferevent *bev,
                            const struct h2_conn_options *options, const struct h2_conn_ops *ops,
                            void *owner, struct list *conns);
/* Closes all of such a list. */
void h2_conns_free(struct list *conns);
/* Closes; streams that are left are detached without callbacks. */
struct h2_conn *h2_conn_free(struct h2_conn *conn);
/* Opens a client's stream with a request. -errno. */
int h2_conn_request(struct h2_conn *conn, struct h2_stream *s, const nghttp2_nv *nv, size_t n);
/* Answers a server's stream: headers; then messages, an end and trailers follow. With @end there
 * are only these headers. */
int h2_stream_respond(struct h2_stream *s, const nghttp2_nv *nv, size_t n, bool end);

static inline nghttp2_nv h2_nv(const char *name, const char *value)
{
    union { /* nghttp2 copies and does not write */
        const char *in;
        uint8_t *out;
    } n = {.in = name}, v = {.in = value};
    return (nghttp2_nv){n.out, v.out, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}
