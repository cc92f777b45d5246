/* The builtin network's bridge, and what the node needs to route for it. */
#pragma once

#include <stdbool.h>

#include "nl/address.h"
#include "nl/link.h"

#define BRIDGE_ALIAS_PREFIX "coracle:" /* of every link of ours */

struct bridge {
    int index; /* 0: none yet */
    int mtu;
};

/* Makes the bridge where it is missing, gives it exactly these addresses (its link-local ones stay)
 * and brings it up; has the node forward packets of their families, through the journal of host
 * changes. @mtu 0: a new bridge gets that of the link which the default route takes, one that is
 * there keeps its own. -EEXIST: the name belongs to another kind of link. Blocks for as long as the
 * kernel takes. */
int bridge_ensure(struct netlink *nl, const char *name, const struct ip_prefix *addresses, size_t n,
                  int mtu, const char *journal, struct bridge *ret, struct error *err);
/* Removes it, if it is one of ours. */
int bridge_remove(const char *name, struct error *err);
/* Whether packets that a bridge forwards pass iptables and conntrack here (br_netfilter). */
bool bridge_passes_conntrack(void);
