/*
 * What the kubelet is configured with: the KubeletConfiguration file
 * (kubelet.config.k8s.io/v1beta1) and the flags that set fields of it (flags.h), with defaults
 * filled in. fields.c lists the fields.
 */
#pragma once

#include "kube/decode.h"
#include "kubelet/config/flags.h"

struct kubelet_webhook_authentication {
    struct opt_bool enabled; /* not set: where there is an API server */
    char *ttl;
    int64_t ttl_ms;
};
struct kubelet_x509_authentication {
    char *client_ca; /* NULL: client certificates count for nothing */
};
struct kubelet_anonymous_authentication {
    bool enabled;
};
struct kubelet_authentication {
    struct kubelet_x509_authentication x509;
    struct kubelet_webhook_authentication webhook;
    struct kubelet_anonymous_authentication anonymous;
};
struct kubelet_webhook_authorization {
    char *allowed_ttl, *denied_ttl;
    int64_t allowed_ttl_ms, denied_ttl_ms;
};
struct kubelet_authorization {
    char *mode; /* "AlwaysAllow" or "Webhook"; NULL: Webhook where there is an API server */
    struct kubelet_webhook_authorization webhook;
};

struct memory_swap_config {
    char *behavior; /* NULL, "", "NoSwap" or "LimitedSwap" */
};

struct kubelet_shutdown_period {
    int64_t priority, seconds;
};

struct kubelet_config {
    json_t *json; /* the whole, as it holds */
    char *api_version, *kind;
    char *static_pods, *cluster_domain, *address, *cgroup_root, *resolv_conf, *endpoint;
    char *cert, *key, *healthz_address;
    struct kubelet_authentication authentication;
    struct kubelet_authorization authorization;
    struct string_list cluster_dns, unsafe_sysctls;
    char *cgroup_driver; /* upstream's "cgroupfs" or "systemd"; NULL: as the runtime has it */
    struct string_list enforce; /* enforceNodeAllocatable */
    struct string_map kube_reserved, system_reserved, eviction_hard;
    struct string_map eviction_soft, eviction_soft_grace, eviction_reclaim;
    char *pressure_transition;
    struct opt_int eviction_max_grace;
    int64_t port, healthz_port, max_pods, pod_pids_limit;
    int64_t image_gc_high, image_gc_low; /* percent */
    char *image_min_age, *image_max_age;
    int64_t image_min_age_ms, image_max_age_ms;
    struct memory_swap_config memory_swap;
    struct opt_bool oom_single; /* singleProcessOOMKill */
    char *shutdown_text, *shutdown_critical_text;
    int64_t shutdown_ms, shutdown_critical_ms;         /* shutdownGracePeriod, …CriticalPods */
    ARRAY_OF(struct kubelet_shutdown_period) shutdown; /* …ByPodPriority */
    bool seccomp_default, debugging, server_tls_bootstrap, rotate_certificates;
    bool iptables_chains;
};

/* Reads @path (NULL: there is no file) and puts @flags (may be NULL) on top. A field of upstream's
 * that is not supported is logged as a warning, never passed over in silence. 0, or -errno with the
 * file and the field: one that does not exist, a value that cannot be. */
int kubelet_config_load(const char *path, const struct config_flags *flags,
                        struct kubelet_config *ret, struct error *err);
/* Whether pods as a whole are held to what is not reserved. */
bool kubelet_config_enforces_pods(const struct kubelet_config *c);
void kubelet_config_done(struct kubelet_config *c);
