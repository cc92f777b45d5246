/*
 * Devices for pods; see devices.h. A request goes through the containers of a pod and the resources
 * of each, one call to a plugin at a time. What it has chosen counts as taken while the plugin is
 * being asked, so that requests of several pods may be under way together.
 */
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/devices/internal.h"
#include "kubelet/pods.h"

/* What pods have that run no more is free. */
static void forget_inactive(struct devices *d)
{
    for (size_t i = 0; i < d->allocations.count;) {
        const char *uid = d->allocations.items[i].pod_uid;
        const struct pod_worker *w = pod_manager_by_uid(d->k->pods, uid);
        bool over = w ? w->stage != WORKER_RUN && w->stage != WORKER_STOP
                      : pod_manager_is_synced(d->k->pods);
        _cleanup_free_ char *copy = str_dup(uid);
        if (over)
            (void)allocation_remove_pod(&d->allocations, copy);
        else
            i++;
    }
}

/* ---- choosing ---- */

/* How many devices container number @at asks for of limit number @resource; 0: that is no
 * plugin's. */
static int64_t wanted(const struct devices *d, const struct pod *pod, size_t at, size_t resource)
{
    const struct string_map *limits = &pod_container_at(pod, at)->resources.limits;
    const char *name = limits->items[resource].key;
    return resource_is_extended(name) && map_has(&d->plugins, name)
               ? resource_value(limits, name, 0)
               : 0;
}

static const char *resource_of(const struct pod *pod, size_t at, size_t resource)
{
    return pod_container_at(pod, at)->resources.limits.items[resource].key;
}

bool devices_has(const struct devices *d, const struct pod *pod)
{
    for (size_t i = 0; d && i < pod_fixed_count(pod); i++) {
        const struct container_spec *c = pod_container_at(pod, i);
        for (size_t n = 0; n < c->resources.limits.count; n++) {
            const struct allocation *a =
                allocation_find(&d->allocations, pod->meta.uid, c->name, resource_of(pod, i, n));
            if (wanted(d, pod, i, n) > 0 && !(a && a->answer))
                return false;
        }
    }
    return true;
}

static void finish(struct device_request *r, const char *error)
{
    struct devices *d = r->d;
    void (*done)(void *arg, const char *error) = r->done;
    void *arg = r->arg;
    _cleanup_free_ char *text = str_dup(error);
    if (!r->container) {
        if (error)
            (void)allocation_remove_pod(&d->allocations, r->pod->meta.uid);
        else
            devices_save(d);
    }
    r->done = NULL;
    (void)device_request_cancel(r);
    done(arg, text);
}

static void add_text(size_t *n, char ***items, const struct string_list *l)
{
    *items = l->items;
    *n = l->count;
}

static void on_allocated(void *arg, enum rpc_status status, const char *message,
                         const ProtobufCMessage *response)
{
    struct device_request *r = arg;
    const V1beta1__AllocateResponse *reply = (const void *)response;
    r->call = NULL;
    size_t len = status == RPC_OK && reply->n_container_responses == 1
                     ? protobuf_c_message_get_packed_size(&reply->container_responses[0]->base)
                     : 0;
    if (status != RPC_OK || reply->n_container_responses != 1 || len > DEVICE_ANSWER_MAX) {
        _cleanup_free_ char *text = status != RPC_OK
                                        ? str_printf("rpc error: %s", message)
                                        : str_dup("the device plugin's answer cannot be used");
        finish(r, text);
        return;
    }
    struct allocation *a =
        allocation_find(&r->d->allocations, r->pod->meta.uid, pod_container_at(r->pod, r->at)->name,
                        resource_of(r->pod, r->at, r->resource));
    if (!a) {
        finish(r, "the pod has ended meanwhile");
        return;
    }
    a->answer = mem_zalloc(len + 1);
    a->answer_len = protobuf_c_message_pack(&reply->container_responses[0]->base, a->answer);
    r->resource++;
    loop_defer(&r->step);
}

void devices_lost(struct devices *d, const char *resource)
{
    LIST_FOR_EACH(e, &d->requests) {
        struct device_request *r = LIST_ENTRY(e, struct device_request, entry);
        if (!r->call || !str_eq(r->asked, resource))
            continue;
        rpc_call_cancel(r->call);
        r->call = NULL;
        free(r->error);
        r->error = str_printf("the device plugin of %s registered anew meanwhile", resource);
        loop_defer(&r->step);
    }
}

/* Asks the plugin of @resource. False when it is gone: the request has failed, and is no more. */
static bool call_plugin(struct device_request *r, const char *resource, enum plugin_method method,
                        const ProtobufCMessage *q, rpc_reply_fn *cb)
{
    r->asked = resource;
    r->call = plugin_call(map_get(&r->d->plugins, resource), method, q, cb, r);
    if (r->call)
        return true;
    _cleanup_free_ char *text =
        str_printf("endpoint not found in cache for a registered resource: %s", resource);
    finish(r, text);
    return false;
}

/* Asks for the devices in @ids, which are taken from now on. */
static void allocate(struct device_request *r)
{
    const char *resource = resource_of(r->pod, r->at, r->resource);
    V1beta1__ContainerAllocateRequest one = V1BETA1__CONTAINER_ALLOCATE_REQUEST__INIT, *list = &one;
    V1beta1__AllocateRequest q = V1BETA1__ALLOCATE_REQUEST__INIT;
    add_text(&one.n_devices_ids, &one.devices_ids, &r->ids);
    q.n_container_requests = 1;
    q.container_requests = &list;
    if (!call_plugin(r, resource, PLUGIN_ALLOCATE, &q.base, on_allocated))
        return;
    struct allocation *a = allocation_add(&r->d->allocations, r->pod->meta.uid,
                                          pod_container_at(r->pod, r->at)->name, resource);
    a->ids = r->ids;
    r->ids = (struct string_list){.items = NULL};
}

/* Whether the pod may be given this device now. */
static bool is_free(const struct device_request *r, const struct plugin *p, const char *id)
{
    const struct plugin_device *dev = plugin_device(p, id);
    return dev && dev->healthy && !string_list_has(&r->ids, id) &&
           !allocation_has_device(&r->d->allocations, p->resource, id, NULL);
}

static void fill_up(struct device_request *r, const struct plugin *p, size_t want)
{
    for (size_t i = 0; i < p->n_devices && r->ids.count < want; i++)
        if (is_free(r, p, p->devices[i].id))
            string_list_add(&r->ids, p->devices[i].id);
}

static void on_preferred(void *arg, enum rpc_status status, _unused_ const char *message,
                         const ProtobufCMessage *response)
{
    struct device_request *r = arg;
    const V1beta1__PreferredAllocationResponse *reply = (const void *)response;
    const struct plugin *p = map_get(&r->d->plugins, resource_of(r->pod, r->at, r->resource));
    size_t want = (size_t)wanted(r->d, r->pod, r->at, r->resource);
    r->call = NULL;
    /* It is advice: what cannot be followed, or is missing, we choose. */
    if (status == RPC_OK && reply->n_container_responses == 1)
        for (size_t i = 0; i < reply->container_responses[0]->n_deviceids; i++)
            if (r->ids.count < want && is_free(r, p, reply->container_responses[0]->deviceids[i]))
                string_list_add(&r->ids, reply->container_responses[0]->deviceids[i]);
    fill_up(r, p, want);
    if (r->ids.count == want)
        allocate(r);
    else
        finish(r, "devices were taken meanwhile");
}

static void ask_preferred(struct device_request *r, struct plugin *p, size_t want)
{
    V1beta1__ContainerPreferredAllocationRequest
        one = V1BETA1__CONTAINER_PREFERRED_ALLOCATION_REQUEST__INIT,
        *list = &one;
    V1beta1__PreferredAllocationRequest q = V1BETA1__PREFERRED_ALLOCATION_REQUEST__INIT;
    struct string_list all = {.items = NULL};
    for (size_t i = 0; i < r->ids.count; i++)
        string_list_add(&all, r->ids.items[i]);
    for (size_t i = 0; i < p->n_devices; i++)
        if (is_free(r, p, p->devices[i].id))
            string_list_add(&all, p->devices[i].id);
    add_text(&one.n_available_deviceids, &one.available_deviceids, &all);
    add_text(&one.n_must_include_deviceids, &one.must_include_deviceids, &r->ids);
    one.allocation_size = (int32_t)want;
    q.n_container_requests = 1;
    q.container_requests = &list;
    (void)call_plugin(r, p->resource, PLUGIN_PREFERRED, &q.base, on_preferred);
    string_list_done(&all);
}

/* Chooses devices for one resource of one container. */
static void choose(struct device_request *r, size_t want)
{
    struct devices *d = r->d;
    const char *resource = resource_of(r->pod, r->at, r->resource);
    struct plugin *p = map_get(&d->plugins, resource);
    size_t available = 0;
    string_list_done(&r->ids);
    forget_inactive(d);
    struct string_list again = {.items = NULL};
    allocation_reusable(&d->allocations, r->pod, r->at, resource, &again);
    for (size_t i = 0; i < again.count && r->ids.count < want; i++)
        string_list_add(&r->ids, again.items[i]);
    string_list_done(&again);
    for (size_t i = 0; i < p->n_devices; i++)
        available += is_free(r, p, p->devices[i].id);
    if (available < want - r->ids.count) {
        _cleanup_free_ char *text = str_printf(
            "requested number of devices unavailable for %s. Requested: %zu, Available: %zu",
            resource, want - r->ids.count, available);
        finish(r, text);
        return;
    }
    if (p->preferred && r->ids.count < want && available > want - r->ids.count) {
        ask_preferred(r, p, want);
        return;
    }
    fill_up(r, p, want);
    allocate(r);
}

static void on_step(void *arg)
{
    struct device_request *r = arg;
    if (r->error) {
        finish(r, r->error);
        return;
    }
    for (; r->at < pod_fixed_count(r->pod); r->at++, r->resource = 0) {
        const struct container_spec *c = pod_container_at(r->pod, r->at);
        for (; r->resource < c->resources.limits.count; r->resource++) {
            int64_t want = wanted(r->d, r->pod, r->at, r->resource);
            const char *name = c->resources.limits.items[r->resource].key;
            if (want <= 0 || allocation_find(&r->d->allocations, r->pod->meta.uid, c->name, name))
                continue;
            choose(r, want > DEVICES_MAX ? DEVICES_MAX + 1 : (size_t)want);
            return;
        }
    }
    finish(r, NULL);
}

static struct device_request *new_request(struct devices *d, struct pod *pod,
                                          void (*step)(void *arg),
                                          void (*done)(void *arg, const char *error), void *arg)
{
    struct device_request *r = mem_zalloc(sizeof(*r));
    r->d = d;
    r->pod = pod_ref(pod);
    r->done = done;
    r->arg = arg;
    loop_deferred_init(&r->step, d->k->loop, step, r);
    list_append(&d->requests, &r->entry);
    loop_defer(&r->step);
    return r;
}

struct device_request *devices_allocate(struct devices *d, struct pod *pod,
                                        void (*done)(void *arg, const char *error), void *arg)
{
    return new_request(d, pod, on_step, done, arg);
}

struct device_request *device_request_cancel(struct device_request *r)
{
    if (!r)
        return NULL;
    /* Given up in the middle of an allocation: the pod has none. */
    if (r->done && !r->container)
        (void)allocation_remove_pod(&r->d->allocations, r->pod->meta.uid);
    rpc_call_cancel(r->call);
    loop_deferred_done(&r->step);
    list_remove(&r->entry);
    string_list_done(&r->ids);
    free(r->error);
    pod_unref(r->pod);
    free(r);
    return NULL;
}

/* ---- before a start ---- */
static void on_pre_started(void *arg, enum rpc_status status, const char *message,
                           _unused_ const ProtobufCMessage *response)
{
    struct device_request *r = arg;
    r->call = NULL;
    if (status != RPC_OK)
        r->error = str_printf("device plugin PreStartContainer rpc failed with err: %s", message);
    r->resource++;
    loop_defer(&r->step);
}

static bool wants_pre_start(const struct devices *d, const struct allocation *a)
{
    const struct plugin *p = a ? map_get(&d->plugins, a->resource) : NULL;
    return p && a->answer && p->pre_start;
}

static void on_pre_start_step(void *arg)
{
    struct device_request *r = arg;
    struct devices *d = r->d;
    if (r->error) {
        finish(r, r->error);
        return;
    }
    const struct string_map *limits = &pod_container(r->pod, r->container)->resources.limits;
    for (; r->resource < limits->count; r->resource++) {
        const struct allocation *a = allocation_find(&d->allocations, r->pod->meta.uid,
                                                     r->container, limits->items[r->resource].key);
        V1beta1__PreStartContainerRequest q = V1BETA1__PRE_START_CONTAINER_REQUEST__INIT;
        if (!wants_pre_start(d, a))
            continue;
        add_text(&q.n_devices_ids, &q.devices_ids, &a->ids);
        (void)call_plugin(r, limits->items[r->resource].key, PLUGIN_PRE_START, &q.base,
                          on_pre_started);
        return;
    }
    finish(r, NULL);
}

struct device_request *devices_pre_start(struct devices *d, struct pod *pod, const char *container,
                                         void (*done)(void *arg, const char *error), void *arg)
{
    bool wanted_by_one = false;
    for (size_t i = 0; d && i < d->allocations.count; i++) {
        const struct allocation *a = &d->allocations.items[i];
        wanted_by_one |= str_eq(a->pod_uid, pod->meta.uid) && str_eq(a->container, container) &&
                         wants_pre_start(d, a);
    }
    if (!wanted_by_one)
        return NULL;
    struct device_request *r = new_request(d, pod, on_pre_start_step, done, arg);
    r->container = pod_container(r->pod, container)->name;
    return r;
}

V1beta1__ContainerAllocateResponse *devices_answer(const struct devices *d, const struct pod *pod,
                                                   const char *container)
{
    struct strbuf all = STRBUF_INIT;
    bool any = false;
    for (size_t i = 0; d && i < d->allocations.count; i++) {
        const struct allocation *a = &d->allocations.items[i];
        if (!a->answer || !str_eq(a->pod_uid, pod->meta.uid) || !str_eq(a->container, container))
            continue;
        any = true;
        /* Encoded messages that follow each other are one, with all of their parts. */
        strbuf_add(&all, a->answer, a->answer_len);
    }
    void *answer =
        any ? protobuf_c_message_unpack(&v1beta1__container_allocate_response__descriptor, NULL,
                                        all.len, (const uint8_t *)strbuf_text(&all))
            : NULL;
    strbuf_done(&all);
    return answer;
}
