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

#define POOL_MAX  65536U
#define OWNER_MAX 256

struct ipam {
    char *dir;
    struct map leases; /* address text → owner */
    bool has_prefix;
    struct ip_prefix prefix; /* network address */
    uint32_t first, last;    /* addresses to give out, host order */
    uint32_t next;
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

static uint32_t host_order(const struct ip_addr *a)
{
    uint32_t v;
    memcpy(&v, a->bytes, 4);
    return ntohl(v);
}

static struct ip_addr from_host_order(uint32_t v)
{
    struct ip_addr a = {.family = AF_INET};
    v = htonl(v);
    memcpy(a.bytes, &v, 4);
    return a;
}

int ipam_set_prefix(struct ipam *ipam, const struct ip_prefix *prefix, struct error *err)
{
    char text[IP_TEXT_MAX];
    if (prefix->addr.family != AF_INET)
        return error_set_field(err, -EINVAL, "pod_cidr", "pod CIDR %s: only IPv4 is supported",
                               ip_prefix_format(prefix, text));
    if (prefix->len < 8 || prefix->len > 30)
        return error_set_field(err, -EINVAL, "pod_cidr",
                               "pod CIDR %s: the prefix length must be 8 to 30",
                               ip_prefix_format(prefix, text));
    struct ip_prefix network = ip_prefix_network(prefix);
    if (ipam->has_prefix && ipam->prefix.len == network.len &&
        ip_addr_equal(&ipam->prefix.addr, &network.addr))
        return 0;
    ipam->prefix = network;
    ipam->has_prefix = true;
    uint32_t base = host_order(&network.addr);
    uint32_t size = 1U << (32 - network.len);
    ipam->first = base + 2; /* after the network's own and the gateway's */
    ipam->last = base + (size > POOL_MAX ? POOL_MAX : size) - 2; /* without the broadcast */
    ipam->next = ipam->first;
    return 0;
}

struct ip_prefix ipam_gateway(const struct ipam *ipam)
{
    struct ip_prefix p = {.len = ipam->prefix.len};
    p.addr = from_host_order(host_order(&ipam->prefix.addr) + 1);
    return p;
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

int ipam_lease(struct ipam *ipam, const char *owner, struct ip_addr *ret, struct error *err)
{
    if (!ipam->has_prefix)
        return error_set(err, -ENXIO, "no pod CIDR is known for this node yet");
    for (uint32_t tried = 0; tried <= ipam->last - ipam->first; tried++) {
        struct ip_addr a = from_host_order(ipam->next);
        ipam->next = ipam->next == ipam->last ? ipam->first : ipam->next + 1;
        char text[IP_TEXT_MAX];
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
    char text[IP_TEXT_MAX];
    return error_set(err, -ENOSPC, "no free address in %s", ip_prefix_format(&ipam->prefix, text));
}

void ipam_release(struct ipam *ipam, const char *owner, const struct ip_addr *addr)
{
    char text[IP_TEXT_MAX];
    if (!str_eq(map_get(&ipam->leases, ip_addr_format(addr, text)), owner))
        return;
    _cleanup_free_ char *path = fs_join(ipam->dir, text);
    (void)unlink(path);
    (void)map_remove(&ipam->leases, text);
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
