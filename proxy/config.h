/*
 * How the proxy is set up: KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1) or
 * kube-proxy's flags, which say the same things. Flags are put into the form of the file, so that
 * both are read, checked and resolved in one place.
 */
#pragma once

#include "base/json.h"
#include "base/options.h"
#include "kube/decode.h"
#include "proxy/backend.h"

/* The file's fields as they are written. */
struct config_file {
    char *api_version, *kind;
    char *kubeconfig, *hostname, *bind_address, *healthz_address, *metrics_address;
    char *mode, *proxy_name, *detect_local, *bridge, *prefix, *cluster_cidr;
    bool hard_fail;
    struct string_list node_port_addresses;
    struct opt_int oom_score_adj;
    struct {
        struct opt_int masquerade_bit;
        bool masquerade_all;
        struct opt_bool localhost_node_ports;
        char *sync_period, *min_sync_period, *table;
    } iptables, nftables;
    struct {
        char *sync_period, *min_sync_period, *scheduler;
        char *tcp_timeout, *tcp_fin_timeout, *udp_timeout;
        struct string_list exclude;
        bool strict_arp;
    } ipvs;
    struct {
        struct opt_int max_per_core, min;
        char *tcp_established, *tcp_close_wait, *udp, *udp_stream;
        bool tcp_be_liberal;
    } conntrack;
};

extern const struct decode_type config_file_type;

/* What follows from it. */
struct config {
    struct config_file file;
    const char *mode;              /* "iptables", "ipvs", "nftables" or "auto" */
    struct local_traffic local[2]; /* IPv4, IPv6 */
    bool local_from_node;          /* the Node's podCIDRs fill local[] */
    bool node_ports_primary;
    struct ip_prefix *node_port_ranges, *ipvs_exclude;
    size_t n_node_port_ranges, n_ipvs_exclude;
    bool localhost_node_ports;
    struct ip_addr bind_ip; /* the node's address when it is given; family 0: not */
    char *healthz_host, *metrics_host;
    int healthz_port, metrics_port; /* 0: off */
    /* Of the mode: */
    uint32_t mark;
    bool masquerade_all;
    uint64_t min_sync_ms, sync_ms;
    int ipvs_tcp_s, ipvs_tcp_fin_s, ipvs_udp_s;
    /* Conntrack sysctls; 0: left alone. */
    int64_t conntrack_max;
    int tcp_established_s, tcp_close_wait_s, udp_s, udp_stream_s;
};

/* A flag of kube-proxy's and the field it stands for ("iptables.masqueradeBit"). */
enum config_flag_kind { FLAG_TEXT, FLAG_NUMBER, FLAG_SWITCH, FLAG_LIST };
struct config_flag {
    const char *name, *path;
    enum config_flag_kind kind;
    const char *placeholder, *help;
};
extern const struct config_flag config_flags[];
extern const size_t config_n_flags;

/* Values of config_flags[], to be given to options_parse(). */
struct config_values {
    const char *text;
    bool on;
    struct option_list list;
};
/* The option table entry of flag @i. A switch that is on unless told otherwise is on before. */
struct option_def config_option(size_t i, struct config_values *v);

/* Reads @path, or when it is NULL the flags. Flags beside a file are ignored, with a warning,
 * except
 * --hostname-override and --kubeconfig. @processors: for limits per core. 0, or -errno with the
 * file and the field. */
int config_load(const char *path, const struct config_values *values, int processors,
                struct config *ret, struct error *err);
/* The same from a tree in the file's form (borrowed). */
int config_from_json(const json_t *j, int processors, struct config *ret, struct error *err);
/* Settles what depends on the mode, once "auto" is decided. @mode: a string that stays. */
int config_set_mode(struct config *c, const char *mode, struct error *err);
/* The name of nftables' table. */
const char *config_table(const struct config *c);
void config_done(struct config *c);
