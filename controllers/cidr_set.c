/* Pieces of the pods' address range; see cidr_set.h. Pure arithmetic. */
#include "controllers/cidr_set.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"

#define NODE_LEN_V4      24
#define NODE_LEN_V6      64
#define NODE_BITS_MIN    2 /* the bridge, and a pod */
#define SERVICE_CIDR_MAX 2

/* The @len bits of @a that come after the first @skip, as a number (at most 32). */
static uint32_t bits_of(const struct ip_addr *a, unsigned skip, unsigned len)
{
    uint32_t n = 0;
    for (unsigned i = skip; i < skip + len; i++)
        n = n << 1 | (a->bytes[i / 8] >> (7 - i % 8) & 1u);
    return n;
}

static struct ip_prefix piece(const struct cidr_set *s, uint32_t index)
{
    struct ip_prefix p = {s->cluster.addr, s->node_len};
    for (unsigned i = s->node_len; i > s->cluster.len; i--, index >>= 1)
        if (index & 1u)
            p.addr.bytes[(i - 1) / 8] |= (uint8_t)(0x80u >> (i - 1) % 8);
    return p;
}

int cidr_set_init(struct cidr_set *s, const struct ip_prefix *cluster, unsigned node_len,
                  struct error *err)
{
    char text[IP_TEXT_MAX];
    unsigned size = (unsigned)ip_addr_size(&cluster->addr) * 8;
    (void)ip_prefix_format(cluster, text);
    if (node_len < cluster->len)
        return error_set(err, -EINVAL, "a node's /%u does not fit into %s", node_len, text);
    if (node_len + NODE_BITS_MIN > size)
        return error_set(err, -EINVAL, "/%u leaves a node no room for pods (at most /%u)", node_len,
                         size - NODE_BITS_MIN);
    if (node_len - cluster->len > CIDR_SET_BITS_MAX)
        return error_set(err, -EINVAL, "%s has more than 2^%d pieces of /%u", text,
                         CIDR_SET_BITS_MAX, node_len);
    uint32_t n = UINT32_C(1) << (node_len - cluster->len);
    *s = (struct cidr_set){.cluster = ip_prefix_network(cluster),
                           .node_len = node_len,
                           .users = mem_zalloc(n * sizeof(*s->users)),
                           .n_pieces = n,
                           .n_free = n};
    return 0;
}

void cidr_set_done(struct cidr_set *s)
{
    free(s->users);
    *s = (struct cidr_set){.users = NULL};
}

static void take(struct cidr_set *s, uint32_t index)
{
    if (!s->users[index])
        s->n_free--;
    if (s->users[index] < UINT16_MAX)
        s->users[index]++;
}

static void give(struct cidr_set *s, uint32_t index)
{
    if (s->users[index] && !--s->users[index])
        s->n_free++;
}

bool cidr_set_allocate(struct cidr_set *s, struct ip_prefix *ret)
{
    if (!s->n_free)
        return false;
    while (s->users[s->next])
        s->next = (s->next + 1) % s->n_pieces;
    take(s, s->next);
    *ret = piece(s, s->next);
    s->next = (s->next + 1) % s->n_pieces;
    return true;
}

/* The pieces that @p overlaps. */
static bool range_of(const struct cidr_set *s, const struct ip_prefix *p, uint32_t *first,
                     uint32_t *last)
{
    unsigned all = s->node_len - s->cluster.len;
    *first = 0;
    *last = s->n_pieces - 1;
    if (p->len <= s->cluster.len)
        return ip_prefix_contains(p, &s->cluster.addr);
    if (!ip_prefix_contains(&s->cluster, &p->addr))
        return false;
    unsigned known = (p->len < s->node_len ? p->len : s->node_len) - s->cluster.len;
    *first = bits_of(&p->addr, s->cluster.len, known) << (all - known);
    *last = *first + (UINT32_C(1) << (all - known)) - 1;
    return true;
}

int cidr_set_occupy(struct cidr_set *s, const struct ip_prefix *p)
{
    uint32_t first, last;
    if (!range_of(s, p, &first, &last))
        return -ERANGE;
    for (uint32_t i = first; i <= last; i++)
        take(s, i);
    return 0;
}

void cidr_set_release(struct cidr_set *s, const struct ip_prefix *p)
{
    uint32_t first, last;
    if (range_of(s, p, &first, &last))
        for (uint32_t i = first; i <= last; i++)
            give(s, i);
}

/* ---- flags ---- */

/* With two ranges only the flags that name a family count, as upstream's. */
static int node_len(const struct cidr_flags *f, int family, size_t n_sets, struct error *err)
{
    const char *flag =
        family == AF_INET ? "--node-cidr-mask-size-ipv4" : "--node-cidr-mask-size-ipv6";
    int own = family == AF_INET ? f->mask_size_v4 : f->mask_size_v6;
    if (f->mask_size && n_sets > 1)
        return error_set(err, -EINVAL,
                         "--node-cidr-mask-size: with two cluster CIDRs use "
                         "--node-cidr-mask-size-ipv4 and --node-cidr-mask-size-ipv6");
    if (f->mask_size && own)
        return error_set(err, -EINVAL, "--node-cidr-mask-size and %s exclude each other", flag);
    int len = f->mask_size ? f->mask_size : own;
    if (len < 0 || len > 128)
        return error_set(err, -EINVAL, "%s: %d is no prefix length",
                         f->mask_size ? "--node-cidr-mask-size" : flag, len);
    return len ? len : family == AF_INET ? NODE_LEN_V4 : NODE_LEN_V6;
}

/* Never given to pods: the addresses of services. */
static int leave_out_services(const char *text, struct cidr_set *sets, size_t n, struct error *err)
{
    struct ip_prefix list[SERVICE_CIDR_MAX];
    int count = text && *text ? ip_prefixes_parse(text, list, SERVICE_CIDR_MAX, err) : 0;
    if (count < 0)
        return error_prefix(err, count, "--service-cluster-ip-range");
    for (int i = 0; i < count; i++)
        for (size_t k = 0; k < n; k++)
            if (list[i].addr.family == sets[k].cluster.addr.family)
                (void)cidr_set_occupy(&sets[k], &list[i]);
    return 0;
}

static int make(const struct cidr_flags *f, struct cidr_set *sets, struct error *err)
{
    struct ip_prefix cluster[CIDR_SETS_MAX];
    int n = ip_prefixes_parse(f->cluster ? f->cluster : "", cluster, CIDR_SETS_MAX, err);
    if (n < 0)
        return error_prefix(err, n, "--cluster-cidr");
    if (n == 2 && cluster[0].addr.family == cluster[1].addr.family)
        return error_set(err, -EINVAL, "--cluster-cidr: \"%.100s\": two of one family", f->cluster);
    for (int i = 0; i < n; i++) {
        int len = node_len(f, cluster[i].addr.family, (size_t)n, err);
        int r = len < 0 ? len : cidr_set_init(&sets[i], &cluster[i], (unsigned)len, err);
        if (r < 0)
            return len < 0 ? len : error_prefix(err, r, "--cluster-cidr");
    }
    int r = leave_out_services(f->service, sets, (size_t)n, err);
    return r < 0 ? r : n;
}

int cidr_sets_make(const struct cidr_flags *flags, struct cidr_set sets[CIDR_SETS_MAX],
                   struct error *err)
{
    memset(sets, 0, CIDR_SETS_MAX * sizeof(*sets));
    int n = flags->allocate ? make(flags, sets, err) : 0;
    for (size_t i = 0; n < 0 && i < CIDR_SETS_MAX; i++)
        cidr_set_done(&sets[i]);
    return n;
}
