/*
 * The acting. What is left is looked at every ten seconds, every second when memory is getting low
 * or a threshold is met. Memory and process ids are decided on at once, from control groups alone:
 * whoever else would have to be asked may be what hangs. For disk, what nobody uses goes first;
 * only when that does not help all pods are looked at, one after the other, which may take a while.
 * One pod is ended at a time, and the next one only when nothing of it is left.
 */
#include "kubelet/eviction/eviction.h"

#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/cgroups.h"
#include "kubelet/pods.h"
#include "kubelet/runtime/image_gc.h"

#define PERIOD_MS  10000
#define CLOSE_MS   1000
#define VICTIM_MS  500   /* between looks at the one that is ending */
#define VICTIM_MAX 30000 /* then others may have to go too */
#define HARD_GRACE 1     /* seconds, upstream's */
#define FS_INFO_MS 10000

/* A pod that may go, with what it uses of the disk. */
struct survey_item {
    char *uid;
    struct disk_use total;
    int64_t *containers; /* bytes of each; -1: not known */
    size_t n;            /* of them: ephemeral ones may come meanwhile */
};

struct eviction {
    struct kubelet *k;
    struct eviction_policy policy;
    struct eviction_state state;
    struct observation seen[EVICTION_SIGNALS];
    uint64_t evicted[EVICTION_SIGNALS];
    struct loop_timer timer;
    struct runtime_call *call;
    char *image_dir;       /* NULL: not known yet */
    char *victim;          /* uid of the pod that is ending; NULL: none */
    uint64_t victim_until; /* now_ms() */
    uint64_t idle_until; /* now_ms(): nobody could be ended, that need not be tried all the time */
    bool reclaiming, reclaimed;          /* before a pod goes */
    enum eviction_signal wanted;         /* what the survey is for */
    ARRAY_OF(struct survey_item) survey; /* under way unless empty */
    size_t next;
    struct disk_look *look;
    void (*changed)(void *arg);
    void *arg;
};

/* ---- ending a pod ---- */
static bool is_disk(enum eviction_signal s)
{
    return s != SIGNAL_MEMORY && s != SIGNAL_ALLOCATABLE_MEMORY && s != SIGNAL_PID;
}

static bool may_go(const struct pod_worker *w)
{
    return w->stage == WORKER_RUN && !w->failed_reason && !w->removed;
}

static void node_event(struct eviction *e, const char *reason, const char *text)
{
    struct event_object about = {.kind = "Node", .name = e->k->node_name, .uid = e->k->node_name};
    event_record(e->k->events, &about, "Warning", reason, "%s", text);
}

/* Ends the first of the candidates that may be. @usage(arg, pod): of its containers. */
static void end_first(struct eviction *e, const struct eviction_threshold *t,
                      const struct eviction_candidate *list, size_t n,
                      void (*usage)(struct eviction *e, const struct pod_worker *w, int64_t *ret))
{
    char label[POD_LABEL_MAX];
    for (size_t i = 0; i < n; i++) {
        struct pod_worker *w = pod_manager_by_uid(e->k->pods, list[i].pod->meta.uid);
        if (!w || pod_is_critical(w->pod))
            continue;
        _cleanup_free_ int64_t *used =
            mem_zalloc((pod_container_count(w->pod) + 1) * sizeof(*used));
        usage(e, w, used);
        _cleanup_free_ char *text = eviction_message(t, &e->seen[t->signal], w->pod, used);
        if (!worker_evict(w, text, t->grace_ms ? e->policy.max_grace : HARD_GRACE))
            continue;
        log_warn("pod is evicted", "pod", pod_label(w->pod, label), "signal",
                 signal_name(t->signal), "message", text, NULL);
        e->evicted[t->signal]++;
        free(e->victim);
        e->victim = str_dup(w->pod->meta.uid);
        e->victim_until = now_ms() + VICTIM_MAX;
        loop_timer_set(&e->timer, VICTIM_MS);
        return;
    }
    log_warn("no pod can be evicted", "signal", signal_name(t->signal), NULL);
    e->idle_until = now_ms() + PERIOD_MS;
}

/* Nothing runs of it any more, and nothing of it is left on the node, where it was about disk not
 * even the layers of its containers. */
static bool victim_is_gone(const struct eviction *e)
{
    struct pod_worker *w = pod_manager_by_uid(e->k->pods, e->victim);
    if (!w || now_ms() >= e->victim_until)
        return true;
    if (w->stage == WORKER_RUN || w->stage == WORKER_STOP || w->dirs_ready)
        return false;
    if (is_disk(e->wanted))
        worker_drop_ended(w);
    return !w->removals;
}

/* ---- memory and process ids: from control groups ---- */
struct candidates {
    struct eviction *e;
    ARRAY_OF(struct eviction_candidate) list;
};

static void add_candidate(const struct pod_worker *w, void *arg)
{
    struct candidates *c = arg;
    struct pod_cgroups *groups = c->e->k->cgroups;
    struct cgroup_stats stats;
    struct eviction_candidate one = {.pod = w->pod, .request = pod_request(w->pod, "memory")};
    if (!may_go(w))
        return;
    const char *path = pod_cgroups_path(groups, w->pod);
    if (c->e->wanted == SIGNAL_PID) {
        struct cgroup_details details;
        one.known = !cgroup_details(pod_cgroups_host(groups), path, &details, NULL);
        one.usage = one.known ? (int64_t)details.processes : 0;
    } else {
        one.known = !cgroup_stats(pod_cgroups_host(groups), path, &stats, NULL) && stats.has_memory;
        one.usage = one.known ? (int64_t)stats.memory_working_set : 0;
    }
    c->list.items = mem_grow(c->list.items, c->list.count + 1, sizeof(*c->list.items));
    c->list.items[c->list.count++] = one;
}

static void memory_of_containers(struct eviction *e, const struct pod_worker *w, int64_t *ret)
{
    for (size_t i = 0; i < w->n_slots; i++) {
        struct cgroup_stats stats;
        const struct container_run *r = w->slots[i]->run;
        _cleanup_free_ char *path = r ? pod_cgroups_container(e->k->cgroups, w->pod, r->id) : NULL;
        ret[i] = path && !cgroup_stats(pod_cgroups_host(e->k->cgroups), path, &stats, NULL) &&
                         stats.has_memory
                     ? (int64_t)stats.memory_working_set
                     : -1;
    }
}

static void act_at_once(struct eviction *e, const struct eviction_threshold *t)
{
    struct candidates c = {.e = e};
    e->wanted = t->signal;
    pod_manager_each(e->k->pods, add_candidate, &c);
    eviction_rank(c.list.items, c.list.count, t->signal);
    end_first(e, t, c.list.items, c.list.count, memory_of_containers);
    free(c.list.items);
}

/* ---- disk: what nobody uses, then pods ---- */
static void survey_done(struct eviction *e)
{
    e->look = disk_look_cancel(e->look);
    for (size_t i = 0; i < e->survey.count; i++) {
        free(e->survey.items[i].uid);
        free(e->survey.items[i].containers);
    }
    free(e->survey.items);
    e->survey.items = NULL;
    e->survey.count = e->next = 0;
}

static const struct survey_item *survey_of(const struct eviction *e, const char *uid)
{
    for (size_t i = 0; i < e->survey.count; i++)
        if (str_eq(e->survey.items[i].uid, uid))
            return &e->survey.items[i];
    return NULL;
}

static void disk_of_containers(struct eviction *e, const struct pod_worker *w, int64_t *ret)
{
    const struct survey_item *item = survey_of(e, w->pod->meta.uid);
    for (size_t i = 0; i < w->n_slots; i++)
        ret[i] = item && i < item->n ? item->containers[i] : -1;
}

static void end_survey(struct eviction *e)
{
    const struct eviction_threshold *t = eviction_first(&e->state, &e->policy);
    bool inodes = str_eq(eviction_resource(e->wanted), "inodes");
    struct eviction_candidate *list = mem_zalloc((e->survey.count + 1) * sizeof(*list));
    size_t n = 0;
    for (size_t i = 0; i < e->survey.count; i++) {
        const struct survey_item *item = &e->survey.items[i];
        const struct pod_worker *w = pod_manager_by_uid(e->k->pods, item->uid);
        if (w && may_go(w))
            list[n++] = (struct eviction_candidate){
                .pod = w->pod,
                .usage = (int64_t)(inodes ? item->total.inodes : item->total.bytes),
                .request = inodes ? 0 : pod_request(w->pod, "ephemeral-storage"),
                .known = item->total.known};
    }
    /* The need may be over meanwhile. */
    if (t && t->signal == e->wanted) {
        eviction_rank(list, n, t->signal);
        end_first(e, t, list, n, disk_of_containers);
    }
    free(list);
    survey_done(e);
}

static void look_at_next(struct eviction *e);

static void on_look(void *arg, const struct pod_disk *d)
{
    struct eviction *e = arg;
    struct survey_item *item = &e->survey.items[e->next++];
    const struct pod_worker *w = pod_manager_by_uid(e->k->pods, item->uid);
    e->look = NULL;
    if (w) {
        item->total = disk_total(w->pod, d);
        for (size_t i = 0; i < d->n_containers && i < item->n; i++)
            item->containers[i] =
                (int64_t)(d->containers[i].layer.bytes + d->containers[i].logs.bytes);
    }
    look_at_next(e);
}

static void look_at_next(struct eviction *e)
{
    for (; e->next < e->survey.count; e->next++) {
        struct survey_item *item = &e->survey.items[e->next];
        const struct pod_worker *w = pod_manager_by_uid(e->k->pods, item->uid);
        if (!w || !may_go(w))
            continue;
        e->look = disk_look_new(e->k, w->pod, w->volumes, on_look, e);
        return;
    }
    end_survey(e);
}

static void add_to_survey(const struct pod_worker *w, void *arg)
{
    struct eviction *e = arg;
    if (!may_go(w))
        return;
    e->survey.items = mem_grow(e->survey.items, e->survey.count + 1, sizeof(*e->survey.items));
    struct survey_item *item = &e->survey.items[e->survey.count++];
    *item = (struct survey_item){.uid = str_dup(w->pod->meta.uid), .n = w->n_slots};
    item->containers = mem_zalloc((w->n_slots + 1) * sizeof(int64_t));
    for (size_t i = 0; i < w->n_slots; i++)
        item->containers[i] = -1;
}

/* Runtimes may go on removing after they have answered: whether it was enough shows a little later.
 */
static void on_reclaimed(void *arg)
{
    struct eviction *e = arg;
    e->reclaiming = false;
    e->reclaimed = true;
    loop_timer_set(&e->timer, CLOSE_MS);
}

static void drop_ended(const struct pod_worker *w, void *arg)
{
    struct eviction *e = arg;
    struct pod_worker *own = pod_manager_by_uid(e->k->pods, w->pod->meta.uid);
    worker_drop_ended(own);
}

/* What nobody uses, on the disk that @signal is about. True when that is under way. */
static bool reclaim(struct eviction *e, enum eviction_signal signal)
{
    bool images = signal == SIGNAL_IMAGEFS || signal == SIGNAL_IMAGEFS_INODES ||
                  !eviction_images_apart(e->k, e->image_dir);
    if (!images || e->reclaimed)
        return false;
    pod_manager_each(e->k->pods, drop_ended, e);
    e->reclaiming = image_gc_reclaim(e->k->image_gc, on_reclaimed, e) == 0;
    return e->reclaiming;
}

static void act_on_disk(struct eviction *e, const struct eviction_threshold *t)
{
    if (reclaim(e, t->signal))
        return;
    e->wanted = t->signal;
    pod_manager_each(e->k->pods, add_to_survey, e);
    look_at_next(e);
}

/* ---- looking ---- */
static void act(struct eviction *e)
{
    const struct eviction_threshold *t = eviction_first(&e->state, &e->policy);
    if (!t || e->victim || e->reclaiming || e->survey.count || now_ms() < e->idle_until)
        return;
    _cleanup_free_ char *text =
        str_printf("Attempting to reclaim %s", eviction_resource(t->signal));
    node_event(e, "EvictionThresholdMet", text);
    log_warn("threshold of eviction is met", "signal", signal_name(t->signal), NULL);
    if (is_disk(t->signal))
        act_on_disk(e, t);
    else
        act_at_once(e, t);
}

static void observe(struct eviction *e)
{
    bool before[PRESSURES];
    memcpy(before, e->state.on, sizeof(before));
    eviction_observe(e->k, e->image_dir, e->seen);
    eviction_decide(&e->state, &e->policy, e->seen, now_ms());
    if (!eviction_first(&e->state, &e->policy))
        e->reclaimed = false;
    if (memcmp(before, e->state.on, sizeof(before)) != 0)
        e->changed(e->arg);
}

static void on_fs_info(void *arg, enum rpc_status status, const char *message,
                       const ProtobufCMessage *response)
{
    struct eviction *e = arg;
    const Runtime__V1__ImageFsInfoResponse *r = (const void *)response;
    (void)message;
    e->call = NULL;
    if (status == RPC_OK && r->n_image_filesystems && r->image_filesystems[0]->fs_id)
        e->image_dir = str_dup(r->image_filesystems[0]->fs_id->mountpoint);
}

static void on_timer(void *arg)
{
    struct eviction *e = arg;
    if (!e->image_dir && !e->call) {
        Runtime__V1__ImageFsInfoRequest q = RUNTIME__V1__IMAGE_FS_INFO_REQUEST__INIT;
        e->call =
            runtime_call(e->k->runtime, CRI_IMAGE_FS_INFO, &q.base, FS_INFO_MS, on_fs_info, e);
    }
    if (e->victim && victim_is_gone(e)) {
        free(e->victim);
        e->victim = NULL;
        e->reclaimed = false;
    }
    observe(e);
    loop_timer_set(&e->timer, e->victim ? VICTIM_MS
                              : eviction_is_close(&e->state, &e->policy, e->seen) ||
                                      !e->image_dir || e->state.on[PRESSURE_MEMORY] ||
                                      e->state.on[PRESSURE_DISK] || e->state.on[PRESSURE_PID]
                                  ? CLOSE_MS
                                  : PERIOD_MS);
    act(e);
}

struct eviction *eviction_new(struct kubelet *k, const struct eviction_policy *policy,
                              void (*changed)(void *arg), void *arg)
{
    struct eviction *e = mem_zalloc(sizeof(*e));
    e->k = k;
    e->policy = *policy;
    e->changed = changed;
    e->arg = arg;
    loop_timer_init(&e->timer, k->loop, "eviction", on_timer, e);
    loop_timer_set(&e->timer, 0);
    return e;
}

struct eviction *eviction_free(struct eviction *e)
{
    if (!e)
        return NULL;
    runtime_cancel(e->k->runtime, &e->call);
    image_gc_forget(e->k->image_gc);
    survey_done(e);
    loop_timer_done(&e->timer);
    free(e->image_dir);
    free(e->victim);
    free(e);
    return NULL;
}

bool eviction_has(const struct eviction *e, enum pressure p)
{
    return e && e->state.on[p];
}

uint64_t eviction_count(const struct eviction *e, enum eviction_signal s)
{
    return e ? e->evicted[s] : 0;
}

const char *eviction_image_dir(const struct eviction *e)
{
    return e ? e->image_dir : NULL;
}

bool eviction_admits(const struct eviction *e, const struct pod *pod, char **ret_text)
{
    return !e || eviction_lets_in(pod, e->state.on, ret_text);
}
