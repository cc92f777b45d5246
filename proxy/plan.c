/*
 * Services and endpoint slices → ports with their endpoints; see plan.h.
 *
 * The input objects are kept decoded; a service is computed again when it or one of its slices has
 * changed and somebody asks. Which endpoints are usable: ready ones; when there is none, those
 * that still serve while they terminate.
 */
#include "proxy/plan.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/strbuf.h"
#include "proxy/objects.h"

#define LABEL_SERVICE      "kubernetes.io/service-name"
#define LABEL_PROXY        "service.kubernetes.io/service-proxy-name"
#define AFFINITY_DEFAULT_S 10800

struct plan {
    char *node;
    struct map services; /* key → struct service (decoded) */
    struct map slices;   /* key → struct slice (decoded) */
    struct map wanted;   /* key → struct plan_service */
    struct map dirty;    /* services to compute again; told by plan_take_dirty() */
};

/* ---- freeing ---- */

static void service_free(void *p)
{
    decode_done(&proxy_service_type, p);
    free(p);
}

static void slice_free(void *p)
{
    decode_done(&proxy_slice_type, p);
    free(p);
}

static void port_done(struct plan_port *port)
{
    for (size_t i = 0; i < port->n_external_ips; i++)
        free(port->external_ips[i]);
    for (size_t i = 0; i < port->n_endpoints; i++)
        free(port->endpoints[i].ip);
    free(port->external_ips);
    free(port->endpoints);
    free(port->title);
    free(port->id);
    free(port->protocol);
    free(port->cluster_ip);
}

static void plan_service_free(void *p)
{
    struct plan_service *s = p;
    for (size_t i = 0; i < s->n_ports; i++)
        port_done(&s->ports[i]);
    free(s->ports);
    free(s->key);
    free(s);
}

struct plan *plan_new(const char *node)
{
    struct plan *p = mem_zalloc(sizeof(*p));
    *p = (struct plan){.node = str_dup(node),
                       .services = MAP_INIT(service_free),
                       .slices = MAP_INIT(slice_free),
                       .wanted = MAP_INIT(plan_service_free),
                       .dirty = MAP_INIT(NULL)};
    return p;
}

struct plan *plan_free(struct plan *p)
{
    if (p) {
        map_clear(&p->services);
        map_clear(&p->slices);
        map_clear(&p->wanted);
        map_clear(&p->dirty);
        free(p->node);
        free(p);
    }
    return NULL;
}

/* ---- input ---- */

static bool is_ipv4(const char *text)
{
    struct in_addr a;
    return text && inet_pton(AF_INET, text, &a) == 1;
}

static bool good_port(int64_t port)
{
    return port >= 1 && port <= 65535;
}

static int check_service(const struct service *s, struct error *err)
{
    bool has_ip = s->cluster_ip && *s->cluster_ip && !str_eq(s->cluster_ip, "None");
    if (has_ip && !is_ipv4(s->cluster_ip))
        return error_set_field(err, -EINVAL, "spec.clusterIP",
                               "spec.clusterIP: \"%s\" is not an IPv4 address; other families are "
                               "not served yet",
                               s->cluster_ip);
    for (size_t i = 0; i < s->ports.count; i++) {
        const struct service_port *port = &s->ports.items[i];
        if (!good_port(port->port) || (port->node_port && !good_port(port->node_port)))
            return error_set_field(err, -EINVAL, "spec.ports", "spec.ports[%zu]: not a port", i);
    }
    return 0;
}

int plan_service_set(struct plan *p, const char *key, const json_t *service, struct error *err)
{
    struct service *s = mem_zalloc(sizeof(*s));
    map_set(&p->dirty, key, NULL);
    int r = decode(&proxy_service_type, service, s, err);
    if (r == 0)
        r = check_service(s, err);
    bool ours = r == 0 && !str_eq(s->type, "ExternalName") && s->cluster_ip && *s->cluster_ip &&
                !str_eq(s->cluster_ip, "None") && !string_map_get(&s->labels, LABEL_PROXY);
    if (!ours) {
        service_free(s);
        map_remove(&p->services, key);
        return r;
    }
    map_set(&p->services, key, s);
    return 0;
}

void plan_service_remove(struct plan *p, const char *key)
{
    if (map_remove(&p->services, key))
        map_set(&p->dirty, key, NULL);
}

/* "ns/name" of the service a slice belongs to; NULL when it names none. The caller frees. */
static char *service_of(const struct slice *s)
{
    const char *name = string_map_get(&s->labels, LABEL_SERVICE);
    return name && s->ns ? str_printf("%s/%s", s->ns, name) : NULL;
}

static void mark_service_of(struct plan *p, const char *slice_key)
{
    const struct slice *old = map_get(&p->slices, slice_key);
    _cleanup_free_ char *key = old ? service_of(old) : NULL;
    if (key)
        map_set(&p->dirty, key, NULL);
}

static int check_slice(const struct slice *s, struct error *err)
{
    for (size_t i = 0; i < s->endpoints.count; i++)
        for (size_t k = 0; k < s->endpoints.items[i].addresses.count; k++)
            if (!is_ipv4(s->endpoints.items[i].addresses.items[k]))
                return error_set_field(err, -EINVAL, "endpoints",
                                       "endpoints[%zu].addresses[%zu]: \"%s\" is not an IPv4 "
                                       "address",
                                       i, k, s->endpoints.items[i].addresses.items[k]);
    return 0;
}

int plan_slice_set(struct plan *p, const char *key, const json_t *slice, struct error *err)
{
    struct slice *s = mem_zalloc(sizeof(*s));
    mark_service_of(p, key);
    int r = decode(&proxy_slice_type, slice, s, err);
    bool ipv4 = r == 0 && str_eq(s->address_type, "IPv4");
    if (ipv4)
        r = check_slice(s, err);
    if (r < 0 || !ipv4) {
        slice_free(s);
        map_remove(&p->slices, key);
        return r;
    }
    map_set(&p->slices, key, s);
    mark_service_of(p, key);
    return 0;
}

void plan_slice_remove(struct plan *p, const char *key)
{
    mark_service_of(p, key);
    map_remove(&p->slices, key);
}

/* ---- computing ---- */

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

static int slice_port(const struct slice *s, const struct service_port *port)
{
    for (size_t i = 0; i < s->ports.count; i++) {
        const struct slice_port *sp = &s->ports.items[i];
        if (str_eq(sp->name ? sp->name : "", port->name ? port->name : "") &&
            str_eq(sp->protocol ? sp->protocol : "TCP", port->protocol ? port->protocol : "TCP"))
            return (int)sp->port;
    }
    return 0;
}

static int by_address(const void *a, const void *b)
{
    const struct plan_endpoint *x = a, *y = b;
    int c = strcmp(x->ip, y->ip);
    return c ? c : x->port - y->port;
}

static void add_endpoint(struct plan_port *port, const char *ip, int number, bool local)
{
    for (size_t i = 0; i < port->n_endpoints;
         i++) /* slices may overlap while one replaces another */
        if (port->endpoints[i].port == number && str_eq(port->endpoints[i].ip, ip))
            return;
    port->endpoints = mem_grow(port->endpoints, port->n_endpoints + 1, sizeof(*port->endpoints));
    port->endpoints[port->n_endpoints++] =
        (struct plan_endpoint){.ip = str_dup(ip), .port = number, .local = local};
}

/* Adds what is usable: ready endpoints, or (with @terminating) those that serve until they end. */
static void gather(const struct plan *p, const char *key, const struct service_port *from,
                   struct plan_port *port, bool terminating)
{
    MAP_FOR_EACH(e, &p->slices) {
        const struct slice *s = map_value(e);
        const char *name = string_map_get(&s->labels, LABEL_SERVICE);
        size_t ns_len = s->ns ? strlen(s->ns) : 0;
        if (!name || !ns_len || strncmp(key, s->ns, ns_len) != 0 || key[ns_len] != '/' ||
            !str_eq(key + ns_len + 1, name))
            continue;
        int number = slice_port(s, from);
        if (!good_port(number))
            continue;
        for (size_t i = 0; i < s->endpoints.count; i++) {
            const struct endpoint *ep = &s->endpoints.items[i];
            bool ready = !ep->ready.set || ep->ready.value;
            bool serving = ep->serving.set ? ep->serving.value : ready;
            if (terminating ? !(serving && ep->terminating.value) : !ready)
                continue;
            if (ep->addresses.count)
                add_endpoint(port, ep->addresses.items[0], number, str_eq(ep->node_name, p->node));
        }
    }
}

static char *lower(const char *s)
{
    char *copy = str_dup(s);
    for (char *c = copy; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return copy;
}

static void add_external(struct plan_port *port, const char *ip)
{
    if (!is_ipv4(ip))
        return;
    port->external_ips =
        mem_grow(port->external_ips, port->n_external_ips + 1, sizeof(*port->external_ips));
    port->external_ips[port->n_external_ips++] = str_dup(ip);
}

static void compute_port(const struct plan *p, const char *key, const struct service *s,
                         const struct service_port *from, struct plan_port *port)
{
    char id[17];
    bool named = from->name && *from->name;
    *port = (struct plan_port){.title = named ? str_printf("%s:%s", key, from->name) : str_dup(key),
                               .protocol = lower(from->protocol ? from->protocol : "TCP"),
                               .cluster_ip = str_dup(s->cluster_ip),
                               .port = (int)from->port,
                               .node_port = (int)from->node_port,
                               .internal_local = str_eq(s->internal_policy, "Local"),
                               .external_local = str_eq(s->external_policy, "Local")};
    if (str_eq(s->affinity, "ClientIP"))
        port->affinity_seconds =
            s->affinity_seconds.set ? (int)s->affinity_seconds.value : AFFINITY_DEFAULT_S;
    _cleanup_free_ char *hashed = str_printf("%s%s", port->title, port->protocol);
    plan_hash(hashed, id);
    port->id = str_dup(id);
    for (size_t i = 0; i < s->external_ips.count; i++)
        add_external(port, s->external_ips.items[i]);
    for (size_t i = 0; i < s->ingress.count; i++)
        if (s->ingress.items[i].ip)
            add_external(port, s->ingress.items[i].ip);
    gather(p, key, from, port, false);
    if (!port->n_endpoints)
        gather(p, key, from, port, true);
    if (port->n_endpoints)
        qsort(port->endpoints, port->n_endpoints, sizeof(*port->endpoints), by_address);
}

static void compute(struct plan *p, const char *key)
{
    const struct service *s = map_get(&p->services, key);
    if (!s) {
        map_remove(&p->wanted, key);
        return;
    }
    struct plan_service *w = mem_zalloc(sizeof(*w));
    w->key = str_dup(key);
    w->ports = mem_zalloc((s->ports.count + 1) * sizeof(*w->ports));
    for (size_t i = 0; i < s->ports.count; i++)
        compute_port(p, key, s, &s->ports.items[i], &w->ports[w->n_ports++]);
    map_set(&p->wanted, key, w);
}

void plan_take_dirty(struct plan *p, struct map *ret_keys)
{
    *ret_keys = p->dirty;
    p->dirty = (struct map)MAP_INIT(NULL);
    MAP_FOR_EACH(e, ret_keys) {
        compute(p, map_key(e));
    }
}

const struct plan_service *plan_get(struct plan *p, const char *key)
{
    return map_get(&p->wanted, key);
}

const struct map *plan_services(struct plan *p)
{
    return &p->wanted;
}
