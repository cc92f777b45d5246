/*
 * subPath: a part of a volume, resolved inside it. The volume's content belongs to containers,
 * which may swap a directory for a link at any moment; therefore the path is opened with
 * openat2(RESOLVE_BENEATH) and what was opened, not its name, is bound.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "kubelet/volume/volume.h"

static int open_beneath(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)flags | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
    return fd < 0 ? -errno : (int)fd;
}

/* A directory of exactly this mode. It is set through a descriptor: the name may be a link by then.
 */
static int make_directory(int parent, const char *name, mode_t mode)
{
    char link[64];
    if (mkdirat(parent, name, 0700) < 0)
        return errno == EEXIST ? 0 : -errno;
    _cleanup_close_ int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    return chmod(link, mode) < 0 ? -errno : 0;
}

/* Makes the missing directories of @sub, one component at a time, each through the descriptor of
 * its parent and with the mode of the volume itself. Returns a descriptor of the last. */
static int make_beneath(int root, const char *sub, struct error *err)
{
    _cleanup_free_ char *path = str_dup(sub);
    _cleanup_close_ int dir = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (dir < 0 || fstat(dir, &st) < 0)
        return error_errno(err, -errno, "cannot open the volume");
    for (char *save = NULL, *part = strtok_r(path, "/", &save); part;
         part = strtok_r(NULL, "/", &save)) {
        _cleanup_free_ char *so_far = str_ndup(sub, (size_t)(part - path) + strlen(part));
        int next = open_beneath(root, so_far, O_PATH | O_DIRECTORY);
        if (next == -ENOENT) {
            int code = make_directory(dir, part, st.st_mode & 07777);
            if (code < 0)
                return error_errno(err, code, "cannot make %.100s", so_far);
            next = open_beneath(root, so_far, O_PATH | O_DIRECTORY);
        }
        if (next < 0)
            return error_errno(err, next, "cannot open %.100s", so_far);
        (void)close(dir);
        dir = next;
    }
    return TAKE_FD(dir);
}

static int make_target(const char *target, bool is_dir, struct error *err)
{
    _cleanup_free_ char *parent = str_dup(target);
    *strrchr(parent, '/') = 0;
    int code = fs_mkdirs(is_dir ? target : parent, 0750, err);
    if (code < 0 || is_dir)
        return code;
    _cleanup_close_ int fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0640);
    return fd < 0 ? error_errno(err, -errno, "cannot make %s", target) : 0;
}

int subpath_bind(const char *volume_path, const char *sub, const char *target, struct error *err)
{
    _cleanup_close_ int root = open(volume_path, O_PATH | O_CLOEXEC);
    if (root < 0)
        return error_errno(err, -errno, "cannot open %s", volume_path);
    _cleanup_close_ int fd = open_beneath(root, sub, O_PATH);
    if (fd == -ENOENT)
        fd = make_beneath(root, sub, err);
    else if (fd < 0)
        (void)error_errno(err, fd, "cannot open it inside the volume");
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return fd < 0 ? fd : error_errno(err, -errno, "cannot look at it");
    if (is_mount_point(target) && umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
        return error_errno(err, -errno, "cannot unmount %s", target);
    int code = make_target(target, S_ISDIR(st.st_mode), err);
    char source[64];
    (void)snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
    /* Not recursive and private: unmounting ours must never reach what is mounted in the source. */
    if (!code && mount(source, target, NULL, MS_BIND, NULL) < 0)
        code = error_errno(err, -errno, "cannot bind it on %s", target);
    if (!code && mount(NULL, target, NULL, MS_PRIVATE, NULL) < 0)
        code = error_errno(err, -errno, "cannot make %s private", target);
    return code;
}

bool is_mount_point(const char *path)
{
    struct statx st;
    return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0,
                 &st) == 0 &&
           (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}
