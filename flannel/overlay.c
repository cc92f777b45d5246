/* The overlay of this node; see overlay.h. */
#include "flannel/overlay.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "flannel/backend.h"
#include "flannel/kernel.h"
#include "flannel/subnet_file.h"
#include "nl/monitor.h"

#define GATHER_MS    20 /* changes come in bursts */
#define RETRY_MS     1000
#define RETRY_MAX_MS 30000
#define RESYNC_MS    (UINT64_C(600) * 1000) /* a safety net */

struct overlay {
    struct overlay_options options;
    struct loop *loop;
    struct netlink *nl;
    struct monitor *monitor;
    struct loop_timer turn, retry;
    uint64_t retry_ms;
    struct map leases;   /* node → struct lease */
    struct map refusals; /* node → why its lease is not used, said already */
    struct own_node own;
    bool own_known, synced, ready;
    struct uplink uplink; /* of the last turn; index 0: there was none */
    uint8_t mac[N_FAMILIES][6];
    int links[N_FAMILIES];
    struct lease published;    /* node NULL: nothing */
    struct rules_wanted ruled; /* the rules know of */
    char trouble[ERROR_TEXT_MAX];
};

static void free_lease(void *lease)
{
    (void)lease_free(lease);
}

static void schedule(struct overlay *o)
{
    if (!loop_timer_armed(&o->turn))
        loop_timer_set(&o->turn, GATHER_MS);
}

/* ---- what there is to say, once ---- */

static void trouble(struct overlay *o, const char *what)
{
    if (!str_eq(o->trouble, what))
        log_warn("the overlay is not as it should be, trying again", "error", what, NULL);
    (void)snprintf(o->trouble, sizeof(o->trouble), "%s", what);
    o->retry_ms = o->retry_ms ? o->retry_ms * 2 : RETRY_MS;
    if (o->retry_ms > RETRY_MAX_MS)
        o->retry_ms = RETRY_MAX_MS;
    loop_timer_set(&o->retry, o->retry_ms);
}

static void no_trouble(struct overlay *o)
{
    if (o->trouble[0])
        log_info("the overlay is as it should be again", NULL);
    o->trouble[0] = '\0';
    o->retry_ms = 0;
    loop_timer_set(&o->retry, RESYNC_MS);
}

static void say_refusals(struct overlay *o, const struct plan *plan)
{
    struct map now = MAP_INIT(free);
    for (size_t i = 0; i < plan->n_refusals; i++) {
        const struct plan_refusal *r = &plan->refusals[i];
        if (!str_eq(map_get(&o->refusals, r->node), r->reason))
            log_warn("a node's lease is not used", "node", r->node, "reason", r->reason, NULL);
        map_set(&now, r->node, str_dup(r->reason));
    }
    map_clear(&o->refusals);
    o->refusals = now;
}

/* ---- a turn ---- */

struct host {
    struct ip_prefix *list;
    size_t n;
    const int *links;
};

static int on_address(int ifindex, const struct ip_prefix *p, void *arg)
{
    struct host *h = arg;
    if (ifindex == h->links[V4] || ifindex == h->links[V6])
        return 0;
    h->list = mem_grow(h->list, h->n + 1, sizeof(*h->list));
    h->list[h->n++] = *p;
    return 0;
}

static void make_self(const struct overlay *o, const struct host *host, struct plan_self *self)
{
    *self = (struct plan_self){.node = o->options.node,
                               .config = o->options.config,
                               .host = host->list,
                               .n_host = host->n};
    for (int i = 0; i < N_FAMILIES; i++) {
        struct self_family *f = &self->family[i];
        *f = (struct self_family){.on = o->options.config->on[i],
                                  .subnet = o->own.family[i].subnet,
                                  .public_ip = o->uplink.public_ip[i],
                                  .link = o->links[i],
                                  .uplink = o->uplink.link.index,
                                  .address = o->uplink.address[i]};
        memcpy(f->mac, o->mac[i], 6);
    }
}

static int apply(struct overlay *o, struct error *err)
{
    struct host host = {.links = o->links};
    struct plan_self self;
    struct plan plan;
    size_t n = 0, changes = 0;
    int r = 0;
    for (int i = 0; r == 0 && i < N_FAMILIES; i++)
        r = address_list_all(o->nl, family_of(i), on_address, &host, err);
    const struct lease **leases = mem_zalloc((map_count(&o->leases) + 1) * sizeof(*leases));
    MAP_FOR_EACH(e, &o->leases) {
        leases[n++] = map_value(e);
    }
    if (r == 0) {
        make_self(o, &host, &self);
        overlay_plan_make(&self, leases, n, &plan);
        say_refusals(o, &plan);
        r = kernel_apply(o->nl, &plan, o->links, &changes, err);
        overlay_plan_done(&plan);
    }
    if (changes)
        log_debug("overlay changed", "link", o->uplink.link.name, NULL);
    free(leases);
    free(host.list);
    return r;
}

static void publish(struct overlay *o)
{
    const struct flannel_config *c = o->options.config;
    struct lease now = {.node = str_dup(o->options.node), .backend = str_dup(c->backend->name)};
    for (int i = 0; i < N_FAMILIES; i++) {
        if (!c->on[i])
            continue;
        now.family[i] =
            (struct lease_family){.set = true,
                                  .subnet = o->own.family[i].subnet,
                                  .public_ip = o->uplink.public_ip[i],
                                  .vni = c->backend->link ? (int64_t)(c->vni & 0xffff) : -1};
        memcpy(now.family[i].mac, o->mac[i], 6);
    }
    bool same = o->published.node &&
                lease_family_equal(&o->published.family[V4], &now.family[V4]) &&
                lease_family_equal(&o->published.family[V6], &now.family[V6]);
    if (same) {
        lease_done(&now);
        return;
    }
    lease_done(&o->published);
    o->published = now;
    o->options.ops->publish(o->options.arg, &o->published);
}

static int write_file(struct overlay *o, struct error *err)
{
    const struct flannel_config *c = o->options.config;
    _cleanup_strbuf_ struct strbuf content = STRBUF_INIT;
    struct ip_prefix subnet[N_FAMILIES] = {o->own.family[V4].subnet, o->own.family[V6].subnet};
    int mtu = (c->mtu ? c->mtu : o->uplink.link.mtu) - backend_overhead(c);
    subnet_file_format(c, subnet, mtu, o->options.ip_masq, &content);
    return subnet_file_write(o->options.subnet_file, o->options.record, &content, err);
}

static void want_rules(struct overlay *o)
{
    const struct flannel_config *c = o->options.config;
    struct rules_wanted *w = &o->ruled;
    bool same = true;
    for (int i = 0; i < N_FAMILIES; i++) {
        same = same && w->on[i] == c->on[i] &&
               ip_prefix_equal(&w->subnet[i], &o->own.family[i].subnet);
        w->on[i] = c->on[i];
        w->network[i] = c->network[i];
        w->subnet[i] = o->own.family[i].subnet;
    }
    w->masquerade = o->options.ip_masq;
    w->forward = o->options.forward;
    if (!same)
        flannel_rules_want(o->options.rules, w);
}

/* Whether our own Node says what is needed. */
static int check_own(const struct overlay *o, struct error *err)
{
    char text[IP_TEXT_MAX], network[IP_TEXT_MAX];
    const struct flannel_config *c = o->options.config;
    for (int i = 0; i < N_FAMILIES; i++) {
        const struct lease_family *f = &o->own.family[i];
        if (!c->on[i])
            continue;
        if (!f->set)
            return error_set(err, -ENOENT, "node %s has no IPv%d pod CIDR", o->options.node,
                             i == V4 ? 4 : 6);
        if (f->subnet.len <= c->network[i].len ||
            !ip_prefix_contains(&c->network[i], &f->subnet.addr))
            return error_set(err, -EINVAL, "pod CIDR %s of node %s is no part of the network %s",
                             ip_prefix_format(&f->subnet, text), o->options.node,
                             ip_prefix_format(&c->network[i], network));
    }
    return 0;
}

static int find_uplink(struct overlay *o, struct error *err)
{
    struct uplink up;
    struct uplink_choice choice = *o->options.uplink;
    for (int i = 0; i < N_FAMILIES; i++)
        if (o->own.overwrite[i].family && !choice.public_ip[i].family)
            choice.public_ip[i] = o->own.overwrite[i];
    o->uplink.link.index = 0;
    int r = uplink_find(o->nl, &choice, o->options.config->on, &up, err);
    if (r == 0)
        o->uplink = up;
    return r;
}

static int turn(struct overlay *o, struct error *err)
{
    struct ip_prefix subnet[N_FAMILIES] = {o->own.family[V4].subnet, o->own.family[V6].subnet};
    int r = check_own(o, err);
    if (r == 0)
        r = find_uplink(o, err);
    for (int i = 0; r == 0 && i < N_FAMILIES; i++)
        if (mac_is_zero(o->mac[i]))
            memcpy(o->mac[i], o->own.family[i].mac, 6);
    if (r == 0)
        r = kernel_links(o->nl, o->options.config, &o->uplink, subnet, o->mac, o->links, err);
    if (r < 0)
        return r;
    publish(o);
    want_rules(o);
    if (!o->uplink.link.up) /* what leads over it the kernel would refuse; its coming is heard */
        return error_set(err, -ENETDOWN, "link %s is down", o->uplink.link.name);
    r = apply(o, err);
    int r2 = write_file(o, r < 0 ? NULL : err);
    return r < 0 ? r : r2;
}

static void on_turn(void *arg)
{
    struct overlay *o = arg;
    struct error err = ERROR_INIT;
    if (!o->synced || !o->own_known)
        return;
    if (turn(o, &err) < 0) {
        trouble(o, error_text(&err));
        return;
    }
    no_trouble(o);
    if (!o->ready) {
        o->ready = true;
        o->options.ops->ready(o->options.arg);
    }
}

/* ---- what happens ---- */

static bool is_known_link(const struct overlay *o, int index)
{
    return !o->uplink.link.index || index == o->uplink.link.index || index == o->links[V4] ||
           index == o->links[V6];
}

/* Most of what goes on in a host (pods that come and go, neighbours) is not about the overlay. */
static bool concerns_us(const struct overlay *o, const struct nlmsghdr *h)
{
    const struct ifinfomsg *link = nlmsg_data(h);
    const struct ifaddrmsg *address = nlmsg_data(h);
    const struct ndmsg *neighbour = nlmsg_data(h);
    const struct rtmsg *route = nlmsg_data(h);
    struct nlattr *a[RTA_MAX + 1];
    switch (h->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        return is_known_link(o, link->ifi_index);
    case RTM_NEWADDR:
    case RTM_DELADDR:
        return is_known_link(o, (int)address->ifa_index);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
        return neighbour->ndm_ifindex == o->links[V4] || neighbour->ndm_ifindex == o->links[V6];
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        if (route->rtm_table != RT_TABLE_MAIN)
            return false;
        if (route->rtm_protocol == ROUTE_PROTOCOL || !route->rtm_dst_len)
            return true;
        return nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof(*route), a, RTA_MAX, NULL) < 0 ||
               (a[RTA_OIF] && is_known_link(o, (int)nla_get_u32(a[RTA_OIF])));
    default:
        return false;
    }
}

static void on_monitor(const struct nlmsghdr *h, void *arg)
{
    struct overlay *o = arg;
    if (!h || concerns_us(o, h))
        schedule(o);
}

int overlay_new(struct overlay **ret, struct loop *loop, const struct overlay_options *options,
                struct error *err)
{
    static const unsigned groups[] = {RTNLGRP_LINK,       RTNLGRP_NEIGH,       RTNLGRP_IPV4_IFADDR,
                                      RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE};
    struct overlay *o = mem_zalloc(sizeof(*o));
    *o = (struct overlay){.options = *options,
                          .loop = loop,
                          .leases = MAP_INIT(free_lease),
                          .refusals = MAP_INIT(free)};
    loop_timer_init(&o->turn, loop, "overlay", on_turn, o);
    loop_timer_init(&o->retry, loop, "overlay again", on_turn, o);
    int r = netlink_open(NETLINK_ROUTE, &o->nl, err);
    if (r == 0)
        r = monitor_new(&o->monitor, loop, NETLINK_ROUTE, groups, ARRAY_SIZE(groups), on_monitor, o,
                        err);
    if (r == 0)
        r = monitor_ignore(o->monitor, netlink_port(o->nl), err);
    if (r < 0)
        o = overlay_free(o);
    else
        *ret = o;
    return r;
}

struct overlay *overlay_free(struct overlay *o)
{
    if (!o)
        return NULL;
    loop_timer_done(&o->turn);
    loop_timer_done(&o->retry);
    (void)monitor_free(o->monitor);
    (void)netlink_free(o->nl);
    map_clear(&o->leases);
    map_clear(&o->refusals);
    lease_done(&o->published);
    free(o);
    return NULL;
}

void overlay_own(struct overlay *o, const struct own_node *own, const char *why)
{
    o->own_known = !why;
    if (why) {
        trouble(o, why);
        return;
    }
    o->own = *own;
    schedule(o);
}

void overlay_lease(struct overlay *o, const char *node, struct lease *lease)
{
    if (lease)
        map_set(&o->leases, node, lease);
    else if (!map_remove(&o->leases, node))
        return;
    schedule(o);
}

void overlay_synced(struct overlay *o)
{
    o->synced = true;
    schedule(o);
}
