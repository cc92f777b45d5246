/*
 * ConfigMaps and Secrets that pods of this node refer to: each read and watched alone, by name
 * (as the node authorizer requires), for as long as somebody holds a reference. One that is marked
 * immutable is read once.
 */
#pragma once

#include "kube/client.h"
#include "kube/decode.h"

enum object_kind { OBJECT_CONFIG_MAP, OBJECT_SECRET };
enum object_state {
    OBJECT_PENDING, /* not read yet: the API server has not answered */
    OBJECT_ABSENT,  /* the API server says that there is none */
    OBJECT_PRESENT,
    OBJECT_NO_API, /* standalone: there is no API server to ask */
};

struct object_cache;
struct object_ref;

/* @api NULL: standalone. */
struct object_cache *object_cache_new(struct kube_client *api);
/* Every reference must have been released. Returns NULL. */
struct object_cache *object_cache_free(struct object_cache *c);

/* Takes a reference. @changed is called, later, whenever state or data change. */
struct object_ref *object_acquire(struct object_cache *c, enum object_kind kind, const char *ns,
                                  const char *name, void (*changed)(void *arg), void *arg);
struct object_ref *object_release(struct object_ref *ref); /* NULL is harmless; returns NULL */
enum object_state object_state(const struct object_ref *ref);
/* The data (and binaryData) by key; valid until the next turn of the loop. NULL unless present. */
const struct bytes_map *object_data(const struct object_ref *ref);
/* Raised with every change of the data. */
uint64_t object_version(const struct object_ref *ref);
bool object_matches(const struct object_ref *ref, enum object_kind kind, const char *name);
const char *object_kind_name(enum object_kind kind); /* "configmap", "secret" */
const struct bytes *bytes_map_get(const struct bytes_map *m, const char *key);
