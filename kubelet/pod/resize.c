/* Resources that change while a pod runs: comparing, and putting one pod's into another. */
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kubelet/pod/pod.h"

static const char *const names[] = {"cpu", "memory"};

static bool same(const struct resource_requirements *a, const struct resource_requirements *b)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (resource_milli(&a->requests, names[i], 0) !=
                resource_milli(&b->requests, names[i], 0) ||
            resource_milli(&a->limits, names[i], 0) != resource_milli(&b->limits, names[i], 0))
            return false;
    return true;
}

bool pod_same_resources(const struct pod *a, const struct pod *b)
{
    static const struct resource_requirements none;
    if (pod_fixed_count(a) != pod_fixed_count(b))
        return false;
    for (size_t i = 0; i < pod_fixed_count(a); i++)
        if (!same(&pod_container_at(a, i)->resources, &pod_container_at(b, i)->resources))
            return false;
    return same(a->spec.resources ? a->spec.resources : &none,
                b->spec.resources ? b->spec.resources : &none);
}

/* spec.containers and spec.initContainers of an object, one after the other. */
static json_t *container_at(const json_t *object, size_t list, size_t i)
{
    static const char *const lists[] = {"containers", "initContainers"};
    return json_array_get(json_object_get(json_object_get(object, "spec"), lists[list]), i);
}

static struct pod *decode_again(const json_t *object, const struct pod *like)
{
    struct pod *pod = NULL;
    if (pod_decode(object, like->source, &pod, NULL) < 0 || pod->invalid)
        return pod_unref(pod);
    return pod;
}

struct pod *pod_with_resources(const struct pod *pod, const struct pod *from)
{
    _cleanup_json_ json_t *object = json_parse(pod->json, pod->json_len, NULL);
    _cleanup_json_ json_t *other = json_parse(from->json, from->json_len, NULL);
    json_t *spec = json_object_get(object, "spec");
    const json_t *whole = json_path(other, "spec.resources");
    for (size_t list = 0; list < 2; list++) {
        json_t *c;
        for (size_t i = 0; (c = container_at(object, list, i)); i++) {
            json_t *resources = json_object_get(container_at(other, list, i), "resources");
            if (resources)
                (void)json_object_set(c, "resources", resources);
            else
                (void)json_object_del(c, "resources");
        }
    }
    if (whole)
        (void)json_object_set(spec, "resources", (json_t *)(uintptr_t)whole);
    else
        (void)json_object_del(spec, "resources");
    return decode_again(object, pod);
}

/* The status of a container by name. */
static const json_t *status_of(const json_t *statuses, const char *name)
{
    for (size_t i = 0; i < json_array_size(statuses); i++)
        if (str_eq(json_path_string(json_array_get(statuses, i), "name"), name))
            return json_array_get(statuses, i);
    return NULL;
}

struct pod *pod_allocated(const struct pod *pod)
{
    static const char *const lists[] = {"status.containerStatuses", "status.initContainerStatuses"};
    _cleanup_json_ json_t *object = json_parse(pod->json, pod->json_len, NULL);
    bool found = false;
    for (size_t list = 0; list < 2; list++) {
        json_t *c;
        for (size_t i = 0; (c = container_at(object, list, i)); i++) {
            const json_t *s =
                status_of(json_path(object, lists[list]), json_path_string(c, "name"));
            json_t *requests = json_object_get(s, "allocatedResources");
            json_t *limits = (json_t *)(uintptr_t)json_path(s, "resources.limits");
            if (!requests)
                continue;
            found = true;
            (void)json_path_set(c, "resources.requests", json_incref(requests));
            if (limits)
                (void)json_path_set(c, "resources.limits", json_incref(limits));
        }
    }
    struct pod *allocated = found ? decode_again(object, pod) : NULL;
    return allocated && pod_same_resources(pod, allocated) ? pod_unref(allocated) : allocated;
}
