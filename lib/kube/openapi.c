/*
 * OpenAPI documents from the schema. Both versions share everything but the place of definitions
 * and what may stand beside a reference: v2 lets a description do so, v3 wraps the reference in
 * allOf.
 */
#include "kube/openapi.h"

#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/map.h"
#include "kube/openapi_internal.h"

const struct openapi_form OPENAPI_FORM_V2 = {.v3 = false, .ref_prefix = "#/definitions/"};
const struct openapi_form OPENAPI_FORM_V3 = {.v3 = true, .ref_prefix = "#/components/schemas/"};

/* Scalars that have a definition of their own. */
static const struct {
    enum schema_kind kind;
    const char *name;
    const char *format;
    const char *description;
} NAMED_SCALARS[] = {
    {SCHEMA_QUANTITY, "io.k8s.apimachinery.pkg.api.resource.Quantity", NULL,
     "An amount: a number with an optional suffix (m, k, M, G, Ki, Mi, Gi …)."},
    {SCHEMA_INT_OR_STRING, "io.k8s.apimachinery.pkg.util.intstr.IntOrString", "int-or-string",
     "An integer or a string."},
    {SCHEMA_TIME, META_TYPE("Time"), "date-time", "A time in RFC 3339 form, to the second."},
    {SCHEMA_MICRO_TIME, META_TYPE("MicroTime"), "date-time",
     "A time in RFC 3339 form, to the microsecond."},
    {SCHEMA_DURATION, META_TYPE("Duration"), NULL, "A duration such as 1m30s."},
    {SCHEMA_ANY, "io.k8s.apimachinery.pkg.runtime.RawExtension", NULL, "Any object."},
};

static const char *scalar_name(enum schema_kind kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(NAMED_SCALARS); i++)
        if (NAMED_SCALARS[i].kind == kind)
            return NAMED_SCALARS[i].name;
    return NULL;
}

static void set_text(json_t *o, const char *key, const char *value)
{
    (void)json_object_set_new(o, key, json_text(value));
}

json_t *openapi_ref(const struct openapi_form *form, const char *type_name)
{
    _cleanup_free_ char *target = str_printf("%s%s", form->ref_prefix, type_name);
    json_t *ref = json_object();
    set_text(ref, "$ref", target);
    return ref;
}

json_t *openapi_gvk(const char *group, const char *version, const char *kind)
{
    json_t *gvk = json_object();
    set_text(gvk, "group", group);
    set_text(gvk, "kind", kind);
    set_text(gvk, "version", version);
    return gvk;
}

static json_t *text_list(const char *const *list)
{
    json_t *out = json_array();
    for (; list && *list; list++)
        (void)json_array_append_new(out, json_text(*list));
    return out;
}

static void describe_scalar(const struct schema *type, json_t *out)
{
    static const struct {
        enum schema_kind kind;
        const char *type, *format;
    } scalars[] = {
        {SCHEMA_STRING, "string", NULL},     {SCHEMA_BOOL, "boolean", NULL},
        {SCHEMA_INT32, "integer", "int32"},  {SCHEMA_INT64, "integer", "int64"},
        {SCHEMA_DOUBLE, "number", "double"}, {SCHEMA_BYTES, "string", "byte"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(scalars); i++) {
        if (scalars[i].kind != type->kind)
            continue;
        set_text(out, "type", scalars[i].type);
        if (scalars[i].format)
            set_text(out, "format", scalars[i].format);
    }
    if (type->values)
        (void)json_object_set_new(out, "enum", text_list(type->values));
}

/* What a value of @type looks like where it is used: a reference for everything with a name. */
static json_t *type_use(const struct openapi_form *form, // NOLINT(misc-no-recursion)
                        const struct schema *type)
{
    const char *name = type->name ? type->name : scalar_name(type->kind);
    if (name)
        return openapi_ref(form, name);
    json_t *out = json_object();
    if (type->kind == SCHEMA_ARRAY) {
        static const char *const list_types[] = {
            [SCHEMA_LIST_ATOMIC] = "atomic", [SCHEMA_LIST_SET] = "set", [SCHEMA_LIST_MAP] = "map"};
        set_text(out, "type", "array");
        (void)json_object_set_new(out, "items", type_use(form, type->items));
        set_text(out, "x-kubernetes-list-type", list_types[type->list_type]);
        if (type->list_keys)
            (void)json_object_set_new(out, "x-kubernetes-list-map-keys",
                                      text_list(type->list_keys));
    } else if (type->kind == SCHEMA_MAP) {
        set_text(out, "type", "object");
        (void)json_object_set_new(out, "additionalProperties", type_use(form, type->items));
        if (type->atomic)
            set_text(out, "x-kubernetes-map-type", "atomic");
    } else {
        describe_scalar(type, out);
    }
    return out;
}

static json_t *field_schema(const struct openapi_form *form, const struct schema_field *f)
{
    json_t *out = type_use(form, f->type);
    if (form->v3 && json_object_get(out, "$ref")) {
        json_t *all = json_array();
        (void)json_array_append_new(all, out);
        out = json_object();
        (void)json_object_set_new(out, "allOf", all);
    }
    set_text(out, "description", f->description);
    if (form->v3 && f->def)
        (void)json_object_set_new(out, "default", json_deep_copy(f->def));
    if (f->patch_strategy)
        set_text(out, "x-kubernetes-patch-strategy", f->patch_strategy);
    if (f->patch_merge_key)
        set_text(out, "x-kubernetes-patch-merge-key", f->patch_merge_key);
    return out;
}

/* The kinds that a type is known as; NULL when it is none. */
static json_t *kinds_of(const struct schema_registry *reg, const struct schema *type)
{
    json_t *list = json_array();
    const struct schema_resource *r;
    for (size_t i = 0; (r = schema_resource_at(reg, i)); i++) {
        _cleanup_free_ char *list_type = NULL;
        if (r->type == type)
            (void)json_array_append_new(list, openapi_gvk(r->group, r->version, r->kind));
        if (r->list_kind && str_ends(type->name, r->list_kind)) {
            const char *dot = strrchr(r->type->name, '.');
            list_type =
                str_printf("%.*s.%s", (int)(dot - r->type->name), r->type->name, r->list_kind);
            if (str_eq(list_type, type->name))
                (void)json_array_append_new(list, openapi_gvk(r->group, r->version, r->list_kind));
        }
    }
    if (json_array_size(list))
        return list;
    json_decref(list);
    return NULL;
}

static json_t *definition(const struct openapi_form *form, const struct schema_registry *reg,
                          const struct schema *type)
{
    json_t *out = json_object();
    json_t *required = json_array(), *properties = json_object();
    set_text(out, "description", type->description);
    set_text(out, "type", "object");
    for (size_t i = 0; i < type->n_fields; i++) {
        const struct schema_field *f = &type->fields[i];
        (void)json_object_set_new(properties, f->name, field_schema(form, f));
        if (f->required)
            (void)json_array_append_new(required, json_text(f->name));
    }
    if (json_array_size(required))
        (void)json_object_set(out, "required", required);
    json_decref(required);
    if (json_object_size(properties))
        (void)json_object_set(out, "properties", properties);
    json_decref(properties);
    if (type->atomic)
        set_text(out, "x-kubernetes-map-type", "atomic");
    json_t *kinds = kinds_of(reg, type);
    if (kinds)
        (void)json_object_set_new(out, "x-kubernetes-group-version-kind", kinds);
    return out;
}

static json_t *alternatives(const char *a, const char *b)
{
    const char *const types[] = {a, b};
    json_t *list = json_array();
    for (size_t i = 0; i < 2; i++) {
        json_t *t = json_object();
        set_text(t, "type", types[i]);
        (void)json_array_append_new(list, t);
    }
    return list;
}

static void add_scalar_definitions(const struct openapi_form *form, json_t *definitions)
{
    for (size_t i = 0; i < ARRAY_SIZE(NAMED_SCALARS); i++) {
        json_t *d = json_object();
        set_text(d, "description", NAMED_SCALARS[i].description);
        if (form->v3 && NAMED_SCALARS[i].kind == SCHEMA_QUANTITY)
            (void)json_object_set_new(d, "oneOf", alternatives("string", "number"));
        else if (form->v3 && NAMED_SCALARS[i].kind == SCHEMA_INT_OR_STRING)
            (void)json_object_set_new(d, "oneOf", alternatives("integer", "string"));
        else
            set_text(d, "type", NAMED_SCALARS[i].kind == SCHEMA_ANY ? "object" : "string");
        if (NAMED_SCALARS[i].format)
            set_text(d, "format", NAMED_SCALARS[i].format);
        (void)json_object_set_new(definitions, NAMED_SCALARS[i].name, d);
    }
    json_t *patch = json_object();
    set_text(patch, "description", "A patch; its form is that of the content type.");
    set_text(patch, "type", "object");
    (void)json_object_set_new(definitions, META_TYPE("Patch"), patch);
}

static json_t *info(void)
{
    json_t *out = json_object();
    set_text(out, "title", "Kubernetes");
    set_text(out, "version", CORACLE_VERSION);
    return out;
}

json_t *openapi_v2(const struct schema_registry *reg)
{
    const struct openapi_form *form = &OPENAPI_FORM_V2;
    json_t *doc = json_object(), *definitions = json_object(), *paths = json_object();
    const struct schema *type;
    const struct schema_resource *res;
    for (size_t i = 0; (type = schema_type_at(reg, i)); i++)
        (void)json_object_set_new(definitions, type->name, definition(form, reg, type));
    add_scalar_definitions(form, definitions);
    for (size_t i = 0; (res = schema_resource_at(reg, i)); i++)
        openapi_add_paths(form, res, paths);
    set_text(doc, "swagger", "2.0");
    (void)json_object_set_new(doc, "info", info());
    (void)json_object_set_new(doc, "paths", paths);
    (void)json_object_set_new(doc, "definitions", definitions);
    return doc;
}

/* ---- v3 ---- */

static char *group_version_path(const struct schema_resource *r)
{
    return *r->group ? str_printf("apis/%s/%s", r->group, r->version)
                     : str_printf("api/%s", r->version);
}

/* Adds @type and all that it refers to. Types that are there end the recursion. */
static void add_reachable(const struct openapi_form *form, // NOLINT(misc-no-recursion)
                          const struct schema_registry *reg, const struct schema *type,
                          json_t *schemas)
{
    while (type && (type->kind == SCHEMA_ARRAY || type->kind == SCHEMA_MAP))
        type = type->items;
    if (!type || !type->name || json_object_get(schemas, type->name))
        return;
    (void)json_object_set_new(schemas, type->name, definition(form, reg, type));
    for (size_t i = 0; i < type->n_fields; i++)
        add_reachable(form, reg, type->fields[i].type, schemas);
}

static void add_by_name(const struct schema_registry *reg, const char *name, json_t *schemas)
{
    add_reachable(&OPENAPI_FORM_V3, reg, schema_type_by_name(reg, name), schemas);
}

static void add_resource(const struct schema_registry *reg, const struct schema_resource *res,
                         json_t *schemas)
{
    add_reachable(&OPENAPI_FORM_V3, reg, res->type, schemas);
    if (res->list_kind) {
        const char *dot = strrchr(res->type->name, '.');
        _cleanup_free_ char *list =
            str_printf("%.*s.%s", (int)(dot - res->type->name), res->type->name, res->list_kind);
        add_by_name(reg, list, schemas);
    }
    for (const struct openapi_sub *sub = OPENAPI_SUBS; sub->name; sub++)
        if (schema_has_subresource(res, sub->name))
            add_by_name(reg, sub->type, schemas);
}

json_t *openapi_v3(const struct schema_registry *reg, const char *path)
{
    json_t *schemas = json_object(), *paths = json_object();
    const struct schema_resource *res;
    bool found = false;
    for (size_t i = 0; (res = schema_resource_at(reg, i)); i++) {
        _cleanup_free_ char *own = group_version_path(res);
        if (!schema_is_served(res) || !str_eq(own, path))
            continue;
        found = true;
        add_resource(reg, res, schemas);
        openapi_add_paths(&OPENAPI_FORM_V3, res, paths);
    }
    if (!found) {
        json_decref(schemas);
        json_decref(paths);
        return NULL;
    }
    add_by_name(reg, META_TYPE("Status"), schemas);
    add_by_name(reg, META_TYPE("DeleteOptions"), schemas);
    add_by_name(reg, META_TYPE("WatchEvent"), schemas);
    add_scalar_definitions(&OPENAPI_FORM_V3, schemas);
    json_t *doc = json_object(), *components = json_object();
    set_text(doc, "openapi", "3.0.0");
    (void)json_object_set_new(doc, "info", info());
    (void)json_object_set_new(doc, "paths", paths);
    (void)json_object_set_new(components, "schemas", schemas);
    (void)json_object_set_new(doc, "components", components);
    return doc;
}

json_t *openapi_v3_index(const struct schema_registry *reg)
{
    json_t *index = json_object(), *paths = json_object();
    const struct schema_resource *res;
    for (size_t i = 0; (res = schema_resource_at(reg, i)); i++) {
        _cleanup_free_ char *path = group_version_path(res);
        if (!schema_is_served(res) || json_object_get(paths, path))
            continue;
        _cleanup_json_ json_t *doc = openapi_v3(reg, path);
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        char hash[SHA256_HEX_LEN + 1];
        json_encode(doc, &text);
        sha256_hex(text.data, text.len, hash);
        for (char *c = hash; *c; c++)
            if (*c >= 'a')
                *c = (char)(*c - 'a' + 'A');
        _cleanup_free_ char *url = str_printf("/openapi/v3/%s?hash=%s", path, hash);
        json_t *entry = json_object();
        set_text(entry, "serverRelativeURL", url);
        (void)json_object_set_new(paths, path, entry);
    }
    (void)json_object_set_new(index, "paths", paths);
    return index;
}
