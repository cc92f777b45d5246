/*
 * What carries the channels of remote command and port forward over an upgraded connection. A
 * framing opens and answers streams that have headers (streamType, port, requestID); the
 * sub-protocols above (remote_server.c, remote_client.c, portforward_*.c, remote_relay.c) know
 * nothing else of it. SPDY opens streams by messages. WebSocket numbers them and has no such
 * messages: all of them are there from the start, as struct remote_setup says.
 */
#pragma once

#include "net/remote.h"
#include "net/websocket.h"

struct remote_framing;
struct remote_protocol;

struct remote_framing_handler {
    /* The peer opened a stream: owned by the callee, who accepts or refuses. @headers are valid
     * during the call. */
    void (*on_stream)(struct stream *stream, const struct http_headers *headers, void *arg);
    /* The connection is over; @err NULL: in order. The owner calls finish or abort. */
    void (*on_close)(const struct error *err, void *arg);
};
/* What a framing cannot learn from its peer. */
struct remote_setup {
    const struct remote_protocol *protocol;
    struct remote_options command; /* exec and attach: which channels there are */
    const uint16_t *ports;         /* port forward: two channels for each */
    size_t n_ports;
};
struct remote_framing_ops {
    /* Takes @transport. Calls back on later turns of the loop only. */
    struct remote_framing *(*start)(struct loop *loop, struct stream *transport, bool server,
                                    const struct remote_setup *setup,
                                    const struct remote_framing_handler *handler, void *arg);
    /* NULL when the connection has ended. @on_reply: result 0 or -errno. */
    struct stream *(*open)(struct remote_framing *f, const struct http_headers *headers,
                           void (*on_reply)(struct stream *stream, int result,
                                            const struct http_headers *headers, void *arg),
                           void *arg);
    void (*accept)(struct stream *stream);
    void (*refuse)(struct stream *stream);
    uint32_t (*id)(const struct stream *stream);
    /* Sends what is pending, then closes; @err is not NULL when what the peer got is not whole. Or
     * closes at once. Both free @f. */
    void (*finish)(struct remote_framing *f, const struct error *err);
    void (*abort)(struct remote_framing *f);
};
extern const struct remote_framing_ops remote_framing_spdy, remote_framing_websocket;

/* A sub-protocol as clients name it in X-Stream-Protocol-Version (SPDY) or Sec-WebSocket-Protocol,
 * and what it means. */
struct remote_protocol {
    const char *name;
    const struct remote_framing_ops *framing;
    bool websocket;
    /* The framing's bytes are the payload of WebSocket's messages. */
    bool tunnel;
    bool status_object; /* the outcome is told as a Status object, else as text */
    bool resize;        /* there is a channel for the terminal's size */
    bool base64;        /* WebSocket: messages are text */
    bool half_close;    /* WebSocket: clients can end a channel */
    const char *spdy;   /* what says the same over SPDY */
};
/* Each ends with one without a name, and begins with those over SPDY. A client that names none gets
 * the last of its kind. */
extern const struct remote_protocol remote_command_protocols[], remote_portforward_protocols[];
/* What our clients speak. */
const struct remote_protocol *remote_command_client(bool websocket);
const struct remote_protocol *remote_portforward_client(bool websocket);

#define REMOTE_VERSION     "X-Stream-Protocol-Version"
#define REMOTE_TIMEOUT_MS  30000 /* for a peer to open or answer its streams */
#define REMOTE_MESSAGE_MAX (64 * 1024)

/* Server: finds what the request asks for: SPDY/3.1 or WebSocket, and the first of the client's
 * sub-protocols that is in @ours. On failure the exchange has been replied to (400, 403, 426),
 * which ends it. */
int remote_negotiate(struct http_exchange *x, const struct remote_protocol *ours,
                     const struct remote_protocol **ret, struct error *err);
/* Server: switches to @protocol. *ret carries the framing. Ends the exchange in any case. */
int remote_upgrade(struct loop *loop, struct http_exchange *x,
                   const struct remote_protocol *protocol, struct stream **ret, struct error *err);

/* Client: asks for @protocol. upgrade_start() with what it needs; @key is for remote_upgraded(). */
int remote_request(struct loop *loop, const struct upgrade_request *request,
                   const struct remote_protocol *protocol, char key[WEBSOCKET_KEY_LEN + 1],
                   upgrade_fn cb, void *arg, struct upgrade **ret, struct error *err);
/* Client: what carries the framing, from what upgrade_start() brought (@stream is taken). NULL with
 * @err when there is no stream, or the server did not choose @protocol. */
struct stream *remote_upgraded(struct loop *loop, struct stream *stream,
                               const struct upgrade_response *response, const struct error *failure,
                               const struct remote_protocol *protocol, const char *key,
                               struct error *err);
/* The message of a Status object in JSON, or the text itself. Appends. */
void remote_message(const char *text, size_t len, struct strbuf *out);
