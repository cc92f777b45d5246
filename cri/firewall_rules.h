/*
 * What iptables and ip6tables hold for the builtin network, as text for iptables-restore --noflush:
 *
 *   filter  CORACLE-FORWARD    from FORWARD: what goes to and from the bridge is accepted
 *           CORACLE-INPUT      from INPUT, first: pods do not reach the node's loopback, which
 *                              route_localnet would let them (IPv4, with host ports only)
 *   nat     CORACLE-MASQ       from POSTROUTING: what pods send to outside gets the node's address;
 *                              also what would be answered past the translation
 *           CORACLE-HOSTPORTS  from PREROUTING and OUTPUT, for the node's addresses: host ports
 *                              (once there was one)
 *
 * Chains are replaced as a whole, so that the same input leads to the same rules whatever was in
 * them; a jump is made only where there is none, so that nothing else is touched or reordered.
 */
#pragma once

#include <net/if.h>

#include "base/strbuf.h"
#include "cri/hostport.h"
#include "cri/ipam.h"

#define FIREWALL_CLUSTERS_MAX 8

struct firewall_config {
    char bridge[IFNAMSIZ];
    struct ip_prefix pods[IPAM_PREFIXES_MAX];
    size_t n_pods;
    struct ip_prefix clusters[FIREWALL_CLUSTERS_MAX]; /* what pods reach with their own address; a
                                                         family without one: its pod prefix */
    size_t n_clusters;
    bool masquerade;  /* false: somebody else does (flanneld --ip-masq) */
    bool bridged_nat; /* what the bridge forwards passes conntrack (br_netfilter) */
};

enum firewall_jump {
    FIREWALL_JUMP_FORWARD,
    FIREWALL_JUMP_INPUT,
    FIREWALL_JUMP_MASQ,
    FIREWALL_JUMP_PREROUTING,
    FIREWALL_JUMP_OUTPUT,
    FIREWALL_N_JUMPS,
};
/* What iptables-save showed of ours. */
struct firewall_seen {
    bool jumps[FIREWALL_N_JUMPS];
    bool ports; /* the chains for host ports are there */
    bool any;   /* any of our chains is */
};

bool firewall_has_family(const struct firewall_config *c, int family);
/* @saved: what iptables-save (ip6tables-save) printed. */
void firewall_look(const char *saved, struct firewall_seen *ret);
/* Appends the input that brings the rules of @family in line; of one that has no pod prefix, empty
 * chains. *seen is what is there, and becomes
 * what will be when the input has been taken. */
void firewall_rules(const struct firewall_config *c, int family, const struct hostports *ports,
                    struct firewall_seen *seen, struct strbuf *out);
/* Whether a chain is one of those above. */
bool firewall_is_ours(const char *chain);
