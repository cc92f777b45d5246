/*
 * The scheduler: binds pods without a node to the Ready node that suits them best.
 *
 * A look at a pod filters the nodes (Ready, schedulable, taints, node selector and required node
 * affinity, room for requests, host ports, reachable volumes), ranks the rest (more free room
 * first, fewer pods of the same owner first) and binds. Nothing fits: condition PodScheduled=False
 * with how many nodes failed why, an event, and another look whenever a node, an assigned pod or a
 * claim changes.
 *
 * A claim that waits for its first pod is told the node (an annotation), and the pod waits until
 * the binder has found a volume there; from then on the volume says where the pod can be.
 */
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/times.h"
#include "controllers/controllers.h"
#include "controllers/fit.h"

#define SCHEDULER_NAME "default-scheduler"

struct controller {
    struct controllers *c;
    struct queue *queue;
    struct map assumed; /* uid → node of pods that are bound but not seen as such yet */
};

struct look {
    struct controller *self;
    char *key, *uid, *node;
};

static bool is_pending(const struct pod *p)
{
    return (!p->node_name || !*p->node_name) && !p->meta.deleted && !pod_is_finished(p) &&
           (!p->scheduler_name || str_eq(p->scheduler_name, SCHEDULER_NAME));
}

static void finish(struct look *look, const char *error, bool conflict)
{
    queue_done(look->self->queue, look->key, error, conflict);
    free(look->key);
    free(look->uid);
    free(look->node);
    free(look);
}

static const struct pod *pod_of(const struct look *look)
{
    const struct pod *p = cache_get(look->self->c->pods, look->key);
    return p && str_eq(p->meta.uid, look->uid) ? p : NULL;
}

/* ---- binding ---- */

static void on_bound(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    struct controllers *c = look->self->c;
    const struct pod *p = pod_of(look);
    if (!result->error && p)
        controller_event(c, cache_kind_of(c->pods), &p->meta, "Normal", "Scheduled",
                         "Successfully assigned %s/%s to %s", p->meta.ns, p->meta.name, look->node);
    if (result->error)
        map_remove(&look->self->assumed, look->uid);
    /* Gone, or bound by somebody else: the watch tells. */
    bool over = result->status == 404 || result->status == 409;
    finish(look, over ? NULL : result->error, false);
}

static void bind_pod(struct look *look, const struct pod *p, const struct node *n)
{
    struct controllers *c = look->self->c;
    look->node = str_dup(n->meta.name);
    _cleanup_free_ char *path = controller_path(cache_kind_of(c->pods), &p->meta, "binding");
    _cleanup_json_ json_t *body =
        json_pack("{sssss{ssssss}s{ssssss}}", "apiVersion", "v1", "kind", "Binding", "metadata",
                  "name", p->meta.name, "namespace", p->meta.ns, "uid", p->meta.uid, "target",
                  "apiVersion", "v1", "kind", "Node", "name", n->meta.name);
    map_set(&look->self->assumed, look->uid, str_dup(n->meta.name));
    (void)kube_create(c->client, path, body, on_bound, look);
}

/* ---- nothing fits ---- */

static void on_condition_written(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    if (!result->error)
        cache_wrote(look->self->c->pods, result->body);
    finish(look, result->status == 404 ? NULL : result->error, str_eq(result->reason, "Conflict"));
}

static void tell_unschedulable(struct look *look, const struct pod *p, const char *message)
{
    struct controllers *c = look->self->c;
    const struct condition *old = condition_find(&p->conditions, "PodScheduled");
    if (old && str_eq(old->status, "False") && str_eq(old->message, message)) {
        finish(look, NULL, false);
        return;
    }
    controller_event(c, cache_kind_of(c->pods), &p->meta, "Warning", "FailedScheduling", "%s",
                     message);
    char now[TIME_TEXT_MAX];
    (void)time_format(time_now(), now);
    _cleanup_free_ char *path = controller_path(cache_kind_of(c->pods), &p->meta, "status");
    _cleanup_json_ json_t *patch =
        json_pack("{s{ss}s{s[{ssssssssss}]}}", "metadata", "uid", p->meta.uid, "status",
                  "conditions", "type", "PodScheduled", "status", "False", "reason",
                  "Unschedulable", "message", message, "lastTransitionTime", now);
    (void)kube_patch(c->client, path, KUBE_PATCH_STRATEGIC, patch, on_condition_written, look);
}

/* ---- claims that wait for a pod ---- */

static void on_claim_told(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    if (!result->error)
        cache_wrote(look->self->c->claims, result->body);
    finish(look, result->status == 404 ? NULL : result->error, str_eq(result->reason, "Conflict"));
}

/* True when the pod has to wait for a claim: the look ends with telling that, or at once. */
static bool waits_for_claim(struct look *look, const struct pod *p, const struct node *n)
{
    struct controllers *c = look->self->c;
    for (size_t i = 0; i < p->volumes.count; i++) {
        _cleanup_free_ char *key = pod_volume_claim(p, &p->volumes.items[i]);
        const struct claim *claim = key ? cache_get(c->claims, key) : NULL;
        if (!claim || claim_is_bound(claim))
            continue;
        if (str_eq(string_map_get(&claim->meta.annotations, SELECTED_NODE), n->meta.name)) {
            finish(look, NULL, false);
            return true;
        }
        _cleanup_free_ char *path = controller_path(cache_kind_of(c->claims), &claim->meta, NULL);
        _cleanup_json_ json_t *patch = json_pack(
            "{s:{s:s,s:s,s:{s:s}}}", "metadata", "uid", claim->meta.uid, "resourceVersion",
            claim->meta.version, "annotations", SELECTED_NODE, n->meta.name);
        (void)kube_patch(c->client, path, KUBE_PATCH_MERGE, patch, on_claim_told, look);
        return true;
    }
    return false;
}

/* ---- one look ---- */

static void work(void *arg, const char *key)
{
    struct controller *self = arg;
    struct controllers *c = self->c;
    const struct pod *p = cache_get(c->pods, key);
    if (!p || !is_pending(p) || map_has(&self->assumed, p->meta.uid)) {
        queue_done(self->queue, key, NULL, false);
        return;
    }
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){.self = self, .key = str_dup(key), .uid = str_dup(p->meta.uid)};
    struct strbuf why = STRBUF_INIT;
    const struct volume_view view = {cache_objects(c->claims), cache_objects(c->volumes),
                                     cache_objects(c->storage_classes)};
    const struct node *n =
        fit_choose(p, cache_objects(c->nodes), cache_objects(c->pods), &self->assumed, &view, &why);
    if (n && !waits_for_claim(look, p, n))
        bind_pod(look, p, n);
    else if (!n)
        tell_unschedulable(look, p, strbuf_text(&why));
    strbuf_done(&why);
}

static void queue_pending(struct controller *self)
{
    MAP_FOR_EACH(e, cache_objects(self->c->pods)) {
        const struct pod *p = map_value(e);
        if (is_pending(p))
            queue_add(self->queue, map_key(e));
    }
}

static void on_pod(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct pod *a = before, *b = now;
    const struct pod *any = b ? b : a;
    if (!b || !is_pending(b))
        map_remove(&self->assumed, any->meta.uid);
    if (b && is_pending(b)) {
        _cleanup_free_ char *key = object_key(&b->meta);
        queue_add(self->queue, key);
    }
    /* Room may have come free. */
    if (a && a->node_name && *a->node_name && (!b || pod_is_finished(b)))
        queue_pending(self);
}

static void on_node(void *arg, const void *before, const void *now)
{
    const struct node *a = before, *b = now;
    if (!b || (a && !fit_node_changed(a, b)))
        return;
    queue_pending(arg);
}

/* A claim that was bound, a volume that came: pods that use one may fit now. */
static void on_storage(void *arg, _unused_ const void *before, _unused_ const void *now)
{
    struct controller *self = arg;
    MAP_FOR_EACH(e, cache_objects(self->c->pods)) {
        const struct pod *p = map_value(e);
        if (p->volumes.count && is_pending(p))
            queue_add(self->queue, map_key(e));
    }
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    self->c = c;
    self->assumed = (struct map)MAP_INIT(free);
    self->queue = queue_new(c->loop, "scheduler", work, self);
    cache_subscribe(c->pods, on_pod, self);
    cache_subscribe(c->nodes, on_node, self);
    cache_subscribe(c->claims, on_storage, self);
    cache_subscribe(c->volumes, on_storage, self);
    return self;
}

static void synced(struct controller *self)
{
    queue_resume(self->queue);
}

static void stop(struct controller *self)
{
    queue_free(self->queue);
    map_clear(&self->assumed);
    free(self);
}

const struct controller_def scheduler_controller = {"scheduler", start, synced, stop};
