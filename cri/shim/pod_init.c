/*
 * The first process of a pod's shared PID namespace; see init/main.c for what it does. With a user
 * namespace of the pod's own the PID namespace belongs to that: a child goes there first and clones
 * from within a process that is ours (CLONE_PARENT).
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "cri/shim/shim.h"

struct start {
    int user_ns; /* -1: none of the pod's own */
    int program; /* coracle-init */
    int ready;   /* where it says that it is ready */
};

static _noreturn_ void become_init(const struct start *s)
{
    static char name[] = "coracle-init";
    char *argv[] = {name, NULL}, *env[] = {NULL};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(s->ready, 3) == 3)
        (void)syscall(SYS_execveat, s->program, "", argv, env, AT_EMPTY_PATH);
    _exit(127);
}

static pid_t clone_init(const struct start *s, uint64_t flags)
{
    struct clone_args args = {.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
                              .flags = CLONE_NEWPID | CLONE_NEWNS | flags};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid == 0)
        become_init(s);
    return pid < 0 ? -errno : pid;
}

static _noreturn_ void clone_inside(const struct start *s, int answer)
{
    int32_t pid = -EPERM;
    if (setns(s->user_ns, CLONE_NEWUSER) == 0 && setgroups(0, NULL) == 0 &&
        setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0)
        pid = clone_init(s, CLONE_PARENT);
    _exit(write(answer, &pid, sizeof(pid)) != (ssize_t)sizeof(pid));
}

static pid_t start_inside(const struct start *s)
{
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return -errno;
    _cleanup_close_ int answer = p[0], theirs = p[1];
    struct clone_args args = {.exit_signal = SIGCHLD};
    pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (child < 0)
        return -errno;
    if (child == 0)
        clone_inside(s, theirs);
    int32_t pid = -EIO;
    (void)close(TAKE_FD(theirs));
    if (read(answer, &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
        pid = -EIO;
    (void)waitpid(child, NULL, 0);
    return pid;
}

int pod_init_start(struct shim *shim, const struct shim_setup *setup, struct error *err)
{
    _cleanup_free_ char *path = fs_join(setup->libexec, "coracle-init");
    _cleanup_close_ int program = open(path, O_PATH | O_CLOEXEC);
    if (program < 0)
        return error_errno(err, -errno, "%s", path);
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return error_errno(err, -errno, "pipe");
    _cleanup_close_ int ready = p[0], theirs = p[1];
    const struct start s = {shim->user_ns, program, theirs};
    pid_t pid = s.user_ns >= 0 ? start_inside(&s) : clone_init(&s, 0);
    if (pid < 0)
        return error_errno(err, pid, "start %s", path);
    shim->pod_init = pid;
    shim->pod_pidfd = pidfd_open(pid, 0);
    if (shim->pod_pidfd < 0)
        return error_errno(err, -errno, "%s", path);
    (void)close(TAKE_FD(theirs));
    char byte;
    if (read(ready, &byte, 1) != 1)
        return error_set(err, -EIO, "%s did not start", path);
    return 0;
}
