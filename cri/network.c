/* The pods' network: what its back ends share; see network.h. */
#include "cri/network.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/strbuf.h"
#include "cri/network_ops.h"
#include "nl/netns.h"

static const struct network_ops *const backends[] = {&network_builtin, &network_cni};

struct network *network_new(const struct network_options *o, struct error *err)
{
    const struct network_ops *chosen = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
        size_t left = 0;
        if (str_eq(o->backend, backends[i]->name))
            chosen = backends[i];
        else if ((left = backends[i]->left(o)) > 0) {
            /* Only the one that attached a pod can detach it. */
            (void)error_set_field(
                err, -EBUSY, "--network",
                "--network %s: %zu pods of the network %s are still there: remove "
                "them under --network %s, or run --cleanup",
                o->backend, left, backends[i]->name, backends[i]->name);
            return NULL;
        }
    }
    if (chosen)
        return chosen->open(o, err);
    (void)error_set_field(err, -EINVAL, "--network", "--network: \"%s\" is neither builtin nor cni",
                          o->backend);
    return NULL;
}

struct network *network_free(struct network *n)
{
    if (n)
        n->ops->close(n);
    return NULL;
}

int network_cleanup(const struct network_options *o, struct error *err)
{
    int first = 0;
    for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
        int r = backends[i]->cleanup(o, first ? NULL : err);
        first = first ? first : r;
    }
    return first;
}

int network_set_pod_cidr(struct network *n, const char *cidr, done_fn done, void *arg,
                         struct error *err)
{
    return n->ops->set_pod_cidr(n, cidr, done, arg, err);
}

const char *network_not_ready(struct network *n)
{
    return n->ops->not_ready(n);
}

int network_attach(struct network *n, const char *sandbox, const char *netns_path,
                   const Runtime__V1__PodSandboxConfig *config, struct network_attachment *ret,
                   done_fn done, void *arg, struct error *err)
{
    return n->ops->attach(n, sandbox, netns_path, config, ret, done, arg, err);
}

void network_adopt(struct network *n, const char *sandbox,
                   const Runtime__V1__PodSandboxConfig *config, const struct network_attachment *a)
{
    n->ops->adopt(n, sandbox, config, a);
}

void network_detach(struct network *n, const char *sandbox, const struct network_attachment *a,
                    done_fn done, void *arg)
{
    n->ops->detach(n, sandbox, a, done, arg);
}

bool network_detach_needs_netns(const struct network *n)
{
    return n->ops->detach_needs_netns;
}

void network_sweep(struct network *n, bool (*keep)(const char *sandbox, void *arg), void *arg)
{
    n->ops->sweep(n, keep, arg);
}

/* ---- addresses as text ---- */
void network_addresses_format(const struct network_attachment *a, struct strbuf *out)
{
    char text[IP_TEXT_MAX];
    for (size_t i = 0; i < a->n_addrs; i++)
        strbuf_addf(out, "%s%s", i ? "," : "", ip_addr_format(&a->addrs[i], text));
}

int network_addresses_parse(struct network_attachment *a, const char *text)
{
    a->n_addrs = 0;
    for (const char *at = text; *at; at += *at == ',') {
        size_t len = strcspn(at, ",");
        _cleanup_free_ char *one = str_ndup(at, len);
        if (a->n_addrs == NETWORK_ADDRS_MAX || ip_addr_parse(one, &a->addrs[a->n_addrs]) < 0)
            return -EINVAL;
        a->n_addrs++;
        at += len;
    }
    return 0;
}

/* ---- counters ---- */
static int read_eth0(void *arg, struct error *err)
{
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    int r = netlink_open(NETLINK_ROUTE, &nl, err);
    return r < 0 ? r : link_find(nl, "eth0", arg, err);
}

/* From our end of the pair: what it received is what the pod sent. */
static int read_our_end(const char *link, struct link_info *ret, struct error *err)
{
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    struct link_info info = {.index = 0};
    int r = netlink_open(NETLINK_ROUTE, &nl, err);
    if (r < 0 || (r = link_find(nl, link, &info, err)) <= 0)
        return r;
    *ret = info;
    ret->rx_bytes = info.tx_bytes;
    ret->tx_bytes = info.rx_bytes;
    ret->rx_packets = info.tx_packets;
    ret->tx_packets = info.rx_packets;
    ret->rx_errors = info.tx_errors;
    ret->tx_errors = info.rx_errors;
    ret->rx_dropped = info.tx_dropped;
    ret->tx_dropped = info.rx_dropped;
    return 1;
}

int network_stats(const char *netns_path, const struct network_attachment *a, struct link_info *ret,
                  struct error *err)
{
    int r;
    if (a->link[0]) {
        r = read_our_end(a->link, ret, err);
    } else {
        _cleanup_close_ int netns = open(netns_path, O_RDONLY | O_CLOEXEC);
        r = netns < 0 ? 0 : netns_call(netns, read_eth0, ret, err);
    }
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(err, -ENOENT, "the pod has no link");
    (void)snprintf(ret->name, sizeof(ret->name), "eth0");
    return 0;
}
