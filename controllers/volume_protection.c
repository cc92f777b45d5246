/*
 * What is in use is not deleted: a claim keeps its finalizer while a pod that has a node uses it, a
 * volume while it is bound. Upstream's pvc-protection and pv-protection controllers.
 */
#include "base/log.h"
#include "base/strbuf.h"
#include "controllers/controllers.h"
#include "controllers/volume_match.h"

#define CLAIM_FINALIZER  "kubernetes.io/pvc-protection"
#define VOLUME_FINALIZER "kubernetes.io/pv-protection"

struct controller {
    struct controllers *c;
    struct queue *claims, *volumes;
};

struct look {
    struct controller *self;
    struct queue *queue;
    struct cache *cache;
    char *key;
};

static void finish(struct look *look, const char *error, bool conflict)
{
    queue_done(look->queue, look->key, error, conflict);
    free(look->key);
    free(look);
}

static struct look *look_new(struct controller *self, struct queue *queue, struct cache *cache,
                             const char *key)
{
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){.self = self, .queue = queue, .cache = cache, .key = str_dup(key)};
    return look;
}

static void on_written(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    bool gone = result->status == 404;
    finish(look, gone ? NULL : result->error, str_eq(result->reason, "Conflict"));
}

static void let_go(struct look *look, const struct object_meta *m, const char *finalizer)
{
    json_t *kept = json_array();
    for (size_t i = 0; i < m->finalizers.count; i++)
        if (!str_eq(m->finalizers.items[i], finalizer))
            (void)json_array_append_new(kept, json_text(m->finalizers.items[i]));
    _cleanup_free_ char *path = controller_path(cache_kind_of(look->cache), m, NULL);
    _cleanup_json_ json_t *patch = json_pack("{s:{s:s,s:s,s:o}}", "metadata", "uid", m->uid,
                                             "resourceVersion", m->version, "finalizers", kept);
    (void)kube_patch(look->self->c->client, path, KUBE_PATCH_MERGE, patch, on_written, look);
}

/* ---- claims ---- */

static bool uses(const struct pod *p, const char *claim)
{
    if (!p->node_name || !*p->node_name || pod_is_finished(p))
        return false;
    for (size_t i = 0; i < p->volumes.count; i++) {
        _cleanup_free_ char *key = pod_volume_claim(p, &p->volumes.items[i]);
        if (str_eq(key, claim))
            return true;
    }
    return false;
}

/* Asked of the server, not of the cache: a pod may have come a moment ago. */
static void on_pods(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    const struct claim *c = cache_get(look->cache, look->key);
    struct error err = ERROR_INIT;
    bool used = false;
    size_t i;
    json_t *item;
    if (result->error || !c || !c->meta.deleted) {
        finish(look, result->error, false);
        return;
    }
    json_array_foreach(json_object_get(result->body, "items"), i, item) {
        struct pod p;
        if (decode(&pod_type, item, &p, &err) < 0) {
            finish(look, error_text(&err), false);
            return;
        }
        used |= uses(&p, look->key);
        decode_done(&pod_type, &p);
    }
    if (used)
        finish(look, NULL, false); /* the pod's end brings the next look */
    else
        let_go(look, &c->meta, CLAIM_FINALIZER);
}

static void work_claim(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct claim *c = cache_get(self->c->claims, key);
    bool over = !c || !c->meta.deleted || !string_list_has(&c->meta.finalizers, CLAIM_FINALIZER);
    MAP_FOR_EACH(e, cache_objects(self->c->pods)) {
        over = over || uses(map_value(e), key);
    }
    if (over) {
        queue_done(self->claims, key, NULL, false);
        return;
    }
    _cleanup_free_ char *path = kube_path("v1", c->meta.ns, "pods", NULL, NULL);
    (void)kube_get(self->c->client, path, on_pods,
                   look_new(self, self->claims, self->c->claims, key));
}

static void on_claim(void *arg, _unused_ const void *before, const void *now)
{
    struct controller *self = arg;
    const struct claim *c = now;
    if (!c || !c->meta.deleted)
        return;
    _cleanup_free_ char *key = object_key(&c->meta);
    queue_add(self->claims, key);
}

static void on_pod(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct pod *p = now ? now : before;
    if (now && !pod_is_finished(p))
        return;
    for (size_t i = 0; i < p->volumes.count; i++) {
        _cleanup_free_ char *key = pod_volume_claim(p, &p->volumes.items[i]);
        if (key)
            queue_add(self->claims, key);
    }
}

/* ---- volumes ---- */

static void work_volume(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct volume *v = cache_get(self->c->volumes, key);
    if (v && v->meta.deleted && string_list_has(&v->meta.finalizers, VOLUME_FINALIZER) &&
        !str_eq(v->phase, "Bound"))
        let_go(look_new(self, self->volumes, self->c->volumes, key), &v->meta, VOLUME_FINALIZER);
    else
        queue_done(self->volumes, key, NULL, false);
}

static void on_volume(void *arg, _unused_ const void *before, const void *now)
{
    struct controller *self = arg;
    const struct volume *v = now;
    if (v && v->meta.deleted)
        queue_add(self->volumes, v->meta.name);
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    self->c = c;
    self->claims = queue_new(c->loop, "pvc-protection", work_claim, self);
    self->volumes = queue_new(c->loop, "pv-protection", work_volume, self);
    cache_subscribe(c->claims, on_claim, self);
    cache_subscribe(c->volumes, on_volume, self);
    cache_subscribe(c->pods, on_pod, self);
    return self;
}

static void synced(struct controller *self)
{
    queue_resume(self->claims);
    queue_resume(self->volumes);
}

static void stop(struct controller *self)
{
    queue_free(self->claims);
    queue_free(self->volumes);
    free(self);
}

const struct controller_def volume_protection = {"volume-protection", start, synced, stop};
