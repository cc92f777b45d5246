/* The text of our iptables rules; see firewall_rules.h. */
#include "cri/firewall_rules.h"

#include <string.h>

#include "nl/iptables.h"

#define COMMENT_MAX 128

static const struct {
    const char *table, *chain, *rule;
    bool first; /* inserted: what accepts before it would make it void */
} jumps[] = {
    [FIREWALL_JUMP_FORWARD] = {"filter", "FORWARD",
                               "-m comment --comment \"coracle: pod traffic\" -j CORACLE-FORWARD",
                               false},
    [FIREWALL_JUMP_INPUT] = {"filter", "INPUT",
                             "-m comment --comment \"coracle: no pod on loopback\""
                             " -j CORACLE-INPUT",
                             true},
    [FIREWALL_JUMP_MASQ] = {"nat", "POSTROUTING",
                            "-m comment --comment \"coracle: pod egress\" -j CORACLE-MASQ", false},
    [FIREWALL_JUMP_PREROUTING] = {"nat", "PREROUTING",
                                  "-m comment --comment \"coracle: host ports\" -m addrtype"
                                  " --dst-type LOCAL -j CORACLE-HOSTPORTS",
                                  false},
    [FIREWALL_JUMP_OUTPUT] = {"nat", "OUTPUT",
                              "-m comment --comment \"coracle: host ports\" -m addrtype"
                              " --dst-type LOCAL -j CORACLE-HOSTPORTS",
                              false},
};

bool firewall_is_ours(const char *chain)
{
    static const char *const ours[] = {"CORACLE-FORWARD", "CORACLE-INPUT", "CORACLE-MASQ",
                                       "CORACLE-HOSTPORTS"};
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        if (str_eq(chain, ours[i]))
            return true;
    return false;
}

bool firewall_has_family(const struct firewall_config *c, int family)
{
    for (size_t i = 0; i < c->n_pods; i++)
        if (c->pods[i].addr.family == family)
            return true;
    return false;
}

void firewall_look(const char *saved, struct firewall_seen *ret)
{
    *ret = (struct firewall_seen){
        .ports = iptables_saved_has_chain(saved, "nat", "CORACLE-HOSTPORTS"),
        .any = iptables_saved_has_chain(saved, "filter", "CORACLE-FORWARD") ||
               iptables_saved_has_chain(saved, "nat", "CORACLE-MASQ")};
    for (size_t i = 0; i < FIREWALL_N_JUMPS; i++) {
        _cleanup_free_ char *rule = str_printf("%s %s", jumps[i].chain, jumps[i].rule);
        ret->jumps[i] = iptables_saved_has_rule(saved, jumps[i].table, rule);
    }
}

static void add_jump(enum firewall_jump j, struct firewall_seen *seen, struct strbuf *out)
{
    if (!seen->jumps[j])
        strbuf_addf(out, "%s %s %s\n", jumps[j].first ? "-I" : "-A", jumps[j].chain, jumps[j].rule);
    seen->jumps[j] = true;
}

/* The pod's name without anything that iptables-restore's quoting might trip over. */
static void add_comment(const char *pod, struct strbuf *out)
{
    strbuf_adds(out, " -m comment --comment \"");
    for (size_t i = 0; i < COMMENT_MAX && pod[i]; i++) {
        bool plain = (pod[i] >= 'a' && pod[i] <= 'z') || (pod[i] >= 'A' && pod[i] <= 'Z') ||
                     (pod[i] >= '0' && pod[i] <= '9') || strchr("-_./", pod[i]);
        strbuf_addc(out, (char)(plain ? pod[i] : '_'));
    }
    strbuf_addc(out, '"');
}

static void add_host_port(const struct hostport_claim *c, const struct hostport *p,
                          const struct ip_addr *pod, struct strbuf *out)
{
    char text[IP_TEXT_MAX];
    const char *protocol = hostport_protocol(p);
    bool v6 = pod->family == AF_INET6;
    strbuf_adds(out, "-A CORACLE-HOSTPORTS");
    if (p->host_ip.family && !ip_addr_is_any(&p->host_ip))
        strbuf_addf(out, " -d %s/%d", ip_addr_format(&p->host_ip, text), v6 ? 128 : 32);
    strbuf_addf(out, " -p %s -m %s --dport %u", protocol, protocol, p->host_port);
    add_comment(c->pod, out);
    strbuf_addf(out,
                v6 ? " -j DNAT --to-destination [%s]:%u\n" : " -j DNAT --to-destination %s:%u\n",
                ip_addr_format(pod, text), p->pod_port);
}

static void add_host_ports(const struct hostports *ports, int family, struct strbuf *out)
{
    if (family == AF_INET6) /* ::1 never leaves the loopback: what listens there stays reachable */
        strbuf_adds(out, "-A CORACLE-HOSTPORTS -d ::1/128 -j RETURN\n");
    MAP_FOR_EACH(e, &ports->claims) {
        const struct hostport_claim *c = map_value(e);
        const struct ip_addr *pod = hostport_pod_address(c, family);
        for (size_t i = 0; pod && i < c->n; i++)
            if (hostport_serves(&c->ports[i], family))
                add_host_port(c, &c->ports[i], pod, out);
    }
}

/* Connections through a host port whose answers would not come back through the translation: from
 * the node's loopback, and of a pod to itself. */
static void add_host_port_sources(const struct firewall_config *c, const struct hostports *ports,
                                  int family, struct strbuf *out)
{
    char text[IP_TEXT_MAX];
    if (family == AF_INET)
        strbuf_addf(out, "-A CORACLE-MASQ -s 127.0.0.0/8 -o %s -j MASQUERADE\n", c->bridge);
    MAP_FOR_EACH(e, &ports->claims) {
        const struct ip_addr *pod = hostport_pod_address(map_value(e), family);
        if (!pod)
            continue;
        (void)ip_addr_format(pod, text);
        strbuf_addf(out, "-A CORACLE-MASQ -s %s/%d -d %s/%d -o %s -j MASQUERADE\n", text,
                    family == AF_INET6 ? 128 : 32, text, family == AF_INET6 ? 128 : 32, c->bridge);
    }
}

static void add_masquerade(const struct firewall_config *c, const struct ip_prefix *pods,
                           struct strbuf *out)
{
    char text[IP_TEXT_MAX];
    int family = pods->addr.family;
    struct ip_prefix network = ip_prefix_network(pods);
    bool any = false;
    (void)ip_prefix_format(&network, text);
    if (!c->bridged_nat) /* two pods of one bridge would answer each other directly */
        strbuf_addf(out,
                    "-A CORACLE-MASQ -s %s -d %s -o %s -m conntrack --ctstate DNAT -j MASQUERADE\n",
                    text, text, c->bridge);
    if (!c->masquerade)
        return;
    strbuf_addf(out, "-A CORACLE-MASQ ! -s %s -j RETURN\n", text);
    for (size_t i = 0; i < c->n_clusters; i++) {
        if (c->clusters[i].addr.family != family)
            continue;
        char cluster[IP_TEXT_MAX];
        struct ip_prefix p = ip_prefix_network(&c->clusters[i]);
        strbuf_addf(out, "-A CORACLE-MASQ -d %s -j RETURN\n", ip_prefix_format(&p, cluster));
        any = true;
    }
    if (!any)
        strbuf_addf(out, "-A CORACLE-MASQ -d %s -j RETURN\n", text);
    strbuf_addf(out,
                "-A CORACLE-MASQ -d %s -j RETURN\n"
                "-A CORACLE-MASQ -j MASQUERADE --random-fully\n",
                family == AF_INET6 ? "ff00::/8" : "224.0.0.0/4");
}

void firewall_rules(const struct firewall_config *c, int family, const struct hostports *ports,
                    struct firewall_seen *seen, struct strbuf *out)
{
    bool used = firewall_has_family(c, family);
    bool with_ports = seen->ports || (used && map_count(&ports->claims));
    seen->ports = with_ports;
    seen->any = true;
    strbuf_adds(out, "*filter\n:CORACLE-FORWARD - [0:0]\n");
    if (used)
        strbuf_addf(out,
                    "-A CORACLE-FORWARD -i %s -j ACCEPT\n"
                    "-A CORACLE-FORWARD -o %s -j ACCEPT\n",
                    c->bridge, c->bridge);
    add_jump(FIREWALL_JUMP_FORWARD, seen, out);
    if (with_ports && family == AF_INET) {
        strbuf_addf(out,
                    ":CORACLE-INPUT - [0:0]\n"
                    "-A CORACLE-INPUT -d 127.0.0.0/8 -i %s -m conntrack ! --ctstate"
                    " RELATED,ESTABLISHED -j DROP\n",
                    c->bridge);
        add_jump(FIREWALL_JUMP_INPUT, seen, out);
    }
    strbuf_adds(out, "COMMIT\n*nat\n:CORACLE-MASQ - [0:0]\n");
    if (with_ports && used)
        add_host_port_sources(c, ports, family, out);
    for (size_t i = 0; i < c->n_pods; i++)
        if (c->pods[i].addr.family == family)
            add_masquerade(c, &c->pods[i], out);
    add_jump(FIREWALL_JUMP_MASQ, seen, out);
    if (with_ports) {
        strbuf_adds(out, ":CORACLE-HOSTPORTS - [0:0]\n");
        if (used)
            add_host_ports(ports, family, out);
        add_jump(FIREWALL_JUMP_PREROUTING, seen, out);
        add_jump(FIREWALL_JUMP_OUTPUT, seen, out);
    }
    strbuf_adds(out, "COMMIT\n");
}
