/*
 * Claims and volumes find each other. Volumes are made by people (or by provisioners of others):
 * this only binds.
 *
 * A look compares one claim, or one volume, with what should be, and writes the first difference;
 * the answer goes into the cache, which brings the next look. Binding is thus a chain of writes
 * that can break off anywhere and goes on from what is there: the volume's claimRef, the claim's
 * volumeName, the two phases. The claimRef comes first and by resourceVersion: of two claims that
 * want one volume the second gets a conflict. What the server should do, and the annotations and
 * events by which others follow it, are those of upstream's persistentvolume controller.
 */
#include "base/log.h"
#include "base/strbuf.h"
#include "controllers/controllers.h"
#include "controllers/volume_match.h"

#define BOUND_BY_CONTROLLER "pv.kubernetes.io/bound-by-controller"
#define BIND_COMPLETED      "pv.kubernetes.io/bind-completed"
#define PROVISIONED_BY      "pv.kubernetes.io/provisioned-by"
#define NO_PROVISIONER      "kubernetes.io/no-provisioner"

struct controller {
    struct controllers *c;
    struct queue *claims, *volumes;
};

struct look {
    struct queue *queue;
    struct cache *cache;
    struct controller *self;
    char *key, *uid;
};

static const char *word(const char *text)
{
    return text ? text : "";
}

static void finish(struct look *look, const char *error, bool conflict)
{
    queue_done(look->queue, look->key, error, conflict);
    free(look->key);
    free(look->uid);
    free(look);
}

static void on_written(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    if (!result->error)
        cache_wrote(look->cache, result->body);
    finish(look, result->status == 404 ? NULL : result->error, str_eq(result->reason, "Conflict"));
}

/* One write: @change merged into the object that the cache shows, if it still is that one. */
static void write_object(struct look *look, struct cache *cache, const struct object_meta *m,
                         const char *sub, json_t *change)
{
    _cleanup_free_ char *path = controller_path(cache_kind_of(cache), m, sub);
    _cleanup_json_ json_t *patch = change;
    (void)json_path_set(patch, "metadata.uid", json_text(m->uid));
    (void)json_path_set(patch, "metadata.resourceVersion", json_text(m->version));
    look->cache = cache;
    (void)kube_patch(look->self->c->client, path, KUBE_PATCH_MERGE, patch, on_written, look);
}

static void tell(struct look *look, struct cache *about, const struct object_meta *m,
                 const char *type, const char *reason, const char *text)
{
    controller_event(look->self->c, cache_kind_of(about), m, type, reason, "%s", text);
}

/* ---- claims ---- */

static void set_claim_phase(struct look *look, const struct claim *c, const char *phase)
{
    if (str_eq(word(c->phase), phase))
        finish(look, NULL, false);
    else
        write_object(look, look->self->c->claims, &c->meta, "status",
                     json_pack("{s:{},s:{s:s}}", "metadata", "status", "phase", phase));
}

static void stay_pending(struct look *look, const struct claim *c, const char *type,
                         const char *reason, const char *text)
{
    tell(look, look->self->c->claims, &c->meta, type, reason, text);
    set_claim_phase(look, c, "Pending");
}

static void lose(struct look *look, const struct claim *c, const char *reason, const char *text)
{
    if (!str_eq(c->phase, "Lost"))
        tell(look, look->self->c->claims, &c->meta, "Warning", reason, text);
    set_claim_phase(look, c, "Lost");
}

static json_t *strings(const struct string_list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++)
        (void)json_array_append_new(array, json_text(list->items[i]));
    return array;
}

static bool same_strings(const struct string_list *a, const struct string_list *b)
{
    for (size_t i = 0; i < a->count; i++)
        if (!string_list_has(b, a->items[i]))
            return false;
    return a->count == b->count;
}

/* The volume's claimRef, then the claim's volumeName, then its status. */
static void bind_claim(struct look *look, const struct claim *c, const struct volume *v)
{
    struct controllers *all = look->self->c;
    const char *capacity = string_map_get(&v->capacity, "storage");
    if (!v->claim || !*word(v->claim->uid)) {
        json_t *change =
            json_pack("{s:{},s:{s:{s:s,s:s,s:s,s:s,s:s,s:s}}}", "metadata", "spec", "claimRef",
                      "kind", "PersistentVolumeClaim", "apiVersion", "v1", "namespace", c->meta.ns,
                      "name", c->meta.name, "uid", c->meta.uid, "resourceVersion", c->meta.version);
        if (!v->claim) /* it may be taken back: nobody else chose this volume for the claim */
            (void)json_path_set(change, "metadata",
                                json_pack("{s:{s:s}}", "annotations", BOUND_BY_CONTROLLER, "yes"));
        write_object(look, all->volumes, &v->meta, NULL, change);
    } else if (!str_eq(word(c->volume), v->meta.name) || !claim_is_bound(c)) {
        json_t *change = json_pack("{s:{s:{s:s}},s:{s:s}}", "metadata", "annotations",
                                   BIND_COMPLETED, "yes", "spec", "volumeName", v->meta.name);
        if (!*word(c->volume))
            (void)json_object_set_new(
                json_object_get(json_object_get(change, "metadata"), "annotations"),
                BOUND_BY_CONTROLLER, json_string("yes"));
        write_object(look, all->claims, &c->meta, NULL, change);
    } else if (!str_eq(c->phase, "Bound") || !same_strings(&v->access_modes, &c->st_access_modes) ||
               !str_eq(word(string_map_get(&c->st_capacity, "storage")), word(capacity))) {
        write_object(look, all->claims, &c->meta, "status",
                     json_pack("{s:{},s:{s:s,s:o,s:{s:s}}}", "metadata", "status", "phase", "Bound",
                               "accessModes", strings(&v->access_modes), "capacity", "storage",
                               word(capacity)));
    } else {
        finish(look, NULL, false);
    }
}

static void look_at_bound(struct look *look, const struct claim *c)
{
    const struct volume *v = *word(c->volume) ? cache_get(look->self->c->volumes, c->volume) : NULL;
    if (!*word(c->volume))
        lose(look, c, "ClaimLost",
             "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
    else if (!v)
        lose(look, c, "ClaimLost",
             "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    else if (v->claim && !volume_is_for(v, c))
        lose(look, c, "ClaimMisbound",
             "Two claims are bound to the same volume, this one is bound incorrectly");
    else
        bind_claim(look, c, v);
}

/* The claim says which volume it wants. */
static void look_at_named(struct look *look, const struct claim *c)
{
    const struct volume *v = cache_get(look->self->c->volumes, c->volume);
    const char *refusal = v ? volume_refusal(v, c) : NULL;
    _cleanup_free_ char *text = NULL;
    if (!v) {
        set_claim_phase(look, c, "Pending"); /* it may come */
    } else if (v->claim && !volume_is_for(v, c)) {
        text = str_printf("volume \"%s\" already bound to a different claim.", v->meta.name);
        stay_pending(look, c, "Warning", "FailedBinding", text);
    } else if (refusal) {
        text = str_printf("Cannot bind to requested volume \"%s\": %s", v->meta.name, refusal);
        stay_pending(look, c, "Warning", "VolumeMismatch", text);
    } else {
        bind_claim(look, c, v);
    }
}

static void tell_nothing_suits(struct look *look, const struct claim *c)
{
    const struct storage_class *class =
        *word(c->class) ? cache_get(look->self->c->storage_classes, c->class) : NULL;
    _cleanup_free_ char *text = NULL;
    if (!*word(c->class)) {
        stay_pending(look, c, "Normal", "FailedBinding",
                     "no persistent volumes available for this claim and no storage class is set");
    } else if (!class) {
        text = str_printf("storageclass.storage.k8s.io \"%s\" not found", c->class);
        stay_pending(look, c, "Warning", "ProvisioningFailed", text);
    } else if (str_eq(class->provisioner, NO_PROVISIONER)) {
        stay_pending(look, c, "Normal", "FailedBinding",
                     "no persistent volumes available for this claim and its storage class has no "
                     "provisioner");
    } else {
        text = str_printf("Waiting for a volume to be created either by the external provisioner "
                          "'%s' or manually by the system administrator. If volume creation is "
                          "delayed, please verify that the provisioner is running and correctly "
                          "registered.",
                          class->provisioner);
        stay_pending(look, c, "Normal", "ExternalProvisioning", text);
    }
}

static void look_at_unbound(struct look *look, const struct claim *c)
{
    struct controllers *all = look->self->c;
    const char *selected = string_map_get(&c->meta.annotations, SELECTED_NODE);
    const struct node *n = selected ? cache_get(all->nodes, selected) : NULL;
    const struct volume *v = volume_choose(cache_objects(all->volumes), c, n);
    bool waits = claim_waits_for_pod(c, cache_objects(all->storage_classes));
    if (waits && !n && !(v && v->claim))
        stay_pending(look, c, "Normal", "WaitForFirstConsumer",
                     "waiting for first consumer to be created before binding");
    else if (v)
        bind_claim(look, c, v);
    else
        tell_nothing_suits(look, c);
}

static void work_claim(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct claim *c = cache_get(self->c->claims, key);
    bool bound = c && string_map_get(&c->meta.annotations, BIND_COMPLETED);
    if (!c || (c->meta.deleted && !bound)) {
        queue_done(self->claims, key, NULL, false);
        return;
    }
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){
        .self = self, .queue = self->claims, .key = str_dup(key), .uid = str_dup(c->meta.uid)};
    if (bound)
        look_at_bound(look, c);
    else if (*word(c->volume))
        look_at_named(look, c);
    else
        look_at_unbound(look, c);
}

/* ---- volumes ---- */

static void set_volume_phase(struct look *look, const struct volume *v, const char *phase,
                             const char *text)
{
    if (str_eq(word(v->phase), phase))
        finish(look, NULL, false);
    else
        write_object(look, look->self->c->volumes, &v->meta, "status",
                     json_pack("{s:{},s:{s:s,s:s?}}", "metadata", "status", "phase", phase,
                               "message", text));
}

/* The claim is gone. What nobody here can delete or scrub has failed; a provisioner that made the
 * volume deletes it itself. */
static void release(struct look *look, const struct volume *v)
{
    const char *policy = word(v->reclaim_policy);
    _cleanup_free_ char *text = NULL;
    const char *reason = NULL;
    if (str_eq(v->phase, "Released") && str_eq(policy, "Delete") &&
        !string_map_get(&v->meta.annotations, PROVISIONED_BY)) {
        reason = "VolumeFailedDelete";
        text = str_printf("error getting deleter volume plugin for volume \"%s\": no deletable "
                          "volume plugin matched",
                          v->meta.name);
    } else if (str_eq(v->phase, "Released") && str_eq(policy, "Recycle")) {
        reason = "VolumeFailedRecycle";
        text = str_dup("No recycler plugin found for the volume!");
    }
    if (reason)
        tell(look, look->self->c->volumes, &v->meta, "Warning", reason, text);
    set_volume_phase(look, v,
                     reason                       ? "Failed"
                     : str_eq(v->phase, "Failed") ? "Failed"
                                                  : "Released",
                     text);
}

/* The server is asked before a volume is released: the cache of claims may be behind. */
static void on_claim_read(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    const struct volume *v = cache_get(look->self->c->volumes, look->key);
    bool same_volume = v && str_eq(v->meta.uid, look->uid) && v->claim;
    bool there = !result->error && same_volume &&
                 str_eq(json_path_string(result->body, "metadata.uid"), v->claim->uid);
    if (result->error && result->status != 404)
        finish(look, result->error, false);
    else if (!same_volume || there)
        finish(look, NULL, false);
    else
        release(look, v);
}

/* Chosen here for a claim that has got another volume since: free again. */
static void take_back(struct look *look, const struct volume *v)
{
    bool ours = string_map_get(&v->meta.annotations, BOUND_BY_CONTROLLER);
    if (ours)
        write_object(look, look->self->c->volumes, &v->meta, NULL,
                     json_pack("{s:{s:{s:n}},s:{s:n}}", "metadata", "annotations",
                               BOUND_BY_CONTROLLER, "spec", "claimRef"));
    else
        write_object(look, look->self->c->volumes, &v->meta, NULL,
                     json_pack("{s:{},s:{s:{s:n}}}", "metadata", "spec", "claimRef", "uid"));
}

static void work_volume(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct volume *v = cache_get(self->c->volumes, key);
    if (!v) {
        queue_done(self->volumes, key, NULL, false);
        return;
    }
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){
        .self = self, .queue = self->volumes, .key = str_dup(key), .uid = str_dup(v->meta.uid)};
    if (!v->claim || !*word(v->claim->uid)) {
        set_volume_phase(look, v, "Available", NULL);
        return;
    }
    _cleanup_free_ char *name = str_printf("%s/%s", word(v->claim->ns), word(v->claim->name));
    const struct claim *c = cache_get(self->c->claims, name);
    if (!c || !volume_is_for(v, c)) {
        _cleanup_free_ char *path =
            kube_path("v1", v->claim->ns, "persistentvolumeclaims", v->claim->name, NULL);
        (void)kube_get(self->c->client, path, on_claim_read, look);
    } else if (!*word(c->volume)) {
        queue_add(self->claims, name); /* goes on with this one */
        finish(look, NULL, false);
    } else if (str_eq(c->volume, v->meta.name)) {
        set_volume_phase(look, v, "Bound", NULL);
    } else {
        take_back(look, v);
    }
}

/* ---- what is looked at when ---- */

static void on_claim(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct claim *c = now ? now : before;
    _cleanup_free_ char *key = object_key(&c->meta);
    if (now)
        queue_add(self->claims, key);
    if (*word(c->volume))
        queue_add(self->volumes, c->volume);
    if (now)
        return;
    /* The claim is gone: what was chosen for it too. */
    MAP_FOR_EACH(e, cache_objects(self->c->volumes)) {
        const struct volume *v = map_value(e);
        if (volume_is_for(v, c))
            queue_add(self->volumes, v->meta.name);
    }
}

static void on_volume(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct volume *a = before, *b = now;
    if (b)
        queue_add(self->volumes, b->meta.name);
    MAP_FOR_EACH(e, cache_objects(self->c->claims)) {
        const struct claim *c = map_value(e);
        bool named = str_eq(c->volume, (b ? b : a)->meta.name);
        bool may_have =
            b && !*word(c->volume) && !volume_refusal(b, c) && (!b->claim || volume_is_for(b, c));
        if (named || may_have)
            queue_add(self->claims, map_key(e));
    }
}

static void on_class(void *arg, _unused_ const void *before, const void *now)
{
    struct controller *self = arg;
    const struct storage_class *class = now;
    MAP_FOR_EACH(e, cache_objects(self->c->claims)) {
        const struct claim *c = map_value(e);
        if (class && str_eq(c->class, class->meta.name) && !*word(c->volume))
            queue_add(self->claims, map_key(e));
    }
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    self->c = c;
    self->claims = queue_new(c->loop, "persistentvolume-binder", work_claim, self);
    self->volumes = queue_new(c->loop, "persistentvolume-binder", work_volume, self);
    cache_subscribe(c->claims, on_claim, self);
    cache_subscribe(c->volumes, on_volume, self);
    cache_subscribe(c->storage_classes, on_class, self);
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

const struct controller_def volume_binder = {"persistentvolume-binder", start, synced, stop};
