/*
 * Imports; see import.h. The bytes go through a pipe to a worker that takes the archive apart into
 * files (so nothing here parses tar); then each image in it is ingested from these files.
 */
#include "cri/image/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cri/image/archive.h"
#include "cri/image/import.h"
#include "cri/image/worker.h"

#define MEMBERS_DEADLINE_MS (2 * 3600 * 1000ULL)

struct import_image {
    struct import *import;
    size_t index; /* in archive.images */
    struct ingest *ingest;
    struct image *image;
};

struct import {
    struct ingest_table *table;
    struct import_ops ops;
    void *arg;
    char *name, *dir;
    int pipe; /* to the worker; -1 when closed */
    struct loop_io writable;
    bool watching, ended;
    struct strbuf waiting; /* what the pipe did not take */
    struct worker *worker;
    struct archive archive;
    struct import_image *images;
    size_t started, finished;
    struct loop_deferred next;
};

/* ---- ending ---- */

static void close_pipe(struct import *im)
{
    if (im->watching)
        loop_io_done(&im->writable);
    im->watching = false;
    if (im->pipe >= 0)
        (void)close(im->pipe);
    im->pipe = -1;
}

struct import *import_cancel(struct import *im)
{
    if (!im)
        return NULL;
    close_pipe(im);
    (void)worker_cancel(im->worker);
    for (size_t i = 0; im->images && i < im->archive.n_images; i++) {
        (void)ingest_cancel(im->images[i].ingest);
        (void)image_unref(im->images[i].image);
    }
    loop_deferred_done(&im->next);
    if (im->dir)
        store_trash(im->table->store, im->dir);
    archive_done(&im->archive);
    strbuf_done(&im->waiting);
    free(im->images);
    free(im->name);
    free(im->dir);
    free(im);
    return NULL;
}

static void fail(struct import *im, const struct error *err)
{
    struct import_ops ops = im->ops;
    void *arg = im->arg;
    struct error copy = *err;
    (void)import_cancel(im);
    ops.done(NULL, 0, &copy, arg);
}

static void succeed(struct import *im)
{
    size_t count = im->archive.n_images;
    _cleanup_free_ struct image **images = mem_zalloc((count + 1) * sizeof(struct image *));
    for (size_t i = 0; i < count; i++)
        images[i] = image_ref(im->images[i].image);
    struct import_ops ops = im->ops;
    void *arg = im->arg;
    (void)import_cancel(im);
    ops.done(images, count, NULL, arg);
    for (size_t i = 0; i < count; i++)
        (void)image_unref(images[i]);
}

/* ---- ingesting what the archive holds, one image after the other ---- */

static void fetch_layer(struct ingest *ingest, size_t i, void *arg)
{
    struct import_image *ii = arg;
    const struct archive_layer *layer = &ii->import->archive.images[ii->index].layers[i];
    _cleanup_close_ int fd = open(layer->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        struct error err = ERROR_INIT;
        (void)error_errno(&err, -errno, "%s", layer->file);
        ingest_fail(ingest, &err);
        return;
    }
    /* Its digest was taken when the archive was taken apart. */
    ingest_layer_file(ingest, i, fd, layer->size);
    ingest_layer_complete(ingest, i);
}

static void on_ingested(struct image *image, const struct error *err, void *arg)
{
    struct import_image *ii = arg;
    ii->ingest = NULL;
    if (!image) {
        fail(ii->import, err);
        return;
    }
    ii->image = image_ref(image);
    ii->import->finished++;
    loop_defer(&ii->import->next);
}

static void on_next(void *arg)
{
    static const struct ingest_ops ops = {.fetch = fetch_layer, .done = on_ingested};
    struct import *im = arg;
    if (im->finished == im->archive.n_images) {
        succeed(im);
        return;
    }
    if (im->started > im->finished)
        return;
    struct import_image *ii = &im->images[im->started];
    struct archive_image *a = &im->archive.images[im->started++];
    struct ingest_image image = {
        .manifest_digest = a->manifest_digest,
        .manifest = a->manifest.data,
        .manifest_len = a->manifest.len,
        .config_digest = a->config_digest,
        .config = a->config.data,
        .config_len = a->config.len,
        .names = (const char *const *)a->names,
    };
    struct error err = ERROR_INIT;
    if (ingest_start(im->table, &image, a->n_layers, &ops, ii, &ii->ingest, &err))
        fail(im, &err);
}

static void on_members(const json_t *answer, const struct error *failure, void *arg)
{
    struct import *im = arg;
    struct error err = ERROR_INIT;
    im->worker = NULL;
    close_pipe(im);
    _cleanup_free_ char *dir = fs_join(im->dir, "members");
    if (!answer)
        err = *failure;
    else
        (void)archive_read(dir, json_object_get(answer, "members"), im->name, &im->archive, &err);
    if (err.code) {
        fail(im, &err);
        return;
    }
    im->images = mem_zalloc((im->archive.n_images + 1) * sizeof(*im->images));
    for (size_t i = 0; i < im->archive.n_images; i++) {
        im->images[i].import = im;
        im->images[i].index = i;
    }
    loop_defer(&im->next);
}

/* ---- feeding the worker ---- */

/* Writes what waits; a worker that is gone is noticed by its end, not here. */
static void flush(struct import *im)
{
    while (im->pipe >= 0 && im->waiting.len) {
        ssize_t n = write(im->pipe, im->waiting.data, im->waiting.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            close_pipe(im);
            return;
        }
        strbuf_consume(&im->waiting, (size_t)n);
    }
    if (im->ended)
        close_pipe(im);
}

static void on_writable(_unused_ int fd, _unused_ short events, void *arg)
{
    struct import *im = arg;
    flush(im);
    if (im->waiting.len && im->pipe >= 0)
        return;
    if (im->watching)
        loop_io_done(&im->writable);
    im->watching = false;
    strbuf_done(&im->waiting);
    im->ops.writable(im->arg);
}

bool import_write(struct import *im, const void *data, size_t len)
{
    if (im->pipe < 0)
        return true; /* the worker has ended: the rest of the stream has no reader */
    strbuf_add(&im->waiting, data, len);
    flush(im);
    if (im->pipe < 0 || !im->waiting.len)
        return true;
    if (!im->watching)
        im->watching = loop_io_init(&im->writable, im->table->store->loop, "image import", im->pipe,
                                    EV_WRITE, on_writable, im) == 0;
    return false;
}

void import_end(struct import *im)
{
    im->ended = true;
    flush(im);
}

/* The worker reads the archive from @fd. */
static int start_worker(struct import *im, int fd, struct error *err)
{
    _cleanup_free_ char *dir = fs_join(im->dir, "members");
    if (mkdir(dir, 0700) < 0)
        return error_errno(err, -errno, "%s", dir);
    const char *args[] = {"members", NULL};
    struct worker_spec spec = {
        .args = args, .dir = dir, .fds = &fd, .n_fds = 1, .deadline_ms = MEMBERS_DEADLINE_MS};
    im->worker = worker_start(im->table->store, &spec, on_members, im, err);
    return im->worker ? 0 : err->code;
}

static struct import *make_import(struct ingest_table *table, const char *name,
                                  const struct import_ops *ops, void *arg, struct error *err)
{
    struct import *im = mem_zalloc(sizeof(*im));
    im->table = table;
    im->ops = *ops;
    im->arg = arg;
    im->pipe = -1;
    im->name = str_dup(name);
    loop_deferred_init(&im->next, table->store->loop, on_next, im);
    im->dir = store_tmp_new(table->store, err);
    return im->dir ? im : import_cancel(im);
}

struct import *import_start(struct ingest_table *table, const char *name,
                            const struct import_ops *ops, void *arg, struct error *err)
{
    struct import *im = make_import(table, name, ops, arg, err);
    int fds[2];
    if (!im)
        return NULL;
    if (pipe2(fds, O_CLOEXEC) < 0) {
        (void)error_errno(err, -errno, "cannot make a pipe");
        return import_cancel(im);
    }
    (void)fcntl(fds[1], F_SETFL, O_NONBLOCK);
    (void)fcntl(fds[1], F_SETPIPE_SZ, 1 << 20); /* fewer switches; the default does too */
    im->pipe = fds[1];
    int r = start_worker(im, fds[0], err);
    (void)close(fds[0]);
    return r ? import_cancel(im) : im;
}

struct import *import_file(struct ingest_table *table, int fd, const struct import_ops *ops,
                           void *arg, struct error *err)
{
    struct import *im = make_import(table, NULL, ops, arg, err);
    return im && start_worker(im, fd, err) ? import_cancel(im) : im;
}
