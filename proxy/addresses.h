/*
 * The addresses of this node, followed through netlink: all of them, and those on which node ports
 * are served (nodePortAddresses).
 */
#pragma once

#include "base/loop.h"
#include "nl/address.h"

struct node_ports_config {
    const struct ip_prefix *ranges; /* node ports are served on addresses in these */
    size_t n_ranges;                /* none (and not primary): on all of them */
    bool primary;       /* on the node's own addresses only; see addresses_set_primary() */
    const char *except; /* a link whose addresses are not the node's (kube-ipvs0), or NULL */
};

struct addresses {
    struct ip_addr *all, *node_ports; /* both families, in order; loopback included */
    size_t n_all, n_node_ports;
    bool everywhere; /* node ports are served on every address */
};

struct address_monitor;

/* Reads what is there and follows it. @config is copied. @changed is called, later, when any list
 * is another. 0 or -errno. */
int address_monitor_new(struct address_monitor **ret, struct loop *loop,
                        const struct node_ports_config *config, void (*changed)(void *arg),
                        void *arg, struct error *err);
struct address_monitor *address_monitor_free(struct address_monitor *m); /* returns NULL */
/* Valid for the monitor's life; its content changes before @changed is called. */
const struct addresses *address_monitor_get(const struct address_monitor *m);
/* The node's addresses as the Node object has them; @n of them. */
void address_monitor_set_primary(struct address_monitor *m, const struct ip_addr *ips, size_t n);
bool addresses_has(const struct ip_addr *list, size_t n, const struct ip_addr *a);
