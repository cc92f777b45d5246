/*
 * The gRPC client of grpc_client.h: one connection to its target, made when it is needed.
 *
 * A call is a stream of one message each way; both kinds are a struct rpc_stream underneath. A call
 * made while there is no connection waits for the attempt to connect; when that fails it fails with
 * it, or goes on waiting with wait_for_ready. After a failed attempt there is a pause, in which
 * calls fail at once.
 */
#include "net/grpc_client.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <event2/dns.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "net/grpc_h2.h"

#define METADATA_MAX  8
#define HEADERS_MAX   (METADATA_MAX + 8)
#define BACKOFF_FIRST 100
#define BACKOFF_MAX   5000
#define PING_TIMEOUT  10000
#define NOT_SENT      "not sent: " /* begins the text of failures that the server saw nothing of */

struct metadata {
    char *key, *value;
};

struct rpc_client {
    struct rpc *rpc;
    char *target, *authority, *host, *server_name;
    int port;
    SSL_CTX *tls;
    struct rpc_client_options options; /* the numbers of it */

    struct h2_conn *conn; /* the one that new calls use, up or connecting */
    struct list conns;    /* it, and those that drain */
    bool up;
    uint64_t retry_at, backoff; /* after a failed attempt; 0: none */
    char *failure;              /* of the last attempt */
    struct loop_timer retry;    /* for calls that wait for ready */

    struct metadata metadata[METADATA_MAX];
    size_t n_metadata;
    struct list waiting; /* calls that are on no connection */
    struct list active;
};

struct rpc_stream {
    struct h2_stream h2;
    struct rpc_client *client;
    struct list entry; /* in client->waiting or ->active */
    const char *path;
    const ProtobufCMessageDescriptor *response;
    uint64_t deadline; /* now_ms(); 0: none */
    struct loop_timer timer;
    struct loop_deferred fail;
    bool started, dead; /* dead: user's callbacks are over */

    /* a stream */
    const struct rpc_stream_events *events;
    /* a unary call */
    rpc_reply_fn *cb;
    ProtobufCMessage *reply;
    void *arg;

    enum rpc_status status; /* what the server says, or we */
    bool has_status;
    int http_status;
    char *text;
};

static void client_connect(struct rpc_client *c);

/* ---- the end of a call ---- */
static void stream_free(struct rpc_stream *s)
{
    h2_stream_detach(&s->h2, NGHTTP2_CANCEL);
    list_remove(&s->entry);
    loop_timer_done(&s->timer);
    loop_deferred_done(&s->fail);
    rpc_message_free(s->reply);
    free(s->text);
    free(s);
}

static void finish(struct rpc_stream *s)
{
    h2_stream_detach(&s->h2, NGHTTP2_CANCEL);
    list_remove(&s->entry);
    loop_timer_stop(&s->timer);
    s->dead = true;
    const char *text = s->text ? s->text : "";
    if (s->events) {
        s->events->on_end(s->arg, s->status, text);
    } else if (s->status == RPC_OK && !s->reply) {
        s->cb(s->arg, RPC_INTERNAL, "the server's answer has no message", NULL);
    } else {
        s->cb(s->arg, s->status, text, s->status == RPC_OK ? s->reply : NULL);
    }
    stream_free(s);
}

static void set_status(struct rpc_stream *s, enum rpc_status status, const char *fmt, ...)
    _printf_(3, 4);
static void set_status(struct rpc_stream *s, enum rpc_status status, const char *fmt, ...)
{
    struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    free(s->text);
    s->text = strbuf_take(&text);
    s->status = status;
    s->has_status = true;
}

static void on_deadline(void *arg)
{
    struct rpc_stream *s = arg;
    if (s->started)
        set_status(s, RPC_DEADLINE_EXCEEDED, "the deadline passed");
    else
        set_status(s, RPC_DEADLINE_EXCEEDED, "%sthe deadline passed while waiting for %s%s%s",
                   NOT_SENT, s->client->target, s->client->failure ? ": " : "",
                   s->client->failure ? s->client->failure : "");
    finish(s);
}

static void on_fail(void *arg)
{
    finish(arg);
}

bool rpc_never_sent(enum rpc_status status, const char *message)
{
    return status != RPC_OK && str_starts(message, NOT_SENT);
}

/* ---- what arrives ---- */
static struct rpc_stream *stream_of(struct h2_stream *h2)
{
    return CONTAINER_OF(h2, struct rpc_stream, h2);
}

static void on_header(struct h2_stream *h2, const char *name, const char *value)
{
    struct rpc_stream *s = stream_of(h2);
    if (str_eq(name, "grpc-status")) {
        s->status = (enum rpc_status)strtoul(value, NULL, 10);
        if (s->status > RPC_UNAUTHENTICATED)
            s->status = RPC_UNKNOWN;
        s->has_status = true;
    } else if (str_eq(name, "grpc-message")) {
        _cleanup_free_ char *text = rpc_text_decode(value);
        const char *rest = text;
        while (str_starts(rest, NOT_SENT)) /* ours alone to say */
            rest += strlen(NOT_SENT);
        free(s->text);
        s->text = str_dup(rest);
    } else if (str_eq(name, ":status")) {
        s->http_status = (int)strtoul(value, NULL, 10);
    }
}

static void on_message(struct h2_stream *h2, const void *data, size_t len)
{
    struct rpc_stream *s = stream_of(h2);
    ProtobufCMessage *message = rpc_decode(data, len, s->response);
    if (!message) {
        set_status(s, RPC_INTERNAL, "the server's message cannot be decoded");
        finish(s);
    } else if (s->events) {
        s->events->on_message(s->arg, message);
        rpc_message_free(message);
    } else if (s->reply) {
        rpc_message_free(message);
        set_status(s, RPC_INTERNAL, "the server answered with more than one message");
        finish(s);
    } else {
        s->reply = message;
    }
}

static void on_bad_message(struct h2_stream *h2, enum rpc_status status, const char *text)
{
    struct rpc_stream *s = stream_of(h2);
    set_status(s, status, "%s", text);
    finish(s);
}

static void on_remote_end(struct h2_stream *h2)
{
    struct rpc_stream *s = stream_of(h2);
    if (s->has_status)
        finish(s); /* else on_close() follows */
}

static void on_writable(struct h2_stream *h2)
{
    struct rpc_stream *s = stream_of(h2);
    if (s->events && s->events->on_writable)
        s->events->on_writable(s->arg);
}

static enum rpc_status status_of_http(int http)
{
    switch (http) {
    case 400:
        return RPC_INTERNAL;
    case 401:
        return RPC_UNAUTHENTICATED;
    case 403:
        return RPC_PERMISSION_DENIED;
    case 404:
        return RPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return RPC_UNAVAILABLE;
    default:
        return RPC_UNKNOWN;
    }
}

static void on_close(struct h2_stream *h2, uint32_t error, bool lost)
{
    struct rpc_stream *s = stream_of(h2);
    if (s->has_status)
        ; /* said all */
    else if (lost)
        set_status(s, RPC_UNAVAILABLE, "the connection to %s was lost", s->client->target);
    else if (error == NGHTTP2_REFUSED_STREAM)
        set_status(s, RPC_UNAVAILABLE, "%s%s refused the stream", NOT_SENT, s->client->target);
    else if (error == NGHTTP2_CANCEL)
        set_status(s, RPC_CANCELLED, "the server cancelled the stream");
    else if (error == NGHTTP2_ENHANCE_YOUR_CALM)
        set_status(s, RPC_RESOURCE_EXHAUSTED, "the server asks for calm");
    else if (error != NGHTTP2_NO_ERROR)
        set_status(s, RPC_INTERNAL, "the stream was reset: %s", nghttp2_http2_strerror(error));
    else
        set_status(s, status_of_http(s->http_status), "no gRPC status, HTTP status %d",
                   s->http_status);
    finish(s);
}

static const struct h2_stream_ops stream_ops = {
    .on_header = on_header,
    .on_message = on_message,
    .on_bad_message = on_bad_message,
    .on_remote_end = on_remote_end,
    .on_writable = on_writable,
    .on_close = on_close,
};

/* ---- starting calls ---- */
static void timeout_header(char *out, size_t size, uint64_t deadline)
{
    uint64_t now = now_ms(), left = deadline > now ? deadline - now : 1;
    if (left < 100000000)
        (void)snprintf(out, size, "%llum", (unsigned long long)left);
    else
        (void)snprintf(out, size, "%lluS",
                       (unsigned long long)(left / 1000 < 99999999 ? left / 1000 : 99999999));
}

static void start(struct rpc_stream *s)
{
    struct rpc_client *c = s->client;
    nghttp2_nv nv[HEADERS_MAX];
    char timeout[24];
    size_t n = 0;
    nv[n++] = h2_nv(":method", "POST");
    nv[n++] = h2_nv(":scheme", c->tls ? "https" : "http");
    nv[n++] = h2_nv(":path", s->path);
    nv[n++] = h2_nv(":authority", c->authority);
    nv[n++] = h2_nv("content-type", "application/grpc");
    nv[n++] = h2_nv("te", "trailers");
    nv[n++] = h2_nv("user-agent", "coracle");
    if (s->deadline) {
        timeout_header(timeout, sizeof(timeout), s->deadline);
        nv[n++] = h2_nv("grpc-timeout", timeout);
    }
    for (size_t i = 0; i < c->n_metadata; i++)
        nv[n++] = h2_nv(c->metadata[i].key, c->metadata[i].value);
    list_remove(&s->entry);
    if (h2_conn_request(c->conn, &s->h2, nv, n) < 0) {
        set_status(s, RPC_UNAVAILABLE, "%s%s takes no more streams", NOT_SENT, c->target);
        loop_defer(&s->fail);
    } else {
        s->started = true;
    }
    list_append(&c->active, &s->entry);
}

static void fail_waiting(struct rpc_client *c)
{
    while (!list_empty(&c->waiting)) {
        struct rpc_stream *s = LIST_ENTRY(c->waiting.next, struct rpc_stream, entry);
        set_status(s, RPC_UNAVAILABLE, "%scannot connect to %s: %s", NOT_SENT, c->target,
                   c->failure);
        list_remove(&s->entry);
        list_append(&c->active, &s->entry);
        loop_defer(&s->fail);
    }
}

static struct rpc_stream *stream_new(struct rpc_client *c, const struct rpc_method *method,
                                     uint64_t deadline_ms, void *arg)
{
    struct rpc_stream *s = mem_zalloc(sizeof(*s));
    h2_stream_init(&s->h2, c->rpc->loop, &stream_ops, c->options.message_max);
    s->client = c;
    s->path = method->path;
    s->response = method->response;
    s->arg = arg;
    s->status = RPC_UNKNOWN;
    loop_timer_init(&s->timer, c->rpc->loop, "gRPC deadline", on_deadline, s);
    loop_deferred_init(&s->fail, c->rpc->loop, on_fail, s);
    if (deadline_ms > 0 && deadline_ms < UINT32_MAX) {
        s->deadline = now_ms() + deadline_ms;
        loop_timer_set(&s->timer, deadline_ms);
    }
    list_append(&c->waiting, &s->entry);
    return s;
}

/* Sends it if there is a connection, else makes one or waits. */
static void begin(struct rpc_stream *s)
{
    struct rpc_client *c = s->client;
    if (c->conn && c->up) {
        start(s);
    } else if (!c->conn) {
        if (now_ms() >= c->retry_at)
            client_connect(c);
        else if (!c->options.wait_for_ready)
            fail_waiting(c);
        else if (!loop_timer_armed(&c->retry))
            loop_timer_set(&c->retry, c->retry_at - now_ms());
    }
}

static struct rpc_call *call_new(struct rpc_client *client, const struct rpc_method *method,
                                 struct rpc_frame *request, uint64_t deadline_ms, rpc_reply_fn *cb,
                                 void *arg)
{
    struct rpc_stream *s = stream_new(client, method, deadline_ms, arg);
    s->cb = cb;
    if (request->len > client->options.message_max) {
        free(request);
        set_status(s, RPC_RESOURCE_EXHAUSTED, "the request is larger than the limit");
        loop_defer(&s->fail);
        return (struct rpc_call *)s;
    }
    (void)h2_stream_send(&s->h2, request);
    h2_stream_end(&s->h2);
    begin(s);
    return (struct rpc_call *)s;
}

struct rpc_call *rpc_client_call(struct rpc_client *client, const struct rpc_method *method,
                                 const ProtobufCMessage *request, uint64_t deadline_ms,
                                 rpc_reply_fn *cb, void *arg)
{
    return call_new(client, method, rpc_frame_of(request), deadline_ms, cb, arg);
}

struct rpc_call *rpc_client_call_encoded(struct rpc_client *client, const struct rpc_method *method,
                                         const void *request, size_t len, uint64_t deadline_ms,
                                         rpc_reply_fn *cb, void *arg)
{
    return call_new(client, method, rpc_frame_of_bytes(request, len), deadline_ms, cb, arg);
}

void rpc_call_cancel(struct rpc_call *call)
{
    if (call)
        rpc_stream_cancel((struct rpc_stream *)call);
}

struct rpc_stream *rpc_client_stream(struct rpc_client *client, const struct rpc_method *method,
                                     const ProtobufCMessage *first, bool only, uint64_t deadline_ms,
                                     const struct rpc_stream_events *events, void *arg)
{
    struct rpc_stream *s = stream_new(client, method, deadline_ms, arg);
    s->events = events;
    if (first)
        (void)h2_stream_send(&s->h2, rpc_frame_of(first));
    if (only)
        h2_stream_end(&s->h2);
    begin(s);
    return s;
}

int rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message)
{
    if (stream->h2.ending || stream->dead)
        return -EPIPE;
    struct rpc_frame *frame = rpc_frame_of(message);
    int r = frame->len > stream->client->options.message_max ? -EMSGSIZE
                                                             : h2_stream_send(&stream->h2, frame);
    if (r != 0)
        free(frame);
    return r;
}

void rpc_stream_close_send(struct rpc_stream *stream)
{
    h2_stream_end(&stream->h2);
}

void rpc_stream_pause(struct rpc_stream *stream, bool paused)
{
    h2_stream_pause(&stream->h2, paused);
}

void rpc_stream_cancel(struct rpc_stream *stream)
{
    if (stream && !stream->dead)
        stream_free(stream);
}

/* ---- the connection ---- */
static void failed(struct rpc_client *c, const char *reason)
{
    uint64_t most = c->options.reconnect_max_ms;
    c->backoff = c->backoff == 0 ? BACKOFF_FIRST : c->backoff * 2;
    c->backoff = c->backoff > most ? most : c->backoff;
    c->retry_at = now_ms() + c->backoff;
    free(c->failure);
    c->failure = str_dup(reason);
    if (list_empty(&c->waiting))
        return;
    if (c->options.wait_for_ready)
        loop_timer_set(&c->retry, c->backoff);
    else
        fail_waiting(c);
}

static void on_ready(_unused_ struct h2_conn *conn, void *owner)
{
    struct rpc_client *c = owner;
    c->up = true;
    c->backoff = c->retry_at = 0;
    while (!list_empty(&c->waiting))
        start(LIST_ENTRY(c->waiting.next, struct rpc_stream, entry));
}

static void on_draining(struct h2_conn *conn, void *owner)
{
    struct rpc_client *c = owner;
    if (conn != c->conn)
        return;
    c->conn = NULL;
    c->up = false;
}

static void on_lost(struct h2_conn *conn, const char *reason, void *owner)
{
    struct rpc_client *c = owner;
    if (conn != c->conn)
        return;
    bool was_up = c->up;
    c->conn = NULL;
    c->up = false;
    if (!was_up)
        failed(c, reason);
}

static const struct h2_conn_ops conn_ops = {
    .on_ready = on_ready,
    .on_draining = on_draining,
    .on_lost = on_lost,
};

static int set_peer_name(struct rpc_client *c, SSL *ssl)
{
    const char *name = c->server_name ? c->server_name : c->host;
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1)
        return 1;
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

static struct bufferevent *make_bufferevent(struct rpc_client *c)
{
    struct event_base *base = loop_base(c->rpc->loop);
    if (!c->tls)
        return bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    SSL *ssl = SSL_new(c->tls);
    if (!ssl || !set_peer_name(c, ssl)) {
        SSL_free(ssl);
        return NULL;
    }
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, -1, ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    if (!bev)
        SSL_free(ssl);
    return bev;
}

static int dial(struct rpc_client *c, struct bufferevent *bev)
{
    const char *path = rpc_unix_path(c->target);
    if (path) {
        struct sockaddr_un addr = {.sun_family = AF_UNIX};
        memcpy(addr.sun_path, path, strlen(path)); /* rpc_client_new() checked the length */
        return bufferevent_socket_connect(bev, (struct sockaddr *)&addr, sizeof(addr));
    }
    struct sockaddr_storage addr;
    int len = sizeof(addr);
    _cleanup_free_ char *numeric =
        str_printf(strchr(c->host, ':') ? "[%s]:%d" : "%s:%d", c->host, c->port);
    if (evutil_parse_sockaddr_port(numeric, (struct sockaddr *)&addr, &len) == 0)
        return bufferevent_socket_connect(bev, (struct sockaddr *)&addr, len);
    if (!c->rpc->dns)
        c->rpc->dns = evdns_base_new(loop_base(c->rpc->loop), EVDNS_BASE_INITIALIZE_NAMESERVERS |
                                                                  EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    return bufferevent_socket_connect_hostname(bev, c->rpc->dns, AF_UNSPEC, c->host, c->port);
}

static void client_connect(struct rpc_client *c)
{
    struct bufferevent *bev = make_bufferevent(c);
    if (!bev) {
        failed(c, "cannot prepare TLS");
        return;
    }
    struct h2_conn_options options = {
        .connecting = true,
        .tls = c->tls != NULL,
        .keepalive_ms = c->options.keepalive_ms,
        .keepalive_timeout_ms = c->options.keepalive_timeout_ms,
        .connect_ms = c->options.reconnect_max_ms,
    };
    struct h2_conn *conn = h2_conn_new(c->rpc->loop, bev, &options, &conn_ops, c, &c->conns);
    c->conn = conn;
    if (dial(c, bev) < 0 && c->conn == conn) { /* libevent may have told on_lost() already */
        int e = errno;
        c->conn = h2_conn_free(conn);
        failed(c, strerror(e));
    }
}

static void on_retry(void *arg)
{
    struct rpc_client *c = arg;
    if (!c->conn && !list_empty(&c->waiting))
        client_connect(c);
}

/* ---- options ---- */
static X509 *read_cert(BIO *bio)
{
    return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

static int add_roots(SSL_CTX *tls, const char *pem, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    int n = 0;
    X509 *x;
    while ((x = read_cert(bio))) {
        (void)X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), x);
        X509_free(x);
        n++;
    }
    BIO_free(bio);
    ERR_clear_error();
    return n > 0 ? 0 : error_set(err, -EINVAL, "the CA certificate is not in PEM form");
}

static int add_identity(SSL_CTX *tls, const char *cert_pem, const char *key_pem, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(cert_pem, -1);
    X509 *x = read_cert(bio);
    int r = x && SSL_CTX_use_certificate(tls, x) == 1 ? 0 : -EINVAL;
    X509_free(x);
    while (r == 0 && (x = read_cert(bio)))
        if (SSL_CTX_add_extra_chain_cert(tls, x) != 1)
            X509_free(x);
    BIO_free(bio);
    if (r < 0)
        return error_set(err, r, "the client certificate is not in PEM form");
    bio = BIO_new_mem_buf(key_pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    r = key && SSL_CTX_use_PrivateKey(tls, key) == 1 ? 0 : -EINVAL;
    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
    return r < 0 ? error_set(err, r, "the client key is not in PEM form or is another's") : 0;
}

static int make_tls(struct rpc_client *c, const struct rpc_client_options *o, struct error *err)
{
    static const unsigned char alpn[] = "\x02h2";
    if (!o->ca_pem)
        return 0;
    if (!o->cert_pem != !o->key_pem)
        return error_set(err, -EINVAL, "a client certificate needs its key, a key its certificate");
    c->tls = SSL_CTX_new(TLS_client_method());
    if (!c->tls || SSL_CTX_set_min_proto_version(c->tls, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_alpn_protos(c->tls, alpn, sizeof(alpn) - 1) != 0)
        return error_set(err, -ENOMEM, "cannot prepare TLS");
    SSL_CTX_set_verify(c->tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(c->tls, SSL_MODE_RELEASE_BUFFERS);
    int r = add_roots(c->tls, o->ca_pem, err);
    return r == 0 && o->cert_pem ? add_identity(c->tls, o->cert_pem, o->key_pem, err) : r;
}

static int parse_target(struct rpc_client *c, const char *target, struct error *err)
{
    const char *path = rpc_unix_path(target), *colon = strrchr(target, ':');
    if (path) {
        if (path[0] != '/' || strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
            return error_set(err, -EINVAL, "\"%s\" names no unix socket by an absolute path",
                             target);
        c->authority = str_dup("localhost");
        return 0;
    }
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : 0;
    if (!colon || colon == target || *end || port < 1 || port > 65535)
        return error_set(err, -EINVAL, "\"%s\" is neither unix:///absolute/path nor host:port",
                         target);
    bool bracketed = target[0] == '[' && colon[-1] == ']';
    c->host = str_ndup(target + bracketed, (size_t)(colon - target) - 2 * (size_t)bracketed);
    c->port = (int)port;
    c->authority = str_dup(target);
    return 0;
}

struct rpc_client *rpc_client_new(struct rpc *rpc, const struct rpc_client_options *options,
                                  struct error *err)
{
    struct rpc_client *c = mem_zalloc(sizeof(*c));
    c->rpc = rpc;
    c->options = (struct rpc_client_options){
        .keepalive_ms = options->keepalive_ms,
        .keepalive_timeout_ms =
            options->keepalive_timeout_ms ? options->keepalive_timeout_ms : PING_TIMEOUT,
        .reconnect_max_ms = options->reconnect_max_ms ? options->reconnect_max_ms : BACKOFF_MAX,
        .message_max = options->message_max ? options->message_max : RPC_MESSAGE_MAX,
        .wait_for_ready = options->wait_for_ready,
    };
    c->target = str_dup(options->target);
    c->server_name = str_dup(options->server_name);
    list_init(&c->conns);
    list_init(&c->waiting);
    list_init(&c->active);
    loop_timer_init(&c->retry, rpc->loop, "gRPC reconnect", on_retry, c);
    if (parse_target(c, options->target, err) < 0 || make_tls(c, options, err) < 0)
        return rpc_client_free(c);
    return c;
}

static void free_all(struct list *calls)
{
    struct list *entry;
    while ((entry = list_pop(calls)))
        stream_free(LIST_ENTRY(entry, struct rpc_stream, entry));
}

struct rpc_client *rpc_client_free(struct rpc_client *client)
{
    if (!client)
        return NULL;
    free_all(&client->waiting);
    free_all(&client->active);
    h2_conns_free(&client->conns);
    loop_timer_done(&client->retry);
    for (size_t i = 0; i < client->n_metadata; i++) {
        free(client->metadata[i].key);
        free(client->metadata[i].value);
    }
    SSL_CTX_free(client->tls);
    free(client->target);
    free(client->authority);
    free(client->host);
    free(client->server_name);
    free(client->failure);
    free(client);
    return NULL;
}

void rpc_client_set_metadata(struct rpc_client *client, const char *key, const char *value)
{
    struct metadata *m = client->metadata;
    size_t i = 0;
    while (i < client->n_metadata && !str_eq(m[i].key, key))
        i++;
    if (i < client->n_metadata) {
        free(m[i].key);
        free(m[i].value);
        m[i] = m[--client->n_metadata];
    }
    if (value && client->n_metadata < METADATA_MAX)
        m[client->n_metadata++] = (struct metadata){str_dup(key), str_dup(value)};
}

void rpc_client_reset_backoff(struct rpc_client *client)
{
    client->retry_at = client->backoff = 0;
    if (!client->conn && !list_empty(&client->waiting))
        client_connect(client);
}
