/*
 * What the parts of the kubelet share: one context, made in main.c, passed everywhere.
 *
 *   sources (file, API) → pods.h → worker/worker.h → runtime, volumes, probes
 *                                        ↓
 *                                   status → API
 */
#pragma once

#include "base/loop.h"
#include "kube/client.h"
#include "kube/events.h"
#include "kubelet/config/downward.h"
#include "kubelet/config/objects.h"
#include "kubelet/config/services.h"
#include "kubelet/pod/pod.h"
#include "kubelet/runtime/requests.h"
#include "kubelet/runtime/runtime.h"

struct certificate;
struct pod_manager;
struct pod_cgroups;
struct prober;
struct devices;
struct http_client;
struct runtime_events;

/* What one of the runtime's handlers can do; the one without a name is the default. */
struct runtime_handler {
    char *name;
    bool recursive_read_only, user_namespaces;
};

struct kubelet {
    struct loop *loop;
    const char *root; /* --root, "" by default */
    char *node_name;
    char *node_ip;  /* the first; NULL when there is none */
    char *node_ips; /* one of each family, separated by a comma */
    uint16_t port;
    char *pods_dir;     /* <root>/var/lib/kubelet/pods */
    char *log_root;     /* <root>/var/log/pods */
    char *log_links;    /* <root>/var/log/containers */
    char *seccomp_root; /* <root>/var/lib/kubelet/seccomp */
    char *cert_dir;     /* --cert-dir, <root>/var/lib/kubelet/pki by default */
    char *tree_program; /* coracle-tree, beside our own executable */
    struct rpc *rpc;    /* for gRPC probes */
    struct runtime *runtime;
    struct runtime_events *runtime_events; /* NULL in tests */
    char *runtime_name;                    /* "containerd", as its Version says; NULL until known */
    struct kube_client *api;               /* NULL: standalone */
    struct event_recorder *events;         /* never NULL */
    struct object_cache *objects;
    struct service_cache *services;
    struct http_client *http; /* probes */
    struct pod_manager *pods;
    struct pod_cgroups *cgroups; /* NULL: pods get no cgroup of their own */
    const char *cgroup_driver;   /* of the configuration; NULL or "": whatever the runtime has */
    struct string_list unsafe_sysctls; /* that pods may set all the same */
    struct dns_settings dns;
    const char *resolv_conf; /* path of the host's; NULL: there is none */
    char *resolv_text;       /* as read last: dns.host_config */
    struct node_capacity capacity, allocatable;
    struct image_gc *image_gc; /* NULL in tests */
    struct eviction *eviction; /* NULL in tests */
    struct devices *devices;   /* NULL in tests */
    struct stats *stats;       /* NULL in tests */
    /* For their metrics. NULL: in tests; the server's also without serverTLSBootstrap. */
    const struct certificate *client_certificate, *server_certificate;
    json_t *images;                  /* the node's status.images; NULL while not known */
    json_t *new_labels, *new_taints; /* of a Node that we register; NULL: none */
    json_t *node_labels;             /* of our Node as the API has it; NULL while not known */
    ARRAY_OF(struct runtime_handler) handlers;
    int64_t swap_capacity;           /* of the node, bytes */
    bool limited_swap;               /* burstable pods may have some */
    bool oom_single;                 /* out of memory costs a process, not the container */
    bool node_ready;                 /* the runtime and its network are */
    bool shutting_down;              /* the machine is about to go down */
    bool seccomp_default;            /* RuntimeDefault where a pod names no profile */
    bool supplemental_groups_policy; /* the runtime has it */
};

/* Records an event about a pod, or about one of its containers (@container not NULL). */
void kubelet_event(struct kubelet *k, const struct pod *pod, const char *container,
                   const char *type, const char *reason, const char *fmt, ...) _printf_(6, 7);
/* The handler of that name (NULL and "": the default); NULL when the runtime has not told of it. */
const struct runtime_handler *kubelet_handler(const struct kubelet *k, const char *name);
/* Reads the host's resolv.conf anew into dns.host_config. */
void kubelet_read_dns(struct kubelet *k);
/* <pods_dir>/<uid>. The caller frees. */
char *kubelet_pod_dir(const struct kubelet *k, const char *uid);
