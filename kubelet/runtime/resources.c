/* Requests and limits → cgroup numbers, by upstream's formulas. */
#include "kubelet/runtime/message.h"
#include "kubelet/runtime/requests.h"

#define SHARES_MIN 2
#define SHARES_MAX 262144
#define PERIOD_US  100000
#define QUOTA_MIN  1000

int64_t milli_to_shares(int64_t milli)
{
    if (milli <= 0)
        return SHARES_MIN;
    if (milli >= (int64_t)SHARES_MAX * 1000 / 1024)
        return SHARES_MAX;
    int64_t shares = milli * 1024 / 1000;
    return shares < SHARES_MIN ? SHARES_MIN : shares;
}

int64_t milli_to_quota(int64_t milli)
{
    if (milli <= 0)
        return 0;
    if (milli > INT64_MAX / PERIOD_US)
        return 0;
    int64_t quota = milli * PERIOD_US / 1000;
    return quota < QUOTA_MIN ? QUOTA_MIN : quota;
}

int64_t oom_score_adj(const struct pod *pod, const struct container_spec *c, int64_t capacity)
{
    if (pod->qos == QOS_GUARANTEED)
        return -997;
    if (pod->qos == QOS_BEST_EFFORT || capacity <= 0)
        return 1000;
    int64_t request = resource_value(&c->resources.requests, "memory", 0);
    int64_t adj =
        request >= capacity ? 0 : 1000 - (int64_t)(1000.0 * (double)request / (double)capacity);
    if (adj < 3)
        return 3;
    return adj == 1000 ? 999 : adj;
}

static int64_t cpu_request(const struct container_spec *c)
{
    return resource_milli(&c->resources.requests, "cpu",
                          resource_milli(&c->resources.limits, "cpu", 0));
}

Runtime__V1__LinuxContainerResources *request_resources(const struct pod *pod,
                                                        const struct container_spec *c,
                                                        const struct request_context *ctx)
{
    Runtime__V1__LinuxContainerResources *r =
        message_new(&runtime__v1__linux_container_resources__descriptor);
    r->cpu_shares = milli_to_shares(cpu_request(c));
    r->cpu_period = PERIOD_US;
    r->cpu_quota = milli_to_quota(resource_milli(&c->resources.limits, "cpu", 0));
    r->memory_limit_in_bytes = resource_value(&c->resources.limits, "memory", 0);
    r->oom_score_adj = oom_score_adj(pod, c, ctx->memory_capacity);
    if (ctx->unified_cgroups)
        message_map_put(&r->n_unified, &r->unified,
                        &runtime__v1__linux_container_resources__unified_entry__descriptor,
                        "memory.oom.group", "1");
    return r;
}

/* Adds without overflow; quantities may be huge. */
static int64_t sum(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Containers run together, init containers one after the other: the larger of both. */
struct pod_resources pod_resources_of(const struct pod *pod)
{
    int64_t cpu[2] = {0}, limit[2] = {0}, memory[2] = {0};
    bool all_cpu = true, all_memory = true;
    for (size_t i = 0; i < pod_container_count(pod); i++) {
        const struct container_spec *c = pod_container_at(pod, i);
        bool init = pod_container_is_init(pod, i);
        int64_t req = cpu_request(c), l = resource_milli(&c->resources.limits, "cpu", 0);
        int64_t m = resource_value(&c->resources.limits, "memory", 0);
        all_cpu &= l > 0;
        all_memory &= m > 0;
        cpu[init] = init ? larger(cpu[1], req) : sum(cpu[0], req);
        limit[init] = init ? larger(limit[1], l) : sum(limit[0], l);
        memory[init] = init ? larger(memory[1], m) : sum(memory[0], m);
    }
    return (struct pod_resources){
        .shares = milli_to_shares(larger(cpu[0], cpu[1])),
        .quota = all_cpu ? milli_to_quota(larger(limit[0], limit[1])) : 0,
        .memory = all_memory ? larger(memory[0], memory[1]) : 0,
    };
}
