/*
 * The end of containers and pods. A container: preStop, then StopContainer with what is left of
 * the grace period. A pod: its containers all at once, sidecars after the others and one by one,
 * the last first, within the same grace period; the sandbox, and, when it is to vanish, everything
 * that is left of it, then its object in the API. No wait of our own anywhere: each step starts
 * when the one before it has been answered.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/cgroups.h"
#include "kubelet/runtime/events.h"
#include "kubelet/stats/disk.h"
#include "kubelet/worker/worker.h"

/* Upstream's shortest time between SIGTERM and SIGKILL. */
#define GRACE_MIN 2

/* ---- one container ---- */
static void on_inspected(void *arg, enum rpc_status status, const char *message,
                         const ProtobufCMessage *response)
{
    struct container_slot *s = arg;
    const Runtime__V1__ContainerStatusResponse *reply = (const void *)response;
    (void)message;
    s->call = NULL;
    s->step = SLOT_IDLE;
    if (status == RPC_OK && reply->status)
        worker_observe_container(s->w, s->run->sandbox, reply->status);
    else if (status == RPC_NOT_FOUND)
        worker_observe_gone(s->w, s->run->id);
    else
        s->retry_at = now_ms() + 1000;
    worker_kick(s->w);
}

static void on_stopped(void *arg, enum rpc_status status, const char *message,
                       const ProtobufCMessage *response)
{
    struct container_slot *s = arg;
    char label[POD_LABEL_MAX];
    (void)response;
    s->call = NULL;
    s->step = SLOT_IDLE;
    if (status != RPC_OK && status != RPC_NOT_FOUND) {
        log_warn("container cannot be stopped", "pod", pod_label(s->w->pod, label), "container",
                 slot_spec(s)->name, "error", message, NULL);
        s->retry_at = now_ms() + 1000;
        runtime_events_refresh(s->w->k, s->w->pod->meta.uid);
    }
    worker_kick(s->w);
    /* How it ended comes as an event; where there are none, or they are late, ask. */
    if (status == RPC_OK && slot_is_running(s)) {
        Runtime__V1__ContainerStatusRequest request = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
        request.container_id = s->run->id;
        s->step = SLOT_STOP;
        s->call = runtime_call(s->w->k->runtime, CRI_CONTAINER_STATUS, &request.base,
                               CRI_DEADLINE_MS, on_inspected, s);
    }
}

static void call_stop(struct container_slot *s)
{
    Runtime__V1__StopContainerRequest request = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;
    int64_t grace = s->kill_grace < GRACE_MIN ? GRACE_MIN : s->kill_grace;
    request.container_id = s->run->id;
    request.timeout = grace;
    s->step = SLOT_STOP;
    s->call = runtime_call(s->w->k->runtime, CRI_STOP_CONTAINER, &request.base,
                           CRI_DEADLINE_MS + (uint64_t)grace * 1000, on_stopped, s);
}

static void on_pre_stop(void *arg, const char *error)
{
    struct container_slot *s = arg;
    s->hook = NULL;
    s->step = SLOT_IDLE;
    s->kill_grace -= (int64_t)((now_ms() - s->hook_began) / 1000);
    if (error)
        kubelet_event(s->w->k, s->w->pod, slot_spec(s)->name, "Warning", "FailedPreStopHook",
                      "PreStopHook failed: %s", error);
    if (slot_is_running(s))
        call_stop(s);
    else
        worker_kick(s->w);
}

void slot_stop(struct container_slot *s, int64_t grace, const char *why)
{
    const struct container_spec *c = slot_spec(s);
    uint64_t now = now_ms();
    if (s->step == SLOT_STOP || !slot_is_running(s))
        return;
    if (s->retry_at > now) {
        worker_wake_in(s->w, s->retry_at - now);
        return;
    }
    /* What was under way (an image lookup, a postStart hook) does not matter any more. */
    s->image = image_cancel(s->image);
    s->hook = hook_cancel(s->hook);
    s->probes = probe_set_free(s->probes);
    s->kill_grace = grace > 86400 * 365 ? 86400 * 365 : grace;
    if (!str_eq(why, "FailedPostStartHook"))
        kubelet_event(s->w->k, s->w->pod, c->name, "Normal", "Killing", why, c->name);
    if (c->lifecycle && c->lifecycle->pre_stop && !s->hook_done && grace > 0) {
        s->hook_done = true;
        s->hook_began = now_ms();
        s->step = SLOT_STOP;
        s->hook =
            hook_start(s, c->lifecycle->pre_stop, (uint64_t)s->kill_grace * 1000, on_pre_stop, s);
        return;
    }
    call_stop(s);
}

void worker_hurry(struct pod_worker *w)
{
    for (size_t i = 0; i < w->n_slots; i++) {
        struct container_slot *s = w->slots[i];
        if (s->step != SLOT_STOP || !slot_is_running(s) || s->kill_grace <= w->grace)
            continue;
        s->hook = hook_cancel(s->hook);
        runtime_cancel(w->k->runtime, &s->call);
        s->kill_grace = w->grace;
        call_stop(s);
    }
}

/* ---- removals: several at a time, nobody waits for one in particular ---- */
struct removal {
    struct list entry;
    struct pod_worker *w;
    struct runtime_call *call;
    char *id;
    bool sandbox;
};

static void on_removed(void *arg, enum rpc_status status, const char *message,
                       const ProtobufCMessage *response)
{
    struct removal *r = arg;
    struct pod_worker *w = r->w;
    char label[POD_LABEL_MAX];
    (void)response;
    list_remove(&r->entry);
    w->removals--;
    if (status == RPC_OK || status == RPC_NOT_FOUND) {
        worker_observe_gone(w, r->id);
        w->failures = 0;
    } else {
        log_warn("cannot remove from the runtime", "pod", pod_label(w->pod, label), "id", r->id,
                 "error", message, NULL);
        w->failures++;
        w->retry_at = now_ms() + (1000ULL << (w->failures < 5 ? w->failures : 5));
    }
    free(r->id);
    free(r);
    worker_kick(w);
}

static struct removal *removal_new(struct pod_worker *w, const char *id, bool sandbox)
{
    struct removal *r = mem_zalloc(sizeof(*r));
    r->w = w;
    r->id = str_dup(id);
    r->sandbox = sandbox;
    list_append(&w->calls, &r->entry);
    w->removals++;
    return r;
}

void worker_remove_container(struct pod_worker *w, const char *id)
{
    Runtime__V1__RemoveContainerRequest request = RUNTIME__V1__REMOVE_CONTAINER_REQUEST__INIT;
    struct removal *r = removal_new(w, id, false);
    request.container_id = r->id;
    r->call = runtime_call(w->k->runtime, CRI_REMOVE_CONTAINER, &request.base, CRI_DEADLINE_MS,
                           on_removed, r);
}

static void remove_sandbox(struct pod_worker *w, const char *id)
{
    Runtime__V1__RemovePodSandboxRequest request = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
    struct removal *r = removal_new(w, id, true);
    request.pod_sandbox_id = r->id;
    r->call = runtime_call(w->k->runtime, CRI_REMOVE_POD_SANDBOX, &request.base, CRI_DEADLINE_MS,
                           on_removed, r);
}

void worker_cancel_removals(struct pod_worker *w)
{
    LIST_FOR_EACH(e, &w->calls) {
        struct removal *r = LIST_ENTRY(e, struct removal, entry);
        runtime_cancel(w->k->runtime, &r->call);
        list_remove(&r->entry);
        free(r->id);
        free(r);
    }
}

static bool being_removed(const struct pod_worker *w, const char *id)
{
    LIST_FOR_EACH(e, &w->calls) {
        if (str_eq(LIST_ENTRY(e, struct removal, entry)->id, id))
            return true;
    }
    return false;
}

void worker_remove_old_sandboxes(struct pod_worker *w)
{
    for (size_t i = 0; i < w->old_sandboxes.count; i++) {
        const char *id = w->old_sandboxes.items[i];
        bool used = being_removed(w, id);
        for (size_t k = 0; k < w->n_slots && !used; k++)
            used = (w->slots[k]->run && str_eq(w->slots[k]->run->sandbox, id)) ||
                   (w->slots[k]->last && str_eq(w->slots[k]->last->sandbox, id));
        if (!used && w->retry_at <= now_ms())
            remove_sandbox(w, id);
    }
}

void worker_drop_ended(struct pod_worker *w)
{
    if (w->stage != WORKER_DONE || w->dropped)
        return;
    w->dropped = true;
    for (size_t i = 0; i < w->n_slots; i++) {
        const struct container_run *runs[] = {w->slots[i]->run, w->slots[i]->last};
        for (size_t n = 0; n < ARRAY_SIZE(runs); n++)
            if (runs[n] && runs[n]->state == RUN_EXITED && !being_removed(w, runs[n]->id))
                worker_remove_container(w, runs[n]->id);
    }
}

/* ---- the pod ---- */

/* Returns whether something still runs or is under way. */
static bool stop_containers(struct pod_worker *w)
{
    bool busy = false;
    uint64_t now = now_ms();
    if (!w->stop_began)
        w->stop_began = now;
    int64_t left = w->grace - (int64_t)((now - w->stop_began) / 1000);
    for (size_t i = w->n_slots; i-- > 0;) {
        struct container_slot *s = w->slots[i];
        if (s->step == SLOT_IMAGE || s->step == SLOT_HOOK || s->step == SLOT_DEVICES) {
            s->image = image_cancel(s->image);
            slot_done_devices(s);
            s->hook = hook_cancel(s->hook);
            s->step = SLOT_IDLE;
        }
        /* Going backwards: what is busy so far is what a sidecar may still serve. */
        if (slot_is_running(s) && s->step == SLOT_IDLE && !(slot_is_sidecar(s) && busy))
            slot_stop(s, slot_is_sidecar(s) && left < w->grace ? left : w->grace,
                      "Stopping container %s");
        busy |= slot_is_running(s) || s->step != SLOT_IDLE;
    }
    return busy;
}

static void on_sandbox_stopped(void *arg, enum rpc_status status, const char *message,
                               const ProtobufCMessage *response)
{
    struct pod_worker *w = arg;
    char label[POD_LABEL_MAX];
    (void)response;
    w->call = NULL;
    if (status == RPC_OK || status == RPC_NOT_FOUND) {
        w->sandbox.state = SANDBOX_DEAD;
        w->stage = w->removed ? WORKER_CLEAN : WORKER_DONE;
        w->failures = 0;
    } else {
        log_warn("sandbox cannot be stopped", "pod", pod_label(w->pod, label), "error", message,
                 NULL);
        w->sandbox.state = SANDBOX_READY;
        w->failures++;
        w->retry_at = now_ms() + (1000ULL << (w->failures < 5 ? w->failures : 5));
    }
    worker_kick(w);
}

void worker_sync_stop(struct pod_worker *w)
{
    uint64_t now = now_ms();
    if (w->call)
        return; /* about the sandbox: its answer brings us back */
    if (stop_containers(w))
        return;
    if (w->retry_at > now) {
        worker_wake_in(w, w->retry_at - now);
        return;
    }
    if (!w->sandbox.id || w->sandbox.state == SANDBOX_NONE) {
        w->stage = w->removed ? WORKER_CLEAN : WORKER_DONE;
        worker_kick(w);
        return;
    }
    Runtime__V1__StopPodSandboxRequest request = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
    request.pod_sandbox_id = w->sandbox.id;
    w->sandbox.state = SANDBOX_STOPPING;
    w->call = runtime_call(w->k->runtime, CRI_STOP_POD_SANDBOX, &request.base, CRI_DEADLINE_MS,
                           on_sandbox_stopped, w);
}

static void clean_failed(struct pod_worker *w, int code, const char *error)
{
    char label[POD_LABEL_MAX];
    /* Processes that were killed are a moment in dying. */
    bool busy = code == -EBUSY && w->failures++ < 20;
    if (!busy)
        log_warn("pod cannot be cleaned up", "pod", pod_label(w->pod, label), "error", error, NULL);
    w->retry_at = now_ms() + (busy ? 10 : 5000);
}

static void on_torn_down(void *arg, int code, const char *error)
{
    struct pod_worker *w = arg;
    w->teardown = NULL;
    if (code < 0)
        clean_failed(w, code, error);
    else
        w->volumes_gone = true;
    worker_kick(w);
}

/* Volumes, cgroup, logs. 0 when all is gone, 1 while something is under way, -errno. */
static int remove_host_side(struct pod_worker *w, struct error *err)
{
    int code = 0;
    if (w->teardown)
        return VOLUME_E_PENDING;
    if (!w->volumes_gone) {
        _cleanup_free_ char *dir = kubelet_pod_dir(w->k, w->pod->meta.uid);
        w->limits = disk_limits_free(w->limits);
        w->volumes = volume_set_free(w->volumes);
        w->volumes_ready = w->volumes_current = false;
        code = volumes_teardown(w->k, dir, on_torn_down, w, &w->teardown, err);
    }
    if (!code)
        code = worker_remove_group(w, err);
    if (!code && w->stage == WORKER_CLEAN)
        worker_remove_files(w);
    return code;
}

static void on_deleted(void *arg)
{
    struct pod_worker *w = arg;
    w->stage = WORKER_GONE;
    worker_kick(w);
}

void worker_sync_clean(struct pod_worker *w)
{
    struct error err = ERROR_INIT;
    uint64_t now = now_ms();
    if (w->retry_at > now) {
        worker_wake_in(w, w->retry_at - now);
        return;
    }
    if (w->stage == WORKER_CLEAN) {
        if (w->sandbox.id && !being_removed(w, w->sandbox.id))
            remove_sandbox(w, w->sandbox.id);
        for (size_t i = 0; i < w->old_sandboxes.count; i++)
            if (!being_removed(w, w->old_sandboxes.items[i]))
                remove_sandbox(w, w->old_sandboxes.items[i]);
        if (w->removals)
            return;
    }
    if (w->dirs_ready) {
        int code = remove_host_side(w, &err);
        if (code < 0) {
            clean_failed(w, code, error_text(&err));
            worker_wake_in(w, w->retry_at - now);
        }
        if (code)
            return;
        w->dirs_ready = false;
    }
    if (w->stage == WORKER_CLEAN)
        status_writer_delete(w->status, on_deleted, w);
}
