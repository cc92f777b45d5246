/*
 * The pod's user namespace. It cannot be left again, so the shim does not enter it: a child is born
 * in it and in the other namespaces, which thereby belong to it, lives until they are in our hands,
 * and ends. The shim then enters those others alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "cri/shim/shim.h"

static int write_map(pid_t pid, const char *file, const struct shim_ids *ids, struct error *err)
{
    _cleanup_free_ char *path = str_printf("/proc/%d/%s", (int)pid, file);
    _cleanup_free_ char *map =
        str_printf("0 %llu %llu\n", (unsigned long long)ids->host, (unsigned long long)ids->length);
    return fs_write_text(path, map, err);
}

static int take_namespaces(struct shim *shim, const struct shim_setup *setup, pid_t pid, int flags,
                           struct error *err)
{
    int r = write_map(pid, "uid_map", &setup->uids, err);
    if (r == 0)
        r = write_map(pid, "gid_map", &setup->gids, err);
    if (r < 0)
        return error_prefix(err, r, "the pod's user namespace");
    _cleanup_free_ char *path = str_printf("/proc/%d/ns/user", (int)pid);
    shim->user_ns = open(path, O_RDONLY | O_CLOEXEC);
    if (shim->user_ns < 0)
        return error_errno(err, -errno, "%s", path);
    _cleanup_close_ int holder = pidfd_open(pid, 0);
    if (holder < 0 || (flags && setns(holder, flags) < 0))
        return error_errno(err, -errno, "enter the pod's namespaces");
    return 0;
}

int userns_make(struct shim *shim, const struct shim_setup *setup, int flags, struct error *err)
{
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return error_errno(err, -errno, "pipe");
    struct clone_args args = {.exit_signal = SIGCHLD, .flags = (uint64_t)(CLONE_NEWUSER | flags)};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid == 0) {
        char byte;
        (void)close(p[1]);
        _exit(read(p[0], &byte, 1) < 0);
    }
    int r = pid < 0 ? error_errno(err, -errno, "make the pod's user namespace")
                    : take_namespaces(shim, setup, pid, flags, err);
    (void)close(p[0]);
    (void)close(p[1]); /* ends the child */
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
    return r;
}
