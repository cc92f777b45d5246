/* What the store's own files share; import and pull write through this, nobody else. */
#pragma once

#include "cri/image/store.h"

#include "base/json.h"
#include "base/list.h"
#include "base/process.h"

#define RECORD_BYTES_MAX (256U << 10)

struct store_layer {
    char chain[IMAGE_ID_MAX], diff[IMAGE_ID_MAX],
        parent[IMAGE_ID_MAX]; /* parent "": a base layer */
    unsigned number;
    uint64_t bytes, inodes;
    uint64_t tar;    /* size of the tar that layers/<n>/recipe rebuilds; 0: it cannot be rebuilt */
    unsigned images; /* images that consist of it */
    unsigned holds;  /* ingestions under way that need it */
    bool unsure;     /* left by an earlier process without an image: possibly never synced */
};

struct store_reference {
    char *name;
    char image[IMAGE_ID_MAX];
};

/* A file whose images are pinned. */
struct store_pin {
    uint64_t size;
    int64_t mtime; /* nanoseconds since the epoch */
    char **images; /* IDs, NULL-terminated */
};

struct image_store {
    struct loop *loop;
    char *dir, *layers_dir, *tmp_dir, *worker;
    int lock_fd;
    unsigned last_number;
    bool ready;
    struct map layers;            /* chain ID → struct store_layer */
    struct map images;            /* ID → struct image */
    struct map references;        /* name → struct store_reference */
    struct map pins;              /* path of a file → struct store_pin */
    struct worker_server *server; /* runs the jobs (worker.h); NULL while there is nothing to do */
    unsigned jobs;                /* under way there */
    struct strbuf trash;          /* names in tmp/ to be removed, each ended by a NUL */
    struct worker *removal;       /* the one that is under way */
};

/* A directory of its own in tmp/, made; the caller frees the path. NULL with @err. */
char *store_tmp_new(struct image_store *store, struct error *err);
/* Removes a tree in the background: it disappears from its place at once. */
void store_trash(struct image_store *store, const char *path);

/* A layer that an ingestion may build upon, NULL when it is not there. */
struct store_layer *store_layer_find(struct image_store *store, const char *chain);
/* While held, a layer is not collected. */
void store_layer_hold(struct store_layer *layer);
void store_layer_release(struct image_store *store, struct store_layer *layer);
/* Makes the tree @dir/fs (below tmp/) a layer: @dir becomes layers/<n>. When the layer is there
 * already that one is returned and @dir left alone. NULL with @err on failure. */
struct store_layer *store_layer_publish(struct image_store *store, const char *dir,
                                        const struct store_layer *what, struct error *err);
/* "12/fs" */
char *store_layer_name(const struct store_layer *layer);

/* Blobs are small (manifest, config); @digest has been verified by the caller. */
int store_blob_put(struct image_store *store, const char *digest, const void *data, size_t len,
                   struct error *err);
int store_blob_get(struct image_store *store, const char *digest, struct strbuf *out,
                   struct error *err);

/* An image enters the store in three steps, so that the loop waits for no disk: its records are
 * staged; a worker syncs layers, blobs and what was staged; store_image_put() and
 * store_reference_put() rename the records into place; a worker syncs again before anybody is told.
 */
int store_image_stage(struct image_store *store, const char *id, const char *manifest,
                      struct store_layer *const *layers, size_t n_layers, char *const *names,
                      struct error *err);
/* Returns a borrowed image; one that is there stays as it is. NULL with @err. */
struct image *store_image_put(struct image_store *store, const char *id, const char *manifest,
                              struct store_layer *const *layers, size_t n_layers, bool named,
                              struct error *err);
/* Points @name at the image; a name that pointed elsewhere moves, and an image that lost its last
 * one goes. */
int store_reference_put(struct image_store *store, const char *name, struct image *image,
                        struct error *err);
/* Whether the image is there, not removed. */
bool store_image_listed(const struct image_store *store, const char *id);
/* Whether it is there and all @names (NULL-terminated) are its own already. */
bool store_image_known(const struct image_store *store, const char *id, char *const *names);

/* Says that the file @path, as it is with @size and @mtime, holds @images. Durable. */
int store_pin_put(struct image_store *store, const char *path, const struct store_pin *pin,
                  struct error *err);
/* The file is gone: its images are pinned no longer. */
void store_pin_drop(struct image_store *store, const char *path);
/* NULL when the record is no good. For store_pin.c and loading. */
const char *store_pin_load(struct image_store *store, const json_t *j);
void store_pin_free(void *pin);
/* Makes image->pinned of every image. */
void store_pins_changed(struct image_store *store);
/* The place of a record whose name is the digest of @key. The caller frees. */
char *store_record_path(const struct image_store *store, const char *sub, const char *key);

/* Loading, from store_load.c. */
void store_load(struct image_store *store);
/* Makes tags and digests of every image from the references. */
void store_names_changed(struct image_store *store, struct image *image);
struct image *store_image_new(const char *id);
/* Removes layers that nothing needs, until none is left. */
void store_collect(struct image_store *store);
/* Drops image and record; its references are gone already. */
int store_image_drop(struct image_store *store, struct image *image, struct error *err);
