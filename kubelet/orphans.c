/* Orphans: one job per pod, list → stop containers → stop and remove sandboxes → files. */
#include "kubelet/orphans.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/cgroups.h"
#include "kubelet/runtime/events.h"
#include "kubelet/runtime/message.h"
#include "kubelet/volume/volume.h"
#include "kubelet/worker/worker.h"

#define RETRY_MS 2000

struct orphans {
    struct kubelet *k;
    struct map jobs;         /* uid → struct job */
    struct map dirs;         /* uid → struct dir_removal: by another process */
    struct loop_timer timer; /* files that were busy */
    struct map *left;
};
struct job {
    struct orphans *o;
    char *uid;
    struct list calls;
    struct loop_timer retry;
    bool failed;
    void (*next)(struct job *j);
};
struct call {
    struct list entry;
    struct job *job;
    struct runtime_call *call;
    char *id;
};

static void begin(struct job *j);
static void remove_files_of(struct orphans *o, const char *uid);

static void call_free(struct call *c)
{
    runtime_cancel(c->job->o->k->runtime, &c->call);
    list_remove(&c->entry);
    free(c->id);
    free(c);
}

static void job_free(void *value)
{
    struct job *j = value;
    LIST_FOR_EACH(e, &j->calls)
        call_free(LIST_ENTRY(e, struct call, entry));
    loop_timer_done(&j->retry);
    free(j->uid);
    free(j);
}

/* Goes on when no call is left; after a failure, from the beginning and later. */
static void advance(struct job *j)
{
    if (!list_empty(&j->calls))
        return;
    if (j->failed) {
        j->failed = false;
        loop_timer_set(&j->retry, RETRY_MS);
        return;
    }
    j->next(j);
}

static struct call *call_new(struct job *j, const char *id)
{
    struct call *c = mem_zalloc(sizeof(*c));
    c->job = j;
    c->id = str_dup(id);
    list_append(&j->calls, &c->entry);
    return c;
}

static void on_done(void *arg, enum rpc_status status, const char *message,
                    const ProtobufCMessage *response)
{
    struct call *c = arg;
    struct job *j = c->job;
    (void)response;
    c->call = NULL;
    if (status != RPC_OK && status != RPC_NOT_FOUND) {
        log_warn("orphan cannot be removed", "uid", j->uid, "error", message, NULL);
        j->failed = true;
    }
    call_free(c);
    advance(j);
}

static void finish(struct job *j)
{
    struct orphans *o = j->o;
    _cleanup_free_ char *uid = str_dup(j->uid);
    log_info("orphaned pod removed", "uid", uid, NULL);
    (void)map_remove(&o->jobs, uid);
    remove_files_of(o, uid);
}

static void remove_sandbox(const char *id, void *arg)
{
    struct job *j = arg;
    Runtime__V1__RemovePodSandboxRequest q = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
    struct call *c = call_new(j, id);
    q.pod_sandbox_id = c->id;
    c->call = runtime_call(j->o->k->runtime, CRI_REMOVE_POD_SANDBOX, &q.base, CRI_DEADLINE_MS,
                           on_done, c);
}

static void remove_sandboxes(struct job *j)
{
    j->next = finish;
    runtime_events_sandboxes(j->o->k->runtime_events, j->uid, remove_sandbox, j);
    advance(j);
}

static void stop_sandbox(const char *id, void *arg)
{
    struct job *j = arg;
    Runtime__V1__StopPodSandboxRequest q = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
    struct call *c = call_new(j, id);
    q.pod_sandbox_id = c->id;
    c->call =
        runtime_call(j->o->k->runtime, CRI_STOP_POD_SANDBOX, &q.base, CRI_DEADLINE_MS, on_done, c);
}

static void stop_sandboxes(struct job *j)
{
    j->next = remove_sandboxes;
    runtime_events_sandboxes(j->o->k->runtime_events, j->uid, stop_sandbox, j);
    advance(j);
}

static int64_t grace_of(const Runtime__V1__Container *c)
{
    const char *text = message_map_get(c->n_annotations, c->annotations, ANNOTATION_DELETION_GRACE);
    if (!text)
        text = message_map_get(c->n_annotations, c->annotations, ANNOTATION_POD_GRACE);
    long grace = text ? strtol(text, NULL, 10) : 30;
    return grace < 2 ? 2 : grace > 86400 ? 86400 : grace;
}

static void on_containers(void *arg, enum rpc_status status, const char *message,
                          const ProtobufCMessage *response)
{
    struct call *c = arg;
    struct job *j = c->job;
    const Runtime__V1__ListContainersResponse *r = (const void *)response;
    (void)message;
    c->call = NULL;
    j->failed = status != RPC_OK;
    for (size_t i = 0; status == RPC_OK && i < r->n_containers; i++) {
        if (r->containers[i]->state != RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING)
            continue;
        Runtime__V1__StopContainerRequest q = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;
        struct call *stop = call_new(j, r->containers[i]->id);
        q.container_id = stop->id;
        q.timeout = grace_of(r->containers[i]);
        stop->call = runtime_call(j->o->k->runtime, CRI_STOP_CONTAINER, &q.base,
                                  CRI_DEADLINE_MS + (uint64_t)q.timeout * 1000, on_done, stop);
    }
    j->next = stop_sandboxes;
    call_free(c);
    advance(j);
}

static void begin(struct job *j)
{
    Runtime__V1__ListContainersRequest *q =
        message_new(&runtime__v1__list_containers_request__descriptor);
    q->filter = message_new(&runtime__v1__container_filter__descriptor);
    message_map_put(&q->filter->n_label_selector, &q->filter->label_selector,
                    &runtime__v1__container_filter__label_selector_entry__descriptor, LABEL_POD_UID,
                    j->uid);
    struct call *c = call_new(j, NULL);
    c->call = runtime_call(j->o->k->runtime, CRI_LIST_CONTAINERS, &q->base, CRI_DEADLINE_MS,
                           on_containers, c);
    message_free(q);
}

static void on_retry(void *arg)
{
    begin(arg);
}

void orphans_remove(struct orphans *o, const char *uid)
{
    if (map_has(&o->jobs, uid))
        return;
    struct job *j = mem_zalloc(sizeof(*j));
    j->o = o;
    j->uid = str_dup(uid);
    list_init(&j->calls);
    loop_timer_init(&j->retry, o->k->loop, "orphan", on_retry, j);
    map_set(&o->jobs, uid, j);
    begin(j);
}

/* ---- files ---- */
static void remove_log_dir(struct orphans *o, const char *uid)
{
    DIR *d = opendir(o->k->log_root);
    for (const struct dirent *e; d && (e = readdir(d));) {
        const char *last = strrchr(e->d_name, '_');
        if (!last || !str_eq(last + 1, uid))
            continue;
        _cleanup_free_ char *path = fs_join(o->k->log_root, e->d_name);
        (void)kubelet_remove_logs(o->k, path, NULL);
    }
    if (d)
        (void)closedir(d);
}

static void note_left(struct orphans *o, const char *uid)
{
    map_set(o->left, uid, o);
    loop_timer_set(&o->timer, RETRY_MS);
}

struct dir_removal {
    struct orphans *o;
    char *uid;
    struct volume_teardown *teardown;
};

static void dir_removal_free(void *value)
{
    struct dir_removal *d = value;
    volume_teardown_cancel(d->teardown);
    free(d->uid);
    free(d);
}

static void dir_removed(struct orphans *o, const char *uid, int code, const char *error)
{
    if (code < 0) {
        log_warn("orphaned volumes cannot be removed", "uid", uid, "error", error, NULL);
        note_left(o, uid);
    } else {
        remove_log_dir(o, uid);
    }
}

static void on_torn_down(void *arg, int code, const char *error)
{
    struct dir_removal *d = arg;
    d->teardown = NULL;
    (void)map_take(&d->o->dirs, d->uid);
    dir_removed(d->o, d->uid, code, error);
    dir_removal_free(d);
}

static void remove_dir(struct orphans *o, const char *uid)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ char *dir = kubelet_pod_dir(o->k, uid);
    if (map_has(&o->dirs, uid))
        return;
    struct dir_removal *d = mem_zalloc(sizeof(*d));
    d->o = o;
    d->uid = str_dup(uid);
    int code = volumes_teardown(o->k, dir, on_torn_down, d, &d->teardown, &err);
    if (code == VOLUME_E_PENDING) {
        map_set(&o->dirs, uid, d);
        return;
    }
    dir_removed(o, uid, code, error_text(&err));
    dir_removal_free(d);
}

struct cgroup_search {
    struct orphans *o;
    const char *uid;          /* one pod, or */
    const struct map *wanted; /* all but these */
};

static void remove_cgroup(const char *uid, const char *path, void *arg)
{
    const struct cgroup_search *s = arg;
    struct error err = ERROR_INIT;
    if (s->uid ? !str_eq(uid, s->uid)
               : map_has(s->wanted, uid) || runtime_events_knows(s->o->k->runtime_events, uid))
        return;
    if (pod_cgroups_remove_path(s->o->k->cgroups, path, &err) != 0)
        note_left(s->o, uid);
}

static void remove_files_of(struct orphans *o, const char *uid)
{
    struct cgroup_search s = {.o = o, .uid = uid};
    remove_dir(o, uid);
    if (o->k->cgroups)
        pod_cgroups_each(o->k->cgroups, remove_cgroup, &s);
}

static void on_timer(void *arg)
{
    struct orphans *o = arg;
    struct map again = *o->left;
    *o->left = (struct map)MAP_INIT(NULL);
    MAP_FOR_EACH(e, &again)
        remove_files_of(o, map_key(e));
    map_clear(&again);
}

/* Logs of pods of which nothing else is left; the ones with a directory go after that. */
static void remove_lone_logs(struct orphans *o, const struct map *wanted)
{
    DIR *d = opendir(o->k->log_root);
    for (const struct dirent *e; d && (e = readdir(d));) {
        const char *last = strrchr(e->d_name, '_');
        if (!last || !name_is_dns(last + 1, 128, false) || map_has(wanted, last + 1) ||
            runtime_events_knows(o->k->runtime_events, last + 1))
            continue;
        _cleanup_free_ char *dir = kubelet_pod_dir(o->k, last + 1);
        _cleanup_free_ char *path = fs_join(o->k->log_root, e->d_name);
        struct error err = ERROR_INIT;
        if (!fs_exists(dir) && kubelet_remove_logs(o->k, path, &err) < 0)
            log_warn("orphaned logs cannot be removed", "path", path, "error", error_text(&err),
                     NULL);
    }
    if (d)
        (void)closedir(d);
}

void orphans_remove_files(struct orphans *o, const struct map *wanted)
{
    DIR *d = opendir(o->k->pods_dir);
    for (const struct dirent *e; d && (e = readdir(d));)
        if (name_is_dns(e->d_name, 128, false) && !map_has(wanted, e->d_name) &&
            !runtime_events_knows(o->k->runtime_events, e->d_name))
            remove_dir(o, e->d_name);
    if (d)
        (void)closedir(d);
    remove_lone_logs(o, wanted);
    struct cgroup_search s = {.o = o, .wanted = wanted};
    if (o->k->cgroups)
        pod_cgroups_each(o->k->cgroups, remove_cgroup, &s);
}

struct orphans *orphans_new(struct kubelet *k)
{
    struct orphans *o = mem_zalloc(sizeof(*o));
    o->k = k;
    o->jobs = (struct map)MAP_INIT(job_free);
    o->dirs = (struct map)MAP_INIT(dir_removal_free);
    o->left = mem_zalloc(sizeof(*o->left));
    loop_timer_init(&o->timer, k->loop, "orphaned files", on_timer, o);
    return o;
}

struct orphans *orphans_free(struct orphans *o)
{
    if (!o)
        return NULL;
    map_clear(&o->jobs);
    map_clear(&o->dirs);
    map_clear(o->left);
    free(o->left);
    loop_timer_done(&o->timer);
    free(o);
    return NULL;
}
