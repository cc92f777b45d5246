/* One informer per object in use, shared by every reference to it; see objects.h. */
#include "kubelet/config/objects.h"

#include <string.h>

#include "base/loop.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "kube/informer.h"

struct object {
    struct object_cache *cache;
    char *key; /* "<kind>/<ns>/<name>" */
    char *name;
    enum object_kind kind;
    enum object_state state;
    uint64_t version;
    struct bytes_map data;
    struct informer *informer;
    struct list refs;
};
struct object_cache {
    struct kube_client *api;
    struct map objects;
};
struct object_ref {
    struct list entry;
    struct object *object;
    void (*changed)(void *arg);
    void *arg;
};
struct object_text {
    struct bytes_map binary; /* Secret.data, ConfigMap.binaryData */
    struct string_map text;  /* ConfigMap.data */
};

static const struct decode_field config_map_fields[] = {
    DECODE_FIELD(struct object_text, binary, "binaryData", DECODE_BYTES_MAP),
    DECODE_FIELD(struct object_text, text, "data", DECODE_MAP), DECODE_END};
static const struct decode_type config_map_type = {"ConfigMap", sizeof(struct object_text),
                                                   config_map_fields};
static const struct decode_field secret_fields[] = {
    DECODE_FIELD(struct object_text, binary, "data", DECODE_BYTES_MAP), DECODE_END};
static const struct decode_type secret_type = {"Secret", sizeof(struct object_text), secret_fields};
static const struct decode_field data_fields[] = {
    DECODE_FIELD(struct object, data, "", DECODE_BYTES_MAP), DECODE_END};
static const struct decode_type data_type = {"data", sizeof(struct object), data_fields};

const char *object_kind_name(enum object_kind kind)
{
    return kind == OBJECT_CONFIG_MAP ? "configmap" : "secret";
}

const struct bytes *bytes_map_get(const struct bytes_map *m, const char *key)
{
    for (size_t i = 0; m && i < m->count; i++)
        if (str_eq(m->items[i].key, key))
            return &m->items[i].value;
    return NULL;
}

static void forget_data(struct object *o)
{
    struct object holder = {.data = o->data};
    decode_done(&data_type, &holder);
    memset(&o->data, 0, sizeof(o->data));
}

static void tell(struct object *o, enum object_state state)
{
    o->state = state;
    o->version++;
    LIST_FOR_EACH(e, &o->refs) {
        struct object_ref *ref = LIST_ENTRY(e, struct object_ref, entry);
        ref->changed(ref->arg);
    }
}

/* Moves the text entries over to the byte entries. */
static void merge_text(struct object_text *t)
{
    t->binary.items =
        mem_grow(t->binary.items, t->binary.count + t->text.count + 1, sizeof(*t->binary.items));
    for (size_t i = 0; i < t->text.count; i++) {
        char *value = t->text.items[i].value;
        t->binary.items[t->binary.count++] =
            (struct bytes_pair){.key = t->text.items[i].key,
                                .value = {.data = (unsigned char *)value, .len = strlen(value)}};
    }
    free(t->text.items);
}

static void on_upsert(void *arg, const char *key, const json_t *json)
{
    (void)key;
    struct object *o = arg;
    struct object_text t;
    forget_data(o);
    if (decode(o->kind == OBJECT_CONFIG_MAP ? &config_map_type : &secret_type, json, &t, NULL) <
        0) {
        tell(o, OBJECT_ABSENT);
        return;
    }
    merge_text(&t);
    o->data = t.binary;
    /* What cannot change need not be watched: that is one connection less. */
    if (json_path_bool(json, "immutable", false))
        o->informer = informer_free(o->informer);
    tell(o, OBJECT_PRESENT);
}

static void on_remove(void *arg, const char *key, const json_t *json)
{
    (void)key;
    (void)json;
    struct object *o = arg;
    forget_data(o);
    tell(o, OBJECT_ABSENT);
}

static void on_synced(void *arg)
{
    struct object *o = arg;
    if (o->state == OBJECT_PENDING)
        tell(o, OBJECT_ABSENT);
}

static const struct informer_ops object_ops = {
    .upsert = on_upsert, .remove = on_remove, .synced = on_synced};

static void object_free(void *value)
{
    struct object *o = value;
    informer_free(o->informer);
    forget_data(o);
    free(o->name);
    free(o->key);
    free(o);
}

struct object_cache *object_cache_new(struct kube_client *api)
{
    struct object_cache *c = mem_zalloc(sizeof(*c));
    c->api = api;
    c->objects = (struct map)MAP_INIT(object_free);
    return c;
}

struct object_cache *object_cache_free(struct object_cache *c)
{
    if (c)
        map_clear(&c->objects);
    free(c);
    return NULL;
}

struct object_ref *object_acquire(struct object_cache *c, enum object_kind kind, const char *ns,
                                  const char *name, void (*changed)(void *arg), void *arg)
{
    _cleanup_free_ char *key = str_printf("%s/%s/%s", object_kind_name(kind), ns, name);
    struct object *o = map_get(&c->objects, key);
    if (!o) {
        o = mem_zalloc(sizeof(*o));
        o->cache = c;
        o->key = str_dup(key);
        o->name = str_dup(name);
        o->kind = kind;
        o->state = c->api ? OBJECT_PENDING : OBJECT_NO_API;
        list_init(&o->refs);
        map_set(&c->objects, key, o);
        struct informer_config config = {.api = "v1",
                                         .plural =
                                             kind == OBJECT_CONFIG_MAP ? "configmaps" : "secrets",
                                         .ns = ns,
                                         .name = name,
                                         .ops = &object_ops,
                                         .arg = o};
        if (c->api)
            o->informer = informer_new(c->api, &config);
    }
    struct object_ref *ref = mem_zalloc(sizeof(*ref));
    *ref = (struct object_ref){.object = o, .changed = changed, .arg = arg};
    list_append(&o->refs, &ref->entry);
    return ref;
}

struct object_ref *object_release(struct object_ref *ref)
{
    if (!ref)
        return NULL;
    struct object *o = ref->object;
    list_remove(&ref->entry);
    free(ref);
    if (list_empty(&o->refs)) {
        _cleanup_free_ char *key = str_dup(o->key);
        (void)map_remove(&o->cache->objects, key);
    }
    return NULL;
}

enum object_state object_state(const struct object_ref *ref)
{
    return ref->object->state;
}

const struct bytes_map *object_data(const struct object_ref *ref)
{
    return ref->object->state == OBJECT_PRESENT ? &ref->object->data : NULL;
}

uint64_t object_version(const struct object_ref *ref)
{
    return ref->object->version;
}

bool object_matches(const struct object_ref *ref, enum object_kind kind, const char *name)
{
    return ref->object->kind == kind && str_eq(ref->object->name, name);
}
