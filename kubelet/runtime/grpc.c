/* The CRI over gRPC. */
#include "kubelet/runtime/runtime.h"

#include "base/strbuf.h"

struct grpc_runtime {
    struct runtime base;
    struct rpc_client *client;
};

#define RUNTIME(name, message)                                                             \
    {                                                                                      \
        "/runtime.v1.RuntimeService/" name, &runtime__v1__##message##_response__descriptor \
    }
#define IMAGE(name, message)                                                             \
    {                                                                                    \
        "/runtime.v1.ImageService/" name, &runtime__v1__##message##_response__descriptor \
    }

static const struct rpc_method methods[CRI_METHODS] = {
    [CRI_VERSION] = RUNTIME("Version", version),
    [CRI_STATUS] = RUNTIME("Status", status),
    [CRI_RUNTIME_CONFIG] = RUNTIME("RuntimeConfig", runtime_config),
    [CRI_UPDATE_RUNTIME_CONFIG] = RUNTIME("UpdateRuntimeConfig", update_runtime_config),
    [CRI_RUN_POD_SANDBOX] = RUNTIME("RunPodSandbox", run_pod_sandbox),
    [CRI_STOP_POD_SANDBOX] = RUNTIME("StopPodSandbox", stop_pod_sandbox),
    [CRI_REMOVE_POD_SANDBOX] = RUNTIME("RemovePodSandbox", remove_pod_sandbox),
    [CRI_POD_SANDBOX_STATUS] = RUNTIME("PodSandboxStatus", pod_sandbox_status),
    [CRI_LIST_POD_SANDBOX] = RUNTIME("ListPodSandbox", list_pod_sandbox),
    [CRI_CREATE_CONTAINER] = RUNTIME("CreateContainer", create_container),
    [CRI_START_CONTAINER] = RUNTIME("StartContainer", start_container),
    [CRI_STOP_CONTAINER] = RUNTIME("StopContainer", stop_container),
    [CRI_REMOVE_CONTAINER] = RUNTIME("RemoveContainer", remove_container),
    [CRI_LIST_CONTAINERS] = RUNTIME("ListContainers", list_containers),
    [CRI_CONTAINER_STATUS] = RUNTIME("ContainerStatus", container_status),
    [CRI_UPDATE_CONTAINER_RESOURCES] =
        RUNTIME("UpdateContainerResources", update_container_resources),
    [CRI_LIST_CONTAINER_STATS] = RUNTIME("ListContainerStats", list_container_stats),
    [CRI_LIST_POD_SANDBOX_STATS] = RUNTIME("ListPodSandboxStats", list_pod_sandbox_stats),
    [CRI_EXEC_SYNC] = RUNTIME("ExecSync", exec_sync),
    [CRI_EXEC] = RUNTIME("Exec", exec),
    [CRI_ATTACH] = RUNTIME("Attach", attach),
    [CRI_PORT_FORWARD] = RUNTIME("PortForward", port_forward),
    [CRI_LIST_IMAGES] = IMAGE("ListImages", list_images),
    [CRI_IMAGE_STATUS] = IMAGE("ImageStatus", image_status),
    [CRI_PULL_IMAGE] = IMAGE("PullImage", pull_image),
    [CRI_REMOVE_IMAGE] = IMAGE("RemoveImage", remove_image),
    [CRI_IMAGE_FS_INFO] = IMAGE("ImageFsInfo", image_fs_info),
};

const char *cri_operation(enum cri_method method)
{
    static const char *const names[CRI_METHODS] = {
        [CRI_VERSION] = "version",
        [CRI_STATUS] = "status",
        [CRI_RUNTIME_CONFIG] = "runtime_config",
        [CRI_UPDATE_RUNTIME_CONFIG] = "update_runtime_config",
        [CRI_RUN_POD_SANDBOX] = "run_podsandbox",
        [CRI_STOP_POD_SANDBOX] = "stop_podsandbox",
        [CRI_REMOVE_POD_SANDBOX] = "remove_podsandbox",
        [CRI_POD_SANDBOX_STATUS] = "podsandbox_status",
        [CRI_LIST_POD_SANDBOX] = "list_podsandbox",
        [CRI_CREATE_CONTAINER] = "create_container",
        [CRI_START_CONTAINER] = "start_container",
        [CRI_STOP_CONTAINER] = "stop_container",
        [CRI_REMOVE_CONTAINER] = "remove_container",
        [CRI_LIST_CONTAINERS] = "list_containers",
        [CRI_CONTAINER_STATUS] = "container_status",
        [CRI_UPDATE_CONTAINER_RESOURCES] = "update_container",
        [CRI_LIST_CONTAINER_STATS] = "list_container_stats",
        [CRI_LIST_POD_SANDBOX_STATS] = "list_podsandbox_stats",
        [CRI_EXEC_SYNC] = "exec_sync",
        [CRI_EXEC] = "exec",
        [CRI_ATTACH] = "attach",
        [CRI_PORT_FORWARD] = "port_forward",
        [CRI_LIST_IMAGES] = "list_images",
        [CRI_IMAGE_STATUS] = "image_status",
        [CRI_PULL_IMAGE] = "pull_image",
        [CRI_REMOVE_IMAGE] = "remove_image",
        [CRI_IMAGE_FS_INFO] = "image_fs_info",
    };
    return names[method];
}

static struct runtime_call *grpc_call(struct runtime *rt, enum cri_method method,
                                      const ProtobufCMessage *request, uint64_t deadline_ms,
                                      rpc_reply_fn *cb, void *arg)
{
    struct grpc_runtime *g = CONTAINER_OF(rt, struct grpc_runtime, base);
    return (struct runtime_call *)rpc_client_call(g->client, &methods[method], request, deadline_ms,
                                                  cb, arg);
}

static void grpc_cancel(struct runtime *rt, struct runtime_call *call)
{
    (void)rt;
    rpc_call_cancel((struct rpc_call *)call);
}

static const struct runtime_ops grpc_ops = {.call = grpc_call, .cancel = grpc_cancel};

struct runtime *runtime_new_grpc(struct rpc *rpc, const char *endpoint, struct error *err)
{
    _cleanup_free_ char *target =
        endpoint[0] == '/' ? str_printf("unix://%s", endpoint) : str_dup(endpoint);
    struct rpc_client_options options = {.target = target, .reconnect_max_ms = 1000};
    struct rpc_client *client = rpc_client_new(rpc, &options, err);
    if (!client)
        return NULL;
    struct grpc_runtime *g = mem_zalloc(sizeof(*g));
    g->base.ops = &grpc_ops;
    g->client = client;
    return &g->base;
}

struct runtime *runtime_free_grpc(struct runtime *rt)
{
    if (rt) {
        struct grpc_runtime *g = CONTAINER_OF(rt, struct grpc_runtime, base);
        rpc_client_free(g->client);
        free(g);
    }
    return NULL;
}

struct rpc_client *runtime_client(struct runtime *rt)
{
    return CONTAINER_OF(rt, struct grpc_runtime, base)->client;
}
