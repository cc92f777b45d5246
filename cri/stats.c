/* Snapshots of statistics; see stats.h. */
#include "cri/stats.h"

#include <string.h>

#include "base/times.h"

#define LAYER_WAIT_MS 300

enum what { CONTAINER, IN_SANDBOX, SANDBOX };

struct stats_snapshot {
    struct list entry; /* in rt->snapshots */
    struct runtime *rt;
    struct rpc_server_call *call;
    const struct cgroups *cgs;
    bool details, read, timed_out;
    struct stats_group *groups;
    enum what *what;  /* of each group */
    struct map index; /* id → its number, from 1 */
    size_t n, waiting;
    struct loop_timer timer;
    void (*done)(struct stats_snapshot *s, struct rpc_server_call *call);
};

static void on_timer(void *arg);

struct stats_snapshot *stats_new(struct runtime *rt, struct rpc_server_call *call, bool details)
{
    struct stats_snapshot *s = mem_zalloc(sizeof(*s));
    s->rt = rt;
    s->cgs = rt->cgs;
    s->call = call;
    s->details = details;
    list_append(&rt->snapshots, &s->entry);
    loop_timer_init(&s->timer, rt->loop, "statistics", on_timer, s);
    return s;
}

static void snapshot_free(struct stats_snapshot *s)
{
    list_remove(&s->entry);
    loop_timer_done(&s->timer);
    for (size_t i = 0; i < s->n; i++) {
        free(s->groups[i].cgroup);
        free(s->groups[i].io);
    }
    map_clear(&s->index);
    free(s->groups);
    free(s->what);
    free(s);
}

static void add(struct stats_snapshot *s, enum what what, const char *id, const char *cgroup,
                bool waits)
{
    s->groups = mem_grow(s->groups, s->n + 1, sizeof(*s->groups));
    s->what = mem_grow(s->what, s->n + 1, sizeof(*s->what));
    struct stats_group *g = &s->groups[s->n];
    *g = (struct stats_group){.cgroup = str_dup(cgroup), .waits = waits};
    (void)snprintf(g->id, sizeof(g->id), "%s", id);
    s->what[s->n++] = what;
    s->waiting += waits;
    map_set(&s->index, id, (void *)s->n);
}

static void add_container(struct stats_snapshot *s, enum what what, struct container *c)
{
    add(s, what, c->id, c->state == CONTAINER_RUNNING ? c->cgroup : NULL, layers_refresh(c));
}

void stats_add_container(struct stats_snapshot *s, struct container *c)
{
    add_container(s, CONTAINER, c);
}

void stats_add_sandbox(struct stats_snapshot *s, struct sandbox *sandbox)
{
    _cleanup_free_ char *group = sandbox_cgroup(sandbox);
    add(s, SANDBOX, sandbox->id, sandbox->state == SANDBOX_READY ? group : NULL, false);
    LIST_FOR_EACH(e, &sandbox->containers) {
        struct container *c = LIST_ENTRY(e, struct container, entry);
        if (c->state == CONTAINER_RUNNING)
            add_container(s, IN_SANDBOX, c);
    }
}

/* ---- on the helper thread ---- */

static void read_group(const struct stats_snapshot *s, struct stats_group *g)
{
    g->at_ns = time_now_nano();
    g->there = cgroup_stats(s->cgs, g->cgroup, &g->stats, NULL) == 0 &&
               (!s->details || cgroup_details(s->cgs, g->cgroup, &g->details, NULL) == 0);
    if (!g->there || !s->details)
        return;
    struct cgroup_io list[CGROUP_IO_MAX];
    g->oom_kills = cgroup_oom_kills(s->cgs, g->cgroup);
    g->n_io = cgroup_io(s->cgs, g->cgroup, list, CGROUP_IO_MAX);
    g->io = g->n_io ? mem_dup(list, g->n_io * sizeof(*list)) : NULL;
}

static int read_all(void *data, _unused_ struct error *err)
{
    const struct stats_snapshot *s = data;
    for (size_t i = 0; i < s->n; i++)
        if (s->groups[i].cgroup)
            read_group(s, &s->groups[i]);
    return 0;
}

/* ---- and back ---- */

static void finish_when_complete(struct stats_snapshot *s)
{
    if (!s->read || (s->waiting && !s->timed_out))
        return;
    s->done(s, s->call);
    snapshot_free(s);
}

static void on_read(_unused_ int code, _unused_ const struct error *err, void *data)
{
    struct stats_snapshot *s = data;
    s->read = true;
    finish_when_complete(s);
}

static void on_timer(void *arg)
{
    struct stats_snapshot *s = arg;
    s->timed_out = true;
    finish_when_complete(s);
}

void stats_take(struct stats_snapshot *s,
                void (*done)(struct stats_snapshot *s, struct rpc_server_call *call))
{
    s->done = done;
    if (s->waiting)
        loop_timer_set(&s->timer, LAYER_WAIT_MS);
    job_run(s->rt->jobs, read_all, on_read, s);
}

static struct stats_group *find(const struct stats_snapshot *s, const char *id)
{
    size_t number = (size_t)map_get(&s->index, id);
    return number ? &s->groups[number - 1] : NULL;
}

void stats_layer_known(struct runtime *rt, const char *container)
{
    LIST_FOR_EACH(e, &rt->snapshots) {
        struct stats_snapshot *s = LIST_ENTRY(e, struct stats_snapshot, entry);
        struct stats_group *g = find(s, container);
        if (!g || !g->waits)
            continue;
        g->waits = false;
        s->waiting--;
        finish_when_complete(s);
    }
}

void stats_drop(struct runtime *rt)
{
    LIST_FOR_EACH(e, &rt->snapshots) {
        struct stats_snapshot *s = LIST_ENTRY(e, struct stats_snapshot, entry);
        rpc_server_fail(s->call, RPC_UNAVAILABLE, "the runtime is stopping");
        snapshot_free(s);
    }
}

struct container *stats_next_container(const struct stats_snapshot *s, size_t *at)
{
    while (*at < s->n) {
        size_t i = (*at)++;
        struct container *c =
            s->what[i] == CONTAINER ? map_get(&s->rt->containers, s->groups[i].id) : NULL;
        if (c)
            return c;
    }
    return NULL;
}

struct sandbox *stats_next_sandbox(const struct stats_snapshot *s, size_t *at)
{
    while (*at < s->n) {
        size_t i = (*at)++;
        struct sandbox *p =
            s->what[i] == SANDBOX ? map_get(&s->rt->sandboxes, s->groups[i].id) : NULL;
        if (p)
            return p;
    }
    return NULL;
}

struct runtime *stats_runtime(const struct stats_snapshot *s)
{
    return s->rt;
}

const struct stats_group *stats_of(const struct stats_snapshot *s, const char *id)
{
    const struct stats_group *g = find(s, id);
    return g && g->there ? g : NULL;
}
