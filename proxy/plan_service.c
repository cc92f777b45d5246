/* One service's ports, from its object and its slices; see plan.h. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/digest.h"
#include "base/strbuf.h"
#include "proxy/plan_internal.h"

#define AFFINITY_DEFAULT_S 10800
#define AFFINITY_MAX_S     86400
#define PROBLEMS_MAX       16

/* ---- names ---- */

void plan_hash(const char *text, char out[17])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(text, strlen(text), hex);
    /* 16 characters of 5 bits are the first 10 bytes. */
    unsigned bits = 0, n_bits = 0, n = 0;
    for (size_t i = 0; i < 20 && n < 16; i++) {
        unsigned digit = (unsigned)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
        bits = (bits << 4) | digit;
        n_bits += 4;
        if (n_bits >= 5) {
            out[n++] = alphabet[(bits >> (n_bits - 5)) & 31];
            n_bits -= 5;
            bits &= (1U << n_bits) - 1;
        }
    }
    out[n] = '\0';
}

int plan_protocol(const char *name)
{
    if (!name || !*name || str_eq(name, "TCP"))
        return IPPROTO_TCP;
    return str_eq(name, "UDP") ? IPPROTO_UDP : str_eq(name, "SCTP") ? IPPROTO_SCTP : 0;
}

const char *plan_protocol_name(int protocol)
{
    return protocol == IPPROTO_UDP ? "udp" : protocol == IPPROTO_SCTP ? "sctp" : "tcp";
}

/* ---- life of a result ---- */

static void port_done(struct plan_port *port)
{
    free(port->title);
    free(port->external_ips);
    free(port->ingress_ips);
    free(port->source_ranges);
    free(port->endpoints);
}

const struct plan_service *plan_service_ref(const struct plan_service *s)
{
    ((struct plan_service *)(uintptr_t)s)->refs++;
    return s;
}

const struct plan_service *plan_service_unref(const struct plan_service *const_s)
{
    struct plan_service *s = (struct plan_service *)(uintptr_t)const_s;
    if (!s || --s->refs)
        return NULL;
    for (size_t i = 0; i < s->n_ports; i++)
        port_done(&s->ports[i]);
    for (size_t i = 0; i < s->n_problems; i++)
        free(s->problems[i]);
    free(s->problems);
    free(s->ports);
    free(s->key);
    free(s->uid);
    free(s);
    return NULL;
}

void plan_problem(struct plan_service *s, const char *fmt, ...)
{
    if (s->n_problems == PROBLEMS_MAX)
        return;
    struct strbuf b = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&b, fmt, args);
    va_end(args);
    bool known = false; /* both families have the same complaint */
    for (size_t i = 0; i < s->n_problems && !known; i++)
        known = str_eq(s->problems[i], strbuf_text(&b));
    if (!known) {
        s->problems = mem_grow(s->problems, s->n_problems + 1, sizeof(*s->problems));
        s->problems[s->n_problems++] = strbuf_take(&b);
    }
    strbuf_done(&b);
}

/* Every byte of these was set from zeroed memory, so they compare as memory. */
#define SAME_ARRAY(a, b, items, n) \
    ((a)->n == (b)->n && (!(a)->n || !memcmp((a)->items, (b)->items, (a)->n * sizeof(*(a)->items))))

static bool endpoint_equal(const struct plan_endpoint *a, const struct plan_endpoint *b)
{
    return ip_addr_equal(&a->ip, &b->ip) && a->port == b->port && a->local == b->local &&
           a->maybe_here == b->maybe_here && a->in_cluster == b->in_cluster &&
           a->in_local == b->in_local;
}

static bool ranges_equal(const struct plan_port *a, const struct plan_port *b)
{
    bool same = a->n_source_ranges == b->n_source_ranges;
    for (size_t i = 0; same && i < a->n_source_ranges; i++)
        same = a->source_ranges[i].len == b->source_ranges[i].len &&
               ip_addr_equal(&a->source_ranges[i].addr, &b->source_ranges[i].addr);
    return same;
}

static bool port_equal(const struct plan_port *a, const struct plan_port *b)
{
    bool same = str_eq(a->title, b->title) && a->family == b->family &&
                a->protocol == b->protocol && a->port == b->port && a->node_port == b->node_port &&
                ip_addr_equal(&a->cluster_ip, &b->cluster_ip) &&
                SAME_ARRAY(a, b, external_ips, n_external_ips) &&
                SAME_ARRAY(a, b, ingress_ips, n_ingress_ips) && ranges_equal(a, b) &&
                a->affinity_seconds == b->affinity_seconds &&
                a->internal_local == b->internal_local && a->external_local == b->external_local &&
                a->has_endpoints == b->has_endpoints && a->n_endpoints == b->n_endpoints;
    for (size_t i = 0; same && i < a->n_endpoints; i++)
        same = endpoint_equal(&a->endpoints[i], &b->endpoints[i]);
    return same;
}

bool plan_service_equal(const struct plan_service *a, const struct plan_service *b)
{
    bool same = a->n_ports == b->n_ports && a->health_port == b->health_port &&
                a->n_local_ready == b->n_local_ready && a->n_problems == b->n_problems &&
                str_eq(a->uid, b->uid);
    for (size_t i = 0; same && i < a->n_problems; i++)
        same = str_eq(a->problems[i], b->problems[i]);
    for (size_t i = 0; same && i < a->n_ports; i++)
        same = port_equal(&a->ports[i], &b->ports[i]);
    return same;
}

/* ---- claims ---- */

void plan_claim_address(const struct ip_addr *ip, int protocol, int port, char *buf)
{
    char text[IP_TEXT_MAX];
    (void)snprintf(buf, CLAIM_MAX, "%s port %d/%s", ip_addr_format(ip, text), port,
                   plan_protocol_name(protocol));
}

void plan_claim_node_port(int protocol, int port, char *buf)
{
    (void)snprintf(buf, CLAIM_MAX, "node port %d/%s", port, plan_protocol_name(protocol));
}

static void claim(struct map *all, const char *text, enum claim_rank rank)
{
    if (!map_has(all, text))
        map_set(all, text, (void *)(uintptr_t)rank);
}

static void claim_each(struct map *all, char *const *addresses, size_t n, int protocol, int port,
                       enum claim_rank rank)
{
    char text[CLAIM_MAX];
    struct ip_addr ip;
    for (size_t i = 0; i < n; i++) {
        if (ip_addr_parse(addresses[i], &ip) < 0)
            continue;
        plan_claim_address(&ip, protocol, port, text);
        claim(all, text, rank);
    }
}

static bool keeps_address(const struct ingress *i)
{
    return i->ip && *i->ip && !str_eq(i->ip_mode, "Proxy");
}

void plan_claims_of(const struct service *s, struct map *ret)
{
    char text[CLAIM_MAX];
    for (size_t i = 0; i < s->ports.count; i++) {
        const struct service_port *port = &s->ports.items[i];
        int protocol = plan_protocol(port->protocol), number = (int)port->port;
        char *single[] = {s->cluster_ip};
        if (s->cluster_ips.count)
            claim_each(ret, s->cluster_ips.items, s->cluster_ips.count, protocol, number,
                       CLAIM_CLUSTER_IP);
        else
            claim_each(ret, single, s->cluster_ip != NULL, protocol, number, CLAIM_CLUSTER_IP);
        claim_each(ret, s->external_ips.items, s->external_ips.count, protocol, number,
                   CLAIM_OTHER);
        for (size_t k = 0; k < s->ingress.count; k++)
            if (keeps_address(&s->ingress.items[k]))
                claim_each(ret, &s->ingress.items[k].ip, 1, protocol, number, CLAIM_OTHER);
        if (port->node_port) {
            plan_claim_node_port(protocol, (int)port->node_port, text);
            claim(ret, text, CLAIM_OTHER);
        }
    }
    if (s->health_port) {
        plan_claim_node_port(IPPROTO_TCP, (int)s->health_port, text);
        claim(ret, text, CLAIM_OTHER);
    }
}

/* ---- computing ---- */

struct computation {
    const struct plan *plan;
    const struct plan_entry *entry;
    struct plan_service *result;
    struct map used;  /* claims that a port of this service has taken already */
    struct map ready; /* addresses of ready local endpoints */
};

/* Whether the service has what it claims, for one of its ports of @family; says so when another
 * service has it. */
static bool wins(struct computation *c, int family, const char *claimed, const char *field)
{
    const char *owner = claims_winner(c->plan->claims, claimed);
    _cleanup_free_ char *use = str_printf("%d %s", family, claimed);
    if (!str_eq(owner, c->entry->key)) {
        plan_problem(c->result, "%s: %s belongs to service %s", field, claimed,
                     owner ? owner : "(none)");
        return false;
    }
    bool first = !map_has(&c->used, use);
    map_set(&c->used, use, NULL);
    return first;
}

static void add_ip(struct ip_addr **ips, size_t *n, const struct ip_addr *ip)
{
    *ips = mem_grow(*ips, *n + 1, sizeof(**ips));
    (*ips)[(*n)++] = *ip;
}

/* An address of @field: into @ips when it is of the port's family and the service's own. */
static void take_address(struct computation *c, struct plan_port *port, const char *field,
                         const char *text, struct ip_addr **ips, size_t *n)
{
    struct ip_addr ip;
    char claim_text[CLAIM_MAX];
    if (ip_addr_parse(text, &ip) < 0 || ip.family != port->family)
        return;
    plan_claim_address(&ip, port->protocol, port->port, claim_text);
    if (wins(c, port->family, claim_text, field))
        add_ip(ips, n, &ip);
}

static void take_ranges(const struct service *s, struct plan_port *port)
{
    for (size_t i = 0; i < s->source_ranges.count; i++) {
        struct ip_prefix range;
        if (ip_prefix_parse(s->source_ranges.items[i], &range) < 0 ||
            range.addr.family != port->family)
            continue;
        port->source_ranges =
            mem_grow(port->source_ranges, port->n_source_ranges + 1, sizeof(*port->source_ranges));
        port->source_ranges[port->n_source_ranges++] = ip_prefix_network(&range);
    }
    for (size_t i = 0; i < port->n_source_ranges; i++)
        if (port->source_ranges[i].len == 0)
            port->n_source_ranges = 0; /* everybody */
}

static bool good_timeout(const struct service *s)
{
    return s->affinity_seconds.set && s->affinity_seconds.value >= 1 &&
           s->affinity_seconds.value <= AFFINITY_MAX_S;
}

static void compute_port(struct computation *c, const struct service_port *from,
                         const struct ip_addr *cluster_ip, bool exposed)
{
    const struct service *s = c->entry->service;
    bool named = from->name && *from->name;
    char claim_text[CLAIM_MAX];
    struct plan_port port = {.family = cluster_ip->family,
                             .protocol = plan_protocol(from->protocol),
                             .port = (uint16_t)from->port,
                             .cluster_ip = *cluster_ip,
                             .internal_local = str_eq(s->internal_policy, "Local"),
                             .external_local = str_eq(s->external_policy, "Local")};
    plan_claim_address(cluster_ip, port.protocol, port.port, claim_text);
    if (!wins(c, port.family, claim_text, "spec.clusterIP"))
        return;
    port.title = named ? str_printf("%s:%s", c->entry->key, from->name) : str_dup(c->entry->key);
    _cleanup_free_ char *hashed = str_printf("%s%s", port.title, plan_protocol_name(port.protocol));
    plan_hash(hashed, port.id);
    if (str_eq(s->affinity, "ClientIP"))
        port.affinity_seconds =
            good_timeout(s) ? (int)s->affinity_seconds.value : AFFINITY_DEFAULT_S;
    for (size_t i = 0; i < s->external_ips.count; i++)
        take_address(c, &port, "spec.externalIPs", s->external_ips.items[i], &port.external_ips,
                     &port.n_external_ips);
    for (size_t i = 0; exposed && i < s->ingress.count; i++)
        if (keeps_address(&s->ingress.items[i]))
            take_address(c, &port, "status.loadBalancer.ingress", s->ingress.items[i].ip,
                         &port.ingress_ips, &port.n_ingress_ips);
    take_ranges(s, &port);
    if (from->node_port) {
        char node_text[CLAIM_MAX];
        plan_claim_node_port(port.protocol, (int)from->node_port, node_text);
        if (wins(c, port.family, node_text, "spec.ports.nodePort"))
            port.node_port = (uint16_t)from->node_port;
    }
    plan_endpoints(c->plan, c->entry, named ? from->name : "", &port, &c->ready);
    c->result->ports[c->result->n_ports++] = port;
}

/* What is wrong with single fields: they are passed over, and it is said. */
static bool check_fields(struct plan_service *r, const struct service *s)
{
    struct ip_addr ip;
    struct ip_prefix range;
    bool exposed = true;
    for (size_t i = 0; i < s->external_ips.count; i++)
        if (ip_addr_parse(s->external_ips.items[i], &ip) < 0)
            plan_problem(r, "spec.externalIPs[%zu]: \"%s\" is not an address", i,
                         s->external_ips.items[i]);
    for (size_t i = 0; i < s->ingress.count; i++)
        if (keeps_address(&s->ingress.items[i]) && ip_addr_parse(s->ingress.items[i].ip, &ip) < 0)
            plan_problem(r, "status.loadBalancer.ingress[%zu].ip: \"%s\" is not an address", i,
                         s->ingress.items[i].ip);
    /* Letting nobody in is the safe reading of a range that cannot be read. */
    for (size_t i = 0; i < s->source_ranges.count; i++)
        if (ip_prefix_parse(s->source_ranges.items[i], &range) < 0) {
            plan_problem(r,
                         "spec.loadBalancerSourceRanges[%zu]: \"%s\" is not a range of addresses; "
                         "the load balancer's addresses are not served",
                         i, s->source_ranges.items[i]);
            exposed = false;
        }
    return exposed;
}

static void compute_family(struct computation *c, const char *text, const char *field, bool exposed)
{
    const struct plan *p = c->plan;
    const struct service *s = c->entry->service;
    struct ip_addr ip;
    if (ip_addr_parse(text, &ip) < 0) {
        plan_problem(c->result, "%s: \"%s\" is not an address", field, text);
        return;
    }
    if (ip.family == AF_INET ? !p->config.ipv4 : !p->config.ipv6) {
        plan_problem(c->result, "%s: %s: this node has no %s", field, text,
                     ip.family == AF_INET ? "IPv4" : "IPv6");
        return;
    }
    for (size_t i = 0; i < s->ports.count; i++)
        compute_port(c, &s->ports.items[i], &ip, exposed);
}

struct plan_service *plan_compute(const struct plan *p, const struct plan_entry *e)
{
    const struct service *s = e->service;
    struct plan_service *r = mem_zalloc(sizeof(*r));
    struct computation c = {
        .plan = p, .entry = e, .result = r, .used = MAP_INIT(NULL), .ready = MAP_INIT(NULL)};
    *r = (struct plan_service){.refs = 1, .key = str_dup(e->key), .uid = str_dup(s->uid)};
    size_t families = s->cluster_ips.count ? s->cluster_ips.count : 1;
    r->ports = mem_zalloc((families * s->ports.count + 1) * sizeof(*r->ports));
    bool exposed = check_fields(r, s);
    if (s->affinity_seconds.set && !good_timeout(s))
        plan_problem(r, "spec.sessionAffinityConfig.clientIP.timeoutSeconds: must be 1 to %d",
                     AFFINITY_MAX_S);
    for (size_t i = 0; i < s->cluster_ips.count; i++)
        compute_family(&c, s->cluster_ips.items[i], "spec.clusterIPs", exposed);
    if (!s->cluster_ips.count)
        compute_family(&c, s->cluster_ip, "spec.clusterIP", exposed);
    char claim_text[CLAIM_MAX];
    plan_claim_node_port(IPPROTO_TCP, (int)s->health_port, claim_text);
    if (s->health_port && str_eq(s->external_policy, "Local") &&
        wins(&c, 0, claim_text, "spec.healthCheckNodePort"))
        r->health_port = (uint16_t)s->health_port;
    r->n_local_ready = map_count(&c.ready);
    map_clear(&c.used);
    map_clear(&c.ready);
    return r;
}
