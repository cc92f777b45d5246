/* Rules about where a pod may go: node selectors, affinity, tolerations, spreading. */
#include "base/json.h"
#include "base/map.h"
#include "kube/format.h"
#include "kube/validate_internal.h"

static void validate_requirement(const json_t *req, bool is_field, const struct field_path *path,
                                 struct field_errors *errs)
{
    const char *op = member_text(req, "operator");
    size_t n = json_array_size(json_object_get(req, "values"));
    if (is_field) {
        if (!str_eq(op, "In") && !str_eq(op, "NotIn"))
            field_invalid(errs, FIELD(path, "operator"), json_object_get(req, "operator"),
                          "not a valid selector operator");
        if (!str_eq(member_text(req, "key"), "metadata.name"))
            field_invalid(errs, FIELD(path, "key"), json_object_get(req, "key"),
                          "not a valid field selector key");
        if (n != 1)
            field_required(errs, FIELD(path, "values"),
                           "must be only one value when `operator` is 'In' or 'NotIn' for node "
                           "field selector");
        return;
    }
    validate_format(req, "key", FORMAT_QUALIFIED_NAME, path, errs);
    if (str_eq(op, "In") || str_eq(op, "NotIn")) {
        if (!n)
            field_required(errs, FIELD(path, "values"),
                           "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (str_eq(op, "Exists") || str_eq(op, "DoesNotExist")) {
        if (n)
            field_forbidden(errs, FIELD(path, "values"),
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (str_eq(op, "Gt") || str_eq(op, "Lt")) {
        if (n != 1)
            field_required(errs, FIELD(path, "values"),
                           "must be specified single value when `operator` is 'Lt' or 'Gt'");
    } else if (*op) {
        field_invalid(errs, FIELD(path, "operator"), json_object_get(req, "operator"),
                      "not a valid selector operator");
    }
}

static void validate_term(const json_t *term, const struct field_path *path,
                          struct field_errors *errs)
{
    static const char *const lists[] = {"matchExpressions", "matchFields"};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        const json_t *list = json_object_get(term, lists[l]);
        for (size_t i = 0; i < json_array_size(list); i++)
            validate_requirement(json_array_get(list, i), l == 1,
                                 FIELD_INDEX(FIELD(path, lists[l]), i), errs);
    }
}

static const char REQUIRED[] = "requiredDuringSchedulingIgnoredDuringExecution";
static const char PREFERRED[] = "preferredDuringSchedulingIgnoredDuringExecution";

static void validate_node_affinity(const json_t *affinity, const struct field_path *path,
                                   struct field_errors *errs)
{
    const json_t *terms = json_object_get(json_object_get(affinity, REQUIRED), "nodeSelectorTerms");
    for (size_t i = 0; i < json_array_size(terms); i++)
        validate_term(json_array_get(terms, i),
                      FIELD_INDEX(FIELD(FIELD(path, REQUIRED), "nodeSelectorTerms"), i), errs);
    const json_t *wishes = json_object_get(affinity, PREFERRED);
    for (size_t i = 0; i < json_array_size(wishes); i++)
        validate_term(json_object_get(json_array_get(wishes, i), "preference"),
                      FIELD(FIELD_INDEX(FIELD(path, PREFERRED), i), "preference"), errs);
}

static void validate_pod_term(const json_t *term, const struct field_path *path,
                              struct field_errors *errs)
{
    static const char *const selectors[] = {"labelSelector", "namespaceSelector"};
    for (size_t i = 0; i < ARRAY_SIZE(selectors); i++)
        validate_label_selector(json_object_get(term, selectors[i]), FIELD(path, selectors[i]),
                                errs);
    validate_format(term, "topologyKey", FORMAT_QUALIFIED_NAME, path, errs);
    const json_t *namespaces = json_object_get(term, "namespaces");
    for (size_t i = 0; i < json_array_size(namespaces); i++) {
        const char *name = json_string_value(json_array_get(namespaces, i));
        const char *problem = format_problem(FORMAT_DNS_LABEL, name);
        if (problem)
            field_invalid_text(errs, FIELD_INDEX(FIELD(path, "namespaces"), i), name, "%s",
                               problem);
    }
}

static void validate_pod_affinity(const json_t *affinity, const struct field_path *path,
                                  struct field_errors *errs)
{
    const json_t *terms = json_object_get(affinity, REQUIRED);
    for (size_t i = 0; i < json_array_size(terms); i++)
        validate_pod_term(json_array_get(terms, i), FIELD_INDEX(FIELD(path, REQUIRED), i), errs);
    const json_t *wishes = json_object_get(affinity, PREFERRED);
    for (size_t i = 0; i < json_array_size(wishes); i++)
        validate_pod_term(json_object_get(json_array_get(wishes, i), "podAffinityTerm"),
                          FIELD(FIELD_INDEX(FIELD(path, PREFERRED), i), "podAffinityTerm"), errs);
}

static void validate_toleration(const json_t *t, const struct field_path *path,
                                struct field_errors *errs)
{
    static const char *const operators[] = {"Equal", "Exists", NULL};
    static const char *const effects[] = {"NoExecute", "NoSchedule", "PreferNoSchedule", NULL};
    const char *op = member_text(t, "operator"), *key = member_text(t, "key");
    const char *effect = member_text(t, "effect");
    validate_format(t, "key", FORMAT_QUALIFIED_NAME, path, errs);
    if (!*key && !str_eq(op, "Exists"))
        field_invalid_text(errs, FIELD(path, "operator"), op,
                           "operator must be Exists when `key` is empty, which means \"match all "
                           "values and all keys\"");
    if (json_object_get(t, "tolerationSeconds") && !str_eq(effect, "NoExecute"))
        field_invalid_text(errs, FIELD(path, "effect"), effect,
                           "effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (!*op || str_eq(op, "Equal")) {
        validate_format(t, "value", FORMAT_LABEL_VALUE, path, errs);
    } else if (str_eq(op, "Exists")) {
        if (*member_text(t, "value"))
            field_invalid(errs, FIELD(path, "operator"), json_object_get(t, "value"),
                          "value must be empty when `operator` is 'Exists'");
    } else {
        field_not_supported(errs, FIELD(path, "operator"), json_object_get(t, "operator"),
                            operators);
    }
    size_t i = 0;
    while (effects[i] && !str_eq(effects[i], effect))
        i++;
    if (*effect && !effects[i])
        field_not_supported(errs, FIELD(path, "effect"), json_object_get(t, "effect"), effects);
}

static void validate_spreading(const json_t *list, const struct field_path *path,
                               struct field_errors *errs)
{
    struct map seen = MAP_INIT(NULL);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        const struct field_path *at = FIELD_INDEX(path, i);
        const json_t *skew = json_object_get(c, "maxSkew");
        const json_t *domains = json_object_get(c, "minDomains");
        if (skew && json_integer_value(skew) <= 0)
            field_invalid(errs, FIELD(at, "maxSkew"), skew, "must be greater than zero");
        if (domains && json_integer_value(domains) <= 0)
            field_invalid(errs, FIELD(at, "minDomains"), domains, "must be greater than zero");
        _cleanup_free_ char *pair = str_printf("{%s, %s}", member_text(c, "topologyKey"),
                                               member_text(c, "whenUnsatisfiable"));
        if (map_has(&seen, pair)) {
            _cleanup_json_ json_t *value = json_text(pair);
            field_duplicate(errs, FIELD(at, "{topologyKey, whenUnsatisfiable}"), value);
        }
        map_set(&seen, pair, &seen);
        validate_label_selector(json_object_get(c, "labelSelector"), FIELD(at, "labelSelector"),
                                errs);
    }
    map_clear(&seen);
}

void validate_scheduling(const json_t *spec, const struct field_path *path,
                         struct field_errors *errs)
{
    const json_t *affinity = json_object_get(spec, "affinity");
    const struct field_path *at = FIELD(path, "affinity");
    validate_labels(json_object_get(spec, "nodeSelector"), FIELD(path, "nodeSelector"), errs);
    validate_node_affinity(json_object_get(affinity, "nodeAffinity"), FIELD(at, "nodeAffinity"),
                           errs);
    validate_pod_affinity(json_object_get(affinity, "podAffinity"), FIELD(at, "podAffinity"), errs);
    validate_pod_affinity(json_object_get(affinity, "podAntiAffinity"),
                          FIELD(at, "podAntiAffinity"), errs);
    const json_t *tolerations = json_object_get(spec, "tolerations");
    for (size_t i = 0; i < json_array_size(tolerations); i++)
        validate_toleration(json_array_get(tolerations, i),
                            FIELD_INDEX(FIELD(path, "tolerations"), i), errs);
    validate_spreading(json_object_get(spec, "topologySpreadConstraints"),
                       FIELD(path, "topologySpreadConstraints"), errs);
    const json_t *gates = json_object_get(spec, "schedulingGates");
    struct map names = MAP_INIT(NULL);
    for (size_t i = 0; i < json_array_size(gates); i++) {
        const char *name = member_text(json_array_get(gates, i), "name");
        if (map_has(&names, name))
            field_duplicate(errs, FIELD_INDEX(FIELD(path, "schedulingGates"), i),
                            json_object_get(json_array_get(gates, i), "name"));
        map_set(&names, name, &names);
    }
    map_clear(&names);
}
