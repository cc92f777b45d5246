/*
 * Mounts as descriptors (fsopen, open_tree, move_mount): a mount is made detached, given its
 * attributes while nobody can see it, and attached to a target that was opened inside the
 * container's root beforehand. No path is resolved twice, so that a link changed meanwhile by
 * another container that shares a volume leads nowhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "cri/launch/launch.h"

#define MOUNTINFO_MAX (64U << 20)

int mount_new(const char *type, const char *const options[][2], unsigned attributes,
              struct error *err)
{
    _cleanup_close_ int fs = fsopen(type, FSOPEN_CLOEXEC);
    if (fs < 0)
        return error_errno(err, -errno, "mount %s", type);
    for (size_t i = 0; options && options[i][0]; i++) {
        const char *value = options[i][1];
        if (fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, options[i][0], value, 0) <
            0)
            return error_errno(err, -errno, "mount %s: option %s", type, options[i][0]);
    }
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return error_errno(err, -errno, "mount %s", type);
    int fd = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
    return fd < 0 ? error_errno(err, -errno, "mount %s", type) : fd;
}

int mount_clone(int dirfd, const char *path, bool recursive, struct error *err)
{
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) |
                     (path[0] ? 0 : AT_EMPTY_PATH);
    int fd = open_tree(dirfd, path, flags);
    return fd < 0 ? error_errno(err, -errno, "bind %s", path[0] ? path : "a mount") : fd;
}

int mount_attach(int mount_fd, int target_fd, const char *what, struct error *err)
{
    if (move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
        0)
        return error_errno(err, -errno, "attach the mount of %s", what);
    return 0;
}

int mount_set_readonly(int mount_fd, bool recursive, struct error *err)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    if (mount_setattr(mount_fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr,
                      sizeof(attr)) < 0)
        return error_errno(err, -errno, "make a mount read-only");
    return 0;
}

int mountinfo_read(const char *path, struct mountinfo *ret, struct error *err)
{
    struct statx st;
    *ret = (struct mountinfo){.text = STRBUF_INIT, .options = "", .type = "?"};
    if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &st) < 0)
        return error_errno(err, -errno, "%s", path);
    int r = fs_read("/proc/self/mountinfo", MOUNTINFO_MAX, &ret->text, err);
    if (r < 0)
        return r;
    char *save = NULL;
    for (char *line = ret->text.len ? strtok_r(ret->text.data, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        char *tail = strstr(line, " - ");
        if (strtoull(line, NULL, 10) != st.stx_mnt_id || !tail)
            continue;
        *tail = '\0';
        ret->options = line;
        ret->type = tail + 3;
        tail[3 + strcspn(tail + 3, " ")] = '\0';
        return 0;
    }
    return error_set(err, -ENOENT, "%s is not on a mount that we can see", path);
}

void mountinfo_done(struct mountinfo *info)
{
    strbuf_done(&info->text);
}

/* Why the kernel would not map ids on the mount of @path. */
static int explain_idmap(int code, const char *path, struct error *err)
{
    _cleanup_(mountinfo_done) struct mountinfo info;
    struct utsname kernel;
    if (code == -EINVAL && mountinfo_read(path, &info, NULL) == 0 && uname(&kernel) == 0)
        return error_set(
            err, -ENOTSUP, "%s is on a %s file system, on which Linux %s cannot map ids%s", path,
            info.type, kernel.release, str_eq(info.type, "tmpfs") ? " (from 6.3 on it can)" : "");
    return error_errno(err, code, "map the ids of %s", path);
}

int mount_idmap(int mount_fd, const char *path, struct error *err)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = LAUNCH_FD_USERNS};
    if (mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
        return explain_idmap(-errno, path, err);
    return 0;
}

int root_open(const struct launch_job *job, const char *path, int flags)
{
    return fs_open_in_root(job->root_fd, path, flags, 0, RESOLVE_NO_MAGICLINKS);
}

#define LINKS_MAX 40

/* Replaces the first @upto bytes of @path, which name a dangling link, by what the link says. */
static int follow(const struct launch_job *job, int parent, const char *name, size_t parent_len,
                  size_t upto, char **path)
{
    char target[LAUNCH_PATH_MAX + 1];
    (void)job;
    ssize_t n = readlinkat(parent, name, target, sizeof(target));
    if (n <= 0 || n >= (ssize_t)sizeof(target))
        return n < 0 ? -errno : -ENAMETOOLONG;
    target[n] = '\0';
    char *next = target[0] == '/'
                     ? str_printf("%s%s", target, *path + upto)
                     : str_printf("%.*s/%s%s", (int)parent_len, *path, target, *path + upto);
    free(*path);
    *path = next;
    return strlen(next) > LAUNCH_PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Makes one missing component; 1 when the name is a dangling link, which is then followed. */
static int make_component(const struct launch_job *job, char **path, size_t start, size_t end,
                          bool directory, int parent)
{
    _cleanup_free_ char *name = str_ndup(*path + start, end - start);
    int r = 0;
    if (directory) {
        r = mkdirat(parent, name, 0755);
    } else {
        int fd = openat(parent, name, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        r = fd < 0 ? -1 : close(fd);
    }
    if (r == 0 && (job->owner_uid || job->owner_gid))
        r = fchownat(parent, name, job->owner_uid, job->owner_gid, AT_SYMLINK_NOFOLLOW);
    if (r == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISLNK(st.st_mode))
        return 0; /* another container was faster */
    r = follow(job, parent, name, start ? start - 1 : 0, end, path);
    return r < 0 ? r : 1;
}

/* One pass from the root down; 1 when a link changed the path and the walk begins anew. */
static int walk(const struct launch_job *job, char **path, bool directory)
{
    _cleanup_close_ int parent = root_open(job, "/", O_PATH | O_DIRECTORY);
    size_t start = 0;
    while (parent >= 0) {
        start += strspn(*path + start, "/");
        size_t end = start + strcspn(*path + start, "/");
        bool last = (*path)[end + strspn(*path + end, "/")] == '\0';
        if (end == start)
            return 0;
        _cleanup_free_ char *prefix = str_ndup(*path, end);
        int fd = root_open(job, prefix, last ? O_PATH : O_PATH | O_DIRECTORY);
        if (fd == -ENOENT) {
            int r = make_component(job, path, start, end, !last || directory, parent);
            if (r != 0)
                return r;
            fd = root_open(job, prefix, last ? O_PATH : O_PATH | O_DIRECTORY);
        }
        if (fd < 0)
            return fd;
        (void)close(parent);
        parent = fd;
        start = end;
    }
    return parent;
}

int root_make(const struct launch_job *job, const char *path, bool directory, struct error *err)
{
    int fd = root_open(job, path, O_PATH);
    if (fd == -ENOENT) {
        _cleanup_free_ char *p = str_dup(path);
        int r = 1;
        for (int links = 0; r == 1 && links < LINKS_MAX; links++)
            r = walk(job, &p, directory);
        if (r != 0)
            return error_errno(err, r == 1 ? -ELOOP : r, "make mount point %s", path);
        fd = root_open(job, p, O_PATH);
    }
    if (fd < 0)
        return error_errno(err, fd, "mount point %s", path);
    struct stat st;
    if (fstat(fd, &st) == 0 && directory != (S_ISDIR(st.st_mode) != 0)) {
        (void)close(fd);
        return error_set(err, -ENOTDIR, "mount point %s: %s", path,
                         directory ? "the source is a directory, the target is not"
                                   : "the source is a file, the target is a directory");
    }
    return fd;
}
