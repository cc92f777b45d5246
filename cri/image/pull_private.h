/* What pull.c (manifest and config) and pull_fetch.c (layers) share. */
#pragma once

#include "base/digest.h"
#include "cri/image/manifest.h"
#include "cri/image/pull.h"
#include "cri/image/reference.h"

struct puller {
    struct ingest_table *table;
    struct loop *loop;
    struct http_client *http;
    const struct option_list *insecure;
    char *registries;    /* path of registries.yaml; NULL: none */
    char *docker_config; /* path of docker's config.json; NULL: none */
    struct list pulls;
};

enum pull_stage { PULL_TOP, PULL_MANIFEST, PULL_CONFIG, PULL_LAYERS };

struct pull_fetch {
    struct pull *pull;
    size_t index;
    const struct descriptor *layer;
    int fd;
    struct digest *digest;
    uint64_t got;   /* bytes in the file */
    uint64_t at;    /* where the answer being read is; bytes below got are passed over */
    unsigned tries; /* without progress */
    struct registry_get *get;
    struct loop_timer retry;
    bool used;
};

struct pull {
    struct list entry;
    struct puller *puller;
    char *key;
    struct list waits;
    struct image_reference ref;
    struct registry **endpoints; /* in the order in which they are tried */
    size_t n_endpoints, next_endpoint;
    struct strbuf failures;    /* what the endpoints tried so far answered */
    struct registry *registry; /* of endpoints: the one being asked */
    enum pull_stage stage;
    struct registry_get *get;
    struct strbuf text; /* what arrives */
    char *content_type;
    char top[IMAGE_ID_MAX];    /* digest of what the name points at: an index or a manifest */
    char wanted[IMAGE_ID_MAX]; /* digest of what arrives; "" for a tag */
    struct strbuf manifest_text;
    char manifest_digest[IMAGE_ID_MAX];
    struct manifest manifest;
    struct ingest *ingest;
    struct pull_fetch *fetches; /* one for each layer */
};

/* Begins to fetch layer @i: an operation of the ingestion. */
void pull_fetch_start(struct ingest *ingest, size_t i, void *arg);
void pull_fetch_done(struct pull_fetch *f);
