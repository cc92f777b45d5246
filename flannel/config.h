/*
 * flannel's configuration of the network: net-conf.json, which every node of an overlay shares.
 * Field names, defaults and meanings are flannel's.
 */
#pragma once

#include "nl/address.h"

enum { V4, V6, N_FAMILIES }; /* index of what exists for each family */
static inline int family_of(int index)
{
    return index == V4 ? AF_INET : AF_INET6;
}

#define CONFIG_MAX 65536 /* bytes */

struct backend_ops;

struct flannel_config {
    bool on[N_FAMILIES];                  /* EnableIPv4, EnableIPv6 */
    struct ip_prefix network[N_FAMILIES]; /* Network, IPv6Network: all pods */
    const struct backend_ops *backend;    /* Backend.Type */
    uint32_t vni;
    uint16_t port;
    int mtu;                            /* of the link below; 0: what it has */
    bool learning, gbp, direct_routing; /* of vxlan */
};

/* Parses net-conf.json. -EINVAL naming the field; -EPROTONOSUPPORT for a back end that is flannel's
 * but not there, naming it. */
int config_parse(const char *text, size_t len, struct flannel_config *ret, struct error *err);
