/*
 * SPDY/3.1 framing (draft-mbelshe-httpbis-spdy-00 and the 3.1 revision), both sides, over any
 * stream: what Kubernetes upgrades exec, attach and port-forward to. Every SPDY stream is a struct
 * stream (stream.h) with headers; spdy_* calls that take one want a stream made here.
 *
 * Flow control. Go's spdystream, on the other side of most connections, ignores windows: it sends
 * without regard to ours, never widens its own, and is silent about both. A peer that is like us
 * announces itself by sending SETTINGS_INITIAL_WINDOW_SIZE; windows are obeyed towards such a peer
 * alone. Without them, a stream whose reader lags buffers up to SPDY_STREAM_BUFFER and then stops
 * the whole connection until it is read, as Go's does.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "net/http.h"
#include "net/stream.h"

#define SPDY_STREAMS_MAX   256         /* open streams that the peer may have; more are refused */
#define SPDY_STREAM_BUFFER (64 * 1024) /* and the window that we announce */

struct spdy_session;

struct spdy_handler {
    /* The peer opened a stream; headers: spdy_headers(). Owned by the callee, who answers with
     * spdy_accept() (before writing) or spdy_refuse(). NULL: every stream is refused. */
    void (*on_stream)(struct spdy_session *s, struct stream *stream, void *arg);
    /* The connection ended, in order (@err NULL: GOAWAY or end of the bytes) or not. Streams
     * got on_close before. Called at most once; the owner frees the session, here or later. */
    void (*on_close)(struct spdy_session *s, const struct error *err, void *arg);
};

/* Takes @transport. @server says which side this is: a server's own streams have even numbers. */
struct spdy_session *spdy_session_new(struct loop *loop, struct stream *transport, bool server,
                                      const struct spdy_handler *handler, void *arg);
/* Says GOAWAY and gives the session away: what is pending is still sent, also of streams given to
 * stream_finish(), then it waits for the peer to close (STREAM_LINGER_MS after the last byte
 * moved) and frees itself. Streams that their owners still hold are dead (no callback) and still
 * theirs to free. No callbacks any more. NULL is harmless; returns NULL. */
struct spdy_session *spdy_session_free(struct spdy_session *s);
/* Closes at once; otherwise as spdy_session_free(). */
struct spdy_session *spdy_session_abort(struct spdy_session *s);
/* Bytes written to all streams that the connection has not taken. */
size_t spdy_session_pending(const struct spdy_session *s);
/* Open streams, of both sides. */
size_t spdy_session_streams(const struct spdy_session *s);
/* Sends PING every @ms while nothing arrives and ends the session with -ETIMEDOUT when no answer
 * comes in the same time again. 0: off (the start). */
void spdy_session_keepalive(struct spdy_session *s, uint64_t ms);

/* Opens a stream of ours. @on_reply (may be NULL) is called once with result 0 and the peer's
 * headers, or -ECONNREFUSED (RST_STREAM) / -ECONNRESET. Writing may start at once; bytes wait for
 * the reply, because Go's server drops data that comes before it has answered. NULL when the
 * session has ended. */
struct stream *spdy_open(struct spdy_session *s, const struct http_headers *headers,
                         void (*on_reply)(struct stream *stream, int result,
                                          const struct http_headers *headers, void *arg),
                         void *arg);
/* Sends SYN_REPLY; @headers may be NULL. */
void spdy_accept(struct stream *stream, const struct http_headers *headers);
/* Sends RST_STREAM REFUSED_STREAM and frees the stream. */
void spdy_refuse(struct stream *stream);
/* The headers the stream was opened with (ours or the peer's). Names are lower case. */
const struct http_headers *spdy_headers(const struct stream *stream);
uint32_t spdy_stream_id(const struct stream *stream);
