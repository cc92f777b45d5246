/* Exporting images as one archive, in pieces; see lib/net/images.proto. */
#pragma once

#include "cri/image/store.h"

struct export;

struct export_ops {
    /* The next bytes. False: they were not taken; they come again after export_continue(). */
    bool (*data)(const void *data, size_t len, void *arg);
    /* The end: @err NULL when all was given and every layer came out as it was. The export is gone
     * after this. */
    void (*done)(const struct error *err, void *arg);
};

/* Begins to export what @names (@count of them) say. Callbacks come from the loop, never from
 * inside this call. The images and their layers stay until it ends. NULL with @err: -EINVAL without
 * a name, -ENOENT naming an image that is not there, -EBUSY naming a layer that cannot be rebuilt.
 */
struct export *export_start(struct image_store *store, char *const *names, size_t count,
                            const struct export_ops *ops, void *arg, struct error *err);
void export_continue(struct export *export);
/* Stops without calling back. NULL is harmless. Returns NULL. */
struct export *export_cancel(struct export *export);
