/*
 * Deleting a namespace: everything in it is deleted kind by kind; when nothing is left the
 * finalizer "kubernetes" is taken off spec.finalizers, and the server lets it go.
 *
 * A look at a namespace goes through the kinds of the schema one after the other: delete the
 * collection, then count what is left (pods take their grace period). While something is left the
 * look is repeated.
 */
#include "base/strbuf.h"
#include "controllers/controllers.h"

#define AGAIN_MS 250

struct controller {
    struct controllers *c;
    struct queue *queue;
};

struct look {
    struct controller *self;
    char *ns;
    size_t next; /* kind to be deleted */
    size_t left; /* objects that are still there */
};

static void next_kind(struct look *look);

static void finish(struct look *look, const char *error, bool conflict)
{
    queue_done(look->self->queue, look->ns, error, conflict);
    free(look->ns);
    free(look);
}

static void on_finalized(const struct kube_result *result, void *arg)
{
    bool gone = result->status == 404;
    finish(arg, gone ? NULL : result->error, str_eq(result->reason, "Conflict"));
}

/* Takes our finalizer off; the server deletes the namespace when none is left. */
static void on_namespace_read(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    if (result->error) {
        finish(look, result->status == 404 ? NULL : result->error, false);
        return;
    }
    _cleanup_json_ json_t *ns = json_deep_copy(result->body);
    const json_t *old = json_path(ns, "spec.finalizers");
    json_t *kept = json_array();
    for (size_t i = 0; i < json_array_size(old); i++)
        if (!str_eq(json_string_value(json_array_get(old, i)), "kubernetes"))
            (void)json_array_append(kept, json_array_get(old, i));
    (void)json_path_set(ns, "spec.finalizers", kept);
    _cleanup_free_ char *path = kube_path("v1", NULL, "namespaces", look->ns, "finalize");
    (void)kube_replace(look->self->c->client, path, ns, on_finalized, look);
}

static void all_kinds_seen(struct look *look)
{
    if (look->left) {
        queue_add_after(look->self->queue, look->ns, AGAIN_MS);
        finish(look, NULL, false);
        return;
    }
    _cleanup_free_ char *path = kube_path("v1", NULL, "namespaces", look->ns, NULL);
    (void)kube_get(look->self->c->client, path, on_namespace_read, look);
}

static char *collection(const struct look *look, const struct schema_resource *r)
{
    char api[SCHEMA_API_VERSION_MAX];
    return kube_path(schema_api_version(r, api), look->ns, r->plural, NULL, NULL);
}

static void on_counted(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    if (result->error && result->status != 404) {
        finish(look, result->error, false);
        return;
    }
    look->left += json_array_size(json_object_get(result->body, "items"));
    look->next++;
    next_kind(look);
}

static void on_collection_deleted(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    if (result->error && result->status != 404 && result->status != 405) {
        finish(look, result->error, false);
        return;
    }
    const struct schema_resource *r = schema_resource_at(look->self->c->registry, look->next);
    _cleanup_free_ char *path = collection(look, r);
    _cleanup_free_ char *query = str_printf("%s?limit=100", path);
    (void)kube_get(look->self->c->client, query, on_counted, look);
}

static void next_kind(struct look *look)
{
    const struct schema_resource *r;
    char api[SCHEMA_API_VERSION_MAX];
    for (;; look->next++) {
        r = schema_resource_at(look->self->c->registry, look->next);
        if (!r) {
            all_kinds_seen(look);
            return;
        }
        /* A kind that is served in two groups is deleted through the one it is stored in. */
        if (r->plural && r->namespaced && r->storage &&
            str_eq(r->storage_version, schema_api_version(r, api)))
            break;
    }
    _cleanup_free_ char *path = collection(look, r);
    _cleanup_json_ json_t *options = json_pack("{ssssss}", "apiVersion", "v1", "kind",
                                               "DeleteOptions", "propagationPolicy", "Background");
    (void)kube_delete(look->self->c->client, path, options, on_collection_deleted, look);
}

static void work(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct plain_object *ns = cache_get(self->c->namespaces, key);
    if (!ns || !ns->meta.deleted || !string_list_has(&ns->spec_finalizers, "kubernetes")) {
        queue_done(self->queue, key, NULL, false);
        return;
    }
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){.self = self, .ns = str_dup(key)};
    next_kind(look);
}

static void on_namespace(void *arg, _unused_ const void *before, const void *now)
{
    struct controller *self = arg;
    const struct plain_object *ns = now;
    if (ns && ns->meta.deleted)
        queue_add(self->queue, ns->meta.name);
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    self->c = c;
    self->queue = queue_new(c->loop, "namespace", work, self);
    cache_subscribe(c->namespaces, on_namespace, self);
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

const struct controller_def namespace_controller = {"namespace", start, synced, stop};
