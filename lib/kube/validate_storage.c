/* Rules about persistent volumes, claims, and classes. */
#include <string.h>

#include "base/json.h"
#include "kube/format.h"
#include "kube/quantity.h"
#include "kube/validate_internal.h"

#define USER_PRIORITY_MAX 1000000000

static bool has(const json_t *array, const char *word)
{
    size_t i;
    json_t *one;
    json_array_foreach(array, i, one) {
        if (str_eq(json_string_value(one), word))
            return true;
    }
    return false;
}

static void validate_modes(const json_t *spec, const struct field_path *path, const char *missing,
                           struct field_errors *errs)
{
    static const char *const known[] = {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany",
                                        "ReadWriteOncePod", NULL};
    const json_t *modes = json_object_get(spec, "accessModes");
    const struct field_path *field = FIELD(path, "accessModes");
    size_t i;
    json_t *mode;
    if (!json_array_size(modes))
        field_required(errs, field, missing);
    json_array_foreach(modes, i, mode) {
        size_t k = 0;
        while (known[k] && !str_eq(known[k], json_string_value(mode)))
            k++;
        if (!known[k])
            field_not_supported(errs, field, mode, known);
    }
    if (json_array_size(modes) > 1 && has(modes, "ReadWriteOncePod"))
        field_forbidden(errs, field, "may not use ReadWriteOncePod with other access modes");
}

static void validate_positive(const json_t *value, const struct field_path *path,
                              struct field_errors *errs)
{
    struct quantity q;
    if (json_is_string(value) && quantity_parse(json_string_value(value), &q, NULL) == 0 &&
        quantity_sign(&q) <= 0)
        field_invalid(errs, path, value, "must be greater than zero");
}

/* ---- volumes ---- */

static const char *const not_sources[] = {"capacity",
                                          "accessModes",
                                          "claimRef",
                                          "persistentVolumeReclaimPolicy",
                                          "storageClassName",
                                          "mountOptions",
                                          "volumeMode",
                                          "nodeAffinity",
                                          "volumeAttributesClassName"};

static bool is_source(const char *key)
{
    for (size_t i = 0; i < ARRAY_SIZE(not_sources); i++)
        if (str_eq(not_sources[i], key))
            return false;
    return true;
}

static void validate_no_backsteps(const json_t *source, const struct field_path *path,
                                  struct field_errors *errs)
{
    const char *text = member_text(source, "path");
    for (const char *part = text; *part; part += strcspn(part, "/")) {
        part += *part == '/';
        if (strcspn(part, "/") == 2 && part[0] == '.' && part[1] == '.') {
            field_invalid_text(errs, FIELD(path, "path"), text, "must not contain '..'");
            return;
        }
    }
}

static void validate_sources(const json_t *spec, const struct field_path *path,
                             struct field_errors *errs)
{
    size_t n = 0;
    const char *key;
    json_t *source;
    json_object_foreach((json_t *)(uintptr_t)spec, key, source) {
        if (!is_source(key))
            continue;
        if (n++)
            field_forbidden(errs, FIELD(path, key), "may not specify more than 1 volume type");
        if (str_eq(key, "hostPath") || str_eq(key, "local"))
            validate_no_backsteps(source, FIELD(path, key), errs);
    }
    if (!n)
        field_required(errs, path, "must specify a volume type");
    if (str_eq(json_path_string(spec, "hostPath.path"), "/") &&
        str_eq(member_text(spec, "persistentVolumeReclaimPolicy"), "Recycle"))
        field_forbidden(errs, FIELD(path, "persistentVolumeReclaimPolicy"),
                        "may not be 'recycle' for a hostPath mount of '/'");
}

void validate_persistent_volume(const json_t *obj, struct field_errors *errs)
{
    const json_t *spec = json_object_get(obj, "spec");
    const json_t *capacity = json_object_get(spec, "capacity");
    const json_t *affinity = json_object_get(spec, "nodeAffinity");
    const struct field_path *path = FIELD(NULL, "spec");
    static const char *const resources[] = {"storage", NULL};
    validate_modes(spec, path, "", errs);
    if (!json_object_size(capacity))
        field_required(errs, FIELD(path, "capacity"), "");
    else if (!json_object_get(capacity, "storage") || json_object_size(capacity) > 1)
        field_not_supported(errs, FIELD(path, "capacity"), capacity, resources);
    validate_positive(json_object_get(capacity, "storage"),
                      FIELD_KEY(FIELD(path, "capacity"), "storage"), errs);
    validate_sources(spec, path, errs);
    if (affinity && !json_object_get(affinity, "required"))
        field_required(errs, FIELD(FIELD(path, "nodeAffinity"), "required"),
                       "must specify required node constraints");
    if (json_object_get(spec, "local") && !json_path(affinity, "required"))
        field_required(errs, FIELD(path, "nodeAffinity"), "Local volume requires node affinity");
    validate_format(spec, "storageClassName", FORMAT_DNS_SUBDOMAIN, path, errs);
}

void validate_persistent_volume_update(const json_t *obj, const json_t *old,
                                       struct field_errors *errs)
{
    const json_t *spec = json_object_get(obj, "spec"), *was = json_object_get(old, "spec");
    const struct field_path *path = FIELD(NULL, "spec");
    _cleanup_json_ json_t *a = json_copy((json_t *)(uintptr_t)spec);
    _cleanup_json_ json_t *b = json_copy((json_t *)(uintptr_t)was);
    for (size_t i = 0; i < ARRAY_SIZE(not_sources); i++) {
        (void)json_object_del(a, not_sources[i]);
        (void)json_object_del(b, not_sources[i]);
    }
    if (!json_equal(a, b))
        field_forbidden(errs, FIELD(path, "persistentvolumesource"),
                        "spec.persistentvolumesource is immutable after creation");
    validate_immutable(spec, was, "volumeMode", path, errs);
    if (json_object_get(was, "nodeAffinity"))
        validate_immutable(spec, was, "nodeAffinity", path, errs);
}

/* ---- claims ---- */

void validate_claim_spec(const json_t *spec, const struct field_path *path,
                         struct field_errors *errs)
{
    const json_t *request = json_path(spec, "resources.requests.storage");
    const struct field_path *requests = FIELD(FIELD(path, "resources"), "requests");
    const json_t *selector = json_object_get(spec, "selector");
    validate_modes(spec, path, "at least 1 access mode is required", errs);
    if (!request)
        field_required(errs, FIELD_KEY(requests, "storage"), "");
    validate_positive(request, FIELD_KEY(requests, "storage"), errs);
    if (selector)
        validate_label_selector(selector, FIELD(path, "selector"), errs);
    validate_format(spec, "storageClassName", FORMAT_DNS_SUBDOMAIN, path, errs);
}

void validate_claim(const json_t *obj, struct field_errors *errs)
{
    validate_claim_spec(json_object_get(obj, "spec"), FIELD(NULL, "spec"), errs);
}

/* < 0, 0 or > 0 as the claim asks for less than, as much as or more than before. */
static int compare_requests(const json_t *spec, const json_t *was)
{
    struct quantity a, b;
    const char *now = json_path_string(spec, "resources.requests.storage");
    const char *before = json_path_string(was, "resources.requests.storage");
    if (!now || !before || quantity_parse(now, &a, NULL) < 0 ||
        quantity_parse(before, &b, NULL) < 0)
        return 0;
    return quantity_compare(&a, &b);
}

void validate_claim_update(const json_t *obj, const json_t *old, struct field_errors *errs)
{
    const json_t *spec = json_object_get(obj, "spec"), *was = json_object_get(old, "spec");
    const struct field_path *path = FIELD(NULL, "spec");
    bool bound = str_eq(json_path_string(old, "status.phase"), "Bound");
    _cleanup_json_ json_t *level = json_deep_copy(spec);
    (void)json_object_set(level, "volumeAttributesClassName",
                          json_object_get(was, "volumeAttributesClassName"));
    if (!json_object_get(was, "volumeAttributesClassName"))
        (void)json_object_del(level, "volumeAttributesClassName");
    /* The binder writes the volume; a class may come to a claim that has none. */
    if (!*member_text(was, "volumeName"))
        (void)json_object_del(level, "volumeName");
    if (!json_object_get(was, "storageClassName") && !bound)
        (void)json_object_del(level, "storageClassName");
    if (bound && json_path(was, "resources.requests"))
        (void)json_path_set(level, "resources.requests",
                            json_deep_copy(json_path(was, "resources.requests")));
    if (!json_equal(level, was))
        field_forbidden(errs, path,
                        "spec is immutable after creation except resources.requests and "
                        "volumeAttributesClassName for bound claims");
    if (bound && compare_requests(spec, was) < 0)
        field_forbidden(errs, FIELD(FIELD(FIELD(path, "resources"), "requests"), "storage"),
                        "field can not be less than previous value");
}

/* ---- classes ---- */

void validate_priority_class(const json_t *obj, struct field_errors *errs)
{
    const char *name = json_path_string(obj, "metadata.name");
    int64_t value = json_path_int(obj, "value", 0);
    bool critical = (str_eq(name, "system-node-critical") && value == 2000001000) ||
                    (str_eq(name, "system-cluster-critical") && value == 2000000000);
    if (critical)
        return;
    if (name && str_starts(name, "system-"))
        field_forbidden(errs, FIELD(FIELD(NULL, "metadata"), "name"),
                        "priority class names with 'system-' prefix are reserved for system use "
                        "only. error: %.200s is not a known system priority class",
                        name);
    if (value > USER_PRIORITY_MAX)
        field_forbidden(errs, FIELD(NULL, "value"),
                        "maximum allowed value of a user defined priority is %d",
                        USER_PRIORITY_MAX);
}

void validate_storage_class(const json_t *obj, struct field_errors *errs)
{
    validate_format(obj, "provisioner", FORMAT_QUALIFIED_NAME, NULL, errs);
}
