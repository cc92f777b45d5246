/* Default namespaces and the Service "kubernetes"; see bootstrap.h. */
#include "apiserver/bootstrap.h"

#include <errno.h>
#include <string.h>

#include "apiserver/auth/authz.h"
#include "apiserver/change.h"
#include "apiserver/objects.h"
#include "apiserver/auth/policy_reconcile.h"
#include "apiserver/service.h"
#include "apiserver/store/watch_cache.h"
#include "base/json.h"
#include "base/log.h"
#include "kube/meta.h"
#include "kube/status.h"

#define RETRY_MS 500

/* One object, made when it is missing; with @enforce these parts of it are kept as they are here.
 */
struct step {
    const char *group, *version, *resource, *ns, *name;
    const char *const *enforce; /* top-level fields, NULL-terminated; NULL: leave what is there */
    json_t *(*make)(const struct apiserver *srv, const struct step *step);
    bool (*wanted)(const struct apiserver *srv); /* NULL: always */
    bool optional;                               /* what refuses it is logged, no reason to wait */
};

struct bootstrap;
/* Notices when somebody changes or deletes what has to be there. */
struct keeper {
    struct cache_watcher w;
    struct bootstrap *b;
    char *key;
};
#define KEEPERS 3 /* the last steps: what belongs to the Service "kubernetes" */

struct bootstrap {
    struct apiserver *srv;
    struct keeper keepers[KEEPERS];
    struct loop_deferred again;
    size_t step;
    struct change *change;
    struct repair *repair;
    struct policy_reconcile *policy;
    struct loop_timer retry;
    void (*on_ready)(void *arg);
    void *arg;
};

static json_t *make_namespace(const struct apiserver *srv, const struct step *step)
{
    (void)srv;
    return json_pack("{s:s,s:s,s:{s:s}}", "apiVersion", "v1", "kind", "Namespace", "metadata",
                     "name", step->name);
}

static json_t *make_service(const struct apiserver *srv, const struct step *step)
{
    char ip[IP_TEXT_MAX];
    (void)ip_format(allocations_first_ip(srv->allocations), ip);
    return json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s,s:s}},s:{s:s,s:s,s:s,s:[{s:s,s:s,s:i,s:i}]}}",
                     "apiVersion", "v1", "kind", "Service", "metadata", "name", step->name,
                     "namespace", step->ns, "labels", "component", "apiserver", "provider",
                     "kubernetes", "spec", "type", "ClusterIP", "clusterIP", ip, "sessionAffinity",
                     "None", "ports", "name", "https", "protocol", "TCP", "port", 443, "targetPort",
                     srv->secure_port);
}

static bool uses_rbac(const struct apiserver *srv)
{
    return authz_uses_rbac(srv->authz);
}

static bool wants_dns(const struct apiserver *srv)
{
    return srv->cluster_dns;
}

/* Its label keeps service proxies off: the address is one of each node's own. */
static json_t *make_dns(const struct apiserver *srv, const struct step *step)
{
    return json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s,s:s,s:s}},s:{s:s,s:s,s:[{s:s,s:s,s:i},"
                     "{s:s,s:s,s:i}]}}",
                     "apiVersion", "v1", "kind", "Service", "metadata", "name", step->name,
                     "namespace", step->ns, "labels", "k8s-app", "kube-dns",
                     "kubernetes.io/cluster-service", "true",
                     "service.kubernetes.io/service-proxy-name", "coracle-dns", "spec", "type",
                     "ClusterIP", "clusterIP", srv->cluster_dns, "ports", "name", "dns", "protocol",
                     "UDP", "port", 53, "name", "dns-tcp", "protocol", "TCP", "port", 53);
}

#define INFO_ROLE "kubeadm:bootstrap-signer-clusterinfo"

/* Whoever joins reads the cluster-info before anybody knows them; its signature is what counts. */
static json_t *make_info_role(const struct apiserver *srv, const struct step *step)
{
    (void)srv;
    return json_pack("{s:s,s:s,s:{s:s,s:s},s:[{s:[s],s:[s],s:[s],s:[s]}]}", "apiVersion",
                     "rbac.authorization.k8s.io/v1", "kind", "Role", "metadata", "name", step->name,
                     "namespace", step->ns, "rules", "apiGroups", "", "resources", "configmaps",
                     "resourceNames", "cluster-info", "verbs", "get");
}

static json_t *make_info_binding(const struct apiserver *srv, const struct step *step)
{
    (void)srv;
    return json_pack("{s:s,s:s,s:{s:s,s:s},s:{s:s,s:s,s:s},s:[{s:s,s:s,s:s}]}", "apiVersion",
                     "rbac.authorization.k8s.io/v1", "kind", "RoleBinding", "metadata", "name",
                     step->name, "namespace", step->ns, "roleRef", "apiGroup",
                     "rbac.authorization.k8s.io", "kind", "Role", "name", INFO_ROLE, "subjects",
                     "apiGroup", "rbac.authorization.k8s.io", "kind", "User", "name",
                     "system:anonymous");
}

static json_t *make_endpoints(const struct apiserver *srv, const struct step *step)
{
    return json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:[{s:[{s:s}],s:[{s:s,s:i,s:s}]}]}",
                     "apiVersion", "v1", "kind", "Endpoints", "metadata", "name", step->name,
                     "namespace", step->ns, "labels", "endpointslice.kubernetes.io/skip-mirror",
                     "true", "subsets", "addresses", "ip", srv->advertise_address, "ports", "name",
                     "https", "port", srv->secure_port, "protocol", "TCP");
}

static json_t *make_slice(const struct apiserver *srv, const struct step *step)
{
    const char *family = strchr(srv->advertise_address, ':') ? "IPv6" : "IPv4";
    return json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:s,s:[{s:[s],s:{s:b}}],s:[{s:s,s:i,s:s}]}",
                     "apiVersion", "discovery.k8s.io/v1", "kind", "EndpointSlice", "metadata",
                     "name", step->name, "namespace", step->ns, "labels",
                     "kubernetes.io/service-name", "kubernetes", "addressType", family, "endpoints",
                     "addresses", srv->advertise_address, "conditions", "ready", 1, "ports", "name",
                     "https", "port", srv->secure_port, "protocol", "TCP");
}

static json_t *make_priority_class(const struct apiserver *srv, const struct step *step)
{
    bool node = str_eq(step->name, "system-node-critical");
    (void)srv;
    return json_pack("{s:s,s:s,s:{s:s},s:i,s:s}", "apiVersion", "scheduling.k8s.io/v1", "kind",
                     "PriorityClass", "metadata", "name", step->name, "value",
                     node ? 2000001000 : 2000000000, "description",
                     node ? "For pods that their node cannot do without."
                          : "For pods that the cluster cannot do without.");
}

static const char *const enforce_subsets[] = {"subsets", NULL};
static const char *const enforce_slice[] = {"endpoints", "ports", NULL};
static const struct step steps[] = {
    {"", "v1", "namespaces", "", "default", NULL, make_namespace},
    {"", "v1", "namespaces", "", "kube-system", NULL, make_namespace},
    {"", "v1", "namespaces", "", "kube-public", NULL, make_namespace},
    {"", "v1", "namespaces", "", "kube-node-lease", NULL, make_namespace},
    {"scheduling.k8s.io", "v1", "priorityclasses", "", "system-cluster-critical", NULL,
     make_priority_class},
    {"scheduling.k8s.io", "v1", "priorityclasses", "", "system-node-critical", NULL,
     make_priority_class},
    {"rbac.authorization.k8s.io", "v1", "roles", "kube-public", INFO_ROLE, NULL, make_info_role,
     uses_rbac},
    {"rbac.authorization.k8s.io", "v1", "rolebindings", "kube-public", INFO_ROLE, NULL,
     make_info_binding, uses_rbac},
    {"", "v1", "services", "kube-system", "kube-dns", NULL, make_dns, wants_dns, true},
    {"", "v1", "services", "default", "kubernetes", NULL, make_service},
    {"", "v1", "endpoints", "default", "kubernetes", enforce_subsets, make_endpoints},
    {"discovery.k8s.io", "v1", "endpointslices", "default", "kubernetes", enforce_slice,
     make_slice},
};

static const struct route *route_of_step(const struct bootstrap *b, size_t step)
{
    const struct step *s = &steps[step];
    return routes_find(b->srv->routes, s->group, s->version, s->resource);
}

static const struct route *route_of(const struct bootstrap *b)
{
    return route_of_step(b, b->step);
}

static void on_kept_events(struct cache_watcher *w)
{
    struct keeper *k = CONTAINER_OF(w, struct keeper, w);
    struct cache_event *event;
    bool lost;
    while ((event = cache_watcher_next(w, &lost)))
        if (event->type != EVENT_ADDED && str_eq(event->object->key, k->key))
            loop_defer(&k->b->again);
}

/* The cache is loaded anew: bootstrap_run() comes with it. */
static void on_keeper_lost(struct cache_watcher *w)
{
    (void)w;
}

static void keep(struct bootstrap *b)
{
    for (size_t i = 0; i < KEEPERS; i++) {
        struct keeper *k = &b->keepers[i];
        size_t step = ARRAY_SIZE(steps) - KEEPERS + i;
        const struct route *route = route_of_step(b, step);
        if (k->w.of)
            continue;
        k->b = b;
        k->w.on_events = on_kept_events;
        k->w.on_lost = on_keeper_lost;
        if (!k->key)
            k->key = route_key(route, steps[step].ns, steps[step].name);
        (void)watch_cache_subscribe(b->srv->cache, route, watch_cache_revision(b->srv->cache),
                                    &k->w);
    }
}

static enum verdict make(void *arg, const struct encoded *old, json_t *tree, struct plan *plan,
                         json_t **next, json_t **status)
{
    const struct bootstrap *b = arg;
    const struct step *s = &steps[b->step];
    (void)plan;
    if (old && !s->enforce)
        return VERDICT_NOTHING;
    _cleanup_json_ json_t *wanted = s->make(b->srv, s);
    if (!old) {
        *status = object_complete_new(route_of(b), wanted);
        *next = TAKE_PTR(wanted);
    } else {
        _cleanup_json_ json_t *obj = json_deep_copy(tree);
        for (size_t i = 0; s->enforce[i]; i++)
            (void)json_object_set(obj, s->enforce[i], json_object_get(wanted, s->enforce[i]));
        *status = object_complete_update(route_of(b), "", obj, tree);
        *next = TAKE_PTR(obj);
    }
    if (!*status)
        return VERDICT_WRITE;
    json_decref(*next);
    *next = NULL;
    return VERDICT_REFUSE;
}

static void next_step(struct bootstrap *b);

static void on_done(void *arg, struct change_result *result)
{
    struct bootstrap *b = arg;
    const struct step *s = &steps[b->step];
    b->change = NULL;
    if (result->code) {
        const char *why =
            result->code > 0 ? status_message(result->status) : error_text(result->err);
        log_warn("cannot make what every cluster has", "resource", s->resource, "name", s->name,
                 "error", why, NULL);
        bool refused = result->code > 0;
        if (refused)
            json_decref(result->status);
        if (!refused || !s->optional) {
            loop_timer_set(&b->retry, RETRY_MS);
            return;
        }
    }
    b->step++;
    next_step(b);
}

/* Endpoints may not be on the loopback: a server that is reached only there has none. */
static bool is_reachable(const struct apiserver *srv)
{
    return !str_starts(srv->advertise_address, "127.") && !str_eq(srv->advertise_address, "::1");
}

static void next_step(struct bootstrap *b)
{
    while (b->step < ARRAY_SIZE(steps) && steps[b->step].wanted && !steps[b->step].wanted(b->srv))
        b->step++;
    while (b->step < ARRAY_SIZE(steps) && steps[b->step].enforce && !is_reachable(b->srv)) {
        log_warn("no endpoint for the Service kubernetes: the advertised address is the loopback",
                 "address", b->srv->advertise_address, "resource", steps[b->step].resource, NULL);
        b->step++;
    }
    if (b->step == ARRAY_SIZE(steps)) {
        keep(b);
        if (!b->srv->ready) {
            b->srv->ready = true;
            b->on_ready(b->arg);
        }
        return;
    }
    const struct step *s = &steps[b->step];
    const struct change_spec spec = {
        .srv = b->srv,
        .route = route_of(b),
        .ns = s->ns,
        .name = s->name,
        .guard_namespace = *s->ns != '\0',
        .make = make,
        .arg = b,
    };
    b->change = change_start(&spec, on_done, b);
}

static void on_policy(void *arg, int code, const struct error *err)
{
    struct bootstrap *b = arg;
    b->policy = NULL;
    if (code) {
        log_warn("cannot make the built-in roles", "error", error_text(err), NULL);
        loop_timer_set(&b->retry, RETRY_MS);
        return;
    }
    next_step(b);
}

static void on_repaired(void *arg, int code, const struct error *err)
{
    struct bootstrap *b = arg;
    b->repair = NULL;
    if (code) {
        log_warn("cannot check the ranges of Services", "error", error_text(err), NULL);
        loop_timer_set(&b->retry, RETRY_MS);
        return;
    }
    if (authz_uses_rbac(b->srv->authz) && !b->srv->ready) /* once: what people delete stays away */
        b->policy = policy_reconcile(b->srv, on_policy, b);
    else
        next_step(b);
}

static void on_retry(void *arg)
{
    bootstrap_run(arg);
}

struct bootstrap *bootstrap_new(struct apiserver *srv, void (*on_ready)(void *arg), void *arg)
{
    struct bootstrap *b = mem_zalloc(sizeof(*b));
    b->srv = srv;
    b->on_ready = on_ready;
    b->arg = arg;
    loop_timer_init(&b->retry, srv->loop, "bootstrap retry", on_retry, b);
    loop_deferred_init(&b->again, srv->loop, on_retry, b);
    return b;
}

void bootstrap_run(struct bootstrap *b)
{
    if (b->change || b->repair || b->policy || loop_timer_armed(&b->retry))
        return;
    b->step = 0;
    b->repair = service_repair(b->srv, on_repaired, b);
}

struct bootstrap *bootstrap_free(struct bootstrap *b)
{
    if (b) {
        (void)change_cancel(b->change);
        (void)service_repair_cancel(b->repair);
        (void)policy_reconcile_cancel(b->policy);
        loop_timer_done(&b->retry);
        loop_deferred_done(&b->again);
        for (size_t i = 0; i < KEEPERS; i++) {
            watch_cache_unsubscribe(&b->keepers[i].w);
            free(b->keepers[i].key);
        }
        free(b);
    }
    return NULL;
}
