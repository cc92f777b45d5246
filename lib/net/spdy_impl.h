/*
 * Inside SPDY: spdy.c has the session and the frames that come in, spdy_stream.c the streams and
 * the frames that go out, spdy_headers.c header blocks. Numbers are SPDY/3's.
 */
#pragma once

#include <zlib.h>

#include "net/stream_ops.h"
#include "base/list.h"
#include "net/spdy.h"

#define SPDY_FRAME_HEADER 8
#define SPDY_CONTROL_MAX  (64 * 1024) /* payload of a control frame */
#define SPDY_BLOCK_MAX    (64 * 1024) /* a header block, decompressed */
#define SPDY_DATA_MAX     (16 * 1024) /* payload of a data frame that we send */
#define SPDY_WINDOW       (64 * 1024) /* what a stream starts with, unless SETTINGS say otherwise */

enum spdy_type {
    SPDY_SYN_STREAM = 1,
    SPDY_SYN_REPLY = 2,
    SPDY_RST_STREAM = 3,
    SPDY_SETTINGS = 4,
    SPDY_PING = 6,
    SPDY_GOAWAY = 7,
    SPDY_HEADERS = 8,
    SPDY_WINDOW_UPDATE = 9,
};
enum { SPDY_FLAG_FIN = 1, SPDY_FLAG_UNIDIRECTIONAL = 2 };
enum spdy_rst {
    SPDY_RST_PROTOCOL_ERROR = 1,
    SPDY_RST_INVALID_STREAM = 2,
    SPDY_RST_REFUSED_STREAM = 3,
    SPDY_RST_CANCEL = 5,
    SPDY_RST_FLOW_CONTROL_ERROR = 7,
};
enum { SPDY_SETTING_INITIAL_WINDOW = 7 };

struct spdy_session {
    struct loop *loop;
    struct stream *transport;
    bool server;
    const struct spdy_handler *handler;
    void *arg;
    unsigned refs;
    z_stream deflate, inflate;
    struct list streams; /* open, of both sides */
    size_t n_streams, n_peer_streams;
    uint32_t next_id, last_peer_id;

    /* The data frame that is being received. */
    uint32_t data_id;
    size_t data_left;
    bool data_fin, in_data;
    struct spdy_stream *blocked_on; /* its reader lags; nothing is read until it catches up */

    bool peer_windows; /* the peer has announced windows */
    int64_t peer_initial;
    int64_t send_window;    /* of the session (3.1), when peer_windows */
    size_t session_unacked; /* bytes used since we last widened the peer's session window */

    size_t control_sent; /* bytes, since the transport was last drained */
    bool goaway_received, ended, lingering;
    unsigned drain_round;
    struct loop_timer ping, linger;
    uint64_t ping_ms;
    uint32_t ping_id;
    bool ping_sent, heard;
    unsigned linger_stalls;
    size_t linger_pending;
};

struct spdy_stream {
    struct stream base;
    struct list entry;
    struct spdy_session *session; /* NULL once out of the session */
    uint32_t id;
    bool ours;
    bool replied;   /* SYN_REPLY has gone either way: data may be sent */
    bool fin_sent;  /* our direction is over on the wire */
    bool fin_got;   /* theirs is */
    bool finishing; /* nobody owns it */
    struct evbuffer *out;
    int64_t send_window;
    size_t unacked; /* bytes used since we last widened the peer's window */
    struct http_headers headers;
    void (*on_reply)(struct stream *stream, int result, const struct http_headers *headers,
                     void *arg);
    void *reply_arg;
    struct loop_timer deadline;
    unsigned stalls;
    unsigned drain_round; /* the last one in which it was told */
};

/* ---- spdy_headers.c ---- */
void spdy_headers_init(struct spdy_session *s);
void spdy_headers_done(struct spdy_session *s);
/* Appends the compressed block. */
void spdy_headers_pack(struct spdy_session *s, const struct http_headers *h, struct strbuf *out);
/* Decompresses and parses a block. -EBADMSG; the session cannot go on after that, as the
 * compression's state is lost. */
int spdy_headers_unpack(struct spdy_session *s, const uint8_t *data, size_t len,
                        struct http_headers *ret);

/* ---- spdy_stream.c ---- */
struct spdy_stream *spdy_stream_new(struct spdy_session *s, uint32_t id, bool ours);
struct spdy_stream *spdy_stream_of(const struct stream *s);
/* Sends what waits, as far as reply and windows allow; FIN at the end. */
void spdy_stream_flush(struct spdy_stream *st);
/* The peer ended its direction. */
void spdy_stream_fin(struct spdy_stream *st);
/* Out of the session, telling the owner why (NULL: it knows). */
void spdy_stream_drop(struct spdy_stream *st, const struct error *err);
/* Removes it when both directions are over. */
void spdy_stream_check_done(struct spdy_stream *st);

/* ---- spdy.c ---- */
void spdy_send_control(struct spdy_session *s, enum spdy_type type, uint8_t flags,
                       const void *payload, size_t len);
void spdy_send_rst(struct spdy_session *s, uint32_t id, enum spdy_rst status);
void spdy_send_window_update(struct spdy_session *s, uint32_t id, uint32_t delta);
/* The reader of a stream that held up the connection has caught up. */
void spdy_session_unblock(struct spdy_session *s);

static inline uint32_t spdy_get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void spdy_put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}
