/* The plan as iptables rules; see rules.h. The mark of traffic to be masqueraded is bit 14. */
#include "proxy/rules.h"

#include <string.h>

#define MARK "0x4000"

/* Texts are as iptables-save prints them, so that what is there can be compared. */
const struct rules_jump rules_jumps[] = {
    {"nat", "PREROUTING", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"},
    {"nat", "OUTPUT", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"},
    {"nat", "POSTROUTING",
     "-m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING"},
    {"filter", "INPUT",
     "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service "
     "portals\" -j KUBE-EXTERNAL-SERVICES"},
    {"filter", "INPUT", "-j KUBE-FIREWALL"},
    {"filter", "FORWARD", "-m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD"},
    {"filter", "FORWARD",
     "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j "
     "KUBE-SERVICES"},
    {"filter", "FORWARD",
     "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service "
     "portals\" -j KUBE-EXTERNAL-SERVICES"},
    {"filter", "OUTPUT",
     "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j "
     "KUBE-SERVICES"},
};
const size_t rules_n_jumps = ARRAY_SIZE(rules_jumps);

bool rules_is_ours(const char *chain)
{
    static const char *const prefixes[] = {"KUBE-SVC-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-SVL-"};
    static const char *const names[] = {
        "KUBE-SERVICES",          "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ",
        "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD",   "KUBE-FIREWALL"};
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (str_starts(chain, prefixes[i]))
            return true;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eq(chain, names[i]))
            return true;
    return false;
}

static void put(struct map *chains, const char *name, struct strbuf *rules)
{
    map_set(chains, name, strbuf_take(rules));
}

/* ---- one service ---- */

static bool usable(const struct plan_endpoint *e, bool local_only)
{
    return !local_only || e->local;
}

static size_t count_usable(const struct plan_port *p, bool local_only)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_endpoints; i++)
        n += usable(&p->endpoints[i], local_only);
    return n;
}

static void endpoint_chain(const struct plan_port *p, const struct plan_endpoint *e, char out[32])
{
    char hash[17];
    _cleanup_free_ char *text = str_printf("%s%s%s:%d", p->title, p->protocol, e->ip, e->port);
    plan_hash(text, hash);
    (void)snprintf(out, 32, "KUBE-SEP-%s", hash);
}

/* The choice among endpoints: each rule takes its share of what the rules before let through. */
static void add_choice(const struct plan_port *p, const char *chain, bool local_only,
                       struct strbuf *out)
{
    size_t left = count_usable(p, local_only);
    char sep[32];
    for (size_t i = 0; p->affinity_seconds && i < p->n_endpoints; i++) {
        if (!usable(&p->endpoints[i], local_only))
            continue;
        endpoint_chain(p, &p->endpoints[i], sep);
        strbuf_addf(out,
                    "-A %s -m comment --comment \"%s\" -m recent --rcheck --seconds %d --reap "
                    "--name %s --mask 255.255.255.255 --rsource -j %s\n",
                    chain, p->title, p->affinity_seconds, sep, sep);
    }
    for (size_t i = 0; i < p->n_endpoints; i++) {
        const struct plan_endpoint *e = &p->endpoints[i];
        if (!usable(e, local_only))
            continue;
        endpoint_chain(p, e, sep);
        strbuf_addf(out, "-A %s -m comment --comment \"%s -> %s:%d\"", chain, p->title, e->ip,
                    e->port);
        if (left > 1)
            strbuf_addf(out, " -m statistic --mode random --probability %.11f", 1.0 / (double)left);
        strbuf_addf(out, " -j %s\n", sep);
        left--;
    }
}

static void add_endpoint_chains(const struct plan_port *p, struct map *nat)
{
    for (size_t i = 0; i < p->n_endpoints; i++) {
        const struct plan_endpoint *e = &p->endpoints[i];
        struct strbuf b = STRBUF_INIT;
        char chain[32];
        endpoint_chain(p, e, chain);
        strbuf_addf(&b, "-A %s -s %s/32 -m comment --comment \"%s\" -j KUBE-MARK-MASQ\n", chain,
                    e->ip, p->title);
        strbuf_addf(&b, "-A %s -p %s -m comment --comment \"%s\"", chain, p->protocol, p->title);
        if (p->affinity_seconds)
            strbuf_addf(&b, " -m recent --set --name %s --mask 255.255.255.255 --rsource", chain);
        strbuf_addf(&b, " -m %s -j DNAT --to-destination %s:%d\n", p->protocol, e->ip, e->port);
        put(nat, chain, &b);
    }
}

static void add_cluster_chain(const struct rules_config *c, const struct plan_port *p,
                              struct map *nat)
{
    struct strbuf b = STRBUF_INIT;
    _cleanup_free_ char *chain = str_printf("KUBE-SVC-%s", p->id);
    _cleanup_free_ char *match =
        str_printf("-d %s/32 -p %s -m comment --comment \"%s cluster IP\" -m %s --dport %d",
                   p->cluster_ip, p->protocol, p->title, p->protocol, p->port);
    if (c->masquerade_all)
        strbuf_addf(&b, "-A %s %s -j KUBE-MARK-MASQ\n", chain, match);
    else if (c->cluster_cidr)
        strbuf_addf(&b, "-A %s ! -s %s %s -j KUBE-MARK-MASQ\n", chain, c->cluster_cidr, match);
    add_choice(p, chain, p->internal_local, &b);
    put(nat, chain, &b);
}

/* What comes from outside: masqueraded, so that answers come back through this node; with the
 * policy Local only to endpoints here, and unchanged. */
static void add_external_chains(const struct rules_config *c, const struct plan_port *p,
                                struct map *nat)
{
    struct strbuf b = STRBUF_INIT;
    _cleanup_free_ char *chain = str_printf("KUBE-EXT-%s", p->id);
    if (!p->external_local) {
        strbuf_addf(&b,
                    "-A %s -m comment --comment \"masquerade traffic for %s external "
                    "destinations\" -j KUBE-MARK-MASQ\n",
                    chain, p->title);
        strbuf_addf(&b, "-A %s -j KUBE-SVC-%s\n", chain, p->id);
        put(nat, chain, &b);
        return;
    }
    if (c->cluster_cidr)
        strbuf_addf(&b,
                    "-A %s -s %s -m comment --comment \"pod traffic for %s external "
                    "destinations\" -j KUBE-SVC-%s\n",
                    chain, c->cluster_cidr, p->title, p->id);
    strbuf_addf(&b,
                "-A %s -m comment --comment \"masquerade LOCAL traffic for %s external "
                "destinations\" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ\n",
                chain, p->title);
    strbuf_addf(&b,
                "-A %s -m comment --comment \"route LOCAL traffic for %s external destinations\" "
                "-m addrtype --src-type LOCAL -j KUBE-SVC-%s\n",
                chain, p->title, p->id);
    strbuf_addf(&b, "-A %s -j KUBE-SVL-%s\n", chain, p->id);
    put(nat, chain, &b);
    _cleanup_free_ char *local = str_printf("KUBE-SVL-%s", p->id);
    add_choice(p, local, true, &b);
    put(nat, local, &b);
}

static bool has_external(const struct plan_port *p)
{
    return p->node_port || p->n_external_ips;
}

void rules_of_service(const struct rules_config *c, const struct plan_service *s, struct map *nat)
{
    for (size_t i = 0; i < s->n_ports; i++) {
        const struct plan_port *p = &s->ports[i];
        if (!p->n_endpoints)
            continue;
        add_cluster_chain(c, p, nat);
        if (has_external(p))
            add_external_chains(c, p, nat);
        add_endpoint_chains(p, nat);
    }
}

/* ---- the lists ---- */

static void list_nat(const struct plan_port *p, struct strbuf *services, struct strbuf *node_ports)
{
    if (count_usable(p, p->internal_local))
        strbuf_addf(services,
                    "-A KUBE-SERVICES -d %s/32 -p %s -m comment --comment \"%s cluster IP\" -m %s "
                    "--dport %d -j KUBE-SVC-%s\n",
                    p->cluster_ip, p->protocol, p->title, p->protocol, p->port, p->id);
    for (size_t i = 0; p->n_endpoints && i < p->n_external_ips; i++)
        strbuf_addf(services,
                    "-A KUBE-SERVICES -d %s/32 -p %s -m comment --comment \"%s external IP\" -m %s "
                    "--dport %d -j KUBE-EXT-%s\n",
                    p->external_ips[i], p->protocol, p->title, p->protocol, p->port, p->id);
    if (p->node_port && p->n_endpoints)
        strbuf_addf(node_ports,
                    "-A KUBE-NODEPORTS -p %s -m comment --comment \"%s\" -m %s --dport %d -j "
                    "KUBE-EXT-%s\n",
                    p->protocol, p->title, p->protocol, p->node_port, p->id);
}

/* No endpoint: a clear refusal instead of a time-out; none here with policy Local: silence. */
static void list_filter(const struct plan_port *p, struct strbuf *services, struct strbuf *external)
{
    const char *why = p->n_endpoints ? "has no local endpoints" : "has no endpoints";
    if (!count_usable(p, p->internal_local))
        strbuf_addf(services,
                    "-A KUBE-SERVICES -d %s/32 -p %s -m comment --comment \"%s %s\" -m %s --dport "
                    "%d -j %s\n",
                    p->cluster_ip, p->protocol, p->title, why, p->protocol, p->port,
                    p->n_endpoints ? "DROP" : "REJECT --reject-with icmp-port-unreachable");
    if (count_usable(p, p->external_local))
        return;
    const char *target = p->n_endpoints ? "DROP" : "REJECT --reject-with icmp-port-unreachable";
    for (size_t i = 0; i < p->n_external_ips; i++)
        strbuf_addf(external,
                    "-A KUBE-EXTERNAL-SERVICES -d %s/32 -p %s -m comment --comment \"%s %s\" -m %s "
                    "--dport %d -j %s\n",
                    p->external_ips[i], p->protocol, p->title, why, p->protocol, p->port, target);
    if (p->node_port)
        strbuf_addf(external,
                    "-A KUBE-EXTERNAL-SERVICES -p %s -m comment --comment \"%s %s\" -m addrtype "
                    "--dst-type LOCAL -m %s --dport %d -j %s\n",
                    p->protocol, p->title, why, p->protocol, p->node_port, target);
}

void rules_lists(const struct map *services, struct map *nat, struct map *filter)
{
    struct strbuf nat_services = STRBUF_INIT, node_ports = STRBUF_INIT;
    struct strbuf filter_services = STRBUF_INIT, external = STRBUF_INIT;
    MAP_FOR_EACH(e, services) {
        const struct plan_service *s = map_value(e);
        for (size_t i = 0; i < s->n_ports; i++) {
            list_nat(&s->ports[i], &nat_services, &node_ports);
            list_filter(&s->ports[i], &filter_services, &external);
        }
    }
    strbuf_adds(&nat_services,
                "-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this "
                "must be the last rule in this chain\" -m addrtype --dst-type LOCAL -j "
                "KUBE-NODEPORTS\n");
    put(nat, "KUBE-SERVICES", &nat_services);
    put(nat, "KUBE-NODEPORTS", &node_ports);
    put(filter, "KUBE-SERVICES", &filter_services);
    put(filter, "KUBE-EXTERNAL-SERVICES", &external);
}

void rules_list_entry(const struct plan_service *s, struct strbuf *out)
{
    for (size_t i = 0; i < s->n_ports; i++) {
        list_nat(&s->ports[i], out, out);
        list_filter(&s->ports[i], out, out);
    }
}

void rules_static(struct map *nat, struct map *filter)
{
    struct strbuf b = STRBUF_INIT;
    strbuf_adds(&b, "-A KUBE-MARK-MASQ -j MARK --or-mark " MARK "\n");
    put(nat, "KUBE-MARK-MASQ", &b);
    strbuf_adds(&b, "-A KUBE-POSTROUTING -m mark ! --mark " MARK "/" MARK " -j RETURN\n"
                    "-A KUBE-POSTROUTING -j MARK --xor-mark " MARK "\n"
                    "-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic "
                    "requiring SNAT\" -j MASQUERADE --random-fully\n");
    put(nat, "KUBE-POSTROUTING", &b);
    strbuf_adds(&b, "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n"
                    "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark "
                    "--mark " MARK "/" MARK " -j ACCEPT\n"
                    "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" "
                    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n");
    put(filter, "KUBE-FORWARD", &b);
    /* Node ports answer on loopback (route_localnet); nobody else may reach loopback that way. */
    strbuf_adds(&b, "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block "
                    "incoming localnet connections\" -m conntrack ! --ctstate "
                    "RELATED,ESTABLISHED,DNAT -j DROP\n");
    put(filter, "KUBE-FIREWALL", &b);
}
