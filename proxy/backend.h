/*
 * What every mode has in common: a back end keeps one address family in the kernel equal to the
 * plan. The proxier (proxier.h) tells it what to do, one thing at a time, and when to try again.
 *
 * A back end has no memory of what it programmed beyond what it needs: a change carries what
 * was there before. After any failure it is asked to reconcile: to look at what there is.
 */
#pragma once

#include <net/if.h>

#include "base/loop.h"
#include "base/map.h"
#include "proxy/addresses.h"
#include "proxy/plan.h"

/* How traffic of this node's pods is told from other traffic. */
enum local_kind { LOCAL_NONE, LOCAL_CIDR, LOCAL_BRIDGE, LOCAL_PREFIX };
struct local_traffic {
    enum local_kind kind;
    struct ip_prefix cidr;    /* LOCAL_CIDR */
    char interface[IFNAMSIZ]; /* LOCAL_BRIDGE: its name; LOCAL_PREFIX: how names begin */
};

struct backend_ipvs {
    const char *scheduler; /* "rr"; with flags: "sh,sh-port" */
    bool strict_arp;
    int tcp_timeout, tcp_fin_timeout, udp_timeout; /* seconds; 0: as they are */
    const struct ip_prefix *exclude;               /* virtual servers of others */
    size_t n_exclude;
};

struct backend_config {
    int family; /* AF_INET, AF_INET6 */
    struct local_traffic local;
    uint32_t mark; /* of traffic to be masqueraded: one bit */
    bool masquerade_all;
    bool localhost_node_ports; /* iptables, IPv4 */
    bool drop_invalid;         /* packets that conntrack finds invalid */
    struct ip_addr node_ip;    /* family 0: unknown */
    const struct addresses *addresses;
    const char *journal;   /* of host changes; NULL: none is kept */
    const char *variant;   /* iptables: "auto", "nft", "legacy" */
    const char *nft_table; /* nftables: the table's name */
    struct backend_ipvs ipvs;
    /* Called once for each reconcile() and apply(), perhaps from within. @error NULL: done. */
    void (*done)(void *arg, const char *error);
    /* Somebody else has changed what is ours: reconcile() is wanted. */
    void (*disturbed)(void *arg, const char *what);
    void *arg;
};

struct backend_change {
    const struct plan_service *old, *now; /* NULL: new, gone */
};

struct backend_stats {
    size_t rules_nat, rules_filter;           /* iptables: installed */
    size_t rules_nat_last, rules_filter_last; /* written by the last run */
};

struct backend_ops {
    const char *mode;
    /* A mode whose rules are this one's too: reconcile() takes out what it does not need. Or NULL.
     */
    const char *shares;
    /* Other addresses of the node mean other rules for services: everything is compared then. */
    bool addresses_change_services;
    /* Whether this node can do this mode in @family. -ENOTSUP (or another) and what is missing. */
    int (*probe)(const struct backend_config *c, struct error *err);
    /* @config stays valid and may change between calls (addresses, node IP). */
    int (*create)(void **ret, struct loop *loop, const struct backend_config *c, struct error *err);
    void (*destroy)(void *b); /* what is programmed stays */
    /* Makes the kernel hold exactly @services (key → const struct plan_service), whatever it holds.
     */
    void (*reconcile)(void *b, const struct map *services);
    /* Makes these changes. @changes stay valid until done. @node: addresses or the node's IP are
     * others now. */
    void (*apply)(void *b, const struct backend_change *changes, size_t n, bool node);
    void (*stats)(const void *b, struct backend_stats *ret); /* NULL: it has none */
    /* Looks whether everything is still there. False: no need to call again, it hears by itself. */
    bool (*check)(void *b);
    /* Removes all that this mode makes, in every family. Works without create(), and looks first: a
     * kernel without what the mode needs is not made to load it. */
    int (*cleanup)(const struct backend_config *c, struct error *err);
};

extern const struct backend_ops backend_iptables, backend_nftables, backend_ipvs;
