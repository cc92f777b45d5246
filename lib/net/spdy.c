/*
 * SPDY sessions: see spdy.h. Control frames are handled when they are whole; data frames are handed
 * on as they come. Frames are never answered from inside a stream's callbacks in a way that could
 * free the session under us: a reference is held while bytes are being looked at.
 *
 * A session that its owner has freed lingers: it says GOAWAY, sends what is pending, and waits for
 * the peer to close. It must not end its direction first, because Go's side throws away frames that
 * it has queued when it reads the end of the connection.
 *
 * Control frames are sent without regard to what is pending. Most answer the peer's: when it takes
 * none of them, no more of its frames are read.
 */
#include "net/spdy_impl.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"

#define LINGER_MS      10000       /* between two looks whether anything moves */
#define CONTROL_MAX    (64 * 1024) /* control frames that the peer does not take */
#define SESSION_WINDOW ((uint32_t)SPDY_STREAMS_MAX * SPDY_STREAM_BUFFER)

/* ---- frames that go out ---- */

void spdy_send_control(struct spdy_session *s, enum spdy_type type, uint8_t flags,
                       const void *payload, size_t len)
{
    _cleanup_strbuf_ struct strbuf frame = STRBUF_INIT;
    uint8_t head[SPDY_FRAME_HEADER];
    spdy_put32(head, UINT32_C(0x80030000) | (uint32_t)type);
    spdy_put32(head + 4, (uint32_t)flags << 24 | (uint32_t)len);
    strbuf_add(&frame, head, sizeof(head));
    strbuf_add(&frame, payload, len);
    stream_write(s->transport, frame.data, frame.len);
    s->control_sent += frame.len;
}

/* Whether the peer makes us talk without listening. */
static bool choked(struct spdy_session *s)
{
    if (!stream_congested(s->transport))
        s->control_sent = 0;
    return s->control_sent > CONTROL_MAX;
}

static void send_two(struct spdy_session *s, enum spdy_type type, uint32_t a, uint32_t b)
{
    uint8_t payload[8];
    spdy_put32(payload, a);
    spdy_put32(payload + 4, b);
    spdy_send_control(s, type, 0, payload, sizeof(payload));
}

void spdy_send_rst(struct spdy_session *s, uint32_t id, enum spdy_rst status)
{
    send_two(s, SPDY_RST_STREAM, id, status);
}

void spdy_send_window_update(struct spdy_session *s, uint32_t id, uint32_t delta)
{
    send_two(s, SPDY_WINDOW_UPDATE, id, delta);
}

static void send_settings(struct spdy_session *s)
{
    uint8_t payload[12];
    spdy_put32(payload, 1);
    spdy_put32(payload + 4, SPDY_SETTING_INITIAL_WINDOW);
    spdy_put32(payload + 8, SPDY_STREAM_BUFFER);
    spdy_send_control(s, SPDY_SETTINGS, 0, payload, sizeof(payload));
}

static void send_ping(struct spdy_session *s, uint32_t id)
{
    uint8_t payload[4];
    spdy_put32(payload, id);
    spdy_send_control(s, SPDY_PING, 0, payload, sizeof(payload));
}

/* ---- the end ---- */

static void unref(struct spdy_session *s, unsigned n)
{
    s->refs -= n;
    if (s->refs == 0) {
        spdy_headers_done(s);
        free(s);
    }
}

/* The transport is of no more use. Tells the streams, then the owner; a lingering session goes. */
static void end(struct spdy_session *s, const struct error *err)
{
    struct error gone = ERROR_INIT;
    if (s->ended)
        return;
    s->ended = true;
    s->refs++;
    if (err)
        gone = *err;
    else
        (void)error_set(&gone, -ECONNRESET, "the connection was closed");
    loop_timer_done(&s->ping);
    bool lingering = s->lingering;
    while (!list_empty(&s->streams))
        spdy_stream_drop(LIST_ENTRY(s->streams.next, struct spdy_stream, entry), &gone);
    if (lingering) {
        loop_timer_done(&s->linger);
        (void)stream_free(s->transport);
        unref(s, 2); /* it has no other owner */
        return;
    }
    /* A stream's owner may have freed the session just now. */
    if (!s->lingering && s->handler && s->handler->on_close)
        s->handler->on_close(s, err, s->arg);
    unref(s, 1);
}

static void protocol_error(struct spdy_session *s, const char *what)
{
    struct error err = ERROR_INIT;
    (void)error_set(&err, -EBADMSG, "SPDY: %s", what);
    send_two(s, SPDY_GOAWAY, s->last_peer_id, 1);
    end(s, &err);
}

/* ---- frames that come in ---- */

static struct spdy_stream *find(struct spdy_session *s, uint32_t id)
{
    LIST_FOR_EACH(e, &s->streams) {
        struct spdy_stream *st = LIST_ENTRY(e, struct spdy_stream, entry);
        if (st->id == id)
            return st;
    }
    return NULL;
}

static void on_syn_stream(struct spdy_session *s, uint8_t flags, const uint8_t *p, size_t len)
{
    struct http_headers headers;
    if (len < 10) {
        protocol_error(s, "short SYN_STREAM");
        return;
    }
    uint32_t id = spdy_get32(p) & 0x7fffffff;
    /* The block must be decompressed whatever becomes of the stream. */
    if (spdy_headers_unpack(s, p + 10, len - 10, &headers) < 0) {
        protocol_error(s, "malformed headers");
        return;
    }
    if (id <= s->last_peer_id || id % 2 != (s->server ? 1 : 0)) {
        http_headers_done(&headers);
        protocol_error(s, "invalid stream number");
        return;
    }
    s->last_peer_id = id;
    if (s->lingering || !s->handler->on_stream || s->n_peer_streams >= SPDY_STREAMS_MAX) {
        http_headers_done(&headers);
        spdy_send_rst(s, id, SPDY_RST_REFUSED_STREAM);
        return;
    }
    struct spdy_stream *st = spdy_stream_new(s, id, false);
    st->headers = headers;
    st->fin_got = flags & SPDY_FLAG_FIN;
    st->base.eof = st->fin_got;
    if (flags & SPDY_FLAG_UNIDIRECTIONAL)
        st->base.ended = st->fin_sent = true;
    s->handler->on_stream(s, &st->base, s->arg);
}

static void on_syn_reply(struct spdy_session *s, uint8_t flags, const uint8_t *p, size_t len)
{
    struct http_headers headers;
    if (len < 4 || spdy_headers_unpack(s, p + 4, len - 4, &headers) < 0) {
        protocol_error(s, "malformed SYN_REPLY");
        return;
    }
    struct spdy_stream *st = find(s, spdy_get32(p) & 0x7fffffff);
    if (st && st->ours && !st->replied) {
        void (*on_reply)(struct stream *, int, const struct http_headers *, void *) =
            TAKE_PTR(st->on_reply);
        st->replied = true;
        stream_ref(&st->base);
        if (on_reply)
            on_reply(&st->base, 0, &headers, st->reply_arg);
        if (!st->base.freed && !s->ended)
            spdy_stream_flush(st);
        if (!st->base.freed && !s->ended && (flags & SPDY_FLAG_FIN))
            spdy_stream_fin(st);
        stream_unref(&st->base);
    }
    http_headers_done(&headers);
}

static void on_rst_stream(struct spdy_session *s, const uint8_t *p, size_t len)
{
    struct error err = ERROR_INIT;
    if (len != 8) {
        protocol_error(s, "malformed RST_STREAM");
        return;
    }
    struct spdy_stream *st = find(s, spdy_get32(p) & 0x7fffffff);
    uint32_t status = spdy_get32(p + 4);
    if (!st)
        return;
    (void)error_set(&err, st->ours && !st->replied ? -ECONNREFUSED : -ECONNRESET,
                    "the peer has reset the stream (status %u)", status);
    spdy_stream_drop(st, &err);
}

static void on_settings(struct spdy_session *s, const uint8_t *p, size_t len)
{
    uint32_t count = len >= 4 ? spdy_get32(p) : 0;
    if (len < 4 || count > (len - 4) / 8 || len != 4 + (size_t)count * 8) {
        protocol_error(s, "malformed SETTINGS");
        return;
    }
    for (const uint8_t *entry = p + 4; entry < p + len; entry += 8) {
        uint32_t value = spdy_get32(entry + 4);
        if ((spdy_get32(entry) & 0xffffff) != SPDY_SETTING_INITIAL_WINDOW || value > 0x7fffffff)
            continue;
        /* The peer knows windows: open the session's for all streams together. */
        if (!s->peer_windows)
            spdy_send_window_update(s, 0, SESSION_WINDOW - SPDY_WINDOW);
        s->peer_windows = true;
        int64_t change = (int64_t)value - s->peer_initial;
        s->peer_initial = value;
        LIST_FOR_EACH(e, &s->streams) {
            struct spdy_stream *st = LIST_ENTRY(e, struct spdy_stream, entry);
            st->send_window += change;
        }
    }
}

/* What windows or replies held back may go now. */
static void flush_all(struct spdy_session *s)
{
    LIST_FOR_EACH(e, &s->streams)
        spdy_stream_flush(LIST_ENTRY(e, struct spdy_stream, entry));
}

static void tell_writers(struct spdy_session *s)
{
    s->refs++;
    /* A writer may free its stream, or others: start over after each that was told. */
    s->drain_round++;
    for (bool again = true; again && !s->ended;) {
        again = false;
        LIST_FOR_EACH(e, &s->streams) {
            struct spdy_stream *st = LIST_ENTRY(e, struct spdy_stream, entry);
            if (!st->base.heavy || st->drain_round == s->drain_round)
                continue;
            st->drain_round = s->drain_round;
            stream_drained(&st->base);
            again = true;
            break;
        }
    }
    unref(s, 1);
}

static void on_drain(struct stream *transport, void *arg)
{
    struct spdy_session *s = arg;
    bool was_choked = s->control_sent > CONTROL_MAX;
    s->control_sent = 0;
    if (was_choked && !s->blocked_on)
        stream_resume(transport);
    tell_writers(s);
}

static void on_window_update(struct spdy_session *s, const uint8_t *p, size_t len)
{
    if (len != 8) {
        protocol_error(s, "malformed WINDOW_UPDATE");
        return;
    }
    uint32_t id = spdy_get32(p) & 0x7fffffff;
    int64_t delta = spdy_get32(p + 4) & 0x7fffffff;
    if (id == 0) {
        s->send_window += delta;
        if (s->send_window > 0x7fffffff)
            protocol_error(s, "window too large");
        else {
            flush_all(s);
            tell_writers(s);
        }
        return;
    }
    struct spdy_stream *st = find(s, id);
    if (!st)
        return;
    st->send_window += delta;
    if (st->send_window > 0x7fffffff) {
        struct error err = ERROR_INIT;
        (void)error_set(&err, -EBADMSG, "SPDY: window too large");
        spdy_send_rst(s, id, SPDY_RST_FLOW_CONTROL_ERROR);
        spdy_stream_drop(st, &err);
        return;
    }
    stream_ref(&st->base);
    spdy_stream_flush(st);
    if (!st->base.freed)
        stream_drained(&st->base);
    stream_unref(&st->base);
}

static void on_control(struct spdy_session *s, unsigned type, uint8_t flags, const uint8_t *p,
                       size_t len)
{
    struct http_headers headers;
    switch (type) {
    case SPDY_SYN_STREAM:
        on_syn_stream(s, flags, p, len);
        break;
    case SPDY_SYN_REPLY:
        on_syn_reply(s, flags, p, len);
        break;
    case SPDY_RST_STREAM:
        on_rst_stream(s, p, len);
        break;
    case SPDY_SETTINGS:
        on_settings(s, p, len);
        break;
    case SPDY_PING:
        if (len != 4)
            protocol_error(s, "malformed PING");
        else if ((spdy_get32(p) % 2 == 1) == s->server)
            send_ping(s, spdy_get32(p)); /* the peer's: back to it */
        else
            s->ping_sent = false;
        break;
    case SPDY_GOAWAY:
        s->goaway_received = true;
        break;
    case SPDY_HEADERS: /* nothing here uses them, but the compression's state must follow */
        if (len < 4 || spdy_headers_unpack(s, p + 4, len - 4, &headers) < 0) {
            protocol_error(s, "malformed HEADERS");
            break;
        }
        http_headers_done(&headers);
        if (flags & SPDY_FLAG_FIN) {
            struct spdy_stream *st = find(s, spdy_get32(p) & 0x7fffffff);
            if (st && !st->fin_got)
                spdy_stream_fin(st);
        }
        break;
    case SPDY_WINDOW_UPDATE:
        on_window_update(s, p, len);
        break;
    default: /* unknown types are skipped (section 2.2.1) */
        break;
    }
}

/* ---- data ---- */

static void end_of_data_frame(struct spdy_session *s)
{
    struct spdy_stream *st = find(s, s->data_id);
    s->in_data = false;
    if (st && s->data_fin && !st->fin_got)
        spdy_stream_fin(st);
}

static void over_window(struct spdy_session *s, struct spdy_stream *st)
{
    struct error err = ERROR_INIT;
    (void)error_set(&err, -EBADMSG, "SPDY: the peer sent more than its window allows");
    spdy_send_rst(s, st->id, SPDY_RST_FLOW_CONTROL_ERROR);
    spdy_stream_drop(st, &err);
}

/* Hands on up to @len bytes of the current data frame. Returns how many were used. */
static size_t take_data(struct spdy_session *s, const uint8_t *data, size_t len)
{
    struct spdy_stream *st = find(s, s->data_id);
    if (len > s->data_left)
        len = s->data_left;
    if (st && !st->fin_got && len > 0) {
        size_t have = evbuffer_get_length(st->base.in);
        if (st->finishing) {
            st->base.ops->used(&st->base, len);
        } else if (s->peer_windows && have + len > SPDY_STREAM_BUFFER + SPDY_WINDOW) {
            over_window(s, st);
        } else if (!s->peer_windows && have >= SPDY_STREAM_BUFFER) {
            s->blocked_on = st;
            stream_pause(s->transport);
            return 0;
        } else {
            (void)evbuffer_add(st->base.in, data, len);
            s->data_left -= len;
            stream_arrived(&st->base);
            return len;
        }
    }
    s->data_left -= len;
    return len;
}

static void start_data(struct spdy_session *s, const uint8_t *p)
{
    s->in_data = true;
    s->data_id = spdy_get32(p) & 0x7fffffff;
    s->data_fin = p[4] & SPDY_FLAG_FIN;
    s->data_left = spdy_get32(p + 4) & 0xffffff;
}

static size_t on_data(_unused_ struct stream *transport, const void *data, size_t len, void *arg)
{
    struct spdy_session *s = arg;
    const uint8_t *p = data;
    size_t at = 0;
    s->refs++;
    s->heard = true;
    while (!s->ended && !s->blocked_on && !choked(s)) {
        if (s->in_data) {
            if (s->data_left == 0) {
                end_of_data_frame(s);
                continue;
            }
            if (at == len)
                break;
            at += take_data(s, p + at, len - at);
            continue;
        }
        if (len - at < SPDY_FRAME_HEADER)
            break;
        const uint8_t *frame = p + at;
        size_t payload = spdy_get32(frame + 4) & 0xffffff;
        if (!(frame[0] & 0x80)) {
            start_data(s, frame);
            at += SPDY_FRAME_HEADER;
            continue;
        }
        if ((spdy_get32(frame) >> 16 & 0x7fff) != 3) {
            protocol_error(s, "unsupported version");
            break;
        }
        if (payload > SPDY_CONTROL_MAX - SPDY_FRAME_HEADER) {
            protocol_error(s, "control frame too large");
            break;
        }
        if (len - at < SPDY_FRAME_HEADER + payload)
            break;
        at += SPDY_FRAME_HEADER + payload;
        on_control(s, spdy_get32(frame) & 0xffff, frame[4], frame + SPDY_FRAME_HEADER, payload);
    }
    if (!s->ended && choked(s))
        stream_pause(s->transport); /* until on_drain() */
    unref(s, 1);
    return at;
}

void spdy_session_unblock(struct spdy_session *s)
{
    s->blocked_on = NULL;
    if (!s->ended && !choked(s))
        stream_resume(s->transport);
}

static void on_eof(_unused_ struct stream *transport, void *arg)
{
    end(arg, NULL);
}

static void on_close(_unused_ struct stream *transport, const struct error *err, void *arg)
{
    end(arg, err);
}

static const struct stream_handler transport_handler = {
    .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close};

/* ---- keep-alive ---- */

static void on_ping_timer(void *arg)
{
    struct spdy_session *s = arg;
    struct error err = ERROR_INIT;
    if (s->heard)
        s->ping_sent = false;
    if (s->ping_sent) {
        (void)error_set(&err, -ETIMEDOUT, "SPDY: the peer does not answer");
        end(s, &err);
        return;
    }
    if (!s->heard) {
        send_ping(s, s->ping_id);
        s->ping_id += 2;
        s->ping_sent = true;
    }
    s->heard = false;
    loop_timer_set(&s->ping, s->ping_ms);
}

void spdy_session_keepalive(struct spdy_session *s, uint64_t ms)
{
    s->ping_ms = ms;
    s->heard = true;
    if (ms == 0)
        loop_timer_stop(&s->ping);
    else if (!s->ended)
        loop_timer_set(&s->ping, ms);
}

/* ---- sessions ---- */

static void on_linger(void *arg)
{
    struct spdy_session *s = arg;
    size_t pending = spdy_session_pending(s);
    s->linger_stalls = pending != s->linger_pending ? 0 : s->linger_stalls + 1;
    s->linger_pending = pending;
    if (s->linger_stalls < STREAM_LINGER_MS / LINGER_MS)
        loop_timer_set(&s->linger, LINGER_MS);
    else
        end(s, NULL);
}

struct spdy_session *spdy_session_new(struct loop *loop, struct stream *transport, bool server,
                                      const struct spdy_handler *handler, void *arg)
{
    struct spdy_session *s = mem_zalloc(sizeof(*s));
    s->loop = loop;
    s->transport = transport;
    s->server = server;
    s->handler = handler;
    s->arg = arg;
    s->refs = 1;
    s->next_id = server ? 2 : 1;
    s->ping_id = server ? 2 : 1;
    s->peer_initial = SPDY_WINDOW;
    s->send_window = SPDY_WINDOW;
    list_init(&s->streams);
    spdy_headers_init(s);
    loop_timer_init(&s->ping, loop, "spdy ping", on_ping_timer, s);
    loop_timer_init(&s->linger, loop, "spdy linger", on_linger, s);
    stream_set_handler(transport, &transport_handler, s);
    send_settings(s);
    return s;
}

/* A client that broke the protocol still gets to know why. */
static void drop_transport(struct spdy_session *s)
{
    if (s->ended && s->server)
        stream_finish(s->transport);
    else
        (void)stream_free(s->transport);
}

struct spdy_session *spdy_session_free(struct spdy_session *s)
{
    if (!s || s->lingering)
        return NULL;
    s->handler = NULL;
    s->lingering = true;
    loop_timer_done(&s->ping);
    if (s->ended) {
        drop_transport(s);
        unref(s, 1);
        return NULL;
    }
    /* Streams with an owner are dead; those that finish by themselves still send. */
    LIST_FOR_EACH(e, &s->streams) {
        struct spdy_stream *st = LIST_ENTRY(e, struct spdy_stream, entry);
        if (!st->finishing) {
            st->base.handler = NULL;
            struct error err = ERROR_INIT;
            (void)error_set(&err, -EPIPE, "the session was closed");
            spdy_send_rst(s, st->id, SPDY_RST_CANCEL);
            st->on_reply = NULL;
            spdy_stream_drop(st, &err);
        }
    }
    send_two(s, SPDY_GOAWAY, s->last_peer_id, 0);
    s->linger_pending = spdy_session_pending(s);
    loop_timer_set(&s->linger, LINGER_MS);
    return NULL;
}

struct spdy_session *spdy_session_abort(struct spdy_session *s)
{
    if (s && !s->lingering) {
        struct error err = ERROR_INIT;
        (void)error_set(&err, -EPIPE, "the session was closed");
        s->handler = NULL;
        while (!list_empty(&s->streams)) {
            struct spdy_stream *st = LIST_ENTRY(s->streams.next, struct spdy_stream, entry);
            st->base.handler = NULL;
            st->on_reply = NULL;
            spdy_stream_drop(st, &err);
        }
        loop_timer_done(&s->ping);
        drop_transport(s);
        s->ended = s->lingering = true;
        unref(s, 1);
    }
    return NULL;
}

size_t spdy_session_pending(const struct spdy_session *s)
{
    size_t n = stream_pending(s->transport);
    LIST_FOR_EACH(e, (struct list *)(uintptr_t)&s->streams)
        n += evbuffer_get_length(LIST_ENTRY(e, struct spdy_stream, entry)->out);
    return n;
}

size_t spdy_session_streams(const struct spdy_session *s)
{
    return s->n_streams;
}
