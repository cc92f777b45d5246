/* An informer over all Services; see services.h. */
#include "kubelet/config/services.h"

#include "base/map.h"
#include "base/strbuf.h"
#include "kube/informer.h"

struct service_cache {
    struct informer *informer;
    struct map services;
    bool synced;
    void (*cb)(void *arg);
    void *arg;
};
static const struct decode_field port_fields[] = {
    DECODE_FIELD(struct service_port, name, "name", DECODE_STRING),
    DECODE_FIELD(struct service_port, protocol, "protocol", DECODE_STRING),
    DECODE_FIELD(struct service_port, port, "port", DECODE_INT), DECODE_END};
static const struct decode_type port_type = {"ServicePort", sizeof(struct service_port),
                                             port_fields};
static const struct decode_field spec_fields[] = {
    DECODE_FIELD(struct service, cluster_ip, "clusterIP", DECODE_STRING),
    DECODE_SUB(struct service, ports, "ports", DECODE_ARRAY, &port_type), DECODE_END};
static const struct decode_type spec_type = {"ServiceSpec", sizeof(struct service), spec_fields};

static void service_free(void *value)
{
    struct service *s = value;
    decode_done(&spec_type, &(struct service){.cluster_ip = s->cluster_ip,
                                              .ports = {s->ports.items, s->ports.count}});
    free(s->ns);
    free(s->name);
    free(s);
}

static void on_upsert(void *arg, const char *key, const json_t *object)
{
    struct service_cache *c = arg;
    struct service *s = mem_zalloc(sizeof(*s));
    if (decode(&spec_type, json_object_get(object, "spec"), s, NULL) < 0 || !s->cluster_ip ||
        !*s->cluster_ip || str_eq(s->cluster_ip, "None")) {
        service_free(s);
        (void)map_remove(&c->services, key);
        return;
    }
    s->ns = str_dup(json_path_string(object, "metadata.namespace"));
    s->name = str_dup(json_path_string(object, "metadata.name"));
    map_set(&c->services, key, s);
}

static void on_remove(void *arg, const char *key, const json_t *object)
{
    (void)object;
    struct service_cache *c = arg;
    (void)map_remove(&c->services, key);
}

static void on_synced(void *arg)
{
    struct service_cache *c = arg;
    c->synced = true;
    if (c->cb)
        c->cb(c->arg);
}

static const struct informer_ops service_ops = {
    .upsert = on_upsert, .remove = on_remove, .synced = on_synced};

struct service_cache *service_cache_new(struct kube_client *api, void (*synced)(void *arg),
                                        void *arg)
{
    struct service_cache *c = mem_zalloc(sizeof(*c));
    c->services = (struct map)MAP_INIT(service_free);
    c->cb = synced;
    c->arg = arg;
    c->synced = !api;
    struct informer_config config = {
        .api = "v1", .plural = "services", .ops = &service_ops, .arg = c};
    if (api)
        c->informer = informer_new(api, &config);
    return c;
}

struct service_cache *service_cache_free(struct service_cache *c)
{
    if (c) {
        informer_free(c->informer);
        map_clear(&c->services);
    }
    free(c);
    return NULL;
}

bool service_cache_synced(const struct service_cache *c)
{
    return c->synced;
}

void service_cache_each(const struct service_cache *c,
                        void (*fn)(const struct service *s, void *arg), void *arg)
{
    MAP_FOR_EACH(e, &c->services)
        fn(map_value(e), arg);
}
