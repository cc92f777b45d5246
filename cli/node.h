/*
 * What the commands that run a node share: its settings, its paths, the units it consists of.
 */
#pragma once

#include "base/error.h"
#include "base/options.h"
#include "cli/supervisor.h"

struct node_config {
    const char *root;              /* prefix of every path, "" by default */
    const char *node_name;         /* NULL: the host's name in lower case */
    const char *node_ip;           /* NULL: the address the default route leaves from */
    const char *cluster_cidr;      /* pods: 10.244.0.0/16 */
    const char *pod_cidr;          /* this node's pods; NULL: what the cluster gives it */
    const char *service_cidr;      /* 10.96.0.0/16 */
    const char *etcd_servers;      /* NULL: etcd is started and supervised */
    const char *tls_san;           /* further name of the API */
    const char *cgroup_root;       /* NULL: the root group */
    const char *iptables;          /* auto, nft, legacy */
    const char *bridge;            /* name of the pods' bridge */
    const char *dns;               /* "on": a DNS of the cluster runs here; "off" */
    const char *flannel, *proxy;   /* "on" or "off" likewise */
    const char *labels, *taints;   /* of a new Node; NULL: none */
    const char *toward;            /* the node's address is the one that leads there; NULL: out */
    bool joined;                   /* a node of a server that is elsewhere: see agent.h */
    bool follow;                   /* the address is the default route's, and changes with it */
    bool cni;                      /* pods get their network from CNI plugins */
    int port;                      /* of the API: 6443 */
    int etcd_port, etcd_peer_port; /* on loopback: 2379, 2380 */
    int kubelet_port;              /* 10250 */
    int verbosity;
    /* filled by node_config_complete() */
    char *name_buf, *ip_buf, *server_url;
    char *service_ip; /* of the Service kubernetes: the first of service_cidr */
    char *dns_ip;     /* of the Service kube-dns: the tenth; NULL: no DNS here */
    int node_mask;    /* prefix length of each node's pod CIDR */
};

#define NODE_CONFIG_INIT                                                                       \
    {                                                                                          \
        .root = "", .cluster_cidr = "10.244.0.0/16", .service_cidr = "10.96.0.0/16",           \
        .iptables = "auto", .bridge = "coracle0", .dns = "on", .flannel = "on", .proxy = "on", \
        .port = 6443, .etcd_port = 2379, .etcd_peer_port = 2380, .kubelet_port = 10250,        \
        .verbosity = 0                                                                         \
    }

/* Flags of everything that runs a node: rows to be pasted into an option table. */
#define NODE_HOST_OPTIONS(c)                                                                        \
    {"root", 0, OPTION_STRING, &(c)->root, "DIR", "prefix of every path (default: /)"},             \
        {"node-name",     0,      OPTION_STRING,                                                    \
         &(c)->node_name, "NAME", "name of this node (default: the host's)"},                       \
        {"node-ip",     0,      OPTION_STRING,                                                      \
         &(c)->node_ip, "ADDR", "address of this node (default: where the default route leaves)"},  \
        {"kubelet-port", 0, OPTION_INT, &(c)->kubelet_port, "PORT", "port of the kubelet (10250)"}, \
        {"node-labels", 0, OPTION_STRING, &(c)->labels, "KEY=VALUE,…", "labels of a new Node"},     \
        {"register-with-taints", 0, OPTION_STRING, &(c)->taints, "KEY=VALUE:EFFECT,…",              \
         "taints of a new Node"},                                                                   \
        {"cgroup-root",     0,      OPTION_STRING,                                                  \
         &(c)->cgroup_root, "PATH", "cgroup below which pods run (default: the root group)"},       \
        {"iptables-variant", 0, OPTION_STRING, &(c)->iptables, "NAME", "auto, nft or legacy"},      \
        {"bridge", 0, OPTION_STRING, &(c)->bridge, "NAME", "the pods' bridge (coracle0)"},          \
    {                                                                                               \
        "v", 'v', OPTION_INT, &(c)->verbosity, "N", "verbosity of logs; 4: debug"                   \
    }

/* … and those of a server: `server`, `up` and `check`. */
#define NODE_OPTIONS(c)                                                                             \
    NODE_HOST_OPTIONS(c), {"port", 0, OPTION_INT, &(c)->port, "PORT", "port of the API (6443)"},    \
        {"cluster-cidr",     0,      OPTION_STRING,                                                 \
         &(c)->cluster_cidr, "CIDR", "addresses of all pods (10.244.0.0/16)"},                      \
        {"pod-cidr",     0,      OPTION_STRING,                                                     \
         &(c)->pod_cidr, "CIDR", "addresses of this node's pods (default: given by the cluster)"},  \
        {"service-cidr",     0,      OPTION_STRING,                                                 \
         &(c)->service_cidr, "CIDR", "addresses of services (10.96.0.0/16)"},                       \
        {"etcd-servers",     0,      OPTION_STRING,                                                 \
         &(c)->etcd_servers, "URLS", "an etcd that runs elsewhere (default: one is started here)"}, \
        {"etcd-port", 0, OPTION_INT, &(c)->etcd_port, "PORT", "loopback port of our etcd (2379)"},  \
        {"etcd-peer-port",     0,      OPTION_INT,                                                  \
         &(c)->etcd_peer_port, "PORT", "loopback peer port of our etcd (2380)"},                    \
        {"tls-san",     0,      OPTION_STRING,                                                      \
         &(c)->tls_san, "NAME", "another name or address in the API's certificate"},                \
        {"dns", 0, OPTION_STRING, &(c)->dns, "on|off", "the cluster's DNS on this node (on)"},      \
    {                                                                                               \
        "flannel", 0, OPTION_STRING, &(c)->flannel, "on|off",                                       \
            "the overlay by which pods reach those of other nodes (on)"                             \
    }

/* Checks every setting and fills in what is left open. -EINVAL names the flag; -EHOSTUNREACH when
 * the host has no address. */
int node_config_complete(struct node_config *c, struct error *err);
/* Whether the node's address is the one that the default route leaves from. */
bool node_has_default_address(const struct node_config *c);
void node_config_done(struct node_config *c);

/* Paths under the root; the caller frees. */
char *node_path(const struct node_config *c, const char *path);
char *node_state_dir(const struct node_config *c); /* /run/coracle/supervisor */
char *node_kubeconfig(const struct node_config *c);
char *node_log(const struct node_config *c, const char *unit);

/* Adds the node's units to the supervisor: etcd, apiserver and controllers of a server; cri, proxy,
 * dns, kubelet and flannel, as far as they are on. In units.c. */
int node_add_units(const struct node_config *c, struct supervisor *s, struct error *err);
/* The unit after which only what runs pods and the API is left: see `coracle down`. */
#define NODE_UNIT_CRI "cri"

/* Where the executables of the components are: $CORACLE_LIBEXEC, or ../libexec/coracle beside the
 * directory of this executable. The caller frees. */
char *node_libexec(void);
