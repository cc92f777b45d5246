/*
 * The container's root, in four steps: detached copies of everything to be bound are taken, then
 * our copy of the host's tree is made private (prepare); the root's own tree and /dev are made with
 * the host's privileges (make); what belongs to the container's namespaces and everything bound is
 * attached below it (fill; in the pod's user namespace if it has one); it becomes our root, and the
 * host's tree is dropped (enter).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "cri/launch/launch.h"

int rootfs_prepare(struct launch_job *job, struct error *err)
{
    int r = binds_prepare(job, err);
    if (r < 0)
        return r;
    if (job->spec.shm_path) {
        job->shm_fd = mount_clone(AT_FDCWD, job->spec.shm_path, false, err);
        if (job->shm_fd < 0)
            return job->shm_fd;
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_errno(err, -errno, "make the mounts private");
    return images_prepare(job, err);
}

/* A root that is one directory: bound to itself, for a root must be a mount. */
static int bind_root(struct launch_job *job, const char *at, bool readonly, struct error *err)
{
    _cleanup_close_ int tree = mount_clone(AT_FDCWD, at, true, err);
    int r = tree < 0 ? tree : 0;
    if (r == 0 && job->spec.userns)
        r = mount_idmap(tree, at, err);
    if (r == 0 && readonly)
        r = mount_set_readonly(tree, true, err);
    if (r < 0)
        return r;
    _cleanup_close_ int on = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (on < 0)
        return error_errno(err, -errno, "root %s", at);
    r = mount_attach(tree, on, at, err);
    if (r == 0)
        job->root_fd = TAKE_FD(tree);
    return r;
}

static int open_root(struct launch_job *job, struct error *err)
{
    const struct launch_spec *s = &job->spec;
    if (!s->lowerdirs && !s->rootdir)
        return error_set(err, -EINVAL, "no root file system");
    if (!s->lowerdirs)
        return bind_root(job, s->rootdir, false, err);
    if (!s->upperdir && !s->lowerdirs[1])
        return bind_root(job, s->lowerdirs[0], true, err);
    if (s->upperdir && !s->workdir)
        return error_set(err, -EINVAL, "the overlay has no work directory");
    const struct layers layers = {s->lowerdirs, s->upperdir, s->workdir};
    const char *at = s->upperdir ? s->upperdir : s->lowerdirs[0];
    int r = layers_mount(job, &layers, at, err);
    if (r < 0)
        return r;
    job->root_fd = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return job->root_fd < 0 ? error_errno(err, -errno, "root %s", at) : 0;
}

int rootfs_make(struct launch_job *job, struct error *err)
{
    int r = open_root(job, err);
    return r < 0 ? r : dev_make(job, err);
}

int rootfs_fill(struct launch_job *job, struct error *err)
{
    int r = sys_make(job, err);
    if (r == 0)
        r = dev_fill(job, err);
    if (r == 0)
        r = binds_attach(job, err);
    if (r == 0 && !job->spec.privileged)
        r = paths_protect(job, err);
    return r;
}

int rootfs_enter(struct launch_job *job, struct error *err)
{
    /* The directory the process will start in, as runtimes have it: made when missing. */
    const char *cwd = job->spec.process.cwd;
    _cleanup_close_ int dir = root_open(job, cwd, O_PATH | O_DIRECTORY);
    if (dir == -ENOENT) {
        dir = root_make(job, cwd, true, err);
        if (dir < 0)
            return error_prefix(err, dir, "working directory");
    }
    if (job->spec.rootfs_readonly && mount_set_readonly(job->root_fd, false, err) < 0)
        return error_prefix(err, err ? err->code : -EIO, "read-only root");
    if (fchdir(job->root_fd) < 0)
        return error_errno(err, -errno, "enter the root");
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return error_errno(err, -errno, "pivot_root");
    if (umount2(".", MNT_DETACH) < 0)
        return error_errno(err, -errno, "drop the host's mounts");
    if (chdir("/") < 0)
        return error_errno(err, -errno, "enter the root");
    return 0;
}
