/* ListContainerStats, then coracle-tree, once each; see disk.h. */
#include "kubelet/stats/disk.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "kubelet/runtime/message.h"

#define STATS_DEADLINE_MS 10000
#define TREE_DEADLINE_MS  60000
#define OUTPUT_MAX        65536

struct disk_look {
    struct kubelet *k;
    struct pod *pod;
    struct pod_disk result;
    struct container_disk *containers;
    struct disk_use *volumes;
    uint32_t *attempts;       /* of the runs that the layers are of */
    const char **argv;        /* of coracle-tree; the paths are ours */
    struct disk_use **places; /* of its answers, a path each */
    size_t n_argv, n_paths;
    struct runtime_call *call;
    struct process_run *run;
    struct loop_deferred failed;
    void (*cb)(void *arg, const struct pod_disk *disk);
    void *arg;
};

bool disk_is_local(const struct volume_spec *v)
{
    return v->config_map || (v->empty_dir && (!v->empty_dir->medium || !*v->empty_dir->medium));
}

struct disk_use disk_total(const struct pod *pod, const struct pod_disk *d)
{
    struct disk_use sum = {.bytes = 0};
    const struct disk_use *parts[3];
    for (size_t i = 0; i < d->n_containers + d->n_volumes; i++) {
        size_t n = 0, v = i - d->n_containers;
        if (i < d->n_containers) {
            parts[n++] = &d->containers[i].layer;
            parts[n++] = &d->containers[i].logs;
        } else if (disk_is_local(&pod->spec.volumes.items[v])) {
            parts[n++] = &d->volumes[v];
        }
        while (n--) {
            sum.bytes += parts[n]->bytes;
            sum.inodes += parts[n]->inodes;
            sum.known |= parts[n]->known;
        }
    }
    return sum;
}

static void look_free(struct disk_look *l)
{
    loop_deferred_done(&l->failed);
    for (size_t i = 0; i < l->n_paths; i++)
        free((char *)(uintptr_t)l->argv[l->n_argv - l->n_paths + i]);
    free(l->argv);
    free(l->places);
    free(l->containers);
    free(l->volumes);
    free(l->attempts);
    pod_unref(l->pod);
    free(l);
}

struct disk_look *disk_look_cancel(struct disk_look *l)
{
    if (!l)
        return NULL;
    if (l->call)
        runtime_cancel(l->k->runtime, &l->call);
    process_run_cancel(l->run);
    look_free(l);
    return NULL;
}

static void finish(void *look)
{
    struct disk_look *l = look;
    void (*cb)(void *arg, const struct pod_disk *disk) = l->cb;
    void *arg = l->arg;
    l->cb = NULL;
    cb(arg, &l->result);
    look_free(l);
}

/* ---- trees: a line of bytes and inodes for each path ---- */
static void on_trees(const struct process_result *result, void *arg)
{
    struct disk_look *l = arg;
    struct error err = ERROR_INIT;
    const char *line = strbuf_text(result->out);
    l->run = NULL;
    if (process_result_error(result, "coracle-tree", &err) < 0)
        log_warn("disk usage cannot be told", "uid", l->pod->meta.uid, "error", error_text(&err),
                 NULL);
    for (size_t i = 0; i < l->n_paths; i++) {
        struct disk_use u = {.known = true};
        char *end, *last;
        u.bytes = strtoull(line, &end, 10);
        u.inodes = strtoull(end, &last, 10);
        if (end == line || last == end || *last != '\n')
            break;
        *l->places[i] = u;
        line = last + 1;
    }
    finish(l);
}

static void measure_trees(struct disk_look *l)
{
    struct process_spec spec = PROCESS_SPEC_INIT;
    struct error err = ERROR_INIT;
    spec.argv = l->argv;
    if (process_run(l->k->loop, &spec, NULL, 0, OUTPUT_MAX, TREE_DEADLINE_MS, on_trees, l, &l->run,
                    &err) == 0)
        return;
    log_warn("disk usage cannot be told", "uid", l->pod->meta.uid, "error", error_text(&err), NULL);
    loop_defer(&l->failed); /* this may be disk_look_new() */
}

static void add_path(struct disk_look *l, char *path, struct disk_use *place)
{
    l->argv[l->n_argv++] = path;
    l->argv[l->n_argv] = NULL;
    l->places[l->n_paths++] = place;
}

/* What is there to be measured is settled when the look begins: the volumes may go meanwhile. */
static void add_paths(struct disk_look *l, const struct volume_set *volumes)
{
    size_t most = l->result.n_containers + l->result.n_volumes;
    _cleanup_free_ char *logs = pod_log_dir(l->pod, l->k->log_root);
    l->argv = mem_zalloc((most + 3) * sizeof(*l->argv));
    l->places = mem_zalloc((most + 1) * sizeof(struct disk_use *));
    l->argv[l->n_argv++] = l->k->tree_program;
    l->argv[l->n_argv++] = "usage";
    for (size_t i = 0; i < l->result.n_containers; i++)
        add_path(l, str_printf("%s/%s", logs, pod_container_at(l->pod, i)->name),
                 &l->containers[i].logs);
    for (size_t i = 0; volumes && i < volumes->count && i < l->result.n_volumes; i++) {
        const struct volume *v = &volumes->volumes[i];
        const struct volume_spec *s = v->spec;
        if (v->ready && v->path &&
            (s->empty_dir || s->config_map || s->secret || s->downward || s->projected))
            add_path(l, str_dup(v->path), &l->volumes[i]);
    }
}

/* ---- layers ---- */
static void read_layer(struct disk_look *l, const Runtime__V1__ContainerStats *s)
{
    const Runtime__V1__ContainerAttributes *a = s->attributes;
    const Runtime__V1__FilesystemUsage *u = s->writable_layer;
    if (!a || !a->metadata || !u || !u->used_bytes)
        return;
    for (size_t i = 0; i < l->result.n_containers; i++) {
        struct disk_use *layer = &l->containers[i].layer;
        if (!str_eq(pod_container_at(l->pod, i)->name, a->metadata->name) ||
            (layer->known && a->metadata->attempt < l->attempts[i]))
            continue;
        l->attempts[i] = a->metadata->attempt;
        *layer = (struct disk_use){.bytes = u->used_bytes->value,
                                   .inodes = u->inodes_used ? u->inodes_used->value : 0,
                                   .known = true};
    }
}

static void on_stats(void *arg, enum rpc_status status, const char *message,
                     const ProtobufCMessage *response)
{
    struct disk_look *l = arg;
    const Runtime__V1__ListContainerStatsResponse *r = (const void *)response;
    l->call = NULL;
    if (status != RPC_OK)
        log_warn("disk usage of containers cannot be told", "uid", l->pod->meta.uid, "error",
                 message, NULL);
    for (size_t i = 0; status == RPC_OK && i < r->n_stats; i++)
        read_layer(l, r->stats[i]);
    measure_trees(l);
}

struct disk_look *disk_look_new(struct kubelet *k, struct pod *pod,
                                const struct volume_set *volumes,
                                void (*cb)(void *arg, const struct pod_disk *disk), void *arg)
{
    struct disk_look *l = mem_zalloc(sizeof(*l));
    l->k = k;
    l->pod = pod_ref(pod);
    l->cb = cb;
    l->arg = arg;
    loop_deferred_init(&l->failed, k->loop, finish, l);
    l->result.n_containers = pod_container_count(pod);
    l->result.n_volumes = pod->spec.volumes.count;
    l->containers = mem_zalloc((l->result.n_containers + 1) * sizeof(*l->containers));
    l->volumes = mem_zalloc((l->result.n_volumes + 1) * sizeof(*l->volumes));
    l->attempts = mem_zalloc((l->result.n_containers + 1) * sizeof(*l->attempts));
    l->result.containers = l->containers;
    l->result.volumes = l->volumes;
    add_paths(l, volumes);
    if (!k->runtime) {
        measure_trees(l);
        return l;
    }
    Runtime__V1__ListContainerStatsRequest *q =
        message_new(&runtime__v1__list_container_stats_request__descriptor);
    q->filter = message_new(&runtime__v1__container_stats_filter__descriptor);
    message_map_put(&q->filter->n_label_selector, &q->filter->label_selector,
                    &runtime__v1__container_stats_filter__label_selector_entry__descriptor,
                    LABEL_POD_UID, pod->meta.uid);
    l->call = runtime_call(k->runtime, CRI_LIST_CONTAINER_STATS, &q->base, STATS_DEADLINE_MS,
                           on_stats, l);
    message_free(q);
    return l;
}
