/* What follows from a configuration; see config.h. */
#include "proxy/config.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/times.h"

#define HEALTHZ_PORT       10256
#define METRICS_PORT       10249
#define MASQUERADE_BIT     14
#define SYNC_MS            30000
#define MAX_PER_CORE       32768
#define CONNTRACK_MIN      131072
#define TCP_ESTABLISHED_MS 86400000
#define TCP_CLOSE_WAIT_MS  3600000
#define RANGES_MAX         1024
#define PROCESSORS_MAX     65536

static int parse_time(const char *field, const char *text, int64_t fallback_ms, int64_t *ret_ms,
                      struct error *err)
{
    *ret_ms = fallback_ms;
    if (!text || !*text)
        return 0;
    if (duration_parse(text, ret_ms) < 0 || *ret_ms < 0 || *ret_ms / 1000 > INT_MAX)
        return error_set_field(err, -EINVAL, field, "%s: \"%s\" is not a time like 30s", field,
                               text);
    return 0;
}

static int parse_seconds(const char *field, const char *text, int64_t fallback_ms, int *ret,
                         struct error *err)
{
    int64_t ms;
    int r = parse_time(field, text, fallback_ms, &ms, err);
    if (r == 0)
        *ret = (int)((ms + 999) / 1000);
    return r;
}

static int parse_ranges(const char *field, const struct string_list *list, struct ip_prefix **ret,
                        size_t *ret_n, struct error *err)
{
    if (list->count > RANGES_MAX)
        return error_set_field(err, -EINVAL, field, "%s: more than %d", field, RANGES_MAX);
    *ret = mem_zalloc((list->count + 1) * sizeof(**ret));
    for (size_t i = 0; i < list->count; i++) {
        if (ip_prefix_parse(list->items[i], &(*ret)[i]) < 0)
            return error_set_field(err, -EINVAL, field, "%s[%zu]: \"%s\" is not like 10.0.0.0/8",
                                   field, i, list->items[i]);
        (*ret)[i] = ip_prefix_network(&(*ret)[i]);
        *ret_n = i + 1;
    }
    return 0;
}

/* "10.0.0.1:80", "[::]:80", "10.0.0.1", ":80"; port 0 turns it off, as an empty host with it does.
 */
static int parse_endpoint(const char *field, const char *text, const char *host, int port,
                          char **ret_host, int *ret_port, struct error *err)
{
    struct ip_addr ip;
    *ret_host = str_dup(host);
    *ret_port = port;
    if (!text || !*text)
        return 0;
    const char *colon = strrchr(text, ':');
    bool bare = ip_addr_parse(text, &ip) == 0; /* an address without port */
    size_t host_len = bare || !colon ? strlen(text) : (size_t)(colon - text);
    const char *begin = text;
    if (!bare && host_len >= 2 && text[0] == '[' && text[host_len - 1] == ']') {
        begin++;
        host_len -= 2;
    }
    char *end = NULL;
    long n = bare || !colon ? port : strtol(colon + 1, &end, 10);
    free(*ret_host);
    *ret_host = host_len ? str_ndup(begin, host_len) : str_dup("");
    if ((**ret_host && ip_addr_parse(*ret_host, &ip) < 0) || n < 0 || n > 65535 ||
        (end && (*end || end == colon + 1)))
        return error_set_field(err, -EINVAL, field, "%s: \"%s\" is not like 0.0.0.0:%d", field,
                               text, port);
    *ret_port = (int)n;
    return 0;
}

/* ---- local traffic ---- */

static int parse_cluster_cidrs(struct config *c, struct error *err)
{
    const char *text = c->file.cluster_cidr;
    while (text && *text) {
        struct ip_prefix p;
        size_t len = strcspn(text, ",");
        _cleanup_free_ char *one = str_ndup(text, len);
        if (ip_prefix_parse(one, &p) < 0)
            return error_set_field(err, -EINVAL, "clusterCIDR",
                                   "clusterCIDR: \"%s\" is not like 10.244.0.0/16", one);
        struct local_traffic *l = &c->local[p.addr.family == AF_INET ? 0 : 1];
        if (l->kind != LOCAL_NONE)
            return error_set_field(err, -EINVAL, "clusterCIDR",
                                   "clusterCIDR: two ranges of one address family");
        *l = (struct local_traffic){.kind = LOCAL_CIDR, .cidr = ip_prefix_network(&p)};
        text += len + (text[len] == ',');
    }
    return 0;
}

static int take_interface(struct config *c, enum local_kind kind, const char *field,
                          const char *name, struct error *err)
{
    if (!name || !*name || strlen(name) >= IFNAMSIZ || strpbrk(name, " /\"+"))
        return error_set_field(err, -EINVAL, field,
                               "%s: must be the name of an interface (or its beginning)", field);
    for (int i = 0; i < 2; i++) {
        c->local[i].kind = kind;
        (void)snprintf(c->local[i].interface, IFNAMSIZ, "%s", name);
    }
    return 0;
}

static int resolve_local(struct config *c, struct error *err)
{
    const char *mode = c->file.detect_local;
    if (!mode || !*mode || str_eq(mode, "ClusterCIDR"))
        return parse_cluster_cidrs(c, err);
    if (str_eq(mode, "BridgeInterface"))
        return take_interface(c, LOCAL_BRIDGE, "detectLocal.bridgeInterface", c->file.bridge, err);
    if (str_eq(mode, "InterfaceNamePrefix"))
        return take_interface(c, LOCAL_PREFIX, "detectLocal.interfaceNamePrefix", c->file.prefix,
                              err);
    if (!str_eq(mode, "NodeCIDR"))
        return error_set_field(err, -EINVAL, "detectLocalMode",
                               "detectLocalMode: \"%s\" is none of ClusterCIDR, NodeCIDR, "
                               "BridgeInterface, InterfaceNamePrefix",
                               mode);
    c->local_from_node = true;
    return 0;
}

/* ---- the rest ---- */

static bool covers_loopback(const struct config *c)
{
    bool any = false;
    for (size_t i = 0; i < c->n_node_port_ranges; i++) {
        const struct ip_prefix *p = &c->node_port_ranges[i];
        if (p->addr.family != AF_INET)
            continue;
        any = true;
        if (p->len == 0 || p->addr.bytes[0] == 127)
            return true;
    }
    return !any && !c->node_ports_primary;
}

static int resolve_node_ports(struct config *c, struct error *err)
{
    const struct string_list *list = &c->file.node_port_addresses;
    int r = 0;
    if (list->count == 1 && str_eq(list->items[0], "primary"))
        c->node_ports_primary = true;
    else
        r = parse_ranges("nodePortAddresses", list, &c->node_port_ranges, &c->n_node_port_ranges,
                         err);
    c->localhost_node_ports = (!c->file.iptables.localhost_node_ports.set ||
                               c->file.iptables.localhost_node_ports.value) &&
                              covers_loopback(c);
    return r;
}

static int resolve_addresses(struct config *c, struct error *err)
{
    const char *bind = c->file.bind_address;
    static const struct ip_addr any4 = {.family = AF_INET}, any6 = {.family = AF_INET6};
    if (bind && *bind) {
        if (ip_addr_parse(bind, &c->bind_ip) < 0)
            return error_set_field(err, -EINVAL, "bindAddress",
                                   "bindAddress: \"%s\" is not an address", bind);
    }
    bool ipv6 = c->bind_ip.family == AF_INET6;
    if (ip_addr_equal(&c->bind_ip, &any4) || ip_addr_equal(&c->bind_ip, &any6))
        c->bind_ip.family = 0;
    int r = parse_endpoint("healthzBindAddress", c->file.healthz_address, ipv6 ? "::" : "0.0.0.0",
                           HEALTHZ_PORT, &c->healthz_host, &c->healthz_port, err);
    if (r == 0)
        r = parse_endpoint("metricsBindAddress", c->file.metrics_address,
                           ipv6 ? "::1" : "127.0.0.1", METRICS_PORT, &c->metrics_host,
                           &c->metrics_port, err);
    return r;
}

static int resolve_conntrack(struct config *c, int processors, struct error *err)
{
    const struct opt_int *per_core = &c->file.conntrack.max_per_core, *min = &c->file.conntrack.min;
    int64_t each = per_core->set ? per_core->value : MAX_PER_CORE;
    int64_t least = min->set ? min->value : CONNTRACK_MIN;
    if (each < 0 || each > INT_MAX)
        return error_set_field(err, -EINVAL, "conntrack.maxPerCore",
                               "conntrack.maxPerCore: out of range");
    if (least < 0 || least > INT_MAX)
        return error_set_field(err, -EINVAL, "conntrack.min", "conntrack.min: out of range");
    if (processors > PROCESSORS_MAX)
        processors = PROCESSORS_MAX;
    c->conntrack_max = each * processors;
    if (c->conntrack_max && c->conntrack_max < least)
        c->conntrack_max = least;
    int r = parse_seconds("conntrack.tcpEstablishedTimeout", c->file.conntrack.tcp_established,
                          TCP_ESTABLISHED_MS, &c->tcp_established_s, err);
    if (r == 0)
        r = parse_seconds("conntrack.tcpCloseWaitTimeout", c->file.conntrack.tcp_close_wait,
                          TCP_CLOSE_WAIT_MS, &c->tcp_close_wait_s, err);
    if (r == 0)
        r = parse_seconds("conntrack.udpTimeout", c->file.conntrack.udp, 0, &c->udp_s, err);
    if (r == 0)
        r = parse_seconds("conntrack.udpStreamTimeout", c->file.conntrack.udp_stream, 0,
                          &c->udp_stream_s, err);
    return r;
}

static int resolve_ipvs(struct config *c, struct error *err)
{
    int r = parse_ranges("ipvs.excludeCIDRs", &c->file.ipvs.exclude, &c->ipvs_exclude,
                         &c->n_ipvs_exclude, err);
    if (r == 0)
        r = parse_seconds("ipvs.tcpTimeout", c->file.ipvs.tcp_timeout, 0, &c->ipvs_tcp_s, err);
    if (r == 0)
        r = parse_seconds("ipvs.tcpFinTimeout", c->file.ipvs.tcp_fin_timeout, 0, &c->ipvs_tcp_fin_s,
                          err);
    if (r == 0)
        r = parse_seconds("ipvs.udpTimeout", c->file.ipvs.udp_timeout, 0, &c->ipvs_udp_s, err);
    return r;
}

static int resolve_mode(struct config *c, struct error *err)
{
    static const char *const modes[] = {"iptables", "ipvs", "nftables", "auto"};
    const char *wanted = c->file.mode && *c->file.mode ? c->file.mode : modes[0];
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
        if (str_eq(modes[i], wanted))
            c->mode = modes[i];
    if (!c->mode)
        return error_set_field(err, -EINVAL, "mode",
                               "mode: \"%s\" is none of auto, iptables, ipvs, nftables", wanted);
    return str_eq(c->mode, "auto") ? 0 : config_set_mode(c, c->mode, err);
}

int config_set_mode(struct config *c, const char *mode, struct error *err)
{
    bool nft = str_eq(mode, "nftables"), ipvs = str_eq(mode, "ipvs");
    const struct opt_int *bit =
        nft ? &c->file.nftables.masquerade_bit : &c->file.iptables.masquerade_bit;
    const char *min = nft    ? c->file.nftables.min_sync_period
                      : ipvs ? c->file.ipvs.min_sync_period
                             : c->file.iptables.min_sync_period;
    const char *period = nft    ? c->file.nftables.sync_period
                         : ipvs ? c->file.ipvs.sync_period
                                : c->file.iptables.sync_period;
    _cleanup_free_ char *min_field = str_printf("%s.minSyncPeriod", mode);
    _cleanup_free_ char *period_field = str_printf("%s.syncPeriod", mode);
    int64_t min_ms, sync_ms;
    c->mode = mode;
    if (bit->set && (bit->value < 0 || bit->value > 31))
        return error_set_field(err, -EINVAL, "masqueradeBit",
                               "%s.masqueradeBit: %lld is not between 0 and 31",
                               nft ? "nftables" : "iptables", (long long)bit->value);
    c->mark = 1u << (bit->set ? bit->value : MASQUERADE_BIT);
    c->masquerade_all = nft ? c->file.nftables.masquerade_all : c->file.iptables.masquerade_all;
    int r = parse_time(min_field, min, 0, &min_ms, err);
    if (r == 0)
        r = parse_time(period_field, period, SYNC_MS, &sync_ms, err);
    if (r < 0)
        return r;
    c->min_sync_ms = (uint64_t)min_ms;
    c->sync_ms = sync_ms ? (uint64_t)sync_ms : SYNC_MS;
    /* As kube-proxy documents it for this mode. */
    if (nft && !c->file.node_port_addresses.count)
        c->node_ports_primary = true;
    return 0;
}

int config_from_json(const json_t *j, int processors, struct config *ret, struct error *err)
{
    struct config c = {.mode = NULL};
    int r = decode(&config_file_type, j, &c.file, err);
    if (r == 0)
        r = resolve_local(&c, err);
    if (r == 0)
        r = resolve_node_ports(&c, err);
    if (r == 0)
        r = resolve_addresses(&c, err);
    if (r == 0)
        r = resolve_conntrack(&c, processors, err);
    if (r == 0)
        r = resolve_ipvs(&c, err);
    if (r == 0)
        r = resolve_mode(&c, err);
    if (r < 0)
        config_done(&c);
    else
        *ret = c;
    return r;
}

const char *config_table(const struct config *c)
{
    const char *table = c->file.nftables.table;
    return table && *table ? table : "kube-proxy";
}

void config_done(struct config *c)
{
    decode_done(&config_file_type, &c->file);
    free(c->node_port_ranges);
    free(c->ipvs_exclude);
    free(c->healthz_host);
    free(c->metrics_host);
}
