/*
 * Into the pod's user namespace. A launcher begins with the host's privileges, and needs them:
 * for the overlay, for id-mapped mounts, for device nodes. Who joins a user namespace has
 * privileges in it alone, for good, and what has to belong to the namespace must be made from
 * within: the container's mount, cgroup and PID namespaces, /proc, /sys, the terminals. So the
 * launcher first makes what needs the host, then crosses over with detached mounts in hand, then
 * makes the rest.
 *
 * The first process of a PID namespace must be born in it. A container that has one of its own is
 * therefore continued by a child, which is the shim's as much as we are (CLONE_PARENT). The shim is
 * told (REPORT_PID) before the child goes on, and then we end: whatever becomes of the child,
 * the shim knows by then who it is. A container in a PID namespace that is there already
 * was started in it by the shim, and nobody is forked.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "cri/launch/launch.h"

#define OWNED (CLONE_NEWNS | CLONE_NEWCGROUP)

int userns_become_root(struct error *err)
{
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return error_errno(err, -errno, "become root in the user namespace");
    /* Both are undone by a change of credentials. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return error_errno(err, -errno, "set the parent-death signal");
    return 0;
}

/* Returns in the child only, or with an error. */
static int continue_in_child(struct error *err)
{
    int go[2];
    if (pipe2(go, O_CLOEXEC) < 0)
        return error_errno(err, -errno, "pipe");
    struct clone_args args = {.flags = CLONE_PARENT | CLONE_NEWPID | OWNED};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid < 0)
        return error_errno(err, -errno, "make the container's namespaces");
    if (pid > 0) {
        if (report_pid(pid) == 0)
            (void)!write(go[1], "", 1);
        _exit(0);
    }
    char byte;
    (void)close(go[1]);
    if (read(go[0], &byte, 1) != 1)
        _exit(1); /* our other half was killed, and so the container has failed */
    (void)close(go[0]);
    (void)setsid();
    return 0;
}

int userns_cross(struct launch_job *job, struct error *err)
{
    int root = mount_clone(job->root_fd, "", true, err);
    if (root < 0)
        return root;
    (void)close(job->root_fd);
    closep(&job->dev_fd);
    job->root_fd = root;
    job->dev_fd = -1;
    if (setns(LAUNCH_FD_USERNS, CLONE_NEWUSER) < 0)
        return error_errno(err, -errno, "enter the pod's user namespace");
    int r = 0;
    if (job->spec.pid_mode == LAUNCH_PID_CONTAINER)
        r = continue_in_child(err);
    else if (unshare(OWNED) < 0)
        r = error_errno(err, -errno, "make the container's namespaces");
    if (r == 0)
        r = userns_become_root(err);
    if (r < 0)
        return r;
    job->owner_uid = 0;
    job->owner_gid = 0;
    /* The host's root directory is the one place that is surely there and open to us. */
    if (move_mount(job->root_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_errno(err, -errno, "attach the root");
    job->dev_fd = root_open(job, "/dev", O_PATH | O_DIRECTORY);
    return job->dev_fd < 0 ? error_errno(err, job->dev_fd, "/dev") : 0;
}
