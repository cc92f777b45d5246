/* meta.k8s.io/v1 Tables: what `kubectl get` asks for. */
#pragma once

#include <jansson.h>

#include "kube/schema.h"

enum table_include { TABLE_INCLUDE_METADATA, TABLE_INCLUDE_OBJECT, TABLE_INCLUDE_NONE };
/* "", "Metadata", "Object", "None"; -EINVAL otherwise. */
int table_include_parse(const char *text, enum table_include *ret);

/* A Table without rows. @with_columns false leaves columnDefinitions out (later events of a
 * watch). @list_meta (may be NULL): metadata of the list, borrowed. @version is "v1" or "v1beta1".
 * New reference. */
json_t *table_new(const struct schema_resource *res, const char *version, bool with_columns,
                  const json_t *list_meta);
/* Adds the row of @obj. @now: seconds since the epoch, for ages. */
void table_add(json_t *table, const struct schema_resource *res, const json_t *obj,
               enum table_include include, int64_t now);
/* The cells of one object in the order of res->columns, as JSON values. New reference. */
json_t *table_cells(const struct schema_resource *res, const json_t *obj, int64_t now);

/* "5d3h", "42s": as kubectl writes ages. @buf holds TABLE_AGE_MAX bytes; returned. */
#define TABLE_AGE_MAX 24
char *table_age(int64_t seconds, char *buf);
