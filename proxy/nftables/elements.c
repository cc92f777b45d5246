/* Elements of maps and sets; see elements.h. */
#include "proxy/nftables/elements.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/strbuf.h"

void elements_done(struct elements *e)
{
    free(e->items);
    *e = (struct elements){.items = NULL};
}

void contribution_done(struct contribution *c)
{
    elements_done(&c->elements);
    map_clear(&c->chains);
}

struct element *elements_add(struct elements *e, enum nft_table_set set, const char *comment)
{
    if (e->n == e->room) {
        e->room = e->room ? e->room * 2 : 16;
        e->items = mem_grow(e->items, e->room, sizeof(*e->items));
    }
    struct element *new = &e->items[e->n++];
    memset(new, 0, sizeof(*new));
    new->set = (uint8_t)set;
    new->comment = comment;
    return new;
}

void element_key(struct element *e, const void *data, size_t len)
{
    memcpy(e->key + e->key_len, data, len);
    e->key_len = (uint8_t)(e->key_len + len);
}

/* Every part of a concatenation fills whole registers of four bytes. */
static size_t put_part(uint8_t *at, const void *data, size_t len)
{
    memset(at, 0, 4);
    memcpy(at, data, len);
    return len < 4 ? 4 : len;
}

static size_t put_address(uint8_t *at, const struct ip_addr *ip)
{
    return put_part(at, ip->bytes, ip_addr_size(ip));
}

static size_t put_port(uint8_t *at, uint16_t port)
{
    uint16_t be = htons(port);
    return put_part(at, &be, sizeof(be));
}

static size_t put_protocol(uint8_t *at, int protocol)
{
    uint8_t p = (uint8_t)protocol;
    return put_part(at, &p, sizeof(p));
}

/* address . protocol . port */
static void key_address(struct element *e, const struct ip_addr *ip, int protocol, uint16_t port)
{
    size_t n = put_address(e->key, ip);
    n += put_protocol(e->key + n, protocol);
    n += put_port(e->key + n, port);
    e->key_len = (uint8_t)n;
}

static void key_node_port(struct element *e, int protocol, uint16_t port)
{
    size_t n = put_protocol(e->key, protocol);
    n += put_port(e->key + n, port);
    e->key_len = (uint8_t)n;
}

static void set_endpoint(struct element *e, uint32_t slot, const struct plan_endpoint *ep)
{
    element_key(e, &slot, sizeof(slot));
    size_t n = put_address(e->data, &ep->ip);
    n += put_port(e->data + n, ep->port);
    e->data_len = (uint8_t)n;
}

static void go_to(struct element *e, const char *chain)
{
    e->verdict = true;
    (void)snprintf(e->chain, sizeof(e->chain), "%s", chain);
}

/* ---- chains ---- */

void chain_set_name(struct chain *c)
{
    static const char *const kinds[] = {"cluster-ip", "external", "node-port", "source-ranges"};
    const char *what = kinds[c->kind];
    if (c->own && c->bare)
        (void)snprintf(c->name, sizeof(c->name), "choose%s-%s", c->local ? "-local" : "",
                       c->own->id);
    else if (c->own)
        (void)snprintf(c->name, sizeof(c->name), "%s-%s", what, c->own->id);
    else if (c->kind == CHAIN_CLUSTER_IP || !c->local)
        (void)snprintf(c->name, sizeof(c->name), "%s%s%s-%u", c->bare ? "choose-" : "", what,
                       c->local ? "-local" : "", c->local ? c->n_local : c->cluster);
    else
        (void)snprintf(c->name, sizeof(c->name), "%s-local-%u-%u", what, c->cluster, c->n_local);
}

struct chain chain_choice(const struct chain *c, bool local)
{
    struct chain choice = *c;
    choice.bare = true;
    choice.local = local;
    chain_set_name(&choice);
    return choice;
}

/* ---- one port ---- */

struct writer {
    const struct plan_port *p;
    struct contribution *out;
};

static void need(struct writer *w, const struct chain *c)
{
    if (!map_has(&w->out->chains, c->name))
        map_set(&w->out->chains, c->name, mem_dup(c, sizeof(*c)));
}

/* The chain for traffic of this kind, with those that it goes to. Returns its name. */
static void use_chain(struct writer *w, enum chain_kind kind, struct element *e)
{
    const struct plan_port *p = w->p;
    struct chain c = {.kind = kind,
                      .local = kind == CHAIN_CLUSTER_IP ? p->internal_local : p->external_local,
                      .cluster = (unsigned)p->n_cluster,
                      .n_local = (unsigned)p->n_local,
                      .own = p->affinity_seconds ? p : NULL};
    chain_set_name(&c);
    const struct chain everywhere = chain_choice(&c, false), here = chain_choice(&c, true);
    /* Pods, and the node itself, are not bound by the policy for traffic from outside. */
    bool both = c.local && kind != CHAIN_CLUSTER_IP;
    if (p->n_cluster && (both || (c.own && !c.local)))
        need(w, &everywhere);
    if (p->n_local && c.own && c.local)
        need(w, &here);
    need(w, &c);
    go_to(e, c.name);
}

static bool takes(const struct plan_endpoint *e, bool local)
{
    return local ? e->in_local : e->in_cluster;
}

/* Endpoints of one address (NULL: of the node port), numbered. With affinity, rules have them. */
static void add_endpoints(struct writer *w, const struct ip_addr *ip, bool local)
{
    const struct plan_port *p = w->p;
    enum nft_table_set set = ip      ? local ? SET_LOCAL_ENDPOINTS : SET_ENDPOINTS
                             : local ? SET_NODE_PORT_LOCAL_ENDPOINTS
                                     : SET_NODE_PORT_ENDPOINTS;
    uint32_t slot = 0;
    for (size_t i = 0; !p->affinity_seconds && i < p->n_endpoints; i++) {
        if (!takes(&p->endpoints[i], local))
            continue;
        struct element *e = elements_add(&w->out->elements, set, p->title);
        if (ip)
            key_address(e, ip, p->protocol, p->port);
        else
            key_node_port(e, p->protocol, p->node_port);
        set_endpoint(e, slot++, &p->endpoints[i]);
    }
}

static void add_hairpins(struct writer *w)
{
    for (size_t i = 0; i < w->p->n_endpoints; i++) {
        const struct plan_endpoint *ep = &w->p->endpoints[i];
        if (!ep->maybe_here || (!ep->in_cluster && !ep->in_local))
            continue;
        struct element *e = elements_add(&w->out->elements, SET_HAIRPIN, NULL);
        size_t n = put_address(e->key, &ep->ip);
        n += put_address(e->key + n, &ep->ip);
        e->key_len = (uint8_t)n;
    }
}

/* What becomes of traffic that no endpoint takes: refused, or with the policy Local, dropped. */
static void unserved(struct element *e, const struct plan_port *p)
{
    go_to(e, p->has_endpoints ? "" : "refuse");
}

static void add_external_address(struct writer *w, const struct ip_addr *ip, bool restricted)
{
    const struct plan_port *p = w->p;
    struct element *e;
    if (p->has_endpoints) {
        e = elements_add(&w->out->elements, SET_SERVICES, p->title);
        key_address(e, ip, p->protocol, p->port);
        use_chain(w, CHAIN_EXTERNAL, e);
        add_endpoints(w, ip, false);
        if (p->external_local)
            add_endpoints(w, ip, true);
    }
    if (!p->has_endpoints || (p->external_local && !p->n_local)) {
        e = elements_add(&w->out->elements, SET_UNSERVED, p->title);
        key_address(e, ip, p->protocol, p->port);
        unserved(e, p);
    }
    if (restricted && p->has_endpoints) {
        struct chain c = {.kind = CHAIN_FIREWALL, .own = p};
        chain_set_name(&c);
        need(w, &c);
        e = elements_add(&w->out->elements, SET_FIREWALL, p->title);
        key_address(e, ip, p->protocol, p->port);
        go_to(e, c.name);
    }
}

static void add_node_port(struct writer *w)
{
    const struct plan_port *p = w->p;
    struct element *e;
    if (p->has_endpoints) {
        e = elements_add(&w->out->elements, SET_NODE_PORTS, p->title);
        key_node_port(e, p->protocol, p->node_port);
        use_chain(w, CHAIN_NODE_PORT, e);
        add_endpoints(w, NULL, false);
        if (p->external_local)
            add_endpoints(w, NULL, true);
    }
    if (!p->has_endpoints || (p->external_local && !p->n_local)) {
        e = elements_add(&w->out->elements, SET_UNSERVED_NODE_PORTS, p->title);
        key_node_port(e, p->protocol, p->node_port);
        unserved(e, p);
    }
}

static void add_port(struct writer *w)
{
    const struct plan_port *p = w->p;
    bool served = p->internal_local ? p->n_local : p->n_cluster;
    struct element *e =
        elements_add(&w->out->elements, served ? SET_SERVICES : SET_UNSERVED, p->title);
    key_address(e, &p->cluster_ip, p->protocol, p->port);
    if (served)
        use_chain(w, CHAIN_CLUSTER_IP, e);
    else
        unserved(e, p);
    add_endpoints(w, &p->cluster_ip, p->internal_local);
    for (size_t i = 0; i < p->n_external_ips; i++)
        add_external_address(w, &p->external_ips[i], false);
    for (size_t i = 0; i < p->n_ingress_ips; i++)
        add_external_address(w, &p->ingress_ips[i], p->n_source_ranges > 0);
    if (p->node_port)
        add_node_port(w);
    add_hairpins(w);
}

void contribution_of(const struct backend_config *c, const struct plan_service *s,
                     struct contribution *out)
{
    for (size_t i = 0; s && i < s->n_ports; i++) {
        struct writer w = {.p = &s->ports[i], .out = out};
        if (s->ports[i].family == c->family)
            add_port(&w);
    }
}

static bool is_loopback(const struct ip_addr *a)
{
    static const struct ip_addr one = {.family = AF_INET6, .bytes[15] = 1};
    return a->family == AF_INET ? a->bytes[0] == 127 : ip_addr_equal(a, &one);
}

/* Node ports are not served on loopback: answers would have to come from there. */
void contribution_of_node(const struct backend_config *c, struct elements *out)
{
    const struct addresses *a = c->addresses;
    for (size_t i = 0; i < a->n_all; i++)
        if (a->all[i].family == c->family)
            element_key(elements_add(out, SET_LOCAL_ADDRESSES, NULL), a->all[i].bytes,
                        ip_addr_size(&a->all[i]));
    for (size_t i = 0; i < a->n_node_ports; i++)
        if (a->node_ports[i].family == c->family && !is_loopback(&a->node_ports[i]))
            element_key(elements_add(out, SET_NODE_PORT_ADDRESSES, NULL), a->node_ports[i].bytes,
                        ip_addr_size(&a->node_ports[i]));
}

/* ---- comparing ---- */

static int by_key(const void *a, const void *b)
{
    const struct element *x = a, *y = b;
    if (x->set != y->set)
        return x->set - y->set;
    return memcmp(x->key, y->key, sizeof(x->key));
}

void elements_sort(struct elements *e)
{
    size_t n = 0;
    if (e->n)
        qsort(e->items, e->n, sizeof(*e->items), by_key);
    for (size_t i = 0; i < e->n; i++)
        if (!n || by_key(&e->items[n - 1], &e->items[i]) != 0)
            e->items[n++] = e->items[i];
    e->n = n;
}

static bool same_value(const struct element *a, const struct element *b)
{
    return a->verdict == b->verdict && a->data_len == b->data_len &&
           !memcmp(a->data, b->data, a->data_len) && str_eq(a->chain, b->chain);
}

void elements_compare(const struct elements *old, const struct elements *now,
                      void (*removed)(const struct element *e, void *arg),
                      void (*added)(const struct element *e, void *arg), void *arg)
{
    size_t i = 0, k = 0;
    while (i < old->n || k < now->n) {
        int c = i == old->n ? 1 : k == now->n ? -1 : by_key(&old->items[i], &now->items[k]);
        if (c == 0 && same_value(&old->items[i], &now->items[k])) {
            i++;
            k++;
            continue;
        }
        if (c <= 0)
            removed(&old->items[i++], arg);
        if (c >= 0)
            added(&now->items[k++], arg);
    }
}
