/* Which volume suits a claim, and which node suits the claims of a pod; see volume_match.h. */
#include "controllers/volume_match.h"

#include <string.h>

#include "base/strbuf.h"
#include "kube/quantity.h"
#include "kube/selector.h"

#define BIND_COMPLETED "pv.kubernetes.io/bind-completed"

static const char *word(const char *text)
{
    return text ? text : "";
}

bool volume_is_for(const struct volume *v, const struct claim *c)
{
    const struct claim_ref *ref = v->claim;
    return ref && str_eq(ref->ns, c->meta.ns) && str_eq(ref->name, c->meta.name) &&
           (!*word(ref->uid) || str_eq(ref->uid, c->meta.uid));
}

static int compare_storage(const struct string_map *a, const struct string_map *b)
{
    struct quantity x = quantity_from_int(0, QUANTITY_BINARY_SI), y = x;
    const char *of_a = string_map_get(a, "storage"), *of_b = string_map_get(b, "storage");
    if (of_a)
        (void)quantity_parse(of_a, &x, NULL);
    if (of_b)
        (void)quantity_parse(of_b, &y, NULL);
    return quantity_compare(&x, &y);
}

static const char *mode_of(const char *mode)
{
    return *word(mode) ? mode : "Filesystem";
}

const char *volume_refusal(const struct volume *v, const struct claim *c)
{
    if (compare_storage(&v->capacity, &c->requests) < 0)
        return "requested PV is too small";
    if (!str_eq(word(v->class), word(c->class)))
        return "storageClassName does not match";
    if (!str_eq(mode_of(v->mode), mode_of(c->mode)))
        return "incompatible volumeMode";
    for (size_t i = 0; i < c->access_modes.count; i++)
        if (!string_list_has(&v->access_modes, c->access_modes.items[i]))
            return "incompatible accessMode";
    return NULL;
}

bool volume_reaches(const struct volume *v, const struct node *n)
{
    return !v->node_affinity ||
           node_selector_matches(v->node_affinity, n->meta.labels, n->meta.name);
}

const struct volume *volume_choose(const struct map *volumes, const struct claim *c,
                                   const struct node *n)
{
    _cleanup_(selector_freep) struct selector *selector = NULL;
    const struct volume *best = NULL;
    if (c->selector && selector_from_object(c->selector, &selector, NULL) < 0)
        return NULL;
    MAP_FOR_EACH(e, volumes) {
        const struct volume *v = map_value(e);
        if (volume_is_for(v, c) && *word(v->claim->uid))
            return v;
        if (v->meta.deleted || volume_refusal(v, c) || (n && !volume_reaches(v, n)))
            continue;
        if (v->claim && !volume_is_for(v, c))
            continue;
        if (!v->claim && selector && !selector_matches(selector, v->meta.labels))
            continue;
        /* One that is kept for the claim comes before any other, then the smaller one; the name
         * decides between equals, so that two looks agree. */
        bool kept = v->claim != NULL, best_kept = best && best->claim;
        int order = best ? compare_storage(&v->capacity, &best->capacity) : -1;
        if (order == 0)
            order = strcmp(v->meta.name, best->meta.name);
        if (!best || (kept && !best_kept) || (kept == best_kept && order < 0))
            best = v;
    }
    return best;
}

bool claim_is_bound(const struct claim *c)
{
    return *word(c->volume) && string_map_get(&c->meta.annotations, BIND_COMPLETED);
}

bool claim_waits_for_pod(const struct claim *c, const struct map *classes)
{
    const struct storage_class *class = *word(c->class) ? map_get(classes, c->class) : NULL;
    return class && str_eq(class->binding_mode, "WaitForFirstConsumer");
}

char *pod_volume_claim(const struct pod *p, const struct pod_volume *v)
{
    if (v->ephemeral)
        return str_printf("%s/%s-%s", p->meta.ns, p->meta.name, word(v->name));
    return v->claim ? str_printf("%s/%s", p->meta.ns, v->claim) : NULL;
}

char *pod_claims_problem(const struct pod *p, const struct volume_view *view)
{
    for (size_t i = 0; i < p->volumes.count; i++) {
        _cleanup_free_ char *key = pod_volume_claim(p, &p->volumes.items[i]);
        const struct claim *c = key ? map_get(view->claims, key) : NULL;
        if (!key)
            continue;
        if (!c)
            return str_printf("persistentvolumeclaim \"%s\" not found", strchr(key, '/') + 1);
        if (c->meta.deleted)
            return str_printf("persistentvolumeclaim \"%s\" is being deleted", c->meta.name);
        if (str_eq(c->phase, "Lost"))
            return str_printf("persistentvolumeclaim \"%s\" bound to non-existent "
                              "persistentvolume \"%s\"",
                              c->meta.name, word(c->volume));
        if (!claim_is_bound(c) && !claim_waits_for_pod(c, view->classes))
            return str_dup("pod has unbound immediate PersistentVolumeClaims");
    }
    return NULL;
}

const char *pod_claims_refusal(const struct pod *p, const struct node *n,
                               const struct volume_view *view)
{
    for (size_t i = 0; i < p->volumes.count; i++) {
        _cleanup_free_ char *key = pod_volume_claim(p, &p->volumes.items[i]);
        const struct claim *c = key ? map_get(view->claims, key) : NULL;
        if (!c)
            continue; /* none, or pod_claims_problem() said so */
        if (!claim_is_bound(c)) {
            const struct volume *free = volume_choose(view->volumes, c, n);
            if (!free || !volume_reaches(free, n))
                return "node(s) didn't find available persistent volumes to bind";
            continue;
        }
        const struct volume *v = map_get(view->volumes, c->volume);
        if (!v)
            return "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
        if (!volume_reaches(v, n))
            return "node(s) didn't match PersistentVolume's node affinity";
    }
    return NULL;
}
