/* The cluster's names: what is answered; see zone.h. */
#include <string.h>

#include "base/strbuf.h"
#include "dns/zone_internal.h"

#define SCHEMA_VERSION "1.1.0"
#define SCHEMA_TTL     28800
#define WEIGHTS        100 /* shared by the SRV records of one name */

/* One question under way. */
struct lookup {
    struct zone *z;
    const char *name;
    ldns_rr_type type;
    struct zone_answer *a;
};

static bool wants_family(ldns_rr_type type, int family)
{
    return type == (family == AF_INET6 ? LDNS_RR_TYPE_AAAA : LDNS_RR_TYPE_A);
}

static void push(ldns_rr_list *list, ldns_rr *rr)
{
    if (ldns_rr_list_rr_count(list) < ZONE_ANSWER_MAX)
        record_push(list, rr);
    else if (rr)
        ldns_rr_free(rr);
}

/* ---- addresses ---- */

struct ips {
    struct ip_addr *items;
    size_t count;
};

static void ips_add(struct ips *l, const char *text)
{
    struct ip_addr a;
    if (!text || l->count == ZONE_ANSWER_MAX || ip_addr_parse(text, &a) < 0)
        return;
    l->items = mem_grow(l->items, l->count + 1, sizeof(*l->items));
    l->items[l->count++] = a;
}

static void ips_done(struct ips *l)
{
    free(l->items);
}

static int by_address(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct ip_addr));
}

/* Writes those of the wanted family, each once (an endpoint may be in two slices for a moment). */
static void push_ips(const struct lookup *q, struct ips *l)
{
    size_t n = 0;
    if (l->count)
        qsort(l->items, l->count, sizeof(*l->items), by_address);
    for (size_t i = 0; i < l->count; i++)
        if (wants_family(q->type, l->items[i].family) &&
            (!n || !ip_addr_equal(&l->items[n - 1], &l->items[i])))
            l->items[n++] = l->items[i];
    size_t start = n > 1 ? q->z->turn++ : 0;
    for (size_t i = 0; i < n; i++)
        push(q->a->answer, record_address(q->name, q->z->ttl, &l->items[(start + i) % n]));
}

static void cluster_ips(const struct dns_service *s, struct ips *ret)
{
    for (size_t i = 0; i < s->cluster_ips.count; i++)
        ips_add(ret, s->cluster_ips.items[i]);
    if (!s->cluster_ips.count)
        ips_add(ret, s->cluster_ip);
}

/* ---- endpoints ---- */

/* The label that stands for an endpoint's address. */
static char *endpoint_label(const struct dns_endpoint *e, const char *ip)
{
    char *label = str_dup(e->hostname && *e->hostname ? e->hostname : ip);
    for (char *c = label; *c; c++)
        if (*c == '.' || *c == ':')
            *c = '-';
    return label;
}

/* Calls back for each address of each ready endpoint. */
typedef void (*endpoint_fn)(void *arg, const struct dns_slice *slice, const struct dns_endpoint *e,
                            const char *ip);
static void each_endpoint(const struct zone *z, const struct dns_service *s, endpoint_fn cb,
                          void *arg)
{
    const struct slice_refs *refs = zone_slices_of(z, s);
    for (size_t i = 0; i < refs->count; i++)
        for (size_t k = 0; k < refs->items[i]->endpoints.count; k++) {
            const struct dns_endpoint *e = &refs->items[i]->endpoints.items[k];
            for (size_t n = 0; endpoint_is_ready(s, e) && n < e->addresses.count; n++)
                cb(arg, refs->items[i], e, e->addresses.items[n]);
        }
}

static void add_endpoint(void *arg, _unused_ const struct dns_slice *slice,
                         _unused_ const struct dns_endpoint *e, const char *ip)
{
    ips_add(arg, ip);
}

struct named {
    const char *label;
    struct ips found;
};

static void add_named(void *arg, _unused_ const struct dns_slice *slice,
                      const struct dns_endpoint *e, const char *ip)
{
    struct named *n = arg;
    _cleanup_free_ char *label = endpoint_label(e, ip);
    if (!strcasecmp(label, n->label))
        ips_add(&n->found, ip);
}

static enum zone_verdict answer_endpoint(const struct lookup *q, const struct dns_service *s,
                                         const char *label)
{
    struct named n = {.label = label};
    each_endpoint(q->z, s, add_named, &n);
    bool there = n.found.count > 0;
    push_ips(q, &n.found);
    ips_done(&n.found);
    return there ? ZONE_NAME : ZONE_NO_NAME;
}

/* ---- SRV ---- */

struct target {
    uint16_t port;
    struct ip_addr ip;
    char name[]; /* of the host */
};
struct srv {
    const struct lookup *q;
    const char *port, *protocol; /* NULL: every one */
    bool any_name;               /* of the protocol: is there a named port of it? */
    struct map targets;          /* "port host address" → struct target */
    bool matched;
};

static bool port_matches(const struct srv *v, const struct dns_port *p)
{
    const char *protocol = p->protocol ? p->protocol : "TCP";
    if (v->protocol && strcasecmp(v->protocol, protocol) != 0)
        return false;
    if (v->any_name)
        return p->name && *p->name;
    return !v->port || (p->name && !strcasecmp(v->port, p->name));
}

static void add_target(struct srv *v, const char *host, const char *ip, const struct dns_port *p)
{
    struct ip_addr a;
    v->matched = true;
    if (p->port <= 0 || p->port > 65535 || map_count(&v->targets) >= ZONE_ANSWER_MAX ||
        ip_addr_parse(ip, &a) < 0)
        return;
    struct target *t = mem_zalloc(sizeof(*t) + strlen(host) + 1);
    t->port = (uint16_t)p->port;
    t->ip = a;
    memcpy(t->name, host, strlen(host));
    _cleanup_free_ char *key = str_printf("%u %s %s", t->port, host, ip);
    map_set(&v->targets, key, t);
}

static void add_srv_endpoint(void *arg, const struct dns_slice *slice, const struct dns_endpoint *e,
                             const char *ip)
{
    struct srv *v = arg;
    _cleanup_free_ char *label = endpoint_label(e, ip);
    _cleanup_free_ char *host =
        str_printf("%s.%s.%s.svc.%s", label, slice->service, slice->ns, v->q->z->domain);
    for (size_t i = 0; i < slice->ports.count; i++)
        if (port_matches(v, &slice->ports.items[i]))
            add_target(v, host, ip, &slice->ports.items[i]);
}

static void add_srv_cluster_ips(struct srv *v, const struct dns_service *s)
{
    _cleanup_free_ char *host = str_printf("%s.%s.svc.%s", s->name, s->ns, v->q->z->domain);
    char text[IP_TEXT_MAX];
    struct ips l = {.count = 0};
    cluster_ips(s, &l);
    for (size_t i = 0; i < s->ports.count; i++)
        for (size_t k = 0; k < l.count && port_matches(v, &s->ports.items[i]); k++)
            add_target(v, host, ip_addr_format(&l.items[k], text), &s->ports.items[i]);
    ips_done(&l);
}

/* Hosts have a record per port, and an additional one per address. */
static void push_targets(const struct srv *v)
{
    const struct lookup *q = v->q;
    struct map hosts = {.free_value = NULL}, addresses = {.free_value = NULL};
    MAP_FOR_EACH(e, &v->targets) {
        struct target *t = map_value(e);
        char text[IP_TEXT_MAX];
        _cleanup_free_ char *host = str_printf("%u %s", t->port, t->name);
        _cleanup_free_ char *address = str_printf("%s %s", t->name, ip_addr_format(&t->ip, text));
        map_set(&hosts, host, t);
        map_set(&addresses, address, t);
    }
    size_t n = map_count(&hosts);
    MAP_FOR_EACH(e, &hosts) {
        const struct target *t = map_value(e);
        const struct record_srv srv = {.weight = (uint16_t)(n < WEIGHTS ? WEIGHTS / n : 1),
                                       .port = t->port,
                                       .target = t->name};
        push(q->a->answer, record_srv(q->name, q->z->ttl, &srv));
    }
    MAP_FOR_EACH(e, &addresses) {
        const struct target *t = map_value(e);
        push(q->a->additional, record_address(t->name, q->z->ttl, &t->ip));
    }
    map_clear(&hosts);
    map_clear(&addresses);
}

/* Whether a port matches; its records are written when SRV was asked for. */
static bool answer_srv(struct srv *v, const struct dns_service *s)
{
    v->targets = (struct map)MAP_INIT(free);
    if (service_is_headless(s))
        each_endpoint(v->q->z, s, add_srv_endpoint, v);
    else
        add_srv_cluster_ips(v, s);
    if (v->q->type == LDNS_RR_TYPE_SRV && !v->any_name)
        push_targets(v);
    map_clear(&v->targets);
    return v->matched;
}

static enum zone_verdict answer_port(const struct lookup *q, const struct dns_service *s,
                                     const char *port, const char *protocol)
{
    struct srv v = {.q = q, .port = port, .protocol = protocol, .any_name = !port};
    return answer_srv(&v, s) ? ZONE_NAME : ZONE_NO_NAME;
}

/* ---- services and pods ---- */

static enum zone_verdict answer_external(const struct lookup *q, const struct dns_service *s)
{
    struct ip_addr a;
    char target[NAME_TEXT_MAX];
    ldns_rdf *name =
        s->external_name && *s->external_name && ip_addr_parse(s->external_name, &a) < 0
            ? ldns_dname_new_frm_str(s->external_name)
            : NULL;
    bool good = name && name_text(name, target) && *target;
    if (name)
        ldns_rdf_deep_free(name);
    if (!good)
        return ZONE_NO_NAME; /* an address is no name for one */
    push(q->a->answer, record_name(q->name, q->z->ttl, LDNS_RR_TYPE_CNAME, target));
    if (q->type != LDNS_RR_TYPE_CNAME)
        q->a->cname = str_dup(target);
    return ZONE_NAME;
}

static enum zone_verdict answer_service_name(const struct lookup *q, const struct dns_service *s)
{
    struct ips l = {.count = 0};
    bool headless = service_is_headless(s);
    if (headless)
        each_endpoint(q->z, s, add_endpoint, &l);
    else
        cluster_ips(s, &l);
    bool there = !headless || l.count > 0;
    push_ips(q, &l);
    ips_done(&l);
    if (q->type == LDNS_RR_TYPE_SRV) {
        struct srv v = {.q = q};
        (void)answer_srv(&v, s);
    }
    return there ? ZONE_NAME : ZONE_NO_NAME;
}

static enum zone_verdict answer_service(const struct lookup *q, const struct labels *l)
{
    _cleanup_free_ char *key = str_printf("%s/%s", l->items[1], l->items[2]);
    const struct dns_service *s = map_get(&q->z->services, key);
    if (!s)
        return ZONE_NO_NAME;
    if (str_eq(s->type, "ExternalName"))
        return l->count == 3 ? answer_external(q, s) : ZONE_NO_NAME;
    if (l->count == 3)
        return answer_service_name(q, s);
    if (l->count == 4 && *l->items[3] != '_')
        return answer_endpoint(q, s, l->items[3]);
    if (*l->items[3] != '_' || (l->count == 5 && *l->items[4] != '_'))
        return ZONE_NO_NAME;
    return answer_port(q, s, l->count == 5 ? l->items[4] + 1 : NULL, l->items[3] + 1);
}

static enum zone_verdict answer_pod(const struct lookup *q, const struct labels *l)
{
    char text[IP_TEXT_MAX];
    struct ip_addr a = {.family = 0};
    if (q->z->pods == ZONE_PODS_DISABLED || l->count != 3 || strlen(l->items[2]) >= sizeof(text))
        return ZONE_NO_NAME;
    (void)snprintf(text, sizeof(text), "%s", l->items[2]);
    for (int family = 0; family < 2; family++) {
        for (size_t i = 0; text[i]; i++)
            if (l->items[2][i] == '-')
                text[i] = family ? ':' : '.';
        if (ip_addr_parse(text, &a) == 0)
            break;
    }
    if (!a.family)
        return ZONE_NO_NAME;
    _cleanup_free_ char *key = str_printf("%s/%s", l->items[1], ip_addr_format(&a, text));
    if (q->z->pods == ZONE_PODS_VERIFIED && !map_has(&q->z->pod_ips, key))
        return ZONE_NO_NAME;
    if (wants_family(q->type, a.family))
        push(q->a->answer, record_address(q->name, q->z->ttl, &a));
    return ZONE_NAME;
}

/* ---- the rest of the domain ---- */

static ldns_rr *soa(const struct zone *z, const char *owner)
{
    _cleanup_free_ char *server = str_printf("ns.dns.%s", z->domain);
    _cleanup_free_ char *mailbox = str_printf("hostmaster.%s", z->domain);
    return record_soa(owner, z->ttl, server, mailbox, z->serial);
}

static enum zone_verdict answer_apex(const struct lookup *q)
{
    const struct zone *z = q->z;
    _cleanup_free_ char *server = str_printf("ns.dns.%s", z->domain);
    if (q->type == LDNS_RR_TYPE_SOA)
        push(q->a->answer, soa(z, z->domain));
    if (q->type != LDNS_RR_TYPE_NS)
        return ZONE_NAME;
    push(q->a->answer, record_name(q->name, z->ttl, LDNS_RR_TYPE_NS, server));
    for (size_t i = 0; i < z->n_servers; i++)
        push(q->a->additional, record_address(server, z->ttl, &z->servers[i]));
    return ZONE_NAME;
}

static enum zone_verdict answer_server(const struct lookup *q, const struct labels *l)
{
    if (l->count > 2 || (l->count == 2 && !str_eq(l->items[1], "ns")))
        return ZONE_NO_NAME;
    for (size_t i = 0; l->count == 2 && i < q->z->n_servers; i++)
        if (wants_family(q->type, q->z->servers[i].family))
            push(q->a->answer, record_address(q->name, q->z->ttl, &q->z->servers[i]));
    return ZONE_NAME;
}

static enum zone_verdict answer_inside(const struct lookup *q)
{
    struct labels l;
    labels_split(q->name, q->z->domain, &l);
    if (!l.count)
        return answer_apex(q);
    if (l.count > LABELS_MAX)
        return ZONE_NO_NAME;
    if (str_eq(l.items[0], "dns"))
        return answer_server(q, &l);
    if (str_eq(l.items[0], "dns-version") && l.count == 1) {
        if (q->type == LDNS_RR_TYPE_TXT)
            push(q->a->answer, record_txt(q->name, SCHEMA_TTL, SCHEMA_VERSION));
        return ZONE_NAME;
    }
    bool svc = str_eq(l.items[0], "svc");
    if (!svc && (!str_eq(l.items[0], "pod") || q->z->pods == ZONE_PODS_DISABLED))
        return ZONE_NO_NAME;
    if (l.count == 1)
        return ZONE_NAME;
    if (!map_has(&q->z->namespaces, l.items[1]))
        return ZONE_NO_NAME;
    if (l.count == 2)
        return ZONE_NAME;
    return svc ? answer_service(q, &l) : answer_pod(q, &l);
}

/* ---- reverse ---- */

bool address_is(const char *text, const struct ip_addr *ip)
{
    struct ip_addr a;
    return (strchr(text, ':') ? AF_INET6 : AF_INET) == ip->family && ip_addr_parse(text, &a) == 0 &&
           ip_addr_equal(&a, ip);
}

/* Names of the endpoints of one slice that have this address. */
static size_t push_endpoint_names(const struct lookup *q, const struct dns_slice *slice,
                                  const struct ip_addr *ip)
{
    const struct zone *z = q->z;
    _cleanup_free_ char *key = str_printf("%s/%s", slice->ns, slice->service);
    const struct dns_service *s = map_get(&z->services, key);
    size_t found = 0;
    for (size_t i = 0; s && i < slice->endpoints.count; i++) {
        const struct dns_endpoint *e = &slice->endpoints.items[i];
        for (size_t k = 0; endpoint_is_ready(s, e) && k < e->addresses.count; k++) {
            if (!address_is(e->addresses.items[k], ip))
                continue;
            _cleanup_free_ char *label = endpoint_label(e, e->addresses.items[k]);
            _cleanup_free_ char *host =
                str_printf("%s.%s.%s.svc.%s", label, s->name, s->ns, z->domain);
            found++;
            if (q->type == LDNS_RR_TYPE_PTR)
                push(q->a->answer, record_name(q->name, z->ttl, LDNS_RR_TYPE_PTR, host));
        }
    }
    return found;
}

/* An address that nobody here has is for others to name: the pod network is not all of 10/8. */
static enum zone_verdict answer_reverse(const struct lookup *q, const struct ip_addr *ip)
{
    const struct zone *z = q->z;
    char text[IP_TEXT_MAX];
    (void)ip_addr_format(ip, text);
    const struct dns_service *s = map_get(&z->cluster_ips, text);
    size_t found = s ? 1 : 0;
    if (s && q->type == LDNS_RR_TYPE_PTR) {
        _cleanup_free_ char *host = str_printf("%s.%s.svc.%s", s->name, s->ns, z->domain);
        push(q->a->answer, record_name(q->name, z->ttl, LDNS_RR_TYPE_PTR, host));
    }
    /* Seldom asked: looked for among all, so that no index of them has to be kept. */
    for (struct map_entry *e = s ? NULL : map_first(&z->slices); e; e = map_next(e))
        found += push_endpoint_names(q, map_value(e), ip);
    return found ? ZONE_NAME : ZONE_OUTSIDE;
}

/* ---- */

enum zone_verdict zone_lookup(struct zone *z, const char *name, ldns_rr_type type,
                              struct zone_answer *a)
{
    struct ip_addr ip;
    bool inside = name_is_under(name, z->domain), reverse = !inside && name_reverse(name, &ip);
    const struct lookup q = {.z = z, .name = name, .type = type, .a = a};
    *a = (struct zone_answer){.answer = ldns_rr_list_new(),
                              .additional = ldns_rr_list_new(),
                              .authority = ldns_rr_list_new()};
    if (!inside && !reverse)
        return ZONE_OUTSIDE;
    if (!z->synced)
        return ZONE_UNKNOWN;
    enum zone_verdict v = inside ? answer_inside(&q) : answer_reverse(&q, &ip);
    if (v != ZONE_OUTSIDE && !ldns_rr_list_rr_count(a->answer))
        record_push(a->authority, soa(z, inside ? z->domain : name));
    return v;
}

void zone_answer_done(struct zone_answer *a)
{
    ldns_rr_list_deep_free(a->answer);
    ldns_rr_list_deep_free(a->additional);
    ldns_rr_list_deep_free(a->authority);
    free(a->cname);
    *a = (struct zone_answer){.answer = NULL};
}
