/* SPDY as the framing of the streaming sub-protocols: see remote_framing.h. */
#include "net/remote_framing.h"

#include "base/strbuf.h"
#include "net/spdy.h"

struct remote_framing {
    struct spdy_session *session;
    const struct remote_framing_handler *handler;
    void *arg;
};

static void on_stream(_unused_ struct spdy_session *s, struct stream *stream, void *arg)
{
    const struct remote_framing *f = arg;
    f->handler->on_stream(stream, spdy_headers(stream), f->arg);
}

static void on_close(_unused_ struct spdy_session *s, const struct error *err, void *arg)
{
    const struct remote_framing *f = arg;
    f->handler->on_close(err, f->arg);
}

static const struct spdy_handler spdy_handler = {.on_stream = on_stream, .on_close = on_close};

static struct remote_framing *start(struct loop *loop, struct stream *transport, bool server,
                                    _unused_ const struct remote_setup *setup,
                                    const struct remote_framing_handler *handler, void *arg)
{
    struct remote_framing *f = mem_zalloc(sizeof(*f));
    f->handler = handler;
    f->arg = arg;
    f->session = spdy_session_new(loop, transport, server, &spdy_handler, f);
    return f;
}

static struct stream *open_stream(struct remote_framing *f, const struct http_headers *headers,
                                  void (*on_reply)(struct stream *stream, int result,
                                                   const struct http_headers *headers, void *arg),
                                  void *arg)
{
    return spdy_open(f->session, headers, on_reply, arg);
}

static void accept_stream(struct stream *stream)
{
    spdy_accept(stream, NULL);
}

static void finish(struct remote_framing *f, _unused_ const struct error *err)
{
    (void)spdy_session_free(f->session);
    free(f);
}

static void abort_now(struct remote_framing *f)
{
    (void)spdy_session_abort(f->session);
    free(f);
}

const struct remote_framing_ops remote_framing_spdy = {
    .start = start,
    .open = open_stream,
    .accept = accept_stream,
    .refuse = spdy_refuse,
    .id = spdy_stream_id,
    .finish = finish,
    .abort = abort_now,
};
