/*
 * Rules of the nftables mode; see ruleset.h.
 *
 * Registers, in units of four bytes, with K = 1 for IPv4 and 4 for IPv6:
 *
 *   a choice           0 address, K protocol, K+1 port, K+2 slot; then K+2 the endpoint's address,
 *                      2K+2 its port
 *   session affinity   0 the client's address, K a number for the service; the endpoint's K+1
 * address, 2K+1 port
 *
 * Session affinity. The set `affinity` remembers client . service . endpoint, each for its time.
 * The service's chain has two rules for each endpoint: one takes a client that is remembered with
 * it, and one takes its share of those that are not, as in iptables mode. What is remembered of an
 * endpoint that is gone matters to no rule, and expires.
 */
#include "proxy/nftables/ruleset.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <string.h>

#include "base/strbuf.h"

#define VERSION         "1"
#define AFFINITY_MAX    262144 /* clients remembered; sources can be forged */
#define PRIORITY_DNAT   (-100)
#define PRIORITY_SNAT   100
#define PRIORITY_FILTER 0
#define PRIORITY_BEFORE (PRIORITY_DNAT - 10)

void ruleset_init(struct ruleset *r, const struct backend_config *c)
{
    *r = (struct ruleset){
        .c = c, .batch = nft_batch_new(c->family, c->nft_table), .chains = MAP_INIT(free)};
}

void ruleset_done(struct ruleset *r)
{
    r->batch = nft_batch_free(r->batch);
    map_clear(&r->chains);
}

char *ruleset_version(const struct backend_config *c)
{
    char text[IP_TEXT_MAX], hash[17];
    _cleanup_free_ char *all = str_printf(
        "%s %x %d %d %d %s %s", VERSION, c->mark, c->masquerade_all, c->drop_invalid, c->local.kind,
        c->local.kind == LOCAL_CIDR ? ip_prefix_format(&c->local.cidr, text) : "",
        c->local.interface);
    plan_hash(all, hash);
    return str_printf("coracle-proxy %s", hash);
}

/* ---- sets ---- */

static const char *const set_names[SETS_AND_AFFINITY] = {
    [SET_SERVICES] = "services",
    [SET_NODE_PORTS] = "node-ports",
    [SET_ENDPOINTS] = "endpoints",
    [SET_LOCAL_ENDPOINTS] = "local-endpoints",
    [SET_NODE_PORT_ENDPOINTS] = "node-port-endpoints",
    [SET_NODE_PORT_LOCAL_ENDPOINTS] = "node-port-local-endpoints",
    [SET_UNSERVED] = "no-endpoints",
    [SET_UNSERVED_NODE_PORTS] = "no-endpoints-node-ports",
    [SET_FIREWALL] = "source-ranges",
    [SET_HAIRPIN] = "hairpin",
    [SET_NODE_PORT_ADDRESSES] = "node-port-addresses",
    [SET_LOCAL_ADDRESSES] = "local-addresses",
    [SET_AFFINITY] = "affinity",
};

const char *ruleset_set_name(enum nft_table_set set)
{
    return set_names[set];
}

static unsigned words(const struct ruleset *r)
{
    return r->c->family == AF_INET ? 1 : 4;
}

static void add_sets(struct ruleset *r)
{
    const uint32_t a = words(r) * 4; /* bytes of an address */
    const uint32_t ip = r->c->family == AF_INET ? NFT_TYPE_IPV4 : NFT_TYPE_IPV6;
    const uint32_t port = NFT_TYPE_CONCAT(NFT_TYPE_PROTOCOL, NFT_TYPE_PORT);
    const uint32_t service = (ip << 12) | port;
    const uint32_t endpoint = NFT_TYPE_CONCAT(ip, NFT_TYPE_PORT);
    const uint32_t slot = NFT_TYPE_CONCAT(service, NFT_TYPE_NUMBER);
    const uint32_t port_slot = NFT_TYPE_CONCAT(port, NFT_TYPE_NUMBER);
    const uint32_t affinity = (NFT_TYPE_CONCAT(ip, NFT_TYPE_NUMBER) << 12) | endpoint;
    const struct nft_set_def defs[SETS_AND_AFFINITY] = {
        [SET_SERVICES] = {NULL, service, a + 8, NFT_DATA_VERDICT, 0, false, 0},
        [SET_NODE_PORTS] = {NULL, port, 8, NFT_DATA_VERDICT, 0, false, 0},
        [SET_ENDPOINTS] = {NULL, slot, a + 12, endpoint, a + 4, false, 0},
        [SET_LOCAL_ENDPOINTS] = {NULL, slot, a + 12, endpoint, a + 4, false, 0},
        [SET_NODE_PORT_ENDPOINTS] = {NULL, port_slot, 12, endpoint, a + 4, false, 0},
        [SET_NODE_PORT_LOCAL_ENDPOINTS] = {NULL, port_slot, 12, endpoint, a + 4, false, 0},
        [SET_UNSERVED] = {NULL, service, a + 8, NFT_DATA_VERDICT, 0, false, 0},
        [SET_UNSERVED_NODE_PORTS] = {NULL, port, 8, NFT_DATA_VERDICT, 0, false, 0},
        [SET_FIREWALL] = {NULL, service, a + 8, NFT_DATA_VERDICT, 0, false, 0},
        [SET_HAIRPIN] = {NULL, NFT_TYPE_CONCAT(ip, ip), 2 * a, 0, 0, false, 0},
        [SET_NODE_PORT_ADDRESSES] = {NULL, ip, a, 0, 0, false, 0},
        [SET_LOCAL_ADDRESSES] = {NULL, ip, a, 0, 0, false, 0},
        [SET_AFFINITY] = {NULL, affinity, 2 * a + 8, 0, 0, true, AFFINITY_MAX},
    };
    for (int i = 0; i < SETS_AND_AFFINITY; i++) {
        struct nft_set_def def = defs[i];
        def.name = set_names[i];
        nft_add_set(r->batch, &def);
    }
}

/* ---- pieces of rules ---- */

static void begin(struct ruleset *r, const char *chain, const char *comment)
{
    const char *before = map_get(&r->chains, chain);
    map_set(&r->chains, chain, str_printf("%s%s\n", before ? before : "", comment));
    nft_begin_rule(r->batch, chain, comment);
}

static void add_chain(struct ruleset *r, const char *name, const struct nft_hook *hook)
{
    nft_add_chain(r->batch, name, hook);
    map_set(&r->chains, name, str_dup(""));
}

static void load_source(struct ruleset *r, unsigned dreg)
{
    nft_load_payload(r->batch, NFT_NETWORK, r->c->family == AF_INET ? 12 : 8, words(r) * 4, dreg);
}

static void load_destination(struct ruleset *r, unsigned dreg)
{
    nft_load_payload(r->batch, NFT_NETWORK, r->c->family == AF_INET ? 16 : 24, words(r) * 4, dreg);
}

/* protocol . destination port */
static void load_port(struct ruleset *r, unsigned dreg)
{
    nft_load_meta(r->batch, NFT_META_L4PROTO, dreg);
    nft_load_payload(r->batch, NFT_TRANSPORT, 2, 2, dreg + 1);
}

static void set_mark(struct ruleset *r)
{
    const uint32_t mark = r->c->mark, mask = ~mark;
    nft_load_meta(r->batch, NFT_META_MARK, 0);
    nft_bitwise(r->batch, 0, 0, &mask, &mark, sizeof(mark));
    nft_set_meta(r->batch, NFT_META_MARK, 0);
}

static void in_prefix(struct ruleset *r, const struct ip_prefix *p, bool in)
{
    static const uint8_t zero[16];
    uint8_t mask[16] = {0};
    size_t len = words(r) * 4;
    for (unsigned i = 0; i < p->len; i++)
        mask[i / 8] = (uint8_t)(mask[i / 8] | (0x80 >> (i % 8)));
    load_source(r, 0);
    nft_bitwise(r->batch, 0, 0, mask, zero, len);
    nft_compare(r->batch, 0, in, p->addr.bytes, len);
}

/* Whether traffic comes (@is) or does not come from a pod of ours. */
static void from_pod(struct ruleset *r, bool is)
{
    const struct local_traffic *l = &r->c->local;
    char name[IFNAMSIZ] = "";
    if (l->kind == LOCAL_CIDR) {
        in_prefix(r, &l->cidr, is);
        return;
    }
    (void)snprintf(name, sizeof(name), "%s", l->interface);
    nft_load_meta(r->batch, NFT_META_IIFNAME, 0);
    nft_compare(r->batch, 0, is, name, l->kind == LOCAL_BRIDGE ? sizeof(name) : strlen(name));
}

/* ---- choosing an endpoint ---- */

/* One of n: the packet's own address and port, and a number, are the key. */
static void write_draw(struct ruleset *r, const struct chain *c)
{
    unsigned k = words(r);
    const char *map;
    begin(r, c->name, "an endpoint");
    if (c->kind == CHAIN_NODE_PORT) {
        map = set_names[c->local ? SET_NODE_PORT_LOCAL_ENDPOINTS : SET_NODE_PORT_ENDPOINTS];
    } else {
        load_destination(r, 0);
        map = set_names[c->local ? SET_LOCAL_ENDPOINTS : SET_ENDPOINTS];
    }
    load_port(r, k);
    nft_load_random(r->batch, c->local ? c->n_local : c->cluster, k + 2);
    nft_lookup_map(r->batch, map, c->kind == CHAIN_NODE_PORT ? k : 0, k + 2);
    nft_dnat(r->batch, k + 2, 2 * k + 2);
    nft_end_rule(r->batch);
}

/* Tells services apart that share an endpoint; should two have the same, a client keeps to it in
 * both. */
static uint32_t service_number(const struct plan_port *p)
{
    uint32_t n = 0;
    for (const char *c = p->id; *c; c++)
        n = n * 31 + (unsigned char)*c;
    return n;
}

/* client . service . endpoint */
static void load_affinity(struct ruleset *r, const struct plan_port *p,
                          const struct plan_endpoint *e)
{
    unsigned k = words(r);
    const uint32_t number = service_number(p);
    const uint16_t port = htons(e->port);
    load_source(r, 0);
    nft_load_value(r->batch, &number, sizeof(number), k);
    nft_load_value(r->batch, e->ip.bytes, k * 4, k + 1);
    nft_load_value(r->batch, &port, sizeof(port), 2 * k + 1);
}

static void write_affinity_rule(struct ruleset *r, const struct chain *c,
                                const struct plan_endpoint *e, bool remembered, unsigned left)
{
    unsigned k = words(r), seconds = (unsigned)c->own->affinity_seconds;
    const uint32_t zero = 0;
    char ip[IP_TEXT_MAX], comment[IP_TEXT_MAX + 64];
    /* All that the rule says: a restart compares comments. */
    (void)snprintf(comment, sizeof(comment), "%s %s port %u, for %u s",
                   remembered ? "clients of" : "others to", ip_addr_format(&e->ip, ip), e->port,
                   seconds);
    begin(r, c->name, comment);
    if (!remembered && left > 1) {
        nft_load_random(r->batch, left, 0);
        nft_compare(r->batch, 0, true, &zero, sizeof(zero));
    }
    load_affinity(r, c->own, e);
    if (remembered)
        nft_lookup(r->batch, set_names[SET_AFFINITY], 0, false);
    nft_update(r->batch, set_names[SET_AFFINITY], 0, seconds);
    nft_dnat(r->batch, k + 1, 2 * k + 1);
    nft_end_rule(r->batch);
}

/* When there is no room to remember a client, the rule ends: the next ones serve it all the same.
 */
static void write_affinity(struct ruleset *r, const struct chain *c)
{
    const struct plan_port *p = c->own;
    unsigned n = c->local ? c->n_local : c->cluster, k = words(r);
    const struct plan_endpoint *last = NULL;
    for (int remembered = 1; remembered >= 0; remembered--) {
        unsigned left = n;
        for (size_t i = 0; i < p->n_endpoints; i++) {
            const struct plan_endpoint *e = &p->endpoints[i];
            if (c->local ? !e->in_local : !e->in_cluster)
                continue;
            write_affinity_rule(r, c, e, remembered, left--);
            last = e;
        }
    }
    if (!last)
        return;
    const uint16_t port = htons(last->port);
    begin(r, c->name, "whom there is no room to remember");
    nft_load_value(r->batch, last->ip.bytes, k * 4, 0);
    nft_load_value(r->batch, &port, sizeof(port), k);
    nft_dnat(r->batch, 0, k);
    nft_end_rule(r->batch);
}

/* ---- chains of services ---- */

static void mark_rule(struct ruleset *r, const char *chain, const char *comment)
{
    begin(r, chain, comment);
    set_mark(r);
    nft_end_rule(r->batch);
}

/* Its comment is where it goes: a restart compares comments. */
static void goto_rule(struct ruleset *r, const char *chain, const char *to)
{
    begin(r, chain, to);
    nft_verdict(r->batch, NFT_GOTO, to);
    nft_end_rule(r->batch);
}

static void write_cluster_ip(struct ruleset *r, const struct chain *c)
{
    if (r->c->masquerade_all) {
        mark_rule(r, c->name, "masquerade everything");
    } else if (r->c->local.kind != LOCAL_NONE) {
        begin(r, c->name, "masquerade what is not from pods");
        from_pod(r, false);
        set_mark(r);
        nft_end_rule(r->batch);
    }
}

/* The policy Local does not bind what starts on this node: that goes anywhere, as if it had gone
 * out and come back. */
static void write_way_back(struct ruleset *r, const struct chain *c)
{
    const struct chain everywhere = chain_choice(c, false);
    if (!c->cluster)
        return;
    if (r->c->local.kind != LOCAL_NONE) {
        begin(r, c->name, "pods reach every endpoint");
        from_pod(r, true);
        nft_verdict(r->batch, NFT_GOTO, everywhere.name);
        nft_end_rule(r->batch);
    }
    begin(r, c->name, "masquerade what is from this node");
    load_source(r, 0);
    nft_lookup(r->batch, set_names[SET_LOCAL_ADDRESSES], 0, false);
    set_mark(r);
    nft_end_rule(r->batch);
    begin(r, c->name, "this node reaches every endpoint");
    load_source(r, 0);
    nft_lookup(r->batch, set_names[SET_LOCAL_ADDRESSES], 0, false);
    nft_verdict(r->batch, NFT_GOTO, everywhere.name);
    nft_end_rule(r->batch);
}

static bool holds(const struct ip_prefix *range, const struct ip_addr *ip)
{
    struct ip_prefix host = {.addr = *ip, .len = range->len};
    struct ip_prefix network = ip_prefix_network(&host);
    return ip->family == range->addr.family && ip_addr_equal(&network.addr, &range->addr);
}

static void write_range(struct ruleset *r, const struct chain *c, const struct ip_prefix *range)
{
    char text[IP_TEXT_MAX];
    begin(r, c->name, ip_prefix_format(range, text));
    in_prefix(r, range, true);
    nft_verdict(r->batch, NFT_RETURN, NULL);
    nft_end_rule(r->batch);
}

static void write_firewall(struct ruleset *r, const struct chain *c)
{
    const struct plan_port *p = c->own;
    bool node = false;
    for (size_t i = 0; i < p->n_source_ranges; i++) {
        write_range(r, c, &p->source_ranges[i]);
        node = node || holds(&p->source_ranges[i], &r->c->node_ip);
    }
    /* A balancer's address that is local here makes it the source of this node's own requests. */
    for (size_t i = 0; node && i < p->n_ingress_ips; i++) {
        const struct ip_prefix self = {.addr = p->ingress_ips[i], .len = words(r) * 32};
        write_range(r, c, &self);
    }
    begin(r, c->name, "everybody else");
    nft_verdict(r->batch, NF_DROP, NULL);
    nft_end_rule(r->batch);
}

void ruleset_write_chain(struct ruleset *r, const struct chain *c, bool anew)
{
    if (anew) {
        nft_flush_chain(r->batch, c->name);
        map_set(&r->chains, c->name, str_dup(""));
    } else {
        add_chain(r, c->name, NULL);
    }
    if (c->kind == CHAIN_FIREWALL) {
        write_firewall(r, c);
        return;
    }
    if (!c->bare && c->kind == CHAIN_CLUSTER_IP)
        write_cluster_ip(r, c);
    else if (!c->bare && c->local)
        write_way_back(r, c);
    else if (!c->bare)
        mark_rule(r, c->name, "masquerade what is from outside");
    if (!(c->local ? c->n_local : c->cluster))
        return;
    const struct chain choice = chain_choice(c, c->local);
    if (c->own && c->bare)
        write_affinity(r, c);
    else if (c->own)
        goto_rule(r, c->name, choice.name);
    else
        write_draw(r, c);
}

char *ruleset_signature(const struct chain *c)
{
    const struct plan_port *p = c->own;
    struct strbuf b = STRBUF_INIT;
    char text[IP_TEXT_MAX];
    strbuf_addf(&b, "%d %d %d %u %u", c->kind, c->local, c->bare, c->cluster, c->n_local);
    if (c->kind == CHAIN_FIREWALL) {
        for (size_t i = 0; i < p->n_source_ranges; i++)
            strbuf_addf(&b, " %s", ip_prefix_format(&p->source_ranges[i], text));
        for (size_t i = 0; i < p->n_ingress_ips; i++)
            strbuf_addf(&b, " %s", ip_addr_format(&p->ingress_ips[i], text));
    } else if (p && c->bare) {
        strbuf_addf(&b, " %d", p->affinity_seconds);
        for (size_t i = 0; i < p->n_endpoints; i++)
            if (c->local ? p->endpoints[i].in_local : p->endpoints[i].in_cluster)
                strbuf_addf(&b, " %s:%u", ip_addr_format(&p->endpoints[i].ip, text),
                            p->endpoints[i].port);
    }
    return strbuf_take(&b);
}

/* ---- chains at the hooks ---- */

static void only_state(struct ruleset *r, uint32_t state)
{
    const uint32_t zero = 0;
    nft_load_ct(r->batch, NFT_CT_STATE, 0);
    nft_bitwise(r->batch, 0, 0, &state, &zero, sizeof(state));
    nft_compare(r->batch, 0, false, &zero, sizeof(zero));
}

static void jump_rule(struct ruleset *r, const char *chain, const char *to)
{
    begin(r, chain, to);
    nft_verdict(r->batch, NFT_JUMP, to);
    nft_end_rule(r->batch);
}

static void write_nat(struct ruleset *r)
{
    const struct nft_hook pre = {"nat", NF_INET_PRE_ROUTING, PRIORITY_DNAT};
    const struct nft_hook out = {"nat", NF_INET_LOCAL_OUT, PRIORITY_DNAT};
    unsigned k = words(r);
    add_chain(r, "to-services", NULL);
    begin(r, "to-services", "addresses of services");
    load_destination(r, 0);
    load_port(r, k);
    nft_lookup_verdict(r->batch, set_names[SET_SERVICES], 0);
    nft_end_rule(r->batch);
    begin(r, "to-services", "node ports");
    load_destination(r, 0);
    nft_lookup(r->batch, set_names[SET_NODE_PORT_ADDRESSES], 0, false);
    load_port(r, 0);
    nft_lookup_verdict(r->batch, set_names[SET_NODE_PORTS], 0);
    nft_end_rule(r->batch);
    add_chain(r, "nat-prerouting", &pre);
    jump_rule(r, "nat-prerouting", "to-services");
    add_chain(r, "nat-output", &out);
    jump_rule(r, "nat-output", "to-services");
}

/* The mark goes again, so that a packet that comes by once more is not masqueraded twice. */
static void write_masquerade(struct ruleset *r)
{
    const struct nft_hook post = {"nat", NF_INET_POST_ROUTING, PRIORITY_SNAT};
    const uint32_t mark = r->c->mark, zero = 0, all = UINT32_MAX;
    add_chain(r, "nat-postrouting", &post);
    begin(r, "nat-postrouting", "a pod reaches itself through a service");
    load_source(r, 0);
    load_destination(r, words(r));
    nft_lookup(r->batch, set_names[SET_HAIRPIN], 0, false);
    nft_masquerade(r->batch);
    nft_end_rule(r->batch);
    begin(r, "nat-postrouting", "masquerade what is marked");
    nft_load_meta(r->batch, NFT_META_MARK, 0);
    nft_bitwise(r->batch, 0, 1, &mark, &zero, sizeof(mark));
    nft_compare(r->batch, 1, false, &zero, sizeof(zero));
    nft_bitwise(r->batch, 0, 0, &all, &mark, sizeof(mark));
    nft_set_meta(r->batch, NFT_META_MARK, 0);
    nft_masquerade(r->batch);
    nft_end_rule(r->batch);
}

/* Traffic that nobody has translated though it is for a service. */
static void write_filter(struct ruleset *r)
{
    static const struct {
        const char *name;
        int hook;
    } hooks[] = {{"filter-input", NF_INET_LOCAL_IN},
                 {"filter-forward", NF_INET_FORWARD},
                 {"filter-output", NF_INET_LOCAL_OUT}};
    unsigned k = words(r);
    add_chain(r, "refuse", NULL);
    begin(r, "refuse", "no endpoints");
    nft_reject(r->batch);
    nft_end_rule(r->batch);
    for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
        const struct nft_hook hook = {"filter", hooks[i].hook, PRIORITY_FILTER};
        add_chain(r, hooks[i].name, &hook);
        if (hooks[i].hook == NF_INET_FORWARD && r->c->drop_invalid) {
            begin(r, hooks[i].name, "packets that conntrack finds invalid");
            only_state(r, NF_CT_STATE_INVALID_BIT);
            nft_verdict(r->batch, NF_DROP, NULL);
            nft_end_rule(r->batch);
        }
        begin(r, hooks[i].name, "services without endpoints");
        only_state(r, NF_CT_STATE_BIT(IP_CT_NEW));
        load_destination(r, 0);
        load_port(r, k);
        nft_lookup_verdict(r->batch, set_names[SET_UNSERVED], 0);
        nft_end_rule(r->batch);
        if (hooks[i].hook == NF_INET_FORWARD)
            continue;
        begin(r, hooks[i].name, "node ports without endpoints");
        only_state(r, NF_CT_STATE_BIT(IP_CT_NEW));
        load_destination(r, 0);
        nft_lookup(r->batch, set_names[SET_NODE_PORT_ADDRESSES], 0, false);
        load_port(r, 0);
        nft_lookup_verdict(r->batch, set_names[SET_UNSERVED_NODE_PORTS], 0);
        nft_end_rule(r->batch);
    }
}

/* Source ranges are asked before the destination is translated. */
static void write_ranges(struct ruleset *r)
{
    static const struct {
        const char *name;
        int hook;
    } hooks[] = {{"filter-prerouting", NF_INET_PRE_ROUTING},
                 {"filter-output-before", NF_INET_LOCAL_OUT}};
    unsigned k = words(r);
    for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
        const struct nft_hook hook = {"filter", hooks[i].hook, PRIORITY_BEFORE};
        add_chain(r, hooks[i].name, &hook);
        begin(r, hooks[i].name, "source ranges of load balancers");
        only_state(r, NF_CT_STATE_BIT(IP_CT_NEW));
        load_destination(r, 0);
        load_port(r, k);
        nft_lookup_verdict(r->batch, set_names[SET_FIREWALL], 0);
        nft_end_rule(r->batch);
    }
}

void ruleset_write_table(struct ruleset *r)
{
    _cleanup_free_ char *version = ruleset_version(r->c);
    nft_add_table(r->batch, version);
    add_sets(r);
    write_filter(r);
    write_ranges(r);
    write_nat(r);
    write_masquerade(r);
}
