/*
 * The image store: content-addressed images and the unpacked layers that overlayfs mounts as
 * lower directories (design: images survive power loss; OCI image specification 1.1).
 *
 * On disk, below <root>/var/lib/coracle/images:
 *
 *   lock                       held (flock) by the process that has the store open
 *   blobs/sha256/<hex>         manifests and configs, verified
 *   images/<hex>.json          one image; <hex> is the digest of its config, the image's ID
 *   references/<hex>.json      one name → image; <hex> is the digest of the name
 *   pins/<hex>.json            one file → the images that came with it and are not to be collected;
 *                              <hex> is the digest of the file's path
 *   layers/<n>/layer.json      one unpacked layer: chain ID, diff ID, parent, size
 *   layers/<n>/fs/             its tree, with overlayfs whiteouts
 *   layers/<n>/recipe          how its tar is made again for an export (cri/unpack/recipe.h)
 *   layers/empty/              the lower directory of an image without layers
 *   tmp/<random>/              work in progress and trees on their way out
 *   quarantine/                records that could not be read
 *
 * Lock protocol: one process has the store open and is the only one that changes it; others (a
 * builder) hand it archives through coracle.images.v1.Images.
 *
 * Everything becomes visible by one rename of something complete, and an image's record is written
 * only after its layers and blobs have been synced, so a crash or a power failure at any point
 * leaves the old state or the new one. Layers that no image record names may not have been synced:
 * after a restart they are never used again. What is in tmp/ is removed when the store is opened. A
 * record that cannot be read is moved to quarantine/ and logged; an image whose layers are gone is
 * dropped, so that it is pulled again; opening never fails because of it.
 *
 * A layer directory's number is short so that many fit into one page of mount options; the chain
 * ID is its identity. All calls are for the loop's thread.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/map.h"

#define IMAGE_ID_MAX     72  /* "sha256:" + 64 digits + NUL */
#define IMAGE_MAX_LAYERS 127 /* layers in one image */

struct image_store;

struct image_store_options {
    const char *dir;    /* <root>/var/lib/coracle/images; made when missing */
    const char *worker; /* path of coracle-unpack; NULL: beside the running executable */
};

/* Opens the store, sweeps what crashes left, and loads its records. Returns NULL with @err only
 * when the directory cannot be made or is owned by another process (-EBUSY). */
struct image_store *image_store_open(struct loop *loop, const struct image_store_options *options,
                                     struct error *err);
struct image_store *image_store_free(struct image_store *store); /* returns NULL */
DEFINE_CLEANUP(struct image_store *, image_store_free);

/* The absolute path of layers/: the directory that image_layer_names() is relative to. */
const char *image_store_layers_dir(const struct image_store *store);

/* ---- images ---- */

/* An image of the store. Reference counted: a holder may go on reading it after it was removed, but
 * only a use (below) keeps its layers on disk. */
struct image {
    unsigned refs;
    char id[IMAGE_ID_MAX]; /* "sha256:<hex>", the digest of the config */
    char manifest[IMAGE_ID_MAX];
    uint64_t size;  /* bytes its layers take on disk */
    char **tags;    /* "docker.io/library/nginx:latest"…, NULL-terminated, never NULL */
    char **digests; /* "docker.io/library/nginx@sha256:…"…, likewise */
    char (*chain)[IMAGE_ID_MAX]; /* chain ID of each layer, bottom first */
    size_t n_layers;
    struct map uses; /* who uses it (container IDs) */
    int64_t created; /* when it came into the store, nanoseconds since the epoch */
    bool named;      /* came with names: without any it is gone */
    bool pinned;     /* came with a file that is still there: the kubelet does not collect it */
    bool removed;    /* has no names and is no longer listed; lives until its last use ends */
};
struct image *image_ref(struct image *image);
struct image *image_unref(struct image *image); /* returns NULL */
DEFINE_CLEANUP(struct image *, image_unref);

/* Finds an image by what the CRI calls an image: a name as people write it ("nginx", "nginx:1.25",
 * "localhost:5000/a/b@sha256:…"), an image ID with or without "sha256:", or an unambiguous prefix
 * of at least 4 digits of an ID. Returns a reference that the caller drops, or NULL. */
struct image *image_store_find(struct image_store *store, const char *name);

/* Calls @cb for every image, oldest first. */
void image_store_each(struct image_store *store, void (*cb)(struct image *image, void *arg),
                      void *arg);

/* The directory it is in. */
const char *image_store_dir(const struct image_store *store);
/* What image and node status report: bytes and inodes on disk. */
void image_store_usage(const struct image_store *store, uint64_t *ret_bytes, uint64_t *ret_inodes);

/* Marks the image as used by @user (a container ID): its layers stay until image_store_unuse(),
 * also when its names are removed. Marks live in memory: after a restart the runtime marks again
 * every container that it finds, then calls image_store_ready(). 0, or -ENOENT when the image is
 * not in the store; an image that was removed while in use is found until its last use ends. */
int image_store_use(struct image_store *store, const char *image_id, const char *user);
void image_store_unuse(struct image_store *store, const char *image_id, const char *user);
/* From now on unused layers may be removed. */
void image_store_ready(struct image_store *store);

/* Removes an image as RemoveImage of the CRI: with an ID all its names, with a digest's name
 * ("repository@sha256:…") all those of that repository, with a tag that tag, and with a
 * repository's last tag its digests, which came with it. An image without names is gone; its layers
 * are removed when no other image and no container uses them. A pinned image is removed like any
 * other. Success when there is no such image. -errno when a record could not be removed. */
int image_store_remove(struct image_store *store, const char *name, struct error *err);

/* ---- what a container needs of an image ---- */

/* The OCI image config's execution parameters. Strings are NULL or "" when absent; lists are
 * NULL-terminated and never NULL. Owned by the struct. */
struct image_config {
    char *user; /* "", "uid", "name", "uid:gid", "name:group" */
    char *working_dir;
    char *stop_signal; /* "SIGTERM", "15" */
    char **env;        /* "NAME=value" */
    char **entrypoint;
    char **cmd;
    char **volumes;    /* paths */
    char **ports;      /* "80/tcp" */
    struct map labels; /* char * values */
    char *os, *architecture, *variant, *created;
};
/* Reads the image's config. 0 or -errno (the blob is gone or damaged). */
int image_config_load(struct image_store *store, const struct image *image,
                      struct image_config *ret, struct error *err);
void image_config_done(struct image_config *config); /* harmless on a zeroed one */

/* The lower directories for overlayfs, top layer first, as names relative to
 * image_store_layers_dir() ("12/fs:11/fs:3/fs": what lowerdir= takes after a chdir() there), at
 * most about 700 bytes. The caller frees. -ENOENT when a layer is missing. An image without layers
 * gives "empty" (an empty directory that the store keeps there). */
int image_layer_names(struct image_store *store, const struct image *image, char **ret,
                      struct error *err);
/* The same as absolute paths, top first, NULL-terminated; free with image_strings_free(). */
int image_layer_paths(struct image_store *store, const struct image *image, char ***ret,
                      struct error *err);

/* Frees a NULL-terminated list of strings; NULL is harmless. Returns NULL. */
char **image_strings_free(char **list);
