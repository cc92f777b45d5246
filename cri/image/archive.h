/*
 * What is in an image archive that coracle-unpack took apart: an OCI image layout (image-layout.md
 * of the image specification) or the output of `docker save`.
 */
#pragma once

#include "base/json.h"
#include "cri/image/store.h"

#define ARCHIVE_IMAGES_MAX 100

struct archive_layer {
    char *file; /* path */
    uint64_t size;
};

struct archive_image {
    char manifest_digest[IMAGE_ID_MAX], config_digest[IMAGE_ID_MAX];
    struct strbuf manifest, config; /* their text, verified against the digests */
    struct archive_layer *layers;
    size_t n_layers;
    char **names; /* complete references, NULL-terminated */
};

struct archive {
    struct archive_image *images;
    size_t n_images;
};

/* @dir holds the numbered files, @members is the worker's list. @name (may be NULL or "") is what a
 * single image without a name is called. 0, or -errno with what is missing or wrong; -ENOENT when
 * no image is for this machine. */
int archive_read(const char *dir, const json_t *members, const char *name, struct archive *ret,
                 struct error *err);
void archive_done(struct archive *archive); /* harmless on a zeroed one */
