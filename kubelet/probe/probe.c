/*
 * The probes of one container. Each has a timer and at most one try under way; the next is due one
 * period after the last one began. Until startup has succeeded the others rest.
 */
#include "kubelet/probe/probe.h"

#include <inttypes.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/times.h"

#define EARLY_FIRST_MS 10

struct prober {
    struct probe_set *set;
    const struct probe_spec *spec;
    struct probe_counter counter;
    struct probe_try *try;
    struct loop_timer timer;
    uint64_t began, first;
    uint32_t early_ms;
    bool stopped;
};

struct probe_set {
    struct kubelet *k;
    struct pod *pod;
    struct probe_target target;
    char *container_id, *pod_ip;
    struct prober probers[PROBE_KINDS];
    bool started;
    void (*changed)(void *arg, enum probe_kind kind, bool ok);
    void *arg;
};

static const char *const names[] = {"Startup", "Liveness", "Readiness"};

const char *probe_name(enum probe_kind kind)
{
    return names[kind];
}

static enum probe_kind kind_of(const struct prober *p)
{
    return (enum probe_kind)(p - p->set->probers);
}

/* The others begin when startup is through. */
static void begin_others(struct probe_set *s);

static void report(struct prober *p, bool ok)
{
    struct probe_set *s = p->set;
    enum probe_kind kind = kind_of(p);
    if (kind == PROBE_STARTUP && ok) {
        s->started = true;
        p->stopped = true;
        begin_others(s);
    }
    if (kind != PROBE_READINESS && !ok)
        p->stopped = true;
    s->changed(s->arg, kind, ok);
}

/* In the first period after the start a cheap probe that fails is asked again soon: a server that
 * needs 30 ms to come up should not be found 10 s later. These tries count for nothing. */
static bool too_early(struct prober *p, uint64_t now)
{
    if (p->counter.ok || p->spec->exec || p->spec->success > 1 || kind_of(p) == PROBE_LIVENESS)
        return false;
    p->early_ms = p->early_ms ? p->early_ms * 2 : EARLY_FIRST_MS;
    return now + p->early_ms < p->first + (uint64_t)p->spec->period * 1000;
}

static void on_try(void *arg, bool ok, const char *text)
{
    struct prober *p = arg;
    struct probe_set *s = p->set;
    enum probe_kind kind = kind_of(p);
    uint64_t now = now_ms();
    p->try = NULL;
    if (!ok && too_early(p, now)) {
        loop_timer_set(&p->timer, p->early_ms);
        return;
    }
    if (s->target.totals)
        (ok ? s->target.totals->ok : s->target.totals->failed)[kind]++;
    if (!ok)
        kubelet_event(s->k, s->pod, s->target.container->name, "Warning", "Unhealthy",
                      "%s probe failed: %s", names[kind], text ? text : "");
    else if (text && !p->spec->exec)
        kubelet_event(s->k, s->pod, s->target.container->name, "Warning", "ProbeWarning",
                      "%s probe warning: %s", names[kind], text);
    bool turned = probe_count(&p->counter, p->spec, ok);
    /* Startup begins on the bad side: it fails by the count alone. */
    if (kind == PROBE_STARTUP && !ok && p->counter.failures >= p->spec->failure)
        turned = true;
    uint64_t due = p->began + (uint64_t)p->spec->period * 1000;
    bool over = turned && ((kind == PROBE_STARTUP && ok) || (kind != PROBE_READINESS && !ok));
    if (!over)
        loop_timer_set(&p->timer, due > now ? due - now : 0);
    if (turned)
        report(p, ok); /* may free the set */
}

static void on_due(void *arg)
{
    struct prober *p = arg;
    if (p->stopped || p->try)
        return;
    p->began = now_ms();
    if (!p->first)
        p->first = p->began;
    p->try = probe_try_start(p->set->k, &p->set->target, p->spec, on_try, p);
}

/* The initial delay counts from the container's start, which may be long ago. */
static void begin(struct prober *p)
{
    if (!p->spec)
        return;
    int64_t since = (time_now_nano() - p->set->target.started) / 1000000;
    int64_t delay = p->spec->initial_delay * 1000 - (since > 0 ? since : 0);
    loop_timer_set(&p->timer, delay > 0 ? (uint64_t)delay : 0);
}

static void begin_others(struct probe_set *s)
{
    begin(&s->probers[PROBE_LIVENESS]);
    begin(&s->probers[PROBE_READINESS]);
}

struct probe_set *probe_set_new(struct kubelet *k, const struct probe_target *target,
                                void (*changed)(void *arg, enum probe_kind kind, bool ok),
                                void *arg)
{
    struct probe_set *s = mem_zalloc(sizeof(*s));
    const struct container_spec *c = target->container;
    const struct probe_spec *specs[] = {c->startup, c->liveness, c->readiness};
    s->k = k;
    s->pod = pod_ref((struct pod *)(uintptr_t)target->pod);
    s->target = *target;
    s->target.container_id = s->container_id = str_dup(target->container_id);
    s->target.pod_ip = s->pod_ip = str_dup(target->pod_ip ? target->pod_ip : "");
    s->changed = changed;
    s->arg = arg;
    s->started = !c->startup || target->was_started;
    for (size_t i = 0; i < PROBE_KINDS; i++) {
        struct prober *p = &s->probers[i];
        p->set = s;
        p->spec = specs[i];
        loop_timer_init(&p->timer, k->loop, names[i], on_due, p);
    }
    /* Liveness and startup count down from good, readiness up from bad. */
    s->probers[PROBE_LIVENESS].counter.ok = true;
    s->probers[PROBE_READINESS].counter.ok = target->was_ready;
    if (s->started)
        begin_others(s);
    else
        begin(&s->probers[PROBE_STARTUP]);
    return s;
}

struct probe_set *probe_set_free(struct probe_set *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < PROBE_KINDS; i++) {
        probe_try_cancel(s->probers[i].try);
        loop_timer_done(&s->probers[i].timer);
    }
    pod_unref(s->pod);
    free(s->container_id);
    free(s->pod_ip);
    free(s);
    return NULL;
}

bool probe_set_started(const struct probe_set *s)
{
    return s->started;
}

bool probe_set_ready(const struct probe_set *s)
{
    return s->started &&
           (!s->probers[PROBE_READINESS].spec || s->probers[PROBE_READINESS].counter.ok);
}
