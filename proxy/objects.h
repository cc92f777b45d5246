/* Services, EndpointSlices and this Node, decoded to the fields the proxy uses. */
#pragma once

#include "kube/decode.h"

struct service_port {
    char *name, *protocol;
    int64_t port, node_port;
};
struct ingress {
    char *ip, *ip_mode;
};
struct service {
    char *ns, *name, *uid;
    int64_t created; /* nanoseconds since the epoch */
    struct string_map labels;
    char *type, *cluster_ip, *affinity, *internal_policy, *external_policy;
    struct string_list cluster_ips;
    struct opt_int affinity_seconds;
    struct string_list external_ips, source_ranges;
    int64_t health_port;
    ARRAY_OF(struct service_port) ports;
    ARRAY_OF(struct ingress) ingress;
};
struct slice_port {
    char *name, *protocol;
    int64_t port; /* 0: none given */
};
struct hint {
    char *name;
};
struct endpoint {
    struct string_list addresses;
    char *node_name;
    struct string_map topology; /* of discovery.k8s.io/v1beta1 */
    struct opt_bool ready, serving, terminating;
    ARRAY_OF(struct hint) zones, nodes; /* hints.forZones, hints.forNodes */
};
struct slice {
    char *ns, *name;
    struct string_map labels;
    char *address_type;
    ARRAY_OF(struct slice_port) ports;
    ARRAY_OF(struct endpoint) endpoints;
};
struct node_address {
    char *type, *address;
};
struct taint {
    char *key;
};
struct node {
    char *deleted; /* metadata.deletionTimestamp */
    struct string_map labels;
    char *pod_cidr;
    struct string_list pod_cidrs;
    ARRAY_OF(struct taint) taints;
    ARRAY_OF(struct node_address) addresses;
};

extern const struct decode_type proxy_service_type, proxy_slice_type, proxy_node_type;
