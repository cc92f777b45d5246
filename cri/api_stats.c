/* Statistics, read from the cgroups and the link when they are asked for. */
#include "cri/api.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "base/times.h"
#include "cri/container.h"
#include "cri/status.h"

#define STREAM_BATCH 100

static Runtime__V1__UInt64Value *value(struct arena *a, uint64_t v)
{
    Runtime__V1__UInt64Value *m =
        ARENA_MESSAGE(a, Runtime__V1__UInt64Value, runtime__v1__uint64_value);
    m->value = v;
    return m;
}

static Runtime__V1__CpuUsage *cpu_usage(struct arena *a, uint64_t ns, int64_t now)
{
    Runtime__V1__CpuUsage *m = ARENA_MESSAGE(a, Runtime__V1__CpuUsage, runtime__v1__cpu_usage);
    m->timestamp = now;
    m->usage_core_nano_seconds = value(a, ns);
    return m;
}

static Runtime__V1__MemoryUsage *memory_usage(struct arena *a, const struct cgroup_stats *s,
                                              int64_t now)
{
    Runtime__V1__MemoryUsage *m =
        ARENA_MESSAGE(a, Runtime__V1__MemoryUsage, runtime__v1__memory_usage);
    m->timestamp = now;
    m->working_set_bytes = value(a, s->memory_working_set);
    m->usage_bytes = value(a, s->memory_usage);
    m->rss_bytes = value(a, s->memory_rss);
    m->page_faults = value(a, s->page_faults);
    m->major_page_faults = value(a, s->major_page_faults);
    if (s->memory_limit != UINT64_MAX)
        m->available_bytes = value(a, s->memory_limit > s->memory_working_set
                                          ? s->memory_limit - s->memory_working_set
                                          : 0);
    return m;
}

static Runtime__V1__ContainerAttributes *attributes(struct arena *a, const struct container *c)
{
    Runtime__V1__ContainerAttributes *m =
        ARENA_MESSAGE(a, Runtime__V1__ContainerAttributes, runtime__v1__container_attributes);
    Runtime__V1__Container *summary = container_summary(a, c);
    m->id = summary->id;
    m->metadata = summary->metadata;
    m->n_labels = summary->n_labels;
    m->labels = (void *)summary->labels;
    m->n_annotations = summary->n_annotations;
    m->annotations = (void *)summary->annotations;
    return m;
}

static Runtime__V1__ContainerStats *stats_of(struct arena *a, const struct container *c)
{
    Runtime__V1__ContainerStats *m =
        ARENA_MESSAGE(a, Runtime__V1__ContainerStats, runtime__v1__container_stats);
    struct cgroup_stats s;
    int64_t now = time_now_nano();
    m->attributes = attributes(a, c);
    if (c->state != CONTAINER_RUNNING || cgroup_stats(c->rt->cgs, c->cgroup, &s, NULL) < 0)
        return m;
    if (s.has_cpu)
        m->cpu = cpu_usage(a, s.cpu_usage_ns, now);
    if (s.has_memory) {
        m->memory = memory_usage(a, &s, now);
        m->swap = ARENA_MESSAGE(a, Runtime__V1__SwapUsage, runtime__v1__swap_usage);
        m->swap->timestamp = now;
        m->swap->swap_usage_bytes = value(a, s.swap_usage);
    }
    return m;
}

static void on_stats(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ContainerStatsRequest *q =
        (const Runtime__V1__ContainerStatsRequest *)request;
    const struct container *c = runtime_container(arg, q->container_id);
    if (!c) {
        rpc_server_fail(call, RPC_NOT_FOUND, "container \"%s\" is not here", q->container_id);
        return;
    }
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ContainerStatsResponse r = RUNTIME__V1__CONTAINER_STATS_RESPONSE__INIT;
    r.stats = stats_of(&a, c);
    rpc_server_reply(call, &r.base);
}

static size_t select_stats(struct runtime *rt, struct arena *a,
                           const Runtime__V1__ContainerStatsFilter *f,
                           Runtime__V1__ContainerStats ***ret)
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
    size_t n = 0;
    Runtime__V1__ContainerStats **list = arena_array(a, map_count(&rt->containers), sizeof(void *));
    MAP_FOR_EACH(e, &rt->containers) {
        const struct container *c = map_value(e);
        if (container_matches(c, &filter))
            list[n++] = stats_of(a, c);
    }
    *ret = list;
    return n;
}

static void on_list(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListContainerStatsRequest *q =
        (const Runtime__V1__ListContainerStatsRequest *)request;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ListContainerStatsResponse r = RUNTIME__V1__LIST_CONTAINER_STATS_RESPONSE__INIT;
    r.n_stats = select_stats(arg, &a, q->filter, &r.stats);
    rpc_server_reply(call, &r.base);
}

static void on_stream(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamContainerStatsRequest *q =
        (const Runtime__V1__StreamContainerStatsRequest *)request;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ContainerStats **list;
    size_t n = select_stats(arg, &a, q->filter, &list);
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

/* ---- sandboxes ---- */
static Runtime__V1__NetworkUsage *network_usage(struct arena *a, const struct sandbox *s,
                                                int64_t now)
{
    struct link_info info;
    _cleanup_free_ char *netns = shim_ns_path(s->dir, "net");
    if (s->host_network || network_stats(netns, &s->net, &info, NULL) < 0)
        return NULL;
    Runtime__V1__NetworkUsage *m =
        ARENA_MESSAGE(a, Runtime__V1__NetworkUsage, runtime__v1__network_usage);
    Runtime__V1__NetworkInterfaceUsage *i =
        ARENA_MESSAGE(a, Runtime__V1__NetworkInterfaceUsage, runtime__v1__network_interface_usage);
    i->name = arena_dup(a, info.name);
    i->rx_bytes = value(a, info.rx_bytes);
    i->rx_errors = value(a, info.rx_errors);
    i->tx_bytes = value(a, info.tx_bytes);
    i->tx_errors = value(a, info.tx_errors);
    m->timestamp = now;
    m->default_interface = i;
    return m;
}

/* Of the pod's cgroup where the kubelet made one, else the sum of its containers'. */
static struct cgroup_stats pod_cgroup(const struct sandbox *s)
{
    struct cgroup_stats total = {.memory_limit = UINT64_MAX};
    const char *parent = s->config->linux ? s->config->linux->cgroup_parent : "";
    if (*parent && cgroup_stats(s->rt->cgs, parent, &total, NULL) == 0)
        return total;
    total = (struct cgroup_stats){.memory_limit = UINT64_MAX};
    LIST_FOR_EACH(e, &s->containers) {
        const struct container *c = LIST_ENTRY(e, struct container, entry);
        struct cgroup_stats one;
        if (c->state != CONTAINER_RUNNING || cgroup_stats(s->rt->cgs, c->cgroup, &one, NULL) < 0)
            continue;
        total.has_cpu |= one.has_cpu;
        total.has_memory |= one.has_memory;
        total.has_pids |= one.has_pids;
        total.cpu_usage_ns += one.cpu_usage_ns;
        total.memory_usage += one.memory_usage;
        total.memory_working_set += one.memory_working_set;
        total.memory_rss += one.memory_rss;
        total.page_faults += one.page_faults;
        total.major_page_faults += one.major_page_faults;
        total.pids += one.pids;
    }
    return total;
}

static Runtime__V1__PodSandboxStats *pod_stats_of(struct arena *a, const struct sandbox *s)
{
    Runtime__V1__PodSandboxStats *m =
        ARENA_MESSAGE(a, Runtime__V1__PodSandboxStats, runtime__v1__pod_sandbox_stats);
    Runtime__V1__PodSandboxAttributes *at =
        ARENA_MESSAGE(a, Runtime__V1__PodSandboxAttributes, runtime__v1__pod_sandbox_attributes);
    Runtime__V1__LinuxPodSandboxStats *l =
        ARENA_MESSAGE(a, Runtime__V1__LinuxPodSandboxStats, runtime__v1__linux_pod_sandbox_stats);
    Runtime__V1__PodSandbox *summary = sandbox_summary(a, s);
    at->id = summary->id;
    at->metadata = summary->metadata;
    at->n_labels = summary->n_labels;
    at->labels = (void *)summary->labels;
    at->n_annotations = summary->n_annotations;
    at->annotations = (void *)summary->annotations;
    m->attributes = at;
    m->linux = l;
    if (s->state != SANDBOX_READY)
        return m;
    int64_t now = time_now_nano();
    struct cgroup_stats total = pod_cgroup(s);
    if (total.has_cpu)
        l->cpu = cpu_usage(a, total.cpu_usage_ns, now);
    if (total.has_memory)
        l->memory = memory_usage(a, &total, now);
    if (total.has_pids) {
        l->process = ARENA_MESSAGE(a, Runtime__V1__ProcessUsage, runtime__v1__process_usage);
        l->process->timestamp = now;
        l->process->process_count = value(a, total.pids);
    }
    l->network = network_usage(a, s, now);
    Runtime__V1__ContainerStatsFilter f = RUNTIME__V1__CONTAINER_STATS_FILTER__INIT;
    f.pod_sandbox_id = (char *)(uintptr_t)s->id;
    l->n_containers = select_stats(s->rt, a, &f, &l->containers);
    return m;
}

static void on_pod_stats(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__PodSandboxStatsRequest *q =
        (const Runtime__V1__PodSandboxStatsRequest *)request;
    const struct sandbox *s = runtime_sandbox(arg, q->pod_sandbox_id);
    if (!s) {
        rpc_server_fail(call, RPC_NOT_FOUND, "sandbox \"%s\" is not here", q->pod_sandbox_id);
        return;
    }
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__PodSandboxStatsResponse r = RUNTIME__V1__POD_SANDBOX_STATS_RESPONSE__INIT;
    r.stats = pod_stats_of(&a, s);
    rpc_server_reply(call, &r.base);
}

static size_t select_pod_stats(struct runtime *rt, struct arena *a,
                               const Runtime__V1__PodSandboxStatsFilter *f,
                               Runtime__V1__PodSandboxStats ***ret)
{
    Runtime__V1__PodSandboxStateValue ready = RUNTIME__V1__POD_SANDBOX_STATE_VALUE__INIT;
    Runtime__V1__PodSandboxFilter filter = RUNTIME__V1__POD_SANDBOX_FILTER__INIT;
    filter.state = &ready;
    if (f) {
        filter.id = f->id;
        filter.n_label_selector = f->n_label_selector;
        filter.label_selector = (void *)f->label_selector;
    }
    size_t n = 0;
    Runtime__V1__PodSandboxStats **list = arena_array(a, map_count(&rt->sandboxes), sizeof(void *));
    MAP_FOR_EACH(e, &rt->sandboxes) {
        const struct sandbox *s = map_value(e);
        if (sandbox_matches(s, &filter))
            list[n++] = pod_stats_of(a, s);
    }
    *ret = list;
    return n;
}

static void on_list_pods(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListPodSandboxStatsRequest *q =
        (const Runtime__V1__ListPodSandboxStatsRequest *)request;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ListPodSandboxStatsResponse r = RUNTIME__V1__LIST_POD_SANDBOX_STATS_RESPONSE__INIT;
    r.n_stats = select_pod_stats(arg, &a, q->filter, &r.stats);
    rpc_server_reply(call, &r.base);
}

static void on_stream_pods(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamPodSandboxStatsRequest *q =
        (const Runtime__V1__StreamPodSandboxStatsRequest *)request;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__PodSandboxStats **list;
    size_t n = select_pod_stats(arg, &a, q->filter, &list);
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

static const struct rpc_server_method methods[] = {
    API_METHOD(ContainerStats, container_stats, RPC_UNARY, on_stats),
    API_METHOD(ListContainerStats, list_container_stats, RPC_UNARY, on_list),
    API_METHOD(StreamContainerStats, stream_container_stats, RPC_SERVER_STREAM, on_stream),
    API_METHOD(PodSandboxStats, pod_sandbox_stats, RPC_UNARY, on_pod_stats),
    API_METHOD(ListPodSandboxStats, list_pod_sandbox_stats, RPC_UNARY, on_list_pods),
    API_METHOD(StreamPodSandboxStats, stream_pod_sandbox_stats, RPC_SERVER_STREAM, on_stream_pods),
};

void api_stats_register(struct runtime *rt)
{
    rpc_server_add(rt->server, methods, ARRAY_SIZE(methods), rt);
}
