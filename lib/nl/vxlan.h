/* VXLAN links: Ethernet frames in UDP (RFC 7348). Where a frame goes, fdb_put() says. */
#pragma once

#include "nl/address.h"
#include "nl/link.h"

struct vxlan_config {
    uint32_t vni;
    uint16_t port;        /* UDP port, ours and the peers' */
    struct ip_addr local; /* source of the packets, and what family they are of */
    int lower;            /* index of the link they leave by */
    bool learning, gbp;   /* learn where frames come from; group policy extension */
};

/* Makes one that is down, with this MAC from the start (so that nothing takes it for a random one
 * that may be changed) and no IPv6 addresses but those that are added. -EEXIST when the name is
 * taken, -EOPNOTSUPP when the kernel has no VXLAN. */
int vxlan_add(struct netlink *nl, const char *name, const uint8_t mac[6], int mtu,
              const struct vxlan_config *c, struct error *err);
/* 1 when there is such a link, 0 when there is none, -errno. When link.kind is not "vxlan" *ret_c
 * is zero. */
int vxlan_find(struct netlink *nl, const char *name, struct link_info *ret_link,
               struct vxlan_config *ret_c, struct error *err);
