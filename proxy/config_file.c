/* KubeProxyConfiguration as a decode table, and kube-proxy's flags; see config.h. */
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kube/yaml.h"
#include "proxy/config.h"

#define FILE_MAX (1u << 20)

typedef struct config_file file;

static const struct decode_field connection_fields[] = {
    DECODE_FIELD(file, kubeconfig, "kubeconfig", DECODE_STRING), DECODE_END};
static const struct decode_type connection_type = {"ClientConnectionConfiguration", sizeof(file),
                                                   connection_fields};
static const struct decode_field iptables_fields[] = {
    DECODE_FIELD(file, iptables.masquerade_bit, "masqueradeBit", DECODE_OPT_INT),
    DECODE_FIELD(file, iptables.masquerade_all, "masqueradeAll", DECODE_BOOL),
    DECODE_FIELD(file, iptables.localhost_node_ports, "localhostNodePorts", DECODE_OPT_BOOL),
    DECODE_FIELD(file, iptables.sync_period, "syncPeriod", DECODE_STRING),
    DECODE_FIELD(file, iptables.min_sync_period, "minSyncPeriod", DECODE_STRING),
    DECODE_END};
static const struct decode_type iptables_type = {"KubeProxyIPTablesConfiguration", sizeof(file),
                                                 iptables_fields};
static const struct decode_field nftables_fields[] = {
    DECODE_FIELD(file, nftables.masquerade_bit, "masqueradeBit", DECODE_OPT_INT),
    DECODE_FIELD(file, nftables.masquerade_all, "masqueradeAll", DECODE_BOOL),
    DECODE_FIELD(file, nftables.sync_period, "syncPeriod", DECODE_STRING),
    DECODE_FIELD(file, nftables.min_sync_period, "minSyncPeriod", DECODE_STRING),
    DECODE_FIELD(file, nftables.table, "tableName", DECODE_STRING),
    DECODE_END};
static const struct decode_type nftables_type = {"KubeProxyNFTablesConfiguration", sizeof(file),
                                                 nftables_fields};
static const struct decode_field ipvs_fields[] = {
    DECODE_FIELD(file, ipvs.sync_period, "syncPeriod", DECODE_STRING),
    DECODE_FIELD(file, ipvs.min_sync_period, "minSyncPeriod", DECODE_STRING),
    DECODE_FIELD(file, ipvs.scheduler, "scheduler", DECODE_STRING),
    DECODE_FIELD(file, ipvs.exclude, "excludeCIDRs", DECODE_STRINGS),
    DECODE_FIELD(file, ipvs.strict_arp, "strictARP", DECODE_BOOL),
    DECODE_FIELD(file, ipvs.tcp_timeout, "tcpTimeout", DECODE_STRING),
    DECODE_FIELD(file, ipvs.tcp_fin_timeout, "tcpFinTimeout", DECODE_STRING),
    DECODE_FIELD(file, ipvs.udp_timeout, "udpTimeout", DECODE_STRING),
    DECODE_END};
static const struct decode_type ipvs_type = {"KubeProxyIPVSConfiguration", sizeof(file),
                                             ipvs_fields};
static const struct decode_field conntrack_fields[] = {
    DECODE_FIELD(file, conntrack.max_per_core, "maxPerCore", DECODE_OPT_INT),
    DECODE_FIELD(file, conntrack.min, "min", DECODE_OPT_INT),
    DECODE_FIELD(file, conntrack.tcp_established, "tcpEstablishedTimeout", DECODE_STRING),
    DECODE_FIELD(file, conntrack.tcp_close_wait, "tcpCloseWaitTimeout", DECODE_STRING),
    DECODE_FIELD(file, conntrack.tcp_be_liberal, "tcpBeLiberal", DECODE_BOOL),
    DECODE_FIELD(file, conntrack.udp, "udpTimeout", DECODE_STRING),
    DECODE_FIELD(file, conntrack.udp_stream, "udpStreamTimeout", DECODE_STRING),
    DECODE_END};
static const struct decode_type conntrack_type = {"KubeProxyConntrackConfiguration", sizeof(file),
                                                  conntrack_fields};
static const struct decode_field detect_fields[] = {
    DECODE_FIELD(file, bridge, "bridgeInterface", DECODE_STRING),
    DECODE_FIELD(file, prefix, "interfaceNamePrefix", DECODE_STRING), DECODE_END};
static const struct decode_type detect_type = {"DetectLocalConfiguration", sizeof(file),
                                               detect_fields};
static const struct decode_field file_fields[] = {
    DECODE_FIELD(file, api_version, "apiVersion", DECODE_STRING),
    DECODE_FIELD(file, kind, "kind", DECODE_STRING),
    {"clientConnection", DECODE_OBJECT, 0, &connection_type},
    DECODE_FIELD(file, hostname, "hostnameOverride", DECODE_STRING),
    DECODE_FIELD(file, bind_address, "bindAddress", DECODE_STRING),
    DECODE_FIELD(file, healthz_address, "healthzBindAddress", DECODE_STRING),
    DECODE_FIELD(file, metrics_address, "metricsBindAddress", DECODE_STRING),
    DECODE_FIELD(file, hard_fail, "bindAddressHardFail", DECODE_BOOL),
    DECODE_FIELD(file, proxy_name, "serviceProxyName", DECODE_STRING),
    DECODE_FIELD(file, mode, "mode", DECODE_STRING),
    {"iptables", DECODE_OBJECT, 0, &iptables_type},
    {"ipvs", DECODE_OBJECT, 0, &ipvs_type},
    {"nftables", DECODE_OBJECT, 0, &nftables_type},
    DECODE_FIELD(file, detect_local, "detectLocalMode", DECODE_STRING),
    {"detectLocal", DECODE_OBJECT, 0, &detect_type},
    DECODE_FIELD(file, cluster_cidr, "clusterCIDR", DECODE_STRING),
    DECODE_FIELD(file, node_port_addresses, "nodePortAddresses", DECODE_STRINGS),
    DECODE_FIELD(file, oom_score_adj, "oomScoreAdj", DECODE_OPT_INT),
    {"conntrack", DECODE_OBJECT, 0, &conntrack_type},
    DECODE_END};
const struct decode_type config_file_type = {"KubeProxyConfiguration", sizeof(file), file_fields};

/* ---- flags ---- */

const struct config_flag config_flags[] = {
    {"kubeconfig", "clientConnection.kubeconfig", FLAG_TEXT, "FILE", "how to reach the API server"},
    {"hostname-override", "hostnameOverride", FLAG_TEXT, "NAME", "name of this node"},
    {"proxy-mode", "mode", FLAG_TEXT, "MODE", "auto, iptables (default), ipvs or nftables"},
    {"bind-address", "bindAddress", FLAG_TEXT, "IP", "this node's address, when its Node has none"},
    {"healthz-bind-address", "healthzBindAddress", FLAG_TEXT, "IP:PORT", "default 0.0.0.0:10256"},
    {"metrics-bind-address", "metricsBindAddress", FLAG_TEXT, "IP:PORT", "default 127.0.0.1:10249"},
    {"bind-address-hard-fail", "bindAddressHardFail", FLAG_SWITCH, NULL,
     "a port in use is a reason not to start"},
    {"cluster-cidr", "clusterCIDR", FLAG_TEXT, "CIDR,CIDR", "addresses of pods"},
    {"detect-local-mode", "detectLocalMode", FLAG_TEXT, "MODE",
     "ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix"},
    {"pod-bridge-interface", "detectLocal.bridgeInterface", FLAG_TEXT, "NAME",
     "bridge of the pods"},
    {"pod-interface-name-prefix", "detectLocal.interfaceNamePrefix", FLAG_TEXT, "PREFIX",
     "how names of pods' interfaces begin"},
    {"nodeport-addresses", "nodePortAddresses", FLAG_LIST, "CIDR,…|primary",
     "where node ports are served"},
    {"masquerade-all", "iptables.masqueradeAll", FLAG_SWITCH, NULL,
     "masquerade all traffic to cluster IPs"},
    {"iptables-masquerade-bit", "iptables.masqueradeBit", FLAG_NUMBER, "N", "default 14"},
    {"iptables-localhost-nodeports", "iptables.localhostNodePorts", FLAG_SWITCH, NULL,
     "node ports on loopback too (default)"},
    {"iptables-sync-period", "iptables.syncPeriod", FLAG_TEXT, "TIME", "default 30s"},
    {"iptables-min-sync-period", "iptables.minSyncPeriod", FLAG_TEXT, "TIME", "default 0s"},
    {"ipvs-sync-period", "ipvs.syncPeriod", FLAG_TEXT, "TIME", "default 30s"},
    {"ipvs-min-sync-period", "ipvs.minSyncPeriod", FLAG_TEXT, "TIME", "default 0s"},
    {"ipvs-scheduler", "ipvs.scheduler", FLAG_TEXT, "NAME",
     "rr (default), wrr, lc, wlc, sh, mh, …"},
    {"ipvs-exclude-cidrs", "ipvs.excludeCIDRs", FLAG_LIST, "CIDR,…",
     "virtual servers to leave alone"},
    {"ipvs-strict-arp", "ipvs.strictARP", FLAG_SWITCH, NULL, "set arp_ignore and arp_announce"},
    {"ipvs-tcp-timeout", "ipvs.tcpTimeout", FLAG_TEXT, "TIME", "of idle connections; 0: as it is"},
    {"ipvs-tcpfin-timeout", "ipvs.tcpFinTimeout", FLAG_TEXT, "TIME", "after a FIN; 0: as it is"},
    {"ipvs-udp-timeout", "ipvs.udpTimeout", FLAG_TEXT, "TIME", "of UDP; 0: as it is"},
    {"oom-score-adj", "oomScoreAdj", FLAG_NUMBER, "N", "default -999"},
    {"conntrack-max-per-core", "conntrack.maxPerCore", FLAG_NUMBER, "N", "default 32768"},
    {"conntrack-min", "conntrack.min", FLAG_NUMBER, "N", "default 131072"},
    {"conntrack-tcp-timeout-established", "conntrack.tcpEstablishedTimeout", FLAG_TEXT, "TIME",
     "default 24h"},
    {"conntrack-tcp-timeout-close-wait", "conntrack.tcpCloseWaitTimeout", FLAG_TEXT, "TIME",
     "default 1h"},
    {"conntrack-tcp-be-liberal", "conntrack.tcpBeLiberal", FLAG_SWITCH, NULL,
     "do not call packets outside the window invalid"},
    {"conntrack-udp-timeout", "conntrack.udpTimeout", FLAG_TEXT, "TIME", "0: as it is"},
    {"conntrack-udp-timeout-stream", "conntrack.udpStreamTimeout", FLAG_TEXT, "TIME",
     "0: as it is"},
    /* Taken, and said to have no effect. */
    {"config-sync-period", "configSyncPeriod", FLAG_TEXT, "TIME", "no effect: changes are watched"},
    {"kube-api-qps", "clientConnection.qps", FLAG_TEXT, "N", "no effect"},
    {"kube-api-burst", "clientConnection.burst", FLAG_NUMBER, "N", "no effect"},
    {"kube-api-content-type", "clientConnection.contentType", FLAG_TEXT, "TYPE", "no effect: JSON"},
    {"profiling", "enableProfiling", FLAG_SWITCH, NULL, "no effect"},
    {"feature-gates", "featureGates", FLAG_LIST, "NAME=BOOL,…", "no effect"},
    {"show-hidden-metrics-for-version", "showHiddenMetricsForVersion", FLAG_TEXT, "V", "no effect"},
};
const size_t config_n_flags = ARRAY_SIZE(config_flags);

static bool on_by_default(const struct config_flag *f)
{
    return str_eq(f->name, "iptables-localhost-nodeports");
}

struct option_def config_option(size_t i, struct config_values *v)
{
    const struct config_flag *f = &config_flags[i];
    struct option_def def = {.name = f->name, .placeholder = f->placeholder, .help = f->help};
    def.kind = f->kind == FLAG_SWITCH ? OPTION_BOOL
               : f->kind == FLAG_LIST ? OPTION_LIST
                                      : OPTION_STRING;
    v->on = on_by_default(f);
    def.value = f->kind == FLAG_SWITCH ? (void *)&v->on
                : f->kind == FLAG_LIST ? (void *)&v->list
                                       : (void *)&v->text;
    return def;
}

static bool is_set(const struct config_flag *f, const struct config_values *v)
{
    switch (f->kind) {
    case FLAG_SWITCH:
        return v->on != on_by_default(f);
    case FLAG_LIST:
        return v->list.count > 0;
    default:
        return v->text != NULL;
    }
}

static int flag_value(const struct config_flag *f, const struct config_values *v, json_t **ret,
                      struct error *err)
{
    char *end;
    if (f->kind == FLAG_SWITCH) {
        *ret = json_boolean(v->on);
    } else if (f->kind == FLAG_LIST) {
        *ret = json_array();
        for (size_t i = 0; i < v->list.count; i++)
            (void)json_array_append_new(*ret, json_text(v->list.items[i]));
    } else if (f->kind == FLAG_NUMBER) {
        errno = 0;
        long long n = strtoll(v->text, &end, 10);
        if (errno || end == v->text || *end)
            return error_set_field(err, -EINVAL, f->name, "--%s: \"%s\" is not a number", f->name,
                                   v->text);
        *ret = json_integer(n);
    } else {
        *ret = json_text(v->text);
    }
    return 0;
}

static int from_flags(const struct config_values *values, json_t *j, struct error *err)
{
    for (size_t i = 0; i < config_n_flags; i++) {
        const struct config_flag *f = &config_flags[i];
        json_t *value = NULL;
        if (!is_set(f, &values[i]))
            continue;
        int r = flag_value(f, &values[i], &value, err);
        if (r == 0)
            r = json_path_set(j, f->path, value);
        if (r < 0)
            return r;
        /* Upstream's one flag stands for both modes. */
        if (str_eq(f->name, "masquerade-all") || str_eq(f->name, "iptables-masquerade-bit")) {
            _cleanup_free_ char *twin = str_printf("nftables.%s", f->path + strlen("iptables."));
            (void)json_path_set(j, twin, json_incref(value));
        }
    }
    return 0;
}

/* ---- files ---- */

static void warn_unknown(const struct decode_type *type, const json_t *j, const char *prefix)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)j, key, value) {
        const struct decode_field *f = type->fields;
        while (f->name && !str_eq(f->name, key))
            f++;
        _cleanup_free_ char *path = str_printf("%s%s", prefix, key);
        _cleanup_free_ char *below = str_printf("%s.", path);
        if (!f->name && !json_is_null(value))
            log_warn("field of the configuration has no effect", "field", path, NULL);
        else if (f->kind == DECODE_OBJECT)
            warn_unknown(f->type, value, below);
    }
}

static int read_file(const char *path, json_t **ret, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(path, FILE_MAX, &text, err);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *j = yaml_parse_one(strbuf_text(&text), text.len, err);
    if (!j)
        return error_prefix(err, -EINVAL, "%s", path);
    if (!str_eq(json_path_string(j, "kind"), "KubeProxyConfiguration") ||
        !str_eq(json_path_string(j, "apiVersion"), "kubeproxy.config.k8s.io/v1alpha1"))
        return error_set(err, -EINVAL,
                         "%s: kind: expected KubeProxyConfiguration of "
                         "kubeproxy.config.k8s.io/v1alpha1",
                         path);
    *ret = TAKE_PTR(j);
    return 0;
}

static int beside_file(const struct config_values *values, json_t *j)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < config_n_flags; i++) {
        const struct config_flag *f = &config_flags[i];
        if (!is_set(f, &values[i]))
            continue;
        bool missing = !json_path_string(j, f->path) || !*json_path_string(j, f->path);
        if (str_eq(f->name, "hostname-override") || (str_eq(f->name, "kubeconfig") && missing))
            r = json_path_set(j, f->path, json_text(values[i].text));
        else
            log_warn("flag is ignored: --config says it", "flag", f->name, "field", f->path, NULL);
    }
    return r;
}

int config_load(const char *path, const struct config_values *values, int processors,
                struct config *ret, struct error *err)
{
    _cleanup_json_ json_t *j = NULL;
    int r;
    if (path) {
        r = read_file(path, &j, err);
        if (r == 0)
            r = beside_file(values, j);
    } else {
        j = json_object();
        r = from_flags(values, j, err);
    }
    if (r < 0)
        return r;
    warn_unknown(&config_file_type, j, "");
    r = config_from_json(j, processors, ret, err);
    return r < 0 && path ? error_prefix(err, r, "%s", path) : r;
}
