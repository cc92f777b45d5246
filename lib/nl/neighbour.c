/* Neighbours and forwarding entries; see neighbour.h. */
#include "nl/neighbour.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <string.h>
#include <sys/socket.h>

static struct nl_msg *message(int type, int flags, int ifindex, bool fdb,
                              const struct ip_addr *addr, const uint8_t *mac)
{
    const struct ndmsg h = {.ndm_family = fdb ? AF_BRIDGE : (uint8_t)addr->family,
                            .ndm_ifindex = ifindex,
                            .ndm_state = type == RTM_NEWNEIGH ? NUD_PERMANENT : 0,
                            .ndm_flags = fdb ? NTF_SELF : 0};
    struct nl_msg *msg = netlink_message(type, flags, &h, sizeof(h));
    netlink_put(msg, NDA_DST, addr->bytes, ip_addr_size(addr));
    if (mac)
        netlink_put(msg, NDA_LLADDR, mac, 6);
    return msg;
}

static int delete (struct netlink *nl, struct nl_msg *msg, const struct ip_addr *addr,
                   const char *what, struct error *err)
{
    char text[IP_TEXT_MAX];
    struct error e = ERROR_INIT;
    int r = netlink_call(nl, msg, &e, "cannot forget %s %s", what, ip_addr_format(addr, text));
    if (r == -ENOENT)
        return 0;
    if (r < 0 && err)
        *err = e;
    return r;
}

int neighbour_put(struct netlink *nl, int ifindex, const struct neighbour *n, struct error *err)
{
    char text[IP_TEXT_MAX];
    return netlink_call(
        nl, message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, ifindex, false, &n->addr, n->mac),
        err, "cannot set neighbour %s", ip_addr_format(&n->addr, text));
}

int neighbour_delete(struct netlink *nl, int ifindex, const struct ip_addr *addr, struct error *err)
{
    return delete (nl, message(RTM_DELNEIGH, 0, ifindex, false, addr, NULL), addr, "neighbour",
                   err);
}

int fdb_put(struct netlink *nl, int ifindex, const struct neighbour *n, struct error *err)
{
    char text[IP_TEXT_MAX];
    return netlink_call(
        nl, message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, ifindex, true, &n->addr, n->mac),
        err, "cannot set the forwarding entry of %s", ip_addr_format(&n->addr, text));
}

int fdb_delete(struct netlink *nl, int ifindex, const struct neighbour *n, struct error *err)
{
    return delete (nl, message(RTM_DELNEIGH, 0, ifindex, true, &n->addr, n->mac), &n->addr,
                   "the forwarding entry of", err);
}

struct listing {
    int ifindex, family;
    int (*cb)(const struct neighbour *n, void *arg);
    void *arg;
};

static int on_entry(const struct nlmsghdr *h, void *arg)
{
    const struct listing *l = arg;
    const struct ndmsg *m = nlmsg_data(h);
    struct nlattr *a[NDA_MAX + 1];
    if (h->nlmsg_type != RTM_NEWNEIGH || m->ndm_ifindex != l->ifindex ||
        m->ndm_family != l->family || !(m->ndm_state & NUD_PERMANENT) ||
        nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof(*m), a, NDA_MAX, NULL) < 0 ||
        !a[NDA_DST] || !a[NDA_LLADDR] || nla_len(a[NDA_LLADDR]) != 6)
        return 0;
    struct neighbour n = {.addr.family = nla_len(a[NDA_DST]) == 16 ? AF_INET6 : AF_INET};
    if (nla_len(a[NDA_DST]) != (int)ip_addr_size(&n.addr))
        return 0;
    memcpy(n.addr.bytes, nla_data(a[NDA_DST]), (size_t)nla_len(a[NDA_DST]));
    memcpy(n.mac, nla_data(a[NDA_LLADDR]), 6);
    return l->cb(&n, l->arg);
}

int neighbour_list(struct netlink *nl, int ifindex, int family,
                   int (*cb)(const struct neighbour *n, void *arg), void *arg, struct error *err)
{
    struct listing l = {ifindex, family, cb, arg};
    const struct ndmsg h = {.ndm_family = (uint8_t)family};
    struct nl_msg *msg = netlink_message(RTM_GETNEIGH, NLM_F_DUMP, &h, sizeof(h));
    netlink_put_u32(msg, NDA_IFINDEX, (uint32_t)ifindex);
    return netlink_dump(nl, msg, on_entry, &l, err, "cannot list neighbours");
}

/* The kernel takes the older form of this request, with the header of links, as one that names the
 * link. */
int fdb_list(struct netlink *nl, int ifindex, int (*cb)(const struct neighbour *n, void *arg),
             void *arg, struct error *err)
{
    struct listing l = {ifindex, AF_BRIDGE, cb, arg};
    const struct ifinfomsg h = {.ifi_family = AF_BRIDGE, .ifi_index = ifindex};
    return netlink_dump(nl, netlink_message(RTM_GETNEIGH, NLM_F_DUMP, &h, sizeof(h)), on_entry, &l,
                        err, "cannot list forwarding entries");
}
