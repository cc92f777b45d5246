/*
 * Bringing one image into the store: its layers are fetched (in parallel, by whoever knows how),
 * applied in order by workers while they still arrive, and when all are there and synced the image
 * gets its record and its names. Images that share layers share the work.
 *
 * A fetcher writes each layer to a file and says how far it is. Nothing it brings becomes visible
 * before it said that the whole layer's digest was right and the worker found the right diff ID.
 */
#pragma once

#include "cri/image/manifest.h"
#include "cri/image/store.h"

#define INGEST_PARALLEL_FETCHES 3

struct ingest;

/* The ingestions under way in one process. */
struct ingest_table {
    struct image_store *store;
    struct list active;
};
void ingest_table_init(struct ingest_table *table, struct image_store *store);

struct ingest_image {
    const char *manifest_digest, *manifest; /* verified text; copied */
    size_t manifest_len;
    const char *config_digest, *config;
    size_t config_len;
    const char *const *names; /* references to point at it, NULL-terminated; copied */
};

struct ingest_ops {
    /* Start to fetch layer @i: call ingest_layer_file(), then ingest_layer_grew() as bytes come,
     * then ingest_layer_complete(), or ingest_fail(). Called at most once for each layer, for at
     * most INGEST_PARALLEL_FETCHES at once; not for layers that are there. */
    void (*fetch)(struct ingest *ingest, size_t i, void *arg);
    /* It ended: @image with its names in place, or NULL with @err. Stop all fetches; the ingestion
     * is gone after this. Never called from inside ingest_start(). */
    void (*done)(struct image *image, const struct error *err, void *arg);
};

/* Begins. The config is parsed here: -EINVAL when it or the number of layers is wrong; then nothing
 * was begun and @ops->done is not called. */
int ingest_start(struct ingest_table *table, const struct ingest_image *image, size_t n_layers,
                 const struct ingest_ops *ops, void *arg, struct ingest **ret, struct error *err);
/* Ends it without calling back. NULL is harmless. Returns NULL. */
struct ingest *ingest_cancel(struct ingest *ingest);

/* A directory for the fetcher's file of layer @i; borrowed. */
const char *ingest_layer_dir(const struct ingest *ingest, size_t i);
/* The compressed layer is in @fd (copied), which will have @size bytes. */
void ingest_layer_file(struct ingest *ingest, size_t i, int fd, uint64_t size);
void ingest_layer_grew(struct ingest *ingest, size_t i);
/* The whole layer is there and its digest is right. */
void ingest_layer_complete(struct ingest *ingest, size_t i);
/* The ingestion fails; done is called before this returns. */
void ingest_fail(struct ingest *ingest, const struct error *err);
