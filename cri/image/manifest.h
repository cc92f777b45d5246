/*
 * Manifests, indexes and configs: OCI image specification 1.1, and Docker's "image manifest
 * version 2, schema 2" and manifest list, which differ in media types only.
 */
#pragma once

#include <stdbool.h>

#include "base/json.h"
#include "cri/image/store.h"

#define MEDIA_OCI_INDEX       "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_DOCKER_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_OCI_CONFIG      "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_LAYER       "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"

#define MANIFEST_BYTES_MAX (4U << 20) /* of a manifest, index or config */
#define INDEX_ENTRIES_MAX  1000
#define LAYER_BYTES_MAX    (64ULL << 30) /* of one layer, compressed */

/* What points at a blob. Strings are owned; media_type may be NULL. */
struct descriptor {
    char *media_type;
    char *digest; /* valid, see digest_valid() */
    uint64_t size;
};
void descriptor_done(struct descriptor *d);

struct manifest {
    struct descriptor config;
    struct descriptor *layers; /* bottom first */
    size_t n_layers;
};

enum manifest_kind { MANIFEST_IMAGE, MANIFEST_INDEX };

/* Tells an index from an image manifest, by media type and content, which must agree.
 * -EINVAL: neither, or Docker's schema 1, which is refused by name. */
int manifest_kind(const json_t *j, const char *content_type, enum manifest_kind *ret,
                  struct error *err);
/* 0 or -EINVAL naming the field at fault; *ret is zeroed then. */
int manifest_parse(const json_t *j, struct manifest *ret, struct error *err);
void manifest_done(struct manifest *m); /* harmless on a zeroed one */

/* A descriptor as JSON. New reference. */
json_t *descriptor_json(const char *media_type, const char *digest, uint64_t size);
/* Encodes an image manifest of a config and a list of layer descriptors (borrowed), and its digest.
 */
void manifest_write(const char *config_digest, uint64_t config_size, json_t *layers,
                    struct strbuf *ret, char ret_digest[IMAGE_ID_MAX]);

/* ---- platform selection ---- */
struct platform {
    const char *os, *architecture, *variant; /* borrowed; variant may be NULL */
};
/* This machine's. */
struct platform platform_host(void);
/* How well an image's platform fits @host: 0 not at all; larger is better. NULL strings in
 * @image match anything, weakly. */
int platform_match(const struct platform *host, const struct platform *image);

/* The manifest of an index that fits @host best. 0 with *ret; -ENOENT naming the platforms that are
 * there; -EINVAL for a malformed index. */
int index_select(const json_t *j, const struct platform *host, struct descriptor *ret,
                 struct error *err);

/* ---- config ---- */
/* Execution parameters, see store.h. 0 or -EINVAL naming the field. */
int image_config_parse(const json_t *j, struct image_config *ret, struct error *err);
/* rootfs.diff_ids: digests of the uncompressed layers, bottom first; NULL-terminated list. */
int image_config_diff_ids(const json_t *j, char ***ret, size_t *ret_count, struct error *err);

/* Chain IDs as the image specification defines them: chain[0] = diff[0],
 * chain[n] = sha256(chain[n-1] + " " + diff[n]). @ret holds @count elements. */
void chain_ids(char *const *diff_ids, size_t count, char (*ret)[IMAGE_ID_MAX]);
