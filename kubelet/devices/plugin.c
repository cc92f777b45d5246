/* One plugin; see devices.h. Without its stream of devices it is gone: all of them are unhealthy
 * until it registers again, and after five minutes they count no more. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/devices/devices.h"

#define CALL_MS   10000
#define START_MS  30000  /* upstream's, for PreStartContainer */
#define FORGET_MS 300000 /* upstream's */

static const struct rpc_method methods[] = {
    [PLUGIN_PREFERRED] = {"/v1beta1.DevicePlugin/GetPreferredAllocation",
                          &v1beta1__preferred_allocation_response__descriptor},
    [PLUGIN_ALLOCATE] = {"/v1beta1.DevicePlugin/Allocate", &v1beta1__allocate_response__descriptor},
    [PLUGIN_PRE_START] = {"/v1beta1.DevicePlugin/PreStartContainer",
                          &v1beta1__pre_start_container_response__descriptor},
};
static const struct rpc_method list_method = {"/v1beta1.DevicePlugin/ListAndWatch",
                                              &v1beta1__list_and_watch_response__descriptor};
static const struct rpc_method options_method = {"/v1beta1.DevicePlugin/GetDevicePluginOptions",
                                                 &v1beta1__device_plugin_options__descriptor};

static void drop_devices(struct plugin *p)
{
    for (size_t i = 0; i < p->n_devices; i++) {
        free(p->devices[i].id);
        free(p->devices[i].nodes);
    }
    free(p->devices);
    p->devices = NULL;
    p->n_devices = 0;
}

static void on_forget(void *arg)
{
    struct plugin *p = arg;
    drop_devices(p);
    p->changed(p, p->arg);
}

struct plugin *plugin_new(struct loop *loop, const char *resource,
                          void (*changed)(struct plugin *p, void *arg), void *arg)
{
    struct plugin *p = mem_zalloc(sizeof(*p));
    p->resource = str_dup(resource);
    p->changed = changed;
    p->arg = arg;
    loop_timer_init(&p->forget, loop, "device plugin", on_forget, p);
    return p;
}

static void disconnect(struct plugin *p)
{
    rpc_call_cancel(p->options_call);
    rpc_stream_cancel(p->stream);
    p->options_call = NULL;
    p->stream = NULL;
    p->client = rpc_client_free(p->client);
}

struct plugin *plugin_free(struct plugin *p)
{
    if (!p)
        return NULL;
    disconnect(p);
    drop_devices(p);
    loop_timer_done(&p->forget);
    free(p->resource);
    free(p);
    return NULL;
}

/* ---- its devices ---- */
static void on_list(void *arg, const ProtobufCMessage *message)
{
    struct plugin *p = arg;
    const V1beta1__ListAndWatchResponse *list = (const void *)message;
    drop_devices(p);
    if (list->n_devices > DEVICES_MAX)
        log_warn("device plugin has too many devices: the rest is passed over", "resource",
                 p->resource, NULL);
    p->devices = mem_zalloc((list->n_devices + 1) * sizeof(*p->devices));
    for (size_t i = 0; i < list->n_devices && p->n_devices < DEVICES_MAX; i++) {
        const V1beta1__Device *from = list->devices[i];
        const V1beta1__TopologyInfo *near = from->topology;
        if (!*from->id || strlen(from->id) > DEVICE_ID_MAX || plugin_device(p, from->id))
            continue;
        struct plugin_device *d = &p->devices[p->n_devices++];
        d->id = str_dup(from->id);
        d->healthy = str_eq(from->health, "Healthy");
        if (!near)
            continue;
        d->nodes = mem_zalloc((near->n_nodes + 1) * sizeof(*d->nodes));
        for (; d->n_nodes < near->n_nodes; d->n_nodes++)
            d->nodes[d->n_nodes] = near->nodes[d->n_nodes]->id;
    }
    p->changed(p, p->arg);
}

static void on_end(void *arg, _unused_ enum rpc_status status, const char *message)
{
    struct plugin *p = arg;
    p->stream = NULL;
    log_warn("device plugin is gone", "resource", p->resource, "error", message, NULL);
    for (size_t i = 0; i < p->n_devices; i++)
        p->devices[i].healthy = false;
    loop_timer_set(&p->forget, FORGET_MS);
    p->changed(p, p->arg);
}

static void set_options(struct plugin *p, const V1beta1__DevicePluginOptions *o)
{
    p->pre_start = o->pre_start_required;
    p->preferred = o->get_preferred_allocation_available;
}

static void on_options(void *arg, enum rpc_status status, const char *message,
                       const ProtobufCMessage *response)
{
    struct plugin *p = arg;
    p->options_call = NULL;
    if (status == RPC_OK)
        set_options(p, (const void *)response);
    else
        log_warn("device plugin does not tell its options", "resource", p->resource, "error",
                 message, NULL);
}

int plugin_connect(struct plugin *p, struct rpc *rpc, const char *socket,
                   const V1beta1__DevicePluginOptions *options, struct error *err)
{
    static const struct rpc_stream_events events = {.on_message = on_list, .on_end = on_end};
    _cleanup_free_ char *target = str_printf("unix://%s", socket);
    struct rpc_client_options how = {.target = target};
    V1beta1__Empty empty = V1BETA1__EMPTY__INIT;
    struct rpc_client *client = rpc_client_new(rpc, &how, err);
    if (!client)
        return -EINVAL;
    disconnect(p);
    loop_timer_stop(&p->forget);
    p->client = client;
    p->pre_start = p->preferred = false;
    if (options)
        set_options(p, options);
    else
        p->options_call =
            rpc_client_call(client, &options_method, &empty.base, CALL_MS, on_options, p);
    p->stream = rpc_client_stream(client, &list_method, &empty.base, true, 0, &events, p);
    return 0;
}

bool plugin_is_here(const struct plugin *p)
{
    return p && p->stream;
}

size_t plugin_healthy(const struct plugin *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_devices; i++)
        n += p->devices[i].healthy;
    return n;
}

const struct plugin_device *plugin_device(const struct plugin *p, const char *id)
{
    for (size_t i = 0; i < p->n_devices; i++)
        if (str_eq(p->devices[i].id, id))
            return &p->devices[i];
    return NULL;
}

struct rpc_call *plugin_call(struct plugin *p, enum plugin_method method,
                             const ProtobufCMessage *request, rpc_reply_fn *cb, void *arg)
{
    if (!plugin_is_here(p))
        return NULL;
    return rpc_client_call(p->client, &methods[method], request,
                           method == PLUGIN_PRE_START ? START_MS : CALL_MS, cb, arg);
}
