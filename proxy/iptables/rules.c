/* The plan as iptables rules; see rules.h. */
#include "proxy/iptables/rules.h"

#include <math.h>
#include <string.h>

#define RANDOM_SCALE 2147483648.0 /* the kernel keeps a probability in 31 bits */

const char *const rules_table_names[RULES_TABLES] = {"nat", "filter"};

const struct rules_list_def rules_lists[RULES_LISTS] = {
    [LIST_SERVICES] = {RULES_NAT, "KUBE-SERVICES"},
    [LIST_NODE_PORTS] = {RULES_NAT, "KUBE-NODEPORTS"},
    [LIST_REJECT] = {RULES_FILTER, "KUBE-SERVICES"},
    [LIST_REJECT_EXTERNAL] = {RULES_FILTER, "KUBE-EXTERNAL-SERVICES"},
    [LIST_FIREWALL] = {RULES_FILTER, "KUBE-PROXY-FIREWALL"},
    [LIST_HEALTH_PORTS] = {RULES_FILTER, "KUBE-NODEPORTS"},
};

/* One port of a service while its rules are written. */
struct writer {
    const struct backend_config *c;
    const struct plan_port *p;
    const char *protocol;
    char svc[32], svl[32], ext[32], fw[32]; /* chains */
    struct rules *out;
};

void rules_done(struct rules *r)
{
    for (int t = 0; t < RULES_TABLES; t++)
        map_clear(&r->chains[t]);
    for (int l = 0; l < RULES_LISTS; l++)
        strbuf_done(&r->lists[l]);
}

/* ---- pieces of rules ---- */

static void put(struct writer *w, const char *chain, struct strbuf *rules)
{
    map_set(&w->out->chains[RULES_NAT], chain, strbuf_take(rules));
}

static void add_host(struct strbuf *b, const char *option, const struct ip_addr *ip)
{
    char text[IP_TEXT_MAX];
    strbuf_addf(b, " %s %s/%d", option, ip_addr_format(ip, text), ip->family == AF_INET ? 32 : 128);
}

static void add_comment(struct strbuf *b, const char *title, const char *more)
{
    strbuf_addf(b, " -m comment --comment \"%s%s\"", title, more);
}

void rules_add_local(const struct backend_config *c, bool negate, struct strbuf *b)
{
    char text[IP_TEXT_MAX];
    const char *bang = negate ? " !" : "";
    if (c->local.kind == LOCAL_CIDR)
        strbuf_addf(b, "%s -s %s", bang, ip_prefix_format(&c->local.cidr, text));
    else
        strbuf_addf(b, "%s -i %s%s", bang, c->local.interface,
                    c->local.kind == LOCAL_PREFIX ? "+" : "");
}

/* "10.0.0.1:80", "[fd00::1]:80" */
static char *endpoint_text(const struct plan_endpoint *e)
{
    char text[IP_TEXT_MAX];
    (void)ip_addr_format(&e->ip, text);
    return e->ip.family == AF_INET ? str_printf("%s:%u", text, e->port)
                                   : str_printf("[%s]:%u", text, e->port);
}

static void endpoint_chain(const struct writer *w, const char *endpoint, char out[32])
{
    char hash[17];
    _cleanup_free_ char *text = str_printf("%s%s%s", w->p->title, w->protocol, endpoint);
    plan_hash(text, hash);
    (void)snprintf(out, 32, "KUBE-SEP-%s", hash);
}

static const char *host_mask(const struct writer *w)
{
    return w->p->family == AF_INET ? "255.255.255.255" : "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
}

/* ---- endpoints ---- */

static bool takes(const struct plan_endpoint *e, bool local)
{
    return local ? e->in_local : e->in_cluster;
}

/* The choice among endpoints: each rule takes its share of what the rules before let through. */
static void add_choice(const struct writer *w, const char *chain, bool local, struct strbuf *b)
{
    const struct plan_port *p = w->p;
    size_t left = local ? p->n_local : p->n_cluster;
    char sep[32];
    for (size_t i = 0; p->affinity_seconds && i < p->n_endpoints; i++) {
        if (!takes(&p->endpoints[i], local))
            continue;
        _cleanup_free_ char *text = endpoint_text(&p->endpoints[i]);
        endpoint_chain(w, text, sep);
        strbuf_addf(b, "-A %s -m comment --comment \"%s -> %s\"", chain, p->title, text);
        strbuf_addf(b, " -m recent --rcheck --seconds %d --reap --name %s --mask %s --rsource",
                    p->affinity_seconds, sep, host_mask(w));
        strbuf_addf(b, " -j %s\n", sep);
    }
    for (size_t i = 0; i < p->n_endpoints; i++) {
        if (!takes(&p->endpoints[i], local))
            continue;
        _cleanup_free_ char *text = endpoint_text(&p->endpoints[i]);
        endpoint_chain(w, text, sep);
        strbuf_addf(b, "-A %s -m comment --comment \"%s -> %s\"", chain, p->title, text);
        if (left > 1)
            strbuf_addf(b, " -m statistic --mode random --probability %.11f",
                        (double)lround(RANDOM_SCALE / (double)left) / RANDOM_SCALE);
        strbuf_addf(b, " -j %s\n", sep);
        left--;
    }
}

/* A pod that reaches itself through a service must get the answer from the service. */
static void add_endpoint_chains(struct writer *w)
{
    const struct plan_port *p = w->p;
    for (size_t i = 0; i < p->n_endpoints; i++) {
        const struct plan_endpoint *e = &p->endpoints[i];
        struct strbuf b = STRBUF_INIT;
        char chain[32];
        if (!e->in_cluster && !e->in_local)
            continue;
        _cleanup_free_ char *text = endpoint_text(e);
        endpoint_chain(w, text, chain);
        strbuf_addf(&b, "-A %s", chain);
        add_host(&b, "-s", &e->ip);
        add_comment(&b, p->title, "");
        strbuf_addf(&b, " -j KUBE-MARK-MASQ\n-A %s -p %s", chain, w->protocol);
        add_comment(&b, p->title, "");
        if (p->affinity_seconds)
            strbuf_addf(&b, " -m recent --set --name %s --mask %s --rsource", chain, host_mask(w));
        strbuf_addf(&b, " -m %s -j DNAT --to-destination %s\n", w->protocol, text);
        put(w, chain, &b);
    }
}

/* ---- chains of one port ---- */

/* The chain for one policy; the internal one also marks traffic that is not from pods. */
static void add_policy_chain(struct writer *w, bool local)
{
    const struct plan_port *p = w->p;
    const char *chain = local ? w->svl : w->svc;
    struct strbuf b = STRBUF_INIT;
    bool internal = p->internal_local == local;
    if (internal && (w->c->masquerade_all || w->c->local.kind != LOCAL_NONE)) {
        struct strbuf source = STRBUF_INIT, in = STRBUF_INIT;
        if (!w->c->masquerade_all)
            rules_add_local(w->c, true, w->c->local.kind == LOCAL_CIDR ? &source : &in);
        strbuf_addf(&b, "-A %s%s", chain, strbuf_text(&source));
        add_host(&b, "-d", &p->cluster_ip);
        strbuf_addf(&b, "%s -p %s", strbuf_text(&in), w->protocol);
        add_comment(&b, p->title, " cluster IP");
        strbuf_addf(&b, " -m %s --dport %u -j KUBE-MARK-MASQ\n", w->protocol, p->port);
        strbuf_done(&source);
        strbuf_done(&in);
    }
    add_choice(w, chain, local, &b);
    put(w, chain, &b);
}

/* What comes from outside: masqueraded, so that answers come back through this node; with the
 * policy Local only to endpoints here, and unchanged, except what starts on this node or in its
 * pods: that goes anywhere, as if it had gone out and come back. */
static void add_external_chain(struct writer *w)
{
    const struct plan_port *p = w->p;
    struct strbuf b = STRBUF_INIT;
    if (!p->external_local) {
        strbuf_addf(&b,
                    "-A %s -m comment --comment \"masquerade traffic for %s external "
                    "destinations\" -j KUBE-MARK-MASQ\n-A %s -j %s\n",
                    w->ext, p->title, w->ext, w->svc);
        put(w, w->ext, &b);
        return;
    }
    if (w->c->local.kind != LOCAL_NONE && p->n_cluster) {
        strbuf_addf(&b, "-A %s", w->ext);
        rules_add_local(w->c, false, &b);
        strbuf_addf(&b,
                    " -m comment --comment \"pod traffic for %s external destinations\" -j %s\n",
                    p->title, w->svc);
    }
    strbuf_addf(&b,
                "-A %s -m comment --comment \"masquerade LOCAL traffic for %s external "
                "destinations\" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ\n",
                w->ext, p->title);
    if (p->n_cluster)
        strbuf_addf(&b,
                    "-A %s -m comment --comment \"route LOCAL traffic for %s external "
                    "destinations\" -m addrtype --src-type LOCAL -j %s\n",
                    w->ext, p->title, w->svc);
    if (p->n_local)
        strbuf_addf(&b, "-A %s -j %s\n", w->ext, w->svl);
    put(w, w->ext, &b);
}

static bool prefix_holds(const struct ip_prefix *range, const struct ip_addr *ip)
{
    struct ip_prefix host = {.addr = *ip, .len = range->len};
    struct ip_prefix network = ip_prefix_network(&host);
    return ip->family == range->addr.family && ip_addr_equal(&network.addr, &range->addr);
}

static void add_firewall_chain(struct writer *w)
{
    const struct plan_port *p = w->p;
    struct strbuf b = STRBUF_INIT;
    char text[IP_TEXT_MAX];
    bool node = false;
    for (size_t i = 0; i < p->n_source_ranges; i++) {
        strbuf_addf(&b, "-A %s -s %s", w->fw, ip_prefix_format(&p->source_ranges[i], text));
        add_comment(&b, p->title, " loadbalancer IP");
        strbuf_addf(&b, " -j %s\n", w->ext);
        node = node || prefix_holds(&p->source_ranges[i], &w->c->node_ip);
    }
    /* A balancer's address that is local here makes it the source of this node's own requests. */
    for (size_t i = 0; node && i < p->n_ingress_ips; i++) {
        strbuf_addf(&b, "-A %s", w->fw);
        add_host(&b, "-s", &p->ingress_ips[i]);
        add_comment(&b, p->title, " loadbalancer IP");
        strbuf_addf(&b, " -j %s\n", w->ext);
    }
    strbuf_addf(&b,
                "-A %s -m comment --comment \"other traffic to %s will be dropped by "
                "KUBE-PROXY-FIREWALL\"\n",
                w->fw, p->title);
    put(w, w->fw, &b);
}

/* ---- lines in the lists ---- */

static void add_line(struct writer *w, enum rules_list list, const struct ip_addr *to,
                     const char *what, unsigned port, const char *target)
{
    struct strbuf *b = &w->out->lists[list];
    strbuf_addf(b, "-A %s", rules_lists[list].chain);
    if (to)
        add_host(b, "-d", to);
    strbuf_addf(b, " -p %s", w->protocol);
    add_comment(b, w->p->title, what);
    if (list == LIST_REJECT_EXTERNAL && !to)
        strbuf_adds(b, " -m addrtype --dst-type LOCAL");
    strbuf_addf(b, " -m %s --dport %u -j %s\n", w->protocol, port, target);
}

/* No endpoint at all: a refusal at once; none here with the policy Local: silence, so that a load
 * balancer goes elsewhere. */
static const char *refusal(const struct plan_port *p, const char **why)
{
    *why = p->has_endpoints ? " has no local endpoints" : " has no endpoints";
    if (p->has_endpoints)
        return "DROP";
    return p->family == AF_INET ? "REJECT --reject-with icmp-port-unreachable"
                                : "REJECT --reject-with icmp6-port-unreachable";
}

static void add_external_lines(struct writer *w)
{
    const struct plan_port *p = w->p;
    const char *why, *target = refusal(p, &why);
    bool served = p->has_endpoints && (!p->external_local || p->n_local);
    bool restricted = p->has_endpoints && p->n_source_ranges;
    _cleanup_free_ char *fw_comment = str_printf(" traffic not accepted by %s", w->fw);
    for (size_t i = 0; i < p->n_external_ips; i++) {
        if (p->has_endpoints)
            add_line(w, LIST_SERVICES, &p->external_ips[i], " external IP", p->port, w->ext);
        if (!served)
            add_line(w, LIST_REJECT_EXTERNAL, &p->external_ips[i], why, p->port, target);
    }
    for (size_t i = 0; i < p->n_ingress_ips; i++) {
        if (p->has_endpoints)
            add_line(w, LIST_SERVICES, &p->ingress_ips[i], " loadbalancer IP", p->port,
                     restricted ? w->fw : w->ext);
        if (restricted)
            add_line(w, LIST_FIREWALL, &p->ingress_ips[i], fw_comment, p->port, "DROP");
        if (!served)
            add_line(w, LIST_REJECT_EXTERNAL, &p->ingress_ips[i], why, p->port, target);
    }
    if (p->node_port && p->has_endpoints)
        add_line(w, LIST_NODE_PORTS, NULL, "", p->node_port, w->ext);
    if (p->node_port && !served)
        add_line(w, LIST_REJECT_EXTERNAL, NULL, why, p->node_port, target);
}

static void add_port(struct writer *w)
{
    const struct plan_port *p = w->p;
    const char *why, *target = refusal(p, &why);
    bool internal = p->internal_local ? p->n_local : p->n_cluster;
    if (internal)
        add_line(w, LIST_SERVICES, &p->cluster_ip, " cluster IP", p->port,
                 p->internal_local ? w->svl : w->svc);
    else
        add_line(w, LIST_REJECT, &p->cluster_ip, why, p->port, target);
    add_external_lines(w);
    if (p->n_cluster)
        add_policy_chain(w, false);
    if (p->n_local)
        add_policy_chain(w, true);
    if (p->has_endpoints && plan_port_is_external(p))
        add_external_chain(w);
    if (p->has_endpoints && p->n_ingress_ips && p->n_source_ranges)
        add_firewall_chain(w);
    add_endpoint_chains(w);
}

static void add_health_port(const struct plan_service *s, struct rules *out)
{
    strbuf_addf(
        &out->lists[LIST_HEALTH_PORTS],
        "-A KUBE-NODEPORTS -p tcp -m comment --comment \"%s health check node port\" -m tcp "
        "--dport %u -j ACCEPT\n",
        s->key, s->health_port);
}

void rules_of_service(const struct backend_config *c, const struct plan_service *s,
                      struct rules *out)
{
    bool here = false;
    for (size_t i = 0; s && i < s->n_ports; i++) {
        const struct plan_port *p = &s->ports[i];
        struct writer w = {.c = c, .p = p, .protocol = plan_protocol_name(p->protocol), .out = out};
        if (p->family != c->family)
            continue;
        (void)snprintf(w.svc, sizeof(w.svc), "KUBE-SVC-%s", p->id);
        (void)snprintf(w.svl, sizeof(w.svl), "KUBE-SVL-%s", p->id);
        (void)snprintf(w.ext, sizeof(w.ext), "KUBE-EXT-%s", p->id);
        (void)snprintf(w.fw, sizeof(w.fw), "KUBE-FW-%s", p->id);
        add_port(&w);
        here = true;
    }
    if (here && s->health_port)
        add_health_port(s, out);
}
