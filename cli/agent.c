/* A node that has joined; see agent.h. And `coracle agent`, which runs it in the foreground. */
#include "cli/agent.h"

#include <errno.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "cli/cluster.h"
#include "cli/command.h"
#include "cli/supervise.h"
#include "kube/decode.h"

#define FILE_NAME   "agent.json"
#define FILE_MAX    65536
#define API_VERSION "coracle.dev/v1"

struct agent_file {
    char *node_name, *node_ip, *server, *cluster_cidr, *service_cidr, *dns_ip;
    char *cgroup_root, *iptables, *bridge, *labels, *taints;
    int64_t kubelet_port, verbosity;
    bool follow, cni, proxy, dns, flannel;
};

#define FIELD(member, name, kind) DECODE_FIELD(struct agent_file, member, name, kind)
static const struct decode_field fields[] = {FIELD(node_name, "nodeName", DECODE_STRING),
                                             FIELD(node_ip, "nodeIP", DECODE_STRING),
                                             FIELD(server, "server", DECODE_STRING),
                                             FIELD(cluster_cidr, "clusterCIDR", DECODE_STRING),
                                             FIELD(service_cidr, "serviceCIDR", DECODE_STRING),
                                             FIELD(dns_ip, "clusterDNS", DECODE_STRING),
                                             FIELD(cgroup_root, "cgroupRoot", DECODE_STRING),
                                             FIELD(iptables, "iptablesVariant", DECODE_STRING),
                                             FIELD(bridge, "bridge", DECODE_STRING),
                                             FIELD(labels, "nodeLabels", DECODE_STRING),
                                             FIELD(taints, "registerWithTaints", DECODE_STRING),
                                             FIELD(kubelet_port, "kubeletPort", DECODE_INT),
                                             FIELD(verbosity, "verbosity", DECODE_INT),
                                             FIELD(follow, "followAddress", DECODE_BOOL),
                                             FIELD(cni, "cni", DECODE_BOOL),
                                             FIELD(proxy, "proxy", DECODE_BOOL),
                                             FIELD(dns, "dns", DECODE_BOOL),
                                             FIELD(flannel, "flannel", DECODE_BOOL),
                                             DECODE_END};
static const struct decode_type file_type = {"Agent", sizeof(struct agent_file), fields};

static char *agent_path(const struct node_config *c, const char *name)
{
    _cleanup_free_ char *dir = node_path(c, "/etc/coracle");
    return fs_join(dir, name);
}

bool agent_exists(const struct node_config *c)
{
    _cleanup_free_ char *path = agent_path(c, FILE_NAME);
    return fs_exists(path);
}

struct agent_file *agent_file_free(struct agent_file *f)
{
    if (f)
        decode_done(&file_type, f);
    free(f);
    return NULL;
}

static const char *on_off(bool on)
{
    return on ? "on" : "off";
}

static int check_file(const struct agent_file *f, struct error *err)
{
    const struct {
        const char *name, *value;
        bool needed;
    } all[] = {{"nodeName", f->node_name, true},
               {"nodeIP", f->node_ip, true},
               {"server", f->server, true},
               {"clusterCIDR", f->cluster_cidr, !f->cni},
               {"clusterDNS", f->dns_ip, f->dns}};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (all[i].needed && (!all[i].value || !*all[i].value))
            return error_set_field(err, -EINVAL, all[i].name, "%s: missing", all[i].name);
    if (f->kubelet_port < 1 || f->kubelet_port > 65535)
        return error_set_field(err, -EINVAL, "kubeletPort", "kubeletPort: %lld is not a port",
                               (long long)f->kubelet_port);
    return 0;
}

static void fill(struct node_config *c, const struct agent_file *f)
{
    c->joined = true;
    c->node_name = f->node_name;
    c->node_ip = f->node_ip;
    c->server_url = str_dup(f->server);
    c->cluster_cidr = f->cluster_cidr;
    c->service_cidr = f->service_cidr;
    c->dns_ip = f->dns_ip ? str_dup(f->dns_ip) : NULL;
    c->cgroup_root = f->cgroup_root;
    c->iptables = f->iptables ? f->iptables : c->iptables;
    c->bridge = f->bridge ? f->bridge : c->bridge;
    c->labels = f->labels;
    c->taints = f->taints;
    c->kubelet_port = (int)f->kubelet_port;
    if (!c->verbosity)
        c->verbosity = (int)f->verbosity;
    c->follow = f->follow;
    c->cni = f->cni;
    c->proxy = on_off(f->proxy);
    c->dns = on_off(f->dns);
    c->flannel = on_off(f->flannel);
}

int agent_load(struct node_config *c, struct agent_file **ret, struct error *err)
{
    _cleanup_free_ char *path = agent_path(c, FILE_NAME);
    _cleanup_(agent_file_freep) struct agent_file *f = mem_zalloc(sizeof(*f));
    if (!fs_exists(path))
        return error_set(err, -ENOENT, "this machine has joined no cluster: `coracle join` does");
    _cleanup_json_ json_t *j = json_parse_file(path, FILE_MAX, err);
    int r = j ? decode(&file_type, j, f, err) : -EINVAL;
    if (r == 0)
        r = check_file(f, err);
    if (r < 0)
        return error_prefix(err, r, "%s", path);
    fill(c, f);
    *ret = TAKE_PTR(f);
    return 0;
}

int agent_save(const struct node_config *c, struct error *err)
{
    _cleanup_free_ char *path = agent_path(c, FILE_NAME);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_json_ json_t *j = json_pack(
        "{ss ss ss ss ss ss? ss? ss? ss? ss? ss ss ss? si si sb sb sb sb sb}", "apiVersion",
        API_VERSION, "kind", "Agent", "nodeName", c->node_name, "nodeIP", c->node_ip, "server",
        c->server_url, "clusterCIDR", c->cluster_cidr, "serviceCIDR", c->service_cidr, "clusterDNS",
        c->dns_ip, "cgroupRoot", c->cgroup_root, "nodeLabels", c->labels, "iptablesVariant",
        c->iptables, "bridge", c->bridge, "registerWithTaints", c->taints, "kubeletPort",
        c->kubelet_port, "verbosity", c->verbosity, "followAddress", c->follow, "cni", c->cni,
        "proxy", str_eq(c->proxy, "on"), "dns", str_eq(c->dns, "on"), "flannel",
        str_eq(c->flannel, "on"));
    if (!j)
        return error_set(err, -EINVAL, "a setting is not UTF-8");
    json_encode_pretty(j, 2, &text);
    strbuf_add(&text, "\n", 1);
    return fs_write_atomic(path, text.data, text.len, 0644, FS_DURABLE, err);
}

void agent_forget(const struct node_config *c)
{
    static const char *const files[] = {"/etc/coracle/" FILE_NAME,
                                        "/etc/coracle/" AGENT_BOOTSTRAP_KUBECONFIG,
                                        "/etc/coracle/kubelet.kubeconfig",
                                        "/etc/coracle/proxy.kubeconfig",
                                        "/etc/coracle/dns.kubeconfig",
                                        "/etc/coracle/flannel.kubeconfig",
                                        "/etc/coracle/" CLUSTER_NET_CONF,
                                        "/etc/coracle/pki",
                                        "/var/lib/kubelet/pki",
                                        AGENT_KUBELET_CONFIG};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_free_ char *path = node_path(c, files[i]);
        struct error err = ERROR_INIT;
        if (fs_exists(path) && fs_remove_tree(path, &err) < 0)
            log_warn("cannot be removed", "file", path, "error", error_text(&err), NULL);
    }
}

/* ---- the command ---- */

/* Credentials that run out are renewed as the node; when that fails now, they last a while yet. */
static int prepare(const struct node_config *c, struct error *err)
{
    _cleanup_free_ char *own = agent_path(c, "kubelet.kubeconfig");
    struct session s = {.loop = NULL};
    struct error why = ERROR_INIT;
    (void)err;
    if (!fs_exists(own)) /* just joined: they are new */
        return 0;
    int r = session_open(&s, own, NULL, NULL, &why);
    if (r == 0)
        r = agent_all_credentials(c, &s, &why);
    session_close(&s);
    if (r < 0)
        log_warn("credentials of the node's parts cannot be renewed now", "error", error_text(&why),
                 NULL);
    return 0;
}

int command_agent(int argc, char **argv)
{
    struct node_config c = NODE_CONFIG_INIT;
    struct error err = ERROR_INIT;
    _cleanup_(agent_file_freep) struct agent_file *file = NULL;
    static const struct node_hooks hooks = {.prepare = prepare};
    bool help = false;
    const struct option_def options[] = {
        {"root", 0, OPTION_STRING, &c.root, "DIR", "prefix of every path (default: /)"},
        {"v", 'v', OPTION_INT, &c.verbosity, "N", "verbosity of logs; 4: debug"},
        {"help", 'h', OPTION_BOOL, &help, NULL, "show this"},
        {NULL}};
    char *words[16];
    if (argc > (int)ARRAY_SIZE(words) || options_parse(options, argc, argv, false, words, &err)) {
        (void)fprintf(stderr, "coracle agent: %s\n", err.code ? err.text : "takes flags only");
        return 2;
    }
    if (help) {
        (void)puts(
            "usage: coracle agent [flags]\n\nRuns, in the foreground, the node that `coracle "
            "join` made of this machine.\n");
        options_help(options, stdout);
        return 0;
    }
    daemon_init("coracle", c.verbosity);
    int r = geteuid() == 0 ? agent_load(&c, &file, &err)
                           : error_set(&err, -EPERM, "must be run as root");
    if (r == 0)
        r = node_supervise(&c, &hooks, &err);
    if (r < 0)
        (void)fprintf(stderr, "coracle agent: %s\n", error_text(&err));
    node_config_done(&c);
    return r < 0;
}
