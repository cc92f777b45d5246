/* IP sets; see ipset.h. The protocol is that of linux/netfilter/ipset/ip_set.h, version 6. */
#include "nl/ipset.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#include "base/strbuf.h"

#define PROTOCOL        6
#define ENTRIES_AT_ONCE 64 /* fit into one message whatever they are */
#define ELEMENTS_MAX    1048576
#define PORTS           65535
#define IPSET_F_NET     NLA_F_NET_BYTEORDER

static const char *const type_names[] = {
    [IPSET_HASH_IP] = "hash:ip",
    [IPSET_HASH_IP_PORT] = "hash:ip,port",
    [IPSET_HASH_IP_PORT_IP] = "hash:ip,port,ip",
    [IPSET_HASH_IP_PORT_NET] = "hash:ip,port,net",
    [IPSET_BITMAP_PORT] = "bitmap:port",
};

static struct nl_msg *message(int command, int flags, int family, const char *name)
{
    const struct nfgenmsg g = {.nfgen_family = (uint8_t)family, .version = NFNETLINK_V0};
    struct nl_msg *msg = netlink_message((NFNL_SUBSYS_IPSET << 8) | command, flags, &g, sizeof(g));
    netlink_put_u8(msg, IPSET_ATTR_PROTOCOL, PROTOCOL);
    if (name)
        netlink_put_string(msg, IPSET_ATTR_SETNAME, name);
    return msg;
}

static void put_be16(struct nl_msg *msg, int attr, uint16_t value)
{
    uint16_t be = htons(value);
    netlink_put(msg, attr | IPSET_F_NET, &be, sizeof(be));
}

static void put_be32(struct nl_msg *msg, int attr, uint32_t value)
{
    uint32_t be = htonl(value);
    netlink_put(msg, attr | IPSET_F_NET, &be, sizeof(be));
}

static void put_address(struct nl_msg *msg, int attr, const struct ip_addr *a)
{
    struct nlattr *nest = netlink_nest(msg, attr);
    int which = a->family == AF_INET ? IPSET_ATTR_IPADDR_IPV4 : IPSET_ATTR_IPADDR_IPV6;
    netlink_put(msg, which | IPSET_F_NET, a->bytes, ip_addr_size(a));
    netlink_nest_end(msg, nest);
}

/* The kernel's own numbers for what can go wrong here. */
static int report(int code, struct error *err, const char *what, const char *name, const char *type)
{
    switch (-code) {
    case IPSET_ERR_FIND_TYPE:
        return error_set(err, -ENOTSUP, "the kernel has no sets of type %s (module ip_set)", type);
    case IPSET_ERR_PROTOCOL:
        return error_set(err, -ENOTSUP, "the kernel's IP sets speak another protocol");
    case IPSET_ERR_BUSY:
        return error_set(err, -EBUSY, "cannot %s set %s: rules refer to it", what, name);
    default:
        return error_errno(err, code, "cannot %s set %s", what, name);
    }
}

/* ---- sets ---- */

static int on_type(const struct nlmsghdr *h, void *arg)
{
    const struct nlattr *a = nlmsg_find_attr((struct nlmsghdr *)(uintptr_t)h,
                                             sizeof(struct nfgenmsg), IPSET_ATTR_REVISION);
    if (a && nla_len(a) >= 1)
        *(uint8_t *)arg = *(const uint8_t *)nla_data(a);
    return 0;
}

int ipset_create(struct netlink *nl, const char *name, enum ipset_type type, int family,
                 struct error *err)
{
    uint8_t revision = 0;
    int set_family = type == IPSET_BITMAP_PORT ? AF_UNSPEC : family;
    struct nl_msg *msg = message(IPSET_CMD_TYPE, 0, set_family, NULL);
    netlink_put_string(msg, IPSET_ATTR_TYPENAME, type_names[type]);
    netlink_put_u8(msg, IPSET_ATTR_FAMILY, (uint8_t)set_family);
    int r = netlink_dump(nl, msg, on_type, &revision, NULL, "type");
    if (r < 0)
        return r == -EINVAL || r == -ENOENT || r == -EOPNOTSUPP
                   ? error_set(err, -ENOTSUP,
                               "the kernel has no IP sets (CONFIG_IP_SET, module ip_set)")
                   : report(r, err, "create", name, type_names[type]);
    msg = message(IPSET_CMD_CREATE, NLM_F_CREATE, set_family, name);
    netlink_put_string(msg, IPSET_ATTR_TYPENAME, type_names[type]);
    netlink_put_u8(msg, IPSET_ATTR_REVISION, revision);
    netlink_put_u8(msg, IPSET_ATTR_FAMILY, (uint8_t)set_family);
    struct nlattr *data = netlink_nest(msg, IPSET_ATTR_DATA);
    if (type == IPSET_BITMAP_PORT) {
        put_be16(msg, IPSET_ATTR_PORT, 0);
        put_be16(msg, IPSET_ATTR_PORT_TO, PORTS);
    } else {
        put_be32(msg, IPSET_ATTR_MAXELEM, ELEMENTS_MAX);
    }
    netlink_nest_end(msg, data);
    r = netlink_call(nl, msg, NULL, "set");
    if (r == -EEXIST || -r == IPSET_ERR_TYPE_MISMATCH)
        return error_set(err, -EEXIST, "set %s is there with another type than %s", name,
                         type_names[type]);
    return r < 0 ? report(r, err, "create", name, type_names[type]) : 0;
}

int ipset_destroy(struct netlink *nl, const char *name, struct error *err)
{
    int r = netlink_call(nl, message(IPSET_CMD_DESTROY, 0, AF_UNSPEC, name), NULL, "set");
    return r == -ENOENT || r == 0 ? 0 : report(r, err, "destroy", name, "");
}

/* ---- entries ---- */

static void put_entry(struct nl_msg *msg, enum ipset_type type, const struct ipset_entry *e)
{
    struct nlattr *data = netlink_nest(msg, IPSET_ATTR_DATA);
    if (type != IPSET_BITMAP_PORT)
        put_address(msg, IPSET_ATTR_IP, &e->ip);
    if (type != IPSET_HASH_IP)
        put_be16(msg, IPSET_ATTR_PORT, e->port);
    if (type != IPSET_HASH_IP && type != IPSET_BITMAP_PORT)
        netlink_put_u8(msg, IPSET_ATTR_PROTO, e->protocol);
    if (type == IPSET_HASH_IP_PORT_IP || type == IPSET_HASH_IP_PORT_NET)
        put_address(msg, IPSET_ATTR_IP2, &e->ip2);
    if (type == IPSET_HASH_IP_PORT_NET)
        netlink_put_u8(msg, IPSET_ATTR_CIDR2, e->prefix);
    netlink_nest_end(msg, data);
}

static int change(struct netlink *nl, int command, const char *what, const char *name,
                  enum ipset_type type, const struct ipset_entry *entries, size_t n,
                  struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i += ENTRIES_AT_ONCE) {
        int family = type == IPSET_BITMAP_PORT ? AF_UNSPEC : entries[i].ip.family;
        struct nl_msg *msg = message(command, 0, family, name);
        put_be32(msg, IPSET_ATTR_LINENO, 0);
        struct nlattr *list = netlink_nest(msg, IPSET_ATTR_ADT);
        for (size_t k = i; k < n && k < i + ENTRIES_AT_ONCE; k++)
            put_entry(msg, type, &entries[k]);
        netlink_nest_end(msg, list);
        r = netlink_call(nl, msg, NULL, "entries");
        if (r < 0)
            r = report(r, err, what, name, type_names[type]);
    }
    return r;
}

int ipset_add(struct netlink *nl, const char *name, enum ipset_type type,
              const struct ipset_entry *entries, size_t n, struct error *err)
{
    return change(nl, IPSET_CMD_ADD, "add to", name, type, entries, n, err);
}

int ipset_remove(struct netlink *nl, const char *name, enum ipset_type type,
                 const struct ipset_entry *entries, size_t n, struct error *err)
{
    return change(nl, IPSET_CMD_DEL, "remove from", name, type, entries, n, err);
}

/* ---- listing ---- */

struct listing {
    int family;
    int (*cb)(const struct ipset_entry *e, void *arg);
    void *arg;
};

static const struct nlattr *inner(const struct nlattr *nest, int type)
{
    return nla_find(nla_data(nest), nla_len(nest), type);
}

static void get_address(const struct nlattr *nest, int type, int family, struct ip_addr *out)
{
    const struct nlattr *a = inner(nest, type);
    const struct nlattr *bytes =
        a ? inner(a, family == AF_INET ? IPSET_ATTR_IPADDR_IPV4 : IPSET_ATTR_IPADDR_IPV6) : NULL;
    out->family = family;
    if (bytes && nla_len(bytes) >= (int)ip_addr_size(out))
        memcpy(out->bytes, nla_data(bytes), ip_addr_size(out));
    else
        out->family = 0;
}

static int on_entry(const struct nlattr *data, const struct listing *l)
{
    struct ipset_entry e = {.port = 0};
    const struct nlattr *port = inner(data, IPSET_ATTR_PORT);
    const struct nlattr *protocol = inner(data, IPSET_ATTR_PROTO);
    const struct nlattr *prefix = inner(data, IPSET_ATTR_CIDR2);
    get_address(data, IPSET_ATTR_IP, l->family, &e.ip);
    get_address(data, IPSET_ATTR_IP2, l->family, &e.ip2);
    if (port && nla_len(port) >= (int)sizeof(e.port)) {
        memcpy(&e.port, nla_data(port), sizeof(e.port));
        e.port = ntohs(e.port);
    }
    e.protocol = protocol && nla_len(protocol) >= 1 ? *(const uint8_t *)nla_data(protocol) : 0;
    /* A whole address goes without its length. */
    e.prefix = prefix && nla_len(prefix) >= 1 ? *(const uint8_t *)nla_data(prefix)
               : e.ip2.family                 ? (uint8_t)(ip_addr_size(&e.ip2) * 8)
                                              : 0;
    return l->cb(&e, l->arg);
}

static int on_set(const struct nlmsghdr *h, void *arg)
{
    const struct nlattr *list =
        nlmsg_find_attr((struct nlmsghdr *)(uintptr_t)h, sizeof(struct nfgenmsg), IPSET_ATTR_ADT);
    int r = 0, left = list ? nla_len(list) : 0;
    struct nlattr *a = list ? nla_data(list) : NULL;
    for (; r == 0 && a && nla_ok(a, left); a = nla_next(a, &left))
        r = on_entry(a, arg);
    return r;
}

int ipset_list(struct netlink *nl, const char *name, int family,
               int (*cb)(const struct ipset_entry *e, void *arg), void *arg, struct error *err)
{
    struct listing l = {.family = family, .cb = cb, .arg = arg};
    int r = netlink_dump(nl, message(IPSET_CMD_LIST, NLM_F_DUMP, AF_UNSPEC, name), on_set, &l, NULL,
                         "set");
    return r < 0 ? report(r, err, "list", name, "") : 0;
}
