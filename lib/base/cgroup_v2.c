/* Cgroup v2: one tree. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/cgroup_internal.h"
#include "base/fs.h"

/* What a group's children may limit is decided in the group: every controller is handed down. */
static int v2_inherit(const struct cgroups *cgs, _unused_ enum cgroup_controller c,
                      const char *parent, _unused_ const char *dir, struct error *err)
{
    static const enum cgroup_controller wanted[] = {CGROUP_CPU,  CGROUP_CPUSET, CGROUP_MEMORY,
                                                    CGROUP_PIDS, CGROUP_BLKIO,  CGROUP_HUGETLB};
    _cleanup_free_ char *file = fs_join(parent, "cgroup.subtree_control");
    _cleanup_strbuf_ struct strbuf have = STRBUF_INIT;
    int r = fs_read(file, 4096, &have, err);
    if (r < 0)
        return r;
    char text[80] = "";
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        const char *name = wanted[i] == CGROUP_BLKIO ? "io" : cgroup_controller_name(wanted[i]);
        char word[16];
        (void)snprintf(word, sizeof(word), "%s", name);
        bool there = false;
        for (const char *p = strbuf_text(&have); (p = strstr(p, word)); p++)
            there |= (p == have.data || p[-1] == ' ') && strchr(" \n", p[strlen(word)]);
        size_t at = strlen(text);
        if (cgs->has[wanted[i]] && !there)
            (void)snprintf(text + at, sizeof(text) - at, "%s+%s", at ? " " : "", word);
    }
    if (!text[0])
        return 0;
    r = fs_write_text(file, text, err);
    if (r == -EBUSY)
        return error_set(err, r,
                         "%s has processes of its own: cgroup v2 wants them in a group below it "
                         "before others are made",
                         parent);
    return r;
}

static int put_text(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                    const char *file, const char *text, struct strbuf *notes, struct error *err)
{
    if (!cgs->has[c]) {
        const char *reason;
        (void)cgroups_has(cgs, c, &reason);
        cgroup_note(notes, "%s: %s", file, reason);
        return 0;
    }
    int r = cgroup_file_write(cgs, c, path, file, text, err);
    if (r == -ENOENT) {
        cgroup_note(notes, "%s: not in this kernel", file);
        return 0;
    }
    return r;
}

static int put(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
               const char *file, int64_t value, struct strbuf *notes, struct error *err)
{
    char text[24] = "max";
    if (value == CGROUP_UNSET)
        return 0;
    if (value != CGROUP_UNLIMITED)
        (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    return put_text(cgs, c, path, file, text, notes, err);
}

static int set_cpu(const struct cgroups *cgs, const char *path, const struct cgroup_limits *l,
                   struct strbuf *notes, struct error *err)
{
    int r = 0;
    if (l->cpu_shares != CGROUP_UNSET)
        r = put(cgs, CGROUP_CPU, path, "cpu.weight",
                (int64_t)cgroup_shares_to_weight((uint64_t)l->cpu_shares), notes, err);
    if (r < 0 || (l->cpu_quota == CGROUP_UNSET && l->cpu_period == CGROUP_UNSET))
        return r;
    char quota[24] = "max", text[56];
    if (l->cpu_quota > 0)
        (void)snprintf(quota, sizeof(quota), "%lld", (long long)l->cpu_quota);
    if (l->cpu_period > 0)
        (void)snprintf(text, sizeof(text), "%s %lld", quota, (long long)l->cpu_period);
    else
        (void)snprintf(text, sizeof(text), "%s", quota);
    return put_text(cgs, CGROUP_CPU, path, "cpu.max", text, notes, err);
}

static int set_memory(const struct cgroups *cgs, const char *path, const struct cgroup_limits *l,
                      struct strbuf *notes, struct error *err)
{
    int64_t swap = l->memory_swap;
    if (swap > 0) {
        if (l->memory_limit <= 0 || swap < l->memory_limit)
            return error_set(err, -EINVAL, "memory and swap limit below the memory limit");
        swap -= l->memory_limit; /* v2 counts swap alone */
    }
    int r = put(cgs, CGROUP_MEMORY, path, "memory.max", l->memory_limit, notes, err);
    if (r == 0)
        r = put(cgs, CGROUP_MEMORY, path, "memory.swap.max", swap, notes, err);
    if (r == 0)
        r = put(cgs, CGROUP_MEMORY, path, "memory.low", l->memory_low, notes, err);
    if (r == 0)
        r = put(cgs, CGROUP_MEMORY, path, "memory.min", l->memory_min, notes, err);
    if (r == 0)
        r = put(cgs, CGROUP_MEMORY, path, "memory.high", l->memory_high, notes, err);
    if (r == 0 && l->oom_group)
        r = put(cgs, CGROUP_MEMORY, path, "memory.oom.group", 1, notes, err);
    return r;
}

static int set_unified(const struct cgroups *cgs, const char *path, const char *setting,
                       struct error *err)
{
    const char *equals = strchr(setting, '=');
    size_t len = equals ? (size_t)(equals - setting) : 0;
    if (!len || memchr(setting, '/', len))
        return error_set_field(err, -EINVAL, "unified", "\"%.200s\"", setting);
    _cleanup_free_ char *file = str_ndup(setting, len);
    return cgroup_file_write(cgs, CGROUP_CPU, path, file, equals + 1, err);
}

static int v2_set(const struct cgroups *cgs, const char *path, const struct cgroup_limits *l,
                  struct strbuf *notes, struct error *err)
{
    int r = set_cpu(cgs, path, l, notes, err);
    if (r == 0)
        r = set_memory(cgs, path, l, notes, err);
    if (r == 0)
        r = put(cgs, CGROUP_PIDS, path, "pids.max", l->pids_limit, notes, err);
    if (r == 0 && l->cpus && *l->cpus)
        r = put_text(cgs, CGROUP_CPUSET, path, "cpuset.cpus", l->cpus, notes, err);
    if (r == 0 && l->mems && *l->mems)
        r = put_text(cgs, CGROUP_CPUSET, path, "cpuset.mems", l->mems, notes, err);
    for (size_t i = 0; r == 0 && l->unified && l->unified[i]; i++)
        r = set_unified(cgs, path, l->unified[i], err);
    return r;
}

static int v2_set_devices(const struct cgroups *cgs, const char *path,
                          const struct cgroup_device *rules, size_t n, struct error *err)
{
    _cleanup_free_ char *dir = cgroup_dir(cgs, CGROUP_DEVICES, path);
    return cgroup_bpf_devices(dir, rules, n, err);
}

static int v2_freeze(const struct cgroups *cgs, const char *path, bool frozen, struct error *err)
{
    return cgroup_file_write(cgs, CGROUP_FREEZER, path, "cgroup.freeze", frozen ? "1" : "0", err);
}

static int v2_kill(const struct cgroups *cgs, const char *path, struct error *err)
{
    _cleanup_free_ char *dir = cgroup_dir(cgs, CGROUP_CPU, path);
    if (!fs_exists(dir))
        return 0;
    struct error text = ERROR_INIT;
    int r = cgroup_file_write(cgs, CGROUP_CPU, path, "cgroup.kill", "1", &text);
    if (r == 0 || !fs_exists(dir))
        return 0;
    if (r != -ENOENT)
        return error_set(err, r, "%s", error_text(&text));
    /* Kernels before 5.14: freeze, signal, thaw. */
    pid_t *pids = NULL;
    size_t n = 0;
    (void)v2_freeze(cgs, path, true, NULL);
    r = cgroup_pids(cgs, path, true, &pids, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        (void)kill(pids[i], SIGKILL);
    free(pids);
    (void)v2_freeze(cgs, path, false, NULL);
    return r;
}

static bool read_number(const struct cgroups *cgs, const char *path, const char *file,
                        uint64_t *ret)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (cgroup_file_read(cgs, CGROUP_CPU, path, file, &text, NULL) < 0)
        return false;
    *ret =
        str_starts(strbuf_text(&text), "max") ? UINT64_MAX : strtoull(strbuf_text(&text), NULL, 10);
    return true;
}

static int v2_stats(const struct cgroups *cgs, const char *path, struct cgroup_stats *s,
                    _unused_ struct error *err)
{
    _cleanup_strbuf_ struct strbuf cpu = STRBUF_INIT, memory = STRBUF_INIT;
    uint64_t us = 0, inactive = 0;
    s->has_cpu = cgroup_file_read(cgs, CGROUP_CPU, path, "cpu.stat", &cpu, NULL) == 0 &&
                 cgroup_key(strbuf_text(&cpu), "usage_usec", &us);
    s->cpu_usage_ns = us * 1000;
    s->has_pids = read_number(cgs, path, "pids.current", &s->pids);
    s->has_memory = read_number(cgs, path, "memory.current", &s->memory_usage) &&
                    cgroup_file_read(cgs, CGROUP_MEMORY, path, "memory.stat", &memory, NULL) == 0;
    if (!s->has_memory)
        return 0;
    const char *text = strbuf_text(&memory);
    (void)cgroup_key(text, "inactive_file", &inactive);
    (void)cgroup_key(text, "anon", &s->memory_rss);
    (void)cgroup_key(text, "pgfault", &s->page_faults);
    (void)cgroup_key(text, "pgmajfault", &s->major_page_faults);
    s->memory_working_set = s->memory_usage > inactive ? s->memory_usage - inactive : 0;
    (void)read_number(cgs, path, "memory.max", &s->memory_limit);
    (void)read_number(cgs, path, "memory.swap.current", &s->swap_usage);
    return 0;
}

static uint64_t v2_oom_kills(const struct cgroups *cgs, const char *path)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    uint64_t n = 0;
    if (cgroup_file_read(cgs, CGROUP_MEMORY, path, "memory.events", &text, NULL) == 0)
        (void)cgroup_key(strbuf_text(&text), "oom_kill", &n);
    return n;
}

const struct cgroup_ops cgroup_v2_ops = {
    .inherit = v2_inherit,
    .set = v2_set,
    .set_devices = v2_set_devices,
    .kill = v2_kill,
    .freeze = v2_freeze,
    .stats = v2_stats,
    .oom_kills = v2_oom_kills,
};
