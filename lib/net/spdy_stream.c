/* SPDY streams, as carriers of struct stream: see spdy.h. */
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "net/spdy_impl.h"

#define FINISH_MS         30000
#define FINISH_STALLS_MAX 20

struct spdy_stream *spdy_stream_of(const struct stream *s)
{
    return CONTAINER_OF((struct stream *)(uintptr_t)s, struct spdy_stream, base);
}

static void remove_from_session(struct spdy_stream *st)
{
    struct spdy_session *s = TAKE_PTR(st->session);
    if (!s)
        return;
    list_remove(&st->entry);
    s->n_streams--;
    if (!st->ours)
        s->n_peer_streams--;
    if (s->blocked_on == st)
        spdy_session_unblock(s);
}

void spdy_stream_drop(struct spdy_stream *st, const struct error *err)
{
    stream_ref(&st->base);
    remove_from_session(st);
    (void)evbuffer_drain(st->out, evbuffer_get_length(st->out));
    void (*on_reply)(struct stream *, int, const struct http_headers *, void *) = st->on_reply;
    st->on_reply = NULL;
    if (on_reply && !st->base.freed && err)
        on_reply(&st->base, err->code == -ECONNREFUSED ? -ECONNREFUSED : -ECONNRESET, NULL,
                 st->reply_arg);
    if (st->finishing)
        (void)stream_free(&st->base);
    else if (err)
        stream_closed(&st->base, err);
    stream_unref(&st->base);
}

void spdy_stream_check_done(struct spdy_stream *st)
{
    if (!st->fin_sent || !st->fin_got)
        return;
    remove_from_session(st);
    if (st->finishing)
        (void)stream_free(&st->base);
}

/* ---- sending ---- */

static void send_data(struct spdy_stream *st, const void *data, size_t len, bool fin)
{
    uint8_t head[SPDY_FRAME_HEADER];
    spdy_put32(head, st->id);
    spdy_put32(head + 4, (uint32_t)(fin ? SPDY_FLAG_FIN : 0) << 24 | (uint32_t)len);
    struct stream *transport = st->session->transport;
    if (len > 0 && len <= 4096) {
        /* One write: the TLS layer makes a record of each. */
        uint8_t frame[SPDY_FRAME_HEADER + 4096];
        memcpy(frame, head, sizeof(head));
        memcpy(frame + sizeof(head), data, len);
        stream_write(transport, frame, sizeof(head) + len);
        return;
    }
    stream_write(transport, head, sizeof(head));
    stream_write(transport, data, len);
}

/* How much may go out now. */
static size_t sendable(const struct spdy_stream *st)
{
    const struct spdy_session *s = st->session;
    if (!st->replied)
        return 0;
    int64_t n = SPDY_DATA_MAX;
    if (s->peer_windows) {
        n = st->send_window < n ? st->send_window : n;
        n = s->send_window < n ? s->send_window : n;
    }
    return n > 0 ? (size_t)n : 0;
}

void spdy_stream_flush(struct spdy_stream *st)
{
    size_t waiting, room;
    if (!st->session || st->fin_sent)
        return;
    while ((waiting = evbuffer_get_length(st->out)) > 0 && (room = sendable(st)) > 0) {
        size_t len = waiting < room ? waiting : room;
        const uint8_t *data = evbuffer_pullup(st->out, (ev_ssize_t)len);
        st->send_window -= (int64_t)len;
        st->session->send_window -= (int64_t)len;
        send_data(st, data, len, false);
        (void)evbuffer_drain(st->out, len);
    }
    if (st->base.ended && waiting == 0 && st->replied) {
        st->fin_sent = true;
        send_data(st, NULL, 0, true);
        spdy_stream_check_done(st);
    }
}

static void spdy_write(struct stream *base, const void *data, size_t len)
{
    struct spdy_stream *st = spdy_stream_of(base);
    if (!st->session)
        return;
    (void)evbuffer_add(st->out, data, len);
    spdy_stream_flush(st);
}

static size_t spdy_pending(const struct stream *base)
{
    const struct spdy_stream *st = spdy_stream_of(base);
    return st->session ? evbuffer_get_length(st->out) + stream_pending(st->session->transport) : 0;
}

static void spdy_end(struct stream *base)
{
    spdy_stream_flush(spdy_stream_of(base));
}

/* ---- receiving ---- */

static void spdy_used(struct stream *base, size_t len)
{
    struct spdy_stream *st = spdy_stream_of(base);
    struct spdy_session *s = st->session;
    if (!s)
        return;
    st->unacked += len;
    s->session_unacked += len;
    if (s->peer_windows && st->unacked >= SPDY_WINDOW / 2 && !st->fin_got) {
        spdy_send_window_update(s, st->id, (uint32_t)st->unacked);
        st->unacked = 0;
    }
    if (s->peer_windows && s->session_unacked >= SPDY_WINDOW / 2) {
        spdy_send_window_update(s, 0, (uint32_t)s->session_unacked);
        s->session_unacked = 0;
    }
    /* Towards a peer without windows these only keep count, in case it turns out to know them. */
    if (!s->peer_windows)
        st->unacked = st->unacked > 0x3fffffff ? 0x3fffffff : st->unacked;
    if (!s->peer_windows)
        s->session_unacked = s->session_unacked > 0x3fffffff ? 0x3fffffff : s->session_unacked;
    if (s->blocked_on == st && evbuffer_get_length(base->in) <= SPDY_STREAM_BUFFER / 2)
        spdy_session_unblock(s);
}

void spdy_stream_fin(struct spdy_stream *st)
{
    stream_ref(&st->base);
    st->fin_got = true;
    spdy_stream_check_done(st);
    if (!st->base.freed)
        stream_eof(&st->base);
    stream_unref(&st->base);
}

/* ---- the end ---- */

/* Nobody owns it any more. What is pending gets its time, a peer that never ends does not. */
static void on_deadline(void *arg)
{
    struct spdy_stream *st = arg;
    if (spdy_pending(&st->base) > 0 && st->stalls++ < FINISH_STALLS_MAX)
        loop_timer_set(&st->deadline, FINISH_MS);
    else
        (void)stream_free(&st->base);
}

static void spdy_finish(struct stream *base)
{
    struct spdy_stream *st = spdy_stream_of(base);
    size_t len = evbuffer_get_length(base->in);
    (void)evbuffer_drain(base->in, len);
    st->on_reply = NULL;
    if (!st->session) {
        (void)stream_free(base);
        return;
    }
    st->finishing = true;
    spdy_used(base, len);
    loop_timer_set(&st->deadline, FINISH_MS);
}

static void spdy_destroy(struct stream *base)
{
    struct spdy_stream *st = spdy_stream_of(base);
    struct spdy_session *s = st->session;
    if (s)
        s->session_unacked += evbuffer_get_length(base->in);
    if (s && !s->ended)
        spdy_send_rst(s, st->id, SPDY_RST_CANCEL);
    remove_from_session(st);
    loop_timer_done(&st->deadline);
    evbuffer_free(base->in);
    evbuffer_free(st->out);
    http_headers_done(&st->headers);
}

static const struct stream_ops spdy_ops = {
    .name = "spdy",
    .write = spdy_write,
    .pending = spdy_pending,
    .used = spdy_used,
    .end = spdy_end,
    .finish = spdy_finish,
    .destroy = spdy_destroy,
};

struct spdy_stream *spdy_stream_new(struct spdy_session *s, uint32_t id, bool ours)
{
    struct spdy_stream *st = mem_zalloc(sizeof(*st));
    struct evbuffer *in = evbuffer_new();
    st->out = evbuffer_new();
    if (!in || !st->out)
        abort();
    stream_init(&st->base, &spdy_ops, s->loop, in);
    loop_timer_init(&st->deadline, s->loop, "spdy stream finish", on_deadline, st);
    st->session = s;
    st->id = id;
    st->ours = ours;
    st->send_window = s->peer_initial;
    list_append(&s->streams, &st->entry);
    s->n_streams++;
    if (!ours)
        s->n_peer_streams++;
    return st;
}

/* ---- opening and answering ---- */

struct stream *spdy_open(struct spdy_session *s, const struct http_headers *headers,
                         void (*on_reply)(struct stream *stream, int result,
                                          const struct http_headers *headers, void *arg),
                         void *arg)
{
    _cleanup_strbuf_ struct strbuf payload = STRBUF_INIT;
    uint8_t fixed[10] = {0}; /* stream, associated stream, priority 0 (the highest), slot */
    if (s->ended || s->goaway_received || s->next_id > 0x7fffffff)
        return NULL;
    struct spdy_stream *st = spdy_stream_new(s, s->next_id, true);
    s->next_id += 2;
    st->on_reply = on_reply;
    st->reply_arg = arg;
    http_headers_copy(&st->headers, headers);
    spdy_put32(fixed, st->id);
    strbuf_add(&payload, fixed, sizeof(fixed));
    spdy_headers_pack(s, headers, &payload);
    spdy_send_control(s, SPDY_SYN_STREAM, 0, payload.data, payload.len);
    return &st->base;
}

void spdy_accept(struct stream *stream, const struct http_headers *headers)
{
    struct spdy_stream *st = spdy_stream_of(stream);
    _cleanup_strbuf_ struct strbuf payload = STRBUF_INIT;
    uint8_t id[4];
    if (!st->session || st->replied)
        return;
    st->replied = true;
    spdy_put32(id, st->id);
    strbuf_add(&payload, id, sizeof(id));
    spdy_headers_pack(st->session, headers, &payload);
    spdy_send_control(st->session, SPDY_SYN_REPLY, 0, payload.data, payload.len);
    spdy_stream_flush(st);
}

void spdy_refuse(struct stream *stream)
{
    struct spdy_stream *st = spdy_stream_of(stream);
    if (st->session) {
        spdy_send_rst(st->session, st->id, SPDY_RST_REFUSED_STREAM);
        remove_from_session(st);
    }
    (void)stream_free(stream);
}

const struct http_headers *spdy_headers(const struct stream *stream)
{
    return &spdy_stream_of(stream)->headers;
}

uint32_t spdy_stream_id(const struct stream *stream)
{
    return spdy_stream_of(stream)->id;
}
