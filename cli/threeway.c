/*
 * The patch of `apply`; see threeway.h. Everything wanted is in the patch (setting what is set
 * already changes nothing); what the last configuration had beyond that becomes a deletion: null in
 * objects and maps, {"$patch":"delete"} in lists merged by key,
 * "$deleteFromPrimitiveList/<field>" in merged lists of plain values. Other lists are replaced
 * whole.
 */
#include "cli/threeway.h"

#include <string.h>

#include "base/strbuf.h"

static json_t *patch_object(const struct schema *type, const json_t *last, const json_t *wanted);

static const json_t *find_by_key(const json_t *list, const char *key, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (json_equal(json_object_get(item, key), value))
            return item;
    }
    return NULL;
}

static bool list_has(const json_t *list, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), value))
            return true;
    return false;
}

static json_t *patch_keyed_list(const struct schema_field *field, const json_t *last,
                                const json_t *wanted)
{
    const char *key = field->patch_merge_key;
    json_t *patch = json_array();
    for (size_t i = 0; i < json_array_size(wanted); i++) {
        const json_t *item = json_array_get(wanted, i);
        const json_t *before = find_by_key(last, key, json_object_get(item, key));
        (void)json_array_append_new(patch, patch_object(field->type->items, before, item));
    }
    for (size_t i = 0; i < json_array_size(last); i++) {
        json_t *value = json_object_get(json_array_get(last, i), key);
        if (value && !find_by_key(wanted, key, value))
            (void)json_array_append_new(patch, json_pack("{sOss}", key, value, "$patch", "delete"));
    }
    return patch;
}

static void patch_plain_list(json_t *patch, const char *name, const json_t *last,
                             const json_t *wanted)
{
    json_t *gone = json_array();
    for (size_t i = 0; i < json_array_size(last); i++)
        if (!list_has(wanted, json_array_get(last, i)))
            (void)json_array_append(gone, json_array_get(last, i));
    if (json_array_size(gone)) {
        _cleanup_free_ char *directive = str_printf("$deleteFromPrimitiveList/%s", name);
        (void)json_object_set(patch, directive, gone);
    }
    json_decref(gone);
    (void)json_object_set_new(patch, name, json_deep_copy(wanted));
}

static void patch_value(json_t *patch, const struct schema_field *field, const char *name,
                        const struct schema *type, json_t *last, json_t *wanted)
{
    bool merged = field && field->patch_strategy && strstr(field->patch_strategy, "merge");
    if (json_is_object(wanted) && type &&
        (type->kind == SCHEMA_OBJECT || type->kind == SCHEMA_MAP) && !type->atomic) {
        (void)json_object_set_new(patch, name, patch_object(type, last, wanted));
    } else if (json_is_array(wanted) && merged && field->patch_merge_key) {
        (void)json_object_set_new(patch, name, patch_keyed_list(field, last, wanted));
    } else if (json_is_array(wanted) && merged) {
        patch_plain_list(patch, name, last, wanted);
    } else {
        (void)json_object_set_new(patch, name, json_deep_copy(wanted));
    }
}

static json_t *patch_object(const struct schema *type, const json_t *last, const json_t *wanted)
{
    json_t *patch = json_object();
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)wanted, name, value) {
        const struct schema_field *field =
            type && type->kind == SCHEMA_OBJECT ? schema_field_get(type, name) : NULL;
        const struct schema *below = field                              ? field->type
                                     : type && type->kind == SCHEMA_MAP ? type->items
                                                                        : NULL;
        patch_value(patch, field, name, below, json_object_get(last, name), value);
    }
    json_object_foreach((json_t *)(uintptr_t)last, name, value) {
        if (!json_object_get(wanted, name))
            (void)json_object_set_new(patch, name, json_null());
    }
    return patch;
}

json_t *threeway_patch(const struct schema *type, const json_t *last, const json_t *wanted)
{
    return patch_object(type, last, wanted);
}
