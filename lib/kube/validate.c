/*
 * Validation: first what the schema's attributes say of every field, then the rules of the kind.
 * Lists of built-in kinds are not checked for equal keys here: upstream allows some (two variables
 * of one name), the rules of the kinds refuse the others.
 */
#include <string.h>

#include "base/json.h"
#include "kube/format.h"
#include "kube/meta.h"
#include "kube/validate_internal.h"

const char *member_text(const json_t *obj, const char *key)
{
    const char *s = json_string_value(json_object_get(obj, key));
    return s ? s : "";
}

void validate_immutable(const json_t *obj, const json_t *old, const char *key,
                        const struct field_path *parent, struct field_errors *errs)
{
    const json_t *a = json_object_get(obj, key), *b = json_object_get(old, key);
    if ((a || b) && !json_equal(a, b))
        field_invalid(errs, FIELD(parent, key), a, "field is immutable");
}

void validate_format(const json_t *obj, const char *key, enum schema_format format,
                     const struct field_path *parent, struct field_errors *errs)
{
    const char *text = member_text(obj, key);
    const char *problem = *text ? format_problem(format, text) : NULL;
    if (problem)
        field_invalid_text(errs, FIELD(parent, key), text, "%s", problem);
}

static void check_number(const struct schema *type, const json_t *value,
                         const struct field_path *path, struct field_errors *errs)
{
    int64_t v = json_integer_value(value);
    bool low = type->has_min && v < type->min, high = type->has_max && v > type->max;
    if (!low && !high)
        return;
    if (type->has_min && type->has_max)
        field_invalid_int(errs, path, v, "must be between %lld and %lld, inclusive",
                          (long long)type->min, (long long)type->max);
    else if (low)
        field_invalid_int(errs, path, v, "must be greater than or equal to %lld",
                          (long long)type->min);
    else
        field_invalid_int(errs, path, v, "must be less than or equal to %lld",
                          (long long)type->max);
}

static void check_string(const struct schema *type, const json_t *value,
                         const struct field_path *path, struct field_errors *errs)
{
    const char *text = json_string_value(value);
    if (type->values) {
        size_t i = 0;
        while (type->values[i] && !str_eq(type->values[i], text))
            i++;
        if (!type->values[i] && *text)
            field_not_supported(errs, path, value, type->values);
    }
    const char *problem = *text ? format_problem(type->format, text) : NULL;
    if (problem)
        field_invalid_text(errs, path, text, "%s", problem);
    if (type->max_length && strlen(text) > (size_t)type->max_length)
        field_too_long(errs, path, (size_t)type->max_length);
}

static void check_int_or_string(const struct schema *type, const json_t *value,
                                const struct field_path *path, struct field_errors *errs)
{
    if (type->format != FORMAT_PERCENT_OR_COUNT)
        return;
    if (json_is_integer(value) && json_integer_value(value) < 0)
        field_invalid_int(errs, path, json_integer_value(value), POSITIVE_OR_ZERO);
    else if (json_is_string(value) && format_problem(type->format, json_string_value(value)))
        field_invalid_text(errs, path, json_string_value(value), "%s",
                           format_problem(type->format, json_string_value(value)));
}

/* Whether a required value is as good as missing. */
static bool is_empty(const struct schema *type, const json_t *v)
{
    if (!v)
        return true;
    switch (type->kind) {
    case SCHEMA_STRING:
        return !*json_string_value(v);
    case SCHEMA_ARRAY:
        return json_array_size(v) == 0;
    case SCHEMA_INT32:
    case SCHEMA_INT64:
        return type->has_min && type->min > 0 && json_integer_value(v) == 0;
    default:
        return false;
    }
}

static void check_object(const struct schema *type,
                         const json_t *value, // NOLINT(misc-no-recursion)
                         const struct field_path *path, struct field_errors *errs)
{
    for (size_t i = 0; i < type->n_fields; i++) {
        const struct schema_field *f = &type->fields[i];
        const json_t *member = json_object_get(value, f->name);
        if (f->checked && is_empty(f->type, member))
            field_required(errs, FIELD(path, f->name), NULL);
        else if (member)
            validate_schema(f->type, member, FIELD(path, f->name), errs);
    }
}

void validate_schema(const struct schema *type, const json_t *value, // NOLINT(misc-no-recursion)
                     const struct field_path *path, struct field_errors *errs)
{
    const char *key;
    json_t *member;
    switch (type->kind) {
    case SCHEMA_OBJECT:
        check_object(type, value, path, errs);
        break;
    case SCHEMA_MAP:
        json_object_foreach((json_t *)(uintptr_t)value, key, member) {
            validate_schema(type->items, member, FIELD_KEY(path, key), errs);
        }
        break;
    case SCHEMA_ARRAY:
        if (type->max_length && json_array_size(value) > (size_t)type->max_length)
            field_too_many(errs, path, json_array_size(value), (size_t)type->max_length);
        for (size_t i = 0; i < json_array_size(value); i++)
            validate_schema(type->items, json_array_get(value, i), FIELD_INDEX(path, i), errs);
        break;
    case SCHEMA_STRING:
        check_string(type, value, path, errs);
        break;
    case SCHEMA_INT32:
    case SCHEMA_INT64:
        check_number(type, value, path, errs);
        break;
    case SCHEMA_INT_OR_STRING:
        check_int_or_string(type, value, path, errs);
        break;
    default:
        break;
    }
}

/* Fields marked immutable, at any depth outside of lists. */
static void check_immutable(const struct schema *type,
                            const json_t *obj, // NOLINT(misc-no-recursion)
                            const json_t *old, const struct field_path *path,
                            struct field_errors *errs)
{
    for (size_t i = 0; i < type->n_fields; i++) {
        const struct schema_field *f = &type->fields[i];
        const json_t *was = json_object_get(old, f->name);
        if (f->immutable && was)
            validate_immutable(obj, old, f->name, path, errs);
        else if (f->type->kind == SCHEMA_OBJECT && was)
            check_immutable(f->type, json_object_get(obj, f->name), was, FIELD(path, f->name),
                            errs);
    }
}

static const struct {
    const char *group, *kind;
    void (*validate)(const json_t *obj, struct field_errors *errs);
    void (*validate_update)(const json_t *obj, const json_t *old, struct field_errors *errs);
} KINDS[] = {
    {"", "Pod", validate_pod, NULL},
    {"", "Service", validate_service, validate_service_update},
    {"", "Endpoints", validate_endpoints, NULL},
    {"", "ConfigMap", validate_config_map, validate_config_map_update},
    {"", "Secret", validate_secret, validate_secret_update},
    {"", "Node", validate_node, validate_node_update},
    {"", "PodTemplate", validate_pod_template, NULL},
    {"", "Event", validate_event, NULL},
    {"events.k8s.io", "Event", validate_events_v1, NULL},
    {"apps", "Deployment", validate_deployment, validate_workload_update},
    {"apps", "ReplicaSet", validate_replica_set, validate_workload_update},
    {"discovery.k8s.io", "EndpointSlice", validate_endpoint_slice, NULL},
    {"coordination.k8s.io", "Lease", validate_lease, NULL},
    {"", "PersistentVolume", validate_persistent_volume, validate_persistent_volume_update},
    {"", "PersistentVolumeClaim", validate_claim, validate_claim_update},
    {"scheduling.k8s.io", "PriorityClass", validate_priority_class, NULL},
    {"storage.k8s.io", "StorageClass", validate_storage_class, NULL},
    {"certificates.k8s.io", "CertificateSigningRequest", validate_csr, NULL},
    {"rbac.authorization.k8s.io", "Role", validate_role, NULL},
    {"rbac.authorization.k8s.io", "ClusterRole", validate_cluster_role, NULL},
    {"rbac.authorization.k8s.io", "RoleBinding", validate_role_binding, validate_binding_update},
    {"rbac.authorization.k8s.io", "ClusterRoleBinding", validate_cluster_role_binding,
     validate_binding_update},
};

static void validate_object(const struct schema_resource *res, const json_t *obj,
                            struct field_errors *errs)
{
    validate_meta(res, obj, errs);
    for (size_t i = 0; i < res->type->n_fields; i++) {
        const struct schema_field *f = &res->type->fields[i];
        const json_t *member = json_object_get(obj, f->name);
        if (str_eq(f->name, "metadata"))
            continue;
        if (f->checked && is_empty(f->type, member))
            field_required(errs, FIELD(NULL, f->name), NULL);
        else if (member)
            validate_schema(f->type, member, FIELD(NULL, f->name), errs);
    }
    for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++)
        if (object_is(res, KINDS[i].group, KINDS[i].kind))
            KINDS[i].validate(obj, errs);
}

void object_validate_create(const struct schema_resource *res, const json_t *obj,
                            struct field_errors *errs)
{
    validate_object(res, obj, errs);
    if (object_is(res, "", "Pod") &&
        json_array_size(json_path(obj, "spec.ephemeralContainers")) > 0)
        field_forbidden(errs, FIELD(FIELD(NULL, "spec"), "ephemeralContainers"),
                        "cannot be set on create");
}

void object_validate_update(const struct schema_resource *res, const char *subresource,
                            const json_t *obj, const json_t *old, struct field_errors *errs)
{
    validate_meta_update(obj, old, errs);
    if (object_is(res, "certificates.k8s.io", "CertificateSigningRequest"))
        validate_csr_update(obj, old, subresource, errs);
    if (subresource && (str_eq(subresource, "status") || str_eq(subresource, "approval"))) {
        const struct schema_field *f = schema_field_get(res->type, "status");
        const json_t *status = json_object_get(obj, "status");
        if (f && status)
            validate_schema(f->type, status, FIELD(NULL, "status"), errs);
        return;
    }
    validate_object(res, obj, errs);
    check_immutable(res->type, obj, old, NULL, errs);
    if (object_is(res, "", "Pod"))
        validate_pod_update(obj, old, subresource, errs);
    for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++)
        if (object_is(res, KINDS[i].group, KINDS[i].kind) && KINDS[i].validate_update)
            KINDS[i].validate_update(obj, old, errs);
}
