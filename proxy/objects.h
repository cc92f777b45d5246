/* Services and EndpointSlices, decoded to the fields the proxy uses. */
#pragma once

#include "kube/decode.h"

struct service_port {
    char *name, *protocol;
    int64_t port, node_port;
};
struct ingress {
    char *ip;
};
struct service {
    char *ns, *name;
    struct string_map labels;
    char *type, *cluster_ip, *affinity, *internal_policy, *external_policy;
    struct opt_int affinity_seconds;
    struct string_list external_ips;
    ARRAY_OF(struct service_port) ports;
    ARRAY_OF(struct ingress) ingress;
};
struct slice_port {
    char *name, *protocol;
    int64_t port;
};
struct endpoint {
    struct string_list addresses;
    char *node_name;
    struct opt_bool ready, serving, terminating;
};
struct slice {
    char *ns, *name;
    struct string_map labels;
    char *address_type;
    ARRAY_OF(struct slice_port) ports;
    ARRAY_OF(struct endpoint) endpoints;
};

extern const struct decode_type proxy_service_type, proxy_slice_type;
