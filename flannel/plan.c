/* What this node needs of its peers; see plan.h. */
#include "flannel/plan.h"

#include <errno.h>
#include <string.h>

#include "base/map.h"
#include "base/strbuf.h"
#include "flannel/backend.h"

/* What earlier leases have taken. */
struct taken {
    struct ip_prefix *subnets[N_FAMILIES]; /* disjoint, by address */
    size_t n_subnets[N_FAMILIES];
    struct map macs; /* "4 aa:bb:…" → the node's name, borrowed */
};

/* ---- building ---- */

void overlay_plan_route(struct plan *p, const struct route_info *r)
{
    p->routes = mem_grow(p->routes, p->n_routes + 1, sizeof(*p->routes));
    p->routes[p->n_routes++] = *r;
}

static void add_entry(struct plan_entry **list, size_t *n, int link, const struct ip_addr *addr,
                      const uint8_t mac[6])
{
    *list = mem_grow(*list, *n + 1, sizeof(**list));
    struct plan_entry *e = &(*list)[(*n)++];
    *e = (struct plan_entry){.link = link, .neighbour.addr = *addr};
    memcpy(e->neighbour.mac, mac, 6);
}

void overlay_plan_neighbour(struct plan *p, int link, const struct ip_addr *addr,
                            const uint8_t mac[6])
{
    add_entry(&p->neighbours, &p->n_neighbours, link, addr, mac);
}

void overlay_plan_fdb(struct plan *p, int link, const struct ip_addr *to, const uint8_t mac[6])
{
    add_entry(&p->fdb, &p->n_fdb, link, to, mac);
}

static void refuse(struct plan *p, const char *node, const struct error *err)
{
    p->refusals = mem_grow(p->refusals, p->n_refusals + 1, sizeof(*p->refusals));
    p->refusals[p->n_refusals++] = (struct plan_refusal){str_dup(node), str_dup(error_text(err))};
}

void overlay_plan_done(struct plan *p)
{
    for (size_t i = 0; i < p->n_refusals; i++) {
        free(p->refusals[i].node);
        free(p->refusals[i].reason);
    }
    free(p->routes);
    free(p->neighbours);
    free(p->fdb);
    free(p->refusals);
    *p = (struct plan){.routes = NULL};
}

/* ---- validation ---- */

static bool overlap(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->addr.family == b->addr.family &&
           (a->len < b->len ? ip_prefix_contains(a, &b->addr) : ip_prefix_contains(b, &a->addr));
}

/* Where @p belongs among the disjoint prefixes @list. */
static size_t place(const struct ip_prefix *list, size_t n, const struct ip_prefix *p)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (memcmp(list[middle].addr.bytes, p->addr.bytes, sizeof(p->addr.bytes)) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_taken(const struct taken *t, int i, const struct ip_prefix *p)
{
    const struct ip_prefix *list = t->subnets[i];
    size_t at = place(list, t->n_subnets[i], p);
    return (at < t->n_subnets[i] && overlap(&list[at], p)) || (at && overlap(&list[at - 1], p));
}

static void take(struct taken *t, int i, const struct ip_prefix *p)
{
    size_t n = t->n_subnets[i], at = place(t->subnets[i], n, p);
    t->subnets[i] = mem_grow(t->subnets[i], n + 1, sizeof(*p));
    memmove(&t->subnets[i][at + 1], &t->subnets[i][at], (n - at) * sizeof(*p));
    t->subnets[i][at] = *p;
    t->n_subnets[i]++;
}

static int check_subnet(const struct plan_self *self, int i, const struct ip_prefix *p,
                        const struct taken *t, struct error *err)
{
    char text[IP_TEXT_MAX], other[IP_TEXT_MAX];
    const struct ip_prefix *network = &self->config->network[i];
    (void)ip_prefix_format(p, text);
    if (p->len <= network->len || !ip_prefix_contains(network, &p->addr))
        return error_set(err, -EINVAL, "subnet %s is no part of %s", text,
                         ip_prefix_format(network, other));
    if (overlap(p, &self->family[i].subnet))
        return error_set(err, -EINVAL, "subnet %s overlaps ours, %s", text,
                         ip_prefix_format(&self->family[i].subnet, other));
    for (size_t k = 0; k < self->n_host; k++)
        if (self->host[k].addr.family == p->addr.family &&
            ip_prefix_contains(p, &self->host[k].addr))
            return error_set(err, -EINVAL, "subnet %s contains this host's address %s", text,
                             ip_addr_format(&self->host[k].addr, other));
    if (is_taken(t, i, p))
        return error_set(err, -EINVAL, "subnet %s overlaps that of an older node", text);
    return 0;
}

static bool is_unicast(const struct ip_addr *a)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    if (ip_addr_is_any(a))
        return false;
    if (a->family == AF_INET) /* not 0/8, 127/8, 169.254/16, 224/4, 240/4 */
        return a->bytes[0] && a->bytes[0] != 127 && a->bytes[0] < 224 &&
               !(a->bytes[0] == 169 && a->bytes[1] == 254);
    return a->bytes[0] != 0xff && !(a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80) &&
           memcmp(a->bytes, loopback6, 16) != 0;
}

static int check_address(const struct plan_self *self, int i, const struct ip_addr *a,
                         struct error *err)
{
    char text[IP_TEXT_MAX], other[IP_TEXT_MAX];
    (void)ip_addr_format(a, text);
    if (!is_unicast(a))
        return error_set(err, -EINVAL, "public IP %s is no address of a host", text);
    if (ip_addr_equal(a, &self->family[i].public_ip))
        return error_set(err, -EINVAL, "public IP %s is ours", text);
    if (ip_prefix_contains(&self->config->network[i], a))
        return error_set(err, -EINVAL, "public IP %s is one of the pods', %s", text,
                         ip_prefix_format(&self->config->network[i], other));
    return 0;
}

static int check_vtep(const struct plan_self *self, int i, const struct lease_family *f,
                      const char *node, struct taken *t, struct error *err)
{
    char text[18], key[24];
    (void)mac_format(f->mac, text);
    (void)snprintf(key, sizeof(key), "%d %s", i, text);
    const char *other = map_get(&t->macs, key);
    if (mac_is_zero(f->mac) || f->mac[0] & 1)
        return error_set(err, -EINVAL, "MAC %s is no address of a link", text);
    if (memcmp(f->mac, self->family[i].mac, 6) == 0)
        return error_set(err, -EINVAL, "MAC %s is ours", text);
    if (other && !str_eq(other, node))
        return error_set(err, -EINVAL, "MAC %s is that of node %s, which is older", text, other);
    if (f->vni >= 0 && f->vni != (self->config->vni & 0xffff))
        return error_set(err, -EINVAL, "VNI %lld is not ours, %u", (long long)f->vni,
                         (unsigned)self->config->vni & 0xffffu);
    map_set(&t->macs, key, (void *)(uintptr_t)node);
    return 0;
}

/* ---- the plan ---- */

static int add_family(const struct plan_self *self, int i, const struct lease *l, struct taken *t,
                      struct plan *p, struct error *err)
{
    const struct backend_ops *backend = self->config->backend;
    const struct lease_family *f = &l->family[i];
    int r = check_subnet(self, i, &f->subnet, t, err);
    if (r == 0)
        r = check_address(self, i, &f->public_ip, err);
    if (r == 0 && backend->link)
        r = check_vtep(self, i, f, l->node, t, err);
    if (r == 0)
        r = backend->peer(self, i, f, p, err);
    if (r == 0)
        take(t, i, &f->subnet);
    return r;
}

static void add_lease(const struct plan_self *self, const struct lease *l, struct taken *t,
                      struct plan *p)
{
    struct error err = ERROR_INIT;
    if (!str_eq(l->backend, self->config->backend->name)) {
        (void)error_set(&err, -EINVAL, "back end \"%.100s\" is not ours, %s", l->backend,
                        self->config->backend->name);
        refuse(p, l->node, &err);
        return;
    }
    for (int i = 0; i < N_FAMILIES; i++)
        if (l->family[i].set && self->family[i].on)
            (void)add_family(self, i, l, t, p, err.code ? NULL : &err);
    if (err.code)
        refuse(p, l->node, &err);
}

static int by_age(const void *a, const void *b)
{
    const struct lease *x = *(const struct lease *const *)a, *y = *(const struct lease *const *)b;
    if (x->created != y->created)
        return x->created < y->created ? -1 : 1;
    return strcmp(x->node, y->node);
}

void overlay_plan_make(const struct plan_self *self, const struct lease *const *leases, size_t n,
                       struct plan *ret)
{
    struct taken t = {.macs = MAP_INIT(NULL)};
    *ret = (struct plan){.routes = NULL};
    if (!n)
        return;
    const struct lease **sorted = mem_dup(leases, n * sizeof(*leases));
    qsort(sorted, n, sizeof(*sorted), by_age);
    for (size_t i = 0; i < n; i++)
        if (!str_eq(sorted[i]->node, self->node))
            add_lease(self, sorted[i], &t, ret);
    free(sorted);
    for (int i = 0; i < N_FAMILIES; i++)
        free(t.subnets[i]);
    map_clear(&t.macs);
}
