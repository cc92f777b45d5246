/*
 * gRPC server on a unix socket, over protobuf-c messages; handlers answer whenever they are ready.
 *
 * Every call that reaches a handler is finished by it exactly once, with rpc_server_reply(),
 * rpc_server_fail() or rpc_server_end(); the handle is invalid after. That also holds when the
 * client went away meanwhile: then the answer is dropped, and a handler that wants to stop early
 * learns of it through rpc_server_on_cancel().
 *
 *   static const struct rpc_server_method methods[] = {
 *       {"/runtime.v1.RuntimeService/Version", &runtime__v1__version_request__descriptor,
 *        RPC_UNARY, on_version},
 *   };
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "net/grpc_core.h"
#include "net/grpc_status.h"

struct rpc_server;
struct rpc_server_call;

enum rpc_server_kind {
    RPC_UNARY,         /* one request, answered with reply */
    RPC_SERVER_STREAM, /* one request, answered with send … end */
    RPC_CLIENT_STREAM, /* messages through rpc_server_on_message(), answered with reply */
    RPC_BIDI_STREAM,   /* messages through rpc_server_on_message(), answered with send … end */
};

struct rpc_server_method {
    const char *path;                          /* "/package.Service/Method" */
    const ProtobufCMessageDescriptor *request; /* what is received, each message of a stream too */
    enum rpc_server_kind kind;
    /* @request is the one message (RPC_UNARY, RPC_SERVER_STREAM), valid during this call unless
     * taken with rpc_server_take_request(); NULL for the other kinds. @arg from rpc_server_add().
     */
    void (*handle)(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg);
};

struct rpc_server_options {
    const char *listen;   /* "unix:///absolute/path" or the path alone */
    uint32_t message_max; /* bytes a request may have; 0: RPC_MESSAGE_MAX */
    uint32_t
        calls_max; /* calls under way before more are refused with RESOURCE_EXHAUSTED; 0: 1024 */
};

/* Makes a server that does not listen yet. Never NULL. */
struct rpc_server *rpc_server_new(struct rpc *rpc, const struct rpc_server_options *options);
/* Adds methods; @methods must stay valid for as long as the server. A method that nobody added is
 * answered with UNIMPLEMENTED, a request that does not parse with INVALID_ARGUMENT. */
void rpc_server_add(struct rpc_server *server, const struct rpc_server_method *methods,
                    size_t count, void *arg);
/* Binds the socket with mode 0600 and serves. A socket file that nobody listens on is replaced.
 * -EADDRINUSE when a live process listens there, -ENAMETOOLONG, or -errno. */
int rpc_server_start(struct rpc_server *server, struct error *err);
/* Serves a connected stream socket that was accepted or made elsewhere; takes @fd. */
void rpc_server_adopt(struct rpc_server *server, int fd);
/* Removes the socket file, closes all connections, cancels every call (their on_cancel is called
 * before this returns; handlers may still finish them after). NULL is harmless. */
struct rpc_server *rpc_server_free(struct rpc_server *server);
DEFINE_CLEANUP(struct rpc_server *, rpc_server_free);

/* ---- finishing a call: from the handler or any time later ---- */
/* Answers with one message and OK. @message is encoded before this returns. */
void rpc_server_reply(struct rpc_server_call *call, const ProtobufCMessage *message);
/* Answers with a status that is not OK and text for people. */
void rpc_server_fail(struct rpc_server_call *call, enum rpc_status status, const char *fmt, ...)
    _printf_(3, 4);
/* As rpc_server_fail() with the status that fits -errno @code and the text of @err. */
void rpc_server_fail_errno(struct rpc_server_call *call, int code, const struct error *err);
/* Ends a stream with OK, after everything that was queued. */
void rpc_server_end(struct rpc_server_call *call);

/* ---- streams ---- */
/* Queues a message to the client. 0, RPC_E_FULL (see grpc_client.h; on_writable tells when there is
 * room), -EPIPE when the client is gone, -EMSGSIZE. */
int rpc_server_send(struct rpc_server_call *call, const ProtobufCMessage *message);
void rpc_server_on_writable(struct rpc_server_call *call,
                            void (*cb)(struct rpc_server_call *call, void *arg), void *arg);
/* Sets what receives the client's messages, from the handler of a client or bidirectional stream.
 * @message belongs to the server. @on_half_close: the client sends nothing more. A message that
 * does not parse ends the call as a cancel does. */
void rpc_server_on_message(struct rpc_server_call *call,
                           void (*on_message)(struct rpc_server_call *call,
                                              const ProtobufCMessage *message, void *arg),
                           void (*on_half_close)(struct rpc_server_call *call, void *arg),
                           void *arg);
/* Back pressure: while paused no more of the client's messages are read. */
void rpc_server_pause(struct rpc_server_call *call, bool paused);

/* ---- about a call ---- */
/* @cb is called at most once, later than this call, when the client cancelled, its deadline passed
 * or its connection broke, unless the call was finished before. NULL removes it. */
void rpc_server_on_cancel(struct rpc_server_call *call,
                          void (*cb)(struct rpc_server_call *call, void *arg), void *arg);
bool rpc_server_cancelled(const struct rpc_server_call *call);
/* Milliseconds until the client's deadline; UINT64_MAX when it gave none. */
uint64_t rpc_server_remaining_ms(const struct rpc_server_call *call);
const char *rpc_server_path(const struct rpc_server_call *call);
