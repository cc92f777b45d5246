/* UDP flows that conntrack remembers wrongly; see hostport_flows.h. */
#include "cri/hostport_flows.h"

#include <linux/netlink.h>
#include <netinet/in.h>

#include "base/strbuf.h"
#include "nl/conntrack.h"

static const int families[] = {AF_INET, AF_INET6};

bool hostport_flows_concern(const struct hostport_claim *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->ports[i].protocol == IPPROTO_UDP)
            return true;
    return false;
}

/* Removes what @match accepts of every family; -errno of the first failure. */
static int forget(bool (*match)(const struct conntrack_flow *flow, void *arg), void *arg,
                  struct error *err)
{
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    int r = netlink_open(NETLINK_NETFILTER, &nl, err);
    for (size_t i = 0; i < ARRAY_SIZE(families) && r >= 0; i++)
        r = conntrack_delete_where(nl, families[i], IPPROTO_UDP, match, arg, err);
    return r < 0 ? r : 0;
}

static bool translated(const struct conntrack_flow *f)
{
    return !ip_addr_equal(&f->dst, &f->reply_src);
}

/* ---- a claim's flows ---- */
struct locals {
    const struct hostport_claim *claim;
    struct ip_addr *addrs; /* of the node */
    size_t n;
};

static int add_local(_unused_ int ifindex, const struct ip_prefix *p, void *arg)
{
    struct locals *l = arg;
    l->addrs = mem_grow(l->addrs, l->n + 1, sizeof(*l->addrs));
    l->addrs[l->n++] = p->addr;
    return 0;
}

static bool is_local(const struct locals *l, const struct ip_addr *a)
{
    if (a->family == AF_INET && a->bytes[0] == 127)
        return true;
    for (size_t i = 0; i < l->n; i++)
        if (ip_addr_equal(&l->addrs[i], a))
            return true;
    return false;
}

/* The UDP port of the claim that the flow's first packet was sent to; NULL. */
static const struct hostport *port_of(const struct hostport_claim *c,
                                      const struct conntrack_flow *f)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct hostport *p = &c->ports[i];
        if (p->protocol == IPPROTO_UDP && p->host_port == f->dst_port &&
            hostport_serves(p, f->dst.family) &&
            (!p->host_ip.family || ip_addr_is_any(&p->host_ip) ||
             ip_addr_equal(&p->host_ip, &f->dst)))
            return p;
    }
    return NULL;
}

static bool goes_to_pod(const struct hostport_claim *c, const struct conntrack_flow *f)
{
    const struct ip_addr *pod = hostport_pod_address(c, f->reply_src.family);
    return pod && ip_addr_equal(pod, &f->reply_src);
}

static bool goes_elsewhere(const struct conntrack_flow *f, void *arg)
{
    const struct locals *l = arg;
    return port_of(l->claim, f) && is_local(l, &f->dst) && !goes_to_pod(l->claim, f);
}

static bool went_to_pod(const struct conntrack_flow *f, void *arg)
{
    const struct locals *l = arg;
    const struct hostport *p = port_of(l->claim, f);
    return p && translated(f) && goes_to_pod(l->claim, f) && f->reply_src_port == p->pod_port;
}

int hostport_flows_opened(const struct hostport_claim *c, struct error *err)
{
    struct locals l = {.claim = c};
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    int r = netlink_open(NETLINK_ROUTE, &nl, err);
    for (size_t i = 0; i < ARRAY_SIZE(families) && r == 0; i++)
        r = address_list_all(nl, families[i], add_local, &l, err);
    if (r == 0)
        r = forget(goes_elsewhere, &l, err);
    free(l.addrs);
    return r;
}

int hostport_flows_closed(const struct hostport_claim *c, struct error *err)
{
    struct locals l = {.claim = c};
    return forget(went_to_pod, &l, err);
}

/* ---- flows to nobody ---- */
struct used {
    const struct ip_prefix *pods;
    size_t n_pods;
    const struct ip_addr *addrs;
    size_t n;
};

static bool goes_nowhere(const struct conntrack_flow *f, void *arg)
{
    const struct used *u = arg;
    bool pod = false;
    if (!translated(f))
        return false;
    for (size_t i = 0; i < u->n_pods; i++)
        pod |= ip_prefix_contains(&u->pods[i], &f->reply_src);
    for (size_t i = 0; pod && i < u->n; i++)
        pod = !ip_addr_equal(&u->addrs[i], &f->reply_src);
    return pod;
}

int hostport_flows_sweep(const struct ip_prefix *pods, size_t n_pods, const struct ip_addr *used,
                         size_t n_used, struct error *err)
{
    struct used u = {pods, n_pods, used, n_used};
    return forget(goes_nowhere, &u, err);
}
