/* Decode tables and helpers of the controllers' objects; see objects.h. */
#include "controllers/objects.h"

#include "base/strbuf.h"
#include "kube/quantity.h"

static const struct decode_field owner_fields[] = {
    DECODE_FIELD(struct owner_ref, api_version, "apiVersion", DECODE_STRING),
    DECODE_FIELD(struct owner_ref, kind, "kind", DECODE_STRING),
    DECODE_FIELD(struct owner_ref, name, "name", DECODE_STRING),
    DECODE_FIELD(struct owner_ref, uid, "uid", DECODE_STRING),
    DECODE_FIELD(struct owner_ref, controller, "controller", DECODE_BOOL),
    DECODE_FIELD(struct owner_ref, block_owner_deletion, "blockOwnerDeletion", DECODE_BOOL),
    DECODE_END};
static const struct decode_type owner_type = {"OwnerReference", sizeof(struct owner_ref),
                                              owner_fields};

static const struct decode_field meta_fields[] = {
    DECODE_FIELD(struct object_meta, name, "name", DECODE_STRING),
    DECODE_FIELD(struct object_meta, ns, "namespace", DECODE_STRING),
    DECODE_FIELD(struct object_meta, uid, "uid", DECODE_STRING),
    DECODE_FIELD(struct object_meta, version, "resourceVersion", DECODE_STRING),
    DECODE_FIELD(struct object_meta, generation, "generation", DECODE_INT),
    DECODE_FIELD(struct object_meta, created, "creationTimestamp", DECODE_TIME),
    DECODE_FIELD(struct object_meta, deleted, "deletionTimestamp", DECODE_TIME),
    DECODE_FIELD(struct object_meta, labels, "labels", DECODE_RAW),
    DECODE_FIELD(struct object_meta, annotations, "annotations", DECODE_MAP),
    DECODE_FIELD(struct object_meta, finalizers, "finalizers", DECODE_STRINGS),
    DECODE_SUB(struct object_meta, owners, "ownerReferences", DECODE_ARRAY, &owner_type),
    DECODE_END};
const struct decode_type object_meta_type = {"ObjectMeta", sizeof(struct object_meta), meta_fields};
#define META_FIELD(type) DECODE_SUB(type, meta, "metadata", DECODE_OBJECT, &object_meta_type)

static const struct decode_field condition_fields[] = {
    DECODE_FIELD(struct condition, type, "type", DECODE_STRING),
    DECODE_FIELD(struct condition, status, "status", DECODE_STRING),
    DECODE_FIELD(struct condition, reason, "reason", DECODE_STRING),
    DECODE_FIELD(struct condition, message, "message", DECODE_STRING),
    DECODE_FIELD(struct condition, changed, "lastTransitionTime", DECODE_TIME),
    DECODE_END};
static const struct decode_type condition_type = {"Condition", sizeof(struct condition),
                                                  condition_fields};
static const struct decode_field gate_fields[] = {
    DECODE_FIELD(struct condition, type, "conditionType", DECODE_STRING), DECODE_END};
static const struct decode_type gate_type = {"PodReadinessGate", sizeof(struct condition),
                                             gate_fields};

/* ---- pods ---- */

static const struct decode_field toleration_fields[] = {
    DECODE_FIELD(struct toleration, key, "key", DECODE_STRING),
    DECODE_FIELD(struct toleration, operator, "operator", DECODE_STRING),
    DECODE_FIELD(struct toleration, value, "value", DECODE_STRING),
    DECODE_FIELD(struct toleration, effect, "effect", DECODE_STRING), DECODE_END};
static const struct decode_type toleration_type = {"Toleration", sizeof(struct toleration),
                                                   toleration_fields};
static const struct decode_field port_fields[] = {
    DECODE_FIELD(struct container_port, name, "name", DECODE_STRING),
    DECODE_FIELD(struct container_port, protocol, "protocol", DECODE_STRING),
    DECODE_FIELD(struct container_port, port, "containerPort", DECODE_INT),
    DECODE_FIELD(struct container_port, host_port, "hostPort", DECODE_INT), DECODE_END};
static const struct decode_type port_type = {"ContainerPort", sizeof(struct container_port),
                                             port_fields};

/* Nested objects of which one field is used are decoded by a table at the offset of their own. */
static const struct decode_field resources_fields[] = {{"requests", DECODE_MAP, 0, NULL},
                                                       DECODE_END};
static const struct decode_type resources_type = {"ResourceRequirements", sizeof(struct string_map),
                                                  resources_fields};
static const struct decode_field container_fields[] = {
    DECODE_SUB(struct container, requests, "resources", DECODE_OBJECT, &resources_type),
    DECODE_SUB(struct container, ports, "ports", DECODE_ARRAY, &port_type),
    DECODE_FIELD(struct container, restart_policy, "restartPolicy", DECODE_STRING), DECODE_END};
static const struct decode_type container_type = {"Container", sizeof(struct container),
                                                  container_fields};

static const struct decode_field pod_claim_fields[] = {
    DECODE_FIELD(struct pod_volume, claim, "claimName", DECODE_STRING), DECODE_END};
static const struct decode_type pod_claim_type = {"PersistentVolumeClaimVolumeSource",
                                                  sizeof(struct pod_volume), pod_claim_fields};
static const struct decode_field pod_volume_fields[] = {
    DECODE_FIELD(struct pod_volume, name, "name", DECODE_STRING),
    {"persistentVolumeClaim", DECODE_OBJECT, 0, &pod_claim_type},
    DECODE_FIELD(struct pod_volume, ephemeral, "ephemeral", DECODE_RAW),
    DECODE_END};
static const struct decode_type pod_volume_type = {"Volume", sizeof(struct pod_volume),
                                                   pod_volume_fields};

static const struct decode_field node_affinity_fields[] = {
    {"requiredDuringSchedulingIgnoredDuringExecution", DECODE_RAW, 0, NULL}, DECODE_END};
static const struct decode_type node_affinity_type = {"NodeAffinity", sizeof(json_t *),
                                                      node_affinity_fields};
static const struct decode_field affinity_fields[] = {
    {"nodeAffinity", DECODE_OBJECT, 0, &node_affinity_type}, DECODE_END};
static const struct decode_type affinity_type = {"Affinity", sizeof(json_t *), affinity_fields};

/* The spec's and the status' fields live in struct pod itself: their tables share its base. */
static const struct decode_field pod_spec_fields[] = {
    DECODE_FIELD(struct pod, node_name, "nodeName", DECODE_STRING),
    DECODE_FIELD(struct pod, scheduler_name, "schedulerName", DECODE_STRING),
    DECODE_FIELD(struct pod, hostname, "hostname", DECODE_STRING),
    DECODE_FIELD(struct pod, subdomain, "subdomain", DECODE_STRING),
    DECODE_FIELD(struct pod, node_selector, "nodeSelector", DECODE_MAP),
    DECODE_SUB(struct pod, node_affinity, "affinity", DECODE_OBJECT, &affinity_type),
    DECODE_SUB(struct pod, tolerations, "tolerations", DECODE_ARRAY, &toleration_type),
    DECODE_SUB(struct pod, containers, "containers", DECODE_ARRAY, &container_type),
    DECODE_SUB(struct pod, init_containers, "initContainers", DECODE_ARRAY, &container_type),
    DECODE_SUB(struct pod, volumes, "volumes", DECODE_ARRAY, &pod_volume_type),
    DECODE_FIELD(struct pod, overhead, "overhead", DECODE_MAP),
    DECODE_FIELD(struct pod, host_network, "hostNetwork", DECODE_BOOL),
    DECODE_FIELD(struct pod, priority, "priority", DECODE_INT),
    DECODE_SUB(struct pod, readiness_gates, "readinessGates", DECODE_ARRAY, &gate_type),
    DECODE_END};
static const struct decode_type pod_spec_type = {"PodSpec", sizeof(struct pod), pod_spec_fields};
static const struct decode_field pod_status_fields[] = {
    DECODE_FIELD(struct pod, phase, "phase", DECODE_STRING),
    DECODE_FIELD(struct pod, ip, "podIP", DECODE_STRING),
    DECODE_SUB(struct pod, conditions, "conditions", DECODE_ARRAY, &condition_type), DECODE_END};
static const struct decode_type pod_status_type = {"PodStatus", sizeof(struct pod),
                                                   pod_status_fields};
static const struct decode_field pod_fields[] = {META_FIELD(struct pod),
                                                 {"spec", DECODE_OBJECT, 0, &pod_spec_type},
                                                 {"status", DECODE_OBJECT, 0, &pod_status_type},
                                                 DECODE_END};
const struct decode_type pod_type = {"Pod", sizeof(struct pod), pod_fields};

/* ---- nodes ---- */

static const struct decode_field taint_fields[] = {
    DECODE_FIELD(struct taint, key, "key", DECODE_STRING),
    DECODE_FIELD(struct taint, value, "value", DECODE_STRING),
    DECODE_FIELD(struct taint, effect, "effect", DECODE_STRING), DECODE_END};
static const struct decode_type taint_type = {"Taint", sizeof(struct taint), taint_fields};
static const struct decode_field node_spec_fields[] = {
    DECODE_FIELD(struct node, unschedulable, "unschedulable", DECODE_BOOL),
    DECODE_FIELD(struct node, pod_cidr, "podCIDR", DECODE_STRING),
    DECODE_FIELD(struct node, pod_cidrs, "podCIDRs", DECODE_STRINGS),
    DECODE_SUB(struct node, taints, "taints", DECODE_ARRAY, &taint_type), DECODE_END};
static const struct decode_type node_spec_type = {"NodeSpec", sizeof(struct node),
                                                  node_spec_fields};
static const struct decode_field address_fields[] = {
    DECODE_FIELD(struct node_address, type, "type", DECODE_STRING),
    DECODE_FIELD(struct node_address, address, "address", DECODE_STRING), DECODE_END};
static const struct decode_type address_type = {"NodeAddress", sizeof(struct node_address),
                                                address_fields};
static const struct decode_field node_status_fields[] = {
    DECODE_SUB(struct node, addresses, "addresses", DECODE_ARRAY, &address_type),
    DECODE_FIELD(struct node, allocatable, "allocatable", DECODE_MAP),
    DECODE_SUB(struct node, conditions, "conditions", DECODE_ARRAY, &condition_type), DECODE_END};
static const struct decode_type node_status_type = {"NodeStatus", sizeof(struct node),
                                                    node_status_fields};
static const struct decode_field node_fields[] = {META_FIELD(struct node),
                                                  {"spec", DECODE_OBJECT, 0, &node_spec_type},
                                                  {"status", DECODE_OBJECT, 0, &node_status_type},
                                                  DECODE_END};
const struct decode_type node_type = {"Node", sizeof(struct node), node_fields};

/* ---- services and slices ---- */

static const struct decode_field service_port_fields[] = {
    DECODE_FIELD(struct service_port, name, "name", DECODE_STRING),
    DECODE_FIELD(struct service_port, protocol, "protocol", DECODE_STRING),
    DECODE_FIELD(struct service_port, app_protocol, "appProtocol", DECODE_STRING),
    DECODE_FIELD(struct service_port, port, "port", DECODE_INT),
    DECODE_FIELD(struct service_port, target, "targetPort", DECODE_INT_OR_STRING),
    DECODE_END};
static const struct decode_type service_port_type = {"ServicePort", sizeof(struct service_port),
                                                     service_port_fields};
static const struct decode_field service_spec_fields[] = {
    DECODE_FIELD(struct service, selector, "selector", DECODE_RAW),
    DECODE_FIELD(struct service, type, "type", DECODE_STRING),
    DECODE_FIELD(struct service, cluster_ip, "clusterIP", DECODE_STRING),
    DECODE_FIELD(struct service, publish_not_ready, "publishNotReadyAddresses", DECODE_BOOL),
    DECODE_SUB(struct service, ports, "ports", DECODE_ARRAY, &service_port_type),
    DECODE_FIELD(struct service, ip_families, "ipFamilies", DECODE_STRINGS),
    DECODE_END};
static const struct decode_type service_spec_type = {"ServiceSpec", sizeof(struct service),
                                                     service_spec_fields};
static const struct decode_field service_fields[] = {
    META_FIELD(struct service), {"spec", DECODE_OBJECT, 0, &service_spec_type}, DECODE_END};
const struct decode_type service_type = {"Service", sizeof(struct service), service_fields};

static const struct decode_field slice_fields[] = {
    META_FIELD(struct endpoint_slice),
    DECODE_FIELD(struct endpoint_slice, address_type, "addressType", DECODE_STRING),
    DECODE_FIELD(struct endpoint_slice, endpoints, "endpoints", DECODE_RAW),
    DECODE_FIELD(struct endpoint_slice, ports, "ports", DECODE_RAW), DECODE_END};
const struct decode_type endpoint_slice_type = {"EndpointSlice", sizeof(struct endpoint_slice),
                                                slice_fields};

static const struct decode_field endpoints_fields[] = {
    META_FIELD(struct endpoint_slice),
    DECODE_FIELD(struct endpoint_slice, endpoints, "subsets", DECODE_RAW), DECODE_END};
const struct decode_type endpoints_type = {"Endpoints", sizeof(struct endpoint_slice),
                                           endpoints_fields};

/* ---- workloads ---- */

static const struct decode_field rs_spec_fields[] = {
    DECODE_FIELD(struct replica_set, replicas, "replicas", DECODE_OPT_INT),
    DECODE_FIELD(struct replica_set, min_ready_seconds, "minReadySeconds", DECODE_INT),
    DECODE_FIELD(struct replica_set, selector, "selector", DECODE_RAW),
    DECODE_FIELD(struct replica_set, template, "template", DECODE_TEXT), DECODE_END};
static const struct decode_type rs_spec_type = {"ReplicaSetSpec", sizeof(struct replica_set),
                                                rs_spec_fields};
static const struct decode_field rs_status_fields[] = {
    DECODE_FIELD(struct replica_set, st_replicas, "replicas", DECODE_INT),
    DECODE_FIELD(struct replica_set, st_ready, "readyReplicas", DECODE_INT),
    DECODE_FIELD(struct replica_set, st_available, "availableReplicas", DECODE_INT),
    DECODE_FIELD(struct replica_set, st_labeled, "fullyLabeledReplicas", DECODE_INT),
    DECODE_FIELD(struct replica_set, st_observed, "observedGeneration", DECODE_INT),
    DECODE_END};
static const struct decode_type rs_status_type = {"ReplicaSetStatus", sizeof(struct replica_set),
                                                  rs_status_fields};
static const struct decode_field rs_fields[] = {META_FIELD(struct replica_set),
                                                {"spec", DECODE_OBJECT, 0, &rs_spec_type},
                                                {"status", DECODE_OBJECT, 0, &rs_status_type},
                                                DECODE_END};
const struct decode_type replica_set_type = {"ReplicaSet", sizeof(struct replica_set), rs_fields};

static const struct decode_field rolling_fields[] = {
    DECODE_FIELD(struct deployment, max_unavailable, "maxUnavailable", DECODE_INT_OR_STRING),
    DECODE_FIELD(struct deployment, max_surge, "maxSurge", DECODE_INT_OR_STRING), DECODE_END};
static const struct decode_type rolling_type = {"RollingUpdateDeployment",
                                                sizeof(struct deployment), rolling_fields};
static const struct decode_field strategy_fields[] = {
    DECODE_FIELD(struct deployment, strategy, "type", DECODE_STRING),
    {"rollingUpdate", DECODE_OBJECT, 0, &rolling_type},
    DECODE_END};
static const struct decode_type strategy_type = {"DeploymentStrategy", sizeof(struct deployment),
                                                 strategy_fields};
static const struct decode_field deployment_spec_fields[] = {
    DECODE_FIELD(struct deployment, replicas, "replicas", DECODE_OPT_INT),
    DECODE_FIELD(struct deployment, revision_history_limit, "revisionHistoryLimit", DECODE_OPT_INT),
    DECODE_FIELD(struct deployment, progress_deadline, "progressDeadlineSeconds", DECODE_OPT_INT),
    DECODE_FIELD(struct deployment, min_ready_seconds, "minReadySeconds", DECODE_INT),
    DECODE_FIELD(struct deployment, paused, "paused", DECODE_BOOL),
    {"strategy", DECODE_OBJECT, 0, &strategy_type},
    DECODE_FIELD(struct deployment, selector, "selector", DECODE_RAW),
    DECODE_FIELD(struct deployment, template, "template", DECODE_TEXT),
    DECODE_END};
static const struct decode_type deployment_spec_type = {"DeploymentSpec", sizeof(struct deployment),
                                                        deployment_spec_fields};
static const struct decode_field deployment_status_fields[] = {
    DECODE_SUB(struct deployment, conditions, "conditions", DECODE_ARRAY, &condition_type),
    DECODE_FIELD(struct deployment, collision_count, "collisionCount", DECODE_INT), DECODE_END};
static const struct decode_type deployment_status_type = {
    "DeploymentStatus", sizeof(struct deployment), deployment_status_fields};
static const struct decode_field deployment_fields[] = {
    META_FIELD(struct deployment),
    {"spec", DECODE_OBJECT, 0, &deployment_spec_type},
    {"status", DECODE_OBJECT, 0, &deployment_status_type},
    DECODE_FIELD(struct deployment, status, "status", DECODE_TEXT),
    DECODE_END};
const struct decode_type deployment_type = {"Deployment", sizeof(struct deployment),
                                            deployment_fields};

/* ---- metadata only ---- */

static const struct decode_field plain_spec_fields[] = {
    DECODE_FIELD(struct plain_object, spec_finalizers, "finalizers", DECODE_STRINGS), DECODE_END};
static const struct decode_type plain_spec_type = {"Spec", sizeof(struct plain_object),
                                                   plain_spec_fields};
static const struct decode_field plain_status_fields[] = {
    DECODE_FIELD(struct plain_object, phase, "phase", DECODE_STRING), DECODE_END};
static const struct decode_type plain_status_type = {"Status", sizeof(struct plain_object),
                                                     plain_status_fields};
static const struct decode_field plain_fields[] = {META_FIELD(struct plain_object),
                                                   {"spec", DECODE_OBJECT, 0, &plain_spec_type},
                                                   {"status", DECODE_OBJECT, 0, &plain_status_type},
                                                   DECODE_END};
const struct decode_type plain_type = {"Object", sizeof(struct plain_object), plain_fields};

static const struct decode_field config_map_fields[] = {
    META_FIELD(struct config_map), DECODE_FIELD(struct config_map, data, "data", DECODE_MAP),
    DECODE_END};
const struct decode_type config_map_type = {"ConfigMap", sizeof(struct config_map),
                                            config_map_fields};

static const struct decode_field bootstrap_secret_fields[] = {
    META_FIELD(struct bootstrap_secret),
    DECODE_FIELD(struct bootstrap_secret, data, "data", DECODE_BYTES_MAP), DECODE_END};
const struct decode_type bootstrap_secret_type = {"Secret", sizeof(struct bootstrap_secret),
                                                  bootstrap_secret_fields};

static const struct decode_field cluster_role_fields[] = {
    META_FIELD(struct cluster_role), DECODE_FIELD(struct cluster_role, rules, "rules", DECODE_RAW),
    DECODE_FIELD(struct cluster_role, aggregation, "aggregationRule", DECODE_RAW), DECODE_END};
const struct decode_type cluster_role_type = {"ClusterRole", sizeof(struct cluster_role),
                                              cluster_role_fields};

/* ---- volumes ---- */

static const struct decode_field claim_ref_fields[] = {
    DECODE_FIELD(struct claim_ref, ns, "namespace", DECODE_STRING),
    DECODE_FIELD(struct claim_ref, name, "name", DECODE_STRING),
    DECODE_FIELD(struct claim_ref, uid, "uid", DECODE_STRING), DECODE_END};
static const struct decode_type claim_ref_type = {"ObjectReference", sizeof(struct claim_ref),
                                                  claim_ref_fields};
static const struct decode_field volume_affinity_fields[] = {{"required", DECODE_RAW, 0, NULL},
                                                             DECODE_END};
static const struct decode_type volume_affinity_type = {"VolumeNodeAffinity", sizeof(json_t *),
                                                        volume_affinity_fields};
static const struct decode_field volume_spec_fields[] = {
    DECODE_FIELD(struct volume, capacity, "capacity", DECODE_MAP),
    DECODE_FIELD(struct volume, access_modes, "accessModes", DECODE_STRINGS),
    DECODE_SUB(struct volume, claim, "claimRef", DECODE_OPT_OBJECT, &claim_ref_type),
    DECODE_FIELD(struct volume, reclaim_policy, "persistentVolumeReclaimPolicy", DECODE_STRING),
    DECODE_FIELD(struct volume, class, "storageClassName", DECODE_STRING),
    DECODE_FIELD(struct volume, mode, "volumeMode", DECODE_STRING),
    DECODE_SUB(struct volume, node_affinity, "nodeAffinity", DECODE_OBJECT, &volume_affinity_type),
    DECODE_END};
static const struct decode_type volume_spec_type = {"PersistentVolumeSpec", sizeof(struct volume),
                                                    volume_spec_fields};
static const struct decode_field volume_status_fields[] = {
    DECODE_FIELD(struct volume, phase, "phase", DECODE_STRING), DECODE_END};
static const struct decode_type volume_status_type = {"PersistentVolumeStatus",
                                                      sizeof(struct volume), volume_status_fields};
static const struct decode_field volume_fields[] = {
    META_FIELD(struct volume),
    {"spec", DECODE_OBJECT, 0, &volume_spec_type},
    {"status", DECODE_OBJECT, 0, &volume_status_type},
    DECODE_END};
const struct decode_type volume_type = {"PersistentVolume", sizeof(struct volume), volume_fields};

static const struct decode_field claim_resources_fields[] = {
    DECODE_FIELD(struct claim, requests, "requests", DECODE_MAP), DECODE_END};
static const struct decode_type claim_resources_type = {
    "VolumeResourceRequirements", sizeof(struct claim), claim_resources_fields};
static const struct decode_field claim_spec_fields[] = {
    DECODE_FIELD(struct claim, access_modes, "accessModes", DECODE_STRINGS),
    {"resources", DECODE_OBJECT, 0, &claim_resources_type},
    DECODE_FIELD(struct claim, selector, "selector", DECODE_RAW),
    DECODE_FIELD(struct claim, class, "storageClassName", DECODE_STRING),
    DECODE_FIELD(struct claim, volume, "volumeName", DECODE_STRING),
    DECODE_FIELD(struct claim, mode, "volumeMode", DECODE_STRING),
    DECODE_END};
static const struct decode_type claim_spec_type = {"PersistentVolumeClaimSpec",
                                                   sizeof(struct claim), claim_spec_fields};
static const struct decode_field claim_status_fields[] = {
    DECODE_FIELD(struct claim, phase, "phase", DECODE_STRING),
    DECODE_FIELD(struct claim, st_access_modes, "accessModes", DECODE_STRINGS),
    DECODE_FIELD(struct claim, st_capacity, "capacity", DECODE_MAP), DECODE_END};
static const struct decode_type claim_status_type = {"PersistentVolumeClaimStatus",
                                                     sizeof(struct claim), claim_status_fields};
static const struct decode_field claim_fields[] = {META_FIELD(struct claim),
                                                   {"spec", DECODE_OBJECT, 0, &claim_spec_type},
                                                   {"status", DECODE_OBJECT, 0, &claim_status_type},
                                                   DECODE_END};
const struct decode_type claim_type = {"PersistentVolumeClaim", sizeof(struct claim), claim_fields};

static const struct decode_field class_fields[] = {
    META_FIELD(struct storage_class),
    DECODE_FIELD(struct storage_class, provisioner, "provisioner", DECODE_STRING),
    DECODE_FIELD(struct storage_class, binding_mode, "volumeBindingMode", DECODE_STRING),
    DECODE_END};
const struct decode_type storage_class_type = {"StorageClass", sizeof(struct storage_class),
                                               class_fields};

/* ---- helpers ---- */

const struct condition *condition_find(const condition_list *conditions, const char *type)
{
    for (size_t i = 0; i < conditions->count; i++)
        if (str_eq(conditions->items[i].type, type))
            return &conditions->items[i];
    return NULL;
}

bool condition_true(const condition_list *conditions, const char *type)
{
    const struct condition *c = condition_find(conditions, type);
    return c && str_eq(c->status, "True");
}

bool pod_is_finished(const struct pod *p)
{
    return str_eq(p->phase, "Succeeded") || str_eq(p->phase, "Failed");
}

bool pod_is_ready(const struct pod *p)
{
    return condition_true(&p->conditions, "Ready");
}

int64_t pod_ready_since(const struct pod *p)
{
    const struct condition *c = condition_find(&p->conditions, "Ready");
    return c && str_eq(c->status, "True") ? c->changed : 0;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The effective request: all containers and sidecars together, or the largest init container on
 * top of the sidecars started before it, plus overhead. */
static int64_t effective(const struct pod *p, const char *resource,
                         int64_t (*value)(const char *text, int64_t fallback))
{
    int64_t running = 0, sidecars = 0, init = 0;
    for (size_t i = 0; i < p->containers.count; i++)
        running += value(string_map_get(&p->containers.items[i].requests, resource), 0);
    for (size_t i = 0; i < p->init_containers.count; i++) {
        const struct container *c = &p->init_containers.items[i];
        int64_t wanted = value(string_map_get(&c->requests, resource), 0);
        if (str_eq(c->restart_policy, "Always"))
            sidecars += wanted;
        else
            init = larger(init, sidecars + wanted);
    }
    return larger(running + sidecars, init) + value(string_map_get(&p->overhead, resource), 0);
}

int64_t pod_resource_request(const struct pod *p, const char *resource)
{
    return effective(p, resource, quantity_text_value);
}

void pod_complete(void *pod)
{
    struct pod *p = pod;
    p->cpu_milli = effective(p, "cpu", quantity_text_milli);
    p->memory = pod_resource_request(p, "memory");
}

void node_complete(void *node)
{
    struct node *n = node;
    n->cpu_milli = quantity_text_milli(string_map_get(&n->allocatable, "cpu"), 0);
    n->memory = quantity_text_value(string_map_get(&n->allocatable, "memory"), 0);
    n->pods = quantity_text_value(string_map_get(&n->allocatable, "pods"), 0);
    if (!n->pod_cidrs.count && n->pod_cidr && *n->pod_cidr) {
        n->pod_cidrs.items = mem_zalloc(sizeof(char *));
        n->pod_cidrs.items[n->pod_cidrs.count++] = str_dup(n->pod_cidr);
    }
}

uint64_t version_number(const char *version)
{
    return version ? strtoull(version, NULL, 10) : 0;
}

const struct owner_ref *object_controller(const struct object_meta *m)
{
    for (size_t i = 0; i < m->owners.count; i++)
        if (m->owners.items[i].controller)
            return &m->owners.items[i];
    return NULL;
}

char *object_key(const struct object_meta *m)
{
    return m->ns && *m->ns ? str_printf("%s/%s", m->ns, m->name) : str_dup(m->name);
}
