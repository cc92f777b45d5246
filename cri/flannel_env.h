/*
 * flanneld's subnet.env: which addresses are this node's, which belong to the whole overlay, how
 * large its packets are, and whether flanneld masquerades by itself.
 */
#pragma once

#include "cri/firewall_rules.h"

#define FLANNEL_ENV_MAX 65536 /* bytes */

struct flannel_env {
    struct ip_prefix pods[IPAM_PREFIXES_MAX]; /* FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET */
    size_t n_pods;
    struct ip_prefix clusters[FIREWALL_CLUSTERS_MAX]; /* FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK */
    size_t n_clusters;
    int mtu;         /* FLANNEL_MTU; 0: not told */
    bool masquerade; /* FLANNEL_IPMASQ: flanneld does it */
};

/* Lines of KEY=VALUE; keys of others are passed over. -EINVAL naming the key: no subnet, or what is
 * no prefix, no number, no boolean, of the wrong family or there twice. */
int flannel_env_parse(const char *text, size_t len, struct flannel_env *ret, struct error *err);
