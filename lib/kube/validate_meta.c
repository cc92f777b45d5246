/* Rules about metadata, labels and label selectors. */
#include <ctype.h>
#include <string.h>

#include "base/json.h"
#include "kube/format.h"
#include "kube/meta.h"
#include "kube/validate_internal.h"

#define ANNOTATIONS_MAX (256 * 1024) /* bytes of all keys and values */

static enum schema_format name_format(const struct schema_resource *res)
{
    if (object_is(res, "", "Namespace"))
        return FORMAT_DNS_LABEL;
    if (object_is_rbac(res))
        return FORMAT_PATH_SEGMENT;
    return object_is(res, "", "Service") ? FORMAT_DNS1035_LABEL : FORMAT_DNS_SUBDOMAIN;
}

const char *object_name_problem(const struct schema_resource *res, const char *name)
{
    return format_problem(name_format(res), name);
}

void validate_labels(const json_t *labels, const struct field_path *path, struct field_errors *errs)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)labels, key, value) {
        const char *problem = format_problem(FORMAT_QUALIFIED_NAME, key);
        if (problem)
            field_invalid_text(errs, path, key, "%s", problem);
        problem = format_problem(FORMAT_LABEL_VALUE, json_string_value(value));
        if (problem)
            field_invalid_text(errs, path, json_string_value(value), "%s", problem);
    }
}

void validate_annotations(const json_t *annotations, const struct field_path *path,
                          struct field_errors *errs)
{
    size_t total = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)annotations, key, value) {
        total += strlen(key) + json_string_length(value);
        const char *problem = format_problem(FORMAT_QUALIFIED_NAME, key);
        if (!problem)
            continue;
        /* Upper-case letters in the prefix are put up with. */
        _cleanup_free_ char *lower = str_dup(key);
        for (char *c = lower; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        problem = format_problem(FORMAT_QUALIFIED_NAME, lower);
        if (problem)
            field_invalid_text(errs, path, key, "%s", problem);
    }
    if (total > ANNOTATIONS_MAX)
        field_too_long(errs, path, ANNOTATIONS_MAX);
}

static void validate_owner(const json_t *ref, const struct field_path *path,
                           struct field_errors *errs)
{
    static const char *const fields[] = {"kind", "name", "uid"};
    const char *version = strrchr(member_text(ref, "apiVersion"), '/');
    if (!*(version ? version + 1 : member_text(ref, "apiVersion")))
        field_invalid_text(errs, FIELD(path, "apiVersion"), member_text(ref, "apiVersion"),
                           "version must not be empty");
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (!*member_text(ref, fields[i]))
            field_invalid_text(errs, FIELD(path, fields[i]), "", "must not be empty");
    if (str_eq(member_text(ref, "kind"), "Event"))
        field_invalid(errs, path, ref, "Event is disallowed from being an owner");
}

static void validate_owners(const json_t *refs, const struct field_path *path,
                            struct field_errors *errs)
{
    const char *controller = NULL;
    for (size_t i = 0; i < json_array_size(refs); i++) {
        const json_t *ref = json_array_get(refs, i);
        validate_owner(ref, FIELD_INDEX(path, i), errs);
        if (!json_is_true(json_object_get(ref, "controller")))
            continue;
        if (controller)
            field_invalid(errs, path, refs,
                          "Only one reference can have Controller set to true. Found \"true\" in "
                          "references for %.253s and %.253s",
                          controller, member_text(ref, "name"));
        controller = member_text(ref, "name");
    }
}

static void validate_finalizers(const json_t *list, const struct field_path *path,
                                struct field_errors *errs)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        const char *problem = format_problem(FORMAT_QUALIFIED_NAME, name);
        if (problem)
            field_invalid_text(errs, FIELD_INDEX(path, i), name, "%s", problem);
    }
}

static void validate_names(const struct schema_resource *res, const json_t *obj,
                           const struct field_path *path, struct field_errors *errs)
{
    const char *name = meta_name(obj), *generate = meta_generate_name(obj);
    const char *namespace = meta_namespace(obj);
    const char *problem = *generate ? format_name_prefix_problem(name_format(res), generate) : NULL;
    if (problem)
        field_invalid_text(errs, FIELD(path, "generateName"), generate, "%s", problem);
    if (!*name)
        field_required(errs, FIELD(path, "name"), "name or generateName is required");
    else if ((problem = object_name_problem(res, name)))
        field_invalid_text(errs, FIELD(path, "name"), name, "%s", problem);
    if (!res->namespaced) {
        if (*namespace)
            field_forbidden(errs, FIELD(path, "namespace"), "not allowed on this type");
    } else if (!*namespace) {
        field_required(errs, FIELD(path, "namespace"), NULL);
    } else if ((problem = format_problem(FORMAT_DNS_LABEL, namespace))) {
        field_invalid_text(errs, FIELD(path, "namespace"), namespace, "%s", problem);
    }
}

void validate_meta(const struct schema_resource *res, const json_t *obj, struct field_errors *errs)
{
    const struct field_path *path = FIELD(NULL, "metadata");
    const json_t *meta = json_object_get(obj, "metadata");
    validate_names(res, obj, path, errs);
    validate_labels(meta_labels(obj), FIELD(path, "labels"), errs);
    validate_annotations(meta_annotations(obj), FIELD(path, "annotations"), errs);
    validate_owners(json_object_get(meta, "ownerReferences"), FIELD(path, "ownerReferences"), errs);
    validate_finalizers(json_object_get(meta, "finalizers"), FIELD(path, "finalizers"), errs);
}

/* An object that is being deleted gets no new finalizers. */
static void validate_deletion(const json_t *obj, const json_t *old, const struct field_path *path,
                              struct field_errors *errs)
{
    if (!*meta_deletion_timestamp(old))
        return;
    const json_t *list = json_object_get(json_object_get(obj, "metadata"), "finalizers");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (!meta_has_finalizer(old, name)) {
            field_forbidden(errs, FIELD(path, "finalizers"),
                            "no new finalizers can be added if the object is being deleted, found "
                            "new finalizers []string{\"%.200s\"}",
                            name);
            return;
        }
    }
}

void validate_meta_update(const json_t *obj, const json_t *old, struct field_errors *errs)
{
    static const char *const fixed[] = {"name", "namespace", "uid", "creationTimestamp"};
    const struct field_path *path = FIELD(NULL, "metadata");
    const json_t *meta = json_object_get(obj, "metadata");
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        validate_immutable(meta, json_object_get(old, "metadata"), fixed[i], path, errs);
    if (meta_generation(obj) < meta_generation(old))
        field_invalid_int(errs, FIELD(path, "generation"), meta_generation(obj),
                          "must not be decremented");
    validate_deletion(obj, old, path, errs);
}

static void validate_expression(const json_t *e, const struct field_path *path,
                                struct field_errors *errs)
{
    const char *op = member_text(e, "operator");
    size_t values = json_array_size(json_object_get(e, "values"));
    if (str_eq(op, "In") || str_eq(op, "NotIn")) {
        if (!values)
            field_required(errs, FIELD(path, "values"),
                           "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (str_eq(op, "Exists") || str_eq(op, "DoesNotExist")) {
        if (values)
            field_forbidden(errs, FIELD(path, "values"),
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (*op) {
        field_invalid(errs, FIELD(path, "operator"), json_object_get(e, "operator"),
                      "not a valid selector operator");
    }
    validate_format(e, "key", FORMAT_QUALIFIED_NAME, path, errs);
    for (size_t i = 0; i < values; i++) {
        const char *value = json_string_value(json_array_get(json_object_get(e, "values"), i));
        const char *problem = format_problem(FORMAT_LABEL_VALUE, value);
        if (problem)
            field_invalid_text(errs, FIELD_INDEX(FIELD(path, "values"), i), value, "%s", problem);
    }
}

void validate_label_selector(const json_t *selector, const struct field_path *path,
                             struct field_errors *errs)
{
    validate_labels(json_object_get(selector, "matchLabels"), FIELD(path, "matchLabels"), errs);
    const json_t *list = json_object_get(selector, "matchExpressions");
    for (size_t i = 0; i < json_array_size(list); i++)
        validate_expression(json_array_get(list, i),
                            FIELD_INDEX(FIELD(path, "matchExpressions"), i), errs);
}
