/* IP addresses; see address.h. */
#include "nl/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <string.h>

#include "base/strbuf.h"

int ip_addr_parse(const char *text, struct ip_addr *ret)
{
    struct ip_addr a = {.family = AF_INET};
    if (inet_pton(AF_INET, text, a.bytes) != 1) {
        a.family = AF_INET6;
        if (inet_pton(AF_INET6, text, a.bytes) != 1)
            return -EINVAL;
    }
    *ret = a;
    return 0;
}

int ip_prefix_parse(const char *text, struct ip_prefix *ret)
{
    const char *slash = strchr(text, '/');
    if (!slash || slash - text >= IP_TEXT_MAX)
        return -EINVAL;
    char buf[IP_TEXT_MAX];
    (void)snprintf(buf, sizeof(buf), "%.*s", (int)(slash - text), text);
    struct ip_prefix p;
    if (ip_addr_parse(buf, &p.addr) < 0)
        return -EINVAL;
    size_t digits = strspn(slash + 1, "0123456789");
    if (digits == 0 || digits > 3 || slash[1 + digits])
        return -EINVAL;
    p.len = (unsigned)strtoul(slash + 1, NULL, 10);
    if (p.len > ip_addr_size(&p.addr) * 8)
        return -EINVAL;
    *ret = p;
    return 0;
}

size_t ip_addr_size(const struct ip_addr *a)
{
    return a->family == AF_INET6 ? 16 : 4;
}

char *ip_addr_format(const struct ip_addr *a, char *buf)
{
    if (!a->family || !inet_ntop(a->family, a->bytes, buf, IP_TEXT_MAX))
        buf[0] = '\0';
    return buf;
}

char *ip_prefix_format(const struct ip_prefix *p, char *buf)
{
    (void)ip_addr_format(&p->addr, buf);
    size_t len = strlen(buf);
    (void)snprintf(buf + len, IP_TEXT_MAX - len, "/%u", p->len);
    return buf;
}

bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, ip_addr_size(a)) == 0;
}

struct ip_prefix ip_prefix_network(const struct ip_prefix *p)
{
    struct ip_prefix n = *p;
    for (size_t i = 0; i < sizeof(n.addr.bytes); i++) {
        unsigned bits = p->len > i * 8 ? p->len - (unsigned)i * 8 : 0;
        if (bits < 8)
            n.addr.bytes[i] &= (uint8_t)(0xff00u >> bits);
    }
    return n;
}

bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->len == b->len && ip_addr_equal(&a->addr, &b->addr);
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a)
{
    const struct ip_prefix host = {*a, p->len};
    struct ip_prefix theirs = ip_prefix_network(&host), ours = ip_prefix_network(p);
    return ip_addr_equal(&theirs.addr, &ours.addr);
}

bool ip_addr_is_any(const struct ip_addr *a)
{
    static const uint8_t zero[16];
    return a->family && memcmp(a->bytes, zero, ip_addr_size(a)) == 0;
}

int ip_prefixes_parse(const char *text, struct ip_prefix *ret, size_t max, struct error *err)
{
    size_t n = 0;
    for (const char *at = text;; at++) {
        at += strspn(at, " \t");
        size_t len = strcspn(at, ",");
        size_t used = len;
        while (used && (at[used - 1] == ' ' || at[used - 1] == '\t'))
            used--;
        _cleanup_free_ char *one = str_ndup(at, used);
        if (n == max)
            return error_set(err, -EINVAL, "\"%.200s\": more than %zu prefixes", text, max);
        if (ip_prefix_parse(one, &ret[n++]) < 0)
            return error_set(err, -EINVAL, "\"%.200s\" is no prefix", one);
        at += len;
        if (!*at)
            return (int)n;
    }
}

static struct nl_msg *message(int type, int flags, int ifindex, const struct ip_prefix *p)
{
    struct ifaddrmsg h = {.ifa_family = (uint8_t)p->addr.family,
                          .ifa_prefixlen = (uint8_t)p->len,
                          .ifa_index = (uint32_t)ifindex};
    if (p->addr.family == AF_INET6)
        h.ifa_flags = IFA_F_NODAD; /* addresses are ours alone: no reason to wait a second */
    else if (ifindex == LINK_LOOPBACK)
        h.ifa_scope = RT_SCOPE_HOST; /* never where a packet to others comes from */
    struct nl_msg *msg = netlink_message(type, flags, &h, sizeof(h));
    netlink_put(msg, IFA_LOCAL, p->addr.bytes, ip_addr_size(&p->addr));
    netlink_put(msg, IFA_ADDRESS, p->addr.bytes, ip_addr_size(&p->addr));
    if (p->addr.family == AF_INET && p->len < 31 && type == RTM_NEWADDR) {
        uint8_t broadcast[4];
        for (unsigned i = 0; i < 4; i++) {
            unsigned bits = p->len > i * 8 ? p->len - i * 8 : 0;
            broadcast[i] =
                bits >= 8 ? p->addr.bytes[i] : (uint8_t)(p->addr.bytes[i] | (0xffu >> bits));
        }
        netlink_put(msg, IFA_BROADCAST, broadcast, 4);
    }
    return msg;
}

int address_add(struct netlink *nl, int ifindex, const struct ip_prefix *p, struct error *err)
{
    char text[IP_TEXT_MAX];
    return netlink_call(nl, message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, ifindex, p), err,
                        "cannot add address %s", ip_prefix_format(p, text));
}

int address_delete(struct netlink *nl, int ifindex, const struct ip_prefix *p, struct error *err)
{
    char text[IP_TEXT_MAX];
    return netlink_call(nl, message(RTM_DELADDR, 0, ifindex, p), err, "cannot remove address %s",
                        ip_prefix_format(p, text));
}

struct listing {
    int ifindex;                                      /* of address_list() */
    int (*one)(const struct ip_prefix *p, void *arg); /* of address_list() */
    int (*all)(int ifindex, const struct ip_prefix *p, void *arg);
    void *arg;
};

static int on_address(const struct nlmsghdr *h, void *arg)
{
    struct listing *l = arg;
    const struct ifaddrmsg *m = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWADDR || (m->ifa_family != AF_INET && m->ifa_family != AF_INET6))
        return 0;
    const struct nlattr *a =
        nlmsg_find_attr((struct nlmsghdr *)(uintptr_t)h, sizeof(*m), IFA_LOCAL);
    if (!a)
        a = nlmsg_find_attr((struct nlmsghdr *)(uintptr_t)h, sizeof(*m), IFA_ADDRESS);
    struct ip_prefix p = {.addr.family = m->ifa_family, .len = m->ifa_prefixlen};
    if (!a || nla_len(a) != (int)ip_addr_size(&p.addr))
        return 0;
    memcpy(p.addr.bytes, nla_data(a), ip_addr_size(&p.addr));
    if (l->all)
        return l->all((int)m->ifa_index, &p, l->arg);
    return (int)m->ifa_index == l->ifindex ? l->one(&p, l->arg) : 0;
}

static int list(struct netlink *nl, int family, struct listing *l, struct error *err)
{
    struct ifaddrmsg h = {.ifa_family = (uint8_t)family, .ifa_index = (uint32_t)l->ifindex};
    return netlink_dump(nl, netlink_message(RTM_GETADDR, NLM_F_DUMP, &h, sizeof(h)), on_address, l,
                        err, "cannot list addresses");
}

int address_list(struct netlink *nl, int ifindex, int family,
                 int (*cb)(const struct ip_prefix *p, void *arg), void *arg, struct error *err)
{
    struct listing l = {.ifindex = ifindex, .one = cb, .arg = arg};
    return list(nl, family, &l, err);
}

int address_list_all(struct netlink *nl, int family,
                     int (*cb)(int ifindex, const struct ip_prefix *p, void *arg), void *arg,
                     struct error *err)
{
    struct listing l = {.all = cb, .arg = arg};
    return list(nl, family, &l, err);
}
