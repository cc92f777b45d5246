/*
 * Scheduling of one back end; see proxier.h.
 *
 * Theory of operation. `installed` holds what the last successful run put into the kernel, by
 * reference; `pending` names services that may differ. A run hands the back end the pairs. After a
 * failure, or when somebody has meddled, what is in the kernel is not known: the next run
 * reconciles with the whole plan instead. Changes that come while a run is under way wait for the
 * next.
 */
#include "proxy/proxier.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"

#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 10000
#define DISTURBED_MS 100 /* who flushes one chain flushes others */
#define RESYNC_MS    3600000
#define BURST        2
#define MS_PER_S     1000.0
#define NS_PER_S     1e9

struct proxier {
    struct loop *loop;
    struct proxier_config c;
    void *backend;
    char labels[32]; /* ip_family="IPv4" */

    struct map installed; /* key → const struct plan_service, a reference */
    struct map pending;   /* key → int64_t *, when it began */
    bool known;           /* the kernel holds what is installed */
    bool started, busy, node_changed;

    /* The run under way. */
    bool reconciling, was_node;
    struct map target; /* of a reconciliation: all services, references */
    struct backend_change *changes;
    size_t n_changes, room;
    struct map taken; /* pending at its beginning */
    uint64_t began;

    struct loop_timer run, check, resync;
    uint64_t retry_ms, queued_at, last_at;
    double tokens;
    int64_t updated;
    char *error;
    long no_local_internal, no_local_external;
};

static void service_unref(void *p)
{
    (void)plan_service_unref(p);
}

static void *hold(const struct plan_service *s)
{
    return (void *)(uintptr_t)plan_service_ref(s);
}

/* ---- when to run ---- */

/* How long to wait before the next run, so that no more than two follow each other at once. */
static uint64_t pace(struct proxier *p)
{
    uint64_t now = now_ms();
    if (!p->c.min_sync_ms)
        return 0;
    p->tokens += (double)(now - p->last_at) / (double)p->c.min_sync_ms;
    p->tokens = p->tokens > BURST ? BURST : p->tokens;
    p->last_at = now;
    return p->tokens >= 1 ? 0 : (uint64_t)((1 - p->tokens) * (double)p->c.min_sync_ms) + 1;
}

static void schedule(struct proxier *p)
{
    if (!p->queued_at) {
        p->queued_at = now_ms();
        metric_set(p->c.metrics->last_queued, p->labels, (double)time_now());
    }
    if (p->started && !p->busy && !loop_timer_armed(&p->run))
        loop_timer_set(&p->run, pace(p));
}

void proxier_change(struct proxier *p, const char *key, int64_t trigger)
{
    int64_t *since = map_get(&p->pending, key);
    if (!since) {
        since = mem_zalloc(sizeof(*since));
        map_set(&p->pending, key, since);
    }
    if (trigger && (!*since || trigger < *since))
        *since = trigger;
    schedule(p);
}

void proxier_addresses_changed(struct proxier *p)
{
    p->node_changed = true;
    p->known = p->known && !p->c.ops->addresses_change_services;
    schedule(p);
}

static void look_again(struct proxier *p)
{
    p->known = false;
    schedule(p);
}

static bool local_equal(const struct local_traffic *a, const struct local_traffic *b)
{
    return a->kind == b->kind && ip_addr_equal(&a->cidr.addr, &b->cidr.addr) &&
           a->cidr.len == b->cidr.len && str_eq(a->interface, b->interface);
}

void proxier_set_node(struct proxier *p, const struct ip_addr *ip, const struct local_traffic *l)
{
    struct backend_config *b = &p->c.backend;
    bool same = ip_addr_equal(&b->node_ip, ip) && (!l || local_equal(&b->local, l));
    b->node_ip = *ip;
    if (l)
        b->local = *l;
    /* Rules of services that did not change depend on it: everything is compared. */
    if (!same && p->started)
        look_again(p);
}

static void on_disturbed(void *arg, const char *what)
{
    struct proxier *p = arg;
    if (p->known)
        log_info("somebody changed rules of this proxy, looking again", "what", what, "family",
                 p->c.backend.family == AF_INET ? "IPv4" : "IPv6", NULL);
    p->known = false;
    if (p->started && !p->busy)
        loop_timer_set(&p->run, DISTURBED_MS);
}

static void on_check(void *arg)
{
    struct proxier *p = arg;
    if (p->busy || p->c.ops->check(p->backend))
        loop_timer_set(&p->check, p->c.check_ms);
}

static void on_resync(void *arg)
{
    struct proxier *p = arg;
    loop_timer_set(&p->resync, RESYNC_MS);
    look_again(p);
}

/* ---- the end of a run ---- */

/* A service with the policy Local and endpoints, but none here. */
static void count_no_local(struct proxier *p, const struct plan_service *s, int sign)
{
    for (size_t i = 0; s && i < s->n_ports; i++) {
        const struct plan_port *port = &s->ports[i];
        if (port->family != p->c.backend.family || !port->has_endpoints || port->n_local)
            continue;
        p->no_local_internal += port->internal_local ? sign : 0;
        p->no_local_external += port->external_local && plan_port_is_external(port) ? sign : 0;
    }
}

static void replace(struct proxier *p, const char *key, const struct plan_service *now)
{
    const struct plan_service *old = map_get(&p->installed, key);
    if (old == now)
        return;
    count_no_local(p, old, -1);
    count_no_local(p, now, 1);
    p->c.replaced(p->c.arg, p->c.backend.family, old, now);
    if (now)
        map_set(&p->installed, key, hold(now));
    else
        map_remove(&p->installed, key);
}

static void note_reconciled(struct proxier *p)
{
    MAP_FOR_EACH(e, &p->installed) {
        if (!map_has(&p->target, map_key(e)))
            replace(p, map_key(e), NULL);
    }
    MAP_FOR_EACH(e, &p->target) {
        replace(p, map_key(e), map_value(e));
    }
}

static void note_applied(struct proxier *p)
{
    for (size_t i = 0; i < p->n_changes; i++) {
        const struct backend_change *c = &p->changes[i];
        replace(p, c->now ? c->now->key : c->old->key, c->now);
    }
}

static void observe_run(struct proxier *p)
{
    struct proxy_metrics *m = p->c.metrics;
    double seconds = (double)(now_ms() - p->began) / MS_PER_S;
    struct backend_stats s;
    metric_observe(m->sync, p->labels, seconds);
    metric_observe(p->reconciling ? m->sync_full : m->sync_partial, p->labels, seconds);
    if (!p->c.ops->stats)
        return;
    p->c.ops->stats(p->backend, &s);
    _cleanup_free_ char *nat = str_printf("table=\"nat\",%s", p->labels);
    _cleanup_free_ char *filter = str_printf("table=\"filter\",%s", p->labels);
    metric_set(m->rules_total, nat, (double)s.rules_nat);
    metric_set(m->rules_total, filter, (double)s.rules_filter);
    metric_set(m->rules_last, nat, (double)s.rules_nat_last);
    metric_set(m->rules_last, filter, (double)s.rules_filter_last);
}

static void observe_success(struct proxier *p)
{
    struct proxy_metrics *m = p->c.metrics;
    double now = (double)time_now_nano();
    MAP_FOR_EACH(e, &p->taken) {
        int64_t began = *(const int64_t *)map_value(e);
        if (began)
            metric_observe(m->programming, p->labels, (now - (double)began) / NS_PER_S);
    }
    metric_set(m->last_sync, p->labels, now / NS_PER_S);
    _cleanup_free_ char *internal = str_printf("traffic_policy=\"internal\",%s", p->labels);
    _cleanup_free_ char *external = str_printf("traffic_policy=\"external\",%s", p->labels);
    metric_set(m->no_local_endpoints, internal, (double)p->no_local_internal);
    metric_set(m->no_local_endpoints, external, (double)p->no_local_external);
}

static void forget_run(struct proxier *p)
{
    for (size_t i = 0; i < p->n_changes; i++) {
        (void)plan_service_unref(p->changes[i].old);
        (void)plan_service_unref(p->changes[i].now);
    }
    p->n_changes = 0;
    map_clear(&p->target);
    map_clear(&p->taken);
}

static void on_failed(struct proxier *p, const char *error)
{
    metric_add(p->c.metrics->restore_failures, p->labels, 1);
    metric_add(p->c.metrics->nft_failures, p->labels, 1);
    if (!p->reconciling)
        metric_add(p->c.metrics->partial_failures, p->labels, 1);
    p->known = false;
    p->node_changed = p->node_changed || p->was_node;
    /* What began earlier is still to be told when it ends. */
    MAP_FOR_EACH(e, &p->taken) {
        if (!map_has(&p->pending, map_key(e)))
            map_set(&p->pending, map_key(e), mem_dup(map_value(e), sizeof(int64_t)));
    }
    p->retry_ms = p->retry_ms ? p->retry_ms * 2 : RETRY_MIN_MS;
    if (p->retry_ms > RETRY_MAX_MS)
        p->retry_ms = RETRY_MAX_MS;
    loop_timer_set(&p->run, p->retry_ms);
    free(p->error);
    p->error = str_dup(error);
}

static void on_succeeded(struct proxier *p)
{
    if (p->reconciling)
        note_reconciled(p);
    else
        note_applied(p);
    p->c.replaced(p->c.arg, p->c.backend.family, NULL, NULL);
    observe_success(p);
    p->retry_ms = 0;
    p->updated = time_now();
    p->queued_at = 0;
    free(p->error);
    p->error = NULL;
}

static void on_done(void *arg, const char *error)
{
    struct proxier *p = arg;
    p->busy = false;
    observe_run(p);
    if (error)
        on_failed(p, error);
    else
        on_succeeded(p);
    forget_run(p);
    if (!error && (map_count(&p->pending) || p->node_changed || !p->known))
        schedule(p);
    p->c.synced(p->c.arg, error);
}

/* ---- a run ---- */

static void add_change(struct proxier *p, const char *key)
{
    const struct plan_service *old = map_get(&p->installed, key), *now = plan_get(p->c.plan, key);
    if (old == now)
        return;
    if (p->n_changes == p->room) {
        p->room = p->room ? p->room * 2 : 16;
        p->changes = mem_grow(p->changes, p->room, sizeof(*p->changes));
    }
    p->changes[p->n_changes++] = (struct backend_change){.old = old ? plan_service_ref(old) : NULL,
                                                         .now = now ? plan_service_ref(now) : NULL};
}

static void on_run(void *arg)
{
    struct proxier *p = arg;
    p->busy = true;
    p->began = now_ms();
    p->tokens -= p->tokens >= 1 ? 1 : p->tokens;
    p->reconciling = !p->known;
    p->was_node = p->node_changed;
    p->node_changed = false;
    p->taken = p->pending;
    p->pending = (struct map)MAP_INIT(free);
    if (p->reconciling) {
        p->known = true; /* unless somebody meddles meanwhile */
        MAP_FOR_EACH(e, plan_services(p->c.plan)) {
            map_set(&p->target, map_key(e), hold(map_value(e)));
        }
        p->c.ops->reconcile(p->backend, &p->target);
        return;
    }
    MAP_FOR_EACH(e, &p->taken) {
        add_change(p, map_key(e));
    }
    if (p->n_changes || p->was_node)
        p->c.ops->apply(p->backend, p->changes, p->n_changes, p->was_node);
    else
        on_done(p, NULL);
}

void proxier_start(struct proxier *p)
{
    if (p->started)
        return;
    p->started = true;
    loop_timer_set(&p->resync, RESYNC_MS);
    if (p->c.ops->check && p->c.ops->check(p->backend))
        loop_timer_set(&p->check, p->c.check_ms);
    schedule(p);
}

/* ---- life ---- */

int proxier_new(struct proxier **ret, struct loop *loop, const struct proxier_config *config,
                struct error *err)
{
    struct proxier *p = mem_zalloc(sizeof(*p));
    *p = (struct proxier){.loop = loop,
                          .c = *config,
                          .installed = MAP_INIT(service_unref),
                          .pending = MAP_INIT(free),
                          .target = MAP_INIT(service_unref),
                          .taken = MAP_INIT(free),
                          .tokens = BURST,
                          .last_at = now_ms()};
    p->c.backend.done = on_done;
    p->c.backend.disturbed = on_disturbed;
    p->c.backend.arg = p;
    (void)snprintf(p->labels, sizeof(p->labels), "ip_family=\"%s\"",
                   config->backend.family == AF_INET ? "IPv4" : "IPv6");
    loop_timer_init(&p->run, loop, "proxier run", on_run, p);
    loop_timer_init(&p->check, loop, "proxier check", on_check, p);
    loop_timer_init(&p->resync, loop, "proxier resync", on_resync, p);
    int r = config->ops->create(&p->backend, loop, &p->c.backend, err);
    if (r < 0) {
        (void)proxier_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct proxier *proxier_free(struct proxier *p)
{
    if (!p)
        return NULL;
    if (p->backend)
        p->c.ops->destroy(p->backend);
    loop_timer_done(&p->run);
    loop_timer_done(&p->check);
    loop_timer_done(&p->resync);
    forget_run(p);
    map_clear(&p->installed);
    map_clear(&p->pending);
    free(p->changes);
    free(p->error);
    free(p);
    return NULL;
}

void proxier_health(const struct proxier *p, struct proxier_health *ret)
{
    *ret = (struct proxier_health){.updated = p->updated,
                                   .late_ms = p->queued_at ? now_ms() - p->queued_at : 0,
                                   .error = p->error};
}

bool proxier_is_settled(const struct proxier *p)
{
    return p->known && !p->busy && !p->node_changed && !map_count(&p->pending);
}

int proxier_family(const struct proxier *p)
{
    return p->c.backend.family;
}

const struct plan_service *proxier_installed(const struct proxier *p, const char *key)
{
    return map_get(&p->installed, key);
}
