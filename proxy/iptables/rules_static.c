/* What is there whatever the services: jumps from the built-in chains, masquerading, forwarding. */
#include <string.h>

#include "proxy/iptables/rules.h"

static const struct rules_jump jumps[] = {
    {RULES_NAT, "PREROUTING",
     "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"},
    {RULES_NAT, "OUTPUT", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"},
    {RULES_NAT, "POSTROUTING",
     "-m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING"},
    {RULES_FILTER, "INPUT",
     "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j "
     "KUBE-PROXY-FIREWALL"},
    {RULES_FILTER, "INPUT",
     "-m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS"},
    {RULES_FILTER, "INPUT",
     "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service "
     "portals\" -j KUBE-EXTERNAL-SERVICES"},
    {RULES_FILTER, "INPUT", "-j KUBE-FIREWALL"},
    {RULES_FILTER, "FORWARD",
     "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j "
     "KUBE-PROXY-FIREWALL"},
    {RULES_FILTER, "FORWARD",
     "-m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD"},
    {RULES_FILTER, "FORWARD",
     "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j "
     "KUBE-SERVICES"},
    {RULES_FILTER, "FORWARD",
     "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service "
     "portals\" -j KUBE-EXTERNAL-SERVICES"},
    {RULES_FILTER, "OUTPUT",
     "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j "
     "KUBE-PROXY-FIREWALL"},
    {RULES_FILTER, "OUTPUT",
     "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j "
     "KUBE-SERVICES"},
    {RULES_FILTER, "OUTPUT", "-j KUBE-FIREWALL"},
};

bool rules_is_ours(const char *chain)
{
    static const char *const prefixes[] = {"KUBE-SVC-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-SVL-",
                                           "KUBE-FW-"};
    static const char *const names[] = {"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING",
                                        "KUBE-MARK-MASQ", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD",
                                        "KUBE-FIREWALL", "KUBE-PROXY-FIREWALL", "KUBE-PROXY-CANARY",
                                        /* of the mode ipvs */
                                        "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-IPVS-FILTER",
                                        "KUBE-SOURCE-RANGES-FIREWALL"};
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (str_starts(chain, prefixes[i]))
            return true;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eq(chain, names[i]))
            return true;
    return false;
}

static void put(struct rules *out, enum rules_table t, const char *name, struct strbuf *rules)
{
    map_set(&out->chains[t], name, strbuf_take(rules));
}

#define NODE_PORTS_NOTE                                                                          \
    " -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in " \
    "this chain\""

static bool is_loopback(const struct ip_addr *a)
{
    static const struct ip_addr one = {.family = AF_INET6, .bytes[15] = 1};
    return a->family == AF_INET ? a->bytes[0] == 127 : ip_addr_equal(a, &one);
}

/* The last lines of KUBE-SERVICES: what is left may be for a node port. Node ports on loopback
 * work in IPv4 only, and only with route_localnet. */
static void add_node_ports_jump(const struct backend_config *c, struct strbuf *b)
{
    const struct addresses *a = c->addresses;
    char text[IP_TEXT_MAX];
    if (a->everywhere) {
        strbuf_adds(b, "-A KUBE-SERVICES");
        if (c->family == AF_INET6)
            strbuf_adds(b, " ! -d ::1/128");
        else if (!c->localhost_node_ports)
            strbuf_adds(b, " ! -d 127.0.0.0/8");
        strbuf_adds(b, NODE_PORTS_NOTE " -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n");
        return;
    }
    for (size_t i = 0; i < a->n_node_ports; i++) {
        const struct ip_addr *ip = &a->node_ports[i];
        if (ip->family != c->family || (is_loopback(ip) && !c->localhost_node_ports))
            continue;
        strbuf_addf(b, "-A KUBE-SERVICES -d %s/%d" NODE_PORTS_NOTE " -j KUBE-NODEPORTS\n",
                    ip_addr_format(ip, text), ip->family == AF_INET ? 32 : 128);
    }
}

void rules_masquerade(const struct backend_config *c, struct rules *out)
{
    struct strbuf b = STRBUF_INIT;
    strbuf_addf(&b, "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x%x/0x%x\n", c->mark, c->mark);
    put(out, RULES_NAT, "KUBE-MARK-MASQ", &b);
    /* The mark goes again, so that a packet that comes by once more is not masqueraded twice. */
    strbuf_addf(&b,
                "-A KUBE-POSTROUTING -m mark ! --mark 0x%x/0x%x -j RETURN\n"
                "-A KUBE-POSTROUTING -j MARK --set-xmark 0x%x/0x0\n"
                "-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring "
                "SNAT\" -j MASQUERADE --random-fully\n",
                c->mark, c->mark, c->mark);
    put(out, RULES_NAT, "KUBE-POSTROUTING", &b);
}

void rules_forward(const struct backend_config *c, struct rules *out)
{
    struct strbuf b = STRBUF_INIT;
    if (c->drop_invalid)
        strbuf_adds(&b, "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n");
    strbuf_addf(&b,
                "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark "
                "--mark 0x%x/0x%x -j ACCEPT\n"
                "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m "
                "conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n",
                c->mark, c->mark);
    put(out, RULES_FILTER, "KUBE-FORWARD", &b);
}

static void add_firewall(const struct backend_config *c, struct rules *out)
{
    struct strbuf b = STRBUF_INIT;
    /* With route_localnet, nobody else may reach loopback. */
    if (c->family == AF_INET && c->localhost_node_ports)
        strbuf_adds(&b, "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "
                        "\"block incoming localnet connections\" -m conntrack ! --ctstate "
                        "RELATED,ESTABLISHED,DNAT -j DROP\n");
    put(out, RULES_FILTER, "KUBE-FIREWALL", &b);
}

static void fixed(const struct backend_config *c, struct rules *out)
{
    rules_masquerade(c, out);
    rules_forward(c, out);
    add_firewall(c, out);
    for (int t = 0; t < RULES_TABLES; t++)
        map_set(&out->chains[t], "KUBE-PROXY-CANARY", str_dup(""));
    add_node_ports_jump(c, &out->lists[LIST_SERVICES]);
}

const struct rules_source rules_source = {
    .fixed = fixed, .service = rules_of_service, .jumps = jumps, .n_jumps = ARRAY_SIZE(jumps)};
