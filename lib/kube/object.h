/*
 * What happens to an object on its way through the API: decode, default, prepare, validate. All
 * work on JSON trees against a schema_resource; the server calls them in this order:
 *
 *   create: object_decode → object_default → object_prepare_create → (server: uid, times, …)
 *           → object_validate_create
 *   update: object_decode → object_default → object_prepare_update → object_validate_update
 *   patch:  kube/patch.h on the stored object, object_check (strictness on the result), then as
 *           an update
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "kube/field_error.h"
#include "kube/schema.h"

#define OBJECT_MAX_BYTES (3u << 20) /* upstream's limit of a request body */

enum field_validation { FIELD_VALIDATION_IGNORE, FIELD_VALIDATION_WARN, FIELD_VALIDATION_STRICT };
/* "", "Ignore", "Warn", "Strict"; -EINVAL for another word. "" is Warn, as upstream's server. */
int field_validation_parse(const char *text, enum field_validation *ret);

/*
 * Bytes (JSON; YAML when @yaml) → a tree of @res's type: every value has the type the schema says,
 * unknown fields are gone, nulls are gone, quantities are canonical, apiVersion and kind are set.
 * Duplicate keys: the last one holds unless strict.
 * @ret_warnings (may be NULL): for FIELD_VALIDATION_WARN a new array of strings ("unknown field
 * \"spec.foo\""), else an empty one.
 * Returns 0 and *ret; or -EINVAL and *ret_status, a Status to answer with (400, 413).
 */
int object_decode(const struct schema_resource *res, const char *data, size_t len, bool yaml,
                  enum field_validation fv, json_t **ret, json_t **ret_warnings,
                  json_t **ret_status);
/* The same for a tree at hand (result of a patch); changes @obj in place. */
int object_check(const struct schema_resource *res, json_t *obj, enum field_validation fv,
                 json_t **ret_warnings, json_t **ret_status);

/* Sets every default that upstream sets (schema defaults and those computed from other fields).
 * Idempotent. @obj has been decoded. */
void object_default(const struct schema_resource *res, json_t *obj);

/* What a kind's registry does before storing: clears what a client may not set (status on create
 * and on update, spec on an update of "status"), starts or raises metadata.generation, keeps what
 * an update may leave out (clusterIP…). @subresource is NULL or "" for the object itself. @old is
 * what is stored. */
void object_prepare_create(const struct schema_resource *res, json_t *obj);
void object_prepare_update(const struct schema_resource *res, const char *subresource, json_t *obj,
                           const json_t *old);

/* Adds everything that is wrong. metadata.name and namespace must be set by now. */
void object_validate_create(const struct schema_resource *res, const json_t *obj,
                            struct field_errors *errs);
void object_validate_update(const struct schema_resource *res, const char *subresource,
                            const json_t *obj, const json_t *old, struct field_errors *errs);

/* Why @name is no name for an object of this resource, or NULL; a static text. */
const char *object_name_problem(const struct schema_resource *res, const char *name);

/* The autoscaling/v1 Scale of a Deployment or ReplicaSet. New reference. */
json_t *object_scale_get(const struct schema_resource *res, const json_t *obj);
/* Puts the replicas of @scale into @obj. 0, or -EINVAL with errors for an invalid scale. */
int object_scale_set(json_t *obj, const json_t *scale, struct field_errors *errs);
