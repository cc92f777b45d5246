/*
 * coracle-launch probe LAYER LAYER: whether a pod with a user namespace of its own could have an
 * image's root here. Done, not guessed: a user namespace is made and the two directories are
 * mounted as id-mapped layers of an overlay, in a mount tree of our own that goes with us.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "cri/launch/launch.h"

static int hold_namespace(pid_t pid, struct error *err)
{
    static const char *const files[] = {"uid_map", "gid_map"};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++) {
        _cleanup_free_ char *path = str_printf("/proc/%d/%s", (int)pid, files[i]);
        r = fs_write_text(path, "0 65536 65536\n", err);
    }
    if (r < 0)
        return r;
    _cleanup_free_ char *path = str_printf("/proc/%d/ns/user", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (fd != LAUNCH_FD_USERNS && dup3(fd, LAUNCH_FD_USERNS, O_CLOEXEC) < 0))
        return error_errno(err, -errno, "%s", path);
    return 0;
}

static int make_namespace(struct error *err)
{
    struct clone_args args = {.exit_signal = SIGCHLD, .flags = CLONE_NEWUSER};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid < 0)
        return error_errno(err, -errno, "make a user namespace");
    if (pid == 0)
        for (;;)
            (void)pause();
    int r = hold_namespace(pid, err);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return r;
}

int probe(const char *upper_layer, const char *lower_layer, struct error *err)
{
    struct launch_job job = {.spec.userns = true};
    const char *const lower[] = {upper_layer, lower_layer, NULL};
    const struct layers layers = {lower, NULL, NULL};
    int r = make_namespace(err);
    if (r == 0 && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)))
        r = error_errno(err, -errno, "make a mount namespace");
    if (r == 0)
        r = layers_mount(&job, &layers, lower_layer, err);
    launch_job_done(&job);
    return r;
}
