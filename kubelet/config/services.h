/* The Services of the cluster in the few fields that environment variables need. */
#pragma once

#include "kube/client.h"
#include "kube/decode.h"

struct service_port {
    char *name, *protocol;
    int64_t port;
};
struct service {
    char *ns, *name, *cluster_ip;
    ARRAY_OF(struct service_port) ports;
};
struct service_cache;

/* @api NULL: standalone, always synced and empty. @synced is called once, later. */
struct service_cache *service_cache_new(struct kube_client *api, void (*synced)(void *arg),
                                        void *arg);
struct service_cache *service_cache_free(struct service_cache *c); /* returns NULL */
bool service_cache_synced(const struct service_cache *c);
/* Calls @fn for every Service with a cluster IP. */
void service_cache_each(const struct service_cache *c,
                        void (*fn)(const struct service *s, void *arg), void *arg);
