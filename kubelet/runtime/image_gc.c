/* ImageFsInfo → ListImages → ListContainers → RemoveImage, one after the other; see image_gc.h. */
#include "kubelet/runtime/image_gc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "kubelet/pods.h"
#include "kubelet/runtime/image_name.h"
#include "kubelet/runtime/message.h"

#define PERIOD_MS  300000
#define RETRY_MS   10000
#define IMAGES_MAX 50 /* in the status: upstream's nodeStatusMaxImages */

struct image_gc {
    struct kubelet *k;
    struct image_gc_policy policy;
    struct loop_timer timer;
    struct runtime_call *call;
    struct map seen; /* id → struct image_record, without what a look tells anew */
    Runtime__V1__ListImagesResponse *images;
    struct image_record *chosen;
    size_t n_chosen, next;
    uint64_t wanted, freed; /* bytes */
    int64_t seen_from;      /* ms; what was there at the start counts as old */
    uint64_t collect_at;    /* now_ms() of the next collection, however often images come */
    bool collect, again;
    bool reclaim, reclaiming; /* everything unused is to go; is going */
    void (*reclaimed)(void *arg);
    void *reclaimed_arg;
    void (*changed)(void *arg);
    void *arg;
};

static void begin(struct image_gc *g);

static void record_free(void *value)
{
    struct image_record *r = value;
    free(r->id);
    free(r);
}

/* ---- the decision ---- */
static int compare(const void *a, const void *b)
{
    const struct image_record *x = a, *y = b;
    if (x->last_used != y->last_used)
        return x->last_used < y->last_used ? -1 : 1;
    if (x->first_seen != y->first_seen)
        return x->first_seen < y->first_seen ? -1 : 1;
    return strcmp(x->id, y->id);
}

static bool is_old(const struct image_record *r, const struct image_gc_policy *policy, int64_t now)
{
    return policy->max_age_ms && now - r->last_used > policy->max_age_ms;
}

uint64_t image_gc_choose(struct image_record *records, size_t n,
                         const struct image_gc_policy *policy, uint64_t bytes, int64_t now,
                         size_t *ret_n)
{
    uint64_t freed = 0;
    size_t chosen = 0;
    qsort(records, n, sizeof(*records), compare);
    for (size_t i = 0; i < n; i++) {
        struct image_record r = records[i];
        bool young = now - r.first_seen < policy->min_age_ms;
        if (r.used || r.pinned || young || (freed >= bytes && !is_old(&r, policy, now)))
            continue;
        freed += r.size;
        records[i] = records[chosen];
        records[chosen++] = r;
    }
    *ret_n = chosen;
    return freed;
}

/* ---- the status ---- */
static int by_size(const void *a, const void *b)
{
    const Runtime__V1__Image *const *x = a, *const *y = b;
    if ((*x)->size != (*y)->size)
        return (*x)->size > (*y)->size ? -1 : 1;
    return strcmp((*x)->id, (*y)->id);
}

static void put_names(json_t *names, char *const *items, size_t n)
{
    for (size_t i = 0; i < n && json_array_size(names) < 5; i++)
        (void)json_array_append_new(names, json_text(items[i]));
}

static void publish(struct image_gc *g)
{
    json_t *list = json_array();
    if (g->images->n_images)
        qsort(g->images->images, g->images->n_images, sizeof(*g->images->images), by_size);
    for (size_t i = 0; i < g->images->n_images && i < IMAGES_MAX; i++) {
        const Runtime__V1__Image *image = g->images->images[i];
        json_t *names = json_array();
        put_names(names, image->repo_digests, image->n_repo_digests);
        put_names(names, image->repo_tags, image->n_repo_tags);
        (void)json_array_append_new(
            list, json_pack("{s:o,s:I}", "names", names, "sizeBytes", (json_int_t)image->size));
    }
    bool same = json_equal(list, g->k->images);
    json_decref(g->k->images);
    g->k->images = list;
    if (!same)
        g->changed(g->arg);
}

/* ---- what is in use ---- */
static bool has_name(char *const *items, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(items[i], text))
            return true;
    return false;
}

static bool is_called(const Runtime__V1__Image *image, const char *text)
{
    return text && *text &&
           (str_eq(image->id, text) || has_name(image->repo_tags, image->n_repo_tags, text) ||
            has_name(image->repo_digests, image->n_repo_digests, text));
}

struct name_search {
    const Runtime__V1__Image *image;
    bool found;
};

/* By repository: which tag was meant does not matter much, an image more is kept. */
static void look_for_volume(const struct pod_worker *w, void *arg)
{
    struct name_search *s = arg;
    for (size_t i = 0; i < w->pod->spec.volumes.count && !s->found; i++) {
        const struct image_source *source = w->pod->spec.volumes.items[i].image;
        struct image_name name = {.domain = NULL};
        if (!source || !source->reference || image_name_parse(source->reference, &name, NULL) < 0)
            continue;
        size_t len = strlen(name.repository);
        const Runtime__V1__Image *image = s->image;
        s->found = is_called(image, source->reference);
        for (size_t n = 0; n < image->n_repo_tags; n++)
            s->found |= str_starts(image->repo_tags[n], name.repository) &&
                        strchr(":@", image->repo_tags[n][len]);
        for (size_t n = 0; n < image->n_repo_digests; n++)
            s->found |= str_starts(image->repo_digests[n], name.repository) &&
                        strchr(":@", image->repo_digests[n][len]);
        image_name_done(&name);
    }
}

static bool is_used(const struct image_gc *g, const Runtime__V1__Image *image,
                    const Runtime__V1__ListContainersResponse *containers)
{
    struct name_search s = {.image = image};
    for (size_t i = 0; i < containers->n_containers; i++) {
        const Runtime__V1__Container *c = containers->containers[i];
        if (is_called(image, c->image_id) || is_called(image, c->image_ref) ||
            (c->image && is_called(image, c->image->image)))
            return true;
    }
    if (g->k->pods)
        pod_manager_each(g->k->pods, look_for_volume, &s);
    return s.found;
}

/* ---- removal ---- */
static void finish(struct image_gc *g, bool ok)
{
    for (size_t i = 0; i < g->n_chosen; i++)
        free(g->chosen[i].id);
    free(g->chosen);
    g->chosen = NULL;
    g->n_chosen = g->next = 0;
    message_free(g->images);
    g->images = NULL;
    void (*cb)(void *arg) = g->reclaiming ? g->reclaimed : NULL;
    g->reclaiming = false;
    uint64_t now = now_ms();
    if (!ok)
        g->collect_at = now + RETRY_MS;
    if (g->again || g->reclaim) {
        g->again = false;
        begin(g);
    } else {
        loop_timer_set(&g->timer, g->collect_at > now ? g->collect_at - now : 0);
    }
    if (cb)
        cb(g->reclaimed_arg);
}

static void failed(struct image_gc *g, const char *what, const char *message)
{
    log_warn(what, "error", message, NULL);
    finish(g, false);
}

static void node_event(struct image_gc *g, const char *reason, const char *text)
{
    struct event_object about = {.kind = "Node", .name = g->k->node_name, .uid = g->k->node_name};
    event_record(g->k->events, &about, "Warning", reason, "%s", text);
}

static void remove_next(struct image_gc *g);

static void on_removed(void *arg, enum rpc_status status, const char *message,
                       const ProtobufCMessage *response)
{
    struct image_gc *g = arg;
    const struct image_record *r = &g->chosen[g->next++];
    char size[24];
    (void)response;
    g->call = NULL;
    (void)snprintf(size, sizeof(size), "%" PRIu64, r->size);
    if (status == RPC_OK) {
        g->freed += r->size;
        log_info("image removed to free disk space", "image", r->id, "bytes", size, NULL);
    } else {
        log_warn("image cannot be removed", "image", r->id, "error", message, NULL);
    }
    remove_next(g);
}

static void remove_next(struct image_gc *g)
{
    if (g->next < g->n_chosen) {
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        Runtime__V1__RemoveImageRequest q = RUNTIME__V1__REMOVE_IMAGE_REQUEST__INIT;
        spec.image = g->chosen[g->next].id;
        q.image = &spec;
        g->call =
            runtime_call(g->k->runtime, CRI_REMOVE_IMAGE, &q.base, CRI_DEADLINE_MS, on_removed, g);
        return;
    }
    if (g->freed < g->wanted && !g->reclaiming) {
        _cleanup_free_ char *text =
            str_printf("Failed to garbage collect required amount of images. Attempted to free "
                       "%" PRIu64 " bytes, but only found %" PRIu64 " bytes eligible to free.",
                       g->wanted, g->freed);
        node_event(g, "FreeDiskSpaceFailed", text);
        log_warn("images cannot free enough disk space", "error", text, NULL);
    }
    if (g->n_chosen) {
        g->collect = false;
        g->again = true; /* another look: what is left */
    }
    finish(g, true);
}

/* ---- looking ---- */

/* Notes what is there; the ones that are gone are forgotten. @ret: a copy of each. */
static size_t take_stock(struct image_gc *g, const Runtime__V1__ListContainersResponse *containers,
                         struct image_record **ret)
{
    struct map before = g->seen;
    int64_t now = (int64_t)now_ms();
    size_t n = g->images->n_images;
    struct image_record *list = mem_zalloc((n + 1) * sizeof(*list));
    g->seen = (struct map)MAP_INIT(record_free);
    for (size_t i = 0; i < n; i++) {
        const Runtime__V1__Image *image = g->images->images[i];
        struct image_record *r = map_take(&before, image->id);
        if (!r) {
            r = mem_zalloc(sizeof(*r));
            r->id = str_dup(image->id);
            r->first_seen = g->seen_from;
            r->last_used = now;
        }
        r->size = image->size;
        r->pinned = image->pinned;
        r->used = is_used(g, image, containers);
        if (r->used)
            r->last_used = now;
        list[i] = *r;
        list[i].id = str_dup(r->id);
        map_set(&g->seen, image->id, r);
    }
    map_clear(&before);
    g->seen_from = now;
    *ret = list;
    return n;
}

static void on_containers(void *arg, enum rpc_status status, const char *message,
                          const ProtobufCMessage *response)
{
    struct image_gc *g = arg;
    g->call = NULL;
    if (status != RPC_OK) {
        failed(g, "containers cannot be listed", message);
        return;
    }
    struct image_record *list;
    size_t n = take_stock(g, (const void *)response, &list), chosen = 0;
    if (g->collect)
        (void)image_gc_choose(list, n, &g->policy, g->wanted, (int64_t)now_ms(), &chosen);
    for (size_t i = chosen; i < n; i++)
        free(list[i].id);
    g->chosen = list;
    g->n_chosen = chosen;
    remove_next(g);
}

static void on_images(void *arg, enum rpc_status status, const char *message,
                      const ProtobufCMessage *response)
{
    struct image_gc *g = arg;
    g->call = NULL;
    if (status != RPC_OK) {
        failed(g, "images cannot be listed", message);
        return;
    }
    g->images = message_copy(response);
    publish(g);
    Runtime__V1__ListContainersRequest q = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
    g->call = runtime_call(g->k->runtime, CRI_LIST_CONTAINERS, &q.base, CRI_DEADLINE_MS,
                           on_containers, g);
}

static void list_images(struct image_gc *g)
{
    Runtime__V1__ListImagesRequest q = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
    g->call = runtime_call(g->k->runtime, CRI_LIST_IMAGES, &q.base, CRI_DEADLINE_MS, on_images, g);
}

/* How much has to go, by the disk that the images are on. */
static void on_fs_info(void *arg, enum rpc_status status, const char *message,
                       const ProtobufCMessage *response)
{
    struct image_gc *g = arg;
    const Runtime__V1__ImageFsInfoResponse *r = (const void *)response;
    struct statvfs fs;
    g->call = NULL;
    const char *path = status == RPC_OK && r->n_image_filesystems && r->image_filesystems[0]->fs_id
                           ? r->image_filesystems[0]->fs_id->mountpoint
                           : NULL;
    if (!path || statvfs(path, &fs) < 0 || !fs.f_blocks) {
        failed(g, "the disk of the images is not known",
               status != RPC_OK ? message : "the runtime tells no directory that is there");
        return;
    }
    uint64_t capacity = (uint64_t)fs.f_blocks * fs.f_frsize;
    uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (g->policy.high < 100 && 100 - (int64_t)(available * 100 / capacity) >= g->policy.high) {
        uint64_t target = capacity / 100 * (uint64_t)(100 - g->policy.low);
        g->wanted = target > available ? target - available : 0;
    }
    if (g->reclaiming)
        g->wanted = UINT64_MAX;
    list_images(g);
}

static void begin(struct image_gc *g)
{
    Runtime__V1__ImageFsInfoRequest q = RUNTIME__V1__IMAGE_FS_INFO_REQUEST__INIT;
    g->wanted = g->freed = 0;
    loop_timer_stop(&g->timer);
    if (g->reclaim) {
        g->reclaim = false;
        g->reclaiming = g->collect = true;
    }
    if (g->collect)
        g->call =
            runtime_call(g->k->runtime, CRI_IMAGE_FS_INFO, &q.base, CRI_DEADLINE_MS, on_fs_info, g);
    else
        list_images(g);
}

static void on_timer(void *arg)
{
    struct image_gc *g = arg;
    g->collect = true;
    g->collect_at = now_ms() + PERIOD_MS;
    begin(g);
}

void image_gc_refresh(struct image_gc *g)
{
    if (!g)
        return;
    if (g->call) {
        g->again = true;
        return;
    }
    g->collect = false;
    begin(g);
}

int image_gc_reclaim(struct image_gc *g, void (*cb)(void *arg), void *arg)
{
    if (g->reclaim || g->reclaiming)
        return -EBUSY;
    g->reclaim = true;
    g->reclaimed = cb;
    g->reclaimed_arg = arg;
    if (!g->call)
        begin(g);
    return 0;
}

void image_gc_forget(struct image_gc *g)
{
    if (g)
        g->reclaimed = NULL;
}

struct image_gc *image_gc_new(struct kubelet *k, const struct image_gc_policy *policy,
                              void (*changed)(void *arg), void *arg)
{
    struct image_gc *g = mem_zalloc(sizeof(*g));
    g->k = k;
    g->policy = *policy;
    g->changed = changed;
    g->arg = arg;
    g->seen = (struct map)MAP_INIT(record_free);
    loop_timer_init(&g->timer, k->loop, "images", on_timer, g);
    loop_timer_set(&g->timer, 0);
    return g;
}

struct image_gc *image_gc_free(struct image_gc *g)
{
    if (!g)
        return NULL;
    runtime_cancel(g->k->runtime, &g->call);
    for (size_t i = 0; i < g->n_chosen; i++)
        free(g->chosen[i].id);
    free(g->chosen);
    message_free(g->images);
    map_clear(&g->seen);
    loop_timer_done(&g->timer);
    json_decref(g->k->images);
    g->k->images = NULL;
    free(g);
    return NULL;
}
