/*
 * A cache: the informer of one kind, its objects decoded, and who wants to know of changes.
 *
 * What a controller itself writes it puts into the cache at once from the server's answer
 * (cache_wrote()), so that its next look sees its own writes; older states that the watch still
 * delivers are told apart by resourceVersion and passed over.
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "controllers/objects.h"
#include "kube/informer.h"

struct cache;

struct cache_kind {
    const char *api, *plural, *kind; /* "apps/v1", "replicasets", "ReplicaSet" */
    const struct decode_type *type;
    void (*complete)(void *object); /* may be NULL */
    const char *name;               /* only objects of this name; NULL: all */
    const char *ns, *fields;        /* only this namespace, this field selector; NULL: all */
};

/* @before or @now is NULL for a new or a removed object; both are valid for the call only. */
typedef void cache_changed(void *arg, const void *before, const void *now);

struct cache *cache_new(struct kube_client *client, const struct cache_kind *kind);
struct cache *cache_free(struct cache *c); /* NULL is harmless; returns NULL */
const struct cache_kind *cache_kind_of(const struct cache *c);
/* Before the loop runs. */
void cache_subscribe(struct cache *c, cache_changed *changed, void *arg);
bool cache_synced(const struct cache *c);
/* Called once when the first list is through. */
void cache_on_synced(struct cache *c, void (*synced)(void *arg), void *arg);

/* By "ns/name" (or "name"); NULL when there is none. Valid until the loop turns. */
const void *cache_get(const struct cache *c, const char *key);
/* All objects: MAP_FOR_EACH(e, cache_objects(c)) { const struct pod *p = map_value(e); } */
const struct map *cache_objects(const struct cache *c);

/* The server answered a create, update, patch or delete with @object. */
void cache_wrote(struct cache *c, const json_t *object);
/* The object of this key is gone, as far as the server's answer says. */
void cache_deleted(struct cache *c, const char *key, const char *uid);
