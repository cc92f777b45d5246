/*
 * The objects that the controllers work on, decoded to the fields they use. Every struct begins
 * with struct object_meta, so that caches, queues and the garbage collector handle all alike.
 */
#pragma once

#include "kube/decode.h"

struct owner_ref {
    char *api_version, *kind, *name, *uid;
    bool controller, block_owner_deletion;
};

struct object_meta {
    char *name, *ns, *uid, *version;
    int64_t generation;
    int64_t created, deleted; /* nanoseconds; deleted 0: not being deleted */
    json_t *labels;           /* object or NULL */
    struct string_map annotations;
    struct string_list finalizers;
    ARRAY_OF(struct owner_ref) owners;
};

struct condition {
    char *type, *status, *reason, *message;
    int64_t changed;
};
typedef ARRAY_OF(struct condition) condition_list;
/* Whether the condition @type has the status "True". */
bool condition_true(const condition_list *conditions, const char *type);
const struct condition *condition_find(const condition_list *conditions, const char *type);

struct toleration {
    char *key, *operator, * value, *effect;
};
struct container_port {
    char *name, *protocol;
    int64_t port, host_port;
};
struct container {
    struct string_map requests; /* name → quantity text */
    ARRAY_OF(struct container_port) ports;
    char *restart_policy;
};
struct pod_volume {
    char *name, *claim;
    json_t *ephemeral; /* its claim is named after the pod; NULL: it is none */
};
struct pod {
    struct object_meta meta;
    char *node_name, *scheduler_name, *hostname, *subdomain;
    struct string_map node_selector;
    json_t *node_affinity; /* requiredDuringSchedulingIgnoredDuringExecution or NULL */
    ARRAY_OF(struct toleration) tolerations;
    ARRAY_OF(struct container) containers;
    ARRAY_OF(struct container) init_containers;
    ARRAY_OF(struct pod_volume) volumes;
    struct string_map overhead;
    bool host_network;
    int64_t priority;
    ARRAY_OF(struct condition) readiness_gates; /* type only: conditionType */
    char *phase, *ip;
    condition_list conditions;
    /* computed after decoding */
    int64_t cpu_milli, memory; /* effective requests */
};
/* The effective request of a resource, whole units. */
int64_t pod_resource_request(const struct pod *p, const char *resource);
bool pod_is_finished(const struct pod *p); /* Succeeded or Failed */
bool pod_is_ready(const struct pod *p);
/* When the pod became Ready, in nanoseconds; 0 when it is not. */
int64_t pod_ready_since(const struct pod *p);

struct taint {
    char *key, *value, *effect;
};
struct node_address {
    char *type, *address;
};
struct node {
    struct object_meta meta;
    bool unschedulable;
    char *pod_cidr;
    struct string_list pod_cidrs; /* with pod_cidr, when that stood alone */
    ARRAY_OF(struct taint) taints;
    struct string_map allocatable;
    condition_list conditions;
    ARRAY_OF(struct node_address) addresses;
    /* computed */
    int64_t cpu_milli, memory, pods;
};

struct service_port {
    char *name, *protocol, *app_protocol;
    int64_t port;
    struct int_or_string target;
};
struct service {
    struct object_meta meta;
    json_t *selector; /* object or NULL */
    char *type, *cluster_ip;
    bool publish_not_ready;
    ARRAY_OF(struct service_port) ports;
    struct string_list ip_families;
};

struct replica_set {
    struct object_meta meta;
    struct opt_int replicas;
    int64_t min_ready_seconds;
    json_t *selector; /* LabelSelector */
    char *template;   /* PodTemplateSpec as JSON */
    int64_t st_replicas, st_ready, st_available, st_labeled, st_observed;
};

struct deployment {
    struct object_meta meta;
    struct opt_int replicas, revision_history_limit, progress_deadline;
    int64_t min_ready_seconds;
    bool paused;
    char *strategy; /* RollingUpdate, Recreate */
    struct int_or_string max_unavailable, max_surge;
    json_t *selector;
    char *template;
    char *status; /* as JSON: compared with what we would write */
    condition_list conditions;
    int64_t collision_count;
};

/* Objects of which only the metadata matters: endpoints, namespaces' finalizers, … */
struct plain_object {
    struct object_meta meta;
    struct string_list spec_finalizers; /* of namespaces */
    char *phase;
};

struct config_map {
    struct object_meta meta;
    struct string_map data;
};

/* A Secret of type bootstrap.kubernetes.io/token. */
struct bootstrap_secret {
    struct object_meta meta;
    struct bytes_map data;
};

struct cluster_role {
    struct object_meta meta;
    json_t *rules, *aggregation; /* arrays of PolicyRule; aggregationRule; NULL when absent */
};

struct claim_ref {
    char *ns, *name, *uid;
};
struct volume { /* PersistentVolume */
    struct object_meta meta;
    struct string_map capacity;
    struct string_list access_modes;
    struct claim_ref *claim; /* NULL: nobody's */
    char *reclaim_policy, *class, *mode;
    json_t *node_affinity; /* a NodeSelector; NULL: every node reaches it */
    char *phase;
};
struct claim { /* PersistentVolumeClaim */
    struct object_meta meta;
    struct string_list access_modes;
    struct string_map requests;
    json_t *selector; /* LabelSelector or NULL */
    char *class, *volume, *mode;
    char *phase;
    struct string_list st_access_modes;
    struct string_map st_capacity;
};
struct storage_class {
    struct object_meta meta;
    char *provisioner, *binding_mode;
};

/* EndpointSlices; of Endpoints, endpoints holds the subsets. */
struct endpoint_slice {
    struct object_meta meta;
    char *address_type;
    json_t *endpoints, *ports;
};

extern const struct decode_type pod_type, node_type, service_type, replica_set_type,
    deployment_type, plain_type, config_map_type, bootstrap_secret_type, cluster_role_type,
    endpoint_slice_type, endpoints_type, object_meta_type, volume_type, claim_type,
    storage_class_type;

/* Fills the computed fields of a pod or node. */
void pod_complete(void *pod);
void node_complete(void *node);

/* "1:2" style comparison of resourceVersions, which are numbers in etcd's revision. */
uint64_t version_number(const char *version);
/* The owner reference with controller: true, NULL when there is none. */
const struct owner_ref *object_controller(const struct object_meta *m);
/* "ns/name" or "name"; the caller frees. */
char *object_key(const struct object_meta *m);
