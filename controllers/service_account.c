/* Every namespace that is not being deleted has a ServiceAccount "default". */
#include "base/strbuf.h"
#include "controllers/controllers.h"

struct controller {
    struct controllers *c;
    struct queue *queue;
};

struct look {
    struct controller *self;
    char *ns;
};

static void on_created(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    if (!result->error)
        cache_wrote(look->self->c->service_accounts, result->body);
    /* Somebody else was faster, or the namespace is going: both are fine. */
    bool fine = !result->error || str_eq(result->reason, "AlreadyExists") ||
                str_eq(result->reason, "Forbidden") || str_eq(result->reason, "NotFound");
    queue_done(look->self->queue, look->ns, fine ? NULL : result->error, false);
    free(look->ns);
    free(look);
}

static void work(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct plain_object *ns = cache_get(self->c->namespaces, key);
    _cleanup_free_ char *account = str_printf("%s/default", key);
    if (!ns || ns->meta.deleted || cache_get(self->c->service_accounts, account)) {
        queue_done(self->queue, key, NULL, false);
        return;
    }
    _cleanup_free_ char *path = kube_path("v1", key, "serviceaccounts", NULL, NULL);
    _cleanup_json_ json_t *body =
        json_pack("{sssss{ssss}}", "apiVersion", "v1", "kind", "ServiceAccount", "metadata", "name",
                  "default", "namespace", key);
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){.self = self, .ns = str_dup(key)};
    (void)kube_create(self->c->client, path, body, on_created, look);
}

static void on_namespace(void *arg, _unused_ const void *before, const void *now)
{
    struct controller *self = arg;
    const struct plain_object *ns = now;
    if (ns)
        queue_add(self->queue, ns->meta.name);
}

static void on_account(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct plain_object *gone = before;
    if (!now && gone && str_eq(gone->meta.name, "default"))
        queue_add(self->queue, gone->meta.ns);
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    self->c = c;
    self->queue = queue_new(c->loop, "serviceaccount", work, self);
    cache_subscribe(c->namespaces, on_namespace, self);
    cache_subscribe(c->service_accounts, on_account, self);
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

const struct controller_def service_account_controller = {"serviceaccount", start, synced, stop};
