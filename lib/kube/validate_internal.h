/*
 * Rules that the schema's attributes cannot say, kind by kind. Every rule adds to @errs and goes
 * on; values have the types of the schema (object_decode), so rules look only at content.
 */
#pragma once

#include "kube/object_internal.h"

#define POSITIVE_OR_ZERO "must be greater than or equal to 0"

/* ---- validate.c ---- */
/* Everything that the attributes of @type say. */
void validate_schema(const struct schema *type, const json_t *value, const struct field_path *path,
                     struct field_errors *errs);
/* Text of a member, "" when absent. */
const char *member_text(const json_t *obj, const char *key);
/* "field is immutable" when obj.key differs from old.key. */
void validate_immutable(const json_t *obj, const json_t *old, const char *key,
                        const struct field_path *parent, struct field_errors *errs);
/* An invalid format as a field error; "" is taken. */
void validate_format(const json_t *obj, const char *key, enum schema_format format,
                     const struct field_path *parent, struct field_errors *errs);

/* ---- validate_meta.c ---- */
void validate_meta(const struct schema_resource *res, const json_t *obj, struct field_errors *errs);
void validate_meta_update(const json_t *obj, const json_t *old, struct field_errors *errs);
void validate_labels(const json_t *labels, const struct field_path *path,
                     struct field_errors *errs);
void validate_annotations(const json_t *annotations, const struct field_path *path,
                          struct field_errors *errs);
void validate_label_selector(const json_t *selector, const struct field_path *path,
                             struct field_errors *errs);

/* ---- validate_pod.c, validate_container.c, validate_volume.c, validate_scheduling.c ---- */
void validate_pod_spec(const json_t *spec, const struct field_path *path,
                       struct field_errors *errs);
void validate_pod(const json_t *pod, struct field_errors *errs);
void validate_pod_update(const json_t *pod, const json_t *old, const char *subresource,
                         struct field_errors *errs);
void validate_containers(const json_t *spec, const struct field_path *path,
                         struct field_errors *errs);
void validate_security_context(const json_t *context, const struct field_path *path,
                               struct field_errors *errs);
void validate_volumes(const json_t *volumes, const struct field_path *path,
                      struct field_errors *errs);
void validate_scheduling(const json_t *spec, const struct field_path *path,
                         struct field_errors *errs);
/* ResourceRequirements. */
void validate_resources(const json_t *resources, const struct field_path *path,
                        struct field_errors *errs);
/* A fieldRef or resourceFieldRef; @in_volume: the fields that files may hold. */
void validate_field_ref(const json_t *ref, bool in_volume, const struct field_path *path,
                        struct field_errors *errs);
void validate_resource_field_ref(const json_t *ref, bool in_volume, const struct field_path *path,
                                 struct field_errors *errs);

/* ---- the other kinds ---- */
void validate_service(const json_t *service, struct field_errors *errs);
void validate_service_update(const json_t *service, const json_t *old, struct field_errors *errs);
void validate_endpoints(const json_t *endpoints, struct field_errors *errs);
void validate_endpoint_slice(const json_t *slice, struct field_errors *errs);
void validate_replica_set(const json_t *obj, struct field_errors *errs);
void validate_deployment(const json_t *obj, struct field_errors *errs);
void validate_workload_update(const json_t *obj, const json_t *old, struct field_errors *errs);
void validate_pod_template(const json_t *obj, struct field_errors *errs);
void validate_config_map(const json_t *obj, struct field_errors *errs);
void validate_config_map_update(const json_t *obj, const json_t *old, struct field_errors *errs);
void validate_secret(const json_t *obj, struct field_errors *errs);
void validate_secret_update(const json_t *obj, const json_t *old, struct field_errors *errs);
void validate_node(const json_t *obj, struct field_errors *errs);
void validate_node_update(const json_t *obj, const json_t *old, struct field_errors *errs);
/* ---- validate_rbac.c ---- */
void validate_role(const json_t *obj, struct field_errors *errs);
void validate_cluster_role(const json_t *obj, struct field_errors *errs);
void validate_role_binding(const json_t *obj, struct field_errors *errs);
void validate_cluster_role_binding(const json_t *obj, struct field_errors *errs);
void validate_binding_update(const json_t *obj, const json_t *old, struct field_errors *errs);

/* ---- validate_storage.c ---- */
void validate_persistent_volume(const json_t *obj, struct field_errors *errs);
void validate_persistent_volume_update(const json_t *obj, const json_t *old,
                                       struct field_errors *errs);
void validate_claim(const json_t *obj, struct field_errors *errs);
void validate_claim_spec(const json_t *spec, const struct field_path *path,
                         struct field_errors *errs);
void validate_claim_update(const json_t *obj, const json_t *old, struct field_errors *errs);
void validate_priority_class(const json_t *obj, struct field_errors *errs);
void validate_storage_class(const json_t *obj, struct field_errors *errs);

/* ---- validate_certificates.c ---- */
void validate_csr(const json_t *obj, struct field_errors *errs);
void validate_csr_update(const json_t *obj, const json_t *old, const char *subresource,
                         struct field_errors *errs);

void validate_lease(const json_t *obj, struct field_errors *errs);
void validate_event(const json_t *obj, struct field_errors *errs);
void validate_events_v1(const json_t *obj, struct field_errors *errs);
