/*
 * What carries the channels of remote command and port forward over an upgraded connection. A
 * framing opens and answers streams that have headers (streamType, port, requestID); the
 * sub-protocols above (remote_server.c, remote_client.c, portforward_*.c) know nothing else of it.
 */
#pragma once

#include "net/remote.h"

struct remote_framing;

struct remote_framing_handler {
    /* The peer opened a stream: owned by the callee, who accepts or refuses. */
    void (*on_stream)(struct stream *stream, const struct http_headers *headers, void *arg);
    /* @err NULL: in order. */
    void (*on_close)(const struct error *err, void *arg);
};
struct remote_framing_ops {
    const char *protocol; /* the Upgrade token */
    struct remote_framing *(*start)(struct loop *loop, struct stream *transport, bool server,
                                    const struct remote_framing_handler *handler, void *arg);
    /* NULL when the connection has ended. @on_reply: result 0 or -errno. */
    struct stream *(*open)(struct remote_framing *f, const struct http_headers *headers,
                           void (*on_reply)(struct stream *stream, int result,
                                            const struct http_headers *headers, void *arg),
                           void *arg);
    void (*accept)(struct stream *stream);
    void (*refuse)(struct stream *stream);
    uint32_t (*id)(const struct stream *stream);
    /* Sends what is pending, then closes; or closes at once. Both free @f. */
    void (*finish)(struct remote_framing *f);
    void (*abort)(struct remote_framing *f);
};
extern const struct remote_framing_ops remote_framing_spdy;

#define REMOTE_V4          "v4.channel.k8s.io"
#define REMOTE_V3          "v3.channel.k8s.io"
#define REMOTE_V2          "v2.channel.k8s.io"
#define REMOTE_V1          "channel.k8s.io"
#define REMOTE_PORTFORWARD "portforward.k8s.io"
#define REMOTE_VERSION     "X-Stream-Protocol-Version"
#define REMOTE_TIMEOUT_MS  30000 /* for a peer to open or answer its streams */
#define REMOTE_MESSAGE_MAX (64 * 1024)

/* Server: finds the framing the request asks for and the first sub-protocol of the client's that is
 * in
 * @ours (NULL-terminated; a client that names none gets the last), and upgrades. On failure the
 * exchange has been replied to (400 or 403). Ends the exchange in any case. */
int remote_upgrade(struct http_exchange *x, const char *const *ours,
                   const struct remote_framing_ops **ret_ops, const char **ret_protocol,
                   struct stream **ret, struct error *err);
/* Client: makes an error of what upgrade_start() brought when there is no stream, or the server did
 * not choose @protocol. 0 when all is well. */
int remote_check_response(struct stream *stream, const struct upgrade_response *response,
                          const struct error *failure, const char *protocol, struct error *err);
/* The message of a Status object in JSON, or the text itself. Appends. */
void remote_message(const char *text, size_t len, struct strbuf *out);
