/* The decisions of a pod worker, as pure functions of what it knows. */
#include "base/strbuf.h"
#include "kubelet/worker/worker.h"

const struct container_spec *slot_spec(const struct container_slot *s)
{
    return pod_container_at(s->w->pod, s->index);
}

bool slot_is_sidecar(const struct container_slot *s)
{
    return s->index < s->w->n_init && str_eq(slot_spec(s)->restart_policy, "Always");
}

bool slot_is_ephemeral(const struct container_slot *s)
{
    return s->index >= s->w->n_fixed;
}

bool slot_is_running(const struct container_slot *s)
{
    return s->run && s->run->state == RUN_RUNNING;
}

static bool rule_applies(const struct restart_rule *r, int32_t exit_code)
{
    const struct restart_exit_codes *codes = r->exit_codes;
    bool found = false;
    if (!codes)
        return false;
    for (size_t i = 0; i < json_array_size(codes->values); i++)
        found |= json_integer_value(json_array_get(codes->values, i)) == exit_code;
    return str_eq(codes->operator, "In") ? found : str_eq(codes->operator, "NotIn") && !found;
}

bool restart_wanted(enum restart_policy policy, const struct container_spec *c, int32_t exit_code)
{
    for (size_t i = 0; i < c->restart_rules.count; i++)
        if (rule_applies(&c->restart_rules.items[i], exit_code))
            return true; /* "Restart" is the only action that containers get started with */
    const char *own = c->restart_policy;
    if (own && *own)
        policy = str_eq(own, "Always")      ? RESTART_ALWAYS
                 : str_eq(own, "OnFailure") ? RESTART_ON_FAILURE
                                            : RESTART_NEVER;
    return policy == RESTART_ALWAYS || (policy == RESTART_ON_FAILURE && exit_code != 0);
}

/* It has been run, as the API knows, even if the runtime has forgotten it. */
static bool known_to_api(const struct container_slot *s)
{
    const struct api_status *status = &s->w->pod->status;
    for (size_t i = 0; i < status->ephemeral.count; i++) {
        const struct api_container_state *a = &status->ephemeral.items[i];
        if (str_eq(a->name, slot_spec(s)->name))
            return a->container_id && *a->container_id;
    }
    return false;
}

/* A run in a sandbox that is no more counts as ended there. */
static bool in_this_sandbox(const struct container_slot *s)
{
    return s->run && str_eq(s->run->sandbox, s->w->sandbox.id);
}

bool slot_wants_run(const struct container_slot *s)
{
    enum restart_policy policy = s->w->pod->restart;
    if (slot_is_ephemeral(s))
        return !s->run && !known_to_api(s);
    if (!s->run)
        return true;
    if (s->run->state != RUN_EXITED)
        return false;
    bool init = s->index < s->w->n_init && !slot_is_sidecar(s);
    if (!init)
        return restart_wanted(policy, slot_spec(s), s->run->exit_code);
    /* A new sandbox needs its init containers again. */
    if (s->run->exit_code == 0)
        return !in_this_sandbox(s);
    return restart_wanted(policy == RESTART_ALWAYS ? RESTART_ON_FAILURE : policy, slot_spec(s),
                          s->run->exit_code);
}

/* The main containers of this sandbox were reached, so init is over, also when the runs of init
 * containers have been removed. */
static bool main_reached(const struct pod_worker *w)
{
    for (size_t i = w->n_init; i < w->n_fixed; i++)
        if (in_this_sandbox(w->slots[i]))
            return true;
    return false;
}

bool worker_initialized(const struct pod_worker *w)
{
    if (!w->n_init || main_reached(w))
        return true;
    for (size_t i = 0; i < w->n_init; i++) {
        const struct container_slot *s = w->slots[i];
        bool ok = slot_is_sidecar(s) ? slot_is_running(s) && slot_is_started(s)
                                     : s->run && s->run->state == RUN_EXITED && !s->run->exit_code;
        if (!ok)
            return false;
    }
    return true;
}

static bool init_failed(const struct pod_worker *w)
{
    if (main_reached(w))
        return false;
    for (size_t i = 0; i < w->n_init; i++) {
        const struct container_slot *s = w->slots[i];
        if (!slot_is_sidecar(s) && s->run && s->run->state == RUN_EXITED && s->run->exit_code &&
            !slot_wants_run(s))
            return true;
    }
    return false;
}

bool worker_is_finished(const struct pod_worker *w)
{
    if (init_failed(w))
        return true;
    for (size_t i = w->n_init; i < w->n_fixed; i++) {
        const struct container_slot *s = w->slots[i];
        if (!s->run || s->run->state != RUN_EXITED || slot_wants_run(s))
            return false;
    }
    return true;
}

/* What the containers alone say. */
static const char *phase_of_containers(const struct pod_worker *w)
{
    size_t running = 0, waiting = 0, failed = 0, ended = 0;
    bool stopping = w->stage != WORKER_RUN;
    for (size_t i = w->n_init; i < w->n_fixed; i++) {
        const struct container_slot *s = w->slots[i];
        if (!s->run || s->run->state == RUN_CREATED) {
            waiting += !s->last;
            ended += s->last != NULL;
        } else if (s->run->state == RUN_RUNNING) {
            running++;
        } else {
            ended++;
            failed += s->run->exit_code != 0;
        }
    }
    if (init_failed(w))
        return "Failed";
    if (waiting || !worker_initialized(w))
        return "Pending";
    if (running)
        return "Running";
    if (!stopping && !worker_is_finished(w))
        return "Running"; /* ended, and about to be started again */
    return ended && failed ? "Failed" : "Succeeded";
}

const char *worker_phase(const struct pod_worker *w)
{
    const char *api = w->pod->source == POD_FROM_API ? w->pod->status.phase : NULL;
    bool stopped = w->stage == WORKER_DONE || w->stage == WORKER_CLEAN || w->stage == WORKER_GONE;
    if (w->failed_reason)
        return "Failed";
    if (str_eq(api, "Succeeded") || str_eq(api, "Failed"))
        return api; /* final: never taken back */
    if (!stopped)
        return phase_of_containers(w);
    /* Stopped before it ended by itself: failed, unless all it ran went well. */
    for (size_t i = w->n_init; i < w->n_fixed; i++)
        if (!w->slots[i]->run || w->slots[i]->run->state != RUN_EXITED ||
            w->slots[i]->run->exit_code)
            return "Failed";
    return "Succeeded";
}

bool slot_is_started(const struct container_slot *s)
{
    return slot_is_running(s) && (!s->probes || probe_set_started(s->probes));
}

bool slot_is_ready(const struct container_slot *s)
{
    return slot_is_started(s) && (!s->probes || probe_set_ready(s->probes));
}
