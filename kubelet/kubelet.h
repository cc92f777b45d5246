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
#include "kubelet/config/objects.h"
#include "kubelet/config/services.h"
#include "kubelet/pod/pod.h"
#include "kubelet/runtime/requests.h"
#include "kubelet/runtime/runtime.h"

struct pod_manager;
struct pod_cgroups;
struct prober;
struct http_client;
struct runtime_events;

/* What the node has. */
struct node_capacity {
    int64_t cpu_milli, memory, ephemeral, pods;
};

struct kubelet {
    struct loop *loop;
    const char *root; /* --root, "" by default */
    char *node_name;
    char *node_ip;
    uint16_t port;
    char *pods_dir;     /* <root>/var/lib/kubelet/pods */
    char *log_root;     /* <root>/var/log/pods */
    char *log_links;    /* <root>/var/log/containers */
    char *seccomp_root; /* <root>/var/lib/kubelet/seccomp */
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
    struct dns_settings dns;
    struct node_capacity capacity, allocatable;
    bool node_ready; /* the runtime and its network are */
};

/* Records an event about a pod, or about one of its containers (@container not NULL). */
void kubelet_event(struct kubelet *k, const struct pod *pod, const char *container,
                   const char *type, const char *reason, const char *fmt, ...) _printf_(6, 7);
/* <pods_dir>/<uid>. The caller frees. */
char *kubelet_pod_dir(const struct kubelet *k, const char *uid);
