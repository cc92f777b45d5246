/* The socket; see shim_proto.h for what is said. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "cri/shim/shim.h"

#define CONNS_MAX 8

static void conn_free(struct shim *shim, struct conn *conn)
{
    process_forget_conn(shim, conn);
    list_remove(&conn->link);
    source_close(shim, &conn->io);
    free(conn);
}

/* A peer that does not read is cut off: it learns what it missed when it connects again. Shutting
 * down (rather than freeing) lets the loop notice, wherever in the code we are. */
static void put(struct conn *conn, const struct strbuf *body, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec iov = {.iov_base = body->data, .iov_len = body->len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    if (sendmsg(conn->io.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        (void)shutdown(conn->io.fd, SHUT_RDWR);
}

static void reply(struct conn *conn, uint32_t id, int code, const char *text, pid_t holder)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    tlv_put_u64(&b, SHIM_TYPE, SHIM_REPLY);
    tlv_put_u64(&b, SHIM_REQUEST, id);
    tlv_put_u64(&b, SHIM_CODE, (uint64_t)(int64_t)code);
    if (code < 0)
        tlv_put_string(&b, SHIM_TEXT, text);
    else if (holder)
        tlv_put_u64(&b, SHIM_PID, (uint64_t)holder);
    put(conn, &b, -1);
}

void server_reply_process(_unused_ struct shim *shim, struct process *p)
{
    if (!p->asker)
        return;
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    tlv_put_u64(&b, SHIM_TYPE, SHIM_REPLY);
    tlv_put_u64(&b, SHIM_REQUEST, p->request);
    tlv_put_u64(&b, SHIM_CODE, (uint64_t)(int64_t)(p->failed ? p->code : 0));
    tlv_put_u64(&b, SHIM_PID, (uint64_t)p->pid);
    tlv_put_u64(&b, SHIM_STARTED_AT, (uint64_t)p->started_ns);
    if (p->notes.len)
        tlv_put_string(&b, SHIM_NOTES, p->notes.data);
    if (p->failed) {
        tlv_put_u64(&b, SHIM_EXIT_CODE, (uint64_t)p->exit_code);
        tlv_put_string(&b, SHIM_TEXT, strbuf_text(&p->error));
    }
    put(p->asker, &b, p->failed ? -1 : p->tty_fd);
}

void server_broadcast_exit(struct shim *shim, const struct process *p, bool oom_killed,
                           int64_t finished_ns)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    int signo = WIFSIGNALED(p->status) ? WTERMSIG(p->status) : 0;
    tlv_put_u64(&b, SHIM_TYPE, SHIM_EVENT_EXIT);
    tlv_put_string(&b, SHIM_CONTAINER, p->container->state.id);
    tlv_put_string(&b, SHIM_EXEC_ID, p->exec_id);
    tlv_put_u64(&b, SHIM_EXIT_CODE, (uint64_t)(signo ? 128 + signo : WEXITSTATUS(p->status)));
    tlv_put_u64(&b, SHIM_SIGNAL, (uint64_t)signo);
    tlv_put_u64(&b, SHIM_OOM, oom_killed);
    tlv_put_u64(&b, SHIM_FINISHED_AT, (uint64_t)finished_ns);
    LIST_FOR_EACH(l, &shim->conns)
        put(LIST_ENTRY(l, struct conn, link), &b, -1);
}

static void answer_query(struct shim *shim, struct conn *conn, uint32_t id)
{
    LIST_FOR_EACH(l, &shim->containers) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        tlv_put_u64(&b, SHIM_TYPE, SHIM_STATE_ITEM);
        tlv_put_u64(&b, SHIM_REQUEST, id);
        state_put(&b, &LIST_ENTRY(l, struct container, link)->state);
        put(conn, &b, -1);
    }
    reply(conn, id, 0, NULL, 0);
}

static void begin_shutdown(struct shim *shim)
{
    shim->shutting_down = true;
    LIST_FOR_EACH(l, &shim->processes)
        (void)process_kill(LIST_ENTRY(l, struct process, link), SIGKILL);
    if (shim->pod_init > 0)
        (void)kill(shim->pod_init, SIGKILL);
}

/* Requests about one container's streams and log. */
static int handle_streams(struct shim *shim, struct request *req, struct error *err)
{
    struct container *c = req->container ? container_find(shim, req->container) : NULL;
    if (!c)
        return error_set(err, -ENOENT, "no container %s in this pod",
                         req->container ? req->container : "");
    int r = 0;
    switch (req->type) {
    case SHIM_ATTACH:
        return streams_attach(shim, c, req, err);
    case SHIM_RESIZE:
        return streams_resize(c, req, err);
    case SHIM_CLOSE_STDIN:
        streams_close_stdin(shim, c);
        break;
    default:
        r = c->log.path ? log_open(&c->log) : 0;
        if (r < 0)
            return error_errno(err, r, "log file %s", c->log.path);
        break;
    }
    return r;
}

/* 1 when the reply comes later. */
static int handle(struct shim *shim, struct conn *conn, struct request *req, struct error *err)
{
    int r;
    switch (req->type) {
    case SHIM_CREATE:
        return container_create(shim, req, err);
    case SHIM_START:
        r = container_start(shim, req, conn, err);
        return r < 0 ? r : 1;
    case SHIM_EXEC:
        r = container_exec(shim, req, conn, err);
        return r < 0 ? r : 1;
    case SHIM_KILL:
        return container_signal(shim, req, err);
    case SHIM_REMOVE:
        return container_remove(shim, req, err);
    case SHIM_ATTACH:
    case SHIM_RESIZE:
    case SHIM_CLOSE_STDIN:
    case SHIM_REOPEN_LOG:
        return handle_streams(shim, req, err);
    case SHIM_QUERY:
        answer_query(shim, conn, req->id);
        return 1;
    case SHIM_SHUTDOWN:
        begin_shutdown(shim);
        return 0;
    default:
        return error_set(err, -ENOSYS, "this shim does not know request %u", req->type);
    }
}

/* Receives one message with its descriptors: bytes, 0 at the end, -errno. */
static ssize_t receive(int fd, char *data, size_t size, int fds[SHIM_FDS_MAX], size_t *n_fds)
{
    union {
        char bytes[CMSG_SPACE(SHIM_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = data, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    *n_fds = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds + *n_fds, CMSG_DATA(c), count * sizeof(int));
            *n_fds += count;
        }
    if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        for (size_t i = 0; i < *n_fds; i++)
            (void)close(fds[i]);
        *n_fds = 0;
        return -EMSGSIZE;
    }
    return n;
}

static void on_message(struct shim *shim, struct source *s, _unused_ uint32_t events)
{
    struct conn *conn = CONTAINER_OF(s, struct conn, io);
    _cleanup_free_ char *data = mem_grow(NULL, SHIM_MESSAGE_MAX, 1);
    int fds[SHIM_FDS_MAX];
    size_t n_fds = 0;
    ssize_t n = receive(s->fd, data, SHIM_MESSAGE_MAX, fds, &n_fds);
    if (n == -EAGAIN || n == -EINTR)
        return;
    struct request req = {.n_fds = 0};
    int r = n <= 0 ? -EPIPE : request_decode(data, (size_t)n, &req);
    memcpy(req.fds, fds, n_fds * sizeof(int));
    req.n_fds = n_fds;
    if (r == 0)
        r = request_check_fds(&req);
    if (r < 0) {
        for (size_t i = 0; i < n_fds; i++)
            (void)close(fds[i]);
        conn_free(shim, conn);
        return;
    }
    struct error err = ERROR_INIT;
    r = handle(shim, conn, &req, &err);
    if (r <= 0)
        reply(conn, req.id, r, error_text(&err), req.holder);
    for (size_t i = 0; i < n_fds; i++)
        closep(&req.fds[i]);
    shim_maybe_end(shim);
}

void server_adopt(struct shim *shim, int fd, const struct error *err)
{
    struct conn *conn = mem_zalloc(sizeof(*conn));
    conn->io = (struct source){.fd = fd, .cb = on_message};
    list_append(&shim->conns, &conn->link);
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    tlv_put_u64(&b, SHIM_TYPE, SHIM_HELLO);
    tlv_put_u64(&b, SHIM_PROTOCOL, SHIM_VERSION);
    tlv_put_u64(&b, SHIM_PID, (uint64_t)getpid());
    if (err && err->code) {
        tlv_put_u64(&b, SHIM_CODE, (uint64_t)(int64_t)err->code);
        tlv_put_string(&b, SHIM_TEXT, error_text(err));
    }
    put(conn, &b, -1);
    if (source_add(shim, &conn->io, EPOLLIN) < 0)
        conn_free(shim, conn);
}

static void on_connect(struct shim *shim, struct source *s, _unused_ uint32_t events)
{
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct ucred peer;
    socklen_t len = sizeof(peer);
    unsigned n = 0;
    LIST_FOR_EACH(l, &shim->conns)
        n++;
    if (n >= CONNS_MAX || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
        peer.uid != geteuid()) {
        (void)close(fd);
        return;
    }
    server_adopt(shim, fd, NULL);
}

int server_listen(struct shim *shim, struct error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "shim.sock"};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, -errno, "socket");
    if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, CONNS_MAX) < 0)
        return error_errno(err, -errno, "listen on shim.sock");
    shim->listener = (struct source){.fd = TAKE_FD(fd), .cb = on_connect};
    return source_add(shim, &shim->listener, EPOLLIN);
}
