/* Inside of zone.h, shared by the model (zone.c), the answers (zone_lookup.c) and the reasons
 * (zone_explain.c). */
#pragma once

#include "base/map.h"
#include "dns/objects.h"
#include "dns/zone.h"

/* Slices that have something in common. */
struct slice_refs {
    struct dns_slice **items;
    size_t count;
};
struct zone {
    char *domain;
    enum zone_pods pods;
    uint32_t ttl;
    struct ip_addr *servers;
    size_t n_servers;
    bool synced;
    uint32_t serial; /* when something last changed, seconds since the epoch */
    size_t turn;     /* of addresses */
    struct map namespaces;
    struct map services, slices; /* "ns/name" → struct dns_service, struct dns_slice */
    struct map of_service;       /* "ns/service" → struct slice_refs */
    struct map cluster_ips;      /* address → struct dns_service, borrowed */
    struct map pod_keys;         /* "ns/name" → struct dns_pod */
    struct map pod_ips;          /* "ns/address" → how many pods have it, as a number */
};

#define LABELS_MAX 5 /* _port._protocol.service.namespace.svc */

/* The labels of a name below the domain, from the right: "svc", the namespace, the service, … */
struct labels {
    char text[NAME_TEXT_MAX];
    const char *items[LABELS_MAX];
    size_t count; /* LABELS_MAX + 1: there are more */
};
void labels_split(const char *name, const char *domain, struct labels *ret);

/* Whether @text is this address, in whatever way it is written. */
bool address_is(const char *text, const struct ip_addr *ip);
/* Never NULL. */
const struct slice_refs *zone_slices_of(const struct zone *z, const struct dns_service *s);
bool endpoint_is_ready(const struct dns_service *s, const struct dns_endpoint *e);
/* "None": no cluster IP on purpose. */
bool service_is_headless(const struct dns_service *s);
