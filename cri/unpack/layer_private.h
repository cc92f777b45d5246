/* What layer.c (the order of things), entry.c (making one object) and later.c (whiteouts and
 * directory times at the end) share. */
#pragma once

#include <archive_entry.h>
#include <sys/stat.h>

#include "cri/unpack/layer.h"

struct layer {
    const struct layer_target *target;
    struct layer_stream *stream;
    struct layer_result result;
    FILE *later;
    uint64_t entries, written, checked;
    uint64_t copied;                 /* hard links that copied their source up from a parent */
    char parent[LAYER_PATH_MAX + 1]; /* the directory that parent_fd is; valid when it is >= 0 */
    int parent_fd;
    char root[LAYER_PATH_MAX + 1];        /* path of the merged view, as getcwd() says it */
    char parent_real[LAYER_PATH_MAX + 1]; /* that of parent_fd in it, links resolved; valid when: */
    bool parent_known;
};

/* Opens the directory @path ("" is the root) in the merged view, making what is missing (mode 0755)
 * when @make. Returns a descriptor to close, -ENOENT, or -errno. */
int layer_open_dir(struct layer *l, const char *path, bool make, struct error *err);
/* The same through the one-entry cache; the descriptor is borrowed. */
int layer_parent(struct layer *l, const char *path, struct error *err);
/* Where @base in that directory really is, links on the way resolved; NULL when it cannot be told.
 * Changes the current directory. @out has LAYER_PATH_MAX + 1 bytes. */
const char *layer_real_path(struct layer *l, const char *base, char *out);
/* Forgets the cached directory: something on the way to it may have been replaced. */
void layer_forget_parent(struct layer *l);

/* Splits "a/b" into "a" (in @dir) and "b"; "b" alone has the directory "". */
const char *path_split(const char *path, char dir[LAYER_PATH_MAX + 1]);

/* Makes the object of @entry at @path, with data and attributes. */
int entry_make(struct layer *l, struct archive_entry *entry, const char *path, struct error *err);
/* Removes whatever is at @base in the directory @dirfd, with all below it. */
int entry_remove(struct layer *l, int dirfd, const char *base, const char *path, struct error *err);
int entry_error(struct error *err, int code, const char *path, const char *what);

/* Hides @base in @dir: at once, or noted for the end. */
int later_whiteout(struct layer *l, const char *dir, const char *base, struct error *err);
int later_opaque(struct layer *l, const char *dir, struct error *err);
/* Notes the time a directory gets when everything is in it. */
int later_time(struct layer *l, const char *path, const struct timespec *mtime, struct error *err);
/* Notes that a hard link copied @path up from a parent: a whiteout of it still counts. */
int later_copied(struct layer *l, const char *path, struct error *err);
int later_run(struct layer *l, struct error *err);
