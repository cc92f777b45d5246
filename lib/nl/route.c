/* Routes; see route.h. */
#include "nl/route.h"

#include <errno.h>
#include <linux/rtnetlink.h>

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
