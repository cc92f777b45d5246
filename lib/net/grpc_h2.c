/*
 * Connections and streams of grpc_h2.h, over nghttp2 and a bufferevent.
 *
 * nghttp2's callbacks only store what arrived and put the stream on the connection's ready list;
 * when nghttp2 has returned, the ready streams are processed: messages, the peer's end, the close.
 * So users' callbacks can do anything, nghttp2 never being on the stack. Output is likewise
 * gathered by a deferred flush.
 *
 * Flow control: the connection's window is given back as bytes come in, a stream's as they are
 * delivered, or while a message is incomplete. A paused stream thus stops its sender and nobody
 * else.
 */
#include "net/grpc_h2.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "net/grpc_client.h"
#include "net/socket.h"

#define STREAM_WINDOW    (256u << 10)
#define CONN_WINDOW      (4u << 20)
#define OUTPUT_MAX       (256u << 10) /* beyond it nghttp2 is not asked for more */
#define HEADER_BLOCK_MAX 16384
#define FRAME_HEADER     5

struct h2_conn {
    struct list entry; /* in the owner's list */
    struct loop *loop;
    struct bufferevent *bev;
    nghttp2_session *session;
    struct h2_conn_options options;
    const struct h2_conn_ops *ops;
    void *owner;
    struct list streams, ready;
    struct loop_deferred flush;
    struct loop_timer timer; /* connecting, then keep-alive */
    bool up, ready_told, draining, draining_told, pinged, heard;
    bool greeted; /* the peer's SETTINGS are there: it speaks HTTP/2 and has let us in */
    bool *gone;
};

static void conn_lost(struct h2_conn *c, const char *reason);

/* ---- streams ---- */
void h2_stream_pause(struct h2_stream *s, bool paused)
{
    if (s->paused && !paused)
        loop_defer(&s->resume);
    s->paused = paused;
}

static void mark_ready(struct h2_stream *s)
{
    list_remove(&s->ready);
    list_append(&s->conn->ready, &s->ready);
}

static void flush_soon(struct h2_conn *c)
{
    loop_defer(&c->flush);
}

static void drop_queue(struct h2_stream *s)
{
    while (s->head) {
        struct rpc_frame *f = s->head;
        s->head = f->next;
        free(f);
    }
    s->tail = &s->head;
    s->queued = 0;
}

static void leave_conn(struct h2_stream *s, uint32_t error)
{
    struct h2_conn *c = TAKE_PTR(s->conn);
    list_remove(&s->entry);
    list_remove(&s->ready);
    if (c && c->draining)
        flush_soon(c); /* it may have been the last one */
    if (!c || s->closed)
        return;
    (void)nghttp2_session_set_stream_user_data(c->session, s->id, NULL);
    (void)nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, s->id, error);
    flush_soon(c);
}

void h2_stream_detach(struct h2_stream *s, uint32_t error)
{
    leave_conn(s, error);
    loop_deferred_done(&s->resume);
    drop_queue(s);
    strbuf_done(&s->in);
    s->in_off = 0;
    if (s->gone)
        *s->gone = true;
    s->gone = NULL;
}

static size_t message_length(const uint8_t *header)
{
    return (size_t)header[1] << 24 | (size_t)header[2] << 16 | (size_t)header[3] << 8 | header[4];
}

/* What stands at the front of the input: 0 nothing whole, 1 a message, -1 one to be refused. */
static int front_message(const struct h2_stream *s, size_t *ret_len)
{
    size_t have = s->in.len - s->in_off;
    if (have < FRAME_HEADER)
        return 0;
    const uint8_t *p = (const uint8_t *)s->in.data + s->in_off;
    *ret_len = message_length(p);
    if (p[0] != 0 || *ret_len > s->message_max)
        return -1;
    return have - FRAME_HEADER >= *ret_len;
}

/* Delivers one thing, if there is one. */
static bool deliver_one(struct h2_stream *s)
{
    size_t len = 0;
    if (s->requested) {
        s->requested = false;
        s->ops->on_request(s);
        return true;
    }
    int front = s->paused ? 0 : front_message(s, &len);
    if (front > 0) {
        const char *data = s->in.data + s->in_off + FRAME_HEADER;
        s->in_off += FRAME_HEADER + len;
        s->ops->on_message(s, data, len);
    } else if (front < 0 || (!s->paused && s->remote_end && s->in.len > s->in_off)) {
        bool large = front < 0 && s->in.data[s->in_off] == 0;
        s->in_off = s->in.len;
        s->ops->on_bad_message(s, large ? RPC_RESOURCE_EXHAUSTED : RPC_INTERNAL,
                               large       ? "the message is larger than the limit"
                               : front < 0 ? "the message is compressed, which was not offered"
                                           : "the message is cut off");
    } else if (!s->paused && s->remote_end && !s->end_told) {
        s->end_told = true;
        if (s->ops->on_remote_end)
            s->ops->on_remote_end(s);
    } else if (s->full && s->queued <= RPC_QUEUE_MAX / 2) {
        s->full = false;
        s->ops->on_writable(s);
    } else if (!s->paused && s->closed) {
        uint32_t error = s->error;
        bool lost = s->lost;
        h2_stream_detach(s, 0);
        s->ops->on_close(s, error, lost);
        return false;
    } else {
        return false;
    }
    return true;
}

static void give_credit(struct h2_stream *s)
{
    size_t len;
    if (s->unconsumed == 0 || !s->conn || s->closed || (s->paused && front_message(s, &len) != 0))
        return;
    (void)nghttp2_session_consume_stream(s->conn->session, s->id, s->unconsumed);
    s->unconsumed = 0;
    flush_soon(s->conn);
}

static void process(struct h2_stream *s)
{
    bool gone = false;
    if (s->gone) /* further down the stack already */
        return;
    // cppcheck-suppress autoVariables; reset below unless the object is gone
    s->gone = &gone;
    while (!gone && deliver_one(s))
        ;
    if (gone)
        return;
    s->gone = NULL;
    if (s->in_off == s->in.len)
        strbuf_done(&s->in);
    else if (s->in_off > 0)
        strbuf_consume(&s->in, s->in_off);
    s->in_off = 0;
    give_credit(s);
}

static void on_resume(void *arg)
{
    process(arg);
}

void h2_stream_init(struct h2_stream *s, struct loop *loop, const struct h2_stream_ops *ops,
                    uint32_t message_max)
{
    s->ops = ops;
    s->message_max = message_max;
    s->tail = &s->head;
    list_init(&s->entry);
    list_init(&s->ready);
    loop_deferred_init(&s->resume, loop, on_resume, s);
}

static void resume_output(struct h2_stream *s)
{
    if (!s->conn)
        return;
    if (s->deferred) {
        s->deferred = false;
        (void)nghttp2_session_resume_data(s->conn->session, s->id);
    }
    flush_soon(s->conn);
}

int h2_stream_send(struct h2_stream *s, struct rpc_frame *frame)
{
    if (s->head && s->queued + frame->len > RPC_QUEUE_MAX) {
        s->full = true;
        return RPC_E_FULL;
    }
    *s->tail = frame;
    s->tail = &frame->next;
    s->queued += frame->len;
    resume_output(s);
    return 0;
}

void h2_stream_end(struct h2_stream *s)
{
    s->ending = true;
    resume_output(s);
}

/* nghttp2 wants data of a stream. */
static ssize_t read_data(nghttp2_session *session, int32_t id, uint8_t *buf, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, _unused_ void *arg)
{
    struct h2_stream *s = source->ptr;
    size_t n = 0;
    if (nghttp2_session_get_stream_user_data(session, id) != s)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* detached: it is being reset */
    while (s->head && n < size) {
        struct rpc_frame *f = s->head;
        size_t part = f->len - f->off < size - n ? f->len - f->off : size - n;
        memcpy(buf + n, f->data + f->off, part);
        n += part;
        f->off += part;
        if (f->off < f->len)
            break;
        s->head = f->next;
        if (!s->head)
            s->tail = &s->head;
        s->queued -= f->len;
        free(f);
        if (s->full && s->queued <= RPC_QUEUE_MAX / 2)
            mark_ready(s);
    }
    if (!s->head && s->ending) {
        nghttp2_nv nv[H2_TRAILERS_MAX];
        size_t count = s->ops->trailers ? s->ops->trailers(s, nv) : 0;
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        s->local_end = true;
        if (count > 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (nghttp2_submit_trailer(session, id, nv, count) != 0)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
    } else if (n == 0) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

/* ---- what nghttp2 reports ---- */
static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_conn *c = arg;
    if (!c->options.server || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct h2_stream *s = c->ops->on_stream(c, c->owner);
    if (!s)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    s->conn = c;
    s->id = frame->hd.stream_id;
    list_append(&c->streams, &s->entry);
    (void)nghttp2_session_set_stream_user_data(session, s->id, s);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     _unused_ size_t name_len, const uint8_t *value, _unused_ size_t value_len,
                     _unused_ uint8_t flags, _unused_ void *arg)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s)
        s->ops->on_header(s, (const char *)name,
                          (const char *)value); /* NUL-terminated by nghttp2 */
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_conn *c = arg;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        c->draining = true;
        return 0;
    }
    if (frame->hd.type == NGHTTP2_SETTINGS)
        c->greeted = true;
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK))
        c->pinged = false;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!s)
        return 0;
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        s->remote_end = true;
    if (c->options.server && frame->hd.type == NGHTTP2_HEADERS &&
        frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        s->requested = true;
    mark_ready(s);
    return 0;
}

static int on_data(nghttp2_session *session, _unused_ uint8_t flags, int32_t id,
                   const uint8_t *data, size_t len, _unused_ void *arg)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)nghttp2_session_consume_connection(session, len);
    if (!s) /* detached: the reset is on its way */
        return 0;
    strbuf_add(&s->in, data, len); /* bounded by the window, or by the message's limit */
    s->unconsumed += len;
    mark_ready(s);
    return 0;
}

static int on_stream_closed(nghttp2_session *session, int32_t id, uint32_t error,
                            _unused_ void *arg)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s)
        return 0;
    s->closed = true;
    s->error = error;
    mark_ready(s);
    return 0;
}

/* Our side of a server's stream is done while the client still sends: it need not go on. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    const struct h2_conn *c = arg;
    if (!c->options.server || frame->hd.type != NGHTTP2_HEADERS ||
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    const struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s && !s->remote_end)
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                        NGHTTP2_NO_ERROR);
    return 0;
}

/* ---- input and output ---- */
static void process_ready(struct h2_conn *c)
{
    bool gone = false, *outer = c->gone;
    if (outer) /* further down the stack already */
        return;
    // cppcheck-suppress autoVariables; reset below unless the object is gone
    c->gone = &gone;
    struct list *entry;
    while (!gone && (entry = list_pop(&c->ready)))
        process(LIST_ENTRY(entry, struct h2_stream, ready));
    if (gone)
        return;
    c->gone = NULL;
    if (c->greeted && !c->ready_told) {
        c->ready_told = true;
        if (!c->options.server)
            loop_timer_stop(&c->timer);
        if (c->ops->on_ready)
            c->ops->on_ready(c, c->owner);
    }
    if (c->draining && !c->draining_told) {
        c->draining_told = true;
        flush_soon(c);
        if (c->ops->on_draining)
            c->ops->on_draining(c, c->owner);
    }
}

static void conn_flush(void *arg)
{
    struct h2_conn *c = arg;
    struct evbuffer *out = bufferevent_get_output(c->bev);
    while (c->up && evbuffer_get_length(out) < OUTPUT_MAX) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(c->session, &data);
        if (n < 0) {
            conn_lost(c, nghttp2_strerror((int)n));
            return;
        }
        if (n == 0)
            break;
        (void)bufferevent_write(c->bev, data, (size_t)n);
    }
    bool through =
        !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session);
    if (c->up && evbuffer_get_length(out) == 0 &&
        (through || (c->draining_told && list_empty(&c->streams)))) {
        conn_lost(c, through ? "closed after a protocol error" : "closed by the peer");
        return;
    }
    process_ready(c);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
    struct h2_conn *c = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    struct evbuffer_iovec part;
    c->heard = true;
    while (evbuffer_peek(in, -1, NULL, &part, 1) > 0 && part.iov_len > 0) {
        ssize_t n = nghttp2_session_mem_recv(c->session, part.iov_base, part.iov_len);
        if (n < 0) {
            conn_lost(c, nghttp2_strerror((int)n));
            return;
        }
        (void)evbuffer_drain(in, (size_t)n);
    }
    flush_soon(c);
    process_ready(c);
}

static void on_written(_unused_ struct bufferevent *bev, void *arg)
{
    conn_flush(arg);
}

static void tls_reason(struct bufferevent *bev, char *text, size_t size)
{
    SSL *ssl = bufferevent_openssl_get_ssl(bev);
    long verified = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
    unsigned long e = bufferevent_get_openssl_error(bev);
    if (verified != X509_V_OK)
        (void)snprintf(text, size, "the server's certificate: %s",
                       X509_verify_cert_error_string(verified));
    else if (e)
        (void)snprintf(text, size, "TLS: %s", ERR_reason_error_string(e));
}

static void arm_timer(struct h2_conn *c)
{
    if (c->options.keepalive_ms && !list_empty(&c->streams) && !loop_timer_armed(&c->timer))
        loop_timer_set(&c->timer, c->options.keepalive_ms);
}

static bool speaks_h2(struct h2_conn *c)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    if (c->options.tls)
        SSL_get0_alpn_selected(bufferevent_openssl_get_ssl(c->bev), &name, &len);
    return !c->options.tls || (len == 2 && memcmp(name, "h2", 2) == 0);
}

static void conn_up(struct h2_conn *c)
{
    c->up = true;
    flush_soon(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct h2_conn *c = arg;
    char reason[256];
    int e = EVUTIL_SOCKET_ERROR();
    if (what & BEV_EVENT_CONNECTED) {
        if (c->options.connecting && !c->up) {
            socket_tune((int)bufferevent_getfd(bev));
            if (speaks_h2(c))
                conn_up(c);
            else
                conn_lost(c, "the server does not speak HTTP/2");
        }
        return;
    }
    int dns = bufferevent_socket_get_dns_error(bev);
    (void)snprintf(reason, sizeof(reason), "%s",
                   dns                             ? evutil_gai_strerror(dns)
                   : what & BEV_EVENT_EOF          ? "the peer closed the connection"
                   : (what & BEV_EVENT_ERROR) && e ? evutil_socket_error_to_string(e)
                                                   : "the connection broke");
    if (c->options.tls)
        tls_reason(bev, reason, sizeof(reason));
    conn_lost(c, reason);
}

static void on_timer(void *arg)
{
    struct h2_conn *c = arg;
    if (!c->ready_told && !c->options.server) {
        conn_lost(c, "no answer in time");
        return;
    }
    if (list_empty(&c->streams) || !c->options.keepalive_ms)
        return;
    if (c->pinged && !c->heard) {
        conn_lost(c, "the peer does not answer pings");
        return;
    }
    bool silent = !c->heard;
    c->heard = c->pinged = false;
    if (silent) {
        c->pinged = true;
        (void)nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
        flush_soon(c);
    }
    loop_timer_set(&c->timer, silent ? c->options.keepalive_timeout_ms : c->options.keepalive_ms);
}

/* ---- connections ---- */
static int make_session(struct h2_conn *c)
{
    nghttp2_session_callbacks *cbs;
    nghttp2_option *option;
    if (nghttp2_session_callbacks_new(&cbs) != 0)
        return -ENOMEM;
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_stream_closed);
    nghttp2_session_callbacks_set_on_frame_send_callback(cbs, on_frame_sent);
    int r = nghttp2_option_new(&option);
    if (r == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        /* Clients on unix sockets send all kinds of :authority; the server checks what it uses. */
        nghttp2_option_set_no_http_messaging(option, c->options.server);
        nghttp2_option_set_peer_max_concurrent_streams(option, 1000);
        r = c->options.server ? nghttp2_session_server_new2(&c->session, cbs, c, option)
                              : nghttp2_session_client_new2(&c->session, cbs, c, option);
        nghttp2_option_del(option);
    }
    nghttp2_session_callbacks_del(cbs);
    if (r != 0)
        return -ENOMEM;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_BLOCK_MAX},
        {c->options.server ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH,
         c->options.server ? c->options.streams_max : 0},
    };
    (void)nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
    (void)nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW);
    return 0;
}

struct h2_conn *h2_conn_new(struct loop *loop, struct bufferevent *bev,
                            const struct h2_conn_options *options, const struct h2_conn_ops *ops,
                            void *owner, struct list *conns)
{
    struct h2_conn *c = mem_zalloc(sizeof(*c));
    c->loop = loop;
    c->bev = bev;
    c->options = *options;
    c->ops = ops;
    c->owner = owner;
    list_append(conns, &c->entry);
    list_init(&c->streams);
    list_init(&c->ready);
    loop_deferred_init(&c->flush, loop, conn_flush, c);
    loop_timer_init(&c->timer, loop, "gRPC connection", on_timer, c);
    if (make_session(c) < 0)
        abort(); /* small and fixed */
    bufferevent_setcb(bev, on_readable, on_written, on_event, c);
    bufferevent_setwatermark(bev, EV_WRITE, OUTPUT_MAX / 2, 0);
    (void)bufferevent_enable(bev, EV_READ | EV_WRITE);
    if (options->connecting)
        loop_timer_set(&c->timer, options->connect_ms);
    else
        conn_up(c);
    return c;
}

struct h2_conn *h2_conn_free(struct h2_conn *conn)
{
    if (!conn)
        return NULL;
    if (conn->gone)
        *conn->gone = true;
    list_remove(&conn->entry);
    struct list *entry;
    while ((entry = list_pop(&conn->streams)))
        h2_stream_detach(LIST_ENTRY(entry, struct h2_stream, entry), NGHTTP2_CANCEL);
    if (conn->up && !conn->options.tls) { /* what can go without waiting still goes */
        const uint8_t *data;
        ssize_t n;
        while ((n = nghttp2_session_mem_send(conn->session, &data)) > 0)
            (void)bufferevent_write(conn->bev, data, (size_t)n);
        struct evbuffer *out = bufferevent_get_output(conn->bev);
        (void)bufferevent_disable(conn->bev, EV_READ | EV_WRITE);
        evbuffer_unfreeze(out, 1);
        (void)evbuffer_write(out, bufferevent_getfd(conn->bev));
    }
    loop_deferred_done(&conn->flush);
    loop_timer_done(&conn->timer);
    nghttp2_session_del(conn->session);
    bufferevent_free(conn->bev);
    free(conn);
    return NULL;
}

/* Tells the owner, then the streams (whose callbacks may open new ones, elsewhere), and frees the
 * connection. */
static void conn_lost(struct h2_conn *c, const char *reason)
{
    list_remove(&c->entry);
    loop_timer_stop(&c->timer);
    loop_deferred_done(&c->flush);
    (void)bufferevent_disable(c->bev, EV_READ | EV_WRITE);
    c->ops->on_lost(c, reason, c->owner);
    struct list *entry;
    while ((entry = list_pop(&c->streams))) {
        struct h2_stream *s = LIST_ENTRY(entry, struct h2_stream, entry);
        if (!s->closed)
            s->closed = s->lost = true;
        s->conn = NULL; /* a paused one keeps what it has until it is resumed */
        list_remove(&s->ready);
        process(s);
    }
    c->up = false; /* nothing more is sent */
    (void)h2_conn_free(c);
}

void h2_conns_free(struct list *conns)
{
    struct list *entry;
    while ((entry = list_pop(conns)))
        (void)h2_conn_free(LIST_ENTRY(entry, struct h2_conn, entry));
}

int h2_conn_request(struct h2_conn *conn, struct h2_stream *s, const nghttp2_nv *nv, size_t n)
{
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_data};
    int32_t id = nghttp2_submit_request(conn->session, NULL, nv, n, &provider, s);
    if (id < 0)
        return -EIO;
    s->conn = conn;
    s->id = id;
    list_append(&conn->streams, &s->entry);
    arm_timer(conn);
    flush_soon(conn);
    return 0;
}

int h2_stream_respond(struct h2_stream *s, const nghttp2_nv *nv, size_t n, bool end)
{
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_data};
    if (!s->conn || s->closed)
        return -EPIPE;
    if (end)
        s->local_end = true;
    int r = nghttp2_submit_response(s->conn->session, s->id, nv, n, end ? NULL : &provider);
    flush_soon(s->conn);
    return r == 0 ? 0 : -EIO;
}
