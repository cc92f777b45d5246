/* The KubeletConfiguration file (kubelet.config.k8s.io/v1beta1): the fields that this kubelet has.
 */
#pragma once

#include "kube/decode.h"

struct memory_swap_config {
    char *behavior; /* NULL, "", "NoSwap" or "LimitedSwap" */
};

struct kubelet_config {
    char *api_version, *kind;
    char *static_pods, *cluster_domain, *address, *cgroup_root, *resolv_conf, *endpoint;
    char *cert, *key, *client_ca;
    struct string_list cluster_dns, unsafe_sysctls;
    char *cgroup_driver; /* upstream's "cgroupfs" or "systemd"; NULL: as the runtime has it */
    struct string_list enforce; /* enforceNodeAllocatable; none given: "pods" */
    struct string_map kube_reserved, system_reserved, eviction_hard;
    struct string_map eviction_soft, eviction_soft_grace, eviction_reclaim;
    char *pressure_transition;
    struct opt_int eviction_max_grace;
    struct opt_int port, max_pods, pod_pids_limit;
    struct opt_int image_gc_high, image_gc_low; /* percent; with their defaults once loaded */
    char *image_min_age, *image_max_age;
    int64_t image_min_age_ms, image_max_age_ms;
    struct memory_swap_config memory_swap;
    struct opt_bool oom_single; /* singleProcessOOMKill */
    struct opt_bool seccomp_default;
};

/* The defaults, for when there is no file. */
void kubelet_config_init(struct kubelet_config *c);
/* Reads @path. A field that is not supported is logged as a warning, never passed over in silence.
 * 0, or -errno with the file and the field. */
int kubelet_config_load(const char *path, struct kubelet_config *ret, struct error *err);
/* Whether pods as a whole are held to what is not reserved. */
bool kubelet_config_enforces_pods(const struct kubelet_config *c);
void kubelet_config_done(struct kubelet_config *c);
