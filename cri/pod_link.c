/* A pod's connection to the bridge; see pod_link.h. */
#include "cri/pod_link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <string.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "nl/neighbour.h"
#include "nl/route.h"

#define LOOPBACK_INDEX 1 /* of every network namespace */

static int enter(const char *netns, struct error *err)
{
    _cleanup_close_ int fd = open(netns, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, -errno, "%s", netns);
    return setns(fd, CLONE_NEWNET) < 0 ? error_errno(err, -errno, "cannot enter %s", netns) : 0;
}

/* Sets a sysctl of the namespace that this thread is in. */
static int set_sysctl(const char *key, const char *value, struct error *err)
{
    _cleanup_free_ char *path = fs_join("/proc/sys/net", key);
    return fs_write_text(path, value, err);
}

static int configure_family(struct netlink *nl, int eth0, const struct ip_prefix *addr,
                            const struct ip_addr *gateway, struct error *err)
{
    struct ip_prefix any = {.addr.family = addr->addr.family};
    int r = 0;
    if (addr->addr.family == AF_INET6) {
        /* A pod takes no routes from its neighbours. */
        r = set_sysctl("ipv6/conf/eth0/disable_ipv6", "0", err);
        if (r == 0)
            r = set_sysctl("ipv6/conf/eth0/accept_ra", "0", err);
    }
    if (r == 0)
        r = address_add(nl, eth0, addr, err);
    return r == 0 ? route_add(nl, &any, gateway, eth0, err) : r;
}

/* In the pod's namespace: loopback, addresses, the way out. */
static int configure_pod(const struct pod_link *l, struct error *err)
{
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    struct link_info eth0 = {.index = 0};
    int r = netlink_open(NETLINK_ROUTE, &nl, err);
    if (r == 0)
        r = link_set_up(nl, LOOPBACK_INDEX, err);
    if (r == 0 && (r = link_find(nl, "eth0", &eth0, err)) == 0)
        r = error_set(err, -ENODEV, "eth0 is not in the pod's network namespace");
    if (r < 0 || (r = link_set_up(nl, eth0.index, err)) < 0)
        return r;
    for (size_t i = 0; r == 0 && i < l->n_families; i++)
        r = configure_family(nl, eth0.index, &l->families[i].addr, &l->families[i].gateway.addr,
                             err);
    return r;
}

/* The hardware address follows from the pod's first IPv4 address (else from the end of its IPv6
 * address), so that neighbours that remember it stay right when the address goes to another pod. */
static void derive_mac(const struct pod_link *l, uint8_t mac[6])
{
    const struct ip_addr *a = &l->families[0].addr.addr;
    for (size_t i = 0; i < l->n_families; i++)
        if (l->families[i].addr.addr.family == AF_INET)
            a = &l->families[i].addr.addr;
    mac[0] = 0x0a;
    mac[1] = 0x58;
    memcpy(mac + 2, a->bytes + ip_addr_size(a) - 4, 4);
}

int pod_link_attach(const struct pod_link *l, struct error *err)
{
    _cleanup_close_ int netns = open(l->netns, O_RDONLY | O_CLOEXEC);
    if (netns < 0)
        return error_errno(err, -errno, "%s", l->netns);
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    int r = netlink_open(NETLINK_ROUTE, &nl, err);
    if (r < 0)
        return r;
    uint8_t mac[6];
    derive_mac(l, mac);
    struct link_veth veth = {.name = l->name,
                             .alias = l->alias,
                             .master = l->bridge,
                             .hairpin = true,
                             .peer_name = "eth0",
                             .peer_netns = netns,
                             .peer_mac = mac,
                             .mtu = l->mtu};
    if ((r = link_add_veth(nl, &veth, err)) < 0 || (r = enter(l->netns, err)) < 0)
        return r;
    return configure_pod(l, err);
}

int pod_link_loopback(const char *netns, struct error *err)
{
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    int r = enter(netns, err);
    if (r == 0)
        r = netlink_open(NETLINK_ROUTE, &nl, err);
    return r == 0 ? link_set_up(nl, LOOPBACK_INDEX, err) : r;
}

struct search {
    const char *alias;
    char name[IFNAMSIZ];
};

static int on_link(const struct link_info *info, void *arg)
{
    struct search *s = arg;
    if (str_eq(info->alias, s->alias))
        memcpy(s->name, info->name, sizeof(s->name));
    return 0;
}

int pod_link_remove(const char *name, const char *alias, struct error *err)
{
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    struct search s = {.alias = alias};
    int r = netlink_open(NETLINK_ROUTE, &nl, err);
    if (r == 0 && !*name) {
        r = link_list(nl, on_link, &s, err);
        name = s.name;
    }
    return r == 0 && *name ? link_delete(nl, name, err) : r;
}

int pod_link_forget(int bridge, const struct ip_addr *addrs, size_t n, struct error *err)
{
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    int r = n ? netlink_open(NETLINK_ROUTE, &nl, err) : 0;
    for (size_t i = 0; i < n && r == 0; i++)
        r = neighbour_delete(nl, bridge, &addrs[i], err);
    return r;
}
