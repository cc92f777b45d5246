/* Whether a pod may run on this node: checked once, when it is taken up. */
#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/worker/worker.h"

void worker_fail(struct pod_worker *w, const char *reason, const char *message)
{
    if (w->failed_reason)
        return;
    w->failed_reason = str_dup(reason);
    w->failed_message = str_dup(message);
}

static void reject(struct pod_worker *w, const char *reason, const char *message)
{
    char label[POD_LABEL_MAX];
    _cleanup_free_ char *text = str_printf("Pod was rejected: %s", message);
    kubelet_event(w->k, w->pod, NULL, "Warning", reason, "%s", message);
    log_warn("pod is rejected", "pod", pod_label(w->pod, label), "reason", reason, "error", message,
             NULL);
    worker_fail(w, reason, text);
}

/* One that has ended, or is to end, needs no admission. */
static bool is_over(const struct pod *pod)
{
    const char *phase = pod->source == POD_FROM_API ? pod->status.phase : NULL;
    return pod->meta.deleted || str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
}

bool worker_admit(struct pod_worker *w)
{
    struct error err = ERROR_INIT;
    if (is_over(w->pod))
        return true;
    if (w->pod->invalid) {
        reject(w, "UnexpectedAdmissionError", w->pod->invalid);
        return false;
    }
    if (pod_check_sysctls(w->pod, &w->k->unsafe_sysctls, &err) < 0) {
        reject(w, "SysctlForbidden", error_text(&err));
        return false;
    }
    return true;
}
