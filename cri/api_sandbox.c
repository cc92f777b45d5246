/* The methods about sandboxes. */
#include "cri/api.h"

#include <errno.h>

#include "base/times.h"
#include "cri/sandbox.h"
#include "cri/status.h"
#include "cri/streaming.h"

/* Items of one message of a streamed list. */
#define STREAM_BATCH 100

static struct sandbox *need(struct runtime *rt, struct rpc_server_call *call, const char *id)
{
    struct sandbox *s = runtime_sandbox(rt, id);
    if (!s)
        rpc_server_fail(call, RPC_NOT_FOUND, "sandbox \"%s\" is not here", id);
    return s;
}

static void on_ran(struct sandbox *s, int code, const struct error *err, void *arg)
{
    Runtime__V1__RunPodSandboxResponse r = RUNTIME__V1__RUN_POD_SANDBOX_RESPONSE__INIT;
    if (s)
        r.pod_sandbox_id = s->id;
    api_finish(arg, &r.base, code, err);
}

static void on_run(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__RunPodSandboxRequest *q = (const Runtime__V1__RunPodSandboxRequest *)request;
    if (q->runtime_handler[0]) {
        rpc_server_fail(call, RPC_NOT_FOUND, "runtime_handler: there is no handler \"%s\"",
                        q->runtime_handler);
        return;
    }
    sandbox_run(arg, q->config, on_ran, call);
}

static void on_stop(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StopPodSandboxRequest *q =
        (const Runtime__V1__StopPodSandboxRequest *)request;
    struct sandbox *s = runtime_sandbox(arg, q->pod_sandbox_id);
    if (s)
        sandbox_stop(s, api_done, call);
    else
        api_done(0, NULL, call);
}

static void on_remove(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__RemovePodSandboxRequest *q =
        (const Runtime__V1__RemovePodSandboxRequest *)request;
    struct sandbox *s = runtime_sandbox(arg, q->pod_sandbox_id);
    if (s)
        sandbox_remove(s, api_done, call);
    else
        api_done(0, NULL, call);
}

static void on_status(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__PodSandboxStatusRequest *q =
        (const Runtime__V1__PodSandboxStatusRequest *)request;
    const struct sandbox *s = need(arg, call, q->pod_sandbox_id);
    if (!s)
        return;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__PodSandboxStatusResponse r = RUNTIME__V1__POD_SANDBOX_STATUS_RESPONSE__INIT;
    r.status = status_of_sandbox(&a, s);
    r.containers_statuses = statuses_of_containers(&a, s, &r.n_containers_statuses);
    r.timestamp = time_now_nano();
    Runtime__V1__PodSandboxStatusResponse__InfoEntry info =
        RUNTIME__V1__POD_SANDBOX_STATUS_RESPONSE__INFO_ENTRY__INIT;
    Runtime__V1__PodSandboxStatusResponse__InfoEntry *infos[] = {&info};
    if (q->verbose) {
        static char key[] = "info";
        _cleanup_free_ char *netns = shim_ns_path(s->dir, "net");
        info.key = key;
        info.value = arena_printf(&a, "{\"pid\":%d,\"netns\":\"%s\",\"link\":\"%s\"}",
                                  s->shim ? (int)shim_pid(s->shim) : 0,
                                  s->host_network ? "" : netns, s->net.link);
        r.n_info = 1;
        r.info = infos;
    }
    rpc_server_reply(call, &r.base);
}

static size_t select_sandboxes(struct runtime *rt, struct arena *a,
                               const Runtime__V1__PodSandboxFilter *filter,
                               Runtime__V1__PodSandbox ***ret)
{
    size_t n = 0;
    Runtime__V1__PodSandbox **list = arena_array(a, map_count(&rt->sandboxes), sizeof(void *));
    MAP_FOR_EACH(e, &rt->sandboxes) {
        const struct sandbox *s = map_value(e);
        if (sandbox_matches(s, filter))
            list[n++] = sandbox_summary(a, s);
    }
    *ret = list;
    return n;
}

static void on_list(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListPodSandboxRequest *q =
        (const Runtime__V1__ListPodSandboxRequest *)request;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ListPodSandboxResponse r = RUNTIME__V1__LIST_POD_SANDBOX_RESPONSE__INIT;
    r.n_items = select_sandboxes(arg, &a, q->filter, &r.items);
    rpc_server_reply(call, &r.base);
}

static void on_stream(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamPodSandboxesRequest *q =
        (const Runtime__V1__StreamPodSandboxesRequest *)request;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__PodSandbox **list;
    size_t n = select_sandboxes(arg, &a, q->filter, &list);
    for (size_t i = 0; i < n; i += STREAM_BATCH) {
        Runtime__V1__StreamPodSandboxesResponse r =
            RUNTIME__V1__STREAM_POD_SANDBOXES_RESPONSE__INIT;
        r.pod_sandboxes = list + i;
        r.n_pod_sandboxes = n - i < STREAM_BATCH ? n - i : STREAM_BATCH;
        if (rpc_server_send(call, &r.base)) {
            rpc_server_fail(call, RPC_RESOURCE_EXHAUSTED, "the list was not read in time");
            return;
        }
    }
    rpc_server_end(call);
}

static int read_ports(const Runtime__V1__PortForwardRequest *q, struct remote_ports *ports,
                      struct error *err)
{
    if (q->n_port > REMOTE_PORTS_MAX)
        return error_set_field(err, -EINVAL, "port", "port: more than %d", REMOTE_PORTS_MAX);
    for (size_t i = 0; i < q->n_port; i++) {
        if (q->port[i] < 1 || q->port[i] > UINT16_MAX)
            return error_set_field(err, -EINVAL, "port", "port: %d is no port", q->port[i]);
        ports->ports[ports->count++] = (uint16_t)q->port[i];
    }
    return 0;
}

static void on_port_forward(struct rpc_server_call *call, const ProtobufCMessage *request,
                            void *arg)
{
    struct runtime *rt = arg;
    const Runtime__V1__PortForwardRequest *q = (const Runtime__V1__PortForwardRequest *)request;
    const struct sandbox *s = need(rt, call, q->pod_sandbox_id);
    if (!s)
        return;
    struct error err = ERROR_INIT;
    Runtime__V1__PortForwardResponse r = RUNTIME__V1__PORT_FORWARD_RESPONSE__INIT;
    struct remote_ports ports = {.count = 0};
    _cleanup_free_ char *url = NULL;
    if (read_ports(q, &ports, &err) == 0)
        url = streaming_port_forward(rt->streaming, s, &ports, &err);
    if (url)
        r.url = url;
    api_finish(call, &r.base, url ? 0 : err.code, &err);
}

static void on_update_resources(struct rpc_server_call *call, const ProtobufCMessage *request,
                                void *arg)
{
    const Runtime__V1__UpdatePodSandboxResourcesRequest *q =
        (const Runtime__V1__UpdatePodSandboxResourcesRequest *)request;
    /* The kubelet owns the pod's cgroup and has changed it; a sandbox has no process in it. */
    if (need(arg, call, q->pod_sandbox_id))
        api_done(0, NULL, call);
}

static const struct rpc_server_method methods[] = {
    API_METHOD(RunPodSandbox, run_pod_sandbox, RPC_UNARY, on_run),
    API_METHOD(StopPodSandbox, stop_pod_sandbox, RPC_UNARY, on_stop),
    API_METHOD(RemovePodSandbox, remove_pod_sandbox, RPC_UNARY, on_remove),
    API_METHOD(PodSandboxStatus, pod_sandbox_status, RPC_UNARY, on_status),
    API_METHOD(ListPodSandbox, list_pod_sandbox, RPC_UNARY, on_list),
    API_METHOD(StreamPodSandboxes, stream_pod_sandboxes, RPC_SERVER_STREAM, on_stream),
    API_METHOD(PortForward, port_forward, RPC_UNARY, on_port_forward),
    API_METHOD(UpdatePodSandboxResources, update_pod_sandbox_resources, RPC_UNARY,
               on_update_resources),
};

void api_sandbox_register(struct runtime *rt)
{
    rpc_server_add(rt->server, methods, ARRAY_SIZE(methods), rt);
}
