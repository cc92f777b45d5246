/*
 * Deployments: a ReplicaSet per pod template, and replicas moved from the old ones to the new one.
 *
 * A look finds the sets of a deployment, makes the new one when the template has none, and then
 * takes one step: scale the new set up as far as maxSurge allows, scale old ones down as far as
 * maxUnavailable allows (unhealthy pods first). Every step changes ReplicaSets, which leads to the
 * next look. What the numbers are is computed in rollout.c. Status and conditions are written when
 * they differ from what is there.
 */
#include "controllers/deployment.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "controllers/controllers.h"
#include "kube/selector.h"

#define HASH_LABEL "pod-template-hash"
#define REVISION   "deployment.kubernetes.io/revision"
#define DESIRED    "deployment.kubernetes.io/desired-replicas"
#define MAXIMUM    "deployment.kubernetes.io/max-replicas"

struct controller {
    struct controllers *c;
    struct queue *queue;
};

struct look {
    struct controller *self;
    char *key, *uid;
    int outstanding;
    char *error;
    bool conflict;
};

/* ---- sets of a deployment ---- */

static int by_age(const void *a, const void *b)
{
    const struct replica_set *x = *(const struct replica_set *const *)a;
    const struct replica_set *y = *(const struct replica_set *const *)b;
    if (x->meta.created != y->meta.created)
        return x->meta.created < y->meta.created ? -1 : 1;
    return strcmp(x->meta.name, y->meta.name);
}

/* Template equality: what the set carries without the hash label. */
static bool template_equal(const struct replica_set *rs, const json_t *wanted)
{
    const char *text = rs->template ? rs->template : "{}";
    _cleanup_json_ json_t *template = json_parse(text, strlen(text), NULL);
    (void)json_object_del((json_t *)(uintptr_t)json_path(template, "metadata.labels"), HASH_LABEL);
    return json_equal(template, wanted);
}

static void find_sets(const struct controllers *c, const struct deployment *d, struct rollout *r)
{
    const char *text = d->template ? d->template : "{}";
    _cleanup_json_ json_t *wanted = json_parse(text, strlen(text), NULL);
    MAP_FOR_EACH(e, cache_objects(c->replica_sets)) {
        const struct replica_set *rs = map_value(e);
        const struct owner_ref *o = object_controller(&rs->meta);
        if (!o || !str_eq(o->uid, d->meta.uid) || rs->meta.deleted)
            continue;
        r->old = mem_grow(r->old, r->n_old + 1, sizeof(*r->old));
        r->old[r->n_old++] = rs;
    }
    if (r->n_old)
        qsort(r->old, r->n_old, sizeof(*r->old), by_age);
    for (size_t i = 0; i < r->n_old; i++) {
        if (!template_equal(r->old[i], wanted))
            continue;
        r->current = r->old[i];
        memmove(&r->old[i], &r->old[i + 1], (r->n_old - i - 1) * sizeof(*r->old));
        r->n_old--;
        break;
    }
}

static int64_t revision_of(const struct replica_set *rs)
{
    const char *text = string_map_get(&rs->meta.annotations, REVISION);
    return text ? strtoll(text, NULL, 10) : 0;
}

static int64_t newest_revision(const struct rollout *r)
{
    int64_t max = 0;
    for (size_t i = 0; i < r->n_old; i++)
        if (revision_of(r->old[i]) > max)
            max = revision_of(r->old[i]);
    return max;
}

/* ---- requests of a look ---- */

static void step_done(struct look *look)
{
    if (--look->outstanding)
        return;
    queue_done(look->self->queue, look->key, look->error, look->conflict);
    free(look->error);
    free(look->uid);
    free(look->key);
    free(look);
}

static void note_failure(struct look *look, const struct kube_result *result)
{
    if (!result->error || result->status == 404)
        return;
    free(look->error);
    look->error = str_dup(result->error);
    look->conflict = str_eq(result->reason, "Conflict") || str_eq(result->reason, "AlreadyExists");
}

static void on_set_written(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    note_failure(look, result);
    if (!result->error)
        cache_wrote(look->self->c->replica_sets, result->body);
    step_done(look);
}

static void on_deployment_written(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    note_failure(look, result);
    if (!result->error)
        cache_wrote(look->self->c->deployments, result->body);
    step_done(look);
}

/* A short name for a template: 10 characters of the alphabet that upstream uses for such names,
 * which spells no words. */
static void template_hash(const struct deployment *d, char out[11])
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    char hex[SHA256_HEX_LEN + 1];
    _cleanup_free_ char *text =
        str_printf("%s#%d", d->template ? d->template : "", (int)d->collision_count);
    sha256_hex(text, strlen(text), hex);
    for (int i = 0; i < 10; i++) {
        char pair[5] = {hex[4 * i], hex[4 * i + 1], hex[4 * i + 2], hex[4 * i + 3], '\0'};
        out[i] = alphabet[strtoul(pair, NULL, 16) % (sizeof(alphabet) - 1)];
    }
    out[10] = '\0';
}

/* The annotations that travel from a deployment to its sets: all but kubectl's own. */
static json_t *set_annotations(const struct deployment *d, int64_t revision, int64_t desired,
                               int64_t maximum)
{
    json_t *a = json_object();
    char number[24];
    for (size_t i = 0; i < d->meta.annotations.count; i++) {
        const struct string_pair *p = &d->meta.annotations.items[i];
        if (!str_eq(p->key, "kubectl.kubernetes.io/last-applied-configuration") &&
            !str_starts(p->key, "deployment.kubernetes.io/"))
            (void)json_object_set_new(a, p->key, json_text(p->value));
    }
    (void)snprintf(number, sizeof(number), "%lld", (long long)revision);
    (void)json_object_set_new(a, REVISION, json_string(number));
    (void)snprintf(number, sizeof(number), "%lld", (long long)desired);
    (void)json_object_set_new(a, DESIRED, json_string(number));
    (void)snprintf(number, sizeof(number), "%lld", (long long)maximum);
    (void)json_object_set_new(a, MAXIMUM, json_string(number));
    return a;
}

static void create_set(struct look *look, const struct deployment *d, const struct rollout *r)
{
    struct controllers *c = look->self->c;
    char hash[11];
    template_hash(d, hash);
    _cleanup_free_ char *name = str_printf("%s-%s", d->meta.name, hash);
    const char *text = d->template ? d->template : "{}";
    _cleanup_json_ json_t *template = json_parse(text, strlen(text), NULL);
    _cleanup_json_ json_t *selector = d->selector ? json_deep_copy(d->selector) : json_object();
    (void)json_path_set(template, "metadata.labels.pod-template-hash", json_string(hash));
    (void)json_path_set(selector, "matchLabels.pod-template-hash", json_string(hash));
    int64_t replicas = rollout_new_replicas(d, r);
    _cleanup_json_ json_t *body =
        json_pack("{sssss{sssssos[o]sO}s{sIsOsOsI}}", "apiVersion", "apps/v1", "kind", "ReplicaSet",
                  "metadata", "name", name, "namespace", d->meta.ns, "annotations",
                  set_annotations(d, newest_revision(r) + 1, rollout_wanted(d),
                                  rollout_wanted(d) + rollout_max_surge(d)),
                  "ownerReferences", controller_ref(cache_kind_of(c->deployments), &d->meta),
                  "labels", json_path(template, "metadata.labels"), "spec", "replicas",
                  (json_int_t)replicas, "selector", selector, "template", template,
                  "minReadySeconds", (json_int_t)d->min_ready_seconds);
    _cleanup_free_ char *path = kube_path("apps/v1", d->meta.ns, "replicasets", NULL, NULL);
    if (replicas)
        controller_event(c, cache_kind_of(c->deployments), &d->meta, "Normal", "ScalingReplicaSet",
                         "Scaled up replica set %s from 0 to %d", name, (int)replicas);
    look->outstanding++;
    (void)kube_create(c->client, path, body, on_set_written, look);
}

static void scale_set(struct look *look, const struct deployment *d, const struct replica_set *rs,
                      int64_t replicas)
{
    struct controllers *c = look->self->c;
    int64_t from = rs->replicas.set ? rs->replicas.value : 1;
    if (from == replicas)
        return;
    controller_event(c, cache_kind_of(c->deployments), &d->meta, "Normal", "ScalingReplicaSet",
                     "Scaled %s replica set %s from %d to %d", replicas > from ? "up" : "down",
                     rs->meta.name, (int)from, (int)replicas);
    _cleanup_json_ json_t *patch =
        json_pack("{s{ssss}s{sI}}", "metadata", "uid", rs->meta.uid, "resourceVersion",
                  rs->meta.version, "spec", "replicas", (json_int_t)replicas);
    _cleanup_free_ char *path = controller_path(cache_kind_of(c->replica_sets), &rs->meta, NULL);
    look->outstanding++;
    (void)kube_patch(c->client, path, KUBE_PATCH_MERGE, patch, on_set_written, look);
}

/* A set that is current again (rollout undo) gets the next revision. */
static void refresh_revision(struct look *look, const struct deployment *d, const struct rollout *r)
{
    struct controllers *c = look->self->c;
    const struct replica_set *rs = r->current;
    int64_t newest = newest_revision(r);
    if (revision_of(rs) > newest)
        return;
    _cleanup_json_ json_t *patch =
        json_pack("{s{sssssO}}", "metadata", "uid", rs->meta.uid, "resourceVersion",
                  rs->meta.version, "annotations",
                  set_annotations(d, newest + 1, rollout_wanted(d),
                                  rollout_wanted(d) + rollout_max_surge(d)));
    _cleanup_free_ char *path = controller_path(cache_kind_of(c->replica_sets), &rs->meta, NULL);
    look->outstanding++;
    (void)kube_patch(c->client, path, KUBE_PATCH_MERGE, patch, on_set_written, look);
}

static void delete_old_history(struct look *look, const struct deployment *d,
                               const struct rollout *r)
{
    struct controllers *c = look->self->c;
    int64_t keep = d->revision_history_limit.set ? d->revision_history_limit.value : 10;
    int64_t empty = 0;
    for (size_t i = 0; i < r->n_old; i++)
        empty += rollout_is_empty(r->old[i]);
    for (size_t i = 0; i < r->n_old && empty > keep; i++) { /* oldest first */
        if (!rollout_is_empty(r->old[i]))
            continue;
        _cleanup_free_ char *path =
            controller_path(cache_kind_of(c->replica_sets), &r->old[i]->meta, NULL);
        look->outstanding++;
        empty--;
        (void)kube_delete(c->client, path, NULL, on_set_written, look);
    }
}

static void write_revision(struct look *look, const struct deployment *d, const struct rollout *r)
{
    struct controllers *c = look->self->c;
    const char *revision = string_map_get(&r->current->meta.annotations, REVISION);
    if (!revision || str_eq(string_map_get(&d->meta.annotations, REVISION), revision))
        return;
    _cleanup_json_ json_t *patch = json_pack("{s{sss{ss}}}", "metadata", "uid", d->meta.uid,
                                             "annotations", REVISION, revision);
    _cleanup_free_ char *path = controller_path(cache_kind_of(c->deployments), &d->meta, NULL);
    look->outstanding++;
    (void)kube_patch(c->client, path, KUBE_PATCH_MERGE, patch, on_deployment_written, look);
}

static void write_status(struct look *look, const struct deployment *d, const struct rollout *r)
{
    struct controllers *c = look->self->c;
    const char *text = d->status ? d->status : "{}";
    _cleanup_json_ json_t *old = json_parse(text, strlen(text), NULL);
    int64_t look_again_ms = 0;
    _cleanup_json_ json_t *status = rollout_status(d, r, old, time_now(), &look_again_ms);
    if (look_again_ms)
        queue_add_after(look->self->queue, look->key, (uint64_t)look_again_ms);
    if (json_equal(old, status))
        return;
    /* Conditions are replaced as a whole, and counters that became zero are written out. */
    _cleanup_json_ json_t *patch =
        json_pack("{s{ss}sO}", "metadata", "uid", d->meta.uid, "status", status);
    _cleanup_free_ char *path = controller_path(cache_kind_of(c->deployments), &d->meta, "status");
    look->outstanding++;
    (void)kube_patch(c->client, path, KUBE_PATCH_MERGE, patch, on_deployment_written, look);
}

/* ---- one look ---- */

static void take_step(struct look *look, const struct deployment *d, struct rollout *r)
{
    if (!r->current) {
        /* Recreate waits until no old pod is left. */
        if (!d->paused && (!str_eq(d->strategy, "Recreate") || !rollout_old_pods(r)))
            create_set(look, d, r);
        else if (!d->paused)
            for (size_t i = 0; i < r->n_old; i++)
                scale_set(look, d, r->old[i], 0);
        return;
    }
    refresh_revision(look, d, r);
    write_revision(look, d, r);
    if (look->outstanding > 1)
        return; /* what was just written leads to the next look */
    if (d->paused) {
        if (!rollout_is_under_way(d, r))
            scale_set(look, d, r->current, rollout_wanted(d));
        return;
    }
    int64_t *replicas = mem_zalloc((r->n_old + 1) * sizeof(*replicas));
    scale_set(look, d, r->current, rollout_new_replicas(d, r));
    rollout_old_replicas(d, r, replicas);
    for (size_t i = 0; i < r->n_old; i++)
        scale_set(look, d, r->old[i], replicas[i]);
    free(replicas);
    if (look->outstanding == 1)
        delete_old_history(look, d, r);
}

static void work(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct deployment *d = cache_get(self->c->deployments, key);
    if (!d || d->meta.deleted) {
        queue_done(self->queue, key, NULL, false);
        return;
    }
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){
        .self = self, .key = str_dup(key), .uid = str_dup(d->meta.uid), .outstanding = 1};
    struct rollout r = {.current = NULL};
    find_sets(self->c, d, &r);
    take_step(look, d, &r);
    write_status(look, d, &r);
    free(r.old);
    step_done(look);
}

/* ---- what leads to a look ---- */

static void on_deployment(void *arg, _unused_ const void *before, const void *now)
{
    struct controller *self = arg;
    const struct deployment *d = now;
    if (!d)
        return;
    _cleanup_free_ char *key = object_key(&d->meta);
    queue_add(self->queue, key);
}

static void on_set(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct replica_set *rs = now ? now : before;
    const struct owner_ref *o = object_controller(&rs->meta);
    if (!o || !str_eq(o->kind, "Deployment"))
        return;
    _cleanup_free_ char *key = str_printf("%s/%s", rs->meta.ns, o->name);
    queue_add(self->queue, key);
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    self->c = c;
    self->queue = queue_new(c->loop, "deployment", work, self);
    cache_subscribe(c->deployments, on_deployment, self);
    cache_subscribe(c->replica_sets, on_set, self);
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

const struct controller_def deployment_controller = {"deployment", start, synced, stop};
