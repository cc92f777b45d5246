/* The pod worker: its life, and the one function that compares desired with known. */
#include "kubelet/worker/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/cgroups.h"
#include "kubelet/stats/disk.h"
#include "kubelet/userns.h"

/* Who is evicted for what it has used up gets no time to use more. */
#define EVICTION_GRACE 1
/* How often what has a limit on disk is measured (upstream's period). */
#define LIMITS_MS 10000

static void on_kick(void *arg);

static void on_timer(void *arg)
{
    struct pod_worker *w = arg;
    worker_kick(w);
}

void worker_kick(struct pod_worker *w)
{
    loop_defer(&w->sync);
}

static void on_changed(void *arg)
{
    struct pod_worker *w = arg;
    w->volume_retry_at = 0;
    w->volumes_current = false;
    for (size_t i = 0; i < w->n_slots; i++)
        if (str_eq(w->slots[i]->wait_reason, "CreateContainerConfigError"))
            w->slots[i]->retry_at = 0;
    worker_kick(w);
}

void worker_wake_in(struct pod_worker *w, uint64_t ms)
{
    uint64_t at = now_ms() + ms;
    if (at < w->wake_at)
        w->wake_at = at;
}

/* ---- references to ConfigMaps and Secrets, but for those of volumes ---- */
const struct object_ref *worker_object(const struct pod_worker *w, enum object_kind kind,
                                       const char *name)
{
    for (size_t i = 0; i < w->n_env_refs; i++)
        if (object_matches(w->env_refs[i], kind, name))
            return w->env_refs[i];
    return NULL;
}

static void add_ref(struct pod_worker *w, enum object_kind kind, const char *name)
{
    if (!name || !*name)
        return;
    if (worker_object(w, kind, name))
        return;
    w->env_refs = mem_grow(w->env_refs, w->n_env_refs + 1, sizeof(struct object_ref *));
    w->env_refs[w->n_env_refs++] =
        object_acquire(w->k->objects, kind, w->pod->meta.ns, name, on_changed, w);
}

static void add_refs(struct pod_worker *w)
{
    for (size_t i = 0; i < w->pod->spec.pull_secrets.count; i++)
        add_ref(w, OBJECT_SECRET, w->pod->spec.pull_secrets.items[i].name);
    for (size_t n = 0; n < w->n_slots; n++) {
        const struct container_spec *c = pod_container_at(w->pod, n);
        for (size_t i = 0; i < c->env_from.count; i++) {
            const struct env_from_source *f = &c->env_from.items[i];
            if (f->config_map_ref)
                add_ref(w, OBJECT_CONFIG_MAP, f->config_map_ref->name);
            if (f->secret_ref)
                add_ref(w, OBJECT_SECRET, f->secret_ref->name);
        }
        for (size_t i = 0; i < c->env.count; i++) {
            const struct env_var_source *v = c->env.items[i].value_from;
            if (v && v->config_map_key_ref)
                add_ref(w, OBJECT_CONFIG_MAP, v->config_map_key_ref->name);
            if (v && v->secret_key_ref)
                add_ref(w, OBJECT_SECRET, v->secret_key_ref->name);
        }
    }
}

/* The API server is being asked: wait for its answer rather than fail. */
static bool refs_pending(const struct pod_worker *w)
{
    for (size_t i = 0; i < w->n_env_refs; i++)
        if (object_state(w->env_refs[i]) == OBJECT_PENDING)
            return true;
    return w->pod->source == POD_FROM_API && !service_cache_synced(w->k->services);
}

/* ---- life ---- */
bool worker_evict(struct pod_worker *w, const char *message, int64_t grace)
{
    if (w->failed_reason || w->stage != WORKER_RUN)
        return false;
    kubelet_event(w->k, w->pod, NULL, "Warning", "Evicted", "%s", message);
    worker_terminate(w, "Evicted", message, grace);
    return true;
}

void worker_terminate(struct pod_worker *w, const char *reason, const char *message, int64_t grace)
{
    if (w->stage == WORKER_RUN && !w->failed_reason && !w->removed) {
        worker_fail(w, reason, message);
        w->evicted = true;
    }
    if (grace && (!w->evict_grace || grace < w->evict_grace))
        w->evict_grace = grace;
    worker_kick(w);
}

static void read_start_time(struct pod_worker *w)
{
    int64_t nano;
    const char *text = w->pod->status.start_time;
    w->start_time = text && !time_parse(text, &nano) ? nano / 1000000000 : time_now();
}

/* A slot for every container of the pod that has none yet. */
static void add_slots(struct pod_worker *w)
{
    size_t n = pod_container_count(w->pod);
    w->slots = mem_grow(w->slots, n + 1, sizeof(*w->slots));
    for (; w->n_slots < n; w->n_slots++) {
        struct container_slot *s = mem_zalloc(sizeof(*s));
        s->w = w;
        s->index = (uint32_t)w->n_slots;
        w->slots[w->n_slots] = s;
    }
}

struct pod_worker *worker_new(struct kubelet *k, struct pod *pod,
                              void (*gone)(struct pod_worker *w, void *arg), void *arg)
{
    struct pod_worker *w = mem_zalloc(sizeof(*w));
    w->k = k;
    /* Of a pod that was here before, what was set aside; whether there is room for more shows once
     * the others are here again. */
    struct pod *before = pod->source == POD_FROM_API ? pod_allocated(pod) : NULL;
    w->pod = before ? before : pod_ref(pod);
    w->desired = before ? pod_ref(pod) : NULL;
    w->applied = pod_resources_of(w->pod);
    w->resizing = before || pod_condition_of(pod, "PodResizeInProgress");
    w->gone = gone;
    w->gone_arg = arg;
    w->dirs_ready = true; /* what an earlier kubelet left is ours to clean up */
    list_init(&w->calls);
    loop_deferred_init(&w->sync, k->loop, on_kick, w);
    loop_timer_init(&w->timer, k->loop, "pod worker", on_timer, w);
    w->n_init = pod->spec.init_containers.count;
    w->n_fixed = pod_fixed_count(pod);
    add_slots(w);
    read_start_time(w);
    w->status = status_writer_new(w);
    (void)worker_admit(w);
    worker_kick(w);
    return w;
}

struct pod_worker *worker_free(struct pod_worker *w)
{
    if (!w)
        return NULL;
    for (size_t i = 0; i < w->n_slots; i++) {
        slot_done(w->slots[i]);
        free(w->slots[i]);
    }
    worker_cancel_removals(w);
    kube_call_cancel(w->handler_call);
    w->devices = device_request_cancel(w->devices);
    pod_cgroups_forget(w->k->cgroups, w);
    runtime_cancel(w->k->runtime, &w->call);
    w->status = status_writer_free(w->status);
    w->teardown = volume_teardown_cancel(w->teardown);
    w->limits = disk_limits_free(w->limits);
    w->volumes = volume_set_free(w->volumes);
    for (size_t i = 0; i < w->n_env_refs; i++)
        object_release(w->env_refs[i]);
    for (size_t i = 0; i < w->old_sandboxes.count; i++)
        free(w->old_sandboxes.items[i]);
    loop_deferred_done(&w->sync);
    loop_timer_done(&w->timer);
    free(w->old_sandboxes.items);
    free(w->env_refs);
    free(w->slots);
    free(w->sandbox.id);
    free(w->sandbox.ip);
    free(w->sandbox.ips);
    pod_unref(w->desired);
    free(w->resize_pending);
    free(w->resize_message);
    free(w->resize_error);
    free(w->handler);
    free(w->failed_reason);
    free(w->failed_message);
    pod_unref(w->mirror);
    pod_unref(w->pod);
    free(w);
    return NULL;
}

/* Slots are bound to containers by position: an object that differs there is not the same pod. Only
 * ephemeral containers are added, at the end. */
static bool same_shape(const struct pod_worker *w, const struct pod *pod)
{
    if (pod_container_count(pod) < w->n_slots || pod_fixed_count(pod) != w->n_fixed ||
        pod->spec.init_containers.count != w->n_init)
        return false;
    for (size_t i = 0; i < w->n_slots; i++)
        if (!str_eq(pod_container_at(pod, i)->name, slot_spec(w->slots[i])->name))
            return false;
    return true;
}

void worker_update(struct pod_worker *w, struct pod *pod)
{
    char label[POD_LABEL_MAX];
    if (!same_shape(w, pod) || (pod->invalid && !w->pod->invalid)) {
        log_warn("pod cannot be changed so: the change is passed over", "pod",
                 pod_label(pod, label), "error", pod->invalid ? pod->invalid : "other containers",
                 NULL);
        if (pod->meta.deleted)
            worker_remove(w);
        return;
    }
    struct pod *old = w->pod;
    w->pod = worker_allocate(w, pod);
    pod_unref(old);
    pod = w->pod;
    if (pod_container_count(pod) > w->n_slots) {
        add_slots(w);
        if (w->volumes)
            add_refs(w);
        w->volumes_current = false;
    }
    if (w->volumes && volume_set_update(w->volumes, pod))
        w->volumes_current = false;
    status_writer_observe(w->status, pod);
    worker_kick(w);
}

void worker_set_mirror(struct pod_worker *w, struct pod *mirror)
{
    if (!w->mirror || !mirror || !str_eq(w->mirror->meta.uid, mirror->meta.uid))
        status_writer_retarget(w->status);
    pod_unref(w->mirror);
    w->mirror = mirror ? pod_ref(mirror) : NULL;
    status_writer_observe(w->status, mirror);
    worker_kick(w);
}

void worker_remove(struct pod_worker *w)
{
    w->removed = true;
    worker_kick(w);
}

void worker_forget(struct pod_worker *w)
{
    status_writer_gone(w->status);
    worker_remove(w);
}

/* ---- running ---- */
static void volumes_failed(struct pod_worker *w, const char *text)
{
    char label[POD_LABEL_MAX];
    uint64_t delay = 500ULL << (w->volume_failures < 8 ? w->volume_failures : 8);
    if (!w->volume_failures)
        log_warn("volumes cannot be set up", "pod", pod_label(w->pod, label), "error", text, NULL);
    w->volume_failures++;
    w->volume_retry_at = now_ms() + delay;
    worker_wake_in(w, delay);
    kubelet_event(w->k, w->pod, NULL, "Warning", "FailedMount", "%s", text);
}

static void on_over_limit(void *arg, const char *text)
{
    (void)worker_evict(arg, text, EVICTION_GRACE);
}

static void sync_volumes(struct pod_worker *w)
{
    struct error err = ERROR_INIT;
    uint64_t now = now_ms();
    if (w->volumes_current)
        return;
    if (w->volume_retry_at > now) {
        worker_wake_in(w, w->volume_retry_at - now);
        return;
    }
    if (!w->volumes) {
        w->volumes = volume_set_new(w->k, w->pod, on_changed, w);
        w->limits = disk_limits_new(w->volumes, LIMITS_MS, on_over_limit, w);
        add_refs(w);
    }
    int code = volume_set_setup(w->volumes, &err);
    if (code < 0)
        volumes_failed(w, error_text(&err));
    /* What was ready stays so: a source that has trouble later leaves what is there. */
    w->volumes_ready = volume_set_ready(w->volumes) && !refs_pending(w);
    w->volumes_current = code == 0 && w->volumes_ready;
    if (w->volumes_current)
        w->volume_failures = 0;
}

static void on_group(void *arg)
{
    worker_kick(arg);
}

int worker_make_group(struct pod_worker *w, const struct pod_resources *r, struct error *err)
{
    return w->k->cgroups ? pod_cgroups_ensure(w->k->cgroups, w->pod, r, on_group, w, err) : 0;
}

int worker_remove_group(struct pod_worker *w, struct error *err)
{
    return w->k->cgroups ? pod_cgroups_remove(w->k->cgroups, w->pod, on_group, w, err) : 0;
}

static bool prepare(struct pod_worker *w)
{
    struct error err = ERROR_INIT;
    char label[POD_LABEL_MAX];
    if (w->dirs_ready && w->volumes)
        return true;
    uint64_t now = now_ms();
    if (w->retry_at > now) {
        worker_wake_in(w, w->retry_at - now);
        return false;
    }
    const struct opt_bool *host_users = &w->pod->spec.host_users;
    int code = worker_make_dirs(w, &err);
    if (!code && host_users->set && !host_users->value)
        code = userns_ids(w->k->pods_dir, w->pod->meta.uid, &w->ids, &err);
    if (!code)
        code = worker_make_group(w, &w->applied, &err);
    if (code > 0)
        return false; /* kicked when the group is there */
    if (code < 0) {
        kubelet_event(w->k, w->pod, NULL, "Warning", "FailedCreatePodContainer",
                      "unable to prepare the pod: %s", error_text(&err));
        log_warn("pod cannot be prepared", "pod", pod_label(w->pod, label), "error",
                 error_text(&err), NULL);
        w->retry_at = now + 5000;
        worker_wake_in(w, 5000);
        return false;
    }
    w->dirs_ready = true;
    return true;
}

/* Init containers one after the other; a sidecar lets the next one go once it has started. */
static bool sync_init(struct pod_worker *w)
{
    bool over = worker_initialized(w);
    for (size_t i = 0; i < w->n_init; i++) {
        struct container_slot *s = w->slots[i];
        if (slot_is_sidecar(s)) {
            (void)slot_sync(s);
            if (!over && !(slot_is_running(s) && slot_is_started(s)))
                return false;
        } else if (!over) {
            if (slot_wants_run(s) || !s->run || s->run->state != RUN_EXITED) {
                (void)slot_sync(s);
                return false;
            }
        }
    }
    return worker_initialized(w);
}

static void check_deadline(struct pod_worker *w)
{
    const struct opt_int *d = &w->pod->spec.active_deadline;
    if (!d->set || w->failed_reason)
        return;
    int64_t left = w->start_time + d->value - time_now();
    if (left > 0) {
        worker_wake_in(w, (uint64_t)left * 1000);
        return;
    }
    kubelet_event(w->k, w->pod, NULL, "Normal", "DeadlineExceeded",
                  "Pod was active on the node longer than the specified deadline");
    worker_fail(w, "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline");
}

static void sync_run(struct pod_worker *w)
{
    check_deadline(w);
    if (w->failed_reason) {
        w->stage = WORKER_STOP;
        worker_kick(w);
        return;
    }
    if (!worker_sync_devices(w) || !prepare(w))
        return;
    if (w->desired && !w->resize_pending)
        worker_retry_resize(w);
    sync_volumes(w);
    (void)worker_sync_resize(w);
    if (worker_sync_sandbox(w))
        for (size_t i = w->n_fixed; i < w->n_slots; i++)
            (void)slot_sync(w->slots[i]);
    if (sync_init(w))
        for (size_t i = w->n_init; i < w->n_fixed; i++)
            if (!slot_sync(w->slots[i]))
                break;
    worker_remove_old_sandboxes(w);
    if (worker_is_finished(w)) {
        w->stage = WORKER_STOP;
        worker_kick(w);
    }
}

/* What ends the running stage, whatever it was doing. */
static void check_end(struct pod_worker *w)
{
    bool over = w->failed_reason || pod_is_over(w->pod);
    int64_t before = w->grace;
    if (w->pod->meta.deleted)
        w->removed = true;
    w->grace = w->removed ? pod_grace(w->pod) : w->pod->spec.grace.value;
    if (w->evict_grace && w->evict_grace < w->grace)
        w->grace = w->evict_grace;
    if (w->stage == WORKER_STOP && w->grace < before)
        worker_hurry(w);
    if (w->stage == WORKER_RUN && (w->removed || over))
        w->stage = WORKER_STOP;
    if (w->stage != WORKER_RUN)
        w->devices = device_request_cancel(w->devices);
    if (w->stage == WORKER_DONE && w->removed) {
        w->stage = WORKER_CLEAN;
        w->dirs_ready = true;
    }
}

static void on_kick(void *arg)
{
    struct pod_worker *w = arg;
    if (w->held)
        return;
    w->wake_at = UINT64_MAX;
    loop_timer_stop(&w->timer);
    check_end(w);
    switch (w->stage) {
    case WORKER_RUN:
        sync_run(w);
        break;
    case WORKER_STOP:
        worker_sync_stop(w);
        break;
    case WORKER_DONE:
    case WORKER_CLEAN:
        worker_sync_clean(w);
        break;
    case WORKER_GONE:
        w->gone(w, w->gone_arg);
        return;
    }
    if (w->wake_at != UINT64_MAX) {
        uint64_t now = now_ms();
        loop_timer_set(&w->timer, w->wake_at > now ? w->wake_at - now : 0);
    }
    status_writer_update(w->status);
}
