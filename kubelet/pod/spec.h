/*
 * The pod as the kubelet uses it: plain structs decoded from a v1 Pod, one per object type of
 * core/v1. Names are the API's in snake case. Only what the kubelet acts on is here.
 */
#pragma once

#include "kube/decode.h"

struct config_key_selector { /* ConfigMapKeySelector, SecretKeySelector */
    char *name, *key;
    bool optional;
};
struct object_field_selector {
    char *api_version, *field_path;
};
struct resource_field_selector {
    char *container_name, *resource, *divisor;
};
struct env_var_source {
    struct config_key_selector *config_map_key_ref, *secret_key_ref;
    struct object_field_selector *field_ref;
    struct resource_field_selector *resource_field_ref;
    json_t *file_key_ref;
};
struct env_var {
    char *name, *value;
    struct env_var_source *value_from;
};
struct env_source_ref {
    char *name;
    bool optional;
};
struct env_from_source {
    char *prefix;
    struct env_source_ref *config_map_ref, *secret_ref;
};

struct exec_action {
    struct string_list command;
};
struct http_header_pair {
    char *name, *value;
};
struct http_get_action {
    char *path, *host, *scheme;
    struct int_or_string port;
    ARRAY_OF(struct http_header_pair) headers;
};
struct tcp_socket_action {
    char *host;
    struct int_or_string port;
};
struct grpc_action {
    int64_t port;
    char *service;
};
struct sleep_action {
    int64_t seconds;
};
struct probe_spec {
    struct exec_action *exec;
    struct http_get_action *http_get;
    struct tcp_socket_action *tcp_socket;
    struct grpc_action *grpc;
    int64_t initial_delay, timeout, period, success, failure; /* seconds, counts; defaulted */
    struct opt_int termination_grace;
};
struct lifecycle_handler {
    struct exec_action *exec;
    struct http_get_action *http_get;
    struct tcp_socket_action *tcp_socket;
    struct sleep_action *sleep;
};
struct lifecycle_spec {
    struct lifecycle_handler *post_start, *pre_stop;
    char *stop_signal;
};

struct container_port {
    char *name, *protocol, *host_ip;
    int64_t container_port, host_port;
};
struct volume_mount {
    char *name, *mount_path, *sub_path, *sub_path_expr, *propagation, *recursive_read_only;
    bool read_only;
};
struct resource_requirements {
    struct string_map limits, requests;
};
struct capabilities_spec {
    struct string_list add, drop;
};
struct profile_spec { /* SeccompProfile, AppArmorProfile */
    char *type, *localhost_profile;
};
struct selinux_spec {
    char *user, *role, *type, *level;
};
struct container_security {
    struct capabilities_spec *capabilities;
    struct opt_bool privileged, run_as_non_root, read_only_root, allow_escalation;
    struct opt_int run_as_user, run_as_group;
    struct profile_spec *seccomp, *apparmor;
    struct selinux_spec *selinux;
    char *proc_mount;
};
struct restart_exit_codes { /* ContainerRestartRuleOnExitCodes */
    char *operator;
    json_t *values; /* numbers */
};
struct restart_rule {
    char *action;
    struct restart_exit_codes *exit_codes;
};
struct resize_rule { /* ContainerResizePolicy */
    char *resource, *policy;
};
struct container_spec {
    char *name, *image, *working_dir, *image_pull_policy, *restart_policy;
    char *target; /* of an ephemeral container: whose processes it joins */
    ARRAY_OF(struct restart_rule) restart_rules;
    ARRAY_OF(struct resize_rule) resize_rules;
    char *termination_path, *termination_policy;
    struct string_list command, args;
    ARRAY_OF(struct container_port) ports;
    ARRAY_OF(struct env_from_source) env_from;
    ARRAY_OF(struct env_var) env;
    struct resource_requirements resources;
    ARRAY_OF(struct volume_mount) volume_mounts;
    json_t *volume_devices;
    struct probe_spec *liveness, *readiness, *startup;
    struct lifecycle_spec *lifecycle;
    struct container_security security;
    bool stdin, stdin_once, tty;
};

struct key_to_path {
    char *key, *path;
    struct opt_int mode;
};
struct host_path_source {
    char *path, *type;
};
struct empty_dir_source {
    char *medium, *size_limit;
};
/* ConfigMapVolumeSource, SecretVolumeSource and their projections */
struct object_volume_source {
    char *name, *secret_name;
    ARRAY_OF(struct key_to_path) items;
    struct opt_int default_mode;
    bool optional;
};
struct downward_file { /* DownwardAPIVolumeFile */
    char *path;
    struct object_field_selector *field_ref;
    struct resource_field_selector *resource_ref;
    struct opt_int mode;
};
struct downward_source { /* DownwardAPIVolumeSource and its projection */
    ARRAY_OF(struct downward_file) items;
    struct opt_int default_mode;
};
struct token_source { /* ServiceAccountTokenProjection */
    char *audience, *path;
    struct opt_int expiration; /* seconds */
};
struct projection { /* VolumeProjection: one of these */
    struct object_volume_source *config_map, *secret;
    struct downward_source *downward;
    struct token_source *token;
    json_t *trust_bundle, *certificate; /* not supported */
};
struct projected_source {
    ARRAY_OF(struct projection) sources;
    struct opt_int default_mode;
};
struct nfs_source {
    char *server, *path;
    bool read_only;
};
struct claim_source { /* PersistentVolumeClaimVolumeSource */
    char *name;
    bool read_only;
};
struct image_source {
    char *reference, *pull_policy;
};
struct volume_spec {
    char *name;
    struct host_path_source *host_path;
    struct empty_dir_source *empty_dir;
    struct object_volume_source *config_map, *secret;
    struct downward_source *downward;
    struct projected_source *projected;
    struct nfs_source *nfs;
    struct claim_source *claim;
    json_t *ephemeral; /* only that it is one: the claim is made by a controller */
    struct image_source *image;
    char *unsupported; /* the source's field name when it is none of these, else NULL */
};

struct sysctl_spec {
    char *name, *value;
};
struct pod_security {
    struct opt_int run_as_user, run_as_group, fs_group;
    struct opt_bool run_as_non_root;
    int64_t *supplemental_groups;
    size_t n_supplemental_groups;
    json_t *raw_groups; /* decoded into supplemental_groups, then dropped */
    char *supplemental_policy, *fs_group_policy;
    ARRAY_OF(struct sysctl_spec) sysctls;
    struct profile_spec *seccomp, *apparmor;
    struct selinux_spec *selinux;
};
struct host_alias {
    char *ip;
    struct string_list hostnames;
};
struct dns_option {
    char *name, *value;
};
struct dns_spec {
    struct string_list nameservers, searches;
    ARRAY_OF(struct dns_option) options;
};
struct secret_name {
    char *name;
};
struct condition_type {
    char *type;
};

struct toleration {
    char *key, *operator, * value, *effect;
};

struct pod_spec {
    char *node_name, *restart_policy, *dns_policy, *service_account;
    char *hostname, *subdomain, *hostname_override;
    char *runtime_class, *priority_class, *scheduler_name;
    struct opt_int grace, active_deadline, priority;
    bool host_network, host_pid, host_ipc;
    struct opt_bool share_pid, host_users, service_links, hostname_as_fqdn;
    struct pod_security security;
    ARRAY_OF(struct container_spec) containers;
    ARRAY_OF(struct container_spec) init_containers;
    ARRAY_OF(struct container_spec) ephemeral;
    struct string_map overhead;
    struct resource_requirements *resources; /* of the pod as a whole */
    ARRAY_OF(struct volume_spec) volumes;
    ARRAY_OF(struct host_alias) host_aliases;
    struct dns_spec *dns;
    ARRAY_OF(struct secret_name) pull_secrets;
    ARRAY_OF(struct condition_type) readiness_gates;
    ARRAY_OF(struct toleration) tolerations;
};

/* What of metadata is used. */
struct pod_meta {
    char *name, *ns, *uid, *resource_version;
    int64_t generation;
    int64_t created, deleted; /* nanoseconds since the epoch; 0 when not set */
    struct opt_int deletion_grace;
    struct string_map labels, annotations;
};

extern const struct decode_type pod_meta_type;
extern const struct decode_type pod_spec_type;
extern const struct decode_type host_path_source_type, nfs_source_type; /* PersistentVolumes too */
