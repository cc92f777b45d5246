/* Decoded objects of one kind, kept by an informer; see cache.h. */
#include "controllers/cache.h"

#include "base/log.h"
#include "base/strbuf.h"

#define TOMBSTONES_MAX  512
#define SUBSCRIBERS_MAX 8

struct cache {
    const struct cache_kind *kind;
    struct informer *informer;
    struct map objects;    /* key → decoded struct, which begins with struct object_meta */
    struct map tombstones; /* uid → nothing: an answer that comes late does not bring it back */
    struct {
        cache_changed *changed;
        void *arg;
    } subscribers[SUBSCRIBERS_MAX];
    size_t n_subscribers;
    void (*synced)(void *arg);
    void *synced_arg;
};

static void free_object(const struct cache *c, void *object)
{
    if (object)
        decode_done(c->kind->type, object);
    free(object);
}

static void tell(struct cache *c, const void *before, const void *now)
{
    for (size_t i = 0; i < c->n_subscribers; i++)
        c->subscribers[i].changed(c->subscribers[i].arg, before, now);
}

static void put(struct cache *c, const char *key, const json_t *object, bool from_answer)
{
    struct error err = ERROR_INIT;
    void *now = mem_zalloc(c->kind->type->size);
    if (decode(c->kind->type, object, now, &err) < 0) {
        log_warn("object cannot be understood and is passed over", "kind", c->kind->kind, "object",
                 key, "error", err.text, NULL);
        free(now);
        return;
    }
    const struct object_meta *meta = now;
    const struct object_meta *old = map_get(&c->objects, key);
    bool same = old && str_eq(old->uid, meta->uid);
    bool stale = same && version_number(meta->version) < version_number(old->version);
    bool dead = meta->uid && map_has(&c->tombstones, meta->uid);
    bool repeated = same && from_answer && str_eq(meta->version, old->version);
    if (stale || dead || repeated) {
        free_object(c, now);
        return;
    }
    if (c->kind->complete)
        c->kind->complete(now);
    void *before = map_take(&c->objects, key);
    map_set(&c->objects, key, now);
    tell(c, before, now);
    free_object(c, before);
}

static void drop(struct cache *c, const char *key, const char *uid)
{
    struct object_meta *old = map_get(&c->objects, key);
    if (uid && *uid) {
        if (map_count(&c->tombstones) >= TOMBSTONES_MAX)
            map_remove(&c->tombstones, map_key(map_first(&c->tombstones)));
        map_set(&c->tombstones, uid, NULL);
    }
    if (!old || (uid && *uid && !str_eq(old->uid, uid)))
        return;
    (void)map_take(&c->objects, key);
    tell(c, old, NULL);
    free_object(c, old);
}

static void on_upsert(void *arg, const char *key, const json_t *object)
{
    put(arg, key, object, false);
}

static void on_remove(void *arg, const char *key, const json_t *object)
{
    drop(arg, key, json_path_string(object, "metadata.uid"));
}

static void on_synced(void *arg)
{
    struct cache *c = arg;
    if (c->synced)
        c->synced(c->synced_arg);
}

struct cache *cache_new(struct kube_client *client, const struct cache_kind *kind)
{
    static const struct informer_ops ops = {
        .upsert = on_upsert, .remove = on_remove, .synced = on_synced};
    struct cache *c = mem_zalloc(sizeof(*c));
    *c = (struct cache){.kind = kind, .objects = MAP_INIT(NULL), .tombstones = MAP_INIT(NULL)};
    c->informer = informer_new(client, &(struct informer_config){.api = kind->api,
                                                                 .plural = kind->plural,
                                                                 .ns = kind->ns,
                                                                 .name = kind->name,
                                                                 .field_selector = kind->fields,
                                                                 .ops = &ops,
                                                                 .arg = c});
    return c;
}

struct cache *cache_free(struct cache *c)
{
    if (!c)
        return NULL;
    informer_free(c->informer);
    MAP_FOR_EACH(e, &c->objects) {
        free_object(c, map_value(e));
    }
    map_clear(&c->objects);
    map_clear(&c->tombstones);
    free(c);
    return NULL;
}

const struct cache_kind *cache_kind_of(const struct cache *c)
{
    return c->kind;
}

void cache_subscribe(struct cache *c, cache_changed *changed, void *arg)
{
    if (c->n_subscribers >= SUBSCRIBERS_MAX)
        abort();
    c->subscribers[c->n_subscribers].changed = changed;
    c->subscribers[c->n_subscribers++].arg = arg;
}

bool cache_synced(const struct cache *c)
{
    return informer_synced(c->informer);
}

void cache_on_synced(struct cache *c, void (*synced)(void *arg), void *arg)
{
    c->synced = synced;
    c->synced_arg = arg;
}

const void *cache_get(const struct cache *c, const char *key)
{
    return map_get(&c->objects, key);
}

const struct map *cache_objects(const struct cache *c)
{
    return &c->objects;
}

void cache_wrote(struct cache *c, const json_t *object)
{
    _cleanup_free_ char *key = kube_key(object);
    if (*key && str_eq(json_path_string(object, "kind"), c->kind->kind))
        put(c, key, object, true);
}

void cache_deleted(struct cache *c, const char *key, const char *uid)
{
    drop(c, key, uid);
}
