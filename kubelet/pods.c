/*
 * The pod manager. A worker starts when the runtime has been listed once and, where it has
 * something of this pod already, has told all about it: that is how a restarted kubelet takes over
 * running containers instead of starting them again.
 */
#include "kubelet/pods.h"

#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "kube/meta.h"
#include "kubelet/cgroups.h"
#include "kubelet/orphans.h"
#include "kubelet/runtime/events.h"

#define SWEEP_MS 20000

struct pod_manager {
    struct kubelet *k;
    struct map workers;  /* uid → worker */
    struct map waiting;  /* uid → pod: the runtime has not been listed yet */
    struct map replaced; /* "ns/name" of a static pod → its successor, until it is gone */
    struct map mirrors;  /* "ns/name" → mirror pod */
    struct orphans *orphans;
    struct loop_timer sweep; /* for orphans */
    bool listed, synced[2];
};

static void on_sweep(void *arg);

static void unref_pod(void *pod)
{
    pod_unref(pod);
}

struct pod_manager *pod_manager_new(struct kubelet *k)
{
    struct pod_manager *m = mem_zalloc(sizeof(*m));
    m->k = k;
    m->waiting = (struct map)MAP_INIT(unref_pod);
    m->replaced = (struct map)MAP_INIT(unref_pod);
    m->mirrors = (struct map)MAP_INIT(unref_pod);
    m->orphans = orphans_new(k);
    m->synced[POD_FROM_API] = !k->api;
    loop_timer_init(&m->sweep, k->loop, "sweep for orphans", on_sweep, m);
    return m;
}

struct pod_manager *pod_manager_free(struct pod_manager *m)
{
    if (!m)
        return NULL;
    MAP_FOR_EACH(e, &m->workers)
        worker_free(map_value(e));
    map_clear(&m->workers);
    map_clear(&m->waiting);
    map_clear(&m->replaced);
    map_clear(&m->mirrors);
    orphans_free(m->orphans);
    loop_timer_done(&m->sweep);
    free(m);
    return NULL;
}

static char *full_name(const struct pod *pod)
{
    return str_printf("%s/%s", pod->meta.ns, pod->meta.name);
}

struct pod_worker *pod_manager_find(const struct pod_manager *m, const char *ns, const char *name,
                                    const char *uid)
{
    MAP_FOR_EACH(e, &m->workers) {
        struct pod_worker *w = map_value(e);
        if (str_eq(w->pod->meta.name, name) && str_eq(w->pod->meta.ns, ns) &&
            (!uid || str_eq(w->pod->meta.uid, uid)))
            return w;
    }
    return NULL;
}

struct pod_worker *pod_manager_by_uid(const struct pod_manager *m, const char *uid)
{
    return map_get(&m->workers, uid);
}

void pod_manager_each(const struct pod_manager *m,
                      void (*fn)(const struct pod_worker *w, void *arg), void *arg)
{
    MAP_FOR_EACH(e, &m->workers)
        fn(map_value(e), arg);
}

void pod_manager_kick(struct pod_manager *m)
{
    MAP_FOR_EACH(e, &m->workers)
        worker_kick(map_value(e));
}

static bool has_share(const struct pod_worker *w)
{
    return (w->stage == WORKER_RUN || w->stage == WORKER_STOP) && !w->rejected &&
           !pod_is_over(w->pod);
}

void pod_manager_weigh(struct pod_manager *m)
{
    int64_t burstable = 0;
    if (!m || !m->k->cgroups)
        return;
    MAP_FOR_EACH(e, &m->workers) {
        const struct pod_worker *w = map_value(e);
        if (has_share(w) && w->pod->qos == QOS_BURSTABLE)
            burstable += pod_request(w->pod, "cpu");
    }
    pod_cgroups_weigh(m->k->cgroups, burstable);
}

int64_t pod_manager_requested(const struct pod_manager *m, const char *name,
                              const struct pod_worker *but)
{
    int64_t sum = 0;
    if (!m)
        return 0;
    MAP_FOR_EACH(e, &m->workers) {
        const struct pod_worker *w = map_value(e);
        if (w != but && has_share(w))
            sum += str_eq(name, "pods") ? 1 : pod_request(w->pod, name);
    }
    return sum;
}

/* ---- mirrors ---- */
static void on_mirror_made(const struct kube_result *r, void *arg)
{
    (void)arg;
    if (r->error && r->status != 409)
        log_warn("mirror pod cannot be made", "error", r->error, NULL);
}

static void create_mirror(struct pod_manager *m, const struct pod *pod)
{
    _cleanup_json_ json_t *object = json_parse(pod->json, pod->json_len, NULL);
    _cleanup_free_ char *path = kube_path("v1", pod->meta.ns, "pods", NULL, NULL);
    json_t *meta = json_object_get(object, "metadata");
    if (!meta)
        return;
    (void)json_object_del(meta, "uid");
    (void)json_object_del(object, "status");
    meta_set_annotation(object, POD_ANNOTATION_MIRROR,
                        string_map_get(&pod->meta.annotations, POD_ANNOTATION_HASH));
    (void)json_path_set(object, "spec.nodeName", json_text(m->k->node_name));
    (void)kube_create(m->k->api, path, object, on_mirror_made, NULL);
}

static void delete_mirror(struct pod_manager *m, const struct pod *mirror)
{
    _cleanup_free_ char *path = kube_path("v1", mirror->meta.ns, "pods", mirror->meta.name, NULL);
    _cleanup_json_ json_t *options =
        json_pack("{s:s,s:s,s:i,s:{s:s}}", "kind", "DeleteOptions", "apiVersion", "v1",
                  "gracePeriodSeconds", 0, "preconditions", "uid", mirror->meta.uid);
    (void)kube_delete(m->k->api, path, options, NULL, NULL);
}

/* Makes the mirror in the API what the static pod needs. */
static void sync_mirror(struct pod_manager *m, struct pod_worker *w)
{
    _cleanup_free_ char *name = full_name(w->pod);
    const struct pod *mirror = map_get(&m->mirrors, name);
    if (!m->k->api || !m->synced[POD_FROM_API] || w->pod->source != POD_FROM_FILE || w->removed)
        return;
    if (!mirror)
        create_mirror(m, w->pod);
    else if (!str_eq(string_map_get(&mirror->meta.annotations, POD_ANNOTATION_MIRROR),
                     string_map_get(&w->pod->meta.annotations, POD_ANNOTATION_HASH)) ||
             mirror->meta.deleted)
        delete_mirror(m, mirror);
    else
        worker_set_mirror(w, map_get(&m->mirrors, name));
}

static struct pod_worker *static_worker(const struct pod_manager *m, const struct pod *mirror)
{
    MAP_FOR_EACH(e, &m->workers) {
        struct pod_worker *w = map_value(e);
        if (w->pod->source == POD_FROM_FILE && !w->removed &&
            str_eq(w->pod->meta.name, mirror->meta.name) &&
            str_eq(w->pod->meta.ns, mirror->meta.ns))
            return w;
    }
    return NULL;
}

void pod_manager_mirror(struct pod_manager *m, struct pod *mirror, bool gone)
{
    _cleanup_free_ char *name = full_name(mirror);
    struct pod_worker *w = static_worker(m, mirror);
    if (gone) {
        (void)map_remove(&m->mirrors, name);
        if (w)
            worker_set_mirror(w, NULL);
    } else {
        map_set(&m->mirrors, name, pod_ref(mirror));
    }
    if (w)
        sync_mirror(m, w);
    else if (!gone && m->synced[POD_FROM_FILE] && !map_has(&m->replaced, name))
        delete_mirror(m, mirror);
}

/* ---- workers ---- */
static void start(struct pod_manager *m, struct pod *pod);

static void on_gone(struct pod_worker *w, void *arg)
{
    struct pod_manager *m = arg;
    char label[POD_LABEL_MAX];
    _cleanup_free_ char *name = full_name(w->pod);
    log_info("pod removed", "pod", pod_label(w->pod, label), "uid", w->pod->meta.uid, NULL);
    (void)map_take(&m->workers, w->pod->meta.uid);
    worker_free(w);
    MAP_FOR_EACH(e, &m->workers)
        worker_retry_resize(map_value(e));
    pod_manager_weigh(m);
    struct pod *next = map_take(&m->replaced, name);
    if (next) {
        start(m, next);
        pod_unref(next);
    }
}

static void start(struct pod_manager *m, struct pod *pod)
{
    char label[POD_LABEL_MAX];
    if (!m->listed) {
        map_set(&m->waiting, pod->meta.uid, pod_ref(pod));
        return;
    }
    struct pod_worker *w = worker_new(m->k, pod, on_gone, m);
    map_set(&m->workers, pod->meta.uid, w);
    pod_manager_weigh(m);
    log_info("pod added", "pod", pod_label(pod, label), "uid", pod->meta.uid, "source",
             pod->source == POD_FROM_API ? "api" : "file", NULL);
    if (runtime_events_knows(m->k->runtime_events, pod->meta.uid)) {
        w->held = true;
        runtime_events_refresh(m->k, pod->meta.uid);
    }
    sync_mirror(m, w);
}

void pod_manager_upsert(struct pod_manager *m, struct pod *pod)
{
    struct pod_worker *w = map_get(&m->workers, pod->meta.uid);
    if (w) {
        worker_update(w, pod);
        return;
    }
    if (map_has(&m->waiting, pod->meta.uid)) {
        map_set(&m->waiting, pod->meta.uid, pod_ref(pod));
        return;
    }
    /* A static pod whose manifest changed is another pod: it waits until the old one is gone. */
    _cleanup_free_ char *name = full_name(pod);
    if (pod->source == POD_FROM_FILE && pod_manager_find(m, pod->meta.ns, pod->meta.name, NULL)) {
        map_set(&m->replaced, name, pod_ref(pod));
        return;
    }
    start(m, pod);
}

void pod_manager_remove(struct pod_manager *m, const char *uid)
{
    struct pod_worker *w = map_get(&m->workers, uid);
    (void)map_remove(&m->waiting, uid);
    MAP_FOR_EACH(e, &m->replaced)
        if (str_eq(((const struct pod *)map_value(e))->meta.uid, uid))
            (void)map_remove(&m->replaced, map_key(e));
    if (w && w->pod->source == POD_FROM_API)
        worker_forget(w);
    else if (w)
        worker_remove(w);
}

/* ---- orphans ---- */
static bool wanted(const struct pod_manager *m, const char *uid)
{
    if (map_has(&m->workers, uid) || map_has(&m->waiting, uid))
        return true;
    MAP_FOR_EACH(e, &m->replaced)
        if (str_eq(((const struct pod *)map_value(e))->meta.uid, uid))
            return true;
    return false;
}

bool pod_manager_is_synced(const struct pod_manager *m)
{
    return m->listed && m->synced[0] && m->synced[1];
}

static void check_orphan(const char *uid, void *arg)
{
    struct pod_manager *m = arg;
    if (pod_manager_is_synced(m) && !wanted(m, uid))
        orphans_remove(m->orphans, uid);
}

static void check_orphans(struct pod_manager *m)
{
    if (!pod_manager_is_synced(m))
        return;
    struct map uids = MAP_INIT(NULL);
    MAP_FOR_EACH(e, &m->workers)
        map_set(&uids, map_key(e), m);
    MAP_FOR_EACH(e, &m->waiting)
        map_set(&uids, map_key(e), m);
    MAP_FOR_EACH(e, &m->replaced)
        map_set(&uids, ((const struct pod *)map_value(e))->meta.uid, m);
    runtime_events_each(m->k->runtime_events, check_orphan, m);
    orphans_remove_files(m->orphans, &uids);
    map_clear(&uids);
    loop_timer_set(&m->sweep, SWEEP_MS);
}

/* What others leave behind, or what could not be removed before: a safety net. */
static void on_sweep(void *arg)
{
    check_orphans(arg);
}

void pod_manager_synced(struct pod_manager *m, enum pod_source source)
{
    if (m->synced[source])
        return;
    m->synced[source] = true;
    MAP_FOR_EACH(e, &m->workers)
        sync_mirror(m, map_value(e));
    if (m->synced[0] && m->synced[1])
        MAP_FOR_EACH(e, &m->mirrors)
            if (!static_worker(m, map_value(e)) && !map_count(&m->waiting))
                delete_mirror(m, map_value(e));
    check_orphans(m);
}

void pod_manager_groups_ready(struct pod_manager *m)
{
    if (!m)
        return;
    pod_manager_weigh(m);
    pod_manager_kick(m);
    check_orphans(m);
}

/* ---- the runtime ---- */
static void on_sandbox(void *arg, const char *uid, const Runtime__V1__PodSandboxStatus *s)
{
    struct pod_manager *m = arg;
    struct pod_worker *w = map_get(&m->workers, uid);
    if (w)
        worker_observe_sandbox(w, s);
    else
        check_orphan(uid, m);
}

static void on_container(void *arg, const char *uid, const char *sandbox,
                         const Runtime__V1__ContainerStatus *c)
{
    struct pod_manager *m = arg;
    struct pod_worker *w = map_get(&m->workers, uid);
    if (w)
        worker_observe_container(w, sandbox, c);
}

static void on_item_gone(void *arg, const char *uid, const char *id)
{
    struct pod_manager *m = arg;
    struct pod_worker *w = map_get(&m->workers, uid);
    if (w)
        worker_observe_gone(w, id);
}

static void on_listed(void *arg)
{
    struct pod_manager *m = arg;
    m->listed = true;
    struct map pods = m->waiting;
    m->waiting = (struct map)MAP_INIT(unref_pod);
    MAP_FOR_EACH(e, &pods)
        start(m, map_value(e));
    map_clear(&pods);
    check_orphans(m);
}

static void on_refreshed(void *arg, const char *uid)
{
    struct pod_manager *m = arg;
    struct pod_worker *w = map_get(&m->workers, uid);
    if (w && w->held) {
        w->held = false;
        worker_kick(w);
    }
}

const struct runtime_events_ops pod_manager_runtime_ops = {
    .sandbox = on_sandbox,
    .container = on_container,
    .gone = on_item_gone,
    .listed = on_listed,
    .refreshed = on_refreshed,
};
