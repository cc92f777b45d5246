/* What the worker knows → v1 PodStatus. */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/times.h"
#include "kubelet/worker/worker.h"

#define MESSAGES_MAX 12288 /* upstream's, of all containers */

static void put(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

static void put_text(json_t *o, const char *key, const char *value)
{
    if (value && *value)
        put(o, key, json_text(value));
}

static void put_time(json_t *o, const char *key, int64_t nano)
{
    char buf[TIME_TEXT_MAX];
    put(o, key, nano ? json_string(time_format(nano / 1000000000, buf)) : json_null());
}

static json_t *wrap(const char *key, json_t *value)
{
    json_t *o = json_object();
    put(o, key, value);
    return o;
}

/* ---- container states ---- */
static char *full_id(const struct pod_worker *w, const char *id)
{
    return str_printf("%s://%s", w->k->runtime_name ? w->k->runtime_name : "cri", id);
}

static json_t *ended(const struct pod_worker *w, const struct container_run *r)
{
    json_t *o = json_object();
    put(o, "exitCode", json_integer(r->exit_code));
    put_text(o, "reason",
             r->reason && *r->reason ? r->reason
             : r->exit_code          ? "Error"
                                     : "Completed");
    /* All messages of a pod together are limited. */
    _cleanup_free_ char *message =
        r->message ? str_ndup(r->message, MESSAGES_MAX / (w->n_slots ? w->n_slots : 1)) : NULL;
    put_text(o, "message", message);
    put_time(o, "startedAt", r->started);
    put_time(o, "finishedAt", r->finished);
    _cleanup_free_ char *id = full_id(w, r->id);
    put_text(o, "containerID", id);
    return wrap("terminated", o);
}

static json_t *waiting(const struct container_slot *s)
{
    const struct pod_worker *w = s->w;
    json_t *o = json_object();
    const char *reason = s->wait_reason;
    if (!reason)
        reason = w->n_init && !worker_initialized(w) && s->index >= w->n_init ? "PodInitializing"
                                                                              : "ContainerCreating";
    put_text(o, "reason", reason);
    put_text(o, "message", s->wait_reason ? s->wait_message : NULL);
    return wrap("waiting", o);
}

/* Whether the slot is between two runs (and so waits) or its run's end is the last word. */
static bool will_run_again(const struct container_slot *s)
{
    return s->w->stage == WORKER_RUN && !s->w->failed_reason && s->run->state == RUN_EXITED &&
           slot_wants_run(s) && s->wait_reason;
}

static json_t *state_of(const struct container_slot *s)
{
    if (!s->run || s->run->state == RUN_CREATED)
        return waiting(s);
    if (s->run->state == RUN_RUNNING) {
        json_t *o = json_object();
        put_time(o, "startedAt", s->run->started);
        return wrap("running", o);
    }
    return will_run_again(s) ? waiting(s) : ended(s->w, s->run);
}

/* The mounts of a container that was made. */
static json_t *volume_mounts(const struct container_spec *c, const struct pod_worker *w)
{
    const struct runtime_handler *h = kubelet_handler(w->k, w->handler);
    json_t *list = json_array();
    for (size_t i = 0; i < c->volume_mounts.count; i++) {
        const struct volume_mount *m = &c->volume_mounts.items[i];
        const char *mode = m->recursive_read_only;
        json_t *o = json_object();
        put(o, "name", json_text(m->name));
        put(o, "mountPath", json_text(m->mount_path));
        if (m->read_only) {
            put(o, "readOnly", json_true());
            if (!mode || !*mode || (str_eq(mode, "IfPossible") && !(h && h->recursive_read_only)))
                mode = "Disabled";
            else
                mode = str_eq(mode, "IfPossible") ? "Enabled" : mode;
            put(o, "recursiveReadOnly", json_text(mode));
        }
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *container_status(const struct container_slot *s)
{
    const struct container_spec *c = slot_spec(s);
    const struct container_run *r = s->run;
    json_t *o = json_object();
    const struct container_run *before =
        r && r->state == RUN_EXITED && will_run_again(s) ? r : s->last;
    bool init = s->index < s->w->n_init && !slot_is_sidecar(s);
    bool ephemeral = slot_is_ephemeral(s);
    bool done = r && r->state == RUN_EXITED && !r->exit_code;
    put(o, "name", json_text(c->name));
    put(o, "state", state_of(s));
    put(o, "lastState",
        before && before->state == RUN_EXITED ? ended(s->w, before) : json_object());
    put(o, "ready", json_boolean(ephemeral ? false : init ? done : slot_is_ready(s)));
    put(o, "restartCount", json_integer(r ? r->restart : 0));
    put(o, "image", json_text(c->image));
    put(o, "imageID", json_text(r && r->image_id ? r->image_id : ""));
    if (r) {
        _cleanup_free_ char *id = full_id(s->w, r->id);
        put(o, "containerID", json_text(id));
        put_text(o, "stopSignal", r->stop_signal);
        if (c->volume_mounts.count)
            put(o, "volumeMounts", volume_mounts(c, s->w));
    }
    slot_put_resources(s, o);
    if (!ephemeral)
        put(o, "started", json_boolean(init ? false : slot_is_started(s)));
    return o;
}

/* ---- conditions ---- */
static const struct pod_condition *api_condition(const struct pod_worker *w, const char *type)
{
    return pod_condition_of(w->mirror ? w->mirror : w->pod, type);
}

static void add_condition(const struct pod_worker *w, json_t *list, const char *type, bool ok,
                          const char *reason, const char *message)
{
    const struct pod_condition *old = api_condition(w, type);
    const char *status = ok ? "True" : "False";
    char buf[TIME_TEXT_MAX];
    json_t *o = json_object();
    put(o, "type", json_string(type));
    put(o, "status", json_string(status));
    if (w->pod->meta.generation)
        put(o, "observedGeneration", json_integer(w->pod->meta.generation));
    put(o, "lastProbeTime", json_null());
    put(o, "lastTransitionTime",
        json_text(old && str_eq(old->status, status) && old->transition
                      ? old->transition
                      : time_format(time_now(), buf)));
    put_text(o, "reason", reason);
    put_text(o, "message", message);
    (void)json_array_append_new(list, o);
}

/* "containers with unready status: [web db]" */
static char *unready(const struct pod_worker *w, bool inits)
{
    struct strbuf b = STRBUF_INIT;
    size_t from = inits ? 0 : w->n_init, to = inits ? w->n_init : w->n_fixed;
    strbuf_addf(&b, "containers with %s status: [", inits ? "incomplete" : "unready");
    bool any = false;
    for (size_t i = from; i < to; i++) {
        const struct container_slot *s = w->slots[i];
        bool ok = inits && !slot_is_sidecar(s)
                      ? s->run && s->run->state == RUN_EXITED && !s->run->exit_code
                  : inits ? slot_is_started(s)
                          : slot_is_ready(s);
        if (ok)
            continue;
        strbuf_addf(&b, "%s%s", any ? " " : "", slot_spec(s)->name);
        any = true;
    }
    strbuf_addc(&b, ']');
    return strbuf_take(&b);
}

static bool all_ready(const struct pod_worker *w)
{
    for (size_t i = 0; i < w->n_fixed; i++)
        if ((i >= w->n_init || slot_is_sidecar(w->slots[i])) && !slot_is_ready(w->slots[i]))
            return false;
    return w->n_fixed > w->n_init;
}

static const char *missing_gate(const struct pod_worker *w)
{
    for (size_t i = 0; i < w->pod->spec.readiness_gates.count; i++) {
        const char *type = w->pod->spec.readiness_gates.items[i].type;
        const struct pod_condition *c = api_condition(w, type);
        if (!c || !str_eq(c->status, "True"))
            return type;
    }
    return NULL;
}

static json_t *conditions(const struct pod_worker *w, const char *phase)
{
    json_t *list = json_array();
    bool succeeded = str_eq(phase, "Succeeded"), failed = str_eq(phase, "Failed");
    bool initialized = worker_initialized(w) && !failed, ready = all_ready(w);
    bool sandbox =
        w->sandbox.state == SANDBOX_READY && (w->sandbox.ip || w->pod->spec.host_network);
    _cleanup_free_ char *incomplete = unready(w, true), *not_ready = unready(w, false);
    const char *why = succeeded ? "PodCompleted"
                      : failed  ? "PodFailed"
                      : ready   ? NULL
                                : "ContainersNotReady";
    const char *message = why && !succeeded && !failed ? not_ready : NULL;
    const char *gate = missing_gate(w);
    add_condition(w, list, "PodReadyToStartContainers", sandbox, NULL, NULL);
    if (succeeded)
        add_condition(w, list, "Initialized", true, "PodCompleted", NULL);
    else
        add_condition(w, list, "Initialized", initialized,
                      initialized ? NULL
                      : failed    ? "PodFailed"
                                  : "ContainersNotInitialized",
                      initialized || failed ? NULL : incomplete);
    ready &= !succeeded && !failed;
    if (ready && gate) {
        _cleanup_free_ char *text =
            str_printf("the status of pod readiness gate \"%s\" is not \"True\", but False", gate);
        add_condition(w, list, "Ready", false, "ReadinessGatesNotReady", text);
    } else {
        add_condition(w, list, "Ready", ready, why, message);
    }
    add_condition(w, list, "ContainersReady", ready, why, message);
    add_condition(w, list, "PodScheduled", true, NULL, NULL);
    if (w->resize_pending)
        add_condition(w, list, "PodResizePending", true, w->resize_pending, w->resize_message);
    if (w->resizing)
        add_condition(w, list, "PodResizeInProgress", true, w->resize_error ? "Error" : NULL,
                      w->resize_error);
    if (w->evicted)
        add_condition(w, list, "DisruptionTarget", true, "TerminationByKubelet", w->failed_message);
    return list;
}

/* ---- the whole ---- */
static json_t *ip_list(const char *ips)
{
    json_t *list = json_array();
    _cleanup_free_ char *copy = str_dup(ips ? ips : "");
    char *save = NULL;
    for (char *ip = strtok_r(copy, ",", &save); ip; ip = strtok_r(NULL, ",", &save))
        (void)json_array_append_new(list, wrap("ip", json_text(ip)));
    return list;
}

static json_t *statuses(const struct pod_worker *w, size_t from, size_t to)
{
    json_t *list = json_array();
    for (size_t i = from; i < to; i++)
        (void)json_array_append_new(list, container_status(w->slots[i]));
    return list;
}

json_t *worker_status(const struct pod_worker *w)
{
    json_t *o = json_object();
    const char *phase = worker_phase(w);
    const char *ip = worker_ip(w), *ips = worker_ips(w);
    char buf[TIME_TEXT_MAX];
    if (w->pod->meta.generation)
        put(o, "observedGeneration", json_integer(w->pod->meta.generation));
    put(o, "phase", json_string(phase));
    put(o, "conditions", conditions(w, phase));
    put_text(o, "reason", w->failed_reason);
    put_text(o, "message", w->failed_message);
    put_text(o, "hostIP", w->k->node_ip);
    if (w->k->node_ip)
        put(o, "hostIPs", ip_list(w->k->node_ips));
    if (*ip && w->sandbox.id) {
        put(o, "podIP", json_text(ip));
        put(o, "podIPs", ip_list(ips));
    }
    put(o, "startTime", json_string(time_format(w->start_time, buf)));
    if (w->n_init)
        put(o, "initContainerStatuses", statuses(w, 0, w->n_init));
    put(o, "containerStatuses", statuses(w, w->n_init, w->n_fixed));
    if (w->n_slots > w->n_fixed)
        put(o, "ephemeralContainerStatuses", statuses(w, w->n_fixed, w->n_slots));
    put_text(o, "qosClass", qos_name(w->pod->qos));
    return o;
}
