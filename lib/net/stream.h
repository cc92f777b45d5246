/*
 * A stream: one bidirectional flow of bytes, whatever carries it (a socket with or without TLS, a
 * pipe, an upgraded HTTP connection, a SPDY stream). Reading has backpressure, writing is buffered
 * and says how much is pending, each direction ends on its own.
 *
 * The owner frees a stream, at any time, also inside its callbacks; no callback comes after that.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/loop.h"

struct stream;
struct bufferevent;

/* A reader or writer that cannot keep up makes at most about this much wait, per direction. */
#define STREAM_BUFFER_MAX (64 * 1024)

struct stream_handler {
    /* Bytes came. Returns how many were used; the rest is kept and shown again, with what has come
     * since, at the next arrival or stream_resume(). While STREAM_BUFFER_MAX bytes wait unused,
     * nothing more is read from the peer. NULL: as if paused. */
    size_t (*on_data)(struct stream *s, const void *data, size_t len, void *arg);
    /* The peer has ended its direction, after everything before that was shown to on_data. Writing
     * may go on. */
    void (*on_eof)(struct stream *s, void *arg);
    /* Pending bytes fell to STREAM_BUFFER_MAX / 4 or below after stream_congested() had been true.
     */
    void (*on_drain)(struct stream *s, void *arg);
    /* Nothing goes any more in either direction: reset, timeout, TLS failure, end of the carrier.
     * Called at most once; the owner frees the stream, here or later. Both directions having ended
     * in order is no such event. */
    void (*on_close)(struct stream *s, const struct error *err, void *arg);
};

/* Replaces handler and argument; @handler is not copied. Callbacks for what is waiting already
 * come on a later turn of the loop. A new stream has none and reads nothing until it gets one. */
void stream_set_handler(struct stream *s, const struct stream_handler *handler, void *arg);
void *stream_arg(const struct stream *s);

/* Queues @len bytes (copied). Never fails: what is written after the peer has gone, or after
 * stream_end(), is dropped, and on_close tells. A well-behaved writer stops at
 * stream_pending() >= STREAM_BUFFER_MAX until on_drain. */
void stream_write(struct stream *s, const void *data, size_t len);
/* Bytes written that the carrier has not taken yet. */
size_t stream_pending(const struct stream *s);
/* Whether the writer should wait for on_drain: STREAM_BUFFER_MAX bytes or more are pending. */
bool stream_congested(const struct stream *s);

/* Stops and resumes on_data and on_eof (they never come while paused). Resuming calls back on a
 * later turn of the loop. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

/* Ends our direction after what is pending (shutdown(2), close_notify, FIN flag). */
void stream_end(struct stream *s);
/* Closes at once: what is pending is lost, a socket's peer may see a reset. Returns NULL. */
struct stream *stream_free(struct stream *s);
DEFINE_CLEANUP(struct stream *, stream_free);
/* Gives the stream away: what is pending is still sent (given up after ten minutes without
 * progress), our direction is ended, incoming bytes are thrown away, and when the peer has ended
 * too, or 30 s later, it frees itself. No more callbacks. */
void stream_finish(struct stream *s);
/* As stream_finish(), for a protocol that has told the peer by a message that it is through: our
 * direction ends only after the peer's. Proxies between us take the end of one direction for the
 * end of both, and a connection that is closed while the peer still sends is reset, with what was
 * on its way. A peer that does not close is given up after STREAM_LINGER_MS. */
#define STREAM_LINGER_MS (10 * 60 * 1000)
void stream_linger(struct stream *s);

/* ---- what carries it ---- */

/* A stream over a socket, pipe, terminal or file. Owns @fd (a terminal is opened anew, so that it
 * does not become non-blocking for others), which is made non-blocking. A descriptor that can only
 * be read or only be written is fine: then only that half works. */
struct stream *stream_new_fd(struct loop *loop, int fd);
/* A stream over a bufferevent that is connected (TLS or not), and what it has read already. Owns
 * @bev. */
struct stream *stream_new_bufferevent(struct loop *loop, struct bufferevent *bev);
/* Connects to a numeric address, or a unix socket when @port is 0 and @address starts with '/'.
 * 0, or -errno when it failed at once. A failure later arrives as on_close; writing may start at
 * once. */
int stream_connect(struct loop *loop, const char *address, uint16_t port, struct stream **ret,
                   struct error *err);

/* What a new kind of carrier implements; see stream_ops.h. */
struct stream_ops;

/* ---- splicing: a proxy in constant memory ---- */
struct splice;

/* Owns both streams and copies each one's bytes and end of direction to the other, with
 * backpressure. A direction that cannot be (from a pipe's writing end, to its reading end) counts
 * as ended. When both directions have ended or either stream has failed it sends what is pending,
 * frees both, and calls @cb once (may be NULL; @err is NULL after an orderly end); @splice is gone
 * after that. Handlers of the streams are replaced. */
struct splice *stream_splice(struct loop *loop, struct stream *a, struct stream *b,
                             void (*cb)(const struct error *err, void *arg), void *arg);
/* As stream_splice(), and ends when @idle_ms pass without a byte in either direction (0: never). */
struct splice *stream_splice_idle(struct loop *loop, struct stream *a, struct stream *b,
                                  uint64_t idle_ms, void (*cb)(const struct error *err, void *arg),
                                  void *arg);
/* Closes both at once; the callback is not called. NULL is harmless; returns NULL. */
struct splice *splice_free(struct splice *s);
