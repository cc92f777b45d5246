/*
 * Limits of the node's disk that a directory does not have by itself: sizeLimit of emptyDirs, and
 * ephemeral-storage of containers and of the pod as a whole. They are measured now and then; pods
 * without such limits have no timer.
 */
#include <inttypes.h>

#include "base/strbuf.h"
#include "kube/quantity.h"
#include "kubelet/stats/disk.h"

#define STORAGE "ephemeral-storage"

struct disk_limits {
    struct volume_set *set;
    uint64_t period_ms;
    struct disk_look *look;
    struct loop_timer timer;
    void (*over)(void *arg, const char *text);
    void *arg;
};

/* The limit of a volume that has to be measured; 0 when it has not: memory is limited by its
 * mount. */
static int64_t limit_of_volume(const struct volume_spec *v)
{
    return v->empty_dir && disk_is_local(v) ? quantity_text_value(v->empty_dir->size_limit, 0) : 0;
}

static int64_t limit_of_container(const struct pod *pod, size_t i)
{
    return resource_value(&pod_container_at(pod, i)->resources.limits, STORAGE, 0);
}

static char *check_volumes(const struct pod *pod, const struct pod_disk *d)
{
    for (size_t i = 0; i < d->n_volumes; i++) {
        const struct volume_spec *v = &pod->spec.volumes.items[i];
        int64_t limit = limit_of_volume(v);
        if (limit > 0 && d->volumes[i].bytes > (uint64_t)limit)
            return str_printf("Usage of EmptyDir volume \"%s\" exceeds the limit \"%s\". ", v->name,
                              v->empty_dir->size_limit);
    }
    return NULL;
}

static char *check_containers(const struct pod *pod, const struct pod_disk *d)
{
    for (size_t i = 0; i < d->n_containers; i++) {
        const struct container_spec *c = pod_container_at(pod, i);
        int64_t limit = limit_of_container(pod, i);
        if (limit > 0 &&
            d->containers[i].layer.bytes + d->containers[i].logs.bytes > (uint64_t)limit)
            return str_printf("Container %s exceeded its local ephemeral storage limit \"%s\". ",
                              c->name, string_map_get(&c->resources.limits, STORAGE));
    }
    return NULL;
}

char *disk_limits_check(const struct pod *pod, const struct pod_disk *d)
{
    int64_t limit = pod_limit(pod, STORAGE);
    char *text = check_volumes(pod, d);
    if (!text && limit > 0 && disk_total(pod, d).bytes > (uint64_t)limit) {
        struct quantity q = quantity_from_int(limit, QUANTITY_BINARY_SI);
        char buf[QUANTITY_TEXT_MAX];
        text = str_printf("Pod ephemeral local storage usage exceeds the total limit of containers "
                          "%s. ",
                          quantity_format(&q, buf));
    }
    return text ? text : check_containers(pod, d);
}

static bool has_limits(const struct pod *pod)
{
    bool any = pod_limit(pod, STORAGE) > 0;
    for (size_t i = 0; i < pod->spec.volumes.count; i++)
        any |= limit_of_volume(&pod->spec.volumes.items[i]) > 0;
    return any;
}

static void on_look(void *arg, const struct pod_disk *d)
{
    struct disk_limits *l = arg;
    l->look = NULL;
    char *text = disk_limits_check(l->set->pod, d);
    if (text)
        l->over(l->arg, text);
    else
        loop_timer_set(&l->timer, l->period_ms);
    free(text);
}

static void on_timer(void *arg)
{
    struct disk_limits *l = arg;
    l->look = disk_look_new(l->set->k, l->set->pod, l->set, on_look, l);
}

struct disk_limits *disk_limits_new(struct volume_set *s, uint64_t period_ms,
                                    void (*over)(void *arg, const char *text), void *arg)
{
    if (!has_limits(s->pod))
        return NULL;
    struct disk_limits *l = mem_zalloc(sizeof(*l));
    l->set = s;
    l->period_ms = period_ms;
    l->over = over;
    l->arg = arg;
    loop_timer_init(&l->timer, s->k->loop, "limits of disk", on_timer, l);
    loop_timer_set(&l->timer, l->period_ms);
    return l;
}

struct disk_limits *disk_limits_free(struct disk_limits *l)
{
    if (!l)
        return NULL;
    disk_look_cancel(l->look);
    loop_timer_done(&l->timer);
    free(l);
    return NULL;
}
