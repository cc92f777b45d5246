/*
 * Defaults: those of the schema, for every object that is there, then those that depend on other
 * fields (an image's tag, a service's type).
 */
#include <string.h>

#include "base/json.h"
#include "kube/meta.h"
#include "kube/object_internal.h"

bool object_is(const struct schema_resource *res, const char *group, const char *kind)
{
    return str_eq(res->kind, kind) && str_eq(res->group, group);
}

const char *object_pod_spec_path(const struct schema_resource *res)
{
    if (object_is(res, "", "Pod"))
        return "spec";
    if (object_is(res, "apps", "Deployment") || object_is(res, "apps", "ReplicaSet"))
        return "spec.template.spec";
    return object_is(res, "", "PodTemplate") ? "template.spec" : NULL;
}

json_t *object_pod_spec(const struct schema_resource *res, json_t *obj)
{
    const char *path = object_pod_spec_path(res);
    return path ? (json_t *)(uintptr_t)json_path(obj, path) : NULL;
}

/* Go cannot tell an empty string from an absent one; nor zero, in the counts of a probe. */
static bool is_unset(const struct schema_field *f, const json_t *member)
{
    if (!member)
        return true;
    if (json_is_string(member))
        return !*json_string_value(member);
    return f->zero_is_unset && json_is_integer(member) && json_integer_value(member) == 0;
}

/* Depth is bounded by that of the tree. */
static void apply_schema(const struct schema *type, json_t *v) // NOLINT(misc-no-recursion)
{
    if (type->kind == SCHEMA_ARRAY) {
        for (size_t i = 0; i < json_array_size(v); i++)
            apply_schema(type->items, json_array_get(v, i));
        return;
    }
    if (!json_is_object(v))
        return;
    if (type->kind == SCHEMA_MAP) {
        const char *key;
        json_t *member;
        json_object_foreach(v, key, member) {
            apply_schema(type->items, member);
        }
        return;
    }
    for (size_t i = 0; i < type->n_fields; i++) {
        const struct schema_field *f = &type->fields[i];
        json_t *member = json_object_get(v, f->name);
        if (f->def && is_unset(f, member)) {
            member = json_deep_copy(f->def);
            (void)json_object_set_new(v, f->name, member);
        }
        if (member)
            apply_schema(f->type, member);
    }
}

static void set_default(json_t *obj, const char *key, json_t *value)
{
    if (json_object_get(obj, key))
        json_decref(value);
    else
        (void)json_object_set_new(obj, key, value);
}

static const char *text_of(const json_t *obj, const char *key)
{
    const char *s = json_string_value(json_object_get(obj, key));
    return s ? s : "";
}

/* An image without a tag and digest, or with the tag "latest", may change under its name. */
static bool image_moves(const char *image)
{
    if (!*image || strchr(image, '@'))
        return false;
    const char *slash = strrchr(image, '/');
    const char *colon = strrchr(slash ? slash : image, ':');
    return !colon || str_eq(colon, ":latest");
}

static void default_containers(json_t *spec, const char *list)
{
    json_t *containers = json_object_get(spec, list);
    for (size_t i = 0; i < json_array_size(containers); i++) {
        json_t *c = json_array_get(containers, i);
        bool moves = image_moves(text_of(c, "image"));
        if (!*text_of(c, "imagePullPolicy"))
            (void)json_object_set_new(c, "imagePullPolicy",
                                      json_string(moves ? "Always" : "IfNotPresent"));
    }
}

static void default_pod_spec(json_t *spec)
{
    default_containers(spec, "containers");
    default_containers(spec, "initContainers");
    default_containers(spec, "ephemeralContainers");
    json_t *volumes = json_object_get(spec, "volumes");
    for (size_t i = 0; i < json_array_size(volumes); i++) {
        json_t *v = json_array_get(volumes, i);
        if (json_object_size(v) == 1 && json_object_get(v, "name"))
            (void)json_object_set_new(v, "emptyDir", json_object());
    }
    /* Both names of the service account are kept equal. */
    const char *name = text_of(spec, "serviceAccountName");
    if (!*name)
        name = text_of(spec, "serviceAccount");
    if (*name) {
        json_t *text = json_string(name);
        (void)json_object_set(spec, "serviceAccountName", text);
        (void)json_object_set_new(spec, "serviceAccount", text);
    }
}

static void requests_from_limits(json_t *spec, const char *list)
{
    json_t *containers = json_object_get(spec, list);
    for (size_t i = 0; i < json_array_size(containers); i++) {
        json_t *resources = json_object_get(json_array_get(containers, i), "resources");
        json_t *limits = json_object_get(resources, "limits");
        if (json_object_size(limits) == 0)
            continue;
        set_default(resources, "requests", json_object());
        (void)json_object_update_missing(json_object_get(resources, "requests"), limits);
    }
}

/* With the node's network, a container's port is the node's. */
static void host_ports(json_t *spec, const char *list)
{
    json_t *containers = json_object_get(spec, list);
    for (size_t i = 0; i < json_array_size(containers); i++) {
        json_t *ports = json_object_get(json_array_get(containers, i), "ports");
        for (size_t p = 0; p < json_array_size(ports); p++) {
            json_t *port = json_array_get(ports, p);
            if (json_integer_value(json_object_get(port, "hostPort")) == 0)
                (void)json_object_set(port, "hostPort", json_object_get(port, "containerPort"));
        }
    }
}

static void default_pod(json_t *obj)
{
    json_t *spec = json_object_get(obj, "spec");
    set_default(spec, "enableServiceLinks", json_true());
    requests_from_limits(spec, "containers");
    requests_from_limits(spec, "initContainers");
    if (json_is_true(json_object_get(spec, "hostNetwork"))) {
        host_ports(spec, "containers");
        host_ports(spec, "initContainers");
    }
}

static void default_service(json_t *obj)
{
    json_t *spec = json_object_get(obj, "spec");
    const char *type = text_of(spec, "type");
    bool external_name = str_eq(type, "ExternalName");
    bool balanced = str_eq(type, "LoadBalancer");
    bool outside = str_eq(type, "NodePort") || balanced ||
                   (!external_name && json_array_size(json_object_get(spec, "externalIPs")) > 0);
    if (str_eq(text_of(spec, "sessionAffinity"), "ClientIP")) {
        set_default(spec, "sessionAffinityConfig", json_object());
        json_t *config = json_object_get(spec, "sessionAffinityConfig");
        set_default(config, "clientIP", json_object());
        set_default(json_object_get(config, "clientIP"), "timeoutSeconds", json_integer(10800));
    } else {
        (void)json_object_del(spec, "sessionAffinityConfig");
    }
    json_t *ports = json_object_get(spec, "ports");
    for (size_t i = 0; i < json_array_size(ports); i++) {
        json_t *port = json_array_get(ports, i);
        const json_t *target = json_object_get(port, "targetPort");
        bool empty = !target || (json_is_integer(target) && json_integer_value(target) == 0) ||
                     (json_is_string(target) && !*json_string_value(target));
        if (empty && json_object_get(port, "port"))
            (void)json_object_set(port, "targetPort", json_object_get(port, "port"));
    }
    if (outside && !*text_of(spec, "externalTrafficPolicy"))
        (void)json_object_set_new(spec, "externalTrafficPolicy", json_string("Cluster"));
    if (!external_name && !*text_of(spec, "internalTrafficPolicy"))
        (void)json_object_set_new(spec, "internalTrafficPolicy", json_string("Cluster"));
    if (balanced)
        set_default(spec, "allocateLoadBalancerNodePorts", json_true());
}

static void default_deployment(json_t *obj)
{
    json_t *spec = json_object_get(obj, "spec");
    set_default(spec, "strategy", json_object());
    json_t *strategy = json_object_get(spec, "strategy");
    if (!*text_of(strategy, "type"))
        (void)json_object_set_new(strategy, "type", json_string("RollingUpdate"));
    if (!str_eq(text_of(strategy, "type"), "RollingUpdate"))
        return;
    set_default(strategy, "rollingUpdate", json_object());
    json_t *rolling = json_object_get(strategy, "rollingUpdate");
    set_default(rolling, "maxUnavailable", json_string("25%"));
    set_default(rolling, "maxSurge", json_string("25%"));
}

static void default_namespace(json_t *obj)
{
    const char *name = meta_name(obj);
    if (*name)
        meta_set_label(obj, "kubernetes.io/metadata.name", name);
}

static void default_node(json_t *obj)
{
    json_t *status = json_object_get(obj, "status");
    json_t *capacity = json_object_get(status, "capacity");
    if (json_object_size(capacity) && !json_object_get(status, "allocatable"))
        (void)json_object_set_new(status, "allocatable", json_deep_copy(capacity));
}

bool object_is_rbac(const struct schema_resource *res)
{
    return str_eq(res->group, RBAC_GROUP);
}

static void default_group(json_t *ref)
{
    if (json_is_object(ref) && !*text_of(ref, "apiGroup"))
        (void)json_object_set_new(ref, "apiGroup", json_string(RBAC_GROUP));
}

static void default_binding(json_t *obj)
{
    size_t i;
    json_t *subject;
    default_group(json_object_get(obj, "roleRef"));
    json_array_foreach(json_object_get(obj, "subjects"), i, subject) {
        if (!str_eq(text_of(subject, "kind"), "ServiceAccount"))
            default_group(subject);
    }
}

void object_default(const struct schema_resource *res, json_t *obj)
{
    static const struct {
        const char *group, *kind;
        void (*apply)(json_t *obj);
    } kinds[] = {
        {"", "Pod", default_pod},
        {"", "Service", default_service},
        {"", "Namespace", default_namespace},
        {"", "Node", default_node},
        {"apps", "Deployment", default_deployment},
        {RBAC_GROUP, "RoleBinding", default_binding},
        {RBAC_GROUP, "ClusterRoleBinding", default_binding},
    };
    apply_schema(res->type, obj);
    json_t *spec = object_pod_spec(res, obj);
    if (spec)
        default_pod_spec(spec);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (object_is(res, kinds[i].group, kinds[i].kind))
            kinds[i].apply(obj);
}
