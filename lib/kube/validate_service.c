/* Rules about Services, Endpoints and EndpointSlices. */
#include <arpa/inet.h>
#include <string.h>

#include "base/json.h"
#include "base/map.h"
#include "kube/format.h"
#include "kube/validate_internal.h"

#define MAX_ENDPOINTS  1000
#define MAX_ADDRESSES  100
#define MAX_AFFINITY_S 86400

static bool is_type(const json_t *spec, const char *type)
{
    return str_eq(member_text(spec, "type"), type);
}

static bool is_external(const json_t *spec)
{
    return is_type(spec, "NodePort") || is_type(spec, "LoadBalancer") ||
           (is_type(spec, "ClusterIP") &&
            json_array_size(json_object_get(spec, "externalIPs")) > 0);
}

static void validate_target_port(const json_t *port, const struct field_path *path,
                                 struct field_errors *errs)
{
    const json_t *target = json_object_get(port, "targetPort");
    const struct field_path *at = FIELD(path, "targetPort");
    if (json_is_integer(target)) {
        json_int_t v = json_integer_value(target);
        if (v < 1 || v > 65535)
            field_invalid_int(errs, at, v, "must be between 1 and 65535, inclusive");
    } else if (json_is_string(target)) {
        const char *problem = format_problem(FORMAT_PORT_NAME, json_string_value(target));
        if (problem)
            field_invalid_text(errs, at, json_string_value(target), "%s", problem);
    }
}

/* "TCP/80" and "TCP:30080" that were seen, and names. */
static void validate_port(const json_t *spec, const json_t *port, struct map *seen,
                          const struct field_path *at, struct field_errors *errs)
{
    const char *name = member_text(port, "name"), *protocol = member_text(port, "protocol");
    json_int_t node_port = json_integer_value(json_object_get(port, "nodePort"));
    bool several = json_array_size(json_object_get(spec, "ports")) > 1;
    if (several && !*name)
        field_required(errs, FIELD(at, "name"), NULL);
    if (*name && map_has(seen, name))
        field_duplicate(errs, FIELD(at, "name"), json_object_get(port, "name"));
    if (*name)
        map_set(seen, name, seen);
    validate_target_port(port, at, errs);
    _cleanup_free_ char *number = str_printf(
        "%s/%lld", protocol, (long long)json_integer_value(json_object_get(port, "port")));
    if (map_has(seen, number))
        field_duplicate(errs, at, port);
    map_set(seen, number, seen);
    if (!node_port)
        return;
    _cleanup_free_ char *node = str_printf("%s:%lld", protocol, (long long)node_port);
    if (!is_type(spec, "NodePort") && !is_type(spec, "LoadBalancer"))
        field_forbidden(errs, FIELD(at, "nodePort"), "may not be used when `type` is '%s'",
                        member_text(spec, "type"));
    else if (map_has(seen, node))
        field_duplicate(errs, FIELD(at, "nodePort"), json_object_get(port, "nodePort"));
    map_set(seen, node, seen);
}

static void validate_cluster_ips(const json_t *spec, const struct field_path *path,
                                 struct field_errors *errs)
{
    const json_t *ips = json_object_get(spec, "clusterIPs");
    const char *ip = member_text(spec, "clusterIP");
    const char *first = json_string_value(json_array_get(ips, 0));
    if (is_type(spec, "ExternalName")) {
        if (*ip)
            field_forbidden(errs, FIELD(path, "clusterIP"),
                            "may not be set for ExternalName services");
        if (json_array_size(ips))
            field_forbidden(errs, FIELD(path, "clusterIPs"),
                            "may not be set for ExternalName services");
        return;
    }
    if (ips && !str_eq(first ? first : "", ip))
        field_invalid(errs, FIELD(path, "clusterIPs"), ips, "first value must match `clusterIP`");
    if (json_array_size(ips) > 2)
        field_invalid(errs, FIELD(path, "clusterIPs"), ips, "may only hold up to 2 values");
    for (size_t i = 0; i < json_array_size(ips); i++) {
        const char *value = json_string_value(json_array_get(ips, i));
        const struct field_path *at = FIELD_INDEX(FIELD(path, "clusterIPs"), i);
        bool none = str_eq(value, "None");
        if (none && !is_type(spec, "ClusterIP"))
            field_invalid_text(errs, at, value, "may not be set to 'None' for %s services",
                               member_text(spec, "type"));
        else if (none && i > 0)
            field_invalid_text(errs, at, value, "'None' must be the first and only value");
        else if (!none && *value && !format_ip_family(value))
            field_invalid_text(errs, at, value, "%s", format_problem(FORMAT_IP, value));
    }
}

static void validate_external_name(const json_t *spec, const struct field_path *path,
                                   struct field_errors *errs)
{
    const char *name = member_text(spec, "externalName");
    size_t len = strlen(name);
    if (!len) {
        field_required(errs, FIELD(path, "externalName"), NULL);
        return;
    }
    /* A trailing dot is fine. */
    _cleanup_free_ char *bare = str_ndup(name, len - (name[len - 1] == '.'));
    const char *problem = format_problem(FORMAT_DNS_SUBDOMAIN, bare);
    if (problem)
        field_invalid_text(errs, FIELD(path, "externalName"), name, "%s", problem);
}

static void validate_balancer(const json_t *spec, const struct field_path *path,
                              struct field_errors *errs)
{
    static const char *const only[] = {"allocateLoadBalancerNodePorts", "loadBalancerClass"};
    bool balanced = is_type(spec, "LoadBalancer");
    const json_t *ranges = json_object_get(spec, "loadBalancerSourceRanges");
    const json_t *health = json_object_get(spec, "healthCheckNodePort");
    for (size_t i = 0; i < ARRAY_SIZE(only); i++)
        if (!balanced && json_object_get(spec, only[i]))
            field_forbidden(errs, FIELD(path, only[i]),
                            "may only be used when `type` is 'LoadBalancer'");
    if (!balanced && json_array_size(ranges))
        field_forbidden(errs, FIELD(path, "loadBalancerSourceRanges"),
                        "may only be used when `type` is 'LoadBalancer'");
    for (size_t i = 0; i < json_array_size(ranges); i++) {
        const char *range = json_string_value(json_array_get(ranges, i));
        if (!format_cidr_family(range))
            field_invalid_text(errs, FIELD_INDEX(FIELD(path, "loadBalancerSourceRanges"), i), range,
                               "%s", format_problem(FORMAT_CIDR, range));
    }
    if (json_integer_value(health) &&
        !(balanced && str_eq(member_text(spec, "externalTrafficPolicy"), "Local")))
        field_invalid(errs, FIELD(path, "healthCheckNodePort"), health,
                      "may only be set when `type` is 'LoadBalancer' and "
                      "`externalTrafficPolicy` is 'Local'");
}

void validate_service(const json_t *service, struct field_errors *errs)
{
    const json_t *spec = json_object_get(service, "spec");
    const json_t *ports = json_object_get(spec, "ports");
    const struct field_path *path = FIELD(NULL, "spec");
    bool headless = str_eq(member_text(spec, "clusterIP"), "None");
    bool external_name = is_type(spec, "ExternalName");
    struct map seen = MAP_INIT(NULL);
    if (!json_array_size(ports) && !headless && !external_name)
        field_required(errs, FIELD(path, "ports"), NULL);
    for (size_t i = 0; i < json_array_size(ports); i++)
        validate_port(spec, json_array_get(ports, i), &seen, FIELD_INDEX(FIELD(path, "ports"), i),
                      errs);
    map_clear(&seen);
    validate_cluster_ips(spec, path, errs);
    if (external_name)
        validate_external_name(spec, path, errs);
    validate_labels(json_object_get(spec, "selector"), FIELD(path, "selector"), errs);
    validate_balancer(spec, path, errs);
    if (*member_text(spec, "externalTrafficPolicy") && !is_external(spec))
        field_invalid(errs, FIELD(path, "externalTrafficPolicy"),
                      json_object_get(spec, "externalTrafficPolicy"),
                      "may only be set for externally-accessible services");
    const json_t *timeout = json_path(spec, "sessionAffinityConfig.clientIP.timeoutSeconds");
    if (timeout &&
        (json_integer_value(timeout) <= 0 || json_integer_value(timeout) > MAX_AFFINITY_S))
        field_invalid(
            errs, FIELD(FIELD(FIELD(path, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds"),
            timeout, "must be greater than 0 and less than %d", MAX_AFFINITY_S);
}

void validate_service_update(const json_t *service, const json_t *old, struct field_errors *errs)
{
    const json_t *spec = json_object_get(service, "spec"), *was = json_object_get(old, "spec");
    const struct field_path *path = FIELD(NULL, "spec");
    if (is_type(spec, "ExternalName") || is_type(was, "ExternalName"))
        return;
    const char *now = member_text(spec, "clusterIP"), *before = member_text(was, "clusterIP");
    if (*before && !str_eq(now, before))
        field_invalid(errs, FIELD_INDEX(FIELD(path, "clusterIPs"), 0),
                      json_object_get(spec, "clusterIPs"), "may not change once set");
    if (is_type(spec, "LoadBalancer") && is_type(was, "LoadBalancer"))
        validate_immutable(spec, was, "loadBalancerClass", path, errs);
}

/* ---- endpoints ---- */

/* Addresses that can be nobody else's endpoint. */
static void validate_endpoint_ip(const char *ip, const struct field_path *path,
                                 struct field_errors *errs)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (!format_ip_family(ip)) {
        field_invalid_text(errs, path, ip, "%s", format_problem(FORMAT_IP, ip));
    } else if (inet_pton(AF_INET, ip, &v4) == 1) {
        uint32_t host = ntohl(v4.s_addr);
        if (!host)
            field_invalid_text(errs, path, ip, "may not be unspecified (0.0.0.0)");
        else if (host >> 24 == 127)
            field_invalid_text(errs, path, ip,
                               "may not be in the loopback range (127.0.0.0/8, ::1/128)");
        else if (host >> 16 == 0xa9fe)
            field_invalid_text(errs, path, ip,
                               "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
        else if (host >> 8 == 0xe00000)
            field_invalid_text(
                errs, path, ip,
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    } else if (inet_pton(AF_INET6, ip, &v6) == 1) {
        if (IN6_IS_ADDR_UNSPECIFIED(&v6))
            field_invalid_text(errs, path, ip, "may not be unspecified (::)");
        else if (IN6_IS_ADDR_LOOPBACK(&v6))
            field_invalid_text(errs, path, ip,
                               "may not be in the loopback range (127.0.0.0/8, ::1/128)");
        else if (IN6_IS_ADDR_LINKLOCAL(&v6))
            field_invalid_text(errs, path, ip,
                               "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
}

static void validate_addresses(const json_t *list, const struct field_path *path,
                               struct field_errors *errs)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i);
        const struct field_path *at = FIELD_INDEX(path, i);
        if (*member_text(a, "ip"))
            validate_endpoint_ip(member_text(a, "ip"), FIELD(at, "ip"), errs);
        validate_format(a, "hostname", FORMAT_DNS_LABEL, at, errs);
        validate_format(a, "nodeName", FORMAT_DNS_SUBDOMAIN, at, errs);
    }
}

void validate_endpoints(const json_t *endpoints, struct field_errors *errs)
{
    const json_t *subsets = json_object_get(endpoints, "subsets");
    for (size_t i = 0; i < json_array_size(subsets); i++) {
        const json_t *s = json_array_get(subsets, i);
        const struct field_path *at = FIELD_INDEX(FIELD(NULL, "subsets"), i);
        const json_t *ready = json_object_get(s, "addresses");
        const json_t *others = json_object_get(s, "notReadyAddresses");
        const json_t *ports = json_object_get(s, "ports");
        if (!json_array_size(ready) && !json_array_size(others))
            field_required(errs, at, "must specify `addresses` or `notReadyAddresses`");
        validate_addresses(ready, FIELD(at, "addresses"), errs);
        validate_addresses(others, FIELD(at, "notReadyAddresses"), errs);
        for (size_t p = 0; p < json_array_size(ports); p++) {
            const json_t *port = json_array_get(ports, p);
            const struct field_path *port_at = FIELD_INDEX(FIELD(at, "ports"), p);
            if (json_array_size(ports) > 1 && !*member_text(port, "name"))
                field_required(errs, FIELD(port_at, "name"), NULL);
            validate_format(port, "name", FORMAT_DNS_LABEL, port_at, errs);
        }
    }
}

static void validate_slice_endpoint(const json_t *e, const char *type, const struct field_path *at,
                                    struct field_errors *errs)
{
    const json_t *addresses = json_object_get(e, "addresses");
    if (json_array_size(addresses) > MAX_ADDRESSES)
        field_too_many(errs, FIELD(at, "addresses"), json_array_size(addresses), MAX_ADDRESSES);
    for (size_t i = 0; i < json_array_size(addresses); i++) {
        const char *a = json_string_value(json_array_get(addresses, i));
        const struct field_path *path = FIELD_INDEX(FIELD(at, "addresses"), i);
        int family = format_ip_family(a);
        if (str_eq(type, "FQDN")) {
            const char *problem = format_problem(FORMAT_DNS_SUBDOMAIN, a);
            if (problem)
                field_invalid_text(errs, path, a, "%s", problem);
        } else if (family && family != (str_eq(type, "IPv4") ? AF_INET : AF_INET6)) {
            field_invalid_text(errs, path, a, "must be an %s address", type);
        } else {
            validate_endpoint_ip(a, path, errs);
        }
    }
    validate_format(e, "nodeName", FORMAT_DNS_SUBDOMAIN, at, errs);
}

void validate_endpoint_slice(const json_t *slice, struct field_errors *errs)
{
    const json_t *endpoints = json_object_get(slice, "endpoints");
    const json_t *ports = json_object_get(slice, "ports");
    const struct field_path *path = FIELD(NULL, "endpoints");
    struct map names = MAP_INIT(NULL);
    if (json_array_size(endpoints) > MAX_ENDPOINTS)
        field_too_many(errs, path, json_array_size(endpoints), MAX_ENDPOINTS);
    for (size_t i = 0; i < json_array_size(endpoints); i++)
        validate_slice_endpoint(json_array_get(endpoints, i), member_text(slice, "addressType"),
                                FIELD_INDEX(path, i), errs);
    for (size_t i = 0; i < json_array_size(ports); i++) {
        const json_t *port = json_array_get(ports, i);
        const struct field_path *at = FIELD_INDEX(FIELD(NULL, "ports"), i);
        validate_format(port, "name", FORMAT_DNS_LABEL, at, errs);
        if (map_has(&names, member_text(port, "name")))
            field_duplicate(errs, FIELD(at, "name"), json_object_get(port, "name"));
        map_set(&names, member_text(port, "name"), &names);
    }
    map_clear(&names);
}
