/*
 * Ingestions; see ingest.h.
 *
 * Theory of operation. Each layer of an ingestion goes through: waiting → claimed → fetching →
 * applying → there. ingest_step() looks at all of them and does whatever is possible; everything
 * that happens (bytes came, a worker ended, another ingestion published or gave up a layer) ends in
 * a step, deferred to the loop's next turn. A layer belongs to the ingestion that claimed it;
 * others that need it wait until it is published, or claim it when the owner failed. Waiting goes
 * only from a layer to layers below it or to the same layer of another ingestion, so it cannot
 * close a circle.
 */
#include "cri/image/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"
#include "cri/image/ingest.h"
#include "cri/image/reference.h"
#include "cri/image/worker.h"

#define APPLY_DEADLINE_MS (2 * 3600 * 1000ULL)
#define SYNC_DEADLINE_MS  (10 * 60 * 1000ULL)

enum layer_state { LAYER_WAITING, LAYER_CLAIMED, LAYER_FETCHING, LAYER_THERE };

struct ingest_layer {
    struct ingest *ingest;
    size_t index;
    enum layer_state state;
    char chain[IMAGE_ID_MAX];
    const char *diff;          /* of ingest->diff_ids */
    struct store_layer *layer; /* held once there */
    char *dir;                 /* in tmp/, while claimed */
    int fd, progress[2];       /* progress[1] is closed when the file is complete */
    uint64_t size;
    bool complete, applied;
    uint64_t bytes, inodes, tar;
    struct worker *worker;
};

struct ingest {
    struct list entry;
    struct ingest_table *table;
    struct ingest_ops ops;
    void *arg;
    char manifest_digest[IMAGE_ID_MAX], config_digest[IMAGE_ID_MAX];
    char *manifest, *config;
    size_t manifest_len, config_len;
    char **names;
    char **diff_ids;
    struct ingest_layer *layers;
    size_t n_layers;
    struct worker *sync;
    struct image *image; /* its records are in place, to be synced */
    struct loop_deferred step;
};

void ingest_table_init(struct ingest_table *table, struct image_store *store)
{
    table->store = store;
    list_init(&table->active);
}

/* ---- ending ---- */

static void unclaim(struct ingest_layer *l)
{
    l->worker = worker_cancel(l->worker);
    if (l->fd >= 0)
        (void)close(l->fd);
    for (int i = 0; i < 2; i++)
        if (l->progress[i] >= 0)
            (void)close(l->progress[i]);
    l->fd = l->progress[0] = l->progress[1] = -1;
    if (l->dir)
        store_trash(l->ingest->table->store, l->dir);
    free(l->dir);
    l->dir = NULL;
}

static void wake_others(struct ingest_table *table)
{
    LIST_FOR_EACH(e, &table->active)
        loop_defer(&LIST_ENTRY(e, struct ingest, entry)->step);
}

struct ingest *ingest_cancel(struct ingest *in)
{
    if (!in)
        return NULL;
    struct ingest_table *table = in->table;
    list_remove(&in->entry);
    loop_deferred_done(&in->step);
    (void)worker_cancel(in->sync);
    (void)image_unref(in->image);
    for (size_t i = 0; i < in->n_layers; i++) {
        unclaim(&in->layers[i]);
        if (in->layers[i].layer)
            store_layer_release(table->store, in->layers[i].layer);
    }
    free(in->layers);
    free(in->manifest);
    free(in->config);
    (void)image_strings_free(in->names);
    (void)image_strings_free(in->diff_ids);
    free(in);
    wake_others(table);
    return NULL;
}

static void finish(struct ingest *in, struct image *image, const struct error *err)
{
    void (*done)(struct image *, const struct error *, void *) = in->ops.done;
    void *arg = in->arg;
    if (image)
        (void)image_ref(image);
    (void)ingest_cancel(in);
    done(image, err, arg);
    (void)image_unref(image);
}

void ingest_fail(struct ingest *in, const struct error *err)
{
    struct error copy = *err; /* it may live in what is freed */
    finish(in, NULL, &copy);
}

/* ---- committing ---- */

static struct store_layer **held_layers(const struct ingest *in)
{
    struct store_layer **layers = mem_zalloc((in->n_layers + 1) * sizeof(struct store_layer *));
    for (size_t i = 0; i < in->n_layers; i++)
        layers[i] = in->layers[i].layer;
    return layers;
}

static int put_blobs(struct ingest *in, struct error *err)
{
    struct image_store *store = in->table->store;
    int r = store_blob_put(store, in->config_digest, in->config, in->config_len, err);
    return r ? r : store_blob_put(store, in->manifest_digest, in->manifest, in->manifest_len, err);
}

static struct image *put_records(struct ingest *in, struct error *err)
{
    struct image_store *store = in->table->store;
    _cleanup_free_ struct store_layer **layers = held_layers(in);
    /* If it was removed meanwhile, its blobs went with it. */
    if (!store_image_listed(store, in->config_digest) && put_blobs(in, err))
        return NULL;
    struct image *image = store_image_put(store, in->config_digest, in->manifest_digest, layers,
                                          in->n_layers, in->names[0], err);
    for (char **name = in->names; image && *name; name++)
        if (store_reference_put(store, *name, image, err))
            return NULL;
    return image;
}

static void on_synced(const json_t *answer, const struct error *failure, void *arg);

static int start_sync(struct ingest *in, struct error *err)
{
    const char *args[] = {"sync", NULL};
    struct worker_spec spec = {
        .args = args, .dir = in->table->store->dir, .deadline_ms = SYNC_DEADLINE_MS};
    in->sync = worker_start(in->table->store, &spec, on_synced, in, err);
    return in->sync ? 0 : err->code;
}

static void on_synced(const json_t *answer, const struct error *failure, void *arg)
{
    struct ingest *in = arg;
    struct error err = ERROR_INIT;
    in->sync = NULL;
    if (!answer) {
        ingest_fail(in, failure);
        return;
    }
    if (in->image) { /* the second one: the renames are on disk too */
        struct image *image = image_ref(in->image);
        finish(in, image, NULL);
        (void)image_unref(image);
        return;
    }
    struct image *image = put_records(in, &err);
    if (image)
        in->image = image_ref(image);
    if (!image || start_sync(in, &err))
        ingest_fail(in, &err);
}

/* Whether the image's records are in place, but perhaps not on disk yet. */
static bool syncs_elsewhere(const struct ingest *in, const struct image *image)
{
    LIST_FOR_EACH(e, &in->table->active) {
        if (LIST_ENTRY(e, struct ingest, entry)->image == image)
            return true;
    }
    return false;
}

static void commit(struct ingest *in)
{
    struct image_store *store = in->table->store;
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf config = STRBUF_INIT; /* a damaged one is written again */
    if (store_image_known(store, in->config_digest, in->names) &&
        store_blob_get(store, in->config_digest, &config, NULL) == 0) {
        struct image *image = map_get(&store->images, in->config_digest);
        if (!syncs_elsewhere(in, image)) {
            finish(in, image, NULL);
            return;
        }
        in->image = image_ref(image);
        if (start_sync(in, &err))
            ingest_fail(in, &err);
        return;
    }
    _cleanup_free_ struct store_layer **layers = held_layers(in);
    if (put_blobs(in, &err) ||
        store_image_stage(store, in->config_digest, in->manifest_digest, layers, in->n_layers,
                          in->names, &err) ||
        start_sync(in, &err))
        ingest_fail(in, &err);
}

/* ---- applying ---- */

static void layer_there(struct ingest_layer *l, struct store_layer *layer)
{
    l->layer = layer;
    store_layer_hold(layer);
    l->state = LAYER_THERE;
}

/* Both the fetcher and the worker are done: the layer becomes visible. */
static int publish(struct ingest_layer *l, struct error *err)
{
    struct ingest *in = l->ingest;
    struct store_layer what = {.bytes = l->bytes, .inodes = l->inodes, .tar = l->tar};
    memcpy(what.chain, l->chain, sizeof(what.chain));
    (void)snprintf(what.diff, sizeof(what.diff), "%s", l->diff);
    if (l->index)
        memcpy(what.parent, l[-1].chain, sizeof(what.parent));
    _cleanup_free_ char *dir = fs_join(l->dir, "layer");
    struct store_layer *layer = store_layer_publish(in->table->store, dir, &what, err);
    if (!layer)
        return err->code;
    layer_there(l, layer);
    unclaim(l);
    wake_others(in->table);
    return 0;
}

/* What the layer itself is to blame for is an invalid image, whatever the system call that showed
 * it; the rest is the machine's. */
static int blame(int code)
{
    switch (code) {
    case -ENOSPC:
    case -EDQUOT:
        return -ENOSPC;
    case -ENOMEM:
    case -EIO:
    case -EROFS:
    case -ETIMEDOUT:
    case -EMFILE:
    case -EPERM:
        return code;
    default:
        return -EINVAL;
    }
}

static void on_applied(const json_t *answer, const struct error *failure, void *arg)
{
    struct ingest_layer *l = arg;
    struct ingest *in = l->ingest;
    struct error err = ERROR_INIT;
    l->worker = NULL;
    const char *diff = json_path_string(answer, "diffID");
    if (!answer) {
        err = *failure;
        err.code = blame(err.code);
    } else if (!str_eq(diff, l->diff)) {
        (void)error_set(&err, -EINVAL, "its uncompressed digest is %s, the config says %s",
                        diff ? diff : "missing", l->diff);
    }
    if (err.code) {
        (void)error_prefix(&err, err.code, "layer %zu of %zu", l->index + 1, in->n_layers);
        ingest_fail(in, &err);
        return;
    }
    int64_t ignored = json_path_int(answer, "ignored", 0);
    if (ignored)
        log_debug("a layer had entries or attributes without meaning here", "diff", l->diff, NULL);
    l->bytes = (uint64_t)json_path_int(answer, "bytes", 0);
    l->inodes = (uint64_t)json_path_int(answer, "inodes", 0);
    l->tar = (uint64_t)json_path_int(answer, "tar", 0);
    l->applied = true;
    loop_defer(&in->step);
}

/* The layers below, top first, as the worker's overlay mount takes them. */
static char *lower_names(const struct ingest_layer *l)
{
    _cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
    for (size_t i = l->index; i-- > 0;) {
        _cleanup_free_ char *name = store_layer_name(l->ingest->layers[i].layer);
        strbuf_addf(&names, "%s%s", names.len ? ":" : "", name);
    }
    return strbuf_take(&names);
}

static int apply(struct ingest_layer *l, struct error *err)
{
    static const char *const subs[] = {"layer", "layer/fs", "work", "root"};
    struct image_store *store = l->ingest->table->store;
    for (size_t i = 0; i < ARRAY_SIZE(subs); i++) {
        _cleanup_free_ char *path = fs_join(l->dir, subs[i]);
        if (mkdir(path, 0755) < 0)
            return error_errno(err, -errno, "cannot make directory %s", path);
    }
    _cleanup_free_ char *lower = lower_names(l);
    _cleanup_free_ char *dir = str_printf("../tmp/%s", strrchr(l->dir, '/') + 1);
    char size[24];
    (void)snprintf(size, sizeof(size), "%llu", (unsigned long long)l->size);
    const char *args[] = {"apply", size, dir, lower, NULL};
    const int fds[] = {l->fd, l->progress[0]};
    struct worker_spec spec = {.args = args,
                               .dir = store->layers_dir,
                               .fds = fds,
                               .n_fds = ARRAY_SIZE(fds),
                               .deadline_ms = APPLY_DEADLINE_MS};
    l->worker = worker_start(store, &spec, on_applied, l, err);
    return l->worker ? 0 : err->code;
}

/* ---- fetchers ---- */

const char *ingest_layer_dir(const struct ingest *in, size_t i)
{
    return in->layers[i].dir;
}

void ingest_layer_file(struct ingest *in, size_t i, int fd, uint64_t size)
{
    struct ingest_layer *l = &in->layers[i];
    struct error err = ERROR_INIT;
    l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    l->size = size;
    /* The worker's end blocks, ours must not: a full pipe tells the worker enough. */
    if (l->fd < 0 || pipe2(l->progress, O_CLOEXEC) < 0 ||
        fcntl(l->progress[1], F_SETFL, O_NONBLOCK) < 0) {
        (void)error_errno(&err, -errno, "cannot follow a layer");
        ingest_fail(in, &err);
        return;
    }
    loop_defer(&in->step);
}

void ingest_layer_grew(struct ingest *in, size_t i)
{
    if (in->layers[i].progress[1] >= 0)
        (void)!write(in->layers[i].progress[1], "", 1);
}

void ingest_layer_complete(struct ingest *in, size_t i)
{
    struct ingest_layer *l = &in->layers[i];
    l->complete = true;
    if (l->progress[1] >= 0)
        (void)close(l->progress[1]);
    l->progress[1] = -1;
    loop_defer(&in->step);
}

/* ---- the step ---- */

static bool claimed_elsewhere(const struct ingest *in, const char *chain)
{
    LIST_FOR_EACH(e, &in->table->active) {
        const struct ingest *other = LIST_ENTRY(e, struct ingest, entry);
        for (size_t i = 0; other != in && i < other->n_layers; i++)
            if (other->layers[i].dir && str_eq(other->layers[i].chain, chain))
                return true;
    }
    return false;
}

static int step_layer(struct ingest_layer *l, size_t *fetching, struct error *err)
{
    struct ingest *in = l->ingest;
    struct store_layer *there =
        l->state < LAYER_FETCHING ? store_layer_find(in->table->store, l->chain) : NULL;
    if (there) {
        unclaim(l);
        layer_there(l, there);
        return 0;
    }
    if (l->state == LAYER_WAITING && !claimed_elsewhere(in, l->chain)) {
        l->dir = store_tmp_new(in->table->store, err);
        if (!l->dir)
            return err->code;
        l->state = LAYER_CLAIMED;
    }
    if (l->state != LAYER_FETCHING)
        return 0;
    if (!l->complete)
        (*fetching)++;
    bool parent_there = !l->index || l[-1].state == LAYER_THERE;
    if (l->fd >= 0 && parent_there && !l->worker && !l->applied)
        return apply(l, err);
    if (l->complete && l->applied)
        return publish(l, err);
    return 0;
}

static void on_step(void *arg)
{
    struct ingest *in = arg;
    struct error err = ERROR_INIT;
    size_t fetching = 0, there = 0;
    if (in->sync)
        return;
    for (size_t i = 0; i < in->n_layers; i++) {
        if (in->layers[i].state != LAYER_THERE && step_layer(&in->layers[i], &fetching, &err)) {
            ingest_fail(in, &err);
            return;
        }
        there += in->layers[i].state == LAYER_THERE;
    }
    if (there == in->n_layers) {
        commit(in);
        return;
    }
    for (size_t i = 0; i < in->n_layers && fetching < INGEST_PARALLEL_FETCHES; i++) {
        struct ingest_layer *l = &in->layers[i];
        if (l->state != LAYER_CLAIMED)
            continue;
        l->state = LAYER_FETCHING;
        fetching++;
        /* A fetcher that fails at once takes the ingestion away: the rest is for another turn. */
        loop_defer(&in->step);
        in->ops.fetch(in, i, in->arg);
        return;
    }
}

/* ---- beginning ---- */

static int parse_config(struct ingest *in, size_t n_layers, struct error *err)
{
    _cleanup_json_ json_t *j = json_parse(in->config, in->config_len, err);
    struct image_config config;
    int r = j ? image_config_parse(j, &config, err) : -EINVAL;
    if (r)
        return error_prefix(err, r, "the image's config");
    struct platform host = platform_host();
    struct platform image = {config.os, config.architecture, config.variant};
    if (!platform_match(&host, &image))
        r = error_set(err, -ENOENT, "the image is for %s/%s, this machine is %s/%s",
                      config.os ? config.os : "?", config.architecture ? config.architecture : "?",
                      host.os, host.architecture ? host.architecture : "?");
    image_config_done(&config);
    if (r || (r = image_config_diff_ids(j, &in->diff_ids, &in->n_layers, err)))
        return r;
    if (in->n_layers != n_layers) {
        r = error_set(err, -EINVAL, "the manifest has %zu layers, the config %zu", n_layers,
                      in->n_layers);
        in->n_layers = 0;
    }
    return r;
}

static void make_layers(struct ingest *in)
{
    _cleanup_free_ char(*chains)[IMAGE_ID_MAX] = mem_zalloc((in->n_layers + 1) * IMAGE_ID_MAX);
    chain_ids(in->diff_ids, in->n_layers, chains);
    in->layers = mem_zalloc((in->n_layers + 1) * sizeof(*in->layers));
    for (size_t i = 0; i < in->n_layers; i++) {
        struct ingest_layer *l = &in->layers[i];
        l->ingest = in;
        l->index = i;
        l->diff = in->diff_ids[i];
        l->fd = l->progress[0] = l->progress[1] = -1;
        memcpy(l->chain, chains[i], IMAGE_ID_MAX);
    }
}

int ingest_start(struct ingest_table *table, const struct ingest_image *image, size_t n_layers,
                 const struct ingest_ops *ops, void *arg, struct ingest **ret, struct error *err)
{
    struct ingest *in = mem_zalloc(sizeof(*in));
    list_init(&in->entry);
    in->table = table;
    in->ops = *ops;
    in->arg = arg;
    (void)snprintf(in->manifest_digest, IMAGE_ID_MAX, "%s", image->manifest_digest);
    (void)snprintf(in->config_digest, IMAGE_ID_MAX, "%s", image->config_digest);
    in->manifest = mem_dup(image->manifest, image->manifest_len);
    in->manifest_len = image->manifest_len;
    in->config = mem_dup(image->config, image->config_len);
    in->config_len = image->config_len;
    size_t names = 0;
    while (image->names[names])
        names++;
    in->names = mem_zalloc((names + 1) * sizeof(char *));
    for (size_t i = 0; i < names; i++)
        in->names[i] = str_dup(image->names[i]);
    loop_deferred_init(&in->step, table->store->loop, on_step, in);
    int r = parse_config(in, n_layers, err);
    if (r) {
        in->n_layers = 0;
        (void)ingest_cancel(in);
        return r;
    }
    make_layers(in);
    list_append(&table->active, &in->entry);
    loop_defer(&in->step);
    *ret = in;
    return 0;
}
