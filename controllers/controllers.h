/*
 * What all controllers share. Each controller is one file with one start function: it subscribes
 * to caches, puts keys into its queue, and brings one object at a time nearer to what is wanted.
 */
#pragma once

#include "controllers/cache.h"
#include "controllers/cidr_set.h"
#include "controllers/queue.h"
#include "kube/events.h"
#include "kube/schema.h"

struct controllers {
    struct loop *loop;
    struct kube_client *client;
    struct event_recorder *recorder;
    struct schema_registry *registry;
    struct cache *pods, *nodes, *services, *slices, *endpoints, *replica_sets, *deployments,
        *namespaces, *service_accounts, *root_cas, *cluster_roles, *csrs, *volumes, *claims,
        *storage_classes, *cluster_infos, *tokens;
    const char *signing_cert_file, *signing_key_file; /* the CA that signs requests; NULL: none */
    int64_t signing_duration_s;
    const char *root_ca_file;                 /* published in every namespace; NULL: not */
    const char *cluster_info_server;          /* URL for the cluster-info; NULL: others make it */
    struct cidr_set cidr_sets[CIDR_SETS_MAX]; /* that nodes get pod CIDRs from */
    size_t n_cidr_sets;                       /* 0: they get none from here */
};

/* What nodes that join are told, in kube-public: a kubeconfig, signed with each bootstrap token. */
#define CLUSTER_INFO_NS   "kube-public"
#define CLUSTER_INFO_NAME "cluster-info"

/* The ConfigMap that holds the cluster's CA in each namespace. */
#define ROOT_CA_NAME "kube-root-ca.crt"

/* A controller: its name, and what to call when all caches are filled, and at the end. */
struct controller;
struct controller_def {
    const char *name;
    struct controller *(*start)(struct controllers *c); /* subscribes; nothing is read yet */
    void (*synced)(struct controller *self);            /* every cache is filled: begin */
    void (*stop)(struct controller *self);
};
extern const struct controller_def scheduler_controller, endpoints_controller,
    replica_set_controller, deployment_controller, garbage_controller, namespace_controller,
    service_account_controller, root_ca_controller, cluster_role_controller, certificate_controller,
    volume_binder, volume_protection, node_ipam_controller, bootstrap_signer;

/* Records an event about an object of @kind. */
void controller_event(struct controllers *c, const struct cache_kind *kind,
                      const struct object_meta *about, const char *type, const char *reason,
                      const char *fmt, ...) _printf_(6, 7);
/* metadata.ownerReferences entry that makes @owner the controller. New reference. */
json_t *controller_ref(const struct cache_kind *kind, const struct object_meta *owner);
/* The API path of an object in a cache's kind. The caller frees. */
char *controller_path(const struct cache_kind *kind, const struct object_meta *m, const char *sub);
