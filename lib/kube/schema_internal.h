/* What schema.c (registry, lookups) and schema_parse.c (text form) share. */
#pragma once

#include "kube/schema.h"

struct schema_registry {
    struct schema **types; /* in order of definition; structs in the arena */
    size_t n_types;
    struct schema_resource **resources;
    size_t n_resources;
    struct map types_by_name; /* full name → struct schema */
    struct arena_block *arena;
    json_t *defaults; /* array that keeps default values alive */
};

/* Memory that lives as long as the registry, zeroed. */
void *schema_alloc(struct schema_registry *reg, size_t size);
char *schema_text(struct schema_registry *reg, const char *s, size_t len);
/* Registers an empty named object type. */
struct schema *schema_type_add(struct schema_registry *reg, const char *name);
void schema_type_set_fields(struct schema_registry *reg, struct schema *type,
                            const struct schema_field *fields, size_t count);
void schema_resource_add(struct schema_registry *reg, struct schema_resource *res);
