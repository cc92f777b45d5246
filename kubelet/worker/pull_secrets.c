/* The pod's imagePullSecrets, read and watched by name like every Secret that it uses. */
#include "base/strbuf.h"
#include "kubelet/worker/worker.h"

bool worker_keyring(struct pod_worker *w, struct keyring *ret)
{
    struct strbuf missing = STRBUF_INIT;
    bool complete = true;
    for (size_t i = 0; i < w->pod->spec.pull_secrets.count; i++) {
        const char *name = w->pod->spec.pull_secrets.items[i].name;
        const struct object_ref *ref = worker_object(w, OBJECT_SECRET, name);
        enum object_state state = ref ? object_state(ref) : OBJECT_ABSENT;
        struct error err = ERROR_INIT;
        complete &= state != OBJECT_PENDING;
        if (state != OBJECT_PRESENT && state != OBJECT_PENDING)
            strbuf_addf(&missing, "%s%s", missing.len ? ", " : "", name ? name : "");
        else if (state == OBJECT_PRESENT && keyring_add(ret, object_data(ref), &err) < 0)
            kubelet_event(w->k, w->pod, NULL, "Warning", "FailedToRetrieveImagePullSecret",
                          "Image pull secret %s is not usable: %s", name, error_text(&err));
    }
    if (complete && missing.len)
        kubelet_event(
            w->k, w->pod, NULL, "Warning", "FailedToRetrieveImagePullSecret",
            "Unable to retrieve some image pull secrets (%s); attempting to pull the image "
            "may not succeed.",
            strbuf_text(&missing));
    strbuf_done(&missing);
    if (!complete)
        keyring_done(ret);
    return complete;
}
