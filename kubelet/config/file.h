/* The KubeletConfiguration file (kubelet.config.k8s.io/v1beta1): the fields that this kubelet has.
 */
#pragma once

#include "kube/decode.h"

struct kubelet_config {
    char *api_version, *kind;
    char *static_pods, *cluster_domain, *address, *cgroup_root, *resolv_conf, *endpoint;
    char *cert, *key, *client_ca;
    struct string_list cluster_dns, unsafe_sysctls;
    struct opt_int port;
    struct opt_bool seccomp_default;
};

/* Reads @path. A field that is not supported is logged as a warning, never passed over in silence.
 * 0, or -errno with the file and the field. */
int kubelet_config_load(const char *path, struct kubelet_config *ret, struct error *err);
void kubelet_config_done(struct kubelet_config *c);
