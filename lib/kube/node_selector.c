/* NodeSelector: terms of which one must match; see selector.h. */
#include <stdlib.h>

#include "base/json.h"
#include "kube/selector.h"

static bool term_matches(const json_t *term, const json_t *labels, const char *name)
{
    const json_t *expressions = json_object_get(term, "matchExpressions");
    const json_t *fields = json_object_get(term, "matchFields");
    if (!json_array_size(expressions) && !json_array_size(fields))
        return false; /* an empty term selects nothing */
    for (size_t i = 0; i < json_array_size(fields); i++) {
        const json_t *f = json_array_get(fields, i);
        const char *value = json_string_value(json_array_get(json_object_get(f, "values"), 0));
        bool in = str_eq(value, name);
        if (str_eq(json_path_string(f, "operator"), "NotIn") ? in : !in)
            return false;
    }
    if (!json_array_size(expressions))
        return true;
    /* Gt and Lt are node affinity's own; the rest is a label selector. */
    _cleanup_json_ json_t *rest = json_array();
    for (size_t i = 0; i < json_array_size(expressions); i++) {
        json_t *x = json_array_get(expressions, i);
        const char *operator= json_path_string(x, "operator");
        if (!str_eq(operator, "Gt") && !str_eq(operator, "Lt")) {
            (void)json_array_append(rest, x);
            continue;
        }
        const char *key = json_path_string(x, "key");
        const char *limit = json_string_value(json_array_get(json_object_get(x, "values"), 0));
        const char *label = key ? json_string_value(json_object_get(labels, key)) : NULL;
        if (!label || !limit)
            return false;
        long long have = strtoll(label, NULL, 10), want = strtoll(limit, NULL, 10);
        if (str_eq(operator, "Gt") ? have <= want : have >= want)
            return false;
    }
    _cleanup_json_ json_t *object = json_pack("{sO}", "matchExpressions", rest);
    _cleanup_(selector_freep) struct selector *selector = NULL;
    return selector_from_object(object, &selector, NULL) == 0 && selector_matches(selector, labels);
}

bool node_selector_matches(const json_t *selector, const json_t *labels, const char *name)
{
    const json_t *terms = json_object_get(selector, "nodeSelectorTerms");
    for (size_t i = 0; i < json_array_size(terms); i++)
        if (term_matches(json_array_get(terms, i), labels, name))
            return true;
    return false;
}
