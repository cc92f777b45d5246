/* Who has which devices; see devices.h. */
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/devices/devices.h"

static void allocation_done(struct allocation *a)
{
    free(a->pod_uid);
    free(a->container);
    free(a->resource);
    free(a->answer);
    string_list_done(&a->ids);
}

struct allocation *allocation_add(struct allocation_list *l, const char *pod_uid,
                                  const char *container, const char *resource)
{
    l->items = mem_grow(l->items, l->count + 1, sizeof(*l->items));
    struct allocation *a = &l->items[l->count++];
    *a = (struct allocation){.pod_uid = str_dup(pod_uid),
                             .container = str_dup(container),
                             .resource = str_dup(resource)};
    return a;
}

struct allocation *allocation_find(const struct allocation_list *l, const char *pod_uid,
                                   const char *container, const char *resource)
{
    for (size_t i = 0; i < l->count; i++)
        if (str_eq(l->items[i].pod_uid, pod_uid) && str_eq(l->items[i].container, container) &&
            str_eq(l->items[i].resource, resource))
            return &l->items[i];
    return NULL;
}

bool allocation_remove_pod(struct allocation_list *l, const char *pod_uid)
{
    size_t kept = 0, before = l->count;
    for (size_t i = 0; i < before; i++) {
        if (str_eq(l->items[i].pod_uid, pod_uid))
            allocation_done(&l->items[i]);
        else
            l->items[kept++] = l->items[i];
    }
    l->count = kept;
    return kept != before;
}

void allocation_list_done(struct allocation_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        allocation_done(&l->items[i]);
    free(l->items);
    *l = (struct allocation_list){.items = NULL};
}

bool allocation_has_device(const struct allocation_list *l, const char *resource, const char *id,
                           const char *but_pod)
{
    for (size_t i = 0; i < l->count; i++)
        if (str_eq(l->items[i].resource, resource) &&
            !(but_pod && str_eq(l->items[i].pod_uid, but_pod)) &&
            string_list_has(&l->items[i].ids, id))
            return true;
    return false;
}

static bool ends_by_itself(const struct pod *pod, size_t index)
{
    return pod_container_is_init(pod, index) &&
           !str_eq(pod_container_at(pod, index)->restart_policy, "Always");
}

void allocation_reusable(const struct allocation_list *l, const struct pod *pod, size_t index,
                         const char *resource, struct string_list *ret)
{
    for (size_t i = 0; i < index; i++) {
        const struct allocation *a =
            allocation_find(l, pod->meta.uid, pod_container_at(pod, i)->name, resource);
        for (size_t n = 0; a && ends_by_itself(pod, i) && n < a->ids.count; n++) {
            bool taken = string_list_has(ret, a->ids.items[n]);
            for (size_t k = 0; k < index && !taken; k++) {
                const struct allocation *b =
                    allocation_find(l, pod->meta.uid, pod_container_at(pod, k)->name, resource);
                taken = b && !ends_by_itself(pod, k) && string_list_has(&b->ids, a->ids.items[n]);
            }
            if (!taken)
                string_list_add(ret, a->ids.items[n]);
        }
    }
}

bool resource_is_extended(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
    const char *slash = strchr(name, '/');
    return slash && slash != name && slash - name <= 253 && slash[1] && !strchr(slash + 1, '/') &&
           strlen(slash + 1) <= 63 && strspn(name, allowed) == strlen(name) &&
           !str_starts(name, "requests.") && !strstr(name, "kubernetes.io/");
}
