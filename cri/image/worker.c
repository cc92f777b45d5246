/* Running jobs of coracle-unpack; see worker.h. */
#include "cri/image/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/log.h"
#include "cri/image/worker.h"

#define ANSWER_MAX  (16U << 20)
#define MESSAGE_MAX 16384
#define IDLE_MS     3000

struct worker_server {
    struct image_store *store;
    struct loop_pid pid;
    int sock;
    struct loop_timer idle;
};

struct worker {
    struct image_store *store;
    int fd; /* the answer */
    struct loop_io io;
    struct loop_timer deadline;
    struct strbuf answer;
    void (*cb)(const json_t *answer, const struct error *err, void *arg);
    void *arg;
};

/* ---- the server ---- */

struct worker_server *worker_server_free(struct worker_server *s)
{
    if (!s)
        return NULL;
    if (loop_pid_kill(&s->pid, SIGKILL) == 0) /* its jobs die with it */
        (void)waitpid(s->pid.pid, NULL, 0);
    s->store->server = NULL;
    loop_pid_done(&s->pid);
    loop_timer_done(&s->idle);
    closep(&s->sock);
    free(s);
    return NULL;
}

/* Unasked: its jobs end without an answer, the next one starts another server. */
static void on_server_end(_unused_ pid_t pid, int status, void *arg)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "0x%x", (unsigned)status);
    log_warn("image store: coracle-unpack ended", "wait-status", text, NULL);
    (void)worker_server_free(arg);
}

static void on_idle(void *arg)
{
    (void)worker_server_free(arg);
}

static struct worker_server *server_start(struct image_store *store, struct error *err)
{
    int sock[2];
    pid_t pid;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0) {
        (void)error_errno(err, -errno, "cannot make a socket pair");
        return NULL;
    }
    const char *argv[] = {store->worker, "serve", NULL};
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    spec.cwd = store->dir;
    spec.extra_fds = &sock[1];
    spec.n_extra_fds = 1;
    int r = process_spawn(&spec, &pid, err);
    (void)close(sock[1]);
    struct worker_server *s = mem_zalloc(sizeof(*s));
    *s = (struct worker_server){.store = store, .sock = sock[0]};
    loop_timer_init(&s->idle, store->loop, "idle worker", on_idle, s);
    if (!r && (r = loop_pid_init(&s->pid, store->loop, pid, on_server_end, s))) {
        (void)error_errno(err, r, "cannot watch %s", store->worker);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    if (r) {
        loop_timer_done(&s->idle);
        (void)close(s->sock);
        free(s);
        return NULL;
    }
    store->server = s;
    return s;
}

/* ---- a job ---- */

static void job_free(struct worker *w)
{
    struct worker_server *s = w->store->server;
    loop_io_done(&w->io);
    loop_timer_done(&w->deadline);
    closep(&w->fd);
    strbuf_done(&w->answer);
    if (--w->store->jobs == 0 && s)
        loop_timer_set(&s->idle, IDLE_MS);
    free(w);
}

/* The job's answer, or why there is none. */
static json_t *read_answer(const struct strbuf *text, struct error *err)
{
    _cleanup_json_ json_t *j = json_parse(strbuf_text(text), text->len, NULL);
    const char *said = json_path_string(j, "error");
    if (said) {
        int64_t code = json_path_int(j, "code", EIO);
        (void)error_set(err, code > 0 && code < 4096 ? -(int)code : -EIO, "%.900s", said);
        return NULL;
    }
    if (!json_is_object(j)) {
        (void)error_set(err, -EIO, "coracle-unpack gave no answer");
        return NULL;
    }
    return TAKE_PTR(j);
}

static void finish(struct worker *w, const json_t *answer, const struct error *err)
{
    void (*cb)(const json_t *, const struct error *, void *) = w->cb;
    void *arg = w->arg;
    job_free(w);
    cb(answer, answer ? NULL : err, arg);
}

static void on_answer(int fd, _unused_ short events, void *arg)
{
    struct worker *w = arg;
    struct error err = ERROR_INIT;
    char buf[16384];
    ssize_t n = read(fd, buf, sizeof(buf));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0 && w->answer.len + (size_t)n <= ANSWER_MAX) {
        strbuf_add(&w->answer, buf, (size_t)n);
        return;
    }
    _cleanup_json_ json_t *answer = NULL;
    if (n)
        (void)error_set(&err, -EIO, "coracle-unpack's answer cannot be read or is too long");
    else
        answer = read_answer(&w->answer, &err);
    finish(w, answer, &err);
}

static void on_deadline(void *arg)
{
    struct error err = ERROR_INIT;
    (void)error_set(&err, -ETIMEDOUT, "coracle-unpack gave no answer in time");
    finish(arg, NULL, &err);
}

/* "" is the store's own directory. */
static const char *below_store(const struct image_store *store, const char *dir)
{
    size_t len = strlen(store->dir);
    return strncmp(dir, store->dir, len) == 0 ? dir + len + (dir[len] == '/') : dir;
}

static int add_words(struct strbuf *text, const struct image_store *store,
                     const struct worker_spec *spec, struct error *err)
{
    const char *dir = below_store(store, spec->dir);
    size_t n = 0;
    strbuf_adds(text, *dir ? dir : ".");
    strbuf_addc(text, '\0');
    for (; spec->args[n]; n++) {
        strbuf_adds(text, spec->args[n]);
        strbuf_addc(text, '\0');
    }
    return n > WORKER_WORDS_MAX || text->len > MESSAGE_MAX || spec->n_fds > WORKER_FDS_MAX
               ? error_set(err, -E2BIG, "too much for one job of coracle-unpack")
               : 0;
}

static int send_job(int sock, const struct strbuf *text, int answer, const struct worker_spec *spec)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * (WORKER_FDS_MAX + 1))];
    } control = {.bytes = {0}};
    size_t fds_size = sizeof(int) * (spec->n_fds + 1);
    struct iovec iov = {text->data, text->len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = CMSG_SPACE(fds_size)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds_size);
    memcpy(CMSG_DATA(c), &answer, sizeof(int));
    if (spec->n_fds)
        memcpy(CMSG_DATA(c) + sizeof(int), spec->fds, sizeof(int) * spec->n_fds);
    return sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* A server that has just died is replaced, once. */
static int send_to_server(struct image_store *store, const struct strbuf *text, int answer,
                          const struct worker_spec *spec, struct error *err)
{
    int r = -EPIPE;
    for (int i = 0; i < 2 && (r == -EPIPE || r == -ECONNRESET); i++) {
        if (i)
            (void)worker_server_free(store->server);
        if (!store->server && !server_start(store, err))
            return err && err->code ? err->code : -EIO;
        r = send_job(store->server->sock, text, answer, spec);
    }
    return r ? error_errno(err, r, "cannot start a job of coracle-unpack") : 0;
}

struct worker *worker_start(struct image_store *store, const struct worker_spec *spec,
                            void (*cb)(const json_t *answer, const struct error *err, void *arg),
                            void *arg, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int fds[2];
    if (add_words(&text, store, spec, err))
        return NULL;
    if (pipe2(fds, O_CLOEXEC) < 0) {
        (void)error_errno(err, -errno, "cannot make a pipe");
        return NULL;
    }
    int r = send_to_server(store, &text, fds[1], spec, err);
    (void)close(fds[1]);
    if (r) {
        (void)close(fds[0]);
        return NULL;
    }
    struct worker *w = mem_zalloc(sizeof(*w));
    *w = (struct worker){.store = store, .fd = fds[0], .cb = cb, .arg = arg};
    store->jobs++;
    loop_timer_stop(&store->server->idle);
    loop_timer_init(&w->deadline, store->loop, "worker's deadline", on_deadline, w);
    loop_timer_set(&w->deadline, spec->deadline_ms);
    (void)fcntl(w->fd, F_SETFL, O_NONBLOCK);
    if (loop_io_init(&w->io, store->loop, "worker's answer", w->fd, EV_READ, on_answer, w)) {
        (void)error_set(err, -ENOMEM, "cannot wait for coracle-unpack");
        job_free(w);
        return NULL;
    }
    return w;
}

struct worker *worker_cancel(struct worker *worker)
{
    if (worker)
        job_free(worker);
    return NULL;
}
