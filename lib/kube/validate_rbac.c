/* Rules about roles and their bindings (rbac.authorization.k8s.io). */
#include "base/json.h"
#include "kube/format.h"
#include "kube/meta.h"
#include "kube/validate_internal.h"

/* ---- roles ---- */

static void validate_rule(const json_t *rule, bool namespaced, const struct field_path *path,
                          struct field_errors *errs)
{
    bool groups = json_array_size(json_object_get(rule, "apiGroups")) > 0;
    bool resources = json_array_size(json_object_get(rule, "resources")) > 0;
    bool names = json_array_size(json_object_get(rule, "resourceNames")) > 0;
    const json_t *urls = json_object_get(rule, "nonResourceURLs");
    if (json_array_size(urls)) {
        if (namespaced)
            field_invalid(errs, FIELD(path, "nonResourceURLs"), urls,
                          "namespaced rules cannot apply to non-resource URLs");
        if (groups || resources || names)
            field_invalid(errs, FIELD(path, "nonResourceURLs"), urls,
                          "rules cannot apply to both regular resources and non-resource URLs");
        return;
    }
    if (!groups)
        field_required(errs, FIELD(path, "apiGroups"),
                       "resource rules must supply at least one api group");
    if (!resources)
        field_required(errs, FIELD(path, "resources"),
                       "resource rules must supply at least one resource");
}

static void validate_rules(const json_t *obj, bool namespaced, struct field_errors *errs)
{
    const json_t *rules = json_object_get(obj, "rules");
    for (size_t i = 0; i < json_array_size(rules); i++)
        validate_rule(json_array_get(rules, i), namespaced, FIELD_INDEX(FIELD(NULL, "rules"), i),
                      errs);
}

void validate_role(const json_t *obj, struct field_errors *errs)
{
    validate_rules(obj, true, errs);
}

void validate_cluster_role(const json_t *obj, struct field_errors *errs)
{
    validate_rules(obj, false, errs);
    const json_t *aggregation = json_object_get(obj, "aggregationRule");
    const json_t *selectors = json_object_get(aggregation, "clusterRoleSelectors");
    const struct field_path *path = FIELD(FIELD(NULL, "aggregationRule"), "clusterRoleSelectors");
    if (aggregation && !json_array_size(selectors))
        field_required(errs, path,
                       "at least one clusterRoleSelector required if aggregationRule is non-nil");
    for (size_t i = 0; i < json_array_size(selectors); i++)
        validate_label_selector(json_array_get(selectors, i), FIELD_INDEX(path, i), errs);
}

/* ---- bindings ---- */

static void validate_ref(const json_t *ref, bool namespaced, const struct field_path *path,
                         struct field_errors *errs)
{
    static const char *const kinds[] = {"ClusterRole", NULL, NULL};
    static const char *const namespaced_kinds[] = {"Role", "ClusterRole", NULL};
    static const char *const groups[] = {RBAC_GROUP, NULL};
    const char *kind = member_text(ref, "kind"), *name = member_text(ref, "name");
    if (!str_eq(member_text(ref, "apiGroup"), RBAC_GROUP))
        field_not_supported(errs, FIELD(path, "apiGroup"), json_object_get(ref, "apiGroup"),
                            groups);
    if (!str_eq(kind, "ClusterRole") && !(namespaced && str_eq(kind, "Role")))
        field_not_supported(errs, FIELD(path, "kind"), json_object_get(ref, "kind"),
                            namespaced ? namespaced_kinds : kinds);
    const char *problem = *name ? format_problem(FORMAT_PATH_SEGMENT, name) : NULL;
    if (problem)
        field_invalid_text(errs, FIELD(path, "name"), name, "%s", problem);
}

static void validate_subject(const json_t *subject, bool namespaced, const struct field_path *path,
                             struct field_errors *errs)
{
    static const char *const kinds[] = {"ServiceAccount", "User", "Group", NULL};
    static const char *const account_groups[] = {"", NULL};
    static const char *const groups[] = {RBAC_GROUP, NULL};
    const char *kind = member_text(subject, "kind");
    const json_t *group = json_object_get(subject, "apiGroup");
    const char *group_text = member_text(subject, "apiGroup");
    if (str_eq(kind, "ServiceAccount")) {
        validate_format(subject, "name", FORMAT_DNS_SUBDOMAIN, path, errs);
        if (*group_text)
            field_not_supported(errs, FIELD(path, "apiGroup"), group, account_groups);
        if (!namespaced && !*member_text(subject, "namespace"))
            field_required(errs, FIELD(path, "namespace"), NULL);
    } else if (str_eq(kind, "User") || str_eq(kind, "Group")) {
        if (!str_eq(group_text, RBAC_GROUP))
            field_not_supported(errs, FIELD(path, "apiGroup"), group, groups);
    } else if (*kind) {
        field_not_supported(errs, FIELD(path, "kind"), json_object_get(subject, "kind"), kinds);
    }
}

static void validate_binding(const json_t *obj, bool namespaced, struct field_errors *errs)
{
    const json_t *subjects = json_object_get(obj, "subjects");
    validate_ref(json_object_get(obj, "roleRef"), namespaced, FIELD(NULL, "roleRef"), errs);
    for (size_t i = 0; i < json_array_size(subjects); i++)
        validate_subject(json_array_get(subjects, i), namespaced,
                         FIELD_INDEX(FIELD(NULL, "subjects"), i), errs);
}

void validate_role_binding(const json_t *obj, struct field_errors *errs)
{
    validate_binding(obj, true, errs);
}

void validate_cluster_role_binding(const json_t *obj, struct field_errors *errs)
{
    validate_binding(obj, false, errs);
}

void validate_binding_update(const json_t *obj, const json_t *old, struct field_errors *errs)
{
    const json_t *ref = json_object_get(obj, "roleRef");
    if (!json_equal(ref, json_object_get(old, "roleRef")))
        field_invalid(errs, FIELD(NULL, "roleRef"), ref, "cannot change roleRef");
}
