/* When a threshold is met, and what follows; see eviction.h. */
#include "kubelet/eviction/eviction.h"

static const struct {
    enum pressure pressure;
    const char *resource;
} signals[EVICTION_SIGNALS] = {
    [SIGNAL_MEMORY] = {PRESSURE_MEMORY, "memory"},
    [SIGNAL_NODEFS] = {PRESSURE_DISK, "ephemeral-storage"},
    [SIGNAL_NODEFS_INODES] = {PRESSURE_DISK, "inodes"},
    [SIGNAL_IMAGEFS] = {PRESSURE_DISK, "ephemeral-storage"},
    [SIGNAL_IMAGEFS_INODES] = {PRESSURE_DISK, "inodes"},
    [SIGNAL_PID] = {PRESSURE_PID, "pids"},
    [SIGNAL_ALLOCATABLE_MEMORY] = {PRESSURE_MEMORY, "memory"},
};

const char *eviction_resource(enum eviction_signal s)
{
    return signals[s].resource;
}

static int64_t amount(const struct eviction_threshold *t, const struct observation *o, bool reclaim)
{
    int64_t at = threshold_amount(&t->at, o->capacity);
    int64_t more = reclaim ? threshold_amount(&t->reclaim, o->capacity) : 0;
    return at > INT64_MAX - more ? INT64_MAX : at + more;
}

void eviction_decide(struct eviction_state *s, const struct eviction_policy *p,
                     const struct observation *o, uint64_t now)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct eviction_threshold *t = &p->list[i];
        const struct observation *seen = &o[t->signal];
        /* What was acted on is over only when the minimum was reclaimed. */
        bool met = seen->known && amount(t, seen, s->due[i]) > seen->available;
        if (!met)
            s->met_since[i] = 0;
        else if (!s->met_since[i])
            s->met_since[i] = now;
        s->due[i] = met && now - s->met_since[i] >= t->grace_ms;
        if (met)
            s->observed[signals[t->signal].pressure] = now;
    }
    for (size_t i = 0; i < PRESSURES; i++)
        s->on[i] = s->observed[i] && now - s->observed[i] < p->transition_ms;
}

const struct eviction_threshold *eviction_first(const struct eviction_state *s,
                                                const struct eviction_policy *p)
{
    const struct eviction_threshold *first = NULL;
    for (size_t i = 0; i < p->count; i++) {
        bool memory = signals[p->list[i].signal].pressure == PRESSURE_MEMORY;
        if (s->due[i] && memory)
            return &p->list[i];
        if (s->due[i] && !first)
            first = &p->list[i];
    }
    return first;
}

bool eviction_is_close(const struct eviction_state *s, const struct eviction_policy *p,
                       const struct observation *o)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct eviction_threshold *t = &p->list[i];
        bool memory = signals[t->signal].pressure == PRESSURE_MEMORY;
        if (s->met_since[i] ||
            (memory && o[t->signal].known &&
             threshold_amount(&t->at, o[t->signal].capacity) > o[t->signal].available / 2))
            return true;
    }
    return false;
}
