/* Pod sandboxes: stopping, removing, losing their shim; see sandbox.h (making: sandbox_run.c). */
#include "cri/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "cri/adopt.h"
#include "cri/container.h"
#include "cri/events.h"
#include "cri/exec.h"
#include "cri/groups.h"
#include "cri/record.h"

#define SHUTDOWN_DEADLINE_MS 10000

static void on_shim_deadline(void *arg);

struct sandbox *sandbox_new(struct runtime *rt, const char *id,
                            Runtime__V1__PodSandboxConfig *config)
{
    struct sandbox *s = mem_zalloc(sizeof(*s));
    s->rt = rt;
    s->config = config;
    (void)snprintf(s->id, sizeof(s->id), "%s", id);
    s->dir = fs_join(rt->sandboxes_dir, s->id);
    const Runtime__V1__NamespaceOption *ns = sandbox_namespaces(config);
    s->host_network = ns->network == RUNTIME__V1__NAMESPACE_MODE__NODE;
    s->host_ipc = ns->ipc == RUNTIME__V1__NAMESPACE_MODE__NODE;
    s->share_pid = ns->pid == RUNTIME__V1__NAMESPACE_MODE__POD;
    (void)userns_parse(ns->userns_options, "", &s->userns, NULL); /* sandbox_check() has, too */
    list_init(&s->containers);
    list_init(&s->stop_waiters);
    list_init(&s->remove_waiters);
    loop_timer_init(&s->deadline, rt->loop, "sandbox stop", on_shim_deadline, s);
    map_set(&rt->sandboxes, s->id, s);
    return s;
}

void sandbox_free(struct sandbox *s)
{
    if (!s)
        return;
    while (!list_empty(&s->containers))
        container_free(LIST_ENTRY(s->containers.next, struct container, entry));
    (void)map_take(&s->rt->sandboxes, s->id);
    loop_timer_done(&s->deadline);
    (void)shim_free(s->shim);
    runtime__v1__pod_sandbox_config__free_unpacked(s->config, NULL);
    free(s->dir);
    free(s);
}

char *sandbox_cgroup(const struct sandbox *s)
{
    const char *parent = s->config->linux ? s->config->linux->cgroup_parent : "";
    return groups_pod(s->rt->groups, parent, s->id);
}

int sandbox_network_stats(const struct sandbox *s, struct link_info *ret, struct error *err)
{
    _cleanup_free_ char *netns = shim_ns_path(s->dir, "net");
    return network_stats(netns, &s->net, ret, err);
}

static void save(struct sandbox *s)
{
    struct error err = ERROR_INIT;
    if (sandbox_save(s, &err) < 0)
        log_error("cannot record a sandbox", "sandbox", s->id, "error", error_text(&err), NULL);
}

/* ---- stop ---- */
static void part_done(struct sandbox *s, int code, const struct error *err)
{
    if (code < 0 && !s->stop_error.code && err)
        s->stop_error = *err;
    if (--s->outstanding)
        return;
    struct error first = s->stop_error;
    s->stop_error = (struct error)ERROR_INIT;
    if (first.code < 0) { /* the next stop tries again */
        log_error("cannot stop a sandbox", "sandbox", s->id, "error", error_text(&first), NULL);
        waiters_finish(&s->stop_waiters, first.code, &first);
        return;
    }
    s->state = SANDBOX_STOPPED;
    s->net = (struct network_attachment){.n_addrs = 0};
    save(s);
    if (s->created_ns)
        events_emit(s->rt->events, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STOPPED_EVENT, s,
                    NULL);
    waiters_finish(&s->stop_waiters, 0, NULL);
}

struct cleaning {
    struct sandbox *s;
    char *dir;
};

static int clean(void *data, struct error *err)
{
    const struct cleaning *c = data;
    return shim_clean(c->dir, err);
}

static void on_clean(int code, const struct error *err, void *data)
{
    struct cleaning *c = data;
    struct sandbox *s = c->s;
    free(c->dir);
    free(c);
    part_done(s, code, err);
}

static void unpin(struct sandbox *s)
{
    struct cleaning *c = mem_zalloc(sizeof(*c));
    *c = (struct cleaning){s, str_dup(s->dir)};
    s->outstanding++;
    job_run(s->rt->jobs, clean, on_clean, c);
}

static void on_detached(int code, const struct error *err, void *arg)
{
    struct sandbox *s = arg;
    if (code == 0 && network_detach_needs_netns(s->rt->network))
        unpin(s);
    part_done(s, code, err);
}

static void on_container_reaped(struct container *c)
{
    part_done(c->sandbox, 0, NULL);
}

/* The shim is gone: what is left are cgroups, the link and the pins. */
static void after_shim(struct sandbox *s)
{
    loop_timer_stop(&s->deadline);
    s->outstanding = 1;
    LIST_FOR_EACH(e, &s->containers) {
        struct container *c = LIST_ENTRY(e, struct container, entry);
        if (c->removing || c->state == CONTAINER_CREATING)
            continue;
        s->outstanding++;
        container_reap(c, on_container_reaped);
    }
    if (s->host_network || !network_detach_needs_netns(s->rt->network))
        unpin(s);
    if (s->host_network)
        part_done(s, 0, NULL);
    else
        network_detach(s->rt->network, s->id, &s->net, on_detached, s);
}

static void on_shutdown(const struct shim_reply *reply, void *arg)
{
    (void)arg;
    if (reply->code < 0 && reply->code != -ECONNRESET)
        log_warn("a shim does not want to end", "error", reply->message, NULL);
}

static void on_shim_deadline(void *arg)
{
    struct sandbox *s = arg;
    log_error("shim does not end, killing it", "sandbox", s->id, NULL);
    pid_t pid = s->shim ? shim_pid(s->shim) : 0;
    if (pid > 1)
        (void)kill(pid, SIGKILL);
    loop_timer_set(&s->deadline, SHUTDOWN_DEADLINE_MS);
}

void sandbox_stop(struct sandbox *s, done_fn cb, void *arg)
{
    if (s->state == SANDBOX_STOPPED) {
        cb(0, NULL, arg);
        return;
    }
    waiters_add(&s->stop_waiters, cb, arg);
    if (s->state == SANDBOX_STOPPING && (s->outstanding || s->shim))
        return;
    s->state = SANDBOX_STOPPING;
    save(s);
    if (s->shim && shim_shutdown(s->shim, on_shutdown, s) == 0) {
        loop_timer_set(&s->deadline, SHUTDOWN_DEADLINE_MS);
        return;
    }
    s->shim = shim_free(s->shim);
    after_shim(s);
}

/* ---- what the shim tells ---- */
static void on_exited(_unused_ struct shim *shim, const struct shim_exit *e, void *arg)
{
    struct sandbox *s = arg;
    struct container *c = map_get(&s->rt->containers, e->container);
    if (!c || c->sandbox != s)
        return;
    if (e->exec)
        exec_exited(s->rt, e->container, e->exec, e->exit_code);
    else
        container_exited(c, e->exit_code, e->oom_killed, e->finished_ns, NULL, NULL);
}

static void ignore_stop(_unused_ int code, _unused_ const struct error *err, _unused_ void *arg)
{
}

static void on_closed(struct shim *shim, bool process_ended, void *arg)
{
    struct sandbox *s = arg;
    struct error err = ERROR_INIT;
    struct shim_events events = sandbox_shim_events(s);
    bool expected = s->state == SANDBOX_STOPPING;
    s->shim = shim_free(shim);
    if (!process_ended && !expected &&
        shim_connect(s->rt->loop, s->dir, &events, &s->shim, &err) == 0) {
        log_warn("connection to a shim broke, made anew", "sandbox", s->id, NULL);
        adopt_reconcile(s, NULL);
        return;
    }
    bool died = !expected && s->state == SANDBOX_READY;
    if (died) /* who hears of the containers' end hears that the sandbox is not ready either */
        s->state = SANDBOX_STOPPING;
    LIST_FOR_EACH(e, &s->containers) {
        struct container *c = LIST_ENTRY(e, struct container, entry);
        if (c->state == CONTAINER_RUNNING || c->state == CONTAINER_STARTING)
            container_exited(c, 137, false, 0, expected ? NULL : "ShimDied",
                             expected ? NULL : "the shim of the pod was killed");
        exec_container_gone(s->rt, c->id);
    }
    if (expected) {
        after_shim(s);
    } else if (died) {
        log_error("shim died", "sandbox", s->id, "pod", s->config->metadata->name, NULL);
        sandbox_stop(s, ignore_stop, NULL);
    }
}

struct shim_events sandbox_shim_events(struct sandbox *s)
{
    return (struct shim_events){.exited = on_exited, .closed = on_closed, .arg = s};
}

/* ---- remove ---- */
static void remove_next(struct sandbox *s);

static void on_container_removed(int code, const struct error *err, void *arg)
{
    struct sandbox *s = arg;
    if (code < 0) {
        s->removing = false;
        waiters_finish(&s->remove_waiters, code, err);
        return;
    }
    remove_next(s);
}

static void remove_next(struct sandbox *s)
{
    if (!list_empty(&s->containers)) {
        container_remove(LIST_ENTRY(s->containers.next, struct container, entry),
                         on_container_removed, s);
        return;
    }
    struct runtime *rt = s->rt;
    struct error err = ERROR_INIT;
    int r = fs_remove_tree(s->dir, &err);
    if (r < 0) {
        s->removing = false;
        waiters_finish(&s->remove_waiters, r, &err);
        return;
    }
    groups_remove_pod(rt->groups, s->config->linux ? s->config->linux->cgroup_parent : "", s->id);
    struct list waiters;
    list_init(&waiters);
    while (!list_empty(&s->remove_waiters)) {
        struct list *e = s->remove_waiters.next;
        list_remove(e);
        list_append(&waiters, e);
    }
    if (s->created_ns)
        events_emit(rt->events, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_DELETED_EVENT, s,
                    NULL);
    sandbox_free(s);
    waiters_finish(&waiters, 0, NULL);
}

static void on_stopped(int code, const struct error *err, void *arg)
{
    struct sandbox *s = arg;
    if (code < 0) {
        s->removing = false;
        waiters_finish(&s->remove_waiters, code, err);
        return;
    }
    remove_next(s);
}

void sandbox_remove(struct sandbox *s, done_fn cb, void *arg)
{
    waiters_add(&s->remove_waiters, cb, arg);
    if (s->removing)
        return;
    s->removing = true;
    sandbox_stop(s, on_stopped, s);
}
