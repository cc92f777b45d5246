/*
 * The rules of the ipvs mode: what is masqueraded, who may use a balancer's address, and that
 * nothing of the node but services answers on their addresses. They match IP sets, so they never
 * change.
 */
#include "proxy/ipvs/model.h"

static const struct rules_jump jumps[] = {
    {RULES_NAT, "PREROUTING",
     "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"},
    {RULES_NAT, "OUTPUT", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"},
    {RULES_NAT, "POSTROUTING",
     "-m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING"},
    {RULES_FILTER, "INPUT",
     "-m comment --comment \"kubernetes ipvs access filter\" -j KUBE-IPVS-FILTER"},
    {RULES_FILTER, "INPUT",
     "-m comment --comment \"kube-proxy firewall rules\" -j KUBE-PROXY-FIREWALL"},
    {RULES_FILTER, "INPUT",
     "-m comment --comment \"kubernetes health check rules\" -j KUBE-NODE-PORT"},
    {RULES_FILTER, "FORWARD",
     "-m comment --comment \"kube-proxy firewall rules\" -j KUBE-PROXY-FIREWALL"},
    {RULES_FILTER, "FORWARD",
     "-m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD"},
};

/* One chain while it is written. */
struct chain {
    const struct backend_config *c;
    struct rules *out;
    enum rules_table table;
    const char *name;
    struct strbuf text;
};

static void begin(struct chain *ch, enum rules_table table, const char *name)
{
    ch->table = table;
    ch->name = name;
}

static void end(struct chain *ch)
{
    map_set(&ch->out->chains[ch->table], ch->name, strbuf_take(&ch->text));
}

/* "-A CHAIN @before -m set --match-set SET @how -j @target" */
static void match(struct chain *ch, const char *before, enum ipvs_set set, const char *how,
                  const char *target)
{
    char name[IPSET_NAME_MAX];
    ipvs_set_name(set, ch->c->family, name);
    strbuf_addf(&ch->text, "-A %s%s%s -m set --match-set %s %s -j %s\n", ch->name,
                *before ? " " : "", before, name, how, target);
}

static void plain(struct chain *ch, const char *rule)
{
    strbuf_addf(&ch->text, "-A %s %s\n", ch->name, rule);
}

#define COMMENT(text) "-m comment --comment \"" text "\""

static void write_services(struct chain *ch)
{
    const struct backend_config *c = ch->c;
    struct strbuf local = STRBUF_INIT;
    begin(ch, RULES_NAT, "KUBE-SERVICES");
    plain(ch, c->family == AF_INET ? "-s 127.0.0.0/8 -j RETURN" : "-s ::1/128 -j RETURN");
    match(ch, COMMENT("Kubernetes service lb portal"), IPVS_SET_LOAD_BALANCER, "dst,dst",
          "KUBE-LOAD-BALANCER");
    if (!c->masquerade_all && c->local.kind != LOCAL_NONE)
        rules_add_local(c, true, &local);
    strbuf_addf(&local, "%s" COMMENT("Kubernetes service cluster ip + port for masquerade purpose"),
                local.len ? " " : "");
    /* Without knowing pods: what the node sends comes from the service's own address. */
    match(ch, strbuf_text(&local) + (strbuf_text(&local)[0] == ' '), IPVS_SET_CLUSTER_IP,
          c->masquerade_all || c->local.kind != LOCAL_NONE ? "dst,dst" : "src,dst",
          "KUBE-MARK-MASQ");
    match(ch, COMMENT("Kubernetes service external ip + port for masquerade and filter purpose"),
          IPVS_SET_EXTERNAL_IP, "dst,dst", "KUBE-MARK-MASQ");
    plain(ch, "-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT");
    match(ch, "", IPVS_SET_CLUSTER_IP, "dst,dst", "ACCEPT");
    match(ch, "", IPVS_SET_LOAD_BALANCER, "dst,dst", "ACCEPT");
    match(ch, "", IPVS_SET_EXTERNAL_IP, "dst,dst", "ACCEPT");
    match(ch, "", IPVS_SET_EXTERNAL_IP_LOCAL, "dst,dst", "ACCEPT");
    end(ch);
    strbuf_done(&local);
}

static void write_nat(struct chain *ch)
{
    static const struct {
        const char *protocol;
        enum ipvs_set set;
        const char *how;
    } ports[] = {{"-p tcp", IPVS_SET_NODE_PORT_TCP, "dst"},
                 {"-p udp", IPVS_SET_NODE_PORT_UDP, "dst"},
                 {"-p sctp", IPVS_SET_NODE_PORT_SCTP, "dst,dst"}};
    begin(ch, RULES_NAT, "KUBE-NODE-PORT");
    for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
        match(ch, ports[i].protocol, ports[i].set + 1, ports[i].how, "RETURN");
        match(ch, ports[i].protocol, ports[i].set, ports[i].how, "KUBE-MARK-MASQ");
    }
    end(ch);
    begin(ch, RULES_NAT, "KUBE-LOAD-BALANCER");
    match(ch, "", IPVS_SET_LOAD_BALANCER_LOCAL, "dst,dst", "RETURN");
    plain(ch, "-j KUBE-MARK-MASQ");
    end(ch);
    /* In front of what is there for every mode. */
    _cleanup_free_ char *rest = map_take(&ch->out->chains[RULES_NAT], "KUBE-POSTROUTING");
    begin(ch, RULES_NAT, "KUBE-POSTROUTING");
    match(ch, COMMENT("Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"),
          IPVS_SET_LOOP_BACK, "dst,dst,src", "MASQUERADE");
    strbuf_adds(&ch->text, rest);
    end(ch);
}

static void write_filter(struct chain *ch)
{
    static const enum ipvs_set served[] = {IPVS_SET_LOAD_BALANCER, IPVS_SET_CLUSTER_IP,
                                           IPVS_SET_EXTERNAL_IP, IPVS_SET_EXTERNAL_IP_LOCAL};
    begin(ch, RULES_FILTER, "KUBE-NODE-PORT");
    match(ch, COMMENT("Kubernetes health check node port"), IPVS_SET_HEALTH_PORT, "dst", "ACCEPT");
    end(ch);
    begin(ch, RULES_FILTER, "KUBE-PROXY-FIREWALL");
    match(ch,
          COMMENT("Kubernetes service load balancer ip + port for load balancer with "
                  "sourceRange"),
          IPVS_SET_FIREWALL, "dst,dst", "KUBE-SOURCE-RANGES-FIREWALL");
    end(ch);
    begin(ch, RULES_FILTER, "KUBE-SOURCE-RANGES-FIREWALL");
    match(ch, "", IPVS_SET_SOURCE_CIDR, "dst,dst,src", "RETURN");
    match(ch, "", IPVS_SET_SOURCE_IP, "dst,dst,src", "RETURN");
    plain(ch, "-j DROP");
    end(ch);
    begin(ch, RULES_FILTER, "KUBE-IPVS-FILTER");
    match(ch, "", IPVS_SET_NO_LOCAL, "dst,dst", "DROP");
    for (size_t i = 0; i < ARRAY_SIZE(served); i++)
        match(ch, "", served[i], "dst,dst", "RETURN");
    match(ch, "", IPVS_SET_HEALTH_PORT, "dst", "RETURN");
    match(ch, "-m conntrack --ctstate NEW", IPVS_SET_ADDRESSES, "dst",
          ch->c->family == AF_INET ? "REJECT --reject-with icmp-port-unreachable"
                                   : "REJECT --reject-with icmp6-port-unreachable");
    end(ch);
}

static void fixed(const struct backend_config *c, struct rules *out)
{
    struct chain ch = {.c = c, .out = out};
    rules_masquerade(c, out);
    rules_forward(c, out);
    write_services(&ch);
    write_nat(&ch);
    write_filter(&ch);
    for (int t = 0; t < RULES_TABLES; t++)
        map_set(&out->chains[t], "KUBE-PROXY-CANARY", str_dup(""));
}

const struct rules_source ipvs_rules = {
    .fixed = fixed, .service = NULL, .jumps = jumps, .n_jumps = ARRAY_SIZE(jumps)};
