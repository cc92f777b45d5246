/* Virtual servers, addresses and set entries of a service; see model.h. */
#include "proxy/ipvs/model.h"

#include <errno.h>
#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <string.h>

#include "base/strbuf.h"

const struct ipvs_set_def ipvs_sets[IPVS_SETS] = {
    [IPVS_SET_CLUSTER_IP] = {"CLUSTER-IP", IPSET_HASH_IP_PORT},
    [IPVS_SET_LOOP_BACK] = {"LOOP-BACK", IPSET_HASH_IP_PORT_IP},
    [IPVS_SET_EXTERNAL_IP] = {"EXTERNAL-IP", IPSET_HASH_IP_PORT},
    [IPVS_SET_EXTERNAL_IP_LOCAL] = {"EXTERNAL-IP-LOCAL", IPSET_HASH_IP_PORT},
    [IPVS_SET_LOAD_BALANCER] = {"LOAD-BALANCER", IPSET_HASH_IP_PORT},
    [IPVS_SET_LOAD_BALANCER_LOCAL] = {"LOAD-BALANCER-LOCAL", IPSET_HASH_IP_PORT},
    [IPVS_SET_FIREWALL] = {"LOAD-BALANCER-FW", IPSET_HASH_IP_PORT},
    [IPVS_SET_SOURCE_CIDR] = {"LOAD-BALANCER-SOURCE-CIDR", IPSET_HASH_IP_PORT_NET},
    [IPVS_SET_SOURCE_IP] = {"LOAD-BALANCER-SOURCE-IP", IPSET_HASH_IP_PORT_IP},
    [IPVS_SET_NODE_PORT_TCP] = {"NODE-PORT-TCP", IPSET_BITMAP_PORT},
    [IPVS_SET_NODE_PORT_LOCAL_TCP] = {"NODE-PORT-LOCAL-TCP", IPSET_BITMAP_PORT},
    [IPVS_SET_NODE_PORT_UDP] = {"NODE-PORT-UDP", IPSET_BITMAP_PORT},
    [IPVS_SET_NODE_PORT_LOCAL_UDP] = {"NODE-PORT-LOCAL-UDP", IPSET_BITMAP_PORT},
    [IPVS_SET_NODE_PORT_SCTP] = {"NODE-PORT-SCTP-HASH", IPSET_HASH_IP_PORT},
    [IPVS_SET_NODE_PORT_LOCAL_SCTP] = {"NODE-PORT-LOCAL-SCTP-HASH", IPSET_HASH_IP_PORT},
    [IPVS_SET_HEALTH_PORT] = {"HEALTH-CHECK-NODE-PORT", IPSET_BITMAP_PORT},
    [IPVS_SET_ADDRESSES] = {"IPVS-IPS", IPSET_HASH_IP},
    [IPVS_SET_NO_LOCAL] = {"NO-LOCAL", IPSET_HASH_IP_PORT},
};

/* With the prefix for IPv6, the longest ones are cut as kube-proxy cuts them. */
void ipvs_set_name(enum ipvs_set set, int family, char out[IPSET_NAME_MAX])
{
    (void)snprintf(out, IPSET_NAME_MAX, "KUBE-%s%s", family == AF_INET6 ? "6-" : "",
                   ipvs_sets[set].name);
}

/* ---- schedulers ---- */

int ipvs_scheduler_parse(const char *text, char name[IPVS_SCHEDULER_MAX], uint32_t *ret_flags,
                         struct error *err)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } flags[] = {{"sh-fallback", IP_VS_SVC_F_SCHED1}, {"sh-port", IP_VS_SVC_F_SCHED2},
                 {"mh-fallback", IP_VS_SVC_F_SCHED1}, {"mh-port", IP_VS_SVC_F_SCHED2},
                 {"flag-1", IP_VS_SVC_F_SCHED1},      {"flag-2", IP_VS_SVC_F_SCHED2},
                 {"flag-3", IP_VS_SVC_F_SCHED3}};
    size_t len = strcspn(text, ",");
    if (!len || len >= IPVS_SCHEDULER_MAX)
        return error_set_field(err, -EINVAL, "ipvs.scheduler",
                               "ipvs.scheduler: \"%s\" is not the name of a scheduler", text);
    (void)snprintf(name, IPVS_SCHEDULER_MAX, "%.*s", (int)len, text);
    /* As kube-proxy has it: connections, not clients, are spread. */
    *ret_flags = str_eq(name, "mh") && !text[len] ? IP_VS_SVC_F_SCHED2 : 0;
    while (text[len] == ',') {
        const char *flag = text + len + 1;
        size_t flag_len = strcspn(flag, ","), i = 0;
        while (i < ARRAY_SIZE(flags) &&
               (strlen(flags[i].name) != flag_len || strncmp(flags[i].name, flag, flag_len) != 0))
            i++;
        if (i == ARRAY_SIZE(flags))
            return error_set_field(err, -EINVAL, "ipvs.scheduler",
                                   "ipvs.scheduler: \"%.*s\" is not a flag of a scheduler",
                                   (int)flag_len, flag);
        *ret_flags |= flags[i].flag;
        len += 1 + flag_len;
    }
    return 0;
}

/* ---- lists ---- */

void ipvs_model_done(struct ipvs_model *m)
{
    free(m->items);
    free(m->servers);
    free(m->addresses);
    *m = (struct ipvs_model){.items = NULL};
}

#define ROOM_FOR_ONE(items, n, room)                               \
    do {                                                           \
        if ((n) == (room)) {                                       \
            (room) = (room) ? (room)*2 : 16;                       \
            (items) = mem_grow((items), (room), sizeof(*(items))); \
        }                                                          \
    } while (0)

void ipvs_model_add_item(struct ipvs_model *m, enum ipvs_set set, const struct ipset_entry *e)
{
    ROOM_FOR_ONE(m->items, m->n_items, m->room_items);
    memset(&m->items[m->n_items], 0, sizeof(*m->items));
    m->items[m->n_items].set = set;
    m->items[m->n_items++].entry = *e;
}

void ipvs_model_add_server(struct ipvs_model *m, const struct ipvs_server *s)
{
    ROOM_FOR_ONE(m->servers, m->n_servers, m->room_servers);
    m->servers[m->n_servers++] = *s;
}

void ipvs_model_add_address(struct ipvs_model *m, const struct ip_addr *a)
{
    ROOM_FOR_ONE(m->addresses, m->n_addresses, m->room_addresses);
    m->addresses[m->n_addresses++] = *a;
}

int ipvs_address_compare(const void *a, const void *b)
{
    const struct ip_addr *x = a, *y = b;
    return x->family != y->family ? x->family - y->family
                                  : memcmp(x->bytes, y->bytes, sizeof(x->bytes));
}

int ipvs_item_compare(const void *a, const void *b)
{
    const struct ipvs_item *x = a, *y = b;
    int c = (int)x->set - (int)y->set;
    c = c ? c : ipvs_address_compare(&x->entry.ip, &y->entry.ip);
    c = c ? c : x->entry.port - y->entry.port;
    c = c ? c : x->entry.protocol - y->entry.protocol;
    c = c ? c : ipvs_address_compare(&x->entry.ip2, &y->entry.ip2);
    return c ? c : x->entry.prefix - y->entry.prefix;
}

int ipvs_server_compare(const void *a, const void *b)
{
    const struct ipvs_server *x = a, *y = b;
    int c = ipvs_address_compare(&x->service.address, &y->service.address);
    c = c ? c : x->service.protocol - y->service.protocol;
    return c ? c : x->service.port - y->service.port;
}

static size_t sort(void *items, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    size_t kept = 0;
    char *at = items;
    if (n)
        qsort(items, n, size, compare);
    for (size_t i = 0; i < n; i++) {
        if (kept && compare(at + (kept - 1) * size, at + i * size) == 0)
            continue;
        if (kept != i)
            memcpy(at + kept * size, at + i * size, size);
        kept++;
    }
    return kept;
}

void ipvs_model_sort(struct ipvs_model *m)
{
    m->n_items = sort(m->items, m->n_items, sizeof(*m->items), ipvs_item_compare);
    m->n_servers = sort(m->servers, m->n_servers, sizeof(*m->servers), ipvs_server_compare);
    m->n_addresses =
        sort(m->addresses, m->n_addresses, sizeof(*m->addresses), ipvs_address_compare);
}

bool ipvs_server_takes(const struct ipvs_server *s, const struct plan_endpoint *e)
{
    return s->local ? e->in_local : e->in_cluster;
}

/* ---- a service ---- */

struct writer {
    const struct backend_config *c;
    const struct plan_port *p;
    struct ipvs_model *out;
};

static void add_item(struct writer *w, enum ipvs_set set, const struct ip_addr *ip, uint16_t port)
{
    struct ipset_entry e = {.port = port};
    if (ipvs_sets[set].type != IPSET_BITMAP_PORT)
        e.ip = *ip;
    if (ipvs_sets[set].type != IPSET_BITMAP_PORT && ipvs_sets[set].type != IPSET_HASH_IP)
        e.protocol = (uint8_t)w->p->protocol;
    ipvs_model_add_item(w->out, set, &e);
}

static void add_server(struct writer *w, const struct ip_addr *ip, uint16_t port, bool local)
{
    const struct plan_port *p = w->p;
    struct ipvs_server s = {.service = {.address = *ip, .protocol = p->protocol, .port = port},
                            .port = p,
                            .local = local};
    if (ipvs_scheduler_parse(w->c->ipvs.scheduler, s.service.scheduler, &s.service.flags, NULL) < 0)
        return; /* refused when the mode started */
    if (p->affinity_seconds) {
        s.service.flags |= IP_VS_SVC_F_PERSISTENT;
        s.service.timeout = (uint32_t)p->affinity_seconds;
    }
    ipvs_model_add_server(w->out, &s);
    if (local && p->has_endpoints && !p->n_local)
        add_item(w, IPVS_SET_NO_LOCAL, ip, port);
}

static void add_address(struct writer *w, const struct ip_addr *ip)
{
    const struct ipset_entry e = {.ip = *ip};
    ipvs_model_add_address(w->out, ip);
    ipvs_model_add_item(w->out, IPVS_SET_ADDRESSES, &e);
}

static bool holds(const struct ip_prefix *range, const struct ip_addr *ip)
{
    struct ip_prefix host = {.addr = *ip, .len = range->len};
    struct ip_prefix network = ip_prefix_network(&host);
    return ip->family == range->addr.family && ip_addr_equal(&network.addr, &range->addr);
}

static void add_ranges(struct writer *w, const struct ip_addr *ip)
{
    const struct plan_port *p = w->p;
    struct ipset_entry e = {.ip = *ip, .protocol = (uint8_t)p->protocol, .port = p->port};
    if (!p->n_source_ranges)
        return;
    ipvs_model_add_item(w->out, IPVS_SET_FIREWALL, &e);
    for (size_t i = 0; i < p->n_source_ranges; i++) {
        e.ip2 = p->source_ranges[i].addr;
        e.prefix = (uint8_t)p->source_ranges[i].len;
        ipvs_model_add_item(w->out, IPVS_SET_SOURCE_CIDR, &e);
        if (!holds(&p->source_ranges[i], &w->c->node_ip))
            continue;
        /* The balancer's address is local here, so it is the source of the node's own requests. */
        e.ip2 = *ip;
        e.prefix = (uint8_t)(ip_addr_size(ip) * 8);
        ipvs_model_add_item(w->out, IPVS_SET_SOURCE_IP, &e);
    }
}

static bool is_loopback(const struct ip_addr *a)
{
    static const struct ip_addr one = {.family = AF_INET6, .bytes[15] = 1};
    return a->family == AF_INET ? a->bytes[0] == 127 : ip_addr_equal(a, &one);
}

static void add_node_port(struct writer *w)
{
    const struct plan_port *p = w->p;
    const struct addresses *a = w->c->addresses;
    enum ipvs_set all = p->protocol == IPPROTO_TCP   ? IPVS_SET_NODE_PORT_TCP
                        : p->protocol == IPPROTO_UDP ? IPVS_SET_NODE_PORT_UDP
                                                     : IPVS_SET_NODE_PORT_SCTP;
    for (size_t i = 0; i < a->n_node_ports; i++) {
        const struct ip_addr *ip = &a->node_ports[i];
        if (ip->family != w->c->family || is_loopback(ip))
            continue;
        add_item(w, all, ip, p->node_port);
        if (p->external_local)
            add_item(w, all + 1, ip, p->node_port);
        add_server(w, ip, p->node_port, p->external_local);
    }
}

/* A pod that reaches itself must get the answer from the service. */
static void add_loop_backs(struct writer *w)
{
    for (size_t i = 0; i < w->p->n_endpoints; i++) {
        const struct plan_endpoint *ep = &w->p->endpoints[i];
        const struct ipset_entry e = {.ip = ep->ip,
                                      .ip2 = ep->ip,
                                      .prefix = (uint8_t)(ip_addr_size(&ep->ip) * 8),
                                      .port = ep->port,
                                      .protocol = (uint8_t)w->p->protocol};
        if (ep->maybe_here && (ep->in_cluster || ep->in_local))
            ipvs_model_add_item(w->out, IPVS_SET_LOOP_BACK, &e);
    }
}

static void add_port(struct writer *w)
{
    const struct plan_port *p = w->p;
    add_address(w, &p->cluster_ip);
    add_item(w, IPVS_SET_CLUSTER_IP, &p->cluster_ip, p->port);
    add_server(w, &p->cluster_ip, p->port, p->internal_local);
    for (size_t i = 0; i < p->n_external_ips; i++) {
        add_address(w, &p->external_ips[i]);
        add_item(w, p->external_local ? IPVS_SET_EXTERNAL_IP_LOCAL : IPVS_SET_EXTERNAL_IP,
                 &p->external_ips[i], p->port);
        add_server(w, &p->external_ips[i], p->port, p->external_local);
    }
    for (size_t i = 0; i < p->n_ingress_ips; i++) {
        add_address(w, &p->ingress_ips[i]);
        add_item(w, IPVS_SET_LOAD_BALANCER, &p->ingress_ips[i], p->port);
        if (p->external_local)
            add_item(w, IPVS_SET_LOAD_BALANCER_LOCAL, &p->ingress_ips[i], p->port);
        add_ranges(w, &p->ingress_ips[i]);
        add_server(w, &p->ingress_ips[i], p->port, p->external_local);
    }
    if (p->node_port)
        add_node_port(w);
    add_loop_backs(w);
}

void ipvs_model_of(const struct backend_config *c, const struct plan_service *s,
                   struct ipvs_model *out)
{
    bool here = false;
    for (size_t i = 0; s && i < s->n_ports; i++) {
        struct writer w = {.c = c, .p = &s->ports[i], .out = out};
        if (s->ports[i].family != c->family)
            continue;
        add_port(&w);
        here = true;
    }
    const struct ipset_entry health = {.port = s ? s->health_port : 0};
    if (here && health.port)
        ipvs_model_add_item(out, IPVS_SET_HEALTH_PORT, &health);
}
