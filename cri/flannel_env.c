/* flanneld's subnet.env; see flannel_env.h. */
#include "cri/flannel_env.h"

#include <errno.h>
#include <string.h>

/* IPv6 needs 1280 (RFC 8200 section 5); IPv4 could do with less, but no overlay does. */
#define MTU_MIN 576
#define MTU_MAX 65535

enum key { SUBNET, SUBNET6, NETWORK, NETWORK6, MTU, IPMASQ, N_KEYS };
static const char *const keys[] = {
    [SUBNET] = "FLANNEL_SUBNET",   [SUBNET6] = "FLANNEL_IPV6_SUBNET",
    [NETWORK] = "FLANNEL_NETWORK", [NETWORK6] = "FLANNEL_IPV6_NETWORK",
    [MTU] = "FLANNEL_MTU",         [IPMASQ] = "FLANNEL_IPMASQ",
};

static int take_prefixes(enum key key, const char *value, int family, struct ip_prefix *list,
                         size_t *n, size_t max, struct error *err)
{
    int count = ip_prefixes_parse(value, list + *n, max - *n, err);
    if (count < 0)
        return error_prefix(err, count, "%s", keys[key]);
    for (int i = 0; i < count; i++)
        if (list[*n + (size_t)i].addr.family != family)
            return error_set_field(err, -EINVAL, keys[key], "%s: \"%.100s\" is not IPv%d",
                                   keys[key], value, family == AF_INET ? 4 : 6);
    *n += (size_t)count;
    return 0;
}

static int take(struct flannel_env *e, enum key key, const char *value, struct error *err)
{
    char *end = NULL;
    long number;
    switch (key) {
    case SUBNET:
    case SUBNET6:
        return take_prefixes(key, value, key == SUBNET ? AF_INET : AF_INET6, e->pods, &e->n_pods,
                             e->n_pods + 1, err);
    case NETWORK:
    case NETWORK6:
        return take_prefixes(key, value, key == NETWORK ? AF_INET : AF_INET6, e->clusters,
                             &e->n_clusters, FIREWALL_CLUSTERS_MAX, err);
    case MTU:
        number = strtol(value, &end, 10);
        if (end == value || *end || number < MTU_MIN || number > MTU_MAX)
            return error_set_field(err, -EINVAL, keys[key], "%s: \"%.100s\" is no MTU", keys[key],
                                   value);
        e->mtu = (int)number;
        return 0;
    default:
        e->masquerade = str_eq(value, "true");
        return e->masquerade || str_eq(value, "false")
                   ? 0
                   : error_set_field(err, -EINVAL, keys[key],
                                     "%s: \"%.100s\" is neither true nor false", keys[key], value);
    }
}

static int take_line(struct flannel_env *e, char *line, bool *seen, struct error *err)
{
    char *value = strchr(line, '=');
    if (!value)
        return 0;
    *value++ = '\0';
    for (size_t k = 0; k < N_KEYS; k++) {
        if (!str_eq(line, keys[k]))
            continue;
        if (seen[k])
            return error_set_field(err, -EINVAL, keys[k], "%s: is there twice", keys[k]);
        seen[k] = true;
        return take(e, (enum key)k, value, err);
    }
    return 0;
}

int flannel_env_parse(const char *text, size_t len, struct flannel_env *ret, struct error *err)
{
    struct flannel_env e = {.n_pods = 0};
    bool seen[N_KEYS] = {false};
    if (len > FLANNEL_ENV_MAX || memchr(text, '\0', len))
        return error_set(err, -EINVAL, "not a file of KEY=VALUE lines");
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end ? (size_t)(end - text) - at : len - at;
        _cleanup_free_ char *line = str_ndup(text + at, n);
        int r = take_line(&e, line, seen, err);
        if (r < 0)
            return r;
        at += n + 1;
    }
    if (!e.n_pods)
        return error_set_field(err, -EINVAL, keys[SUBNET], "neither %s nor %s is there",
                               keys[SUBNET], keys[SUBNET6]);
    for (size_t i = 0; i < e.n_pods; i++) /* the file names the first address */
        e.pods[i] = ip_prefix_network(&e.pods[i]);
    int r = ipam_check(e.pods, e.n_pods, err);
    if (r < 0)
        return r;
    *ret = e;
    return 0;
}
