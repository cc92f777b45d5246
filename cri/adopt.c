/* What the last daemon left; see adopt.h. */
#include "cri/adopt.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/times.h"
#include "cri/container.h"
#include "cri/record.h"

static void finish_one(struct runtime *rt)
{
    if (--rt->adopting == 0)
        rt->adopted(rt);
}

static void ignore_reply(_unused_ const struct shim_reply *reply, _unused_ void *arg)
{
}

/* ---- one sandbox against what its shim says ---- */
struct reconcile {
    struct sandbox *s;
    void (*done)(struct sandbox *s);
};

static const struct shim_state *find(const struct shim_state *states, size_t n, const char *id)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(states[i].id, id))
            return &states[i];
    return NULL;
}

static void discard(struct container *c)
{
    container_discard(c);
}

/* Brings one container in line. @dead: its shim is, and what it says was so before. */
static void settle(struct container *c, const struct shim_state *st, bool dead)
{
    if (c->state == CONTAINER_CREATING || (!st && c->state == CONTAINER_CREATED && !dead)) {
        /* Never answered, or the shim has not heard of it: as if it had not been asked for. */
        if (c->sandbox->shim && st)
            (void)shim_remove(c->sandbox->shim, c->id, ignore_reply, NULL);
        container_reap(c, discard);
        return;
    }
    if (c->state == CONTAINER_EXITED) {
        container_reap(c, NULL);
        return;
    }
    if (st && st->state == SHIM_EXITED) {
        if (st->started_ns)
            c->started_ns = st->started_ns;
        container_exited(c, st->exit_code, st->oom_killed, st->finished_ns, NULL, NULL);
    } else if (st && st->state == SHIM_RUNNING && !dead) {
        c->state = CONTAINER_RUNNING;
        c->pid = st->pid;
        c->started_ns = st->started_ns;
        (void)container_save(c, NULL);
    } else if (c->state != CONTAINER_CREATED || (st && st->state == SHIM_RUNNING)) {
        if (st && st->started_ns)
            c->started_ns = st->started_ns;
        container_exited(c, 137, false, 0, "ShimDied", "the shim of the pod was killed");
    } else if (dead) {
        container_reap(c, NULL);
    }
}

static void settle_all(struct sandbox *s, const struct shim_state *states, size_t n, bool dead)
{
    LIST_FOR_EACH(e, &s->containers) {
        struct container *c = LIST_ENTRY(e, struct container, entry);
        settle(c, find(states, n, c->id), dead);
    }
}

static void on_states(int code, const struct shim_state *states, size_t n, void *arg)
{
    struct reconcile *r = arg;
    /* When the connection broke instead, `closed` says what becomes of them. */
    if (code == 0)
        settle_all(r->s, states, n, false);
    if (r->done)
        r->done(r->s);
    free(r);
}

void adopt_reconcile(struct sandbox *s, void (*done)(struct sandbox *s))
{
    struct reconcile *r = mem_zalloc(sizeof(*r));
    *r = (struct reconcile){s, done};
    int code = shim_query(s->shim, on_states, r);
    if (code < 0)
        on_states(code, NULL, 0, r);
}

/* ---- reading records ---- */

static void on_adopted(struct sandbox *s)
{
    finish_one(s->rt);
}

static void on_cleared(_unused_ int code, _unused_ const struct error *err, void *arg)
{
    finish_one(arg);
}

static void load_containers(struct sandbox *s)
{
    _cleanup_free_ char *dir = fs_join(s->dir, "containers");
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (!str_ends(e->d_name, ".json") || strlen(e->d_name) != CONTAINER_ID_LEN + 5)
            continue;
        _cleanup_free_ char *id = str_ndup(e->d_name, CONTAINER_ID_LEN);
        struct error err = ERROR_INIT;
        struct container *c = container_load(s, id, &err);
        if (!c) {
            log_error("a container's record is damaged, it will be removed", "container", id,
                      "error", error_text(&err), NULL);
            _cleanup_free_ char *path = fs_join(dir, e->d_name);
            (void)unlink(path);
            continue;
        }
        if (container_use_images(c, &err) < 0)
            log_warn("an image that a container uses is gone", "container", id, "error",
                     error_text(&err), NULL);
    }
    if (d)
        (void)closedir(d);
}

/* A container that the shim has and no record is left of: its record was damaged. */
static void remove_unknown(struct sandbox *s, const struct shim_state *states, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!map_has(&s->rt->containers, states[i].id) && s->shim)
            (void)shim_kill(s->shim, states[i].id, NULL, SIGKILL, true, ignore_reply, NULL);
}

static void on_first_states(int code, const struct shim_state *states, size_t n, void *arg)
{
    struct reconcile *r = arg;
    if (code == 0)
        remove_unknown(r->s, states, n);
    on_states(code, states, n, arg);
}

static void shim_is_dead(struct sandbox *s)
{
    struct error err = ERROR_INIT;
    struct shim_state *states = NULL;
    size_t n = 0;
    if (shim_state_files(s->dir, &states, &n, &err) < 0)
        log_warn("cannot read what a dead shim left", "sandbox", s->id, "error", error_text(&err),
                 NULL);
    settle_all(s, states, n, true);
    free(states);
}

static void adopt_sandbox(struct sandbox *s)
{
    struct runtime *rt = s->rt;
    struct error err = ERROR_INIT;
    load_containers(s);
    rt->adopting++;
    if (s->state == SANDBOX_STOPPED) {
        shim_is_dead(s);
        finish_one(rt);
        return;
    }
    struct shim_events events = sandbox_shim_events(s);
    int r = shim_connect(rt->loop, s->dir, &events, &s->shim, &err);
    if (r < 0)
        s->shim = NULL;
    if (s->state == SANDBOX_READY && !s->host_network)
        network_adopt(rt->network, s->id, s->config, &s->net);
    if (s->state == SANDBOX_CREATING) {
        log_info("removing a half-made sandbox", "sandbox", s->id, NULL);
        s->created_ns = 0;
        sandbox_remove(s, on_cleared, rt);
        return;
    }
    if (!s->shim) {
        if (s->state == SANDBOX_READY)
            log_warn("the shim of a sandbox is gone", "sandbox", s->id, "error", error_text(&err),
                     NULL);
        shim_is_dead(s);
        sandbox_stop(s, on_cleared, rt);
        return;
    }
    if (s->state == SANDBOX_STOPPING) {
        sandbox_stop(s, on_cleared, rt);
        return;
    }
    struct reconcile *rec = mem_zalloc(sizeof(*rec));
    *rec = (struct reconcile){s, on_adopted};
    r = shim_query(s->shim, on_first_states, rec);
    if (r < 0)
        on_states(r, NULL, 0, rec);
}

/* A record that cannot be read: the pod's processes and namespaces go, its address and link are
 * swept later because no sandbox has that id. */
static void remove_damaged(struct runtime *rt, const char *id, const struct error *why)
{
    log_error("a sandbox's record is damaged, the pod is removed", "sandbox", id, "error",
              error_text(why), NULL);
    Runtime__V1__PodSandboxConfig *config = mem_zalloc(sizeof(*config));
    runtime__v1__pod_sandbox_config__init(config);
    config->metadata = mem_zalloc(sizeof(*config->metadata));
    runtime__v1__pod_sandbox_metadata__init(config->metadata);
    struct sandbox *s = sandbox_new(rt, id, config);
    s->state = SANDBOX_CREATING;
    adopt_sandbox(s);
}

static void load_sandboxes(struct runtime *rt)
{
    DIR *d = opendir(rt->sandboxes_dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (strlen(e->d_name) != SANDBOX_ID_LEN ||
            strspn(e->d_name, "0123456789abcdef") != SANDBOX_ID_LEN)
            continue;
        struct error err = ERROR_INIT;
        struct sandbox *s = sandbox_load(rt, e->d_name, &err);
        if (s)
            adopt_sandbox(s);
        else
            remove_damaged(rt, e->d_name, &err);
    }
    if (d)
        (void)closedir(d);
}

/* ---- what belongs to nobody ---- */
static int remove_tree(void *data, struct error *err)
{
    return fs_remove_tree(data, err);
}

static void on_tree_removed(int code, const struct error *err, void *data)
{
    if (code < 0)
        log_warn("cannot remove a layer that nobody has", "error", error_text(err), NULL);
    free(data);
}

static void sweep_layers(struct runtime *rt)
{
    DIR *d = opendir(rt->containers_dir);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.' && !map_has(&rt->containers, e->d_name))
            job_run(rt->jobs, remove_tree, on_tree_removed, fs_join(rt->containers_dir, e->d_name));
    if (d)
        (void)closedir(d);
}

static bool has_sandbox(const char *id, void *arg)
{
    const struct runtime *rt = arg;
    const struct sandbox *s = map_get(&rt->sandboxes, id);
    return s && s->state != SANDBOX_STOPPED;
}

void adopt_begin(struct runtime *rt)
{
    rt->adopting++;
    load_sandboxes(rt);
    sweep_layers(rt);
    network_sweep(rt->network, has_sandbox, rt);
    image_store_ready(rt->images);
    finish_one(rt);
}
