/*
 * Virtual and real servers; see servers.h. A real server that goes may have connections: it gets no
 * new ones (weight 0) and is deleted when the last has ended, at the latest after a quarter of an
 * hour. UDP has no connections worth waiting for.
 */
#include "proxy/ipvs/servers.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"

#define DRAIN_CHECK_MS 10000
#define DRAIN_MAX_S    900

/* A real server that is on its way out. */
struct draining {
    struct list link;
    struct ipvs_service service;
    struct ipvs_dest dest;
    int64_t since;
    bool found, busy; /* by the look at its server */
};

/* ---- real servers ---- */

static bool same_dest(const struct ipvs_dest *a, const struct ipvs_dest *b)
{
    return a->port == b->port && ip_addr_equal(&a->address, &b->address);
}

static bool same_service(const struct ipvs_service *a, const struct ipvs_service *b)
{
    return a->protocol == b->protocol && a->port == b->port &&
           ip_addr_equal(&a->address, &b->address);
}

static struct draining *find_draining(struct ipvs_servers *v, const struct ipvs_service *s,
                                      const struct ipvs_dest *d)
{
    for (struct list *l = v->draining.next; l != &v->draining; l = l->next) {
        struct draining *x = CONTAINER_OF(l, struct draining, link);
        if (same_service(&x->service, s) && same_dest(&x->dest, d))
            return x;
    }
    return NULL;
}

static void forget_draining(struct draining *d)
{
    if (d) {
        list_remove(&d->link);
        free(d);
    }
}

static void note_draining(struct ipvs_servers *v, const struct ipvs_service *s,
                          const struct ipvs_dest *d)
{
    if (find_draining(v, s, d))
        return;
    struct draining *new = mem_zalloc(sizeof(*new));
    *new = (struct draining){.service = *s, .dest = *d, .since = time_now()};
    list_init(&new->link);
    list_append(&v->draining, &new->link);
    if (!loop_timer_armed(&v->drain))
        loop_timer_set(&v->drain, DRAIN_CHECK_MS);
}

static int add_dest(struct ipvs_servers *v, const struct ipvs_service *s,
                    const struct plan_endpoint *e, struct error *err)
{
    const struct ipvs_dest d = {.address = e->ip, .port = e->port, .weight = 1};
    forget_draining(find_draining(v, s, &d));
    int r = ipvs_add_dest(v->ipvs, s, &d, err);
    return r == -EEXIST ? ipvs_set_dest(v->ipvs, s, &d, err) : r;
}

static int remove_dest(struct ipvs_servers *v, const struct ipvs_service *s, struct ipvs_dest d,
                       struct error *err)
{
    int r;
    d.weight = 0;
    if (s->protocol == IPPROTO_UDP) {
        r = ipvs_delete_dest(v->ipvs, s, &d, err);
    } else {
        r = ipvs_set_dest(v->ipvs, s, &d, err);
        if (r == 0)
            note_draining(v, s, &d);
    }
    return r == -ENOENT ? 0 : r;
}

static int on_drained(const struct ipvs_dest *d, void *arg)
{
    struct draining *x = arg;
    if (same_dest(&x->dest, d)) {
        x->found = true;
        x->busy = d->active + d->inactive > 0;
    }
    return 0;
}

static void on_drain(void *arg)
{
    struct ipvs_servers *v = arg;
    for (struct list *l = v->draining.next, *next; l != &v->draining; l = next) {
        struct draining *x = CONTAINER_OF(l, struct draining, link);
        struct error err = ERROR_INIT;
        next = l->next;
        x->found = false;
        int r = ipvs_list_dests(v->ipvs, &x->service, on_drained, x, &err);
        bool over = x->found && (!x->busy || time_now() - x->since > DRAIN_MAX_S);
        if (over)
            r = ipvs_delete_dest(v->ipvs, &x->service, &x->dest, &err);
        if (r < 0 && r != -ENOENT && r != -ESRCH)
            log_warn("real server could not be removed", "error", err.text, NULL);
        else if (over || r < 0 || !x->found)
            forget_draining(x);
    }
    if (v->draining.next != &v->draining)
        loop_timer_set(&v->drain, DRAIN_CHECK_MS);
}

int ipvs_servers_init(struct ipvs_servers *v, struct loop *loop, struct error *err)
{
    *v = (struct ipvs_servers){.ipvs = NULL};
    list_init(&v->draining);
    loop_timer_init(&v->drain, loop, "draining real servers", on_drain, v);
    return ipvs_open(&v->ipvs, err);
}

void ipvs_servers_done(struct ipvs_servers *v)
{
    loop_timer_done(&v->drain);
    v->ipvs = ipvs_free(v->ipvs);
    while (v->draining.next != &v->draining)
        forget_draining(CONTAINER_OF(v->draining.next, struct draining, link));
}

/* ---- virtual servers ---- */

static bool has_endpoint(const struct ipvs_server *s, const struct plan_endpoint *e)
{
    for (size_t i = 0; s && i < s->port->n_endpoints; i++)
        if (s->port->endpoints[i].port == e->port &&
            ip_addr_equal(&s->port->endpoints[i].ip, &e->ip))
            return ipvs_server_takes(s, &s->port->endpoints[i]);
    return false;
}

/* @old NULL: it is new. */
static int change_dests(struct ipvs_servers *v, const struct ipvs_server *old,
                        const struct ipvs_server *now, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < now->port->n_endpoints; i++) {
        const struct plan_endpoint *e = &now->port->endpoints[i];
        if (ipvs_server_takes(now, e) && !has_endpoint(old, e))
            r = add_dest(v, &now->service, e, err);
    }
    for (size_t i = 0; r == 0 && old && i < old->port->n_endpoints; i++) {
        const struct plan_endpoint *e = &old->port->endpoints[i];
        const struct ipvs_dest d = {.address = e->ip, .port = e->port};
        if (ipvs_server_takes(old, e) && !has_endpoint(now, e))
            r = remove_dest(v, &now->service, d, err);
    }
    return r;
}

static bool same_settings(const struct ipvs_service *a, const struct ipvs_service *b)
{
    return a->flags == b->flags && a->timeout == b->timeout && str_eq(a->scheduler, b->scheduler);
}

int ipvs_servers_remove(struct ipvs_servers *v, const struct ipvs_service *s, struct error *err)
{
    for (struct list *l = v->draining.next, *next; l != &v->draining; l = next) {
        struct draining *x = CONTAINER_OF(l, struct draining, link);
        next = l->next;
        if (same_service(&x->service, s))
            forget_draining(x);
    }
    int r = ipvs_delete_service(v->ipvs, s, err);
    v->count -= r == 0 && v->count;
    return r == -ESRCH || r == -ENOENT ? 0 : r;
}

/* ---- comparing with what is there ---- */

struct listing {
    const struct ipvs_server *wanted;
    struct ipvs_dest *stale; /* those nobody wants */
    size_t n_stale;
    bool *have; /* for each endpoint: it is there, and takes connections */
};

static int on_dest(const struct ipvs_dest *d, void *arg)
{
    struct listing *l = arg;
    const struct plan_port *p = l->wanted->port;
    for (size_t i = 0; i < p->n_endpoints; i++)
        if (p->endpoints[i].port == d->port && ip_addr_equal(&p->endpoints[i].ip, &d->address) &&
            ipvs_server_takes(l->wanted, &p->endpoints[i])) {
            l->have[i] = d->weight > 0;
            return 0;
        }
    l->stale = mem_grow(l->stale, l->n_stale + 1, sizeof(*l->stale));
    l->stale[l->n_stale++] = *d;
    return 0;
}

int ipvs_servers_reconcile(struct ipvs_servers *v, const struct ipvs_service *there,
                           const struct ipvs_server *wanted, struct error *err)
{
    const struct plan_port *p = wanted->port;
    struct listing l = {.wanted = wanted, .have = mem_zalloc(p->n_endpoints + 1)};
    int r = there && same_settings(there, &wanted->service)
                ? 0
                : ipvs_set_service(v->ipvs, &wanted->service, err);
    if (r == 0)
        r = ipvs_list_dests(v->ipvs, &wanted->service, on_dest, &l, err);
    for (size_t i = 0; r == 0 && i < p->n_endpoints; i++)
        if (ipvs_server_takes(wanted, &p->endpoints[i]) && !l.have[i])
            r = add_dest(v, &wanted->service, &p->endpoints[i], err);
    for (size_t i = 0; r == 0 && i < l.n_stale; i++)
        r = remove_dest(v, &wanted->service, l.stale[i], err);
    free(l.have);
    free(l.stale);
    return r;
}

/* ---- differences ---- */

int ipvs_servers_change(struct ipvs_servers *v, const struct ipvs_server *old,
                        const struct ipvs_server *now, struct error *err)
{
    int r = 0;
    if (!old) {
        r = ipvs_add_service(v->ipvs, &now->service, err);
        if (r == -EEXIST) /* with whose real servers? */
            return ipvs_servers_reconcile(v, NULL, now, err);
        v->count += r == 0;
    } else if (!same_settings(&old->service, &now->service)) {
        r = ipvs_set_service(v->ipvs, &now->service, err);
    }
    return r == 0 ? change_dests(v, old, now, err) : r;
}
