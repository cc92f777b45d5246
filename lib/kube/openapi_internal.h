/* What openapi.c (definitions), openapi_paths.c and openapi_proto.c share. */
#pragma once

#include "kube/openapi.h"

#define META_TYPE(name) "io.k8s.apimachinery.pkg.apis.meta.v1." name

struct openapi_form {
    bool v3;
    const char *ref_prefix; /* "#/definitions/" or "#/components/schemas/" */
};
extern const struct openapi_form OPENAPI_FORM_V2, OPENAPI_FORM_V3;

/* {"$ref": …}. New reference; likewise below. */
json_t *openapi_ref(const struct openapi_form *form, const char *type_name);
/* [{"group", "kind", "version"}]'s one element. */
json_t *openapi_gvk(const char *group, const char *version, const char *kind);
/* Subresources that are another kind than their resource. The last has no name. */
struct openapi_sub {
    const char *name, *group, *version, *kind;
    const char *type; /* definition */
    bool posted;      /* it is only created */
};
extern const struct openapi_sub OPENAPI_SUBS[];
/* Adds to @paths every path of @res. */
void openapi_add_paths(const struct openapi_form *form, const struct schema_resource *res,
                       json_t *paths);
