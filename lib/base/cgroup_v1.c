/* Cgroup v1: a hierarchy per controller. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/cgroup_internal.h"
#include "base/fs.h"

#define KILL_ROUNDS 8

/* A new cpuset is empty and takes no task; it is filled from its parent unless the kernel did
 * (cgroup.clone_children, which what we make hands on). */
static int fill_cpuset(const char *parent, const char *dir, struct error *err)
{
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_strbuf_ struct strbuf have = STRBUF_INIT, above = STRBUF_INIT;
        _cleanup_free_ char *to = fs_join(dir, files[i]), *from = fs_join(parent, files[i]);
        int r = fs_read(to, 65536, &have, err);
        if (r < 0 || strspn(strbuf_text(&have), "\n") != have.len)
            return r;
        r = fs_read(from, 65536, &above, err);
        if (r == 0)
            r = fs_write_text(to, strbuf_text(&above), err);
        if (r < 0)
            return r;
    }
    _cleanup_free_ char *clone = fs_join(dir, "cgroup.clone_children");
    return fs_write_text(clone, "1", err);
}

static int v1_inherit(_unused_ const struct cgroups *cgs, enum cgroup_controller c,
                      const char *parent, const char *dir, struct error *err)
{
    return c == CGROUP_CPUSET ? fill_cpuset(parent, dir, err) : 0;
}

/* Writes a number where the controller is there; a note where not. */
static int put(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
               const char *file, int64_t value, struct strbuf *notes, struct error *err)
{
    char text[24];
    if (value == CGROUP_UNSET)
        return 0;
    if (!cgs->has[c]) {
        const char *reason;
        (void)cgroups_has(cgs, c, &reason);
        cgroup_note(notes, "%s: %s", file, reason);
        return 0;
    }
    if (value == CGROUP_UNLIMITED && c == CGROUP_PIDS)
        (void)snprintf(text, sizeof(text), "max");
    else
        (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    int r = cgroup_file_write(cgs, c, path, file, text, err);
    if (r == -ENOENT || r == -EOPNOTSUPP) {
        cgroup_note(notes, "%s: not in this kernel", file);
        return 0;
    }
    return r;
}

/* The kernel keeps memory ≤ memory and swap at every moment: which goes first depends on the
 * direction. */
static int set_memory(const struct cgroups *cgs, const char *path, const struct cgroup_limits *l,
                      struct strbuf *notes, struct error *err)
{
    static const char limit[] = "memory.limit_in_bytes", swap[] = "memory.memsw.limit_in_bytes";
    bool grown = false;
    int r = put(cgs, CGROUP_MEMORY, path, limit, l->memory_limit, notes, NULL);
    if (r == -EINVAL && l->memory_swap != CGROUP_UNSET) {
        r = put(cgs, CGROUP_MEMORY, path, swap, l->memory_swap, notes, err);
        grown = true;
    }
    if (r < 0)
        r = put(cgs, CGROUP_MEMORY, path, limit, l->memory_limit, notes, err);
    else if (grown)
        r = put(cgs, CGROUP_MEMORY, path, limit, l->memory_limit, notes, err);
    if (r == 0 && !grown)
        r = put(cgs, CGROUP_MEMORY, path, swap, l->memory_swap, notes, err);
    return r;
}

static int put_text(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                    const char *file, const char *text, struct strbuf *notes, struct error *err)
{
    if (!text || !*text)
        return 0;
    if (!cgs->has[c]) {
        cgroup_note(notes, "%s: no such controller on this host", file);
        return 0;
    }
    return cgroup_file_write(cgs, c, path, file, text, err);
}

static int v1_set(const struct cgroups *cgs, const char *path, const struct cgroup_limits *l,
                  struct strbuf *notes, struct error *err)
{
    int r = put(cgs, CGROUP_CPU, path, "cpu.shares", l->cpu_shares, notes, err);
    /* A shorter period with the old quota may be refused, and the other way round. */
    if (r == 0 && put(cgs, CGROUP_CPU, path, "cpu.cfs_period_us", l->cpu_period, notes, NULL) < 0) {
        r = put(cgs, CGROUP_CPU, path, "cpu.cfs_quota_us", l->cpu_quota, notes, err);
        if (r == 0)
            r = put(cgs, CGROUP_CPU, path, "cpu.cfs_period_us", l->cpu_period, notes, err);
    }
    if (r == 0)
        r = put(cgs, CGROUP_CPU, path, "cpu.cfs_quota_us", l->cpu_quota, notes, err);
    if (r == 0)
        r = set_memory(cgs, path, l, notes, err);
    if (r == 0)
        r = put(cgs, CGROUP_PIDS, path, "pids.max", l->pids_limit, notes, err);
    if (r == 0)
        r = put_text(cgs, CGROUP_CPUSET, path, "cpuset.cpus", l->cpus, notes, err);
    if (r == 0)
        r = put_text(cgs, CGROUP_CPUSET, path, "cpuset.mems", l->mems, notes, err);
    if (l->memory_low != CGROUP_UNSET || l->memory_min != CGROUP_UNSET ||
        l->memory_high != CGROUP_UNSET || l->oom_group || (l->unified && l->unified[0]))
        cgroup_note(notes,
                    "memory.low, .min, .high, .oom.group and unified settings need cgroup v2");
    return r;
}

static void device_text(const struct cgroup_device *d, char *text, size_t size)
{
    char major[16] = "*", minor[16] = "*";
    if (d->major >= 0)
        (void)snprintf(major, sizeof(major), "%lld", (long long)d->major);
    if (d->minor >= 0)
        (void)snprintf(minor, sizeof(minor), "%lld", (long long)d->minor);
    (void)snprintf(text, size, "%c %s:%s %s%s%s", d->type, major, minor, d->read ? "r" : "",
                   d->write ? "w" : "", d->mknod ? "m" : "");
}

static int v1_set_devices(const struct cgroups *cgs, const char *path,
                          const struct cgroup_device *rules, size_t n, struct error *err)
{
    if (!cgs->has[CGROUP_DEVICES])
        return 0;
    for (size_t i = 0; i < n; i++) {
        char text[64] = "a";
        if (i > 0)
            device_text(&rules[i], text, sizeof(text));
        int r = cgroup_file_write(cgs, CGROUP_DEVICES, path,
                                  rules[i].allow ? "devices.allow" : "devices.deny", text, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int v1_freeze(const struct cgroups *cgs, const char *path, bool frozen, struct error *err)
{
    if (!cgs->has[CGROUP_FREEZER])
        return error_set(err, -EOPNOTSUPP, "no freezer on this host");
    return cgroup_file_write(cgs, CGROUP_FREEZER, path, "freezer.state",
                             frozen ? "FROZEN" : "THAWED", err);
}

static bool has_pid(const pid_t *pids, size_t n, pid_t pid)
{
    for (size_t i = 0; i < n; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

/* Kills what is in the group; 1 when somebody was in it who was not among the @n of @before. */
static int kill_round(const struct cgroups *cgs, const char *path, pid_t **before, size_t *n,
                      struct error *err)
{
    _cleanup_free_ pid_t *pids = NULL;
    size_t found = 0;
    int r = cgroup_pids(cgs, path, true, &pids, &found, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < found; i++) {
        (void)kill(pids[i], SIGKILL);
        r = has_pid(*before, *n, pids[i]) ? r : 1;
    }
    free(*before);
    *before = TAKE_PTR(pids);
    *n = found;
    return r;
}

/* Whoever was sent SIGKILL forks no more: when a round finds nobody new, all are dying. Those who
 * fork faster than that are frozen first (which takes milliseconds even for an empty group); they
 * die when thawed. */
static int v1_kill(const struct cgroups *cgs, const char *path, struct error *err)
{
    _cleanup_free_ pid_t *before = NULL;
    size_t n = 0;
    int r = 1;
    for (int round = 0; r > 0 && round < KILL_ROUNDS; round++)
        r = kill_round(cgs, path, &before, &n, err);
    if (r <= 0)
        return r;
    bool frozen = cgs->has[CGROUP_FREEZER] && v1_freeze(cgs, path, true, NULL) == 0;
    r = 1;
    for (int round = 0; r > 0 && round < KILL_ROUNDS; round++)
        r = kill_round(cgs, path, &before, &n, err);
    if (frozen)
        (void)v1_freeze(cgs, path, false, NULL);
    return r < 0 ? r : 0;
}

static bool read_number(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                        const char *file, uint64_t *ret)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (!cgs->has[c] || cgroup_file_read(cgs, c, path, file, &text, NULL) < 0)
        return false;
    *ret = strtoull(strbuf_text(&text), NULL, 10);
    return true;
}

static int v1_stats(const struct cgroups *cgs, const char *path, struct cgroup_stats *s,
                    _unused_ struct error *err)
{
    _cleanup_strbuf_ struct strbuf stat = STRBUF_INIT;
    s->has_cpu = read_number(cgs, CGROUP_CPUACCT, path, "cpuacct.usage", &s->cpu_usage_ns);
    s->has_pids = read_number(cgs, CGROUP_PIDS, path, "pids.current", &s->pids);
    s->has_memory =
        read_number(cgs, CGROUP_MEMORY, path, "memory.usage_in_bytes", &s->memory_usage) &&
        cgroup_file_read(cgs, CGROUP_MEMORY, path, "memory.stat", &stat, NULL) == 0;
    if (!s->has_memory)
        return 0;
    const char *text = strbuf_text(&stat);
    uint64_t inactive = 0, swap;
    (void)cgroup_key(text, "total_inactive_file", &inactive);
    (void)cgroup_key(text, "total_rss", &s->memory_rss);
    (void)cgroup_key(text, "total_pgfault", &s->page_faults);
    (void)cgroup_key(text, "total_pgmajfault", &s->major_page_faults);
    s->memory_working_set = s->memory_usage > inactive ? s->memory_usage - inactive : 0;
    if (read_number(cgs, CGROUP_MEMORY, path, "memory.limit_in_bytes", &s->memory_limit) &&
        s->memory_limit > UINT64_MAX / 4)
        s->memory_limit = UINT64_MAX; /* the kernel's "none" is the largest page-aligned number */
    if (cgroup_key(text, "total_swap", &swap))
        s->swap_usage = swap;
    return 0;
}

static uint64_t v1_oom_kills(const struct cgroups *cgs, const char *path)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    uint64_t n = 0;
    if (cgroup_file_read(cgs, CGROUP_MEMORY, path, "memory.oom_control", &text, NULL) == 0)
        (void)cgroup_key(strbuf_text(&text), "oom_kill", &n);
    return n;
}

const struct cgroup_ops cgroup_v1_ops = {
    .inherit = v1_inherit,
    .set = v1_set,
    .set_devices = v1_set_devices,
    .kill = v1_kill,
    .freeze = v1_freeze,
    .stats = v1_stats,
    .oom_kills = v1_oom_kills,
};
