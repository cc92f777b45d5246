/* Settings and paths of a node; see node.h. */
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
#define NODE_MASK   24 /* prefix length of a node's pod CIDR */

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

/* The address that packets to @toward would carry: a UDP socket's own after connect(), which sends
 * nothing. Without a route there, the first address that is not loopback. */
static char *own_address(const char *toward)
{
    char text[INET_ADDRSTRLEN];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    if (!toward || inet_pton(AF_INET, toward, &to.sin_addr) != 1)
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

static int check_switch(const char *flag, const char *value, struct error *err)
{
    if (str_eq(value, "on") || str_eq(value, "off"))
        return 0;
    return error_set_field(err, -EINVAL, flag, "--%s: \"%s\" is neither on nor off", flag, value);
}

static int take_service_range(struct node_config *c, uint32_t services, int len, struct error *err)
{
    c->service_ip = address_text(services + 1);
    if (str_eq(c->dns, "off"))
        return 0;
    if (len > DNS_LEN_MAX)
        return error_set_field(err, -EINVAL, "service-cidr",
                               "--service-cidr: %s has no tenth address for the DNS; take a larger "
                               "one or --dns=off",
                               c->service_cidr);
    c->dns_ip = address_text(services + DNS_HOST);
    return 0;
}

static int check_ranges(struct node_config *c, struct error *err)
{
    uint32_t cluster = 0, pods = 0, services = 0;
    int cluster_len = 0, pods_len = 0, services_len = 0;
    int r = parse_cidr("cluster-cidr", c->cluster_cidr, &cluster, &cluster_len, err);
    if (r == 0 && c->pod_cidr)
        r = parse_cidr("pod-cidr", c->pod_cidr, &pods, &pods_len, err);
    if (r == 0)
        r = parse_cidr("service-cidr", c->service_cidr, &services, &services_len, err);
    if (r < 0)
        return r;
    if (c->pod_cidr && (pods_len < cluster_len || (pods & ~(UINT32_MAX >> cluster_len)) != cluster))
        return error_set_field(err, -EINVAL, "pod-cidr", "--pod-cidr: %s is not within %s",
                               c->pod_cidr, c->cluster_cidr);
    int shorter = services_len < cluster_len ? services_len : cluster_len;
    if (((services ^ cluster) & ~(UINT32_MAX >> shorter)) == 0)
        return error_set_field(err, -EINVAL, "service-cidr", "--service-cidr: %s overlaps %s",
                               c->service_cidr, c->cluster_cidr);
    c->node_mask = cluster_len > NODE_MASK ? cluster_len : NODE_MASK;
    return take_service_range(c, services, services_len, err);
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

static int complete_address(struct node_config *c, struct error *err)
{
    struct in_addr in;
    if (!c->node_ip) {
        c->ip_buf = own_address(c->toward);
        c->node_ip = c->ip_buf;
        if (!c->node_ip)
            return error_set_field(
                err, -EHOSTUNREACH, "node-ip",
                "this host has no address but loopback: give one with --node-ip");
    }
    if (inet_pton(AF_INET, c->node_ip, &in) != 1)
        return error_set_field(err, -EINVAL, "node-ip", "--node-ip: \"%s\" is not an IPv4 address",
                               c->node_ip);
    return 0;
}

int node_config_complete(struct node_config *c, struct error *err)
{
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
        r = check_switch("dns", c->dns, err);
    if (r == 0)
        r = check_switch("flannel", c->flannel, err);
    if (r == 0)
        r = check_switch("proxy", c->proxy, err);
    if (r == 0 && !c->cni)
        r = check_ranges(c, err);
    if (r == 0)
        r = complete_address(c, err);
    if (r == 0 && !c->joined)
        c->server_url = str_printf("https://%s:%d", c->node_ip, c->port);
    return r;
}

bool node_has_default_address(const struct node_config *c)
{
    _cleanup_free_ char *address = own_address(NULL);
    return str_eq(address, c->node_ip);
}

void node_config_done(struct node_config *c)
{
    free(c->name_buf);
    free(c->ip_buf);
    free(c->service_ip);
    free(c->dns_ip);
    free(c->server_url);
}
