/*
 * The ipvs back end: one address family; see backend.h and model.h.
 *
 * Theory of operation. A change is the difference of two models: set entries and addresses first,
 * then virtual and real servers, then what goes. Every step is a netlink call of its own and does
 * no harm when it is repeated, so after a failure in the middle everything is just compared.
 * Addresses and some entries belong to several services: they are counted.
 *
 * The rules never change (rules.c); the iptables part (restore.h) keeps them.
 */
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "nl/link.h"
#include "proxy/iptables/restore.h"
#include "proxy/ipvs/ipvs.h"
#include "proxy/ipvs/servers.h"

struct backend {
    struct loop *loop;
    const struct backend_config *c;
    struct ipvs_servers servers;
    struct netlink *route, *netfilter;
    struct iptables *rules;
    int link;                   /* index */
    struct map shared;          /* key → how many services have it */
    size_t n_addresses;         /* of them */
    const struct map *services; /* while everything is compared */
};

/* ---- counting ---- */

/* Changes the count by one; true when the kernel has to hear of it: the first, or the last. */
static bool counts(struct backend *b, const char *kind, const void *key, size_t len, int by)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    strbuf_adds(&text, kind);
    for (size_t i = 0; i < len; i++)
        strbuf_addf(&text, "%02x", ((const unsigned char *)key)[i]);
    uintptr_t n = (uintptr_t)map_get(&b->shared, strbuf_text(&text)) + (uintptr_t)by;
    if (n)
        map_set(&b->shared, strbuf_text(&text), (void *)n);
    else
        map_remove(&b->shared, strbuf_text(&text));
    return n == (by > 0 ? 1 : 0);
}

static bool item_counts(struct backend *b, const struct ipvs_item *i, int by)
{
    char kind[16];
    (void)snprintf(kind, sizeof(kind), "item %d ", i->set);
    return counts(b, kind, &i->entry, sizeof(i->entry), by);
}

static bool address_counts(struct backend *b, const struct ip_addr *a, int by)
{
    bool changed = counts(b, "address ", a, sizeof(*a), by);
    b->n_addresses += changed ? (size_t)by : 0;
    return changed;
}

/* ---- set entries ---- */

/* Adds or removes @items (sorted: those of a set stand together). */
static int change_items(struct backend *b, const struct ipvs_item *items, size_t n, bool add,
                        struct error *err)
{
    int r = 0;
    for (size_t i = 0, end; r == 0 && i < n; i = end) {
        char name[IPSET_NAME_MAX];
        for (end = i + 1; end < n && items[end].set == items[i].set;)
            end++;
        struct ipset_entry *entries = mem_zalloc((end - i) * sizeof(*entries));
        for (size_t k = i; k < end; k++)
            entries[k - i] = items[k].entry;
        ipvs_set_name(items[i].set, b->c->family, name);
        r = add ? ipset_add(b->netfilter, name, ipvs_sets[items[i].set].type, entries, end - i, err)
                : ipset_remove(b->netfilter, name, ipvs_sets[items[i].set].type, entries, end - i,
                               err);
        free(entries);
    }
    return r;
}

/* ---- addresses ---- */

static int change_addresses(struct backend *b, const struct ip_addr *addresses, size_t n, bool add,
                            struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct ip_prefix p = {.addr = addresses[i],
                                    .len = addresses[i].family == AF_INET ? 32 : 128};
        r = add ? address_add(b->route, b->link, &p, err)
                : address_delete(b->route, b->link, &p, err);
        if (!add && r == -EADDRNOTAVAIL)
            r = 0;
    }
    return r;
}

/* ---- differences of models ---- */

/* What is to be done, gathered over all changes. */
struct change {
    struct ipvs_model old, now;       /* of one service, or of everything */
    struct ipvs_model removed, added; /* items and addresses */
};

static void compare_items(struct backend *b, struct change *c)
{
    size_t i = 0, k = 0;
    while (i < c->old.n_items || k < c->now.n_items) {
        int order = i == c->old.n_items   ? 1
                    : k == c->now.n_items ? -1
                                          : ipvs_item_compare(&c->old.items[i], &c->now.items[k]);
        const struct ipvs_item *gone = order < 0 ? &c->old.items[i] : NULL;
        const struct ipvs_item *new = order > 0 ? &c->now.items[k] : NULL;
        if (gone && item_counts(b, gone, -1))
            ipvs_model_add_item(&c->removed, gone->set, &gone->entry);
        if (new &&item_counts(b, new, 1))
            ipvs_model_add_item(&c->added, new->set, &new->entry);
        i += order <= 0;
        k += order >= 0;
    }
}

static void compare_addresses(struct backend *b, struct change *c)
{
    size_t i = 0, k = 0;
    while (i < c->old.n_addresses || k < c->now.n_addresses) {
        int order = i == c->old.n_addresses ? 1
                    : k == c->now.n_addresses
                        ? -1
                        : ipvs_address_compare(&c->old.addresses[i], &c->now.addresses[k]);
        const struct ip_addr *gone = order < 0 ? &c->old.addresses[i] : NULL;
        const struct ip_addr *new = order > 0 ? &c->now.addresses[k] : NULL;
        if (gone && address_counts(b, gone, -1))
            ipvs_model_add_address(&c->removed, gone);
        if (new &&address_counts(b, new, 1))
            ipvs_model_add_address(&c->added, new);
        i += order <= 0;
        k += order >= 0;
    }
}

/* Additions at once; servers that go are put off with the rest that goes. */
static int compare_servers(struct backend *b, struct change *c, struct error *err)
{
    size_t i = 0, k = 0;
    int r = 0;
    while (r == 0 && (i < c->old.n_servers || k < c->now.n_servers)) {
        int order = i == c->old.n_servers ? 1
                    : k == c->now.n_servers
                        ? -1
                        : ipvs_server_compare(&c->old.servers[i], &c->now.servers[k]);
        if (order < 0)
            ipvs_model_add_server(&c->removed, &c->old.servers[i]);
        else
            r = ipvs_servers_change(&b->servers, order == 0 ? &c->old.servers[i] : NULL,
                                    &c->now.servers[k], err);
        i += order <= 0;
        k += order >= 0;
    }
    return r;
}

static void change_done(struct change *c)
{
    ipvs_model_done(&c->old);
    ipvs_model_done(&c->now);
    ipvs_model_done(&c->removed);
    ipvs_model_done(&c->added);
}

/* Entries and addresses that come must be there before their servers are used. What one service
 * lost and another got is in both lists: nothing is removed that was added. */
static int add_all(struct backend *b, struct change *c, struct error *err)
{
    ipvs_model_sort(&c->added);
    int r = change_items(b, c->added.items, c->added.n_items, true, err);
    return r == 0 ? change_addresses(b, c->added.addresses, c->added.n_addresses, true, err) : r;
}

static size_t drop_those_in(void *items, size_t n, size_t size, const void *others, size_t n_others,
                            int (*compare)(const void *, const void *))
{
    char *at = items;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!n_others || !bsearch(at + i * size, others, n_others, size, compare)) {
            if (kept != i)
                memcpy(at + kept * size, at + i * size, size);
            kept++;
        }
    return kept;
}

static int remove_all(struct backend *b, struct change *c, struct error *err)
{
    struct ipvs_model *gone = &c->removed, *come = &c->added;
    int r = 0;
    for (size_t i = 0; r == 0 && i < gone->n_servers; i++)
        r = ipvs_servers_remove(&b->servers, &gone->servers[i].service, err);
    ipvs_model_sort(gone);
    gone->n_items = drop_those_in(gone->items, gone->n_items, sizeof(*gone->items), come->items,
                                  come->n_items, ipvs_item_compare);
    gone->n_addresses = drop_those_in(gone->addresses, gone->n_addresses, sizeof(*gone->addresses),
                                      come->addresses, come->n_addresses, ipvs_address_compare);
    if (r == 0)
        r = change_addresses(b, c->removed.addresses, c->removed.n_addresses, false, err);
    return r == 0 ? change_items(b, c->removed.items, c->removed.n_items, false, err) : r;
}

/* ---- changes ---- */

static void finish(struct backend *b, int code, const struct error *err)
{
    b->c->done(b->c->arg, code < 0 ? error_text(err) : NULL);
}

/* Servers that one service gives up and another gets in the same run are not to go in the end. */
static void keep_taken(struct ipvs_model *removed, const struct backend_config *c,
                       const struct backend_change *changes, size_t n)
{
    struct ipvs_model taken = {.items = NULL};
    for (size_t i = 0; removed->n_servers && n > 1 && i < n; i++)
        ipvs_model_of(c, changes[i].now, &taken);
    ipvs_model_sort(&taken);
    removed->n_servers =
        drop_those_in(removed->servers, removed->n_servers, sizeof(*removed->servers),
                      taken.servers, taken.n_servers, ipvs_server_compare);
    ipvs_model_done(&taken);
}

static void apply(void *arg, const struct backend_change *changes, size_t n, _unused_ bool node)
{
    struct backend *b = arg;
    struct error err = ERROR_INIT;
    struct change c = {.old = {.items = NULL}};
    int r = 0;
    for (size_t i = 0; i < n; i++) {
        ipvs_model_of(b->c, changes[i].old, &c.old);
        ipvs_model_of(b->c, changes[i].now, &c.now);
        ipvs_model_sort(&c.old);
        ipvs_model_sort(&c.now);
        compare_items(b, &c);
        compare_addresses(b, &c);
        ipvs_model_done(&c.old);
        ipvs_model_done(&c.now);
    }
    r = add_all(b, &c, &err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        ipvs_model_of(b->c, changes[i].old, &c.old);
        ipvs_model_of(b->c, changes[i].now, &c.now);
        ipvs_model_sort(&c.old);
        ipvs_model_sort(&c.now);
        r = compare_servers(b, &c, &err);
        ipvs_model_done(&c.old);
        ipvs_model_done(&c.now);
    }
    keep_taken(&c.removed, b->c, changes, n);
    if (r == 0)
        r = remove_all(b, &c, &err);
    change_done(&c);
    finish(b, r, &err);
}

/* ---- comparing with what is there ---- */

struct reading {
    struct backend *b;
    struct ipvs_model model;
    enum ipvs_set set;
};

static int on_entry(const struct ipset_entry *e, void *arg)
{
    struct reading *r = arg;
    ipvs_model_add_item(&r->model, r->set, e);
    return 0;
}

/* The kernel gives the link an address of its own in IPv6. */
static bool is_ours(const struct backend *b, const struct ip_addr *a)
{
    bool link_local = a->family == AF_INET6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
    return a->family == b->c->family && !link_local;
}

static int on_address(const struct ip_prefix *p, void *arg)
{
    struct reading *r = arg;
    if (is_ours(r->b, &p->addr))
        ipvs_model_add_address(&r->model, &p->addr);
    return 0;
}

static int on_server(const struct ipvs_service *s, void *arg)
{
    struct reading *r = arg;
    const struct ipvs_server server = {.service = *s};
    if (s->address.family == r->b->c->family)
        ipvs_model_add_server(&r->model, &server);
    return 0;
}

static int read_kernel(struct reading *r, struct error *err)
{
    struct backend *b = r->b;
    char name[IPSET_NAME_MAX];
    int code = 0;
    for (int s = 0; code == 0 && s < IPVS_SETS; s++) {
        r->set = s;
        ipvs_set_name(s, b->c->family, name);
        code = ipset_create(b->netfilter, name, ipvs_sets[s].type, b->c->family, err);
        if (code == 0)
            code = ipset_list(b->netfilter, name, b->c->family, on_entry, r, err);
    }
    if (code == 0)
        code = address_list(b->route, b->link, b->c->family, on_address, r, err);
    if (code == 0)
        code = ipvs_list_services(b->servers.ipvs, on_server, r, err);
    b->servers.count = r->model.n_servers;
    ipvs_model_sort(&r->model);
    return code;
}

static bool is_excluded(const struct backend *b, const struct ip_addr *a)
{
    for (size_t i = 0; i < b->c->ipvs.n_exclude; i++) {
        const struct ip_prefix *p = &b->c->ipvs.exclude[i];
        const struct ip_prefix host = {.addr = *a, .len = p->len};
        struct ip_prefix network = ip_prefix_network(&host);
        if (a->family == p->addr.family && ip_addr_equal(&network.addr, &p->addr))
            return true;
    }
    return false;
}

/* Whether a virtual server that nobody wants was ours: its address stands on the link, or its port
 * is in the sets of node ports. Others' are left alone. */
static bool was_ours(const struct reading *r, const struct ipvs_service *s)
{
    if (is_excluded(r->b, &s->address))
        return false;
    if (r->model.n_addresses && bsearch(&s->address, r->model.addresses, r->model.n_addresses,
                                        sizeof(*r->model.addresses), ipvs_address_compare))
        return true;
    for (size_t i = 0; i < r->model.n_items; i++) {
        const struct ipvs_item *item = &r->model.items[i];
        if (item->set >= IPVS_SET_NODE_PORT_TCP && item->set <= IPVS_SET_NODE_PORT_LOCAL_SCTP &&
            item->entry.port == s->port)
            return true;
    }
    return false;
}

static int reconcile_servers(struct reading *r, struct change *c, struct error *err)
{
    size_t i = 0, k = 0;
    int code = 0;
    while (code == 0 && (i < r->model.n_servers || k < c->now.n_servers)) {
        int order = i == r->model.n_servers ? 1
                    : k == c->now.n_servers
                        ? -1
                        : ipvs_server_compare(&r->model.servers[i], &c->now.servers[k]);
        if (order < 0 && was_ours(r, &r->model.servers[i].service))
            ipvs_model_add_server(&c->removed, &r->model.servers[i]);
        else if (order > 0)
            code = ipvs_servers_change(&r->b->servers, NULL, &c->now.servers[k], err);
        else if (order == 0)
            code = ipvs_servers_reconcile(&r->b->servers, &r->model.servers[i].service,
                                          &c->now.servers[k], err);
        i += order <= 0;
        k += order >= 0;
    }
    return code;
}

/* What is wanted is counted service by service; then @now holds everything once. */
static void want_everything(struct backend *b, struct change *c)
{
    map_clear(&b->shared);
    b->n_addresses = 0;
    MAP_FOR_EACH(e, b->services) {
        struct ipvs_model one = {.items = NULL};
        ipvs_model_of(b->c, map_value(e), &one);
        ipvs_model_sort(&one);
        for (size_t i = 0; i < one.n_items; i++)
            if (item_counts(b, &one.items[i], 1))
                ipvs_model_add_item(&c->now, one.items[i].set, &one.items[i].entry);
        for (size_t i = 0; i < one.n_addresses; i++)
            if (address_counts(b, &one.addresses[i], 1))
                ipvs_model_add_address(&c->now, &one.addresses[i]);
        for (size_t i = 0; i < one.n_servers; i++)
            ipvs_model_add_server(&c->now, &one.servers[i]);
        ipvs_model_done(&one);
    }
    ipvs_model_sort(&c->now);
}

/* The kernel's lists against the wanted ones, without counting. */
static void difference(const struct reading *r, struct change *c)
{
    size_t i = 0, k = 0;
    while (i < r->model.n_items || k < c->now.n_items) {
        int order = i == r->model.n_items ? 1
                    : k == c->now.n_items ? -1
                                          : ipvs_item_compare(&r->model.items[i], &c->now.items[k]);
        if (order < 0)
            ipvs_model_add_item(&c->removed, r->model.items[i].set, &r->model.items[i].entry);
        else if (order > 0)
            ipvs_model_add_item(&c->added, c->now.items[k].set, &c->now.items[k].entry);
        i += order <= 0;
        k += order >= 0;
    }
    for (i = k = 0; i < r->model.n_addresses || k < c->now.n_addresses;) {
        int order = i == r->model.n_addresses ? 1
                    : k == c->now.n_addresses
                        ? -1
                        : ipvs_address_compare(&r->model.addresses[i], &c->now.addresses[k]);
        if (order < 0)
            ipvs_model_add_address(&c->removed, &r->model.addresses[i]);
        else if (order > 0)
            ipvs_model_add_address(&c->added, &c->now.addresses[k]);
        i += order <= 0;
        k += order >= 0;
    }
}

static int find_link(struct backend *b, struct error *err)
{
    struct link_info info;
    int r = link_find(b->route, IPVS_LINK, &info, err);
    if (r == 0) {
        r = link_add_dummy(b->route, IPVS_LINK, err);
        r = r == 0 || r == -EEXIST ? link_find(b->route, IPVS_LINK, &info, err) : r;
    }
    if (r == 0)
        r = error_set(err, -ENODEV, "link " IPVS_LINK " vanished");
    if (r == 1)
        b->link = info.index;
    return r < 0 ? r : 0;
}

/* The rules are there: now the servers. */
static void on_rules(void *arg, const char *error)
{
    struct backend *b = arg;
    struct error err = ERROR_INIT;
    struct reading r = {.b = b};
    struct change c = {.old = {.items = NULL}};
    if (error) {
        b->c->done(b->c->arg, error);
        return;
    }
    int code = read_kernel(&r, &err);
    if (code == 0) {
        want_everything(b, &c);
        difference(&r, &c);
        code = add_all(b, &c, &err);
    }
    if (code == 0)
        code = reconcile_servers(&r, &c, &err);
    if (code == 0)
        code = remove_all(b, &c, &err);
    ipvs_model_done(&r.model);
    change_done(&c);
    finish(b, code, &err);
}

/* Sets must be there before rules that match them. */
static void reconcile(void *arg, const struct map *services)
{
    struct backend *b = arg;
    struct error err = ERROR_INIT;
    char name[IPSET_NAME_MAX];
    int r = find_link(b, &err);
    for (int s = 0; r == 0 && s < IPVS_SETS; s++) {
        ipvs_set_name(s, b->c->family, name);
        r = ipset_create(b->netfilter, name, ipvs_sets[s].type, b->c->family, &err);
    }
    b->services = services;
    if (r < 0)
        b->c->done(b->c->arg, err.text);
    else
        iptables_reconcile(b->rules, services);
}

/* ---- life ---- */

struct counting {
    const struct backend *b;
    size_t servers, addresses;
};

static int on_counted_server(const struct ipvs_service *s, void *arg)
{
    struct counting *c = arg;
    c->servers += s->address.family == c->b->c->family;
    return 0;
}

static int on_counted_address(const struct ip_prefix *p, void *arg)
{
    struct counting *c = arg;
    c->addresses += is_ours(c->b, &p->addr);
    return 0;
}

/* IPVS tells nobody of changes: servers and addresses are counted now and then. */
static bool check(void *arg)
{
    struct backend *b = arg;
    struct counting c = {.b = b};
    if (!b->link)
        return true; /* before everything was looked at for the first time */
    (void)iptables_check(b->rules);
    if (ipvs_list_services(b->servers.ipvs, on_counted_server, &c, NULL) < 0 ||
        c.servers != b->servers.count)
        b->c->disturbed(b->c->arg, "virtual servers");
    else if (address_list(b->route, b->link, b->c->family, on_counted_address, &c, NULL) < 0 ||
             c.addresses != b->n_addresses)
        b->c->disturbed(b->c->arg, IPVS_LINK);
    return true;
}

static void on_disturbed(void *arg, const char *what)
{
    struct backend *b = arg;
    b->c->disturbed(b->c->arg, what);
}

static void destroy(void *arg)
{
    struct backend *b = arg;
    (void)iptables_free(b->rules);
    ipvs_servers_done(&b->servers);
    (void)netlink_free(b->route);
    (void)netlink_free(b->netfilter);
    map_clear(&b->shared);
    free(b);
}

static int create(void **ret, struct loop *loop, const struct backend_config *c, struct error *err)
{
    struct backend *b = mem_zalloc(sizeof(*b));
    const struct iptables_handler handler = {.done = on_rules, .disturbed = on_disturbed, .arg = b};
    *b = (struct backend){.loop = loop, .c = c, .shared = MAP_INIT(NULL)};
    int r = ipvs_servers_init(&b->servers, loop, err);
    if (r == 0)
        r = netlink_open(NETLINK_ROUTE, &b->route, err);
    if (r == 0)
        r = netlink_open(NETLINK_NETFILTER, &b->netfilter, err);
    if (r == 0)
        r = iptables_new(&b->rules, loop, c, &ipvs_rules, &handler, err);
    if (r == 0 && (c->ipvs.tcp_timeout || c->ipvs.tcp_fin_timeout || c->ipvs.udp_timeout))
        r = ipvs_set_timeouts(b->servers.ipvs, (uint32_t)c->ipvs.tcp_timeout,
                              (uint32_t)c->ipvs.tcp_fin_timeout, (uint32_t)c->ipvs.udp_timeout,
                              err);
    if (r < 0) {
        destroy(b);
        return r;
    }
    *ret = b;
    return 0;
}

const struct backend_ops backend_ipvs = {.mode = "ipvs",
                                         .shares = "iptables",
                                         .addresses_change_services = true,
                                         .probe = ipvs_mode_probe,
                                         .create = create,
                                         .destroy = destroy,
                                         .reconcile = reconcile,
                                         .apply = apply,
                                         .check = check,
                                         .cleanup = ipvs_mode_cleanup};
