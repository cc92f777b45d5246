/* Files: bounded reads, atomic writes, trees; see fs.h. */
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int fs_read_at(int dirfd, const char *path, size_t limit, struct strbuf *out, struct error *err)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(err, -errno, "%s", path);
    size_t got = 0;
    for (;;) {
        char *to = strbuf_reserve(out, 4096);
        ssize_t n = read(fd, to, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int code = -errno;
            strbuf_terminate(out);
            return error_errno(err, code, "%s", path);
        }
        out->len += (size_t)n;
        strbuf_terminate(out);
        got += (size_t)n;
        if (got > limit)
            return error_set(err, -EFBIG, "%s: larger than %zu bytes", path, limit);
        if (n == 0)
            return 0;
    }
}

int fs_read(const char *path, size_t limit, struct strbuf *out, struct error *err)
{
    return fs_read_at(AT_FDCWD, path, limit, out, err);
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int sync_parent(const char *path)
{
    _cleanup_free_ char *dir = str_dup(path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = '\0';
    _cleanup_close_ int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode,
                    enum fs_durability durability, struct error *err)
{
    _cleanup_free_ char *tmp = str_printf("%s.tmp-XXXXXX", path);
    _cleanup_close_ int fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, -errno, "cannot write %s", path);
    int r = write_all(fd, data, len);
    if (!r && fchmod(fd, mode) < 0)
        r = -errno;
    if (!r && durability == FS_DURABLE && fsync(fd) < 0)
        r = -errno;
    if (!r && rename(tmp, path) < 0)
        r = -errno;
    if (r) {
        (void)unlink(tmp);
        return error_errno(err, r, "cannot write %s", path);
    }
    if (durability == FS_DURABLE && (r = sync_parent(path)) < 0)
        return error_errno(err, r, "cannot sync the directory of %s", path);
    return 0;
}

int fs_write_text(const char *path, const char *text, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, -errno, "%s", path);
    ssize_t n;
    do
        n = write(fd, text, strlen(text));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_errno(err, -errno, "cannot write \"%s\" to %s", text, path);
    return 0;
}

int fs_mkdirs(const char *path, mode_t mode, struct error *err)
{
    _cleanup_free_ char *p = str_dup(path);
    for (char *slash = p + 1;; slash++) {
        slash += strcspn(slash, "/");
        char c = *slash;
        *slash = '\0';
        struct stat st;
        if (mkdir(p, mode) < 0 && (errno != EEXIST || stat(p, &st) < 0 || !S_ISDIR(st.st_mode))) {
            int code = errno == EEXIST ? -ENOTDIR : -errno;
            return error_errno(err, code, "cannot make directory %s", p);
        }
        if (!c)
            return 0;
        *slash = c;
    }
}

static int remove_below(int dirfd, const char *name, const char *path, struct error *err);

static int remove_entries(int fd, const char *path, struct error *err)
{
    DIR *d = fdopendir(fd);
    if (!d) {
        int code = -errno;
        (void)close(fd);
        return error_errno(err, code, "%s", path);
    }
    int r = 0;
    struct dirent *e;
    while (!r && (e = readdir(d))) {
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
            continue;
        _cleanup_free_ char *below = fs_join(path, e->d_name);
        r = remove_below(dirfd(d), e->d_name, below, err);
    }
    (void)closedir(d);
    return r;
}

static int remove_below(int dirfd, const char *name, const char *path, struct error *err)
{
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return error_errno(err, -errno, "cannot remove %s", path);
    int fd = fs_open_in_root(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_NO_XDEV);
    if (fd == -EXDEV)
        return error_set(err, -EBUSY, "cannot remove %s: it is a mount point", path);
    if (fd < 0)
        return error_errno(err, fd, "cannot remove %s", path);
    int r = remove_entries(fd, path, err);
    if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        r = error_errno(err, -errno, "cannot remove %s", path);
    return r;
}

int fs_remove_tree(const char *path, struct error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : error_errno(err, -errno, "%s", path);
    if (!S_ISDIR(st.st_mode))
        return unlink(path) < 0 && errno != ENOENT
                   ? error_errno(err, -errno, "cannot remove %s", path)
                   : 0;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, -errno, "cannot remove %s", path);
    int r = remove_entries(fd, path, err);
    if (r == 0 && rmdir(path) < 0 && errno != ENOENT)
        r = error_errno(err, -errno, "cannot remove %s", path);
    return r;
}

bool fs_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

char *fs_join(const char *dir, const char *name)
{
    while (*name == '/')
        name++;
    return str_printf("%s%s%s", dir, str_ends(dir, "/") ? "" : "/", name);
}

int fs_open_in_root(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
                           .mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
                           .resolve = RESOLVE_IN_ROOT | resolve};
    /* A rename or mount anywhere in the system while ".." is resolved: the kernel asks to try
     * again. */
    int fd, tries = 1000;
    do
        fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
    while (fd < 0 && (errno == EAGAIN || errno == EINTR) && --tries);
    return fd < 0 ? -errno : fd;
}
