/* /proc, /sys and /sys/fs/cgroup, and the paths in them that a container must not read or write. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cri/launch/launch.h"

#define QUIET (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

/* Opens /proc, /sys or what is mounted there: an image that has a link in that place is refused. */
static int open_plain(const struct launch_job *job, const char *path, struct error *err)
{
    int fd = fs_open_in_root(job->root_fd, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
    if (fd == -ENOENT) {
        fd = root_make(job, path, true, err);
        if (fd < 0)
            return fd;
        (void)close(fd);
        fd = fs_open_in_root(job->root_fd, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
    }
    if (fd == -ELOOP)
        return error_set(err, fd, "the image's %s is a link", path);
    return fd < 0 ? error_errno(err, fd, "%s", path) : fd;
}

static int attach_plain(const struct launch_job *job, int mount_fd, const char *path,
                        struct error *err)
{
    if (mount_fd < 0)
        return error_prefix(err, mount_fd, "%s", path);
    _cleanup_close_ int target = open_plain(job, path, err);
    return target < 0 ? target : mount_attach(mount_fd, target, path, err);
}

/* A tmpfs with a directory for each hierarchy, each the container's own group. */
static int mount_cgroup_v1(const struct launch_job *job, struct error *err)
{
    static const char *const options[][2] = {{"mode", "0755"}, {NULL, NULL}};
    _cleanup_close_ int base = mount_new("tmpfs", options, QUIET, err);
    int r = attach_plain(job, base, "/sys/fs/cgroup", err);
    for (size_t i = 0; r == 0 && job->cgroup_view && job->cgroup_view[i]; i++) {
        const char *equals = strchr(job->cgroup_view[i], '=');
        if (!equals)
            return error_set(err, -EINVAL, "cgroup %s", job->cgroup_view[i]);
        _cleanup_free_ char *name =
            str_ndup(job->cgroup_view[i], (size_t)(equals - job->cgroup_view[i]));
        _cleanup_close_ int view = mount_clone(AT_FDCWD, equals + 1, false, err);
        if (view < 0)
            return view;
        struct mount_attr attr = {.attr_set =
                                      QUIET | (job->spec.privileged ? 0 : MOUNT_ATTR_RDONLY)};
        if (mount_setattr(view, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ||
            mkdirat(base, name, 0755) < 0 ||
            move_mount(view, "", base, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
            r = error_errno(err, -errno, "mount /sys/fs/cgroup/%s", name);
    }
    return r < 0 || job->spec.privileged ? r : mount_set_readonly(base, false, err);
}

static int mount_cgroup(const struct launch_job *job, struct error *err)
{
    if (!job->cgroup_v2)
        return job->cgroup_view ? mount_cgroup_v1(job, err) : 0;
    unsigned readonly = job->spec.privileged ? 0 : MOUNT_ATTR_RDONLY;
    _cleanup_close_ int fd = mount_new("cgroup2", NULL, QUIET | readonly, err);
    return attach_plain(job, fd, "/sys/fs/cgroup", err);
}

int sys_make(struct launch_job *job, struct error *err)
{
    _cleanup_close_ int proc = mount_new("proc", NULL, QUIET, err);
    int r = attach_plain(job, proc, "/proc", err);
    if (r < 0)
        return r;
    unsigned readonly = job->spec.privileged ? 0 : MOUNT_ATTR_RDONLY;
    _cleanup_close_ int sys = mount_new("sysfs", NULL, QUIET | readonly, err);
    r = attach_plain(job, sys, "/sys", err);
    return r < 0 ? r : mount_cgroup(job, err);
}

/* Hides a file behind /dev/null, a directory behind an empty one. *empty: a mounted empty directory
 * to copy, -1 at first. */
static int mask(const struct launch_job *job, const char *path, int *empty, struct error *err)
{
    static const char *const options[][2] = {
        {"mode", "0755"}, {"nr_inodes", "1"}, {"size", "4k"}, {NULL, NULL}};
    _cleanup_close_ int target = root_open(job, path, O_PATH);
    if (target == -ENOENT || target == -ENOTDIR)
        return 0;
    struct stat st;
    if (target < 0 || fstat(target, &st) < 0)
        return error_errno(err, target < 0 ? target : -errno, "mask %s", path);
    _cleanup_close_ int cover = -1;
    if (!S_ISDIR(st.st_mode))
        cover = mount_clone(job->dev_fd, "null", false, err);
    else if (*empty >= 0)
        cover = mount_clone(*empty, "", false, err);
    else
        cover = mount_new("tmpfs", options, QUIET | MOUNT_ATTR_RDONLY, err);
    if (cover < 0)
        return error_prefix(err, cover, "mask %s", path);
    int r = mount_attach(cover, target, path, err);
    if (r == 0 && S_ISDIR(st.st_mode) && *empty < 0)
        *empty = TAKE_FD(cover); /* attached: it can be copied from here on */
    return r;
}

static int make_readonly(const struct launch_job *job, const char *path, struct error *err)
{
    _cleanup_close_ int target = root_open(job, path, O_PATH);
    if (target == -ENOENT || target == -ENOTDIR)
        return 0;
    if (target < 0)
        return error_errno(err, target, "read-only %s", path);
    _cleanup_close_ int tree = mount_clone(target, "", true, err);
    int r = tree < 0 ? tree : mount_set_readonly(tree, true, err);
    if (r == 0)
        r = mount_attach(tree, target, path, err);
    return r < 0 ? error_prefix(err, r, "read-only %s", path) : 0;
}

int paths_protect(struct launch_job *job, struct error *err)
{
    _cleanup_close_ int empty = -1;
    const struct launch_spec *s = &job->spec;
    int r = 0;
    for (size_t i = 0; r == 0 && s->readonly_paths && s->readonly_paths[i]; i++)
        r = make_readonly(job, s->readonly_paths[i], err);
    for (size_t i = 0; r == 0 && s->masked_paths && s->masked_paths[i]; i++)
        r = mask(job, s->masked_paths[i], &empty, err);
    return r;
}
