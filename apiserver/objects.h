/*
 * From a request's body to an object that can be stored: decoding, what the server fills in, what
 * it keeps from the stored object, validation. Every function that returns a json_t * returns NULL
 * when all is well, else a new Status to answer with.
 */
#pragma once

#include "apiserver/server.h"
#include "kube/patch.h"

/* Reads dryRun from the query. */
json_t *object_dry_run(const struct request *r, bool *ret);
/* fieldValidation of the query. */
json_t *object_field_validation(const struct request *r, enum field_validation *ret);

/* The body as it is, in whichever form it came: for kinds that only travel (Binding,
 * DeleteOptions). */
json_t *object_raw_body(const struct request *r, json_t **ret);
/* The body as a tree of @res's kind, with name and namespace checked against the path and the
 * namespace filled in. Warnings go to the request. */
json_t *object_from_body(struct request *r, const struct schema_resource *res, json_t **ret);

/* For a creation: metadata, defaults, validation. The name must be set. */
json_t *object_complete_new(const struct route *route, json_t *obj);
/* For an update of @old (with its resourceVersion): checks uid and resourceVersion, keeps what the
 * server owns, defaults, validation. */
json_t *object_complete_update(const struct route *route, const char *subresource, json_t *obj,
                               const json_t *old);
/* The body of a patch, with its kind. */
json_t *patch_from_body(const struct request *r, enum patch_kind *ret_kind, json_t **ret);
/* What a failed patch_apply() answers. */
json_t *patch_status(const struct route *route, const char *name, int code,
                     const struct error *err);
/* Whether nothing holds an object back any more that is being deleted. */
bool object_is_released(const struct route *route, const json_t *obj);
/* "2026-01-02T03:04:05Z" now, as a JSON string. */
json_t *object_now(void);
