/* The first process of a pod's shared PID namespace; see init/main.c for what it does. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "cri/shim/shim.h"

int pod_init_start(struct shim *shim, const struct shim_setup *setup, struct error *err)
{
    _cleanup_free_ char *path = fs_join(setup->libexec, "coracle-init");
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return error_errno(err, -errno, "pipe");
    _cleanup_close_ int ready = p[0], theirs = p[1];
    struct clone_args args = {.exit_signal = SIGCHLD, .flags = CLONE_NEWPID | CLONE_NEWNS};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid < 0)
        return error_errno(err, -errno, "start %s", path);
    if (pid == 0) {
        char *argv[] = {path, NULL}, *env[] = {NULL};
        sigset_t none;
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        if (dup2(theirs, 3) == 3)
            (void)execve(path, argv, env);
        _exit(127);
    }
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
