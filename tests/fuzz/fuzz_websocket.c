/*
 * WebSocket fed with foreign bytes. The first byte chooses: bit 0 the side; bits 1 and 2 what is on
 * top: bare messages, remote command (v5), the same in base64, two forwarded ports (client: a
 * tunnel); bit 3 a slow reader; bit 4 how it ends.
 */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "base/strbuf.h"
#include "net/remote_framing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STREAMS_MAX 8

struct peer {
    bool slow;
    size_t seen;
    struct stream *streams[STREAMS_MAX];
    size_t n;
    bool over;
};

/* ---- streams: echo ---- */

static size_t on_data(struct stream *s, const void *data, size_t len, void *arg)
{
    struct peer *p = arg;
    p->seen += len;
    stream_write(s, data, len);
    return p->slow && p->seen % 3 ? len / 2 : len;
}

static void on_eof(struct stream *s, _unused_ void *arg)
{
    stream_end(s);
}

static const struct stream_handler handler = {.on_data = on_data, .on_eof = on_eof};

static void add(struct peer *p, struct stream *s)
{
    if (!s)
        return;
    if (p->n == STREAMS_MAX)
        abort(); /* no more were set up */
    p->streams[p->n++] = s;
    stream_set_handler(s, &handler, p);
}

static void on_stream(struct stream *stream, const struct http_headers *headers, void *arg)
{
    if (!http_headers_get(headers, "streamType"))
        abort();
    add(arg, stream);
}

static void on_over(_unused_ const struct error *err, void *arg)
{
    struct peer *p = arg;
    if (p->over)
        abort(); /* told once */
    p->over = true;
}

static const struct remote_framing_handler framing_handler = {.on_stream = on_stream,
                                                              .on_close = on_over};

/* ---- bare messages ---- */

static void ws_begin(_unused_ struct websocket *ws, _unused_ bool text, _unused_ void *arg)
{
}

static void ws_data(struct websocket *ws, const void *data, size_t len, void *arg)
{
    struct peer *p = arg;
    p->seen += len;
    websocket_send(ws, false, data, len, NULL, 0);
    if (p->slow)
        websocket_pause(ws);
}

static void ws_close(_unused_ struct websocket *ws, const struct error *err, void *arg)
{
    on_over(err, arg);
}

static const struct websocket_handler ws_handler = {
    .on_begin = ws_begin, .on_data = ws_data, .on_close = ws_close};

/* ---- the run ---- */

static void turn(struct loop *loop, int fd, int n)
{
    char sink[8192];
    for (int i = 0; i < n; i++) {
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
        (void)!read(fd, sink, sizeof(sink));
    }
}

static struct remote_framing *start_framing(struct loop *loop, struct stream *transport,
                                            bool server, uint8_t mode, struct peer *p)
{
    static const uint16_t ports[] = {80, 443};
    static const char *const names[] = {"stdin", "stdout", "stderr", "error", "resize"};
    const struct remote_protocol protocol = {
        .framing = &remote_framing_websocket, .base64 = mode == 2, .half_close = mode == 1};
    const struct remote_setup setup = {.protocol = &protocol,
                                       .command = {true, true, true, false, false},
                                       .ports = ports,
                                       .n_ports = mode == 3 ? 2 : 0};
    struct remote_framing *f =
        remote_framing_websocket.start(loop, transport, server, &setup, &framing_handler, p);
    for (size_t i = 0; !server && i < ARRAY_SIZE(names); i++) {
        _cleanup_http_headers_ struct http_headers h = HTTP_HEADERS_INIT;
        http_headers_add(&h, "streamType", names[i]);
        add(p, remote_framing_websocket.open(f, &h, NULL, NULL));
    }
    return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[2];
    struct peer p = {.slow = false};
    if (size < 1 || size > 60000 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return 0;
    (void)signal(SIGPIPE, SIG_IGN);
    bool server = data[0] & 1, finish = data[0] & 16;
    uint8_t mode = data[0] >> 1 & 3;
    p.slow = data[0] & 8;
    struct loop *loop = loop_new();
    struct stream *transport = stream_new_fd(loop, fds[1]);
    struct remote_framing *f = NULL;
    struct websocket *ws = NULL;
    if (mode == 0)
        ws = websocket_new(loop, transport, server, &ws_handler, &p);
    else if (mode == 3 && !server)
        add(&p, websocket_tunnel(loop, transport, server));
    else
        f = start_framing(loop, transport, server, mode, &p);
    turn(loop, fds[0], 2);
    for (size_t at = 1; at < size;) {
        ssize_t n = write(fds[0], data + at, at == 1 ? (size - 1) / 2 + 1 : size - at);
        if (n <= 0)
            break;
        at += (size_t)n;
        turn(loop, fds[0], 3);
        if (ws)
            websocket_resume(ws);
    }
    turn(loop, fds[0], 3);
    (void)shutdown(fds[0], SHUT_WR);
    turn(loop, fds[0], 3);
    for (size_t i = 0; i < p.n; i++) {
        if (finish)
            stream_finish(p.streams[i]);
        else
            (void)stream_free(p.streams[i]);
    }
    if (f && finish)
        remote_framing_websocket.finish(f, NULL);
    else if (f)
        remote_framing_websocket.abort(f);
    if (ws)
        (void)(finish ? websocket_finish(ws, WEBSOCKET_NORMAL) : websocket_free(ws));
    turn(loop, fds[0], 2);
    (void)close(fds[0]);
    turn(loop, fds[0], 4);
    (void)loop_free(loop);
    return 0;
}
