/*
 * An HTTP/1.1 client: libcurl's multi interface on the loop. Connections are reused. Fits short
 * calls, watches that last for hours, downloads with backpressure, and probes.
 *
 * Callbacks come on the loop's thread, never from inside the call that starts or cancels.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/loop.h"
#include "net/http.h"
#include "net/tls.h"

struct http_client;
struct http_call;

struct http_client *http_client_new(struct loop *loop);
/* Cancels what is running (no callbacks) and closes the connections. Not from on_headers or
 * on_data. Returns NULL. */
struct http_client *http_client_free(struct http_client *c);
DEFINE_CLEANUP(struct http_client *, http_client_free);
/* Closes kept connections: after a change of credentials. Running calls go on. Not from
 * on_headers or on_data. */
void http_client_forget_connections(struct http_client *c);

/* A request. Strings, headers, body and TLS configuration are copied by the call that starts it. */
struct http_request {
    const char *method; /* NULL: GET */
    const char *url;
    const struct http_headers *headers; /* may be NULL */
    const void *body;                   /* sent with Content-Length when @body is not NULL */
    size_t body_len;                    /* */
    const char *unix_socket;            /* connect there; the URL still gives Host and path */
    const char *connect_to;             /* "address:port" to connect to instead of the URL's host */
    const struct tls_client_config *tls; /* NULL: the system's CAs, no client certificate */
    const char *bearer_token;            /* never sent to another host by a redirect */
    uint64_t connect_timeout_ms;         /* 0: 10 s, TLS handshake included */
    uint64_t timeout_ms;                 /* whole call; 0: none (watches, downloads) */
    uint64_t
        stall_timeout_ms; /* ends when nothing arrives for so long; 0: none; in whole seconds */
    int max_redirects;    /* 0: a redirect is a response like any other */
    bool fresh;           /* a connection of its own, closed after (probes) */
};

/* A response. Everything belongs to the call. */
struct http_response {
    int status;
    const struct http_headers *headers;
    const char *url;  /* the last one, after redirects */
    const char *body; /* NUL-terminated; whole-body calls only, else "" */
    size_t body_len;
};

/* Runs a request and gathers the body, at most @limit bytes. @cb is called once: @response is NULL
 * when there was none or not all of it, and @err says why: code -ECONNREFUSED, -ETIMEDOUT,
 * -EHOSTUNREACH (no such name or host), -ECONNRESET, -EPROTO (TLS, with the verification error),
 * -EFBIG (body over the limit), -EIO (anything else). Any status is a response. *ret (may be NULL)
 * is valid until @cb is called. -EINVAL at once for a malformed request or unreadable TLS material.
 */
int http_client_call(struct http_client *c, const struct http_request *request, size_t limit,
                     void (*cb)(const struct http_response *response, const struct error *err,
                                void *arg),
                     void *arg, struct http_call **ret, struct error *err);

struct http_stream_handler {
    /* The final response's head, before any data. May be NULL. */
    void (*on_headers)(struct http_call *call, const struct http_response *response, void *arg);
    void (*on_data)(struct http_call *call, const void *data, size_t len, void *arg);
    /* The end, once: @err NULL when the response was complete (by its framing), else as above. The
     * call is gone after that. */
    void (*on_end)(struct http_call *call, const struct error *err, void *arg);
};
/* Runs a request and streams the body. @handler is not copied. *ret is valid until on_end. */
int http_client_stream(struct http_client *c, const struct http_request *request,
                       const struct http_stream_handler *handler, void *arg, struct http_call **ret,
                       struct error *err);

/* Backpressure: after pause at most one more piece (what curl holds) comes after resume; nothing
 * between. Both may be called inside callbacks. */
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);
/* Ends the call without further callbacks; inside its callbacks too. NULL is harmless. Returns
 * NULL. */
struct http_call *http_call_cancel(struct http_call *call);
