/* Whether a pod may run on this node: checked once, when it is taken up. */
#include <inttypes.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/eviction/eviction.h"
#include "kubelet/pods.h"
#include "kubelet/runtime/events.h"
#include "kubelet/worker/worker.h"

void worker_fail(struct pod_worker *w, const char *reason, const char *message)
{
    if (w->failed_reason)
        return;
    w->failed_reason = str_dup(reason);
    w->failed_message = str_dup(message);
}

void worker_reject(struct pod_worker *w, const char *reason, const char *message)
{
    char label[POD_LABEL_MAX];
    _cleanup_free_ char *text = str_printf("Pod was rejected: %s", message);
    kubelet_event(w->k, w->pod, NULL, "Warning", reason, "%s", message);
    log_warn("pod is rejected", "pod", pod_label(w->pod, label), "reason", reason, "error", message,
             NULL);
    worker_fail(w, reason, text);
    w->rejected = true;
}

/* What the pods that are here have left for another one. */
static bool fits(struct pod_worker *w)
{
    const struct node_capacity *a = &w->k->allocatable;
    const struct {
        const char *name, *reason;
        int64_t capacity;
    } kinds[] = {{"pods", "OutOfpods", a->pods},
                 {"cpu", "OutOfcpu", a->cpu_milli},
                 {"memory", "OutOfmemory", a->memory},
                 {"ephemeral-storage", "OutOfephemeral-storage", a->ephemeral}};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        int64_t wanted = i ? pod_request(w->pod, kinds[i].name) : 1;
        int64_t used = wanted ? pod_manager_requested(w->k->pods, kinds[i].name, w) : 0;
        if (!wanted || kinds[i].capacity <= 0 || wanted + used <= kinds[i].capacity)
            continue;
        _cleanup_free_ char *text =
            str_printf("Node didn't have enough resource: %s, requested: %" PRId64
                       ", used: %" PRId64 ", capacity: %" PRId64,
                       kinds[i].name, wanted, used, kinds[i].capacity);
        worker_reject(w, kinds[i].reason, text);
        return false;
    }
    return true;
}

/* What does is not turned away. */
static bool runs_already(const struct pod_worker *w)
{
    return runtime_events_knows(w->k->runtime_events, w->pod->meta.uid);
}

bool worker_admit(struct pod_worker *w)
{
    struct error err = ERROR_INIT;
    if (w->pod->meta.deleted || pod_is_over(w->pod))
        return true; /* it is not to run any more */
    if (w->pod->invalid) {
        worker_reject(w, "UnexpectedAdmissionError", w->pod->invalid);
        return false;
    }
    if (w->k->shutting_down && !runs_already(w)) {
        worker_reject(w, "NodeShutdown", "Pod was rejected as the node is shutting down.");
        return false;
    }
    if (pod_check_sysctls(w->pod, &w->k->unsafe_sysctls, &err) < 0) {
        worker_reject(w, "SysctlForbidden", error_text(&err));
        return false;
    }
    _cleanup_free_ char *text = NULL;
    if (!eviction_admits(w->k->eviction, w->pod, &text) && !runs_already(w)) {
        worker_reject(w, "Evicted", text);
        return false;
    }
    return fits(w);
}
