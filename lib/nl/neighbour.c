/* Neighbours; see neighbour.h. */
#include "nl/neighbour.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

int neighbour_delete(struct netlink *nl, int ifindex, const struct ip_addr *addr, struct error *err)
{
    char text[IP_TEXT_MAX];
    struct error e = ERROR_INIT;
    const struct ndmsg h = {.ndm_family = (uint8_t)addr->family, .ndm_ifindex = ifindex};
    struct nl_msg *msg = netlink_message(RTM_DELNEIGH, 0, &h, sizeof(h));
    netlink_put(msg, NDA_DST, addr->bytes, ip_addr_size(addr));
    int r = netlink_call(nl, msg, &e, "cannot forget neighbour %s", ip_addr_format(addr, text));
    if (r == -ENOENT)
        return 0;
    if (r < 0 && err)
        *err = e;
    return r;
}
