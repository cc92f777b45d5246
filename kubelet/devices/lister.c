/*
 * The pod resources service (v1.PodResourcesLister): which pods have which devices, which devices
 * there are. One entry for each device, as upstream has it.
 */
#include "base/strbuf.h"
#include "kubelet/devices/internal.h"
#include "kubelet/pods.h"
#include "kubelet/runtime/message.h"
#include "net/podresources.pb-c.h"

static V1__ContainerDevices *device_entry(const char *resource, const char *id,
                                          const struct plugin_device *device)
{
    V1__ContainerDevices *e = message_new(&v1__container_devices__descriptor);
    message_text(&e->resource_name, resource);
    message_append_text(&e->n_device_ids, &e->device_ids, id);
    if (!device || !device->n_nodes)
        return e;
    e->topology = message_new(&v1__topology_info__descriptor);
    for (size_t i = 0; i < device->n_nodes; i++) {
        V1__NUMANode *node = message_new(&v1__numanode__descriptor);
        node->id = device->nodes[i];
        message_append(&e->topology->n_nodes, &e->topology->nodes, node);
    }
    return e;
}

static V1__PodResources *pod_entry(const struct devices *d, const struct pod *pod)
{
    V1__PodResources *out = message_new(&v1__pod_resources__descriptor);
    message_text(&out->name, pod->meta.name);
    message_text(&out->namespace_, pod->meta.ns);
    for (size_t i = 0; i < pod_fixed_count(pod); i++) {
        const struct container_spec *c = pod_container_at(pod, i);
        if (pod_container_is_init(pod, i) && !str_eq(c->restart_policy, "Always"))
            continue;
        V1__ContainerResources *r = message_new(&v1__container_resources__descriptor);
        message_text(&r->name, c->name);
        message_append(&out->n_containers, &out->containers, r);
        for (size_t n = 0; n < c->resources.limits.count; n++) {
            const char *resource = c->resources.limits.items[n].key;
            const struct allocation *a =
                allocation_find(&d->allocations, pod->meta.uid, c->name, resource);
            const struct plugin *p = map_get(&d->plugins, resource);
            for (size_t k = 0; a && a->answer && k < a->ids.count; k++)
                message_append(&r->n_devices, &r->devices,
                               device_entry(resource, a->ids.items[k],
                                            p ? plugin_device(p, a->ids.items[k]) : NULL));
        }
    }
    return out;
}

static bool is_active(const struct pod_worker *w)
{
    return w->stage == WORKER_RUN || w->stage == WORKER_STOP;
}

struct listing {
    const struct devices *d;
    V1__ListPodResourcesResponse *reply;
};

static void list_one(const struct pod_worker *w, void *arg)
{
    struct listing *l = arg;
    if (is_active(w))
        message_append(&l->reply->n_pod_resources, &l->reply->pod_resources,
                       pod_entry(l->d, w->pod));
}

static void on_list(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                    void *arg)
{
    struct devices *d = arg;
    struct listing l = {.d = d, .reply = message_new(&v1__list_pod_resources_response__descriptor)};
    pod_manager_each(d->k->pods, list_one, &l);
    rpc_server_reply(call, &l.reply->base);
    message_free(l.reply);
}

static void on_get(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    struct devices *d = arg;
    const V1__GetPodResourcesRequest *q = (const void *)request;
    const struct pod_worker *w = pod_manager_find(d->k->pods, q->pod_namespace, q->pod_name, NULL);
    if (!w || !is_active(w)) {
        rpc_server_fail(call, RPC_NOT_FOUND, "pod %s in namespace %s not found", q->pod_name,
                        q->pod_namespace);
        return;
    }
    V1__GetPodResourcesResponse reply = V1__GET_POD_RESOURCES_RESPONSE__INIT;
    reply.pod_resources = pod_entry(d, w->pod);
    rpc_server_reply(call, &reply.base);
    message_free(reply.pod_resources);
}

static void on_allocatable(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                           void *arg)
{
    const struct devices *d = arg;
    V1__AllocatableResourcesResponse *reply =
        message_new(&v1__allocatable_resources_response__descriptor);
    MAP_FOR_EACH(e, &d->plugins) {
        const struct plugin *p = map_value(e);
        for (size_t i = 0; i < p->n_devices; i++)
            if (p->devices[i].healthy)
                message_append(&reply->n_devices, &reply->devices,
                               device_entry(p->resource, p->devices[i].id, &p->devices[i]));
    }
    rpc_server_reply(call, &reply->base);
    message_free(reply);
}

void devices_lister_add(struct devices *d, struct rpc_server *server)
{
    static const struct rpc_server_method methods[] = {
        {"/v1.PodResourcesLister/List", &v1__list_pod_resources_request__descriptor, RPC_UNARY,
         on_list},
        {"/v1.PodResourcesLister/Get", &v1__get_pod_resources_request__descriptor, RPC_UNARY,
         on_get},
        {"/v1.PodResourcesLister/GetAllocatableResources",
         &v1__allocatable_resources_request__descriptor, RPC_UNARY, on_allocatable},
    };
    rpc_server_add(server, methods, ARRAY_SIZE(methods), d);
}
