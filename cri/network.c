/* The builtin pod network: bridge, pods' links; see network.h. */
#include "cri/network.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/journal.h"
#include "base/json.h"
#include "base/log.h"
#include "cri/ipam.h"
#include "cri/masquerade.h"
#include "nl/route.h"

#define ALIAS_PREFIX "coracle:"
#define STATE_MAX    4096

struct network {
    struct loop *loop;
    struct jobs *jobs;
    char *dir, *journal_dir, *bridge, *cluster_cidr;
    struct ipam *ipam;
    struct netlink *nl;
    struct ip_prefix cidr; /* as given; addr.family 0: not known */
    int bridge_index, mtu;
    bool applied; /* iptables rules */
    char not_ready[512];
};

struct network *network_free(struct network *n)
{
    if (n) {
        (void)ipam_free(n->ipam);
        (void)netlink_free(n->nl);
        free(n->dir);
        free(n->journal_dir);
        free(n->bridge);
        free(n->cluster_cidr);
        free(n);
    }
    return NULL;
}

const char *network_not_ready(const struct network *n)
{
    return n->not_ready[0] ? n->not_ready : NULL;
}

/* ---- the node's side ---- */

/* The MTU of the link that the default route takes; 1500 when there is none. */
static int default_mtu(struct netlink *nl)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (fs_read("/proc/net/route", 1 << 20, &text, NULL) < 0)
        return 1500;
    char name[IFNAMSIZ], destination[16];
    for (const char *line = strbuf_text(&text); (line = strchr(line, '\n')); line++) {
        struct link_info info;
        if (sscanf(line + 1, "%15s %15s", name, destination) == 2 &&
            str_eq(destination, "00000000") && link_find(nl, name, &info, NULL) == 1)
            return info.mtu;
    }
    return 1500;
}

struct addresses {
    struct network *n;
    struct ip_prefix gateway;
};

/* Addresses of an earlier pod CIDR go: pods of two would find each other, but nobody else them. */
static int drop_other(const struct ip_prefix *p, void *arg)
{
    struct addresses *a = arg;
    if (p->len == a->gateway.len && ip_addr_equal(&p->addr, &a->gateway.addr))
        return 0;
    struct netlink *nl = NULL;
    if (netlink_open(NETLINK_ROUTE, &nl, NULL) == 0) /* the other one is in the middle of a list */
        (void)address_delete(nl, a->n->bridge_index, p, NULL);
    (void)netlink_free(nl);
    return 0;
}

static int ensure_bridge(struct network *n, struct error *err)
{
    struct link_info info;
    int r = link_find(n->nl, n->bridge, &info, err);
    if (r == 0) {
        uint8_t mac[6];
        random_bytes(mac, sizeof(mac));
        mac[0] = (uint8_t)((mac[0] & 0xfe) | 0x02); /* locally administered, unicast */
        r = link_add_bridge(n->nl, n->bridge, ALIAS_PREFIX "bridge", mac, default_mtu(n->nl), err);
        if (r == 0)
            r = link_find(n->nl, n->bridge, &info, err);
    }
    if (r < 0)
        return r;
    if (r == 0 || !str_eq(info.kind, "bridge"))
        return error_set(err, -EEXIST, "link %s is there and is no bridge", n->bridge);
    n->bridge_index = info.index;
    n->mtu = info.mtu;
    struct addresses a = {n, ipam_gateway(n->ipam)};
    if ((r = address_add(n->nl, info.index, &a.gateway, err)) < 0 ||
        (r = address_list(n->nl, info.index, AF_INET, drop_other, &a, err)) < 0)
        return r;
    return link_set_up(n->nl, info.index, err);
}

static int set_sysctls(struct network *n, struct error *err)
{
    int r = journal_sysctl(n->journal_dir, "cri", "net/ipv4/ip_forward", "1", err);
    /* Replies between pods of one bridge must pass conntrack, or a Service's answer comes from the
     * wrong address. Without the module there is nothing to set. */
    if (r == 0 && fs_exists("/proc/sys/net/bridge/bridge-nf-call-iptables"))
        r = journal_sysctl(n->journal_dir, "cri", "net/bridge/bridge-nf-call-iptables", "1", err);
    return r;
}

struct setting {
    struct network *n;
    done_fn done;
    void *arg;
};

static void on_applied(int code, const struct error *err, void *arg)
{
    struct setting *s = arg;
    struct network *n = s->n;
    n->applied = code == 0;
    if (code < 0) {
        (void)snprintf(n->not_ready, sizeof(n->not_ready), "%s", error_text(err));
        log_error("pod network is not ready", "error", error_text(err), NULL);
    } else {
        n->not_ready[0] = '\0';
    }
    if (s->done)
        s->done(code, err, s->arg);
    free(s);
}

static int remember(const struct network *n, const char *cidr, struct error *err)
{
    _cleanup_json_ json_t *j = json_pack("{ss}", "podCidr", cidr);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_free_ char *path = fs_join(n->dir, "network.json");
    json_encode(j, &text);
    return fs_write_atomic(path, text.data, text.len, 0600, FS_VOLATILE, err);
}

int network_set_pod_cidr(struct network *n, const char *cidr, done_fn done, void *arg,
                         struct error *err)
{
    struct ip_prefix p;
    /* A dual-stack node is told both, separated by a comma. */
    _cleanup_free_ char *first = str_ndup(cidr, strcspn(cidr, ","));
    if (ip_prefix_parse(first, &p) < 0)
        return error_set_field(err, -EINVAL, "pod_cidr", "pod CIDR \"%s\" is no prefix", cidr);
    if (n->applied && n->cidr.len == p.len && ip_addr_equal(&n->cidr.addr, &p.addr)) {
        if (done)
            done(0, NULL, arg);
        return 0;
    }
    int r = ipam_set_prefix(n->ipam, &p, err);
    if (r == 0 && (r = ensure_bridge(n, err)) == 0 && (r = set_sysctls(n, err)) == 0)
        r = remember(n, first, err);
    if (r < 0) {
        (void)snprintf(n->not_ready, sizeof(n->not_ready), "%s", error_text(err));
        return r;
    }
    n->cidr = p;
    n->applied = false;
    struct ip_prefix network = ip_prefix_network(&p);
    char text[IP_TEXT_MAX];
    (void)ip_prefix_format(&network, text);
    const struct masquerade m = {.bridge = n->bridge,
                                 .pod_cidr = text,
                                 .cluster_cidr = n->cluster_cidr ? n->cluster_cidr : text,
                                 .journal = n->journal_dir};
    struct setting *s = mem_zalloc(sizeof(*s));
    *s = (struct setting){n, done, arg};
    masquerade_apply(n->loop, &m, on_applied, s);
    return 0;
}

static char *remembered(const struct network *n)
{
    _cleanup_free_ char *path = fs_join(n->dir, "network.json");
    if (!fs_exists(path))
        return NULL;
    _cleanup_json_ json_t *j = json_parse_file(path, STATE_MAX, NULL);
    return str_dup(json_path_string(j, "podCidr"));
}

struct network *network_new(const struct network_options *o, struct error *err)
{
    struct network *n = mem_zalloc(sizeof(*n));
    *n = (struct network){.loop = o->loop,
                          .jobs = o->jobs,
                          .dir = str_dup(o->dir),
                          .journal_dir = str_dup(o->journal_dir),
                          .bridge = str_dup(o->bridge)};
    if (o->cluster_cidr && *o->cluster_cidr)
        n->cluster_cidr = str_dup(o->cluster_cidr);
    (void)snprintf(n->not_ready, sizeof(n->not_ready), "no pod CIDR is known for this node yet");
    _cleanup_free_ char *leases = fs_join(n->dir, "leases");
    struct ip_prefix cluster;
    if (n->cluster_cidr && ip_prefix_parse(n->cluster_cidr, &cluster) < 0)
        (void)error_set(err, -EINVAL, "--cluster-cidr: \"%s\" is no prefix", n->cluster_cidr);
    else if (!*n->bridge || strlen(n->bridge) >= IFNAMSIZ || strpbrk(n->bridge, "/ \t\n\""))
        (void)error_set(err, -EINVAL, "--bridge: \"%s\" is no name of a link", n->bridge);
    else if ((n->ipam = ipam_new(leases, err)) && netlink_open(NETLINK_ROUTE, &n->nl, err) == 0) {
        _cleanup_free_ char *before = remembered(n);
        const char *cidr = o->pod_cidr && *o->pod_cidr ? o->pod_cidr : before;
        if (!cidr || network_set_pod_cidr(n, cidr, NULL, NULL, err) == 0)
            return n;
    }
    return network_free(n);
}

/* ---- a pod's side ---- */
struct attaching {
    struct network *n;
    char *sandbox, *netns;
    char link[IFNAMSIZ], alias[LINK_ALIAS_MAX];
    struct ip_prefix addr, gateway;
    int bridge_index, mtu;
    done_fn done;
    void *arg;
};

/* In the pod's namespace: loopback, the address, the way out. */
static int configure_pod(const struct attaching *a, struct error *err)
{
    struct netlink *nl = NULL;
    struct link_info eth0 = {.index = 0};
    struct ip_prefix any = {.addr.family = AF_INET};
    int r = netlink_open(NETLINK_ROUTE, &nl, err);
    if (r == 0)
        r = link_set_up(nl, 1, err); /* lo is always the first */
    if (r == 0 && (r = link_find(nl, "eth0", &eth0, err)) == 0)
        r = error_set(err, -ENODEV, "eth0 is not in the pod's network namespace");
    if (r == 1 && (r = link_set_up(nl, eth0.index, err)) == 0 &&
        (r = address_add(nl, eth0.index, &a->addr, err)) == 0)
        r = route_add(nl, &any, &a->gateway.addr, eth0.index, err);
    (void)netlink_free(nl);
    return r;
}

/* On a helper thread, which stays in the pod's namespace until it ends. */
static int attach(void *data, struct error *err)
{
    struct attaching *a = data;
    _cleanup_close_ int netns = open(a->netns, O_RDONLY | O_CLOEXEC);
    if (netns < 0)
        return error_errno(err, -errno, "%s", a->netns);
    struct netlink *nl = NULL;
    int r = netlink_open(NETLINK_ROUTE, &nl, err);
    if (r < 0)
        return r;
    /* The hardware address follows from the address, so that neighbours that remember it stay
     * right when the address is given to another pod. */
    uint8_t mac[6] = {0x0a, 0x58};
    memcpy(mac + 2, a->addr.addr.bytes, 4);
    struct link_veth veth = {.name = a->link,
                             .alias = a->alias,
                             .master = a->bridge_index,
                             .hairpin = true,
                             .peer_name = "eth0",
                             .peer_netns = netns,
                             .peer_mac = mac,
                             .mtu = a->mtu};
    r = link_add_veth(nl, &veth, err);
    (void)netlink_free(nl);
    if (r < 0)
        return r;
    if (setns(netns, CLONE_NEWNET) < 0)
        return error_errno(err, -errno, "cannot enter %s", a->netns);
    return configure_pod(a, err);
}

static void on_attached(int code, const struct error *err, void *data)
{
    struct attaching *a = data;
    a->done(code, err, a->arg);
    free(a->sandbox);
    free(a->netns);
    free(a);
}

int network_attach(struct network *n, const char *sandbox, const char *netns_path,
                   struct network_attachment *ret, done_fn done, void *arg, struct error *err)
{
    struct ip_addr addr;
    if (!n->bridge_index)
        return error_set(err, -EAGAIN, "the pod network is not ready: %s", n->not_ready);
    int r = ipam_lease(n->ipam, sandbox, &addr, err);
    if (r < 0)
        return r;
    struct attaching *a = mem_zalloc(sizeof(*a));
    *a = (struct attaching){.n = n,
                            .sandbox = str_dup(sandbox),
                            .netns = str_dup(netns_path),
                            .addr = {addr, n->cidr.len},
                            .gateway = ipam_gateway(n->ipam),
                            .bridge_index = n->bridge_index,
                            .mtu = n->mtu,
                            .done = done,
                            .arg = arg};
    char random[9];
    random_hex(random, 8);
    (void)snprintf(a->link, sizeof(a->link), "veth%s", random);
    (void)snprintf(a->alias, sizeof(a->alias), ALIAS_PREFIX "%s", sandbox);
    *ret = (struct network_attachment){.addr = addr};
    memcpy(ret->link, a->link, sizeof(ret->link));
    job_run(n->jobs, attach, on_attached, a);
    return 0;
}

struct detaching {
    struct network *n;
    char *sandbox;
    struct network_attachment a;
    done_fn done;
    void *arg;
};

static int detach(void *data, struct error *err)
{
    const struct detaching *d = data;
    if (!d->a.link[0])
        return 0;
    struct netlink *nl = NULL;
    int r = netlink_open(NETLINK_ROUTE, &nl, err);
    if (r == 0)
        r = link_delete(nl, d->a.link, err);
    (void)netlink_free(nl);
    return r;
}

static void on_detached(int code, const struct error *err, void *data)
{
    struct detaching *d = data;
    if (code == 0 && d->a.addr.family)
        ipam_release(d->n->ipam, d->sandbox, &d->a.addr);
    if (d->done)
        d->done(code, err, d->arg);
    else if (code < 0)
        log_warn("cannot remove a link", "link", d->a.link, "error", error_text(err), NULL);
    free(d->sandbox);
    free(d);
}

void network_detach(struct network *n, const char *sandbox, const struct network_attachment *a,
                    done_fn done, void *arg)
{
    struct detaching *d = mem_zalloc(sizeof(*d));
    *d = (struct detaching){n, str_dup(sandbox), *a, done, arg};
    job_run(n->jobs, detach, on_detached, d);
}

struct sweep {
    struct network *n;
    bool (*keep)(const char *sandbox, void *arg);
    void *arg;
};

static int sweep_link(const struct link_info *info, void *arg)
{
    struct sweep *s = arg;
    if (!str_starts(info->alias, ALIAS_PREFIX) || !str_eq(info->kind, "veth") ||
        info->master != s->n->bridge_index || s->keep(info->alias + strlen(ALIAS_PREFIX), s->arg))
        return 0;
    log_warn("removing a pod's link that nobody has", "link", info->name, NULL);
    struct network_attachment a = {.addr.family = 0};
    memcpy(a.link, info->name, sizeof(a.link));
    network_detach(s->n, info->alias + strlen(ALIAS_PREFIX), &a, NULL, NULL);
    return 0;
}

void network_sweep(struct network *n, bool (*keep)(const char *sandbox, void *arg), void *arg)
{
    struct sweep s = {n, keep, arg};
    struct error err = ERROR_INIT;
    if (n->bridge_index && link_list(n->nl, sweep_link, &s, &err) < 0)
        log_warn("cannot look for links that nobody has", "error", error_text(&err), NULL);
    size_t freed = ipam_sweep(n->ipam, keep, arg);
    if (freed)
        log_printf(LOG_WARN, "freed %zu leases that nobody has", freed);
}

int network_stats(struct network *n, const struct network_attachment *a, struct link_info *ret,
                  struct error *err)
{
    struct link_info info;
    int r = a->link[0] ? link_find(n->nl, a->link, &info, err) : 0;
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(err, -ENOENT, "the pod has no link");
    *ret = info; /* what our end received is what the pod sent */
    ret->rx_bytes = info.tx_bytes;
    ret->tx_bytes = info.rx_bytes;
    ret->rx_errors = info.tx_errors;
    ret->tx_errors = info.rx_errors;
    (void)snprintf(ret->name, sizeof(ret->name), "eth0");
    return 0;
}
