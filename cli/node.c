/* Settings, paths and units of a node; see node.h. */
#include "cli/node.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/strbuf.h"

#define DNS_HOST    10 /* of the service range, where upstream's tools look for it */
#define DNS_LEN_MAX 28 /* shortest range that has it */

char *node_path(const struct node_config *c, const char *path)
{
    return daemon_path(c->root, path);
}

char *node_state_dir(const struct node_config *c)
{
    return node_path(c, "/run/coracle/supervisor");
}

char *node_kubeconfig(const struct node_config *c)
{
    return node_path(c, "/etc/coracle/kubeconfig");
}

char *node_log(const struct node_config *c, const char *unit)
{
    _cleanup_free_ char *path = str_printf("/var/log/coracle/%s.log", unit);
    return node_path(c, path);
}

char *node_libexec(void)
{
    const char *env = getenv("CORACLE_LIBEXEC");
    if (env && *env)
        return str_dup(env);
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n < 0)
        return str_dup("/usr/local/libexec/coracle");
    exe[n] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(exe, '/');
        if (slash)
            *slash = '\0';
    }
    return str_printf("%s/libexec/coracle", exe);
}

/* ---- settings ---- */

/* The address that packets to the outside would carry: a UDP socket's own after connect(), which
 * sends nothing. Without a default route, the first address that is not loopback. */
static char *own_address(void)
{
    char text[INET_ADDRSTRLEN];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    to.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1, documentation (RFC 5737) */
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0 &&
        getsockname(fd, (struct sockaddr *)&from, &len) == 0 &&
        inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text)))
        return str_dup(text);
    struct ifaddrs *all;
    char *found = NULL;
    if (getifaddrs(&all) < 0)
        return NULL;
    for (struct ifaddrs *a = all; a && !found; a = a->ifa_next) {
        if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET || (a->ifa_flags & IFF_LOOPBACK) ||
            !(a->ifa_flags & IFF_UP))
            continue;
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a->ifa_addr;
        if (inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)))
            found = str_dup(text);
    }
    freeifaddrs(all);
    return found;
}

static int parse_cidr(const char *flag, const char *text, uint32_t *ret_base, int *ret_len,
                      struct error *err)
{
    char address[INET_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    struct in_addr in;
    char *end = NULL;
    long len = slash ? strtol(slash + 1, &end, 10) : -1;
    if (!slash || slash - text >= (ptrdiff_t)sizeof(address) || end == slash + 1 || *end ||
        len < 8 || len > 30)
        return error_set_field(err, -EINVAL, flag, "--%s: \"%s\" is not like 10.244.0.0/16", flag,
                               text);
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    if (inet_pton(AF_INET, address, &in) != 1)
        return error_set_field(err, -EINVAL, flag, "--%s: \"%s\" is not an IPv4 address", flag,
                               address);
    uint32_t base = ntohl(in.s_addr);
    if (base & (UINT32_MAX >> len))
        return error_set_field(err, -EINVAL, flag, "--%s: %s has bits set beyond its length", flag,
                               text);
    *ret_base = base;
    *ret_len = (int)len;
    return 0;
}

static int check_port(const char *flag, int port, struct error *err)
{
    if (port >= 1 && port <= 65535)
        return 0;
    return error_set_field(err, -EINVAL, flag, "--%s: %d is not a port", flag, port);
}

static char *address_text(uint32_t address)
{
    struct in_addr in = {.s_addr = htonl(address)};
    char text[INET_ADDRSTRLEN];
    return str_dup(inet_ntop(AF_INET, &in, text, sizeof(text)));
}

static int check_ranges(struct node_config *c, struct error *err)
{
    uint32_t cluster = 0, pods = 0, services = 0;
    int cluster_len = 0, pods_len = 0, services_len = 0;
    int r = parse_cidr("cluster-cidr", c->cluster_cidr, &cluster, &cluster_len, err);
    if (r == 0)
        r = parse_cidr("pod-cidr", c->pod_cidr, &pods, &pods_len, err);
    if (r == 0)
        r = parse_cidr("service-cidr", c->service_cidr, &services, &services_len, err);
    if (r < 0)
        return r;
    if (pods_len < cluster_len || (pods & ~(UINT32_MAX >> cluster_len)) != cluster)
        return error_set_field(err, -EINVAL, "pod-cidr", "--pod-cidr: %s is not within %s",
                               c->pod_cidr, c->cluster_cidr);
    int shorter = services_len < cluster_len ? services_len : cluster_len;
    if (((services ^ cluster) & ~(UINT32_MAX >> shorter)) == 0)
        return error_set_field(err, -EINVAL, "service-cidr", "--service-cidr: %s overlaps %s",
                               c->service_cidr, c->cluster_cidr);
    c->service_ip = address_text(services + 1);
    if (!str_eq(c->dns, "on") && !str_eq(c->dns, "off"))
        return error_set_field(err, -EINVAL, "dns", "--dns: \"%s\" is neither on nor off", c->dns);
    if (str_eq(c->dns, "off"))
        return 0;
    if (services_len > DNS_LEN_MAX)
        return error_set_field(err, -EINVAL, "service-cidr",
                               "--service-cidr: %s has no tenth address for the DNS; take a larger "
                               "one or --dns=off",
                               c->service_cidr);
    c->dns_ip = address_text(services + DNS_HOST);
    return 0;
}

static int complete_name(struct node_config *c, struct error *err)
{
    if (!c->node_name) {
        char host[256] = "";
        (void)gethostname(host, sizeof(host) - 1);
        for (char *p = host; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        c->name_buf = str_dup(host);
        c->node_name = c->name_buf;
    }
    size_t len = strlen(c->node_name);
    bool good = len > 0 && len <= 253 && isalnum((unsigned char)c->node_name[0]) &&
                isalnum((unsigned char)c->node_name[len - 1]);
    for (const char *p = c->node_name; *p && good; p++)
        good = islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '-' || *p == '.';
    if (!good)
        return error_set_field(err, -EINVAL, "node-name",
                               "--node-name: \"%s\" is not a DNS name in lower case", c->node_name);
    return 0;
}

int node_config_complete(struct node_config *c, struct error *err)
{
    struct in_addr in;
    int r = complete_name(c, err);
    if (r == 0)
        r = check_port("port", c->port, err);
    if (r == 0)
        r = check_port("kubelet-port", c->kubelet_port, err);
    if (r == 0)
        r = check_port("etcd-port", c->etcd_port, err);
    if (r == 0)
        r = check_port("etcd-peer-port", c->etcd_peer_port, err);
    if (r == 0)
        r = check_ranges(c, err);
    if (r < 0)
        return r;
    if (!c->node_ip) {
        c->ip_buf = own_address();
        c->node_ip = c->ip_buf;
        if (!c->node_ip)
            return error_set_field(
                err, -EHOSTUNREACH, "node-ip",
                "this host has no address but loopback: give one with --node-ip");
    }
    if (inet_pton(AF_INET, c->node_ip, &in) != 1)
        return error_set_field(err, -EINVAL, "node-ip", "--node-ip: \"%s\" is not an IPv4 address",
                               c->node_ip);
    c->server_url = str_printf("https://%s:%d", c->node_ip, c->port);
    return 0;
}

void node_config_done(struct node_config *c)
{
    free(c->name_buf);
    free(c->ip_buf);
    free(c->service_ip);
    free(c->dns_ip);
    free(c->server_url);
}

/* ---- units ---- */

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
    command_add(&cmd, "--pod-cidr=%s", c->pod_cidr);
    command_add(&cmd, "--cluster-cidr=%s", c->cluster_cidr);
    command_add(&cmd, "--bridge=%s", c->bridge);
    if (c->cgroup_root)
        command_add(&cmd, "--cgroup-root=%s", c->cgroup_root);
    return add_unit(c, s, NODE_UNIT_CRI, &cmd, err);
}

static int add_with_kubeconfig(const struct node_config *c, struct supervisor *s, const char *name,
                               struct error *err)
{
    _cleanup_free_ char *dir = node_path(c, "/etc/coracle");
    struct command cmd;
    component(c, &cmd, name);
    command_add(&cmd, "--kubeconfig=%s/%s.kubeconfig", dir, name);
    command_add(&cmd, "--cluster-cidr=%s", c->cluster_cidr);
    if (str_eq(name, "controllers")) {
        command_add(&cmd, "--root-ca-file=%s/pki/ca.crt", dir);
        command_add(&cmd, "--cluster-info-server=%s", c->server_url);
        command_add(&cmd, "--cluster-signing-cert-file=%s/pki/ca.crt", dir);
        command_add(&cmd, "--cluster-signing-key-file=%s/pki/ca.key", dir);
    }
    if (str_eq(name, "proxy")) {
        command_add(&cmd, "--hostname-override=%s", c->node_name);
        command_add(&cmd, "--iptables-variant=%s", c->iptables);
    }
    return add_unit(c, s, name, &cmd, err);
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

static int add_kubelet(const struct node_config *c, struct supervisor *s, struct error *err)
{
    _cleanup_free_ char *dir = node_path(c, "/etc/coracle");
    _cleanup_free_ char *socket = node_path(c, "/run/coracle/cri.sock");
    struct command cmd;
    component(c, &cmd, "kubelet");
    command_add(&cmd, "--kubeconfig=%s/kubelet.kubeconfig", dir);
    command_add(&cmd, "--hostname-override=%s", c->node_name);
    command_add(&cmd, "--node-ip=%s", c->node_ip);
    command_add(&cmd, "--port=%d", c->kubelet_port);
    command_add(&cmd, "--container-runtime-endpoint=unix://%s", socket);
    command_add(&cmd, "--client-ca-file=%s/pki/ca.crt", dir);
    command_add(&cmd, "--tls-cert-file=%s/pki/kubelet.crt", dir);
    command_add(&cmd, "--tls-private-key-file=%s/pki/kubelet.key", dir);
    command_add(&cmd, "--iptables-variant=%s", c->iptables);
    if (c->dns_ip)
        command_add(&cmd, "--cluster-dns=%s", c->dns_ip);
    if (c->cgroup_root)
        command_add(&cmd, "--cgroup-root=%s", c->cgroup_root);
    return add_unit(c, s, "kubelet", &cmd, err);
}

int node_add_units(const struct node_config *c, struct supervisor *s, struct error *err)
{
    _cleanup_free_ char *logs = node_path(c, "/var/log/coracle");
    int r = fs_mkdirs(logs, 0755, err);
    if (r == 0 && !c->etcd_servers)
        r = add_etcd(c, s, err);
    if (r == 0)
        r = add_apiserver(c, s, err);
    if (r == 0)
        r = add_cri(c, s, err);
    if (r == 0)
        r = add_with_kubeconfig(c, s, "controllers", err);
    if (r == 0)
        r = add_with_kubeconfig(c, s, "proxy", err);
    if (r == 0 && str_eq(c->dns, "on"))
        r = add_dns(c, s, err);
    if (r == 0)
        r = add_kubelet(c, s, err);
    return r;
}
