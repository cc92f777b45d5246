/* Decode tables of Services, EndpointSlices and Pods; see objects.h. Nested objects share the base
 * of the struct that they fill, so their tables have its size and offset 0. */
#include "dns/objects.h"

static const struct decode_field port_fields[] = {
    DECODE_FIELD(struct dns_port, name, "name", DECODE_STRING),
    DECODE_FIELD(struct dns_port, protocol, "protocol", DECODE_STRING),
    DECODE_FIELD(struct dns_port, port, "port", DECODE_INT), DECODE_END};
static const struct decode_type port_type = {"ServicePort", sizeof(struct dns_port), port_fields};

static const struct decode_field service_meta_fields[] = {
    DECODE_FIELD(struct dns_service, name, "name", DECODE_STRING),
    DECODE_FIELD(struct dns_service, ns, "namespace", DECODE_STRING), DECODE_END};
static const struct decode_type service_meta_type = {"ObjectMeta", sizeof(struct dns_service),
                                                     service_meta_fields};
static const struct decode_field service_spec_fields[] = {
    DECODE_FIELD(struct dns_service, type, "type", DECODE_STRING),
    DECODE_FIELD(struct dns_service, cluster_ip, "clusterIP", DECODE_STRING),
    DECODE_FIELD(struct dns_service, cluster_ips, "clusterIPs", DECODE_STRINGS),
    DECODE_FIELD(struct dns_service, external_name, "externalName", DECODE_STRING),
    DECODE_FIELD(struct dns_service, publish_not_ready, "publishNotReadyAddresses", DECODE_BOOL),
    DECODE_SUB(struct dns_service, ports, "ports", DECODE_ARRAY, &port_type),
    DECODE_END};
static const struct decode_type service_spec_type = {"ServiceSpec", sizeof(struct dns_service),
                                                     service_spec_fields};
static const struct decode_field service_fields[] = {
    {"metadata", DECODE_OBJECT, 0, &service_meta_type},
    {"spec", DECODE_OBJECT, 0, &service_spec_type},
    DECODE_END};
const struct decode_type dns_service_type = {"Service", sizeof(struct dns_service), service_fields};

static const struct decode_field label_fields[] = {
    DECODE_FIELD(struct dns_slice, service, "kubernetes.io/service-name", DECODE_STRING),
    DECODE_END};
static const struct decode_type labels_type = {"labels", sizeof(struct dns_slice), label_fields};
static const struct decode_field slice_meta_fields[] = {
    DECODE_FIELD(struct dns_slice, name, "name", DECODE_STRING),
    DECODE_FIELD(struct dns_slice, ns, "namespace", DECODE_STRING),
    {"labels", DECODE_OBJECT, 0, &labels_type},
    DECODE_END};
static const struct decode_type slice_meta_type = {"ObjectMeta", sizeof(struct dns_slice),
                                                   slice_meta_fields};
static const struct decode_field conditions_fields[] = {
    DECODE_FIELD(struct dns_endpoint, ready, "ready", DECODE_OPT_BOOL), DECODE_END};
static const struct decode_type conditions_type = {"EndpointConditions",
                                                   sizeof(struct dns_endpoint), conditions_fields};
static const struct decode_field endpoint_fields[] = {
    DECODE_FIELD(struct dns_endpoint, addresses, "addresses", DECODE_STRINGS),
    DECODE_FIELD(struct dns_endpoint, hostname, "hostname", DECODE_STRING),
    {"conditions", DECODE_OBJECT, 0, &conditions_type},
    DECODE_END};
static const struct decode_type endpoint_type = {"Endpoint", sizeof(struct dns_endpoint),
                                                 endpoint_fields};
static const struct decode_field slice_fields[] = {
    {"metadata", DECODE_OBJECT, 0, &slice_meta_type},
    DECODE_FIELD(struct dns_slice, address_type, "addressType", DECODE_STRING),
    DECODE_SUB(struct dns_slice, ports, "ports", DECODE_ARRAY, &port_type),
    DECODE_SUB(struct dns_slice, endpoints, "endpoints", DECODE_ARRAY, &endpoint_type),
    DECODE_END};
const struct decode_type dns_slice_type = {"EndpointSlice", sizeof(struct dns_slice), slice_fields};

static const struct decode_field pod_meta_fields[] = {
    DECODE_FIELD(struct dns_pod, ns, "namespace", DECODE_STRING), DECODE_END};
static const struct decode_type pod_meta_type = {"ObjectMeta", sizeof(struct dns_pod),
                                                 pod_meta_fields};
static const struct decode_field pod_ip_fields[] = {
    DECODE_FIELD(struct dns_pod_ip, ip, "ip", DECODE_STRING), DECODE_END};
static const struct decode_type pod_ip_type = {"PodIP", sizeof(struct dns_pod_ip), pod_ip_fields};
static const struct decode_field pod_status_fields[] = {
    DECODE_SUB(struct dns_pod, ips, "podIPs", DECODE_ARRAY, &pod_ip_type), DECODE_END};
static const struct decode_type pod_status_type = {"PodStatus", sizeof(struct dns_pod),
                                                   pod_status_fields};
static const struct decode_field pod_fields[] = {{"metadata", DECODE_OBJECT, 0, &pod_meta_type},
                                                 {"status", DECODE_OBJECT, 0, &pod_status_type},
                                                 DECODE_END};
const struct decode_type dns_pod_type = {"Pod", sizeof(struct dns_pod), pod_fields};
