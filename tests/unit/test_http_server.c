/* lib/net/http_*.c, the server: raw bytes over socket pairs, so that what goes over the wire is
 * seen. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "net/http_server.h"

struct fixture {
    struct loop *loop;
    struct http_server *server;
    int fd; /* the client's end */
    struct strbuf got;
    bool eof, closed, drained;
    struct http_exchange *held;
    struct stream *stream;
    size_t drains, pieces, bytes;
    int result;
};

static void on_body(struct http_exchange *x, int result, const char *data, size_t len, void *arg)
{
    struct fixture *f = arg;
    f->result = result;
    if (result == -ECONNRESET)
        http_exchange_abort(x);
    else if (result < 0)
        http_exchange_replyf(x, result == -EFBIG ? 413 : 400, "%s\n", strerror(-result));
    else
        http_exchange_reply(x, 200, "text/plain", data, len);
}

static void on_closed(struct http_exchange *x, void *arg)
{
    struct fixture *f = arg;
    f->closed = true;
    f->held = NULL;
    http_exchange_abort(x);
}

static void fill(struct http_exchange *x, void *arg)
{
    static char block[10000];
    struct fixture *f = arg;
    memset(block, 'x', sizeof(block));
    f->drains++;
    while (http_exchange_pending(x) < 50000 && f->bytes < 2000000) {
        http_exchange_write(x, block, sizeof(block));
        f->bytes += sizeof(block);
    }
    if (f->bytes >= 2000000)
        http_exchange_end(x);
}

static void on_piece(struct http_exchange *x, const void *data, size_t len, void *arg)
{
    struct fixture *f = arg;
    (void)data;
    f->pieces++;
    f->bytes += len;
    http_exchange_pause_body(x);
    f->held = x;
}

static void on_pieces_end(struct http_exchange *x, int result, void *arg)
{
    struct fixture *f = arg;
    f->held = NULL;
    f->result = result;
    http_exchange_replyf(x, 200, "%zu", f->bytes);
}

static void release(const void *data, size_t len, void *arg)
{
    (void)data, (void)len;
    ++*(int *)arg;
}

static void on_request(struct http_exchange *x, void *arg)
{
    static const char big[40000] = {'a'};
    static int released;
    struct fixture *f = arg;
    const char *path = http_exchange_path(x);
    if (strcmp(path, "/echo") == 0) {
        http_exchange_read_body(x, 100, on_body, f);
    } else if (strcmp(path, "/hold") == 0) {
        http_exchange_on_close(x, on_closed, f);
        f->held = x;
    } else if (strcmp(path, "/later") == 0) {
        f->held = x;
    } else if (strcmp(path, "/chunks") == 0) {
        http_exchange_add_header(x, "X-Ours", "1");
        http_exchange_add_header(x, "X-Bad", "a\r\nInjected: 1");
        http_exchange_begin(x, 200, "text/plain", -1);
        http_exchange_write(x, "one", 3);
        http_exchange_write(x, "", 0);
        http_exchange_write(x, "two", 3);
        http_exchange_end(x);
    } else if (strcmp(path, "/shared") == 0) {
        http_exchange_begin(x, 200, NULL, sizeof(big));
        http_exchange_write_shared(x, big, sizeof(big), release, &released);
        http_exchange_end(x);
    } else if (strcmp(path, "/short") == 0) {
        http_exchange_begin(x, 200, NULL, 10);
        http_exchange_write(x, "one", 3);
        http_exchange_end(x);
    } else if (strcmp(path, "/big") == 0) {
        http_exchange_begin(x, 200, NULL, -1);
        http_exchange_on_drain(x, 10000, fill, f);
        fill(x, f);
    } else if (strcmp(path, "/stream") == 0) {
        http_exchange_stream_body(x, on_piece, on_pieces_end, f);
    } else if (strcmp(path, "/upgrade") == 0) {
        if (http_exchange_upgrade(x, "SPDY/3.1", &f->stream) < 0)
            http_exchange_replyf(x, 400, "no\n");
    } else {
        http_exchange_replyf(x, 200, "%s %s?%s\n", http_exchange_method(x),
                             http_exchange_decoded_path(x), http_exchange_query_string(x));
    }
}

static void start(struct fixture *f, const struct http_server_options *options)
{
    int fds[2];
    (void)signal(SIGPIPE, SIG_IGN); /* as daemon_init() does */
    *f = (struct fixture){.loop = loop_new(), .result = 1};
    f->server = http_server_new(f->loop, options, on_request, f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(http_server_serve_fd(f->server, fds[1], NULL, NULL), 0);
    f->fd = fds[0];
}

static void stop(struct fixture *f)
{
    (void)http_server_free(f->server);
    (void)stream_free(f->stream);
    (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
    if (f->held)
        http_exchange_abort(f->held);
    if (f->fd >= 0)
        (void)close(f->fd);
    strbuf_done(&f->got);
    (void)loop_free(f->loop);
}

/* Runs the loop and reads for about @ms, or until end of file. */
static void run(struct fixture *f, int ms)
{
    for (uint64_t end = now_ms() + (uint64_t)ms; now_ms() < end && !f->eof;) {
        (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        char buf[16384];
        ssize_t n = f->fd >= 0 ? read(f->fd, buf, sizeof(buf)) : -1;
        if (n > 0)
            strbuf_add(&f->got, buf, (size_t)n);
        else if (n == 0 || (f->fd >= 0 && errno != EAGAIN))
            f->eof = true;
        else
            (void)usleep(500);
    }
}

/* Runs until the output holds @text. */
static void expect(struct fixture *f, const char *text)
{
    for (int i = 0; i < 400 && !f->eof; i++) {
        run(f, 5);
        if (strstr(strbuf_text(&f->got), text))
            return;
    }
    if (!strstr(strbuf_text(&f->got), text))
        fail_msg("wanted %s, got: %s", text, strbuf_text(&f->got));
}

static void say(struct fixture *f, const char *text)
{
    assert_int_equal(write(f->fd, text, strlen(text)), strlen(text));
}

static size_t occurrences(const char *in, const char *text)
{
    size_t n = 0;
    for (const char *p = in; (p = strstr(p, text)); p += strlen(text))
        n++;
    return n;
}

static void pipelined_requests_are_answered_in_order(_unused_ void **state)
{
    struct fixture f;
    start(&f, NULL);
    say(&f,
        "\r\nGET /a%20b?x=1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /echo HTTP/1.1\r\nHost: h\r\n"
        "Content-Length: 5\r\n\r\nhelloPOST /echo HTTP/1.1\r\nHost: h\r\n"
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHEAD /head HTTP/1.1\r\nHost: h\r\n"
        "\r\nGET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /never "
        "HTTP/1.1\r\n\r\n");
    run(&f, 3000);
    assert_true(f.eof);
    const char *got = strbuf_text(&f.got);
    const char *first = strstr(got, "GET /a b?x=1"), *second = strstr(got, "\r\n\r\nhello"),
               *third = strstr(got, "\r\n\r\nabc"), *last = strstr(got, "GET /last");
    assert_true(first && second && third && last && first < second && second < third &&
                third < last);
    assert_int_equal(occurrences(got, "HTTP/1.1 200 OK\r\n"), 5);
    assert_non_null(strstr(got, "Content-Length: 12\r\n\r\nHTTP/1.1")); /* HEAD has no body */
    assert_int_equal(occurrences(got, "Connection: close\r\n"), 1);
    assert_null(strstr(got, "never"));
    stop(&f);
}

static void malformed_requests_are_refused_and_closed(_unused_ void **state)
{
    static const struct {
        const char *request, *status;
    } cases[] = {
        {"GET / HTTP/1.1\nHost: h\n\n", "400"},
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET /?%zz HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
        {"GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
        {"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n", "417"},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n0123456789"
         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
         "8901234567890",
         "413"},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx", "400"},
        {"\r\n\r\n\r\n\r\n\r\n\r\n", "400"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        start(&f, NULL);
        say(&f, cases[i].request);
        expect(&f, cases[i].status);
        if (i != 6) /* a whole body that is too long leaves the connection usable */
            run(&f, 2500);
        assert_int_equal(f.eof, i != 6);
        assert_int_equal(occurrences(strbuf_text(&f.got), "HTTP/1.1 "), 1);
        stop(&f);
    }
}

static void replies_are_streamed_in_chunks(_unused_ void **state)
{
    struct fixture f;
    start(&f, NULL);
    say(&f, "GET /chunks HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(&f, "0\r\n\r\n");
    assert_non_null(strstr(f.got.data, "\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
    assert_non_null(strstr(f.got.data, "X-Ours: 1\r\n"));
    assert_null(strstr(f.got.data, "Injected"));
    say(&f, "GET /shared HTTP/1.1\r\nHost: h\r\n\r\n");
    run(&f, 50);
    assert_non_null(strstr(f.got.data, "Content-Length: 40000\r\n"));
    size_t before = f.got.len;
    say(&f, "GET /chunks HTTP/1.0\r\n\r\n");
    run(&f, 2500);
    assert_true(f.eof);
    assert_non_null(memmem(f.got.data + before, f.got.len - before, "\r\n\r\nonetwo", 10));
    stop(&f);
}

static void a_reply_shorter_than_promised_breaks_the_connection(_unused_ void **state)
{
    struct fixture f;
    start(&f, NULL);
    say(&f, "GET /short HTTP/1.1\r\nHost: h\r\n\r\n");
    run(&f, 500);
    assert_true(f.eof);
    stop(&f);
}

static void continue_is_sent_when_the_body_is_wanted(_unused_ void **state)
{
    struct fixture f;
    start(&f, NULL);
    say(&f, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    expect(&f, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_null(strstr(f.got.data, "200"));
    say(&f, "ok");
    expect(&f, "\r\n\r\nok");
    /* A handler that wants no body answers at once, and the connection ends. */
    say(&f, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    expect(&f, "POST /x?");
    assert_int_equal(occurrences(f.got.data, "100 Continue"), 1);
    assert_non_null(strstr(f.got.data, "Connection: close"));
    run(&f, 2500);
    assert_true(f.eof);
    stop(&f);
}

static void slow_readers_hold_the_writer_back(_unused_ void **state)
{
    struct fixture f;
    start(&f, NULL);
    say(&f, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
    int fd = TAKE_FD(f.fd);
    run(&f, 100);
    size_t before = f.bytes;
    assert_true(before < 1000000); /* socket buffer and the mark, no more */
    f.fd = fd;
    for (int i = 0; i < 1000 && f.bytes < 2000000; i++)
        run(&f, 5);
    expect(&f, "\r\n0\r\n\r\n");
    assert_true(f.drains > 5);
    stop(&f);
}

static void a_streamed_body_can_be_paused(_unused_ void **state)
{
    struct fixture f;
    static char block[100000];
    start(&f, NULL);
    memset(block, 'x', sizeof(block));
    say(&f, "POST /stream HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    size_t sent = 0;
    for (int i = 0; i < 100; i++) {
        ssize_t n = write(f.fd, block, sizeof(block));
        sent += n > 0 ? (size_t)n : 0;
        run(&f, 1);
    }
    assert_int_equal(f.pieces, 1);
    assert_true(sent < 600000);
    for (int i = 0; i < 5000 && !strstr(strbuf_text(&f.got), "200 OK"); i++) {
        size_t left = 1000000 - sent < sizeof(block) ? 1000000 - sent : sizeof(block);
        ssize_t n = left ? write(f.fd, block, left) : 0;
        sent += n > 0 ? (size_t)n : 0;
        if (f.held)
            http_exchange_resume_body(f.held);
        run(&f, 1);
    }
    expect(&f, "\r\n\r\n1000000");
    assert_int_equal(f.result, 0);
    stop(&f);
}

static void a_vanished_client_is_told(_unused_ void **state)
{
    struct fixture f;
    start(&f, NULL);
    say(&f, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    run(&f, 20);
    assert_non_null(f.held);
    (void)close(TAKE_FD(f.fd));
    run(&f, 50);
    assert_true(f.closed);
    assert_int_equal(http_server_connections(f.server), 0);
    stop(&f);

    start(&f, NULL); /* in the middle of a body */
    say(&f, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\nabc");
    run(&f, 20);
    (void)close(TAKE_FD(f.fd));
    run(&f, 50);
    assert_int_equal(f.result, -ECONNRESET);
    stop(&f);

    start(&f, NULL); /* the server goes first: the exchange stays the handler's */
    say(&f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    run(&f, 20);
    f.server = http_server_free(f.server);
    assert_true(http_exchange_is_closed(f.held));
    http_exchange_write(f.held, "x", 1);
    http_exchange_replyf(TAKE_PTR(f.held), 200, "too late");
    stop(&f);
}

static void a_half_closed_client_gets_its_reply(_unused_ void **state)
{
    struct fixture f;
    start(&f, NULL);
    say(&f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /two HTTP/1.1\r\nHost: h\r\n\r\n");
    (void)shutdown(f.fd, SHUT_WR);
    run(&f, 20);
    assert_non_null(f.held);
    http_exchange_replyf(TAKE_PTR(f.held), 200, "here");
    run(&f, 2000);
    assert_true(f.eof);
    assert_non_null(strstr(f.got.data, "here"));
    assert_non_null(strstr(f.got.data, "GET /two"));
    stop(&f);
}

static size_t on_stream_data(struct stream *s, const void *data, size_t len, void *arg)
{
    (void)arg;
    stream_write(s, data, len);
    return len;
}

static void on_stream_eof(struct stream *s, void *arg)
{
    (void)arg;
    stream_end(s);
}

static void an_upgrade_hands_over_the_bytes(_unused_ void **state)
{
    static const struct stream_handler echo = {.on_data = on_stream_data, .on_eof = on_stream_eof};
    struct fixture f;
    start(&f, NULL);
    say(&f, "POST /upgrade HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(&f, "HTTP/1.1 400 ");
    say(&f, "POST /upgrade HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n"
            "Upgrade: spdy/3.1\r\n\r\nearly ");
    expect(&f,
           "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
    assert_non_null(f.stream);
    assert_int_equal(http_server_connections(f.server), 0);
    say(&f, "late");
    stream_set_handler(f.stream, &echo, NULL);
    expect(&f, "\r\n\r\nearly late");
    (void)shutdown(f.fd, SHUT_WR);
    run(&f, 500);
    assert_true(f.eof);
    stop(&f);
}

static void a_cut_request_still_gets_its_refusal(_unused_ void **state)
{
    struct fixture f;
    start(&f, NULL);
    say(&f, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
    (void)shutdown(f.fd, SHUT_WR);
    run(&f, 2000);
    assert_true(f.eof);
    assert_non_null(strstr(strbuf_text(&f.got), "POST /x?"));
    stop(&f);
}

static void timeouts_end_connections(_unused_ void **state)
{
    const struct http_server_options options = {
        .head_timeout_ms = 30, .idle_timeout_ms = 30, .body_timeout_ms = 30};
    static const char *const texts[] = {
        "", "GET / HT", "GET /x HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct fixture f;
        start(&f, &options);
        say(&f, texts[i]);
        run(&f, 2500);
        assert_true(f.eof);
        if (i == 1)
            assert_non_null(strstr(strbuf_text(&f.got), "408"));
        stop(&f);
    }
}

static void on_drained(void *arg)
{
    ((struct fixture *)arg)->drained = true;
}

static void draining_waits_for_exchanges(_unused_ void **state)
{
    struct fixture f;
    start(&f, NULL);
    say(&f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    run(&f, 20);
    http_server_drain(f.server, 5000, on_drained, &f);
    run(&f, 20);
    assert_false(f.drained);
    http_exchange_replyf(TAKE_PTR(f.held), 200, "last");
    run(&f, 2500);
    assert_non_null(strstr(strbuf_text(&f.got), "last"));
    assert_non_null(strstr(f.got.data, "Connection: close"));
    (void)close(TAKE_FD(f.fd));
    f.eof = false;
    run(&f, 50);
    assert_true(f.drained);
    stop(&f);
}

static void unix_sockets_are_replaced_only_when_stale(_unused_ void **state)
{
    struct fixture f;
    start(&f, NULL);
    char path[] = "/tmp/coracle-http-XXXXXX";
    assert_non_null(mkdtemp(path));
    _cleanup_free_ char *sock = str_printf("%s/s", path);
    struct http_server *other = http_server_new(f.loop, NULL, on_request, &f);
    struct error err = ERROR_INIT;
    assert_int_equal(http_server_listen_unix(other, sock, 0600, NULL), 0);
    struct stat st;
    assert_int_equal(stat(sock, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(http_server_listen_unix(f.server, sock, 0600, &err), -EADDRINUSE);
    (void)http_server_free(other);
    assert_int_equal(stat(sock, &st), -1);
    /* A socket file that nobody listens on. */
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path, sock, strlen(sock));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    (void)close(fd);
    assert_int_equal(http_server_listen_unix(f.server, sock, 0600, NULL), 0);
    stop(&f);
    assert_int_equal(rmdir(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(malformed_requests_are_refused_and_closed),
        cmocka_unit_test(replies_are_streamed_in_chunks),
        cmocka_unit_test(a_reply_shorter_than_promised_breaks_the_connection),
        cmocka_unit_test(continue_is_sent_when_the_body_is_wanted),
        cmocka_unit_test(slow_readers_hold_the_writer_back),
        cmocka_unit_test(a_streamed_body_can_be_paused),
        cmocka_unit_test(a_vanished_client_is_told),
        cmocka_unit_test(a_half_closed_client_gets_its_reply),
        cmocka_unit_test(an_upgrade_hands_over_the_bytes),
        cmocka_unit_test(a_cut_request_still_gets_its_refusal),
        cmocka_unit_test(timeouts_end_connections),
        cmocka_unit_test(draining_waits_for_exchanges),
        cmocka_unit_test(unix_sockets_are_replaced_only_when_stale),
    };
    return RUN_TESTS(tests);
}
