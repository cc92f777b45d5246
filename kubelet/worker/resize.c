/*
 * In-place resize of cpu and memory. A new version of the pod may ask for other resources: when the
 * node has them, they are set aside at once (the pod's object becomes the new one) and then brought
 * about: the pod's cgroup is widened first, then each running container is updated, or restarted
 * where its resize policy says so, and last the cgroup gets its exact size. When the node has not,
 * the worker goes on with the new object but the old resources, and tries again when a pod has
 * left.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/cgroups.h"
#include "kubelet/pods.h"
#include "kubelet/runtime/message.h"
#include "kubelet/worker/worker.h"

#define RETRY_MS 10000

static const char *const names[] = {"cpu", "memory"};

/* ---- setting aside ---- */
static void set_text(char **field, const char *value)
{
    char *copy = str_dup(value);
    free(*field);
    *field = copy;
}

static void keep_waiting(struct pod_worker *w, struct pod *pod, const char *reason,
                         const char *message)
{
    if (!str_eq(w->resize_pending, reason))
        kubelet_event(w->k, pod, NULL, "Warning",
                      str_eq(reason, "Infeasible") ? "ResizeInfeasible" : "ResizeDeferred",
                      "Pod resize %s: %s", str_eq(reason, "Infeasible") ? "infeasible" : "deferred",
                      message);
    set_text(&w->resize_pending, reason);
    set_text(&w->resize_message, message);
    struct pod *old = w->desired;
    w->desired = pod_ref(pod);
    pod_unref(old);
}

/* Why the node cannot give what the pod asks for now; NULL when it can. The caller frees. */
static char *objection(const struct pod_worker *w, const struct pod *pod, const char **ret_reason)
{
    const int64_t capacity[] = {w->k->allocatable.cpu_milli, w->k->allocatable.memory};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int64_t wanted = pod_request(pod, names[i]);
        if (capacity[i] <= 0 || wanted <= pod_request(w->pod, names[i]))
            continue;
        *ret_reason = "Infeasible";
        if (wanted > capacity[i])
            return str_printf("Node didn't have enough capacity: %s, requested: %" PRId64
                              ", capacity: %" PRId64,
                              names[i], wanted, capacity[i]);
        int64_t used = pod_manager_requested(w->k->pods, names[i], w);
        *ret_reason = "Deferred";
        if (used + wanted > capacity[i])
            return str_printf("Node didn't have enough resource: %s, requested: %" PRId64
                              ", used: %" PRId64 ", capacity: %" PRId64,
                              names[i], wanted, used, capacity[i]);
    }
    return NULL;
}

static void stop_waiting(struct pod_worker *w)
{
    set_text(&w->resize_pending, NULL);
    set_text(&w->resize_message, NULL);
    w->desired = pod_unref(w->desired);
}

struct pod *worker_allocate(struct pod_worker *w, struct pod *pod)
{
    const char *reason;
    if (pod_same_resources(w->pod, pod)) {
        stop_waiting(w);
        return pod_ref(pod);
    }
    _cleanup_free_ char *why = objection(w, pod, &reason);
    if (!why) {
        stop_waiting(w);
        w->resizing = true;
        w->weigh = true;
        kubelet_event(w->k, pod, NULL, "Normal", "ResizeStarted", "Pod resize started");
        return pod_ref(pod);
    }
    keep_waiting(w, pod, reason, why);
    struct pod *mixed = pod_with_resources(pod, w->pod);
    return mixed ? mixed : pod_ref(w->pod);
}

void worker_retry_resize(struct pod_worker *w)
{
    if (!w->desired)
        return;
    struct pod *desired = pod_ref(w->desired);
    worker_update(w, desired);
    pod_unref(desired);
}

/* ---- bringing about ---- */
static void resize_failed(struct pod_worker *w, const char *message)
{
    if (!str_eq(w->resize_error, message))
        kubelet_event(w->k, w->pod, NULL, "Warning", "ResizeError", "Pod resize error: %s",
                      message);
    set_text(&w->resize_error, message);
    w->resize_retry_at = now_ms() + RETRY_MS;
    worker_wake_in(w, RETRY_MS);
}

static bool is_behind(const struct container_slot *s)
{
    struct container_limits want = container_limits_of(slot_spec(s));
    return slot_is_running(s) && s->run->applied_known &&
           (s->run->applied.shares != want.shares || s->run->applied.quota != want.quota ||
            s->run->applied.memory != want.memory);
}

/* 0 is no limit: the widest. */
static int64_t wider(int64_t a, int64_t b)
{
    return !a || !b ? 0 : a > b ? a : b;
}

static int set_cgroup(struct pod_worker *w, const struct pod_resources *r, struct error *err)
{
    if (r->shares == w->applied.shares && r->quota == w->applied.quota &&
        r->memory == w->applied.memory)
        return 0;
    int code = worker_make_group(w, r, err);
    if (!code)
        w->applied = *r;
    return code;
}

/* Memory that is in use cannot be taken away without killing: the pod keeps its limit for now. */
static int check_memory(struct pod_worker *w, const struct pod_resources *want, struct error *err)
{
    bool less = want->memory && (!w->applied.memory || want->memory < w->applied.memory);
    uint64_t used = less && w->k->cgroups ? pod_cgroups_memory(w->k->cgroups, w->pod) : 0;
    if (used > (uint64_t)want->memory)
        return error_set(err, -EBUSY,
                         "attempting to set pod memory limit (%" PRId64
                         ") below current usage (%" PRIu64 ")",
                         want->memory, used);
    return 0;
}

bool worker_sync_resize(struct pod_worker *w)
{
    struct pod_resources want = pod_resources_of(w->pod);
    struct error err = ERROR_INIT;
    uint64_t now = now_ms();
    bool behind = false;
    if (w->weigh)
        pod_manager_weigh(w->k->pods);
    w->weigh = false;
    for (size_t i = 0; i < w->n_fixed; i++)
        behind |= is_behind(w->slots[i]);
    if (w->resize_retry_at > now) {
        worker_wake_in(w, w->resize_retry_at - now);
        return false;
    }
    struct pod_resources room = {.shares = want.shares > w->applied.shares ? want.shares
                                                                           : w->applied.shares,
                                 .quota = wider(want.quota, w->applied.quota),
                                 .memory = wider(want.memory, w->applied.memory)};
    int code = check_memory(w, &want, &err);
    if (!code)
        code = set_cgroup(w, behind ? &room : &want, &err);
    if (code < 0) {
        resize_failed(w, error_text(&err));
        return false;
    }
    if (code > 0)
        return false; /* kicked when the group has them */
    if (!behind && w->resizing) {
        w->resizing = false;
        set_text(&w->resize_error, NULL);
        kubelet_event(w->k, w->pod, NULL, "Normal", "ResizeCompleted", "Pod resize completed");
    }
    return behind;
}

/* ---- one container ---- */
static void on_updated(void *arg, enum rpc_status status, const char *message,
                       const ProtobufCMessage *response)
{
    struct container_slot *s = arg;
    (void)response;
    s->call = NULL;
    s->step = SLOT_IDLE;
    if (status != RPC_OK)
        resize_failed(s->w, message);
    else if (s->run)
        s->run->applied = s->requested;
    worker_kick(s->w);
}

static bool wants_restart(const struct container_slot *s, const struct container_limits *want)
{
    const struct container_spec *c = slot_spec(s);
    for (size_t i = 0; i < c->resize_rules.count; i++) {
        const struct resize_rule *r = &c->resize_rules.items[i];
        bool cpu = str_eq(r->resource, "cpu");
        const struct container_limits *now = &s->run->applied;
        bool changed = cpu ? now->shares != want->shares || now->quota != want->quota
                           : now->memory != want->memory;
        if (changed && str_eq(r->policy, "RestartContainer"))
            return true;
    }
    return false;
}

bool slot_sync_resize(struct container_slot *s)
{
    struct pod_worker *w = s->w;
    struct request_context ctx;
    Runtime__V1__UpdateContainerResourcesRequest q =
        RUNTIME__V1__UPDATE_CONTAINER_RESOURCES_REQUEST__INIT;
    if (!is_behind(s) || w->resize_retry_at > now_ms())
        return false;
    s->requested = container_limits_of(slot_spec(s));
    if (wants_restart(s, &s->requested)) {
        s->kill_event = "Container %s resize requires restart";
        s->kill_grace = w->pod->spec.grace.value;
        return false;
    }
    worker_fill_request(w, &ctx);
    q.container_id = s->run->id;
    q.linux = request_resources(w->pod, slot_spec(s), &ctx);
    s->step = SLOT_RESIZE;
    s->call = runtime_call(w->k->runtime, CRI_UPDATE_CONTAINER_RESOURCES, &q.base, CRI_DEADLINE_MS,
                           on_updated, s);
    message_free(q.linux);
    return true;
}
