/*
 * From objects to a programmed kernel; see proxy.h. Objects go into the plan at once; the plan is
 * computed on the next turn of the loop, so that a burst of changes is one; every service that
 * differs goes to the proxier of each address family.
 */
#include "proxy/proxy.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "proxy/flows.h"
#include "proxy/health.h"
#include "proxy/modes.h"
#include "proxy/objects.h"
#include "proxy/sysctls.h"

#define LABEL_ZONE         "topology.kubernetes.io/zone"
#define ANNOTATION_TRIGGER "endpoints.kubernetes.io/last-change-trigger-time"
#define TAINT_DELETED      "ToBeDeletedByClusterAutoscaler"

enum { IPV4, IPV6, FAMILIES };
static const int families[FAMILIES] = {AF_INET, AF_INET6};

struct proxy {
    struct loop *loop;
    struct config *config;
    struct proxy_env env;
    const struct backend_ops *ops;
    struct plan *plan;
    struct loop_deferred refresh;
    struct address_monitor *addresses;
    struct proxier *proxiers[FAMILIES]; /* the first n_proxiers */
    size_t n_proxiers;
    struct proxy_metrics metrics;
    struct health *health;
    struct flows *flows;
    struct map triggers; /* service key → int64_t *, when its slices began to change */
    struct map problems; /* service key → what was said of it */
    size_t service_pending, endpoint_pending;
    bool started, dirty, alone;
};

/* ---- complaints ---- */

static void complain(struct proxy *p, const char *kind, const char *api, const char *key,
                     const char *uid, const char *text)
{
    const char *slash = strchr(key, '/');
    _cleanup_free_ char *ns = slash ? str_ndup(key, (size_t)(slash - key)) : NULL;
    const struct event_object about = {
        .api_version = api, .kind = kind, .ns = ns, .name = slash ? slash + 1 : key, .uid = uid};
    log_warn("object is not served as it is", "kind", kind, "object", key, "error", text, NULL);
    if (p->env.recorder)
        event_record(p->env.recorder, &about, "Warning", "FailedToProgram", "%s", text);
}

/* Once for each thing that is wrong. */
static void tell_problems(struct proxy *p, const char *key, const struct plan_service *s)
{
    struct strbuf text = STRBUF_INIT;
    for (size_t i = 0; s && i < s->n_problems; i++)
        strbuf_addf(&text, "%s%s", i ? "; " : "", s->problems[i]);
    if (!text.len)
        map_remove(&p->problems, key);
    else if (!str_eq(map_get(&p->problems, key), text.data)) {
        complain(p, "Service", "v1", key, s->uid, text.data);
        map_set(&p->problems, key, str_dup(text.data));
    }
    strbuf_done(&text);
}

static void on_check_failed(void *arg, const char *key, int port, const char *error)
{
    struct proxy *p = arg;
    const struct plan_service *s = plan_get(p->plan, key);
    const char *slash = strchr(key, '/');
    _cleanup_free_ char *ns = slash ? str_ndup(key, (size_t)(slash - key)) : NULL;
    const struct event_object about = {.api_version = "v1",
                                       .kind = "Service",
                                       .ns = ns,
                                       .name = slash ? slash + 1 : key,
                                       .uid = s ? s->uid : NULL};
    log_warn("health check port cannot be served", "service", key, "error", error, NULL);
    if (p->env.recorder)
        event_record(p->env.recorder, &about, "Warning", "FailedToStartServiceHealthcheck",
                     "node %s failed to start healthcheck \"%s\" on port %d: %s", p->env.node, key,
                     port, error);
}

/* ---- input ---- */

static void on_changed(void *arg, const struct plan_service *old, const struct plan_service *now)
{
    struct proxy *p = arg;
    const char *key = now ? now->key : old->key;
    const int64_t *trigger = map_get(&p->triggers, key);
    for (size_t i = 0; i < p->n_proxiers; i++)
        proxier_change(p->proxiers[i], key, trigger ? *trigger : 0);
    health_set_service(p->health, key, now ? now->health_port : 0, now ? now->n_local_ready : 0);
    tell_problems(p, key, now);
}

static void on_refresh(void *arg)
{
    struct proxy *p = arg;
    if (!p->started)
        return;
    p->dirty = false;
    (void)plan_refresh(p->plan, on_changed, p);
    map_clear(&p->triggers);
}

static void changed(struct proxy *p, struct metric *total, struct metric *pending, size_t *n)
{
    metric_add(total, NULL, 1);
    metric_set(pending, NULL, (double)++*n);
    p->dirty = true;
    loop_defer(&p->refresh);
}

void proxy_service(struct proxy *p, const char *key, const json_t *object)
{
    struct error err = ERROR_INIT;
    if (!object)
        plan_service_remove(p->plan, key);
    else if (plan_service_set(p->plan, key, object, &err) < 0)
        complain(p, "Service", "v1", key, json_path_string(object, "metadata.uid"), err.text);
    changed(p, p->metrics.service_changes, p->metrics.service_pending, &p->service_pending);
}

/* When the endpoints of this slice began to change, as its controller says. */
static void note_trigger(struct proxy *p, const json_t *slice)
{
    const json_t *metadata = json_object_get(slice, "metadata");
    const char *text = json_string_value(
        json_object_get(json_object_get(metadata, "annotations"), ANNOTATION_TRIGGER));
    const char *name = json_string_value(
        json_object_get(json_object_get(metadata, "labels"), "kubernetes.io/service-name"));
    const char *ns = json_path_string(metadata, "namespace");
    int64_t at;
    if (!p->started || !text || !name || !ns || time_parse(text, &at) < 0)
        return;
    _cleanup_free_ char *key = str_printf("%s/%s", ns, name);
    const int64_t *known = map_get(&p->triggers, key);
    if (!known || at < *known)
        map_set(&p->triggers, key, mem_dup(&at, sizeof(at)));
}

void proxy_slice(struct proxy *p, const char *key, const json_t *object)
{
    struct error err = ERROR_INIT;
    if (!object) {
        plan_slice_remove(p->plan, key);
    } else {
        note_trigger(p, object);
        if (plan_slice_set(p->plan, key, object, &err) < 0)
            complain(p, "EndpointSlice", p->env.slice_api, key,
                     json_path_string(object, "metadata.uid"), err.text);
    }
    changed(p, p->metrics.endpoint_changes, p->metrics.endpoint_pending, &p->endpoint_pending);
}

/* ---- the node ---- */

static bool is_eligible(const struct node *n)
{
    for (size_t i = 0; i < n->taints.count; i++)
        if (str_eq(n->taints.items[i].key, TAINT_DELETED))
            return false;
    return !n->deleted;
}

/* Internal addresses go before external ones. */
static void take_addresses(const struct proxy *p, const struct node *n,
                           struct ip_addr ips[FAMILIES])
{
    static const char *const types[] = {"ExternalIP", "InternalIP"};
    struct ip_addr ip;
    for (size_t t = 0; t < ARRAY_SIZE(types); t++)
        for (size_t i = n->addresses.count; i-- > 0;)
            if (str_eq(n->addresses.items[i].type, types[t]) && n->addresses.items[i].address &&
                ip_addr_parse(n->addresses.items[i].address, &ip) == 0)
                ips[ip.family == AF_INET ? IPV4 : IPV6] = ip;
    if (p->config->bind_ip.family)
        ips[p->config->bind_ip.family == AF_INET ? IPV4 : IPV6] = p->config->bind_ip;
}

static void take_cidr(const char *text, struct local_traffic local[FAMILIES])
{
    struct ip_prefix cidr;
    if (!text || ip_prefix_parse(text, &cidr) < 0)
        return;
    struct local_traffic *l = &local[cidr.addr.family == AF_INET ? IPV4 : IPV6];
    if (l->kind == LOCAL_NONE)
        *l = (struct local_traffic){.kind = LOCAL_CIDR, .cidr = ip_prefix_network(&cidr)};
}

void proxy_node(struct proxy *p, const json_t *object)
{
    struct error err = ERROR_INIT;
    struct node n = {.deleted = NULL};
    struct ip_addr ips[FAMILIES] = {{.family = 0}}, primary[FAMILIES];
    struct local_traffic local[FAMILIES] = {{.kind = LOCAL_NONE}};
    size_t n_primary = 0;
    if (object && decode(&proxy_node_type, object, &n, &err) < 0) {
        log_warn("the Node object cannot be read", "error", err.text, NULL);
        return;
    }
    health_set_node(p->health, object && is_eligible(&n));
    plan_set_zone(p->plan, string_map_get(&n.labels, LABEL_ZONE));
    p->dirty = true;
    loop_defer(&p->refresh);
    take_addresses(p, &n, ips);
    for (size_t i = 0; i < n.pod_cidrs.count; i++)
        take_cidr(n.pod_cidrs.items[i], local);
    take_cidr(n.pod_cidr, local);
    for (size_t i = 0; i < p->n_proxiers; i++) {
        int f = proxier_family(p->proxiers[i]) == AF_INET ? IPV4 : IPV6;
        proxier_set_node(p->proxiers[i], &ips[f], p->config->local_from_node ? &local[f] : NULL);
    }
    for (int f = 0; f < FAMILIES; f++)
        if (ips[f].family)
            primary[n_primary++] = ips[f];
    address_monitor_set_primary(p->addresses, primary, n_primary);
    decode_done(&proxy_node_type, &n);
}

static void on_addresses(void *arg)
{
    struct proxy *p = arg;
    for (size_t i = 0; i < p->n_proxiers; i++)
        proxier_addresses_changed(p->proxiers[i]);
    health_addresses_changed(p->health);
}

/* ---- output ---- */

static struct backend_config backend_config(const struct proxy *p, int f)
{
    const struct config *c = p->config;
    return (struct backend_config){
        .family = families[f],
        .local = c->local[f],
        .mark = c->mark,
        .masquerade_all = c->masquerade_all,
        .drop_invalid = !c->file.conntrack.tcp_be_liberal && !sysctls_tcp_be_liberal(),
        .localhost_node_ports = c->localhost_node_ports && families[f] == AF_INET,
        .addresses = p->addresses ? address_monitor_get(p->addresses) : NULL,
        .journal = p->env.journal,
        .variant = p->env.variant,
        .nft_table = config_table(c),
        .ipvs = {.scheduler = c->file.ipvs.scheduler && *c->file.ipvs.scheduler
                                  ? c->file.ipvs.scheduler
                                  : "rr",
                 .strict_arp = c->file.ipvs.strict_arp,
                 .tcp_timeout = c->ipvs_tcp_s,
                 .tcp_fin_timeout = c->ipvs_tcp_fin_s,
                 .udp_timeout = c->ipvs_udp_s,
                 .exclude = c->ipvs_exclude,
                 .n_exclude = c->n_ipvs_exclude}};
}

/* Once services are programmed, what a run in another mode left behind is not needed any more. This
 * waits for programs, once. */
static void remove_other_modes(struct proxy *p)
{
    struct error err = ERROR_INIT;
    const struct backend_config c = backend_config(p, IPV4);
    p->alone = true;
    if (mode_cleanup(&c, p->ops, &err) < 0)
        log_warn("what another mode left behind could not be removed", "error", error_text(&err),
                 NULL);
}

static void on_synced(void *arg, const char *error)
{
    struct proxy *p = arg;
    struct proxier_health h;
    bool waiting = false, all = true;
    for (size_t i = 0; i < p->n_proxiers; i++) {
        proxier_health(p->proxiers[i], &h);
        waiting = waiting || h.late_ms;
        all = all && h.updated;
    }
    if (all && !p->alone)
        remove_other_modes(p);
    if (!waiting) {
        p->service_pending = p->endpoint_pending = 0;
        metric_set(p->metrics.service_pending, NULL, 0);
        metric_set(p->metrics.endpoint_pending, NULL, 0);
    }
    if (p->env.synced)
        p->env.synced(p->env.arg, 0, error);
}

static void on_replaced(void *arg, int family, const struct plan_service *old,
                        const struct plan_service *now)
{
    struct proxy *p = arg;
    if (old || now)
        flows_replaced(p->flows, family, old, now);
    else
        flows_flush(p->flows);
}

void proxy_start(struct proxy *p)
{
    if (p->started)
        return;
    p->started = true;
    on_refresh(p);
    for (size_t i = 0; i < p->n_proxiers; i++)
        proxier_start(p->proxiers[i]);
}

bool proxy_is_settled(const struct proxy *p)
{
    bool settled = p->started && !p->dirty;
    for (size_t i = 0; i < p->n_proxiers; i++)
        settled = settled && proxier_is_settled(p->proxiers[i]);
    return settled;
}

json_t *proxy_describe(struct proxy *p, const char *key)
{
    const struct plan_service *s = plan_get(p->plan, key);
    json_t *j = plan_explain(p->plan, key), *state = json_array();
    for (size_t i = 0; i < p->n_proxiers; i++) {
        struct proxier_health h;
        proxier_health(p->proxiers[i], &h);
        json_t *family = json_pack(
            "{sssb}", "family", proxier_family(p->proxiers[i]) == AF_INET ? "IPv4" : "IPv6",
            "programmed", proxier_installed(p->proxiers[i], key) == s && !h.error);
        if (h.error)
            (void)json_object_set_new(family, "error", json_text(h.error));
        (void)json_array_append_new(state, family);
    }
    if (j) {
        (void)json_object_set_new(j, "node", json_text(p->env.node));
        (void)json_object_set_new(j, "mode", json_text(p->config->mode));
        (void)json_object_set(j, "families", state);
    }
    json_decref(state);
    return j;
}

static json_t *on_describe(void *arg, const char *key)
{
    return proxy_describe(arg, key);
}

/* ---- life ---- */

static int start_proxiers(struct proxy *p, bool ipv6, struct error *err)
{
    int r = 0;
    for (int f = 0; r == 0 && f < (ipv6 ? FAMILIES : 1); f++) {
        struct proxier_config config = {.ops = p->ops,
                                        .backend = backend_config(p, f),
                                        .plan = p->plan,
                                        .min_sync_ms = p->config->min_sync_ms,
                                        .check_ms = p->config->sync_ms,
                                        .metrics = &p->metrics,
                                        .synced = on_synced,
                                        .replaced = on_replaced,
                                        .arg = p};
        r = proxier_new(&p->proxiers[f], p->loop, &config, err);
        p->n_proxiers += r == 0;
    }
    return r;
}

static int start_addresses(struct proxy *p, struct error *err)
{
    const struct node_ports_config config = {.ranges = p->config->node_port_ranges,
                                             .n_ranges = p->config->n_node_port_ranges,
                                             .primary = p->config->node_ports_primary,
                                             .except = "kube-ipvs0"};
    return address_monitor_new(&p->addresses, p->loop, &config, on_addresses, p, err);
}

static int start_health(struct proxy *p, struct error *err)
{
    const struct health_config config = {.mode = p->config->mode,
                                         .healthz_host = p->config->healthz_host,
                                         .healthz_port = p->config->healthz_port,
                                         .metrics_host = p->config->metrics_host,
                                         .metrics_port = p->config->metrics_port,
                                         .hard_fail = p->config->file.hard_fail,
                                         .late_ms = 2 * p->config->sync_ms,
                                         .metrics = &p->metrics,
                                         .proxiers = p->proxiers,
                                         .n_proxiers = p->n_proxiers,
                                         .addresses = address_monitor_get(p->addresses),
                                         .describe = on_describe,
                                         .failed = on_check_failed,
                                         .arg = p};
    return health_new(&p->health, p->loop, &config, err);
}

int proxy_new(struct proxy **ret, struct loop *loop, struct config *config,
              const struct proxy_env *env, struct error *err)
{
    struct proxy *p = mem_zalloc(sizeof(*p));
    *p = (struct proxy){.loop = loop,
                        .config = config,
                        .env = *env,
                        .triggers = MAP_INIT(free),
                        .problems = MAP_INIT(free)};
    loop_deferred_init(&p->refresh, loop, on_refresh, p);
    const struct backend_config probe = backend_config(p, IPV4);
    bool ipv6 = false;
    int r = mode_choose(config, &probe, &ipv6, &p->ops, err);
    if (r == 0) {
        const struct plan_config plan = {
            .node = env->node, .ipv4 = true, .ipv6 = ipv6, .proxy_name = config->file.proxy_name};
        p->plan = plan_new(&plan);
        proxy_metrics_init(&p->metrics, config->mode);
        r = start_addresses(p, err);
    }
    if (r == 0)
        r = flows_new(&p->flows, address_monitor_get(p->addresses), p->metrics.conntrack, err);
    if (r == 0)
        r = start_proxiers(p, ipv6, err);
    if (r == 0)
        r = start_health(p, err);
    if (r < 0) {
        (void)proxy_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct proxy *proxy_free(struct proxy *p)
{
    if (!p)
        return NULL;
    (void)health_free(p->health);
    for (size_t i = 0; i < p->n_proxiers; i++)
        (void)proxier_free(p->proxiers[i]);
    (void)flows_free(p->flows);
    (void)address_monitor_free(p->addresses);
    loop_deferred_done(&p->refresh);
    (void)plan_free(p->plan);
    proxy_metrics_done(&p->metrics);
    map_clear(&p->triggers);
    map_clear(&p->problems);
    free(p);
    return NULL;
}
