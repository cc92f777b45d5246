/*
 * Streams over descriptors that epoll does not take because they never block: regular files and
 * devices such as /dev/null (a command's redirected standard input). Reading happens a piece a turn
 * of the loop, writing at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/strbuf.h"
#include "net/stream_ops.h"

#define PIECE (16 * 1024)

struct file_stream {
    struct stream base;
    int fd;
    int write_error; /* told on the next turn: writers expect no callback from a write */
    struct loop_deferred turn;
};

static struct file_stream *of(const struct stream *s)
{
    return CONTAINER_OF((struct stream *)(uintptr_t)s, struct file_stream, base);
}

static void fail(struct file_stream *f, int code, const char *what)
{
    struct error err = ERROR_INIT;
    (void)error_errno(&err, -code, "%s", what);
    stream_closed(&f->base, &err);
}

static void on_turn(void *arg)
{
    struct file_stream *f = arg;
    struct stream *s = &f->base;
    char piece[PIECE];
    if (f->write_error) {
        fail(f, f->write_error, "writing");
        return;
    }
    if (s->unreadable || s->eof || s->closed || evbuffer_get_length(s->in) >= STREAM_BUFFER_MAX)
        return; /* file_used() goes on */
    ssize_t n = read(f->fd, piece, sizeof(piece));
    stream_ref(s);
    if (n < 0) {
        fail(f, errno, "reading");
    } else if (n == 0) {
        stream_eof(s);
    } else {
        (void)evbuffer_add(s->in, piece, (size_t)n);
        loop_defer(&f->turn);
        stream_arrived(s);
    }
    stream_unref(s);
}

static void file_used(struct stream *s, _unused_ size_t len)
{
    if (!s->eof && evbuffer_get_length(s->in) < STREAM_BUFFER_MAX)
        loop_defer(&of(s)->turn);
}

static void file_write(struct stream *s, const void *data, size_t len)
{
    struct file_stream *f = of(s);
    for (const char *p = data; len > 0 && !f->write_error;) {
        ssize_t n = write(f->fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            f->write_error = errno;
            loop_defer(&f->turn);
            return;
        }
        p += n;
        len -= (size_t)n;
    }
}

static size_t file_pending(_unused_ const struct stream *s)
{
    return 0;
}

static void file_end(_unused_ struct stream *s)
{
}

static void file_finish(struct stream *s)
{
    (void)stream_free(s); /* nothing is pending */
}

static void file_destroy(struct stream *s)
{
    struct file_stream *f = of(s);
    loop_deferred_done(&f->turn);
    evbuffer_free(s->in);
    (void)close(f->fd);
}

static const struct stream_ops file_ops = {
    .name = "file",
    .write = file_write,
    .pending = file_pending,
    .used = file_used,
    .end = file_end,
    .finish = file_finish,
    .destroy = file_destroy,
};

struct stream *stream_new_file(struct loop *loop, int fd)
{
    struct file_stream *f = mem_zalloc(sizeof(*f));
    struct evbuffer *in = evbuffer_new();
    int mode = fcntl(fd, F_GETFL);
    if (!in)
        abort();
    f->fd = fd;
    stream_init(&f->base, &file_ops, loop, in);
    loop_deferred_init(&f->turn, loop, on_turn, f);
    f->base.unreadable = mode >= 0 && (mode & O_ACCMODE) == O_WRONLY;
    f->base.ended = mode >= 0 && (mode & O_ACCMODE) == O_RDONLY;
    if (!f->base.unreadable)
        loop_defer(&f->turn);
    return &f->base;
}
