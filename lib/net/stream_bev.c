/*
 * Streams over descriptors and TLS connections, carried by bufferevents with deferred callbacks.
 * The bufferevent's own input buffer is the stream's, bounded by a watermark.
 */
#include <errno.h>
#include <openssl/err.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>

#include "base/strbuf.h"
#include "net/socket.h"
#include "net/stream_ops.h"
#include "net/tls.h"

#define FINISH_MS         30000
#define FINISH_STALLS_MAX 20 /* times FINISH_MS without progress while something is pending */
#define SHUTDOWN_RETRY_MS 20

struct bev_stream {
    struct stream base;
    struct bufferevent *bev;
    struct loop_timer deadline; /* of a stream that finishes by itself */
    struct loop_timer retry;    /* of a close_notify that the socket had no room for */
    bool finishing;
    unsigned stalls;
    size_t pending;             /* at the last deadline */
    bool shut;                  /* our direction is ended for good */
    bool read_only, write_only; /* ends of pipes */
    bool full;                  /* reading is off: the buffer is at its mark */
    int broken;                 /* errno of a write: reading still brings what came before */
};

static struct bev_stream *of(const struct stream *s)
{
    return CONTAINER_OF((struct stream *)(uintptr_t)s, struct bev_stream, base);
}

static bool is_idle(const struct bev_stream *b)
{
    return evbuffer_get_length(bufferevent_get_output(b->bev)) == 0;
}

static size_t bev_pending(const struct stream *s)
{
    return evbuffer_get_length(bufferevent_get_output(of(s)->bev));
}

static void maybe_gone(struct bev_stream *b)
{
    if (b->finishing && b->shut && (b->base.eof || b->write_only || b->read_only))
        (void)stream_free(&b->base);
}

/* Ends our direction once everything is written. May free a finishing stream. */
static void shut_if_done(struct bev_stream *b)
{
    if (!b->base.ended || b->shut || !is_idle(b))
        return;
    SSL *ssl = bufferevent_openssl_get_ssl(b->bev);
    int fd = (int)bufferevent_getfd(b->bev);
    b->shut = true;
    if (ssl) {
        int r = SSL_shutdown(ssl);
        if (r < 0 && SSL_get_error(ssl, r) == SSL_ERROR_WANT_WRITE) {
            b->shut = false;
            loop_timer_set(&b->retry, SHUTDOWN_RETRY_MS);
        }
        ERR_clear_error();
    } else if (b->write_only) {
        /* A pipe ends by being closed; nothing can come from it. */
        (void)bufferevent_setfd(b->bev, -1);
        (void)close(fd);
    } else {
        (void)shutdown(fd, SHUT_WR);
    }
    maybe_gone(b);
}

static void on_retry(void *arg)
{
    shut_if_done(arg);
}

static void on_readable(_unused_ struct bufferevent *bev, void *arg)
{
    struct bev_stream *b = arg;
    if (b->finishing) {
        (void)evbuffer_drain(b->base.in, evbuffer_get_length(b->base.in));
        return;
    }
    stream_ref(&b->base);
    stream_arrived(&b->base);
    /* At its high watermark libevent would call us again and again: stop reading instead. */
    if (!b->base.freed && !b->finishing && evbuffer_get_length(b->base.in) >= STREAM_BUFFER_MAX) {
        b->full = true;
        (void)bufferevent_disable(b->bev, EV_READ);
    }
    stream_unref(&b->base);
}

static void read_again(struct bev_stream *b)
{
    if (b->full && !b->base.eof && evbuffer_get_length(b->base.in) < STREAM_BUFFER_MAX / 2) {
        b->full = false;
        (void)bufferevent_enable(b->bev, EV_READ);
    }
}

static void bev_used(struct stream *s, _unused_ size_t len)
{
    read_again(of(s));
}

static void on_written(_unused_ struct bufferevent *bev, void *arg)
{
    struct bev_stream *b = arg;
    stream_ref(&b->base);
    stream_drained(&b->base);
    if (!b->base.freed)
        shut_if_done(b);
    stream_unref(&b->base);
}

static void on_peer_end(struct bev_stream *b)
{
    struct error err = ERROR_INIT;
    if (b->broken) {
        (void)error_errno(&err, -b->broken, "connection lost");
        stream_closed(&b->base, &err);
        return;
    }
    stream_eof(&b->base);
    if (!b->base.freed && b->finishing)
        stream_end(&b->base); /* it lingered */
    if (!b->base.freed)
        maybe_gone(b);
}

/* A peer that takes nothing any more may have sent a lot before it closed, which the reader has
 * not seen yet: then reading goes on and finds the end. */
static bool still_readable(const struct bev_stream *b, short what)
{
    return (what & BEV_EVENT_WRITING) && !b->write_only && !b->base.eof && !b->broken &&
           b->base.handler && b->base.handler->on_data && !bufferevent_openssl_get_ssl(b->bev);
}

static void on_failure(struct bev_stream *b, short what, int code)
{
    struct error err = ERROR_INIT;
    unsigned long tls = bufferevent_get_openssl_error(b->bev);
    if (b->finishing) {
        (void)stream_free(&b->base);
    } else if (still_readable(b, what)) {
        b->broken = code ? code : ECONNRESET;
        (void)evbuffer_drain(bufferevent_get_output(b->bev), bev_pending(&b->base));
        stream_drained(&b->base);
    } else {
        if (tls)
            (void)error_set(&err, -ECONNRESET, "connection lost: %s",
                            ERR_reason_error_string(tls) ? ERR_reason_error_string(tls) : "TLS");
        else
            (void)error_errno(&err, code ? -code : -ECONNRESET, "connection lost");
        stream_closed(&b->base, &err);
    }
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct bev_stream *b = arg;
    if (what & BEV_EVENT_CONNECTED) {
        (void)bufferevent_enable(bev, EV_READ);
        return;
    }
    int code = evutil_socket_geterror(bufferevent_getfd(bev));
    bool eof = what & BEV_EVENT_EOF;
    /* The master side of a terminal says so when the other side has been closed. */
    if ((what & BEV_EVENT_ERROR) && code == EIO && !bufferevent_openssl_get_ssl(bev))
        eof = true;
    /* A pipe's reader has gone: seen by trying to read from the writing end. */
    if (b->write_only && code == EBADF)
        code = EPIPE;
    stream_ref(&b->base);
    if (eof)
        on_peer_end(b);
    else
        on_failure(b, what, code);
    stream_unref(&b->base);
}

static void bev_write(struct stream *s, const void *data, size_t len)
{
    if (!of(s)->broken)
        (void)bufferevent_write(of(s)->bev, data, len);
}

static void bev_end(struct stream *s)
{
    struct bev_stream *b = of(s);
    bufferevent_setwatermark(b->bev, EV_WRITE, 0, 0);
    shut_if_done(b);
}

static void on_deadline(void *arg)
{
    struct bev_stream *b = arg;
    size_t pending = bev_pending(&b->base);
    bool waits = pending > 0 && (pending != b->pending || b->stalls++ < FINISH_STALLS_MAX);
    b->pending = pending;
    if (waits)
        loop_timer_set(&b->deadline, FINISH_MS);
    else
        (void)stream_free(&b->base);
}

static void bev_finish(struct stream *s)
{
    struct bev_stream *b = of(s);
    b->finishing = true;
    (void)evbuffer_drain(s->in, evbuffer_get_length(s->in));
    read_again(b);
    loop_timer_set(&b->deadline, s->ended ? FINISH_MS : STREAM_LINGER_MS);
    stream_ref(s);
    maybe_gone(b);
    stream_unref(s);
}

static void bev_destroy(struct stream *s)
{
    struct bev_stream *b = of(s);
    loop_timer_done(&b->deadline);
    loop_timer_done(&b->retry);
    bufferevent_free(b->bev);
}

static const struct stream_ops bev_ops = {
    .name = "bufferevent",
    .write = bev_write,
    .pending = bev_pending,
    .used = bev_used,
    .end = bev_end,
    .finish = bev_finish,
    .lingers = true,
    .destroy = bev_destroy,
};

static struct bev_stream *new_stream(struct loop *loop, struct bufferevent *bev)
{
    struct bev_stream *b = mem_zalloc(sizeof(*b));
    b->bev = bev;
    stream_init(&b->base, &bev_ops, loop, bufferevent_get_input(bev));
    loop_timer_init(&b->deadline, loop, "stream finish", on_deadline, b);
    loop_timer_init(&b->retry, loop, "stream close_notify", on_retry, b);
    bufferevent_setcb(bev, on_readable, on_written, on_event, b);
    (void)bufferevent_set_timeouts(bev, NULL, NULL);
    bufferevent_setwatermark(bev, EV_READ, 0, STREAM_BUFFER_MAX);
    bufferevent_setwatermark(bev, EV_WRITE, STREAM_BUFFER_MAX / 4, 0);
    return b;
}

struct stream *stream_new_bufferevent(struct loop *loop, struct bufferevent *bev)
{
    struct bev_stream *b = new_stream(loop, bev);
    /* Somebody may hold a terminal or a pager still for as long as they like: the kernel would take
     * a window that stays closed for a dead peer. */
    socket_set_patient((int)bufferevent_getfd(bev), true);
    (void)bufferevent_enable(bev, EV_READ | EV_WRITE);
    return &b->base;
}

/* Whether epoll takes it: regular files and some devices never block and are refused. */
static bool can_wait(int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct stat st;
    if (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
        return true;
    _cleanup_close_ int poll = epoll_create1(EPOLL_CLOEXEC);
    return poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) == 0 || errno != EPERM;
}

/* A terminal is shared with whoever started us, and so would be O_NONBLOCK: opens it anew. Not the
 * master's side, where opening makes another terminal. */
static int own_terminal(int fd)
{
    char path[32];
    unsigned number;
    if (!isatty(fd) || ioctl(fd, TIOCGPTN, &number) == 0)
        return fd;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int own = open(path, (fcntl(fd, F_GETFL) & O_ACCMODE) | O_NOCTTY | O_CLOEXEC);
    if (own < 0)
        return fd;
    (void)close(fd);
    return own;
}

struct stream *stream_new_fd(struct loop *loop, int fd)
{
    if (!can_wait(fd))
        return stream_new_file(loop, fd);
    fd = own_terminal(fd);
    int mode = fcntl(fd, F_GETFL);
    (void)evutil_make_socket_nonblocking(fd);
    struct bufferevent *bev = bufferevent_socket_new(
        loop_base(loop), fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (!bev)
        abort();
    struct bev_stream *b = new_stream(loop, bev);
    b->write_only = mode >= 0 && (mode & O_ACCMODE) == O_WRONLY;
    b->read_only = mode >= 0 && (mode & O_ACCMODE) == O_RDONLY;
    b->base.unreadable = b->write_only;
    b->base.ended = b->shut = b->read_only;
    /* EV_READ on a pipe's writing end tells when the reader has gone. */
    (void)bufferevent_enable(bev, b->read_only ? EV_READ : EV_READ | EV_WRITE);
    return &b->base;
}

int stream_connect(struct loop *loop, const char *address, uint16_t port, struct stream **ret,
                   struct error *err)
{
    struct sockaddr_storage sa;
    socklen_t len;
    int r = port == 0 && (address[0] == '/' || address[0] == '@')
                ? socket_unix_address(address, &sa, &len, err)
                : socket_address(address, port, &sa, &len, err);
    if (r < 0)
        return r;
    int fd = socket_for(&sa, err);
    if (fd < 0)
        return fd;
    struct bufferevent *bev = bufferevent_socket_new(
        loop_base(loop), fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (!bev)
        abort();
    struct bev_stream *b = new_stream(loop, bev);
    /* Not reading until it is connected: else a second error would hide why it is not. */
    (void)bufferevent_enable(bev, EV_WRITE);
    if (bufferevent_socket_connect(bev, (const struct sockaddr *)&sa, (int)len) < 0) {
        r = errno ? -errno : -EIO;
        (void)stream_free(&b->base);
        return error_errno(err, r, "connecting to %s", address);
    }
    *ret = &b->base;
    return 0;
}
