/* Who ends when; see shutdown.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/strbuf.h"
#include "kubelet/shutdown/shutdown.h"

#define CRITICAL_PRIORITY 2000000000 /* of upstream's system-cluster-critical */

static int by_priority(const void *x, const void *y)
{
    const struct shutdown_group *a = x, *b = y;
    return a->priority < b->priority ? -1 : a->priority > b->priority;
}

static int check_entry(const json_t *raw, size_t i, struct error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)raw, key, value) {
        if (!str_eq(key, "priority") && !str_eq(key, "shutdownGracePeriodSeconds"))
            return error_set(err, -EINVAL,
                             "shutdownGracePeriodByPodPriority[%zu].%.100s: there is no such field",
                             i, key);
    }
    return 0;
}

static int read_groups(const struct kubelet_config *c, struct shutdown_plan *ret, struct error *err)
{
    const json_t *raw = json_object_get(c->json, "shutdownGracePeriodByPodPriority");
    if (c->shutdown.count > SHUTDOWN_GROUPS_MAX)
        return error_set(err, -E2BIG, "shutdownGracePeriodByPodPriority: more than %d items",
                         SHUTDOWN_GROUPS_MAX);
    for (size_t i = 0; i < c->shutdown.count; i++) {
        const struct kubelet_shutdown_period *p = &c->shutdown.items[i];
        int r = check_entry(json_array_get(raw, i), i, err);
        if (r < 0)
            return r;
        if (p->seconds < 0 || p->seconds > INT32_MAX)
            return error_set(err, -EINVAL,
                             "shutdownGracePeriodByPodPriority[%zu].shutdownGracePeriodSeconds: "
                             "%" PRId64 " is not between 0 and %d",
                             i, p->seconds, INT32_MAX);
        if (p->priority < INT32_MIN || p->priority > INT32_MAX)
            return error_set(err, -EINVAL,
                             "shutdownGracePeriodByPodPriority[%zu].priority: %" PRId64
                             " is no priority",
                             i, p->priority);
        ret->groups[ret->count++] =
            (struct shutdown_group){.priority = p->priority, .seconds = p->seconds};
    }
    qsort(ret->groups, ret->count, sizeof(ret->groups[0]), by_priority);
    for (size_t i = 1; i < ret->count; i++)
        if (ret->groups[i].priority == ret->groups[i - 1].priority)
            return error_set(err, -EINVAL,
                             "shutdownGracePeriodByPodPriority: has the priority %" PRId64 " twice",
                             ret->groups[i].priority);
    return 0;
}

int shutdown_plan_read(const struct kubelet_config *c, struct shutdown_plan *ret, struct error *err)
{
    int64_t all = c->shutdown_ms / 1000, critical = c->shutdown_critical_ms / 1000;
    *ret = (struct shutdown_plan){.count = 0};
    if (c->shutdown.count && (c->shutdown_ms || c->shutdown_critical_ms))
        return error_set(err, -EINVAL,
                         "shutdownGracePeriodByPodPriority: does not go with shutdownGracePeriod "
                         "and shutdownGracePeriodCriticalPods");
    if (c->shutdown.count)
        return read_groups(c, ret, err);
    if (c->shutdown_ms && c->shutdown_ms < 1000)
        return error_set(err, -EINVAL, "shutdownGracePeriod: is above 0 and below 1s");
    if (c->shutdown_critical_ms && c->shutdown_critical_ms < 1000)
        return error_set(err, -EINVAL, "shutdownGracePeriodCriticalPods: is above 0 and below 1s");
    if (c->shutdown_critical_ms > c->shutdown_ms)
        return error_set(err, -EINVAL,
                         "shutdownGracePeriodCriticalPods: is more than shutdownGracePeriod");
    if (!all)
        return 0;
    ret->groups[0] = (struct shutdown_group){.priority = 0, .seconds = all - critical};
    ret->groups[1] = (struct shutdown_group){.priority = CRITICAL_PRIORITY, .seconds = critical};
    ret->count = 2;
    return 0;
}

size_t shutdown_plan_group(const struct shutdown_plan *p, int64_t priority)
{
    size_t i = p->count;
    while (i > 1 && p->groups[i - 1].priority > priority)
        i--;
    return i - 1;
}

int64_t shutdown_plan_seconds(const struct shutdown_plan *p)
{
    int64_t sum = 0;
    for (size_t i = 0; i < p->count; i++)
        sum += p->groups[i].seconds;
    return sum;
}
