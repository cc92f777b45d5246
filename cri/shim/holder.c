/*
 * A systemd scope lives as long as a process is in it. The holder is that process: from the
 * container's creation, when nothing else of it runs, until the count of out-of-memory kills was
 * read, which goes with the group. It does nothing, holds nothing, and dies with the shim.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "cri/shim/shim.h"

int holder_start(const struct shim *shim, struct container *c, struct error *err)
{
    struct clone_args args = {.exit_signal = SIGCHLD};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid < 0)
        return error_errno(err, -errno, "start the holder of container %s", c->state.id);
    if (pid == 0) {
        static char name[] = "coracle-launch", hold[] = "hold";
        char *argv[] = {name, hold, NULL}, *env[] = {NULL};
        process_reset_signals();
        (void)syscall(SYS_execveat, shim->launch_fd, "", argv, env, AT_EMPTY_PATH);
        _exit(127);
    }
    c->holder = pid;
    return 0;
}

void holder_end(struct container *c)
{
    if (c->holder > 0)
        (void)kill(c->holder, SIGKILL);
    c->holder = 0; /* reaped as nobody's */
}

void holder_reaped(const struct shim *shim, pid_t pid)
{
    LIST_FOR_EACH(l, &shim->containers) {
        struct container *c = LIST_ENTRY(l, struct container, link);
        if (c->holder == pid)
            c->holder = 0;
    }
}
