/*
 * The table of what is served: groups, their versions, their resources with verbs. Built from the
 * schema's kinds; custom resources will be added and removed while the server runs.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "apiserver/request.h"
#include "kube/schema.h"
#include "kube/status.h"

/* A resource as it is served. */
struct route {
    const struct schema_resource *res;
    char *prefix;   /* of its keys in the store: "/registry/pods/"; NULL when it is not
                       stored (reviews) */
    unsigned verbs; /* bit 1 << enum verb */
    struct status_resource about; /* for Status objects */
};

struct routes;

/* Everything in @schemas (borrowed) that has a plural. */
struct routes *routes_new(const struct schema_registry *schemas);
struct routes *routes_free(struct routes *routes); /* returns NULL */
DEFINE_CLEANUP(struct routes *, routes_free);

/* NULL when nothing of that name is served. */
const struct route *routes_find(const struct routes *routes, const char *group, const char *version,
                                const char *resource);
/* i = 0, 1, … until NULL. */
const struct route *routes_at(const struct routes *routes, size_t i);
/* The resource that @key of the store belongs to; NULL when none. The first route of a storage
 * prefix wins (several versions of a kind share one). */
const struct route *routes_of_key(const struct routes *routes, const char *key);

/* The store's key of an object; the caller frees. @ns is left out for cluster resources. */
char *route_key(const struct route *route, const char *ns, const char *name);
bool route_allows(const struct route *route, enum verb verb);

/* ---- discovery; each returns a new reference, NULL when there is no such group or version ---- */
json_t *discovery_core_versions(const char *server_address);
json_t *discovery_groups(const struct routes *routes);
json_t *discovery_group(const struct routes *routes, const char *group);
json_t *discovery_resources(const struct routes *routes, const char *group, const char *version);
/* The aggregated form (apidiscovery.k8s.io) of /api (@core) or /apis; @version is "v2" or
 * "v2beta1". */
json_t *discovery_aggregated(const struct routes *routes, bool core, const char *version);
