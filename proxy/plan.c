/*
 * The plan's input and its bookkeeping; see plan.h.
 *
 * Theory of operation. Every service has an entry with its decoded object and slices. A change of
 * an object marks its service dirty; a change of who owns an address or port (claims.h) marks the
 * others concerned. plan_refresh() computes dirty entries and compares with what it had. Nothing
 * here grows with the number of services but the maps.
 */
#include "proxy/plan.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "proxy/plan_internal.h"

#define LABEL_SERVICE  "kubernetes.io/service-name"
#define LABEL_PROXY    "service.kubernetes.io/service-proxy-name"
#define LABEL_HEADLESS "service.kubernetes.io/headless"
#define PORTS_MAX      4096   /* of one service: all of etcd's value limit would be some 20,000 */
#define ENDPOINTS_MAX  100000 /* of one slice; the API allows 1,000 */

static void service_free(struct service *s)
{
    if (s) {
        decode_done(&proxy_service_type, s);
        free(s);
    }
}

static void slice_free(void *p)
{
    decode_done(&proxy_slice_type, p);
    free(p);
}

static void entry_free(void *p)
{
    struct plan_entry *e = p;
    service_free(e->service);
    map_clear(&e->slices);
    (void)plan_service_unref(e->result);
    free(e->key);
    free(e);
}

struct plan *plan_new(const struct plan_config *config)
{
    struct plan *p = mem_zalloc(sizeof(*p));
    *p = (struct plan){.config = *config,
                       .node = str_dup(config->node),
                       .proxy_name = str_dup(config->proxy_name),
                       .entries = MAP_INIT(entry_free),
                       .slice_of = MAP_INIT(free),
                       .results = MAP_INIT(NULL),
                       .dirty = MAP_INIT(NULL),
                       .claims = claims_new()};
    return p;
}

struct plan *plan_free(struct plan *p)
{
    if (p) {
        map_clear(&p->results);
        map_clear(&p->entries);
        map_clear(&p->slice_of);
        map_clear(&p->dirty);
        (void)claims_free(p->claims);
        free(p->node);
        free(p->proxy_name);
        free(p->zone);
        free(p);
    }
    return NULL;
}

static struct plan_entry *entry_of(struct plan *p, const char *key)
{
    struct plan_entry *e = map_get(&p->entries, key);
    if (!e) {
        e = mem_zalloc(sizeof(*e));
        *e = (struct plan_entry){.key = str_dup(key), .slices = MAP_INIT(slice_free)};
        map_set(&p->entries, key, e);
    }
    return e;
}

/* ---- services ---- */

static bool good_port(int64_t port)
{
    return port >= 1 && port <= 65535;
}

static int check_service(const struct service *s, struct error *err)
{
    if (s->ports.count > PORTS_MAX)
        return error_set_field(err, -EINVAL, "spec.ports", "spec.ports: more than %d", PORTS_MAX);
    for (size_t i = 0; i < s->ports.count; i++) {
        const struct service_port *port = &s->ports.items[i];
        if (!good_port(port->port))
            return error_set_field(err, -EINVAL, "spec.ports", "spec.ports[%zu].port: not a port",
                                   i);
        if (port->node_port && !good_port(port->node_port))
            return error_set_field(err, -EINVAL, "spec.ports",
                                   "spec.ports[%zu].nodePort: not a port", i);
        if (!plan_protocol(port->protocol))
            return error_set_field(err, -EINVAL, "spec.ports",
                                   "spec.ports[%zu].protocol: \"%s\" is none of TCP, UDP, SCTP", i,
                                   port->protocol);
    }
    if (s->health_port && !good_port(s->health_port))
        return error_set_field(err, -EINVAL, "spec.healthCheckNodePort",
                               "spec.healthCheckNodePort: not a port");
    return 0;
}

static bool has_cluster_ip(const struct service *s)
{
    return (s->cluster_ip && *s->cluster_ip && !str_eq(s->cluster_ip, "None")) ||
           (s->cluster_ips.count && *s->cluster_ips.items[0] &&
            !str_eq(s->cluster_ips.items[0], "None"));
}

static bool is_ours(const struct plan *p, const struct service *s)
{
    return !str_eq(s->type, "ExternalName") && has_cluster_ip(s) &&
           !string_map_get(&s->labels, LABEL_HEADLESS) &&
           str_eq(string_map_get(&s->labels, LABEL_PROXY), p->proxy_name);
}

/* @s (taken; NULL: none) is the entry's service from now on. */
static void replace_service(struct plan *p, struct plan_entry *e, struct service *s)
{
    struct map claimed = MAP_INIT(NULL);
    if (s)
        plan_claims_of(s, &claimed);
    claims_set(p->claims, e->key, s ? s->created : 0, &claimed, &p->dirty);
    map_clear(&claimed);
    service_free(e->service);
    e->service = s;
    map_set(&p->dirty, e->key, NULL);
}

int plan_service_set(struct plan *p, const char *key, const json_t *service, struct error *err)
{
    struct service *s = mem_zalloc(sizeof(*s));
    int r = decode(&proxy_service_type, service, s, err);
    bool ours = r == 0 && is_ours(p, s);
    if (ours)
        r = check_service(s, err);
    if (!ours || r < 0) {
        service_free(s);
        plan_service_remove(p, key);
        return r;
    }
    replace_service(p, entry_of(p, key), s);
    return 0;
}

void plan_service_remove(struct plan *p, const char *key)
{
    struct plan_entry *e = map_get(&p->entries, key);
    if (e && e->service)
        replace_service(p, e, NULL);
}

/* ---- slices ---- */

/* "ns/name" of the service a slice belongs to; NULL when it names none. The caller frees. */
static char *service_of(const struct slice *s)
{
    const char *name = string_map_get(&s->labels, LABEL_SERVICE);
    return name && *name && s->ns ? str_printf("%s/%s", s->ns, name) : NULL;
}

/* What cannot be an endpoint is passed over when endpoints are chosen; here it is said. */
static int check_slice(const struct slice *s, struct error *err)
{
    int family = str_eq(s->address_type, "IPv4") ? AF_INET : AF_INET6;
    for (size_t i = 0; i < s->ports.count; i++)
        if (s->ports.items[i].port < 0 || s->ports.items[i].port > 65535 ||
            !plan_protocol(s->ports.items[i].protocol))
            return error_set_field(err, -EINVAL, "ports", "ports[%zu]: not a port", i);
    for (size_t i = 0; i < s->endpoints.count; i++) {
        const struct string_list *addresses = &s->endpoints.items[i].addresses;
        struct ip_addr ip;
        if (addresses->count && (ip_addr_parse(addresses->items[0], &ip) < 0 ||
                                 ip.family != family || !plan_endpoint_address_ok(&ip)))
            return error_set_field(err, -EINVAL, "endpoints",
                                   "endpoints[%zu].addresses[0]: \"%s\" is no %s address an "
                                   "endpoint can have",
                                   i, addresses->items[0], s->address_type);
    }
    return 0;
}

int plan_slice_set(struct plan *p, const char *key, const json_t *slice, struct error *err)
{
    struct slice *s = mem_zalloc(sizeof(*s));
    int r = decode(&proxy_slice_type, slice, s, err);
    if (r == 0 && s->endpoints.count > ENDPOINTS_MAX)
        r = error_set_field(err, -EINVAL, "endpoints", "endpoints: more than %d", ENDPOINTS_MAX);
    _cleanup_free_ char *service = r == 0 ? service_of(s) : NULL;
    bool addresses = str_eq(s->address_type, "IPv4") || str_eq(s->address_type, "IPv6");
    if (!service || !addresses || !str_eq(map_get(&p->slice_of, key), service))
        plan_slice_remove(p, key);
    if (!service || !addresses) { /* a slice of names, or of nobody */
        slice_free(s);
        return r;
    }
    r = check_slice(s, err);
    map_set(&entry_of(p, service)->slices, key, s);
    map_set(&p->dirty, service, NULL);
    map_set(&p->slice_of, key, TAKE_PTR(service));
    return r;
}

void plan_slice_remove(struct plan *p, const char *key)
{
    _cleanup_free_ char *service = map_take(&p->slice_of, key);
    struct plan_entry *e = service ? map_get(&p->entries, service) : NULL;
    if (!e)
        return;
    map_remove(&e->slices, key);
    map_set(&p->dirty, service, NULL);
}

void plan_set_zone(struct plan *p, const char *zone)
{
    const char *wanted = zone && *zone ? zone : NULL;
    if (str_eq(p->zone, wanted))
        return;
    free(p->zone);
    p->zone = str_dup(wanted);
    MAP_FOR_EACH(e, &p->entries) {
        map_set(&p->dirty, map_key(e), NULL);
    }
}

/* ---- the result ---- */

static void refresh(struct plan *p, const char *key, plan_changed_fn changed, void *arg)
{
    struct plan_entry *e = map_get(&p->entries, key);
    if (!e)
        return;
    struct plan_service *old = e->result;
    struct plan_service *now = e->service ? plan_compute(p, e) : NULL;
    if (old && now && plan_service_equal(old, now)) {
        (void)plan_service_unref(now);
        return;
    }
    e->result = now;
    if (now)
        map_set(&p->results, key, now);
    else
        map_remove(&p->results, key);
    if (old || now)
        changed(arg, old, now);
    (void)plan_service_unref(old);
    if (!now && !map_count(&e->slices))
        map_remove(&p->entries, key);
}

size_t plan_refresh(struct plan *p, plan_changed_fn changed, void *arg)
{
    struct map dirty = p->dirty;
    size_t n = map_count(&dirty);
    p->dirty = (struct map)MAP_INIT(NULL);
    MAP_FOR_EACH(e, &dirty) {
        refresh(p, map_key(e), changed, arg);
    }
    map_clear(&dirty);
    return n;
}

const struct plan_service *plan_get(const struct plan *p, const char *key)
{
    return map_get(&p->results, key);
}

const struct map *plan_services(const struct plan *p)
{
    return &p->results;
}
