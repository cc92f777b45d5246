/* Cgroup v2: one tree. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/cgroup_internal.h"
#include "base/fs.h"

static const enum cgroup_controller delegated[] = {CGROUP_CPU,  CGROUP_CPUSET, CGROUP_MEMORY,
                                                   CGROUP_PIDS, CGROUP_BLKIO,  CGROUP_HUGETLB};

static const char *name_of(enum cgroup_controller c)
{
    return c == CGROUP_BLKIO ? "io" : cgroup_controller_name(c);
}

/* Whether @word is one of the words of @list. */
static bool lists(const struct strbuf *list, const char *word)
{
    const char *text = strbuf_text(list);
    for (const char *p = text; (p = strstr(p, word)); p++)
        if ((p == text || p[-1] == ' ') && strchr(" \n", p[strlen(word)]))
            return true;
    return false;
}

/* What a group's children may limit is decided in the group: every controller that it has is handed
 * down. It may have less than the host: systemd hands down those that it knows, hugetlb is none. */
static int v2_inherit(const struct cgroups *cgs, _unused_ enum cgroup_controller c,
                      const char *parent, _unused_ const char *dir, struct error *err)
{
    _cleanup_free_ char *file = fs_join(parent, "cgroup.subtree_control");
    _cleanup_free_ char *controllers = fs_join(parent, "cgroup.controllers");
    _cleanup_strbuf_ struct strbuf given = STRBUF_INIT, had = STRBUF_INIT;
    int r = fs_read(file, 4096, &given, err);
    if (r == 0)
        r = fs_read(controllers, 4096, &had, err);
    if (r < 0)
        return r;
    char text[80] = "";
    for (size_t i = 0; i < ARRAY_SIZE(delegated); i++) {
        const char *word = name_of(delegated[i]);
        size_t at = strlen(text);
        if (cgs->has[delegated[i]] && lists(&had, word) && !lists(&given, word))
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

/* A period alone keeps the quota that is there. */
static int set_cpu(struct cgroup_change *ch, const struct cgroup_limits *l, struct error *err)
{
    int r = 0;
    if (l->cpu_shares != CGROUP_UNSET)
        r = cgroup_put(ch, CGROUP_CPU, "cpu.weight",
                       (int64_t)cgroup_shares_to_weight((uint64_t)l->cpu_shares), err);
    if (r < 0 || (l->cpu_quota == CGROUP_UNSET && l->cpu_period == CGROUP_UNSET))
        return r;
    char text[56];
    _cleanup_strbuf_ struct strbuf quota = STRBUF_INIT;
    if (l->cpu_quota > 0)
        strbuf_addf(&quota, "%lld", (long long)l->cpu_quota);
    else if (l->cpu_quota == CGROUP_UNSET &&
             cgroup_file_read(ch->cgs, CGROUP_CPU, ch->path, "cpu.max", &quota, NULL) == 0)
        strbuf_truncate(&quota, strcspn(strbuf_text(&quota), " "));
    if (!quota.len)
        strbuf_adds(&quota, "max");
    if (l->cpu_period > 0)
        (void)snprintf(text, sizeof(text), "%.24s %lld", quota.data, (long long)l->cpu_period);
    else
        (void)snprintf(text, sizeof(text), "%.24s", quota.data);
    return cgroup_put_text(ch, CGROUP_CPU, "cpu.max", text, err);
}

/* The kernel takes any memory.max and kills until the group fits. A lower memory.high makes it
 * reclaim, and kills nobody: when that does not do, the limit is refused, as v1 does. */
static int make_room(struct cgroup_change *ch, int64_t limit, struct error *err)
{
    uint64_t used = 0;
    if (limit < 0 || !cgroup_number(ch->cgs, CGROUP_MEMORY, ch->path, "memory.current", &used) ||
        used <= (uint64_t)limit)
        return 0;
    _cleanup_strbuf_ struct strbuf high = STRBUF_INIT;
    char text[24];
    (void)snprintf(text, sizeof(text), "%lld", (long long)limit);
    int r = cgroup_file_read(ch->cgs, CGROUP_MEMORY, ch->path, "memory.high", &high, NULL) < 0
                ? -ENOENT
                : cgroup_file_write(ch->cgs, CGROUP_MEMORY, ch->path, "memory.high", text, NULL);
    (void)cgroup_number(ch->cgs, CGROUP_MEMORY, ch->path, "memory.current", &used);
    if (r == 0)
        (void)cgroup_file_write(ch->cgs, CGROUP_MEMORY, ch->path, "memory.high", strbuf_text(&high),
                                NULL);
    return used <= (uint64_t)limit
               ? 0
               : error_set_field(err, -EBUSY, "memory.max",
                                 "memory.max \"%lld\" of cgroup %s: it uses %llu bytes that the "
                                 "kernel cannot reclaim",
                                 (long long)limit, ch->path, (unsigned long long)used);
}

/* v2 counts swap alone. */
static int swap_of(const struct cgroup_change *ch, const struct cgroup_limits *l, int64_t *ret,
                   struct error *err)
{
    *ret = l->memory_swap;
    if (l->memory_swap == CGROUP_UNSET && l->memory_limit == CGROUP_UNLIMITED)
        *ret = CGROUP_UNLIMITED;
    if (l->memory_swap < 0 || l->memory_limit == CGROUP_UNLIMITED)
        return 0;
    uint64_t limit = (uint64_t)l->memory_limit;
    if (l->memory_limit == CGROUP_UNSET &&
        (!cgroup_number(ch->cgs, CGROUP_MEMORY, ch->path, "memory.max", &limit) ||
         limit == UINT64_MAX))
        return error_set_field(err, -EINVAL, "memory_swap",
                               "a limit of memory and swap needs a memory limit");
    if ((uint64_t)l->memory_swap < limit)
        return error_set_field(err, -EINVAL, "memory_swap",
                               "the limit of memory and swap is below the memory limit");
    *ret -= (int64_t)limit;
    return 0;
}

static int set_memory(struct cgroup_change *ch, const struct cgroup_limits *l, struct error *err)
{
    int64_t swap;
    int r = swap_of(ch, l, &swap, err);
    if (r == 0)
        r = make_room(ch, l->memory_limit, err);
    if (r == 0)
        r = cgroup_put(ch, CGROUP_MEMORY, "memory.max", l->memory_limit, err);
    if (r == 0)
        r = cgroup_put(ch, CGROUP_MEMORY, "memory.swap.max", swap, err);
    if (r == 0)
        r = cgroup_put(ch, CGROUP_MEMORY, "memory.low", l->memory_low, err);
    if (r == 0)
        r = cgroup_put(ch, CGROUP_MEMORY, "memory.min", l->memory_min, err);
    if (r == 0)
        r = cgroup_put(ch, CGROUP_MEMORY, "memory.high", l->memory_high, err);
    if (r == 0 && l->oom_group)
        r = cgroup_put(ch, CGROUP_MEMORY, "memory.oom.group", 1, err);
    return r;
}

/* ---- unified settings: CONTROLLER.PARAMETER=VALUE ---- */

struct unified {
    enum cgroup_controller controller;
    char file[64];
    const char *value;
};

static int parse_unified(const struct cgroup_change *ch, const char *setting, struct unified *ret,
                         struct error *err)
{
    const char *equals = strchr(setting, '=');
    size_t len = equals ? (size_t)(equals - setting) : strlen(setting), dot = strcspn(setting, ".");
    if (!equals || len >= sizeof(ret->file) || dot == 0 || dot + 1 >= len ||
        strspn(setting, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._") < len)
        return error_set_field(err, -EINVAL, "unified",
                               "unified: \"%.100s\" is not CONTROLLER.PARAMETER", setting);
    memcpy(ret->file, setting, len);
    ret->file[len] = '\0';
    ret->value = equals + 1;
    if (!*ret->value || strchr(ret->value, '\n'))
        return error_set_field(err, -EINVAL, "unified", "unified: %s: the value is no line",
                               ret->file);
    for (size_t i = 0; i < ARRAY_SIZE(delegated); i++) {
        enum cgroup_controller c = delegated[i];
        const char *name = name_of(c), *reason;
        if (strlen(name) != dot || strncmp(setting, name, dot) != 0)
            continue;
        ret->controller = c;
        if (!cgroups_has(ch->cgs, c, &reason))
            return error_set_field(err, -ENOTSUP, "unified", "unified: %s: controller %s: %s",
                                   ret->file, name, reason);
        _cleanup_free_ char *dir = cgroup_dir(ch->cgs, c, ch->path);
        _cleanup_free_ char *path = fs_join(dir, ret->file);
        return fs_exists(path)
                   ? 0
                   : error_set_field(err, -ENOTSUP, "unified",
                                     "unified: %s: this kernel has no such file", ret->file);
    }
    return error_set_field(err, -EINVAL, "unified",
                           "unified: %s: no controller of containers (cpu, cpuset, memory, pids, "
                           "io, hugetlb) has that name",
                           ret->file);
}

static int v2_set(struct cgroup_change *ch, const struct cgroup_limits *l, struct error *err)
{
    struct unified u;
    int r = 0;
    for (size_t i = 0; r == 0 && l->unified && l->unified[i]; i++)
        r = parse_unified(ch, l->unified[i], &u, err); /* all names before the first change */
    if (r == 0)
        r = set_cpu(ch, l, err);
    if (r == 0)
        r = set_memory(ch, l, err);
    if (r == 0)
        r = cgroup_put(ch, CGROUP_PIDS, "pids.max", l->pids_limit, err);
    if (r == 0)
        r = cgroup_put_text(ch, CGROUP_CPUSET, "cpuset.cpus", l->cpus, err);
    if (r == 0)
        r = cgroup_put_text(ch, CGROUP_CPUSET, "cpuset.mems", l->mems, err);
    for (size_t i = 0; r == 0 && l->unified && l->unified[i]; i++)
        if ((r = parse_unified(ch, l->unified[i], &u, err)) == 0)
            r = cgroup_put_text(ch, u.controller, u.file, u.value, err);
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

static struct cgroup_psi read_psi(const struct cgroups *cgs, const char *path, const char *file)
{
    struct cgroup_psi psi = {.there = false};
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (cgroup_file_read(cgs, CGROUP_CPU, path, file, &text, NULL) == 0)
        cgroup_parse_psi(strbuf_text(&text), &psi);
    return psi;
}

static void v2_stats(const struct cgroups *cgs, const char *path, struct cgroup_stats *s)
{
    _cleanup_strbuf_ struct strbuf cpu = STRBUF_INIT, memory = STRBUF_INIT;
    uint64_t us = 0, inactive = 0;
    s->has_cpu = cgroup_file_read(cgs, CGROUP_CPU, path, "cpu.stat", &cpu, NULL) == 0 &&
                 cgroup_key(strbuf_text(&cpu), "usage_usec", &us);
    s->cpu_usage_ns = us * 1000;
    s->has_pids = cgroup_number(cgs, CGROUP_PIDS, path, "pids.current", &s->pids);
    s->cpu_psi = read_psi(cgs, path, "cpu.pressure");
    s->memory_psi = read_psi(cgs, path, "memory.pressure");
    s->io_psi = read_psi(cgs, path, "io.pressure");
    s->has_memory = cgroup_number(cgs, CGROUP_MEMORY, path, "memory.current", &s->memory_usage) &&
                    cgroup_file_read(cgs, CGROUP_MEMORY, path, "memory.stat", &memory, NULL) == 0;
    if (!s->has_memory)
        return;
    const char *text = strbuf_text(&memory);
    (void)cgroup_key(text, "inactive_file", &inactive);
    (void)cgroup_key(text, "anon", &s->memory_rss);
    (void)cgroup_key(text, "pgfault", &s->page_faults);
    (void)cgroup_key(text, "pgmajfault", &s->major_page_faults);
    s->memory_working_set = s->memory_usage > inactive ? s->memory_usage - inactive : 0;
    (void)cgroup_number(cgs, CGROUP_MEMORY, path, "memory.max", &s->memory_limit);
    s->has_swap = cgroup_number(cgs, CGROUP_MEMORY, path, "memory.swap.current", &s->swap_usage);
    (void)cgroup_number(cgs, CGROUP_MEMORY, path, "memory.swap.max", &s->swap_limit);
}

static void v2_details(const struct cgroups *cgs, const char *path, struct cgroup_details *d)
{
    _cleanup_strbuf_ struct strbuf cpu = STRBUF_INIT, max = STRBUF_INIT, memory = STRBUF_INIT,
                                   events = STRBUF_INIT;
    uint64_t user = 0, system = 0, throttled = 0, weight = 0;
    if (cgroup_file_read(cgs, CGROUP_CPU, path, "cpu.stat", &cpu, NULL) == 0) {
        (void)cgroup_key(strbuf_text(&cpu), "user_usec", &user);
        (void)cgroup_key(strbuf_text(&cpu), "system_usec", &system);
        (void)cgroup_key(strbuf_text(&cpu), "nr_periods", &d->cpu_periods);
        (void)cgroup_key(strbuf_text(&cpu), "nr_throttled", &d->cpu_throttled_periods);
        (void)cgroup_key(strbuf_text(&cpu), "throttled_usec", &throttled);
    }
    d->cpu_user_ns = user * 1000;
    d->cpu_system_ns = system * 1000;
    d->cpu_throttled_ns = throttled * 1000;
    if (cgroup_number(cgs, CGROUP_CPU, path, "cpu.weight", &weight))
        d->cpu_shares = cgroup_weight_to_shares(weight);
    if (cgroup_file_read(cgs, CGROUP_CPU, path, "cpu.max", &max, NULL) == 0) {
        const char *text = strbuf_text(&max), *space = strchr(text, ' ');
        d->cpu_quota =
            str_starts(text, "max") ? CGROUP_UNLIMITED : (int64_t)strtoull(text, NULL, 10);
        d->cpu_period = space ? strtoull(space, NULL, 10) : 0;
    }
    if (cgroup_file_read(cgs, CGROUP_MEMORY, path, "memory.stat", &memory, NULL) == 0) {
        const char *text = strbuf_text(&memory);
        (void)cgroup_key(text, "file", &d->memory_cache);
        (void)cgroup_key(text, "file_mapped", &d->memory_mapped_file);
        (void)cgroup_key(text, "kernel", &d->memory_kernel);
        (void)cgroup_key(text, "active_file", &d->memory_active_file);
        (void)cgroup_key(text, "inactive_file", &d->memory_inactive_file);
    }
    (void)cgroup_number(cgs, CGROUP_MEMORY, path, "memory.peak", &d->memory_peak);
    if (cgroup_file_read(cgs, CGROUP_MEMORY, path, "memory.events", &events, NULL) == 0)
        (void)cgroup_key(strbuf_text(&events), "max", &d->memory_failures);
    (void)cgroup_number(cgs, CGROUP_PIDS, path, "pids.max", &d->pids_limit);
}

/* What stands behind @name; 0 when it is not there. */
static uint64_t figure(const char *line, const char *name)
{
    const char *p = strstr(line, name);
    return p ? strtoull(p + strlen(name), NULL, 10) : 0;
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …" */
static size_t v2_io(const struct cgroups *cgs, const char *path, struct cgroup_io *list, size_t max)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    size_t n = 0;
    char *save = NULL;
    if (!cgs->has[CGROUP_BLKIO] ||
        cgroup_file_read(cgs, CGROUP_BLKIO, path, "io.stat", &text, NULL) < 0 || !text.len)
        return 0;
    for (char *line = strtok_r(text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *rest;
        struct cgroup_io *io = cgroup_io_line(line, list, &n, max, &rest);
        if (!io)
            continue;
        io->read_bytes = figure(rest, "rbytes=");
        io->written_bytes = figure(rest, "wbytes=");
        io->reads = figure(rest, "rios=");
        io->writes = figure(rest, "wios=");
    }
    return n;
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
    .details = v2_details,
    .io = v2_io,
    .oom_kills = v2_oom_kills,
};
