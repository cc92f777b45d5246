/*
 * A layer's bytes: a blob (gzip, zstd or plain), decompressed and digested on the way into a tar
 * reader. The blob's file may still be growing while it is read (a download under way).
 */
#pragma once

#include <archive.h>
#include <stdbool.h>

#include "base/digest.h"
#include "base/error.h"
#include "cri/unpack/recipe.h"

#define FILTERS_MAX 2 /* of libarchive: one that decompresses, and the source itself */

/* Where compressed bytes come from. Returns the count (0 at the end) or -errno with @err. */
struct stream_source {
    ssize_t (*read)(struct stream_source *source, void *buf, size_t size, struct error *err);
};

/* A file that another process appends to. */
struct blob_source {
    struct stream_source source;
    int fd;          /* the file */
    int progress_fd; /* becomes readable with every growth, closed when it is complete; -1: it is */
    uint64_t size;   /* that it will have */
    uint64_t at;
};
void blob_source_init(struct blob_source *b, int fd, int progress_fd, uint64_t size);

struct layer_stream;

/* Opens the tar inside. Returns NULL with @err. @source is borrowed, as is @recipe (may be NULL),
 * in which what passes is noted. */
struct layer_stream *layer_stream_new(struct stream_source *source, struct recipe *recipe,
                                      struct error *err);
struct layer_stream *layer_stream_free(struct layer_stream *s); /* returns NULL */
DEFINE_CLEANUP(struct layer_stream *, layer_stream_free);
/* The block that archive_read_data_block() just gave is what @path holds from @offset on; NULL when
 * that has no name. */
void layer_stream_file(struct layer_stream *s, const void *data, size_t len, const char *path,
                       uint64_t offset);
/* The tar reader: archive_read_next_header() and so on. */
struct archive *layer_stream_tar(struct layer_stream *s);
/* Sets @err to what went wrong when a call on the tar reader failed. Returns -errno. */
int layer_stream_error(struct layer_stream *s, struct error *err);
/* After the last entry: reads to the end of the blob and gives the digest of everything
 * uncompressed, the layer's diff ID ("sha256:…"). 0 or -errno. */
int layer_stream_finish(struct layer_stream *s, char diff_id[72], struct error *err);
