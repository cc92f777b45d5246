/* The overlay's links; see kernel.h. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "flannel/backend.h"
#include "flannel/kernel.h"
#include "nl/vxlan.h"

char *kernel_link_name(const struct flannel_config *c, int i, char *buf)
{
    (void)snprintf(buf, IFNAMSIZ, i == V4 ? "flannel.%u" : "flannel-v6.%u", (unsigned)c->vni);
    return buf;
}

static int random_mac(uint8_t mac[6], struct error *err)
{
    if (getrandom(mac, 6, 0) != 6)
        return error_errno(err, -errno, "random MAC");
    mac[0] = (uint8_t)((mac[0] & 0xfe) | 2); /* unicast, locally administered */
    return 0;
}

static bool same(const struct vxlan_config *a, const struct vxlan_config *b)
{
    return a->vni == b->vni && a->port == b->port && a->lower == b->lower &&
           a->learning == b->learning && a->gbp == b->gbp && ip_addr_equal(&a->local, &b->local);
}

static int make(struct netlink *nl, const char *name, uint8_t mac[6], int mtu,
                const struct vxlan_config *c, struct error *err)
{
    int r = mac_is_zero(mac) ? random_mac(mac, err) : 0;
    if (r == 0)
        r = vxlan_add(nl, name, mac, mtu, c, err);
    if (r == 0 && (r = link_set_alias(nl, name, LINK_ALIAS, err)) < 0)
        (void)link_delete(nl, name, NULL); /* without its mark nobody would clean it up */
    if (r < 0)
        return r;
    /* What routers announce in the overlay is not for this host. */
    _cleanup_free_ char *accept_ra = str_printf("/proc/sys/net/ipv6/conf/%s/accept_ra", name);
    if (fs_exists(accept_ra) && (r = fs_write_text(accept_ra, "0", err)) < 0)
        return r;
    log_info("overlay link made", "link", name, NULL);
    return 0;
}

/* The link is there as wanted: with its MAC, if it has the right shape. */
static int ensure(struct netlink *nl, const char *name, uint8_t mac[6], int mtu,
                  const struct vxlan_config *c, struct link_info *ret, struct error *err)
{
    struct vxlan_config is = {.vni = 0};
    struct link_info link = {.index = 0};
    int r = vxlan_find(nl, name, &link, &is, err);
    if (r < 0)
        return r;
    if (r == 1 && !str_eq(link.kind, "vxlan"))
        return error_set(err, -EEXIST,
                         "there is a link %s that is no vxlan link: remove it, or "
                         "choose another VNI",
                         name);
    if (r == 1 && !same(&is, c)) {
        log_info("overlay link does not fit any more, making it anew", "link", name, NULL);
        memcpy(mac, link.mac, 6);
        r = link_delete(nl, name, err);
        if (r < 0)
            return r;
    }
    if (r == 0) {
        if ((r = make(nl, name, mac, mtu, c, err)) < 0)
            return r;
        r = vxlan_find(nl, name, &link, &is, err);
        if (r != 1)
            return r < 0 ? r : error_set(err, -ENODEV, "link %s is gone again", name);
    }
    memcpy(mac, link.mac, 6);
    if (link.mtu != mtu && (r = link_set_mtu(nl, link.index, mtu, err)) < 0)
        return r;
    *ret = link;
    return 0;
}

/* ---- its address ---- */

struct addresses {
    struct ip_prefix list[16];
    size_t n;
};

static int on_address(const struct ip_prefix *p, void *arg)
{
    struct addresses *a = arg;
    if (a->n < ARRAY_SIZE(a->list))
        a->list[a->n++] = *p;
    return 0;
}

/* One address, so that what the host itself sends to pods has a source that finds its way back. */
static int ensure_address(struct netlink *nl, int link, const struct ip_prefix *subnet,
                          struct error *err)
{
    struct addresses is = {.n = 0};
    const struct ip_prefix wanted = {subnet->addr, (unsigned)ip_addr_size(&subnet->addr) * 8};
    bool there = false;
    int r = address_list(nl, link, subnet->addr.family, on_address, &is, err);
    for (size_t i = 0; r == 0 && i < is.n; i++) {
        if (ip_prefix_equal(&is.list[i], &wanted))
            there = true;
        else
            r = address_delete(nl, link, &is.list[i], err);
    }
    return r < 0 || there ? r : address_add(nl, link, &wanted, err);
}

static int ensure_family(struct netlink *nl, const struct flannel_config *c,
                         const struct uplink *up, int i, const struct ip_prefix *subnet,
                         uint8_t mac[6], int *ret_index, struct error *err)
{
    char name[IFNAMSIZ];
    struct link_info link = {.index = 0};
    const struct vxlan_config wanted = {.vni = c->vni,
                                        .port = c->port,
                                        .local = up->address[i].addr,
                                        .lower = up->link.index,
                                        .learning = c->learning,
                                        .gbp = c->gbp};
    int mtu = (c->mtu ? c->mtu : up->link.mtu) - c->backend->overhead[i];
    int r = ensure(nl, kernel_link_name(c, i, name), mac, mtu, &wanted, &link, err);
    if (r == 0)
        r = ensure_address(nl, link.index, subnet, err);
    if (r == 0 && !link.up)
        r = link_set_up(nl, link.index, err);
    if (r == 0)
        *ret_index = link.index;
    return r;
}

/* Links of ours that are not among @keep: of another VNI or back end. */
struct sweep {
    const int *keep;
    struct map names;
};

static int on_link(const struct link_info *info, void *arg)
{
    struct sweep *s = arg;
    if (str_eq(info->alias, LINK_ALIAS) && info->index != s->keep[V4] && info->index != s->keep[V6])
        map_set(&s->names, info->name, NULL);
    return 0;
}

int kernel_sweep_links(struct netlink *nl, const int keep[N_FAMILIES], struct error *err)
{
    struct sweep s = {.keep = keep, .names = MAP_INIT(NULL)};
    int first = link_list(nl, on_link, &s, err);
    MAP_FOR_EACH(e, &s.names) {
        int r = link_delete(nl, map_key(e), first ? NULL : err);
        first = first ? first : r;
    }
    map_clear(&s.names);
    return first;
}

int kernel_links(struct netlink *nl, const struct flannel_config *c, const struct uplink *up,
                 const struct ip_prefix subnet[N_FAMILIES], uint8_t mac[N_FAMILIES][6],
                 int ret_index[N_FAMILIES], struct error *err)
{
    int r = 0;
    for (int i = 0; i < N_FAMILIES; i++) {
        ret_index[i] = 0;
        if (r == 0 && c->on[i] && c->backend->link)
            r = ensure_family(nl, c, up, i, &subnet[i], mac[i], &ret_index[i], err);
    }
    return r < 0 ? r : kernel_sweep_links(nl, ret_index, err);
}
