/* Connection tracking over nfnetlink; see conntrack.h. */
#include "nl/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netlink/netfilter/ct.h>
#include <string.h>

#include "base/strbuf.h"

/* Which parts of the tuple a dump compares (Linux 5.8; nf_internals.h has the bits). */
#define CTA_FILTER_ATTR       25
#define CTA_FILTER_ORIG_FLAGS 1
#define FILTER_PROTO_NUM      (1u << 3)

struct deletion {
    int family, protocol;
    bool (*stale)(const struct conntrack_flow *flow, void *arg);
    void *arg;
    struct nl_msg **requests; /* of what is stale, sent when the dump is over */
    size_t n, room;
};

static bool take_address(struct nl_addr *from, struct ip_addr *to)
{
    if (!from || (nl_addr_get_family(from) != AF_INET && nl_addr_get_family(from) != AF_INET6))
        return false;
    to->family = nl_addr_get_family(from);
    if (nl_addr_get_len(from) != ip_addr_size(to))
        return false;
    memcpy(to->bytes, nl_addr_get_binary_addr(from), ip_addr_size(to));
    return true;
}

static int note(struct deletion *d, struct nfnl_ct *ct)
{
    if (d->n == d->room) {
        d->room = d->room ? d->room * 2 : 16;
        d->requests = mem_grow(d->requests, d->room, sizeof(struct nl_msg *));
    }
    if (nfnl_ct_build_delete_request(ct, 0, &d->requests[d->n]) < 0)
        return -ENOMEM;
    d->n++;
    return 0;
}

static int on_flow(const struct nlmsghdr *h, void *arg)
{
    struct deletion *d = arg;
    struct nfnl_ct *ct = NULL;
    struct conntrack_flow flow = {.family = d->family, .protocol = d->protocol};
    int r = 0;
    if (NFNL_SUBSYS_ID(h->nlmsg_type) != NFNL_SUBSYS_CTNETLINK ||
        nfnlmsg_ct_parse((struct nlmsghdr *)(uintptr_t)h, &ct) < 0)
        return 0;
    if (nfnl_ct_get_proto(ct) == d->protocol && take_address(nfnl_ct_get_dst(ct, 0), &flow.dst) &&
        take_address(nfnl_ct_get_src(ct, 1), &flow.reply_src)) {
        flow.dst_port = nfnl_ct_get_dst_port(ct, 0);
        flow.reply_src_port = nfnl_ct_get_src_port(ct, 1);
        if (d->stale(&flow, d->arg))
            r = note(d, ct);
    }
    nfnl_ct_put(ct);
    return r;
}

/* Asks for one protocol only; kernels that cannot tell send everything. */
static struct nl_msg *dump_request(int family, int protocol)
{
    const struct nfgenmsg g = {.nfgen_family = (uint8_t)family, .version = NFNETLINK_V0};
    struct nl_msg *msg = netlink_message((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET,
                                         NLM_F_DUMP, &g, sizeof(g));
    struct nlattr *tuple = netlink_nest(msg, CTA_TUPLE_ORIG);
    struct nlattr *proto = netlink_nest(msg, CTA_TUPLE_PROTO);
    netlink_put_u8(msg, CTA_PROTO_NUM, (uint8_t)protocol);
    netlink_nest_end(msg, proto);
    netlink_nest_end(msg, tuple);
    struct nlattr *filter = netlink_nest(msg, CTA_FILTER_ATTR);
    netlink_put_u32(msg, CTA_FILTER_ORIG_FLAGS, FILTER_PROTO_NUM);
    netlink_nest_end(msg, filter);
    return msg;
}

static struct nl_msg *plain_request(int family)
{
    const struct nfgenmsg g = {.nfgen_family = (uint8_t)family, .version = NFNETLINK_V0};
    return netlink_message((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET, NLM_F_DUMP, &g,
                           sizeof(g));
}

int conntrack_delete_where(struct netlink *nl, int family, int protocol,
                           bool (*stale)(const struct conntrack_flow *flow, void *arg), void *arg,
                           struct error *err)
{
    struct deletion d = {.family = family, .protocol = protocol, .stale = stale, .arg = arg};
    int r = netlink_dump(nl, dump_request(family, protocol), on_flow, &d, NULL, "flows");
    if (r == -EINVAL || r == -EOPNOTSUPP)
        r = netlink_dump(nl, plain_request(family), on_flow, &d, NULL, "flows");
    /* What changed while it was listed is listed nevertheless. */
    if (r < 0 && r != -EINTR)
        (void)error_errno(err, r, "cannot list flows");
    else
        r = 0;
    int deleted = 0;
    for (size_t i = 0; i < d.n; i++) {
        if (r < 0) {
            nlmsg_free(d.requests[i]);
            continue;
        }
        int code = netlink_call(nl, d.requests[i], err, "cannot delete a flow");
        if (code == 0)
            deleted++;
        else if (code != -ENOENT)
            r = code;
    }
    free(d.requests);
    return r < 0 ? r : deleted;
}
