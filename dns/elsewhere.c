/* Names that are not the cluster's; see elsewhere.h. */
#include "dns/elsewhere.h"

#include "base/log.h"
#include "base/strbuf.h"

struct elsewhere {
    struct loop *loop;
    struct elsewhere_config config;
    struct forwarder *rest; /* the host's resolvers; NULL: not wanted */
    struct custom custom;
    struct forwarder *zones[CUSTOM_ZONES_MAX]; /* as custom.zones */
};

static bool is_own(const struct elsewhere *e, const struct ip_addr *a)
{
    for (size_t i = 0; i < e->config.n_own; i++)
        if (ip_addr_equal(&e->config.own[i], a))
            return true;
    return false;
}

/* A list that names this server would have it ask itself. */
static void set_others(const struct elsewhere *e, struct forwarder *f, const char *where,
                       const struct ip_addr *servers, size_t n)
{
    struct ip_addr others[UPSTREAM_SERVERS_MAX];
    char text[IP_TEXT_MAX];
    size_t n_others = 0;
    for (size_t i = 0; i < n && n_others < ARRAY_SIZE(others); i++) {
        if (!is_own(e, &servers[i]))
            others[n_others++] = servers[i];
        else
            log_warn("this server is named among those to ask, passed over", "in", where, "address",
                     ip_addr_format(&servers[i], text), NULL);
    }
    if (!n_others)
        log_warn("no server to ask", "in", where, NULL);
    forwarder_set_servers(f, others, n_others);
}

void elsewhere_set_servers(struct elsewhere *e, const struct ip_addr *servers, size_t n)
{
    if (!e->rest)
        e->rest = forwarder_new(e->loop);
    set_others(e, e->rest, "resolv.conf", servers, n);
}

static void drop_zones(struct elsewhere *e)
{
    for (size_t i = 0; i < e->custom.n_zones; i++)
        e->zones[i] = forwarder_free(e->zones[i]);
}

void elsewhere_set_config(struct elsewhere *e, const json_t *config_map,
                          custom_complain_fn complain, void *arg)
{
    drop_zones(e);
    custom_done(&e->custom);
    custom_read(config_map, &e->custom, complain, arg);
    for (size_t i = 0; i < e->custom.n_zones; i++) {
        const struct custom_zone *z = &e->custom.zones[i];
        e->zones[i] = forwarder_new(e->loop);
        set_others(e, e->zones[i], z->name, z->servers, z->n_servers);
    }
}

static bool knows_address(const struct elsewhere *e, const char *name, ldns_rr_type type,
                          ldns_rr_list *answer)
{
    struct ip_addr ip;
    char text[IP_TEXT_MAX];
    const char *target =
        name_reverse(name, &ip) ? map_get(&e->custom.addresses, ip_addr_format(&ip, text)) : NULL;
    if (target && type == LDNS_RR_TYPE_PTR)
        record_push(answer, record_name(name, e->config.ttl, LDNS_RR_TYPE_PTR, target));
    return target;
}

bool elsewhere_knows(const struct elsewhere *e, const char *name, ldns_rr_type type,
                     ldns_rr_list *answer)
{
    const struct custom_host *h = e ? map_get(&e->custom.hosts, name) : NULL;
    if (!h)
        return e && knows_address(e, name, type, answer);
    for (size_t i = 0; i < h->count; i++)
        if (type == (h->ips[i].family == AF_INET6 ? LDNS_RR_TYPE_AAAA : LDNS_RR_TYPE_A))
            record_push(answer, record_address(name, e->config.ttl, &h->ips[i]));
    return true;
}

struct forwarder *elsewhere_forwarder(const struct elsewhere *e, const char *name)
{
    const struct custom_zone *z = e ? custom_zone_of(&e->custom, name) : NULL;
    if (z)
        return e->zones[z - e->custom.zones];
    return e ? e->rest : NULL;
}

const char *elsewhere_domain(const struct elsewhere *e, const char *name)
{
    const struct custom_zone *z = e ? custom_zone_of(&e->custom, name) : NULL;
    return z ? z->name : NULL;
}

bool elsewhere_is_loop(const struct elsewhere *e, const uint8_t *data, size_t len)
{
    bool loop = e->rest && forwarder_is_loop(e->rest, data, len);
    for (size_t i = 0; i < e->custom.n_zones && !loop; i++)
        loop = forwarder_is_loop(e->zones[i], data, len);
    return loop;
}

bool elsewhere_forwards(const struct elsewhere *e)
{
    return e && (e->rest || e->custom.n_zones);
}

static void add_stats(const struct forwarder *f, struct forwarder_stats *sum)
{
    struct forwarder_stats s = {.entries = 0};
    if (f)
        forwarder_stats(f, &s);
    sum->entries += s.entries;
    sum->hits += s.hits;
    sum->misses += s.misses;
}

void elsewhere_stats(const struct elsewhere *e, struct forwarder_stats *ret)
{
    *ret = (struct forwarder_stats){.entries = 0};
    add_stats(e->rest, ret);
    for (size_t i = 0; i < e->custom.n_zones; i++)
        add_stats(e->zones[i], ret);
}

struct elsewhere *elsewhere_new(struct loop *loop, const struct elsewhere_config *config)
{
    struct elsewhere *e = mem_zalloc(sizeof(*e));
    *e = (struct elsewhere){.loop = loop, .config = *config};
    return e;
}

struct elsewhere *elsewhere_free(struct elsewhere *e)
{
    if (e) {
        drop_zones(e);
        custom_done(&e->custom);
        (void)forwarder_free(e->rest);
        free(e);
    }
    return NULL;
}
