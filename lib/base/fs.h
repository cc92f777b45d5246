/*
 * Files: bounded reads, atomic writes, trees. Paths are bytes; nothing here follows a link out of
 * a tree it was told to stay in.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/strbuf.h"

/* Reads the whole file, at most @limit bytes (-EFBIG beyond). Appends to @out. 0 or -errno. */
int fs_read(const char *path, size_t limit, struct strbuf *out, struct error *err);
int fs_read_at(int dirfd, const char *path, size_t limit, struct strbuf *out, struct error *err);

enum fs_durability {
    FS_VOLATILE, /* atomic for readers, not synced: state that is worthless after a reboot */
    FS_DURABLE,  /* synced, file and directory, before the rename is reported */
};
/* Replaces @path by a file with this content: temporary file, rename. On failure the old file is
 * as it was and nothing is left behind. */
int fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode,
                    enum fs_durability durability, struct error *err);

/* Writes @text to an existing file (sysctl, cgroup file) in one write(). 0 or -errno. */
int fs_write_text(const char *path, const char *text, struct error *err);

/* Makes the directory and its parents. An existing directory is success. */
int fs_mkdirs(const char *path, mode_t mode, struct error *err);

/* Removes a tree, never crossing into another mount (a mount point below gives -EBUSY and stays)
 * and never following links. A missing path is success. */
int fs_remove_tree(const char *path, struct error *err);

bool fs_exists(const char *path); /* lstat() succeeds */

struct fs_usage {
    uint64_t bytes; /* that the tree occupies: blocks, not sizes */
    uint64_t inodes;
};
/* What the tree at @path takes on disk, itself included: a file with several links once when all of
 * them are in the tree, in shares otherwise; nothing of other mounts. What vanishes meanwhile is
 * not counted. Holds few descriptors and little memory whatever the tree is like. @stop (may be
 * NULL) ends it from another thread: -ECANCELED. -ELOOP for a tree of unreasonable depth, or one
 * whose directories are moved around while it is looked at. */
int fs_tree_usage(const char *path, const atomic_bool *stop, struct fs_usage *ret,
                  struct error *err);

/* "a/b" from "a" and "b" (one slash between them). The caller frees. */
char *fs_join(const char *dir, const char *name);

/* Opens @path below @dirfd with openat2(RESOLVE_IN_ROOT | extra @resolve): links resolve as if
 * @dirfd were the root directory. Returns the descriptor (O_CLOEXEC) or -errno. */
int fs_open_in_root(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);
