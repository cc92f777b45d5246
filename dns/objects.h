/* Services, EndpointSlices and Pods, decoded to the fields that names are made of. */
#pragma once

#include "kube/decode.h"

struct dns_port {
    char *name, *protocol;
    int64_t port; /* 0: none given */
};
struct dns_service {
    char *ns, *name;
    char *type, *cluster_ip, *external_name;
    struct string_list cluster_ips;
    bool publish_not_ready;
    ARRAY_OF(struct dns_port) ports;
};
struct dns_endpoint {
    struct string_list addresses;
    char *hostname;
    struct opt_bool ready;
};
struct dns_slice {
    char *ns, *name;
    char *service; /* the label that says whose it is; NULL: nobody's */
    char *address_type;
    ARRAY_OF(struct dns_port) ports;
    ARRAY_OF(struct dns_endpoint) endpoints;
};
struct dns_pod_ip {
    char *ip;
};
struct dns_pod {
    char *ns;
    ARRAY_OF(struct dns_pod_ip) ips;
};

extern const struct decode_type dns_service_type, dns_slice_type, dns_pod_type;
