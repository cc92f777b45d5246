/*
 * What carries a stream: the table that an implementation fills, and what it calls. An
 * implementation embeds struct stream as its first part and gives it an evbuffer of incoming bytes.
 */
#pragma once

#include <event2/buffer.h>

#include "net/stream.h"

struct stream_ops {
    const char *name;
    void (*write)(struct stream *s, const void *data, size_t len);
    size_t (*pending)(const struct stream *s);
    /* The reader used @len bytes of s->in: a carrier may read on, or widen its window. May be NULL.
     */
    void (*used)(struct stream *s, size_t len);
    void (*end)(struct stream *s);
    /* As stream_finish(): the carrier lives on by itself and calls stream_free() at its end. The
     * handler is gone already. For stream_linger() too, where @lingers: then our direction has not
     * ended yet. */
    void (*finish)(struct stream *s);
    bool lingers;
    /* Closes and frees what the carrier holds. s->in is no longer used after that. The struct
     * itself is freed later by free(). */
    void (*destroy)(struct stream *s);
};

struct stream {
    const struct stream_ops *ops;
    struct loop *loop;
    struct evbuffer *in; /* bytes not used yet; belongs to the carrier */
    const struct stream_handler *handler;
    void *arg;
    struct loop_deferred kick;
    unsigned refs;
    bool paused, congested;
    bool heavy;               /* a write left more pending than on_drain waits for */
    bool ended;               /* our direction; from the start where nothing can be written */
    bool unreadable;          /* nothing can ever come: a pipe's writing end */
    bool eof, eof_told;       /* the peer's direction */
    bool closed, closed_told; /* the carrier */
    bool freed;
    struct error error; /* why it closed */
    void (*over)(struct stream *s, void *arg);
    void *over_arg;
};

void stream_init(struct stream *s, const struct stream_ops *ops, struct loop *loop,
                 struct evbuffer *in);
/* stream_new_fd() for a descriptor that cannot be waited for. */
struct stream *stream_new_file(struct loop *loop, int fd);
/* For carriers, from the loop's callbacks; each may free the stream, so hold a reference. */
void stream_ref(struct stream *s);
void stream_unref(struct stream *s);
void stream_arrived(struct stream *s); /* s->in has grown */
void stream_eof(struct stream *s);
void stream_closed(struct stream *s, const struct error *err);
void stream_drained(struct stream *s); /* pending has shrunk */
/* Calls @over once when the stream's owner has seen the end of the peer's direction or of the
 * stream, or frees it. NULL takes that back. */
void stream_observe(struct stream *s, void (*over)(struct stream *s, void *arg), void *arg);
