/* Pods of the API that are bound to this node, and the mirrors of our static ones. */
#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "kube/informer.h"
#include "kube/meta.h"
#include "kubelet/sources.h"

struct api_source {
    struct kubelet *k;
    struct informer *informer;
    struct map pods; /* "ns/name" → struct pod: uid, and mirrors as a whole */
};

static void unref_pod(void *pod)
{
    pod_unref(pod);
}

static void drop(struct api_source *s, const char *key)
{
    struct pod *pod = map_take(&s->pods, key);
    if (pod && pod_is_mirror(pod))
        pod_manager_mirror(s->k->pods, pod, true);
    else if (pod)
        pod_manager_remove(s->k->pods, pod->meta.uid);
    pod_unref(pod);
}

static void on_upsert(void *arg, const char *key, const json_t *object)
{
    struct api_source *s = arg;
    struct error err = ERROR_INIT;
    struct pod *pod = NULL;
    if (pod_decode(object, POD_FROM_API, &pod, &err) < 0) {
        log_error("pod is not usable", "pod", key, "error", error_text(&err), NULL);
        return;
    }
    const struct pod *before = map_get(&s->pods, key);
    if (before && !str_eq(before->meta.uid, pod->meta.uid))
        drop(s, key);
    map_set(&s->pods, key, pod); /* its reference */
    if (pod_is_mirror(pod))
        pod_manager_mirror(s->k->pods, pod, false);
    else
        pod_manager_upsert(s->k->pods, pod);
}

static void on_remove(void *arg, const char *key, const json_t *object)
{
    (void)object;
    drop(arg, key);
}

static void on_synced(void *arg)
{
    struct api_source *s = arg;
    pod_manager_synced(s->k->pods, POD_FROM_API);
}

static const struct informer_ops ops = {
    .upsert = on_upsert, .remove = on_remove, .synced = on_synced};

struct api_source *api_source_new(struct kubelet *k)
{
    struct api_source *s = mem_zalloc(sizeof(*s));
    _cleanup_free_ char *selector = str_printf("spec.nodeName=%s", k->node_name);
    s->k = k;
    s->pods = (struct map)MAP_INIT(unref_pod);
    struct informer_config config = {
        .api = "v1", .plural = "pods", .field_selector = selector, .ops = &ops, .arg = s};
    s->informer = informer_new(k->api, &config);
    return s;
}

struct api_source *api_source_free(struct api_source *s)
{
    if (!s)
        return NULL;
    informer_free(s->informer);
    map_clear(&s->pods);
    free(s);
    return NULL;
}

bool api_source_connected(const struct api_source *s)
{
    return informer_connected(s->informer);
}
