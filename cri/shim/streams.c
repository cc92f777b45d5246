/*
 * A container's standard streams. What it writes goes to the log first, then to whoever is
 * attached: a client that does not keep up is dropped, never waited for. What clients send goes to
 * the container's stdin as it takes it; while it does not, nothing more is read from the client.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/times.h"
#include "cri/shim/shim.h"

#define READ_MAX       32768
#define BATCH_MAX      65536
#define INPUT_MAX      4096
#define READS_PER_TURN 8 /* then other sources get their turn */

static const char *const stream_names[2] = {"stdout", "stderr"};

/* Shared by all streams: nothing stays in them between two events. */
static struct {
    _Alignas(4096) char read[READ_MAX];
    _Alignas(4096) char batch[BATCH_MAX];
    size_t batch_len;
} buffers;

static void flush_batch(struct log_file *log)
{
    log_write(log, buffers.batch, buffers.batch_len);
    buffers.batch_len = 0;
}

static void emit(void *arg, const char *record, size_t len)
{
    struct log_file *log = arg;
    /* What is written at once never exceeds the limit of the file but for a single record. */
    if (buffers.batch_len + len > sizeof(buffers.batch) ||
        (log->max_bytes && buffers.batch_len + len > log->max_bytes))
        flush_batch(log);
    memcpy(buffers.batch + buffers.batch_len, record, len);
    buffers.batch_len += len;
}

/* After a burst the pages go back to the system. */
static void release_buffers(size_t used)
{
    if (used <= 4096)
        return;
    (void)madvise(buffers.read, sizeof(buffers.read), MADV_DONTNEED);
    (void)madvise(buffers.batch, sizeof(buffers.batch), MADV_DONTNEED);
}

static bool put_nonblocking(int fd, const char *data, size_t len)
{
    ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == ENOTSOCK)
        n = write(fd, data, len);
    return n == (ssize_t)len;
}

static void fan_out(struct shim *shim, struct container *c, int stream, const char *data,
                    size_t len)
{
    LIST_FOR_EACH(l, &c->attached) {
        struct attached *a = LIST_ENTRY(l, struct attached, link);
        if (a->out[stream].fd >= 0 && !put_nonblocking(a->out[stream].fd, data, len))
            attached_free(shim, a);
    }
}

static void end_output(struct shim *shim, struct container *c, int stream)
{
    log_finish(&c->line[stream], stream_names[stream], time_now_nano(), emit, &c->log);
    flush_batch(&c->log);
    source_close(shim, &c->out[stream]);
    LIST_FOR_EACH(l, &c->attached) {
        struct attached *a = LIST_ENTRY(l, struct attached, link);
        source_close(shim, &a->out[stream]);
        if (c->out[0].fd < 0 && c->out[1].fd < 0)
            attached_free(shim, a);
    }
}

/* Reads what is there, at most @turns times; false at the end of the stream. */
static bool pump(struct shim *shim, struct container *c, int stream, unsigned turns)
{
    size_t most = 0;
    bool more = true;
    while (turns--) {
        ssize_t n = read(c->out[stream].fd, buffers.read, sizeof(buffers.read));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) { /* a terminal says EIO when its last user is gone */
            more = false;
            break;
        }
        log_frame(&c->line[stream], stream_names[stream], time_now_nano(), buffers.read, (size_t)n,
                  emit, &c->log);
        flush_batch(&c->log);
        fan_out(shim, c, stream, buffers.read, (size_t)n);
        most = (size_t)n > most ? (size_t)n : most;
        if (n < (ssize_t)sizeof(buffers.read))
            break;
    }
    release_buffers(most);
    return more;
}

static void on_output(struct shim *shim, struct container *c, int stream)
{
    if (!pump(shim, c, stream, READS_PER_TURN))
        end_output(shim, c, stream);
}

static void write_pending(struct shim *shim, struct attached *a);

static void on_stdout(struct shim *shim, struct source *s, uint32_t events)
{
    struct container *c = CONTAINER_OF(s, struct container, out[0]);
    if (events & EPOLLOUT) /* a terminal takes input again */
        LIST_FOR_EACH(l, &c->attached)
            write_pending(shim, LIST_ENTRY(l, struct attached, link));
    if (events & ~(uint32_t)EPOLLOUT)
        on_output(shim, c, 0);
}

static void on_stderr(struct shim *shim, struct source *s, _unused_ uint32_t events)
{
    on_output(shim, CONTAINER_OF(s, struct container, out[1]), 1);
}

static void on_stdin(struct shim *shim, struct source *s, uint32_t events)
{
    struct container *c = CONTAINER_OF(s, struct container, in);
    if (events & (EPOLLERR | EPOLLHUP)) { /* nobody reads it any more */
        streams_close_stdin(shim, c);
        return;
    }
    LIST_FOR_EACH(l, &c->attached)
        write_pending(shim, LIST_ENTRY(l, struct attached, link));
}

static int open_output(struct container *c, int stream, int theirs[3])
{
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return -errno;
    (void)fcntl(p[0], F_SETFL, O_NONBLOCK);
    c->out[stream] = (struct source){.fd = p[0], .cb = stream ? on_stderr : on_stdout};
    theirs[1 + stream] = p[1];
    return 0;
}

int streams_open(struct container *c, int theirs[3], struct error *err)
{
    if (c->tty)
        return 0; /* the launcher makes the terminal */
    int r = open_output(c, 0, theirs);
    if (r == 0)
        r = open_output(c, 1, theirs);
    if (r == 0 && c->stdin_open) {
        int p[2];
        if (pipe2(p, O_CLOEXEC) < 0) {
            r = -errno;
        } else {
            (void)fcntl(p[1], F_SETFL, O_NONBLOCK);
            theirs[0] = p[0];
            c->in = (struct source){.fd = p[1], .cb = on_stdin};
        }
    }
    return r < 0 ? error_errno(err, r, "pipes of the container") : 0;
}

void streams_watch(struct shim *shim, struct container *c)
{
    for (int i = 0; i < 2; i++)
        if (c->out[i].fd >= 0)
            (void)source_add(shim, &c->out[i], EPOLLIN);
    if (c->in.fd >= 0)
        (void)source_add(shim, &c->in, 0);
}

void streams_take_tty(struct shim *shim, struct container *c, int master)
{
    (void)fcntl(master, F_SETFL, O_NONBLOCK);
    c->out[0] = (struct source){.fd = master, .cb = on_stdout};
    (void)source_add(shim, &c->out[0], EPOLLIN);
}

void streams_drain(struct shim *shim, struct container *c)
{
    for (int i = 0; i < 2; i++)
        if (c->out[i].fd >= 0 && !pump(shim, c, i, 1024))
            end_output(shim, c, i);
}

void streams_close_stdin(struct shim *shim, struct container *c)
{
    source_close(shim, &c->in);
    LIST_FOR_EACH(l, &c->attached) {
        struct attached *a = LIST_ENTRY(l, struct attached, link);
        source_close(shim, &a->in);
    }
}

void streams_close(struct shim *shim, struct container *c)
{
    streams_close_stdin(shim, c);
    for (int i = 0; i < 2; i++)
        if (c->out[i].fd >= 0)
            end_output(shim, c, i);
    /* The analyzer does not see that list_remove() changed the head. */
    while (!list_empty(&c->attached)) /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        attached_free(shim, LIST_ENTRY(c->attached.prev, struct attached, link));
}

/* ---- attached clients ---- */

void attached_free(struct shim *shim, struct attached *a)
{
    list_remove(&a->link);
    source_close(shim, &a->in);
    source_close(shim, &a->out[0]);
    source_close(shim, &a->out[1]);
    free(a->pending);
    free(a);
}

/* Where input goes: the terminal, or the pipe. */
static struct source *input_of(struct container *c)
{
    return c->tty ? &c->out[0] : &c->in;
}

static void watch_input(struct shim *shim, struct container *c, bool writable)
{
    struct source *in = input_of(c);
    if (in->fd >= 0)
        source_set(shim, in, (c->tty ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0));
}

static void write_pending(struct shim *shim, struct attached *a)
{
    struct container *c = a->container;
    if (!a->pending)
        return;
    while (a->pending_at < a->pending_len && input_of(c)->fd >= 0) {
        ssize_t n =
            write(input_of(c)->fd, a->pending + a->pending_at, a->pending_len - a->pending_at);
        if (n < 0 && errno == EAGAIN) {
            watch_input(shim, c, true);
            return;
        }
        if (n < 0 && errno != EINTR)
            break; /* nobody reads: the rest is dropped */
        a->pending_at += n > 0 ? (size_t)n : 0;
    }
    free(a->pending);
    a->pending = NULL;
    watch_input(shim, c, false);
    if (a->in.fd >= 0)
        source_set(shim, &a->in, EPOLLIN);
}

static void on_client_input(struct shim *shim, struct source *s, _unused_ uint32_t events)
{
    struct attached *a = CONTAINER_OF(s, struct attached, in);
    struct container *c = a->container;
    if (input_of(c)->fd < 0) {
        source_close(shim, s);
        return;
    }
    char *data = mem_grow(NULL, INPUT_MAX, 1);
    ssize_t n = read(s->fd, data, INPUT_MAX);
    if (n > 0) {
        a->pending = data;
        a->pending_len = (size_t)n;
        a->pending_at = 0;
        source_pause(shim, s);
        write_pending(shim, a);
        return;
    }
    free(data);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    source_close(shim, s);
    if (c->stdin_once && !c->tty)
        streams_close_stdin(shim, c);
    if (a->out[0].fd < 0 && a->out[1].fd < 0)
        attached_free(shim, a);
}

/* A client's reading end says something only when it is gone. */
static void on_client_output(struct shim *shim, struct attached *a, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
        attached_free(shim, a);
}

static void on_client_stdout(struct shim *shim, struct source *s, uint32_t events)
{
    on_client_output(shim, CONTAINER_OF(s, struct attached, out[0]), events);
}

static void on_client_stderr(struct shim *shim, struct source *s, uint32_t events)
{
    on_client_output(shim, CONTAINER_OF(s, struct attached, out[1]), events);
}

int streams_attach(struct shim *shim, struct container *c, struct request *req, struct error *err)
{
    if (c->state.state == SHIM_EXITED)
        return error_set(err, -ENOENT, "container %s is not running", c->state.id);
    int fds[3];
    request_streams(req, 0, fds);
    struct attached *a = mem_zalloc(sizeof(*a));
    a->container = c;
    a->in = (struct source){.fd = fds[0], .cb = on_client_input};
    a->out[0] = (struct source){.fd = fds[1], .cb = on_client_stdout};
    a->out[1] = (struct source){.fd = fds[2], .cb = on_client_stderr};
    for (size_t i = 0; i < req->n_fds; i++) {
        (void)fcntl(req->fds[i], F_SETFL, fcntl(req->fds[i], F_GETFL) | O_NONBLOCK);
        req->fds[i] = -1; /* ours now */
    }
    list_append(&c->attached, &a->link);
    for (int i = 0; i < 2; i++)
        if (a->out[i].fd >= 0)
            (void)source_add(shim, &a->out[i], 0);
    if (a->in.fd >= 0)
        (void)source_add(shim, &a->in, EPOLLIN);
    return 0;
}

int streams_resize(struct container *c, const struct request *req, struct error *err)
{
    struct winsize size = {.ws_col = (unsigned short)req->columns,
                           .ws_row = (unsigned short)req->rows};
    if (!c->tty || c->out[0].fd < 0)
        return error_set(err, -ENOTTY, "container %s has no terminal", c->state.id);
    return ioctl(c->out[0].fd, TIOCSWINSZ, &size) < 0 ? error_errno(err, -errno, "resize") : 0;
}
