/* The image store: opening, queries, names, uses; see store.h. */
#include "cri/image/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "cri/image/manifest.h"
#include "cri/image/reference.h"
#include "cri/image/store_private.h"

/* ---- images ---- */

struct image *store_image_new(const char *id)
{
    struct image *image = mem_zalloc(sizeof(*image));
    image->refs = 1;
    (void)snprintf(image->id, sizeof(image->id), "%s", id);
    image->tags = mem_zalloc(sizeof(char *));
    image->digests = mem_zalloc(sizeof(char *));
    return image;
}

struct image *image_ref(struct image *image)
{
    image->refs++;
    return image;
}

struct image *image_unref(struct image *image)
{
    if (image && --image->refs == 0) {
        (void)image_strings_free(image->tags);
        (void)image_strings_free(image->digests);
        free(image->chain);
        map_clear(&image->uses);
        free(image);
    }
    return NULL;
}

static void free_image_value(void *image)
{
    (void)image_unref(image);
}

static void free_reference_value(void *value)
{
    struct store_reference *reference = value;
    free(reference->name);
    free(reference);
}

/* ---- opening ---- */

static char *beside_us(const char *program)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    return str_printf("%s/%s", slash ? self : ".", program);
}

static int take_lock(struct image_store *store, struct error *err)
{
    _cleanup_free_ char *path = fs_join(store->dir, "lock");
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock_fd < 0)
        return error_errno(err, -errno, "%s", path);
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? error_set(err, -EBUSY, "the image store %s is in use by another process",
                               store->dir)
                   : error_errno(err, -errno, "%s", path);
    return 0;
}

/* tmp/ of an earlier process goes out as a whole, in the background. */
static int sweep(struct image_store *store, struct error *err)
{
    char suffix[9];
    random_hex(suffix, 8);
    _cleanup_free_ char *old = str_printf("%s.old-%s", store->tmp_dir, suffix);
    bool had = rename(store->tmp_dir, old) == 0;
    int r = fs_mkdirs(store->tmp_dir, 0700, err);
    if (!r && had)
        store_trash(store, old);
    return r;
}

static int make_dirs(struct image_store *store, struct error *err)
{
    static const char *const names[] = {"blobs/sha256", "images",       "references",
                                        "pins",         "layers/empty", "quarantine"};
    /* Only root passes: layers hold setuid programs and other people's secrets. What is above is
     * not ours alone. */
    _cleanup_free_ char *above = str_dup(store->dir);
    char *slash = strrchr(above, '/');
    int r = 0;
    if (slash && slash != above) {
        *slash = '\0';
        r = fs_mkdirs(above, 0755, err);
    }
    if (!r)
        r = fs_mkdirs(store->dir, 0700, err);
    for (size_t i = 0; i < ARRAY_SIZE(names) && !r; i++) {
        _cleanup_free_ char *path = fs_join(store->dir, names[i]);
        r = fs_mkdirs(path, 0755, err);
    }
    return r;
}

struct image_store *image_store_open(struct loop *loop, const struct image_store_options *options,
                                     struct error *err)
{
    struct image_store *store = mem_zalloc(sizeof(*store));
    store->loop = loop;
    store->dir = str_dup(options->dir);
    store->layers_dir = fs_join(options->dir, "layers");
    store->tmp_dir = fs_join(options->dir, "tmp");
    store->worker = options->worker ? str_dup(options->worker) : beside_us("coracle-unpack");
    store->lock_fd = -1;
    store->layers.free_value = free;
    store->images.free_value = free_image_value;
    store->references.free_value = free_reference_value;
    store->pins.free_value = store_pin_free;
    if (make_dirs(store, err) || take_lock(store, err) || sweep(store, err))
        return image_store_free(store);
    store_load(store);
    return store;
}

const char *image_store_layers_dir(const struct image_store *store)
{
    return store->layers_dir;
}

/* ---- queries ---- */

static struct image *by_prefix(const struct image_store *store, const char *digits)
{
    size_t len = strlen(digits);
    struct image *found = NULL;
    if (len < 4 || len > 64 || strspn(digits, "0123456789abcdef") != len)
        return NULL;
    MAP_FOR_EACH(e, &store->images) {
        struct image *image = map_value(e);
        if (image->removed || strncmp(digest_digits(image->id), digits, len) != 0)
            continue;
        if (found)
            return NULL;
        found = image;
    }
    return found;
}

static struct image *by_name(const struct image_store *store, const char *name)
{
    struct image_reference ref;
    if (image_reference_parse(name, &ref, NULL))
        return NULL;
    _cleanup_free_ char *text = image_reference_text(&ref);
    struct store_reference *r = map_get(&store->references, text);
    image_reference_done(&ref);
    return r ? map_get(&store->images, r->image) : NULL;
}

struct image *image_store_find(struct image_store *store, const char *name)
{
    struct image *image = NULL;
    if (digest_valid(name)) {
        image = map_get(&store->images, name);
        if (image && image->removed)
            image = NULL;
    } else {
        image = by_name(store, name);
        if (!image)
            image = by_prefix(store, str_starts(name, "sha256:") ? name + 7 : name);
    }
    return image ? image_ref(image) : NULL;
}

void image_store_each(struct image_store *store, void (*cb)(struct image *image, void *arg),
                      void *arg)
{
    MAP_FOR_EACH(e, &store->images) {
        struct image *image = map_value(e);
        if (!image->removed)
            cb(image, arg);
    }
}

const char *image_store_dir(const struct image_store *store)
{
    return store->dir;
}

void image_store_usage(const struct image_store *store, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
    *ret_bytes = *ret_inodes = 0;
    MAP_FOR_EACH(e, &store->layers) {
        const struct store_layer *layer = map_value(e);
        *ret_bytes += layer->bytes;
        *ret_inodes += layer->inodes;
    }
}

int image_config_load(struct image_store *store, const struct image *image,
                      struct image_config *ret, struct error *err)
{
    memset(ret, 0, sizeof(*ret));
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = store_blob_get(store, image->id, &text, err);
    if (r)
        return r;
    _cleanup_json_ json_t *j = json_parse(strbuf_text(&text), text.len, err);
    r = j ? image_config_parse(j, ret, err) : -EINVAL;
    return r ? error_prefix(err, r, "the config of image %s", image->id) : 0;
}

char *store_layer_name(const struct store_layer *layer)
{
    return str_printf("%u/fs", layer->number);
}

int image_layer_names(struct image_store *store, const struct image *image, char **ret,
                      struct error *err)
{
    _cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
    for (size_t i = image->n_layers; i-- > 0;) {
        const struct store_layer *layer = map_get(&store->layers, image->chain[i]);
        if (!layer)
            return error_set(err, -ENOENT, "layer %s of image %s is gone", image->chain[i],
                             image->id);
        strbuf_addf(&names, "%s%u/fs", names.len ? ":" : "", layer->number);
    }
    if (!image->n_layers)
        strbuf_adds(&names, "empty");
    *ret = strbuf_take(&names);
    return 0;
}

int image_layer_paths(struct image_store *store, const struct image *image, char ***ret,
                      struct error *err)
{
    char **list = mem_zalloc((image->n_layers + 2) * sizeof(char *));
    for (size_t i = 0; i < image->n_layers; i++) {
        const char *chain = image->chain[image->n_layers - 1 - i];
        const struct store_layer *layer = map_get(&store->layers, chain);
        if (!layer) {
            (void)image_strings_free(list);
            return error_set(err, -ENOENT, "layer %s of image %s is gone", chain, image->id);
        }
        list[i] = str_printf("%s/%u/fs", store->layers_dir, layer->number);
    }
    if (!image->n_layers)
        list[0] = fs_join(store->layers_dir, "empty");
    *ret = list;
    return 0;
}

/* ---- uses ---- */

int image_store_use(struct image_store *store, const char *image_id, const char *user)
{
    struct image *image = map_get(&store->images, image_id);
    if (!image)
        return -ENOENT;
    map_set(&image->uses, user, image);
    return 0;
}

void image_store_unuse(struct image_store *store, const char *image_id, const char *user)
{
    struct image *image = map_get(&store->images, image_id);
    if (!image || !map_remove(&image->uses, user))
        return;
    struct error err = ERROR_INIT;
    if (store->ready && image->removed && !map_count(&image->uses) &&
        store_image_drop(store, image, &err))
        log_warn("an unused image stays", "image", image_id, "error", error_text(&err), NULL);
}

void image_store_ready(struct image_store *store)
{
    store->ready = true;
    MAP_FOR_EACH(e, &store->images) {
        struct image *image = map_value(e);
        struct error err = ERROR_INIT;
        if (image->removed && !map_count(&image->uses) && store_image_drop(store, image, &err))
            log_warn("an unused image stays", "image", map_key(e), "error", error_text(&err), NULL);
    }
    store_collect(store);
}
