/* Reading and writing what all objects share: apiVersion, kind and metadata. */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"

/* Text fields; "" when absent, never NULL. Borrowed from the object. */
const char *meta_api_version(const json_t *obj);
const char *meta_kind(const json_t *obj);
const char *meta_name(const json_t *obj);
const char *meta_namespace(const json_t *obj);
const char *meta_uid(const json_t *obj);
const char *meta_resource_version(const json_t *obj);
const char *meta_generate_name(const json_t *obj);
const char *meta_creation_timestamp(const json_t *obj);
const char *meta_deletion_timestamp(const json_t *obj); /* "" when not being deleted */
int64_t meta_generation(const json_t *obj);
const json_t *meta_labels(const json_t *obj); /* object or NULL */
const json_t *meta_annotations(const json_t *obj);
const char *meta_label(const json_t *obj, const char *key);      /* NULL when absent */
const char *meta_annotation(const json_t *obj, const char *key); /* NULL when absent */

/* metadata, made when it is missing. Borrowed. */
json_t *meta_of(json_t *obj);
/* Sets metadata.@field; NULL or "" removes it. */
void meta_set(json_t *obj, const char *field, const char *value);
void meta_set_int(json_t *obj, const char *field, int64_t value);
void meta_set_annotation(json_t *obj, const char *key, const char *value); /* NULL removes */
void meta_set_label(json_t *obj, const char *key, const char *value);

/* The owner reference with controller: true, or NULL. */
const json_t *meta_controller(const json_t *obj);
bool meta_owned_by(const json_t *obj, const char *uid);
/* A new ownerReference to @owner with controller and blockOwnerDeletion. */
json_t *meta_controller_ref(const json_t *owner);

bool meta_has_finalizer(const json_t *obj, const char *finalizer);
/* 0 when removed, -ENOENT when it was not there. */
int meta_remove_finalizer(json_t *obj, const char *finalizer);

/* Splits "apps/v1" or "v1" into group ("" core) and version. Buffers hold META_PART_MAX bytes.
 * -EINVAL when it has two slashes, an empty part, or is too long. */
#define META_PART_MAX 256
int meta_split_api_version(const char *api_version, char *group, char *version);

/* "<base><5 random letters>", as names made from generateName; base is cut to fit 63. Caller
 * frees. */
char *meta_generated_name(const char *base);
