/*
 * sizeLimit of emptyDirs on disk: a directory has no limit of its own, so it is measured now and
 * then, by coracle-tree, one at a time. Pods without such a volume have no timer.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/process.h"
#include "base/strbuf.h"
#include "kube/quantity.h"
#include "kubelet/volume/volume.h"

#define DEADLINE_MS 60000

struct volume_limits {
    struct volume_set *set;
    size_t next; /* volume to be measured */
    uint64_t period_ms;
    struct process_run *run;
    struct loop_timer timer;
    void (*over)(void *arg, const char *text);
    void *arg;
};

/* The limit of a volume that has to be measured; 0 when it has not. */
static int64_t limit_of(const struct volume *v)
{
    const struct empty_dir_source *e = v->ops == &volume_empty_dir ? v->spec->empty_dir : NULL;
    return e && !str_eq(e->medium, "Memory") ? quantity_text_value(e->size_limit, 0) : 0;
}

static void measure_next(struct volume_limits *l);

static void on_usage(const struct process_result *result, void *arg)
{
    struct volume_limits *l = arg;
    const struct volume *v = &l->set->volumes[l->next++];
    uint64_t bytes = 0;
    l->run = NULL;
    if (process_result_error(result, "coracle-tree", NULL) == 0)
        bytes = strtoull(strbuf_text(result->out), NULL, 10);
    if (bytes <= (uint64_t)limit_of(v)) {
        measure_next(l);
        return;
    }
    _cleanup_free_ char *text =
        str_printf("Usage of EmptyDir volume \"%s\" exceeds the limit \"%s\". ", v->spec->name,
                   v->spec->empty_dir->size_limit);
    l->over(l->arg, text);
}

static void measure_next(struct volume_limits *l)
{
    struct volume_set *s = l->set;
    struct process_spec spec = PROCESS_SPEC_INIT;
    while (l->next < s->count && (!limit_of(&s->volumes[l->next]) || !s->volumes[l->next].ready))
        l->next++;
    if (l->next < s->count) {
        const char *const argv[] = {s->k->tree_program, "usage", s->volumes[l->next].path, NULL};
        spec.argv = argv;
        if (process_run(s->k->loop, &spec, NULL, 0, 4096, DEADLINE_MS, on_usage, l, &l->run,
                        NULL) == 0)
            return;
    }
    loop_timer_set(&l->timer, l->period_ms);
}

static void on_timer(void *arg)
{
    struct volume_limits *l = arg;
    l->next = 0;
    measure_next(l);
}

struct volume_limits *volume_limits_new(struct volume_set *s, uint64_t period_ms,
                                        void (*over)(void *arg, const char *text), void *arg)
{
    bool any = false;
    for (size_t i = 0; i < s->count; i++)
        any |= limit_of(&s->volumes[i]) > 0;
    if (!any)
        return NULL;
    struct volume_limits *l = mem_zalloc(sizeof(*l));
    l->set = s;
    l->period_ms = period_ms;
    l->over = over;
    l->arg = arg;
    loop_timer_init(&l->timer, s->k->loop, "sizeLimit of volumes", on_timer, l);
    loop_timer_set(&l->timer, l->period_ms);
    return l;
}

struct volume_limits *volume_limits_free(struct volume_limits *l)
{
    if (l) {
        process_run_cancel(l->run);
        loop_timer_done(&l->timer);
    }
    free(l);
    return NULL;
}
