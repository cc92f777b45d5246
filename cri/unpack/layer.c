/*
 * Applying a layer; see layer.h.
 *
 * Theory of operation. root_fd is the merged view: for a base layer the layer's own directory,
 * otherwise an overlay mount with the parents below and the layer's directory as upper. The kernel
 * then does what the specification asks for: an implicit parent directory, the source of a hard
 * link or a directory whose attributes change is copied up with everything it has, removing
 * something of a parent leaves a whiteout device.
 *
 * Two things are done on the layer's own directory (upper_fd) instead, behind the overlay, after
 * the last entry: marking a directory opaque and hiding a whole directory of a parent (through the
 * mount that would take a removal per file). Until then they are notes in a file, so that memory
 * does not grow with the layer, as are the times of directories, which every new child would change
 * again.
 *
 * The specification applies whiteouts to parents only, whatever the order of entries. So a whiteout
 * of something this layer has made already is ignored for a file and means "opaque" for a
 * directory.
 *
 * No name from the tar is ever used but as one component relative to a directory that openat2()
 * resolved with RESOLVE_IN_ROOT; nothing else changes the tree meanwhile.
 */
#include "cri/unpack/layer_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/fs.h"

bool layer_path_clean(const char *name, char *out)
{
    size_t len = 0, depth = 0;
    while (*name) {
        size_t n = strcspn(name, "/");
        if (n && !(n == 1 && name[0] == '.')) {
            if ((n == 2 && !strncmp(name, "..", 2)) || n > 255 || len + n + 1 > LAYER_PATH_MAX ||
                ++depth > LAYER_DEPTH_MAX)
                return false;
            if (len)
                out[len++] = '/';
            memcpy(out + len, name, n);
            len += n;
        }
        name += n;
        name += strspn(name, "/");
    }
    out[len] = '\0';
    return true;
}

enum whiteout_kind layer_whiteout(const char *base, const char **ret_hidden)
{
    if (!str_starts(base, ".wh."))
        return WHITEOUT_NONE;
    if (str_eq(base, ".wh..wh..opq"))
        return WHITEOUT_OPAQUE;
    if (str_starts(base, ".wh..wh."))
        return WHITEOUT_RECORD;
    *ret_hidden = base + 4;
    return str_eq(*ret_hidden, "") || str_eq(*ret_hidden, ".") || str_eq(*ret_hidden, "..")
               ? WHITEOUT_INVALID
               : WHITEOUT_FILE;
}

const char *path_split(const char *path, char dir[LAYER_PATH_MAX + 1])
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    memcpy(dir, path, n);
    dir[n] = '\0';
    return slash ? slash + 1 : path;
}

int entry_error(struct error *err, int code, const char *path, const char *what)
{
    return error_errno(err, code, "\"%.400s\": %s", path, what);
}

static int open_dir(int root, const char *path)
{
    return fs_open_in_root(root, *path ? path : ".", O_RDONLY | O_DIRECTORY, 0,
                           RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
}

int layer_open_dir(struct layer *l, const char *path, bool make, struct error *err)
{
    int fd = open_dir(l->target->root_fd, path);
    if (fd != -ENOENT || !make)
        return fd < 0 && fd != -ENOENT ? entry_error(err, fd, path, "cannot open this directory")
                                       : fd;
    /* Make the missing ones from the top; a dangling link on the way is an error, not followed. */
    char prefix[LAYER_PATH_MAX + 1];
    for (const char *p = path;; p++) {
        p += strcspn(p, "/");
        memcpy(prefix, path, (size_t)(p - path));
        prefix[p - path] = '\0';
        fd = open_dir(l->target->root_fd, prefix);
        if (fd == -ENOENT) {
            char dir[LAYER_PATH_MAX + 1];
            const char *base = path_split(prefix, dir);
            _cleanup_close_ int above = open_dir(l->target->root_fd, dir);
            if (above < 0)
                return entry_error(err, above, dir, "cannot open this directory");
            if (mkdirat(above, base, 0755) < 0)
                return entry_error(err, -errno, prefix, "cannot make this directory");
            l->result.inodes++;
            fd = open_dir(l->target->root_fd, prefix);
        }
        if (fd < 0)
            return entry_error(err, fd, prefix, "cannot open this directory");
        if (!*p)
            return fd;
        (void)close(fd);
    }
}

void layer_forget_parent(struct layer *l)
{
    if (l->parent_fd >= 0)
        (void)close(l->parent_fd);
    l->parent_fd = -1;
}

int layer_parent(struct layer *l, const char *path, struct error *err)
{
    if (l->parent_fd >= 0 && str_eq(l->parent, path))
        return l->parent_fd;
    layer_forget_parent(l);
    l->parent_known = false;
    l->parent_fd = layer_open_dir(l, path, true, err);
    (void)snprintf(l->parent, sizeof(l->parent), "%s", path);
    return l->parent_fd;
}

static int name_of(int dirfd, char out[LAYER_PATH_MAX + 1])
{
    return fchdir(dirfd) < 0 || !getcwd(out, LAYER_PATH_MAX + 1) ? -errno : 0;
}

const char *layer_real_path(struct layer *l, const char *base, char *out)
{
    size_t len = strlen(l->root);
    if (!l->parent_known && name_of(l->parent_fd, l->parent_real))
        return NULL;
    l->parent_known = true;
    if (strncmp(l->parent_real, l->root, len) != 0 || l->parent_real[len] != '/')
        len = strlen(l->parent_real); /* the root itself */
    const char *dir = l->parent_real + len;
    dir += *dir == '/';
    int n = snprintf(out, LAYER_PATH_MAX + 1, "%s%s%s", dir, *dir ? "/" : "", base);
    return n > LAYER_PATH_MAX ? NULL : out;
}

/* Every 64 MB: a layer must not fill the disk (a small archive can hold a lot of zeros). */
static int check_space(struct layer *l, struct error *err)
{
    struct statvfs v;
    if (l->written - l->checked < (64U << 20) && l->checked)
        return 0;
    l->checked = l->written + 1;
    if (fstatvfs(l->target->root_fd, &v) == 0 && v.f_blocks &&
        (uint64_t)v.f_bavail * 100 < (uint64_t)v.f_blocks * LAYER_FREE_PERCENT)
        return error_set(err, -ENOSPC, "less than %d %% of the disk is free", LAYER_FREE_PERCENT);
    return 0;
}

static int apply_entry(struct layer *l, struct archive_entry *entry, struct error *err)
{
    const char *name = archive_entry_pathname(entry);
    if (!name)
        name = archive_entry_pathname_utf8(entry);
    char path[LAYER_PATH_MAX + 1], dir[LAYER_PATH_MAX + 1];
    if (!name || !layer_path_clean(name, path))
        return error_set(err, -EINVAL, "\"%.400s\": a name that leaves the layer or is too long",
                         name ? name : "");
    const char *hidden = NULL;
    const char *base = path_split(path, dir);
    switch (layer_whiteout(base, &hidden)) {
    case WHITEOUT_OPAQUE:
        return later_opaque(l, dir, err);
    case WHITEOUT_FILE:
        return later_whiteout(l, dir, hidden, err);
    case WHITEOUT_RECORD:
        l->result.ignored++;
        return 0;
    case WHITEOUT_INVALID:
        return error_set(err, -EINVAL, "\"%.400s\": a whiteout of nothing", name);
    case WHITEOUT_NONE:
        break;
    }
    return entry_make(l, entry, path, err);
}

static int apply_all(struct layer *l, struct error *err)
{
    struct archive *tar = layer_stream_tar(l->stream);
    struct archive_entry *entry;
    for (;;) {
        int r = archive_read_next_header(tar, &entry);
        if (r == ARCHIVE_EOF)
            break;
        if (r == ARCHIVE_RETRY)
            continue;
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
            return layer_stream_error(l->stream, err);
        if (++l->entries > LAYER_ENTRIES_MAX)
            return error_set(err, -EFBIG, "over %d entries", LAYER_ENTRIES_MAX);
        if ((r = check_space(l, err)) || (r = apply_entry(l, entry, err)))
            return r;
    }
    return layer_stream_finish(l->stream, l->result.diff_id, err);
}

/* A layer without an entry for the root leaves it as its parents have it. */
static int keep_root_time(struct layer *l, struct error *err)
{
    struct stat st;
    if (!l->target->has_parents)
        return 0;
    if (fstat(l->target->root_fd, &st) < 0)
        return entry_error(err, -errno, "/", "cannot be looked at");
    return later_time(l, "", &st.st_mtim, err);
}

int layer_apply(const struct layer_target *target, struct layer_stream *stream,
                struct layer_result *ret, struct error *err)
{
    struct layer l = {.target = target, .stream = stream, .parent_fd = -1};
    int fd = dup(target->later_fd);
    l.later = fd >= 0 ? fdopen(fd, "r+") : NULL;
    if (!l.later) {
        int code = -errno;
        if (fd >= 0)
            (void)close(fd);
        return error_errno(err, code, "cannot make notes");
    }
    int r = name_of(target->root_fd, l.root);
    if (r)
        (void)error_errno(err, r, "cannot tell where the layer is");
    else
        r = keep_root_time(&l, err);
    if (str_eq(l.root, "/"))
        l.root[0] = '\0';
    if (!r)
        r = apply_all(&l, err);
    layer_forget_parent(&l);
    if (!r)
        r = later_run(&l, err);
    (void)fclose(l.later);
    if (!r)
        *ret = l.result;
    return r;
}
