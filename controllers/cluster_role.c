/* ClusterRoles that gather their rules from others by label (aggregationRule). */
#include <string.h>

#include "base/strbuf.h"
#include "controllers/controllers.h"
#include "kube/selector.h"

struct controller {
    struct controllers *c;
    struct queue *queue;
};

struct look {
    struct controller *self;
    char *key;
};

static void on_patched(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    bool gone = str_eq(result->reason, "NotFound");
    if (!result->error)
        cache_wrote(look->self->c->cluster_roles, result->body);
    queue_done(look->self->queue, look->key, gone ? NULL : result->error, false);
    free(look->key);
    free(look);
}

static bool is_selected(const struct cluster_role *r, const struct cluster_role *by)
{
    const json_t *selectors = json_object_get(by->aggregation, "clusterRoleSelectors");
    bool selected = false;
    size_t i;
    json_t *object;
    json_array_foreach(selectors, i, object) {
        struct selector *selector = NULL;
        if (!selected && selector_from_object(object, &selector, NULL) == 0)
            selected = selector_matches(selector, r->meta.labels);
        selector_free(selector);
    }
    return selected;
}

static int by_name(const void *a, const void *b)
{
    const struct cluster_role *const *x = a, *const *y = b;
    return strcmp((*x)->meta.name, (*y)->meta.name);
}

static void add_rules(json_t *to, const json_t *from)
{
    size_t i, k;
    json_t *rule, *have;
    json_array_foreach(from, i, rule) {
        bool there = false;
        json_array_foreach(to, k, have) {
            there |= json_equal(have, rule) != 0;
        }
        if (!there)
            (void)json_array_append(to, rule);
    }
}

/* The rules of all that @role selects, in the order of their names. */
static json_t *gathered(const struct controller *self, const struct cluster_role *role)
{
    const struct map *all = cache_objects(self->c->cluster_roles);
    const struct cluster_role **selected = mem_zalloc((map_count(all) + 1) * sizeof(*selected));
    json_t *rules = json_array();
    size_t n = 0;
    MAP_FOR_EACH(e, all) {
        const struct cluster_role *r = map_value(e);
        if (r != role && is_selected(r, role))
            selected[n++] = r;
    }
    qsort(selected, n, sizeof(*selected), by_name);
    for (size_t i = 0; i < n; i++)
        add_rules(rules, selected[i]->rules);
    free(selected);
    return rules;
}

static void work(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct cluster_role *role = cache_get(self->c->cluster_roles, key);
    _cleanup_json_ json_t *rules =
        role && role->aggregation && !role->meta.deleted ? gathered(self, role) : NULL;
    bool same = rules && (json_equal(rules, role->rules) ||
                          (!json_array_size(rules) && !json_array_size(role->rules)));
    if (!rules || same) {
        queue_done(self->queue, key, NULL, false);
        return;
    }
    _cleanup_json_ json_t *patch =
        json_pack("[{s:s,s:s,s:O}]", "op", "add", "path", "/rules", "value", rules);
    _cleanup_free_ char *path =
        controller_path(cache_kind_of(self->c->cluster_roles), &role->meta, NULL);
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){.self = self, .key = str_dup(key)};
    (void)kube_patch(self->c->client, path, KUBE_PATCH_JSON, patch, on_patched, look);
}

/* Any role may be one that others gather from. */
static void on_role(void *arg, _unused_ const void *before, _unused_ const void *now)
{
    struct controller *self = arg;
    MAP_FOR_EACH(e, cache_objects(self->c->cluster_roles)) {
        const struct cluster_role *role = map_value(e);
        if (role->aggregation)
            queue_add(self->queue, role->meta.name);
    }
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    self->c = c;
    self->queue = queue_new(c->loop, "clusterrole-aggregation", work, self);
    cache_subscribe(c->cluster_roles, on_role, self);
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

const struct controller_def cluster_role_controller = {"clusterrole-aggregation", start, synced,
                                                       stop};
