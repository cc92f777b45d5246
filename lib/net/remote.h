/*
 * Kubernetes' streaming sub-protocols over an upgraded connection: remote command (exec, attach)
 * and port forward, both sides. The streams handed out are struct streams, ready for
 * stream_splice(); memory is constant, backpressure goes both ways.
 *
 * What frames the channels is behind a table of operations (remote_framing.h): SPDY/3.1, or
 * WebSocket with numbered channels or with SPDY inside. Servers take what the client asks for.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "net/http_server.h"
#include "net/stream.h"
#include "net/upgrade.h"

/* ---- remote command ---- */
enum remote_channel { REMOTE_STDIN, REMOTE_STDOUT, REMOTE_STDERR, REMOTE_ERROR, REMOTE_RESIZE };

struct remote_options {
    bool want_stdin, want_stdout, want_stderr;
    bool tty;       /* one output: want_stderr is ignored */
    bool websocket; /* clients: v5.channel.k8s.io instead of SPDY/3.1 */
};
/* From the query of an exec or attach request: stdin/input, stdout/output, stderr/error, tty.
 * -EINVAL when none of the three is asked for. */
int remote_options_from_query(const struct http_query *q, struct remote_options *ret,
                              struct error *err);

/* Server: runs until ended by remote_server_exit(), _fail() or the client. */
struct remote_server;
struct remote_server_handler {
    /* All streams are there. Take them with remote_server_take(). */
    void (*on_ready)(struct remote_server *r, void *arg);
    /* The client's terminal has this size now. Only after on_ready. May be NULL. */
    void (*on_resize)(struct remote_server *r, uint16_t columns, uint16_t rows, void *arg);
    /* The client vanished, or did not open its streams within 30 s. Once; the owner frees. */
    void (*on_close)(struct remote_server *r, const struct error *err, void *arg);
};
/* Answers the upgrade and waits for the streams. Ends the exchange in any case: a request that is
 * no upgrade we know or has no common sub-protocol (v5 to v1.channel.k8s.io) is replied to here
 * (400, 403, 426), and -EINVAL returned. @handler is not copied. */
int remote_server_start(struct loop *loop, struct http_exchange *x,
                        const struct remote_options *options,
                        const struct remote_server_handler *handler, void *arg,
                        struct remote_server **ret, struct error *err);
/* The stream of a channel (stdin, stdout, stderr), which the caller owns now. NULL when not asked
 * for or taken already. The caller ends or frees stdout and stderr before _exit(). */
struct stream *remote_server_take(struct remote_server *r, enum remote_channel channel);
/* Tells the exit status on the error stream, sends what is pending, closes, and frees @r. A v4
 * client gets a Status: Success for 0, else Failure with reason NonZeroExitCode and cause ExitCode.
 * Older ones get the text. Streams taken and not freed or finished are dead, still the caller's to
 * free. */
void remote_server_exit(struct remote_server *r, int exit_code);
/* Tells a failure to run the command at all, closes, and frees @r. */
void remote_server_fail(struct remote_server *r, const char *message);
/* Closes at once. NULL is harmless; returns NULL. */
struct remote_server *remote_server_free(struct remote_server *r);

/* Client (coracle exec). */
struct remote_client;
struct remote_client_handler {
    /* Streams are open: remote_client_take(). */
    void (*on_ready)(struct remote_client *r, void *arg);
    /* The command ended (@err NULL: @exit_code is its status) or could not be run or reached (@err;
     * the server's message in its text). Once, and after the ends of the output streams that were
     * taken and are not freed. The owner frees. */
    void (*on_exit)(struct remote_client *r, int exit_code, const struct error *err, void *arg);
};
/* @request: method, url with the query made, headers, TLS; protocol is set here. */
int remote_client_start(struct loop *loop, const struct upgrade_request *request,
                        const struct remote_options *options,
                        const struct remote_client_handler *handler, void *arg,
                        struct remote_client **ret, struct error *err);
/* stdin to write, stdout and stderr to read; NULL when not asked for or taken already. */
struct stream *remote_client_take(struct remote_client *r, enum remote_channel channel);
/* Tells the terminal's size; without a tty or before on_ready nothing happens. */
void remote_client_resize(struct remote_client *r, uint16_t columns, uint16_t rows);
struct remote_client *remote_client_free(struct remote_client *r);

/* ---- port forward ---- */
struct portforward_server;
/* One forwarded connection: a data stream and an error stream of one requestID. */
struct portforward_pair;

struct portforward_handler {
    /* A client's connection to @port. The callee connects, then calls portforward_accept() or
     * portforward_fail(), once, later or at once, also after the client has gone. */
    void (*on_connect)(struct portforward_server *p, struct portforward_pair *pair, uint16_t port,
                       void *arg);
    /* The client has gone (@err may be NULL). The owner frees. */
    void (*on_close)(struct portforward_server *p, const struct error *err, void *arg);
};
/* For clients that number their channels (v4.channel.k8s.io over WebSocket): the ports that the
 * request names, in order. */
#define REMOTE_PORTS_MAX 64
struct remote_ports {
    uint16_t ports[REMOTE_PORTS_MAX];
    size_t count;
};
/* From the values of @key ("port", the API server's "ports"), which may be lists with commas.
 * -EINVAL naming @key; -E2BIG for more than REMOTE_PORTS_MAX. */
int remote_ports_from_query(const struct http_query *q, const char *key, struct remote_ports *ret,
                            struct error *err);
/* As remote_server_start(), for portforward.k8s.io. @ports may be NULL: then clients that need them
 * are refused (400), as they are when it is empty. */
int portforward_server_start(struct loop *loop, struct http_exchange *x,
                             const struct remote_ports *ports,
                             const struct portforward_handler *handler, void *arg,
                             struct portforward_server **ret, struct error *err);
/* Splices @target (taken) with the pair's data stream until both have ended. */
void portforward_accept(struct portforward_pair *pair, struct stream *target);
/* Sends @message on the error stream and closes both. */
void portforward_fail(struct portforward_pair *pair, const char *message);
/* Closes at once. NULL is harmless; returns NULL. */
struct portforward_server *portforward_server_free(struct portforward_server *p);

/* Client: one upgraded connection that carries any number of forwarded ones. */
struct portforward_client;
struct portforward_client_handler {
    void (*on_ready)(struct portforward_client *p, void *arg);
    /* The server has said how one connection (requestID) went: @message is NULL, or what failed,
     * e.g. nothing listens on the port. Independent of the connection's own end; not called when
     * all of it ends before (on_close). */
    void (*on_end)(struct portforward_client *p, unsigned request_id, const char *message,
                   void *arg);
    /* The connection ended or never came about. Once; the owner frees. */
    void (*on_close)(struct portforward_client *p, const struct error *err, void *arg);
};
/* @websocket: SPDY/3.1 inside WebSocket's messages. */
int portforward_client_start(struct loop *loop, const struct upgrade_request *request,
                             bool websocket, const struct portforward_client_handler *handler,
                             void *arg, struct portforward_client **ret, struct error *err);
/* Opens a connection to @port of the pod and splices it with @local (taken). *ret_id (may be NULL)
 * is its requestID. -EPIPE when the connection has ended (@local is closed). */
int portforward_client_open(struct portforward_client *p, uint16_t port, struct stream *local,
                            unsigned *ret_id);
struct portforward_client *portforward_client_free(struct portforward_client *p);

/* ---- relay: a WebSocket client in front of a server that is only asked for SPDY/3.1, which
 * kubelets and runtimes of every version speak ---- */
struct remote_relay;
struct remote_protocol;
struct remote_relay_request {
    struct remote_options command;    /* exec, attach */
    const struct remote_ports *ports; /* not NULL: port forward, with these for numbered channels */
};
/* Looks at what the client asks for. *ret NULL: not for WebSocket; there is nothing to relay. A
 * request that cannot be is replied to here (400, 403, 426), which ends the exchange. */
int remote_relay_negotiate(struct http_exchange *x, const struct remote_relay_request *q,
                           const struct remote_protocol **ret, struct error *err);
/* Makes @request a POST that asks the server for the same in SPDY/3.1; its headers are @h, set
 * here. */
void remote_relay_request(const struct remote_protocol *protocol, struct http_headers *h,
                          struct upgrade_request *request);
/* Switches the client over and runs. @server (taken) and @response are what upgrade_start() of that
 * request brought. Ends the exchange in any case. When it is over it frees itself and calls @cb
 * (may be NULL), never from inside this call; @err: the server has left a command's outcome open.
 * @ret may be NULL. */
int remote_relay_start(struct loop *loop, struct http_exchange *x,
                       const struct remote_relay_request *q, const struct remote_protocol *protocol,
                       struct stream *server, const struct upgrade_response *response,
                       void (*cb)(const struct error *err, void *arg), void *arg,
                       struct remote_relay **ret, struct error *err);
/* Closes both sides at once, without the callback. NULL is harmless; returns NULL. */
struct remote_relay *remote_relay_free(struct remote_relay *r);
