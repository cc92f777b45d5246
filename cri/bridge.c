/* The builtin network's bridge; see bridge.h. */
#include "cri/bridge.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/journal.h"
#include "nl/route.h"

#define DEFAULT_MTU 1500
#define ROUTES_MAX  64

/* ---- default routes ---- */
struct default_routes {
    struct route_info list[ROUTES_MAX];
    size_t n;
};

static int on_route(const struct route_info *r, void *arg)
{
    struct default_routes *d = arg;
    if (r->destination.len == 0 && r->ifindex && d->n < ROUTES_MAX)
        d->list[d->n++] = *r;
    return 0;
}

static int default_mtu(struct netlink *nl)
{
    struct default_routes d = {.n = 0};
    char name[IFNAMSIZ];
    struct link_info info;
    (void)route_list(nl, AF_INET, on_route, &d, NULL);
    (void)route_list(nl, AF_INET6, on_route, &d, NULL);
    for (size_t i = 0; i < d.n; i++)
        if (if_indextoname((unsigned)d.list[i].ifindex, name) &&
            link_find(nl, name, &info, NULL) == 1)
            return info.mtu;
    return DEFAULT_MTU;
}

/* ---- sysctls ---- */
static bool sysctl_is(const char *key, const char *value)
{
    _cleanup_free_ char *path = fs_join("/proc/sys", key);
    _cleanup_strbuf_ struct strbuf now = STRBUF_INIT;
    if (fs_read(path, 64, &now, NULL) < 0)
        return false;
    strbuf_truncate(&now, strcspn(strbuf_text(&now), "\n"));
    return str_eq(strbuf_text(&now), value);
}

/* A node that forwards stops listening to router advertisements, and so loses a default route that
 * it has from one, unless it is told to go on (accept_ra 2; the kernel's ip-sysctl text). */
static int keep_default_routes(struct netlink *nl, const char *journal, struct error *err)
{
    struct default_routes d = {.n = 0};
    char name[IFNAMSIZ];
    int r = route_list(nl, AF_INET6, on_route, &d, err);
    for (size_t i = 0; r == 0 && i < d.n; i++) {
        if (d.list[i].protocol != RTPROT_RA || !if_indextoname((unsigned)d.list[i].ifindex, name))
            continue;
        _cleanup_free_ char *key = str_printf("net/ipv6/conf/%s/accept_ra", name);
        if (sysctl_is(key, "1"))
            r = journal_sysctl(journal, "cri", key, "2", err);
    }
    return r;
}

bool bridge_passes_conntrack(void)
{
    return fs_exists("/proc/sys/net/bridge/bridge-nf-call-iptables");
}

static int route_ipv4(const char *journal, struct error *err)
{
    int r = journal_sysctl(journal, "cri", "net/ipv4/ip_forward", "1", err);
    /* Replies between pods of one bridge must pass conntrack, or a Service's answer comes from the
     * wrong address. Without the module there is nothing to set. */
    if (r == 0 && bridge_passes_conntrack())
        r = journal_sysctl(journal, "cri", "net/bridge/bridge-nf-call-iptables", "1", err);
    return r;
}

static int route_ipv6(struct netlink *nl, const char *journal, const char *bridge,
                      struct error *err)
{
    _cleanup_free_ char *disable = str_printf("net/ipv6/conf/%s/disable_ipv6", bridge);
    _cleanup_free_ char *accept_ra = str_printf("net/ipv6/conf/%s/accept_ra", bridge);
    if (!fs_exists("/proc/sys/net/ipv6"))
        return error_set_field(err, -EAFNOSUPPORT, "pod_cidr",
                               "pod CIDR: this kernel runs without IPv6");
    int r = keep_default_routes(nl, journal, err);
    if (r == 0)
        r = journal_sysctl(journal, "cri", "net/ipv6/conf/all/forwarding", "1", err);
    if (r == 0 && bridge_passes_conntrack())
        r = journal_sysctl(journal, "cri", "net/bridge/bridge-nf-call-ip6tables", "1", err);
    /* The bridge's own go with it. No pod tells the node where routers are. */
    if (r == 0)
        r = journal_sysctl(NULL, "cri", disable, "0", err);
    return r == 0 ? journal_sysctl(NULL, "cri", accept_ra, "0", err) : r;
}

/* ---- the link ---- */
struct addresses {
    int index;
    const struct ip_prefix *wanted;
    size_t n;
};

/* Addresses of an earlier pod CIDR go: pods of two would find each other, but nobody else them. */
static int drop_other(const struct ip_prefix *p, void *arg)
{
    const struct addresses *a = arg;
    for (size_t i = 0; i < a->n; i++)
        if (ip_prefix_equal(p, &a->wanted[i]))
            return 0;
    if (p->addr.family == AF_INET6 && p->addr.bytes[0] == 0xfe && (p->addr.bytes[1] & 0xc0) == 0x80)
        return 0;
    struct netlink *nl = NULL;
    if (netlink_open(NETLINK_ROUTE, &nl, NULL) == 0) /* the other one is in the middle of a list */
        (void)address_delete(nl, a->index, p, NULL);
    (void)netlink_free(nl);
    return 0;
}

static int find_or_make(struct netlink *nl, const char *name, int mtu, struct link_info *info,
                        struct error *err)
{
    int r = link_find(nl, name, info, err);
    if (r == 0) {
        uint8_t mac[6];
        random_bytes(mac, sizeof(mac));
        mac[0] = (uint8_t)((mac[0] & 0xfe) | 0x02); /* locally administered, unicast */
        r = link_add_bridge(nl, name, BRIDGE_ALIAS_PREFIX "bridge", mac,
                            mtu ? mtu : default_mtu(nl), err);
        if (r == 0)
            r = link_find(nl, name, info, err);
    }
    if (r < 0)
        return r;
    if (r == 0 || !str_eq(info->kind, "bridge"))
        return error_set(err, -EEXIST, "link %s is there and is no bridge", name);
    if (mtu && info->mtu != mtu && (r = link_set_mtu(nl, info->index, mtu, err)) < 0)
        return r;
    info->mtu = mtu ? mtu : info->mtu;
    return 0;
}

int bridge_ensure(struct netlink *nl, const char *name, const struct ip_prefix *addresses, size_t n,
                  int mtu, const char *journal, struct bridge *ret, struct error *err)
{
    struct link_info info;
    int r = find_or_make(nl, name, mtu, &info, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = addresses[i].addr.family == AF_INET6 ? route_ipv6(nl, journal, name, err)
                                                 : route_ipv4(journal, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = address_add(nl, info.index, &addresses[i], err);
    struct addresses a = {r == 0 ? info.index : 0, addresses, n};
    if (r == 0 && (r = address_list(nl, a.index, AF_INET, drop_other, &a, err)) == 0 &&
        (r = address_list(nl, a.index, AF_INET6, drop_other, &a, err)) == 0 &&
        (r = link_set_up(nl, a.index, err)) == 0)
        *ret = (struct bridge){info.index, info.mtu};
    return r;
}

int bridge_remove(const char *name, struct error *err)
{
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    struct link_info info = {.index = 0};
    int r = netlink_open(NETLINK_ROUTE, &nl, err);
    if (r == 0)
        r = link_find(nl, name, &info, err);
    if (r == 1)
        r = str_starts(info.alias, BRIDGE_ALIAS_PREFIX) ? link_delete(nl, name, err) : 0;
    return r;
}
