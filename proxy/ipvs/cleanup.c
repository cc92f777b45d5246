/* Whether this node can do the ipvs mode, and removing what it has made. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "nl/link.h"
#include "proxy/iptables/restore.h"
#include "proxy/ipvs/ipvs.h"

int ipvs_mode_probe(const struct backend_config *c, struct error *err)
{
    char scheduler[IPVS_SCHEDULER_MAX];
    uint32_t flags;
    struct ipvs *v = NULL;
    struct netlink *nl = NULL;
    _cleanup_free_ char *name = str_printf("KUBE-PROBE-%d", (int)getpid());
    int r = ipvs_scheduler_parse(c->ipvs.scheduler, scheduler, &flags, err);
    if (r == 0)
        r = ipvs_open(&v, err);
    if (r == 0)
        r = netlink_open(NETLINK_NETFILTER, &nl, err);
    if (r == 0)
        r = ipset_create(nl, name, IPSET_HASH_IP_PORT_NET, c->family, err);
    if (r == 0)
        r = ipset_destroy(nl, name, err);
    if (r == 0)
        r = iptables_probe(c, err);
    (void)netlink_free(nl);
    (void)ipvs_free(v);
    return r;
}

/* ---- clean-up ---- */

struct gathering {
    struct ip_addr *addresses;
    struct ipvs_service *services;
    uint16_t *ports;
    size_t n_addresses, n_services, n_ports;
};

static int on_address(const struct ip_prefix *p, void *arg)
{
    struct gathering *g = arg;
    g->addresses = mem_grow(g->addresses, g->n_addresses + 1, sizeof(*g->addresses));
    g->addresses[g->n_addresses++] = p->addr;
    return 0;
}

static int on_entry(const struct ipset_entry *e, void *arg)
{
    struct gathering *g = arg;
    g->ports = mem_grow(g->ports, g->n_ports + 1, sizeof(*g->ports));
    g->ports[g->n_ports++] = e->port;
    return 0;
}

static int on_service(const struct ipvs_service *s, void *arg)
{
    struct gathering *g = arg;
    bool ours = false;
    for (size_t i = 0; i < g->n_addresses && !ours; i++)
        ours = ip_addr_equal(&g->addresses[i], &s->address);
    for (size_t i = 0; i < g->n_ports && !ours; i++)
        ours = g->ports[i] == s->port;
    if (!ours)
        return 0;
    g->services = mem_grow(g->services, g->n_services + 1, sizeof(*g->services));
    g->services[g->n_services++] = *s;
    return 0;
}

/* Virtual servers whose address stands on the link or whose port is in the sets of node ports. */
static int remove_servers(struct netlink *route, struct netlink *netfilter, int link,
                          struct error *err)
{
    static const int families[] = {AF_INET, AF_INET6};
    struct gathering g = {.addresses = NULL};
    struct ipvs *v = NULL;
    char name[IPSET_NAME_MAX];
    int r = ipvs_open(&v, err);
    if (r < 0)
        return r;
    for (size_t f = 0; f < ARRAY_SIZE(families); f++)
        for (int s = IPVS_SET_NODE_PORT_TCP; s <= IPVS_SET_NODE_PORT_LOCAL_SCTP; s++) {
            ipvs_set_name(s, families[f], name);
            (void)ipset_list(netfilter, name, families[f], on_entry, &g, NULL);
        }
    r = address_list(route, link, AF_UNSPEC, on_address, &g, err);
    if (r == 0)
        r = ipvs_list_services(v, on_service, &g, err);
    for (size_t i = 0; r == 0 && i < g.n_services; i++)
        r = ipvs_delete_service(v, &g.services[i], err);
    free(g.addresses);
    free(g.services);
    free(g.ports);
    (void)ipvs_free(v);
    return r;
}

/* Rules that refer to them must be gone. */
static int destroy_sets(struct netlink *nl, struct error *err)
{
    static const int families[] = {AF_INET, AF_INET6};
    char name[IPSET_NAME_MAX];
    int first = 0;
    for (size_t f = 0; f < ARRAY_SIZE(families); f++)
        for (int s = 0; s < IPVS_SETS; s++) {
            ipvs_set_name(s, families[f], name);
            int r = ipset_destroy(nl, name, first ? NULL : err);
            first = first ? first : r;
        }
    return first;
}

int ipvs_mode_cleanup(_unused_ const struct backend_config *c, struct error *err)
{
    struct netlink *route = NULL, *netfilter = NULL;
    struct link_info info = {.index = 0};
    int r = netlink_open(NETLINK_ROUTE, &route, err);
    if (r == 0)
        r = netlink_open(NETLINK_NETFILTER, &netfilter, err);
    if (r == 0)
        r = link_find(route, IPVS_LINK, &info, err);
    if (r == 1) {
        r = fs_exists("/proc/net/ip_vs") ? remove_servers(route, netfilter, info.index, err) : 0;
        if (r == 0)
            r = link_delete(route, IPVS_LINK, err);
    }
    /* What is not loaded holds no sets. */
    if (r == 0 && fs_exists("/sys/module/ip_set"))
        r = destroy_sets(netfilter, err);
    (void)netlink_free(route);
    (void)netlink_free(netfilter);
    return r;
}
