/*
 * What a tree takes on disk. Trees are made by containers: of any depth and width. Only the deepest
 * directories on the way down are held open; those above are remembered by their inode and the
 * position in them, and opened again through ".." on the way back, which must lead to the same
 * inode.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"

#define OPEN_MAX_LEVELS 64
#define DEPTH_MAX       65536
#define CHECK_EVERY     256 /* entries between two looks at @stop */

struct level {
    DIR *dir; /* NULL: closed, @position is where to go on */
    dev_t dev;
    ino_t ino;
    long position;
};

struct walk {
    struct level *levels;
    size_t depth, room;
    double bytes, inodes; /* shares of files with several links add up to whole ones */
};

/* Enters the directory @name of @dirfd; 1 when it is gone or not ours to enter. */
static int enter(struct walk *w, int dirfd, const char *name)
{
    if (w->depth == DEPTH_MAX)
        return -ELOOP;
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EACCES ? 1
                                                                                        : -errno;
    DIR *dir =
        fstat(fd, &st) < 0 || (w->depth && st.st_dev != w->levels[0].dev) ? NULL : fdopendir(fd);
    if (!dir) {
        (void)close(fd);
        return 1;
    }
    if (w->depth == w->room) {
        w->room = w->room ? 2 * w->room : 32;
        w->levels = mem_grow(w->levels, w->room, sizeof(*w->levels));
    }
    w->levels[w->depth++] = (struct level){.dir = dir, .dev = st.st_dev, .ino = st.st_ino};
    if (w->depth > OPEN_MAX_LEVELS) {
        struct level *above = &w->levels[w->depth - 1 - OPEN_MAX_LEVELS];
        above->position = telldir(above->dir);
        (void)closedir(above->dir);
        above->dir = NULL;
    }
    return 0;
}

/* Back to the directory above. */
static int leave(struct walk *w)
{
    struct level *l = &w->levels[--w->depth];
    struct level *above = w->depth ? l - 1 : NULL;
    int r = 0;
    if (above && !above->dir) {
        int fd = openat(dirfd(l->dir), "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        if (fd < 0)
            r = -errno;
        else if (fstat(fd, &st) < 0 || st.st_dev != above->dev || st.st_ino != above->ino)
            r = -ELOOP;
        else if (!(above->dir = fdopendir(fd)))
            r = -errno;
        if (r < 0 && fd >= 0)
            (void)close(fd);
        if (r == 0)
            seekdir(above->dir, above->position);
    }
    (void)closedir(l->dir);
    return r;
}

static int look_at(struct walk *w, const char *name)
{
    int fd = dirfd(w->levels[w->depth - 1].dir);
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (st.st_dev != w->levels[0].dev)
        return 0;
    double share = S_ISDIR(st.st_mode) || !st.st_nlink ? 1 : (double)st.st_nlink;
    w->bytes += (double)st.st_blocks * 512 / share;
    w->inodes += 1 / share;
    if (!S_ISDIR(st.st_mode))
        return 0;
    int r = enter(w, fd, name);
    return r > 0 ? 0 : r;
}

static int walk_on(struct walk *w, const atomic_bool *stop)
{
    int r = 0;
    for (unsigned n = 0; r == 0 && w->depth; n++) {
        if (stop && n % CHECK_EVERY == 0 && atomic_load_explicit(stop, memory_order_relaxed))
            return -ECANCELED;
        const struct dirent *e = readdir(w->levels[w->depth - 1].dir);
        if (!e)
            r = leave(w);
        else if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = look_at(w, e->d_name);
    }
    return r;
}

int fs_tree_usage(const char *path, const atomic_bool *stop, struct fs_usage *ret,
                  struct error *err)
{
    struct walk w = {.levels = NULL};
    struct stat st;
    if (lstat(path, &st) < 0)
        return error_errno(err, -errno, "%s", path);
    w.bytes = (double)st.st_blocks * 512;
    w.inodes = 1;
    int r = S_ISDIR(st.st_mode) ? enter(&w, AT_FDCWD, path) : 1;
    r = r > 0 ? 0 : r < 0 ? r : walk_on(&w, stop);
    while (w.depth)
        if (w.levels[--w.depth].dir)
            (void)closedir(w.levels[w.depth].dir);
    free(w.levels);
    if (r < 0)
        return error_errno(err, r, "look at %s", path);
    *ret = (struct fs_usage){(uint64_t)(w.bytes + 0.5), (uint64_t)(w.inodes + 0.5)};
    return 0;
}
