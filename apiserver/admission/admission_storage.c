/*
 * Volumes and claims: what is in use is protected by a finalizer, a claim that names no class gets
 * the default one, only claims of a class that allows it may grow.
 */
#include <string.h>

#include "apiserver/admission/admission.h"
#include "apiserver/store/watch_cache.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/quantity.h"
#include "kube/status.h"

#define CLAIM_FINALIZER  "kubernetes.io/pvc-protection"
#define VOLUME_FINALIZER "kubernetes.io/pv-protection"
#define DEFAULT_CLASS    "storageclass.kubernetes.io/is-default-class"
#define CLASS_PREFIX     "/registry/storageclasses/"

static void protect(json_t *obj, const char *finalizer)
{
    json_t *list = json_object_get(meta_of(obj), "finalizers");
    if (meta_has_finalizer(obj, finalizer))
        return;
    if (!json_is_array(list)) {
        list = json_array();
        (void)json_object_set_new(meta_of(obj), "finalizers", list);
    }
    (void)json_array_append_new(list, json_string(finalizer));
}

enum verdict admit_volume(const struct admission *a, json_t *obj, json_t **status)
{
    (void)a;
    (void)status;
    protect(obj, VOLUME_FINALIZER);
    return VERDICT_WRITE;
}

/* The newest of those that are marked as the default; NULL when there is none. The caller frees. */
static char *default_class(const struct admission *a)
{
    const struct route *route =
        routes_find(a->srv->routes, "storage.k8s.io", "v1", "storageclasses");
    struct encoded_list all = {.items = NULL};
    char *best = NULL, *since = NULL;
    watch_cache_snapshot(a->srv->cache, route, route->prefix, &all);
    for (size_t i = 0; i < all.count; i++) {
        _cleanup_json_ json_t *class = encoded_tree(all.items[i], NULL);
        const char *made = meta_creation_timestamp(class);
        if (!str_eq(meta_annotation(class, DEFAULT_CLASS), "true") ||
            (since && strcmp(made, since) <= 0))
            continue;
        free(best);
        free(since);
        best = str_dup(meta_name(class));
        since = str_dup(made);
    }
    encoded_list_done(&all);
    free(since);
    return best;
}

enum verdict admit_claim(const struct admission *a, json_t *obj, json_t **status)
{
    json_t *spec = json_object_get(obj, "spec");
    (void)status;
    protect(obj, CLAIM_FINALIZER);
    if (!json_is_object(spec) || json_object_get(spec, "storageClassName") ||
        meta_annotation(obj, "volume.beta.kubernetes.io/storage-class"))
        return VERDICT_WRITE;
    _cleanup_free_ char *class = default_class(a);
    if (class)
        (void)json_object_set_new(spec, "storageClassName", json_text(class));
    return VERDICT_WRITE;
}

static bool grows(const json_t *obj, const json_t *old)
{
    struct quantity now, before;
    const char *text = json_path_string(obj, "spec.resources.requests.storage");
    const char *was = json_path_string(old, "spec.resources.requests.storage");
    return text && was && quantity_parse(text, &now, NULL) == 0 &&
           quantity_parse(was, &before, NULL) == 0 && quantity_compare(&now, &before) > 0;
}

enum verdict admit_claim_write(const struct admission *a, const json_t *obj, const json_t *old,
                               json_t **status)
{
    const char *name = json_path_string(obj, "spec.storageClassName");
    if (!old || !grows(obj, old))
        return VERDICT_WRITE;
    _cleanup_free_ char *key = str_printf(CLASS_PREFIX "%s", name ? name : "");
    const struct encoded *e = watch_cache_get(a->srv->cache, key);
    _cleanup_json_ json_t *class = e ? encoded_tree(e, NULL) : NULL;
    if (json_path_bool(class, "allowVolumeExpansion", false))
        return VERDICT_WRITE;
    *status = status_forbidden(&a->route->about, a->name,
                               "only dynamically provisioned pvc can be resized and the "
                               "storageclass that provisions the pvc must support resize");
    return VERDICT_REFUSE;
}
