/* Neighbours: which link-layer address an IP address has on a link (RTM_NEWNEIGH). */
#pragma once

#include "nl/address.h"

/* Forgets what is known of @addr on the link; success when that is nothing. 0 or -errno. */
int neighbour_delete(struct netlink *nl, int ifindex, const struct ip_addr *addr,
                     struct error *err);
