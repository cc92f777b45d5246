/* lib/net/stream*.c, splice.c: sockets, pipes and files joined. */
#include "lib/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/strbuf.h"
#include "net/stream.h"

struct fixture {
    struct loop *loop;
    bool exited;
    int code;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    (void)signal(SIGPIPE, SIG_IGN);
    f->loop = loop_new();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)loop_free(f->loop);
    free(f);
    return 0;
}

static void run(struct fixture *f, int ms)
{
    uint64_t end = now_ms() + (uint64_t)ms;
    for (int i = 0; i < 20 || now_ms() < end; i++) {
        (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        (void)usleep(50);
    }
}

static void until(struct fixture *f, const bool *flag)
{
    for (int i = 0; i < 500 && !*flag; i++)
        run(f, 10);
    assert_true(*flag);
}

static void on_spliced(const struct error *err, void *arg)
{
    struct fixture *f = arg;
    f->exited = true;
    f->code = err ? err->code : 0;
}

static void splices_carry_everything_and_end(void **state)
{
    static char block[100000];
    struct fixture *f = *state;
    int a[2], b[2], p[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, b), 0);
    (void)stream_splice(f->loop, stream_new_fd(f->loop, a[1]), stream_new_fd(f->loop, b[1]),
                        on_spliced, f);
    size_t sent = 0, got = 0;
    for (int i = 0; i < 200; i++) { /* nobody reads */
        ssize_t n = write(a[0], block, sizeof(block));
        sent += n > 0 ? (size_t)n : 0;
        run(f, 1);
    }
    assert_true(sent < 2000000);
    (void)shutdown(a[0], SHUT_WR);
    for (ssize_t n = 1; n != 0;) {
        run(f, 1);
        n = read(b[0], block, sizeof(block));
        got += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(got, sent);
    assert_false(f->exited);
    assert_int_equal(write(b[0], "back", 4), 4);
    (void)close(b[0]);
    until(f, &f->exited);
    assert_int_equal(f->code, 0);
    assert_int_equal(read(a[0], block, 10), 4);
    (void)close(a[0]);
    /* A pipe's reading end is one direction. */
    f->exited = false;
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
    (void)stream_splice(f->loop, stream_new_fd(f->loop, p[0]), stream_new_fd(f->loop, a[1]),
                        on_spliced, f);
    assert_int_equal(write(p[1], "pipe", 4), 4);
    (void)close(p[1]);
    until(f, &f->exited);
    run(f, 10);
    assert_int_equal(recv(a[0], block, 10, MSG_DONTWAIT), 4);
    (void)close(a[0]);
    run(f, 10);
}

/* A side that is reset when the other could not keep up: what it had sent is still delivered. */
static void splices_deliver_what_came_before_a_failure(void **state)
{
    static char block[40000];
    struct fixture *f = *state;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t sa_len = sizeof(sa);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), b[2];
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &sa_len), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, b), 0);
    struct stream *to = stream_new_fd(f->loop, b[1]);
    size_t sent = 0, got = 0;
    for (; !stream_congested(to); sent += sizeof(block)) /* nobody reads: the splice pauses */
        stream_write(to, block, sizeof(block));
    struct stream *from =
        stream_new_fd(f->loop, accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    (void)stream_splice(f->loop, from, to, on_spliced, f);
    run(f, 20);
    assert_int_equal(write(client, block, sizeof(block)), sizeof(block));
    run(f, 50);
    assert_int_equal(write(client, block, 20000), 20000);
    run(f, 50);
    const struct linger reset = {.l_onoff = 1};
    assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    (void)close(client);
    until(f, &f->exited);
    assert_int_equal(f->code, -ECONNRESET);
    for (ssize_t n = 1; n != 0;) {
        run(f, 1);
        n = read(b[0], block, sizeof(block));
        got += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(got, sent + 60000);
    (void)close(b[0]);
    (void)close(listener);
    run(f, 10);
}

struct reader {
    size_t got;
    bool closed;
    int code;
};

static size_t on_data(struct stream *s, const void *data, size_t len, void *arg)
{
    struct reader *r = arg;
    (void)s, (void)data;
    r->got += len;
    return len;
}

static void on_close(struct stream *s, const struct error *err, void *arg)
{
    struct reader *r = arg;
    (void)s;
    r->closed = true;
    r->code = err->code;
}

/* A peer that sends a lot and closes: writing to it fails long before the reader has seen all. */
static void a_failed_write_loses_nothing_that_came(void **state)
{
    static const struct stream_handler handler = {.on_data = on_data, .on_close = on_close};
    static char block[100000];
    struct fixture *f = *state;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t sa_len = sizeof(sa);
    struct reader r = {.got = 0};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), size = 2000000;
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &sa_len), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&sa, sizeof(sa)), 0);
    struct stream *s =
        stream_new_fd(f->loop, accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    stream_set_handler(s, &handler, &r);
    stream_pause(s);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(write(client, block, sizeof(block)), sizeof(block));
        run(f, 2);
    }
    stream_write(s, "unread", 6);
    run(f, 10);
    (void)close(client); /* with something unread: a reset */
    stream_write(s, "x", 1);
    run(f, 10);
    stream_write(s, "x", 1);
    run(f, 10);
    assert_int_equal(r.got, 0);
    stream_resume(s);
    for (int i = 0; i < 500 && !r.closed; i++)
        run(f, 5);
    assert_int_equal(r.got, 10 * sizeof(block));
    assert_true(r.closed);
    assert_true(r.code == -EPIPE || r.code == -ECONNRESET);
    assert_int_equal(stream_pending(s), 0);
    (void)stream_free(s);
    (void)close(listener);
    run(f, 5);
}

/* stream_finish() ends our direction when all is sent, stream_linger() after the peer. */
static void streams_linger_until_their_peer_closes(void **state)
{
    static char block[300000];
    struct fixture *f = *state;
    for (int linger = 0; linger < 2; linger++) {
        int a[2];
        size_t got = 0;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, a), 0);
        struct stream *s = stream_new_fd(f->loop, a[1]);
        stream_write(s, block, sizeof(block));
        if (linger)
            stream_linger(s);
        else
            stream_finish(s);
        assert_int_equal(write(a[0], "ignored", 7), 7);
        for (int i = 0; i < 1000 && got < sizeof(block); i++) {
            ssize_t n = read(a[0], block, sizeof(block));
            got += n > 0 ? (size_t)n : 0;
            run(f, 1);
        }
        assert_int_equal(got, sizeof(block));
        run(f, 20);
        assert_int_equal(read(a[0], block, 1), linger ? -1 : 0);
        assert_int_equal(shutdown(a[0], SHUT_WR), 0);
        run(f, 20);
        assert_int_equal(read(a[0], block, 1), 0);
        (void)close(a[0]);
    }
}

/* What epoll refuses: regular files and /dev/null. */
static void files_are_streams_too(void **state)
{
    static char block[300000];
    struct fixture *f = *state;
    char path[] = "/tmp/coracle-file-XXXXXX";
    int a[2], fd = mkstemp(path), again = open(path, O_RDONLY | O_CLOEXEC);
    memset(block, 'f', sizeof(block));
    assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
    (void)close(fd);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, a), 0);
    (void)stream_splice(f->loop, stream_new_fd(f->loop, again), stream_new_fd(f->loop, a[1]),
                        on_spliced, f);
    size_t got = 0;
    for (ssize_t n = 1; n != 0;) {
        run(f, 1);
        n = read(a[0], block, sizeof(block));
        got += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(got, sizeof(block));
    until(f, &f->exited);
    assert_int_equal(f->code, 0);
    (void)close(a[0]);
    run(f, 5);
    /* Into a file, and from /dev/null. */
    f->exited = false;
    (void)stream_splice(f->loop, stream_new_fd(f->loop, open("/dev/null", O_RDONLY | O_CLOEXEC)),
                        stream_new_fd(f->loop, open(path, O_WRONLY | O_CLOEXEC)), on_spliced, f);
    until(f, &f->exited);
    assert_int_equal(f->code, 0);
    (void)unlink(path);
    /* A full disk. */
    f->exited = false;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, a), 0);
    (void)stream_splice(f->loop, stream_new_fd(f->loop, a[1]),
                        stream_new_fd(f->loop, open("/dev/full", O_WRONLY | O_CLOEXEC)), on_spliced,
                        f);
    assert_int_equal(write(a[0], "x", 1), 1);
    until(f, &f->exited);
    assert_int_equal(f->code, -ENOSPC);
    (void)close(a[0]);
    run(f, 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(splices_carry_everything_and_end),
        TEST(splices_deliver_what_came_before_a_failure),
        TEST(a_failed_write_loses_nothing_that_came),
        TEST(streams_linger_until_their_peer_closes),
        TEST(files_are_streams_too),
    };
    return RUN_TESTS(tests);
}
