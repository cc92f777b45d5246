/* /dev: a small tmpfs with the standard devices, terminals, shared memory and message queues. */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fs.h"
#include "cri/launch/launch.h"

static const struct {
    const char *name;
    unsigned major, minor;
} standard[] = {
    {"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
    {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static const char *const links[][2] = {
    {"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
    {"/proc/self/fd/2", "stderr"}, {"/proc/kcore", "core"},      {"pts/ptmx", "ptmx"},
};

/* The container's root owns what is in its /dev. */
static int own(const struct launch_job *job, const char *name, struct error *err)
{
    if ((job->owner_uid || job->owner_gid) &&
        fchownat(job->dev_fd, name, job->owner_uid, job->owner_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, -errno, "own /dev/%s", name);
    return 0;
}

static int make_standard(const struct launch_job *job, struct error *err)
{
    int dev = job->dev_fd, r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(standard); i++) {
        if (mknodat(dev, standard[i].name, S_IFCHR | 0666,
                    makedev(standard[i].major, standard[i].minor)) < 0)
            return error_errno(err, -errno, "make /dev/%s", standard[i].name);
        r = own(job, standard[i].name, err);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(links); i++) {
        if (symlinkat(links[i][0], dev, links[i][1]) < 0)
            return error_errno(err, -errno, "make /dev/%s", links[i][1]);
        r = own(job, links[i][1], err);
    }
    static const char *const dirs[] = {"pts", "shm", "mqueue"};
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(dirs); i++) {
        if (mkdirat(dev, dirs[i], 0755) < 0)
            return error_errno(err, -errno, "make /dev/%s", dirs[i]);
        r = own(job, dirs[i], err);
    }
    return r;
}

/* One device node that was asked for, wherever it is to be. */
static int make_device(const struct launch_job *job, const struct launch_device *d,
                       struct error *err)
{
    _cleanup_free_ char *dir = str_dup(d->path);
    char *slash = strrchr(dir, '/');
    const char *name = slash + 1;
    *slash = '\0';
    if (!*name || str_eq(name, ".") || str_eq(name, ".."))
        return error_set(err, -EINVAL, "device path %s", d->path);
    _cleanup_close_ int parent = root_make(job, slash == dir ? "/" : dir, true, err);
    if (parent < 0)
        return error_prefix(err, parent, "device %s", d->path);
    mode_t type = d->type == 'b' ? S_IFBLK : S_IFCHR;
    if (mknodat(parent, name, type | d->mode, makedev(d->major, d->minor)) < 0) {
        if (errno == EEXIST)
            return 0; /* one of the standard ones, or given twice */
        return error_errno(err, -errno, "make device %s", d->path);
    }
    if (fchownat(parent, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, -errno, "own device %s", d->path);
    return 0;
}

/* Privileged containers see the host's devices: the nodes below the host's /dev, not its mounts. */
static int copy_host_devices(int from, int to, int depth, struct error *err)
{
    DIR *d = fdopendir(from);
    if (!d) {
        (void)close(from);
        return error_errno(err, -errno, "read /dev");
    }
    int r = 0;
    struct dirent *e;
    while (r == 0 && (e = readdir(d))) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
            if (mknodat(to, e->d_name, st.st_mode, st.st_rdev) < 0)
                r = errno == EEXIST ? 0 : error_errno(err, -errno, "make /dev/%s", e->d_name);
            else if (fchownat(to, e->d_name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
                r = error_errno(err, -errno, "own /dev/%s", e->d_name);
        } else if (S_ISDIR(st.st_mode) && depth < 4) {
            int sub = fs_open_in_root(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
                                      RESOLVE_NO_XDEV);
            if (sub < 0)
                continue; /* a mount: devpts, shm, … */
            if (mkdirat(to, e->d_name, 0755) < 0 && errno != EEXIST)
                r = error_errno(err, -errno, "make /dev/%s", e->d_name);
            _cleanup_close_ int sub_to =
                openat(to, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (sub_to < 0)
                (void)close(sub);
            else
                r = copy_host_devices(sub, sub_to, depth + 1, err);
        }
    }
    (void)closedir(d);
    return r;
}

static int attach_at(int mount_fd, int dirfd, const char *name, struct error *err)
{
    if (mount_fd < 0)
        return mount_fd;
    if (move_mount(mount_fd, "", dirfd, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_errno(err, -errno, "mount /dev/%s", name);
    return 0;
}

int dev_fill(struct launch_job *job, struct error *err)
{
    static const char *const pts[][2] = {
        {"newinstance", NULL}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}, {NULL, NULL}};
    static const char *const shm[][2] = {{"mode", "1777"}, {"size", "64m"}, {NULL, NULL}};
    const unsigned quiet = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
    job->pts_fd = mount_new("devpts", pts, quiet, err);
    int r = attach_at(job->pts_fd, job->dev_fd, "pts", err);
    if (r < 0)
        return r;
    _cleanup_close_ int mqueue = mount_new("mqueue", NULL, quiet | MOUNT_ATTR_NODEV, err);
    if (mqueue == -ENODEV)
        report_note("/dev/mqueue: not in this kernel");
    else if ((r = attach_at(mqueue, job->dev_fd, "mqueue", err)) < 0)
        return r;
    if (job->shm_fd < 0)
        job->shm_fd = mount_new("tmpfs", shm, quiet | MOUNT_ATTR_NODEV, err);
    return attach_at(job->shm_fd, job->dev_fd, "shm", err);
}

int dev_make(struct launch_job *job, struct error *err)
{
    static const char *const options[][2] = {{"mode", "0755"}, {"size", "64m"}, {NULL, NULL}};
    job->dev_fd = mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME, err);
    if (job->dev_fd < 0)
        return error_prefix(err, job->dev_fd, "/dev");
    int r = own(job, ".", err);
    if (r == 0)
        r = make_standard(job, err);
    if (r < 0)
        return r;
    _cleanup_close_ int target = root_make(job, "/dev", true, err);
    if (target < 0)
        return target;
    r = mount_attach(job->dev_fd, target, "/dev", err);
    if (r == 0 && job->spec.privileged) {
        int host = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = host < 0 ? error_errno(err, -errno, "/dev")
                     : copy_host_devices(host, job->dev_fd, 0, err);
    }
    for (size_t i = 0; r == 0 && i < job->spec.n_devices; i++)
        r = make_device(job, &job->spec.devices[i], err);
    return r;
}
