/*
 * Sessions of exec and attach. Between the client's streams (remote.h) and the process stand pipes,
 * or its terminal; bytes are copied with backpressure both ways, so that a client that does not
 * read stops the process's writes to its own pipe and nothing else (an attached container: the shim
 * drops the reader).
 *
 * An exec session ends when the process has ended and its output is through; an attach session when
 * the output has ended. When the client goes away, the pipes are closed and the process left alone.
 * The output of a container that goes on running ends when the shim has dropped the session because
 * it fell behind: the client is told so, as what it got is not all.
 */
#include "cri/stream_session.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include "base/log.h"

/* Output that something else holds open after the process has ended is not waited for longer. */
#define DRAIN_MS 2000
/* How far an attached client may fall behind before it is dropped. The kernel has it only while it
 * does. */
#define ATTACH_BUFFER (4 << 20)
/* An attached container's output ends a little before it is known to have ended itself. */
#define EXIT_MS 2000

/* One direction: bytes of @from go to @to. */
struct copy {
    struct session *session;
    struct stream *from, *to;
    bool done;
};

struct session {
    struct list entry;
    struct streaming *st;
    struct runtime *rt;
    struct ticket_copy {
        enum ticket_kind kind;
        char id[CONTAINER_ID_LEN + 1];
        struct streaming_options options;
    } t;
    char **argv;
    struct remote_server *remote;
    struct exec *exec;
    struct stream *tty; /* both ways */
    int tty_fd;         /* for its size; belongs to the stream */
    struct copy in, out, err;
    uint16_t columns, rows;
    bool ready, ended;
    bool parted; /* attach: the output has ended, and the container runs */
    int exit_code;
    struct loop_timer drain;
};

static void session_free(struct session *s)
{
    list_remove(&s->entry);
    exec_forget(s->exec);
    loop_timer_done(&s->drain);
    struct stream *tty = s->tty;
    if (s->in.to == tty)
        s->in.to = NULL;
    if (s->out.from == tty)
        s->out.from = NULL;
    (void)stream_free(tty);
    (void)stream_free(s->in.from);
    (void)stream_free(s->in.to);
    (void)stream_free(s->out.from);
    (void)stream_free(s->out.to);
    (void)stream_free(s->err.from);
    (void)stream_free(s->err.to);
    (void)remote_server_free(s->remote);
    for (char **a = s->argv; a && *a; a++)
        free(*a);
    free(s->argv);
    free(s);
}

void stream_exec_end_all(struct streaming *st)
{
    LIST_FOR_EACH(e, &st->sessions) {
        session_free(LIST_ENTRY(e, struct session, entry));
    }
}

/* The outcome goes to the client after all output. @message: why it is none. */
static void finish(struct session *s, const char *message)
{
    struct remote_server *remote = TAKE_PTR(s->remote);
    if (s->out.to)
        stream_finish(TAKE_PTR(s->out.to));
    if (s->err.to)
        stream_finish(TAKE_PTR(s->err.to));
    if (remote && message)
        remote_server_fail(remote, message);
    else if (remote)
        remote_server_exit(remote, s->exit_code);
    session_free(s);
}

static void finish_if_over(struct session *s)
{
    bool exec = s->t.kind == TICKET_EXEC;
    if (!s->out.done || !s->err.done || (exec ? s->exec || !s->ended : !s->ready))
        return;
    const struct container *c = exec ? NULL : map_get(&s->rt->containers, s->t.id);
    if (c && c->state == CONTAINER_RUNNING && !s->parted) {
        s->parted = true;
        loop_timer_set(&s->drain, EXIT_MS);
    } else {
        finish(s, NULL);
    }
}

void streaming_container_exited(struct streaming *st, const struct container *c)
{
    if (!st)
        return;
    LIST_FOR_EACH(e, &st->sessions) {
        struct session *s = LIST_ENTRY(e, struct session, entry);
        if (s->parted && str_eq(s->t.id, c->id))
            finish(s, NULL);
    }
}

static bool client_is_slow(const struct copy *c)
{
    return !c->done && c->to && stream_congested(c->to);
}

/* Something that the process left behind holds its output open: that is not waited for. A client
 * that has not taken all of it yet is, for as long as it is there. */
static void on_drain_deadline(void *arg)
{
    struct session *s = arg;
    if (s->parted)
        finish(s, "the client was detached: it fell behind the container's output, "
                  "or the container has closed it");
    else if (client_is_slow(&s->out) || client_is_slow(&s->err))
        loop_timer_set(&s->drain, DRAIN_MS);
    else
        finish(s, NULL);
}

/* ---- copying ---- */
static size_t copy_data(struct copy *c, const void *data, size_t len)
{
    if (!c->to)
        return len; /* nobody wants it (any more) */
    stream_write(c->to, data, len);
    if (stream_congested(c->to))
        stream_pause(c->from);
    return len;
}

static void copy_drained(struct copy *c)
{
    if (c->from)
        stream_resume(c->from);
}

static size_t on_in_data(_unused_ struct stream *st, const void *data, size_t len, void *arg)
{
    struct session *s = arg;
    return copy_data(&s->in, data, len);
}

static void on_in_eof(_unused_ struct stream *st, void *arg)
{
    struct session *s = arg;
    if (s->in.to && s->in.to != s->tty)
        stream_end(s->in.to);
}

static void on_in_drain(_unused_ struct stream *st, void *arg)
{
    struct session *s = arg;
    copy_drained(&s->in);
}

/* The process does not read any more. */
static void on_in_closed(struct stream *st, _unused_ const struct error *err, void *arg)
{
    struct session *s = arg;
    if (s->in.to == st)
        s->in.to = NULL;
    (void)stream_free(st);
    if (s->in.from)
        stream_resume(s->in.from);
}

static void on_client_in_closed(struct stream *st, _unused_ const struct error *err, void *arg)
{
    struct session *s = arg;
    s->in.from = NULL;
    (void)stream_free(st);
    on_in_eof(NULL, s);
}

static struct copy *output_of(struct session *s, const struct stream *st)
{
    return st == s->err.from || st == s->err.to ? &s->err : &s->out;
}

static size_t on_out_data(struct stream *st, const void *data, size_t len, void *arg)
{
    return copy_data(output_of(arg, st), data, len);
}

static void on_out_eof(struct stream *st, void *arg)
{
    struct session *s = arg;
    struct copy *c = output_of(s, st);
    c->done = true;
    if (c->to)
        stream_end(c->to);
    finish_if_over(s);
}

/* A terminal's reading end fails with EIO when the last process has closed the other. */
static void on_out_closed(struct stream *st, _unused_ const struct error *err, void *arg)
{
    struct session *s = arg;
    struct copy *c = output_of(s, st);
    c->from = NULL;
    if (s->tty == st) {
        s->tty = NULL;
        s->tty_fd = -1;
        if (s->in.to == st)
            s->in.to = NULL;
    }
    (void)stream_free(st);
    if (!c->done) {
        c->done = true;
        if (c->to)
            stream_end(c->to);
        finish_if_over(s);
    }
}

static void on_client_out_drain(struct stream *st, void *arg)
{
    copy_drained(output_of(arg, st));
}

static void on_client_out_closed(struct stream *st, _unused_ const struct error *err, void *arg)
{
    struct copy *c = output_of(arg, st);
    c->to = NULL;
    (void)stream_free(st);
    copy_drained(c);
}

static const struct stream_handler client_in = {
    .on_data = on_in_data, .on_eof = on_in_eof, .on_close = on_client_in_closed};
static const struct stream_handler process_in = {.on_drain = on_in_drain, .on_close = on_in_closed};
static const struct stream_handler process_out = {
    .on_data = on_out_data, .on_eof = on_out_eof, .on_close = on_out_closed};
static const struct stream_handler terminal = {.on_data = on_out_data,
                                               .on_eof = on_out_eof,
                                               .on_drain = on_in_drain,
                                               .on_close = on_out_closed};
static const struct stream_handler client_out = {.on_drain = on_client_out_drain,
                                                 .on_close = on_client_out_closed};

/* Takes the client's streams and sets everything in motion. */
static void connect_streams(struct session *s)
{
    s->ready = true;
    s->in.from = remote_server_take(s->remote, REMOTE_STDIN);
    s->out.to = remote_server_take(s->remote, REMOTE_STDOUT);
    s->err.to = remote_server_take(s->remote, REMOTE_STDERR);
    s->out.done = !s->out.from;
    s->err.done = !s->err.from;
    if (s->out.to)
        stream_set_handler(s->out.to, &client_out, s);
    if (s->err.to)
        stream_set_handler(s->err.to, &client_out, s);
    if (s->tty) {
        stream_set_handler(s->tty, &terminal, s);
    } else {
        if (s->in.to)
            stream_set_handler(s->in.to, &process_in, s);
        if (s->out.from)
            stream_set_handler(s->out.from, &process_out, s);
    }
    if (s->err.from)
        stream_set_handler(s->err.from, &process_out, s);
    if (s->in.from)
        stream_set_handler(s->in.from, &client_in, s);
}

/* ---- the process's side ---- */
static int make_pipe(struct session *s, bool to_process, struct stream **ours, int *theirs,
                     struct error *err)
{
    int p[2];
    if (s->t.kind == TICKET_ATTACH && !to_process) {
        int size = ATTACH_BUFFER;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
            return error_errno(err, -errno, "socketpair");
        if (setsockopt(p[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
            (void)setsockopt(p[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        (void)shutdown(p[0], SHUT_WR);
    } else if (pipe2(p, O_CLOEXEC) < 0) {
        return error_errno(err, -errno, "pipe");
    }
    *theirs = p[to_process ? 0 : 1];
    *ours = stream_new_fd(s->rt->loop, p[to_process ? 1 : 0]);
    return 0;
}

static int make_pipes(struct session *s, int fds[3], struct error *err)
{
    int r = 0;
    if (s->t.options.want_stdin)
        r = make_pipe(s, true, &s->in.to, &fds[0], err);
    if (r == 0 && s->t.options.want_stdout)
        r = make_pipe(s, false, &s->out.from, &fds[1], err);
    if (r == 0 && s->t.options.want_stderr && !s->t.options.tty)
        r = make_pipe(s, false, &s->err.from, &fds[2], err);
    return r;
}

static void set_size(struct session *s)
{
    struct winsize size = {.ws_col = s->columns, .ws_row = s->rows};
    if (s->tty_fd >= 0 && s->columns && s->rows)
        (void)ioctl(s->tty_fd, TIOCSWINSZ, &size);
}

static void on_exec_started(_unused_ struct exec *x, int code, const char *message, int tty_fd,
                            void *arg)
{
    struct session *s = arg;
    if (code < 0) {
        s->exec = NULL;
        finish(s, message);
        return;
    }
    if (tty_fd >= 0) {
        s->tty = stream_new_fd(s->rt->loop, tty_fd);
        s->tty_fd = tty_fd;
        s->in.to = s->out.from = s->tty;
        set_size(s);
    }
    connect_streams(s);
}

static void on_exec_exited(_unused_ struct exec *x, int exit_code, void *arg)
{
    struct session *s = arg;
    s->exec = NULL;
    s->ended = true;
    s->exit_code = exit_code;
    loop_timer_set(&s->drain, DRAIN_MS);
    finish_if_over(s);
}

static const struct exec_events exec_events = {.started = on_exec_started,
                                               .exited = on_exec_exited};

/* The session may end while the shim is asked: it is looked up again by what it was. */
struct attaching {
    struct streaming *st;
    const struct session *s;
};

static void on_attached(const struct shim_reply *reply, void *arg)
{
    struct attaching *ref = arg;
    LIST_FOR_EACH(e, &ref->st->sessions) {
        struct session *s = LIST_ENTRY(e, struct session, entry);
        if (s != ref->s)
            continue;
        if (reply->code < 0)
            finish(s, reply->message);
        else
            connect_streams(s);
        break;
    }
    free(ref);
}

static int attach(struct session *s, struct container *c, const int fds[3])
{
    struct attaching *ref = mem_zalloc(sizeof(*ref));
    *ref = (struct attaching){s->st, s};
    int r = shim_attach(c->sandbox->shim, c->id, fds, on_attached, ref);
    if (r < 0)
        free(ref);
    return r;
}

static void on_remote_ready(_unused_ struct remote_server *r, void *arg)
{
    struct session *s = arg;
    struct error err = ERROR_INIT;
    struct container *c = map_get(&s->rt->containers, s->t.id);
    if (!c || c->state != CONTAINER_RUNNING || !c->sandbox->shim) {
        finish(s, "the container is not running");
        return;
    }
    int fds[3] = {-1, -1, -1};
    bool pipes = s->t.kind == TICKET_ATTACH || !s->t.options.tty;
    int code = pipes ? make_pipes(s, fds, &err) : 0;
    if (code == 0 && s->t.kind == TICKET_EXEC)
        code = exec_start(c, (const char *const *)s->argv, s->t.options.tty, fds, &exec_events, s,
                          &s->exec, &err);
    else if (code == 0 && (code = attach(s, c, fds)) < 0)
        (void)error_errno(&err, code, "cannot attach");
    for (size_t i = 0; i < 3; i++)
        closep(&fds[i]);
    if (code < 0)
        finish(s, error_text(&err));
}

static void on_resized(_unused_ const struct shim_reply *reply, _unused_ void *arg)
{
}

static void on_remote_resize(_unused_ struct remote_server *r, uint16_t columns, uint16_t rows,
                             void *arg)
{
    struct session *s = arg;
    s->columns = columns;
    s->rows = rows;
    const struct container *c = map_get(&s->rt->containers, s->t.id);
    if (s->t.kind == TICKET_EXEC)
        set_size(s);
    else if (c && c->sandbox->shim)
        (void)shim_resize(c->sandbox->shim, c->id, columns, rows, on_resized, NULL);
}

static void on_remote_close(_unused_ struct remote_server *r, const struct error *err, void *arg)
{
    if (err)
        log_debug("a stream's client has gone", "error", error_text(err), NULL);
    session_free(arg);
}

static const struct remote_server_handler handler = {
    .on_ready = on_remote_ready, .on_resize = on_remote_resize, .on_close = on_remote_close};

void stream_exec_start(struct streaming *st, struct http_exchange *x, const struct ticket *t)
{
    struct session *s = mem_zalloc(sizeof(*s));
    s->st = st;
    s->rt = st->rt;
    s->t.kind = t->kind;
    (void)snprintf(s->t.id, sizeof(s->t.id), "%s", t->id);
    s->t.options = t->options;
    s->tty_fd = -1;
    size_t n = 0;
    while (t->argv && t->argv[n])
        n++;
    s->argv = mem_zalloc((n + 1) * sizeof(char *));
    for (size_t i = 0; i < n; i++)
        s->argv[i] = str_dup(t->argv[i]);
    loop_timer_init(&s->drain, s->rt->loop, "exec output", on_drain_deadline, s);
    list_append(&st->sessions, &s->entry);
    const struct remote_options options = {.want_stdin = t->options.want_stdin,
                                           .want_stdout = t->options.want_stdout,
                                           .want_stderr = t->options.want_stderr,
                                           .tty = t->options.tty};
    struct error err = ERROR_INIT;
    if (remote_server_start(s->rt->loop, x, &options, &handler, s, &s->remote, &err) < 0) {
        log_debug("a stream was refused", "error", error_text(&err), NULL);
        s->remote = NULL;
        session_free(s);
    }
}
