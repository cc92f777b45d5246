/*
 * The container's root: while the host's mounts are still shared with their peers, detached copies
 * of everything to be bound are taken; then our copy of the host's tree is made private, the
 * overlay mounted, all attached below it, and the old tree dropped.
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

#define MOUNTINFO_MAX (64U << 20)

/* Whether the mount that @fd is on gives what happens below it to others ("shared:") or takes it
 * from others ("master:"), by its optional fields in mountinfo (proc(5)). */
static bool propagates(int fd, bool receive_only)
{
    struct statx st;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0 || !(st.stx_mask & STATX_MNT_ID) ||
        fs_read("/proc/self/mountinfo", MOUNTINFO_MAX, &text, NULL) < 0)
        return true; /* cannot be told: as before */
    char *save = NULL;
    for (char *line = text.len ? strtok_r(text.data, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        char *tail = strstr(line, " - ");
        if (strtoull(line, NULL, 10) != st.stx_mnt_id || !tail)
            continue;
        *tail = '\0';
        return strstr(line, " shared:") || (receive_only && strstr(line, " master:"));
    }
    return true;
}

static int check_propagation(const struct launch_mount *m, struct error *err)
{
    if (m->propagation == LAUNCH_PRIVATE)
        return 0;
    _cleanup_close_ int fd = open(m->source, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, -errno, "mount %s: %s", m->target, m->source);
    if (propagates(fd, m->propagation == LAUNCH_SLAVE))
        return 0;
    return error_set(err, -EINVAL,
                     "mount %s: %s is not on a shared mount%s, as its propagation needs", m->target,
                     m->source, m->propagation == LAUNCH_SLAVE ? " or a slave" : "");
}

static int prepare_bind(const struct launch_mount *m, struct error *err)
{
    static const uint64_t kinds[] = {
        [LAUNCH_PRIVATE] = MS_PRIVATE, [LAUNCH_SLAVE] = MS_SLAVE, [LAUNCH_SHARED] = MS_SHARED};
    int r = check_propagation(m, err);
    if (r < 0)
        return r;
    int fd = mount_clone(AT_FDCWD, m->source, true, err);
    if (fd < 0)
        return error_prefix(err, fd, "mount %s", m->target);
    struct mount_attr attr = {.propagation = kinds[m->propagation]};
    if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0) {
        r = error_errno(err, -errno, "mount %s: propagation", m->target);
        (void)close(fd);
        return r;
    }
    if (m->readonly) {
        r = mount_set_readonly(fd, m->recursive_readonly, err);
        if (r < 0) {
            (void)close(fd);
            return error_prefix(err, r, "mount %s", m->target);
        }
    }
    return fd;
}

int rootfs_prepare(struct launch_job *job, struct error *err)
{
    job->binds = mem_grow(NULL, job->spec.n_mounts + 1, sizeof(int));
    for (size_t i = 0; i < job->spec.n_mounts; i++) {
        job->binds[i] = prepare_bind(&job->spec.mounts[i], err);
        if (job->binds[i] < 0)
            return job->binds[i];
    }
    if (job->spec.shm_path) {
        job->shm_fd = mount_clone(AT_FDCWD, job->spec.shm_path, false, err);
        if (job->shm_fd < 0)
            return job->shm_fd;
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_errno(err, -errno, "make the mounts private");
    return 0;
}

/* Adds "key=/proc/self/fd/N" for an opened layer: short whatever the path, so that the most layers
 * fit into the one page that the kernel takes, and no path's commas or colons matter. */
static int add_layer(struct strbuf *data, const char *lead, const char *path, struct error *err)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, -errno, "layer %s", path);
    strbuf_addf(data, "%s/proc/self/fd/%d", lead, fd);
    return 0; /* the descriptor goes with exec */
}

/* A container's own layer is worthless after a crash of the host, so nothing of it is synced
 * ("volatile"). The kernel marks such a layer and refuses it a second time, which is for those who
 * would keep it: a start that failed after the mount may be tried again. */
static int mount_layers(const struct launch_spec *s, const char *target, const struct strbuf *data)
{
    _cleanup_free_ char *unsynced = str_printf("%s,volatile", data->data);
    if (!s->upperdir)
        return mount("overlay", target, "overlay", 0, data->data) < 0 ? -errno : 0;
    if (mount("overlay", target, "overlay", 0, unsynced) == 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    _cleanup_free_ char *mark = fs_join(s->workdir, "work/incompat");
    if (fs_remove_tree(mark, NULL) == 0 && mount("overlay", target, "overlay", 0, unsynced) == 0)
        return 0;
    /* Kernels before 5.10 do not have the option. */
    return mount("overlay", target, "overlay", 0, data->data) < 0 ? -errno : 0;
}

static int mount_overlay(const struct launch_spec *s, const char *target, struct error *err)
{
    _cleanup_strbuf_ struct strbuf data = STRBUF_INIT;
    int r = 0;
    for (size_t i = 0; r == 0 && s->lowerdirs[i]; i++)
        r = add_layer(&data, i ? ":" : "lowerdir=", s->lowerdirs[i], err);
    if (r == 0 && s->upperdir)
        r = add_layer(&data, ",upperdir=", s->upperdir, err);
    if (r == 0 && s->upperdir)
        r = add_layer(&data, ",workdir=", s->workdir, err);
    if (r < 0)
        return r;
    r = mount_layers(s, target, &data);
    return r < 0 ? error_errno(err, r, "mount the overlay of %s", target) : 0;
}

static int open_root(struct launch_job *job, struct error *err)
{
    const struct launch_spec *s = &job->spec;
    const char *at = s->rootdir;
    if (s->lowerdirs && (s->upperdir || s->lowerdirs[1])) {
        if (s->upperdir && !s->workdir)
            return error_set(err, -EINVAL, "the overlay has no work directory");
        /* In our own tree any directory will do to mount over; this one is surely the container's.
         */
        at = s->upperdir ? s->upperdir : s->lowerdirs[0];
        int r = mount_overlay(s, at, err);
        if (r < 0)
            return r;
        job->root_fd = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
    } else {
        if (s->lowerdirs)
            at = s->lowerdirs[0];
        if (!at)
            return error_set(err, -EINVAL, "no root file system");
        _cleanup_close_ int tree = mount_clone(AT_FDCWD, at, true, err);
        if (tree < 0)
            return tree;
        if (s->lowerdirs) {
            int r = mount_set_readonly(tree, true, err);
            if (r < 0)
                return r;
        }
        _cleanup_close_ int on = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (on < 0)
            return error_errno(err, -errno, "root %s", at);
        int r = mount_attach(tree, on, at, err);
        if (r < 0)
            return r;
        job->root_fd = TAKE_FD(tree);
    }
    return job->root_fd < 0 ? error_errno(err, -errno, "root %s", at) : 0;
}

static int attach_binds(struct launch_job *job, struct error *err)
{
    for (size_t i = 0; i < job->spec.n_mounts; i++) {
        const struct launch_mount *m = &job->spec.mounts[i];
        struct stat st;
        if (fstat(job->binds[i], &st) < 0)
            return error_errno(err, -errno, "mount source %s", m->source);
        _cleanup_close_ int target = root_make(job, m->target, S_ISDIR(st.st_mode), err);
        if (target < 0)
            return target;
        int r = mount_attach(job->binds[i], target, m->target, err);
        if (r < 0)
            return r;
        (void)close(job->binds[i]);
    }
    return 0;
}

int rootfs_make(struct launch_job *job, struct error *err)
{
    int r = open_root(job, err);
    if (r == 0)
        r = sys_make(job, err);
    if (r == 0)
        r = dev_make(job, err);
    if (r == 0)
        r = attach_binds(job, err);
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
