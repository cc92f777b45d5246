/* What the object_*.c and validate_*.c files share; see object.h. */
#pragma once

#include "kube/object.h"

/* Appends `duplicate field "spec.foo"` to @out for every key that an object of this valid JSON
 * text holds twice. */
void object_find_duplicates(const char *data, size_t len, json_t *out);

/* The pod spec inside an object of this kind (of a Pod, Deployment, ReplicaSet, PodTemplate), made
 * of borrowed references; NULL for other kinds. */
json_t *object_pod_spec(const struct schema_resource *res, json_t *obj);
/* "spec", "spec.template.spec", …: where that is. NULL for other kinds. */
const char *object_pod_spec_path(const struct schema_resource *res);

bool object_is(const struct schema_resource *res, const char *group, const char *kind);

#define RBAC_GROUP "rbac.authorization.k8s.io"
bool object_is_rbac(const struct schema_resource *res); /* a role or a binding */

/* Guaranteed, Burstable or BestEffort. */
const char *object_pod_qos(const json_t *pod_spec);

/* Base64 (RFC 4648, padded, line breaks ignored): whether it is valid. */
bool object_base64_valid(const char *text);
