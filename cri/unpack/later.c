/*
 * What waits until every entry of a layer is in: hidden directories, opaque directories, times of
 * directories. Notes go to a file: a letter, the path, a NUL, and for times the time.
 *
 * W path   a directory of a parent is hidden, unless this layer has it by then: then it is opaque
 * O path   opaque
 * C path   a hard link copied this up; a later whiteout of it counts
 * T path   time
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "cri/unpack/layer_private.h"

#define OPAQUE_XATTR "trusted.overlay.opaque"

static int note(struct layer *l, char kind, const char *path, struct error *err)
{
    if (fputc(kind, l->later) == EOF || fputs(path, l->later) == EOF ||
        fputc('\0', l->later) == EOF)
        return error_errno(err, -errno, "cannot make notes");
    return 0;
}

int later_time(struct layer *l, const char *path, const struct timespec *mtime, struct error *err)
{
    int r = note(l, 'T', path, err);
    if (!r && fwrite(mtime, sizeof(*mtime), 1, l->later) != 1)
        r = error_errno(err, -errno, "cannot make notes");
    return r;
}

int later_copied(struct layer *l, const char *path, struct error *err)
{
    l->copied++;
    return note(l, 'C', path, err);
}

/* Whether any link lies on the way: then the name in the layer's own directory is another one. */
static int open_plain(int root, const char *path)
{
    return fs_open_in_root(root, *path ? path : ".", O_RDONLY | O_DIRECTORY, 0,
                           RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

/* Gets a directory of a parent into this layer: any change of its attributes does. */
static int copy_up(int fd, const char *path, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || fchmod(fd, st.st_mode & 07777) < 0)
        return entry_error(err, -errno, path, "cannot be copied from the layer below");
    return 0;
}

int later_opaque(struct layer *l, const char *dir, struct error *err)
{
    if (!l->target->has_parents)
        return 0;
    _cleanup_close_ int made = layer_open_dir(l, dir, true, err);
    if (made < 0)
        return made;
    _cleanup_close_ int fd = open_plain(l->target->root_fd, dir);
    if (fd < 0)
        return entry_error(err, fd, dir, "an opaque directory behind a link");
    int r = copy_up(fd, dir, err);
    return r ? r : note(l, 'O', dir, err);
}

int later_whiteout(struct layer *l, const char *dir, const char *base, struct error *err)
{
    if (!l->target->has_parents)
        return 0;
    char path[2 * LAYER_PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s%s%s", dir, *dir ? "/" : "", base);
    _cleanup_close_ int above = layer_open_dir(l, dir, false, err);
    if (above < 0)
        return above == -ENOENT ? 0 : above;
    struct stat st, mine;
    if (fstatat(above, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : entry_error(err, -errno, path, "cannot be looked at");
    _cleanup_close_ int plain = open_plain(l->target->root_fd, dir);
    if (plain < 0) /* behind a link: no name for it in the layer's own directory */
        return entry_remove(l, above, base, path, err);
    bool ours = fstatat(l->target->upper_fd, path, &mine, AT_SYMLINK_NOFOLLOW) == 0;
    if (S_ISDIR(st.st_mode)) {
        int r = copy_up(plain, dir, err);
        return r ? r : note(l, 'W', path, err);
    }
    /* Ours: made by this layer, so not meant; but a copied-up source of a hard link is a parent's,
     * which is decided at the end. */
    return ours ? note(l, 'w', path, err) : entry_remove(l, above, base, path, err);
}

/* ---- the end ---- */

static int set_opaque(int upper, const char *path, struct error *err)
{
    _cleanup_close_ int fd = open_plain(upper, path);
    if (fd < 0)
        return entry_error(err, fd, path, "cannot be made opaque");
    if (fsetxattr(fd, OPAQUE_XATTR, "y", 1, 0) < 0)
        return entry_error(err, -errno, path, "cannot be made opaque");
    return 0;
}

static int hide(struct layer *l, const char *path, bool copied_file, struct error *err)
{
    char dir[LAYER_PATH_MAX + 1];
    const char *base = path_split(path, dir);
    int upper = l->target->upper_fd;
    _cleanup_close_ int above = open_plain(upper, dir);
    if (above < 0)
        return entry_error(err, above, path, "cannot be hidden");
    struct stat st;
    if (fstatat(above, base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISDIR(st.st_mode))
            return set_opaque(upper, path, err);
        if (!copied_file)
            return 0; /* replaced by something of this layer */
        if (unlinkat(above, base, 0) < 0)
            return entry_error(err, -errno, path, "cannot be hidden");
    }
    if (mknodat(above, base, S_IFCHR, makedev(0, 0)) < 0)
        return entry_error(err, -errno, path, "cannot be hidden");
    return 0;
}

static int set_time(struct layer *l, const char *path, const struct timespec *mtime,
                    struct error *err)
{
    _cleanup_close_ int fd = open_plain(l->target->upper_fd, path);
    if (fd < 0 && l->target->has_parents) {
        (void)close(fd);
        fd = layer_open_dir(l, path, false, NULL);
    }
    struct timespec t[2] = {*mtime, *mtime};
    /* The directory may have been replaced by a later entry. */
    if (fd >= 0 && futimens(fd, t) < 0)
        return entry_error(err, -errno, path, "cannot set the time");
    return 0;
}

static int read_path(FILE *f, char path[LAYER_PATH_MAX + 1])
{
    size_t len = 0;
    int c;
    while ((c = getc(f)) > 0 && len < LAYER_PATH_MAX)
        path[len++] = (char)c;
    path[len] = '\0';
    return c == 0 ? 0 : -EIO;
}

/* Whether a hard link copied @path up; rare, so the notes are read again. */
static bool was_copied(FILE *f, const char *path)
{
    char other[LAYER_PATH_MAX + 1];
    struct timespec t;
    int kind;
    bool found = false;
    long at = ftell(f);
    rewind(f);
    while (!found && (kind = getc(f)) != EOF && !read_path(f, other)) {
        found = kind == 'C' && str_eq(other, path);
        if (kind == 'T' && fread(&t, sizeof(t), 1, f) != 1)
            break;
    }
    (void)fseek(f, at, SEEK_SET);
    return found;
}

static int run_note(struct layer *l, int kind, const char *path, const struct timespec *mtime,
                    bool times, struct error *err)
{
    if (times)
        return kind == 'T' ? set_time(l, path, mtime, err) : 0;
    switch (kind) {
    case 'O':
        return set_opaque(l->target->upper_fd, path, err);
    case 'W':
        return hide(l, path, false, err);
    case 'w':
        return l->copied && was_copied(l->later, path) ? hide(l, path, true, err) : 0;
    default:
        return 0;
    }
}

int later_run(struct layer *l, struct error *err)
{
    if (fflush(l->later))
        return error_errno(err, -errno, "cannot make notes");
    for (int times = 0; times < 2; times++) {
        rewind(l->later);
        int kind, r = 0;
        while (!r && (kind = getc(l->later)) != EOF) {
            char path[LAYER_PATH_MAX + 1];
            struct timespec mtime = {0};
            if (read_path(l->later, path) ||
                (kind == 'T' && fread(&mtime, sizeof(mtime), 1, l->later) != 1))
                return error_set(err, -EIO, "cannot read my notes");
            r = run_note(l, kind, path, &mtime, times, err);
        }
        if (r)
            return r;
    }
    return 0;
}
