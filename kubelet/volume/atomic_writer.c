/*
 * A directory whose content changes all at once. Layout:
 *
 *   <dir>/..2026_01_02_03_04_05.123456789/a/b   the files
 *   <dir>/..data → ..2026_01_02_03_04_05.123456789
 *   <dir>/a → ..data/a                           one link per first path component
 *
 * Order of an update: new directory, "..data_tmp" renamed over "..data", links for new names,
 * links of names that are gone, old directory. A crash at any point leaves a readable state, and
 * the next call finishes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/volume/volume.h"

#define FILE_MAX (16u << 20)

static bool same_file(int dirfd, const struct payload_file *f, int64_t gid)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    struct stat st;
    mode_t mode = f->mode | (gid >= 0 ? 0440 : 0);
    if (fstatat(dirfd, f->path, &st, AT_SYMLINK_NOFOLLOW) < 0 || (st.st_mode & 07777) != mode ||
        (f->uid >= 0 && st.st_uid != (uid_t)f->uid) || (gid >= 0 && st.st_gid != (gid_t)gid))
        return false;
    return !fs_read_at(dirfd, f->path, FILE_MAX, &text, NULL) && text.len == f->len &&
           (!f->len || !memcmp(text.data, f->data, f->len));
}

/* Counts files below @fd, up to @max + 1. Depth is bounded by what we wrote. */
static size_t count_files(int fd, size_t max) // NOLINT(misc-no-recursion)
{
    size_t n = 0;
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    for (const struct dirent *e; d && n <= max && (e = readdir(d));) {
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
            continue;
        _cleanup_close_ int sub =
            openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        n += sub < 0 ? 1 : count_files(sub, max - n);
    }
    if (d)
        (void)closedir(d);
    return n;
}

static bool unchanged(int dirfd, const struct payload_file *files, size_t n, int64_t gid)
{
    _cleanup_close_ int data = openat(dirfd, "..data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (data < 0 || count_files(data, n) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!same_file(data, &files[i], gid))
            return false;
    return true;
}

static int write_file(int dirfd, const struct payload_file *f, int64_t gid, struct error *err)
{
    _cleanup_free_ char *path = str_dup(f->path);
    for (char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
        *p = 0;
        if (*path && mkdirat(dirfd, path, 0755) < 0 && errno != EEXIST)
            return error_errno(err, -errno, "cannot make %s", path);
        *p = '/';
    }
    _cleanup_close_ int fd =
        openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_errno(err, -errno, "cannot make %s", path);
    for (size_t done = 0; done < f->len;) {
        ssize_t w = write(fd, (const char *)f->data + done, f->len - done);
        if (w < 0)
            return error_errno(err, -errno, "cannot write %s", path);
        done += (size_t)w;
    }
    if ((gid >= 0 || f->uid >= 0) && fchown(fd, (uid_t)f->uid, (gid_t)gid) < 0)
        return error_errno(err, -errno, "cannot give %s to its owner", path);
    if (fchmod(fd, f->mode | (gid >= 0 ? 0440 : 0)) < 0)
        return error_errno(err, -errno, "cannot set the mode of %s", path);
    return 0;
}

static char *first_component(const char *path)
{
    return str_ndup(path, strcspn(path, "/"));
}

static bool has_component(const struct payload_file *files, size_t n, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (!strncmp(files[i].path, name, len) &&
            (!files[i].path[len] || files[i].path[len] == '/'))
            return true;
    return false;
}

static int replace_link(int dirfd, const char *target, const char *name, struct error *err)
{
    char now[PATH_MAX];
    ssize_t len = readlinkat(dirfd, name, now, sizeof(now) - 1);
    if (len >= 0) {
        now[len] = 0;
        if (str_eq(now, target))
            return 0;
    }
    (void)unlinkat(dirfd, "..data_tmp", 0);
    if (symlinkat(target, dirfd, "..data_tmp") < 0 ||
        renameat(dirfd, "..data_tmp", dirfd, name) < 0)
        return error_errno(err, -errno, "cannot link %s", name);
    return 0;
}

/* Removes old directories and the links of names that are gone. */
static void sweep(const char *dir, int dirfd, const char *keep, const struct payload_file *files,
                  size_t n)
{
    int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    for (const struct dirent *e; d && (e = readdir(d));) {
        const char *name = e->d_name;
        if (str_eq(name, ".") || str_eq(name, "..") || str_eq(name, "..data") || str_eq(name, keep))
            continue;
        if (str_starts(name, "..")) {
            _cleanup_free_ char *old = fs_join(dir, name);
            (void)fs_remove_tree(old, NULL);
        } else if (!has_component(files, n, name)) {
            (void)unlinkat(dirfd, name, 0);
        }
    }
    if (d)
        (void)closedir(d);
}

static int fill(int dirfd, const char *name, const struct payload_file *files, size_t n,
                int64_t gid, struct error *err)
{
    if (mkdirat(dirfd, name, 0755) < 0)
        return error_errno(err, -errno, "cannot make %s", name);
    _cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, -errno, "cannot open %s", name);
    int code = 0;
    for (size_t i = 0; !code && i < n; i++)
        code = write_file(fd, &files[i], gid, err);
    return code;
}

int atomic_write(const char *dir, const struct payload_file *files, size_t n, int64_t gid,
                 struct error *err)
{
    _cleanup_close_ int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        return error_errno(err, -errno, "cannot open %s", dir);
    if (unchanged(dirfd, files, n, gid))
        return 0;
    char name[64], stamp[32];
    int64_t now = time_now_nano();
    time_t seconds = (time_t)(now / 1000000000);
    struct tm tm;
    (void)strftime(stamp, sizeof(stamp), "%Y_%m_%d_%H_%M_%S", gmtime_r(&seconds, &tm));
    (void)snprintf(name, sizeof(name), "..%s.%09lld", stamp, (long long)(now % 1000000000));
    int code = fill(dirfd, name, files, n, gid, err);
    if (!code)
        code = replace_link(dirfd, name, "..data", err);
    if (code < 0) {
        _cleanup_free_ char *half = fs_join(dir, name);
        (void)fs_remove_tree(half, NULL);
        return code;
    }
    for (size_t i = 0; !code && i < n; i++) {
        _cleanup_free_ char *first = first_component(files[i].path);
        _cleanup_free_ char *target = str_printf("..data/%s", first);
        code = replace_link(dirfd, target, first, err);
    }
    sweep(dir, dirfd, name, files, n);
    return code;
}
