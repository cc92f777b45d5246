/* Host ports; see hostport.h. */
#include "cri/hostport.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/strbuf.h"

#define FIELD HOSTPORT_FIELD_TEXT

const char *hostport_protocol(const struct hostport *p)
{
    return p->protocol == IPPROTO_UDP ? "udp" : p->protocol == IPPROTO_SCTP ? "sctp" : "tcp";
}

bool hostport_serves(const struct hostport *p, int family)
{
    return !p->host_ip.family || p->host_ip.family == family;
}

static int parse_one(const Runtime__V1__PortMapping *m, size_t i, struct hostport *p,
                     struct error *err)
{
    switch (m->protocol) {
    case RUNTIME__V1__PROTOCOL__TCP:
        p->protocol = IPPROTO_TCP;
        break;
    case RUNTIME__V1__PROTOCOL__UDP:
        p->protocol = IPPROTO_UDP;
        break;
    case RUNTIME__V1__PROTOCOL__SCTP:
        p->protocol = IPPROTO_SCTP;
        break;
    default:
        return error_set_field(err, -EINVAL, FIELD, FIELD "[%zu].protocol: %d is no protocol", i,
                               (int)m->protocol);
    }
    if (m->host_port < 1 || m->host_port > UINT16_MAX)
        return error_set_field(err, -EINVAL, FIELD, FIELD "[%zu].host_port: %d is no port", i,
                               m->host_port);
    if (m->container_port < 1 || m->container_port > UINT16_MAX)
        return error_set_field(err, -EINVAL, FIELD, FIELD "[%zu].container_port: %d is no port", i,
                               m->container_port);
    p->host_port = (uint16_t)m->host_port;
    p->pod_port = (uint16_t)m->container_port;
    if (m->host_ip[0] && ip_addr_parse(m->host_ip, &p->host_ip) < 0)
        return error_set_field(err, -EINVAL, FIELD, FIELD "[%zu].host_ip: \"%.64s\" is no address",
                               i, m->host_ip);
    return 0;
}

int hostports_parse(const Runtime__V1__PodSandboxConfig *config, struct hostport **ret, size_t *n,
                    struct error *err)
{
    *ret = NULL;
    *n = 0;
    if (config->n_port_mappings > HOSTPORTS_MAX)
        return error_set_field(err, -EINVAL, FIELD, FIELD ": more than %d", HOSTPORTS_MAX);
    if (!config->n_port_mappings)
        return 0;
    _cleanup_free_ struct hostport *ports = mem_zalloc(config->n_port_mappings * sizeof(*ports));
    for (size_t i = 0; i < config->n_port_mappings; i++) {
        if (!config->port_mappings[i]->host_port)
            continue; /* declared, not mapped */
        int r = parse_one(config->port_mappings[i], i, &ports[*n], err);
        if (r < 0) {
            *n = 0;
            return r;
        }
        ++*n;
    }
    *ret = *n ? TAKE_PTR(ports) : NULL;
    return 0;
}

/* ---- who has them ---- */
struct hostport_claim *hostport_claim_copy(const struct hostport_claim *c)
{
    if (!c)
        return NULL;
    struct hostport_claim *copy = mem_dup(c, sizeof(*c));
    copy->pod = str_dup(c->pod);
    copy->ports = mem_dup(c->ports, c->n * sizeof(*c->ports));
    return copy;
}

void hostport_claim_free(struct hostport_claim *c)
{
    if (c) {
        free(c->pod);
        free(c->ports);
        free(c);
    }
}

const struct ip_addr *hostport_pod_address(const struct hostport_claim *c, int family)
{
    for (size_t i = 0; i < c->n_addrs; i++)
        if (c->addrs[i].family == family)
            return &c->addrs[i];
    return NULL;
}

static void free_claim(void *value)
{
    hostport_claim_free(value);
}

void hostports_init(struct hostports *h)
{
    h->claims = (struct map)MAP_INIT(free_claim);
}

void hostports_done(struct hostports *h)
{
    map_clear(&h->claims);
}

static bool overlap(const struct hostport *a, const struct hostport *b)
{
    if (a->protocol != b->protocol || a->host_port != b->host_port)
        return false;
    if (!a->host_ip.family || !b->host_ip.family)
        return true;
    return a->host_ip.family == b->host_ip.family &&
           (ip_addr_is_any(&a->host_ip) || ip_addr_is_any(&b->host_ip) ||
            ip_addr_equal(&a->host_ip, &b->host_ip));
}

static const struct hostport *find_overlap(const struct hostport *p, const struct hostport *list,
                                           size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (overlap(p, &list[i]))
            return &list[i];
    return NULL;
}

static int check_one(const struct hostports *h, const struct hostport_claim *c, size_t i,
                     const char *sandbox, struct error *err)
{
    const struct hostport *p = &c->ports[i];
    char text[IP_TEXT_MAX];
    bool reachable = false;
    for (size_t k = 0; k < c->n_addrs; k++)
        reachable |= hostport_serves(p, c->addrs[k].family);
    if (!reachable)
        return error_set_field(err, -EINVAL, FIELD,
                               FIELD ": host_ip %s: the pod has no address of that family",
                               ip_addr_format(&p->host_ip, text));
    const char *holder = find_overlap(p, c->ports, i) ? c->pod : NULL;
    MAP_FOR_EACH(e, &h->claims) {
        const struct hostport_claim *other = map_value(e);
        if (!holder && !str_eq(map_key(e), sandbox) && find_overlap(p, other->ports, other->n))
            holder = other->pod;
    }
    if (!holder)
        return 0;
    return error_set_field(err, -EBUSY, FIELD, FIELD ": host port %u/%s of %s is taken by pod %s",
                           p->host_port, hostport_protocol(p),
                           p->host_ip.family ? ip_addr_format(&p->host_ip, text) : "every address",
                           holder);
}

int hostports_claim(struct hostports *h, const char *sandbox, const char *pod,
                    struct hostport *ports, size_t n, const struct ip_addr *addrs, size_t n_addrs,
                    struct error *err)
{
    if (!n) {
        free(ports);
        return 0;
    }
    struct hostport_claim *c = mem_zalloc(sizeof(*c));
    *c = (struct hostport_claim){.pod = str_dup(pod), .ports = ports, .n = n};
    c->n_addrs = n_addrs < HOSTPORT_POD_ADDRS ? n_addrs : HOSTPORT_POD_ADDRS;
    memcpy(c->addrs, addrs, c->n_addrs * sizeof(*addrs));
    for (size_t i = 0; i < n; i++) {
        int r = check_one(h, c, i, sandbox, err);
        if (r < 0) {
            hostport_claim_free(c);
            return r;
        }
    }
    map_set(&h->claims, sandbox, c);
    return 0;
}

const struct hostport_claim *hostports_of(const struct hostports *h, const char *sandbox)
{
    return map_get(&h->claims, sandbox);
}

bool hostports_release(struct hostports *h, const char *sandbox)
{
    return map_remove(&h->claims, sandbox);
}
