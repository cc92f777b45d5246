/* Statistics in the protocol's messages; see stats_message.h. */
#include "cri/stats_message.h"

#include "base/times.h"
#include "cri/status.h"

Runtime__V1__UInt64Value *stats_value(struct arena *a, uint64_t v)
{
    Runtime__V1__UInt64Value *m =
        ARENA_MESSAGE(a, Runtime__V1__UInt64Value, runtime__v1__uint64_value);
    m->value = v;
    return m;
}

/* The protocol has nanoseconds. */
static Runtime__V1__PsiData *psi_data(struct arena *a, const struct cgroup_psi_line *l)
{
    Runtime__V1__PsiData *m = ARENA_MESSAGE(a, Runtime__V1__PsiData, runtime__v1__psi_data);
    m->total = l->total_us * 1000;
    m->avg10 = l->avg10;
    m->avg60 = l->avg60;
    m->avg300 = l->avg300;
    return m;
}

static Runtime__V1__PsiStats *psi_stats(struct arena *a, const struct cgroup_psi *psi)
{
    if (!psi->there)
        return NULL;
    Runtime__V1__PsiStats *m = ARENA_MESSAGE(a, Runtime__V1__PsiStats, runtime__v1__psi_stats);
    m->some = psi_data(a, &psi->some);
    m->full = psi_data(a, &psi->full);
    return m;
}

static Runtime__V1__CpuUsage *cpu_usage(struct arena *a, const struct cgroup_stats *s,
                                        struct cpu_rate *rate, int64_t at_ns)
{
    if (!s->has_cpu)
        return NULL;
    Runtime__V1__CpuUsage *m = ARENA_MESSAGE(a, Runtime__V1__CpuUsage, runtime__v1__cpu_usage);
    m->timestamp = at_ns;
    m->usage_core_nano_seconds = stats_value(a, s->cpu_usage_ns);
    if (cpu_rate_update(rate, at_ns, s->cpu_usage_ns))
        m->usage_nano_cores = stats_value(a, rate->nano_cores);
    m->psi = psi_stats(a, &s->cpu_psi);
    return m;
}

static uint64_t left_of(uint64_t limit, uint64_t used)
{
    return limit > used ? limit - used : 0;
}

static Runtime__V1__MemoryUsage *memory_usage(struct arena *a, const struct cgroup_stats *s,
                                              int64_t at_ns)
{
    if (!s->has_memory)
        return NULL;
    Runtime__V1__MemoryUsage *m =
        ARENA_MESSAGE(a, Runtime__V1__MemoryUsage, runtime__v1__memory_usage);
    m->timestamp = at_ns;
    m->working_set_bytes = stats_value(a, s->memory_working_set);
    m->usage_bytes = stats_value(a, s->memory_usage);
    m->rss_bytes = stats_value(a, s->memory_rss);
    m->page_faults = stats_value(a, s->page_faults);
    m->major_page_faults = stats_value(a, s->major_page_faults);
    if (s->memory_limit != UINT64_MAX)
        m->available_bytes = stats_value(a, left_of(s->memory_limit, s->memory_working_set));
    m->psi = psi_stats(a, &s->memory_psi);
    return m;
}

static Runtime__V1__SwapUsage *swap_usage(struct arena *a, const struct cgroup_stats *s,
                                          int64_t at_ns)
{
    if (!s->has_swap)
        return NULL;
    Runtime__V1__SwapUsage *m = ARENA_MESSAGE(a, Runtime__V1__SwapUsage, runtime__v1__swap_usage);
    m->timestamp = at_ns;
    m->swap_usage_bytes = stats_value(a, s->swap_usage);
    if (s->swap_limit != UINT64_MAX)
        m->swap_available_bytes = stats_value(a, left_of(s->swap_limit, s->swap_usage));
    return m;
}

static Runtime__V1__IoUsage *io_usage(struct arena *a, const struct cgroup_stats *s, int64_t at_ns)
{
    if (!s->io_psi.there)
        return NULL;
    Runtime__V1__IoUsage *m = ARENA_MESSAGE(a, Runtime__V1__IoUsage, runtime__v1__io_usage);
    m->timestamp = at_ns;
    m->psi = psi_stats(a, &s->io_psi);
    return m;
}

Runtime__V1__FilesystemUsage *stats_filesystem(struct arena *a, const char *mountpoint,
                                               const struct fs_usage *usage, int64_t at_ns)
{
    Runtime__V1__FilesystemUsage *m =
        ARENA_MESSAGE(a, Runtime__V1__FilesystemUsage, runtime__v1__filesystem_usage);
    m->timestamp = at_ns;
    m->fs_id =
        ARENA_MESSAGE(a, Runtime__V1__FilesystemIdentifier, runtime__v1__filesystem_identifier);
    m->fs_id->mountpoint = (char *)(uintptr_t)mountpoint;
    m->used_bytes = stats_value(a, usage->bytes);
    m->inodes_used = stats_value(a, usage->inodes);
    return m;
}

Runtime__V1__ContainerStats *stats_of_container(struct arena *a, const struct stats_snapshot *s,
                                                struct container *c)
{
    Runtime__V1__ContainerStats *m =
        ARENA_MESSAGE(a, Runtime__V1__ContainerStats, runtime__v1__container_stats);
    Runtime__V1__ContainerAttributes *at =
        ARENA_MESSAGE(a, Runtime__V1__ContainerAttributes, runtime__v1__container_attributes);
    Runtime__V1__Container *summary = container_summary(a, c);
    at->id = summary->id;
    at->metadata = summary->metadata;
    at->n_labels = summary->n_labels;
    at->labels = (void *)summary->labels;
    at->n_annotations = summary->n_annotations;
    at->annotations = (void *)summary->annotations;
    m->attributes = at;
    if (c->layer.at_ns)
        m->writable_layer =
            stats_filesystem(a, c->rt->containers_dir, &c->layer.usage, c->layer.at_ns);
    const struct stats_group *g = stats_of(s, c->id);
    if (!g)
        return m;
    m->cpu = cpu_usage(a, &g->stats, &c->cpu_rate, g->at_ns);
    m->memory = memory_usage(a, &g->stats, g->at_ns);
    m->swap = swap_usage(a, &g->stats, g->at_ns);
    m->io = io_usage(a, &g->stats, g->at_ns);
    return m;
}

/* ---- sandboxes ---- */

static Runtime__V1__NetworkUsage *network_usage(struct arena *a, const struct sandbox *s)
{
    struct link_info info;
    if (sandbox_network_stats(s, &info, NULL) < 0)
        return NULL;
    Runtime__V1__NetworkUsage *m =
        ARENA_MESSAGE(a, Runtime__V1__NetworkUsage, runtime__v1__network_usage);
    Runtime__V1__NetworkInterfaceUsage *i =
        ARENA_MESSAGE(a, Runtime__V1__NetworkInterfaceUsage, runtime__v1__network_interface_usage);
    i->name = arena_dup(a, info.name);
    i->rx_bytes = stats_value(a, info.rx_bytes);
    i->rx_errors = stats_value(a, info.rx_errors);
    i->tx_bytes = stats_value(a, info.tx_bytes);
    i->tx_errors = stats_value(a, info.tx_errors);
    m->timestamp = time_now_nano();
    m->default_interface = i;
    return m;
}

/* Where the pod has no group of its own: the sum of its containers'. */
static struct cgroup_stats sum_of(const struct stats_snapshot *s, const struct sandbox *p)
{
    struct cgroup_stats total = {.memory_limit = UINT64_MAX};
    LIST_FOR_EACH(e, &p->containers) {
        const struct stats_group *g = stats_of(s, LIST_ENTRY(e, struct container, entry)->id);
        if (!g)
            continue;
        const struct cgroup_stats *one = &g->stats;
        total.has_cpu |= one->has_cpu;
        total.has_memory |= one->has_memory;
        total.has_pids |= one->has_pids;
        total.cpu_usage_ns += one->cpu_usage_ns;
        total.memory_usage += one->memory_usage;
        total.memory_working_set += one->memory_working_set;
        total.memory_rss += one->memory_rss;
        total.page_faults += one->page_faults;
        total.major_page_faults += one->major_page_faults;
        total.pids += one->pids;
    }
    return total;
}

static void add_usage(struct arena *a, const struct stats_snapshot *s, struct sandbox *p,
                      Runtime__V1__LinuxPodSandboxStats *m)
{
    const struct stats_group *g = stats_of(s, p->id);
    struct cgroup_stats total = g ? g->stats : sum_of(s, p);
    int64_t at_ns = g ? g->at_ns : time_now_nano();
    m->cpu = cpu_usage(a, &total, &p->cpu_rate, at_ns);
    m->memory = memory_usage(a, &total, at_ns);
    m->io = io_usage(a, &total, at_ns);
    m->network = network_usage(a, p);
    if (total.has_pids) {
        m->process = ARENA_MESSAGE(a, Runtime__V1__ProcessUsage, runtime__v1__process_usage);
        m->process->timestamp = at_ns;
        m->process->process_count = stats_value(a, total.pids);
    }
    size_t n = 0;
    LIST_FOR_EACH(e, &p->containers)
        n++;
    m->containers = arena_array(a, n, sizeof(void *));
    LIST_FOR_EACH(e, &p->containers) {
        struct container *c = LIST_ENTRY(e, struct container, entry);
        if (c->state == CONTAINER_RUNNING)
            m->containers[m->n_containers++] = stats_of_container(a, s, c);
    }
}

Runtime__V1__PodSandboxStats *stats_of_sandbox(struct arena *a, const struct stats_snapshot *s,
                                               struct sandbox *p)
{
    Runtime__V1__PodSandboxStats *m =
        ARENA_MESSAGE(a, Runtime__V1__PodSandboxStats, runtime__v1__pod_sandbox_stats);
    Runtime__V1__PodSandboxAttributes *at =
        ARENA_MESSAGE(a, Runtime__V1__PodSandboxAttributes, runtime__v1__pod_sandbox_attributes);
    Runtime__V1__PodSandbox *summary = sandbox_summary(a, p);
    at->id = summary->id;
    at->metadata = summary->metadata;
    at->n_labels = summary->n_labels;
    at->labels = (void *)summary->labels;
    at->n_annotations = summary->n_annotations;
    at->annotations = (void *)summary->annotations;
    m->attributes = at;
    m->linux =
        ARENA_MESSAGE(a, Runtime__V1__LinuxPodSandboxStats, runtime__v1__linux_pod_sandbox_stats);
    if (p->state == SANDBOX_READY)
        add_usage(a, s, p, m->linux);
    return m;
}
