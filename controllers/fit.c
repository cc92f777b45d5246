/* Which node suits a pod; see fit.h. Filters in upstream's order, then a score. */
#include "controllers/fit.h"

#include <errno.h>

#include "kube/quantity.h"
#include "kube/selector.h"

/* What the pods of a node ask for together. */
struct usage {
    int64_t cpu_milli, memory, pods;
    int64_t *more;    /* of each resource in names_of() the pod that is to be placed */
    int64_t siblings; /* pods of the same controller as the one to be placed */
    bool port_taken;
};

static const char *node_of(const struct pod *p, const struct map *assumed)
{
    if (p->node_name && *p->node_name)
        return p->node_name;
    return p->meta.uid ? map_get(assumed, p->meta.uid) : NULL;
}

static bool ports_clash(const struct pod *a, const struct pod *b)
{
    for (size_t i = 0; i < a->containers.count; i++)
        for (size_t k = 0; k < a->containers.items[i].ports.count; k++) {
            const struct container_port *x = &a->containers.items[i].ports.items[k];
            if (!x->host_port)
                continue;
            for (size_t j = 0; j < b->containers.count; j++)
                for (size_t l = 0; l < b->containers.items[j].ports.count; l++) {
                    const struct container_port *y = &b->containers.items[j].ports.items[l];
                    if (x->host_port == y->host_port && str_eq(x->protocol ? x->protocol : "TCP",
                                                               y->protocol ? y->protocol : "TCP"))
                        return true;
                }
        }
    return false;
}

static bool same_controller(const struct pod *a, const struct pod *b)
{
    const struct owner_ref *x = object_controller(&a->meta), *y = object_controller(&b->meta);
    return x && y && str_eq(x->uid, y->uid);
}

static void usage_free(void *value)
{
    struct usage *u = value;
    free(u->more);
    free(u);
}

static void add_names(struct string_list *names, const struct string_map *requests)
{
    for (size_t i = 0; i < requests->count; i++) {
        const char *name = requests->items[i].key;
        if (!str_eq(name, "cpu") && !str_eq(name, "memory") && !string_list_has(names, name))
            string_list_add(names, name);
    }
}

/* What the pod asks for beside cpu and memory: ephemeral storage, huge pages, devices. */
static struct string_list names_of(const struct pod *p)
{
    struct string_list names = {.count = 0};
    for (size_t i = 0; i < p->containers.count; i++)
        add_names(&names, &p->containers.items[i].requests);
    for (size_t i = 0; i < p->init_containers.count; i++)
        add_names(&names, &p->init_containers.items[i].requests);
    add_names(&names, &p->overhead);
    return names;
}

/* node name → struct usage */
static struct map measure(const struct pod *p, const struct string_list *names,
                          const struct map *pods, const struct map *assumed)
{
    struct map usage = MAP_INIT(usage_free);
    MAP_FOR_EACH(e, pods) {
        const struct pod *other = map_value(e);
        const char *node = node_of(other, assumed);
        if (!node || pod_is_finished(other) || other == p)
            continue;
        struct usage *u = map_get(&usage, node);
        if (!u) {
            u = mem_zalloc(sizeof(*u));
            u->more = mem_zalloc((names->count + 1) * sizeof(*u->more));
            map_set(&usage, node, u);
        }
        u->cpu_milli += other->cpu_milli;
        u->memory += other->memory;
        for (size_t i = 0; i < names->count; i++)
            u->more[i] += pod_resource_request(other, names->items[i]);
        u->pods++;
        u->siblings += same_controller(p, other);
        u->port_taken = u->port_taken || ports_clash(p, other);
    }
    return usage;
}

/* ---- filters: each returns NULL when the node passes, else why it does not ---- */

static bool tolerates(const struct pod *p, const struct taint *t)
{
    for (size_t i = 0; i < p->tolerations.count; i++) {
        const struct toleration *l = &p->tolerations.items[i];
        if (l->effect && *l->effect && !str_eq(l->effect, t->effect))
            continue;
        if (l->key && *l->key && !str_eq(l->key, t->key))
            continue;
        bool exists = str_eq(l->operator, "Exists");
        if ((!l->key || !*l->key) && !exists)
            continue;
        if (exists || str_eq(l->value ? l->value : "", t->value ? t->value : ""))
            return true;
    }
    return false;
}

static char *untolerated_taint(const struct pod *p, const struct node *n)
{
    for (size_t i = 0; i < n->taints.count; i++) {
        const struct taint *t = &n->taints.items[i];
        if (str_eq(t->effect, "PreferNoSchedule") || tolerates(p, t))
            continue;
        return str_printf("node(s) had untolerated taint {%s: %s}", t->key,
                          t->value ? t->value : "");
    }
    return NULL;
}

static bool affinity_matches(const struct pod *p, const struct node *n)
{
    for (size_t i = 0; i < p->node_selector.count; i++) {
        const struct string_pair *pair = &p->node_selector.items[i];
        if (!str_eq(json_string_value(json_object_get(n->meta.labels, pair->key)), pair->value))
            return false;
    }
    return !p->node_affinity ||
           node_selector_matches(p->node_affinity, n->meta.labels, n->meta.name);
}

/* The first resource that there is too little of; NULL when the node has all. */
static const char *lacking(const struct pod *p, const struct string_list *names,
                           const struct node *n, const struct usage *u)
{
    if (p->cpu_milli && u->cpu_milli + p->cpu_milli > n->cpu_milli)
        return "cpu";
    if (p->memory && u->memory + p->memory > n->memory)
        return "memory";
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i];
        int64_t wanted = pod_resource_request(p, name), used = u->more ? u->more[i] : 0;
        int64_t has = quantity_text_value(string_map_get(&n->allocatable, name), 0);
        if (wanted > 0 && wanted > has - used)
            return name;
    }
    return NULL;
}

/* Why the node does not do; NULL when it does. The caller frees. */
static char *refusal(const struct pod *p, const struct string_list *names, const struct node *n,
                     const struct usage *u, const struct volume_view *view)
{
    static const struct taint unschedulable = {
        .key = (char *)(uintptr_t) "node.kubernetes.io/unschedulable",
        .effect = (char *)(uintptr_t) "NoSchedule"};
    if (n->unschedulable && !tolerates(p, &unschedulable))
        return str_dup("node(s) were unschedulable");
    char *taint = untolerated_taint(p, n);
    if (taint)
        return taint;
    if (!condition_true(&n->conditions, "Ready"))
        return str_dup("node(s) were not ready");
    if (!affinity_matches(p, n))
        return str_dup("node(s) didn't match Pod's node affinity/selector");
    if (u->port_taken)
        return str_dup("node(s) didn't have free ports for the requested pod ports");
    if (u->pods + 1 > n->pods)
        return str_dup("Too many pods");
    const char *resource = lacking(p, names, n, u);
    if (resource)
        return str_printf("Insufficient %s", resource);
    const char *volumes = pod_claims_refusal(p, n, view);
    return volumes ? str_dup(volumes) : NULL;
}

/* ---- the choice ---- */

/* 0 … 200: how much of cpu and memory would stay free; a sibling on the node costs 50. */
static int64_t score(const struct pod *p, const struct node *n, const struct usage *u)
{
    int64_t cpu = n->cpu_milli ? 100 - (u->cpu_milli + p->cpu_milli) * 100 / n->cpu_milli : 0;
    int64_t memory = n->memory >= 100 ? 100 - (u->memory + p->memory) / (n->memory / 100) : 0;
    return cpu + memory - 50 * u->siblings - u->pods;
}

const struct node *fit_choose(const struct pod *p, const struct map *nodes, const struct map *pods,
                              const struct map *assumed, const struct volume_view *view,
                              struct strbuf *why)
{
    static const struct usage nothing;
    _cleanup_(string_list_done) struct string_list names = names_of(p);
    struct map usage = measure(p, &names, pods, assumed);
    struct map reasons = MAP_INIT(free); /* text → how many nodes, as int * */
    const struct node *best = NULL;
    int64_t best_score = 0;
    _cleanup_free_ char *problem = pod_claims_problem(p, view);
    if (problem) {
        strbuf_addf(why, "0/%zu nodes are available: %s.", map_count(nodes), problem);
        map_clear(&usage);
        return NULL;
    }
    MAP_FOR_EACH(e, nodes) {
        const struct node *n = map_value(e);
        const struct usage *u = map_get(&usage, n->meta.name);
        u = u ? u : &nothing;
        _cleanup_free_ char *reason = refusal(p, &names, n, u, view);
        if (reason) {
            int *count = map_get(&reasons, reason);
            if (!count) {
                count = mem_zalloc(sizeof(*count));
                map_set(&reasons, reason, count);
            }
            ++*count;
            continue;
        }
        int64_t s = score(p, n, u);
        if (!best || s > best_score) {
            best = n;
            best_score = s;
        }
    }
    if (!best) {
        if (map_count(nodes))
            strbuf_addf(why, "0/%zu nodes are available: ", map_count(nodes));
        else
            strbuf_adds(why, "no nodes available to schedule pods");
        const char *separator = "";
        MAP_FOR_EACH(e, &reasons) {
            strbuf_addf(why, "%s%d %s", separator, *(const int *)map_value(e), map_key(e));
            separator = ", ";
        }
        if (map_count(nodes))
            strbuf_addc(why, '.');
    }
    map_clear(&reasons);
    map_clear(&usage);
    return best;
}

static bool same_map(const struct string_map *a, const struct string_map *b)
{
    for (size_t i = 0; i < a->count; i++)
        if (!str_eq(string_map_get(b, a->items[i].key), a->items[i].value))
            return false;
    return a->count == b->count;
}

bool fit_node_changed(const struct node *a, const struct node *b)
{
    if (a->unschedulable != b->unschedulable || !same_map(&a->allocatable, &b->allocatable) ||
        a->taints.count != b->taints.count ||
        condition_true(&a->conditions, "Ready") != condition_true(&b->conditions, "Ready") ||
        !json_equal(a->meta.labels, b->meta.labels))
        return true;
    for (size_t i = 0; i < a->taints.count; i++)
        if (!str_eq(a->taints.items[i].key, b->taints.items[i].key) ||
            !str_eq(a->taints.items[i].value, b->taints.items[i].value) ||
            !str_eq(a->taints.items[i].effect, b->taints.items[i].effect))
            return true;
    return false;
}
