/* What kubelets may do; see node_authz.h. The rules for what is not a matter of single objects are
 * those of the ClusterRole system:node as the server knows it (policy.h), whatever is stored. */
#include "apiserver/auth/node_authz.h"

#include <string.h>

#include "apiserver/auth/node_refs.h"
#include "apiserver/auth/policy.h"
#include "apiserver/auth/rules.h"
#include "apiserver/server.h"
#include "apiserver/store/watch_cache.h"
#include "base/json.h"
#include "base/map.h"
#include "kube/meta.h"

#define LEASE_NAMESPACE "kube-node-lease"

struct node_pods;
/* A pod that is bound to a node. */
struct pod_refs {
    struct node_pods *node;
    struct list entry; /* of its node */
    char *ns, *name, *uid;
    int64_t generation;
    char *refs; /* node_refs.h */
    size_t len;
};
struct node_pods {
    char *name;
    struct list pods;
};

struct node_authz {
    struct apiserver *srv;
    const struct route *route; /* pods */
    struct cache_watcher w;
    struct map pods;  /* key in the store → struct pod_refs */
    struct map nodes; /* name → struct node_pods */
    struct rules rules;
};

/* ---- following the pods ---- */

static void node_free(void *p)
{
    struct node_pods *node = p;
    free(node->name);
    free(node);
}

static void pod_free(void *p)
{
    struct pod_refs *pod = p;
    list_remove(&pod->entry);
    free(pod->ns);
    free(pod->name);
    free(pod->uid);
    free(pod->refs);
    free(pod);
}

static void forget_pod(struct node_authz *n, const char *key)
{
    struct pod_refs *pod = map_take(&n->pods, key);
    if (!pod)
        return;
    struct node_pods *node = pod->node;
    pod_free(pod);
    if (list_empty(&node->pods)) {
        _cleanup_free_ char *name = str_dup(node->name);
        (void)map_remove(&n->nodes, name);
    }
}

static struct node_pods *node_get(struct node_authz *n, const char *name)
{
    struct node_pods *node = map_get(&n->nodes, name);
    if (!node) {
        node = mem_zalloc(sizeof(*node));
        node->name = str_dup(name);
        list_init(&node->pods);
        map_set(&n->nodes, name, node);
    }
    return node;
}

static void learn_pod(struct node_authz *n, struct encoded *e)
{
    const json_t *index = encoded_index(e, n->route->res);
    const char *node = json_path_string(index, "spec.nodeName");
    const struct pod_refs *known = map_get(&n->pods, e->key);
    bool same = known && str_eq(known->node->name, node) && str_eq(known->uid, meta_uid(index)) &&
                known->generation == meta_generation(index) && known->generation > 0;
    if (same)
        return;
    forget_pod(n, e->key);
    _cleanup_json_ json_t *tree = node && *node ? encoded_tree(e, NULL) : NULL;
    if (!tree)
        return;
    _cleanup_strbuf_ struct strbuf refs = STRBUF_INIT;
    node_refs_of_pod(tree, &refs);
    struct pod_refs *pod = mem_zalloc(sizeof(*pod));
    *pod = (struct pod_refs){.node = node_get(n, node),
                             .ns = str_dup(meta_namespace(tree)),
                             .name = str_dup(meta_name(tree)),
                             .uid = str_dup(meta_uid(tree)),
                             .generation = meta_generation(tree),
                             .refs = mem_dup(strbuf_text(&refs), refs.len),
                             .len = refs.len};
    list_append(&pod->node->pods, &pod->entry);
    map_set(&n->pods, e->key, pod);
}

static void on_events(struct cache_watcher *w)
{
    struct node_authz *n = CONTAINER_OF(w, struct node_authz, w);
    struct cache_event *event;
    bool lost;
    while ((event = cache_watcher_next(w, &lost))) {
        if (event->type == EVENT_DELETED)
            forget_pod(n, event->object->key);
        else
            learn_pod(n, event->object);
    }
}

/* What was known holds until node_authz_load() comes with the new state. */
static void on_lost(struct cache_watcher *w)
{
    (void)w;
}

static void forget_all(struct node_authz *n)
{
    map_clear(&n->pods);
    map_clear(&n->nodes);
}

void node_authz_load(struct node_authz *n)
{
    struct encoded_list all = {.items = NULL};
    forget_all(n);
    watch_cache_unsubscribe(&n->w);
    (void)watch_cache_subscribe(n->srv->cache, n->route, watch_cache_revision(n->srv->cache),
                                &n->w);
    watch_cache_snapshot(n->srv->cache, n->route, n->route->prefix, &all);
    for (size_t i = 0; i < all.count; i++)
        learn_pod(n, all.items[i]);
    encoded_list_done(&all);
}

struct node_authz *node_authz_new(struct apiserver *srv)
{
    struct node_authz *n = mem_zalloc(sizeof(*n));
    n->srv = srv;
    n->route = routes_find(srv->routes, "", "v1", "pods");
    n->w = (struct cache_watcher){.on_events = on_events, .on_lost = on_lost};
    n->pods = (struct map)MAP_INIT(pod_free);
    n->nodes = (struct map)MAP_INIT(node_free);
    _cleanup_json_ json_t *role = policy_cluster_role("system:node");
    role_rules_parse(json_object_get(role, "rules"), &n->rules);
    return n;
}

struct node_authz *node_authz_free(struct node_authz *n)
{
    if (n) {
        watch_cache_unsubscribe(&n->w);
        forget_all(n);
        role_rules_done(&n->rules);
        free(n);
    }
    return NULL;
}

/* ---- which of them refers to it? ---- */

const char *node_of_user(const struct user *user)
{
    if (!user_in_group(user, NODE_GROUP))
        return NULL;
    return str_starts(user->name, NODE_USER_PREFIX) ? user->name + strlen(NODE_USER_PREFIX) : "";
}

static bool refers(const struct node_authz *n, const char *node, enum ref_kind kind, const char *ns,
                   const char *name)
{
    const struct node_pods *pods = map_get(&n->nodes, node);
    if (!pods)
        return false;
    LIST_FOR_EACH(entry, &pods->pods) {
        const struct pod_refs *pod = LIST_ENTRY(entry, struct pod_refs, entry);
        if (!strcmp(pod->ns, ns) && node_refs_have(pod->refs, pod->len, kind, name))
            return true;
    }
    return false;
}

static bool is_pod_of(const struct node_authz *n, const char *node, const char *ns,
                      const char *name)
{
    _cleanup_free_ char *key = str_printf("%s%s/%s", n->route->prefix, ns, name);
    const struct pod_refs *pod = map_get(&n->pods, key);
    return pod && str_eq(pod->node->name, node);
}

/* The object of a key in the watch cache as a tree; NULL when there is none. */
static json_t *cached(const struct node_authz *n, const char *prefix, const char *ns,
                      const char *name)
{
    _cleanup_free_ char *key = str_printf("/registry/%s/%s%s%s", prefix, ns, *ns ? "/" : "", name);
    const struct encoded *e = watch_cache_get(n->srv->cache, key);
    return e ? encoded_tree(e, NULL) : NULL;
}

/* A volume belongs to the node when the claim it is bound to does. */
static bool refers_to_volume(const struct node_authz *n, const char *node, const char *name)
{
    _cleanup_json_ json_t *volume = cached(n, "persistentvolumes", "", name);
    const char *ns = json_path_string(volume, "spec.claimRef.namespace");
    const char *claim = json_path_string(volume, "spec.claimRef.name");
    return ns && claim && refers(n, node, REF_CLAIM, ns, claim);
}

/* Whether the volume behind a claim needs the Secret. */
static bool claim_needs(const struct node_authz *n, const char *ns, const char *claim,
                        const char *secret)
{
    _cleanup_json_ json_t *pvc = cached(n, "persistentvolumeclaims", ns, claim);
    const char *name = json_path_string(pvc, "spec.volumeName");
    _cleanup_json_ json_t *volume = name && *name ? cached(n, "persistentvolumes", "", name) : NULL;
    _cleanup_strbuf_ struct strbuf secrets = STRBUF_INIT;
    node_secrets_of_volume(volume, ns, &secrets);
    for (size_t at = 0; at < secrets.len; at += strlen(secrets.data + at) + 1)
        if (str_eq(secrets.data + at, secret))
            return true;
    return false;
}

static bool refers_to_secret(const struct node_authz *n, const char *node, const char *ns,
                             const char *name)
{
    if (refers(n, node, REF_SECRET, ns, name))
        return true;
    const struct node_pods *pods = map_get(&n->nodes, node);
    _cleanup_free_ char *secret = str_printf("%s/%s", ns, name);
    if (!pods)
        return false;
    LIST_FOR_EACH(entry, &pods->pods) {
        const struct pod_refs *pod = LIST_ENTRY(entry, struct pod_refs, entry);
        for (const char *at = pod->refs; at < pod->refs + pod->len; at += strlen(at) + 1)
            if (*at == REF_CLAIM && claim_needs(n, pod->ns, at + 1, secret))
                return true;
    }
    return false;
}

/* ---- rules for single kinds; NULL: allowed, else why not ("" when there is nothing to say) ----
 */

struct question {
    const struct node_authz *n;
    const struct access *a;
    const char *node;
};

static bool is_one_of(const char *word, const char *const *list)
{
    for (size_t i = 0; list[i]; i++)
        if (str_eq(list[i], word))
            return true;
    return false;
}

static const char *const reading[] = {"get", "list", "watch", NULL};
static const char *const changing[] = {"update", "patch", NULL};

static const char UNRELATED[] = "no relationship found between node '%s' and this object";

static const char *check_secret(const struct question *q)
{
    const struct access *a = q->a;
    bool secret = str_eq(a->resource, "secrets");
    if (!is_one_of(a->verb, reading))
        return "can only read resources of this type";
    if (*a->subresource)
        return "cannot read subresource";
    if (!*a->ns)
        return "can only read namespaced object of this type";
    if (!*a->name)
        return "No Object name found";
    bool related = secret ? refers_to_secret(q->n, q->node, a->ns, a->name)
                          : refers(q->n, q->node, REF_CONFIG_MAP, a->ns, a->name);
    return related ? NULL : UNRELATED;
}

static const char *check_claim(const struct question *q)
{
    const struct access *a = q->a;
    bool status = str_eq(a->subresource, "status");
    if (status && !is_one_of(a->verb, changing))
        return "can only get/update/patch this type";
    if (!status && !str_eq(a->verb, "get"))
        return "can only get individual resources of this type";
    if (!status && *a->subresource)
        return "cannot get subresource";
    return refers(q->n, q->node, REF_CLAIM, a->ns, a->name) ? NULL : UNRELATED;
}

static const char *check_volume(const struct question *q)
{
    if (!str_eq(q->a->verb, "get"))
        return "can only get individual resources of this type";
    if (*q->a->subresource)
        return "cannot get subresource";
    return refers_to_volume(q->n, q->node, q->a->name) ? NULL : UNRELATED;
}

static const char *check_account(const struct question *q)
{
    const struct access *a = q->a;
    bool token = str_eq(a->verb, "create") && str_eq(a->subresource, "token");
    if (!(str_eq(a->verb, "get") && !*a->subresource) && !token)
        return str_eq(a->verb, "create") && *a->name
                   ? "can only create token subresource of serviceaccount"
                   : "can only create tokens for individual service accounts";
    return refers(q->n, q->node, REF_ACCOUNT, a->ns, a->name) ? NULL : UNRELATED;
}

static const char *check_lease(const struct question *q)
{
    static const char *const verbs[] = {"get", "create", "update", "patch", "delete", NULL};
    if (!is_one_of(q->a->verb, verbs))
        return "can only get, create, update, patch, or delete a node lease";
    if (!str_eq(q->a->ns, LEASE_NAMESPACE))
        return "can only access leases in the \"" LEASE_NAMESPACE "\" system namespace";
    /* The name of a new one is not known yet: admission sees it. */
    if (!str_eq(q->a->verb, "create") && !str_eq(q->a->name, q->node))
        return "can only access node lease with the same name as the requesting node";
    return NULL;
}

static const char *check_node(const struct question *q)
{
    static const char *const verbs[] = {"create", "update", "patch", NULL};
    const struct access *a = q->a;
    if (str_eq(a->subresource, "status"))
        return is_one_of(a->verb, changing) ? NULL : "";
    if (*a->subresource)
        return "";
    if (is_one_of(a->verb, verbs))
        return NULL; /* which one, admission sees */
    if (!is_one_of(a->verb, reading))
        return "";
    return str_eq(a->name, q->node) ? NULL : "a node can only read its own Node object";
}

static const char *check_pod(const struct question *q)
{
    const struct access *a = q->a;
    if (str_eq(a->subresource, "status"))
        return is_one_of(a->verb, changing) ? NULL : "";
    if (str_eq(a->subresource, "eviction"))
        return str_eq(a->verb, "create") ? NULL : "";
    if (*a->subresource)
        return "";
    if (str_eq(a->verb, "create") || str_eq(a->verb, "delete"))
        return NULL; /* which ones, admission sees */
    if (!is_one_of(a->verb, reading))
        return "";
    if (!str_eq(a->verb, "get") && str_eq(a->node, q->node))
        return NULL;
    if (*a->name)
        return is_pod_of(q->n, q->node, a->ns, a->name) ? NULL : UNRELATED;
    return "can only list/watch pods with spec.nodeName field selector";
}

bool node_authz_allows(const struct node_authz *n, const struct access *a, struct strbuf *reason)
{
    static const struct {
        const char *group, *resource;
        const char *(*check)(const struct question *q);
    } table[] = {
        {"", "secrets", check_secret},
        {"", "configmaps", check_secret},
        {"", "persistentvolumeclaims", check_claim},
        {"", "persistentvolumes", check_volume},
        {"", "serviceaccounts", check_account},
        {"coordination.k8s.io", "leases", check_lease},
        {"", "nodes", check_node},
        {"", "pods", check_pod},
    };
    const char *node = node_of_user(a->user);
    if (!node)
        return false;
    if (!*node) {
        if (reason)
            strbuf_addf(reason, "unknown node for user \"%s\"", a->user->name);
        return false;
    }
    const struct question q = {.n = n, .a = a, .node = node};
    for (size_t i = 0; a->is_resource && i < ARRAY_SIZE(table); i++) {
        if (!str_eq(table[i].group, a->group) || !str_eq(table[i].resource, a->resource))
            continue;
        const char *problem = table[i].check(&q);
        if (reason && problem == UNRELATED)
            strbuf_addf(reason, UNRELATED, node);
        else if (reason && problem)
            strbuf_adds(reason, problem);
        return !problem;
    }
    char both[2 * REQUEST_SEGMENT_MAX + 2];
    int len = snprintf(both, sizeof(both), "%s%s%s", a->resource, *a->subresource ? "/" : "",
                       a->subresource);
    for (size_t i = 0; len < (int)sizeof(both) && i < n->rules.count; i++)
        if (rule_allows(&n->rules.items[i], a, both))
            return true;
    return false;
}
