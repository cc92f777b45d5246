/* IPVS over generic netlink; see ipvs.h. */
#include "nl/ipvs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <string.h>

#include "base/strbuf.h"

#define FLAGS_OF_USERS                                                                          \
    (IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_ONEPACKET | IP_VS_SVC_F_SCHED1 | IP_VS_SVC_F_SCHED2 | \
     IP_VS_SVC_F_SCHED3)
#define TEXT_MAX 100

struct ipvs {
    struct netlink *nl;
    uint16_t family; /* of generic netlink */
};

static struct nl_msg *message(int type, int command, int version, int flags)
{
    const struct genlmsghdr g = {.cmd = (uint8_t)command, .version = (uint8_t)version};
    return netlink_message(type, flags, &g, sizeof(g));
}

static const struct nlattr *attribute(const struct nlmsghdr *h, int type)
{
    return nlmsg_find_attr((struct nlmsghdr *)(uintptr_t)h, sizeof(struct genlmsghdr), type);
}

static const struct nlattr *inner(const struct nlattr *nest, int type)
{
    return nla_find(nla_data(nest), nla_len(nest), type);
}

/* ---- the family ---- */

static int on_family(const struct nlmsghdr *h, void *arg)
{
    const struct nlattr *id = attribute(h, CTRL_ATTR_FAMILY_ID);
    if (id && nla_len(id) >= (int)sizeof(uint16_t))
        memcpy(arg, nla_data(id), sizeof(uint16_t));
    return 0;
}

int ipvs_open(struct ipvs **ret, struct error *err)
{
    struct ipvs *v = mem_zalloc(sizeof(*v));
    struct error why = ERROR_INIT;
    int r = netlink_open(NETLINK_GENERIC, &v->nl, err);
    if (r < 0) {
        free(v);
        return r;
    }
    struct nl_msg *msg = message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, 0);
    netlink_put_string(msg, CTRL_ATTR_FAMILY_NAME, IPVS_GENL_NAME);
    r = netlink_dump(v->nl, msg, on_family, &v->family, &why, "IPVS");
    if (r < 0 || !v->family) {
        (void)ipvs_free(v);
        return error_set(err, r == -EPERM ? r : -ENOTSUP,
                         "the kernel has no IPVS (CONFIG_IP_VS, module ip_vs)");
    }
    *ret = v;
    return 0;
}

struct ipvs *ipvs_free(struct ipvs *v)
{
    if (v) {
        (void)netlink_free(v->nl);
        free(v);
    }
    return NULL;
}

/* ---- writing ---- */

static void put_address(struct nl_msg *msg, int attr, const struct ip_addr *a)
{
    netlink_put(msg, attr, a->bytes, sizeof(a->bytes)); /* a union: always 16 bytes */
}

static void put_u16(struct nl_msg *msg, int attr, uint16_t value)
{
    netlink_put(msg, attr, &value, sizeof(value));
}

/* @whole: with all its settings, or only what it is known by. */
static void put_service(struct nl_msg *msg, const struct ipvs_service *s, bool whole)
{
    const struct ip_vs_flags flags = {.flags = s->flags, .mask = FLAGS_OF_USERS};
    struct nlattr *nest = netlink_nest(msg, IPVS_CMD_ATTR_SERVICE);
    put_u16(msg, IPVS_SVC_ATTR_AF, (uint16_t)s->address.family);
    put_u16(msg, IPVS_SVC_ATTR_PROTOCOL, (uint16_t)s->protocol);
    put_address(msg, IPVS_SVC_ATTR_ADDR, &s->address);
    put_u16(msg, IPVS_SVC_ATTR_PORT, htons(s->port));
    if (whole) {
        netlink_put_string(msg, IPVS_SVC_ATTR_SCHED_NAME, s->scheduler);
        netlink_put(msg, IPVS_SVC_ATTR_FLAGS, &flags, sizeof(flags));
        netlink_put_u32(msg, IPVS_SVC_ATTR_TIMEOUT, s->timeout);
        netlink_put_u32(msg, IPVS_SVC_ATTR_NETMASK,
                        s->address.family == AF_INET ? UINT32_MAX : 128);
    }
    netlink_nest_end(msg, nest);
}

static void put_dest(struct nl_msg *msg, const struct ipvs_dest *d, bool whole)
{
    struct nlattr *nest = netlink_nest(msg, IPVS_CMD_ATTR_DEST);
    put_u16(msg, IPVS_DEST_ATTR_ADDR_FAMILY, (uint16_t)d->address.family);
    put_address(msg, IPVS_DEST_ATTR_ADDR, &d->address);
    put_u16(msg, IPVS_DEST_ATTR_PORT, htons(d->port));
    if (whole) {
        netlink_put_u32(msg, IPVS_DEST_ATTR_FWD_METHOD, IP_VS_CONN_F_MASQ);
        netlink_put_u32(msg, IPVS_DEST_ATTR_WEIGHT, (uint32_t)d->weight);
        netlink_put_u32(msg, IPVS_DEST_ATTR_U_THRESH, 0);
        netlink_put_u32(msg, IPVS_DEST_ATTR_L_THRESH, 0);
    }
    netlink_nest_end(msg, nest);
}

static const char *service_text(const struct ipvs_service *s, char *buf)
{
    char ip[IP_TEXT_MAX];
    (void)snprintf(buf, TEXT_MAX, "%s port %u protocol %d", ip_addr_format(&s->address, ip),
                   s->port, s->protocol);
    return buf;
}

static int change_service(struct ipvs *v, int command, const struct ipvs_service *s, bool whole,
                          const char *what, struct error *err)
{
    char text[TEXT_MAX];
    struct nl_msg *msg = message(v->family, command, IPVS_GENL_VERSION, 0);
    put_service(msg, s, whole);
    return netlink_call(v->nl, msg, err, "cannot %s virtual server %s", what,
                        service_text(s, text));
}

int ipvs_add_service(struct ipvs *v, const struct ipvs_service *s, struct error *err)
{
    return change_service(v, IPVS_CMD_NEW_SERVICE, s, true, "add", err);
}

int ipvs_set_service(struct ipvs *v, const struct ipvs_service *s, struct error *err)
{
    return change_service(v, IPVS_CMD_SET_SERVICE, s, true, "change", err);
}

int ipvs_delete_service(struct ipvs *v, const struct ipvs_service *s, struct error *err)
{
    return change_service(v, IPVS_CMD_DEL_SERVICE, s, false, "delete", err);
}

static int change_dest(struct ipvs *v, int command, const struct ipvs_service *s,
                       const struct ipvs_dest *d, bool whole, const char *what, struct error *err)
{
    char text[TEXT_MAX], ip[IP_TEXT_MAX];
    struct nl_msg *msg = message(v->family, command, IPVS_GENL_VERSION, 0);
    put_service(msg, s, false);
    put_dest(msg, d, whole);
    return netlink_call(v->nl, msg, err, "cannot %s real server %s port %u of %s", what,
                        ip_addr_format(&d->address, ip), d->port, service_text(s, text));
}

int ipvs_add_dest(struct ipvs *v, const struct ipvs_service *s, const struct ipvs_dest *d,
                  struct error *err)
{
    return change_dest(v, IPVS_CMD_NEW_DEST, s, d, true, "add", err);
}

int ipvs_set_dest(struct ipvs *v, const struct ipvs_service *s, const struct ipvs_dest *d,
                  struct error *err)
{
    return change_dest(v, IPVS_CMD_SET_DEST, s, d, true, "change", err);
}

int ipvs_delete_dest(struct ipvs *v, const struct ipvs_service *s, const struct ipvs_dest *d,
                     struct error *err)
{
    return change_dest(v, IPVS_CMD_DEL_DEST, s, d, false, "delete", err);
}

int ipvs_set_timeouts(struct ipvs *v, uint32_t tcp, uint32_t tcp_fin, uint32_t udp,
                      struct error *err)
{
    struct nl_msg *msg = message(v->family, IPVS_CMD_SET_CONFIG, IPVS_GENL_VERSION, 0);
    netlink_put_u32(msg, IPVS_CMD_ATTR_TIMEOUT_TCP, tcp);
    netlink_put_u32(msg, IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, tcp_fin);
    netlink_put_u32(msg, IPVS_CMD_ATTR_TIMEOUT_UDP, udp);
    return netlink_call(v->nl, msg, err, "cannot set IPVS time-outs");
}

/* ---- reading ---- */

static uint16_t get_u16(const struct nlattr *nest, int type)
{
    const struct nlattr *a = inner(nest, type);
    uint16_t value = 0;
    if (a && nla_len(a) >= (int)sizeof(value))
        memcpy(&value, nla_data(a), sizeof(value));
    return value;
}

static uint32_t get_u32(const struct nlattr *nest, int type)
{
    const struct nlattr *a = inner(nest, type);
    uint32_t value = 0;
    if (a && nla_len(a) >= (int)sizeof(value))
        memcpy(&value, nla_data(a), sizeof(value));
    return value;
}

static bool get_address(const struct nlattr *nest, int type, int family, struct ip_addr *out)
{
    const struct nlattr *a = inner(nest, type);
    *out = (struct ip_addr){.family = family};
    if (!a || (family != AF_INET && family != AF_INET6) || nla_len(a) < (int)ip_addr_size(out))
        return false;
    memcpy(out->bytes, nla_data(a), ip_addr_size(out));
    return true;
}

struct listing {
    int (*service_cb)(const struct ipvs_service *s, void *arg);
    int (*dest_cb)(const struct ipvs_dest *d, void *arg);
    void *arg;
    int family;
    bool found;
};

static int on_service(const struct nlmsghdr *h, void *arg)
{
    struct listing *l = arg;
    const struct nlattr *nest = attribute(h, IPVS_CMD_ATTR_SERVICE);
    struct ipvs_service s = {.flags = 0};
    if (!nest)
        return 0;
    l->found = true;
    /* Services by firewall mark have no address: they are not ours. */
    if (!l->service_cb ||
        !get_address(nest, IPVS_SVC_ATTR_ADDR, get_u16(nest, IPVS_SVC_ATTR_AF), &s.address))
        return 0;
    const struct nlattr *scheduler = inner(nest, IPVS_SVC_ATTR_SCHED_NAME);
    const struct nlattr *flags = inner(nest, IPVS_SVC_ATTR_FLAGS);
    struct ip_vs_flags f = {.flags = 0};
    if (flags && nla_len(flags) >= (int)sizeof(f))
        memcpy(&f, nla_data(flags), sizeof(f));
    s.protocol = get_u16(nest, IPVS_SVC_ATTR_PROTOCOL);
    s.port = ntohs(get_u16(nest, IPVS_SVC_ATTR_PORT));
    s.flags = f.flags & FLAGS_OF_USERS;
    s.timeout = s.flags & IP_VS_SVC_F_PERSISTENT ? get_u32(nest, IPVS_SVC_ATTR_TIMEOUT) : 0;
    if (scheduler)
        (void)snprintf(s.scheduler, sizeof(s.scheduler), "%.*s", nla_len(scheduler),
                       (const char *)nla_data(scheduler));
    return l->service_cb(&s, l->arg);
}

int ipvs_list_services(struct ipvs *v, int (*cb)(const struct ipvs_service *s, void *arg),
                       void *arg, struct error *err)
{
    struct listing l = {.service_cb = cb, .arg = arg};
    struct nl_msg *msg = message(v->family, IPVS_CMD_GET_SERVICE, IPVS_GENL_VERSION, NLM_F_DUMP);
    return netlink_dump(v->nl, msg, on_service, &l, err, "cannot list virtual servers");
}

int ipvs_has_service(struct ipvs *v, const struct ipvs_service *s, struct error *err)
{
    struct listing l = {.found = false};
    struct error why = ERROR_INIT;
    struct nl_msg *msg = message(v->family, IPVS_CMD_GET_SERVICE, IPVS_GENL_VERSION, 0);
    put_service(msg, s, false);
    int r = netlink_dump(v->nl, msg, on_service, &l, &why, "virtual server");
    if (r == -ESRCH || r == -ENOENT)
        return 0;
    return r < 0 ? error_set(err, r, "%s", why.text) : l.found;
}

static int on_dest(const struct nlmsghdr *h, void *arg)
{
    const struct listing *l = arg;
    const struct nlattr *nest = attribute(h, IPVS_CMD_ATTR_DEST);
    struct ipvs_dest d = {.weight = 0};
    if (!nest)
        return 0;
    int family = get_u16(nest, IPVS_DEST_ATTR_ADDR_FAMILY);
    if (!get_address(nest, IPVS_DEST_ATTR_ADDR, family ? family : l->family, &d.address))
        return 0;
    d.port = ntohs(get_u16(nest, IPVS_DEST_ATTR_PORT));
    d.weight = (int)get_u32(nest, IPVS_DEST_ATTR_WEIGHT);
    d.active = get_u32(nest, IPVS_DEST_ATTR_ACTIVE_CONNS);
    d.inactive = get_u32(nest, IPVS_DEST_ATTR_INACT_CONNS);
    return l->dest_cb(&d, l->arg);
}

int ipvs_list_dests(struct ipvs *v, const struct ipvs_service *s,
                    int (*cb)(const struct ipvs_dest *d, void *arg), void *arg, struct error *err)
{
    char text[TEXT_MAX];
    struct listing l = {.dest_cb = cb, .arg = arg, .family = s->address.family};
    struct nl_msg *msg = message(v->family, IPVS_CMD_GET_DEST, IPVS_GENL_VERSION, NLM_F_DUMP);
    put_service(msg, s, false);
    return netlink_dump(v->nl, msg, on_dest, &l, err, "cannot list real servers of %s",
                        service_text(s, text));
}
