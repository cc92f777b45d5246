/* Routes (RTM_NEWROUTE). */
#pragma once

#include <linux/rtnetlink.h>

#include "nl/address.h"

/* Adds (or replaces) a unicast route in the main table. @destination with length 0 is the default
 * route; @gateway may be NULL (then on link). 0 or -errno. */
int route_add(struct netlink *nl, const struct ip_prefix *destination,
              const struct ip_addr *gateway, int ifindex, struct error *err);
/* Removes it; one that is not there is success. */
int route_delete(struct netlink *nl, const struct ip_prefix *destination, int ifindex,
                 struct error *err);

struct route_info {
    struct ip_prefix destination; /* length 0: the default route */
    struct ip_addr gateway;       /* family 0: none, on link */
    int ifindex;
    int protocol; /* RTPROT_RA, RTPROT_STATIC, …: who made it */
    bool onlink;  /* the gateway is reached there, whatever the addresses of the link */
};
/* As route_add(), with everything of @r. */
int route_put(struct netlink *nl, const struct route_info *r, struct error *err);
/* Removes exactly this one, if it is there. */
int route_remove(struct netlink *nl, const struct route_info *r, struct error *err);
/* Calls @cb for each unicast route of @family in the main table (of several next hops the first
 * counts); a negative result is returned. */
int route_list(struct netlink *nl, int family, int (*cb)(const struct route_info *r, void *arg),
               void *arg, struct error *err);
