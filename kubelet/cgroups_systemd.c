/*
 * Groups of pods as slices of systemd's; see cgroups.h.
 *
 * A limit is a property of the slice, or systemd would take it back the next time it looks at the
 * group (daemon-reload); it is written to the group as well, exactly, and into hierarchies of v1
 * that systemd leaves alone. A request is under way until systemd's job is over; its result stays
 * until whoever asked looks again.
 */
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/cgroups_private.h"

struct slice_op {
    struct list entry;
    struct pod_cgroups *c;
    char *group;
    bool removing;
    struct cgroup_limits limits;
    struct systemd_job *job; /* NULL: over, with the result in @err */
    struct error err;
    void (*done)(void *arg); /* NULL: nobody waits */
    void *arg;
};

int slices_open(struct pod_cgroups *c, struct error *err)
{
    int r = c->systemd ? 0 : systemd_open(c->loop, c->socket, &c->systemd, err);
    return r < 0 ? error_prefix(err, r, "cgroup driver systemd") : 0;
}

static void op_free(struct slice_op *op)
{
    systemd_job_forget(op->job);
    list_remove(&op->entry);
    free(op->group);
    free(op);
}

void slices_close(struct pod_cgroups *c)
{
    LIST_FOR_EACH(e, &c->slices)
        op_free(LIST_ENTRY(e, struct slice_op, entry));
    c->systemd = systemd_free(c->systemd);
}

void slices_forget(struct pod_cgroups *c, const void *arg)
{
    LIST_FOR_EACH(e, &c->slices) {
        struct slice_op *op = LIST_ENTRY(e, struct slice_op, entry);
        if (!op->done || op->arg != arg)
            continue;
        op->done = NULL;
        if (!op->job)
            op_free(op);
    }
}

static struct slice_op *find(struct pod_cgroups *c, const char *group)
{
    LIST_FOR_EACH(e, &c->slices) {
        struct slice_op *op = LIST_ENTRY(e, struct slice_op, entry);
        if (op->done && str_eq(op->group, group))
            return op;
    }
    return NULL;
}

static const char *slice_name(const char *group)
{
    return strrchr(group, '/') + 1;
}

/* ---- the result ---- */

static int set_group(const struct slice_op *op, struct error *err)
{
    int r = cgroup_create(op->c->host, op->group, err);
    return r < 0 ? r : cgroup_set(op->c->host, op->group, &op->limits, NULL, err);
}

static void on_job(int code, const struct error *why, void *arg)
{
    struct slice_op *op = arg;
    op->job = NULL;
    if (code < 0)
        op->err = *why;
    else if (op->removing) /* where systemd keeps none: other hierarchies of v1 */
        (void)cgroup_remove(op->c->host, op->group, &op->err);
    else
        (void)set_group(op, &op->err);
    if (op->done) {
        op->done(op->arg);
        return;
    }
    if (op->err.code < 0)
        log_warn("slice cannot be changed", "slice", slice_name(op->group), "error",
                 error_text(&op->err), NULL);
    op_free(op);
}

/* ---- requests ---- */

static struct slice_op *op_new(struct pod_cgroups *c, const char *group, void (*done)(void *arg),
                               void *arg)
{
    struct slice_op *op = mem_zalloc(sizeof(*op));
    op->c = c;
    op->group = str_dup(group);
    op->err = (struct error)ERROR_INIT;
    op->done = done;
    op->arg = arg;
    list_append(&c->slices, &op->entry);
    return op;
}

/* A limit as systemd wants it: 0 as it is, UINT64_MAX none. */
static uint64_t as_property(int64_t limit)
{
    return limit == CGROUP_UNSET ? 0 : limit == CGROUP_UNLIMITED ? UINT64_MAX : (uint64_t)limit;
}

/* In steps of 10 ms: systemd keeps no finer ones when it reads its own files again. */
static uint64_t quota_per_second(const struct cgroup_limits *l)
{
    const uint64_t step = 10000;
    if (l->cpu_quota <= 0 || l->cpu_period <= 0)
        return as_property(l->cpu_quota);
    uint64_t us = (uint64_t)l->cpu_quota * 1000000 / (uint64_t)l->cpu_period;
    return (us + step - 1) / step * step;
}

static void start(struct slice_op *op, const struct cgroup_limits *limits)
{
    struct pod_cgroups *c = op->c;
    bool unified = cgroups_mode(c->host) == CGROUP_V2;
    uint64_t shares = as_property(limits->cpu_shares);
    const struct systemd_slice slice = {
        .name = slice_name(op->group),
        .description = "Pods of Coracle",
        .unified = unified,
        .cpu = unified && shares ? cgroup_shares_to_weight(shares) : shares,
        .cpu_quota = quota_per_second(limits),
        .memory = as_property(limits->memory_limit),
        .tasks = as_property(limits->pids_limit),
    };
    op->removing = false;
    op->limits = *limits;
    op->job = systemd_start_slice(c->systemd, &slice, on_job, op);
}

/* Takes the result of a request that is over. */
static int take_result(struct slice_op *op, struct error *err)
{
    int code = op->err.code;
    if (code < 0 && err)
        *err = op->err;
    op_free(op);
    return code;
}

static bool is_there(const struct pod_cgroups *c, const char *group)
{
    _cleanup_free_ char *dir = cgroup_dir(c->host, CGROUP_MEMORY, group);
    return dir && fs_exists(dir);
}

/* Of what pods have. */
static bool same_limits(const struct cgroup_limits *a, const struct cgroup_limits *b)
{
    return a->cpu_shares == b->cpu_shares && a->cpu_quota == b->cpu_quota &&
           a->cpu_period == b->cpu_period && a->memory_limit == b->memory_limit &&
           a->pids_limit == b->pids_limit;
}

int slice_apply(struct pod_cgroups *c, const char *group, const struct cgroup_limits *limits,
                void (*done)(void *arg), void *arg, struct error *err)
{
    struct slice_op *op = done ? find(c, group) : NULL;
    if (op && op->job)
        return POD_CGROUPS_PENDING;
    if (op && !op->removing && same_limits(&op->limits, limits))
        return take_result(op, err);
    if (op)
        op_free(op);
    /* Here memory in use is an error; given to systemd, it would cost processes. */
    int r = is_there(c, group) ? cgroup_set(c->host, group, limits, NULL, err) : 0;
    if (r < 0)
        return r;
    start(op_new(c, group, done, arg), limits);
    return POD_CGROUPS_PENDING;
}

int slice_remove(struct pod_cgroups *c, const char *group, void (*done)(void *arg), void *arg,
                 struct error *err)
{
    struct slice_op *op = done ? find(c, group) : NULL;
    if (op && op->job)
        return POD_CGROUPS_PENDING;
    if (op && op->removing)
        return take_result(op, err);
    if (op)
        op_free(op);
    int r = cgroup_kill(c->host, group, err);
    if (r < 0)
        return r;
    op = op_new(c, group, done, arg);
    op->removing = true;
    op->job = systemd_stop_unit(c->systemd, slice_name(group), on_job, op);
    return POD_CGROUPS_PENDING;
}
