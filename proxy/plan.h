/*
 * The plan: from Services and EndpointSlices to what is to be programmed, without a kernel. The
 * input changes one object at a time; the plan remembers which services differ since it was last
 * asked, so that back ends touch only those.
 */
#pragma once

#include <stdbool.h>

#include "base/json.h"
#include "base/map.h"

struct plan_endpoint {
    char *ip;
    int port;
    bool local; /* on this node */
};

/* One port of one service. */
struct plan_port {
    char *title;    /* "default/web:http", "default/web" for a port without name: in comments */
    char *id;       /* 16 characters of kube-proxy's hash of title and protocol */
    char *protocol; /* "tcp", "udp", "sctp" */
    char *cluster_ip;
    int port, node_port;
    char **external_ips; /* external IPs and load balancer addresses, NULL-terminated */
    size_t n_external_ips;
    int affinity_seconds;                /* 0: none */
    bool internal_local, external_local; /* traffic policies Local */
    struct plan_endpoint *endpoints;     /* usable ones, in order of address */
    size_t n_endpoints;
};

struct plan_service {
    char *key; /* "ns/name" */
    struct plan_port *ports;
    size_t n_ports;
};

struct plan;

/* @node: this node's name, for local endpoints. */
struct plan *plan_new(const char *node);
struct plan *plan_free(struct plan *p); /* NULL is harmless; returns NULL */

/* An object is new, has changed, or is gone. An object that cannot be understood counts as gone
 * and @err says why (-EINVAL); other services are unaffected. */
int plan_service_set(struct plan *p, const char *key, const json_t *service, struct error *err);
void plan_service_remove(struct plan *p, const char *key);
int plan_slice_set(struct plan *p, const char *key, const json_t *slice, struct error *err);
void plan_slice_remove(struct plan *p, const char *key);

/* The services that may differ since the last call: "ns/name" each. The caller clears the map. */
void plan_take_dirty(struct plan *p, struct map *ret_keys);
/* What is to be programmed for a service; NULL when nothing is. Valid until the next change. */
const struct plan_service *plan_get(struct plan *p, const char *key);
/* Every service, key → struct plan_service. */
const struct map *plan_services(struct plan *p);
/* kube-proxy's hash: 16 characters of base32(sha256(@text)). @out holds 17. */
void plan_hash(const char *text, char out[17]);
