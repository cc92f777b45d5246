/*
 * Exports; see export.h. What the archive holds is a list (cri/unpack/export.h describes it), made
 * here from the store's records; a worker writes the archive to a pipe.
 */
#include "cri/image/export.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/digest.h"
#include "cri/image/archive.h"
#include "cri/image/manifest.h"
#include "cri/image/reference.h"
#include "cri/image/store_private.h"
#include "cri/image/worker.h"

#define CHUNK              (256 * 1024)
#define EXPORT_DEADLINE_MS (2 * 3600 * 1000ULL)

struct export_image {
    struct image *image;
    struct map tags; /* those it has in the archive */
};

struct export
{
    struct image_store *store;
    struct export_ops ops;
    void *arg;
    struct export_image *images;
    size_t n_images;
    struct list held; /* struct held_layer */
    struct worker *worker;
    int pipe; /* from the worker; -1 at its end */
    struct loop_io readable;
    bool watching, written; /* written: the worker is done and well */
    size_t waiting;         /* bytes in chunk that were not taken */
    char chunk[CHUNK];
};

struct held_layer {
    struct list entry;
    struct store_layer *layer;
};

/* ---- which images ---- */

static struct export_image *add_image(struct export *ex, struct image *image)
{
    for (size_t i = 0; i < ex->n_images; i++)
        if (ex->images[i].image == image)
            return &ex->images[i];
    ex->images = mem_grow(ex->images, ex->n_images + 1, sizeof(*ex->images));
    struct export_image *ei = &ex->images[ex->n_images++];
    *ei = (struct export_image){.image = image_ref(image)};
    return ei;
}

/* A tag's name stands for itself, everything else for all tags. */
static void add_tags(struct export_image *ei, const char *name)
{
    struct image_reference ref;
    _cleanup_free_ char *text = NULL;
    if (image_reference_parse(name, &ref, NULL) == 0) {
        text = image_reference_text(&ref);
        image_reference_done(&ref);
    }
    bool is_tag = false;
    for (char **tag = ei->image->tags; *tag; tag++)
        is_tag = is_tag || str_eq(*tag, text);
    for (char **tag = ei->image->tags; *tag; tag++)
        if (!is_tag || str_eq(*tag, text))
            map_set(&ei->tags, *tag, ei);
}

static int choose(struct export *ex, char *const *names, size_t count, struct error *err)
{
    if (!count || count > ARCHIVE_IMAGES_MAX)
        return error_set(err, -EINVAL, "names: between 1 and %d images can be exported at once",
                         ARCHIVE_IMAGES_MAX);
    for (size_t i = 0; i < count; i++) {
        _cleanup_(image_unrefp) struct image *image = image_store_find(ex->store, names[i]);
        if (!image)
            return error_set(err, -ENOENT, "no image \"%.300s\"", names[i]);
        add_tags(add_image(ex, image), names[i]);
    }
    return 0;
}

/* ---- what the archive holds ---- */

struct contents {
    json_t *members;  /* the worker's list, but for the documents in front */
    json_t *index;    /* entries of index.json */
    json_t *docker;   /* entries of manifest.json */
    struct map blobs; /* those that are in it already */
};

static json_t *add_member(json_t *list, const char *name)
{
    json_t *m = json_object();
    (void)json_object_set_new(m, "name", json_text(name));
    (void)json_array_append_new(list, m);
    return m;
}

/* The member blobs/sha256/<hex>; NULL when it is there. */
static json_t *add_blob(struct contents *c, const char *digest)
{
    _cleanup_free_ char *name = str_printf("blobs/sha256/%s", digest_digits(digest));
    if (map_has(&c->blobs, digest))
        return NULL;
    map_set(&c->blobs, digest, c);
    return add_member(c->members, name);
}

static void add_document(json_t *list, const char *name, const json_t *document)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(document, &text);
    (void)json_object_set_new(add_member(list, name), "text", json_text(text.data));
}

/* Adds the layers of @image; @paths gets their names in the archive. */
static int add_layers(struct export *ex, struct contents *c, const struct image *image,
                      json_t *descriptors, json_t *paths, struct error *err)
{
    for (size_t i = 0; i < image->n_layers; i++) {
        struct store_layer *layer = map_get(&ex->store->layers, image->chain[i]);
        if (!layer || !layer->tar)
            return error_set(
                err, -EBUSY, "image %s: layer %zu of %zu (%s) cannot be rebuilt as it came",
                image->id, i + 1, image->n_layers, layer ? layer->diff : image->chain[i]);
        struct held_layer *held = mem_zalloc(sizeof(*held));
        held->layer = layer;
        list_append(&ex->held, &held->entry);
        store_layer_hold(layer);
        json_t *m = add_blob(c, layer->diff);
        if (m) {
            (void)json_object_set_new(m, "layer", json_integer(layer->number));
            (void)json_object_set_new(m, "size", json_integer((json_int_t)layer->tar));
            (void)json_object_set_new(m, "digest", json_text(layer->diff));
        }
        _cleanup_free_ char *path = str_printf("blobs/sha256/%s", digest_digits(layer->diff));
        (void)json_array_append_new(descriptors,
                                    descriptor_json(MEDIA_OCI_LAYER, layer->diff, layer->tar));
        (void)json_array_append_new(paths, json_text(path));
    }
    return 0;
}

static json_t *platform_json(const struct image_config *config)
{
    json_t *p = json_object();
    (void)json_object_set_new(p, "os", json_text(config->os));
    (void)json_object_set_new(p, "architecture", json_text(config->architecture));
    if (config->variant && *config->variant)
        (void)json_object_set_new(p, "variant", json_text(config->variant));
    return p;
}

/* One entry of index.json for every tag, or one without a name. */
static void add_index(struct contents *c, const struct export_image *ei, json_t *descriptor)
{
    if (!map_count(&ei->tags))
        (void)json_array_append(c->index, descriptor);
    MAP_FOR_EACH(e, &ei->tags) {
        json_t *entry = json_copy(descriptor), *annotations = json_object();
        const char *tag = strrchr(map_key(e), ':');
        (void)json_object_set_new(annotations, "io.containerd.image.name", json_text(map_key(e)));
        (void)json_object_set_new(annotations, "org.opencontainers.image.ref.name",
                                  json_text(tag + 1));
        (void)json_object_set_new(entry, "annotations", annotations);
        (void)json_array_append_new(c->index, entry);
    }
}

static void add_docker(struct contents *c, const struct export_image *ei, json_t *paths)
{
    _cleanup_free_ char *config = str_printf("blobs/sha256/%s", digest_digits(ei->image->id));
    json_t *entry = json_object(), *tags = json_array();
    MAP_FOR_EACH(e, &ei->tags)
        (void)json_array_append_new(tags, json_text(map_key(e)));
    (void)json_object_set_new(entry, "Config", json_text(config));
    (void)json_object_set_new(entry, "RepoTags", tags);
    (void)json_object_set(entry, "Layers", paths);
    (void)json_array_append_new(c->docker, entry);
}

static int add_contents(struct export *ex, struct contents *c, const struct export_image *ei,
                        struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT, manifest = STRBUF_INIT;
    _cleanup_json_ json_t *layers = json_array(), *paths = json_array();
    struct image_config config;
    char digest[IMAGE_ID_MAX];
    int r = store_blob_get(ex->store, ei->image->id, &text, err);
    if (r || (r = add_layers(ex, c, ei->image, layers, paths, err)) ||
        (r = image_config_load(ex->store, ei->image, &config, err)))
        return r;
    manifest_write(ei->image->id, text.len, layers, &manifest, digest);
    _cleanup_json_ json_t *descriptor = descriptor_json(MEDIA_OCI_MANIFEST, digest, manifest.len);
    (void)json_object_set_new(descriptor, "platform", platform_json(&config));
    image_config_done(&config);
    json_t *blob = add_blob(c, ei->image->id), *m = add_blob(c, digest);
    if (blob)
        (void)json_object_set_new(blob, "blob", json_text(digest_digits(ei->image->id)));
    if (m)
        (void)json_object_set_new(m, "text", json_text(manifest.data));
    add_index(c, ei, descriptor);
    add_docker(c, ei, paths);
    return 0;
}

static int make_list(struct export *ex, struct strbuf *ret, struct error *err)
{
    struct contents c = {json_array(), json_array(), json_array(), MAP_INIT(NULL)};
    int r = 0;
    for (size_t i = 0; i < ex->n_images && !r; i++)
        r = add_contents(ex, &c, &ex->images[i], err);
    _cleanup_json_ json_t *index = json_object();
    (void)json_object_set_new(index, "schemaVersion", json_integer(2));
    (void)json_object_set_new(index, "mediaType", json_text(MEDIA_OCI_INDEX));
    (void)json_object_set_new(index, "manifests", c.index);
    _cleanup_json_ json_t *list = json_array(), *layout = json_object();
    (void)json_object_set_new(layout, "imageLayoutVersion", json_text("1.0.0"));
    add_document(list, "oci-layout", layout);
    add_document(list, "index.json", index);
    add_document(list, "manifest.json", c.docker);
    (void)json_array_extend(list, c.members);
    json_encode(list, ret);
    json_decref(c.members);
    json_decref(c.docker);
    map_clear(&c.blobs);
    return r;
}

/* ---- the stream ---- */

static void unwatch(struct export *ex)
{
    if (ex->watching)
        loop_io_done(&ex->readable);
    ex->watching = false;
}

struct export *export_cancel(struct export *ex)
{
    if (!ex)
        return NULL;
    unwatch(ex);
    closep(&ex->pipe);
    (void)worker_cancel(ex->worker);
    LIST_FOR_EACH(e, &ex->held) {
        struct held_layer *held = LIST_ENTRY(e, struct held_layer, entry);
        store_layer_release(ex->store, held->layer);
        free(held);
    }
    for (size_t i = 0; i < ex->n_images; i++) {
        (void)image_unref(ex->images[i].image);
        map_clear(&ex->images[i].tags);
    }
    free(ex->images);
    free(ex);
    return NULL;
}

static void finish(struct export *ex, const struct error *err)
{
    struct export_ops ops = ex->ops;
    void *arg = ex->arg;
    (void)export_cancel(ex);
    ops.done(err, arg);
}

/* Both the worker's word and the end of its bytes are needed. */
static void finish_if_over(struct export *ex)
{
    if (ex->written && ex->pipe < 0 && !ex->waiting)
        finish(ex, NULL);
}

static void on_worker(const json_t *answer, const struct error *err, void *arg)
{
    struct export *ex = arg;
    ex->worker = NULL;
    ex->written = answer != NULL;
    if (answer)
        finish_if_over(ex);
    else
        finish(ex, err);
}

static void on_readable(int fd, _unused_ short events, void *arg)
{
    struct export *ex = arg;
    ssize_t n = read(fd, ex->chunk, sizeof(ex->chunk));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        unwatch(ex);
        (void)close(ex->pipe);
        ex->pipe = -1;
        finish_if_over(ex);
        return;
    }
    ex->waiting = ex->ops.data(ex->chunk, (size_t)n, ex->arg) ? 0 : (size_t)n;
    if (ex->waiting)
        unwatch(ex);
}

static int watch(struct export *ex)
{
    int r = loop_io_init(&ex->readable, ex->store->loop, "image export", ex->pipe, EV_READ,
                         on_readable, ex);
    ex->watching = r == 0;
    return r;
}

void export_continue(struct export *ex)
{
    struct error err = ERROR_INIT;
    if (!ex->waiting || !ex->ops.data(ex->chunk, ex->waiting, ex->arg))
        return;
    ex->waiting = 0;
    if (watch(ex)) {
        (void)error_set(&err, -ENOMEM, "cannot wait for the archive");
        finish(ex, &err);
    }
}

/* The list goes to the worker as a file in memory: it may be longer than a message. */
static int start_worker(struct export *ex, const struct strbuf *list, struct error *err)
{
    int fds[2];
    _cleanup_close_ int file = memfd_create("export", MFD_CLOEXEC);
    if (file < 0 || write(file, list->data, list->len) != (ssize_t)list->len)
        return error_errno(err, file < 0 ? -errno : -ENOMEM, "cannot pass on what to export");
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(err, -errno, "cannot make a pipe");
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    (void)fcntl(fds[1], F_SETPIPE_SZ, CHUNK);
    ex->pipe = fds[0];
    const char *args[] = {"export", NULL};
    const int theirs[] = {file, fds[1]};
    struct worker_spec spec = {.args = args,
                               .dir = ex->store->dir,
                               .fds = theirs,
                               .n_fds = ARRAY_SIZE(theirs),
                               .deadline_ms = EXPORT_DEADLINE_MS};
    ex->worker = worker_start(ex->store, &spec, on_worker, ex, err);
    (void)close(fds[1]);
    return ex->worker ? watch(ex) : err->code;
}

struct export *export_start(struct image_store *store, char *const *names, size_t count,
                            const struct export_ops *ops, void *arg, struct error *err)
{
    struct export *ex = mem_zalloc(sizeof(*ex));
    ex->store = store;
    ex->ops = *ops;
    ex->arg = arg;
    ex->pipe = -1;
    list_init(&ex->held);
    _cleanup_strbuf_ struct strbuf list = STRBUF_INIT;
    if (choose(ex, names, count, err) || make_list(ex, &list, err) || start_worker(ex, &list, err))
        return export_cancel(ex);
    return ex;
}
