/* The methods about containers. */
#include "cri/api.h"

#include <errno.h>

#include "base/times.h"
#include "cri/container.h"
#include "cri/exec.h"
#include "cri/status.h"
#include "cri/streaming.h"

#define STREAM_BATCH 100

static struct container *need(struct runtime *rt, struct rpc_server_call *call, const char *id)
{
    struct container *c = runtime_container(rt, id);
    if (!c)
        rpc_server_fail(call, RPC_NOT_FOUND, "container \"%s\" is not here", id);
    return c;
}

static void on_created(struct container *c, int code, const struct error *err, void *arg)
{
    Runtime__V1__CreateContainerResponse r = RUNTIME__V1__CREATE_CONTAINER_RESPONSE__INIT;
    if (c)
        r.container_id = c->id;
    api_finish(arg, &r.base, code, err);
}

static void on_create(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__CreateContainerRequest *q =
        (const Runtime__V1__CreateContainerRequest *)request;
    struct sandbox *s = runtime_sandbox(arg, q->pod_sandbox_id);
    if (!s)
        rpc_server_fail(call, RPC_NOT_FOUND, "sandbox \"%s\" is not here", q->pod_sandbox_id);
    else
        container_create(s, q->config, on_created, call);
}

static void on_start(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StartContainerRequest *q =
        (const Runtime__V1__StartContainerRequest *)request;
    struct container *c = need(arg, call, q->container_id);
    if (c)
        container_start(c, api_done, call);
}

static void on_stop(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StopContainerRequest *q = (const Runtime__V1__StopContainerRequest *)request;
    struct container *c = runtime_container(arg, q->container_id);
    if (c)
        container_stop(c, q->timeout, api_done, call);
    else
        api_done(0, NULL, call);
}

static void on_remove(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__RemoveContainerRequest *q =
        (const Runtime__V1__RemoveContainerRequest *)request;
    struct container *c = runtime_container(arg, q->container_id);
    if (c)
        container_remove(c, api_done, call);
    else
        api_done(0, NULL, call);
}

static void on_status(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ContainerStatusRequest *q =
        (const Runtime__V1__ContainerStatusRequest *)request;
    const struct container *c = need(arg, call, q->container_id);
    if (!c)
        return;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ContainerStatusResponse r = RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INIT;
    r.status = status_of_container(&a, c);
    Runtime__V1__ContainerStatusResponse__InfoEntry info =
        RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INFO_ENTRY__INIT;
    Runtime__V1__ContainerStatusResponse__InfoEntry *infos[] = {&info};
    if (q->verbose) {
        static char key[] = "info";
        info.key = key;
        info.value = arena_printf(&a, "{\"sandboxID\":\"%s\",\"pid\":%d,\"cgroup\":\"%s\"}",
                                  c->sandbox->id, (int)c->pid, c->cgroup);
        r.n_info = 1;
        r.info = infos;
    }
    rpc_server_reply(call, &r.base);
}

static size_t select_containers(struct runtime *rt, struct arena *a,
                                const Runtime__V1__ContainerFilter *filter,
                                Runtime__V1__Container ***ret)
{
    size_t n = 0;
    Runtime__V1__Container **list = arena_array(a, map_count(&rt->containers), sizeof(void *));
    MAP_FOR_EACH(e, &rt->containers) {
        const struct container *c = map_value(e);
        if (container_matches(c, filter))
            list[n++] = container_summary(a, c);
    }
    *ret = list;
    return n;
}

static void on_list(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListContainersRequest *q =
        (const Runtime__V1__ListContainersRequest *)request;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ListContainersResponse r = RUNTIME__V1__LIST_CONTAINERS_RESPONSE__INIT;
    r.n_containers = select_containers(arg, &a, q->filter, &r.containers);
    rpc_server_reply(call, &r.base);
}

static void on_stream(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamContainersRequest *q =
        (const Runtime__V1__StreamContainersRequest *)request;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__Container **list;
    size_t n = select_containers(arg, &a, q->filter, &list);
    for (size_t i = 0; i < n; i += STREAM_BATCH) {
        Runtime__V1__StreamContainersResponse r = RUNTIME__V1__STREAM_CONTAINERS_RESPONSE__INIT;
        r.containers = list + i;
        r.n_containers = n - i < STREAM_BATCH ? n - i : STREAM_BATCH;
        if (rpc_server_send(call, &r.base)) {
            rpc_server_fail(call, RPC_RESOURCE_EXHAUSTED, "the list was not read in time");
            return;
        }
    }
    rpc_server_end(call);
}

static void on_update(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__UpdateContainerResourcesRequest *q =
        (const Runtime__V1__UpdateContainerResourcesRequest *)request;
    struct container *c = need(arg, call, q->container_id);
    if (!c)
        return;
    if (q->linux)
        container_update(c, q->linux, api_done, call);
    else
        api_done(0, NULL, call);
}

static void on_shim_reply(const struct shim_reply *reply, void *arg)
{
    struct error err = ERROR_INIT;
    if (reply->code < 0)
        (void)error_set(&err, reply->code, "%s", reply->message);
    api_done(reply->code, &err, arg);
}

static void on_reopen_log(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ReopenContainerLogRequest *q =
        (const Runtime__V1__ReopenContainerLogRequest *)request;
    struct container *c = need(arg, call, q->container_id);
    if (!c)
        return;
    if (c->state != CONTAINER_RUNNING || !c->sandbox->shim)
        rpc_server_fail(call, RPC_FAILED_PRECONDITION, "container %s is not running", c->id);
    else if (shim_reopen_log(c->sandbox->shim, c->id, on_shim_reply, call) < 0)
        rpc_server_fail(call, RPC_UNAVAILABLE, "the shim of container %s is gone", c->id);
}

/* ---- exec ---- */
static void on_exec_result(const struct exec_result *result, void *arg)
{
    struct rpc_server_call *call = arg;
    if (result->code == -ETIMEDOUT) {
        rpc_server_fail(call, RPC_DEADLINE_EXCEEDED, "%s", result->message);
        return;
    }
    if (result->code < 0) {
        struct error err = ERROR_INIT;
        (void)error_set(&err, result->code, "%s", result->message);
        rpc_server_fail_errno(call, result->code, &err);
        return;
    }
    Runtime__V1__ExecSyncResponse r = RUNTIME__V1__EXEC_SYNC_RESPONSE__INIT;
    r.stdout.data = (uint8_t *)result->out->data;
    r.stdout.len = result->out->len;
    r.stderr.data = (uint8_t *)result->err->data;
    r.stderr.len = result->err->len;
    r.exit_code = result->exit_code;
    rpc_server_reply(call, &r.base);
}

/* NULL-terminated, borrowed from the request. */
static const char *const *command(struct arena *a, size_t n, char *const *cmd)
{
    const char **argv = arena_array(a, n + 1, sizeof(*argv));
    for (size_t i = 0; i < n; i++)
        argv[i] = cmd[i];
    return argv;
}

static void on_exec_sync(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ExecSyncRequest *q = (const Runtime__V1__ExecSyncRequest *)request;
    struct container *c = need(arg, call, q->container_id);
    if (!c)
        return;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    exec_sync(c, command(&a, q->n_cmd, q->cmd), q->timeout, on_exec_result, call);
}

static void on_exec(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    struct runtime *rt = arg;
    const Runtime__V1__ExecRequest *q = (const Runtime__V1__ExecRequest *)request;
    const struct container *c = need(rt, call, q->container_id);
    if (!c)
        return;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    struct error err = ERROR_INIT;
    const struct streaming_options o = {q->stdin, q->stdout, q->stderr, q->tty};
    Runtime__V1__ExecResponse r = RUNTIME__V1__EXEC_RESPONSE__INIT;
    _cleanup_free_ char *url =
        streaming_exec(rt->streaming, c, command(&a, q->n_cmd, q->cmd), &o, &err);
    if (url)
        r.url = url;
    api_finish(call, &r.base, url ? 0 : err.code, &err);
}

static void on_attach(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    struct runtime *rt = arg;
    const Runtime__V1__AttachRequest *q = (const Runtime__V1__AttachRequest *)request;
    const struct container *c = need(rt, call, q->container_id);
    if (!c)
        return;
    struct error err = ERROR_INIT;
    const struct streaming_options o = {q->stdin, q->stdout, q->stderr, q->tty};
    Runtime__V1__AttachResponse r = RUNTIME__V1__ATTACH_RESPONSE__INIT;
    _cleanup_free_ char *url = streaming_attach(rt->streaming, c, &o, &err);
    if (url)
        r.url = url;
    api_finish(call, &r.base, url ? 0 : err.code, &err);
}

static const struct rpc_server_method methods[] = {
    API_METHOD(CreateContainer, create_container, RPC_UNARY, on_create),
    API_METHOD(StartContainer, start_container, RPC_UNARY, on_start),
    API_METHOD(StopContainer, stop_container, RPC_UNARY, on_stop),
    API_METHOD(RemoveContainer, remove_container, RPC_UNARY, on_remove),
    API_METHOD(ContainerStatus, container_status, RPC_UNARY, on_status),
    API_METHOD(ListContainers, list_containers, RPC_UNARY, on_list),
    API_METHOD(StreamContainers, stream_containers, RPC_SERVER_STREAM, on_stream),
    API_METHOD(UpdateContainerResources, update_container_resources, RPC_UNARY, on_update),
    API_METHOD(ReopenContainerLog, reopen_container_log, RPC_UNARY, on_reopen_log),
    API_METHOD(ExecSync, exec_sync, RPC_UNARY, on_exec_sync),
    API_METHOD(Exec, exec, RPC_UNARY, on_exec),
    API_METHOD(Attach, attach, RPC_UNARY, on_attach),
};

void api_container_register(struct runtime *rt)
{
    rpc_server_add(rt->server, methods, ARRAY_SIZE(methods), rt);
}
