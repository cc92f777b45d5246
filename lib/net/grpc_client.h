/*
 * gRPC client over protobuf-c messages: unary calls and streams, asynchronous on the loop.
 *
 * A client is one channel to one target. It connects when the first call needs it and reconnects
 * by itself, with back-off, for as long as calls are made; a call made while the target is gone
 * fails with RPC_UNAVAILABLE, or waits until its deadline when the client was made with
 * wait_for_ready. A call that was under way when the connection broke fails with RPC_UNAVAILABLE;
 * nothing is ever sent twice.
 *
 *   static const struct rpc_method version = {
 *       "/runtime.v1.RuntimeService/Version", &runtime__v1__version_response__descriptor};
 *   rpc_client_call(client, &version, &request.base, 2000, on_version, self);
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "net/grpc_core.h"
#include "net/grpc_status.h"

struct rpc_client;
struct rpc_call;
struct rpc_stream;

struct rpc_client_options {
    const char *target; /* "unix:///absolute/path" or "host:port" ("[v6]:port") */

    /* TLS is used when ca_pem is given; cert_pem with key_pem is our own certificate. PEM texts,
     * not file names; copied. server_name (may be NULL) is the name to check instead of the host.
     */
    const char *ca_pem, *cert_pem, *key_pem;
    const char *server_name;

    uint32_t keepalive_ms; /* ping after so long without traffic while calls are open; 0: never */
    uint32_t keepalive_timeout_ms; /* connection is dead when no answer for so long; 0: 10 s */
    uint32_t reconnect_max_ms;     /* upper end of the back-off; 0: 5 s */
    uint32_t message_max;          /* bytes; 0: RPC_MESSAGE_MAX */
    bool wait_for_ready;           /* calls wait for the connection until their deadline */
};

/* Makes a client; connects later. -EINVAL in @err and NULL when the target or the PEM is bad. */
struct rpc_client *rpc_client_new(struct rpc *rpc, const struct rpc_client_options *options,
                                  struct error *err);
/* Cancels every call and stream (without their callbacks) and ends. NULL is harmless. */
struct rpc_client *rpc_client_free(struct rpc_client *client);
DEFINE_CLEANUP(struct rpc_client *, rpc_client_free);

/* Sends a header with every later call, as authentication tokens need it. @key in lower case. A
 * NULL @value removes it; a second value for a key replaces the first. */
void rpc_client_set_metadata(struct rpc_client *client, const char *key, const char *value);

/* Drops the back-off, so that the next call tries to connect at once. */
void rpc_client_reset_backoff(struct rpc_client *client);

struct rpc_method {
    const char *path; /* "/package.Service/Method"; must stay valid while calls are under way */
    const ProtobufCMessageDescriptor *response; /* what an answer is */
};

/* @response is NULL unless @status is RPC_OK, and belongs to the caller of this function.
 * @message is the peer's (or gRPC's) text, never NULL. */
typedef void rpc_reply_fn(void *arg, enum rpc_status status, const char *message,
                          const ProtobufCMessage *response);

/* Makes a unary call. @request is encoded before this returns. @deadline_ms from now; 0: none.
 * @cb is called exactly once, always later than this call, unless the call is cancelled. The
 * handle is valid until then. Never NULL. */
struct rpc_call *rpc_client_call(struct rpc_client *client, const struct rpc_method *method,
                                 const ProtobufCMessage *request, uint64_t deadline_ms,
                                 rpc_reply_fn *cb, void *arg);
/* As rpc_client_call() with a request that is encoded already. */
struct rpc_call *rpc_client_call_encoded(struct rpc_client *client, const struct rpc_method *method,
                                         const void *request, size_t len, uint64_t deadline_ms,
                                         rpc_reply_fn *cb, void *arg);
/* Whether a failure with @status and @message means that no connection was there to send the
 * request on, so that the server certainly did not see it. */
bool rpc_never_sent(enum rpc_status status, const char *message);
/* Gives the call up: @cb is not called. NULL is harmless. */
void rpc_call_cancel(struct rpc_call *call);

/* ---- streams ---- */
struct rpc_stream_events {
    /* A message from the server; @message belongs to the stream. */
    void (*on_message)(void *arg, const ProtobufCMessage *message);
    /* The stream is over, with the server's status; the handle is invalid after. Called exactly
     * once unless the stream is cancelled. @message is never NULL. */
    void (*on_end)(void *arg, enum rpc_status status, const char *message);
    /* After RPC_E_FULL: there is room again. May be NULL. */
    void (*on_writable)(void *arg);
};

/* rpc_stream_send() and rpc_server_send(): the queue is full, the message was not taken. */
#define RPC_E_FULL 1
/* Bytes that wait for the peer's flow control before a queue is full (one message always fits). */
#define RPC_QUEUE_MAX (1u << 20)

/* Opens a stream: server, client or bidirectional streaming, whichever the method is. @first
 * (may be NULL) is sent at once; with @only, nothing else follows (server streaming). Callbacks
 * always come later than this call. @deadline_ms bounds the whole stream; 0: none. Never NULL. */
struct rpc_stream *rpc_client_stream(struct rpc_client *client, const struct rpc_method *method,
                                     const ProtobufCMessage *first, bool only, uint64_t deadline_ms,
                                     const struct rpc_stream_events *events, void *arg);
/* Queues a message. 0, RPC_E_FULL, -EPIPE after rpc_stream_close_send(), -EMSGSIZE. */
int rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message);
/* Nothing more will be sent; what is queued still goes. */
void rpc_stream_close_send(struct rpc_stream *stream);
/* Back pressure: no more messages are read (or delivered) while paused. on_end waits too. */
void rpc_stream_pause(struct rpc_stream *stream, bool paused);
/* Gives the stream up: no callback is called any more, the handle is invalid. Allowed inside its
 * callbacks. NULL is harmless. */
void rpc_stream_cancel(struct rpc_stream *stream);
