/*
 * Starting a process: clone3() straight into its namespaces and (v2) its cgroup, exec of
 * coracle-launch, and the launcher's report until it has become the program.
 *
 * The launcher is executed through a descriptor on a read-only mount of its own, made when the shim
 * started: a program inside that opens /proc/<pid>/exe of a process which has not reached its exec
 * yet cannot write to the host's file through it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/times.h"
#include "cri/launch_spec.h"
#include "cri/shim/shim.h"

/* Every disposition, the C library's own two included: what is ignored stays so through execve and
 * would be lost on the container (a program that is PID 1 and cannot catch SIGTERM). The system
 * call's action is all zeros for the default. */
void process_reset_signals(void)
{
    sigset_t none;
    static const long action[8];
    (void)sigemptyset(&none);
    for (int signo = 1; signo < _NSIG; signo++)
        (void)syscall(SYS_rt_sigaction, signo, action, NULL, (_NSIG - 1) / 8);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Our descriptors 0 … 6 are always taken (main.c), so that none of the sources is in the way. */
static _noreturn_ void become_launcher(const struct shim *shim, const struct spawn *s, int report,
                                       int target)
{
    process_reset_signals();
    bool ok = true;
    for (int i = 0; i < 3; i++)
        ok = ok && (s->fds[i] < 0 ? true : dup2(s->fds[i], i) >= 0);
    ok = ok && dup2(s->spec_fd, 3) >= 0 && dup2(report, 4) >= 0 &&
         (target < 0 || dup2(target, 5) >= 0) &&
         (shim->user_ns < 0 || s->exec_id || dup2(shim->user_ns, 6) >= 0);
    static char name[] = "coracle-launch", create[] = "create", exec[] = "exec";
    char *argv[] = {name, s->exec_id ? exec : create, NULL};
    char *env[] = {NULL};
    if (ok)
        (void)syscall(SYS_execveat, shim->launch_fd, "", argv, env, AT_EMPTY_PATH);
    _exit(127); /* the shim sees a launcher that ended without a report */
}

static int open_pid_target(struct shim *shim, const struct container *c, struct error *err)
{
    const struct container *target = c->pid_target ? container_find(shim, c->pid_target) : NULL;
    if (!target || target->state.state != SHIM_RUNNING)
        return error_set(err, -ESRCH, "the container whose PID namespace is to be shared, %s, %s",
                         c->pid_target ? c->pid_target : "", "is not running");
    int fd = pidfd_open(target->state.pid, 0);
    return fd < 0 ? error_errno(err, -errno, "container %s", target->state.id) : fd;
}

/* The process whose PID namespace the new one joins; -1: none. */
static int open_target(struct shim *shim, const struct spawn *s, struct error *err)
{
    if (s->exec_id) {
        int fd = pidfd_open(s->container->state.pid, 0);
        return fd < 0 ? error_errno(err, -errno, "container %s", s->container->state.id) : fd;
    }
    if (s->container->pid_mode == LAUNCH_PID_POD) {
        if (shim->pod_pidfd < 0)
            return error_set(err, -EINVAL, "the pod has no PID namespace of its own");
        return fcntl(shim->pod_pidfd, F_DUPFD_CLOEXEC, 7);
    }
    if (s->container->pid_mode == LAUNCH_PID_TARGET)
        return open_pid_target(shim, s->container, err);
    return -1;
}

static pid_t clone_into(struct shim *shim, const struct spawn *s, int report, int target,
                        struct error *err)
{
    _cleanup_close_ int cgroup = -1;
    struct clone_args args = {.exit_signal = SIGCHLD};
    if (!s->exec_id)
        args.flags |= CLONE_NEWNS;
    /* With a user namespace the launcher makes it from within (launch/userns.c). */
    if (!s->exec_id && s->container->pid_mode == LAUNCH_PID_CONTAINER && shim->user_ns < 0)
        args.flags |= CLONE_NEWPID;
    if (s->container->cgroup) {
        cgroup = open(s->container->cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (cgroup < 0)
            return error_errno(err, -errno, "cgroup %s", s->container->cgroup);
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup;
    }
    bool join = target >= 0 && s->container->pid_mode != LAUNCH_PID_NODE;
    if (join && setns(target, CLONE_NEWPID) < 0)
        return error_errno(err, -errno, "enter the PID namespace");
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid == 0)
        become_launcher(shim, s, report, s->exec_id ? target : -1);
    int code = -errno;
    if (join && setns(shim->own_pid_ns, CLONE_NEWPID) < 0 && pid > 0)
        (void)kill(pid, SIGKILL); /* cannot be; and nothing more could be started rightly */
    return pid < 0 ? error_errno(err, code, "start a process") : pid;
}

static void on_report(struct shim *shim, struct source *s, uint32_t events);

static struct process *process_new(struct shim *shim, const struct spawn *s)
{
    struct process *p = mem_zalloc(sizeof(*p));
    p->container = s->container;
    p->exec_id = str_dup(s->exec_id);
    p->tty_fd = -1;
    p->report.fd = -1;
    list_append(&shim->processes, &p->link);
    shim->n_processes++;
    return p;
}

static void process_free(struct shim *shim, struct process *p)
{
    if (p->container && p->container->process == p)
        p->container->process = NULL;
    list_remove(&p->link);
    shim->n_processes--;
    source_close(shim, &p->report);
    closep(&p->tty_fd);
    strbuf_done(&p->notes);
    strbuf_done(&p->error);
    free(p->exec_id);
    free(p);
}

int process_start(struct shim *shim, const struct spawn *s, struct conn *asker, uint32_t request,
                  struct error *err)
{
    if (shim->n_processes >= SHIM_EXECS_MAX)
        return error_set(err, -EAGAIN, "more than %d processes under way in this pod",
                         SHIM_EXECS_MAX);
    int report[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) < 0)
        return error_errno(err, -errno, "socketpair");
    _cleanup_close_ int theirs = report[1], ours = report[0];
    _cleanup_close_ int target = open_target(shim, s, err);
    if (target < -1)
        return target;
    pid_t pid = clone_into(shim, s, theirs, target, err);
    if (pid < 0)
        return pid;
    struct process *p = process_new(shim, s);
    p->pid = pid;
    p->asker = asker;
    p->request = request;
    p->started_ns = time_now_nano();
    p->report = (struct source){.fd = TAKE_FD(ours), .cb = on_report};
    if (!s->exec_id)
        s->container->process = p;
    int r = source_add(shim, &p->report, EPOLLIN);
    if (r < 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        process_free(shim, p);
        return error_errno(err, r, "watch the launcher");
    }
    return 0;
}

/* ---- the launcher's report ---- */

static void take_report(struct process *p, const char *data, size_t len)
{
    struct tlv_reader in = tlv_read(data, len);
    struct tlv_item i;
    while (tlv_next(&in, &i) > 0) {
        uint64_t v = 0;
        const char *text = tlv_string(&i);
        switch (i.tag) {
        case REPORT_READY:
            p->ready = true;
            break;
        case REPORT_PID:
            if (tlv_u64(&i, &v) && v > 1 && v <= INT32_MAX)
                p->pid = (pid_t)v;
            break;
        case REPORT_NOTE:
            if (text && p->notes.len < 4096)
                strbuf_addf(&p->notes, "%s%s", p->notes.len ? "\n" : "", text);
            break;
        case REPORT_CODE:
            p->failed = true;
            p->code = tlv_u64(&i, &v) ? (int)(int64_t)v : -EIO;
            break;
        case REPORT_EXIT_CODE:
            p->exit_code = tlv_u64(&i, &v) ? (int)v : 128;
            break;
        case REPORT_ERROR:
            if (text) {
                strbuf_truncate(&p->error, 0);
                strbuf_adds(&p->error, text);
            }
            break;
        default:
            break;
        }
    }
}

/* One message; 0 at the end, -errno. */
static ssize_t receive_report(struct process *p)
{
    char data[2048];
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(p->report.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        closep(&p->tty_fd);
        memcpy(&p->tty_fd, CMSG_DATA(c), sizeof(int));
    }
    take_report(p, data, (size_t)n);
    return n;
}

/* The launcher has become the program, or has failed: the asker gets its answer. */
static void settle(struct shim *shim, struct process *p)
{
    source_close(shim, &p->report);
    struct container *c = p->container;
    if (!p->ready && !p->failed) {
        p->failed = true;
        p->code = -EIO;
        p->exit_code = 128;
        strbuf_adds(&p->error, "the launcher ended without a report (killed? out of memory?)");
    }
    if (!p->exec_id && !p->failed) {
        c->state.state = SHIM_RUNNING;
        c->state.pid = p->pid;
        c->state.started_ns = p->started_ns;
        state_save(&c->state);
        if (p->tty_fd >= 0)
            streams_take_tty(shim, c, TAKE_FD(p->tty_fd));
    }
    server_reply_process(shim, p);
    closep(&p->tty_fd);
    p->tty_fd = -1;
}

static void finish(struct shim *shim, struct process *p)
{
    struct container *c = p->container;
    if (!p->exec_id && p->failed) {
        /* It never ran: it can be started again, or removed. */
        streams_close(shim, c);
    } else if (!p->failed) {
        if (p->exec_id)
            server_broadcast_exit(shim, p, false, time_now_nano());
        else
            container_exited(shim, c, p->status);
    }
    process_free(shim, p);
    shim_maybe_end(shim);
}

static void on_report(struct shim *shim, struct source *s, _unused_ uint32_t events)
{
    struct process *p = CONTAINER_OF(s, struct process, report);
    ssize_t n;
    while ((n = receive_report(p)) > 0)
        ;
    if (n == -EAGAIN || n == -EINTR)
        return;
    settle(shim, p);
    if (p->exited)
        finish(shim, p);
}

/* A launcher that went on as another process has said so before it ended: who @p is, is known once
 * its reports have been read. */
static void update(struct process *p)
{
    while (p->report.fd >= 0 && receive_report(p) > 0)
        ;
}

int process_kill(struct process *p, int signo)
{
    update(p);
    return kill(p->pid, signo) < 0 && errno != ESRCH ? -errno : 0;
}

static void reaped(struct shim *shim, pid_t pid, int status)
{
    LIST_FOR_EACH(l, &shim->processes) {
        struct process *p = LIST_ENTRY(l, struct process, link);
        update(p);
        if (p->pid != pid || p->exited)
            continue;
        p->status = status;
        p->exited = true;
        if (p->report.fd >= 0)
            on_report(shim, &p->report, EPOLLIN); /* what it said before it ended */
        else
            finish(shim, p);
        return;
    }
}

void process_reap(struct shim *shim)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        reaped(shim, pid, status);
        holder_reaped(shim, pid);
        if (pid == shim->pod_init) {
            shim->pod_init = 0;
            closep(&shim->pod_pidfd);
            shim->pod_pidfd = -1;
        }
    }
    shim_maybe_end(shim);
}

struct process *process_find(struct shim *shim, const struct container *c, const char *exec_id)
{
    LIST_FOR_EACH(l, &shim->processes) {
        struct process *p = LIST_ENTRY(l, struct process, link);
        if (p->container == c && !p->exited && str_eq(p->exec_id, exec_id))
            return p;
    }
    return NULL;
}

void process_forget_conn(struct shim *shim, const struct conn *conn)
{
    LIST_FOR_EACH(l, &shim->processes) {
        struct process *p = LIST_ENTRY(l, struct process, link);
        if (p->asker == conn)
            p->asker = NULL;
    }
}
