/* The client side of an upgraded connection: see upgrade.h. */
#include "net/upgrade.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <strings.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>

#include "net/http_parse.h"
#include "net/socket.h"

#define TIMEOUT_MS 30000
#define BODY_MAX   (64 * 1024)

struct upgrade {
    struct loop *loop;
    struct bufferevent *bev;
    SSL_CTX *ctx;
    struct loop_timer timer;
    char *method;
    upgrade_fn cb;
    void *arg;
    size_t scanned;
    bool has_head;
    struct http_head head; /* of a response that is no 101 */
    struct http_chunked chunked;
    struct strbuf body;
};

struct upgrade *upgrade_cancel(struct upgrade *u)
{
    if (!u)
        return NULL;
    if (u->bev)
        bufferevent_free(u->bev);
    SSL_CTX_free(u->ctx);
    loop_timer_done(&u->timer);
    http_head_done(&u->head);
    strbuf_done(&u->body);
    free(u->method);
    free(u);
    return NULL;
}

static void fail(struct upgrade *u, const struct error *err)
{
    upgrade_fn cb = u->cb;
    void *arg = u->arg;
    (void)upgrade_cancel(u);
    cb(NULL, NULL, err, arg);
}

static void failf(struct upgrade *u, int code, const char *text)
{
    struct error err = ERROR_INIT;
    (void)error_set(&err, code, "%s", text);
    fail(u, &err);
}

static struct upgrade_response response_of(struct upgrade *u)
{
    return (struct upgrade_response){.status = u->head.status,
                                     .headers = &u->head.headers,
                                     .body = strbuf_text(&u->body),
                                     .body_len = u->body.len};
}

static void refused(struct upgrade *u)
{
    struct upgrade_response response = response_of(u);
    loop_timer_stop(&u->timer);
    u->cb(NULL, &response, NULL, u->arg);
    (void)upgrade_cancel(u);
}

static void switched(struct upgrade *u)
{
    struct upgrade_response response = response_of(u);
    struct bufferevent *bev = TAKE_PTR(u->bev);
    loop_timer_stop(&u->timer);
    u->cb(stream_new_bufferevent(u->loop, bev), &response, NULL, u->arg);
    (void)upgrade_cancel(u);
}

/* Gathers the body of a refusal. Returns whether all of it (or enough) is there. */
static int read_body(struct upgrade *u, struct evbuffer *in)
{
    size_t len;
    while ((len = evbuffer_get_contiguous_space(in)) > 0) {
        const char *data = (const char *)evbuffer_pullup(in, (ev_ssize_t)len), *piece = data;
        size_t used = len, piece_len = len;
        if (u->head.framing == HTTP_BODY_CHUNKED) {
            ssize_t n = http_chunked_feed(&u->chunked, data, len, &piece, &piece_len);
            if (n < 0)
                return -EBADMSG;
            used = (size_t)n;
        } else if (u->head.framing == HTTP_BODY_LENGTH && len > u->head.length - u->body.len) {
            used = piece_len = (size_t)(u->head.length - u->body.len);
        }
        if (piece_len > BODY_MAX - u->body.len)
            piece_len = BODY_MAX - u->body.len;
        if (piece_len > 0)
            strbuf_add(&u->body, piece, piece_len);
        (void)evbuffer_drain(in, used);
        if (u->body.len == BODY_MAX || http_chunked_ended(&u->chunked) ||
            (u->head.framing == HTTP_BODY_LENGTH && u->body.len == u->head.length))
            return 1;
    }
    return u->head.framing == HTTP_BODY_NONE;
}

/* Returns 1 with a whole head in u->head, 0 when more must come, -EBADMSG. */
static int read_head(struct upgrade *u, struct evbuffer *in)
{
    for (;;) {
        size_t len = evbuffer_get_length(in);
        if (len > HTTP_HEAD_MAX + 1)
            len = HTTP_HEAD_MAX + 1;
        const char *data = len ? (const char *)evbuffer_pullup(in, (ev_ssize_t)len) : NULL;
        ssize_t n = len ? http_head_find(data, len, &u->scanned) : 0;
        if (n <= 0)
            return n < 0 ? -EBADMSG : 0;
        u->scanned = 0;
        int r = http_response_parse(data, (size_t)n, u->method, &u->head, NULL);
        (void)evbuffer_drain(in, (size_t)n);
        if (r < 0)
            return -EBADMSG;
        if (u->head.status >= 200 || u->head.status == 101)
            return 1;
        http_head_done(&u->head); /* 100 and the like: the response is yet to come */
    }
}

static void on_readable(struct bufferevent *bev, void *arg)
{
    struct upgrade *u = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    int r = u->has_head ? 1 : read_head(u, in);
    if (r == 1) {
        u->has_head = true;
        if (u->head.status == 101) {
            switched(u);
            return;
        }
        r = read_body(u, in);
    }
    if (r < 0)
        failf(u, -EIO, "the server's response is malformed");
    else if (r > 0)
        refused(u);
}

static void describe_failure(struct bufferevent *bev, struct error *err)
{
    int code = evutil_socket_geterror(bufferevent_getfd(bev));
    SSL *ssl = bufferevent_openssl_get_ssl(bev);
    unsigned long tls = ssl ? bufferevent_get_openssl_error(bev) : 0;
    long verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
    if (verify != X509_V_OK)
        (void)error_set(err, -EPROTO, "TLS: %s", X509_verify_cert_error_string(verify));
    else if (tls)
        (void)error_set(err, -EPROTO, "TLS: %s",
                        ERR_reason_error_string(tls) ? ERR_reason_error_string(tls) : "failure");
    else
        (void)error_errno(err, code ? -code : -ECONNRESET, "connection");
}

static void on_written(struct bufferevent *bev, _unused_ void *arg)
{
    (void)bufferevent_enable(bev, EV_READ);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct upgrade *u = arg;
    struct error err = ERROR_INIT;
    if (what & BEV_EVENT_CONNECTED)
        return;
    if ((what & BEV_EVENT_EOF) && u->has_head && u->head.framing == HTTP_BODY_UNTIL_CLOSE) {
        refused(u);
    } else if (what & BEV_EVENT_EOF) {
        failf(u, -ECONNRESET, "the server closed the connection without an answer");
    } else {
        describe_failure(bev, &err);
        fail(u, &err);
    }
}

static void on_timeout(void *arg)
{
    failf(arg, -ETIMEDOUT, "the server did not answer in time");
}

/* ---- starting ---- */

static bool field_allowed(const struct upgrade_request *q, const char *name)
{
    static const char *const ours[] = {"Host", "Connection", "Upgrade", "Content-Length",
                                       "Transfer-Encoding"};
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        if (strcasecmp(name, ours[i]) == 0)
            return !q->protocol && (i == 1 || i == 2);
    return true;
}

static int add_request(struct upgrade *u, const struct upgrade_request *q,
                       const struct http_url *url, struct strbuf *out, struct error *err)
{
    if (!http_token_valid(u->method, strlen(u->method)))
        return error_set(err, -EINVAL, "malformed method");
    strbuf_addf(out, "%s %s%s%s HTTP/1.1\r\nHost: ", u->method, url->path, url->query ? "?" : "",
                url->query ? url->query : "");
    http_url_host_field(url, out);
    strbuf_adds(out, "\r\n");
    if (q->protocol)
        strbuf_addf(out, "Connection: Upgrade\r\nUpgrade: %s\r\n", q->protocol);
    if (strcmp(u->method, "POST") == 0 || strcmp(u->method, "PUT") == 0)
        strbuf_adds(out, "Content-Length: 0\r\n");
    for (size_t i = 0; q->headers && i < q->headers->count; i++) {
        const struct http_header *h = &q->headers->items[i];
        if (!http_token_valid(h->name, strlen(h->name)) ||
            !http_value_valid(h->value, strlen(h->value)))
            return error_set(err, -EINVAL, "malformed header field %s", h->name);
        if (field_allowed(q, h->name))
            strbuf_addf(out, "%s: %s\r\n", h->name, h->value);
    }
    if (q->bearer_token) {
        if (!http_value_valid(q->bearer_token, strlen(q->bearer_token)))
            return error_set(err, -EINVAL, "malformed bearer token");
        strbuf_addf(out, "Authorization: Bearer %s\r\n", q->bearer_token);
    }
    strbuf_adds(out, "\r\n");
    return 0;
}

static int resolve(const char *host, uint16_t port, struct sockaddr_storage *sa, socklen_t *len,
                   struct error *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    char service[8];
    if (socket_address(host, port, sa, len, NULL) == 0)
        return 0;
    (void)snprintf(service, sizeof(service), "%u", port);
    int r = getaddrinfo(host, service, &hints, &list);
    if (r != 0)
        return error_set(err, -EHOSTUNREACH, "%s: %s", host, gai_strerror(r));
    memcpy(sa, list->ai_addr, list->ai_addrlen);
    *len = list->ai_addrlen;
    freeaddrinfo(list);
    return 0;
}

static int connect_socket(const struct upgrade_request *q, const struct http_url *url,
                          struct error *err)
{
    struct sockaddr_storage sa;
    socklen_t len = 0;
    int r;
    if (q->unix_socket) {
        r = socket_unix_address(q->unix_socket, &sa, &len, err);
    } else if (q->connect_to) {
        _cleanup_http_url_ struct http_url to = {.scheme = NULL};
        _cleanup_free_ char *text = str_printf("http://%s/", q->connect_to);
        r = http_url_parse(&to, text, err);
        if (r == 0)
            r = socket_address(to.host, to.port, &sa, &len, err);
    } else {
        r = resolve(url->host, url->port, &sa, &len, err);
    }
    return r < 0 ? r : socket_connect(&sa, len, err);
}

static int make_bufferevent(struct upgrade *u, const struct upgrade_request *q,
                            const struct http_url *url, struct error *err)
{
    const int flags = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS;
    SSL *ssl = NULL;
    int r = 0;
    if (strcmp(url->scheme, "https") == 0 && !q->unix_socket) {
        r = tls_client_context(q->tls, &u->ctx, err);
        if (r == 0)
            r = tls_client_ssl(u->ctx, q->tls, url->host, &ssl, err);
    }
    int fd = r < 0 ? r : connect_socket(q, url, err);
    if (fd < 0) {
        SSL_free(ssl);
        return fd;
    }
    u->bev = ssl ? bufferevent_openssl_socket_new(loop_base(u->loop), fd, ssl,
                                                  BUFFEREVENT_SSL_CONNECTING, flags)
                 : bufferevent_socket_new(loop_base(u->loop), fd, flags);
    if (!u->bev)
        abort();
    return 0;
}

int upgrade_start(struct loop *loop, const struct upgrade_request *request, upgrade_fn cb,
                  void *arg, struct upgrade **ret, struct error *err)
{
    _cleanup_http_url_ struct http_url url = {.scheme = NULL};
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = http_url_parse(&url, request->url, err);
    if (r < 0)
        return r;
    struct upgrade *u = mem_zalloc(sizeof(*u));
    u->loop = loop;
    u->cb = cb;
    u->arg = arg;
    u->method = str_dup(request->method ? request->method : "POST");
    r = add_request(u, request, &url, &text, err);
    if (r == 0)
        r = make_bufferevent(u, request, &url, err);
    if (r < 0) {
        (void)upgrade_cancel(u);
        return r;
    }
    bufferevent_setcb(u->bev, on_readable, on_written, on_event, u);
    bufferevent_setwatermark(u->bev, EV_READ, 0, 2 * HTTP_HEAD_MAX);
    (void)bufferevent_write(u->bev, text.data, text.len);
    /* Reading begins when the request is out: else a second error would hide why a connection
     * could not be made. */
    (void)bufferevent_enable(u->bev, EV_WRITE);
    (void)bufferevent_disable(u->bev, EV_READ);
    loop_timer_init(&u->timer, loop, "upgrade", on_timeout, u);
    loop_timer_set(&u->timer, request->timeout_ms ? request->timeout_ms : TIMEOUT_MS);
    if (ret)
        *ret = u;
    return 0;
}
