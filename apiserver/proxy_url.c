/* Where a proxied request goes. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

#include "apiserver/kubelet_proxy.h"
#include "apiserver/proxy.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"

static bool is_scheme(const char *text, size_t len)
{
    return (len == 4 && !strncmp(text, "http", 4)) || (len == 5 && !strncmp(text, "https", 5));
}

static bool is_port(const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && n > 0 && n < 65536;
}

int proxy_target_parse(const char *text, struct proxy_target *ret)
{
    const char *first = strchr(text, ':');
    bool scheme = first && is_scheme(text, (size_t)(first - text));
    const char *name = scheme ? first + 1 : text;
    const char *colon = strchr(name, ':');
    size_t len = colon ? (size_t)(colon - name) : strlen(name);
    /* "http:NAME:" has an empty port. */
    if (!len || (colon && colon[1] && !is_port(colon + 1)) || (colon && !colon[1] && !scheme))
        return -EINVAL;
    *ret = (struct proxy_target){.scheme = str_ndup(text, scheme ? (size_t)(first - text) : 0),
                                 .name = str_ndup(name, len),
                                 .port = str_dup(colon ? colon + 1 : "")};
    return 0;
}

void proxy_target_done(struct proxy_target *t)
{
    free(t->scheme);
    free(t->name);
    free(t->port);
}

const char *proxy_rest(const char *path, bool namespaced)
{
    /* api, v1, nodes, NAME, proxy; api, v1, namespaces, NS, pods, NAME, proxy */
    for (int segments = namespaced ? 7 : 5; segments > 0; segments--) {
        path += strspn(path, "/");
        if (!*path)
            return NULL;
        path += strcspn(path, "/");
    }
    return path;
}

/* Nothing that a pod may claim to have for an address leads to what is not a pod's. */
static bool is_reachable(const char *ip)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, ip, &v4) == 1) {
        uint32_t a = ntohl(v4.s_addr);
        return a >> 24 != 127 && a >> 24 != 0 && a >> 16 != 0xA9FE && a >> 28 != 14 && ~a;
    }
    return inet_pton(AF_INET6, ip, &v6) == 1 && !IN6_IS_ADDR_LOOPBACK(&v6) &&
           !IN6_IS_ADDR_UNSPECIFIED(&v6) && !IN6_IS_ADDR_LINKLOCAL(&v6) &&
           !IN6_IS_ADDR_MULTICAST(&v6) && !IN6_IS_ADDR_V4MAPPED(&v6);
}

static char *base_of(const char *scheme, const char *host, const char *port)
{
    return str_printf(strchr(host, ':') ? "%s://[%s]:%s" : "%s://%s:%s", scheme, host, port);
}

static char *node_base(const json_t *node, const struct proxy_target *t, json_t **ret_status)
{
    char port[24];
    (void)snprintf(port, sizeof(port), "%" PRId64, kubelet_port(node));
    const char *address = kubelet_address(node);
    if ((*t->port && !str_eq(t->port, port)) || str_eq(t->scheme, "http")) {
        *ret_status = status_bad_request(
            "nodes are proxied to their kubelet only: https and port %s of node %s", port,
            meta_name(node));
        return NULL;
    }
    if (!address || !*address) {
        *ret_status = status_internal_error("node %s has no address to reach its kubelet at",
                                            meta_name(node));
        return NULL;
    }
    return base_of("https", address, port);
}

static char *pod_base(const json_t *pod, const struct proxy_target *t, json_t **ret_status)
{
    const char *ip = json_path_string(pod, "status.podIP");
    const json_t *containers = json_path(pod, "spec.containers");
    int64_t first = 0;
    char port[24];
    if (!ip || !is_reachable(ip)) {
        *ret_status = status_bad_request("address not allowed: pod %s has %s", meta_name(pod),
                                         ip && *ip ? ip : "no address");
        return NULL;
    }
    for (size_t i = 0; i < json_array_size(containers) && first <= 0; i++)
        first = json_path_int(json_array_get(json_path(json_array_get(containers, i), "ports"), 0),
                              "containerPort", 0);
    if (!*t->port && first <= 0) /* upstream's default is the scheme's own port */
        first = str_eq(t->scheme, "https") ? 443 : 80;
    (void)snprintf(port, sizeof(port), "%" PRId64, first);
    return base_of(*t->scheme ? t->scheme : "http", ip, *t->port ? t->port : port);
}

char *proxy_base(const json_t *object, const struct proxy_target *t, bool node, json_t **ret_status)
{
    return node ? node_base(object, t, ret_status) : pod_base(object, t, ret_status);
}
