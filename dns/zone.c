/* The cluster's names: what is kept; see zone.h. Answers are made in zone_lookup.c. */
#include "dns/zone.h"

#include <errno.h>
#include <string.h>

#include "base/times.h"
#include "dns/zone_internal.h"

bool zone_pods_parse(const char *text, enum zone_pods *ret)
{
    static const char *const names[] = {"disabled", "insecure", "verified"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eq(text, names[i])) {
            *ret = (enum zone_pods)i;
            return true;
        }
    return false;
}

bool service_is_headless(const struct dns_service *s)
{
    return str_eq(s->cluster_ip, "None");
}

bool endpoint_is_ready(const struct dns_service *s, const struct dns_endpoint *e)
{
    return !e->ready.set || e->ready.value || s->publish_not_ready;
}

const struct slice_refs *zone_slices_of(const struct zone *z, const struct dns_service *s)
{
    static const struct slice_refs none = {.count = 0};
    _cleanup_free_ char *key = str_printf("%s/%s", s->ns, s->name);
    const struct slice_refs *refs = map_get(&z->of_service, key);
    return refs ? refs : &none;
}

void labels_split(const char *name, const char *domain, struct labels *ret)
{
    size_t len = strlen(name) - strlen(domain);
    *ret = (struct labels){.count = 0};
    (void)snprintf(ret->text, sizeof(ret->text), "%.*s", (int)(len ? len - 1 : 0), name);
    while (*ret->text && ret->count <= LABELS_MAX) {
        char *dot = strrchr(ret->text, '.');
        const char *label = dot ? dot + 1 : ret->text;
        if (ret->count < LABELS_MAX)
            ret->items[ret->count] = label;
        ret->count++;
        if (!dot)
            break;
        *dot = '\0';
    }
}

static void touch(struct zone *z)
{
    z->serial = (uint32_t)time_now();
}

/* The form in which addresses are keys: there are many ways to write one of IPv6. */
static bool canonical(const char *text, char ret[IP_TEXT_MAX])
{
    struct ip_addr a;
    if (!text || ip_addr_parse(text, &a) < 0)
        return false;
    (void)ip_addr_format(&a, ret);
    return true;
}

/* ---- references ---- */

static void refs_free(void *p)
{
    struct slice_refs *refs = p;
    free(refs->items);
    free(refs);
}

static void refs_add(struct map *m, const char *key, struct dns_slice *slice)
{
    struct slice_refs *refs = map_get(m, key);
    if (!refs) {
        refs = mem_zalloc(sizeof(*refs));
        map_set(m, key, refs);
    }
    refs->items = mem_grow(refs->items, refs->count + 1, sizeof(*refs->items));
    refs->items[refs->count++] = slice;
}

static void refs_remove(struct map *m, const char *key, const struct dns_slice *slice)
{
    struct slice_refs *refs = map_get(m, key);
    for (size_t i = 0; refs && i < refs->count; i++)
        if (refs->items[i] == slice) {
            refs->items[i] = refs->items[--refs->count];
            break;
        }
    if (refs && !refs->count)
        (void)map_remove(m, key);
}

/* ---- services ---- */

static void service_free(void *p)
{
    decode_done(&dns_service_type, p);
    free(p);
}

/* What names are not made of is not kept: there may be ten thousand of each. */
static void drop(char **text)
{
    free(*text);
    *text = NULL;
}

static void drop_list(struct string_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->items[i]);
    free(l->items);
    *l = (struct string_list){.count = 0};
}

static void slim_port(struct dns_port *p)
{
    if (str_eq(p->protocol, "TCP"))
        drop(&p->protocol); /* as if none were given */
}

static void slim_service(struct dns_service *s)
{
    if (!str_eq(s->type, "ExternalName"))
        drop(&s->type);
    if (s->cluster_ips.count == 1 && str_eq(s->cluster_ips.items[0], s->cluster_ip))
        drop_list(&s->cluster_ips);
    for (size_t i = 0; i < s->ports.count; i++)
        slim_port(&s->ports.items[i]);
}

/* Calls back for each cluster IP; old servers have the singular field only. */
static void each_cluster_ip(struct zone *z, struct dns_service *s,
                            void (*cb)(struct zone *z, struct dns_service *s, const char *ip))
{
    char ip[IP_TEXT_MAX];
    for (size_t i = 0; i < s->cluster_ips.count; i++)
        if (canonical(s->cluster_ips.items[i], ip))
            cb(z, s, ip);
    if (!s->cluster_ips.count && canonical(s->cluster_ip, ip))
        cb(z, s, ip);
}

static void index_ip(struct zone *z, struct dns_service *s, const char *ip)
{
    map_set(&z->cluster_ips, ip, s);
}

static void unindex_ip(struct zone *z, struct dns_service *s, const char *ip)
{
    /* The address may have gone to another service already. */
    if (map_get(&z->cluster_ips, ip) == s)
        (void)map_remove(&z->cluster_ips, ip);
}

void zone_service_remove(struct zone *z, const char *key)
{
    struct dns_service *s = map_get(&z->services, key);
    if (!s)
        return;
    each_cluster_ip(z, s, unindex_ip);
    (void)map_remove(&z->services, key);
    touch(z);
}

int zone_service_set(struct zone *z, const char *key, const json_t *service, struct error *err)
{
    struct dns_service *s = mem_zalloc(sizeof(*s));
    int r = decode(&dns_service_type, service, s, err);
    zone_service_remove(z, key);
    if (r == 0 && (!s->ns || !s->name))
        r = error_set_field(err, -EINVAL, "metadata.name", "metadata.name: missing");
    if (r < 0) {
        service_free(s);
        return r;
    }
    slim_service(s);
    map_set(&z->services, key, s);
    each_cluster_ip(z, s, index_ip);
    touch(z);
    return 0;
}

/* ---- slices ---- */

static void slice_free(void *p)
{
    decode_done(&dns_slice_type, p);
    free(p);
}

static char *service_key(const struct dns_slice *slice)
{
    return str_printf("%s/%s", slice->ns, slice->service);
}

static void slim_slice(struct dns_slice *slice)
{
    drop(&slice->name);
    drop(&slice->address_type);
    for (size_t i = 0; i < slice->ports.count; i++)
        slim_port(&slice->ports.items[i]);
}

void zone_slice_remove(struct zone *z, const char *key)
{
    struct dns_slice *slice = map_get(&z->slices, key);
    if (!slice)
        return;
    _cleanup_free_ char *owner = service_key(slice);
    refs_remove(&z->of_service, owner, slice);
    (void)map_remove(&z->slices, key);
    touch(z);
}

int zone_slice_set(struct zone *z, const char *key, const json_t *json, struct error *err)
{
    struct dns_slice *slice = mem_zalloc(sizeof(*slice));
    int r = decode(&dns_slice_type, json, slice, err);
    zone_slice_remove(z, key);
    if (r == 0 && !slice->ns)
        r = error_set_field(err, -EINVAL, "metadata.namespace", "metadata.namespace: missing");
    if (r < 0 || !slice->service || str_eq(slice->address_type, "FQDN")) {
        slice_free(slice);
        return r;
    }
    _cleanup_free_ char *owner = service_key(slice);
    map_set(&z->slices, key, slice);
    refs_add(&z->of_service, owner, slice);
    slim_slice(slice);
    touch(z);
    return 0;
}

/* ---- pods and namespaces ---- */

static void pod_free(void *p)
{
    decode_done(&dns_pod_type, p);
    free(p);
}

static char *pod_ip_key(const struct dns_pod *pod, size_t i)
{
    char ip[IP_TEXT_MAX];
    return canonical(pod->ips.items[i].ip, ip) ? str_printf("%s/%s", pod->ns, ip) : NULL;
}

/* Pods on the host's network share its address: what is kept is how many have it. */
static void count_pod_ips(struct zone *z, const struct dns_pod *pod, intptr_t change)
{
    for (size_t i = 0; i < pod->ips.count; i++) {
        _cleanup_free_ char *ip = pod_ip_key(pod, i);
        intptr_t n = ip ? (intptr_t)map_get(&z->pod_ips, ip) + change : 0;
        if (ip && n > 0)
            map_set(&z->pod_ips, ip, (void *)n);
        else if (ip)
            (void)map_remove(&z->pod_ips, ip);
    }
}

void zone_pod_remove(struct zone *z, const char *key)
{
    const struct dns_pod *pod = map_get(&z->pod_keys, key);
    if (!pod)
        return;
    count_pod_ips(z, pod, -1);
    (void)map_remove(&z->pod_keys, key);
    touch(z);
}

int zone_pod_set(struct zone *z, const char *key, const json_t *json, struct error *err)
{
    struct dns_pod *pod = mem_zalloc(sizeof(*pod));
    int r = decode(&dns_pod_type, json, pod, err);
    zone_pod_remove(z, key);
    if (r == 0 && !pod->ns)
        r = error_set_field(err, -EINVAL, "metadata.namespace", "metadata.namespace: missing");
    if (r < 0) {
        pod_free(pod);
        return r;
    }
    map_set(&z->pod_keys, key, pod);
    count_pod_ips(z, pod, 1);
    touch(z);
    return 0;
}

void zone_namespace_set(struct zone *z, const char *name)
{
    if (!map_has(&z->namespaces, name)) {
        map_set(&z->namespaces, name, z);
        touch(z);
    }
}

void zone_namespace_remove(struct zone *z, const char *name)
{
    if (map_remove(&z->namespaces, name))
        touch(z);
}

/* ---- life ---- */

void zone_synced(struct zone *z)
{
    z->synced = true;
    touch(z);
}

bool zone_is_synced(const struct zone *z)
{
    return z->synced;
}

const char *zone_domain(const struct zone *z)
{
    return z->domain;
}

/* The domain in the form of name_text(). */
static int normal_domain(const char *domain, char text[NAME_TEXT_MAX], struct error *err)
{
    ldns_rdf *name = *domain ? ldns_dname_new_frm_str(domain) : NULL;
    bool good = name && name_text(name, text) && *text;
    if (name)
        ldns_rdf_deep_free(name);
    return good ? 0 : error_set(err, -EINVAL, "\"%s\" is not a domain", domain);
}

int zone_new(struct zone **ret, const struct zone_config *config, struct error *err)
{
    char domain[NAME_TEXT_MAX];
    int r = normal_domain(config->domain, domain, err);
    if (r < 0)
        return r;
    struct zone *z = mem_zalloc(sizeof(*z));
    *z = (struct zone){
        .domain = str_dup(domain),
        .pods = config->pods,
        .ttl = config->ttl,
        .servers = config->n_servers
                       ? mem_dup(config->servers, config->n_servers * sizeof(*config->servers))
                       : NULL,
        .n_servers = config->n_servers,
        .services = MAP_INIT(service_free),
        .slices = MAP_INIT(slice_free),
        .of_service = MAP_INIT(refs_free),
        .pod_keys = MAP_INIT(pod_free),
    };
    *ret = z;
    return 0;
}

struct zone *zone_free(struct zone *z)
{
    if (z) {
        map_clear(&z->of_service);
        map_clear(&z->cluster_ips);
        map_clear(&z->pod_ips);
        map_clear(&z->services);
        map_clear(&z->slices);
        map_clear(&z->pod_keys);
        map_clear(&z->namespaces);
        free(z->servers);
        free(z->domain);
        free(z);
    }
    return NULL;
}
