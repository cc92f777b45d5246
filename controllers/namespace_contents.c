/*
 * What every namespace that is not being deleted has: a ServiceAccount "default" for its pods, and
 * a ConfigMap with the CA that the API server's certificate is signed by. Whoever deletes or
 * changes them gets them back.
 */
#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "controllers/controllers.h"

#define ROOT_CA_KEY  "ca.crt"
#define ROOT_CA_SIZE (1 << 20)

struct controller {
    struct controllers *c;
    struct queue *queue;
    struct cache *kept; /* those of the kind */
    const char *name;   /* of each of them */
    char *text;         /* of the CA; NULL for accounts */
};

struct look {
    struct controller *self;
    char *ns;
};

static void on_written(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    if (!result->error)
        cache_wrote(look->self->kept, result->body);
    /* Somebody else was faster, or the namespace is going: both are fine. */
    bool fine = !result->error || str_eq(result->reason, "AlreadyExists") ||
                str_eq(result->reason, "Forbidden") || str_eq(result->reason, "NotFound");
    queue_done(look->self->queue, look->ns, fine ? NULL : result->error, false);
    free(look->ns);
    free(look);
}

static json_t *wanted(const struct controller *self, const char *ns)
{
    const struct cache_kind *kind = cache_kind_of(self->kept);
    json_t *body = json_pack("{sssss{ssss}}", "apiVersion", kind->api, "kind", kind->kind,
                             "metadata", "name", self->name, "namespace", ns);
    if (self->text)
        (void)json_path_set(body, "data", json_pack("{s:o}", ROOT_CA_KEY, json_text(self->text)));
    return body;
}

/* A patch that puts the data right and leaves labels and the like alone. */
static json_t *correction(const struct controller *self)
{
    return json_pack("[{s:s,s:s,s:{s:o}}]", "op", "add", "path", "/data", "value", ROOT_CA_KEY,
                     json_text(self->text));
}

static bool is_right(const struct controller *self, const void *object)
{
    const struct config_map *map = object;
    return object && (!self->text || (map->data.count == 1 &&
                                      str_eq(string_map_get(&map->data, ROOT_CA_KEY), self->text)));
}

static void work(void *arg, const char *ns_name)
{
    struct controller *self = arg;
    const struct plain_object *ns = cache_get(self->c->namespaces, ns_name);
    _cleanup_free_ char *key = str_printf("%s/%s", ns_name, self->name);
    const void *have = cache_get(self->kept, key);
    if (!ns || ns->meta.deleted || is_right(self, have)) {
        queue_done(self->queue, ns_name, NULL, false);
        return;
    }
    const struct cache_kind *kind = cache_kind_of(self->kept);
    _cleanup_free_ char *path =
        kube_path(kind->api, ns_name, kind->plural, have ? self->name : NULL, NULL);
    _cleanup_json_ json_t *body = have ? correction(self) : wanted(self, ns_name);
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){.self = self, .ns = str_dup(ns_name)};
    if (have)
        (void)kube_patch(self->c->client, path, KUBE_PATCH_JSON, body, on_written, look);
    else
        (void)kube_create(self->c->client, path, body, on_written, look);
}

static void on_namespace(void *arg, _unused_ const void *before, const void *now)
{
    struct controller *self = arg;
    const struct plain_object *ns = now;
    if (ns)
        queue_add(self->queue, ns->meta.name);
}

static void on_kept(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct object_meta *meta = now ? now : before;
    if (str_eq(meta->name, self->name) && !is_right(self, now))
        queue_add(self->queue, meta->ns);
}

static struct controller *start(struct controllers *c, const char *queue, struct cache *kept,
                                const char *name)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    *self = (struct controller){.c = c, .kept = kept, .name = name};
    self->queue = queue_new(c->loop, queue, work, self);
    cache_subscribe(c->namespaces, on_namespace, self);
    cache_subscribe(kept, on_kept, self);
    return self;
}

static struct controller *start_account(struct controllers *c)
{
    return start(c, "serviceaccount", c->service_accounts, "default");
}

static struct controller *start_root_ca(struct controllers *c)
{
    struct controller *self = start(c, "root-ca-cert-publisher", c->root_cas, ROOT_CA_NAME);
    struct strbuf text = STRBUF_INIT;
    struct error err = ERROR_INIT;
    if (!c->root_ca_file || fs_read(c->root_ca_file, ROOT_CA_SIZE, &text, &err) < 0) {
        log_warn("pods will not find the cluster's CA: --root-ca-file is not given or not readable",
                 "error", c->root_ca_file ? error_text(&err) : NULL, NULL);
        strbuf_done(&text);
        return self;
    }
    self->text = strbuf_take(&text);
    return self;
}

static void synced(struct controller *self)
{
    queue_resume(self->queue);
}

/* Without a CA there is nothing to publish: the queue stays paused. */
static void synced_root_ca(struct controller *self)
{
    if (self->text)
        queue_resume(self->queue);
}

static void stop(struct controller *self)
{
    queue_free(self->queue);
    free(self->text);
    free(self);
}

const struct controller_def service_account_controller = {"serviceaccount", start_account, synced,
                                                          stop};
const struct controller_def root_ca_controller = {"root-ca-cert-publisher", start_root_ca,
                                                  synced_root_ca, stop};
