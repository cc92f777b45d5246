/*
 * The plan: a pure function from what nodes publish to the routes, neighbours and forwarding
 * entries that this node needs. It validates what neighbours say: nothing that would take away
 * this node's own addresses, or another node's pods, gets as far as the kernel.
 */
#pragma once

#include "flannel/lease.h"
#include "nl/neighbour.h"
#include "nl/route.h"

/* What marks our routes ("proto 70" in ip route): nobody else's number. */
#define ROUTE_PROTOCOL 70

/* This node, in one family. */
struct self_family {
    bool on;
    struct ip_prefix subnet; /* our pods' */
    struct ip_addr public_ip;
    uint8_t mac[6];           /* of our link */
    int link;                 /* its index; 0: the back end has none */
    int uplink;               /* index of the link below */
    struct ip_prefix address; /* of the link below: who is within is reached directly */
};
struct plan_self {
    const char *node;
    const struct flannel_config *config;
    struct self_family family[N_FAMILIES];
    const struct ip_prefix *host; /* the addresses of the host's links but the overlay's */
    size_t n_host;
};

/* An entry of a link of ours. */
struct plan_entry {
    int link;
    struct neighbour neighbour;
};
struct plan_refusal {
    char *node, *reason;
};
struct plan {
    struct route_info *routes;
    struct plan_entry *neighbours, *fdb;
    struct plan_refusal *refusals; /* leases that are not used, or not in both families: why */
    size_t n_routes, n_neighbours, n_fdb, n_refusals;
};

/* @leases: of all nodes; our own is passed over. Their order does not matter: of two that claim the
 * same the older Node is right. The same input gives the same plan. */
void overlay_plan_make(const struct plan_self *self, const struct lease *const *leases, size_t n,
                       struct plan *ret);
void overlay_plan_done(struct plan *p); /* harmless on a zeroed plan */

/* For back ends. */
void overlay_plan_route(struct plan *p, const struct route_info *r);
void overlay_plan_neighbour(struct plan *p, int link, const struct ip_addr *addr,
                            const uint8_t mac[6]);
void overlay_plan_fdb(struct plan *p, int link, const struct ip_addr *to, const uint8_t mac[6]);
