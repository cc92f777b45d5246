/*
 * Makes the ranges agree with the Services, at the start of the server: after an upgrade from a
 * server that kept them otherwise, or after somebody edited the store.
 *
 * The watch cache shows every Service up to its revision R. A range entry last written at or before
 * R that no Service holds is held by nobody, since a Service and its entries are written together;
 * it is removed at just that revision. Entries newer than R are left alone: their Services are not
 * in the cache yet.
 */
#include <errno.h>
#include <string.h>

#include "apiserver/service.h"
#include "apiserver/service_internal.h"
#include "apiserver/store/watch_cache.h"
#include "base/json.h"
#include "base/log.h"
#include "kube/meta.h"

struct repair {
    struct apiserver *srv;
    int64_t revision;          /* R */
    struct map held;           /* key of an IPAddress → the Service's tree */
    struct number_range ports; /* as the Services hold them */
    struct map fixes;          /* key of an IPAddress → struct fix */
    struct plan plan;
    struct store_request *call;
    service_repair_fn *done;
    void *arg;
};

struct fix {
    int64_t revision; /* remove the entry at this revision; 0: make one */
};

static void free_tree(void *p)
{
    json_decref(p);
}

struct repair *service_repair_cancel(struct repair *p)
{
    if (p) {
        store_cancel(p->call);
        map_clear(&p->held);
        map_clear(&p->fixes);
        number_range_done(&p->ports);
        plan_done(&p->plan);
        free(p);
    }
    return NULL;
}

static void finish(struct repair *p, int code, const struct error *err)
{
    p->call = NULL;
    p->done(p->arg, code, err);
    (void)service_repair_cancel(p);
}

static void gather(struct repair *p, const struct route *route)
{
    struct encoded_list services = {.items = NULL};
    watch_cache_snapshot(p->srv->cache, route, route->prefix, &services);
    for (size_t i = 0; i < services.count; i++) {
        json_t *svc = encoded_tree(services.items[i], NULL);
        uint32_t ip;
        size_t n;
        json_t *port;
        if (service_has_node_ports(svc)) {
            json_array_foreach(json_path(svc, "spec.ports"), n, port) {
                int64_t number = json_path_int(port, "nodePort", 0);
                if (number > 0)
                    number_range_set(&p->ports, (uint32_t)number, true);
            }
        }
        if (service_cluster_ip(svc, &ip)) {
            char text[IP_TEXT_MAX];
            _cleanup_free_ char *key = str_printf(SERVICE_IP_PREFIX "%s", ip_format(ip, text));
            map_set(&p->held, key, json_incref(svc));
        }
        json_decref(svc);
    }
    encoded_list_done(&services);
}

static void next_fix(struct repair *p);

static void on_fixed(void *arg, int code, const struct store_txn_result *result,
                     const struct error *err)
{
    struct repair *p = arg;
    p->call = NULL;
    if (code < 0) {
        finish(p, code, err);
        return;
    }
    if (code == 0)
        service_committed(p->srv, &p->plan, result->revision);
    next_fix(p);
}

static void next_fix(struct repair *p)
{
    const struct map_entry *e = map_first(&p->fixes);
    if (!e) {
        finish(p, 0, NULL);
        return;
    }
    plan_reset(&p->plan);
    _cleanup_free_ char *key = str_dup(map_key(e));
    const struct fix *fix = map_value(e);
    log_info("range of cluster IPs repaired", "key", key, "action",
             fix->revision ? "released" : "taken", NULL);
    if (fix->revision) {
        plan_guard(&p->plan, key, STORE_AT_REVISION, fix->revision);
        plan_delete(&p->plan, key);
    } else {
        service_plan_ip(&p->plan, key, map_get(&p->held, key));
    }
    (void)map_remove(&p->fixes, key);
    p->call = plan_submit(&p->plan, p->srv->store, on_fixed, p);
}

static void on_ports_written(void *arg, int code, const struct store_txn_result *result,
                             const struct error *err)
{
    struct repair *p = arg;
    if (code == 0)
        log_info("range of node ports repaired", NULL);
    if (code > 0) { /* somebody writes it right now: what is there will be learned when needed */
        plan_learn(&p->plan, result);
        service_conflicted(p->srv, &p->plan);
    }
    on_fixed(p, code < 0 ? code : 0, result, err);
}

static void on_ports(void *arg, int code, const struct store_range_result *result,
                     const struct error *err)
{
    struct repair *p = arg;
    struct allocations *a = p->srv->allocations;
    p->call = NULL;
    if (code < 0) {
        finish(p, code, err);
        return;
    }
    if (result && result->n)
        service_learn_ports(a, result->kvs[0].value, result->kvs[0].len,
                            result->kvs[0].mod_revision);
    bool same = !memcmp(a->ports.used, p->ports.used, a->ports.size / 8 + 1);
    if (same || a->ports_revision > p->revision) {
        next_fix(p);
        return;
    }
    plan_reset(&p->plan);
    service_plan_ports(a, &p->ports, &p->plan);
    p->call = plan_submit(&p->plan, p->srv->store, on_ports_written, p);
}

static void on_ips(void *arg, int code, const struct store_range_result *result,
                   const struct error *err)
{
    struct repair *p = arg;
    if (code) {
        finish(p, code < 0 ? code : -EAGAIN, err);
        return;
    }
    for (size_t i = 0; i < result->n; i++) {
        const struct store_kv *kv = &result->kvs[i];
        uint32_t ip;
        (void)map_remove(&p->fixes, kv->key);
        if (ip_parse(kv->key + strlen(SERVICE_IP_PREFIX), &ip) == 0)
            number_range_set(&p->srv->allocations->ips, ip, true);
        if (map_has(&p->held, kv->key) || kv->mod_revision > p->revision)
            continue;
        struct fix *fix = mem_zalloc(sizeof(*fix));
        fix->revision = kv->mod_revision;
        map_set(&p->fixes, kv->key, fix);
    }
    if (result->more)
        return;
    const struct store_range range = {.key = SERVICE_PORTS_KEY};
    p->call = store_range(p->srv->store, &range, on_ports, p);
}

struct repair *service_repair(struct apiserver *srv, service_repair_fn *done, void *arg)
{
    struct repair *p = mem_zalloc(sizeof(*p));
    struct allocations *a = srv->allocations;
    p->srv = srv;
    p->done = done;
    p->arg = arg;
    p->held = (struct map)MAP_INIT(free_tree);
    p->fixes = (struct map)MAP_INIT(free);
    plan_init(&p->plan);
    number_range_init(&p->ports, a->ports.base, a->ports.size);
    p->revision = watch_cache_revision(srv->cache);
    const struct route *services = routes_find(srv->routes, "", "v1", "services");
    if (services)
        gather(p, services);
    MAP_FOR_EACH(e, &p->held) {
        map_set(&p->fixes, map_key(e), mem_zalloc(sizeof(struct fix)));
    }
    const struct store_range range = {.key = SERVICE_IP_PREFIX, .prefix = true, .keys_only = true};
    p->call = store_list(srv->store, &range, STORE_PAGE, on_ips, p);
    return p;
}
