/*
 * Node IPAM: gives every node that has none a piece of each cluster CIDR (spec.podCIDR,
 * spec.podCIDRs), and takes it back when the node goes. What nodes have is counted before the first
 * is given: nothing is given twice, also after a restart.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "controllers/controllers.h"

/* What a node holds: as its Node says, or as we are about to write it. */
struct holding {
    char *uid;
    size_t n;
    struct ip_prefix cidrs[CIDR_SETS_MAX];
    bool written; /* the Node says so */
};

struct controller {
    struct controllers *c;
    struct queue *queue;
    struct map holdings; /* node → struct holding */
};

struct look {
    struct controller *self;
    char *key;
};

static void holding_free(void *p)
{
    struct holding *h = p;
    free(h->uid);
    free(h);
}

static struct cidr_set *set_at(struct controller *self, size_t i)
{
    return i < self->c->n_cidr_sets ? &self->c->cidr_sets[i] : NULL;
}

/* A node that waits in vain may be served now. */
static void let_go(struct controller *self, const char *node)
{
    struct holding *h = map_take(&self->holdings, node);
    if (!h)
        return;
    for (size_t i = 0; i < h->n; i++)
        cidr_set_release(set_at(self, i), &h->cidrs[i]);
    holding_free(h);
    MAP_FOR_EACH(e, cache_objects(self->c->nodes)) {
        if (!map_has(&self->holdings, map_key(e)))
            queue_add(self->queue, map_key(e));
    }
}

/* What a Node says, whoever wrote it, is taken as it is. */
static void adopt(struct controller *self, const struct node *n)
{
    struct holding *h = mem_zalloc(sizeof(*h));
    h->uid = str_dup(n->meta.uid);
    h->written = true;
    for (size_t i = 0; i < n->pod_cidrs.count && set_at(self, i); i++) {
        struct ip_prefix p;
        const char *text = n->pod_cidrs.items[i];
        const char *why = NULL;
        if (ip_prefix_parse(text, &p) < 0)
            why = "it is no CIDR";
        else if (p.addr.family != set_at(self, i)->cluster.addr.family)
            why = "it is not of the family that the cluster CIDR at its place has";
        else if (cidr_set_occupy(set_at(self, i), &p) < 0)
            why = "it is outside the cluster CIDR";
        if (why) {
            log_warn("a node's pod CIDR is not from here", "node", n->meta.name, "cidr", text,
                     "reason", why, NULL);
            break; /* a holding has no gaps: what comes behind is not counted either */
        }
        h->cidrs[h->n++] = p;
    }
    map_set(&self->holdings, n->meta.name, h);
}

static void on_node(void *arg, _unused_ const void *before, const void *now)
{
    struct controller *self = arg;
    const struct node *was = before, *n = now;
    if (!self->c->n_cidr_sets)
        return;
    const char *name = n ? n->meta.name : was->meta.name;
    const struct holding *h = map_get(&self->holdings, name);
    if (h && (!n || !str_eq(h->uid, n->meta.uid))) { /* gone, or another of the same name */
        let_go(self, name);
        h = NULL;
    }
    if (n && n->pod_cidrs.count && (!h || !h->written)) {
        if (h) /* ours arrived, or somebody else was quicker */
            let_go(self, name);
        adopt(self, n);
    } else if (n && !n->pod_cidrs.count && !h) {
        queue_add(self->queue, name);
    }
}

/* ---- giving ---- */

static struct holding *allocate(struct controller *self, const struct node *n)
{
    struct holding *h = mem_zalloc(sizeof(*h));
    h->uid = str_dup(n->meta.uid);
    while (h->n < self->c->n_cidr_sets && cidr_set_allocate(set_at(self, h->n), &h->cidrs[h->n]))
        h->n++;
    if (h->n == self->c->n_cidr_sets) {
        map_set(&self->holdings, n->meta.name, h);
        return h;
    }
    for (size_t i = 0; i < h->n; i++)
        cidr_set_release(set_at(self, i), &h->cidrs[i]);
    holding_free(h);
    return NULL;
}

static void on_written(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    struct controller *self = look->self;
    bool conflict = str_eq(result->reason, "Conflict"), gone = str_eq(result->reason, "NotFound");
    if (!result->error) {
        log_info("pod CIDR given", "node", look->key, "cidr",
                 json_path_string(result->body, "spec.podCIDR"), NULL);
        cache_wrote(self->c->nodes, result->body);
    } /* else the same is tried again: it may have arrived */
    queue_done(self->queue, look->key, gone ? NULL : result->error, conflict);
    free(look->key);
    free(look);
}

static void work(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct node *n = cache_get(self->c->nodes, key);
    const struct cache_kind *kind = cache_kind_of(self->c->nodes);
    if (!n || n->meta.deleted || n->pod_cidrs.count) {
        queue_done(self->queue, key, NULL, false);
        return;
    }
    const struct holding *h = map_get(&self->holdings, key);
    if (!h && !(h = allocate(self, n))) {
        controller_event(self->c, kind, &n->meta, "Normal", "CIDRNotAvailable",
                         "Node %s status is now: CIDRNotAvailable", key);
        queue_done(self->queue, key, "no pod CIDR is left", false);
        return;
    }
    json_t *list = json_array();
    char first[IP_TEXT_MAX], text[IP_TEXT_MAX];
    for (size_t i = 0; i < h->n; i++)
        (void)json_array_append_new(list, json_text(ip_prefix_format(&h->cidrs[i], text)));
    _cleanup_json_ json_t *body =
        json_pack("{s:{s:s,s:s},s:{s:s,s:o}}", "metadata", "uid", n->meta.uid, "resourceVersion",
                  n->meta.version, "spec", "podCIDR", ip_prefix_format(&h->cidrs[0], first),
                  "podCIDRs", list);
    _cleanup_free_ char *path = controller_path(kind, &n->meta, NULL);
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){self, str_dup(key)};
    (void)kube_patch(self->c->client, path, KUBE_PATCH_STRATEGIC, body, on_written, look);
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    *self = (struct controller){.c = c, .holdings = MAP_INIT(holding_free)};
    self->queue = queue_new(c->loop, "node-ipam", work, self);
    cache_subscribe(c->nodes, on_node, self);
    return self;
}

static void synced(struct controller *self)
{
    queue_resume(self->queue);
}

static void stop(struct controller *self)
{
    queue_free(self->queue);
    map_clear(&self->holdings);
    free(self);
}

const struct controller_def node_ipam_controller = {"node-ipam", start, synced, stop};
