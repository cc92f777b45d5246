/* Rules about ReplicaSets, Deployments and pod templates. */
#include "base/json.h"
#include "kube/selector.h"
#include "kube/validate_internal.h"

static void validate_template(const json_t *template, const struct field_path *path,
                              struct field_errors *errs)
{
    const json_t *meta = json_object_get(template, "metadata");
    const struct field_path *at = FIELD(path, "metadata");
    validate_labels(json_object_get(meta, "labels"), FIELD(at, "labels"), errs);
    validate_annotations(json_object_get(meta, "annotations"), FIELD(at, "annotations"), errs);
    const json_t *spec = json_object_get(template, "spec");
    if (spec)
        validate_pod_spec(spec, FIELD(path, "spec"), errs);
}

/* What pods that are replaced when they end cannot have. */
static void validate_replaced_pods(const json_t *template, const struct field_path *path,
                                   struct field_errors *errs)
{
    static const char *const policies[] = {"Always", NULL};
    const json_t *spec = json_object_get(template, "spec");
    const struct field_path *at = FIELD(path, "spec");
    if (!str_eq(member_text(spec, "restartPolicy"), "Always"))
        field_not_supported(errs, FIELD(at, "restartPolicy"),
                            json_object_get(spec, "restartPolicy"), policies);
    if (json_object_get(spec, "activeDeadlineSeconds"))
        field_forbidden(errs, FIELD(at, "activeDeadlineSeconds"),
                        "activeDeadlineSeconds in ReplicaSet is not Supported");
    if (json_array_size(json_object_get(spec, "ephemeralContainers")))
        field_forbidden(errs, FIELD(at, "ephemeralContainers"),
                        "ephemeral containers not allowed in pod template");
}

static void validate_selected_template(const json_t *obj, const char *kind,
                                       struct field_errors *errs)
{
    const struct field_path *path = FIELD(NULL, "spec");
    const json_t *spec = json_object_get(obj, "spec");
    const json_t *selector = json_object_get(spec, "selector");
    const json_t *template = json_object_get(spec, "template");
    const struct field_path *template_path = FIELD(path, "template");
    validate_template(template, template_path, errs);
    validate_replaced_pods(template, template_path, errs);
    if (!selector)
        return; /* the schema has said so */
    struct field_errors of_selector = FIELD_ERRORS_INIT;
    validate_label_selector(selector, FIELD(path, "selector"), &of_selector);
    size_t problems = of_selector.count;
    field_errors_done(&of_selector);
    validate_label_selector(selector, FIELD(path, "selector"), errs);
    if (!json_object_size(json_object_get(selector, "matchLabels")) &&
        !json_array_size(json_object_get(selector, "matchExpressions"))) {
        field_invalid(errs, FIELD(path, "selector"), selector, "empty selector is invalid for %s",
                      kind);
        return;
    }
    struct selector *parsed = NULL;
    if (problems || selector_from_object(selector, &parsed, NULL) < 0)
        return;
    _cleanup_json_ json_t *none = json_object();
    const json_t *labels = json_path(template, "metadata.labels");
    if (!selector_matches(parsed, labels))
        field_invalid(errs, FIELD(FIELD(template_path, "metadata"), "labels"),
                      labels ? labels : none, "`selector` does not match template `labels`");
    selector_free(parsed);
}

void validate_replica_set(const json_t *obj, struct field_errors *errs)
{
    validate_selected_template(obj, "replicaset", errs);
}

static bool is_zero(const json_t *value)
{
    if (json_is_string(value))
        return json_string_value(value)[0] == '0' && str_eq(json_string_value(value), "0%");
    return json_integer_value(value) == 0;
}

static void validate_strategy(const json_t *spec, const struct field_path *path,
                              struct field_errors *errs)
{
    const json_t *strategy = json_object_get(spec, "strategy");
    const json_t *rolling = json_object_get(strategy, "rollingUpdate");
    const struct field_path *at = FIELD(path, "rollingUpdate");
    if (str_eq(member_text(strategy, "type"), "Recreate")) {
        if (rolling)
            field_forbidden(errs, at, "may not be specified when strategy `type` is 'Recreate'");
        return;
    }
    const json_t *unavailable = json_object_get(rolling, "maxUnavailable");
    if (rolling && is_zero(unavailable) && is_zero(json_object_get(rolling, "maxSurge")))
        field_invalid(errs, FIELD(at, "maxUnavailable"), unavailable,
                      "may not be 0 when `maxSurge` is 0");
    if (json_is_string(unavailable)) {
        long percent = strtol(json_string_value(unavailable), NULL, 10);
        if (percent > 100)
            field_invalid(errs, FIELD(at, "maxUnavailable"), unavailable,
                          "must not be greater than 100%%");
    }
}

void validate_deployment(const json_t *obj, struct field_errors *errs)
{
    const struct field_path *path = FIELD(NULL, "spec");
    const json_t *spec = json_object_get(obj, "spec");
    validate_selected_template(obj, "deployment", errs);
    validate_strategy(spec, FIELD(path, "strategy"), errs);
    const json_t *deadline = json_object_get(spec, "progressDeadlineSeconds");
    if (deadline && json_integer_value(deadline) <=
                        json_integer_value(json_object_get(spec, "minReadySeconds")))
        field_invalid(errs, FIELD(path, "progressDeadlineSeconds"), deadline,
                      "must be greater than minReadySeconds");
}

void validate_workload_update(const json_t *obj, const json_t *old, struct field_errors *errs)
{
    validate_immutable(json_object_get(obj, "spec"), json_object_get(old, "spec"), "selector",
                       FIELD(NULL, "spec"), errs);
}

void validate_pod_template(const json_t *obj, struct field_errors *errs)
{
    validate_template(json_object_get(obj, "template"), FIELD(NULL, "template"), errs);
}
