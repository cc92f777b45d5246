/* Metrics of pods and containers; see metrics.h. */
#include "cri/metrics.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "base/times.h"

static const char *const base_labels[] = {"id", "name", "image", "container", "pod", "namespace"};
#define N_BASE ARRAY_SIZE(base_labels)
/* The faults come twice for each of two scopes, the disk's four for each device. */
#define LIST_MAX (N_METRICS + 4 + 4 * CGROUP_IO_MAX)

Runtime__V1__MetricDescriptor **metrics_descriptors(struct arena *a, size_t *ret_n)
{
    Runtime__V1__MetricDescriptor **list = arena_array(a, N_METRICS, sizeof(*list));
    for (size_t i = 0; i < N_METRICS; i++) {
        Runtime__V1__MetricDescriptor *d =
            ARENA_MESSAGE(a, Runtime__V1__MetricDescriptor, runtime__v1__metric_descriptor);
        d->name = (char *)(uintptr_t)metric_defs[i].name;
        d->help = (char *)(uintptr_t)metric_defs[i].help;
        d->label_keys = arena_array(a, N_BASE + METRIC_EXTRA_LABELS, sizeof(char *));
        for (size_t j = 0; j < N_BASE; j++)
            d->label_keys[d->n_label_keys++] = (char *)(uintptr_t)base_labels[j];
        for (size_t j = 0; j < METRIC_EXTRA_LABELS && metric_defs[i].extra[j]; j++)
            d->label_keys[d->n_label_keys++] = (char *)(uintptr_t)metric_defs[i].extra[j];
        list[i] = d;
    }
    *ret_n = N_METRICS;
    return list;
}

struct list_of {
    struct arena *a;
    const char *labels[N_BASE];
    Runtime__V1__Metric **metrics;
    size_t n;
};

/* @extra: values of the labels that the metric has besides; NULL when it has none. The time stays
 * 0, which says that the value is of now. */
static void add(struct list_of *l, enum metric which, uint64_t value, const char *const *extra)
{
    const struct metric_def *def = &metric_defs[which];
    Runtime__V1__Metric *m = ARENA_MESSAGE(l->a, Runtime__V1__Metric, runtime__v1__metric);
    m->name = (char *)(uintptr_t)def->name;
    m->metric_type =
        def->gauge ? RUNTIME__V1__METRIC_TYPE__GAUGE : RUNTIME__V1__METRIC_TYPE__COUNTER;
    m->value = ARENA_MESSAGE(l->a, Runtime__V1__UInt64Value, runtime__v1__uint64_value);
    m->value->value = value;
    m->label_values = arena_array(l->a, N_BASE + METRIC_EXTRA_LABELS, sizeof(char *));
    for (size_t i = 0; i < N_BASE; i++)
        m->label_values[m->n_label_values++] = (char *)(uintptr_t)l->labels[i];
    for (size_t i = 0; extra && i < METRIC_EXTRA_LABELS && def->extra[i]; i++)
        m->label_values[m->n_label_values++] = (char *)(uintptr_t)extra[i];
    l->metrics[l->n++] = m;
}

static void add_cpu(struct list_of *l, const struct stats_group *g)
{
    static const char *const total[] = {"total"};
    const struct cgroup_details *d = &g->details;
    if (!g->stats.has_cpu)
        return;
    add(l, METRIC_CPU_USAGE, g->stats.cpu_usage_ns / 1000000000, total);
    add(l, METRIC_CPU_USER, d->cpu_user_ns / 1000000000, NULL);
    add(l, METRIC_CPU_SYSTEM, d->cpu_system_ns / 1000000000, NULL);
    add(l, METRIC_SPEC_CPU_SHARES, d->cpu_shares, NULL);
    add(l, METRIC_SPEC_CPU_PERIOD, d->cpu_period, NULL);
    if (d->cpu_quota < 0)
        return; /* nobody is held back */
    add(l, METRIC_SPEC_CPU_QUOTA, (uint64_t)d->cpu_quota, NULL);
    add(l, METRIC_CPU_PERIODS, d->cpu_periods, NULL);
    add(l, METRIC_CPU_THROTTLED_PERIODS, d->cpu_throttled_periods, NULL);
    add(l, METRIC_CPU_THROTTLED_SECONDS, d->cpu_throttled_ns / 1000000000, NULL);
}

static void add_faults(struct list_of *l, const struct cgroup_stats *s)
{
    static const char *const scopes[] = {"container", "hierarchy"};
    for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
        add(l, METRIC_MEMORY_FAILURES, s->page_faults, (const char *[]){"pgfault", scopes[i]});
        add(l, METRIC_MEMORY_FAILURES, s->major_page_faults,
            (const char *[]){"pgmajfault", scopes[i]});
    }
}

static uint64_t zero_for_none(uint64_t limit)
{
    return limit == UINT64_MAX ? 0 : limit;
}

static void add_memory(struct list_of *l, const struct stats_group *g)
{
    const struct cgroup_stats *s = &g->stats;
    const struct cgroup_details *d = &g->details;
    if (!s->has_memory)
        return;
    add(l, METRIC_MEMORY_USAGE, s->memory_usage, NULL);
    if (d->memory_peak)
        add(l, METRIC_MEMORY_MAX_USAGE, d->memory_peak, NULL);
    add(l, METRIC_MEMORY_WORKING_SET, s->memory_working_set, NULL);
    add(l, METRIC_MEMORY_RSS, s->memory_rss, NULL);
    add(l, METRIC_MEMORY_CACHE, d->memory_cache, NULL);
    add(l, METRIC_MEMORY_MAPPED_FILE, d->memory_mapped_file, NULL);
    add(l, METRIC_MEMORY_KERNEL, d->memory_kernel, NULL);
    add(l, METRIC_MEMORY_ACTIVE_FILE, d->memory_active_file, NULL);
    add(l, METRIC_MEMORY_INACTIVE_FILE, d->memory_inactive_file, NULL);
    add(l, METRIC_MEMORY_FAILCNT, d->memory_failures, NULL);
    add(l, METRIC_OOM_EVENTS, g->oom_kills, NULL);
    add(l, METRIC_SPEC_MEMORY_LIMIT, zero_for_none(s->memory_limit), NULL);
    add_faults(l, s);
    if (!s->has_swap)
        return;
    add(l, METRIC_MEMORY_SWAP, s->swap_usage, NULL);
    add(l, METRIC_SPEC_MEMORY_SWAP_LIMIT,
        s->memory_limit == UINT64_MAX || s->swap_limit == UINT64_MAX
            ? 0
            : s->memory_limit + s->swap_limit,
        NULL);
}

static void add_pressure(struct list_of *l, const struct cgroup_psi *psi, enum metric stalled,
                         enum metric waiting)
{
    if (!psi->there)
        return;
    add(l, stalled, psi->full.total_us / 1000000, NULL);
    add(l, waiting, psi->some.total_us / 1000000, NULL);
}

/* "/dev/sda" for 8:0; the numbers where the device has no name. */
static const char *device_name(struct arena *a, unsigned major, unsigned minor)
{
    _cleanup_free_ char *path = str_printf("/sys/dev/block/%u:%u/uevent", major, minor);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    const char *name =
        fs_read(path, 4096, &text, NULL) == 0 ? strstr(strbuf_text(&text), "DEVNAME=") : NULL;
    if (!name)
        return arena_printf(a, "%u:%u", major, minor);
    name += strlen("DEVNAME=");
    return arena_printf(a, "/dev/%.*s", (int)strcspn(name, "\n"), name);
}

static void add_io(struct list_of *l, const struct stats_group *g)
{
    for (size_t i = 0; i < g->n_io; i++) {
        const struct cgroup_io *io = &g->io[i];
        const char *device[] = {device_name(l->a, io->major, io->minor)};
        add(l, METRIC_FS_READ_BYTES, io->read_bytes, device);
        add(l, METRIC_FS_READS, io->reads, device);
        add(l, METRIC_FS_WRITTEN_BYTES, io->written_bytes, device);
        add(l, METRIC_FS_WRITES, io->writes, device);
    }
}

static void add_layer(struct list_of *l, const struct container *c)
{
    struct stat st;
    struct statvfs fs;
    if (!c->layer.at_ns || stat(c->rt->containers_dir, &st) < 0 ||
        statvfs(c->rt->containers_dir, &fs) < 0)
        return;
    const char *device[] = {device_name(l->a, major(st.st_dev), minor(st.st_dev))};
    add(l, METRIC_FS_USAGE, c->layer.usage.bytes, device);
    add(l, METRIC_FS_LIMIT, fs.f_blocks * fs.f_frsize, device);
    add(l, METRIC_FS_INODES_TOTAL, fs.f_files, device);
    add(l, METRIC_FS_INODES_FREE, fs.f_favail, device);
}

static void begin(struct list_of *l, struct arena *a, const char *cgroup, const char *id,
                  const char *image, const char *container, const struct sandbox *p)
{
    const Runtime__V1__PodSandboxMetadata *m = p->config->metadata;
    *l = (struct list_of){.a = a,
                          .labels = {cgroup, id, image, container, m->name, m->namespace_},
                          .metrics = arena_array(a, LIST_MAX, sizeof(void *))};
}

static Runtime__V1__ContainerMetrics *of_container(struct arena *a, const struct stats_group *g,
                                                   const struct container *c)
{
    struct list_of l;
    begin(&l, a, c->cgroup, c->id, c->config->image->image, c->config->metadata->name, c->sandbox);
    add(&l, METRIC_LAST_SEEN, (uint64_t)g->at_ns / 1000000000, NULL);
    add(&l, METRIC_START_TIME, (uint64_t)c->started_ns / 1000000000, NULL);
    add_cpu(&l, g);
    add_memory(&l, g);
    add_io(&l, g);
    add_layer(&l, c);
    add(&l, METRIC_PROCESSES, g->details.processes, NULL);
    if (g->stats.has_pids) {
        add(&l, METRIC_THREADS, g->stats.pids, NULL);
        add(&l, METRIC_THREADS_MAX, zero_for_none(g->details.pids_limit), NULL);
    }
    add_pressure(&l, &g->stats.cpu_psi, METRIC_PRESSURE_CPU_STALLED, METRIC_PRESSURE_CPU_WAITING);
    add_pressure(&l, &g->stats.memory_psi, METRIC_PRESSURE_MEMORY_STALLED,
                 METRIC_PRESSURE_MEMORY_WAITING);
    add_pressure(&l, &g->stats.io_psi, METRIC_PRESSURE_IO_STALLED, METRIC_PRESSURE_IO_WAITING);
    Runtime__V1__ContainerMetrics *m =
        ARENA_MESSAGE(a, Runtime__V1__ContainerMetrics, runtime__v1__container_metrics);
    m->container_id = (char *)(uintptr_t)c->id;
    m->metrics = l.metrics;
    m->n_metrics = l.n;
    return m;
}

static void add_network(struct list_of *l, const struct sandbox *p)
{
    struct link_info info;
    if (sandbox_network_stats(p, &info, NULL) < 0)
        return;
    const char *interface[] = {arena_dup(l->a, info.name)};
    add(l, METRIC_NETWORK_RX_BYTES, info.rx_bytes, interface);
    add(l, METRIC_NETWORK_RX_PACKETS, info.rx_packets, interface);
    add(l, METRIC_NETWORK_RX_DROPPED, info.rx_dropped, interface);
    add(l, METRIC_NETWORK_RX_ERRORS, info.rx_errors, interface);
    add(l, METRIC_NETWORK_TX_BYTES, info.tx_bytes, interface);
    add(l, METRIC_NETWORK_TX_PACKETS, info.tx_packets, interface);
    add(l, METRIC_NETWORK_TX_DROPPED, info.tx_dropped, interface);
    add(l, METRIC_NETWORK_TX_ERRORS, info.tx_errors, interface);
}

Runtime__V1__PodSandboxMetrics *metrics_of_sandbox(struct arena *a, const struct stats_snapshot *s,
                                                   struct sandbox *p)
{
    Runtime__V1__PodSandboxMetrics *m =
        ARENA_MESSAGE(a, Runtime__V1__PodSandboxMetrics, runtime__v1__pod_sandbox_metrics);
    _cleanup_free_ char *cgroup = sandbox_cgroup(p);
    struct list_of l;
    begin(&l, a, arena_dup(a, cgroup), p->id, "", "", p);
    add_network(&l, p);
    m->pod_sandbox_id = (char *)(uintptr_t)p->id;
    m->metrics = l.metrics;
    m->n_metrics = l.n;
    size_t n = 0;
    LIST_FOR_EACH(e, &p->containers)
        n++;
    m->container_metrics = arena_array(a, n, sizeof(void *));
    LIST_FOR_EACH(e, &p->containers) {
        const struct container *c = LIST_ENTRY(e, struct container, entry);
        const struct stats_group *g = stats_of(s, c->id);
        if (g)
            m->container_metrics[m->n_container_metrics++] = of_container(a, g, c);
    }
    return m;
}
