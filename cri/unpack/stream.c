/*
 * Layer streams; see stream.h. Two libarchive readers in a row: one without a format that only
 * decompresses, whose output is digested and becomes the input of one that only reads tar. The tar
 * reader may stop before the end (two zero blocks end a tar); the rest belongs to the diff ID too.
 */
#include "cri/unpack/stream.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"

#define CHUNK (64 * 1024)

static ssize_t blob_read(struct stream_source *source, void *buf, size_t size, struct error *err)
{
    struct blob_source *b = CONTAINER_OF(source, struct blob_source, source);
    while (b->at < b->size) {
        uint64_t left = b->size - b->at;
        ssize_t n = pread(b->fd, buf, left < size ? (size_t)left : size, (off_t)b->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, -errno, "cannot read the layer");
        if (n > 0) {
            b->at += (uint64_t)n;
            return n;
        }
        char wake[64];
        ssize_t w = b->progress_fd >= 0 ? read(b->progress_fd, wake, sizeof(wake)) : 0;
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            if (b->progress_fd < 0)
                return error_set(err, -EIO, "the layer ends after %llu of %llu bytes",
                                 (unsigned long long)b->at, (unsigned long long)b->size);
            b->progress_fd = -1; /* complete: look at the file once more */
        }
    }
    return 0;
}

void blob_source_init(struct blob_source *b, int fd, int progress_fd, uint64_t size)
{
    *b = (struct blob_source){
        .source = {.read = blob_read}, .fd = fd, .progress_fd = progress_fd, .size = size};
}

struct layer_stream {
    struct stream_source *source;
    struct archive *raw, *tar;
    struct digest *digest;
    struct recipe *recipe; /* NULL: none is wanted */
    bool raw_ended;
    struct error failure; /* of the source, more telling than libarchive's text */
    char in[CHUNK], out[CHUNK];
};

static la_ssize_t read_compressed(_unused_ struct archive *a, void *arg, const void **buf)
{
    struct layer_stream *s = arg;
    ssize_t n = s->source->read(s->source, s->in, sizeof(s->in), &s->failure);
    *buf = s->in;
    return n < 0 ? ARCHIVE_FATAL : n;
}

/* How much of the tar its reader has done with. */
static uint64_t position(const struct layer_stream *s)
{
    la_int64_t n = archive_filter_bytes(s->tar, 0);
    return n > 0 ? (uint64_t)n : 0;
}

/* The next uncompressed bytes, digested. 0 at the end, -1 on failure. */
static ssize_t next_plain(struct layer_stream *s)
{
    if (s->raw_ended)
        return 0;
    la_ssize_t n = archive_read_data(s->raw, s->out, sizeof(s->out));
    if (n < 0) {
        if (!s->failure.code)
            (void)error_set(&s->failure, -EINVAL, "the layer does not decompress: %s",
                            archive_error_string(s->raw) ? archive_error_string(s->raw)
                                                         : "damaged");
        return -1;
    }
    if (n == 0)
        s->raw_ended = true;
    digest_add(s->digest, s->out, (size_t)n);
    if (s->recipe)
        recipe_bytes(s->recipe, s->out, (size_t)n, position(s));
    return n;
}

void layer_stream_file(struct layer_stream *s, const void *data, size_t len, const char *path,
                       uint64_t offset)
{
    if (s->recipe)
        recipe_file(s->recipe, position(s), data, len, path, offset);
}

static la_ssize_t read_plain(_unused_ struct archive *a, void *arg, const void **buf)
{
    struct layer_stream *s = arg;
    *buf = s->out;
    return next_plain(s);
}

/* gzip and zstd are what the image specification allows; nothing else is decompressed. */
static int open_raw(struct layer_stream *s, struct error *err)
{
    struct archive *a = s->raw;
    struct archive_entry *entry;
    if (archive_read_support_filter_gzip(a) || archive_read_support_filter_zstd(a) ||
        archive_read_support_format_raw(a) || archive_read_support_format_empty(a))
        return error_set(err, -ENOTSUP, "%s", archive_error_string(a));
    int r = archive_read_open(a, s, NULL, read_compressed, NULL);
    if (r == ARCHIVE_OK)
        r = archive_read_next_header(a, &entry);
    if (archive_filter_count(a) > FILTERS_MAX)
        return error_set(err, -EINVAL, "the layer is compressed more than once");
    if (r == ARCHIVE_EOF) /* nothing at all: an empty layer */
        s->raw_ended = true;
    else if (r != ARCHIVE_OK) {
        if (s->failure.code) {
            if (err)
                *err = s->failure;
            return s->failure.code;
        }
        return error_set(err, -EINVAL, "the layer does not decompress: %s",
                         archive_error_string(a) ? archive_error_string(a) : "damaged");
    }
    return 0;
}

struct layer_stream *layer_stream_new(struct stream_source *source, struct recipe *recipe,
                                      struct error *err)
{
    struct layer_stream *s = mem_zalloc(sizeof(*s));
    s->source = source;
    s->recipe = recipe;
    s->raw = archive_read_new();
    s->tar = archive_read_new();
    s->digest = digest_new();
    if (!s->raw || !s->tar) {
        (void)error_set(err, -ENOMEM, "out of memory");
        return layer_stream_free(s);
    }
    if (open_raw(s, err))
        return layer_stream_free(s);
    if (archive_read_support_format_tar(s->tar) || archive_read_support_format_empty(s->tar) ||
        archive_read_open(s->tar, s, NULL, read_plain, NULL)) {
        (void)layer_stream_error(s, err);
        return layer_stream_free(s);
    }
    return s;
}

struct layer_stream *layer_stream_free(struct layer_stream *s)
{
    if (!s)
        return NULL;
    if (s->tar)
        (void)archive_read_free(s->tar);
    if (s->raw)
        (void)archive_read_free(s->raw);
    (void)digest_free(s->digest);
    free(s);
    return NULL;
}

struct archive *layer_stream_tar(struct layer_stream *s)
{
    return s->tar;
}

int layer_stream_error(struct layer_stream *s, struct error *err)
{
    if (s->failure.code) {
        if (err)
            *err = s->failure;
        return s->failure.code;
    }
    const char *text = archive_error_string(s->tar);
    return error_set(err, -EINVAL, "the layer is no valid tar archive: %s",
                     text ? text : "damaged");
}

int layer_stream_finish(struct layer_stream *s, char diff_id[72], struct error *err)
{
    ssize_t n;
    while ((n = next_plain(s)) > 0)
        ;
    /* Bytes after the compressed stream would not be part of anything that was checked. */
    while (n == 0 && (n = s->source->read(s->source, s->in, sizeof(s->in), &s->failure)) > 0)
        n = error_set(&s->failure, -EINVAL, "the layer has bytes after its compressed end");
    if (n < 0)
        return layer_stream_error(s, err);
    char hex[SHA256_HEX_LEN + 1];
    digest_hex(s->digest, hex);
    (void)snprintf(diff_id, 72, "sha256:%s", hex);
    return 0;
}
