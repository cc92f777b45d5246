/*
 * The builtin network's pods: a lease, a link, host ports; and all of that back. The order of
 * attaching is lease, link, rules; of detaching rules, link, lease, so that an address is given out
 * again only when nothing leads to it any more.
 */
#include "cri/network_builtin.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "cri/hostport_flows.h"
#include "cri/pod_link.h"

/* ---- attaching a pod ---- */
struct attaching {
    struct builtin *b;
    char *sandbox, *netns;
    struct pod_link link;
    struct hostport_claim *claim; /* a copy for the helper thread; NULL: no host ports */
    done_fn done;
    void *arg;
};

static void attached(struct attaching *a, int code, const struct error *err)
{
    a->done(code, err, a->arg);
    free(a->sandbox);
    free(a->netns);
    hostport_claim_free(a->claim);
    free(a);
}

static int forget_opened(void *data, struct error *err)
{
    const struct attaching *a = data;
    return hostport_flows_opened(a->claim, err);
}

/* The ports work; a flow that cannot be forgotten ends by itself. */
static void on_opened(int code, const struct error *err, void *data)
{
    struct attaching *a = data;
    if (code < 0)
        log_warn("UDP flows of before may miss a new host port", "sandbox", a->sandbox, "error",
                 error_text(err), NULL);
    attached(a, 0, NULL);
}

static void on_ports(int code, const struct error *err, void *arg)
{
    struct attaching *a = arg;
    if (code == 0 && hostport_flows_concern(a->claim))
        job_run(a->b->base.jobs, forget_opened, on_opened, a);
    else
        attached(a, code, err);
}

static int make_link(void *data, struct error *err)
{
    struct attaching *a = data;
    return pod_link_attach(&a->link, err);
}

static void on_link(int code, const struct error *err, void *data)
{
    struct attaching *a = data;
    if (code == 0 && a->claim)
        firewall_apply(a->b->firewall, on_ports, a);
    else
        attached(a, code, err);
}

static int lease(struct builtin *b, const char *sandbox, struct pod_link *link,
                 struct network_attachment *ret, struct error *err)
{
    const struct firewall_config *c = &b->now.firewall;
    for (size_t i = 0; i < c->n_pods; i++) {
        int family = c->pods[i].addr.family;
        int r = ipam_lease(b->ipam, family, sandbox, &ret->addrs[i], err);
        if (r < 0)
            return r;
        link->families[i].addr = (struct ip_prefix){ret->addrs[i], c->pods[i].len};
        link->families[i].gateway = ipam_gateway(&c->pods[i]);
        ret->n_addrs = link->n_families = i + 1;
    }
    return 0;
}

static int claim_ports(struct builtin *b, const char *sandbox,
                       const Runtime__V1__PodSandboxConfig *config,
                       const struct network_attachment *a, struct error *err)
{
    struct hostport *ports;
    size_t n;
    _cleanup_free_ char *pod =
        str_printf("%s/%s", config->metadata->namespace_, config->metadata->name);
    int r = hostports_parse(config, &ports, &n, err);
    return r < 0 ? r
                 : hostports_claim(&b->ports, sandbox, pod, ports, n, a->addrs, a->n_addrs, err);
}

int builtin_attach(struct network *n, const char *sandbox, const char *netns_path,
                   const Runtime__V1__PodSandboxConfig *config, struct network_attachment *ret,
                   done_fn done, void *arg, struct error *err)
{
    struct builtin *b = builtin_of(n);
    struct network_attachment made = {.n_addrs = 0};
    if (!b->now.firewall.n_pods)
        return error_set(err, -EAGAIN, "the pod network is not ready: %s", b->not_ready);
    struct attaching *a = mem_zalloc(sizeof(*a));
    int r = lease(b, sandbox, &a->link, &made, err);
    if (r == 0)
        r = claim_ports(b, sandbox, config, &made, err);
    if (r < 0) {
        ipam_release(b->ipam, sandbox);
        free(a);
        return r;
    }
    char random[9];
    random_hex(random, 8);
    a->b = b;
    a->sandbox = str_dup(sandbox);
    a->netns = str_dup(netns_path);
    a->claim = hostport_claim_copy(hostports_of(&b->ports, sandbox));
    a->done = done;
    a->arg = arg;
    a->link.netns = a->netns;
    a->link.bridge = b->bridge.index;
    a->link.mtu = b->bridge.mtu;
    (void)snprintf(a->link.name, sizeof(a->link.name), "veth%s", random);
    (void)snprintf(a->link.alias, sizeof(a->link.alias), BRIDGE_ALIAS_PREFIX "%s", sandbox);
    memcpy(made.link, a->link.name, sizeof(made.link));
    *ret = made;
    job_run(n->jobs, make_link, on_link, a);
    return 0;
}

void builtin_adopt(struct network *n, const char *sandbox,
                   const Runtime__V1__PodSandboxConfig *config, const struct network_attachment *a)
{
    struct error err = ERROR_INIT;
    if (claim_ports(builtin_of(n), sandbox, config, a, &err) < 0)
        log_error("a pod loses its host ports", "sandbox", sandbox, "error", error_text(&err),
                  NULL);
}

/* ---- detaching ---- */
struct detaching {
    struct builtin *b;
    char *sandbox;
    char link[IFNAMSIZ], alias[LINK_ALIAS_MAX];
    struct ip_addr addrs[NETWORK_ADDRS_MAX];
    size_t n_addrs;
    int bridge;
    struct hostport_claim *claim;  /* what it had; NULL: nothing */
    struct error flows_error;      /* why its UDP flows were not forgotten */
    struct error neighbours_error; /* why the node still believes in it */
    done_fn done;
    void *arg;
};

static void detached(struct detaching *d, int code, const struct error *err)
{
    if (code == 0)
        ipam_release(d->b->ipam, d->sandbox);
    if (d->done)
        d->done(code, err, d->arg);
    else if (code < 0)
        log_warn("cannot detach a pod", "sandbox", d->sandbox, "error", error_text(err), NULL);
    free(d->sandbox);
    hostport_claim_free(d->claim);
    free(d);
}

static int remove_link(void *data, struct error *err)
{
    struct detaching *d = data;
    if (d->claim && hostport_flows_concern(d->claim))
        (void)hostport_flows_closed(d->claim, &d->flows_error); /* told by on_link_removed() */
    int r = pod_link_remove(d->link, d->alias, err);
    if (r == 0)
        (void)pod_link_forget(d->bridge, d->addrs, d->n_addrs, &d->neighbours_error);
    return r;
}

static void on_link_removed(int code, const struct error *err, void *data)
{
    struct detaching *d = data;
    if (d->flows_error.code < 0)
        log_warn("UDP flows of a removed host port are left", "sandbox", d->sandbox, "error",
                 error_text(&d->flows_error), NULL);
    if (d->neighbours_error.code < 0)
        log_warn("the node may still look for a pod that is gone", "sandbox", d->sandbox, "error",
                 error_text(&d->neighbours_error), NULL);
    detached(d, code, err);
}

static void on_ports_closed(int code, const struct error *err, void *arg)
{
    struct detaching *d = arg;
    if (code < 0) /* the next try applies again: firewall_is_behind() */
        detached(d, code, err);
    else
        job_run(d->b->base.jobs, remove_link, on_link_removed, d);
}

void builtin_detach(struct network *n, const char *sandbox, const struct network_attachment *a,
                    done_fn done, void *arg)
{
    struct builtin *b = builtin_of(n);
    struct detaching *d = mem_zalloc(sizeof(*d));
    *d = (struct detaching){.b = b, .sandbox = str_dup(sandbox), .done = done, .arg = arg};
    memcpy(d->link, a->link, sizeof(d->link));
    memcpy(d->addrs, a->addrs, sizeof(d->addrs));
    d->n_addrs = a->n_addrs;
    d->bridge = b->bridge.index;
    (void)snprintf(d->alias, sizeof(d->alias), BRIDGE_ALIAS_PREFIX "%s", sandbox);
    d->claim = hostport_claim_copy(hostports_of(&b->ports, sandbox));
    if (hostports_release(&b->ports, sandbox) || firewall_is_behind(b->firewall))
        firewall_apply(b->firewall, on_ports_closed, d);
    else
        job_run(n->jobs, remove_link, on_link_removed, d);
}

/* ---- what nobody has ---- */
struct sweep {
    struct builtin *b;
    bool (*keep)(const char *sandbox, void *arg);
    void *arg;
};

static int sweep_link(const struct link_info *info, void *arg)
{
    struct sweep *s = arg;
    const char *sandbox = info->alias + strlen(BRIDGE_ALIAS_PREFIX);
    if (!str_starts(info->alias, BRIDGE_ALIAS_PREFIX) || !str_eq(info->kind, "veth") ||
        info->master != s->b->bridge.index || s->keep(sandbox, s->arg))
        return 0;
    log_warn("removing a pod's link that nobody has", "link", info->name, NULL);
    struct network_attachment a = {.n_addrs = 0};
    memcpy(a.link, info->name, sizeof(a.link));
    builtin_detach(&s->b->base, sandbox, &a, NULL, NULL);
    return 0;
}

/* Translations to pods that are gone: of what they were is no record any more. */
struct flows {
    struct ip_prefix pods[IPAM_PREFIXES_MAX];
    size_t n_pods;
    struct ip_addr *used;
    size_t n_used;
};

static int sweep_flows(void *data, struct error *err)
{
    const struct flows *f = data;
    return hostport_flows_sweep(f->pods, f->n_pods, f->used, f->n_used, err);
}

static void on_flows_swept(int code, const struct error *err, void *data)
{
    struct flows *f = data;
    if (code < 0)
        log_warn("cannot look for UDP flows to pods that are gone", "error", error_text(err), NULL);
    free(f->used);
    free(f);
}

void builtin_sweep(struct network *n, bool (*keep)(const char *sandbox, void *arg), void *arg)
{
    struct builtin *b = builtin_of(n);
    struct sweep s = {b, keep, arg};
    struct error err = ERROR_INIT;
    if (b->bridge.index && link_list(b->nl, sweep_link, &s, &err) < 0)
        log_warn("cannot look for links that nobody has", "error", error_text(&err), NULL);
    size_t freed = ipam_sweep(b->ipam, keep, arg);
    if (freed)
        log_printf(LOG_WARN, "freed %zu leases that nobody has", freed);
    struct flows *f = mem_zalloc(sizeof(*f));
    memcpy(f->pods, b->now.firewall.pods, sizeof(f->pods));
    f->n_pods = b->now.firewall.n_pods;
    f->n_used = ipam_addresses(b->ipam, &f->used);
    job_run(n->jobs, sweep_flows, on_flows_swept, f);
}
