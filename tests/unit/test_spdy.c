/* lib/net/spdy*.c: two sessions with each other, and sessions with bytes made by others. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/strbuf.h"
#include "net/spdy.h"

/* What kubectl (Go's spdystream) sent for `echo hi | kubectl exec -i x -- cat`, after the upgrade.
 */
static const char go_client[] =
    "80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000"
    "ffff800300010000001700000003000000000000c22e555c92929907000000ffff8003000100000019000000050000"
    "00000000c22ac5565c92925f5a02000000ffff800300010000001500000007000000000000c229975a5404000000ff"
    "ff000000030000000368690a0000000301000000";

struct side {
    struct fixture *f;
    struct spdy_session *session;
    struct stream *streams[300];
    size_t n_streams, n_closed;
    bool closed, refuse;
    int code;
};
/* What a stream got. */
struct inbox {
    struct strbuf data;
    bool eof, closed, paused, replied, drained;
    int code, result;
};
struct fixture {
    struct loop *loop;
    int fd; /* the raw side */
    struct strbuf raw;
    struct side server, client;
};

static size_t on_data(struct stream *s, const void *data, size_t len, void *arg)
{
    (void)s;
    struct inbox *in = arg;
    if (in->paused)
        return 0;
    strbuf_add(&in->data, data, len);
    return len;
}

static void on_eof(struct stream *s, void *arg)
{
    (void)s;
    ((struct inbox *)arg)->eof = true;
}

static void on_drain(struct stream *s, void *arg)
{
    (void)s;
    ((struct inbox *)arg)->drained = true;
}

static void on_stream_close(struct stream *s, const struct error *err, void *arg)
{
    (void)s;
    struct inbox *in = arg;
    in->closed = true;
    in->code = err->code;
}

static const struct stream_handler inbox_handler = {on_data, on_eof, on_drain, on_stream_close};

static void on_stream(struct spdy_session *s, struct stream *stream, void *arg)
{
    (void)s;
    struct side *side = arg;
    if (side->refuse) {
        spdy_refuse(stream);
        return;
    }
    side->streams[side->n_streams++] = stream;
    spdy_accept(stream, NULL);
}

static void on_close(struct spdy_session *s, const struct error *err, void *arg)
{
    (void)s;
    struct side *side = arg;
    side->closed = true;
    side->code = err ? err->code : 0;
}

static const struct spdy_handler handler = {.on_stream = on_stream, .on_close = on_close};

static void on_reply(struct stream *s, int result, const struct http_headers *headers, void *arg)
{
    (void)s, (void)headers;
    struct inbox *in = arg;
    in->replied = true;
    in->result = result;
}

/* @raw: the client's side is the descriptor f->fd. */
static void start(struct fixture *f, bool raw)
{
    int fds[2];
    (void)signal(SIGPIPE, SIG_IGN);
    *f = (struct fixture){.loop = loop_new(), .fd = -1};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    f->server.session =
        spdy_session_new(f->loop, stream_new_fd(f->loop, fds[0]), true, &handler, &f->server);
    if (raw)
        f->fd = fds[1];
    else
        f->client.session =
            spdy_session_new(f->loop, stream_new_fd(f->loop, fds[1]), false, &handler, &f->client);
}

static void run(struct fixture *f, int ms)
{
    for (uint64_t end = now_ms() + (uint64_t)ms; now_ms() < end;) {
        char buf[4096];
        (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        ssize_t n = f->fd >= 0 ? read(f->fd, buf, sizeof(buf)) : -1;
        if (n > 0)
            strbuf_add(&f->raw, buf, (size_t)n);
        else
            (void)usleep(200);
    }
}

static void stop(struct fixture *f)
{
    struct side *sides[] = {&f->server, &f->client};
    for (int i = 0; i < 2; i++) {
        for (size_t n = 0; n < sides[i]->n_streams; n++)
            (void)stream_free(sides[i]->streams[n]);
        (void)spdy_session_abort(sides[i]->session);
    }
    if (f->fd >= 0)
        (void)close(f->fd);
    (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
    strbuf_done(&f->raw);
    (void)loop_free(f->loop);
}

static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; hex[0] && hex[1]; hex += 2) {
        char pair[3] = {hex[0], hex[1], '\0'};
        out[n++] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return n;
}

static void say(struct fixture *f, const char *hex)
{
    uint8_t bytes[1024];
    size_t n = unhex(hex, bytes);
    assert_int_equal(write(f->fd, bytes, n), n);
}

static struct stream *open_stream(struct fixture *f, const char *type, struct inbox *in)
{
    struct http_headers h = HTTP_HEADERS_INIT;
    http_headers_add(&h, "streamType", type);
    struct stream *s = spdy_open(f->client.session, &h, on_reply, in);
    http_headers_done(&h);
    assert_non_null(s);
    stream_set_handler(s, &inbox_handler, in);
    f->client.streams[f->client.n_streams++] = s;
    return s;
}

static void bytes_of_gos_client_are_understood(_unused_ void **state)
{
    static const char *const types[] = {"error", "stdin", "stdout", "stderr"};
    uint8_t bytes[512];
    size_t len = unhex(go_client, bytes);
    for (size_t step = 1; step <= len; step = step * 3 + 1) {
        struct fixture f;
        struct inbox in = {.eof = false};
        start(&f, true);
        for (size_t at = 0; at < len; at += step) {
            size_t n = len - at < step ? len - at : step;
            assert_int_equal(write(f.fd, bytes + at, n), n);
            (void)event_base_loop(loop_base(f.loop), EVLOOP_NONBLOCK);
        }
        run(&f, 10);
        assert_int_equal(f.server.n_streams, 4);
        for (size_t i = 0; i < 4; i++) {
            const struct http_headers *h = spdy_headers(f.server.streams[i]);
            assert_string_equal(http_headers_get(h, "streamType"), types[i]);
            assert_int_equal(spdy_stream_id(f.server.streams[i]), 2 * i + 1);
        }
        stream_set_handler(f.server.streams[1], &inbox_handler, &in);
        run(&f, 5);
        assert_string_equal(strbuf_text(&in.data), "hi\n");
        assert_true(in.eof);
        strbuf_done(&in.data);
        stop(&f);
    }
}

static void data_goes_both_ways_and_ends(_unused_ void **state)
{
    struct fixture f;
    struct inbox in = {.eof = false}, out = {.eof = false};
    start(&f, false);
    struct stream *s = open_stream(&f, "a, b; c", &in);
    stream_write(s, "before the reply", 16); /* waits for it */
    run(&f, 10);
    assert_true(in.replied);
    assert_int_equal(in.result, 0);
    struct stream *peer = f.server.streams[0];
    assert_string_equal(http_headers_get(spdy_headers(peer), "streamtype"), "a, b; c");
    stream_set_handler(peer, &inbox_handler, &out);
    stream_end(s);
    stream_write(peer, "answer", 6);
    run(&f, 10);
    assert_string_equal(strbuf_text(&out.data), "before the reply");
    assert_true(out.eof);
    assert_string_equal(strbuf_text(&in.data), "answer");
    assert_false(in.eof);
    assert_int_equal(spdy_session_streams(f.server.session), 1);
    stream_end(peer);
    run(&f, 10);
    assert_true(in.eof);
    assert_int_equal(spdy_session_streams(f.server.session), 0);
    assert_int_equal(spdy_session_streams(f.client.session), 0);
    strbuf_done(&in.data);
    strbuf_done(&out.data);
    stop(&f);
}

static void windows_hold_back_one_stream_alone(_unused_ void **state)
{
    static char block[50000];
    struct fixture f;
    struct inbox slow = {.eof = false}, fast = {.eof = false}, to_slow = {.paused = true},
                 to_fast = {.eof = false};
    start(&f, false);
    memset(block, 'x', sizeof(block));
    struct stream *a = open_stream(&f, "slow", &slow), *b = open_stream(&f, "fast", &fast);
    run(&f, 10);
    stream_set_handler(f.server.streams[0], &inbox_handler, &to_slow);
    stream_set_handler(f.server.streams[1], &inbox_handler, &to_fast);
    for (int i = 0; i < 20; i++)
        stream_write(a, block, sizeof(block));
    for (int i = 0; i < 20; i++)
        stream_write(b, block, sizeof(block));
    assert_true(stream_congested(a));
    run(&f, 100);
    assert_int_equal(to_fast.data.len, 1000000);
    assert_true(fast.drained);
    assert_int_equal(to_slow.data.len, 0);
    assert_int_equal(stream_pending(a), 1000000 - 65536);
    to_slow.paused = false;
    stream_resume(f.server.streams[0]);
    run(&f, 100);
    assert_int_equal(to_slow.data.len, 1000000);
    assert_true(slow.drained);
    strbuf_done(&to_slow.data);
    strbuf_done(&to_fast.data);
    stop(&f);
}

/* One who sends without windows, as Go does. */
static void without_windows_the_connection_is_held_back(_unused_ void **state)
{
    static uint8_t frame[8 + 10000] = {0, 0, 0, 3, 0, 0, 10000 >> 8, 10000 & 0xff};
    struct fixture f;
    struct inbox in = {.paused = true};
    size_t sent = 0, total = 200 * sizeof(frame);
    start(&f, true);
    say(&f, go_client);
    say(&f, "0000000500000003616263"); /* a stream beside it, before */
    run(&f, 10);
    stream_set_handler(f.server.streams[1], &inbox_handler, &in); /* has had its end: "hi" */
    stream_set_handler(f.server.streams[2], &inbox_handler, &in);
    frame[3] = 5;
    for (int i = 0; i < 300 && sent < total; i++) {
        size_t at = sent % sizeof(frame);
        ssize_t n = write(f.fd, frame + at, sizeof(frame) - at);
        sent += n > 0 ? (size_t)n : 0;
        run(&f, 1);
    }
    assert_true(sent < total / 2);
    assert_int_equal(in.data.len, 0);
    in.paused = false;
    stream_resume(f.server.streams[2]);
    stream_set_handler(f.server.streams[1], NULL, NULL);
    for (int i = 0; i < 2000 && sent < total; i++) {
        size_t at = sent % sizeof(frame);
        ssize_t n = write(f.fd, frame + at, sizeof(frame) - at);
        sent += n > 0 ? (size_t)n : 0;
        run(&f, 1);
    }
    run(&f, 50);
    assert_int_equal(in.data.len, 3 + 200 * 10000);
    strbuf_done(&in.data);
    stop(&f);
}

static void refused_and_reset_streams(_unused_ void **state)
{
    struct fixture f;
    struct inbox in = {.eof = false}, second = {.eof = false}, peer = {.eof = false};
    start(&f, false);
    f.server.refuse = true;
    (void)open_stream(&f, "x", &in);
    run(&f, 10);
    assert_true(in.replied);
    assert_int_equal(in.result, -ECONNREFUSED);
    assert_true(in.closed);
    f.server.refuse = false;
    struct stream *s = open_stream(&f, "y", &second);
    run(&f, 10);
    stream_set_handler(f.server.streams[0], &inbox_handler, &peer);
    run(&f, 5);
    (void)stream_free(s);
    f.client.n_streams--;
    run(&f, 10);
    assert_true(peer.closed);
    assert_int_equal(peer.code, -ECONNRESET);
    /* No more than the limit. */
    static struct inbox many[SPDY_STREAMS_MAX + 1];
    for (size_t i = 0; i <= SPDY_STREAMS_MAX; i++)
        (void)open_stream(&f, "z", &many[i]);
    run(&f, 30);
    assert_int_equal(many[SPDY_STREAMS_MAX - 1].result, 0);
    assert_int_equal(many[SPDY_STREAMS_MAX].result, -ECONNREFUSED);
    stop(&f);
}

static void finished_streams_deliver_and_go(_unused_ void **state)
{
    struct fixture f;
    struct inbox in = {.eof = false}, out = {.eof = false};
    start(&f, false);
    struct stream *s = open_stream(&f, "x", &in);
    run(&f, 10);
    stream_write(s, "last words", 10);
    stream_finish(s);
    f.client.n_streams--;
    f.client.session = spdy_session_free(f.client.session);
    stream_set_handler(f.server.streams[0], &inbox_handler, &out);
    run(&f, 20);
    assert_string_equal(strbuf_text(&out.data), "last words");
    assert_true(out.eof);
    assert_false(f.server.closed); /* it waits for us */
    stream_write(f.server.streams[0], "ignored", 7);
    (void)stream_free(f.server.streams[0]);
    f.server.n_streams--;
    f.server.session = spdy_session_abort(f.server.session);
    run(&f, 20); /* leak checkers see whether the lingering side went */
    strbuf_done(&out.data);
    stop(&f);
}

static void pings_are_answered_and_missed(_unused_ void **state)
{
    struct fixture f;
    uint8_t pong[12];
    start(&f, true);
    say(&f, "800300060000000400000001");
    run(&f, 10);
    size_t n = unhex("800300060000000400000001", pong);
    assert_non_null(memmem(f.raw.data, f.raw.len, pong, n));
    spdy_session_keepalive(f.server.session, 100);
    (void)unhex("800300060000000400000002", pong);
    for (int i = 0; i < 200 && !memmem(f.raw.data, f.raw.len, pong, n); i++)
        run(&f, 5);
    assert_non_null(memmem(f.raw.data, f.raw.len, pong, n));
    assert_false(f.server.closed);
    say(&f, "800300060000000400000002");
    /* The next one is not answered. */
    (void)unhex("800300060000000400000004", pong);
    for (int i = 0; i < 200 && !memmem(f.raw.data, f.raw.len, pong, n); i++)
        run(&f, 5);
    assert_non_null(memmem(f.raw.data, f.raw.len, pong, n));
    assert_false(f.server.closed);
    for (int i = 0; i < 200 && !f.server.closed; i++)
        run(&f, 5);
    assert_true(f.server.closed);
    assert_int_equal(f.server.code, -ETIMEDOUT);
    stop(&f);
}

/* Pings from a peer that takes no answers: no more of them are read than fit. */
static void a_deaf_peer_is_not_answered_for_ever(_unused_ void **state)
{
    static char pings[12 * 10000];
    struct fixture f;
    uint8_t ping[12];
    size_t sent = 0;
    start(&f, true);
    run(&f, 5);
    strbuf_truncate(&f.raw, 0);
    (void)unhex("800300060000000400000001", ping);
    for (size_t i = 0; i < sizeof(pings); i += sizeof(ping))
        memcpy(pings + i, ping, sizeof(ping));
    for (int i = 0; i < 400; i++) {
        ssize_t n = write(f.fd, pings + sent % 12, sizeof(pings) - 12);
        sent += n > 0 ? (size_t)n : 0;
        for (int k = 0; k < 20; k++)
            (void)event_base_loop(loop_base(f.loop), EVLOOP_NONBLOCK); /* without reading */
    }
    assert_true(sent < 2000000);
    assert_true(spdy_session_pending(f.server.session) < 200000);
    for (int i = 0; i < 500 && f.raw.len < sent / 12 * 12; i++)
        run(&f, 5);
    assert_int_equal(f.raw.len, sent / 12 * 12);
    assert_false(f.server.closed);
    stop(&f);
}

static void abort_session(struct stream *s, const struct error *err, void *arg)
{
    struct fixture *f = arg;
    (void)s, (void)err;
    f->server.session = spdy_session_abort(f->server.session);
}

/* The owner of a stream hears first that the connection is gone, and frees everything. */
static void sessions_are_freed_inside_callbacks(_unused_ void **state)
{
    static const struct stream_handler aborter = {.on_close = abort_session};
    struct fixture f;
    start(&f, true);
    say(&f, go_client);
    run(&f, 10);
    assert_int_equal(f.server.n_streams, 4);
    for (size_t i = 0; i < 4; i++)
        stream_set_handler(f.server.streams[i], &aborter, &f);
    (void)close(f.fd);
    f.fd = -1;
    run(&f, 20);
    assert_null(f.server.session);
    assert_false(f.server.closed);
    stop(&f);
}

static void malformed_frames_end_the_session(_unused_ void **state)
{
    /* NOLINTBEGIN(bugprone-suspicious-missing-comma): long frames span lines */
    static const char *const cases[] = {
        "80020001000000080000000000000000",               /* version 2 */
        "8003000100ffffff",                               /* control frame too large */
        "800300010000000400000001",                       /* short SYN_STREAM */
        "800300010000000f00000001000000000000ffffffffff", /* no zlib */
        "8003000300000004000000010000",                   /* short RST_STREAM */
        "800300040000000400000001",                       /* SETTINGS without its entry */
        "80030006000000080000000100000001",               /* long PING */
        "800300090000000400000001",                       /* short WINDOW_UPDATE */
        "8003000900000008000000007fffffff",               /* the session's window overflows */
        /* an even number from a client; the same number twice (two frames in one string) */
        "80030001000000290000000200000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a680000"
        "0000ffff",
        "80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a680000"
        "0000ffff800300010000001700000001000000000000c22e555c92929907000000ffff",
    };
    /* NOLINTEND(bugprone-suspicious-missing-comma) */
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        start(&f, true);
        say(&f, cases[i]);
        run(&f, 10);
        if (!f.server.closed || f.server.code != -EBADMSG)
            fail_msg("case %zu: closed %d, code %d", i, f.server.closed, f.server.code);
        stop(&f);
    }
}

static void the_end_of_the_connection_is_told(_unused_ void **state)
{
    struct fixture f;
    struct inbox in = {.eof = false};
    start(&f, true);
    say(&f, go_client);
    run(&f, 10);
    stream_set_handler(f.server.streams[0], &inbox_handler, &in);
    (void)close(f.fd);
    f.fd = -1;
    run(&f, 10);
    assert_true(in.closed);
    assert_true(f.server.closed);
    stream_write(f.server.streams[0], "x", 1);
    assert_int_equal(stream_pending(f.server.streams[0]), 0);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_gos_client_are_understood),
        cmocka_unit_test(data_goes_both_ways_and_ends),
        cmocka_unit_test(windows_hold_back_one_stream_alone),
        cmocka_unit_test(without_windows_the_connection_is_held_back),
        cmocka_unit_test(refused_and_reset_streams),
        cmocka_unit_test(finished_streams_deliver_and_go),
        cmocka_unit_test(pings_are_answered_and_missed),
        cmocka_unit_test(a_deaf_peer_is_not_answered_for_ever),
        cmocka_unit_test(sessions_are_freed_inside_callbacks),
        cmocka_unit_test(malformed_frames_end_the_session),
        cmocka_unit_test(the_end_of_the_connection_is_told),
    };
    return RUN_TESTS(tests);
}
