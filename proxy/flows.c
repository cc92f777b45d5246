/* Deleting stale flows; see flows.h. */
#include "proxy/flows.h"

#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "nl/conntrack.h"
#include "proxy/claims.h"
#include "proxy/plan_internal.h"

#define MS_PER_S 1000.0

/* Who may answer for an address and port of a service. */
struct suspect {
    bool any;             /* it has endpoints */
    struct map endpoints; /* "10.0.0.1 port 53/udp" → NULL */
};

struct flows {
    struct netlink *nl;
    const struct addresses *addresses;
    struct metric *latency;
    struct map suspects; /* claim → struct suspect */
    bool look[2][2];     /* family, protocol: there are suspects */
};

static const int families[] = {AF_INET, AF_INET6}, protocols[] = {IPPROTO_UDP, IPPROTO_SCTP};

static void suspect_free(void *p)
{
    struct suspect *s = p;
    map_clear(&s->endpoints);
    free(s);
}

int flows_new(struct flows **ret, const struct addresses *addresses, struct metric *latency,
              struct error *err)
{
    struct flows *f = mem_zalloc(sizeof(*f));
    *f = (struct flows){
        .addresses = addresses, .latency = latency, .suspects = MAP_INIT(suspect_free)};
    int r = netlink_open(NETLINK_NETFILTER, &f->nl, err);
    if (r < 0) {
        (void)flows_free(f);
        return r;
    }
    *ret = f;
    return 0;
}

struct flows *flows_free(struct flows *f)
{
    if (f) {
        (void)netlink_free(f->nl);
        map_clear(&f->suspects);
        free(f);
    }
    return NULL;
}

/* ---- what may be stale ---- */

static void add_suspect(struct flows *f, const char *claimed, const struct plan_port *now)
{
    char text[CLAIM_MAX];
    if (!now && map_has(&f->suspects, claimed))
        return; /* another service has taken it over */
    struct suspect *s = mem_zalloc(sizeof(*s));
    *s = (struct suspect){.endpoints = MAP_INIT(NULL)};
    for (size_t i = 0; now && i < now->n_endpoints; i++) {
        plan_claim_address(&now->endpoints[i].ip, now->protocol, now->endpoints[i].port, text);
        map_set(&s->endpoints, text, NULL);
        s->any = true;
    }
    map_set(&f->suspects, claimed, s);
}

static void each_address(struct flows *f, const struct plan_port *p, const struct plan_port *now,
                         void (*fn)(struct flows *f, const char *claimed,
                                    const struct plan_port *now))
{
    char text[CLAIM_MAX];
    plan_claim_address(&p->cluster_ip, p->protocol, p->port, text);
    fn(f, text, now);
    for (size_t i = 0; i < p->n_external_ips; i++) {
        plan_claim_address(&p->external_ips[i], p->protocol, p->port, text);
        fn(f, text, now);
    }
    for (size_t i = 0; i < p->n_ingress_ips; i++) {
        plan_claim_address(&p->ingress_ips[i], p->protocol, p->port, text);
        fn(f, text, now);
    }
    if (p->node_port) {
        plan_claim_node_port(p->protocol, p->node_port, text);
        fn(f, text, now);
    }
}

static const struct plan_port *same_port(const struct plan_service *s, const struct plan_port *p)
{
    for (size_t i = 0; s && i < s->n_ports; i++)
        if (s->ports[i].family == p->family && s->ports[i].protocol == p->protocol &&
            str_eq(s->ports[i].title, p->title))
            return &s->ports[i];
    return NULL;
}

static bool has_endpoint(const struct plan_port *p, const struct plan_endpoint *e)
{
    for (size_t i = 0; i < p->n_endpoints; i++)
        if (p->endpoints[i].port == e->port && ip_addr_equal(&p->endpoints[i].ip, &e->ip))
            return true;
    return false;
}

static bool same_addresses(const struct ip_addr *a, size_t n, const struct ip_addr *b, size_t m)
{
    bool same = n == m;
    for (size_t i = 0; same && i < n; i++)
        same = ip_addr_equal(&a[i], &b[i]);
    return same;
}

/* Whether a flow that was right with @old can be wrong with @now. */
static bool loses(const struct plan_port *old, const struct plan_port *now)
{
    if (!now || (!old->n_endpoints && now->n_endpoints) || old->port != now->port ||
        old->node_port != now->node_port || !ip_addr_equal(&old->cluster_ip, &now->cluster_ip) ||
        !same_addresses(old->external_ips, old->n_external_ips, now->external_ips,
                        now->n_external_ips) ||
        !same_addresses(old->ingress_ips, old->n_ingress_ips, now->ingress_ips, now->n_ingress_ips))
        return true;
    for (size_t i = 0; i < old->n_endpoints; i++)
        if (!has_endpoint(now, &old->endpoints[i]))
            return true;
    return false;
}

static void look_for(struct flows *f, const struct plan_port *p)
{
    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
        for (size_t k = 0; k < ARRAY_SIZE(protocols); k++)
            if (p->family == families[i] && p->protocol == protocols[k])
                f->look[i][k] = true;
}

void flows_replaced(struct flows *f, int family, const struct plan_service *old,
                    const struct plan_service *now)
{
    for (size_t i = 0; old && i < old->n_ports; i++) {
        const struct plan_port *p = &old->ports[i], *q = same_port(now, p);
        if (p->family != family || p->protocol == IPPROTO_TCP || !loses(p, q))
            continue;
        look_for(f, p);
        each_address(f, p, NULL, add_suspect); /* what it is still, comes below */
        if (q)
            each_address(f, q, q, add_suspect);
    }
    for (size_t i = 0; now && i < now->n_ports; i++) {
        const struct plan_port *p = &now->ports[i];
        if (p->family != family || p->protocol == IPPROTO_TCP || same_port(old, p))
            continue;
        look_for(f, p);
        each_address(f, p, p, add_suspect);
    }
}

/* ---- looking ---- */

static bool is_stale(const struct conntrack_flow *flow, void *arg)
{
    const struct flows *f = arg;
    char text[CLAIM_MAX];
    plan_claim_address(&flow->dst, flow->protocol, flow->dst_port, text);
    const struct suspect *s = map_get(&f->suspects, text);
    if (!s && addresses_has(f->addresses->all, f->addresses->n_all, &flow->dst)) {
        plan_claim_node_port(flow->protocol, flow->dst_port, text);
        s = map_get(&f->suspects, text);
    }
    if (!s)
        return false;
    /* A flow that no rule has touched is the node's own business, unless it should have been. */
    bool translated =
        !ip_addr_equal(&flow->dst, &flow->reply_src) || flow->dst_port != flow->reply_src_port;
    plan_claim_address(&flow->reply_src, flow->protocol, flow->reply_src_port, text);
    return !map_has(&s->endpoints, text) && (translated || s->any);
}

void flows_flush(struct flows *f)
{
    struct error err = ERROR_INIT;
    if (!map_count(&f->suspects))
        return;
    uint64_t began = now_ms();
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        bool looked = false;
        for (size_t k = 0; k < ARRAY_SIZE(protocols); k++) {
            if (!f->look[i][k])
                continue;
            int r = conntrack_delete_where(f->nl, families[i], protocols[k], is_stale, f, &err);
            if (r < 0)
                log_warn("stale flows could not be deleted", "error", err.text, NULL);
            f->look[i][k] = false;
            looked = true;
        }
        if (looked)
            metric_observe(f->latency,
                           families[i] == AF_INET ? "ip_family=\"IPv4\"" : "ip_family=\"IPv6\"",
                           (double)(now_ms() - began) / MS_PER_S);
    }
    map_clear(&f->suspects);
}
