/*
 * The garbage collector: an object whose owners are all gone is deleted.
 *
 * Owners are looked up in the caches by kind; an owner of a kind that is not cached counts as
 * there. One counts as gone when there is no object of its name with its uid. Objects being deleted
 * with the finalizer "orphan" first lose the references that point to them; with
 * "foregroundDeletion" they wait until their dependents are gone.
 */
#include "base/strbuf.h"
#include "controllers/controllers.h"

#define N_CACHES 8

struct subscription {
    struct controller *self;
    size_t index; /* of the cache */
};

struct controller {
    struct controllers *c;
    struct queue *queue; /* keys: "<cache index>:<ns>/<name>" */
    struct subscription subscriptions[N_CACHES];
};

static struct cache *cache_at(const struct controllers *c, size_t i)
{
    struct cache *const all[N_CACHES] = {c->pods,     c->replica_sets,    c->deployments,
                                         c->services, c->endpoints,       c->slices,
                                         c->nodes,    c->service_accounts};
    return i < N_CACHES ? all[i] : NULL;
}

static char *queue_key(size_t i, const struct object_meta *m)
{
    _cleanup_free_ char *key = object_key(m);
    return str_printf("%zu:%s", i, key);
}

static struct cache *cache_of(const struct controllers *c, const struct owner_ref *owner)
{
    for (size_t i = 0; i < N_CACHES; i++) {
        const struct cache_kind *kind = cache_kind_of(cache_at(c, i));
        if (str_eq(kind->kind, owner->kind) && str_eq(kind->api, owner->api_version))
            return cache_at(c, i);
    }
    return NULL;
}

enum owner_state { OWNER_THERE, OWNER_GONE, OWNER_UNKNOWN };

static enum owner_state owner_state(const struct controllers *c, const struct object_meta *m,
                                    const struct owner_ref *owner)
{
    const struct cache *cache = cache_of(c, owner);
    if (!cache)
        return OWNER_UNKNOWN;
    bool cluster_scoped = str_eq(owner->kind, "Node");
    _cleanup_free_ char *key =
        cluster_scoped || !m->ns ? str_dup(owner->name) : str_printf("%s/%s", m->ns, owner->name);
    const struct object_meta *there = cache_get(cache, key);
    return there && str_eq(there->uid, owner->uid) ? OWNER_THERE : OWNER_GONE;
}

/* ---- one look ---- */

struct look {
    struct controller *self;
    char *key;
    struct cache *cache;
};

static void finish(struct look *look, const char *error, bool conflict)
{
    queue_done(look->self->queue, look->key, error, conflict);
    free(look->key);
    free(look);
}

static void on_changed(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    bool gone = result->status == 404;
    if (!result->error)
        cache_wrote(look->cache, result->body);
    finish(look, gone ? NULL : result->error, str_eq(result->reason, "Conflict"));
}

static void delete_dependent(struct look *look, const struct object_meta *m)
{
    _cleanup_free_ char *path = controller_path(cache_kind_of(look->cache), m, NULL);
    _cleanup_json_ json_t *options =
        json_pack("{sssss{ss}ss}", "apiVersion", "v1", "kind", "DeleteOptions", "preconditions",
                  "uid", m->uid, "propagationPolicy", "Background");
    (void)kube_delete(look->self->c->client, path, options, on_changed, look);
}

/* Takes @finalizer off with a patch that fails when the list has changed meanwhile. */
static void remove_finalizer(struct look *look, const struct object_meta *m, const char *finalizer)
{
    json_t *kept = json_array();
    for (size_t i = 0; i < m->finalizers.count; i++)
        if (!str_eq(m->finalizers.items[i], finalizer))
            (void)json_array_append_new(kept, json_string(m->finalizers.items[i]));
    _cleanup_json_ json_t *patch = json_pack("{s{sssssO}}", "metadata", "uid", m->uid,
                                             "resourceVersion", m->version, "finalizers", kept);
    json_decref(kept);
    _cleanup_free_ char *path = controller_path(cache_kind_of(look->cache), m, NULL);
    (void)kube_patch(look->self->c->client, path, KUBE_PATCH_MERGE, patch, on_changed, look);
}

/* The references of @m without the one to @uid. New reference. */
static json_t *owners_without(const struct object_meta *m, const char *uid)
{
    json_t *kept = json_array();
    for (size_t i = 0; i < m->owners.count; i++) {
        const struct owner_ref *o = &m->owners.items[i];
        if (!str_eq(o->uid, uid))
            (void)json_array_append_new(
                kept, json_pack("{sssssssssbsb}", "apiVersion", o->api_version, "kind", o->kind,
                                "name", o->name, "uid", o->uid, "controller", (int)o->controller,
                                "blockOwnerDeletion", (int)o->block_owner_deletion));
    }
    return kept;
}

static void remove_reference(struct look *look, const struct object_meta *m, const char *uid)
{
    json_t *kept = owners_without(m, uid);
    _cleanup_json_ json_t *patch =
        json_pack("{s{sssssO}}", "metadata", "uid", m->uid, "resourceVersion", m->version,
                  "ownerReferences", kept);
    json_decref(kept);
    _cleanup_free_ char *path = controller_path(cache_kind_of(look->cache), m, NULL);
    (void)kube_patch(look->self->c->client, path, KUBE_PATCH_MERGE, patch, on_changed, look);
}

static bool owned_by(const struct object_meta *m, const char *uid)
{
    for (size_t i = 0; i < m->owners.count; i++)
        if (str_eq(m->owners.items[i].uid, uid))
            return true;
    return false;
}

/* Whether any cached object still refers to @uid; each that does is queued. */
static bool queue_dependents(struct controller *self, const char *uid)
{
    bool any = false;
    for (size_t i = 0; i < N_CACHES; i++)
        MAP_FOR_EACH(e, cache_objects(cache_at(self->c, i))) {
            const struct object_meta *m = map_value(e);
            if (!owned_by(m, uid))
                continue;
            _cleanup_free_ char *key = queue_key(i, m);
            queue_add(self->queue, key);
            any = true;
        }
    return any;
}

/* An owner that is being deleted and asks its dependents to go first, or to be let go. */
static const struct object_meta *deleting_owner(const struct controllers *c,
                                                const struct object_meta *m, const char *finalizer)
{
    for (size_t i = 0; i < m->owners.count; i++) {
        const struct cache *cache = cache_of(c, &m->owners.items[i]);
        if (!cache)
            continue;
        _cleanup_free_ char *key = m->ns ? str_printf("%s/%s", m->ns, m->owners.items[i].name)
                                         : str_dup(m->owners.items[i].name);
        const struct object_meta *owner = cache_get(cache, key);
        if (owner && owner->deleted && str_eq(owner->uid, m->owners.items[i].uid) &&
            string_list_has(&owner->finalizers, finalizer))
            return owner;
    }
    return NULL;
}

static bool all_owners_gone(const struct controllers *c, const struct object_meta *m)
{
    for (size_t i = 0; i < m->owners.count; i++)
        if (owner_state(c, m, &m->owners.items[i]) != OWNER_GONE)
            return false;
    return m->owners.count > 0;
}

static void work(void *arg, const char *key)
{
    struct controller *self = arg;
    char *colon = NULL;
    size_t index = strtoul(key, &colon, 10);
    struct cache *cache = cache_at(self->c, index);
    const struct object_meta *m = cache_get(cache, colon + 1);
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){.self = self, .key = str_dup(key), .cache = cache};
    if (!m) {
        finish(look, NULL, false);
        return;
    }
    if (m->deleted && string_list_has(&m->finalizers, "orphan")) {
        if (queue_dependents(self, m->uid))
            finish(look, NULL, false);
        else
            remove_finalizer(look, m, "orphan");
        return;
    }
    if (m->deleted && string_list_has(&m->finalizers, "foregroundDeletion")) {
        if (queue_dependents(self, m->uid))
            finish(look, NULL, false);
        else
            remove_finalizer(look, m, "foregroundDeletion");
        return;
    }
    const struct object_meta *orphaning = deleting_owner(self->c, m, "orphan");
    if (orphaning) {
        remove_reference(look, m, orphaning->uid);
        return;
    }
    bool go = all_owners_gone(self->c, m) || deleting_owner(self->c, m, "foregroundDeletion");
    if (go && !m->deleted)
        delete_dependent(look, m);
    else
        finish(look, NULL, false);
}

/* ---- what leads to a look ---- */

static void on_object(void *arg, const void *before, const void *now)
{
    struct subscription *s = arg;
    const struct object_meta *gone = now ? NULL : before;
    const struct object_meta *m = now;
    if (m && (m->owners.count || (m->deleted && m->finalizers.count))) {
        _cleanup_free_ char *key = queue_key(s->index, m);
        queue_add(s->self->queue, key);
    }
    if (gone) {
        (void)queue_dependents(s->self, gone->uid);
        /* An owner that waited for this one is looked at again. */
        for (size_t i = 0; i < gone->owners.count; i++)
            for (size_t k = 0; k < N_CACHES; k++) {
                _cleanup_free_ char *name =
                    gone->ns ? str_printf("%s/%s", gone->ns, gone->owners.items[i].name)
                             : str_dup(gone->owners.items[i].name);
                const struct object_meta *owner = cache_get(cache_at(s->self->c, k), name);
                if (!owner || !owner->deleted || !str_eq(owner->uid, gone->owners.items[i].uid))
                    continue;
                _cleanup_free_ char *key = queue_key(k, owner);
                queue_add(s->self->queue, key);
            }
    }
    if (m && m->deleted && m->finalizers.count)
        (void)queue_dependents(s->self, m->uid);
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    self->c = c;
    self->queue = queue_new(c->loop, "garbage-collector", work, self);
    for (size_t i = 0; i < N_CACHES; i++) {
        self->subscriptions[i] = (struct subscription){.self = self, .index = i};
        cache_subscribe(cache_at(c, i), on_object, &self->subscriptions[i]);
    }
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

const struct controller_def garbage_controller = {"garbage-collector", start, synced, stop};
