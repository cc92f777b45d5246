/* The methods about metrics. */
#include "cri/api.h"
#include "cri/metrics.h"

#define STREAM_BATCH 20

static void on_descriptors(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                           _unused_ void *arg)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ListMetricDescriptorsResponse r =
        RUNTIME__V1__LIST_METRIC_DESCRIPTORS_RESPONSE__INIT;
    r.descriptors = metrics_descriptors(&a, &r.n_descriptors);
    rpc_server_reply(call, &r.base);
}

static void take(struct runtime *rt, struct rpc_server_call *call,
                 void (*done)(struct stats_snapshot *s, struct rpc_server_call *call))
{
    struct stats_snapshot *s = stats_new(rt, call, true);
    MAP_FOR_EACH(e, &rt->sandboxes) {
        struct sandbox *p = map_value(e);
        if (p->state == SANDBOX_READY)
            stats_add_sandbox(s, p);
    }
    stats_take(s, done);
}

static size_t list_of(struct arena *a, struct stats_snapshot *s,
                      Runtime__V1__PodSandboxMetrics ***ret)
{
    size_t n = 0, at = 0;
    struct sandbox *p;
    *ret = arena_array(a, map_count(&stats_runtime(s)->sandboxes), sizeof(void *));
    while ((p = stats_next_sandbox(s, &at)))
        (*ret)[n++] = metrics_of_sandbox(a, s, p);
    return n;
}

static void answer_list(struct stats_snapshot *s, struct rpc_server_call *call)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ListPodSandboxMetricsResponse r =
        RUNTIME__V1__LIST_POD_SANDBOX_METRICS_RESPONSE__INIT;
    r.n_pod_metrics = list_of(&a, s, &r.pod_metrics);
    rpc_server_reply(call, &r.base);
}

static void on_list(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                    void *arg)
{
    take(arg, call, answer_list);
}

static void answer_stream(struct stats_snapshot *s, struct rpc_server_call *call)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__PodSandboxMetrics **list;
    size_t n = list_of(&a, s, &list);
    for (size_t i = 0; i < n; i += STREAM_BATCH) {
        Runtime__V1__StreamPodSandboxMetricsResponse r =
            RUNTIME__V1__STREAM_POD_SANDBOX_METRICS_RESPONSE__INIT;
        r.pod_sandbox_metrics = list + i;
        r.n_pod_sandbox_metrics = n - i < STREAM_BATCH ? n - i : STREAM_BATCH;
        if (rpc_server_send(call, &r.base)) {
            rpc_server_fail(call, RPC_RESOURCE_EXHAUSTED, "the list was not read in time");
            return;
        }
    }
    rpc_server_end(call);
}

static void on_stream(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                      void *arg)
{
    take(arg, call, answer_stream);
}

static const struct rpc_server_method methods[] = {
    API_METHOD(ListMetricDescriptors, list_metric_descriptors, RPC_UNARY, on_descriptors),
    API_METHOD(ListPodSandboxMetrics, list_pod_sandbox_metrics, RPC_UNARY, on_list),
    API_METHOD(StreamPodSandboxMetrics, stream_pod_sandbox_metrics, RPC_SERVER_STREAM, on_stream),
};

void api_metrics_register(struct runtime *rt)
{
    rpc_server_add(rt->server, methods, ARRAY_SIZE(methods), rt);
}
