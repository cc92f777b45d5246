/* VXLAN links; see vxlan.h. */
#include "nl/vxlan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/strbuf.h"
#include "nl/link_internal.h"

static void put_u16(struct nl_msg *msg, int attribute, uint16_t value)
{
    netlink_put(msg, attribute, &value, sizeof(value));
}

static void put_info(struct nl_msg *msg, const struct vxlan_config *c)
{
    struct nlattr *info = netlink_nest(msg, IFLA_LINKINFO);
    netlink_put_string(msg, IFLA_INFO_KIND, "vxlan");
    struct nlattr *data = netlink_nest(msg, IFLA_INFO_DATA);
    netlink_put_u32(msg, IFLA_VXLAN_ID, c->vni);
    put_u16(msg, IFLA_VXLAN_PORT, htons(c->port));
    netlink_put(msg, c->local.family == AF_INET6 ? IFLA_VXLAN_LOCAL6 : IFLA_VXLAN_LOCAL,
                c->local.bytes, ip_addr_size(&c->local));
    netlink_put_u32(msg, IFLA_VXLAN_LINK, (uint32_t)c->lower);
    netlink_put_u8(msg, IFLA_VXLAN_LEARNING, c->learning);
    if (c->gbp)
        netlink_put(msg, IFLA_VXLAN_GBP, NULL, 0);
    netlink_nest_end(msg, data);
    netlink_nest_end(msg, info);
}

int vxlan_add(struct netlink *nl, const char *name, const uint8_t mac[6], int mtu,
              const struct vxlan_config *c, struct error *err)
{
    struct ifinfomsg h = {.ifi_family = AF_UNSPEC};
    struct nl_msg *msg = netlink_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &h, sizeof(h));
    netlink_put_string(msg, IFLA_IFNAME, name);
    netlink_put(msg, IFLA_ADDRESS, mac, 6);
    netlink_put_u32(msg, IFLA_MTU, (uint32_t)mtu);
    put_info(msg, c);
    int r = netlink_call(nl, msg, err, "cannot make vxlan link %s", name);
    if (r == -EOPNOTSUPP)
        return error_set(err, r,
                         "cannot make vxlan link %s: the kernel lacks CONFIG_VXLAN (module vxlan)",
                         name);
    if (r < 0)
        return r;
    msg = netlink_message(RTM_NEWLINK, 0, &h, sizeof(h));
    netlink_put_string(msg, IFLA_IFNAME, name);
    struct nlattr *families = netlink_nest(msg, IFLA_AF_SPEC);
    struct nlattr *inet6 = netlink_nest(msg, AF_INET6);
    netlink_put_u8(msg, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    netlink_nest_end(msg, inet6);
    netlink_nest_end(msg, families);
    /* A kernel without IPv6 has none to keep away. */
    (void)netlink_call(nl, msg, NULL, "address generation of %s", name);
    return 0;
}

struct finding {
    struct link_info *link;
    struct vxlan_config *c;
};

static void parse_data(const struct nlattr *data, struct vxlan_config *c)
{
    struct nlattr *a[IFLA_VXLAN_MAX + 1];
    if (nla_parse_nested(a, IFLA_VXLAN_MAX, (struct nlattr *)(uintptr_t)data, NULL) < 0)
        return;
    uint16_t port = 0;
    if (a[IFLA_VXLAN_PORT] && nla_len(a[IFLA_VXLAN_PORT]) == sizeof(port))
        memcpy(&port, nla_data(a[IFLA_VXLAN_PORT]), sizeof(port));
    c->port = ntohs(port);
    c->vni = a[IFLA_VXLAN_ID] ? nla_get_u32(a[IFLA_VXLAN_ID]) : 0;
    c->lower = a[IFLA_VXLAN_LINK] ? (int)nla_get_u32(a[IFLA_VXLAN_LINK]) : 0;
    c->learning = a[IFLA_VXLAN_LEARNING] && nla_get_u8(a[IFLA_VXLAN_LEARNING]);
    c->gbp = a[IFLA_VXLAN_GBP] != NULL;
    const struct nlattr *v4 = a[IFLA_VXLAN_LOCAL], *v6 = a[IFLA_VXLAN_LOCAL6];
    const struct nlattr *local = v4 ? v4 : v6;
    c->local.family = v4 ? AF_INET : v6 ? AF_INET6 : 0;
    if (local && nla_len(local) == (int)ip_addr_size(&c->local))
        memcpy(c->local.bytes, nla_data(local), (size_t)nla_len(local));
}

static int on_found(const struct nlmsghdr *h, void *arg)
{
    const struct finding *f = arg;
    const struct nlattr *data = NULL;
    *f->c = (struct vxlan_config){.vni = 0};
    int r = link_parse(h, f->link, &data);
    if (r == 0 && data && str_eq(f->link->kind, "vxlan"))
        parse_data(data, f->c);
    return r;
}

int vxlan_find(struct netlink *nl, const char *name, struct link_info *ret_link,
               struct vxlan_config *ret_c, struct error *err)
{
    struct finding f = {ret_link, ret_c};
    return link_ask(nl, name, on_found, &f, err);
}
