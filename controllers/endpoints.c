/*
 * EndpointSlices (and the older Endpoints) of Services from the pods that they select.
 *
 * A look at a service computes the wanted slices: pods are grouped by the port numbers that the
 * service's target ports mean in them (named ports may differ from pod to pod), at most 100 in a
 * slice. The slices that are there are compared in order; different ones are written, surplus ones
 * deleted. Names are "<service>-<5 random characters>" made by the server.
 */
#include <string.h>

#include "base/strbuf.h"
#include "base/times.h"
#include "controllers/controllers.h"
#include "controllers/endpoints.h"
#include "kube/selector.h"

#define MANAGED_BY    "endpointslice-controller.k8s.io"
#define LABEL_SERVICE "kubernetes.io/service-name"
#define LABEL_MANAGED "endpointslice.kubernetes.io/managed-by"
#define SLICE_MAX     100

struct controller {
    struct controllers *c;
    struct queue *queue;
};

struct look {
    struct controller *self;
    char *key;
    int outstanding;
    char *error;
    bool conflict;
};

/* ---- what is wanted ---- */

static int64_t target_port(const struct pod *p, const struct service_port *port)
{
    if (!port->target.set)
        return port->port;
    if (!port->target.text)
        return port->target.value ? port->target.value : port->port;
    const char *protocol = port->protocol ? port->protocol : "TCP";
    for (size_t i = 0; i < p->containers.count; i++)
        for (size_t k = 0; k < p->containers.items[i].ports.count; k++) {
            const struct container_port *cp = &p->containers.items[i].ports.items[k];
            if (str_eq(cp->name, port->target.text) &&
                str_eq(cp->protocol ? cp->protocol : "TCP", protocol))
                return cp->port;
        }
    return 0;
}

/* The service's ports as they are in this pod; ports that it lacks are left out. New reference. */
static json_t *ports_in_pod(const struct service *s, const struct pod *p)
{
    json_t *ports = json_array();
    for (size_t i = 0; i < s->ports.count; i++) {
        const struct service_port *port = &s->ports.items[i];
        int64_t number = target_port(p, port);
        if (!number)
            continue;
        json_t *item =
            json_pack("{sssIss}", "name", port->name ? port->name : "", "port", (json_int_t)number,
                      "protocol", port->protocol ? port->protocol : "TCP");
        if (port->app_protocol)
            (void)json_object_set_new(item, "appProtocol", json_string(port->app_protocol));
        (void)json_array_append_new(ports, item);
    }
    return ports;
}

static json_t *endpoint_of(const struct service *s, const struct pod *p)
{
    bool ready = pod_is_ready(p) && !p->meta.deleted;
    json_t *e = json_pack("{s[s]s{sbsbsb}s{ssssssss}}", "addresses", p->ip, "conditions", "ready",
                          (int)(ready || s->publish_not_ready), "serving", (int)pod_is_ready(p),
                          "terminating", (int)(p->meta.deleted != 0), "targetRef", "kind", "Pod",
                          "namespace", p->meta.ns, "name", p->meta.name, "uid", p->meta.uid);
    if (p->node_name && *p->node_name)
        (void)json_object_set_new(e, "nodeName", json_string(p->node_name));
    if (p->hostname && p->subdomain && str_eq(p->subdomain, s->meta.name))
        (void)json_object_set_new(e, "hostname", json_string(p->hostname));
    return e;
}

static int by_name(const void *a, const void *b)
{
    const struct pod *const *x = a, *const *y = b;
    return strcmp((*x)->meta.name, (*y)->meta.name);
}

/* The pods a service selects that have an address, by name. The caller frees. */
static const struct pod **selected_pods(const struct controllers *c, const struct service *s,
                                        size_t *ret_n)
{
    _cleanup_(selector_freep) struct selector *selector = selector_from_map(s->selector);
    const struct pod **pods = NULL;
    size_t n = 0;
    MAP_FOR_EACH(e, cache_objects(c->pods)) {
        const struct pod *p = map_value(e);
        if (!str_eq(p->meta.ns, s->meta.ns) || !p->ip || !*p->ip || pod_is_finished(p) ||
            !selector_matches(selector, p->meta.labels))
            continue;
        pods = mem_grow(pods, n + 1, sizeof(*pods));
        pods[n++] = p;
    }
    if (n)
        qsort(pods, n, sizeof(*pods), by_name);
    *ret_n = n;
    return pods;
}

static json_t *slice_for_ports(json_t *slices, const json_t *ports)
{
    for (size_t i = 0; i < json_array_size(slices); i++) {
        json_t *slice = json_array_get(slices, i);
        if (json_equal(json_object_get(slice, "ports"), ports) &&
            json_array_size(json_object_get(slice, "endpoints")) < SLICE_MAX)
            return slice;
    }
    return NULL;
}

json_t *endpoints_wanted_slices(const struct service *s, const struct pod *const *pods, size_t n)
{
    json_t *slices = json_array();
    for (size_t i = 0; i < n; i++) {
        _cleanup_json_ json_t *ports = ports_in_pod(s, pods[i]);
        json_t *slice = slice_for_ports(slices, ports);
        if (!slice) {
            slice = json_pack("{s[]sO}", "endpoints", "ports", ports);
            (void)json_array_append_new(slices, slice);
        }
        (void)json_array_append_new(json_object_get(slice, "endpoints"), endpoint_of(s, pods[i]));
    }
    if (!json_array_size(slices)) /* a service without pods has one empty slice */
        (void)json_array_append_new(slices, json_pack("{s[]s[]}", "endpoints", "ports"));
    return slices;
}

/* The subsets of an Endpoints object from slices. */
json_t *endpoints_wanted_subsets(const json_t *slices)
{
    json_t *subsets = json_array();
    for (size_t i = 0; i < json_array_size(slices); i++) {
        const json_t *slice = json_array_get(slices, i);
        const json_t *endpoints = json_object_get(slice, "endpoints");
        _cleanup_json_ json_t *ready = json_array();
        _cleanup_json_ json_t *not_ready = json_array();
        for (size_t k = 0; k < json_array_size(endpoints); k++) {
            const json_t *e = json_array_get(endpoints, k);
            json_t *address =
                json_pack("{sOsO}", "ip", json_array_get(json_object_get(e, "addresses"), 0),
                          "targetRef", json_object_get(e, "targetRef"));
            if (json_object_get(e, "nodeName"))
                (void)json_object_set(address, "nodeName", json_object_get(e, "nodeName"));
            if (json_object_get(e, "hostname"))
                (void)json_object_set(address, "hostname", json_object_get(e, "hostname"));
            (void)json_array_append_new(
                json_path_bool(e, "conditions.ready", false) ? ready : not_ready, address);
        }
        if (!json_array_size(ready) && !json_array_size(not_ready))
            continue;
        json_t *subset = json_pack("{sO}", "ports", json_object_get(slice, "ports"));
        if (json_array_size(ready))
            (void)json_object_set(subset, "addresses", ready);
        if (json_array_size(not_ready))
            (void)json_object_set(subset, "notReadyAddresses", not_ready);
        (void)json_array_append_new(subsets, subset);
    }
    return subsets;
}

/* ---- bringing it about ---- */

static void step_done(struct look *look, const struct kube_result *result, struct cache *cache)
{
    if (result && result->error && result->status != 404) {
        look->conflict =
            str_eq(result->reason, "Conflict") || str_eq(result->reason, "AlreadyExists");
        free(look->error);
        look->error = str_dup(result->error);
    } else if (result && cache) {
        cache_wrote(cache, result->body);
    }
    if (--look->outstanding)
        return;
    queue_done(look->self->queue, look->key, look->error, look->conflict);
    free(look->error);
    free(look->key);
    free(look);
}

static void on_slice(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    step_done(look, result, look->self->c->slices);
}

static void on_endpoints(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    step_done(look, result, look->self->c->endpoints);
}

static bool is_ours(const struct endpoint_slice *slice, const struct service *s, const char *ns,
                    const char *name)
{
    return str_eq(slice->meta.ns, ns) && !slice->meta.deleted &&
           str_eq(json_string_value(json_object_get(slice->meta.labels, LABEL_SERVICE)), name) &&
           str_eq(json_string_value(json_object_get(slice->meta.labels, LABEL_MANAGED)),
                  MANAGED_BY) &&
           (!s || object_controller(&slice->meta) == NULL ||
            str_eq(object_controller(&slice->meta)->uid, s->meta.uid));
}

static json_t *slice_object(struct controllers *c, const struct service *s, const json_t *wanted)
{
    _cleanup_free_ char *base = str_printf("%s-", s->meta.name);
    json_t *labels = s->meta.labels ? json_deep_copy(s->meta.labels) : json_object();
    (void)json_object_set_new(labels, LABEL_SERVICE, json_string(s->meta.name));
    (void)json_object_set_new(labels, LABEL_MANAGED, json_string(MANAGED_BY));
    if (str_eq(s->cluster_ip, "None"))
        (void)json_object_set_new(labels, "service.kubernetes.io/headless", json_string(""));
    return json_pack("{sssss{sssssos[o]}sssOsO}", "apiVersion", "discovery.k8s.io/v1", "kind",
                     "EndpointSlice", "metadata", "generateName", base, "namespace", s->meta.ns,
                     "labels", labels, "ownerReferences",
                     controller_ref(cache_kind_of(c->services), &s->meta), "addressType", "IPv4",
                     "endpoints", json_object_get(wanted, "endpoints"), "ports",
                     json_object_get(wanted, "ports"));
}

static void write_slice(struct look *look, const struct service *s, const json_t *wanted,
                        const struct endpoint_slice *there)
{
    struct controllers *c = look->self->c;
    if (there && json_equal(there->endpoints, json_object_get(wanted, "endpoints")) &&
        json_equal(there->ports, json_object_get(wanted, "ports")))
        return;
    _cleanup_json_ json_t *body = slice_object(c, s, wanted);
    look->outstanding++;
    if (!there) {
        _cleanup_free_ char *path =
            kube_path("discovery.k8s.io/v1", s->meta.ns, "endpointslices", NULL, NULL);
        (void)kube_create(c->client, path, body, on_slice, look);
        return;
    }
    _cleanup_free_ char *path = controller_path(cache_kind_of(c->slices), &there->meta, NULL);
    json_t *meta = json_object_get(body, "metadata");
    (void)json_object_del(meta, "generateName");
    (void)json_object_set_new(meta, "name", json_string(there->meta.name));
    (void)json_object_set_new(meta, "resourceVersion", json_string(there->meta.version));
    (void)kube_replace(c->client, path, body, on_slice, look);
}

static void write_endpoints(struct look *look, const struct service *s, const json_t *slices)
{
    struct controllers *c = look->self->c;
    _cleanup_json_ json_t *subsets = endpoints_wanted_subsets(slices);
    _cleanup_free_ char *key = object_key(&s->meta);
    const struct endpoint_slice *there = cache_get(c->endpoints, key);
    if (there &&
        (json_equal(there->endpoints, subsets) || (!there->endpoints && !json_array_size(subsets))))
        return;
    _cleanup_json_ json_t *body =
        json_pack("{sssss{ssss}sO}", "apiVersion", "v1", "kind", "Endpoints", "metadata", "name",
                  s->meta.name, "namespace", s->meta.ns, "subsets", subsets);
    json_t *meta = json_object_get(body, "metadata");
    if (s->meta.labels)
        (void)json_object_set_new(meta, "labels", json_deep_copy(s->meta.labels));
    look->outstanding++;
    _cleanup_free_ char *path =
        kube_path("v1", s->meta.ns, "endpoints", there ? s->meta.name : NULL, NULL);
    if (there)
        (void)json_object_set_new(meta, "resourceVersion", json_string(there->meta.version));
    (void)kube_request(c->client, there ? "PUT" : "POST", path, NULL, body, 0, on_endpoints, look);
}

static void delete_slice(struct look *look, const struct endpoint_slice *slice)
{
    struct controllers *c = look->self->c;
    _cleanup_free_ char *path = controller_path(cache_kind_of(c->slices), &slice->meta, NULL);
    look->outstanding++;
    (void)kube_delete(c->client, path, NULL, on_slice, look);
}

static void bring_about(struct look *look, const struct service *s)
{
    struct controllers *c = look->self->c;
    size_t n_pods;
    _cleanup_free_ const struct pod **pods = selected_pods(c, s, &n_pods);
    _cleanup_json_ json_t *slices = endpoints_wanted_slices(s, pods, n_pods);
    size_t next = 0;
    MAP_FOR_EACH(e, cache_objects(c->slices)) {
        const struct endpoint_slice *slice = map_value(e);
        if (!is_ours(slice, s, s->meta.ns, s->meta.name))
            continue;
        if (next < json_array_size(slices))
            write_slice(look, s, json_array_get(slices, next++), slice);
        else
            delete_slice(look, slice);
    }
    while (next < json_array_size(slices))
        write_slice(look, s, json_array_get(slices, next++), NULL);
    write_endpoints(look, s, slices);
}

/* The service is gone: its slices go with their owner, its Endpoints here. */
static void clear(struct look *look)
{
    struct controllers *c = look->self->c;
    const struct endpoint_slice *there = cache_get(c->endpoints, look->key);
    if (!there || there->meta.deleted)
        return;
    /* Endpoints of services without selector belong to whoever wrote them; ours say targetRef. */
    const json_t *address =
        json_array_get(json_path(json_array_get(there->endpoints, 0), "addresses"), 0);
    if (address && !json_object_get(address, "targetRef"))
        return;
    _cleanup_free_ char *path =
        kube_path("v1", there->meta.ns, "endpoints", there->meta.name, NULL);
    look->outstanding++;
    (void)kube_delete(c->client, path, NULL, on_endpoints, look);
}

static void work(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct service *s = cache_get(self->c->services, key);
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){.self = self, .key = str_dup(key), .outstanding = 1};
    if (!s)
        clear(look);
    else if (json_object_size(s->selector) && !s->meta.deleted && !str_eq(s->type, "ExternalName"))
        bring_about(look, s);
    step_done(look, NULL, NULL);
}

/* ---- what leads to a look ---- */

static void on_service(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct service *s = now ? now : before;
    _cleanup_free_ char *key = object_key(&s->meta);
    queue_add(self->queue, key);
}

static void queue_services_of(struct controller *self, const struct pod *p)
{
    MAP_FOR_EACH(e, cache_objects(self->c->services)) {
        const struct service *s = map_value(e);
        if (!str_eq(s->meta.ns, p->meta.ns) || !json_object_size(s->selector))
            continue;
        _cleanup_(selector_freep) struct selector *selector = selector_from_map(s->selector);
        if (selector_matches(selector, p->meta.labels))
            queue_add(self->queue, map_key(e));
    }
}

/* Whether endpoints could look different after this change. */
static bool pod_matters(const struct pod *a, const struct pod *b)
{
    return !str_eq(a->ip, b->ip) || pod_is_ready(a) != pod_is_ready(b) ||
           !a->meta.deleted != !b->meta.deleted || pod_is_finished(a) != pod_is_finished(b) ||
           !json_equal(a->meta.labels, b->meta.labels) || !str_eq(a->node_name, b->node_name);
}

static void on_pod(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct pod *a = before, *b = now;
    if (a && b && !pod_matters(a, b))
        return;
    if (b)
        queue_services_of(self, b);
    if (a && (!b || !json_equal(a->meta.labels, b->meta.labels)))
        queue_services_of(self, a);
}

static void on_slice_changed(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct endpoint_slice *slice = now ? now : before;
    const char *name = json_string_value(json_object_get(slice->meta.labels, LABEL_SERVICE));
    if (!name || !is_ours(slice, NULL, slice->meta.ns, name))
        return;
    _cleanup_free_ char *key = str_printf("%s/%s", slice->meta.ns, name);
    queue_add(self->queue, key);
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    self->c = c;
    self->queue = queue_new(c->loop, "endpointslice", work, self);
    cache_subscribe(c->services, on_service, self);
    cache_subscribe(c->pods, on_pod, self);
    cache_subscribe(c->slices, on_slice_changed, self);
    return self;
}

static void synced(struct controller *self)
{
    queue_resume(self->queue);
}

static void stop(struct controller *self)
{
    queue_free(self->queue);
    free(self);
}

const struct controller_def endpoints_controller = {"endpointslice", start, synced, stop};
