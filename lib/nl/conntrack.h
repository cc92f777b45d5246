/* The kernel's connection tracking table: listing flows and deleting single ones. */
#pragma once

#include "nl/address.h"

struct conntrack_flow {
    int family, protocol; /* AF_INET…, IPPROTO_UDP… */
    struct ip_addr dst;   /* where the first packet went, before NAT */
    uint16_t dst_port;
    struct ip_addr reply_src; /* who answers: after NAT */
    uint16_t reply_src_port;
};

/* Calls @stale for each flow of @family and @protocol and deletes those for which it returns true.
 * @nl: a NETLINK_NETFILTER socket. Flows that end meanwhile are no error. Returns the number
 * deleted, or -errno. */
int conntrack_delete_where(struct netlink *nl, int family, int protocol,
                           bool (*stale)(const struct conntrack_flow *flow, void *arg), void *arg,
                           struct error *err);
