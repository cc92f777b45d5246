/* LinuxContainerResources in terms of cgroups; see resources.h. */
#include "cri/resources.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"

#define UNIFIED_MAX 32

static int check(const Runtime__V1__LinuxContainerResources *r, struct error *err)
{
    if (r->cpu_period < 0 || (r->cpu_period && (r->cpu_period < 1000 || r->cpu_period > 1000000)))
        return error_set_field(err, -EINVAL, "resources.cpu_period",
                               "resources.cpu_period: must be 1000 to 1000000 microseconds");
    if (r->cpu_shares < 0)
        return error_set_field(err, -EINVAL, "resources.cpu_shares",
                               "resources.cpu_shares: must not be negative");
    if (r->oom_score_adj < -1000 || r->oom_score_adj > 1000)
        return error_set_field(err, -EINVAL, "resources.oom_score_adj",
                               "resources.oom_score_adj: must be -1000 to 1000");
    return 0;
}

static int take_hugetlb(struct arena *a, const Runtime__V1__LinuxContainerResources *r,
                        struct cgroup_limits *ret, struct error *err)
{
    struct cgroup_hugetlb *list = arena_array(a, r->n_hugepage_limits, sizeof(*list));
    for (size_t i = 0; i < r->n_hugepage_limits; i++) {
        const Runtime__V1__HugepageLimit *h = r->hugepage_limits[i];
        if (!h->page_size[0])
            return error_set_field(err, -EINVAL, "resources.hugepage_limits",
                                   "resources.hugepage_limits[%zu].page_size: missing", i);
        list[i] = (struct cgroup_hugetlb){h->page_size, h->limit};
    }
    ret->hugetlb = list;
    ret->n_hugetlb = r->n_hugepage_limits;
    return 0;
}

static int take_unified(struct arena *a, const Runtime__V1__LinuxContainerResources *r,
                        struct cgroup_limits *ret, struct error *err)
{
    const char **list = arena_array(a, r->n_unified + 1, sizeof(*list));
    if (r->n_unified > UNIFIED_MAX)
        return error_set_field(err, -EINVAL, "resources.unified",
                               "resources.unified: more than %d settings", UNIFIED_MAX);
    for (size_t i = 0; i < r->n_unified; i++) {
        if (strchr(r->unified[i]->key, '='))
            return error_set_field(err, -EINVAL, "resources.unified",
                                   "resources.unified[%s]: not a file of a cgroup",
                                   r->unified[i]->key);
        list[i] = arena_printf(a, "%s=%s", r->unified[i]->key, r->unified[i]->value);
    }
    ret->unified = list;
    return 0;
}

static const char *set(const char *text)
{
    return text && *text ? text : NULL;
}

int resources_to_limits(struct arena *a, const Runtime__V1__LinuxContainerResources *r,
                        struct cgroup_limits *ret, struct error *err)
{
    *ret = (struct cgroup_limits)CGROUP_LIMITS_INIT;
    if (!r)
        return 0;
    int code = check(r, err);
    if (code < 0)
        return code;
    if (r->cpu_shares)
        ret->cpu_shares = r->cpu_shares;
    if (r->cpu_period)
        ret->cpu_period = r->cpu_period;
    if (r->cpu_quota)
        ret->cpu_quota = r->cpu_quota < 0 ? CGROUP_UNLIMITED : r->cpu_quota;
    if (r->memory_limit_in_bytes)
        ret->memory_limit =
            r->memory_limit_in_bytes < 0 ? CGROUP_UNLIMITED : r->memory_limit_in_bytes;
    if (r->memory_swap_limit_in_bytes)
        ret->memory_swap =
            r->memory_swap_limit_in_bytes < 0 ? CGROUP_UNLIMITED : r->memory_swap_limit_in_bytes;
    ret->cpus = set(r->cpuset_cpus);
    ret->mems = set(r->cpuset_mems);
    code = r->n_hugepage_limits ? take_hugetlb(a, r, ret, err) : 0;
    return code == 0 && r->n_unified ? take_unified(a, r, ret, err) : code;
}

/* What every container may use: making nodes (their use is what counts), the harmless memory
 * devices, terminals. */
static const struct cgroup_device standard[] = {
    {'a', -1, -1, true, true, true, false},  {'c', -1, -1, false, false, true, true},
    {'b', -1, -1, false, false, true, true}, {'c', 1, 3, true, true, true, true},
    {'c', 1, 5, true, true, true, true},     {'c', 1, 7, true, true, true, true},
    {'c', 1, 8, true, true, true, true},     {'c', 1, 9, true, true, true, true},
    {'c', 5, 0, true, true, true, true},     {'c', 5, 1, true, true, true, true},
    {'c', 5, 2, true, true, true, true},     {'c', 136, -1, true, true, true, true},
};

struct cgroup_device *resources_devices(struct arena *a, const struct launch_spec *spec,
                                        size_t *ret_n)
{
    static const struct cgroup_device all = {'a', -1, -1, true, true, true, true};
    size_t n = ARRAY_SIZE(standard);
    struct cgroup_device *rules = arena_array(a, n + spec->n_devices, sizeof(*rules));
    if (spec->privileged) {
        rules[0] = all;
        *ret_n = 1;
        return rules;
    }
    memcpy(rules, standard, sizeof(standard));
    for (size_t i = 0; i < spec->n_devices; i++) {
        const struct launch_device *d = &spec->devices[i];
        const char *access = d->access && *d->access ? d->access : "rwm";
        rules[n++] = (struct cgroup_device){.type = d->type,
                                            .major = d->major,
                                            .minor = d->minor,
                                            .read = strchr(access, 'r'),
                                            .write = strchr(access, 'w'),
                                            .mknod = strchr(access, 'm'),
                                            .allow = true};
    }
    *ret_n = n;
    return rules;
}
