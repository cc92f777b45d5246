/*
 * An HTTP/1.1 server (RFC 9112) on the loop. Handlers see an exchange: a request, its body, the
 * reply, perhaps an upgrade; never the connection. Keep-alive, pipelining (one exchange at a time),
 * chunked bodies both ways, Expect: 100-continue, TLS with client certificates.
 *
 * Lifetime. on_request gives the exchange to the handler. It stays valid until the handler ends it,
 * with exactly one of http_exchange_reply(), _end(), _abort() or a successful _upgrade(); after
 * that it must not be touched. When the client vanishes first, everything written is dropped,
 * on_close is called if set, and the handler still ends the exchange (in on_close or whenever it
 * gets to it). No callback is ever called from inside the call that registers it.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/loop.h"
#include "net/http.h"
#include "net/stream.h"
#include "net/tls.h"

struct http_server;
struct http_exchange;

/* Called with the head parsed; body not read yet. */
typedef void (*http_handler_fn)(struct http_exchange *x, void *arg);

struct http_server_options {
    size_t max_connections;    /* 0: 4096; beyond that new ones are closed at once */
    uint64_t head_timeout_ms;  /* 0: 30 s for TLS handshake and head of the first request */
    uint64_t idle_timeout_ms;  /* 0: 120 s between requests of a kept-alive connection */
    uint64_t write_timeout_ms; /* 0: 60 s without the client taking a byte while some are pending */
    uint64_t body_timeout_ms;  /* 0: 60 s without a byte of a body that the handler wants to read */
};

/* @options may be NULL. @handler is called for every request of every listener. */
struct http_server *http_server_new(struct loop *loop, const struct http_server_options *options,
                                    http_handler_fn handler, void *arg);
/* Closes listeners and connections. Exchanges that handlers still hold see their client vanish and
 * must still be ended by them (before the loop is freed). Returns NULL. */
struct http_server *http_server_free(struct http_server *s);
DEFINE_CLEANUP(struct http_server *, http_server_free);

/* Listens on a numeric IPv4 or IPv6 address ("" or "::" takes both families). @port 0 takes a free
 * one; *ret_port (may be NULL) says which. @tls NULL: plain text; else a reference is taken.
 * -EADDRINUSE … */
int http_server_listen_tcp(struct http_server *s, const char *address, uint16_t port,
                           struct tls_server *tls, uint16_t *ret_port, struct error *err);
/* Listens on a unix socket with this mode; a stale socket file is replaced, one that somebody
 * listens on gives -EADDRINUSE. The file is removed by http_server_free(). */
int http_server_listen_unix(struct http_server *s, const char *path, mode_t mode,
                            struct error *err);
/* Takes a descriptor that listens already (owned from now on, also on failure). */
int http_server_listen_fd(struct http_server *s, int fd, struct tls_server *tls, struct error *err);
/* Serves one connected socket (owned from now on, also on failure). */
int http_server_serve_fd(struct http_server *s, int fd, struct tls_server *tls, struct error *err);
/* Stops accepting, closes idle connections, and calls @cb once when the last exchange has ended or
 * @deadline_ms passed (then what is left is cut off). Upgraded streams are not waited for. */
void http_server_drain(struct http_server *s, uint64_t deadline_ms, void (*cb)(void *arg),
                       void *arg);
size_t http_server_connections(const struct http_server *s);

/* ---- the request ---- */
const char *http_exchange_method(const struct http_exchange *x); /* upper case as sent: "GET" */
/* The path as sent (still escaped, starts with '/'), without query. */
const char *http_exchange_path(const struct http_exchange *x);
/* The path percent-decoded; an encoded slash becomes a slash, so route on the raw one where that
 * matters. */
const char *http_exchange_decoded_path(const struct http_exchange *x);
/* The raw query without '?', "" when there is none. */
const char *http_exchange_query_string(const struct http_exchange *x);
/* The parsed query. A request with a malformed one was answered 400 before the handler. */
const struct http_query *http_exchange_query(const struct http_exchange *x);
const char *http_exchange_query_get(const struct http_exchange *x, const char *key); /* or NULL */
const struct http_headers *http_exchange_headers(const struct http_exchange *x);
const char *http_exchange_header(const struct http_exchange *x, const char *name); /* or NULL */
/* Content-Length; -1 when chunked; 0 without a body. */
int64_t http_exchange_content_length(const struct http_exchange *x);
/* The Bearer token of Authorization, NULL when there is none. */
const char *http_exchange_bearer_token(const struct http_exchange *x);

/* Who is on the other side. Strings live as long as the exchange. */
struct http_peer {
    const char *address; /* numeric; "" on a unix socket */
    uint16_t port;
    bool tls;
    bool is_unix;
    uid_t uid; /* unix socket only */
    pid_t pid; /* unix socket only; 0 when outside our PID namespace */
    /* The client certificate. Identity is only to be believed when @verified. */
    bool has_certificate;
    bool verified;            /* chain, dates and client usage hold against the server's CA */
    const char *verify_error; /* why not, NULL otherwise */
    const char *common_name;  /* subject CN, "" when none */
    const char *const *organizations; /* subject O, NULL-terminated, never NULL */
};
const struct http_peer *http_exchange_peer(const struct http_exchange *x);

/* A pointer of the handler's. */
void http_exchange_set_data(struct http_exchange *x, void *data);
void *http_exchange_data(const struct http_exchange *x);

/* Sets what is called when the client vanishes before the exchange has ended (connection lost or
 * closed; timeouts). At most once. A client that ends only its own direction counts as gone when
 * this is set; else it still gets its reply. */
void http_exchange_on_close(struct http_exchange *x, void (*cb)(struct http_exchange *x, void *arg),
                            void *arg);
bool http_exchange_is_closed(const struct http_exchange *x);

/* ---- the request's body: read whole, streamed, or not at all (then it is thrown away, and the
 * connection is not kept when more than 256 KB of it are outstanding) ---- */

/* @result: 0; -EFBIG when longer than the limit; -EBADMSG when malformed; -ECONNRESET when the
 * client vanished (on_close comes after this). @data is NUL-terminated and belongs to the exchange:
 * valid until it is ended. */
typedef void (*http_body_fn)(struct http_exchange *x, int result, const char *data, size_t len,
                             void *arg);
/* Reads the whole body, at most @limit bytes. */
void http_exchange_read_body(struct http_exchange *x, size_t limit, http_body_fn cb, void *arg);

/* Streams the body: @on_data for every piece, then @on_end once with a result as above. */
void http_exchange_stream_body(struct http_exchange *x,
                               void (*on_data)(struct http_exchange *x, const void *data,
                                               size_t len, void *arg),
                               void (*on_end)(struct http_exchange *x, int result, void *arg),
                               void *arg);
/* Backpressure for a streamed body: no on_data or on_end between these two. */
void http_exchange_pause_body(struct http_exchange *x);
void http_exchange_resume_body(struct http_exchange *x);

/* ---- the reply ---- */

/* Adds a field to the reply; before _reply(), _begin() or _upgrade(). Not for Content-Length,
 * Content-Type, Transfer-Encoding and Connection. Date is added by the server. */
void http_exchange_add_header(struct http_exchange *x, const char *name, const char *value);

/* Replies whole and ends the exchange. @content_type may be NULL. @data is copied. A HEAD request
 * gets the head alone, with this length. */
void http_exchange_reply(struct http_exchange *x, int status, const char *content_type,
                         const void *data, size_t len);
/* As http_exchange_reply() with text/plain and the formatted text. */
void http_exchange_replyf(struct http_exchange *x, int status, const char *fmt, ...) _printf_(3, 4);

/* Begins a streamed reply. @length -1: chunked (HTTP/1.0: until close). The head goes out with the
 * first write or on the next turn of the loop. */
void http_exchange_begin(struct http_exchange *x, int status, const char *content_type,
                         int64_t length);
bool http_exchange_begun(const struct http_exchange *x);
/* Adds to the body (copied). Writing more than the promised length aborts the exchange. */
void http_exchange_write(struct http_exchange *x, const void *data, size_t len);
/* As http_exchange_write() without copying: @release(@data, @len, @arg) is called once when the
 * bytes are no longer needed, also on failure. For bytes shared by many replies. */
void http_exchange_write_shared(struct http_exchange *x, const void *data, size_t len,
                                void (*release)(const void *data, size_t len, void *arg),
                                void *arg);
/* Body bytes written that the socket has not taken yet. */
size_t http_exchange_pending(const struct http_exchange *x);
/* Calls @cb each time pending falls to @low bytes or below after having been above. */
void http_exchange_on_drain(struct http_exchange *x, size_t low,
                            void (*cb)(struct http_exchange *x, void *arg), void *arg);
/* This client may pause for as long as it likes while a reply is pending (somebody reads logs in a
 * pager): neither write_timeout_ms nor TCP_USER_TIMEOUT hold until the next request. */
void http_exchange_set_patient(struct http_exchange *x);
/* Completes a streamed reply and ends the exchange. */
void http_exchange_end(struct http_exchange *x);
/* Ends the exchange and breaks the connection, so that the client sees that the reply is not whole.
 */
void http_exchange_abort(struct http_exchange *x);

/* ---- upgrade ---- */

/* Whether the request asks for @protocol ("SPDY/3.1"; case ignored) with Connection: upgrade. */
bool http_exchange_wants_upgrade(const struct http_exchange *x, const char *protocol);
/* Sends 101 with Upgrade: @protocol and the added headers, ends the exchange and hands over the
 * byte stream, which the caller owns. -EINVAL when the request did not ask for it, -EPIPE when the
 * client has gone: the exchange is still the caller's then. */
int http_exchange_upgrade(struct http_exchange *x, const char *protocol, struct stream **ret);
/* As above for a proxy that carries another server's 101: only @headers (Upgrade and Connection
 * among them) are sent. */
int http_exchange_upgrade_as(struct http_exchange *x, const struct http_headers *headers,
                             struct stream **ret);
