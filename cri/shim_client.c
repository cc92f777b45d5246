/* The daemon's end of the shim protocol: messages in, callbacks out; see shim_client.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fs.h"
#include "cri/shim_internal.h"

/* How long the process of a shim whose connection broke may take to end before it counts as alive.
 */
#define LOST_MS 2000

/* ---- life ---- */

static void really_free(struct shim *shim)
{
    loop_io_done(&shim->io);
    loop_pid_done(&shim->process);
    loop_pid_done(&shim->starter);
    loop_timer_done(&shim->lost);
    loop_deferred_done(&shim->kick);
    closep(&shim->fd);
    LIST_FOR_EACH(l, &shim->pending) {
        struct shim_pending *p = LIST_ENTRY(l, struct shim_pending, link);
        list_remove(&p->link);
        free(p->states);
        free(p);
    }
    free(shim);
}

struct shim *shim_free(struct shim *shim)
{
    if (!shim)
        return NULL;
    if (shim->depth)
        shim->freed = true;
    else
        really_free(shim);
    return NULL;
}

/* Callbacks may free the shim: between enter and leave it stays. */
static void enter(struct shim *shim)
{
    shim->depth++;
}

static void leave(struct shim *shim)
{
    if (--shim->depth == 0 && shim->freed)
        really_free(shim);
}

pid_t shim_pid(const struct shim *shim)
{
    return shim->pid;
}

static void answer(struct shim *shim, struct shim_pending *p, const struct shim_reply *reply)
{
    list_remove(&p->link);
    if (shim->freed)
        ;
    else if (p->query_cb)
        p->query_cb(reply->code, p->states, p->n_states, p->arg);
    else if (p->cb)
        p->cb(reply, p->arg);
    if (!p->cb && reply->fd >= 0)
        (void)close(reply->fd);
    free(p->states);
    free(p);
}

/* The end of the connection, told once. */
static void report_closed(struct shim *shim)
{
    enter(shim);
    loop_timer_stop(&shim->lost);
    LIST_FOR_EACH(l, &shim->pending)
        answer(shim, LIST_ENTRY(l, struct shim_pending, link),
               &(struct shim_reply){.code = -ECONNRESET,
                                    .message = "the pod's shim is gone",
                                    .notes = "",
                                    .exit_code = 128,
                                    .fd = -1});
    if (shim->freed)
        ;
    else if (shim->ready) {
        shim->ready(shim, -EIO, "the shim ended before it was ready", shim->events.arg);
        shim->freed = true;
    } else if (shim->events.closed) {
        shim->events.closed(shim, shim->process_ended, shim->events.arg);
    }
    leave(shim);
}

static void on_lost(void *arg)
{
    report_closed(arg); /* the process lives: it closed the connection */
}

static void on_process_end(_unused_ pid_t pid, _unused_ int status, void *arg)
{
    struct shim *shim = arg;
    shim->process_ended = true;
    if (shim->broken)
        report_closed(shim);
}

/* The connection is broken: the rest is told when it is known whether the process ended, too. */
static void broken(struct shim *shim)
{
    if (shim->broken)
        return;
    shim->broken = true;
    loop_io_done(&shim->io);
    if (shim->process_ended || shim->process.pidfd < 0)
        loop_defer(&shim->kick);
    else
        loop_timer_set(&shim->lost, LOST_MS);
}

static void on_kick(void *arg)
{
    report_closed(arg);
}

static void on_starter_end(_unused_ pid_t pid, _unused_ int status, _unused_ void *arg)
{
    /* Reaped. Whether the shim came up is told on the socket. */
}

/* ---- messages in ---- */

int shim_message_decode(const void *data, size_t len, struct shim_message *ret)
{
    struct tlv_reader in = tlv_read(data, len);
    struct tlv_item i;
    uint64_t v;
    int r;
    *ret = (struct shim_message){.text = "", .notes = "", .fd = -1};
    while ((r = tlv_next(&in, &i)) > 0) {
        const char *text = tlv_string(&i);
        if (!shim_state_take(&ret->state, &i))
            return -EBADMSG;
        switch (i.tag) {
        case SHIM_TEXT:
            ret->text = text ? text : "";
            continue;
        case SHIM_NOTES:
            ret->notes = text ? text : "";
            continue;
        case SHIM_CONTAINER:
            ret->container = text;
            continue;
        case SHIM_EXEC_ID:
            ret->exec = text;
            continue;
        default:
            break;
        }
        if (!tlv_u64(&i, &v))
            continue;
        switch (i.tag) {
        case SHIM_TYPE:
            ret->type = v;
            break;
        case SHIM_REQUEST:
            ret->request = v;
            break;
        case SHIM_PROTOCOL:
            ret->protocol = v;
            break;
        case SHIM_CODE:
            ret->code = (int)(int64_t)v;
            break;
        case SHIM_PID:
            ret->pid = v;
            break;
        case SHIM_EXIT_CODE:
            ret->exit_code = v;
            break;
        case SHIM_SIGNAL:
            ret->signo = v;
            break;
        case SHIM_OOM:
            ret->oom = v;
            break;
        case SHIM_STARTED_AT:
            ret->started = v;
            break;
        case SHIM_FINISHED_AT:
            ret->finished = v;
            break;
        default:
            break;
        }
    }
    return r < 0 || !ret->type ? -EBADMSG : 0;
}

static void take_hello(struct shim *shim, const struct shim_message *m)
{
    shim->pid = (pid_t)m->pid;
    shim->version = m->protocol;
    if (shim->process.pidfd < 0 && m->pid)
        if (loop_pid_init(&shim->process, shim->loop, shim->pid, on_process_end, shim) < 0)
            shim->process_ended = true;
    int code = m->code;
    const char *text = m->text;
    if (code == 0 && (m->protocol < SHIM_VERSION_MIN || m->protocol > SHIM_VERSION)) {
        code = -EPROTO;
        text = "the shim is of a release that this daemon cannot drive";
    }
    if (!shim->ready) {
        if (code < 0)
            broken(shim);
        return;
    }
    void (*ready)(struct shim *, int, const char *, void *) = shim->ready;
    shim->ready = NULL;
    ready(shim, code, code < 0 ? text : "", shim->events.arg);
    if (code < 0)
        shim->freed = true;
}

static void take_exit(struct shim *shim, const struct shim_message *m)
{
    struct shim_exit e = {.container = m->container,
                          .exec = m->exec,
                          .exit_code = (int)m->exit_code,
                          .signal = (int)m->signo,
                          .oom_killed = m->oom,
                          .finished_ns = (int64_t)m->finished};
    if (m->container && shim->events.exited)
        shim->events.exited(shim, &e, shim->events.arg);
}

static struct shim_pending *find_pending(struct shim *shim, uint64_t id)
{
    LIST_FOR_EACH(l, &shim->pending)
        if (LIST_ENTRY(l, struct shim_pending, link)->id == id)
            return LIST_ENTRY(l, struct shim_pending, link);
    return NULL;
}

static void take_message(struct shim *shim, struct shim_message *m)
{
    struct shim_pending *p = find_pending(shim, m->request);
    switch (m->type) {
    case SHIM_HELLO:
        take_hello(shim, m);
        break;
    case SHIM_EVENT_EXIT:
        take_exit(shim, m);
        break;
    case SHIM_STATE_ITEM:
        if (p && p->query_cb && p->n_states < SHIM_CONTAINERS_MAX) {
            p->states = mem_grow(p->states, p->n_states + 1, sizeof(*p->states));
            p->states[p->n_states++] = m->state;
        }
        break;
    case SHIM_REPLY:
        if (!p)
            break;
        answer(shim, p,
               &(struct shim_reply){.code = m->code,
                                    .message = m->text,
                                    .notes = m->notes,
                                    .exit_code = (int)m->exit_code,
                                    .pid = (pid_t)m->pid,
                                    .time_ns = (int64_t)m->started,
                                    .fd = TAKE_FD(m->fd)});
        break;
    default:
        break; /* of a later release */
    }
}

/* One message; 0 at the end, -errno. *fd is the descriptor that came along. */
static ssize_t receive(int from, char *data, size_t size, int *fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = data, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(from, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(c), sizeof(int));
    return msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EMSGSIZE : n;
}

static void on_readable(_unused_ int fd, _unused_ short events, void *arg)
{
    struct shim *shim = arg;
    _cleanup_free_ char *data = mem_grow(NULL, SHIM_MESSAGE_MAX, 1);
    enter(shim);
    while (!shim->freed && !shim->broken) {
        int came = -1;
        struct shim_message m = {.fd = -1};
        ssize_t n = receive(shim->fd, data, SHIM_MESSAGE_MAX, &came);
        if (n == -EAGAIN || n == -EINTR)
            break;
        if (n <= 0 || shim_message_decode(data, (size_t)n, &m) < 0) {
            closep(&came);
            broken(shim);
            break;
        }
        m.fd = came;
        take_message(shim, &m);
        closep(&m.fd);
    }
    leave(shim);
}

struct shim *shim_new(struct loop *loop, int fd, const struct shim_events *events)
{
    struct shim *shim = mem_zalloc(sizeof(*shim));
    shim->loop = loop;
    shim->fd = fd;
    shim->events = *events;
    shim->process.pidfd = shim->starter.pidfd = -1;
    list_init(&shim->pending);
    loop_timer_init(&shim->lost, loop, "shim lost", on_lost, shim);
    loop_deferred_init(&shim->kick, loop, on_kick, shim);
    (void)loop_io_init(&shim->io, loop, "shim", fd, EV_READ, on_readable, shim);
    return shim;
}

/* ---- messages out ---- */

int shim_send(struct shim *shim, const struct strbuf *msg, const int *fds, size_t n_fds)
{
    union {
        char bytes[CMSG_SPACE(SHIM_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec iov = {.iov_base = msg->data, .iov_len = msg->len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    }
    if (msg->len > SHIM_MESSAGE_MAX)
        return -E2BIG;
    return sendmsg(shim->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

struct shim_pending *shim_request(struct shim *shim, uint16_t type, const char *container,
                                  struct strbuf *msg, shim_cb cb, void *arg)
{
    struct shim_pending *p = mem_zalloc(sizeof(*p));
    if (++shim->next_id == 0)
        shim->next_id = 1;
    p->id = shim->next_id;
    p->cb = cb;
    p->arg = arg;
    list_append(&shim->pending, &p->link);
    tlv_put_u64(msg, SHIM_TYPE, type);
    tlv_put_u64(msg, SHIM_REQUEST, p->id);
    tlv_put_string(msg, SHIM_CONTAINER, container);
    return p;
}

int shim_connect(struct loop *loop, const char *dir, const struct shim_events *events,
                 struct shim **ret, struct error *err)
{
    _cleanup_close_ int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return error_errno(err, -errno, "%s", dir);
    /* Through the descriptor: the path itself may be longer than an address holds. */
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/shim.sock", at);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return error_errno(err, -errno, "the shim in %s", dir);
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return error_errno(err, -errno, "the shim in %s", dir);
    *ret = shim_new(loop, TAKE_FD(fd), events);
    (*ret)->pid = peer.pid;
    if (loop_pid_init(&(*ret)->process, loop, peer.pid, on_process_end, *ret) < 0)
        (*ret)->process_ended = true; /* ended just now: the socket says so in a moment */
    return 0;
}

void shim_watch_starter(struct shim *shim, pid_t pid)
{
    (void)loop_pid_init(&shim->starter, shim->loop, pid, on_starter_end, shim);
}
