/* Network links (RTM_NEWLINK): bridges, veth pairs, what is there. */
#pragma once

#include <net/if.h>
#include <stdbool.h>

#include "nl/netlink.h"

#define LINK_ALIAS_MAX 256

struct link_info {
    int index;
    char name[IFNAMSIZ];
    char kind[16]; /* "bridge", "veth", …; "" for hardware */
    char alias[LINK_ALIAS_MAX];
    uint8_t mac[6];
    int mtu;
    int master; /* index of the bridge it is a port of, 0: none */
    bool up;
    uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
    uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
};

/* 1 when found, 0 when there is none, -errno. */
int link_find(struct netlink *nl, const char *name, struct link_info *ret, struct error *err);
/* Calls @cb for each link; a negative result is returned. */
int link_list(struct netlink *nl, int (*cb)(const struct link_info *info, void *arg), void *arg,
              struct error *err);

/* Makes a bridge that is up. -EEXIST when the name is taken. @mac: its fixed address, so that it
 * does not change as ports come and go. */
int link_add_bridge(struct netlink *nl, const char *name, const char *alias, const uint8_t mac[6],
                    int mtu, struct error *err);

/* Makes a dummy link: a place for addresses. -EEXIST when the name is taken, -EOPNOTSUPP when the
 * kernel has none (module dummy). */
int link_add_dummy(struct netlink *nl, const char *name, struct error *err);

struct link_veth {
    const char *name;        /* our end */
    const char *alias;       /* recognisably ours; NULL: none */
    int master;              /* index of the bridge, 0: none */
    bool hairpin;            /* the bridge may send frames back where they came from */
    const char *peer_name;   /* the other end */
    int peer_netns;          /* descriptor of its network namespace */
    const uint8_t *peer_mac; /* 6 bytes; NULL: random */
    int mtu;
};
/* Makes a veth pair, our end up and a port of the bridge, the peer down in its namespace. On
 * failure nothing of it is left. 0, -EEXIST, -errno. */
int link_add_veth(struct netlink *nl, const struct link_veth *veth, struct error *err);

/* What marks a link as ours. */
int link_set_alias(struct netlink *nl, const char *name, const char *alias, struct error *err);
int link_set_up(struct netlink *nl, int ifindex, struct error *err);
int link_set_mtu(struct netlink *nl, int ifindex, int mtu, struct error *err);
/* Removes a link (a veth with its peer). One that is not there is success. */
int link_delete(struct netlink *nl, const char *name, struct error *err);
