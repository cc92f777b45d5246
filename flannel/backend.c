/* The back ends that are there; see backend.h. */
#include "flannel/backend.h"

#include <errno.h>

#include "base/strbuf.h"

static bool is_neighbour(const struct self_family *self, const struct ip_addr *a)
{
    return self->address.len && ip_prefix_contains(&self->address, a);
}

static void direct_route(const struct self_family *self, const struct lease_family *peer,
                         struct plan *plan)
{
    const struct route_info r = {.destination = peer->subnet,
                                 .gateway = peer->public_ip,
                                 .ifindex = self->uplink,
                                 .protocol = ROUTE_PROTOCOL};
    overlay_plan_route(plan, &r);
}

/* ---- vxlan: one route, one neighbour and one forwarding entry a peer, nothing is learnt ---- */

static int vxlan_peer(const struct plan_self *self, int i, const struct lease_family *peer,
                      struct plan *plan, _unused_ struct error *err)
{
    const struct self_family *f = &self->family[i];
    if (self->config->direct_routing && is_neighbour(f, &peer->public_ip)) {
        direct_route(f, peer, plan);
        return 0;
    }
    /* The first address of the peer's subnet is that of its link. */
    const struct route_info r = {.destination = peer->subnet,
                                 .gateway = peer->subnet.addr,
                                 .ifindex = f->link,
                                 .protocol = ROUTE_PROTOCOL,
                                 .onlink = true};
    overlay_plan_route(plan, &r);
    overlay_plan_neighbour(plan, f->link, &peer->subnet.addr, peer->mac);
    overlay_plan_fdb(plan, f->link, &peer->public_ip, peer->mac);
    return 0;
}

static const struct backend_ops vxlan_backend = {
    /* outer Ethernet (the inner frame's) 14, IP 20 or 40, UDP 8, VXLAN 8 */
    .name = "vxlan",
    .link = true,
    .overhead = {50, 70},
    .peer = vxlan_peer};

/* ---- host-gw: the peer is the gateway to its pods ---- */

static int host_gw_peer(const struct plan_self *self, int i, const struct lease_family *peer,
                        struct plan *plan, struct error *err)
{
    char text[IP_TEXT_MAX], network[IP_TEXT_MAX];
    const struct self_family *f = &self->family[i];
    if (!is_neighbour(f, &peer->public_ip))
        return error_set(err, -EINVAL,
                         "public IP %s is not on the network of our link, %s: host-gw cannot "
                         "reach it",
                         ip_addr_format(&peer->public_ip, text),
                         ip_prefix_format(&f->address, network));
    direct_route(f, peer, plan);
    return 0;
}

static const struct backend_ops host_gw_backend = {.name = "host-gw", .peer = host_gw_peer};

/* ---- ---- */

int backend_find(const char *name, const struct backend_ops **ret, struct error *err)
{
    static const struct backend_ops *const backends[] = {&vxlan_backend, &host_gw_backend};
    static const char *const others[] = {"udp",     "ipip",      "alloc",       "wireguard",
                                         "ipsec",   "extension", "tencent-vpc", "ali-vpc",
                                         "aws-vpc", "gce"};
    for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
        if (str_eq(backends[i]->name, name)) {
            *ret = backends[i];
            return 0;
        }
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (str_eq(others[i], name))
            return error_set(err, -EPROTONOSUPPORT,
                             "back end %s is not there (there are vxlan and host-gw)", name);
    return error_set(err, -EINVAL, "\"%.100s\" is no back end", name);
}

int backend_overhead(const struct flannel_config *c)
{
    int most = 0;
    for (int i = 0; i < N_FAMILIES; i++)
        if (c->on[i] && c->backend->overhead[i] > most)
            most = c->backend->overhead[i];
    return most;
}
