/* Changes of the store: layers, blobs, images, names, collection; see store.h. */
#include "cri/image/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/times.h"
#include "cri/image/manifest.h"
#include "cri/image/reference.h"
#include "cri/image/worker.h"

/* ---- temporary trees ---- */

char *store_tmp_new(struct image_store *store, struct error *err)
{
    char name[17];
    random_hex(name, 16);
    _cleanup_free_ char *path = fs_join(store->tmp_dir, name);
    if (mkdir(path, 0700) < 0) {
        (void)error_errno(err, -errno, "cannot make directory %s", path);
        return NULL;
    }
    return TAKE_PTR(path);
}

#define REMOVAL_DEADLINE_MS (30 * 60 * 1000ULL)
#define REMOVAL_NAMES_MAX   60

static void remove_next(struct image_store *store);

static void on_removed(const json_t *answer, const struct error *err, void *arg)
{
    struct image_store *store = arg;
    store->removal = NULL;
    if (!answer) /* the next opening sweeps what is left */
        log_warn("image store: a tree was not removed", "error", error_text(err), NULL);
    remove_next(store);
}

/* One job at a time, for all that waits: many small trees cost one process. */
static void remove_next(struct image_store *store)
{
    const char *args[REMOVAL_NAMES_MAX + 2] = {"remove"};
    size_t n = 0, at = 0;
    struct error err = ERROR_INIT;
    if (store->removal || !store->trash.len)
        return;
    for (; at < store->trash.len && n < REMOVAL_NAMES_MAX; n++) {
        args[n + 1] = store->trash.data + at;
        at += strlen(store->trash.data + at) + 1;
    }
    struct worker_spec spec = {
        .args = args, .dir = store->tmp_dir, .deadline_ms = REMOVAL_DEADLINE_MS};
    store->removal = worker_start(store, &spec, on_removed, store, &err);
    if (!store->removal)
        log_warn("image store: a tree was not removed", "error", error_text(&err), NULL);
    strbuf_consume(&store->trash, at);
}

void store_trash(struct image_store *store, const char *path)
{
    char random[17];
    random_hex(random, 16);
    _cleanup_free_ char *name = str_printf("gone-%s", random);
    _cleanup_free_ char *to = fs_join(store->tmp_dir, name);
    if (rename(path, to) < 0) {
        if (errno != ENOENT)
            log_warn("image store: a tree was not removed", "path", path, "error", strerror(errno),
                     NULL);
        return;
    }
    strbuf_add(&store->trash, name, strlen(name) + 1);
    remove_next(store);
}

struct image_store *image_store_free(struct image_store *store)
{
    if (!store)
        return NULL;
    (void)worker_cancel(store->removal); /* the next opening sweeps what is left */
    (void)worker_server_free(store->server);
    strbuf_done(&store->trash);
    map_clear(&store->pins);
    map_clear(&store->references);
    map_clear(&store->images);
    map_clear(&store->layers);
    if (store->lock_fd >= 0)
        (void)close(store->lock_fd);
    free(store->dir);
    free(store->layers_dir);
    free(store->tmp_dir);
    free(store->worker);
    free(store);
    return NULL;
}

/* ---- layers ---- */

struct store_layer *store_layer_find(struct image_store *store, const char *chain)
{
    struct store_layer *layer = map_get(&store->layers, chain);
    return layer && !layer->unsure ? layer : NULL;
}

static void drop_layer(struct image_store *store, struct store_layer *layer)
{
    _cleanup_free_ char *path = str_printf("%s/%u", store->layers_dir, layer->number);
    (void)map_remove(&store->layers, layer->chain);
    store_trash(store, path);
}

void store_layer_hold(struct store_layer *layer)
{
    layer->holds++;
}

void store_layer_release(struct image_store *store, struct store_layer *layer)
{
    layer->holds--;
    if (store->ready && !layer->holds && !layer->images)
        drop_layer(store, layer);
}

void store_collect(struct image_store *store)
{
    if (!store->ready)
        return;
    MAP_FOR_EACH(e, &store->layers) {
        struct store_layer *layer = map_value(e);
        if (!layer->images && !layer->holds)
            drop_layer(store, layer);
    }
}

static void add_text(json_t *j, const char *key, const char *value)
{
    (void)json_object_set_new(j, key, json_text(value));
}

struct store_layer *store_layer_publish(struct image_store *store, const char *dir,
                                        const struct store_layer *what, struct error *err)
{
    struct store_layer *there = map_get(&store->layers, what->chain);
    if (there && !there->unsure)
        return there;
    if (there) {
        /* Its holder of before is gone; a container may still have it mounted, then the tree
         * lives on unnamed until that mount goes. */
        drop_layer(store, there);
    }
    struct store_layer layer = *what;
    layer.number = store->last_number + 1;
    layer.images = layer.holds = 0;
    layer.unsure = false;
    _cleanup_json_ json_t *j = json_object();
    add_text(j, "chain", layer.chain);
    add_text(j, "diff", layer.diff);
    add_text(j, "parent", layer.parent);
    (void)json_object_set_new(j, "bytes", json_integer((json_int_t)layer.bytes));
    (void)json_object_set_new(j, "inodes", json_integer((json_int_t)layer.inodes));
    (void)json_object_set_new(j, "tar", json_integer((json_int_t)layer.tar));
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(j, &text);
    _cleanup_free_ char *record = fs_join(dir, "layer.json");
    _cleanup_free_ char *to = str_printf("%s/%u", store->layers_dir, layer.number);
    if (fs_write_atomic(record, text.data, text.len, 0600, FS_VOLATILE, err))
        return NULL;
    if (rename(dir, to) < 0) {
        (void)error_errno(err, -errno, "cannot add layer %s", to);
        return NULL;
    }
    store->last_number = layer.number;
    map_set(&store->layers, layer.chain, mem_dup(&layer, sizeof(layer)));
    return map_get(&store->layers, layer.chain);
}

/* ---- blobs ---- */

static char *blob_path(const struct image_store *store, const char *digest)
{
    return str_printf("%s/blobs/sha256/%s", store->dir, digest_digits(digest));
}

int store_blob_put(struct image_store *store, const char *digest, const void *data, size_t len,
                   struct error *err)
{
    _cleanup_free_ char *path = blob_path(store, digest);
    /* Written again even when it is there: what is there may be damaged. */
    return fs_write_atomic(path, data, len, 0600, FS_VOLATILE, err);
}

int store_blob_get(struct image_store *store, const char *digest, struct strbuf *out,
                   struct error *err)
{
    _cleanup_free_ char *path = blob_path(store, digest);
    int r = fs_read(path, MANIFEST_BYTES_MAX, out, err);
    if (r)
        return r;
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(strbuf_text(out), out->len, hex);
    return !str_eq(hex, digest_digits(digest)) ? error_set(err, -EIO, "%s is damaged", path) : 0;
}

/* ---- images and names ---- */

static char *record_path(const struct image_store *store, const char *sub, const char *hex)
{
    return str_printf("%s/%s/%s.json", store->dir, sub, hex);
}

static int write_record(struct image_store *store, const char *sub, const char *hex,
                        const json_t *j, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(j, &text);
    _cleanup_free_ char *path = record_path(store, sub, hex);
    return fs_write_atomic(path, text.data, text.len, 0600, FS_DURABLE, err);
}

/* Writes a record beside its place, for @image; a worker's sync makes it durable, then
 * publish_record() puts it there. Leftovers are swept when the store is opened. */
static char *staged_path(const struct image_store *store, const char *sub, const char *hex,
                         const char *image)
{
    return str_printf("%s/%s/%s.json.tmp-%.16s", store->dir, sub, hex, digest_digits(image));
}

static int stage_record(struct image_store *store, const char *sub, const char *hex,
                        const char *image, const json_t *j, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(j, &text);
    _cleanup_free_ char *path = staged_path(store, sub, hex, image);
    return fs_write_atomic(path, text.data, text.len, 0600, FS_VOLATILE, err);
}

/* What was not staged is written and synced now. */
static int publish_record(struct image_store *store, const char *sub, const char *hex,
                          const char *image, const json_t *j, struct error *err)
{
    _cleanup_free_ char *from = staged_path(store, sub, hex, image);
    _cleanup_free_ char *to = record_path(store, sub, hex);
    if (rename(from, to) == 0)
        return 0;
    return errno == ENOENT ? write_record(store, sub, hex, j, err)
                           : error_errno(err, -errno, "cannot write %s", to);
}

static json_t *image_record(const struct image *image, bool removed)
{
    json_t *j = json_object(), *layers = json_array();
    add_text(j, "id", image->id);
    add_text(j, "manifest", image->manifest);
    (void)json_object_set_new(j, "created", json_integer(image->created));
    if (image->named)
        (void)json_object_set_new(j, "named", json_true());
    if (removed)
        (void)json_object_set_new(j, "removed", json_true());
    for (size_t i = 0; i < image->n_layers; i++)
        (void)json_array_append_new(layers, json_text(image->chain[i]));
    (void)json_object_set_new(j, "layers", layers);
    return j;
}

static struct image *make_image(const char *id, const char *manifest,
                                struct store_layer *const *layers, size_t n_layers, bool named)
{
    struct image *image = store_image_new(id);
    (void)snprintf(image->manifest, sizeof(image->manifest), "%s", manifest);
    image->created = time_now_nano();
    image->named = named;
    image->chain = mem_zalloc((n_layers + 1) * sizeof(*image->chain));
    for (size_t i = 0; i < n_layers; i++) {
        memcpy(image->chain[i], layers[i]->chain, IMAGE_ID_MAX);
        image->size += layers[i]->bytes;
    }
    image->n_layers = n_layers;
    return image;
}

static json_t *reference_record(const char *name, const char *image)
{
    json_t *j = json_object();
    add_text(j, "reference", name);
    add_text(j, "image", image);
    return j;
}

char *store_record_path(const struct image_store *store, const char *sub, const char *key)
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(key, strlen(key), hex);
    return record_path(store, sub, hex);
}

static void reference_hex(const char *name, char hex[SHA256_HEX_LEN + 1])
{
    sha256_hex(name, strlen(name), hex);
}

static bool names_image(const struct image_store *store, const char *name, const char *image)
{
    const struct store_reference *reference = map_get(&store->references, name);
    return reference && str_eq(reference->image, image);
}

bool store_image_listed(const struct image_store *store, const char *id)
{
    const struct image *image = map_get(&store->images, id);
    return image && !image->removed;
}

bool store_image_known(const struct image_store *store, const char *id, char *const *names)
{
    for (; *names; names++)
        if (!names_image(store, *names, id))
            return false;
    return store_image_listed(store, id);
}

/* Whether the record that is there says less than what comes. */
static bool needs_record(const struct image_store *store, const char *id, bool named)
{
    const struct image *image = map_get(&store->images, id);
    return !image || image->removed || (named && !image->named);
}

int store_image_stage(struct image_store *store, const char *id, const char *manifest,
                      struct store_layer *const *layers, size_t n_layers, char *const *names,
                      struct error *err)
{
    int r = 0;
    if (needs_record(store, id, *names)) {
        _cleanup_(image_unrefp) struct image *image =
            make_image(id, manifest, layers, n_layers, *names);
        _cleanup_json_ json_t *j = image_record(image, false);
        r = stage_record(store, "images", digest_digits(id), id, j, err);
    }
    for (; *names && !r; names++) {
        char hex[SHA256_HEX_LEN + 1];
        reference_hex(*names, hex);
        _cleanup_json_ json_t *j = reference_record(*names, id);
        r = names_image(store, *names, id) ? 0 : stage_record(store, "references", hex, id, j, err);
    }
    return r;
}

struct image *store_image_put(struct image_store *store, const char *id, const char *manifest,
                              struct store_layer *const *layers, size_t n_layers, bool named,
                              struct error *err)
{
    struct image *there = map_get(&store->images, id);
    if (!needs_record(store, id, named))
        return there;
    _cleanup_(image_unrefp) struct image *image =
        there ? image_ref(there) : make_image(id, manifest, layers, n_layers, named);
    image->named = image->named || named;
    _cleanup_json_ json_t *j = image_record(image, false);
    if (publish_record(store, "images", digest_digits(id), id, j, err))
        return NULL;
    image->removed = false;
    if (!there) {
        for (size_t i = 0; i < n_layers; i++)
            layers[i]->images++;
        map_set(&store->images, id, image_ref(image));
        store_pins_changed(store);
    }
    return image;
}

int store_reference_put(struct image_store *store, const char *name, struct image *image,
                        struct error *err)
{
    if (names_image(store, name, image->id))
        return 0;
    const struct store_reference *old = map_get(&store->references, name);
    struct image *before = old ? map_get(&store->images, old->image) : NULL;
    char hex[SHA256_HEX_LEN + 1];
    reference_hex(name, hex);
    _cleanup_json_ json_t *j = reference_record(name, image->id);
    int r = publish_record(store, "references", hex, image->id, j, err);
    if (r)
        return r;
    struct store_reference reference = {.name = str_dup(name)};
    (void)snprintf(reference.image, sizeof(reference.image), "%s", image->id);
    map_set(&store->references, name, mem_dup(&reference, sizeof(reference)));
    store_names_changed(store, image);
    if (!before)
        return 0;
    store_names_changed(store, before);
    return before->named && !before->removed && !before->tags[0] && !before->digests[0]
               ? store_image_drop(store, before, err)
               : 0;
}

static void add_string(char ***list, size_t *count, const char *s)
{
    *list = mem_grow(*list, *count + 2, sizeof(char *));
    (*list)[(*count)++] = str_dup(s);
    (*list)[*count] = NULL;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void store_names_changed(struct image_store *store, struct image *image)
{
    size_t tags = 0, digests = 0;
    (void)image_strings_free(image->tags);
    (void)image_strings_free(image->digests);
    image->tags = mem_zalloc(sizeof(char *));
    image->digests = mem_zalloc(sizeof(char *));
    MAP_FOR_EACH(e, &store->references) {
        const struct store_reference *r = map_value(e);
        if (!str_eq(r->image, image->id))
            continue;
        if (strchr(r->name, '@'))
            add_string(&image->digests, &digests, r->name);
        else
            add_string(&image->tags, &tags, r->name);
    }
    qsort(image->tags, tags, sizeof(char *), by_text);
    qsort(image->digests, digests, sizeof(char *), by_text);
}

/* ---- removal ---- */

static int drop_reference(struct image_store *store, const char *name, struct error *err)
{
    _cleanup_free_ char *path = store_record_path(store, "references", name);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_errno(err, -errno, "cannot remove %s", path);
    (void)map_remove(&store->references, name);
    return 0;
}

int store_image_drop(struct image_store *store, struct image *image, struct error *err)
{
    if (map_count(&image->uses)) {
        _cleanup_json_ json_t *j = image_record(image, true);
        int r = write_record(store, "images", digest_digits(image->id), j, err);
        image->removed = r == 0;
        return r;
    }
    _cleanup_free_ char *path =
        str_printf("%s/images/%s.json", store->dir, digest_digits(image->id));
    if (unlink(path) < 0 && errno != ENOENT)
        return error_errno(err, -errno, "cannot remove %s", path);
    for (size_t i = 0; i < image->n_layers; i++) {
        struct store_layer *layer = map_get(&store->layers, image->chain[i]);
        if (layer)
            layer->images--;
    }
    /* Another image may have the same manifest in theory only; the config is this image's. */
    const char *blobs[] = {image->id, image->manifest};
    for (size_t i = 0; i < ARRAY_SIZE(blobs); i++) {
        _cleanup_free_ char *blob = blob_path(store, blobs[i]);
        (void)unlink(blob);
    }
    (void)map_remove(&store->images, image->id);
    store_collect(store);
    return 0;
}

/* How much of a name is the repository's: what is before the tag or the digest. */
static size_t repository_length(const char *name)
{
    const char *at = strchr(name, '@'), *slash = strrchr(name, '/');
    const char *tag = at ? NULL : strrchr(slash ? slash : name, ':');
    return at ? (size_t)(at - name) : tag ? (size_t)(tag - name) : strlen(name);
}

static bool same_repository(const char *a, const char *b)
{
    size_t n = repository_length(a);
    return n == repository_length(b) && !strncmp(a, b, n);
}

static bool has_other_tag(const struct image *image, const char *name)
{
    for (char **tag = image->tags; *tag; tag++)
        if (!str_eq(*tag, name) && same_repository(*tag, name))
            return true;
    return false;
}

/* Drops @name and what goes with it; NULL: every name of the image. */
static int drop_names(struct image_store *store, const struct image *image, const char *name,
                      struct error *err)
{
    bool alone = name && !strchr(name, '@') && has_other_tag(image, name);
    MAP_FOR_EACH(e, &store->references) {
        const struct store_reference *r = map_value(e);
        if (!str_eq(r->image, image->id) ||
            (name && !(alone ? str_eq(r->name, name) : same_repository(r->name, name))))
            continue;
        _cleanup_free_ char *own = str_dup(r->name);
        int code = drop_reference(store, own, err);
        if (code)
            return code;
    }
    return 0;
}

int image_store_remove(struct image_store *store, const char *name, struct error *err)
{
    _cleanup_(image_unrefp) struct image *image = image_store_find(store, name);
    if (!image)
        return 0;
    struct image_reference ref;
    _cleanup_free_ char *text = NULL;
    if (!digest_valid(name) && !image_reference_parse(name, &ref, NULL)) {
        text = image_reference_text(&ref);
        image_reference_done(&ref);
    }
    /* What is no name of the store is (a part of) an ID. */
    bool is_name = text && names_image(store, text, image->id);
    int r = drop_names(store, image, is_name ? text : NULL, err);
    store_names_changed(store, image);
    if (r || image->tags[0] || image->digests[0])
        return r;
    return store_image_drop(store, image, err);
}
