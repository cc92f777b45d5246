/*
 * The builtin network: a bridge, a veth pair for every pod, addresses from the pod CIDRs, host
 * ports. Links and addresses over netlink, in process; the iptables programs run when the network
 * is set up and when a pod with host ports comes or goes.
 *
 * The pod CIDRs come from --pod-cidr; without it from flanneld's subnet.env while that is there,
 * which also tells the overlay's prefix and MTU; else from the kubelet (UpdateRuntimeConfig),
 * unless
 * --await-flannel says that pods are not to start before the MTU is known. The last ones are
 * remembered on tmpfs.
 *
 * What is ours in the host: the bridge and links whose alias starts with "coracle:" (a pod's:
 * "coracle:<sandbox id>"), the chains of firewall_rules.h with their jumps, sysctls through the
 * journal.
 */
#include "cri/network_builtin.h"

#include <dirent.h>
#include <errno.h>
#include <linux/netlink.h>
#include <string.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "cri/flannel_env.h"
#include "nl/iptables.h"

#define STATE_DIR  "/run/coracle/network"
#define LEASES_DIR STATE_DIR "/leases"
#define STATE_MAX  4096
#define RETRY_MS   5000

#define NO_CIDR    "no pod CIDR is known for this node yet"
#define NO_FLANNEL "flannel has not said yet which addresses this node's pods get (subnet.env)"

/* ---- the node's side ---- */
struct setting {
    struct builtin *b;
    done_fn done;
    void *arg;
};

static int use(struct builtin *b, const struct builtin_settings *s, done_fn done, void *arg,
               struct error *err);

/* Tried again later, whatever it was. */
static void fail(struct builtin *b, const struct error *err)
{
    if (!str_eq(b->not_ready, error_text(err))) /* each reason is said once */
        log_error("the pod network is not ready", "error", error_text(err), NULL);
    (void)snprintf(b->not_ready, sizeof(b->not_ready), "%s", error_text(err));
    loop_timer_set(&b->retry, RETRY_MS);
}

static void on_retry(void *arg)
{
    struct builtin *b = arg;
    if (!b->applied && b->wanted.firewall.n_pods)
        (void)use(b, &b->wanted, NULL, NULL, NULL);
}

static void on_rules(int code, const struct error *err, void *arg)
{
    struct setting *s = arg;
    struct builtin *b = s->b;
    b->applied = code == 0;
    if (code < 0)
        fail(b, err);
    else
        b->not_ready[0] = '\0';
    if (s->done)
        s->done(code, err, s->arg);
    free(s);
}

static int remember(const struct builtin *b, const struct builtin_settings *s, struct error *err)
{
    _cleanup_strbuf_ struct strbuf cidrs = STRBUF_INIT, text = STRBUF_INIT;
    _cleanup_free_ char *path = fs_join(b->dir, "network.json");
    for (size_t i = 0; i < s->firewall.n_pods; i++) {
        char one[IP_TEXT_MAX];
        strbuf_addf(&cidrs, "%s%s", i ? "," : "", ip_prefix_format(&s->firewall.pods[i], one));
    }
    _cleanup_json_ json_t *j = json_pack("{ss}", "podCidr", strbuf_text(&cidrs));
    json_encode(j, &text);
    return fs_write_atomic(path, text.data, text.len, 0600, FS_VOLATILE, err);
}

static bool same_prefixes(const struct ip_prefix *a, size_t n_a, const struct ip_prefix *b,
                          size_t n_b)
{
    if (n_a != n_b)
        return false;
    for (size_t i = 0; i < n_a; i++)
        if (!ip_prefix_equal(&a[i], &b[i]))
            return false;
    return true;
}

static bool same_settings(const struct builtin_settings *a, const struct builtin_settings *b)
{
    const struct firewall_config *x = &a->firewall, *y = &b->firewall;
    return a->mtu == b->mtu && x->masquerade == y->masquerade &&
           same_prefixes(x->pods, x->n_pods, y->pods, y->n_pods) &&
           same_prefixes(x->clusters, x->n_clusters, y->clusters, y->n_clusters);
}

static int make_bridge(struct builtin *b, const struct builtin_settings *s, struct error *err)
{
    const struct firewall_config *c = &s->firewall;
    struct ip_prefix gateways[IPAM_PREFIXES_MAX];
    for (size_t i = 0; i < c->n_pods; i++)
        gateways[i] = ipam_gateway(&c->pods[i]);
    return bridge_ensure(b->nl, c->bridge, gateways, c->n_pods, s->mtu, b->journal_dir, &b->bridge,
                         err);
}

/* Puts @s, whose pod CIDRs are checked, into effect; @done (may be NULL) as in network.h. */
static int use(struct builtin *b, const struct builtin_settings *s, done_fn done, void *arg,
               struct error *err)
{
    struct error e = ERROR_INIT;
    if (b->applied && same_settings(&b->now, s)) {
        if (done)
            done(0, NULL, arg);
        return 0;
    }
    b->wanted = *s;
    int r = make_bridge(b, s, &e);
    if (r == 0)
        r = remember(b, s, &e);
    if (r < 0) {
        fail(b, &e);
        if (err)
            *err = e;
        return r;
    }
    if (!b->applied && (str_eq(b->not_ready, NO_CIDR) ||
                        str_eq(b->not_ready, NO_FLANNEL))) /* a retry keeps its reason */
        (void)snprintf(b->not_ready, sizeof(b->not_ready), "the pod network is being set up");
    b->now = b->wanted;
    b->now.firewall.bridged_nat = bridge_passes_conntrack();
    b->applied = false;
    ipam_set_prefixes(b->ipam, b->now.firewall.pods, b->now.firewall.n_pods);
    firewall_configure(b->firewall, &b->now.firewall);
    struct setting *setting = mem_zalloc(sizeof(*setting));
    *setting = (struct setting){b, done, arg};
    firewall_apply(b->firewall, on_rules, setting);
    return 0;
}

static int parse_cidrs(const char *text, struct firewall_config *c, struct error *err)
{
    int n = ip_prefixes_parse(text, c->pods, IPAM_PREFIXES_MAX, err);
    if (n < 0)
        return error_set_field(err, -EINVAL, "pod_cidr", "pod CIDR %s", error_text(err));
    c->n_pods = (size_t)n;
    for (int i = 0; i < n; i++)
        c->pods[i] = ip_prefix_network(&c->pods[i]);
    return ipam_check(c->pods, c->n_pods, err);
}

static int set_pod_cidr(struct network *n, const char *cidr, done_fn done, void *arg,
                        struct error *err)
{
    struct builtin *b = builtin_of(n);
    struct builtin_settings s = b->flags;
    struct error e = ERROR_INIT;
    int r = parse_cidrs(cidr, &s.firewall, &e);
    if (r < 0) {
        if (err)
            *err = e;
        return r;
    }
    if (b->await_flannel && !b->from_flannel) {
        if (done)
            done(0, NULL, arg);
        return 0;
    }
    if (b->from_flannel) {
        const struct firewall_config *flannel = &b->wanted.firewall;
        if (!same_prefixes(s.firewall.pods, s.firewall.n_pods, flannel->pods, flannel->n_pods))
            log_warn("the kubelet's pod CIDR is not flannel's, which is kept", "cidr", cidr, NULL);
        s = b->wanted;
    }
    return use(b, &s, done, arg, err);
}

static const char *not_ready(struct network *n)
{
    struct builtin *b = builtin_of(n);
    return b->not_ready[0] ? b->not_ready : NULL;
}

/* ---- flannel ---- */

/* -ENOENT without a text when the file is not there. */
static int read_flannel(const struct builtin *b, struct builtin_settings *ret, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    struct flannel_env e = {.n_pods = 0};
    if (!fs_exists(b->flannel_file))
        return -ENOENT;
    int r = fs_read(b->flannel_file, FLANNEL_ENV_MAX, &text, err);
    if (r == 0 && (r = flannel_env_parse(strbuf_text(&text), text.len, &e, err)) < 0)
        (void)error_prefix(err, r, "%s", b->flannel_file);
    if (r < 0)
        return r;
    *ret = b->flags;
    struct firewall_config *c = &ret->firewall;
    memcpy(c->pods, e.pods, sizeof(e.pods));
    c->n_pods = e.n_pods;
    if (e.n_clusters) {
        memcpy(c->clusters, e.clusters, sizeof(e.clusters));
        c->n_clusters = e.n_clusters;
    }
    c->masquerade = !e.masquerade;
    ret->mtu = e.mtu;
    return 0;
}

/* A bad file changes nothing; one that goes leaves what it said in effect. */
static void on_flannel(void *arg)
{
    struct builtin *b = arg;
    struct builtin_settings s;
    struct error err = ERROR_INIT;
    int r = read_flannel(b, &s, &err);
    if (r == -ENOENT && !err.code)
        return;
    if (r == 0) {
        b->from_flannel = true;
        (void)use(b, &s, NULL, NULL, NULL); /* says itself what is wrong */
    } else if (!b->now.firewall.n_pods) {
        fail(b, &err);
    } else {
        log_warn("flannel's file is not usable", "error", error_text(&err), NULL);
    }
}

static int watch_flannel(struct builtin *b, const char *root, struct error *err)
{
    _cleanup_free_ char *dir = daemon_path(root, "/run/flannel");
    b->flannel_file = fs_join(dir, "subnet.env");
    b->flannel_watch = dirwatch_new(b->base.loop, dir, on_flannel, b, err);
    return b->flannel_watch ? 0 : -EIO;
}

/* ---- life ---- */
static void builtin_close(struct network *n)
{
    struct builtin *b = builtin_of(n);
    (void)dirwatch_free(b->flannel_watch);
    (void)firewall_free(b->firewall);
    loop_timer_done(&b->retry);
    hostports_done(&b->ports);
    (void)ipam_free(b->ipam);
    (void)netlink_free(b->nl);
    free(b->dir);
    free(b->journal_dir);
    free(b->flannel_file);
    free(b);
}

static int take_flags(struct builtin *b, const struct network_options *o, struct error *err)
{
    struct firewall_config *c = &b->flags.firewall;
    if (!*o->bridge || strlen(o->bridge) >= sizeof(c->bridge) || strpbrk(o->bridge, "/ \t\n\""))
        return error_set(err, -EINVAL, "--bridge: \"%s\" is no name of a link", o->bridge);
    memcpy(c->bridge, o->bridge, strlen(o->bridge) + 1);
    c->masquerade = true;
    if (!o->cluster_cidr || !*o->cluster_cidr)
        return 0;
    int n = ip_prefixes_parse(o->cluster_cidr, c->clusters, FIREWALL_CLUSTERS_MAX, err);
    if (n < 0)
        return error_prefix(err, n, "--cluster-cidr");
    c->n_clusters = (size_t)n;
    return 0;
}

static char *remembered(const struct builtin *b)
{
    _cleanup_free_ char *path = fs_join(b->dir, "network.json");
    if (!fs_exists(path))
        return NULL;
    _cleanup_json_ json_t *j = json_parse_file(path, STATE_MAX, NULL);
    return str_dup(json_path_string(j, "podCidr"));
}

/* The pod CIDRs that are known from the start. */
static int begin(struct builtin *b, const struct network_options *o, struct error *err)
{
    if (o->pod_cidr && *o->pod_cidr)
        return set_pod_cidr(&b->base, o->pod_cidr, NULL, NULL, err);
    int r = watch_flannel(b, o->root, err);
    if (r < 0)
        return r;
    on_flannel(b);
    if (b->from_flannel || b->await_flannel)
        return 0;
    _cleanup_free_ char *before = remembered(b);
    if (before && set_pod_cidr(&b->base, before, NULL, NULL, err) < 0)
        log_warn("the remembered pod CIDR is not usable", "error", error_text(err), NULL);
    return 0;
}

static struct network *builtin_open(const struct network_options *o, struct error *err)
{
    struct builtin *b = mem_zalloc(sizeof(*b));
    struct error e = ERROR_INIT;
    *b = (struct builtin){.base = {&network_builtin, o->loop, o->jobs},
                          .dir = daemon_path(o->root, STATE_DIR),
                          .journal_dir = daemon_path(o->root, "/var/lib/coracle/journal"),
                          .await_flannel = o->await_flannel};
    (void)snprintf(b->not_ready, sizeof(b->not_ready), "%s",
                   o->await_flannel ? NO_FLANNEL : NO_CIDR);
    _cleanup_free_ char *leases = daemon_path(o->root, LEASES_DIR);
    hostports_init(&b->ports);
    loop_timer_init(&b->retry, o->loop, "pod network", on_retry, b);
    b->firewall = firewall_new(o->loop, b->journal_dir, &b->ports);
    if (take_flags(b, o, &e) == 0 && (b->ipam = ipam_new(leases, &e)) &&
        netlink_open(NETLINK_ROUTE, &b->nl, &e) == 0 && begin(b, o, &e) == 0)
        return &b->base;
    if (err)
        *err = e;
    builtin_close(&b->base);
    return NULL;
}

static size_t builtin_left(const struct network_options *o)
{
    _cleanup_free_ char *dir = daemon_path(o->root, LEASES_DIR);
    DIR *d = opendir(dir);
    size_t n = 0;
    for (const struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        (void)closedir(d);
    return n;
}

static int builtin_cleanup(const struct network_options *o, struct error *err)
{
    _cleanup_free_ char *journal = daemon_path(o->root, "/var/lib/coracle/journal");
    int first = bridge_remove(o->bridge, err);
    int r = iptables_remove_chains(journal, firewall_is_ours, first ? NULL : err);
    first = first ? first : r;
    _cleanup_free_ char *leases = daemon_path(o->root, LEASES_DIR);
    r = fs_remove_tree(leases, first ? NULL : err);
    return first ? first : r;
}

const struct network_ops network_builtin = {
    .name = "builtin",
    .open = builtin_open,
    .close = builtin_close,
    .set_pod_cidr = set_pod_cidr,
    .not_ready = not_ready,
    .attach = builtin_attach,
    .adopt = builtin_adopt,
    .detach = builtin_detach,
    .sweep = builtin_sweep,
    .left = builtin_left,
    .cleanup = builtin_cleanup,
};
