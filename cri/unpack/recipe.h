/*
 * How to rebuild a layer's tar, byte for byte, from the tree that was unpacked from it: the layers'
 * blobs are not kept, but an exported layer must have its digest. A recipe is what of the tar is
 * not in the tree (headers, padding), with the places where contents of files belong; compressed
 * with zstd, a hundredth of the layer or so.
 *
 *   'L' length(4) bytes                     these bytes
 *   'F' offset(8) length(8) path(2+n)       so much of the file @path of the tree, from @offset
 *   'E'                                     the end
 *
 * Numbers are little-endian. A tar that holds the same file twice cannot be rebuilt: what the first
 * one held is gone; rebuilding finds out by the digest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct recipe;

/* Writes to @fd (borrowed). Never NULL. */
struct recipe *recipe_new(int fd);
struct recipe *recipe_free(struct recipe *recipe); /* returns NULL */
DEFINE_CLEANUP(struct recipe *, recipe_free);

/* The next bytes of the tar. What lies before the position @passed will not be told to be a file's
 * contents any more. */
void recipe_bytes(struct recipe *recipe, const void *data, size_t len, uint64_t passed);
/* The bytes at position @at are what @path holds from @offset on. NULL: nobody knows where they
 * went, and the tar cannot be rebuilt. */
void recipe_file(struct recipe *recipe, uint64_t at, const void *data, size_t len, const char *path,
                 uint64_t offset);
/* Ends the recipe. 0 with the tar's size; 0 as the size means that it could not be followed and
 * cannot be rebuilt. -errno: the recipe could not be written. */
int recipe_finish(struct recipe *recipe, uint64_t *ret_size, struct error *err);

/* Rebuilds a tar from the recipe @fd and the tree @tree (descriptors, borrowed), handing its bytes
 * to @emit, whose failure ends it. 0 or -errno; -EBADMSG: the recipe or the tree is damaged. */
int recipe_follow(int fd, int tree,
                  int (*emit)(const void *data, size_t len, void *arg, struct error *err),
                  void *arg, struct error *err);
