/* Rules about resources, references to fields, and security contexts. */
#include <string.h>

#include "base/json.h"
#include "kube/format.h"
#include "kube/quantity.h"
#include "kube/validate_internal.h"

static bool is_native(const char *name)
{
    return !strchr(name, '/') || str_starts(name, "kubernetes.io/");
}

static bool is_standard(const char *name)
{
    static const char *const names[] = {"cpu", "memory", "ephemeral-storage"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eq(name, names[i]))
            return true;
    return str_starts(name, "hugepages-");
}

/* May be asked for without a limit: more can be handed out than there is. */
static bool is_overcommitable(const char *name)
{
    return is_standard(name) && !str_starts(name, "hugepages-");
}

static void validate_list(const json_t *list, const struct field_path *path,
                          struct field_errors *errs)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)list, name, value) {
        const struct field_path *at = FIELD_KEY(path, name);
        const char *problem = format_problem(FORMAT_QUALIFIED_NAME, name);
        struct quantity q = {0};
        (void)quantity_parse(json_string_value(value), &q, NULL);
        if (problem)
            field_invalid_text(errs, at, name, "%s", problem);
        else if (!strchr(name, '/') && !is_standard(name))
            field_invalid_text(errs, at, name, "must be a standard resource for containers");
        if (quantity_sign(&q) < 0)
            field_invalid(errs, at, value, POSITIVE_OR_ZERO);
        if (!is_native(name) && !quantity_is_integer(&q))
            field_invalid(errs, at, value, "must be an integer");
    }
}

void validate_resources(const json_t *resources, const struct field_path *path,
                        struct field_errors *errs)
{
    const json_t *limits = json_object_get(resources, "limits");
    const json_t *requests = json_object_get(resources, "requests");
    validate_list(limits, FIELD(path, "limits"), errs);
    validate_list(requests, FIELD(path, "requests"), errs);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)requests, name, value) {
        const json_t *limit = json_object_get(limits, name);
        struct quantity want, most;
        if (!limit) {
            if (!is_overcommitable(name))
                field_required(errs, FIELD(path, "limits"),
                               "Limit must be set for non overcommitable resources");
            continue;
        }
        if (quantity_parse(json_string_value(value), &want, NULL) < 0 ||
            quantity_parse(json_string_value(limit), &most, NULL) < 0)
            continue;
        if (!is_overcommitable(name) && quantity_compare(&want, &most) != 0)
            field_invalid(errs, FIELD(path, "requests"), value, "must be equal to %s limit of %s",
                          name, json_string_value(limit));
        else if (quantity_compare(&want, &most) > 0)
            field_invalid(errs, FIELD(path, "requests"), value,
                          "must be less than or equal to %s limit of %s", name,
                          json_string_value(limit));
    }
}

void validate_field_ref(const json_t *ref, bool in_volume, const struct field_path *path,
                        struct field_errors *errs)
{
    static const char *const env_fields[] = {"metadata.name",
                                             "metadata.namespace",
                                             "metadata.uid",
                                             "spec.nodeName",
                                             "spec.serviceAccountName",
                                             "status.hostIP",
                                             "status.hostIPs",
                                             "status.podIP",
                                             "status.podIPs",
                                             NULL};
    static const char *const file_fields[] = {"metadata.annotations", "metadata.labels",
                                              "metadata.name",        "metadata.namespace",
                                              "metadata.uid",         NULL};
    const char *field = member_text(ref, "fieldPath");
    const char *const *fields = in_volume ? file_fields : env_fields;
    if (!*field)
        return;
    const char *bracket = strchr(field, '[');
    if (bracket && str_ends(field, "']") && bracket[1] == '\'') {
        bool labels = str_starts(field, "metadata.labels[");
        if (labels || str_starts(field, "metadata.annotations[")) {
            _cleanup_free_ char *key = str_ndup(bracket + 2, strlen(bracket) - 4);
            const char *problem = format_problem(FORMAT_QUALIFIED_NAME, key);
            if (problem)
                field_invalid_text(errs, path, key, "%s", problem);
            return;
        }
    }
    for (size_t i = 0; fields[i]; i++)
        if (str_eq(fields[i], field))
            return;
    field_not_supported(errs, FIELD(path, "fieldPath"), json_object_get(ref, "fieldPath"), fields);
}

void validate_resource_field_ref(const json_t *ref, bool in_volume, const struct field_path *path,
                                 struct field_errors *errs)
{
    static const char *const names[] = {"limits.cpu",
                                        "limits.ephemeral-storage",
                                        "limits.memory",
                                        "requests.cpu",
                                        "requests.ephemeral-storage",
                                        "requests.memory",
                                        NULL};
    const char *name = member_text(ref, "resource");
    if (in_volume && !*member_text(ref, "containerName"))
        field_required(errs, FIELD(path, "containerName"), NULL);
    if (!*name || str_starts(name, "limits.hugepages-") || str_starts(name, "requests.hugepages-"))
        return;
    for (size_t i = 0; names[i]; i++)
        if (str_eq(names[i], name))
            return;
    field_not_supported(errs, FIELD(path, "resource"), json_object_get(ref, "resource"), names);
}

/* A seccomp or AppArmor profile. */
static void validate_profile(const json_t *profile, const char *what, const struct field_path *path,
                             struct field_errors *errs)
{
    const char *file = member_text(profile, "localhostProfile");
    bool local = str_eq(member_text(profile, "type"), "Localhost");
    if (!profile)
        return;
    if (local && !*file) {
        _cleanup_free_ char *detail = str_printf("must be set when %s type is Localhost", what);
        field_required(errs, FIELD(path, "localhostProfile"), detail);
    } else if (!local && *file) {
        field_invalid_text(errs, FIELD(path, "localhostProfile"), file,
                           "can only be set when %s type is Localhost", what);
    } else if (local && str_eq(what, "seccomp")) {
        validate_format(profile, "localhostProfile", FORMAT_LOCAL_PATH, path, errs);
    }
}

static bool adds_sys_admin(const json_t *context)
{
    const json_t *add = json_object_get(json_object_get(context, "capabilities"), "add");
    for (size_t i = 0; i < json_array_size(add); i++)
        if (str_eq(json_string_value(json_array_get(add, i)), "CAP_SYS_ADMIN"))
            return true;
    return false;
}

void validate_security_context(const json_t *context, const struct field_path *path,
                               struct field_errors *errs)
{
    if (!context)
        return;
    if (json_is_false(json_object_get(context, "allowPrivilegeEscalation"))) {
        if (json_is_true(json_object_get(context, "privileged")))
            field_invalid(errs, path, context,
                          "cannot set `allowPrivilegeEscalation` to false and `privileged` to "
                          "true");
        if (adds_sys_admin(context))
            field_invalid(errs, path, context,
                          "cannot set `allowPrivilegeEscalation` to false and "
                          "`capabilities.Add` CAP_SYS_ADMIN");
    }
    validate_profile(json_object_get(context, "seccompProfile"), "seccomp",
                     FIELD(path, "seccompProfile"), errs);
    validate_profile(json_object_get(context, "appArmorProfile"), "AppArmor",
                     FIELD(path, "appArmorProfile"), errs);
}
