/* Routes; see route.h. */
#include "nl/route.h"

#include <errno.h>
#include <netlink/attr.h>
#include <string.h>

static struct nl_msg *message(int type, int flags, const struct ip_prefix *destination,
                              const struct ip_addr *gateway, int ifindex)
{
    struct rtmsg h = {.rtm_family = (uint8_t)destination->addr.family,
                      .rtm_dst_len = (uint8_t)destination->len,
                      .rtm_table = RT_TABLE_MAIN,
                      .rtm_protocol = RTPROT_STATIC,
                      .rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                      .rtm_type = RTN_UNICAST};
    if (type == RTM_DELROUTE) {
        h.rtm_scope = RT_SCOPE_NOWHERE;
        h.rtm_protocol = RTPROT_UNSPEC;
        h.rtm_type = RTN_UNSPEC;
    }
    struct nl_msg *msg = netlink_message(type, flags, &h, sizeof(h));
    struct ip_prefix network = ip_prefix_network(destination);
    if (destination->len)
        netlink_put(msg, RTA_DST, network.addr.bytes, ip_addr_size(&network.addr));
    if (gateway)
        netlink_put(msg, RTA_GATEWAY, gateway->bytes, ip_addr_size(gateway));
    netlink_put_u32(msg, RTA_OIF, (uint32_t)ifindex);
    return msg;
}

int route_add(struct netlink *nl, const struct ip_prefix *destination,
              const struct ip_addr *gateway, int ifindex, struct error *err)
{
    char text[IP_TEXT_MAX];
    return netlink_call(
        nl, message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, destination, gateway, ifindex), err,
        "cannot add route to %s", ip_prefix_format(destination, text));
}

int route_delete(struct netlink *nl, const struct ip_prefix *destination, int ifindex,
                 struct error *err)
{
    char text[IP_TEXT_MAX];
    struct error e = ERROR_INIT;
    int r = netlink_call(nl, message(RTM_DELROUTE, 0, destination, NULL, ifindex), &e,
                         "cannot remove route to %s", ip_prefix_format(destination, text));
    if (r == -ESRCH)
        return 0;
    if (r < 0 && err)
        *err = e;
    return r;
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
                           .protocol = m->rtm_protocol};
    if (a[RTA_DST] && nla_len(a[RTA_DST]) == (int)ip_addr_size(&r.destination.addr))
        memcpy(r.destination.addr.bytes, nla_data(a[RTA_DST]), (size_t)nla_len(a[RTA_DST]));
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
