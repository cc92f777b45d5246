/* Network links; see link.h. */
#include "nl/link.h"

#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <string.h>

#include "base/strbuf.h"
#include "nl/link_internal.h"

static void copy_text(char *to, size_t size, const struct nlattr *a)
{
    if (a)
        (void)snprintf(to, size, "%.*s", nla_len(a), (const char *)nla_data(a));
}

int link_parse(const struct nlmsghdr *h, struct link_info *info, const struct nlattr **ret_data)
{
    struct nlattr *a[IFLA_MAX + 1];
    if (nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof(struct ifinfomsg), a, IFLA_MAX, NULL) <
        0)
        return -EBADMSG;
    const struct ifinfomsg *m = nlmsg_data(h);
    *info = (struct link_info){.index = m->ifi_index, .up = m->ifi_flags & IFF_UP};
    copy_text(info->name, sizeof(info->name), a[IFLA_IFNAME]);
    copy_text(info->alias, sizeof(info->alias), a[IFLA_IFALIAS]);
    if (a[IFLA_ADDRESS] && nla_len(a[IFLA_ADDRESS]) == 6)
        memcpy(info->mac, nla_data(a[IFLA_ADDRESS]), 6);
    info->mtu = a[IFLA_MTU] ? (int)nla_get_u32(a[IFLA_MTU]) : 0;
    info->master = a[IFLA_MASTER] ? (int)nla_get_u32(a[IFLA_MASTER]) : 0;
    if (a[IFLA_LINKINFO]) {
        struct nlattr *first = nla_data(a[IFLA_LINKINFO]);
        int len = nla_len(a[IFLA_LINKINFO]);
        copy_text(info->kind, sizeof(info->kind), nla_find(first, len, IFLA_INFO_KIND));
        if (ret_data)
            *ret_data = nla_find(first, len, IFLA_INFO_DATA);
    }
    if (a[IFLA_STATS64]) {
        struct rtnl_link_stats64 s = {.rx_bytes = 0};
        size_t len = (size_t)nla_len(a[IFLA_STATS64]);
        memcpy(&s, nla_data(a[IFLA_STATS64]), len < sizeof(s) ? len : sizeof(s));
        info->rx_bytes = s.rx_bytes;
        info->rx_packets = s.rx_packets;
        info->rx_errors = s.rx_errors;
        info->rx_dropped = s.rx_dropped;
        info->tx_bytes = s.tx_bytes;
        info->tx_packets = s.tx_packets;
        info->tx_errors = s.tx_errors;
        info->tx_dropped = s.tx_dropped;
    }
    return 0;
}

struct asking {
    int (*cb)(const struct nlmsghdr *h, void *arg);
    void *arg;
    bool found;
};

static int on_answer(const struct nlmsghdr *h, void *arg)
{
    struct asking *a = arg;
    if (h->nlmsg_type != RTM_NEWLINK)
        return 0;
    a->found = true;
    return a->cb(h, a->arg);
}

int link_ask(struct netlink *nl, const char *name, int (*cb)(const struct nlmsghdr *h, void *arg),
             void *arg, struct error *err)
{
    struct ifinfomsg h = {.ifi_family = AF_UNSPEC};
    struct nl_msg *msg = netlink_message(RTM_GETLINK, 0, &h, sizeof(h));
    netlink_put_string(msg, IFLA_IFNAME, name);
    struct asking a = {.cb = cb, .arg = arg};
    struct error e = ERROR_INIT;
    int r = netlink_dump(nl, msg, on_answer, &a, &e, "cannot look up link %s", name);
    if (r == -ENODEV)
        return 0;
    if (r < 0 && err)
        *err = e;
    return r < 0 ? r : a.found;
}

static int on_found(const struct nlmsghdr *h, void *arg)
{
    return link_parse(h, arg, NULL);
}

int link_find(struct netlink *nl, const char *name, struct link_info *ret, struct error *err)
{
    struct link_info info = {.index = 0};
    int r = link_ask(nl, name, on_found, &info, err);
    if (r == 1)
        *ret = info;
    return r;
}

struct listing {
    int (*cb)(const struct link_info *info, void *arg);
    void *arg;
};

static int on_link(const struct nlmsghdr *h, void *arg)
{
    struct listing *l = arg;
    struct link_info info;
    if (h->nlmsg_type != RTM_NEWLINK || link_parse(h, &info, NULL) < 0)
        return 0;
    return l->cb(&info, l->arg);
}

int link_list(struct netlink *nl, int (*cb)(const struct link_info *info, void *arg), void *arg,
              struct error *err)
{
    struct listing l = {.cb = cb, .arg = arg};
    struct ifinfomsg h = {.ifi_family = AF_UNSPEC};
    return netlink_dump(nl, netlink_message(RTM_GETLINK, NLM_F_DUMP, &h, sizeof(h)), on_link, &l,
                        err, "cannot list links");
}

/* The alias cannot be given at creation: the kernel only takes it from a change. */
static struct nl_msg *change_message(const char *name, const char *alias)
{
    struct ifinfomsg h = {.ifi_family = AF_UNSPEC};
    struct nl_msg *msg = netlink_message(RTM_NEWLINK, 0, &h, sizeof(h));
    netlink_put_string(msg, IFLA_IFNAME, name);
    if (alias)
        netlink_put(msg, IFLA_IFALIAS, alias, strlen(alias));
    return msg;
}

int link_add_bridge(struct netlink *nl, const char *name, const char *alias, const uint8_t mac[6],
                    int mtu, struct error *err)
{
    struct ifinfomsg h = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct nl_msg *msg = netlink_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &h, sizeof(h));
    netlink_put_string(msg, IFLA_IFNAME, name);
    netlink_put(msg, IFLA_ADDRESS, mac, 6);
    if (mtu)
        netlink_put_u32(msg, IFLA_MTU, (uint32_t)mtu);
    struct nlattr *info = netlink_nest(msg, IFLA_LINKINFO);
    netlink_put_string(msg, IFLA_INFO_KIND, "bridge");
    netlink_nest_end(msg, info);
    int r = netlink_call(nl, msg, err, "cannot make bridge %s", name);
    if (r < 0)
        return r;
    r = link_set_alias(nl, name, alias, err);
    if (r < 0)
        (void)link_delete(nl, name, NULL);
    return r;
}

int link_set_alias(struct netlink *nl, const char *name, const char *alias, struct error *err)
{
    return netlink_call(nl, change_message(name, alias), err, "cannot set the alias of %s", name);
}

int link_add_dummy(struct netlink *nl, const char *name, struct error *err)
{
    struct ifinfomsg h = {.ifi_family = AF_UNSPEC};
    struct nl_msg *msg = netlink_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &h, sizeof(h));
    netlink_put_string(msg, IFLA_IFNAME, name);
    struct nlattr *info = netlink_nest(msg, IFLA_LINKINFO);
    netlink_put_string(msg, IFLA_INFO_KIND, "dummy");
    netlink_nest_end(msg, info);
    return netlink_call(nl, msg, err, "cannot make dummy link %s", name);
}

static void put_veth(struct nl_msg *msg, const struct link_veth *veth)
{
    struct nlattr *info = netlink_nest(msg, IFLA_LINKINFO);
    netlink_put_string(msg, IFLA_INFO_KIND, "veth");
    struct nlattr *data = netlink_nest(msg, IFLA_INFO_DATA);
    struct nlattr *peer = netlink_nest(msg, VETH_INFO_PEER);
    /* Not up yet: the kernel would open it before it has its other half. */
    struct ifinfomsg h = {.ifi_family = AF_UNSPEC};
    if (nlmsg_append(msg, &h, sizeof(h), NLMSG_ALIGNTO) < 0)
        abort();
    netlink_put_string(msg, IFLA_IFNAME, veth->peer_name);
    netlink_put_u32(msg, IFLA_NET_NS_FD, (uint32_t)veth->peer_netns);
    if (veth->peer_mac)
        netlink_put(msg, IFLA_ADDRESS, veth->peer_mac, 6);
    if (veth->mtu)
        netlink_put_u32(msg, IFLA_MTU, (uint32_t)veth->mtu);
    netlink_nest_end(msg, peer);
    netlink_nest_end(msg, data);
    netlink_nest_end(msg, info);
}

int link_add_veth(struct netlink *nl, const struct link_veth *veth, struct error *err)
{
    struct ifinfomsg h = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct nl_msg *msg = netlink_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &h, sizeof(h));
    netlink_put_string(msg, IFLA_IFNAME, veth->name);
    if (veth->mtu)
        netlink_put_u32(msg, IFLA_MTU, (uint32_t)veth->mtu);
    if (veth->master)
        netlink_put_u32(msg, IFLA_MASTER, (uint32_t)veth->master);
    put_veth(msg, veth);
    int r = netlink_call(nl, msg, err, "cannot make veth pair %s", veth->name);
    if (r < 0 || !(veth->alias || (veth->master && veth->hairpin)))
        return r;
    msg = change_message(veth->name, veth->alias);
    if (veth->master && veth->hairpin) {
        struct nlattr *info = netlink_nest(msg, IFLA_LINKINFO);
        netlink_put_string(msg, IFLA_INFO_SLAVE_KIND, "bridge");
        struct nlattr *data = netlink_nest(msg, IFLA_INFO_SLAVE_DATA);
        netlink_put_u8(msg, IFLA_BRPORT_MODE, 1);
        netlink_nest_end(msg, data);
        netlink_nest_end(msg, info);
    }
    r = netlink_call(nl, msg, err, "cannot configure %s", veth->name);
    if (r < 0)
        (void)link_delete(nl, veth->name, NULL);
    return r;
}

int link_set_up(struct netlink *nl, int ifindex, struct error *err)
{
    struct ifinfomsg h = {
        .ifi_family = AF_UNSPEC, .ifi_index = ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    return netlink_call(nl, netlink_message(RTM_NEWLINK, 0, &h, sizeof(h)), err,
                        "cannot bring link %d up", ifindex);
}

int link_set_mtu(struct netlink *nl, int ifindex, int mtu, struct error *err)
{
    struct ifinfomsg h = {.ifi_family = AF_UNSPEC, .ifi_index = ifindex};
    struct nl_msg *msg = netlink_message(RTM_NEWLINK, 0, &h, sizeof(h));
    netlink_put_u32(msg, IFLA_MTU, (uint32_t)mtu);
    return netlink_call(nl, msg, err, "cannot set the MTU of link %d to %d", ifindex, mtu);
}

int link_delete(struct netlink *nl, const char *name, struct error *err)
{
    struct ifinfomsg h = {.ifi_family = AF_UNSPEC};
    struct nl_msg *msg = netlink_message(RTM_DELLINK, 0, &h, sizeof(h));
    netlink_put_string(msg, IFLA_IFNAME, name);
    struct error e = ERROR_INIT;
    int r = netlink_call(nl, msg, &e, "cannot remove link %s", name);
    if (r == -ENODEV)
        return 0;
    if (r < 0 && err)
        *err = e;
    return r;
}
