/*
 * The part of a stream that all carriers share: who is called when. Bytes wait in s->in; deliver()
 * shows them while the reader takes them, then the end of the direction, then the end of
 * everything. Every callback may free the stream, therefore a reference is held around them and
 * s->freed is looked at after each.
 */
#include "net/stream.h"

#include "base/strbuf.h"
#include "net/stream_ops.h"

#define TURNS_MAX 16

void stream_ref(struct stream *s)
{
    s->refs++;
}

void stream_unref(struct stream *s)
{
    if (--s->refs == 0)
        free(s);
}

static bool readable(const struct stream *s)
{
    return !s->freed && !s->paused && s->handler && s->handler->on_data;
}

/* Shows what has arrived. A reader that leaves bytes gets them in one piece next time. A carrier
 * that refills as fast as the reader takes must not keep the loop for itself. */
static void show(struct stream *s)
{
    bool left = false;
    for (int turns = 0; readable(s); turns++) {
        if (turns == TURNS_MAX) {
            loop_defer(&s->kick);
            return;
        }
        size_t total = evbuffer_get_length(s->in);
        size_t len = left ? total : evbuffer_get_contiguous_space(s->in);
        if (len == 0)
            return;
        const void *data = evbuffer_pullup(s->in, (ev_ssize_t)len);
        size_t used = s->handler->on_data(s, data, len, s->arg);
        if (s->freed)
            return;
        if (used > 0) {
            (void)evbuffer_drain(s->in, used);
            if (s->ops->used)
                s->ops->used(s, used);
        }
        if (s->freed || (used < len && len == total))
            return;
        left = used < len;
    }
}

void stream_observe(struct stream *s, void (*over)(struct stream *s, void *arg), void *arg)
{
    s->over = over;
    s->over_arg = arg;
}

static void tell_over(struct stream *s)
{
    void (*over)(struct stream *, void *) = s->over;
    s->over = NULL;
    if (over)
        over(s, s->over_arg);
}

static void deliver(struct stream *s)
{
    stream_ref(s);
    if (!s->closed_told)
        show(s);
    /* Not while there is more to show on the next turn. */
    bool later = !s->freed && event_pending(&s->kick.ev, EV_TIMEOUT, NULL);
    if (s->eof && !s->eof_told && !s->freed && !s->paused && s->handler && !later) {
        s->eof_told = true;
        if (s->handler->on_eof)
            s->handler->on_eof(s, s->arg);
        tell_over(s);
    }
    if (s->closed && !s->closed_told && !s->freed && s->handler && !later) {
        s->closed_told = true;
        if (s->handler->on_close)
            s->handler->on_close(s, &s->error, s->arg);
        tell_over(s);
    }
    stream_unref(s);
}

static void on_kick(void *arg)
{
    struct stream *s = arg;
    if (!s->freed)
        deliver(s);
}

void stream_init(struct stream *s, const struct stream_ops *ops, struct loop *loop,
                 struct evbuffer *in)
{
    s->ops = ops;
    s->loop = loop;
    s->in = in;
    s->refs = 1;
    loop_deferred_init(&s->kick, loop, on_kick, s);
}

void stream_arrived(struct stream *s)
{
    if (!s->freed)
        deliver(s);
}

void stream_eof(struct stream *s)
{
    s->eof = true;
    if (!s->freed)
        deliver(s);
}

void stream_closed(struct stream *s, const struct error *err)
{
    if (s->closed || s->freed)
        return;
    s->closed = true;
    s->error = *err;
    deliver(s);
}

void stream_drained(struct stream *s)
{
    if (s->freed || !s->heavy || s->ops->pending(s) > STREAM_BUFFER_MAX / 4)
        return;
    s->heavy = s->congested = false;
    if (s->handler && s->handler->on_drain && !s->closed)
        s->handler->on_drain(s, s->arg);
}

void stream_set_handler(struct stream *s, const struct stream_handler *handler, void *arg)
{
    s->handler = handler;
    s->arg = arg;
    s->eof_told = s->closed_told = false;
    if (handler && (evbuffer_get_length(s->in) > 0 || s->eof || s->closed))
        loop_defer(&s->kick);
}

void *stream_arg(const struct stream *s)
{
    return s->arg;
}

void stream_write(struct stream *s, const void *data, size_t len)
{
    if (s->ended || s->closed || s->freed || len == 0)
        return;
    s->ops->write(s, data, len);
    size_t pending = s->closed ? 0 : s->ops->pending(s);
    if (pending > STREAM_BUFFER_MAX / 4)
        s->heavy = true;
    if (pending >= STREAM_BUFFER_MAX)
        s->congested = true;
}

size_t stream_pending(const struct stream *s)
{
    return s->closed ? 0 : s->ops->pending(s);
}

bool stream_congested(const struct stream *s)
{
    return s->congested && !s->closed;
}

void stream_pause(struct stream *s)
{
    s->paused = true;
}

void stream_resume(struct stream *s)
{
    /* Also when it was not paused: a reader may have left bytes instead. */
    s->paused = false;
    if (!s->freed)
        loop_defer(&s->kick);
}

void stream_end(struct stream *s)
{
    if (s->ended)
        return;
    s->ended = true;
    if (!s->closed)
        s->ops->end(s);
}

struct stream *stream_free(struct stream *s)
{
    if (s && !s->freed) {
        s->freed = true;
        s->handler = NULL;
        tell_over(s);
        loop_deferred_done(&s->kick);
        s->ops->destroy(s);
        stream_unref(s);
    }
    return NULL;
}

static void give_away(struct stream *s, bool end)
{
    s->handler = NULL;
    tell_over(s);
    if (s->closed) {
        (void)stream_free(s);
        return;
    }
    if (end)
        stream_end(s);
    s->ops->finish(s);
}

void stream_finish(struct stream *s)
{
    give_away(s, true);
}

void stream_linger(struct stream *s)
{
    give_away(s, !s->ops->lingers || s->eof);
}
