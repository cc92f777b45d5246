/* Two streams joined: see stream.h. Each side has at most STREAM_BUFFER_MAX bytes under way. */
#include <errno.h>

#include "base/strbuf.h"
#include "net/stream_ops.h"

struct splice {
    struct stream *a, *b;
    bool a_eof, b_eof;
    uint64_t idle_ms;
    struct loop_timer idle;
    void (*cb)(const struct error *err, void *arg);
    void *arg;
};

static void end(struct splice *s, const struct error *err)
{
    void (*cb)(const struct error *, void *) = s->cb;
    void *arg = s->arg;
    /* What one side sent before it failed still reaches the other. */
    stream_finish(s->a);
    stream_finish(s->b);
    loop_timer_done(&s->idle);
    free(s);
    if (cb)
        cb(err, arg);
}

static struct stream *other(const struct splice *s, const struct stream *from)
{
    return from == s->a ? s->b : s->a;
}

static void touch(struct splice *s)
{
    if (s->idle_ms)
        loop_timer_set(&s->idle, s->idle_ms);
}

static size_t on_data(struct stream *from, const void *data, size_t len, void *arg)
{
    struct splice *s = arg;
    struct stream *to = other(s, from);
    touch(s);
    stream_write(to, data, len);
    if (stream_congested(to))
        stream_pause(from);
    return len;
}

static void on_eof(struct stream *from, void *arg)
{
    struct splice *s = arg;
    *(from == s->a ? &s->a_eof : &s->b_eof) = true;
    stream_end(other(s, from));
    if (s->a_eof && s->b_eof)
        end(s, NULL);
}

static void on_drain(struct stream *to, void *arg)
{
    struct splice *s = arg;
    touch(s);
    stream_resume(other(s, to));
}

/* What came before it failed still goes, also when the other side could not keep up so far. */
static void on_close(struct stream *from, const struct error *err, void *arg)
{
    struct splice *s = arg;
    size_t len = evbuffer_get_length(from->in);
    if (len > 0)
        stream_write(other(s, from), evbuffer_pullup(from->in, -1), len);
    end(s, err);
}

static const struct stream_handler handler = {
    .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close};

static void on_idle(void *arg)
{
    struct error err = ERROR_INIT;
    (void)error_set(&err, -ETIMEDOUT, "nothing came for a long time");
    end(arg, &err);
}

struct splice *stream_splice_idle(struct loop *loop, struct stream *a, struct stream *b,
                                  uint64_t idle_ms, void (*cb)(const struct error *err, void *arg),
                                  void *arg)
{
    struct splice *s = mem_zalloc(sizeof(*s));
    *s = (struct splice){.a = a, .b = b, .idle_ms = idle_ms, .cb = cb, .arg = arg};
    /* A direction that cannot carry anything has ended already. */
    s->a_eof = a->unreadable || b->ended;
    s->b_eof = b->unreadable || a->ended;
    loop_timer_init(&s->idle, loop, "idle splice", on_idle, s);
    touch(s);
    stream_set_handler(a, &handler, s);
    stream_set_handler(b, &handler, s);
    stream_resume(a);
    stream_resume(b);
    return s;
}

struct splice *stream_splice(struct loop *loop, struct stream *a, struct stream *b,
                             void (*cb)(const struct error *err, void *arg), void *arg)
{
    return stream_splice_idle(loop, a, b, 0, cb, arg);
}

struct splice *splice_free(struct splice *s)
{
    if (s) {
        (void)stream_free(s->a);
        (void)stream_free(s->b);
        loop_timer_done(&s->idle);
        free(s);
    }
    return NULL;
}
