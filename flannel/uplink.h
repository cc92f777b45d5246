/* The uplink: the link by which this node reaches the others, chosen as flanneld chooses it. */
#pragma once

#include "base/options.h"
#include "flannel/config.h"
#include "nl/link.h"

struct uplink_choice {
    const struct option_list *names;      /* --iface: names or addresses, the first that is there */
    const struct option_list *patterns;   /* --iface-regex: of names or addresses */
    struct ip_addr public_ip[N_FAMILIES]; /* --public-ip…; family 0: the link's address */
};
struct uplink {
    struct link_info link;
    struct ip_prefix address[N_FAMILIES]; /* its first address that others can reach; len 0: none */
    struct ip_addr public_ip[N_FAMILIES]; /* what is published; family 0: none */
};

/* With neither names nor patterns: the link of the default route (the public IP's, if that is an
 * address of this host). @on: the families that are needed. -ENODEV with what is missing; -EINVAL
 * for a bad pattern. */
int uplink_find(struct netlink *nl, const struct uplink_choice *choice, const bool on[N_FAMILIES],
                struct uplink *ret, struct error *err);
