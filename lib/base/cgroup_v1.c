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

/* The kernel keeps memory ≤ memory and swap at every moment: which goes first depends on the
 * direction. */
static int set_memory(struct cgroup_change *ch, const struct cgroup_limits *l, struct error *err)
{
    static const char limit[] = "memory.limit_in_bytes", swap[] = "memory.memsw.limit_in_bytes";
    int64_t memory_swap = l->memory_swap;
    if (memory_swap == CGROUP_UNSET && l->memory_limit == CGROUP_UNLIMITED)
        memory_swap = CGROUP_UNLIMITED;
    if (l->memory_limit > 0 && memory_swap > 0 && memory_swap < l->memory_limit)
        return error_set_field(err, -EINVAL, "memory_swap",
                               "the limit of memory and swap is below the memory limit");
    int r = cgroup_put(ch, CGROUP_MEMORY, limit, l->memory_limit, NULL);
    if (r == -EINVAL && memory_swap != CGROUP_UNSET) {
        r = cgroup_put(ch, CGROUP_MEMORY, swap, memory_swap, err);
        return r < 0 ? r : cgroup_put(ch, CGROUP_MEMORY, limit, l->memory_limit, err);
    }
    if (r < 0)
        return cgroup_put(ch, CGROUP_MEMORY, limit, l->memory_limit, err);
    return cgroup_put(ch, CGROUP_MEMORY, swap, memory_swap, err);
}

/* A shorter period with the old quota may be refused, and the other way round. */
static int set_cpu(struct cgroup_change *ch, const struct cgroup_limits *l, struct error *err)
{
    int r = cgroup_put(ch, CGROUP_CPU, "cpu.shares", l->cpu_shares, err);
    if (r == 0 && cgroup_put(ch, CGROUP_CPU, "cpu.cfs_period_us", l->cpu_period, NULL) < 0) {
        r = cgroup_put(ch, CGROUP_CPU, "cpu.cfs_quota_us", l->cpu_quota, err);
        if (r == 0)
            r = cgroup_put(ch, CGROUP_CPU, "cpu.cfs_period_us", l->cpu_period, err);
        return r;
    }
    return r < 0 ? r : cgroup_put(ch, CGROUP_CPU, "cpu.cfs_quota_us", l->cpu_quota, err);
}

static int v1_set(struct cgroup_change *ch, const struct cgroup_limits *l, struct error *err)
{
    if (l->unified && l->unified[0])
        return error_set_field(err, -ENOTSUP, "unified",
                               "unified: \"%.*s\" needs cgroup v2, this host has v1",
                               (int)strcspn(l->unified[0], "="), l->unified[0]);
    int r = set_cpu(ch, l, err);
    if (r == 0)
        r = set_memory(ch, l, err);
    if (r == 0)
        r = cgroup_put(ch, CGROUP_PIDS, "pids.max", l->pids_limit, err);
    if (r == 0)
        r = cgroup_put_text(ch, CGROUP_CPUSET, "cpuset.cpus", l->cpus, err);
    if (r == 0)
        r = cgroup_put_text(ch, CGROUP_CPUSET, "cpuset.mems", l->mems, err);
    if (l->memory_low != CGROUP_UNSET || l->memory_min != CGROUP_UNSET ||
        l->memory_high != CGROUP_UNSET || l->oom_group)
        cgroup_note(ch->notes, "memory.low, .min, .high and .oom.group need cgroup v2");
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

/* The kernel's "none" is the largest number that is a multiple of a page. */
static uint64_t limit_of(const struct cgroups *cgs, const char *path, const char *file)
{
    uint64_t v = UINT64_MAX;
    (void)cgroup_number(cgs, CGROUP_MEMORY, path, file, &v);
    return v > UINT64_MAX / 4 ? UINT64_MAX : v;
}

static void v1_stats(const struct cgroups *cgs, const char *path, struct cgroup_stats *s)
{
    _cleanup_strbuf_ struct strbuf stat = STRBUF_INIT;
    s->has_cpu = cgroup_number(cgs, CGROUP_CPUACCT, path, "cpuacct.usage", &s->cpu_usage_ns);
    s->has_pids = cgroup_number(cgs, CGROUP_PIDS, path, "pids.current", &s->pids);
    s->has_memory =
        cgroup_number(cgs, CGROUP_MEMORY, path, "memory.usage_in_bytes", &s->memory_usage) &&
        cgroup_file_read(cgs, CGROUP_MEMORY, path, "memory.stat", &stat, NULL) == 0;
    if (!s->has_memory)
        return;
    const char *text = strbuf_text(&stat);
    uint64_t inactive = 0;
    (void)cgroup_key(text, "total_inactive_file", &inactive);
    (void)cgroup_key(text, "total_rss", &s->memory_rss);
    (void)cgroup_key(text, "total_pgfault", &s->page_faults);
    (void)cgroup_key(text, "total_pgmajfault", &s->major_page_faults);
    s->memory_working_set = s->memory_usage > inactive ? s->memory_usage - inactive : 0;
    s->memory_limit = limit_of(cgs, path, "memory.limit_in_bytes");
    s->has_swap = cgroup_key(text, "total_swap", &s->swap_usage);
    /* v1 limits the sum. */
    uint64_t both = limit_of(cgs, path, "memory.memsw.limit_in_bytes");
    if (both != UINT64_MAX && both >= s->memory_limit)
        s->swap_limit = both - s->memory_limit;
}

static void v1_details(const struct cgroups *cgs, const char *path, struct cgroup_details *d)
{
    _cleanup_strbuf_ struct strbuf cpu = STRBUF_INIT, memory = STRBUF_INIT;
    uint64_t quota;
    (void)cgroup_number(cgs, CGROUP_CPUACCT, path, "cpuacct.usage_user", &d->cpu_user_ns);
    (void)cgroup_number(cgs, CGROUP_CPUACCT, path, "cpuacct.usage_sys", &d->cpu_system_ns);
    if (cgroup_file_read(cgs, CGROUP_CPU, path, "cpu.stat", &cpu, NULL) == 0) {
        (void)cgroup_key(strbuf_text(&cpu), "nr_periods", &d->cpu_periods);
        (void)cgroup_key(strbuf_text(&cpu), "nr_throttled", &d->cpu_throttled_periods);
        (void)cgroup_key(strbuf_text(&cpu), "throttled_time", &d->cpu_throttled_ns);
    }
    (void)cgroup_number(cgs, CGROUP_CPU, path, "cpu.shares", &d->cpu_shares);
    (void)cgroup_number(cgs, CGROUP_CPU, path, "cpu.cfs_period_us", &d->cpu_period);
    if (cgroup_number(cgs, CGROUP_CPU, path, "cpu.cfs_quota_us", &quota))
        d->cpu_quota = (int64_t)quota; /* "-1" reads as what it is */
    if (cgroup_file_read(cgs, CGROUP_MEMORY, path, "memory.stat", &memory, NULL) == 0) {
        const char *text = strbuf_text(&memory);
        (void)cgroup_key(text, "total_cache", &d->memory_cache);
        (void)cgroup_key(text, "total_mapped_file", &d->memory_mapped_file);
        (void)cgroup_key(text, "total_active_file", &d->memory_active_file);
        (void)cgroup_key(text, "total_inactive_file", &d->memory_inactive_file);
    }
    (void)cgroup_number(cgs, CGROUP_MEMORY, path, "memory.kmem.usage_in_bytes", &d->memory_kernel);
    (void)cgroup_number(cgs, CGROUP_MEMORY, path, "memory.max_usage_in_bytes", &d->memory_peak);
    (void)cgroup_number(cgs, CGROUP_MEMORY, path, "memory.failcnt", &d->memory_failures);
    (void)cgroup_number(cgs, CGROUP_PIDS, path, "pids.max", &d->pids_limit);
}

/* "8:0 Read 4096", "8:0 Write 0", …, "Total 4096" */
static void read_io(const struct cgroups *cgs, const char *path, const char *file, bool bytes,
                    struct cgroup_io *list, size_t *n, size_t max)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    char *save = NULL;
    if (cgroup_file_read(cgs, CGROUP_BLKIO, path, file, &text, NULL) < 0 || !text.len)
        return;
    for (char *line = strtok_r(text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *rest;
        struct cgroup_io *io = cgroup_io_line(line, list, n, max, &rest);
        if (io && str_starts(rest, "Read "))
            *(bytes ? &io->read_bytes : &io->reads) = strtoull(rest + 5, NULL, 10);
        else if (io && str_starts(rest, "Write "))
            *(bytes ? &io->written_bytes : &io->writes) = strtoull(rest + 6, NULL, 10);
    }
}

static size_t v1_io(const struct cgroups *cgs, const char *path, struct cgroup_io *list, size_t max)
{
    size_t n = 0;
    read_io(cgs, path, "blkio.throttle.io_service_bytes_recursive", true, list, &n, max);
    read_io(cgs, path, "blkio.throttle.io_serviced_recursive", false, list, &n, max);
    return n;
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
    .details = v1_details,
    .io = v1_io,
    .oom_kills = v1_oom_kills,
};
