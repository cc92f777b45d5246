/*
 * The overlay's part of the kernel: the link (or links), routes, neighbours and forwarding entries.
 * What is there is compared with what is wanted, and the difference is made; so a restarted daemon
 * changes nothing, and what somebody deleted comes back.
 *
 * Ours are: links that carry LINK_ALIAS, what hangs on links of the overlay, and routes with
 * ROUTE_PROTOCOL. A link that a stock flanneld made is used if it is as wanted.
 */
#pragma once

#include "flannel/plan.h"
#include "flannel/uplink.h"

#define LINK_ALIAS "coracle:flannel"

/* "flannel.<VNI>", "flannel-v6.<VNI>". @buf of IFNAMSIZ. */
char *kernel_link_name(const struct flannel_config *c, int i, char *buf);

/* Makes and mends the links that @c needs, and removes others of ours, above @up, each with the
 * address @subnet[i]/32 (/128). A link that has to be made gets @mac[i], or a random one while that
 * is zero. On return @mac has what the links have, @ret_index their indices (0: none needed). 0,
 * -errno. */
int kernel_links(struct netlink *nl, const struct flannel_config *c, const struct uplink *up,
                 const struct ip_prefix subnet[N_FAMILIES], uint8_t mac[N_FAMILIES][6],
                 int ret_index[N_FAMILIES], struct error *err);
/* Removes links of ours but those of the indices @keep. Continues past errors; returns the first.
 */
int kernel_sweep_links(struct netlink *nl, const int keep[N_FAMILIES], struct error *err);
/* Brings about the plan, and nothing but the plan, on @links and among our routes. What fails is
 * passed over, the first error returned. *ret_changes: how many entries were changed. */
int kernel_apply(struct netlink *nl, const struct plan *plan, const int links[N_FAMILIES],
                 size_t *ret_changes, struct error *err);
/* Removes every link and route of ours. Continues past errors; returns the first. */
int kernel_cleanup(struct error *err);
