/*
 * Changing the resources of a container; see container.h. Lowering a memory limit makes the kernel
 * reclaim before it answers: that happens on a helper thread, one change of a container at a time.
 */
#include "cri/container.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "cri/record.h"
#include "cri/resources.h"
#include "net/pbjson.h"

struct container_update {
    struct list entry; /* in container->updates; the first is under way */
    struct runtime *rt;
    char id[CONTAINER_ID_LEN + 1];
    char *cgroup;
    Runtime__V1__LinuxContainerResources *resources;
    struct arena arena;
    struct cgroup_limits limits; /* lists in @arena and @resources */
    int64_t old_score;           /* oom_score_adj of the configuration */
    struct strbuf notes;
    done_fn cb;
    void *arg;
};

static void update_free(struct container_update *u)
{
    list_remove(&u->entry);
    runtime__v1__linux_container_resources__free_unpacked(u->resources, NULL);
    arena_done(&u->arena);
    strbuf_done(&u->notes);
    free(u->cgroup);
    free(u);
}

static void finish(struct container_update *u, int code, const struct error *err)
{
    u->cb(code, err, u->arg);
    update_free(u);
}

/* ---- on the helper thread ---- */

/* Those that still have the old score get the new one; what set its own keeps it. */
static void set_scores(struct container_update *u)
{
    pid_t *pids = NULL;
    size_t n = 0;
    char text[24];
    (void)snprintf(text, sizeof(text), "%lld", (long long)u->resources->oom_score_adj);
    (void)cgroup_pids(u->rt->cgs, u->cgroup, true, &pids, &n, NULL);
    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *path = str_printf("/proc/%d/oom_score_adj", (int)pids[i]);
        _cleanup_strbuf_ struct strbuf have = STRBUF_INIT;
        struct error err = ERROR_INIT;
        if (fs_read(path, 64, &have, NULL) < 0 ||
            strtoll(strbuf_text(&have), NULL, 10) != u->old_score)
            continue;
        if (fs_write_text(path, text, &err) < 0 && err.code != -ESRCH && err.code != -ENOENT)
            strbuf_addf(&u->notes, "%s%s", u->notes.len ? "\n" : "", error_text(&err));
    }
    free(pids);
}

static int apply(void *data, struct error *err)
{
    struct container_update *u = data;
    int r = cgroup_set(u->rt->cgs, u->cgroup, &u->limits, &u->notes, err);
    if (r == 0 && u->resources->oom_score_adj && u->resources->oom_score_adj != u->old_score)
        set_scores(u);
    return r;
}

/* ---- and back ---- */

static void set_text(char **to, const char *from)
{
    if (!from[0])
        return;
    if (*to != (char *)(uintptr_t)protobuf_c_empty_string)
        free(*to);
    *to = str_dup(from);
}

/* What is not set in the protocol (0, "", none) stays. */
static void merge(Runtime__V1__LinuxContainerResources *to,
                  const Runtime__V1__LinuxContainerResources *from)
{
    if (from->cpu_period)
        to->cpu_period = from->cpu_period;
    if (from->cpu_quota)
        to->cpu_quota = from->cpu_quota;
    if (from->cpu_shares)
        to->cpu_shares = from->cpu_shares;
    if (from->memory_limit_in_bytes)
        to->memory_limit_in_bytes = from->memory_limit_in_bytes;
    if (from->memory_swap_limit_in_bytes)
        to->memory_swap_limit_in_bytes = from->memory_swap_limit_in_bytes;
    if (from->oom_score_adj)
        to->oom_score_adj = from->oom_score_adj;
    set_text(&to->cpuset_cpus, from->cpuset_cpus);
    set_text(&to->cpuset_mems, from->cpuset_mems);
}

/* The lists replace those of the same name: what was set in the group and is not named again is
 * still so, and stays told. */
static void merge_lists(Runtime__V1__LinuxContainerResources *to,
                        Runtime__V1__LinuxContainerResources *from)
{
    for (size_t i = 0; i < from->n_hugepage_limits; i++) {
        size_t at = 0;
        while (at < to->n_hugepage_limits &&
               !str_eq(to->hugepage_limits[at]->page_size, from->hugepage_limits[i]->page_size))
            at++;
        if (at < to->n_hugepage_limits) {
            to->hugepage_limits[at]->limit = from->hugepage_limits[i]->limit;
            continue;
        }
        to->hugepage_limits = mem_grow(to->hugepage_limits, at + 1, sizeof(*to->hugepage_limits));
        to->hugepage_limits[to->n_hugepage_limits++] =
            (Runtime__V1__HugepageLimit *)pbjson_copy(&from->hugepage_limits[i]->base);
    }
    for (size_t i = 0; i < from->n_unified; i++) {
        size_t at = 0;
        while (at < to->n_unified && !str_eq(to->unified[at]->key, from->unified[i]->key))
            at++;
        if (at < to->n_unified) {
            set_text(&to->unified[at]->value, from->unified[i]->value);
            continue;
        }
        to->unified = mem_grow(to->unified, at + 1, sizeof(*to->unified));
        to->unified[to->n_unified++] = (void *)pbjson_copy(&from->unified[i]->base);
    }
}

static int record(struct container *c, struct container_update *u, struct error *err)
{
    if (!c->config->linux) {
        c->config->linux = mem_zalloc(sizeof(*c->config->linux));
        runtime__v1__linux_container_config__init(c->config->linux);
    }
    Runtime__V1__LinuxContainerResources **have = &c->config->linux->resources;
    if (*have) {
        merge(*have, u->resources);
        merge_lists(*have, u->resources);
    } else {
        *have = TAKE_PTR(u->resources);
    }
    return container_save(c, err);
}

static void begin(struct container *c);

static void on_applied(int code, const struct error *err, void *data)
{
    struct container_update *u = data;
    struct container *c = map_get(&u->rt->containers, u->id);
    struct error failure = ERROR_INIT;
    if (err)
        failure = *err;
    if (!c)
        code = error_set(&failure, -ENOENT, "container %s was removed meanwhile", u->id);
    else if (code == 0)
        code = record(c, u, &failure);
    if (u->notes.len)
        log_debug("not everything could be applied", "container", u->id, "notes",
                  strbuf_text(&u->notes), NULL);
    finish(u, code, &failure);
    if (c && !list_empty(&c->updates))
        begin(c);
}

static void discard(void *data)
{
    struct container_update *u = data;
    struct error err = ERROR_INIT;
    finish(u, error_set(&err, -ECANCELED, "the runtime is stopping"), &err);
}

static void begin(struct container *c)
{
    struct container_update *u = LIST_ENTRY(c->updates.next, struct container_update, entry);
    u->cgroup = str_dup(c->cgroup);
    u->old_score = c->config->linux && c->config->linux->resources
                       ? c->config->linux->resources->oom_score_adj
                       : 0;
    job_run_owned(c->rt->jobs, apply, on_applied, discard, u);
}

void container_update(struct container *c, const Runtime__V1__LinuxContainerResources *resources,
                      done_fn cb, void *arg)
{
    struct error err = ERROR_INIT;
    const Runtime__V1__LinuxContainerResources *have =
        c->config->linux ? c->config->linux->resources : NULL;
    struct container_update *u = mem_zalloc(sizeof(*u));
    list_init(&u->entry);
    u->rt = c->rt;
    u->cb = cb;
    u->arg = arg;
    memcpy(u->id, c->id, sizeof(u->id));
    u->resources = (Runtime__V1__LinuxContainerResources *)pbjson_copy(&resources->base);
    int r = resources_to_limits(&u->arena, u->resources, &u->limits, &err);
    if (r == 0 && c->state != CONTAINER_CREATED && c->state != CONTAINER_RUNNING)
        r = error_set(&err, -EBADFD, "container %s is neither created nor running", c->id);
    if (r == 0 && c->state == CONTAINER_CREATED && resources->oom_score_adj &&
        resources->oom_score_adj != (have ? have->oom_score_adj : 0))
        r = error_set_field(&err, -ENOTSUP, "linux.oom_score_adj",
                            "linux.oom_score_adj: container %s is not running yet", c->id);
    if (r < 0) {
        finish(u, r, &err);
        return;
    }
    bool first = list_empty(&c->updates);
    list_append(&c->updates, &u->entry);
    if (first)
        begin(c);
}

void container_updates_end(struct container *c)
{
    struct error err = ERROR_INIT;
    (void)error_set(&err, -ENOENT, "container %s was removed meanwhile", c->id);
    LIST_FOR_EACH(e, &c->updates) {
        struct container_update *u = LIST_ENTRY(e, struct container_update, entry);
        if (u->cgroup) { /* under way: its end finds no container */
            list_remove(&u->entry);
        } else {
            finish(u, -ENOENT, &err);
        }
    }
}
