/* What handlers do with an exchange: see http_server.h. */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "net/http_server_impl.h"
#include "net/x509.h"

#define SHARED_MIN (16 * 1024) /* below this, copying costs less than another TLS record */

static void on_work(void *arg);

/* ---- life ---- */

static char **names_copy(const char *const *names)
{
    size_t n = 0;
    while (names[n])
        n++;
    char **copy = mem_zalloc((n + 1) * sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = str_dup(names[i]);
    return copy;
}

struct http_exchange *http_exchange_new(struct http_conn *c, struct http_head *head,
                                        struct error *err)
{
    struct http_query query;
    _cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
    if (http_percent_decode(head->path, strlen(head->path), false, &path) < 0) {
        (void)error_set(err, -EINVAL, "path: invalid percent-encoding");
        return NULL;
    }
    if (http_query_parse(&query, head->query, err) < 0)
        return NULL;
    struct http_exchange *x = mem_zalloc(sizeof(*x));
    x->conn = c;
    x->loop = c->server->loop;
    x->head = *head;
    *head = (struct http_head){.status = 0};
    x->query = query;
    x->decoded_path = strbuf_take(&path);
    x->promised = -1;
    x->peer = c->peer;
    x->peer.address = str_dup(c->peer.address);
    x->peer.common_name = str_dup(c->peer.common_name);
    x->peer.organizations = (const char *const *)(uintptr_t)names_copy(c->peer.organizations);
    loop_deferred_init(&x->work, x->loop, on_work, x);
    return x;
}

void http_exchange_free(struct http_exchange *x)
{
    loop_deferred_done(&x->work);
    free((void *)(uintptr_t)x->peer.address);
    free((void *)(uintptr_t)x->peer.common_name);
    (void)x509_names_free((char **)(uintptr_t)x->peer.organizations);
    http_head_done(&x->head);
    http_query_done(&x->query);
    http_headers_done(&x->reply_headers);
    strbuf_done(&x->body);
    free(x->decoded_path);
    free(x);
}

/* The handler is through with it. @keep: the reply is whole. */
static void finish(struct http_exchange *x, bool keep)
{
    struct http_conn *c = TAKE_PTR(x->conn);
    if (c) {
        http_conn_exchange_ended(c, keep && !x->until_close);
        if (!keep)
            http_conn_close(c);
    }
    http_exchange_free(x);
}

void http_exchange_vanished(struct http_exchange *x)
{
    x->conn = NULL;
    x->close_due = true;
    loop_defer(&x->work);
}

/* After the client vanished: the end of the body that somebody waits for, then on_close. Each may
 * end the exchange; then the deferred call that would follow is gone with it. */
static void on_work(void *arg)
{
    struct http_exchange *x = arg;
    if (x->conn)
        return;
    if (x->body_mode == BODY_WHOLE || x->body_mode == BODY_STREAM) {
        loop_defer(&x->work);
        http_exchange_body_end(x, -ECONNRESET);
    } else if (x->close_due) {
        x->close_due = false;
        if (x->on_close)
            x->on_close(x, x->close_arg);
    }
}

static void wake(struct http_exchange *x)
{
    if (x->conn)
        http_conn_wake(x->conn);
    else
        loop_defer(&x->work);
}

/* ---- the request ---- */

const char *http_exchange_method(const struct http_exchange *x)
{
    return x->head.method;
}

const char *http_exchange_path(const struct http_exchange *x)
{
    return x->head.path;
}

const char *http_exchange_decoded_path(const struct http_exchange *x)
{
    return x->decoded_path;
}

const char *http_exchange_query_string(const struct http_exchange *x)
{
    return x->head.query ? x->head.query : "";
}

const struct http_query *http_exchange_query(const struct http_exchange *x)
{
    return &x->query;
}

const char *http_exchange_query_get(const struct http_exchange *x, const char *key)
{
    return http_query_get(&x->query, key);
}

const struct http_headers *http_exchange_headers(const struct http_exchange *x)
{
    return &x->head.headers;
}

const char *http_exchange_header(const struct http_exchange *x, const char *name)
{
    return http_headers_get(&x->head.headers, name);
}

int64_t http_exchange_content_length(const struct http_exchange *x)
{
    return x->head.framing == HTTP_BODY_CHUNKED ? -1 : (int64_t)x->head.length;
}

const char *http_exchange_bearer_token(const struct http_exchange *x)
{
    const char *v = http_exchange_header(x, "Authorization");
    if (!v || strncasecmp(v, "Bearer ", 7) != 0)
        return NULL;
    v += 7;
    v += strspn(v, " ");
    return *v ? v : NULL;
}

const struct http_peer *http_exchange_peer(const struct http_exchange *x)
{
    return &x->peer;
}

void http_exchange_set_data(struct http_exchange *x, void *data)
{
    x->data = data;
}

void *http_exchange_data(const struct http_exchange *x)
{
    return x->data;
}

void http_exchange_on_close(struct http_exchange *x, void (*cb)(struct http_exchange *x, void *arg),
                            void *arg)
{
    x->on_close = cb;
    x->close_arg = arg;
    wake(x);
}

bool http_exchange_is_closed(const struct http_exchange *x)
{
    return !x->conn;
}

/* ---- the body ---- */

void http_exchange_read_body(struct http_exchange *x, size_t limit, http_body_fn cb, void *arg)
{
    x->body_mode = BODY_WHOLE;
    x->body_limit = limit;
    x->body_cb = cb;
    x->body_arg = arg;
    wake(x);
}

void http_exchange_stream_body(struct http_exchange *x,
                               void (*on_data)(struct http_exchange *x, const void *data,
                                               size_t len, void *arg),
                               void (*on_end)(struct http_exchange *x, int result, void *arg),
                               void *arg)
{
    x->body_mode = BODY_STREAM;
    x->stream_data = on_data;
    x->stream_end = on_end;
    x->body_arg = arg;
    wake(x);
}

void http_exchange_pause_body(struct http_exchange *x)
{
    x->body_paused = true;
}

void http_exchange_resume_body(struct http_exchange *x)
{
    x->body_paused = false;
    wake(x);
}

void http_exchange_body_piece(struct http_exchange *x, const char *data, size_t len)
{
    if (x->body_mode == BODY_STREAM) {
        x->stream_data(x, data, len, x->body_arg);
    } else if (len > x->body_limit || x->body.len > x->body_limit - len) {
        http_exchange_body_end(x, -EFBIG);
    } else {
        strbuf_add(&x->body, data, len);
    }
}

void http_exchange_body_end(struct http_exchange *x, int result)
{
    enum http_body_mode mode = x->body_mode;
    x->body_mode = BODY_TOLD;
    if (mode == BODY_STREAM)
        x->stream_end(x, result, x->body_arg);
    else if (mode == BODY_WHOLE)
        x->body_cb(x, result, strbuf_text(&x->body), x->body.len, x->body_arg);
}

/* ---- the reply ---- */

void http_exchange_add_header(struct http_exchange *x, const char *name, const char *value)
{
    /* What we send is checked like what we get: a value may come from a peer. */
    if (http_token_valid(name, strlen(name)) && http_value_valid(value, strlen(value)))
        http_headers_add(&x->reply_headers, name, value);
}

static void add_headers(const struct http_headers *h, struct strbuf *out)
{
    for (size_t i = 0; i < h->count; i++)
        strbuf_addf(out, "%s: %s\r\n", h->items[i].name, h->items[i].value);
}

static void add_date(struct strbuf *out)
{
    char text[40];
    time_t now = time(NULL);
    struct tm tm;
    (void)gmtime_r(&now, &tm);
    (void)strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    strbuf_addf(out, "Date: %s\r\n", text);
}

static bool has_body(const struct http_exchange *x, int status)
{
    return status >= 200 && status != 204 && status != 304 && strcmp(x->head.method, "HEAD") != 0;
}

/* Writes the head. @length -1: not known. */
static void add_head(struct http_exchange *x, int status, const char *content_type, int64_t length,
                     struct strbuf *out)
{
    const struct http_conn *c = x->conn;
    x->begun = true;
    x->chunked = length < 0 && x->head.minor == 1;
    x->until_close = length < 0 && x->head.minor == 0;
    strbuf_addf(out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    add_date(out);
    if (content_type)
        strbuf_addf(out, "Content-Type: %s\r\n", content_type);
    if (status != 204 && status != 304) {
        if (length >= 0)
            strbuf_addf(out, "Content-Length: %lld\r\n", (long long)length);
        else if (x->chunked)
            strbuf_adds(out, "Transfer-Encoding: chunked\r\n");
    }
    if (!c->keep_alive || c->server->draining || x->until_close || c->continue_wanted)
        strbuf_adds(out, "Connection: close\r\n");
    add_headers(&x->reply_headers, out);
    strbuf_adds(out, "\r\n");
    if (!has_body(x, status)) {
        /* Whatever is written is dropped. */
        x->chunked = false;
        x->promised = 0;
        x->ended = true;
        x->until_close = false;
    } else {
        x->promised = length;
    }
}

void http_exchange_reply(struct http_exchange *x, int status, const char *content_type,
                         const void *data, size_t len)
{
    if (x->conn) {
        _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
        add_head(x, status, content_type, (int64_t)len, &out);
        if (!x->ended && len > 0 && len <= SHARED_MIN)
            strbuf_add(&out, data, len);
        (void)bufferevent_write(x->conn->bev, out.data, out.len);
        if (!x->ended && len > SHARED_MIN)
            (void)bufferevent_write(x->conn->bev, data, len);
    }
    finish(x, true);
}

void http_exchange_replyf(struct http_exchange *x, int status, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    http_exchange_reply(x, status, "text/plain; charset=utf-8", strbuf_text(&text), text.len);
}

void http_exchange_begin(struct http_exchange *x, int status, const char *content_type,
                         int64_t length)
{
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    if (!x->conn || x->begun)
        return;
    add_head(x, status, content_type, length, &out);
    (void)bufferevent_write(x->conn->bev, out.data, out.len);
}

bool http_exchange_begun(const struct http_exchange *x)
{
    return x->begun;
}

/* Whether @len bytes may be written; marks a reply that is longer than promised as broken. */
static bool writable(struct http_exchange *x, size_t len)
{
    if (!x->conn || !x->begun || x->ended || len == 0)
        return false;
    if (x->promised >= 0) {
        if ((uint64_t)len > (uint64_t)x->promised) {
            http_conn_close(x->conn); /* the exchange sees its client vanish */
            return false;
        }
        x->promised -= (int64_t)len;
    }
    return true;
}

static void note_pending(struct http_exchange *x)
{
    if (x->on_drain && http_exchange_pending(x) > x->drain_low)
        x->drain_above = true;
}

void http_exchange_write(struct http_exchange *x, const void *data, size_t len)
{
    if (!writable(x, len))
        return;
    if (x->chunked) {
        /* One buffer, one addition: the TLS layer writes a record for each. */
        struct evbuffer *chunk = evbuffer_new();
        if (!chunk)
            abort();
        (void)evbuffer_add_printf(chunk, "%zx\r\n", len);
        (void)evbuffer_add(chunk, data, len);
        (void)evbuffer_add(chunk, "\r\n", 2);
        if (len <= SHARED_MIN)
            (void)evbuffer_pullup(chunk, -1);
        (void)bufferevent_write_buffer(x->conn->bev, chunk);
        evbuffer_free(chunk);
    } else {
        (void)bufferevent_write(x->conn->bev, data, len);
    }
    note_pending(x);
}

void http_exchange_write_shared(struct http_exchange *x, const void *data, size_t len,
                                void (*release)(const void *data, size_t len, void *arg), void *arg)
{
    if (len <= SHARED_MIN && http_exchange_pending(x) == 0) {
        http_exchange_write(x, data, len);
        release(data, len, arg);
        return;
    }
    if (!writable(x, len)) {
        release(data, len, arg);
        return;
    }
    struct evbuffer *out = evbuffer_new();
    if (!out)
        abort();
    if (x->chunked)
        (void)evbuffer_add_printf(out, "%zx\r\n", len);
    if (evbuffer_add_reference(out, data, len, release, arg) < 0)
        abort();
    if (x->chunked)
        (void)evbuffer_add(out, "\r\n", 2);
    (void)bufferevent_write_buffer(x->conn->bev, out);
    evbuffer_free(out);
    note_pending(x);
}

size_t http_exchange_pending(const struct http_exchange *x)
{
    return x->conn ? evbuffer_get_length(bufferevent_get_output(x->conn->bev)) : 0;
}

void http_exchange_on_drain(struct http_exchange *x, size_t low,
                            void (*cb)(struct http_exchange *x, void *arg), void *arg)
{
    x->drain_low = low;
    x->on_drain = cb;
    x->drain_arg = arg;
    if (x->conn)
        bufferevent_setwatermark(x->conn->bev, EV_WRITE, low, 0);
    note_pending(x);
}

void http_exchange_sent(struct http_exchange *x)
{
    if (x->drain_above && http_exchange_pending(x) <= x->drain_low) {
        x->drain_above = false;
        if (x->on_drain)
            x->on_drain(x, x->drain_arg);
    }
}

void http_exchange_set_patient(struct http_exchange *x)
{
    if (x->conn)
        http_conn_set_patient(x->conn, true);
}

void http_exchange_end(struct http_exchange *x)
{
    bool whole = x->begun && x->promised <= 0;
    if (x->conn && x->chunked && !x->ended)
        (void)bufferevent_write(x->conn->bev, "0\r\n\r\n", 5);
    finish(x, whole || x->until_close);
}

void http_exchange_abort(struct http_exchange *x)
{
    finish(x, false);
}

/* ---- upgrade ---- */

bool http_exchange_wants_upgrade(const struct http_exchange *x, const char *protocol)
{
    const struct http_headers *h = &x->head.headers;
    return x->head.minor == 1 && http_headers_has_token(h, "Connection", "upgrade") &&
           http_headers_has_token(h, "Upgrade", protocol);
}

static int upgrade(struct http_exchange *x, const char *protocol,
                   const struct http_headers *headers, struct stream **ret)
{
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    struct http_conn *c = x->conn;
    if (!c)
        return -EPIPE;
    /* The bytes after the head belong to the new protocol: there may be no body before them. */
    if (x->begun || !c->body_done ||
        !http_headers_has_token(&x->head.headers, "Connection", "upgrade"))
        return -EINVAL;
    strbuf_addf(&out, "HTTP/1.1 101 %s\r\n", http_status_text(101));
    if (protocol)
        strbuf_addf(&out, "Connection: Upgrade\r\nUpgrade: %s\r\n", protocol);
    add_headers(headers, &out);
    strbuf_adds(&out, "\r\n");
    x->conn = NULL;
    (void)bufferevent_write(c->bev, out.data, out.len);
    *ret = http_conn_hand_over(c);
    http_exchange_free(x);
    return 0;
}

int http_exchange_upgrade(struct http_exchange *x, const char *protocol, struct stream **ret)
{
    return http_exchange_wants_upgrade(x, protocol) || !x->conn
               ? upgrade(x, protocol, &x->reply_headers, ret)
               : -EINVAL;
}

int http_exchange_upgrade_as(struct http_exchange *x, const struct http_headers *headers,
                             struct stream **ret)
{
    return upgrade(x, NULL, headers, ret);
}
