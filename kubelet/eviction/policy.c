/* Thresholds of the configuration; see eviction.h. */
#include <errno.h>

#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/eviction/eviction.h"

#define TRANSITION_MS 300000 /* upstream's default */

static bool is_set(const struct threshold *t)
{
    return t->value > 0 || t->percent > 0;
}

static void add(struct eviction_policy *p, enum eviction_signal signal, const struct threshold *at,
                uint64_t grace_ms)
{
    if (is_set(at))
        p->list[p->count++] =
            (struct eviction_threshold){.signal = signal, .at = *at, .grace_ms = grace_ms};
}

/* Each soft threshold has a time. */
static int add_soft(const struct kubelet_config *c, struct eviction_policy *p, struct error *err)
{
    static const char field[] = "evictionSoftGracePeriod";
    struct threshold_set soft;
    uint64_t grace[EVICTION_SIGNALS] = {0};
    bool given[EVICTION_SIGNALS] = {false};
    for (size_t i = 0; i < c->eviction_soft_grace.count; i++) {
        const char *name = c->eviction_soft_grace.items[i].key;
        const char *text = c->eviction_soft_grace.items[i].value;
        enum eviction_signal s = SIGNAL_MEMORY;
        int64_t ms;
        int r = signal_parse(name, field, &s, err);
        if (r < 0)
            return r;
        if (duration_parse(text, &ms) < 0 || ms < 0)
            return error_set(err, -EINVAL, "%s[%s]: \"%.60s\" is not a duration", field, name,
                             text);
        grace[s] = (uint64_t)ms;
        given[s] = true;
    }
    if (!c->eviction_soft.count)
        return 0;
    int r = thresholds_parse(&c->eviction_soft, "evictionSoft", &soft, err);
    for (int s = 0; r == 0 && s < EVICTION_SIGNALS; s++) {
        if (is_set(&soft.of[s]) && !given[s])
            return error_set(err, -EINVAL, "%s[%s]: is missing, evictionSoft has this signal",
                             field, signal_name(s));
        add(p, s, &soft.of[s], grace[s]);
    }
    return r;
}

static int read_reclaim(const struct kubelet_config *c, struct eviction_policy *p,
                        struct error *err)
{
    static const char field[] = "evictionMinimumReclaim";
    for (size_t i = 0; i < c->eviction_reclaim.count; i++) {
        const char *name = c->eviction_reclaim.items[i].key;
        enum eviction_signal s = SIGNAL_MEMORY;
        struct threshold t;
        int r = signal_parse(name, field, &s, err);
        if (r == 0)
            r = threshold_parse(c->eviction_reclaim.items[i].value, field, name, &t, err);
        if (r < 0)
            return r;
        for (size_t n = 0; n < p->count; n++)
            if (p->list[n].signal == s)
                p->list[n].reclaim = t;
    }
    return 0;
}

/* Pods are held to a part of the machine: they must not fill that up either. */
static void add_allocatable(struct eviction_policy *p)
{
    size_t n = p->count;
    for (size_t i = 0; i < n && p->count < EVICTION_THRESHOLDS_MAX; i++) {
        if (p->list[i].signal != SIGNAL_MEMORY || p->list[i].grace_ms)
            continue;
        p->list[p->count] = p->list[i];
        p->list[p->count++].signal = SIGNAL_ALLOCATABLE_MEMORY;
        return;
    }
}

int eviction_policy_read(const struct kubelet_config *c, struct eviction_policy *ret,
                         struct error *err)
{
    struct eviction_policy p = {.transition_ms = TRANSITION_MS};
    struct threshold_set hard;
    int64_t ms = 0;
    const char *period = c->pressure_transition;
    int r = thresholds_parse(&c->eviction_hard, "evictionHard", &hard, err);
    for (int s = 0; r == 0 && s < EVICTION_SIGNALS; s++)
        add(&p, s, &hard.of[s], 0);
    if (r == 0)
        r = add_soft(c, &p, err);
    if (r == 0)
        r = read_reclaim(c, &p, err);
    if (r < 0)
        return r;
    if (period && *period && (duration_parse(period, &ms) < 0 || ms < 0))
        return error_set(err, -EINVAL,
                         "evictionPressureTransitionPeriod: \"%.60s\" is not a duration", period);
    if (ms > 0) /* 0 is the default, as upstream has it */
        p.transition_ms = (uint64_t)ms;
    if (c->eviction_max_grace.set && c->eviction_max_grace.value > 0)
        p.max_grace = c->eviction_max_grace.value;
    if (kubelet_config_enforces_pods(c))
        add_allocatable(&p);
    *ret = p;
    return 0;
}
