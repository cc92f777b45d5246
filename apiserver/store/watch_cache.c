/*
 * Loading and following the store; see watch_cache.h.
 *
 * A load reads /registry/ in pages at one revision R, then watches from a little before R: what
 * comes up to R goes into the rings only, so that clients which reconnect after a restart of this
 * server find the changes they have missed and need not list everything again. When history does
 * not reach back that far the watch starts at R.
 */
#include "apiserver/store/watch_cache.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"

#define REGISTRY        "/registry/"
#define LOAD_PAGE       500
#define HISTORY         1000 /* revisions before the load that the rings try to cover */
#define RETRY_MS        200
#define RETRY_MAX_MS    5000
#define TRIM_MS         60000
#define RING_KEEP_TICKS 5 /* a change is kept at least so many trims, if there is room */

struct ring_slot {
    struct cache_event event;
    uint64_t tick; /* when it came, in trims */
};

struct cached_resource {
    const struct route *route;
    struct map objects; /* key → struct encoded */
    struct map broken;  /* key → text of what is wrong with its value */
    struct ring_slot *ring;
    size_t ring_size;
    size_t bytes;
    uint64_t head, tail; /* sequence numbers: [tail, head) are in the ring */
    int64_t oldest;      /* changes after this revision are all in the ring */
    struct list watchers;
    bool touched;
};

struct watch_cache {
    struct loop *loop;
    struct store *store;
    const struct routes *routes;
    struct cached_resource *resources; /* as routes */
    size_t n_resources;
    struct store_request *call;
    struct store_watch *watch;
    struct loop_timer retry, trim;
    uint64_t retry_ms, tick;
    bool loaded;
    int64_t loaded_revision; /* of the last load */
    int64_t revision;
    void (*on_loaded)(void *arg);
    void *arg;
};

const char *event_type_name(enum event_type type)
{
    static const char *const names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
    return names[type];
}

/* ---- frames ---- */

struct frame *frame_new(enum event_type type, const char *object, size_t len)
{
    const char *name = event_type_name(type);
    size_t size = strlen("{\"type\":\"\",\"object\":}\n") + strlen(name) + len;
    struct frame *f = mem_zalloc(sizeof(*f) + size + 1);
    f->refs = 1;
    f->len = (size_t)snprintf(f->data, size + 1, "{\"type\":\"%s\",\"object\":", name);
    memcpy(f->data + f->len, object, len);
    f->len += len;
    memcpy(f->data + f->len, "}\n", 3);
    f->len += 2;
    return f;
}

struct frame *frame_ref(struct frame *f)
{
    f->refs++;
    return f;
}

struct frame *frame_unref(struct frame *f)
{
    if (f && --f->refs == 0)
        free(f);
    return NULL;
}

struct frame *cache_event_frame(struct cache_event *event, enum event_type type)
{
    if (event->frames[type])
        return event->frames[type];
    const struct encoded *e = event->object;
    _cleanup_(encoded_unrefp) struct encoded *last = NULL;
    if (type == EVENT_DELETED && event->type == EVENT_MODIFIED && event->before) {
        /* It left a selection: what the selection showed last, at the revision of the change. */
        last = encoded_new(e->key, event->before->data, event->before->len, event->revision, NULL);
        if (last)
            e = last;
    }
    event->frames[type] = frame_new(type, e->data, e->len);
    return event->frames[type];
}

static void event_done(struct cache_event *event)
{
    for (size_t i = 0; i < ARRAY_SIZE(event->frames); i++)
        event->frames[i] = frame_unref(event->frames[i]);
    event->object = encoded_unref(event->object);
    event->before = encoded_unref(event->before);
}

/* ---- rings ---- */

static struct ring_slot *ring_at(struct cached_resource *c, uint64_t seq)
{
    return &c->ring[seq & (c->ring_size - 1)]; /* a power of two */
}

static size_t event_bytes(const struct cache_event *event)
{
    return event->object->len + sizeof(struct ring_slot);
}

static void ring_drop_oldest(struct cached_resource *c)
{
    struct cache_event *event = &ring_at(c, c->tail)->event;
    c->bytes -= event_bytes(event);
    c->oldest = event->revision;
    event_done(event);
    c->tail++;
}

static void ring_clear(struct cached_resource *c)
{
    while (c->tail < c->head)
        ring_drop_oldest(c);
}

static void ring_grow(struct cached_resource *c)
{
    size_t size = c->ring_size ? c->ring_size * 2 : 16;
    struct ring_slot *ring = mem_grow(NULL, size, sizeof(*ring));
    for (uint64_t seq = c->tail; seq < c->head; seq++)
        ring[seq & (size - 1)] = *ring_at(c, seq);
    free(c->ring);
    c->ring = ring;
    c->ring_size = size;
}

/* Takes the references in @event. */
static void ring_add(struct cached_resource *c, const struct cache_event *event, uint64_t tick)
{
    while (c->tail < c->head &&
           (c->head - c->tail >= CACHE_RING_EVENTS || c->bytes > CACHE_RING_BYTES))
        ring_drop_oldest(c);
    if (c->head - c->tail == c->ring_size)
        ring_grow(c);
    *ring_at(c, c->head) = (struct ring_slot){.event = *event, .tick = tick};
    c->head++;
    c->bytes += event_bytes(event);
    c->touched = true;
}

/* Lines are made for watchers of the moment: nobody else is likely to ask for them again. */
static void ring_forget_frames(struct cached_resource *c, uint64_t from)
{
    for (uint64_t seq = from > c->tail ? from : c->tail; seq < c->head; seq++) {
        struct cache_event *event = &ring_at(c, seq)->event;
        for (size_t i = 0; i < ARRAY_SIZE(event->frames); i++)
            event->frames[i] = frame_unref(event->frames[i]);
    }
}

static void on_trim(void *arg)
{
    struct watch_cache *cache = arg;
    cache->tick++;
    for (size_t i = 0; i < cache->n_resources; i++) {
        struct cached_resource *c = &cache->resources[i];
        while (c->tail < c->head && ring_at(c, c->tail)->tick + RING_KEEP_TICKS < cache->tick)
            ring_drop_oldest(c);
        ring_forget_frames(c, c->tail);
    }
    bool any = false;
    for (size_t i = 0; i < cache->n_resources; i++)
        any |= cache->resources[i].tail < cache->resources[i].head;
    if (any)
        loop_timer_set(&cache->trim, TRIM_MS);
}

/* ---- state ---- */

static struct cached_resource *resource_of_key(const struct watch_cache *cache, const char *key)
{
    for (size_t i = 0; i < cache->n_resources; i++)
        if (str_starts(key, cache->resources[i].route->prefix))
            return &cache->resources[i];
    return NULL;
}

static struct cached_resource *resource_of(const struct watch_cache *cache,
                                           const struct route *route)
{
    return resource_of_key(cache, route->prefix);
}

static void unref_encoded(void *e)
{
    (void)encoded_unref(e);
}

/* The object of @kv, or NULL after noting what is wrong with it. */
static struct encoded *read_value(struct cached_resource *c, const struct store_kv *kv,
                                  int64_t revision)
{
    struct error err = ERROR_INIT;
    struct encoded *e = encoded_new(kv->key, kv->value, kv->len, revision, &err);
    if (!e) {
        log_error("stored value refused", "key", kv->key, "error", error_text(&err), NULL);
        map_set(&c->broken, kv->key, str_dup(error_text(&err)));
    }
    return e;
}

static void apply(struct watch_cache *cache, const struct store_event *ev)
{
    const struct store_kv *kv = &ev->kv;
    struct cached_resource *c = resource_of_key(cache, kv->key);
    if (!c)
        return;
    bool history = kv->mod_revision <= cache->loaded_revision;
    struct cache_event event = {.revision = kv->mod_revision};
    struct encoded *known = history ? NULL : map_get(&c->objects, kv->key);
    if (known)
        event.before = encoded_ref(known);
    else if (ev->prev.key && history)
        event.before =
            encoded_new(kv->key, ev->prev.value, ev->prev.len, ev->prev.mod_revision, NULL);
    if (!history)
        (void)map_remove(&c->broken, kv->key);
    if (!ev->deleted) {
        event.type = event.before ? EVENT_MODIFIED : EVENT_ADDED;
        event.object = history ? encoded_new(kv->key, kv->value, kv->len, kv->mod_revision, NULL)
                               : read_value(c, kv, kv->mod_revision);
        if (event.object && !history)
            map_set(&c->objects, kv->key, encoded_ref(event.object));
    } else if (event.before) {
        event.type = EVENT_DELETED;
        event.object =
            encoded_new(kv->key, event.before->data, event.before->len, kv->mod_revision, NULL);
        if (!history)
            (void)map_remove(&c->objects, kv->key);
    }
    if (event.object)
        ring_add(c, &event, cache->tick);
    else
        event_done(&event);
}

static void on_events(void *arg, const struct store_event *events, size_t n, int64_t revision)
{
    struct watch_cache *cache = arg;
    for (size_t i = 0; i < n; i++)
        apply(cache, &events[i]);
    if (revision > cache->revision)
        cache->revision = revision;
    for (size_t i = 0; i < cache->n_resources; i++) {
        struct cached_resource *c = &cache->resources[i];
        if (!c->touched)
            continue;
        c->touched = false;
        uint64_t from = c->head > n ? c->head - n : 0;
        LIST_FOR_EACH(entry, &c->watchers) {
            struct cache_watcher *w = LIST_ENTRY(entry, struct cache_watcher, entry);
            w->on_events(w);
        }
        ring_forget_frames(c, from);
        if (!loop_timer_armed(&cache->trim))
            loop_timer_set(&cache->trim, TRIM_MS);
    }
}

static void on_progress(void *arg, int64_t revision)
{
    struct watch_cache *cache = arg;
    if (revision > cache->revision)
        cache->revision = revision;
}

/* ---- loading ---- */

static void load(struct watch_cache *cache);

static void lose_watchers(struct watch_cache *cache)
{
    for (size_t i = 0; i < cache->n_resources; i++) {
        LIST_FOR_EACH(entry, &cache->resources[i].watchers) {
            struct cache_watcher *w = LIST_ENTRY(entry, struct cache_watcher, entry);
            watch_cache_unsubscribe(w);
            w->on_lost(w);
        }
    }
}

static void forget_all(struct watch_cache *cache)
{
    for (size_t i = 0; i < cache->n_resources; i++) {
        ring_clear(&cache->resources[i]);
        map_clear(&cache->resources[i].objects);
        map_clear(&cache->resources[i].broken);
    }
}

static void load_later(struct watch_cache *cache, int code, const struct error *err)
{
    char number[16];
    (void)snprintf(number, sizeof(number), "%d", code);
    log_warn("watch cache reloads", "code", number, "error", err ? error_text(err) : NULL, NULL);
    lose_watchers(cache);
    cache->loaded = false;
    loop_timer_set(&cache->retry, cache->retry_ms);
    cache->retry_ms = cache->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : cache->retry_ms * 2;
}

static void start_watch(struct watch_cache *cache, int64_t from);

static void on_watch_end(void *arg, int code, const struct error *err)
{
    struct watch_cache *cache = arg;
    cache->watch = NULL;
    if (code == STORE_E_COMPACTED && cache->revision <= cache->loaded_revision) {
        /* History from before the load is gone: its rings start at the load. */
        for (size_t i = 0; i < cache->n_resources; i++) {
            ring_clear(&cache->resources[i]);
            cache->resources[i].oldest = cache->loaded_revision;
        }
        start_watch(cache, cache->loaded_revision);
        return;
    }
    load_later(cache, code, err);
}

static void start_watch(struct watch_cache *cache, int64_t from)
{
    static const struct store_watch_events events = {
        .on_events = on_events, .on_progress = on_progress, .on_end = on_watch_end};
    for (size_t i = 0; i < cache->n_resources; i++)
        cache->resources[i].oldest = from;
    cache->watch = store_watch(cache->store, REGISTRY, from, &events, cache);
}

static void on_load_page(void *arg, int code, const struct store_range_result *result,
                         const struct error *err)
{
    struct watch_cache *cache = arg;
    if (code) {
        cache->call = NULL;
        load_later(cache, code, err);
        return;
    }
    for (size_t i = 0; i < result->n; i++) {
        const struct store_kv *kv = &result->kvs[i];
        struct cached_resource *c = resource_of_key(cache, kv->key);
        struct encoded *e = c ? read_value(c, kv, kv->mod_revision) : NULL;
        if (e)
            map_set(&c->objects, kv->key, e);
    }
    if (result->more)
        return;
    cache->call = NULL;
    cache->loaded_revision = cache->revision = result->revision;
    cache->loaded = true;
    cache->retry_ms = RETRY_MS;
    int64_t from = result->revision > HISTORY ? result->revision - HISTORY : 1;
    start_watch(cache, from < result->revision ? from : result->revision);
    cache->on_loaded(cache->arg);
}

static void load(struct watch_cache *cache)
{
    if (cache->watch) {
        store_watch_cancel(cache->watch);
        cache->watch = NULL;
    }
    forget_all(cache);
    cache->revision = cache->loaded_revision = 0;
    const struct store_range range = {.key = REGISTRY, .prefix = true};
    cache->call = store_list(cache->store, &range, LOAD_PAGE, on_load_page, cache);
}

static void on_retry(void *arg)
{
    load(arg);
}

static bool shares_storage(const struct watch_cache *cache, const struct route *route)
{
    return resource_of_key(cache, route->prefix) != NULL;
}

struct watch_cache *watch_cache_new(struct loop *loop, struct store *store,
                                    const struct routes *routes, void (*on_loaded)(void *arg),
                                    void *arg)
{
    struct watch_cache *cache = mem_zalloc(sizeof(*cache));
    cache->loop = loop;
    cache->store = store;
    cache->routes = routes;
    cache->on_loaded = on_loaded;
    cache->arg = arg;
    cache->retry_ms = RETRY_MS;
    const struct route *route;
    size_t n = 0;
    while (routes_at(routes, n))
        n++;
    cache->resources = mem_grow(NULL, n + 1, sizeof(*cache->resources));
    for (size_t i = 0; (route = routes_at(routes, i)); i++) {
        if (!route->prefix || shares_storage(cache, route))
            continue;
        struct cached_resource *c = &cache->resources[cache->n_resources++];
        *c = (struct cached_resource){.route = route};
        c->objects = (struct map)MAP_INIT(unref_encoded);
        c->broken = (struct map)MAP_INIT(free);
        list_init(&c->watchers);
    }
    loop_timer_init(&cache->retry, loop, "watch cache retry", on_retry, cache);
    loop_timer_init(&cache->trim, loop, "watch cache trim", on_trim, cache);
    load(cache);
    return cache;
}

struct watch_cache *watch_cache_free(struct watch_cache *cache)
{
    if (!cache)
        return NULL;
    lose_watchers(cache);
    store_cancel(cache->call);
    store_watch_cancel(cache->watch);
    forget_all(cache);
    for (size_t i = 0; i < cache->n_resources; i++)
        free(cache->resources[i].ring);
    free(cache->resources);
    loop_timer_done(&cache->retry);
    loop_timer_done(&cache->trim);
    free(cache);
    return NULL;
}

/* ---- reading ---- */

bool watch_cache_loaded(const struct watch_cache *cache)
{
    return cache->loaded;
}

int64_t watch_cache_revision(const struct watch_cache *cache)
{
    return cache->revision;
}

int watch_cache_check(const struct watch_cache *cache, const struct route *route, struct error *err)
{
    const struct cached_resource *c = resource_of(cache, route);
    if (!cache->loaded || !c)
        return error_set(err, -EAGAIN, "the watch cache is being loaded");
    const struct map_entry *bad = map_first(&c->broken);
    return bad ? error_set(err, -EBADMSG, "%s", (const char *)map_value(bad)) : 0;
}

struct encoded *watch_cache_get(const struct watch_cache *cache, const char *key)
{
    const struct cached_resource *c = resource_of_key(cache, key);
    return c ? map_get(&c->objects, key) : NULL;
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(struct encoded *const *)a)->key, (*(struct encoded *const *)b)->key);
}

void watch_cache_snapshot(const struct watch_cache *cache, const struct route *route,
                          const char *prefix, struct encoded_list *out)
{
    const struct cached_resource *c = resource_of(cache, route);
    if (!c)
        return;
    MAP_FOR_EACH(e, &c->objects) {
        if (str_starts(map_key(e), prefix))
            encoded_list_add(out, encoded_ref(map_value(e)));
    }
    if (out->count)
        qsort(out->items, out->count, sizeof(struct encoded *), by_key);
}

/* ---- watching ---- */

int64_t watch_cache_oldest(const struct watch_cache *cache, const struct route *route)
{
    const struct cached_resource *c = resource_of(cache, route);
    return c ? c->oldest : cache->revision;
}

int watch_cache_subscribe(struct watch_cache *cache, const struct route *route, int64_t revision,
                          struct cache_watcher *w)
{
    struct cached_resource *c = resource_of(cache, route);
    if (!c || revision < c->oldest)
        return STORE_E_COMPACTED;
    /* The first change after @revision, by bisection. */
    uint64_t low = c->tail, high = c->head;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (ring_at(c, mid)->event.revision <= revision)
            low = mid + 1;
        else
            high = mid;
    }
    w->of = c;
    w->cursor = low;
    w->after = revision;
    list_append(&c->watchers, &w->entry);
    return 0;
}

void watch_cache_unsubscribe(struct cache_watcher *w)
{
    if (w->of) {
        list_remove(&w->entry);
        w->of = NULL;
    }
}

struct cache_event *cache_watcher_next(struct cache_watcher *w, bool *lost)
{
    struct cached_resource *c = w->of;
    *lost = !c || w->cursor < c->tail;
    while (!*lost && w->cursor < c->head) {
        struct cache_event *event = &ring_at(c, w->cursor++)->event;
        if (event->revision > w->after)
            return event;
    }
    return NULL;
}
