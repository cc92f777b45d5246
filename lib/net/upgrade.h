/*
 * The client side of an upgraded connection (RFC 9110 section 7.8): connect by TCP, TLS or a unix
 * socket, send a request with Upgrade, read the response's head, hand over the raw byte stream.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "net/http.h"
#include "net/stream.h"
#include "net/tls.h"

struct upgrade;

/* Everything is copied by upgrade_start(). */
struct upgrade_request {
    const char *method; /* NULL: POST */
    const char *url;    /* host names are resolved synchronously: prefer addresses */
    const struct http_headers
        *headers;            /* further fields; Host, Connection, Upgrade are made here */
    const char *protocol;    /* "SPDY/3.1"; NULL: @headers has Connection and Upgrade
                                (a proxy passing a request on) */
    const char *unix_socket; /* connect there instead; no TLS */
    const char *connect_to;  /* numeric "address:port" to connect to instead */
    const struct tls_client_config *tls; /* NULL: the system's CAs; only for https */
    const char *bearer_token;
    uint64_t timeout_ms; /* until the response's head is there; 0: 30 s */
};
struct upgrade_response {
    int status;
    const struct http_headers *headers;
    const char *body; /* of a refusal: at most 64 KB, NUL-terminated; "" with a 101 */
    size_t body_len;
};

/* @stream is not NULL exactly when the status is 101: the callee owns it; bytes that followed the
 * head are in it. Otherwise, with a @response, the server answered something else. @response NULL:
 * @err says what failed (codes as in http_client.h). Called once; the upgrade is gone after that.
 */
typedef void (*upgrade_fn)(struct stream *stream, const struct upgrade_response *response,
                           const struct error *err, void *arg);
/* -EINVAL, or -errno of connecting, at once; *ret (may be NULL) is valid until @cb is called. */
int upgrade_start(struct loop *loop, const struct upgrade_request *request, upgrade_fn cb,
                  void *arg, struct upgrade **ret, struct error *err);
/* No callback. NULL is harmless. Returns NULL. */
struct upgrade *upgrade_cancel(struct upgrade *u);
