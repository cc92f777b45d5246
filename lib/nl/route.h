/* Routes (RTM_NEWROUTE). */
#pragma once

#include "nl/address.h"

/* Adds (or replaces) a unicast route in the main table. @destination with length 0 is the default
 * route; @gateway may be NULL (then on link). 0 or -errno. */
int route_add(struct netlink *nl, const struct ip_prefix *destination,
              const struct ip_addr *gateway, int ifindex, struct error *err);
/* Removes it; one that is not there is success. */
int route_delete(struct netlink *nl, const struct ip_prefix *destination, int ifindex,
                 struct error *err);
