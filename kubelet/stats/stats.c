/* ListContainerStats → ListPodSandboxStats → disk usage, one after the other; see stats.h. */
#include "kubelet/stats/stats.h"

#include <string.h>

#include "base/cpu_rate.h"
#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "kubelet/cgroups.h"
#include "kubelet/pods.h"
#include "kubelet/runtime/message.h"

#define DEADLINE_MS 10000
#define DISK_OLD_MS 60000  /* upstream's period */
#define RATES_MAX   100000 /* forgotten all at once beyond this */

/* A pod's disk usage, kept. */
struct kept_disk {
    struct pod_disk disk;
    uint64_t at_ms;
};

struct stats {
    struct kubelet *k;
    struct map rates; /* key → struct cpu_rate */
    struct map disks; /* uid → struct kept_disk */
    struct list queries;
};

struct stats_query {
    struct list entry;
    struct stats *s;
    struct runtime_call *call;
    void *containers, *sandboxes; /* messages */
    bool disks;
    struct string_list uids; /* to be measured */
    size_t next;
    struct disk_look *look;
    void (*cb)(void *arg, const struct stats_found *found);
    void *arg;
};

static void kept_free(void *value)
{
    struct kept_disk *d = value;
    free((void *)(uintptr_t)d->disk.containers);
    free((void *)(uintptr_t)d->disk.volumes);
    free(d);
}

struct stats *stats_new(struct kubelet *k)
{
    struct stats *s = mem_zalloc(sizeof(*s));
    s->k = k;
    s->rates = (struct map)MAP_INIT(free);
    s->disks = (struct map)MAP_INIT(kept_free);
    list_init(&s->queries);
    return s;
}

struct stats *stats_free(struct stats *s)
{
    if (!s)
        return NULL;
    while (!list_empty(&s->queries))
        (void)stats_query_cancel(LIST_ENTRY(s->queries.next, struct stats_query, entry));
    map_clear(&s->rates);
    map_clear(&s->disks);
    free(s);
    return NULL;
}

struct kubelet *stats_kubelet(const struct stats *s)
{
    return s->k;
}

bool stats_rate(struct stats *s, const char *key, int64_t at_ns, uint64_t usage_ns,
                uint64_t *ret_nano_cores)
{
    struct cpu_rate *rate = map_get(&s->rates, key);
    if (!rate) {
        if (map_count(&s->rates) >= RATES_MAX)
            map_clear(&s->rates);
        rate = mem_zalloc(sizeof(*rate));
        map_set(&s->rates, key, rate);
    }
    if (!cpu_rate_update(rate, at_ns, usage_ns))
        return false;
    *ret_nano_cores = rate->nano_cores;
    return true;
}

const struct pod_disk *stats_disk(const struct stats *s, const char *uid)
{
    const struct kept_disk *d = map_get(&s->disks, uid);
    return d ? &d->disk : NULL;
}

const Runtime__V1__ContainerStats *stats_of_run(const struct stats_found *f,
                                                const struct container_run *r)
{
    for (size_t i = 0; r && f->containers && i < f->containers->n_stats; i++) {
        const Runtime__V1__ContainerStats *c = f->containers->stats[i];
        if (c->attributes && str_eq(c->attributes->id, r->id))
            return c;
    }
    return NULL;
}

bool stats_of_pod(const struct stats *s, const struct pod_worker *w, struct cgroup_stats *ret)
{
    struct pod_cgroups *groups = s->k->cgroups;
    return groups &&
           cgroup_stats(pod_cgroups_host(groups), pod_cgroups_path(groups, w->pod), ret, NULL) == 0;
}

/* ---- a query ---- */
static void query_free(struct stats_query *q)
{
    list_remove(&q->entry);
    for (size_t i = 0; i < q->uids.count; i++)
        free(q->uids.items[i]);
    free(q->uids.items);
    message_free(q->containers);
    message_free(q->sandboxes);
    free(q);
}

struct stats_query *stats_query_cancel(struct stats_query *q)
{
    if (!q)
        return NULL;
    runtime_cancel(q->s->k->runtime, &q->call);
    disk_look_cancel(q->look);
    query_free(q);
    return NULL;
}

static void finish(struct stats_query *q)
{
    const struct stats_found found = {.containers = q->containers, .sandboxes = q->sandboxes};
    q->cb(q->arg, &found);
    query_free(q);
}

static const void *copy(const void *items, size_t n, size_t size)
{
    void *c = mem_zalloc((n + 1) * size);
    if (n)
        memcpy(c, items, n * size);
    return c;
}

static void look_at_next(struct stats_query *q);

static void on_look(void *arg, const struct pod_disk *d)
{
    struct stats_query *q = arg;
    struct kept_disk *kept = mem_zalloc(sizeof(*kept));
    q->look = NULL;
    kept->at_ms = now_ms();
    kept->disk = *d;
    kept->disk.containers = copy(d->containers, d->n_containers, sizeof(*d->containers));
    kept->disk.volumes = copy(d->volumes, d->n_volumes, sizeof(*d->volumes));
    map_set(&q->s->disks, q->uids.items[q->next++], kept);
    look_at_next(q);
}

static void look_at_next(struct stats_query *q)
{
    for (; q->next < q->uids.count; q->next++) {
        const struct pod_worker *w = pod_manager_by_uid(q->s->k->pods, q->uids.items[q->next]);
        if (!w)
            continue;
        q->look = disk_look_new(q->s->k, w->pod, w->volumes, on_look, q);
        return;
    }
    finish(q);
}

static void add_old(const struct pod_worker *w, void *arg)
{
    struct stats_query *q = arg;
    const char *uid = w->pod->meta.uid;
    const struct kept_disk *kept = map_get(&q->s->disks, uid);
    if (w->stage != WORKER_RUN || (kept && now_ms() - kept->at_ms < DISK_OLD_MS))
        return;
    q->uids.items = mem_grow(q->uids.items, q->uids.count + 1, sizeof(char *));
    q->uids.items[q->uids.count++] = str_dup(uid);
}

static void measure(struct stats_query *q)
{
    MAP_FOR_EACH(e, &q->s->disks)
        if (!pod_manager_by_uid(q->s->k->pods, map_key(e)))
            (void)map_remove(&q->s->disks, map_key(e));
    if (q->disks)
        pod_manager_each(q->s->k->pods, add_old, q);
    look_at_next(q);
}

static void on_sandboxes(void *arg, enum rpc_status status, const char *message,
                         const ProtobufCMessage *response)
{
    struct stats_query *q = arg;
    (void)message;
    q->call = NULL;
    if (status == RPC_OK)
        q->sandboxes = message_copy(response);
    measure(q);
}

static void on_containers(void *arg, enum rpc_status status, const char *message,
                          const ProtobufCMessage *response)
{
    struct stats_query *q = arg;
    Runtime__V1__ListPodSandboxStatsRequest r = RUNTIME__V1__LIST_POD_SANDBOX_STATS_REQUEST__INIT;
    q->call = NULL;
    if (status == RPC_OK)
        q->containers = message_copy(response);
    else
        log_warn("figures of containers cannot be had", "error", message, NULL);
    q->call = runtime_call(q->s->k->runtime, CRI_LIST_POD_SANDBOX_STATS, &r.base, DEADLINE_MS,
                           on_sandboxes, q);
}

struct stats_query *stats_ask(struct stats *s, bool disks,
                              void (*cb)(void *arg, const struct stats_found *found), void *arg)
{
    Runtime__V1__ListContainerStatsRequest r = RUNTIME__V1__LIST_CONTAINER_STATS_REQUEST__INIT;
    struct stats_query *q = mem_zalloc(sizeof(*q));
    q->s = s;
    q->disks = disks;
    q->cb = cb;
    q->arg = arg;
    list_append(&s->queries, &q->entry);
    q->call = runtime_call(s->k->runtime, CRI_LIST_CONTAINER_STATS, &r.base, DEADLINE_MS,
                           on_containers, q);
    return q;
}
