/* Routes, neighbours and forwarding entries: from what is there to the plan; see kernel.h. */
#include "flannel/kernel.h"

#include <errno.h>
#include <string.h>

#include "base/map.h"
#include "base/strbuf.h"

/* Errors do not stop the rest: the first is kept. */
struct result {
    struct error *err;
    int code;
    size_t changes;
};

static struct error *slot(const struct result *r)
{
    return r->code ? NULL : r->err;
}

static void note(struct result *r, int code)
{
    if (code < 0 && !r->code)
        r->code = code;
    r->changes++;
}

/* ---- routes ---- */

struct routes {
    struct route_info *list;
    size_t n;
};

static int on_route(const struct route_info *r, void *arg)
{
    struct routes *is = arg;
    is->list = mem_grow(is->list, is->n + 1, sizeof(*is->list));
    is->list[is->n++] = *r;
    return 0;
}

static bool same_path(const struct route_info *a, const struct route_info *b)
{
    return a->ifindex == b->ifindex && ip_addr_equal(&a->gateway, &b->gateway);
}

static bool is_ours(const struct route_info *r, const int *links)
{
    return r->protocol == ROUTE_PROTOCOL ||
           (r->gateway.family && (r->ifindex == links[V4] || r->ifindex == links[V6]));
}

/* The routes that are there, by destination: ours, and the first of somebody else's. */
static void index_routes(const struct routes *is, const int *links, struct map *ours,
                         struct map *others)
{
    char text[IP_TEXT_MAX];
    for (size_t i = 0; i < is->n; i++) {
        struct map *to = is_ours(&is->list[i], links) ? ours : others;
        (void)ip_prefix_format(&is->list[i].destination, text);
        if (!map_has(to, text))
            map_set(to, text, &is->list[i]);
    }
}

static void put_route(struct netlink *nl, const struct route_info *wanted, struct map *ours,
                      const struct map *others, struct result *result)
{
    char text[IP_TEXT_MAX];
    (void)ip_prefix_format(&wanted->destination, text);
    const struct route_info *is = map_take(ours, text), *other = map_get(others, text);
    if (is && is->protocol == wanted->protocol && same_path(is, wanted))
        return;
    if (!is && other && same_path(other, wanted))
        return;
    if (!is && other) /* replacing it would take it away for good */
        note(result,
             error_set(slot(result), -EEXIST, "the route to %s is somebody else's (protocol %d)",
                       text, other->protocol));
    else
        note(result, route_put(nl, wanted, slot(result)));
}

static void apply_routes(struct netlink *nl, const struct plan *plan, const int *links,
                         struct result *result)
{
    struct routes is = {.n = 0};
    struct map ours = MAP_INIT(NULL), others = MAP_INIT(NULL);
    for (int i = 0; i < N_FAMILIES; i++) {
        int r = route_list(nl, family_of(i), on_route, &is, slot(result));
        if (r < 0) {
            note(result, r);
            free(is.list);
            return;
        }
    }
    index_routes(&is, links, &ours, &others);
    for (size_t i = 0; i < plan->n_routes; i++)
        put_route(nl, &plan->routes[i], &ours, &others, result);
    MAP_FOR_EACH(e, &ours) {
        note(result, route_remove(nl, map_value(e), slot(result)));
    }
    map_clear(&ours);
    map_clear(&others);
    free(is.list);
}

/* ---- neighbours and forwarding entries: alike but for the calls ---- */

struct table {
    int (*put)(struct netlink *nl, int ifindex, const struct neighbour *n, struct error *err);
    int (*remove)(struct netlink *nl, int ifindex, const struct neighbour *n, struct error *err);
};

static int remove_neighbour(struct netlink *nl, int ifindex, const struct neighbour *n,
                            struct error *err)
{
    return neighbour_delete(nl, ifindex, &n->addr, err);
}

static const struct table neighbours = {neighbour_put, remove_neighbour};
static const struct table fdb = {fdb_put, fdb_delete};

struct entries {
    int link;
    struct map by_text; /* "aa:bb:… 10.0.0.1" → struct neighbour */
};

static char *entry_text(const struct neighbour *n, char *buf)
{
    (void)mac_format(n->mac, buf);
    buf[17] = ' ';
    (void)ip_addr_format(&n->addr, buf + 18);
    return buf;
}

static int on_entry(const struct neighbour *n, void *arg)
{
    struct entries *is = arg;
    char text[18 + IP_TEXT_MAX];
    map_set(&is->by_text, entry_text(n, text), mem_dup(n, sizeof(*n)));
    return 0;
}

/* What goes, goes first: a changed entry's old half would be taken for the new one's. */
static void apply_entries(struct netlink *nl, const struct table *t, struct entries *is,
                          const struct plan_entry *wanted, size_t n, struct result *result)
{
    char text[18 + IP_TEXT_MAX];
    struct map missing = MAP_INIT(NULL);
    for (size_t i = 0; i < n; i++)
        if (wanted[i].link == is->link &&
            !map_remove(&is->by_text, entry_text(&wanted[i].neighbour, text)))
            map_set(&missing, text, (void *)(uintptr_t)&wanted[i].neighbour);
    MAP_FOR_EACH(e, &is->by_text) {
        note(result, t->remove(nl, is->link, map_value(e), slot(result)));
    }
    MAP_FOR_EACH(e, &missing) {
        note(result, t->put(nl, is->link, map_value(e), slot(result)));
    }
    map_clear(&missing);
}

static void apply_link(struct netlink *nl, const struct plan *plan, int link, int family,
                       struct result *result)
{
    struct entries is = {.link = link, .by_text = MAP_INIT(free)};
    int r = neighbour_list(nl, link, family, on_entry, &is, slot(result));
    if (r == 0)
        apply_entries(nl, &neighbours, &is, plan->neighbours, plan->n_neighbours, result);
    map_clear(&is.by_text);
    if (r == 0)
        r = fdb_list(nl, link, on_entry, &is, slot(result));
    if (r == 0)
        apply_entries(nl, &fdb, &is, plan->fdb, plan->n_fdb, result);
    else
        note(result, r);
    map_clear(&is.by_text);
}

/* Entries come before routes: the first packet would be asked for a neighbour. */
int kernel_apply(struct netlink *nl, const struct plan *plan, const int links[N_FAMILIES],
                 size_t *ret_changes, struct error *err)
{
    struct result result = {.err = err};
    for (int i = 0; i < N_FAMILIES; i++)
        if (links[i])
            apply_link(nl, plan, links[i], family_of(i), &result);
    apply_routes(nl, plan, links, &result);
    *ret_changes = result.changes;
    return result.code;
}

/* ---- cleaning up ---- */

int kernel_cleanup(struct error *err)
{
    static const struct plan nothing;
    static const int no_links[N_FAMILIES];
    struct netlink *nl;
    size_t changes;
    int first = netlink_open(NETLINK_ROUTE, &nl, err);
    if (first < 0)
        return first;
    first = kernel_sweep_links(nl, no_links, err);
    int r = kernel_apply(nl, &nothing, no_links, &changes, first ? NULL : err);
    (void)netlink_free(nl);
    return first ? first : r;
}
