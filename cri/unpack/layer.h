/*
 * Applying one layer's tar to a directory tree, as the image specification's "Image Layer
 * Filesystem Changeset" says, and turning its whiteouts into overlayfs' form.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "cri/unpack/stream.h"

/* Bounds on what one layer may hold; beyond them it is refused. */
#define LAYER_ENTRIES_MAX     2000000
#define LAYER_PATH_MAX        4095
#define LAYER_DEPTH_MAX       512
#define LAYER_XATTRS_MAX      64
#define LAYER_XATTR_BYTES_MAX 65536
#define LAYER_FREE_PERCENT    2 /* of the file system that unpacking leaves free */

struct layer_target {
    int root_fd;  /* the merged view: the parents with this layer on top */
    int upper_fd; /* this layer alone, in a mount of its own; equal to root_fd for a base layer */
    bool has_parents;
    int later_fd; /* an empty file for what must wait until all entries are in; kept open */
};

struct layer_result {
    char diff_id[72];
    uint64_t bytes, inodes; /* on disk, about */
    uint64_t ignored;       /* extended attributes and AUFS records that have no meaning here */
};

/* 0 or -errno with what is wrong with the layer and the name of the entry. Changes the current
 * directory and needs a umask of 0. Nothing outside the two directories can be reached through any
 * content of the tar: every name is resolved below root_fd by the kernel (openat2). */
int layer_apply(const struct layer_target *target, struct layer_stream *stream,
                struct layer_result *ret, struct error *err);

/* Brings an entry's name into the form "a/b/c" ("" is the root itself): strips leading slashes and
 * "." components. False for a ".." component and for what exceeds the bounds. @out has
 * LAYER_PATH_MAX + 1 bytes. */
bool layer_path_clean(const char *name, char *out);

enum whiteout_kind {
    WHITEOUT_NONE,
    WHITEOUT_FILE,    /* hides *ret_hidden */
    WHITEOUT_OPAQUE,  /* hides everything below in this directory */
    WHITEOUT_RECORD,  /* AUFS' own bookkeeping */
    WHITEOUT_INVALID, /* hides "", "." or ".." */
};
/* What the last component @base of a name means. @ret_hidden points into @base. */
enum whiteout_kind layer_whiteout(const char *base, const char **ret_hidden);
