/* Requests and limits → cgroup numbers, by upstream's formulas. */
#include <inttypes.h>
#include <stdio.h>

#include "kubelet/runtime/message.h"
#include "kubelet/runtime/requests.h"

#define SHARES_MIN 2
#define SHARES_MAX 262144
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
    if (milli > INT64_MAX / CPU_PERIOD_US)
        return 0;
    int64_t quota = milli * CPU_PERIOD_US / 1000;
    return quota < QUOTA_MIN ? QUOTA_MIN : quota;
}

static int64_t memory_request(const struct container_spec *c)
{
    return resource_value(&c->resources.requests, "memory", 0);
}

/* A sidecar is no better a victim than the container that asked for least. */
static int64_t request_for_oom(const struct pod *pod, const struct container_spec *c)
{
    int64_t least = INT64_MAX;
    bool init = false;
    for (size_t i = 0; i < pod->spec.init_containers.count; i++)
        init |= c == &pod->spec.init_containers.items[i];
    if (!init || !str_eq(c->restart_policy, "Always"))
        return memory_request(c);
    for (size_t i = 0; i < pod->spec.containers.count; i++)
        if (memory_request(&pod->spec.containers.items[i]) < least)
            least = memory_request(&pod->spec.containers.items[i]);
    return least != INT64_MAX && least > memory_request(c) ? least : memory_request(c);
}

int64_t oom_score_adj(const struct pod *pod, const struct container_spec *c, int64_t capacity)
{
    bool node_critical =
        pod_is_critical(pod) && str_eq(pod->spec.priority_class, "system-node-critical");
    if (pod->qos == QOS_GUARANTEED || node_critical)
        return -997;
    if (pod->qos == QOS_BEST_EFFORT || capacity <= 0)
        return 1000;
    int64_t request = request_for_oom(pod, c);
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

struct container_limits container_limits_of(const struct container_spec *c)
{
    return (struct container_limits){
        .shares = milli_to_shares(cpu_request(c)),
        .quota = milli_to_quota(resource_milli(&c->resources.limits, "cpu", 0)),
        .memory = resource_value(&c->resources.limits, "memory", 0),
    };
}

/* A burstable container's part of the node's swap: as much of it as it asked for of the memory. */
static int64_t swap_share(const struct pod *pod, const struct container_spec *c,
                          const struct request_context *ctx)
{
    int64_t request = resource_value(&c->resources.requests, "memory", 0);
    int64_t limit = resource_value(&c->resources.limits, "memory", 0);
    if (!ctx->limited_swap || pod->qos != QOS_BURSTABLE || request <= 0 || request == limit ||
        ctx->memory_capacity <= 0 || request > ctx->memory_capacity || pod_is_critical(pod))
        return 0;
    return (int64_t)((double)request / (double)ctx->memory_capacity * (double)ctx->swap_capacity);
}

/* On v1 the limit is that of memory and swap together, and nobody gets any. */
static void put_swap(Runtime__V1__LinuxContainerResources *r, const struct pod *pod,
                     const struct container_spec *c, const struct request_context *ctx)
{
    char text[24];
    if (!ctx->swap_accounting)
        return;
    if (!ctx->unified_cgroups) {
        r->memory_swap_limit_in_bytes = r->memory_limit_in_bytes;
        return;
    }
    (void)snprintf(text, sizeof(text), "%" PRId64, swap_share(pod, c, ctx));
    message_map_put(&r->n_unified, &r->unified,
                    &runtime__v1__linux_container_resources__unified_entry__descriptor,
                    "memory.swap.max", text);
}

Runtime__V1__LinuxContainerResources *request_resources(const struct pod *pod,
                                                        const struct container_spec *c,
                                                        const struct request_context *ctx)
{
    Runtime__V1__LinuxContainerResources *r =
        message_new(&runtime__v1__linux_container_resources__descriptor);
    struct container_limits l = container_limits_of(c);
    r->cpu_shares = l.shares;
    r->cpu_period = CPU_PERIOD_US;
    r->cpu_quota = l.quota;
    r->memory_limit_in_bytes = l.memory;
    r->oom_score_adj = oom_score_adj(pod, c, ctx->memory_capacity);
    if (ctx->unified_cgroups && !ctx->oom_single)
        message_map_put(&r->n_unified, &r->unified,
                        &runtime__v1__linux_container_resources__unified_entry__descriptor,
                        "memory.oom.group", "1");
    put_swap(r, pod, c, ctx);
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

static int64_t amount(const struct string_map *m, const char *name)
{
    return str_eq(name, "cpu") ? resource_milli(m, name, 0) : resource_value(m, name, 0);
}

/* Containers run together; init containers one after the other, beside the sidecars before them.
 * What the pod as a whole says wins. *ret_all: every container says something. */
static int64_t total(const struct pod *pod, const char *name, bool limits, bool *ret_all)
{
    const struct resource_requirements *own = pod->spec.resources;
    int64_t running = 0, sidecars = 0, init = 0, overhead = amount(&pod->spec.overhead, name);
    int64_t whole = own ? amount(limits ? &own->limits : &own->requests, name) : 0;
    bool all = true;
    for (size_t i = 0; i < pod_fixed_count(pod); i++) {
        const struct container_spec *c = pod_container_at(pod, i);
        int64_t a = amount(limits ? &c->resources.limits : &c->resources.requests, name);
        bool is_init = pod_container_is_init(pod, i);
        bool sidecar = is_init && str_eq(c->restart_policy, "Always");
        all &= a > 0;
        if (sidecar || !is_init)
            running = sum(running, a);
        if (sidecar)
            sidecars = sum(sidecars, a);
        if (is_init)
            init = larger(init, sidecar ? sidecars : sum(sidecars, a));
    }
    int64_t most = whole > 0 ? whole : larger(running, init);
    *ret_all = all || whole > 0;
    return limits && most == 0 ? 0 : sum(most, overhead);
}

int64_t pod_request(const struct pod *pod, const char *name)
{
    bool all;
    return total(pod, name, false, &all);
}

int64_t pod_limit(const struct pod *pod, const char *name)
{
    bool all;
    return total(pod, name, true, &all);
}

struct pod_resources pod_resources_of(const struct pod *pod)
{
    bool all_cpu, all_memory;
    int64_t cpu = total(pod, "cpu", true, &all_cpu);
    int64_t memory = total(pod, "memory", true, &all_memory);
    return (struct pod_resources){
        .shares = milli_to_shares(pod_request(pod, "cpu")),
        .quota = all_cpu ? milli_to_quota(cpu) : 0,
        .memory = all_memory ? memory : 0,
    };
}
