/* /stats/summary, the Summary of stats.k8s.io/v1alpha1; see stats.h. */
#include <inttypes.h>
#include <net/if.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/cgroups.h"
#include "kubelet/eviction/eviction.h"
#include "kubelet/pods.h"
#include "kubelet/runtime/message.h"
#include "kubelet/stats/stats.h"

struct summary {
    struct stats *stats;
    struct kubelet *k;
    const struct stats_found *found;
    bool only_cpu_and_memory;
    json_t *pods;
    struct statvfs node_fs;
    bool has_node_fs;
};

static void put(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

static void put_number(json_t *o, const char *key, uint64_t value)
{
    put(o, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

/* @ns 0: now. */
static json_t *at_time(int64_t ns)
{
    char buf[TIME_TEXT_MAX];
    json_t *o = json_object();
    put(o, "time", json_string(time_format(ns ? ns / 1000000000 : time_now(), buf)));
    return o;
}

static void put_time(json_t *o, const char *key, int64_t ns)
{
    char buf[TIME_TEXT_MAX];
    put(o, key, json_string(time_format(ns / 1000000000, buf)));
}

/* ---- control groups ---- */
static void put_group(struct summary *y, json_t *o, const char *key, const struct cgroup_stats *s)
{
    int64_t now = time_now_nano();
    uint64_t rate;
    if (s->has_cpu) {
        json_t *cpu = at_time(now);
        if (stats_rate(y->stats, key, now, s->cpu_usage_ns, &rate))
            put_number(cpu, "usageNanoCores", rate);
        put_number(cpu, "usageCoreNanoSeconds", s->cpu_usage_ns);
        put(o, "cpu", cpu);
    }
    if (s->has_memory) {
        json_t *memory = at_time(now);
        if (s->memory_limit <= (uint64_t)y->k->capacity.memory)
            put_number(memory, "availableBytes",
                       s->memory_limit > s->memory_working_set
                           ? s->memory_limit - s->memory_working_set
                           : 0);
        put_number(memory, "usageBytes", s->memory_usage);
        put_number(memory, "workingSetBytes", s->memory_working_set);
        put_number(memory, "rssBytes", s->memory_rss);
        put_number(memory, "pageFaults", s->page_faults);
        put_number(memory, "majorPageFaults", s->major_page_faults);
        put(o, "memory", memory);
    }
    if (s->has_swap) {
        json_t *swap = at_time(now);
        if (s->swap_limit != UINT64_MAX)
            put_number(swap, "swapAvailableBytes",
                       s->swap_limit > s->swap_usage ? s->swap_limit - s->swap_usage : 0);
        put_number(swap, "swapUsageBytes", s->swap_usage);
        put(o, "swap", swap);
    }
}

/* ---- file systems ---- */
static json_t *fs_object(const struct statvfs *fs)
{
    json_t *o = at_time(0);
    if (!fs)
        return o;
    put_number(o, "availableBytes", fs->f_bavail * fs->f_frsize);
    put_number(o, "capacityBytes", fs->f_blocks * fs->f_frsize);
    put_number(o, "inodesFree", fs->f_ffree);
    put_number(o, "inodes", fs->f_files);
    return o;
}

/* What is used of the file system that @dir is on, all of it. */
static void put_fs(json_t *o, const char *key, const char *dir)
{
    struct statvfs fs;
    if (!dir || statvfs(dir, &fs) < 0)
        return;
    json_t *j = fs_object(&fs);
    put_number(j, "usedBytes", (fs.f_blocks - fs.f_bfree) * fs.f_frsize);
    put_number(j, "inodesUsed", fs.f_files - fs.f_ffree);
    put(o, key, j);
}

/* What something uses of the node's. */
static json_t *use_object(const struct summary *y, const struct disk_use *u)
{
    json_t *o = fs_object(y->has_node_fs ? &y->node_fs : NULL);
    put_number(o, "usedBytes", u->bytes);
    put_number(o, "inodesUsed", u->inodes);
    return o;
}

/* ---- networks ---- */
static json_t *network_of_pod(const Runtime__V1__NetworkUsage *n)
{
    const Runtime__V1__NetworkInterfaceUsage *i = n->default_interface;
    json_t *o = at_time(n->timestamp), *one = json_object();
    put(one, "name", json_text(i->name));
    if (i->rx_bytes)
        put_number(one, "rxBytes", i->rx_bytes->value);
    if (i->rx_errors)
        put_number(one, "rxErrors", i->rx_errors->value);
    if (i->tx_bytes)
        put_number(one, "txBytes", i->tx_bytes->value);
    if (i->tx_errors)
        put_number(one, "txErrors", i->tx_errors->value);
    (void)json_object_update(o, one);
    put(o, "interfaces", json_pack("[o]", one));
    return o;
}

static void put_network(const struct summary *y, const struct pod_worker *w, json_t *o)
{
    const Runtime__V1__ListPodSandboxStatsResponse *r = y->found->sandboxes;
    for (size_t i = 0; r && i < r->n_stats; i++) {
        const Runtime__V1__PodSandboxStats *s = r->stats[i];
        if (s->attributes && str_eq(s->attributes->id, w->sandbox.id) && s->linux &&
            s->linux->network && s->linux->network->default_interface)
            put(o, "network", network_of_pod(s->linux->network));
    }
}

/* The interface of the default route, as /proc tells it; "" when there is none. */
static void default_interface(char name[IFNAMSIZ])
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    *name = 0;
    if (fs_read("/proc/net/route", 1 << 20, &text, NULL) < 0 || !text.len)
        return;
    char *save = NULL;
    for (char *line = strtok_r(text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char one[IFNAMSIZ], to[9];
        if (sscanf(line, "%15s %8s", one, to) == 2 && str_eq(to, "00000000") && !*name)
            memcpy(name, one, sizeof(one));
    }
}

/* "eth0: bytes packets errs drop fifo frame compressed multicast bytes packets errs …" */
static json_t *interface_object(const char *line)
{
    const char *colon = strchr(line, ':');
    uint64_t fields[11] = {0}; /* rx: bytes 0, errors 2; tx: bytes 8, errors 10 */
    line += strspn(line, " ");
    if (!colon || str_starts(line, "lo:"))
        return NULL;
    const char *p = colon + 1;
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        char *end;
        fields[i] = strtoull(p, &end, 10);
        if (end == p)
            return NULL; /* a heading */
        p = end;
    }
    _cleanup_free_ char *name = str_ndup(line, (size_t)(colon - line));
    json_t *o = json_object();
    put(o, "name", json_text(name));
    put_number(o, "rxBytes", fields[0]);
    put_number(o, "rxErrors", fields[2]);
    put_number(o, "txBytes", fields[8]);
    put_number(o, "txErrors", fields[10]);
    return o;
}

static void put_host_network(json_t *o)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    char chosen[IFNAMSIZ];
    default_interface(chosen);
    if (fs_read("/proc/net/dev", 1 << 20, &text, NULL) < 0 || !text.len)
        return;
    json_t *network = at_time(0), *list = json_array();
    char *save = NULL;
    for (char *line = strtok_r(text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *one = interface_object(line);
        if (!one)
            continue;
        if (str_eq(json_string_value(json_object_get(one, "name")), chosen))
            (void)json_object_update(network, one);
        (void)json_array_append_new(list, one);
    }
    put(network, "interfaces", list);
    put(o, "network", network);
}

/* ---- containers ---- */
static void put_value(json_t *o, const char *key, const Runtime__V1__UInt64Value *v)
{
    if (v)
        put_number(o, key, v->value);
}

static json_t *container_object(struct summary *y, const struct container_slot *s,
                                const struct pod_disk *disk)
{
    const Runtime__V1__ContainerStats *c = stats_of_run(y->found, s->run);
    json_t *o = json_object();
    uint64_t rate;
    put(o, "name", json_text(slot_spec(s)->name));
    put_time(o, "startTime", s->run->started);
    if (c && c->cpu && c->cpu->usage_core_nano_seconds) {
        json_t *cpu = at_time(c->cpu->timestamp);
        if (c->cpu->usage_nano_cores)
            put_number(cpu, "usageNanoCores", c->cpu->usage_nano_cores->value);
        else if (stats_rate(y->stats, s->run->id, c->cpu->timestamp,
                            c->cpu->usage_core_nano_seconds->value, &rate))
            put_number(cpu, "usageNanoCores", rate);
        put_value(cpu, "usageCoreNanoSeconds", c->cpu->usage_core_nano_seconds);
        put(o, "cpu", cpu);
    }
    if (c && c->memory) {
        json_t *memory = at_time(c->memory->timestamp);
        put_value(memory, "availableBytes", c->memory->available_bytes);
        put_value(memory, "usageBytes", c->memory->usage_bytes);
        put_value(memory, "workingSetBytes", c->memory->working_set_bytes);
        put_value(memory, "rssBytes", c->memory->rss_bytes);
        put_value(memory, "pageFaults", c->memory->page_faults);
        put_value(memory, "majorPageFaults", c->memory->major_page_faults);
        put(o, "memory", memory);
    }
    if (c && c->swap) {
        json_t *swap = at_time(c->swap->timestamp);
        put_value(swap, "swapAvailableBytes", c->swap->swap_available_bytes);
        put_value(swap, "swapUsageBytes", c->swap->swap_usage_bytes);
        put(o, "swap", swap);
    }
    if (y->only_cpu_and_memory || !disk || s->index >= disk->n_containers)
        return o;
    if (disk->containers[s->index].layer.known)
        put(o, "rootfs", use_object(y, &disk->containers[s->index].layer));
    if (disk->containers[s->index].logs.known)
        put(o, "logs", use_object(y, &disk->containers[s->index].logs));
    return o;
}

/* ---- pods ---- */
static json_t *volumes_of(const struct summary *y, const struct pod_worker *w,
                          const struct pod_disk *disk)
{
    json_t *list = json_array();
    for (size_t i = 0; i < disk->n_volumes && i < w->pod->spec.volumes.count; i++) {
        if (!disk->volumes[i].known)
            continue;
        json_t *v = use_object(y, &disk->volumes[i]);
        put(v, "name", json_text(w->pod->spec.volumes.items[i].name));
        (void)json_array_append_new(list, v);
    }
    return list;
}

static void add_pod(const struct pod_worker *w, void *arg)
{
    struct summary *y = arg;
    const struct pod_meta *m = &w->pod->meta;
    const struct pod_disk *disk = stats_disk(y->stats, m->uid);
    struct cgroup_stats group;
    struct cgroup_details details;
    if (w->stage != WORKER_RUN || !w->sandbox.id)
        return;
    json_t *o = json_object(), *containers = json_array();
    put(o, "podRef",
        json_pack("{s:s,s:s,s:s}", "name", m->name, "namespace", m->ns, "uid", m->uid));
    put_time(o, "startTime", w->sandbox.created);
    for (size_t i = 0; i < w->n_slots; i++)
        if (slot_is_running(w->slots[i]))
            (void)json_array_append_new(containers, container_object(y, w->slots[i], disk));
    put(o, "containers", containers);
    if (stats_of_pod(y->stats, w, &group))
        put_group(y, o, m->uid, &group);
    if (!y->only_cpu_and_memory) {
        put_network(y, w, o);
        if (disk) {
            struct disk_use total = disk_total(w->pod, disk);
            json_t *volumes = volumes_of(y, w, disk);
            if (json_array_size(volumes))
                (void)json_object_set(o, "volume", volumes);
            json_decref(volumes);
            put(o, "ephemeral-storage", use_object(y, &total));
        }
        if (y->k->cgroups &&
            !cgroup_details(pod_cgroups_host(y->k->cgroups),
                            pod_cgroups_path(y->k->cgroups, w->pod), &details, NULL))
            put(o, "process_stats",
                json_pack("{s:I}", "process_count", (json_int_t)details.processes));
    }
    (void)json_array_append_new(y->pods, o);
}

/* ---- the node ---- */
static int64_t boot_time(void)
{
    return time_now_nano() - (int64_t)now_ms() * 1000000;
}

/* Of all pods together, and of our own process' group unless that is the root. */
static json_t *system_containers(struct summary *y)
{
    const struct cgroups *host = pod_cgroups_host(y->k->cgroups);
    _cleanup_free_ char *own = NULL;
    (void)cgroup_of(host, 0, &own, NULL);
    const struct {
        const char *name, *path;
    } groups[] = {{"pods", pod_cgroups_top(y->k->cgroups)},
                  {"kubelet", own && !str_eq(own, "/") ? own : NULL}};
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        struct cgroup_stats s;
        if (!groups[i].path || cgroup_stats(host, groups[i].path, &s, NULL) < 0)
            continue;
        json_t *o = json_object();
        put(o, "name", json_string(groups[i].name));
        put_time(o, "startTime", boot_time());
        put_group(y, o, groups[i].name, &s);
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *rlimit_object(const struct observation *pids)
{
    json_t *o = at_time(0);
    put_number(o, "maxpid", (uint64_t)pids->capacity);
    put_number(o, "curproc", (uint64_t)(pids->capacity - pids->available));
    return o;
}

static json_t *node_object(struct summary *y)
{
    struct cgroup_stats host;
    struct observation seen[EVICTION_SIGNALS];
    json_t *o = json_object();
    put(o, "nodeName", json_text(y->k->node_name));
    put_time(o, "startTime", boot_time());
    host_stats(y->k, &host);
    put_group(y, o, "", &host);
    put(o, "systemContainers", system_containers(y));
    if (y->only_cpu_and_memory)
        return o;
    put_host_network(o);
    put_fs(o, "fs", y->k->pods_dir);
    json_t *runtime = json_object();
    put_fs(runtime, "imageFs", eviction_image_dir(y->k->eviction));
    put_fs(runtime, "containerFs", eviction_image_dir(y->k->eviction));
    put(o, "runtime", runtime);
    eviction_observe(y->k, NULL, seen);
    if (seen[SIGNAL_PID].known)
        put(o, "rlimit", rlimit_object(&seen[SIGNAL_PID]));
    return o;
}

json_t *stats_summary(struct stats *s, const struct stats_found *f, bool only_cpu_and_memory)
{
    struct summary y = {.stats = s,
                        .k = stats_kubelet(s),
                        .found = f,
                        .only_cpu_and_memory = only_cpu_and_memory,
                        .pods = json_array()};
    y.has_node_fs = statvfs(y.k->pods_dir, &y.node_fs) == 0;
    pod_manager_each(y.k->pods, add_pod, &y);
    return json_pack("{s:o,s:o}", "node", node_object(&y), "pods", y.pods);
}
