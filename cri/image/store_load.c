/* Reading the store's records when it is opened; see store.h. A record is the file of one layer,
 * image or name; one that cannot be read or contradicts itself goes to quarantine/. */
#include "cri/image/store_private.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/times.h"
#include "cri/image/reference.h"

static void quarantine(struct image_store *store, const char *path, const char *why)
{
    char suffix[9];
    random_hex(suffix, 8);
    const char *base = strrchr(path, '/') + 1;
    _cleanup_free_ char *to = str_printf("%s/quarantine/%s-%s", store->dir, base, suffix);
    log_warn("image store: a damaged record was set aside", "record", path, "reason", why, "to", to,
             NULL);
    if (rename(path, to) < 0)
        log_warn("image store: cannot set a record aside", "record", path, "error", strerror(errno),
                 NULL);
}

/* Copies a digest out of a record; false when it is none. */
static bool get_digest(const json_t *j, const char *key, char out[IMAGE_ID_MAX])
{
    const char *s = json_path_string(j, key);
    if (!digest_valid(s))
        return false;
    (void)snprintf(out, IMAGE_ID_MAX, "%s", s);
    return true;
}

static uint64_t get_number(const json_t *j, const char *key)
{
    int64_t n = json_path_int(j, key, 0);
    return n > 0 ? (uint64_t)n : 0;
}

static void load_layer(struct image_store *store, const char *dir, const char *name)
{
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (str_eq(name, "empty"))
        return;
    _cleanup_free_ char *record = fs_join(dir, "layer.json");
    _cleanup_free_ char *fs = fs_join(dir, "fs");
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *j = json_parse_file(record, RECORD_BYTES_MAX, &err);
    struct store_layer l = {.number = (unsigned)number, .unsure = true};
    if (!j || *end || number < 1 || number > 99999999 || !get_digest(j, "chain", l.chain) ||
        !get_digest(j, "diff", l.diff) || !fs_exists(fs) || map_has(&store->layers, l.chain)) {
        /* A layer is worth nothing without its record: it is pulled again. */
        log_warn("image store: a damaged layer was removed", "layer", dir, "reason",
                 j ? "its record is incomplete or doubled" : error_text(&err), NULL);
        store_trash(store, dir);
        return;
    }
    (void)get_digest(j, "parent", l.parent);
    l.bytes = get_number(j, "bytes");
    l.inodes = get_number(j, "inodes");
    l.tar = get_number(j, "tar");
    if (l.number > store->last_number)
        store->last_number = l.number;
    map_set(&store->layers, l.chain, mem_dup(&l, sizeof(l)));
}

static bool load_chain(struct image_store *store, const json_t *j, struct image *image)
{
    const json_t *list = json_object_get(j, "layers");
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > IMAGE_MAX_LAYERS)
        return false;
    image->chain = mem_zalloc((count + 1) * sizeof(*image->chain));
    for (size_t i = 0; i < count; i++) {
        const char *chain = json_string_value(json_array_get(list, i));
        const struct store_layer *layer = chain ? map_get(&store->layers, chain) : NULL;
        if (!layer)
            return false;
        (void)snprintf(image->chain[i], IMAGE_ID_MAX, "%s", chain);
        image->size += layer->bytes;
        image->n_layers = i + 1;
    }
    return true;
}

static const char *load_image(struct image_store *store, const json_t *j, const char *name)
{
    char id[IMAGE_ID_MAX], manifest[IMAGE_ID_MAX];
    if (!get_digest(j, "id", id) || !get_digest(j, "manifest", manifest) ||
        strncmp(digest_digits(id), name, 64) != 0 || strlen(name) != 64 + strlen(".json"))
        return "it is incomplete";
    _cleanup_strbuf_ struct strbuf config = STRBUF_INIT;
    if (store_blob_get(store, id, &config, NULL))
        return "its config is gone";
    struct image *image = store_image_new(id);
    (void)snprintf(image->manifest, sizeof(image->manifest), "%s", manifest);
    image->created = json_path_int(j, "created", 0);
    image->named = json_path_bool(j, "named", false);
    image->removed = json_path_bool(j, "removed", false);
    if (!load_chain(store, j, image)) {
        (void)image_unref(image);
        return "a layer is gone";
    }
    for (size_t i = 0; i < image->n_layers; i++) {
        struct store_layer *layer = map_get(&store->layers, image->chain[i]);
        layer->images++;
        layer->unsure = false;
    }
    map_set(&store->images, id, image);
    return NULL;
}

static const char *load_reference(struct image_store *store, const json_t *j)
{
    const char *name = json_path_string(j, "reference");
    struct store_reference reference = {.name = NULL};
    struct image_reference parsed;
    if (!get_digest(j, "image", reference.image) || image_reference_parse(name, &parsed, NULL))
        return "it is incomplete";
    image_reference_done(&parsed);
    if (!map_has(&store->images, reference.image))
        return "its image is gone";
    reference.name = str_dup(name);
    map_set(&store->references, name, mem_dup(&reference, sizeof(reference)));
    return NULL;
}

enum record_kind { RECORD_LAYER, RECORD_IMAGE, RECORD_REFERENCE, RECORD_PIN };

static void load_record(struct image_store *store, enum record_kind kind, const char *path,
                        const char *name)
{
    if (kind == RECORD_LAYER) {
        load_layer(store, path, name);
        return;
    }
    if (strstr(name, ".tmp-")) { /* left by a write that was cut off */
        (void)unlink(path);
        return;
    }
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *j = json_parse_file(path, RECORD_BYTES_MAX, &err);
    const char *why = !j                     ? error_text(&err)
                      : kind == RECORD_IMAGE ? load_image(store, j, name)
                      : kind == RECORD_PIN   ? store_pin_load(store, j)
                                             : load_reference(store, j);
    if (why)
        quarantine(store, path, why);
}

static void load_dir(struct image_store *store, const char *sub, enum record_kind kind)
{
    _cleanup_free_ char *dir = fs_join(store->dir, sub);
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        _cleanup_free_ char *path = fs_join(dir, e->d_name);
        load_record(store, kind, path, e->d_name);
    }
    if (!d)
        log_error("image store: cannot be listed", "directory", dir, "error", strerror(errno),
                  NULL);
    else
        (void)closedir(d);
}

static int older_first(const void *a, const void *b)
{
    const struct image *x = *(struct image *const *)a, *y = *(struct image *const *)b;
    return x->created < y->created ? -1 : x->created > y->created;
}

/* Directories list in any order; images are kept oldest first. */
static void sort_images(struct image_store *store)
{
    size_t n = map_count(&store->images), i = 0;
    struct image **all = mem_zalloc((n + 1) * sizeof(struct image *));
    MAP_FOR_EACH(e, &store->images)
        all[i++] = image_ref(map_value(e));
    qsort(all, n, sizeof(struct image *), older_first);
    map_clear(&store->images);
    for (i = 0; i < n; i++)
        map_set(&store->images, all[i]->id, all[i]);
    free(all);
}

/* Blobs that no image names, and halves of writes. */
static void sweep_blobs(struct image_store *store)
{
    _cleanup_free_ char *dir = fs_join(store->dir, "blobs/sha256");
    struct map wanted = MAP_INIT(NULL);
    MAP_FOR_EACH(e, &store->images) {
        struct image *image = map_value(e);
        map_set(&wanted, digest_digits(image->id), image);
        map_set(&wanted, digest_digits(image->manifest), image);
    }
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (e->d_name[0] == '.' || map_has(&wanted, e->d_name))
            continue;
        _cleanup_free_ char *path = fs_join(dir, e->d_name);
        (void)unlink(path);
    }
    if (d)
        (void)closedir(d);
    map_clear(&wanted);
}

void store_load(struct image_store *store)
{
    load_dir(store, "layers", RECORD_LAYER);
    load_dir(store, "images", RECORD_IMAGE);
    load_dir(store, "references", RECORD_REFERENCE);
    sort_images(store);
    load_dir(store, "pins", RECORD_PIN);
    sweep_blobs(store);
    MAP_FOR_EACH(e, &store->images) {
        struct image *image = map_value(e);
        store_names_changed(store, image);
        /* Cut off between its record and its names, or between the last of them and its record. */
        if (image->named && !image->tags[0] && !image->digests[0])
            image->removed = true;
    }
}
