/*
 * Which endpoints a service port uses, as kube-proxy decides it.
 *
 * Policy Cluster takes every ready endpoint; when every one of them carries hints and some are for
 * this node (or else for its zone), only those. Policy Local takes the ready ones on this node.
 * Where either finds none, it falls back by itself to those that still serve while they terminate.
 */
#include <string.h>

#include "base/strbuf.h"
#include "proxy/plan_internal.h"

#define LABEL_HOSTNAME "kubernetes.io/hostname"

struct candidate {
    struct plan_endpoint e;
    bool ready, draining; /* draining: serves while it terminates */
    bool node_hints, zone_hints, node_hint, zone_hint;
};
struct candidates {
    struct candidate *items;
    size_t count, room;
};

bool plan_endpoint_address_ok(const struct ip_addr *a)
{
    static const struct ip_addr any6 = {.family = AF_INET6};
    static const struct ip_addr loopback6 = {.family = AF_INET6, .bytes[15] = 1};
    const uint8_t *b = a->bytes;
    if (a->family == AF_INET)
        return b[0] != 0 && b[0] != 127 && b[0] < 224 && !(b[0] == 169 && b[1] == 254);
    return b[0] != 0xff && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80) && !ip_addr_equal(a, &any6) &&
           !ip_addr_equal(a, &loopback6);
}

int plan_slice_port(const struct slice *s, const char *name, int protocol)
{
    for (size_t i = 0; i < s->ports.count; i++) {
        const struct slice_port *sp = &s->ports.items[i];
        if (str_eq(sp->name ? sp->name : "", name) && plan_protocol(sp->protocol) == protocol)
            return (int)sp->port;
    }
    return 0;
}

static const char *node_of(const struct endpoint *ep)
{
    return ep->node_name ? ep->node_name : string_map_get(&ep->topology, LABEL_HOSTNAME);
}

/* The first address of an endpoint; the others are for people. */
static void add_endpoint(const struct plan *p, const struct endpoint *ep, int family, int port,
                         struct candidates *all)
{
    struct ip_addr ip;
    bool ready = !ep->ready.set || ep->ready.value;
    bool serving = ep->serving.set ? ep->serving.value : ready;
    if ((!ready && !serving) || !ep->addresses.count ||
        ip_addr_parse(ep->addresses.items[0], &ip) < 0 || ip.family != family ||
        !plan_endpoint_address_ok(&ip))
        return;
    const char *node = node_of(ep);
    bool local = str_eq(node, p->node);
    struct candidate c = {
        .e = {.ip = ip, .port = (uint16_t)port, .local = local, .maybe_here = local || !node},
        .ready = ready,
        .draining = !ready && ep->terminating.set && ep->terminating.value,
        .node_hints = ep->nodes.count > 0,
        .zone_hints = ep->zones.count > 0};
    for (size_t i = 0; i < ep->nodes.count; i++)
        c.node_hint = c.node_hint || str_eq(ep->nodes.items[i].name, p->node);
    for (size_t i = 0; i < ep->zones.count && p->zone; i++)
        c.zone_hint = c.zone_hint || str_eq(ep->zones.items[i].name, p->zone);
    if (all->count == all->room) {
        all->room = all->room ? all->room * 2 : 16;
        all->items = mem_grow(all->items, all->room, sizeof(*all->items));
    }
    all->items[all->count++] = c;
}

static int by_address(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int c = memcmp(x->e.ip.bytes, y->e.ip.bytes, sizeof(x->e.ip.bytes));
    return c ? c : x->e.port - y->e.port;
}

/* Slices may overlap while one replaces another: what any of them says in an endpoint's favour
 * holds. Sorts. */
static void merge(struct candidates *all)
{
    size_t n = 0;
    if (all->count)
        qsort(all->items, all->count, sizeof(*all->items), by_address);
    for (size_t i = 0; i < all->count; i++) {
        const struct candidate *from = &all->items[i];
        struct candidate *to = n ? &all->items[n - 1] : NULL;
        if (!to || by_address(to, from) != 0) {
            all->items[n++] = *from;
            continue;
        }
        to->ready = to->ready || from->ready;
        to->draining = (to->draining || from->draining) && !to->ready;
        to->e.local = to->e.local || from->e.local;
        to->e.maybe_here = to->e.maybe_here || from->e.maybe_here;
        to->node_hints = to->node_hints && from->node_hints;
        to->zone_hints = to->zone_hints && from->zone_hints;
        to->node_hint = to->node_hint || from->node_hint;
        to->zone_hint = to->zone_hint || from->zone_hint;
    }
    all->count = n;
}

enum topology { ANYWHERE, SAME_NODE, SAME_ZONE };

static enum topology topology_of(const struct candidates *all)
{
    bool any = false, node = false, zone = false, all_node = true, all_zone = true;
    for (size_t i = 0; i < all->count; i++) {
        const struct candidate *c = &all->items[i];
        if (!c->ready)
            continue;
        any = true;
        node = node || c->node_hint;
        zone = zone || c->zone_hint;
        all_node = all_node && c->node_hints;
        all_zone = all_zone && c->zone_hints;
    }
    if (any && all_node && node)
        return SAME_NODE;
    return any && all_zone && zone ? SAME_ZONE : ANYWHERE;
}

static void choose_cluster(struct candidates *all, struct plan_port *port)
{
    enum topology topology = topology_of(all);
    for (size_t i = 0; i < all->count; i++) {
        struct candidate *c = &all->items[i];
        c->e.in_cluster = c->ready && (topology == ANYWHERE ||
                                       (topology == SAME_NODE ? c->node_hint : c->zone_hint));
        port->n_cluster += c->e.in_cluster;
    }
    for (size_t i = 0; i < all->count && !port->n_cluster; i++)
        all->items[i].e.in_cluster = all->items[i].draining;
    port->n_cluster = 0;
    for (size_t i = 0; i < all->count; i++)
        port->n_cluster += all->items[i].e.in_cluster;
}

static void choose_local(struct candidates *all, struct plan_port *port)
{
    bool ready = false;
    for (size_t i = 0; i < all->count; i++)
        ready = ready || (all->items[i].e.local && all->items[i].ready);
    for (size_t i = 0; i < all->count; i++) {
        struct candidate *c = &all->items[i];
        c->e.in_local = c->e.local && (ready ? c->ready : c->draining);
        port->n_local += c->e.in_local;
    }
}

bool plan_port_is_external(const struct plan_port *p)
{
    return p->node_port || p->n_external_ips || p->n_ingress_ips;
}

void plan_endpoints(const struct plan *p, const struct plan_entry *e, const char *name,
                    struct plan_port *port, struct map *ready)
{
    struct candidates all = {.items = NULL};
    char text[IP_TEXT_MAX];
    MAP_FOR_EACH(i, &e->slices) {
        const struct slice *s = map_value(i);
        int number = plan_slice_port(s, name, port->protocol);
        if (number < 1 || number > 65535 ||
            !str_eq(s->address_type, port->family == AF_INET ? "IPv4" : "IPv6"))
            continue;
        for (size_t k = 0; k < s->endpoints.count; k++)
            add_endpoint(p, &s->endpoints.items[k], port->family, number, &all);
    }
    merge(&all);
    bool external_local = port->external_local && plan_port_is_external(port);
    if (!port->internal_local || plan_port_is_external(port))
        choose_cluster(&all, port);
    if (port->internal_local || external_local)
        choose_local(&all, port);
    port->endpoints = mem_zalloc((all.count + 1) * sizeof(*port->endpoints));
    for (size_t i = 0; i < all.count; i++) {
        const struct candidate *c = &all.items[i];
        port->endpoints[port->n_endpoints++] = c->e;
        port->has_endpoints = port->has_endpoints || c->ready || c->draining;
        if (c->ready && c->e.local)
            map_set(ready, ip_addr_format(&c->e.ip, text), NULL);
    }
    free(all.items);
}
