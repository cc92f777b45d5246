/*
 * WebSocket (RFC 6455), both sides, over any stream that HTTP has upgraded. wslay does the frames
 * and buffers no payload: messages are shown piece by piece as they come, whatever their length.
 * Pings are answered here. Extensions are not offered, so reserved bits are refused.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "net/http_server.h"
#include "net/stream.h"

#define WEBSOCKET_FRAME_MAX   (32U << 20) /* payload of one frame: what upstream's servers take */
#define WEBSOCKET_NORMAL      1000        /* close codes (section 7.4.1) */
#define WEBSOCKET_UNSUPPORTED 1003
#define WEBSOCKET_INTERNAL    1011

struct websocket;

struct websocket_handler {
    /* A message begins; on_data follows for its bytes, on_end (may be NULL) after the last.
     * Messages come one at a time. */
    void (*on_begin)(struct websocket *ws, bool text, void *arg);
    /* Bytes cannot be given back: a reader that lags calls websocket_pause(), and up to 4 KB may
     * still come. */
    void (*on_data)(struct websocket *ws, const void *data, size_t len, void *arg);
    void (*on_end)(struct websocket *ws, void *arg);
    /* As stream_handler's, for the connection. May be NULL. */
    void (*on_drain)(struct websocket *ws, void *arg);
    /* It is over. @err NULL: the peer has closed with code 1000 or none; else -ECONNRESET (another
     * code, or no Close at all), -EBADMSG (the peer broke the protocol and was told so), or what
     * the carrier says. Called at most once; the owner frees, here or later. */
    void (*on_close)(struct websocket *ws, const struct error *err, void *arg);
};

/* Takes @transport. @server says which side this is. @handler is not copied. */
struct websocket *websocket_new(struct loop *loop, struct stream *transport, bool server,
                                const struct websocket_handler *handler, void *arg);
/* Sends one message made of @head and @data (both copied, either may be empty). Dropped when the
 * connection is over or websocket_end() was called. */
void websocket_send(struct websocket *ws, bool text, const void *head, size_t head_len,
                    const void *data, size_t len);
/* Bytes sent that the connection has not taken. */
size_t websocket_pending(const struct websocket *ws);
/* Stops and resumes reading. While it is stopped the peer gets a Pong every 15 s: its own Pings
 * wait behind data that nobody reads, and kubectl gives up after a minute without. */
void websocket_pause(struct websocket *ws);
void websocket_resume(struct websocket *ws);
/* Sends Close with @code. Reading goes on until the peer's Close. */
void websocket_end(struct websocket *ws, unsigned code);
/* As websocket_end(), and gives the connection away: what is pending is sent, then the peer has
 * STREAM_LINGER_MS to close. No callbacks any more. Returns NULL. */
struct websocket *websocket_finish(struct websocket *ws, unsigned code);
/* Closes at once; a server that was told of the end before still sends its own Close. NULL is
 * harmless; returns NULL. */
struct websocket *websocket_free(struct websocket *ws);

/* ---- the opening handshake (section 4) ---- */
#define WEBSOCKET_KEY_LEN    24
#define WEBSOCKET_ACCEPT_LEN 28

/* Server: checks the request. When it is no valid handshake, replies (400; 426 for another
 * version), which ends the exchange, and returns -EINVAL. */
int websocket_check_request(struct http_exchange *x, struct error *err);
/* The value of Sec-WebSocket-Accept that answers @key (of a request that was checked). */
void websocket_accept(const char *key, char accept[WEBSOCKET_ACCEPT_LEN + 1]);
/* Client: sets Sec-WebSocket-Key and -Version; @key is for websocket_check_response(). */
void websocket_add_request(struct http_headers *h, char key[WEBSOCKET_KEY_LEN + 1]);
/* Client: whether a 101 with these headers accepts our key. -EPROTO. */
int websocket_check_response(const struct http_headers *h, const char *key, struct error *err);

/* ---- a tunnel: bytes in binary messages ---- */

/* A stream whose bytes travel in binary messages over @transport (taken). Its end of direction is a
 * Close: WebSocket has no half-closed state, though what the peer had under way still arrives. */
struct stream *websocket_tunnel(struct loop *loop, struct stream *transport, bool server);
