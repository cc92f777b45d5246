/* The processes that a node consists of, and their command lines; see node.h. */
#include <stdarg.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "cli/agent.h"
#include "cli/cluster.h"
#include "cli/node.h"

/* A command line under construction. */
struct command {
    char *argv[40];
    size_t n;
};

static void command_add(struct command *cmd, const char *fmt, ...) _printf_(2, 3);
static void command_add(struct command *cmd, const char *fmt, ...)
{
    struct strbuf b = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&b, fmt, args);
    va_end(args);
    if (cmd->n + 1 < ARRAY_SIZE(cmd->argv))
        cmd->argv[cmd->n++] = strbuf_take(&b);
    strbuf_done(&b);
}

static int add_unit(const struct node_config *c, struct supervisor *s, const char *name,
                    struct command *cmd, struct error *err)
{
    _cleanup_free_ char *log = node_log(c, name);
    const struct unit_spec spec = {
        .name = name, .argv = (const char *const *)cmd->argv, .log_path = log, .notifies = true};
    int r = supervisor_add(s, &spec, err);
    for (size_t i = 0; i < cmd->n; i++)
        free(cmd->argv[i]);
    return r;
}

static void component(const struct node_config *c, struct command *cmd, const char *name)
{
    _cleanup_free_ char *libexec = node_libexec();
    *cmd = (struct command){.n = 0};
    command_add(cmd, "%s/coracle-%s", libexec, name);
    if (*c->root)
        command_add(cmd, "--root=%s", c->root);
    if (c->verbosity)
        command_add(cmd, "--v=%d", c->verbosity);
}

static int add_etcd(const struct node_config *c, struct supervisor *s, struct error *err)
{
    _cleanup_free_ char *data = node_path(c, "/var/lib/coracle/etcd");
    _cleanup_free_ char *pki = node_path(c, "/etc/coracle/pki/etcd");
    struct command cmd = {.n = 0};
    int r = fs_mkdirs(data, 0700, err);
    if (r < 0)
        return r;
    command_add(&cmd, "etcd");
    command_add(&cmd, "--name=coracle");
    command_add(&cmd, "--data-dir=%s", data);
    command_add(&cmd, "--listen-client-urls=https://127.0.0.1:%d", c->etcd_port);
    command_add(&cmd, "--advertise-client-urls=https://127.0.0.1:%d", c->etcd_port);
    command_add(&cmd, "--listen-peer-urls=https://127.0.0.1:%d", c->etcd_peer_port);
    command_add(&cmd, "--initial-advertise-peer-urls=https://127.0.0.1:%d", c->etcd_peer_port);
    command_add(&cmd, "--initial-cluster=coracle=https://127.0.0.1:%d", c->etcd_peer_port);
    command_add(&cmd, "--client-cert-auth");
    command_add(&cmd, "--trusted-ca-file=%s/ca.crt", pki);
    command_add(&cmd, "--cert-file=%s/server.crt", pki);
    command_add(&cmd, "--key-file=%s/server.key", pki);
    command_add(&cmd, "--peer-client-cert-auth");
    command_add(&cmd, "--peer-trusted-ca-file=%s/ca.crt", pki);
    command_add(&cmd, "--peer-cert-file=%s/server.crt", pki);
    command_add(&cmd, "--peer-key-file=%s/server.key", pki);
    command_add(&cmd, "--logger=zap");
    command_add(&cmd, "--log-level=warn");
    command_add(&cmd, "--log-outputs=stderr");
    return add_unit(c, s, "etcd", &cmd, err);
}

static int add_apiserver(const struct node_config *c, struct supervisor *s, struct error *err)
{
    _cleanup_free_ char *pki = node_path(c, "/etc/coracle/pki");
    struct command cmd;
    component(c, &cmd, "apiserver");
    if (c->etcd_servers) {
        command_add(&cmd, "--etcd-servers=%s", c->etcd_servers);
    } else {
        command_add(&cmd, "--etcd-servers=https://127.0.0.1:%d", c->etcd_port);
        command_add(&cmd, "--etcd-cafile=%s/etcd/ca.crt", pki);
        command_add(&cmd, "--etcd-certfile=%s/etcd/client.crt", pki);
        command_add(&cmd, "--etcd-keyfile=%s/etcd/client.key", pki);
    }
    command_add(&cmd, "--secure-port=%d", c->port);
    command_add(&cmd, "--advertise-address=%s", c->node_ip);
    command_add(&cmd, "--tls-cert-file=%s/apiserver.crt", pki);
    command_add(&cmd, "--tls-private-key-file=%s/apiserver.key", pki);
    command_add(&cmd, "--client-ca-file=%s/ca.crt", pki);
    command_add(&cmd, "--authorization-mode=Node,RBAC");
    command_add(&cmd, "--enable-bootstrap-token-auth");
    command_add(&cmd, "--service-account-issuer=https://kubernetes.default.svc.cluster.local");
    command_add(&cmd, "--service-account-key-file=%s/sa.pub", pki);
    command_add(&cmd, "--service-account-signing-key-file=%s/sa.key", pki);
    command_add(&cmd, "--service-cluster-ip-range=%s", c->service_cidr);
    if (c->dns_ip)
        command_add(&cmd, "--cluster-dns=%s", c->dns_ip);
    command_add(&cmd, "--kubelet-client-certificate=%s/apiserver-kubelet-client.crt", pki);
    command_add(&cmd, "--kubelet-client-key=%s/apiserver-kubelet-client.key", pki);
    command_add(&cmd, "--kubelet-certificate-authority=%s/ca.crt", pki);
    return add_unit(c, s, "apiserver", &cmd, err);
}

static int add_cri(const struct node_config *c, struct supervisor *s, struct error *err)
{
    struct command cmd;
    component(c, &cmd, "cri");
    if (c->cni)
        command_add(&cmd, "--network=cni");
    if (c->pod_cidr)
        command_add(&cmd, "--pod-cidr=%s", c->pod_cidr);
    else if (!c->cni && str_eq(c->flannel, "on"))
        command_add(&cmd, "--await-flannel");
    if (!c->cni) {
        command_add(&cmd, "--cluster-cidr=%s", c->cluster_cidr);
        command_add(&cmd, "--bridge=%s", c->bridge);
    }
    if (c->cgroup_root)
        command_add(&cmd, "--cgroup-root=%s", c->cgroup_root);
    return add_unit(c, s, NODE_UNIT_CRI, &cmd, err);
}

static int add_controllers(const struct node_config *c, struct supervisor *s, struct error *err)
{
    _cleanup_free_ char *dir = node_path(c, "/etc/coracle");
    struct command cmd;
    component(c, &cmd, "controllers");
    command_add(&cmd, "--kubeconfig=%s/controllers.kubeconfig", dir);
    command_add(&cmd, "--allocate-node-cidrs");
    command_add(&cmd, "--cluster-cidr=%s", c->cluster_cidr);
    command_add(&cmd, "--node-cidr-mask-size=%d", c->node_mask);
    command_add(&cmd, "--service-cluster-ip-range=%s", c->service_cidr);
    command_add(&cmd, "--root-ca-file=%s/pki/ca.crt", dir);
    command_add(&cmd, "--cluster-info-server=%s", c->server_url);
    command_add(&cmd, "--cluster-signing-cert-file=%s/pki/ca.crt", dir);
    command_add(&cmd, "--cluster-signing-key-file=%s/pki/ca.key", dir);
    return add_unit(c, s, "controllers", &cmd, err);
}

static int add_proxy(const struct node_config *c, struct supervisor *s, struct error *err)
{
    _cleanup_free_ char *dir = node_path(c, "/etc/coracle");
    struct command cmd;
    component(c, &cmd, "proxy");
    command_add(&cmd, "--kubeconfig=%s/proxy.kubeconfig", dir);
    if (c->cluster_cidr)
        command_add(&cmd, "--cluster-cidr=%s", c->cluster_cidr);
    command_add(&cmd, "--hostname-override=%s", c->node_name);
    command_add(&cmd, "--iptables-variant=%s", c->iptables);
    return add_unit(c, s, "proxy", &cmd, err);
}

static int add_dns(const struct node_config *c, struct supervisor *s, struct error *err)
{
    _cleanup_free_ char *dir = node_path(c, "/etc/coracle");
    struct command cmd;
    component(c, &cmd, "dns");
    command_add(&cmd, "--kubeconfig=%s/dns.kubeconfig", dir);
    command_add(&cmd, "--local");
    command_add(&cmd, "--listen=%s", c->dns_ip);
    command_add(&cmd, "--iptables-variant=%s", c->iptables);
    return add_unit(c, s, "dns", &cmd, err);
}

/* How a server's own kubelet, and one that joined, get their credentials. */
static void add_credentials(const struct node_config *c, struct command *cmd)
{
    _cleanup_free_ char *dir = node_path(c, "/etc/coracle");
    command_add(cmd, "--kubeconfig=%s/kubelet.kubeconfig", dir);
    command_add(cmd, "--client-ca-file=%s/pki/ca.crt", dir);
    if (c->joined) {
        _cleanup_free_ char *config = node_path(c, AGENT_KUBELET_CONFIG);
        command_add(cmd, "--bootstrap-kubeconfig=%s/" AGENT_BOOTSTRAP_KUBECONFIG, dir);
        /* As our runtime has it, whatever the file says. */
        command_add(cmd, "--cgroup-driver=cgroupfs");
        command_add(cmd, "--rotate-certificates");
        command_add(cmd, "--rotate-server-certificates");
        if (fs_exists(config))
            command_add(cmd, "--config=%s", config);
    } else {
        command_add(cmd, "--tls-cert-file=%s/pki/kubelet.crt", dir);
        command_add(cmd, "--tls-private-key-file=%s/pki/kubelet.key", dir);
    }
}

static int add_kubelet(const struct node_config *c, struct supervisor *s, struct error *err)
{
    _cleanup_free_ char *socket = node_path(c, "/run/coracle/cri.sock");
    struct command cmd;
    component(c, &cmd, "kubelet");
    add_credentials(c, &cmd);
    command_add(&cmd, "--hostname-override=%s", c->node_name);
    if (!c->follow)
        command_add(&cmd, "--node-ip=%s", c->node_ip);
    command_add(&cmd, "--port=%d", c->kubelet_port);
    command_add(&cmd, "--container-runtime-endpoint=unix://%s", socket);
    command_add(&cmd, "--iptables-variant=%s", c->iptables);
    if (c->labels)
        command_add(&cmd, "--node-labels=%s", c->labels);
    if (c->taints)
        command_add(&cmd, "--register-with-taints=%s", c->taints);
    if (c->dns_ip)
        command_add(&cmd, "--cluster-dns=%s", c->dns_ip);
    if (c->cgroup_root)
        command_add(&cmd, "--cgroup-root=%s", c->cgroup_root);
    return add_unit(c, s, "kubelet", &cmd, err);
}

/* Last: it is ready when the node's pods have an overlay, and for that the Node must be there. */
static int add_flannel(const struct node_config *c, struct supervisor *s, struct error *err)
{
    _cleanup_free_ char *dir = node_path(c, "/etc/coracle");
    struct command cmd;
    component(c, &cmd, "flannel");
    command_add(&cmd, "--kube-subnet-mgr");
    command_add(&cmd, "--kubeconfig-file=%s/flannel.kubeconfig", dir);
    command_add(&cmd, "--net-config-path=%s/" CLUSTER_NET_CONF, dir);
    command_add(&cmd, "--node-name=%s", c->node_name);
    if (!c->follow)
        command_add(&cmd, "--iface=%s", c->node_ip);
    command_add(&cmd, "--ip-masq");
    return add_unit(c, s, "flannel", &cmd, err);
}

static int add_server(const struct node_config *c, struct supervisor *s, struct error *err)
{
    int r = c->etcd_servers ? 0 : add_etcd(c, s, err);
    return r == 0 ? add_apiserver(c, s, err) : r;
}

int node_add_units(const struct node_config *c, struct supervisor *s, struct error *err)
{
    _cleanup_free_ char *logs = node_path(c, "/var/log/coracle");
    int r = fs_mkdirs(logs, 0755, err);
    if (r == 0 && !c->joined)
        r = add_server(c, s, err);
    if (r == 0)
        r = add_cri(c, s, err);
    if (r == 0 && !c->joined)
        r = add_controllers(c, s, err);
    if (r == 0 && str_eq(c->proxy, "on"))
        r = add_proxy(c, s, err);
    if (r == 0 && str_eq(c->dns, "on"))
        r = add_dns(c, s, err);
    if (r == 0)
        r = add_kubelet(c, s, err);
    if (r == 0 && str_eq(c->flannel, "on"))
        r = add_flannel(c, s, err);
    return r;
}
