/* Decode tables of Services, EndpointSlices and Nodes; see objects.h. Nested objects share the base
 * of the struct that they fill, so their tables have its size and offset 0. */
#include "proxy/objects.h"

static const struct decode_field service_port_fields[] = {
    DECODE_FIELD(struct service_port, name, "name", DECODE_STRING),
    DECODE_FIELD(struct service_port, protocol, "protocol", DECODE_STRING),
    DECODE_FIELD(struct service_port, port, "port", DECODE_INT),
    DECODE_FIELD(struct service_port, node_port, "nodePort", DECODE_INT), DECODE_END};
static const struct decode_type service_port_type = {"ServicePort", sizeof(struct service_port),
                                                     service_port_fields};
static const struct decode_field service_meta_fields[] = {
    DECODE_FIELD(struct service, name, "name", DECODE_STRING),
    DECODE_FIELD(struct service, ns, "namespace", DECODE_STRING),
    DECODE_FIELD(struct service, uid, "uid", DECODE_STRING),
    DECODE_FIELD(struct service, created, "creationTimestamp", DECODE_TIME),
    DECODE_FIELD(struct service, labels, "labels", DECODE_MAP),
    DECODE_END};
static const struct decode_type service_meta_type = {"ObjectMeta", sizeof(struct service),
                                                     service_meta_fields};
static const struct decode_field client_ip_fields[] = {
    DECODE_FIELD(struct service, affinity_seconds, "timeoutSeconds", DECODE_OPT_INT), DECODE_END};
static const struct decode_type client_ip_type = {"ClientIPConfig", sizeof(struct service),
                                                  client_ip_fields};
static const struct decode_field affinity_fields[] = {
    {"clientIP", DECODE_OBJECT, 0, &client_ip_type}, DECODE_END};
static const struct decode_type affinity_type = {"SessionAffinityConfig", sizeof(struct service),
                                                 affinity_fields};
static const struct decode_field service_spec_fields[] = {
    DECODE_FIELD(struct service, type, "type", DECODE_STRING),
    DECODE_FIELD(struct service, cluster_ip, "clusterIP", DECODE_STRING),
    DECODE_FIELD(struct service, cluster_ips, "clusterIPs", DECODE_STRINGS),
    DECODE_FIELD(struct service, affinity, "sessionAffinity", DECODE_STRING),
    {"sessionAffinityConfig", DECODE_OBJECT, 0, &affinity_type},
    DECODE_FIELD(struct service, internal_policy, "internalTrafficPolicy", DECODE_STRING),
    DECODE_FIELD(struct service, external_policy, "externalTrafficPolicy", DECODE_STRING),
    DECODE_FIELD(struct service, external_ips, "externalIPs", DECODE_STRINGS),
    DECODE_FIELD(struct service, source_ranges, "loadBalancerSourceRanges", DECODE_STRINGS),
    DECODE_FIELD(struct service, health_port, "healthCheckNodePort", DECODE_INT),
    DECODE_SUB(struct service, ports, "ports", DECODE_ARRAY, &service_port_type),
    DECODE_END};
static const struct decode_type service_spec_type = {"ServiceSpec", sizeof(struct service),
                                                     service_spec_fields};
static const struct decode_field ingress_fields[] = {
    DECODE_FIELD(struct ingress, ip, "ip", DECODE_STRING),
    DECODE_FIELD(struct ingress, ip_mode, "ipMode", DECODE_STRING), DECODE_END};
static const struct decode_type ingress_type = {"LoadBalancerIngress", sizeof(struct ingress),
                                                ingress_fields};
static const struct decode_field balancer_fields[] = {
    DECODE_SUB(struct service, ingress, "ingress", DECODE_ARRAY, &ingress_type), DECODE_END};
static const struct decode_type balancer_type = {"LoadBalancerStatus", sizeof(struct service),
                                                 balancer_fields};
static const struct decode_field service_status_fields[] = {
    {"loadBalancer", DECODE_OBJECT, 0, &balancer_type}, DECODE_END};
static const struct decode_type service_status_type = {"ServiceStatus", sizeof(struct service),
                                                       service_status_fields};
static const struct decode_field service_fields[] = {
    {"metadata", DECODE_OBJECT, 0, &service_meta_type},
    {"spec", DECODE_OBJECT, 0, &service_spec_type},
    {"status", DECODE_OBJECT, 0, &service_status_type},
    DECODE_END};
const struct decode_type proxy_service_type = {"Service", sizeof(struct service), service_fields};

static const struct decode_field slice_meta_fields[] = {
    DECODE_FIELD(struct slice, name, "name", DECODE_STRING),
    DECODE_FIELD(struct slice, ns, "namespace", DECODE_STRING),
    DECODE_FIELD(struct slice, labels, "labels", DECODE_MAP), DECODE_END};
static const struct decode_type slice_meta_type = {"ObjectMeta", sizeof(struct slice),
                                                   slice_meta_fields};
static const struct decode_field slice_port_fields[] = {
    DECODE_FIELD(struct slice_port, name, "name", DECODE_STRING),
    DECODE_FIELD(struct slice_port, protocol, "protocol", DECODE_STRING),
    DECODE_FIELD(struct slice_port, port, "port", DECODE_INT), DECODE_END};
static const struct decode_type slice_port_type = {"EndpointPort", sizeof(struct slice_port),
                                                   slice_port_fields};
static const struct decode_field conditions_fields[] = {
    DECODE_FIELD(struct endpoint, ready, "ready", DECODE_OPT_BOOL),
    DECODE_FIELD(struct endpoint, serving, "serving", DECODE_OPT_BOOL),
    DECODE_FIELD(struct endpoint, terminating, "terminating", DECODE_OPT_BOOL), DECODE_END};
static const struct decode_type conditions_type = {"EndpointConditions", sizeof(struct endpoint),
                                                   conditions_fields};
static const struct decode_field hint_fields[] = {
    DECODE_FIELD(struct hint, name, "name", DECODE_STRING), DECODE_END};
static const struct decode_type hint_type = {"ForZone", sizeof(struct hint), hint_fields};
static const struct decode_field hints_fields[] = {
    DECODE_SUB(struct endpoint, zones, "forZones", DECODE_ARRAY, &hint_type),
    DECODE_SUB(struct endpoint, nodes, "forNodes", DECODE_ARRAY, &hint_type), DECODE_END};
static const struct decode_type hints_type = {"EndpointHints", sizeof(struct endpoint),
                                              hints_fields};
static const struct decode_field endpoint_fields[] = {
    DECODE_FIELD(struct endpoint, addresses, "addresses", DECODE_STRINGS),
    DECODE_FIELD(struct endpoint, node_name, "nodeName", DECODE_STRING),
    DECODE_FIELD(struct endpoint, topology, "topology", DECODE_MAP),
    {"conditions", DECODE_OBJECT, 0, &conditions_type},
    {"hints", DECODE_OBJECT, 0, &hints_type},
    DECODE_END};
static const struct decode_type endpoint_type = {"Endpoint", sizeof(struct endpoint),
                                                 endpoint_fields};
static const struct decode_field slice_fields[] = {
    {"metadata", DECODE_OBJECT, 0, &slice_meta_type},
    DECODE_FIELD(struct slice, address_type, "addressType", DECODE_STRING),
    DECODE_SUB(struct slice, ports, "ports", DECODE_ARRAY, &slice_port_type),
    DECODE_SUB(struct slice, endpoints, "endpoints", DECODE_ARRAY, &endpoint_type),
    DECODE_END};
const struct decode_type proxy_slice_type = {"EndpointSlice", sizeof(struct slice), slice_fields};

static const struct decode_field node_meta_fields[] = {
    DECODE_FIELD(struct node, labels, "labels", DECODE_MAP),
    DECODE_FIELD(struct node, deleted, "deletionTimestamp", DECODE_STRING), DECODE_END};
static const struct decode_type node_meta_type = {"ObjectMeta", sizeof(struct node),
                                                  node_meta_fields};
static const struct decode_field taint_fields[] = {
    DECODE_FIELD(struct taint, key, "key", DECODE_STRING), DECODE_END};
static const struct decode_type taint_type = {"Taint", sizeof(struct taint), taint_fields};
static const struct decode_field node_spec_fields[] = {
    DECODE_FIELD(struct node, pod_cidr, "podCIDR", DECODE_STRING),
    DECODE_FIELD(struct node, pod_cidrs, "podCIDRs", DECODE_STRINGS),
    DECODE_SUB(struct node, taints, "taints", DECODE_ARRAY, &taint_type), DECODE_END};
static const struct decode_type node_spec_type = {"NodeSpec", sizeof(struct node),
                                                  node_spec_fields};
static const struct decode_field node_address_fields[] = {
    DECODE_FIELD(struct node_address, type, "type", DECODE_STRING),
    DECODE_FIELD(struct node_address, address, "address", DECODE_STRING), DECODE_END};
static const struct decode_type node_address_type = {"NodeAddress", sizeof(struct node_address),
                                                     node_address_fields};
static const struct decode_field node_status_fields[] = {
    DECODE_SUB(struct node, addresses, "addresses", DECODE_ARRAY, &node_address_type), DECODE_END};
static const struct decode_type node_status_type = {"NodeStatus", sizeof(struct node),
                                                    node_status_fields};
static const struct decode_field node_fields[] = {{"metadata", DECODE_OBJECT, 0, &node_meta_type},
                                                  {"spec", DECODE_OBJECT, 0, &node_spec_type},
                                                  {"status", DECODE_OBJECT, 0, &node_status_type},
                                                  DECODE_END};
const struct decode_type proxy_node_type = {"Node", sizeof(struct node), node_fields};
