/*
 * Strategic merge patch: a merge patch that knows, from the schema, which lists are merged and by
 * which key, and that understands directives:
 *   $patch: replace | delete | merge   in a map, or as an element of a merged list
 *   $retainKeys: [a, b]                all other keys of the map go
 *   $deleteFromPrimitiveList/F: [x]    these values leave the list F
 *   $setElementOrder/F: [...]          the order of list F; elements that only the server knows
 *                                      keep their place relative to their neighbours
 * Everything builds new values; those of the document are shared until the end, where the result
 * is copied once.
 */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "kube/patch.h"

#define MAX_PAIRS 25000000 /* comparisons that one list may cost */

static const char PATCH[] = "$patch";
static const char RETAIN_KEYS[] = "$retainKeys";
static const char DELETE_FROM[] = "$deleteFromPrimitiveList/";
static const char SET_ORDER[] = "$setElementOrder/";

static int merge_map(const struct schema *type, const json_t *doc, const json_t *patch,
                     json_t **ret, struct error *err);

static bool is_directive(const char *key)
{
    return str_eq(key, PATCH) || str_eq(key, RETAIN_KEYS) || str_starts(key, DELETE_FROM) ||
           str_starts(key, SET_ORDER);
}

/* @v without directives, for a place where the document has nothing. NULL: it deletes itself. */
static json_t *without_directives(const json_t *v) // NOLINT(misc-no-recursion)
{
    const char *key;
    json_t *member;
    if (json_is_array(v)) {
        json_t *list = json_array();
        for (size_t i = 0; i < json_array_size(v); i++) {
            json_t *m = without_directives(json_array_get(v, i));
            if (m)
                (void)json_array_append_new(list, m);
        }
        return list;
    }
    if (!json_is_object(v))
        return json_incref((json_t *)(uintptr_t)v);
    const char *directive = json_string_value(json_object_get(v, PATCH));
    if (str_eq(directive, "delete"))
        return NULL;
    json_t *map = json_object();
    json_object_foreach((json_t *)(uintptr_t)v, key, member) {
        if (is_directive(key) || json_is_null(member))
            continue;
        json_t *m = without_directives(member);
        if (m)
            (void)json_object_set_new(map, key, m);
    }
    /* A list element that only says "replace" is nothing by itself. */
    if (directive && json_object_size(map) == 0 && json_object_size(v) == 1) {
        json_decref(map);
        return NULL;
    }
    return map;
}

/* ---- lists ---- */

/* Identity of an element: the value of the merge key, or the scalar itself. */
static const json_t *identity(const json_t *element, const char *merge_key)
{
    return merge_key && json_is_object(element) ? json_object_get(element, merge_key) : element;
}

static long find(const json_t *list, const json_t *id, const char *merge_key)
{
    for (size_t i = 0; id && i < json_array_size(list); i++) {
        const json_t *other = identity(json_array_get(list, i), merge_key);
        if (other && json_equal(other, id))
            return (long)i;
    }
    return -1;
}

static int check_cost(const json_t *a, const json_t *b, struct error *err)
{
    size_t n = json_array_size(a) + json_array_size(b);
    return n * n > MAX_PAIRS ? error_set(err, -EFBIG, "a merged list is too long") : 0;
}

/* Sorts @merged: what stands in @order in that order, the others where @before has them. */
static json_t *ordered(const json_t *merged, const json_t *order, const json_t *before,
                       const char *merge_key)
{
    json_t *patched = json_array(), *others = json_array(), *result = json_array();
    for (size_t i = 0; i < json_array_size(order); i++) {
        long at = find(merged, identity(json_array_get(order, i), merge_key), merge_key);
        if (at >= 0 &&
            find(patched, identity(json_array_get(merged, (size_t)at), merge_key), merge_key) < 0)
            (void)json_array_append(patched, json_array_get(merged, (size_t)at));
    }
    for (size_t i = 0; i < json_array_size(merged); i++) {
        json_t *m = json_array_get(merged, i);
        if (find(order, identity(m, merge_key), merge_key) < 0)
            (void)json_array_append(others, m);
    }
    size_t p = 0, o = 0;
    while (p < json_array_size(patched) || o < json_array_size(others)) {
        json_t *left = json_array_get(others, o), *right = json_array_get(patched, p);
        long l = left ? find(before, identity(left, merge_key), merge_key) : -1;
        long r = right ? find(before, identity(right, merge_key), merge_key) : -1;
        bool take_left = left && (!right || (l >= 0 && r >= 0 && l < r));
        (void)json_array_append(result, take_left ? left : right);
        if (take_left)
            o++;
        else
            p++;
    }
    json_decref(patched);
    json_decref(others);
    return result;
}

/* 1 scalars, 2 maps, 0 empty, -1 a mixture or something else. */
static int element_kind(const json_t *list, int so_far)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);
        int kind = json_is_object(e) ? 2 : json_is_array(e) || json_is_null(e) ? -1 : 1;
        if (kind < 0 || (so_far && so_far != kind))
            return -1;
        so_far = kind;
    }
    return so_far;
}

static json_t *merge_scalars(const json_t *doc, const json_t *patch)
{
    json_t *merged = json_array();
    const json_t *const lists[] = {doc, patch};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < json_array_size(lists[l]); i++)
            if (find(merged, json_array_get(lists[l], i), NULL) < 0)
                (void)json_array_append(merged, json_array_get(lists[l], i));
    return merged;
}

/* One element of the patch into @merged; elements that replace the list were seen before. */
static int merge_element(const struct schema *type, json_t *merged, const json_t *e,
                         const char *merge_key, struct error *err)
{
    const char *directive = json_string_value(json_object_get(e, PATCH));
    const json_t *id = json_object_get(e, merge_key);
    if (!id)
        return error_set(err, -EINVAL, "map: does not contain declared merge key: %s", merge_key);
    long at = find(merged, id, merge_key);
    if (str_eq(directive, "delete")) {
        for (; at >= 0; at = find(merged, id, merge_key))
            (void)json_array_remove(merged, (size_t)at);
        return 0;
    }
    if (directive && !str_eq(directive, "merge"))
        return error_set(err, -EINVAL, "unknown patch type found: %.100s", directive);
    if (at < 0) {
        json_t *added = without_directives(e);
        if (added)
            (void)json_array_append_new(merged, added);
        return 0;
    }
    json_t *result = NULL;
    int r = merge_map(type, json_array_get(merged, (size_t)at), e, &result, err);
    if (r == 0)
        (void)json_array_set_new(merged, (size_t)at, result);
    return r;
}

/* An element "$patch: replace" makes the elements without directives the list. NULL: there is none.
 */
static json_t *replaced_list(const json_t *patch)
{
    json_t *list = json_array();
    bool found = false;
    for (size_t i = 0; i < json_array_size(patch); i++) {
        const json_t *e = json_array_get(patch, i);
        const json_t *directive = json_object_get(e, PATCH);
        found |= str_eq(json_string_value(directive), "replace");
        if (!directive)
            (void)json_array_append_new(list, without_directives(e));
    }
    if (found)
        return list;
    json_decref(list);
    return NULL;
}

/* A list that the schema says is merged. */
static int merge_list(const struct schema *type, const char *merge_key, const json_t *doc,
                      const json_t *patch, json_t **ret, struct error *err)
{
    int kind = element_kind(patch, element_kind(doc, 0));
    int r = check_cost(doc, patch, err);
    if (r < 0)
        return r;
    if (kind < 0)
        return error_set(err, -EINVAL, "a merged list holds values of different types");
    _cleanup_json_ json_t *merged = NULL;
    if (kind != 2) {
        merged = merge_scalars(doc, patch);
    } else {
        if (!merge_key)
            return error_set(err, -EINVAL, "cannot merge lists without merge key");
        *ret = replaced_list(patch);
        if (*ret)
            return 0;
        merged = json_copy((json_t *)(uintptr_t)doc);
        for (size_t i = 0; i < json_array_size(patch); i++) {
            r = merge_element(type->items, merged, json_array_get(patch, i), merge_key, err);
            if (r < 0)
                return r;
        }
    }
    *ret = ordered(merged, patch, doc, merge_key);
    return 0;
}

/* ---- maps ---- */

static bool has_strategy(const struct schema_field *f, const char *strategy)
{
    return f && f->patch_strategy && strstr(f->patch_strategy, strategy);
}

static const struct schema *member_type(const struct schema *type, const struct schema_field *f)
{
    static const struct schema any = {.kind = SCHEMA_ANY, .description = ""};
    if (f)
        return f->type;
    return type->kind == SCHEMA_MAP ? type->items : &any;
}

static const struct schema_field *field_of(const struct schema *type, const char *key)
{
    return type->kind == SCHEMA_OBJECT ? schema_field_get(type, key) : NULL;
}

/* Both sides are there. */
static int merge_member(const struct schema *type, const struct schema_field *f, const json_t *doc,
                        const json_t *patch, json_t **ret, struct error *err)
{
    const struct schema *t = member_type(type, f);
    if (json_is_object(doc) && json_is_object(patch) && !has_strategy(f, "replace"))
        return merge_map(t, doc, patch, ret, err);
    if (json_is_array(doc) && json_is_array(patch) && has_strategy(f, "merge") &&
        t->kind == SCHEMA_ARRAY)
        return merge_list(t, f->patch_merge_key, doc, patch, ret, err);
    *ret = without_directives(patch);
    if (!*ret)
        *ret = json_object();
    return 0;
}

static int retain_keys(json_t *result, const json_t *patch, struct error *err)
{
    const json_t *keys = json_object_get(patch, RETAIN_KEYS);
    const char *key;
    json_t *value;
    void *next;
    if (!keys)
        return 0;
    if (!json_is_array(keys))
        return error_set(err, -EINVAL, "$retainKeys must be a list of keys");
    _cleanup_json_ json_t *kept = json_object();
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const char *k = json_string_value(json_array_get(keys, i));
        if (!k)
            return error_set(err, -EINVAL, "$retainKeys must be a list of keys");
        (void)json_object_set_new(kept, k, json_true());
    }
    json_object_foreach((json_t *)(uintptr_t)patch, key, value) {
        if (!is_directive(key) && !json_is_null(value) && !json_object_get(kept, key))
            return error_set(err, -EINVAL,
                             "$retainKeys does not name \"%.200s\", which the patch sets", key);
    }
    json_object_foreach_safe(result, next, key, value) {
        if (!json_object_get(kept, key))
            (void)json_object_del(result, key);
    }
    return 0;
}

static int delete_from_list(json_t *result, const char *field, const json_t *values,
                            struct error *err)
{
    const json_t *list = json_object_get(result, field);
    if (!json_is_array(values))
        return error_set(err, -EINVAL, "%s%.200s must be a list", DELETE_FROM, field);
    if (!json_is_array(list))
        return 0;
    int r = check_cost(list, values, err);
    if (r < 0)
        return r;
    json_t *left = json_array();
    for (size_t i = 0; i < json_array_size(list); i++)
        if (find(values, json_array_get(list, i), NULL) < 0)
            (void)json_array_append(left, json_array_get(list, i));
    (void)json_object_set_new(result, field, left);
    return 0;
}

/* After the lists are merged: puts the list into the order that the directive gives. */
static int set_order(const struct schema *type, json_t *result, const json_t *doc,
                     const char *field, const json_t *order, struct error *err)
{
    const struct schema_field *f = field_of(type, field);
    const json_t *list = json_object_get(result, field);
    if (!json_is_array(order))
        return error_set(err, -EINVAL, "%s%.200s must be a list", SET_ORDER, field);
    if (!json_is_array(list) || !has_strategy(f, "merge"))
        return 0;
    int r = check_cost(list, order, err);
    if (r < 0)
        return r;
    (void)json_object_set_new(
        result, field, ordered(list, order, json_object_get(doc, field), f->patch_merge_key));
    return 0;
}

static int apply_members(const struct schema *type, json_t *result, const json_t *doc,
                         const json_t *patch, struct error *err) // NOLINT(misc-no-recursion)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)patch, key, value) {
        if (is_directive(key))
            continue;
        if (json_is_null(value)) {
            (void)json_object_del(result, key);
            continue;
        }
        const json_t *old = json_object_get(result, key);
        json_t *merged = NULL;
        int r = 0;
        if (old && !json_is_null(old))
            r = merge_member(type, field_of(type, key), old, value, &merged, err);
        else
            merged = without_directives(value);
        if (r < 0)
            return r;
        if (merged)
            (void)json_object_set_new(result, key, merged);
    }
    json_object_foreach((json_t *)(uintptr_t)patch, key, value) {
        int r = 0;
        if (str_starts(key, DELETE_FROM))
            r = delete_from_list(result, key + strlen(DELETE_FROM), value, err);
        else if (str_starts(key, SET_ORDER))
            r = set_order(type, result, doc, key + strlen(SET_ORDER), value, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int merge_map(const struct schema *type, const json_t *doc, // NOLINT(misc-no-recursion)
                     const json_t *patch, json_t **ret, struct error *err)
{
    const json_t *directive = json_object_get(patch, PATCH);
    if (directive) {
        const char *what = json_string_value(directive);
        if (str_eq(what, "delete")) {
            *ret = json_object();
            return 0;
        }
        if (str_eq(what, "replace")) {
            *ret = without_directives(patch);
            if (!*ret)
                *ret = json_object();
            return 0;
        }
        if (!str_eq(what, "merge"))
            return error_set(err, -EINVAL, "unknown patch type found: %.100s", what ? what : "");
    }
    _cleanup_json_ json_t *result = json_copy((json_t *)(uintptr_t)doc);
    int r = retain_keys(result, patch, err);
    if (r == 0)
        r = apply_members(type, result, doc, patch, err);
    if (r == 0)
        *ret = TAKE_PTR(result);
    return r;
}

int patch_strategic(const struct schema *type, const json_t *doc, const json_t *patch, json_t **ret,
                    struct error *err)
{
    if (!json_is_object(patch) || !json_is_object(doc))
        return error_set(err, -EINVAL, "a strategic merge patch must be an object");
    _cleanup_json_ json_t *shared = NULL;
    int r = merge_map(type, doc, patch, &shared, err);
    if (r == 0)
        *ret = json_deep_copy(shared);
    return r;
}
