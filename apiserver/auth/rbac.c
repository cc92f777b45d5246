/*
 * The index of roles and bindings; see rbac.h.
 *
 *   users, groups: name → subject: its bindings
 *   bindings: key in the store → binding: namespace, role, the subjects it is filed under
 *   roles: key in the store → role: its compiled rules; there also while only bindings speak of it
 */
#include "apiserver/auth/rbac.h"

#include <string.h>

#include "apiserver/server.h"
#include "apiserver/store/watch_cache.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "kube/meta.h"

#define GROUP "rbac.authorization.k8s.io"

struct role {
    char *key;         /* "/registry/clusterroles/view" */
    const char *name;  /* in key */
    bool cluster;      /* a ClusterRole */
    bool present;      /* the object is there */
    unsigned bindings; /* that refer to it */
    struct rules rules;
};

struct binding;
struct subject {
    struct binding **items;
    size_t count;
};

struct filed {
    struct map *in; /* users or groups */
    char *name;
};
struct binding {
    char *ns, *name; /* ns "": a ClusterRoleBinding */
    struct role *role;
    struct filed *subjects;
    size_t n_subjects;
};

enum kind { KIND_ROLE, KIND_CLUSTER_ROLE, KIND_BINDING, KIND_CLUSTER_BINDING, KINDS };
static const char *const plurals[KINDS] = {"roles", "clusterroles", "rolebindings",
                                           "clusterrolebindings"};

struct follower {
    struct cache_watcher w;
    struct rbac *rbac;
    enum kind kind;
    const struct route *route;
};

struct rbac {
    struct apiserver *srv;
    struct map users, groups, bindings, roles;
    struct follower followers[KINDS];
};

static const char *text_at(const json_t *obj, const char *path)
{
    const char *text = json_path_string(obj, path);
    return text ? text : "";
}

/* ---- roles ---- */

static void role_free(void *p)
{
    struct role *role = p;
    role_rules_done(&role->rules);
    free(role->key);
    free(role);
}

static struct role *role_get(struct rbac *rbac, const char *key)
{
    struct role *role = map_get(&rbac->roles, key);
    if (!role) {
        role = mem_zalloc(sizeof(*role));
        role->key = str_dup(key);
        role->name = strrchr(role->key, '/') + 1;
        role->cluster = str_starts(key, "/registry/clusterroles/");
        map_set(&rbac->roles, key, role);
    }
    return role;
}

static void role_drop_unused(struct rbac *rbac, const struct role *role)
{
    if (!role->present && !role->bindings) {
        _cleanup_free_ char *key = str_dup(role->key);
        (void)map_remove(&rbac->roles, key);
    }
}

static void role_set(struct rbac *rbac, const char *key, const json_t *obj)
{
    struct role *role = role_get(rbac, key);
    role_rules_done(&role->rules);
    role->present = obj != NULL;
    if (obj)
        role_rules_parse(json_object_get(obj, "rules"), &role->rules);
    role_drop_unused(rbac, role);
}

/* ---- bindings ---- */

static void subject_free(void *p)
{
    struct subject *s = p;
    free(s->items);
    free(s);
}

static void file(struct binding *b, struct map *in, char *name)
{
    struct subject *s = map_get(in, name);
    if (!s) {
        s = mem_zalloc(sizeof(*s));
        map_set(in, name, s);
    }
    s->items = mem_grow(s->items, s->count + 1, sizeof(*s->items));
    s->items[s->count++] = b;
    b->subjects[b->n_subjects++] = (struct filed){.in = in, .name = name};
}

static void unfile(const struct binding *b, const struct filed *f)
{
    struct subject *s = map_get(f->in, f->name);
    for (size_t i = 0; s && i < s->count; i++) {
        if (s->items[i] != b)
            continue;
        s->items[i] = s->items[--s->count];
        break;
    }
    if (s && !s->count)
        (void)map_remove(f->in, f->name);
}

static void binding_free(void *p)
{
    struct binding *b = p;
    for (size_t i = 0; i < b->n_subjects; i++)
        free(b->subjects[i].name);
    free(b->subjects);
    free(b->ns);
    free(b->name);
    free(b);
}

static void binding_remove(struct rbac *rbac, const char *key)
{
    struct binding *b = map_take(&rbac->bindings, key);
    if (!b)
        return;
    for (size_t i = 0; i < b->n_subjects; i++)
        unfile(b, &b->subjects[i]);
    b->role->bindings--;
    role_drop_unused(rbac, b->role);
    binding_free(b);
}

static void add_subject(struct rbac *rbac, struct binding *b, const json_t *subject)
{
    const char *kind = text_at(subject, "kind"), *name = text_at(subject, "name");
    const char *ns = text_at(subject, "namespace");
    if (str_eq(kind, "User"))
        file(b, &rbac->users, str_dup(name));
    else if (str_eq(kind, "Group"))
        file(b, &rbac->groups, str_dup(name));
    else if (str_eq(kind, "ServiceAccount"))
        file(b, &rbac->users, str_printf(ACCOUNT_PREFIX "%s:%s", *ns ? ns : b->ns, name));
}

static void binding_add(struct rbac *rbac, const char *key, const json_t *obj)
{
    const json_t *subjects = json_object_get(obj, "subjects");
    const char *ns = meta_namespace(obj), *role = text_at(obj, "roleRef.name");
    struct binding *b = mem_zalloc(sizeof(*b));
    size_t i;
    json_t *subject;
    b->ns = str_dup(ns);
    b->name = str_dup(meta_name(obj));
    _cleanup_free_ char *role_key = str_eq(text_at(obj, "roleRef.kind"), "Role")
                                        ? str_printf("/registry/roles/%s/%s", ns, role)
                                        : str_printf("/registry/clusterroles/%s", role);
    b->role = role_get(rbac, role_key);
    b->role->bindings++;
    b->subjects = mem_zalloc((json_array_size(subjects) + 1) * sizeof(*b->subjects));
    json_array_foreach(subjects, i, subject) {
        add_subject(rbac, b, subject);
    }
    map_set(&rbac->bindings, key, b);
}

/* ---- following the cache ---- */

/* @e NULL: the object is gone. */
static void apply(struct rbac *rbac, enum kind kind, const char *key, const struct encoded *e)
{
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *obj = e ? encoded_tree(e, &err) : NULL;
    if (e && !obj)
        log_error("a role or binding cannot be read: it grants nothing", "key", key, "error",
                  error_text(&err), NULL);
    if (kind == KIND_ROLE || kind == KIND_CLUSTER_ROLE) {
        role_set(rbac, key, obj);
        return;
    }
    binding_remove(rbac, key);
    if (obj)
        binding_add(rbac, key, obj);
}

static void on_events(struct cache_watcher *w)
{
    struct follower *f = CONTAINER_OF(w, struct follower, w);
    struct cache_event *event;
    bool lost;
    while ((event = cache_watcher_next(w, &lost)))
        apply(f->rbac, f->kind, event->object->key,
              event->type == EVENT_DELETED ? NULL : event->object);
}

/* What was known holds until rbac_load() comes with the new state. */
static void on_lost(struct cache_watcher *w)
{
    (void)w;
}

static void forget(struct rbac *rbac)
{
    map_clear(&rbac->users);
    map_clear(&rbac->groups);
    map_clear(&rbac->bindings);
    map_clear(&rbac->roles);
}

void rbac_load(struct rbac *rbac)
{
    forget(rbac);
    for (size_t i = 0; i < KINDS; i++) {
        struct follower *f = &rbac->followers[i];
        struct encoded_list all = {.items = NULL};
        watch_cache_unsubscribe(&f->w);
        (void)watch_cache_subscribe(rbac->srv->cache, f->route,
                                    watch_cache_revision(rbac->srv->cache), &f->w);
        watch_cache_snapshot(rbac->srv->cache, f->route, f->route->prefix, &all);
        for (size_t k = 0; k < all.count; k++)
            apply(rbac, f->kind, all.items[k]->key, all.items[k]);
        encoded_list_done(&all);
    }
}

struct rbac *rbac_new(struct apiserver *srv)
{
    struct rbac *rbac = mem_zalloc(sizeof(*rbac));
    rbac->srv = srv;
    rbac->users = (struct map)MAP_INIT(subject_free);
    rbac->groups = (struct map)MAP_INIT(subject_free);
    rbac->bindings = (struct map)MAP_INIT(binding_free);
    rbac->roles = (struct map)MAP_INIT(role_free);
    for (size_t i = 0; i < KINDS; i++)
        rbac->followers[i] =
            (struct follower){.w = {.on_events = on_events, .on_lost = on_lost},
                              .rbac = rbac,
                              .kind = (enum kind)i,
                              .route = routes_find(srv->routes, GROUP, "v1", plurals[i])};
    return rbac;
}

struct rbac *rbac_free(struct rbac *rbac)
{
    if (rbac) {
        for (size_t i = 0; i < KINDS; i++)
            watch_cache_unsubscribe(&rbac->followers[i].w);
        forget(rbac);
        free(rbac);
    }
    return NULL;
}

/* ---- questions ---- */

static bool applies(const struct binding *b, const char *ns)
{
    return !*b->ns || (*ns && !strcmp(b->ns, ns));
}

static void explain(struct strbuf *reason, const struct binding *b, const char *kind,
                    const char *name)
{
    strbuf_addf(reason, "RBAC: allowed by %s \"%s%s%s\" of %s \"%s\" to %s \"%s\"",
                *b->ns ? "RoleBinding" : "ClusterRoleBinding", b->name, *b->ns ? "/" : "", b->ns,
                b->role->cluster ? "ClusterRole" : "Role", b->role->name, kind, name);
}

static bool subject_allows(const struct subject *s, const char *kind, const char *name,
                           const struct access *a, const char *resource, struct strbuf *reason)
{
    for (size_t i = 0; s && i < s->count; i++) {
        const struct binding *b = s->items[i];
        /* Other paths are nobody's namespace's. */
        if (!applies(b, a->is_resource ? a->ns : ""))
            continue;
        for (size_t r = 0; r < b->role->rules.count; r++) {
            if (!rule_allows(&b->role->rules.items[r], a, resource))
                continue;
            if (reason)
                explain(reason, b, kind, name);
            return true;
        }
    }
    return false;
}

/* The bindings that apply and lead nowhere. */
static void add_missing_roles(const struct subject *s, const struct access *a, struct strbuf *text,
                              size_t *n)
{
    for (size_t i = 0; s && i < s->count; i++) {
        const struct binding *b = s->items[i];
        if (b->role->present || !applies(b, a->ns))
            continue;
        strbuf_addf(text, "%s%s.%s \"%s\" not found", (*n)++ ? ", " : "",
                    b->role->cluster ? "clusterrole" : "role", GROUP, b->role->name);
    }
}

static void explain_denial(const struct rbac *rbac, const struct access *a, struct strbuf *reason)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    size_t n = 0;
    add_missing_roles(map_get(&rbac->users, a->user->name), a, &text, &n);
    for (size_t i = 0; i < a->user->n_groups; i++)
        add_missing_roles(map_get(&rbac->groups, a->user->groups[i]), a, &text, &n);
    if (n)
        strbuf_addf(reason, n > 1 ? "RBAC: [%s]" : "RBAC: %s", strbuf_text(&text));
}

bool rbac_allows(const struct rbac *rbac, const struct access *a, struct strbuf *reason)
{
    char both[2 * REQUEST_SEGMENT_MAX + 2];
    const char *resource = a->resource;
    if (*a->subresource) {
        int len = snprintf(both, sizeof(both), "%s/%s", a->resource, a->subresource);
        if (len >= (int)sizeof(both))
            return false; /* no rule is about a resource of such a name */
        resource = both;
    }
    if (subject_allows(map_get(&rbac->users, a->user->name), "User", a->user->name, a, resource,
                       reason))
        return true;
    for (size_t i = 0; i < a->user->n_groups; i++) {
        const char *group = a->user->groups[i];
        if (subject_allows(map_get(&rbac->groups, group), "Group", group, a, resource, reason))
            return true;
    }
    if (reason)
        explain_denial(rbac, a, reason);
    return false;
}

const struct rules *rbac_rules_at(const struct rbac *rbac, const char *key)
{
    const struct role *role = map_get(&rbac->roles, key);
    return role && role->present ? &role->rules : NULL;
}

static void gather(const struct subject *s, const char *ns, const struct rule ***rules, size_t *n)
{
    for (size_t i = 0; s && i < s->count; i++) {
        const struct binding *b = s->items[i];
        if (!applies(b, ns))
            continue;
        *rules = mem_grow(*rules, *n + b->role->rules.count + 1, sizeof(**rules));
        for (size_t r = 0; r < b->role->rules.count; r++)
            (*rules)[(*n)++] = &b->role->rules.items[r];
    }
}

size_t rbac_rules_of(const struct rbac *rbac, const struct user *user, const char *ns,
                     const struct rule ***ret)
{
    size_t n = 0;
    *ret = NULL;
    gather(map_get(&rbac->users, user->name), ns, ret, &n);
    for (size_t i = 0; i < user->n_groups; i++)
        gather(map_get(&rbac->groups, user->groups[i]), ns, ret, &n);
    return n;
}
