/* Neighbours: which link-layer address an IP address has on a link (RTM_NEWNEIGH), and where a
 * VXLAN link sends the frames for one (its forwarding entries, fdb_…). */
#pragma once

#include "nl/address.h"

struct neighbour {
    struct ip_addr addr; /* whose MAC it is; of a forwarding entry: where the frames go */
    uint8_t mac[6];
};

/* Says, until further notice, who @n->addr is; what was known of it is replaced. 0 or -errno. */
int neighbour_put(struct netlink *nl, int ifindex, const struct neighbour *n, struct error *err);
/* Forgets what is known of @addr on the link; success when that is nothing. 0 or -errno. */
int neighbour_delete(struct netlink *nl, int ifindex, const struct ip_addr *addr,
                     struct error *err);
/* Calls @cb for each that was put (not for what the kernel found out by itself) on the link; a
 * negative result is returned. */
int neighbour_list(struct netlink *nl, int ifindex, int family,
                   int (*cb)(const struct neighbour *n, void *arg), void *arg, struct error *err);

/* The same for a VXLAN link's forwarding entries; one MAC has one destination. */
int fdb_put(struct netlink *nl, int ifindex, const struct neighbour *n, struct error *err);
int fdb_delete(struct netlink *nl, int ifindex, const struct neighbour *n, struct error *err);
int fdb_list(struct netlink *nl, int ifindex, int (*cb)(const struct neighbour *n, void *arg),
             void *arg, struct error *err);
