/* Routes; see route.h. */
#include "nl/route.h"

#include <errno.h>
#include <netlink/attr.h>
#include <string.h>

static struct nl_msg *message(int type, int flags, const struct route_info *r)
{
    bool remove = type == RTM_DELROUTE;
    struct rtmsg h = {.rtm_family = (uint8_t)r->destination.addr.family,
                      .rtm_dst_len = (uint8_t)r->destination.len,
                      .rtm_table = RT_TABLE_MAIN,
                      .rtm_protocol = (uint8_t)r->protocol,
                      .rtm_scope = remove              ? RT_SCOPE_NOWHERE
                                   : r->gateway.family ? RT_SCOPE_UNIVERSE
                                                       : RT_SCOPE_LINK,
                      .rtm_type = remove ? RTN_UNSPEC : RTN_UNICAST,
                      .rtm_flags = r->onlink ? RTNH_F_ONLINK : 0};
    struct nl_msg *msg = netlink_message(type, flags, &h, sizeof(h));
    struct ip_prefix network = ip_prefix_network(&r->destination);
    if (r->destination.len)
        netlink_put(msg, RTA_DST, network.addr.bytes, ip_addr_size(&network.addr));
    if (r->gateway.family)
        netlink_put(msg, RTA_GATEWAY, r->gateway.bytes, ip_addr_size(&r->gateway));
    netlink_put_u32(msg, RTA_OIF, (uint32_t)r->ifindex);
    return msg;
}

int route_put(struct netlink *nl, const struct route_info *r, struct error *err)
{
    char text[IP_TEXT_MAX];
    return netlink_call(nl, message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, r), err,
                        "cannot add route to %s", ip_prefix_format(&r->destination, text));
}

int route_remove(struct netlink *nl, const struct route_info *r, struct error *err)
{
    char text[IP_TEXT_MAX];
    struct error e = ERROR_INIT;
    int code = netlink_call(nl, message(RTM_DELROUTE, 0, r), &e, "cannot remove route to %s",
                            ip_prefix_format(&r->destination, text));
    if (code == -ESRCH)
        return 0;
    if (code < 0 && err)
        *err = e;
    return code;
}

int route_add(struct netlink *nl, const struct ip_prefix *destination,
              const struct ip_addr *gateway, int ifindex, struct error *err)
{
    struct route_info r = {
        .destination = *destination, .ifindex = ifindex, .protocol = RTPROT_STATIC};
    if (gateway)
        r.gateway = *gateway;
    return route_put(nl, &r, err);
}

int route_delete(struct netlink *nl, const struct ip_prefix *destination, int ifindex,
                 struct error *err)
{
    const struct route_info r = {
        .destination = *destination, .ifindex = ifindex, .protocol = RTPROT_UNSPEC};
    return route_remove(nl, &r, err);
}

struct listing {
    int family;
    int (*cb)(const struct route_info *r, void *arg);
    void *arg;
};

static int on_route(const struct nlmsghdr *h, void *arg)
{
    const struct listing *l = arg;
    const struct rtmsg *m = nlmsg_data(h);
    struct nlattr *a[RTA_MAX + 1];
    if (h->nlmsg_type != RTM_NEWROUTE || m->rtm_family != l->family || m->rtm_type != RTN_UNICAST ||
        m->rtm_table != RT_TABLE_MAIN ||
        nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof(*m), a, RTA_MAX, NULL) < 0)
        return 0;
    struct route_info r = {.destination = {.addr.family = l->family, .len = m->rtm_dst_len},
                           .protocol = m->rtm_protocol,
                           .onlink = m->rtm_flags & RTNH_F_ONLINK};
    if (a[RTA_DST] && nla_len(a[RTA_DST]) == (int)ip_addr_size(&r.destination.addr))
        memcpy(r.destination.addr.bytes, nla_data(a[RTA_DST]), (size_t)nla_len(a[RTA_DST]));
    const struct ip_addr family = {.family = l->family};
    if (a[RTA_GATEWAY] && nla_len(a[RTA_GATEWAY]) == (int)ip_addr_size(&family)) {
        r.gateway.family = l->family;
        memcpy(r.gateway.bytes, nla_data(a[RTA_GATEWAY]), ip_addr_size(&family));
    }
    if (a[RTA_OIF])
        r.ifindex = (int)nla_get_u32(a[RTA_OIF]);
    else if (a[RTA_MULTIPATH] && nla_len(a[RTA_MULTIPATH]) >= (int)sizeof(struct rtnexthop))
        r.ifindex = ((const struct rtnexthop *)nla_data(a[RTA_MULTIPATH]))->rtnh_ifindex;
    return l->cb(&r, l->arg);
}

int route_list(struct netlink *nl, int family, int (*cb)(const struct route_info *r, void *arg),
               void *arg, struct error *err)
{
    struct listing l = {family, cb, arg};
    struct rtmsg h = {.rtm_family = (uint8_t)family, .rtm_table = RT_TABLE_MAIN};
    return netlink_dump(nl, netlink_message(RTM_GETROUTE, NLM_F_DUMP, &h, sizeof(h)), on_route, &l,
                        err, "cannot list routes");
}
