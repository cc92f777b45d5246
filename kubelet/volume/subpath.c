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

/* Makes the missing directories of @sub, one component at a time, each through the descriptor of
 * its parent. Returns a descriptor of the last. */
static int make_beneath(int root, const char *sub, struct error *err)
{
    _cleanup_free_ char *path = str_dup(sub);
    _cleanup_close_ int dir = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    size_t done = 0;
    for (char *save = NULL, *part = strtok_r(path, "/", &save); part;
         part = strtok_r(NULL, "/", &save), done++) {
        _cleanup_free_ char *so_far = str_ndup(sub, (size_t)(part - path) + strlen(part));
        int next = open_beneath(root, so_far, O_PATH | O_DIRECTORY);
        if (next == -ENOENT) {
            if (mkdirat(dir, part, 0750) < 0 && errno != EEXIST)
                return error_errno(err, -errno, "cannot make %.100s", so_far);
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

/* ---- unmounting ---- */

/* Undoes mountinfo's octal escapes in place. */
static void unescape(char *s)
{
    char *out = s;
    for (const char *p = s; *p; out++) {
        if (p[0] == '\\' && p[1] && p[2] && p[3]) {
            *out = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
            p += 4;
        } else {
            *out = *p++;
        }
    }
    *out = 0;
}

/* Calls @fn for the mount point of every line; stops when it returns false. */
static void each_mount(bool (*fn)(char *path, void *arg), void *arg)
{
    _cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t size = 0;
    bool more = true;
    while (f && more && getline(&line, &size, f) > 0) {
        char *save = NULL, *field = strtok_r(line, " ", &save);
        for (int i = 0; field && i < 4; i++)
            field = strtok_r(NULL, " ", &save);
        if (!field)
            continue;
        unescape(field);
        more = fn(field, arg);
    }
    free(line);
}

struct mount_search {
    const char *dir;
    struct string_list found;
};

static bool is_it(char *path, void *arg)
{
    struct mount_search *s = arg;
    if (!str_eq(path, s->dir))
        return true;
    s->found.count++;
    return false;
}

bool is_mount_point(const char *path)
{
    struct mount_search s = {.dir = path};
    each_mount(is_it, &s);
    return s.found.count > 0;
}

static bool gather_below(char *path, void *arg)
{
    struct mount_search *s = arg;
    size_t len = strlen(s->dir);
    if (strncmp(path, s->dir, len) != 0 || path[len] != '/')
        return true;
    s->found.items = mem_grow(s->found.items, s->found.count + 1, sizeof(char *));
    s->found.items[s->found.count++] = str_dup(path);
    return true;
}

int unmount_below(const char *dir, struct error *err)
{
    struct mount_search s = {.dir = dir};
    int code = 0;
    each_mount(gather_below, &s);
    /* mountinfo lists parents before children and lower before upper mounts: backwards is deepest
     * first. */
    for (size_t i = s.found.count; i-- > 0;) {
        if (umount2(s.found.items[i], MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL &&
            errno != ENOENT && !code)
            code = error_errno(err, -errno, "cannot unmount %s", s.found.items[i]);
        free(s.found.items[i]);
    }
    free(s.found.items);
    return code;
}
