/*
 * ReplicaSets: as many pods as wanted.
 *
 * A look counts the live pods of a set (controlled by it, or adoptable: its selector matches and
 * nobody controls them), creates what is missing in growing batches (1, 2, 4, … so that a template
 * that the server refuses costs one request), or deletes what is too much, the least useful first,
 * and writes the status. Answers go into the pod cache at once, so the next look counts right.
 */
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/times.h"
#include "controllers/controllers.h"
#include "kube/selector.h"

#define BURST  500
#define SECOND 1000000000LL

struct controller {
    struct controllers *c;
    struct queue *queue;
};

struct look {
    struct controller *self;
    char *key, *uid;
    int outstanding;
    size_t to_create, batch;
    json_t *pod; /* body of the creates */
    char *error;
    bool conflict;
};

struct pod_list {
    const struct pod **items;
    size_t count;
};

static int64_t wanted_replicas(const struct replica_set *rs)
{
    return rs->replicas.set ? rs->replicas.value : 1;
}

/* ---- which pods ---- */

static bool controls(const struct replica_set *rs, const struct pod *p)
{
    const struct owner_ref *o = object_controller(&p->meta);
    return o && str_eq(o->uid, rs->meta.uid);
}

static void list_add(struct pod_list *list, const struct pod *p)
{
    list->items = mem_grow(list->items, list->count + 1, sizeof(*list->items));
    list->items[list->count++] = p;
}

/* Live pods controlled by the set into @own, pods that nobody controls but match into @orphans. */
static void find_pods(const struct controllers *c, const struct replica_set *rs,
                      struct pod_list *own, struct pod_list *orphans)
{
    _cleanup_(selector_freep) struct selector *selector = NULL;
    if (selector_from_object(rs->selector, &selector, NULL) < 0)
        return;
    MAP_FOR_EACH(e, cache_objects(c->pods)) {
        const struct pod *p = map_value(e);
        if (!str_eq(p->meta.ns, rs->meta.ns) || pod_is_finished(p) || p->meta.deleted)
            continue;
        if (controls(rs, p))
            list_add(own, p);
        else if (!object_controller(&p->meta) && selector_matches(selector, p->meta.labels))
            list_add(orphans, p);
    }
}

/* ---- the end of a look ---- */

static void write_status(struct look *look);

static void look_free(struct look *look)
{
    json_decref(look->pod);
    free(look->error);
    free(look->uid);
    free(look->key);
    free(look);
}

static void fail(struct look *look, const struct kube_result *result)
{
    free(look->error);
    look->error = str_dup(result->error);
    look->conflict = str_eq(result->reason, "Conflict");
}

static void on_status_written(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    if (result->error && result->status != 404)
        fail(look, result);
    else if (!result->error)
        cache_wrote(look->self->c->replica_sets, result->body);
    queue_done(look->self->queue, look->key, look->error, look->conflict);
    look_free(look);
}

static void step_done(struct look *look);

/* ---- creating ---- */

static const struct replica_set *set_of(const struct look *look)
{
    const struct replica_set *rs = cache_get(look->self->c->replica_sets, look->key);
    return rs && str_eq(rs->meta.uid, look->uid) ? rs : NULL;
}

static void on_created(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    struct controllers *c = look->self->c;
    const struct replica_set *rs = set_of(look);
    const struct cache_kind *kind = cache_kind_of(c->replica_sets);
    if (result->error) {
        fail(look, result);
        look->to_create = 0;
        if (rs)
            controller_event(c, kind, &rs->meta, "Warning", "FailedCreate", "Error creating: %s",
                             result->error);
    } else {
        cache_wrote(c->pods, result->body);
        if (rs)
            controller_event(c, kind, &rs->meta, "Normal", "SuccessfulCreate", "Created pod: %s",
                             json_path_string(result->body, "metadata.name"));
    }
    step_done(look);
}

static void create_batch(struct look *look)
{
    const struct replica_set *rs = set_of(look);
    if (!rs) {
        look->to_create = 0;
        return;
    }
    _cleanup_free_ char *path = kube_path("v1", rs->meta.ns, "pods", NULL, NULL);
    size_t n = look->batch < look->to_create ? look->batch : look->to_create;
    look->batch *= 2;
    look->to_create -= n;
    for (size_t i = 0; i < n; i++) {
        look->outstanding++;
        (void)kube_create(look->self->c->client, path, look->pod, on_created, look);
    }
}

static int make_pod(struct look *look, const struct replica_set *rs, struct error *err)
{
    const char *text = rs->template ? rs->template : "{}";
    _cleanup_json_ json_t *template = json_parse(text, strlen(text), err);
    if (!template)
        return -EINVAL;
    _cleanup_free_ char *base = str_printf("%s-", rs->meta.name);
    json_t *meta = json_deep_copy(json_object_get(template, "metadata"));
    if (!json_is_object(meta))
        meta = json_object();
    (void)json_object_del(meta, "creationTimestamp");
    (void)json_object_set_new(meta, "generateName", json_string(base));
    (void)json_object_set_new(meta, "namespace", json_string(rs->meta.ns));
    (void)json_object_set_new(
        meta, "ownerReferences",
        json_pack("[o]", controller_ref(cache_kind_of(look->self->c->replica_sets), &rs->meta)));
    look->pod = json_pack("{sssssosO}", "apiVersion", "v1", "kind", "Pod", "metadata", meta, "spec",
                          json_object_get(template, "spec"));
    return look->pod ? 0 : error_set(err, -EINVAL, "the template has no spec");
}

/* ---- deleting ---- */

/* The less useful of two pods comes first: not scheduled, pending, not ready, ready for less time,
 * newer. */
static int by_usefulness(const void *a, const void *b)
{
    const struct pod *x = *(const struct pod *const *)a, *y = *(const struct pod *const *)b;
    bool x_placed = x->node_name && *x->node_name, y_placed = y->node_name && *y->node_name;
    if (x_placed != y_placed)
        return x_placed ? 1 : -1;
    bool x_runs = str_eq(x->phase, "Running"), y_runs = str_eq(y->phase, "Running");
    if (x_runs != y_runs)
        return x_runs ? 1 : -1;
    int64_t x_ready = pod_ready_since(x), y_ready = pod_ready_since(y);
    if (!x_ready != !y_ready)
        return x_ready ? 1 : -1;
    if (x_ready != y_ready)
        return x_ready < y_ready ? 1 : -1;
    if (x->meta.created != y->meta.created)
        return x->meta.created < y->meta.created ? 1 : -1;
    return strcmp(x->meta.name, y->meta.name);
}

static void on_deleted(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    if (result->error && result->status != 404)
        fail(look, result);
    else if (!result->error)
        cache_wrote(look->self->c->pods, result->body);
    step_done(look);
}

static void delete_surplus(struct look *look, const struct replica_set *rs, struct pod_list *own,
                           size_t n)
{
    struct controllers *c = look->self->c;
    // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a surplus has members
    qsort(own->items, own->count, sizeof(*own->items), by_usefulness);
    for (size_t i = 0; i < n && i < BURST; i++) {
        const struct pod *p = own->items[i];
        _cleanup_free_ char *path = controller_path(cache_kind_of(c->pods), &p->meta, NULL);
        _cleanup_json_ json_t *options =
            json_pack("{sssss{ss}}", "apiVersion", "v1", "kind", "DeleteOptions", "preconditions",
                      "uid", p->meta.uid);
        controller_event(c, cache_kind_of(c->replica_sets), &rs->meta, "Normal", "SuccessfulDelete",
                         "Deleted pod: %s", p->meta.name);
        look->outstanding++;
        (void)kube_delete(c->client, path, options, on_deleted, look);
    }
}

/* ---- adopting ---- */

static void on_adopted(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    if (result->error && result->status != 404)
        fail(look, result);
    else if (!result->error)
        cache_wrote(look->self->c->pods, result->body);
    queue_add(look->self->queue, look->key); /* count again, with it */
    step_done(look);
}

static void adopt(struct look *look, const struct replica_set *rs, const struct pod_list *orphans)
{
    struct controllers *c = look->self->c;
    for (size_t i = 0; i < orphans->count; i++) {
        const struct pod *p = orphans->items[i];
        _cleanup_free_ char *path = controller_path(cache_kind_of(c->pods), &p->meta, NULL);
        _cleanup_json_ json_t *patch =
            json_pack("{s{sss[o]}}", "metadata", "uid", p->meta.uid, "ownerReferences",
                      controller_ref(cache_kind_of(c->replica_sets), &rs->meta));
        look->outstanding++;
        (void)kube_patch(c->client, path, KUBE_PATCH_STRATEGIC, patch, on_adopted, look);
    }
}

/* ---- status ---- */

struct counts {
    int64_t replicas, ready, available, labeled;
    int64_t next_available_ms; /* until a ready pod becomes available; 0 when none will */
};

static bool labels_contain(const json_t *labels, const json_t *wanted)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)wanted, key, value) {
        if (!json_equal(json_object_get(labels, key), value))
            return false;
    }
    return true;
}

static struct counts count(const struct replica_set *rs, const struct pod_list *own)
{
    struct counts n = {.replicas = (int64_t)own->count};
    int64_t now = time_now_nano();
    const char *text = rs->template ? rs->template : "{}";
    _cleanup_json_ json_t *template = json_parse(text, strlen(text), NULL);
    const json_t *labels = json_path(template, "metadata.labels");
    for (size_t i = 0; i < own->count; i++) {
        const struct pod *p = own->items[i];
        n.labeled += labels_contain(p->meta.labels, labels);
        if (!pod_is_ready(p))
            continue;
        n.ready++;
        int64_t at = pod_ready_since(p) + rs->min_ready_seconds * SECOND;
        if (rs->min_ready_seconds == 0 || at <= now) {
            n.available++;
        } else {
            int64_t ms = (at - now) / 1000000 + 1;
            if (!n.next_available_ms || ms < n.next_available_ms)
                n.next_available_ms = ms;
        }
    }
    return n;
}

static void write_status(struct look *look)
{
    struct controllers *c = look->self->c;
    const struct replica_set *rs = set_of(look);
    struct pod_list own = {.items = NULL}, orphans = {.items = NULL};
    struct counts n = {.replicas = 0};
    if (rs) {
        find_pods(c, rs, &own, &orphans);
        n = count(rs, &own);
        free(own.items);
        free(orphans.items);
    }
    if (rs && n.next_available_ms)
        queue_add_after(look->self->queue, look->key, (uint64_t)n.next_available_ms);
    bool same = !rs || (rs->st_replicas == n.replicas && rs->st_ready == n.ready &&
                        rs->st_available == n.available && rs->st_labeled == n.labeled &&
                        rs->st_observed >= rs->meta.generation);
    if (same) {
        queue_done(look->self->queue, look->key, look->error, look->conflict);
        look_free(look);
        return;
    }
    _cleanup_free_ char *path =
        controller_path(cache_kind_of(c->replica_sets), &rs->meta, "status");
    _cleanup_json_ json_t *patch =
        json_pack("{s{ss}s{sIsIsIsIsI}}", "metadata", "uid", rs->meta.uid, "status", "replicas",
                  (json_int_t)n.replicas, "readyReplicas", (json_int_t)n.ready, "availableReplicas",
                  (json_int_t)n.available, "fullyLabeledReplicas", (json_int_t)n.labeled,
                  "observedGeneration", (json_int_t)rs->meta.generation);
    (void)kube_patch(c->client, path, KUBE_PATCH_MERGE, patch, on_status_written, look);
}

/* One request of the look is over; the last one leads to the next batch or the status. */
static void step_done(struct look *look)
{
    if (--look->outstanding)
        return;
    if (look->to_create) {
        look->outstanding = 1;
        create_batch(look);
        if (--look->outstanding)
            return;
    }
    write_status(look);
}

static void work(void *arg, const char *key)
{
    struct controller *self = arg;
    struct controllers *c = self->c;
    const struct replica_set *rs = cache_get(c->replica_sets, key);
    if (!rs) {
        queue_done(self->queue, key, NULL, false);
        return;
    }
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){.self = self,
                          .key = str_dup(key),
                          .uid = str_dup(rs->meta.uid),
                          .outstanding = 1,
                          .batch = 1};
    struct pod_list own = {.items = NULL}, orphans = {.items = NULL};
    struct error err = ERROR_INIT;
    find_pods(c, rs, &own, &orphans);
    int64_t wanted = wanted_replicas(rs);
    if (!rs->meta.deleted && orphans.count) {
        adopt(look, rs, &orphans);
    } else if (!rs->meta.deleted && (int64_t)own.count < wanted) {
        if (make_pod(look, rs, &err) == 0) {
            look->to_create = (size_t)(wanted - (int64_t)own.count);
            if (look->to_create > BURST)
                look->to_create = BURST;
            create_batch(look);
        } else {
            look->error = str_dup(err.text);
        }
    } else if (!rs->meta.deleted && (int64_t)own.count > wanted) {
        delete_surplus(look, rs, &own, own.count - (size_t)wanted);
    }
    free(own.items);
    free(orphans.items);
    step_done(look);
}

/* ---- what leads to a look ---- */

static void on_set(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct replica_set *rs = now ? now : before;
    _cleanup_free_ char *key = object_key(&rs->meta);
    queue_add(self->queue, key);
}

static void queue_owner(struct controller *self, const struct pod *p)
{
    const struct owner_ref *o = object_controller(&p->meta);
    if (o && str_eq(o->kind, "ReplicaSet")) {
        _cleanup_free_ char *key = str_printf("%s/%s", p->meta.ns, o->name);
        if (cache_get(self->c->replica_sets, key))
            queue_add(self->queue, key);
        return;
    }
    if (o)
        return;
    MAP_FOR_EACH(e, cache_objects(self->c->replica_sets)) /* who could adopt it */
    {
        const struct replica_set *rs = map_value(e);
        _cleanup_(selector_freep) struct selector *selector = NULL;
        if (str_eq(rs->meta.ns, p->meta.ns) &&
            selector_from_object(rs->selector, &selector, NULL) == 0 &&
            selector_matches(selector, p->meta.labels))
            queue_add(self->queue, map_key(e));
    }
}

static void on_pod(void *arg, const void *before, const void *now)
{
    queue_owner(arg, now ? now : before);
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    self->c = c;
    self->queue = queue_new(c->loop, "replicaset", work, self);
    cache_subscribe(c->replica_sets, on_set, self);
    cache_subscribe(c->pods, on_pod, self);
    return self;
}

static void synced(struct controller *self)
{
    queue_resume(self->queue);
}

static void stop(struct controller *self)
{
    queue_free(self->queue);
    free(self);
}

const struct controller_def replica_set_controller = {"replicaset", start, synced, stop};
