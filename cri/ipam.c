/* Addresses of the pods of this node; see ipam.h. */
#include "cri/ipam.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/strbuf.h"

#define POOL_MAX  65536U /* of each prefix */
#define OWNER_MAX 256

/* Addresses are counted from the network's own. */
struct pool {
    struct ip_prefix network; /* addr.family 0: none */
    uint32_t first, last;     /* to give out */
    uint32_t next;
};

struct ipam {
    char *dir;
    struct map leases; /* address text → owner */
    struct pool pools[IPAM_PREFIXES_MAX];
};

static void load(struct ipam *ipam)
{
    DIR *d = opendir(ipam->dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        struct ip_addr a;
        if (ip_addr_parse(e->d_name, &a) < 0)
            continue;
        _cleanup_strbuf_ struct strbuf owner = STRBUF_INIT;
        /* A lease that cannot be read still keeps its address, until it is swept. */
        (void)fs_read_at(dirfd(d), e->d_name, OWNER_MAX, &owner, NULL);
        map_set(&ipam->leases, e->d_name, str_dup(strbuf_text(&owner)));
    }
    if (d)
        (void)closedir(d);
}

struct ipam *ipam_new(const char *dir, struct error *err)
{
    if (fs_mkdirs(dir, 0700, err) < 0)
        return NULL;
    struct ipam *ipam = mem_zalloc(sizeof(*ipam));
    ipam->dir = str_dup(dir);
    ipam->leases = (struct map)MAP_INIT(free);
    load(ipam);
    return ipam;
}

struct ipam *ipam_free(struct ipam *ipam)
{
    if (ipam) {
        map_clear(&ipam->leases);
        free(ipam->dir);
        free(ipam);
    }
    return NULL;
}

static struct pool *pool_of(const struct ipam *ipam, int family)
{
    for (size_t i = 0; i < IPAM_PREFIXES_MAX; i++)
        if (family && ipam->pools[i].network.addr.family == family)
            return (struct pool *)(uintptr_t)&ipam->pools[i];
    return NULL;
}

/* The @n-th address. The last four bytes suffice: a pool is no larger than POOL_MAX. */
static struct ip_addr address_at(const struct pool *pool, uint32_t n)
{
    struct ip_addr a = pool->network.addr;
    uint8_t *low = a.bytes + ip_addr_size(&a) - 4;
    uint32_t v;
    memcpy(&v, low, 4);
    v = htonl(ntohl(v) + n);
    memcpy(low, &v, 4);
    return a;
}

int ipam_check(const struct ip_prefix *prefixes, size_t n, struct error *err)
{
    char text[IP_TEXT_MAX];
    if (n == 0 || n > IPAM_PREFIXES_MAX)
        return error_set_field(err, -EINVAL, "pod_cidr", "pod CIDR: one or two are needed");
    for (size_t i = 0; i < n; i++) {
        bool v4 = prefixes[i].addr.family == AF_INET;
        unsigned shortest = v4 ? 8 : 16, longest = v4 ? 30 : 126;
        if (prefixes[i].len < shortest || prefixes[i].len > longest)
            return error_set_field(err, -EINVAL, "pod_cidr",
                                   "pod CIDR %s: the prefix length must be %u to %u",
                                   ip_prefix_format(&prefixes[i], text), shortest, longest);
    }
    if (n == 2 && prefixes[0].addr.family == prefixes[1].addr.family)
        return error_set_field(err, -EINVAL, "pod_cidr",
                               "pod CIDR %s: there is one of that family already",
                               ip_prefix_format(&prefixes[1], text));
    return 0;
}

static struct pool make_pool(const struct ip_prefix *prefix)
{
    struct pool p = {.network = ip_prefix_network(prefix), .first = 2};
    unsigned bits = (unsigned)ip_addr_size(&prefix->addr) * 8 - prefix->len;
    uint32_t size = bits < 16 ? 1U << bits : POOL_MAX;
    /* After the network's own (IPv6: the routers' anycast address) and the gateway's; IPv4 without
     * the broadcast address. */
    p.last = size - (prefix->addr.family == AF_INET ? 2 : 1);
    p.next = p.first;
    return p;
}

void ipam_set_prefixes(struct ipam *ipam, const struct ip_prefix *prefixes, size_t n)
{
    struct pool pools[IPAM_PREFIXES_MAX] = {{.next = 0}};
    for (size_t i = 0; i < n; i++) {
        struct pool p = make_pool(&prefixes[i]);
        const struct pool *before = pool_of(ipam, p.network.addr.family);
        pools[i] = before && ip_prefix_equal(&before->network, &p.network) ? *before : p;
    }
    memcpy(ipam->pools, pools, sizeof(pools));
}

struct ip_prefix ipam_gateway(const struct ip_prefix *prefix)
{
    struct pool p = make_pool(prefix);
    return (struct ip_prefix){address_at(&p, 1), prefix->len};
}

static int write_lease(const struct ipam *ipam, const char *address, const char *owner,
                       struct error *err)
{
    _cleanup_free_ char *path = fs_join(ipam->dir, address);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? -EEXIST : error_errno(err, -errno, "lease %s", path);
    size_t len = strlen(owner);
    if (write(fd, owner, len) != (ssize_t)len) {
        (void)unlink(path);
        return error_set(err, -EIO, "cannot write lease %s", path);
    }
    return 0;
}

int ipam_lease(struct ipam *ipam, int family, const char *owner, struct ip_addr *ret,
               struct error *err)
{
    struct pool *pool = pool_of(ipam, family);
    char text[IP_TEXT_MAX];
    if (!pool)
        return error_set(err, -ENXIO, "no pod CIDR is known for this node yet");
    for (uint32_t tried = 0; tried <= pool->last - pool->first; tried++) {
        struct ip_addr a = address_at(pool, pool->next);
        pool->next = pool->next == pool->last ? pool->first : pool->next + 1;
        if (map_has(&ipam->leases, ip_addr_format(&a, text)))
            continue;
        int r = write_lease(ipam, text, owner, err);
        if (r == -EEXIST)
            continue;
        if (r < 0)
            return r;
        map_set(&ipam->leases, text, str_dup(owner));
        *ret = a;
        return 0;
    }
    return error_set(err, -ENOSPC, "no free address in %s", ip_prefix_format(&pool->network, text));
}

struct one_owner {
    const char *id;
};

static bool is_not_owner(const char *owner, void *arg)
{
    const struct one_owner *one = arg;
    return !str_eq(owner, one->id);
}

void ipam_release(struct ipam *ipam, const char *owner)
{
    struct one_owner one = {owner};
    (void)ipam_sweep(ipam, is_not_owner, &one);
}

size_t ipam_sweep(struct ipam *ipam, bool (*keep)(const char *owner, void *arg), void *arg)
{
    size_t n = 0;
    MAP_FOR_EACH(e, &ipam->leases) {
        if (keep(map_value(e), arg))
            continue;
        _cleanup_free_ char *path = fs_join(ipam->dir, map_key(e));
        (void)unlink(path);
        _cleanup_free_ char *key = str_dup(map_key(e));
        (void)map_remove(&ipam->leases, key);
        n++;
    }
    return n;
}

size_t ipam_count(const struct ipam *ipam)
{
    return map_count(&ipam->leases);
}

size_t ipam_addresses(const struct ipam *ipam, struct ip_addr **ret)
{
    size_t n = 0;
    *ret = mem_zalloc((map_count(&ipam->leases) + 1) * sizeof(**ret));
    MAP_FOR_EACH(e, &ipam->leases) {
        if (ip_addr_parse(map_key(e), *ret + n) == 0)
            n++;
    }
    return n;
}
