/* This node's addresses; see addresses.h. A change makes the whole list be read anew. */
#include "proxy/addresses.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "nl/link.h"
#include "nl/monitor.h"

#define SETTLE_MS     20
#define ADDRESSES_MAX 65536

struct address_monitor {
    struct netlink *nl;
    struct monitor *monitor;
    struct loop_timer settle; /* changes come in groups */
    struct ip_prefix *ranges;
    size_t n_ranges, n_primary;
    struct ip_addr *primary;
    bool only_primary;
    char *except;
    int except_index;
    struct addresses now;
    void (*changed)(void *arg);
    void *arg;
};

bool addresses_has(const struct ip_addr *list, size_t n, const struct ip_addr *a)
{
    for (size_t i = 0; i < n; i++)
        if (ip_addr_equal(&list[i], a))
            return true;
    return false;
}

static int compare(const void *a, const void *b)
{
    const struct ip_addr *x = a, *y = b;
    return x->family != y->family ? x->family - y->family
                                  : memcmp(x->bytes, y->bytes, sizeof(x->bytes));
}

struct reading {
    const struct address_monitor *m;
    struct addresses a;
};

static bool in_range(const struct ip_prefix *range, const struct ip_addr *ip)
{
    struct ip_prefix host = {.addr = *ip, .len = range->len}, wanted = ip_prefix_network(range);
    struct ip_prefix network = ip_prefix_network(&host);
    return ip_addr_equal(&network.addr, &wanted.addr);
}

static bool serves_node_ports(const struct address_monitor *m, const struct ip_addr *ip)
{
    if (m->only_primary)
        return addresses_has(m->primary, m->n_primary, ip);
    for (size_t i = 0; i < m->n_ranges; i++)
        if (m->ranges[i].addr.family == ip->family && in_range(&m->ranges[i], ip))
            return true;
    /* Ranges of one family only say nothing about the other. */
    for (size_t i = 0; i < m->n_ranges; i++)
        if (m->ranges[i].addr.family == ip->family)
            return false;
    return true;
}

static int take(int ifindex, const struct ip_prefix *p, void *arg)
{
    struct reading *r = arg;
    if (ifindex == r->m->except_index || r->a.n_all == ADDRESSES_MAX)
        return 0;
    r->a.all = mem_grow(r->a.all, r->a.n_all + 1, sizeof(*r->a.all));
    r->a.all[r->a.n_all++] = p->addr;
    return 0;
}

static void addresses_done(struct addresses *a)
{
    free(a->all);
    free(a->node_ports);
}

static void choose(const struct address_monitor *m, struct addresses *a)
{
    size_t n = 0;
    if (a->n_all)
        qsort(a->all, a->n_all, sizeof(*a->all), compare);
    for (size_t i = 0; i < a->n_all; i++) /* one address may stand on two links */
        if (!n || compare(&a->all[n - 1], &a->all[i]) != 0)
            a->all[n++] = a->all[i];
    a->n_all = n;
    a->node_ports = mem_zalloc((n + 1) * sizeof(*a->node_ports));
    for (size_t i = 0; i < n; i++)
        if (serves_node_ports(m, &a->all[i]))
            a->node_ports[a->n_node_ports++] = a->all[i];
    a->everywhere = !m->only_primary && !m->n_ranges;
}

#define SAME(a, b, items, n) \
    ((a)->n == (b)->n && (!(a)->n || !memcmp((a)->items, (b)->items, (a)->n * sizeof(*(a)->items))))

static int read_all(struct address_monitor *m, bool *ret_changed, struct error *err)
{
    struct reading r = {.m = m};
    struct link_info link;
    m->except_index = 0;
    int code = m->except ? link_find(m->nl, m->except, &link, err) : 0;
    if (code == 1)
        m->except_index = link.index;
    if (code >= 0)
        code = address_list_all(m->nl, AF_UNSPEC, take, &r, err);
    if (code < 0) {
        addresses_done(&r.a);
        return code;
    }
    choose(m, &r.a);
    *ret_changed =
        !SAME(&r.a, &m->now, all, n_all) || !SAME(&r.a, &m->now, node_ports, n_node_ports);
    addresses_done(&m->now);
    m->now = r.a;
    return 0;
}

static void on_settled(void *arg)
{
    struct address_monitor *m = arg;
    struct error err = ERROR_INIT;
    bool changed = false;
    if (read_all(m, &changed, &err) < 0) {
        log_warn("the node's addresses cannot be read, trying again", "error", err.text, NULL);
        loop_timer_set(&m->settle, 1000);
    } else if (changed) {
        m->changed(m->arg);
    }
}

static void on_event(const struct nlmsghdr *h, void *arg)
{
    struct address_monitor *m = arg;
    const struct ifaddrmsg *a = h ? NLMSG_DATA(h) : NULL;
    if (a && h->nlmsg_len >= NLMSG_LENGTH(sizeof(*a)) && m->except_index &&
        (int)a->ifa_index == m->except_index)
        return;
    if (!loop_timer_armed(&m->settle))
        loop_timer_set(&m->settle, SETTLE_MS);
}

int address_monitor_new(struct address_monitor **ret, struct loop *loop,
                        const struct node_ports_config *config, void (*changed)(void *arg),
                        void *arg, struct error *err)
{
    static const unsigned groups[] = {RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
    struct address_monitor *m = mem_zalloc(sizeof(*m));
    bool unused;
    *m = (struct address_monitor){
        .ranges = config->n_ranges
                      ? mem_dup(config->ranges, config->n_ranges * sizeof(*config->ranges))
                      : NULL,
        .n_ranges = config->n_ranges,
        .only_primary = config->primary,
        .except = str_dup(config->except),
        .changed = changed,
        .arg = arg};
    loop_timer_init(&m->settle, loop, "addresses", on_settled, m);
    int r = netlink_open(NETLINK_ROUTE, &m->nl, err);
    if (r == 0)
        r = monitor_new(&m->monitor, loop, NETLINK_ROUTE, groups, ARRAY_SIZE(groups), on_event, m,
                        err);
    if (r == 0)
        r = read_all(m, &unused, err);
    if (r < 0) {
        (void)address_monitor_free(m);
        return r;
    }
    *ret = m;
    return 0;
}

struct address_monitor *address_monitor_free(struct address_monitor *m)
{
    if (m) {
        loop_timer_done(&m->settle);
        (void)monitor_free(m->monitor);
        (void)netlink_free(m->nl);
        addresses_done(&m->now);
        free(m->ranges);
        free(m->primary);
        free(m->except);
        free(m);
    }
    return NULL;
}

const struct addresses *address_monitor_get(const struct address_monitor *m)
{
    return &m->now;
}

void address_monitor_set_primary(struct address_monitor *m, const struct ip_addr *ips, size_t n)
{
    free(m->primary);
    m->primary = n ? mem_dup(ips, n * sizeof(*ips)) : NULL;
    m->n_primary = n;
    if (m->only_primary)
        loop_timer_set(&m->settle, 0);
}
