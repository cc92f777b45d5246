/*
 * The plan: from Services and EndpointSlices to what is to be programmed, without a kernel and the
 * same for every back end. The input changes one object at a time; plan_refresh() computes the
 * services concerned again and tells which of them differ.
 *
 * What is wrong with an object concerns that object alone: the rest of it, and everything else, is
 * served. Two services that claim one address and port (or one node port): a cluster IP beats an
 * external address, then the older service wins, then the lesser name, whatever the order in
 * which they were seen.
 */
#pragma once

#include <stdbool.h>

#include "base/json.h"
#include "base/map.h"
#include "nl/address.h"

/* An endpoint that serves. One that takes no new traffic by either policy keeps what it has. */
struct plan_endpoint {
    struct ip_addr ip;
    uint16_t port;
    bool local;      /* on this node */
    bool maybe_here; /* on this node, or nobody says where it is */
    bool in_cluster; /* takes traffic under the policy Cluster */
    bool in_local;   /* takes traffic under the policy Local */
};

/* One port of one service in one address family. */
struct plan_port {
    char *title;  /* "default/web:http", "default/web" for a port without name */
    char id[17];  /* kube-proxy's hash of title and protocol */
    int family;   /* AF_INET, AF_INET6 */
    int protocol; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
    uint16_t port, node_port;
    struct ip_addr cluster_ip;
    struct ip_addr *external_ips,
        *ingress_ips; /* ingress: of load balancers that keep the address */
    size_t n_external_ips, n_ingress_ips;
    struct ip_prefix *source_ranges; /* who may use ingress_ips; none: everybody */
    size_t n_source_ranges;
    int affinity_seconds;                /* 0: none */
    bool internal_local, external_local; /* traffic policies Local */
    struct plan_endpoint *endpoints;     /* in order of address and port */
    size_t n_endpoints, n_cluster, n_local;
    bool has_endpoints; /* usable ones anywhere: without, clients are refused at once */
};

struct plan_service {
    unsigned refs;
    char *key; /* "ns/name" */
    char *uid;
    struct plan_port *ports;
    size_t n_ports;
    uint16_t health_port; /* healthCheckNodePort, 0: none */
    size_t n_local_ready; /* addresses of ready endpoints on this node */
    char **problems;      /* what of it is not served and why, each beginning with a field */
    size_t n_problems;
};

struct plan_config {
    const char *node;       /* this node's name, for local endpoints */
    bool ipv4, ipv6;        /* the families this node has */
    const char *proxy_name; /* serve services with this service-proxy-name; NULL: those without */
};

struct plan;

struct plan *plan_new(const struct plan_config *config); /* strings are copied */
struct plan *plan_free(struct plan *p);                  /* NULL is harmless; returns NULL */

/* An object is new, has changed, or is gone. -EINVAL and @err (naming the field): it, or a part of
 * it, was passed over; when it could not be decoded at all it counts as gone. */
int plan_service_set(struct plan *p, const char *key, const json_t *service, struct error *err);
void plan_service_remove(struct plan *p, const char *key);
int plan_slice_set(struct plan *p, const char *key, const json_t *slice, struct error *err);
void plan_slice_remove(struct plan *p, const char *key);
/* This node's topology.kubernetes.io/zone; NULL or "": none. */
void plan_set_zone(struct plan *p, const char *zone);

typedef void (*plan_changed_fn)(void *arg, const struct plan_service *old,
                                const struct plan_service *now);
/* Computes again what may have changed and calls @changed for each service that differs; @old or
 * @now is NULL for one that is new or gone. Both are valid for the call; keep them with
 * plan_service_ref(). Returns the number of services computed. */
size_t plan_refresh(struct plan *p, plan_changed_fn changed, void *arg);

/* As of the last refresh: what is to be programmed for a service, NULL when nothing is. */
const struct plan_service *plan_get(const struct plan *p, const char *key);
/* Every service, key → const struct plan_service, as of the last refresh. */
const struct map *plan_services(const struct plan *p);

/* For people: the ports of a service and each of its endpoints with a verdict: "used", or why not.
 * NULL: neither a service nor slices of it were seen. New reference. */
json_t *plan_explain(const struct plan *p, const char *key);

const struct plan_service *plan_service_ref(const struct plan_service *s);
const struct plan_service *plan_service_unref(const struct plan_service *s); /* returns NULL */

/* kube-proxy's hash: 16 characters of base32(sha256(@text)). @out holds 17. */
void plan_hash(const char *text, char out[17]);
const char *plan_protocol_name(int protocol); /* "tcp", "udp", "sctp" */
/* Whether traffic comes to the port from elsewhere than its cluster IP. */
bool plan_port_is_external(const struct plan_port *p);
