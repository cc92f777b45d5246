/* The methods about statistics and disk usage. */
#include "cri/api.h"

#include "base/times.h"
#include "cri/stats_message.h"
#include "cri/status.h"

#define STREAM_BATCH 100

/* ---- containers ---- */

static void answer_one(struct stats_snapshot *s, struct rpc_server_call *call)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ContainerStatsResponse r = RUNTIME__V1__CONTAINER_STATS_RESPONSE__INIT;
    size_t at = 0;
    struct container *c = stats_next_container(s, &at);
    if (!c) {
        rpc_server_fail(call, RPC_NOT_FOUND, "the container was removed meanwhile");
        return;
    }
    r.stats = stats_of_container(&a, s, c);
    rpc_server_reply(call, &r.base);
}

static void on_stats(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ContainerStatsRequest *q =
        (const Runtime__V1__ContainerStatsRequest *)request;
    struct container *c = runtime_container(arg, q->container_id);
    if (!c) {
        rpc_server_fail(call, RPC_NOT_FOUND, "container \"%s\" is not here", q->container_id);
        return;
    }
    struct stats_snapshot *s = stats_new(arg, call, false);
    stats_add_container(s, c);
    stats_take(s, answer_one);
}

/* Of the containers that run, as everywhere. */
static void take_of_containers(struct runtime *rt, struct rpc_server_call *call,
                               const Runtime__V1__ContainerStatsFilter *f,
                               void (*done)(struct stats_snapshot *s, struct rpc_server_call *call))
{
    Runtime__V1__ContainerStateValue running = RUNTIME__V1__CONTAINER_STATE_VALUE__INIT;
    Runtime__V1__ContainerFilter filter = RUNTIME__V1__CONTAINER_FILTER__INIT;
    running.state = RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
    filter.state = &running;
    if (f) {
        filter.id = f->id;
        filter.pod_sandbox_id = f->pod_sandbox_id;
        filter.n_label_selector = f->n_label_selector;
        filter.label_selector = (void *)f->label_selector;
    }
    struct stats_snapshot *s = stats_new(rt, call, false);
    MAP_FOR_EACH(e, &rt->containers) {
        struct container *c = map_value(e);
        if (container_matches(c, &filter))
            stats_add_container(s, c);
    }
    stats_take(s, done);
}

static size_t list_of_containers(struct arena *a, struct stats_snapshot *s,
                                 Runtime__V1__ContainerStats ***ret)
{
    size_t n = 0, at = 0;
    struct container *c;
    *ret = arena_array(a, map_count(&stats_runtime(s)->containers), sizeof(void *));
    while ((c = stats_next_container(s, &at)))
        (*ret)[n++] = stats_of_container(a, s, c);
    return n;
}

static void answer_list(struct stats_snapshot *s, struct rpc_server_call *call)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ListContainerStatsResponse r = RUNTIME__V1__LIST_CONTAINER_STATS_RESPONSE__INIT;
    r.n_stats = list_of_containers(&a, s, &r.stats);
    rpc_server_reply(call, &r.base);
}

static void on_list(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListContainerStatsRequest *q =
        (const Runtime__V1__ListContainerStatsRequest *)request;
    take_of_containers(arg, call, q->filter, answer_list);
}

static void answer_stream(struct stats_snapshot *s, struct rpc_server_call *call)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ContainerStats **list;
    size_t n = list_of_containers(&a, s, &list);
    for (size_t i = 0; i < n; i += STREAM_BATCH) {
        Runtime__V1__StreamContainerStatsResponse r =
            RUNTIME__V1__STREAM_CONTAINER_STATS_RESPONSE__INIT;
        r.container_stats = list + i;
        r.n_container_stats = n - i < STREAM_BATCH ? n - i : STREAM_BATCH;
        if (rpc_server_send(call, &r.base)) {
            rpc_server_fail(call, RPC_RESOURCE_EXHAUSTED, "the list was not read in time");
            return;
        }
    }
    rpc_server_end(call);
}

static void on_stream(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamContainerStatsRequest *q =
        (const Runtime__V1__StreamContainerStatsRequest *)request;
    take_of_containers(arg, call, q->filter, answer_stream);
}

/* ---- sandboxes ---- */

static void answer_one_pod(struct stats_snapshot *s, struct rpc_server_call *call)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__PodSandboxStatsResponse r = RUNTIME__V1__POD_SANDBOX_STATS_RESPONSE__INIT;
    size_t at = 0;
    struct sandbox *p = stats_next_sandbox(s, &at);
    if (!p) {
        rpc_server_fail(call, RPC_NOT_FOUND, "the sandbox was removed meanwhile");
        return;
    }
    r.stats = stats_of_sandbox(&a, s, p);
    rpc_server_reply(call, &r.base);
}

static void on_pod_stats(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__PodSandboxStatsRequest *q =
        (const Runtime__V1__PodSandboxStatsRequest *)request;
    struct sandbox *p = runtime_sandbox(arg, q->pod_sandbox_id);
    if (!p) {
        rpc_server_fail(call, RPC_NOT_FOUND, "sandbox \"%s\" is not here", q->pod_sandbox_id);
        return;
    }
    struct stats_snapshot *s = stats_new(arg, call, false);
    stats_add_sandbox(s, p);
    stats_take(s, answer_one_pod);
}

static void take_of_pods(struct runtime *rt, struct rpc_server_call *call,
                         const Runtime__V1__PodSandboxStatsFilter *f,
                         void (*done)(struct stats_snapshot *s, struct rpc_server_call *call))
{
    Runtime__V1__PodSandboxStateValue ready = RUNTIME__V1__POD_SANDBOX_STATE_VALUE__INIT;
    Runtime__V1__PodSandboxFilter filter = RUNTIME__V1__POD_SANDBOX_FILTER__INIT;
    filter.state = &ready;
    if (f) {
        filter.id = f->id;
        filter.n_label_selector = f->n_label_selector;
        filter.label_selector = (void *)f->label_selector;
    }
    struct stats_snapshot *s = stats_new(rt, call, false);
    MAP_FOR_EACH(e, &rt->sandboxes) {
        struct sandbox *p = map_value(e);
        if (sandbox_matches(p, &filter))
            stats_add_sandbox(s, p);
    }
    stats_take(s, done);
}

static size_t list_of_pods(struct arena *a, struct stats_snapshot *s,
                           Runtime__V1__PodSandboxStats ***ret)
{
    size_t n = 0, at = 0;
    struct sandbox *p;
    *ret = arena_array(a, map_count(&stats_runtime(s)->sandboxes), sizeof(void *));
    while ((p = stats_next_sandbox(s, &at)))
        (*ret)[n++] = stats_of_sandbox(a, s, p);
    return n;
}

static void answer_pods(struct stats_snapshot *s, struct rpc_server_call *call)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ListPodSandboxStatsResponse r = RUNTIME__V1__LIST_POD_SANDBOX_STATS_RESPONSE__INIT;
    r.n_stats = list_of_pods(&a, s, &r.stats);
    rpc_server_reply(call, &r.base);
}

static void on_list_pods(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListPodSandboxStatsRequest *q =
        (const Runtime__V1__ListPodSandboxStatsRequest *)request;
    take_of_pods(arg, call, q->filter, answer_pods);
}

static void answer_pod_stream(struct stats_snapshot *s, struct rpc_server_call *call)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__PodSandboxStats **list;
    size_t n = list_of_pods(&a, s, &list);
    for (size_t i = 0; i < n; i += STREAM_BATCH) {
        Runtime__V1__StreamPodSandboxStatsResponse r =
            RUNTIME__V1__STREAM_POD_SANDBOX_STATS_RESPONSE__INIT;
        r.pod_sandbox_stats = list + i;
        r.n_pod_sandbox_stats = n - i < STREAM_BATCH ? n - i : STREAM_BATCH;
        if (rpc_server_send(call, &r.base)) {
            rpc_server_fail(call, RPC_RESOURCE_EXHAUSTED, "the list was not read in time");
            return;
        }
    }
    rpc_server_end(call);
}

static void on_stream_pods(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamPodSandboxStatsRequest *q =
        (const Runtime__V1__StreamPodSandboxStatsRequest *)request;
    take_of_pods(arg, call, q->filter, answer_pod_stream);
}

/* ---- disks ---- */

/* The image service has this method; what containers wrote is ours to know. */
static void answer_fs_info(struct stats_snapshot *s, struct rpc_server_call *call)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    const struct runtime *rt = stats_runtime(s);
    struct fs_usage images = {0}, containers = {0};
    int64_t now = time_now_nano();
    image_store_usage(rt->images, &images.bytes, &images.inodes);
    MAP_FOR_EACH(e, &rt->containers) {
        const struct container *c = map_value(e);
        containers.bytes += c->layer.usage.bytes;
        containers.inodes += c->layer.usage.inodes;
    }
    Runtime__V1__FilesystemUsage *image_list[] = {
        stats_filesystem(&a, image_store_dir(rt->images), &images, now)};
    Runtime__V1__FilesystemUsage *container_list[] = {
        stats_filesystem(&a, rt->containers_dir, &containers, now)};
    Runtime__V1__ImageFsInfoResponse r = RUNTIME__V1__IMAGE_FS_INFO_RESPONSE__INIT;
    r.image_filesystems = image_list;
    r.container_filesystems = container_list;
    r.n_image_filesystems = r.n_container_filesystems = 1;
    rpc_server_reply(call, &r.base);
}

static void on_fs_info(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                       void *arg)
{
    struct runtime *rt = arg;
    struct stats_snapshot *s = stats_new(rt, call, false);
    MAP_FOR_EACH(e, &rt->containers)
        stats_add_container(s, map_value(e));
    stats_take(s, answer_fs_info);
}

static const struct rpc_server_method methods[] = {
    API_METHOD(ContainerStats, container_stats, RPC_UNARY, on_stats),
    API_METHOD(ListContainerStats, list_container_stats, RPC_UNARY, on_list),
    API_METHOD(StreamContainerStats, stream_container_stats, RPC_SERVER_STREAM, on_stream),
    API_METHOD(PodSandboxStats, pod_sandbox_stats, RPC_UNARY, on_pod_stats),
    API_METHOD(ListPodSandboxStats, list_pod_sandbox_stats, RPC_UNARY, on_list_pods),
    API_METHOD(StreamPodSandboxStats, stream_pod_sandbox_stats, RPC_SERVER_STREAM, on_stream_pods),
    {"/runtime.v1.ImageService/ImageFsInfo", &runtime__v1__image_fs_info_request__descriptor,
     RPC_UNARY, on_fs_info},
};

void api_stats_register(struct runtime *rt)
{
    rpc_server_add(rt->server, methods, ARRAY_SIZE(methods), rt);
}
