/*
 * The CRI runtime: what the daemon is made of. Sandboxes and containers are objects with their own
 * operations (sandbox.h, container.h); api_*.c translate between them and the protocol's messages.
 */
#pragma once

#include <stdbool.h>

#include "base/cgroup.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/options.h"
#include "cri/seccomp.h"
#include "cri/arena.h"
#include "cri/image/service.h"
#include "cri/image/store.h"
#include "cri/job.h"
#include "cri/network.h"
#include "net/cri.pb-c.h"
#include "net/grpc_server.h"

struct apparmor;
struct events;
struct groups;
struct layers;
struct streaming;
struct start;

struct runtime_options {
    const char *root;                        /* prefix of every path; "" */
    const char *listen;                      /* NULL: unix://<root>/run/coracle/cri.sock */
    const char *network;                     /* back end: "builtin" or "cni" */
    bool await_flannel;                      /* see network.h */
    const char *pod_cidr;                    /* NULL: told by flannel or by UpdateRuntimeConfig */
    const char *cluster_cidr;                /* NULL: the pod CIDR */
    const char *bridge;                      /* "coracle0" */
    const char *cni_conf_dir, *cni_bin_path; /* NULL: network.h's */
    int cni_timeout_s;                       /* 0: network.h's */
    const char *cgroup_driver;               /* "cgroupfs" or "systemd" */
    const char *cgroup_root;                 /* "/": below which our own groups are made */
    const char *systemd_socket;              /* NULL: systemd's own */
    const char *libexec;       /* where coracle-shim and its companions are; NULL: beside us */
    const char *docker_config; /* docker's config.json, below root; "": none */
    struct option_list insecure;
    int log_max_bytes; /* rotate a container's log beyond this; 0: the kubelet does */
    int log_max_files; /* rotated files to keep */
};

struct runtime {
    struct loop *loop;
    const struct runtime_options *opts;
    char *sandboxes_dir;  /* <root>/run/coracle/sandboxes: state */
    char *containers_dir; /* <root>/var/lib/coracle/containers: writable layers */
    char *libexec;
    int lock_fd;

    struct cgroups *cgs;
    struct groups *groups; /* groups.h */
    struct jobs *jobs;
    struct network *network;
    struct image_store *images;
    struct image_service *image_service;
    struct rpc *rpc;
    struct rpc_server *server;
    struct events *events;
    struct layers *layers; /* layer_usage.h */
    struct streaming *streaming;
    struct seccomp_cache filters;
    struct apparmor *apparmor;
    char *userns_problem; /* why pods cannot have user namespaces here; NULL: they can */

    struct map sandboxes;  /* id → struct sandbox */
    struct map containers; /* id → struct container */
    struct map execs;      /* "<container>/<exec>" → struct exec (exec.h) */
    struct list snapshots; /* of statistics that are being taken (stats.c) */

    /* Start-up: adoption is over when nobody has anything outstanding. */
    unsigned adopting;
    void (*adopted)(struct runtime *rt);
    struct start *start; /* who waits for that */
};

/* Takes the lock (-EBUSY: another daemon has this root), opens everything and begins to adopt what
 * the last daemon left; the socket is served once that is over, and then @ready is called. */
int runtime_start(struct loop *loop, const struct runtime_options *opts,
                  void (*ready)(void *arg, int code, const struct error *err), void *arg,
                  struct runtime **ret, struct error *err);
/* Leaves shims and containers as they are. NULL is harmless; returns NULL. */
struct runtime *runtime_free(struct runtime *rt);

/* The part of the options that the network takes; its loop and jobs are not set. */
struct network_options runtime_network_options(const struct runtime_options *o);

/* The sandbox or container with this id, or the one whose id starts with it when no other does.
 * NULL. */
struct sandbox *runtime_sandbox(const struct runtime *rt, const char *id);
struct container *runtime_container(const struct runtime *rt, const char *id);
