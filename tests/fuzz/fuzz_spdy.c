/*
 * A SPDY session fed with foreign bytes. The first byte chooses: bit 0 the side, bit 1 whether the
 * rest is a list of frames whose header blocks the harness compresses (else they are beyond a
 * fuzzer's reach).
 */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include <zlib.h>

#include "base/strbuf.h"
#include "net/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
    struct stream *streams[SPDY_STREAMS_MAX + 1];
    size_t n, seen;
};

static size_t on_data(struct stream *s, const void *data, size_t len, void *arg)
{
    struct peer *p = arg;
    p->seen += len;
    stream_write(s, data, len);
    return p->seen % 3 ? len : len / 2;
}

static void on_eof(struct stream *s, _unused_ void *arg)
{
    stream_end(s);
}

static const struct stream_handler handler = {.on_data = on_data, .on_eof = on_eof};

static void on_stream(_unused_ struct spdy_session *s, struct stream *stream, void *arg)
{
    struct peer *p = arg;
    if (p->n >= SPDY_STREAMS_MAX || spdy_headers(stream)->count > 5) {
        spdy_refuse(stream);
        return;
    }
    p->streams[p->n++] = stream;
    spdy_accept(stream, spdy_headers(stream));
    stream_set_handler(stream, &handler, p);
}

static const struct spdy_handler session_handler = {.on_stream = on_stream};

static void put_control(struct strbuf *out, unsigned type, unsigned flags, size_t len)
{
    const uint8_t head[8] = {
        0x80,        3, 0, (uint8_t)type, (uint8_t)flags, (uint8_t)(len >> 16), (uint8_t)(len >> 8),
        (uint8_t)len};
    strbuf_add(out, head, sizeof(head));
}

/* Input: type, flags, length, payload, again and again. Type 0 is data. */
static void build(const uint8_t *data, size_t size, struct strbuf *out)
{
    z_stream z = {.zalloc = Z_NULL};
    if (deflateInit(&z, 1) != Z_OK)
        return;
    while (size >= 3) {
        unsigned type = data[0] % 11, flags = data[1] & 3;
        size_t len = data[2] < size - 3 ? data[2] : size - 3;
        size_t fixed = type == 1 ? 10 : type == 2 || type == 8 ? 4 : len;
        const uint8_t *payload = data + 3;
        uint8_t packed[1024];
        data += 3 + len;
        size -= 3 + len;
        if (type == 0) {
            const uint8_t head[8] = {0, 0, 0,           len ? payload[0] % 8 : 1, (uint8_t)flags,
                                     0, 0, (uint8_t)len};
            strbuf_add(out, head, sizeof(head));
            strbuf_add(out, payload, len);
            continue;
        }
        if (fixed > len)
            fixed = len;
        z.next_in = (uint8_t *)(uintptr_t)(payload + fixed);
        z.avail_in = (uInt)(len - fixed);
        z.next_out = packed;
        z.avail_out = sizeof(packed);
        if (len > fixed)
            (void)deflate(&z, Z_SYNC_FLUSH);
        size_t packed_len = sizeof(packed) - z.avail_out;
        put_control(out, type, flags, fixed + packed_len);
        strbuf_add(out, payload, fixed);
        strbuf_add(out, packed, packed_len);
    }
    (void)deflateEnd(&z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[2];
    struct peer p = {.n = 0};
    struct http_headers h = HTTP_HEADERS_INIT;
    _cleanup_strbuf_ struct strbuf bytes = STRBUF_INIT;
    if (size < 1 || size > 60000 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return 0;
    (void)signal(SIGPIPE, SIG_IGN);
    if (data[0] & 2)
        build(data + 1, size - 1, &bytes);
    else
        strbuf_add(&bytes, data + 1, size - 1);
    struct loop *loop = loop_new();
    struct spdy_session *s =
        spdy_session_new(loop, stream_new_fd(loop, fds[1]), data[0] & 1, &session_handler, &p);
    http_headers_add(&h, "streamType", "data");
    struct stream *ours = spdy_open(s, &h, NULL, NULL);
    stream_set_handler(ours, &handler, &p);
    stream_write(ours, "hello", 5);
    (void)!write(fds[0], strbuf_text(&bytes), bytes.len);
    for (int i = 0; i < 6; i++) {
        char sink[4096];
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
        (void)!read(fds[0], sink, sizeof(sink));
    }
    (void)shutdown(fds[0], SHUT_WR);
    for (int i = 0; i < 3; i++)
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    if (data[0] & 4)
        stream_finish(ours);
    else
        (void)stream_free(ours);
    for (size_t i = 0; i < p.n; i++)
        (void)stream_free(p.streams[i]);
    (void)spdy_session_abort(s);
    (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    (void)loop_free(loop);
    (void)close(fds[0]);
    http_headers_done(&h);
    return 0;
}
