/* A stream inside WebSocket messages: see websocket.h. */
#include <errno.h>

#include "base/strbuf.h"
#include "net/stream_ops.h"
#include "net/websocket.h"

#define MESSAGE_MAX (32 * 1024)

struct tunnel {
    struct stream base;
    struct websocket *ws;
};

static struct tunnel *of(const struct stream *s)
{
    return CONTAINER_OF((struct stream *)(uintptr_t)s, struct tunnel, base);
}

/* ---- what comes ---- */

static void on_begin(struct websocket *ws, bool text, void *arg)
{
    struct tunnel *t = arg;
    struct error err = ERROR_INIT;
    if (!text)
        return;
    (void)error_set(&err, -EBADMSG, "WebSocket: a text message in a tunnel");
    websocket_end(ws, WEBSOCKET_UNSUPPORTED);
    stream_closed(&t->base, &err);
}

static void on_data(struct websocket *ws, const void *data, size_t len, void *arg)
{
    struct stream *s = &((struct tunnel *)arg)->base;
    if (s->closed)
        return;
    stream_ref(s);
    (void)evbuffer_add(s->in, data, len);
    stream_arrived(s);
    if (!s->freed && evbuffer_get_length(s->in) >= STREAM_BUFFER_MAX)
        websocket_pause(ws);
    stream_unref(s);
}

static void on_drain(_unused_ struct websocket *ws, void *arg)
{
    stream_drained(&((struct tunnel *)arg)->base);
}

static void on_close(_unused_ struct websocket *ws, const struct error *err, void *arg)
{
    struct tunnel *t = arg;
    if (err)
        stream_closed(&t->base, err);
    else
        stream_eof(&t->base);
}

static const struct websocket_handler handler = {
    .on_begin = on_begin, .on_data = on_data, .on_drain = on_drain, .on_close = on_close};

/* ---- what goes ---- */

static void tunnel_write(struct stream *s, const void *data, size_t len)
{
    for (const char *p = data; len > 0;) {
        size_t n = len < MESSAGE_MAX ? len : MESSAGE_MAX;
        websocket_send(of(s)->ws, false, p, n, NULL, 0);
        p += n;
        len -= n;
    }
}

static size_t tunnel_pending(const struct stream *s)
{
    return websocket_pending(of(s)->ws);
}

static void tunnel_used(struct stream *s, _unused_ size_t len)
{
    if (evbuffer_get_length(s->in) < STREAM_BUFFER_MAX / 2)
        websocket_resume(of(s)->ws);
}

static void tunnel_end(struct stream *s)
{
    websocket_end(of(s)->ws, WEBSOCKET_NORMAL);
}

static void tunnel_finish(struct stream *s)
{
    struct tunnel *t = of(s);
    t->ws = websocket_finish(t->ws, WEBSOCKET_NORMAL);
    (void)stream_free(s);
}

static void tunnel_destroy(struct stream *s)
{
    (void)websocket_free(of(s)->ws);
    evbuffer_free(s->in);
}

static const struct stream_ops tunnel_ops = {
    .name = "websocket tunnel",
    .write = tunnel_write,
    .pending = tunnel_pending,
    .used = tunnel_used,
    .end = tunnel_end,
    .finish = tunnel_finish,
    .destroy = tunnel_destroy,
};

struct stream *websocket_tunnel(struct loop *loop, struct stream *transport, bool server)
{
    struct tunnel *t = mem_zalloc(sizeof(*t));
    struct evbuffer *in = evbuffer_new();
    if (!in)
        abort();
    stream_init(&t->base, &tunnel_ops, loop, in);
    t->ws = websocket_new(loop, transport, server, &handler, t);
    return &t->base;
}
