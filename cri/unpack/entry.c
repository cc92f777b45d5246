/* Making one object of a layer: file, directory, link, device, with its attributes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "cri/unpack/layer_private.h"

/* ---- removing ---- */

static int remove_below(int dirfd, const char *base, unsigned depth)
{
    if (unlinkat(dirfd, base, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (depth > LAYER_DEPTH_MAX)
        return -ELOOP;
    int fd = openat(dirfd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *d = fdopendir(fd);
    if (!d) {
        int code = -errno;
        (void)close(fd);
        return code;
    }
    int r = 0;
    struct dirent *e;
    while (!r && (e = readdir(d)))
        if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
            r = remove_below(fd, e->d_name, depth + 1);
    (void)closedir(d);
    return r ? r : (unlinkat(dirfd, base, AT_REMOVEDIR) < 0 ? -errno : 0);
}

int entry_remove(struct layer *l, int dirfd, const char *base, const char *path, struct error *err)
{
    struct stat st;
    if (fstatat(dirfd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : entry_error(err, -errno, path, "cannot be looked at");
    /* A directory or a link may be on the way to the directory that is kept open; the one in which
     * we work is not affected. */
    if (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode))
        l->parent[0] = '/', l->parent[1] = '\0'; /* no clean path: never found again */
    int r = remove_below(dirfd, base, 0);
    return r ? entry_error(err, r, path, "cannot be replaced") : 0;
}

/* ---- attributes ---- */

/* What an image may bring: user attributes, file capabilities, ACLs. The trusted namespace and
 * overlayfs' own names would change how the layer is stacked. */
static bool xattr_wanted(const char *name)
{
    if (str_starts(name, "user."))
        return !str_starts(name, "user.overlay.");
    return str_eq(name, "security.capability") || str_eq(name, "system.posix_acl_access") ||
           str_eq(name, "system.posix_acl_default");
}

/* @fd is the object, or -1 for one named @base in the current directory (a link, a device). */
static int set_xattrs(struct layer *l, struct archive_entry *entry, int fd, const char *base,
                      const char *path, struct error *err)
{
    const char *name;
    const void *value;
    size_t size, total = 0;
    int count = archive_entry_xattr_reset(entry);
    if (count > LAYER_XATTRS_MAX)
        return error_set(err, -E2BIG, "\"%.400s\": %d extended attributes (at most %d)", path,
                         count, LAYER_XATTRS_MAX);
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
        total += size;
        if (total > LAYER_XATTR_BYTES_MAX)
            return error_set(err, -E2BIG, "\"%.400s\": over %d bytes of extended attributes", path,
                             LAYER_XATTR_BYTES_MAX);
        if (!name || !xattr_wanted(name)) {
            l->result.ignored++;
            continue;
        }
        int r =
            fd >= 0 ? fsetxattr(fd, name, value, size, 0) : lsetxattr(base, name, value, size, 0);
        if (r == 0)
            continue;
        /* Not every file system has every namespace, and a link can have none of them. */
        if (errno != ENOTSUP && errno != EPERM)
            return error_errno(err, -errno, "\"%.400s\": extended attribute %.200s", path, name);
        if (str_eq(name, "security.capability"))
            return error_errno(err, -errno, "\"%.400s\": file capabilities", path);
        l->result.ignored++;
    }
    return 0;
}

static int owner(struct archive_entry *entry, uid_t *uid, gid_t *gid)
{
    la_int64_t u = archive_entry_uid(entry), g = archive_entry_gid(entry);
    if (u < 0 || u >= UINT32_MAX || g < 0 || g >= UINT32_MAX)
        return -EINVAL;
    *uid = (uid_t)u;
    *gid = (gid_t)g;
    return 0;
}

static struct timespec mtime_of(struct archive_entry *entry)
{
    struct timespec t = {.tv_sec = archive_entry_mtime(entry),
                         .tv_nsec = archive_entry_mtime_nsec(entry)};
    if (t.tv_nsec < 0 || t.tv_nsec > 999999999)
        t.tv_nsec = 0;
    return t;
}

/* Owner first: a change of owner clears setuid bits and file capabilities. */
static int set_attributes_fd(struct layer *l, struct archive_entry *entry, int fd, const char *path,
                             struct error *err)
{
    uid_t uid;
    gid_t gid;
    if (owner(entry, &uid, &gid))
        return error_set(err, -EINVAL, "\"%.400s\": owner out of range", path);
    if (fchown(fd, uid, gid) < 0)
        return entry_error(err, -errno, path, "cannot set the owner");
    if (fchmod(fd, archive_entry_perm(entry) & 07777) < 0)
        return entry_error(err, -errno, path, "cannot set the mode");
    return set_xattrs(l, entry, fd, NULL, path, err);
}

static int set_attributes_at(struct layer *l, struct archive_entry *entry, int dirfd,
                             const char *base, const char *path, struct error *err)
{
    uid_t uid;
    gid_t gid;
    if (owner(entry, &uid, &gid))
        return error_set(err, -EINVAL, "\"%.400s\": owner out of range", path);
    if (fchownat(dirfd, base, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return entry_error(err, -errno, path, "cannot set the owner");
    if (archive_entry_filetype(entry) != AE_IFLNK &&
        fchmodat(dirfd, base, archive_entry_perm(entry) & 07777, 0) < 0)
        return entry_error(err, -errno, path, "cannot set the mode");
    if (fchdir(dirfd) < 0)
        return entry_error(err, -errno, path, "cannot enter its directory");
    int r = set_xattrs(l, entry, -1, base, path, err);
    if (r)
        return r;
    struct timespec t[2] = {mtime_of(entry), mtime_of(entry)};
    if (utimensat(dirfd, base, t, AT_SYMLINK_NOFOLLOW) < 0)
        return entry_error(err, -errno, path, "cannot set the time");
    return 0;
}

/* ---- the kinds ---- */

static int write_block(int fd, const char *data, size_t len, off_t at)
{
    while (len) {
        ssize_t n = pwrite(fd, data, len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
        at += n;
    }
    return 0;
}

static int write_data(struct layer *l, struct archive_entry *entry, int fd, const char *base,
                      const char *path, struct error *err)
{
    struct archive *tar = layer_stream_tar(l->stream);
    la_int64_t size = archive_entry_size(entry), end = 0;
    char buf[LAYER_PATH_MAX + 1];
    const char *real = size ? layer_real_path(l, base, buf) : NULL;
    for (;;) {
        const void *data;
        size_t len;
        la_int64_t at;
        int r = archive_read_data_block(tar, &data, &len, &at);
        if (r == ARCHIVE_EOF)
            break;
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
            return layer_stream_error(l->stream, err);
        if (at < end || at > size || (uint64_t)len > (uint64_t)(size - at))
            return error_set(err, -EINVAL, "\"%.400s\": data outside the file", path);
        if ((r = write_block(fd, data, len, (off_t)at)))
            return entry_error(err, r, path, "cannot be written");
        layer_stream_file(l->stream, data, len, real, (uint64_t)at);
        end = at + (la_int64_t)len;
        l->written += len;
        l->result.bytes += (uint64_t)len;
    }
    if (end < size && ftruncate(fd, (off_t)size) < 0) /* a hole at the end */
        return entry_error(err, -errno, path, "cannot be written");
    l->result.bytes += (uint64_t)(-end & 4095); /* disks give whole blocks */
    return 0;
}

static int make_file(struct layer *l, struct archive_entry *entry, int dirfd, const char *base,
                     const char *path, struct error *err)
{
    if (archive_entry_size(entry) < 0)
        return error_set(err, -EINVAL, "\"%.400s\": a negative size", path);
    _cleanup_close_ int fd =
        openat(dirfd, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return entry_error(err, -errno, path, "cannot be made");
    int r = write_data(l, entry, fd, base, path, err);
    if (!r)
        r = set_attributes_fd(l, entry, fd, path, err);
    struct timespec t[2] = {mtime_of(entry), mtime_of(entry)};
    if (!r && futimens(fd, t) < 0)
        r = entry_error(err, -errno, path, "cannot set the time");
    return r;
}

/* An existing directory stays, with its children, and takes the entry's attributes. */
static int make_dir(struct layer *l, struct archive_entry *entry, int dirfd, const char *base,
                    const char *path, struct error *err)
{
    struct stat st;
    if (fstatat(dirfd, base, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
        int r = entry_remove(l, dirfd, base, path, err);
        if (r)
            return r;
        if (mkdirat(dirfd, base, 0700) < 0)
            return entry_error(err, -errno, path, "cannot be made");
    }
    _cleanup_close_ int fd = openat(dirfd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return entry_error(err, -errno, path, "cannot be opened");
    l->result.bytes += 4096;
    int r = set_attributes_fd(l, entry, fd, path, err);
    struct timespec t = mtime_of(entry);
    return r ? r : later_time(l, path, &t, err);
}

static int make_symlink(struct archive_entry *entry, int dirfd, const char *base, const char *path,
                        struct error *err)
{
    const char *to = archive_entry_symlink(entry);
    if (!to || !*to || strlen(to) > LAYER_PATH_MAX)
        return error_set(err, -EINVAL, "\"%.400s\": a link without a target, or a longer one",
                         path);
    return symlinkat(to, dirfd, base) < 0 ? entry_error(err, -errno, path, "cannot be made") : 0;
}

static int make_hard_link(struct layer *l, struct archive_entry *entry, int dirfd, const char *base,
                          const char *path, struct error *err)
{
    const char *to = archive_entry_hardlink(entry);
    char target[LAYER_PATH_MAX + 1], dir[LAYER_PATH_MAX + 1];
    if (!to || !layer_path_clean(to, target) || !*target)
        return error_set(err, -EINVAL, "\"%.400s\": a hard link that leaves the layer", path);
    if (str_eq(target, path))
        return 0;
    const char *target_base = path_split(target, dir);
    _cleanup_close_ int target_dir = layer_open_dir(l, dir, false, err);
    if (target_dir == -ENOENT)
        return error_set(err, -ENOENT, "\"%.400s\": a hard link to \"%.300s\", which is not there",
                         path, target);
    if (target_dir < 0)
        return target_dir;
    struct stat st, there;
    if (fstatat(target_dir, target_base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, -errno, "\"%.400s\": a hard link to \"%.300s\"", path, target);
    if (S_ISDIR(st.st_mode))
        return error_set(err, -EINVAL, "\"%.400s\": a hard link to a directory", path);
    if (fstatat(dirfd, base, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_ino == st.st_ino &&
        there.st_dev == st.st_dev)
        return 0;
    bool copied = l->target->has_parents &&
                  fstatat(l->target->upper_fd, target, &there, AT_SYMLINK_NOFOLLOW) < 0;
    int r = entry_remove(l, dirfd, base, path, err);
    if (r)
        return r;
    if (linkat(target_dir, target_base, dirfd, base, 0) < 0)
        return error_errno(err, -errno, "\"%.400s\": a hard link to \"%.300s\"", path, target);
    if (!copied)
        return 0;
    l->result.bytes += ((uint64_t)st.st_size + 4095) & ~(uint64_t)4095;
    return later_copied(l, target, err);
}

static int make_special(struct layer *l, struct archive_entry *entry, int dirfd, const char *base,
                        const char *path, bool *ret_made, struct error *err)
{
    mode_t type = archive_entry_filetype(entry);
    dev_t dev = type == AE_IFIFO ? 0
                                 : makedev((unsigned)archive_entry_rdevmajor(entry),
                                           (unsigned)archive_entry_rdevminor(entry));
    *ret_made = !(type == AE_IFCHR && dev == 0); /* overlayfs' whiteout is not for images to make */
    if (!*ret_made) {
        l->result.ignored++;
        return 0;
    }
    return mknodat(dirfd, base, type | 0600, dev) < 0
               ? entry_error(err, -errno, path, "cannot be made")
               : 0;
}

static int make_root(struct layer *l, struct archive_entry *entry, struct error *err)
{
    if (archive_entry_filetype(entry) != AE_IFDIR)
        return error_set(err, -EINVAL, "the root of the layer is no directory");
    struct timespec t = mtime_of(entry);
    int r = set_attributes_fd(l, entry, l->target->root_fd, "/", err);
    return r ? r : later_time(l, "", &t, err);
}

int entry_make(struct layer *l, struct archive_entry *entry, const char *path, struct error *err)
{
    if (!*path)
        return make_root(l, entry, err);
    char dir[LAYER_PATH_MAX + 1];
    const char *base = path_split(path, dir);
    int dirfd = layer_parent(l, dir, err);
    if (dirfd < 0)
        return dirfd;
    l->result.inodes++;
    if (archive_entry_hardlink(entry))
        return make_hard_link(l, entry, dirfd, base, path, err);
    mode_t type = archive_entry_filetype(entry);
    if (type == AE_IFDIR)
        return make_dir(l, entry, dirfd, base, path, err);
    bool made = true;
    int r = entry_remove(l, dirfd, base, path, err);
    if (r)
        return r;
    switch (type) {
    case AE_IFREG:
        return make_file(l, entry, dirfd, base, path, err);
    case AE_IFLNK:
        r = make_symlink(entry, dirfd, base, path, err);
        break;
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFIFO:
        r = make_special(l, entry, dirfd, base, path, &made, err);
        break;
    default:
        return error_set(err, -EINVAL, "\"%.400s\": an unknown kind of entry", path);
    }
    return r || !made ? r : set_attributes_at(l, entry, dirfd, base, path, err);
}
