/* Labels and taints of a new Node; see registration.h. */
#include "kubelet/node/registration.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "kube/format.h"
#include "kube/node_label.h"

/* The next item of a list separated by commas, or NULL; empty ones are passed over. */
static char *next_item(char **rest)
{
    char *item;
    do
        item = strsep(rest, ",");
    while (item && !*item);
    return item;
}

/* "key=value" cut in two; the value is "" when there is none. */
static char *cut_value(char *item)
{
    char *equals = strchr(item, '=');
    if (!equals)
        return item + strlen(item);
    *equals = '\0';
    return equals + 1;
}

static int check_pair(const char *flag, const char *key, const char *value, struct error *err)
{
    const char *problem = format_problem(FORMAT_QUALIFIED_NAME, key);
    if (problem)
        return error_set(err, -EINVAL, "--%s: \"%.100s\": %s", flag, key, problem);
    problem = format_problem(FORMAT_LABEL_VALUE, value);
    if (problem)
        return error_set(err, -EINVAL, "--%s: the value of %.100s, \"%.100s\": %s", flag, key,
                         value, problem);
    return 0;
}

int registration_labels(const char *text, json_t **ret, struct error *err)
{
    _cleanup_free_ char *copy = str_dup(text);
    _cleanup_json_ json_t *labels = json_object();
    char *rest = copy;
    for (char *key = next_item(&rest); key; key = next_item(&rest)) {
        const char *value = cut_value(key);
        int r = check_pair("node-labels", key, value, err);
        if (r < 0)
            return r;
        if (node_label_is_reserved(key))
            return error_set(err, -EINVAL,
                             "--node-labels: %.100s: a node may not give itself this label of "
                             "kubernetes.io or k8s.io; those below kubelet.kubernetes.io and "
                             "node.kubernetes.io it may",
                             key);
        (void)json_object_set_new(labels, key, json_text(value));
    }
    *ret = json_incref(labels);
    return 0;
}

static bool has_taint(const json_t *taints, const char *key, const char *effect)
{
    for (size_t i = 0; i < json_array_size(taints); i++) {
        const json_t *t = json_array_get(taints, i);
        if (str_eq(json_path_string(t, "key"), key) &&
            str_eq(json_path_string(t, "effect"), effect))
            return true;
    }
    return false;
}

static int add_taint(json_t *taints, char *item, struct error *err)
{
    char *effect = strrchr(item, ':');
    if (effect)
        *effect++ = '\0';
    if (!str_eq(effect, "NoSchedule") && !str_eq(effect, "PreferNoSchedule") &&
        !str_eq(effect, "NoExecute"))
        return error_set(err, -EINVAL,
                         "--register-with-taints: %.100s: the effect must be NoSchedule, "
                         "PreferNoSchedule or NoExecute, behind a colon",
                         item);
    const char *value = cut_value(item);
    int r = check_pair("register-with-taints", item, value, err);
    if (r < 0)
        return r;
    if (has_taint(taints, item, effect))
        return error_set(err, -EINVAL, "--register-with-taints: %.100s:%s is there twice", item,
                         effect);
    (void)json_array_append_new(
        taints, json_pack("{ss ss ss}", "key", item, "value", value, "effect", effect));
    return 0;
}

int registration_taints(const char *text, json_t **ret, struct error *err)
{
    _cleanup_free_ char *copy = str_dup(text);
    _cleanup_json_ json_t *taints = json_array();
    char *rest = copy;
    for (char *item = next_item(&rest); item; item = next_item(&rest)) {
        int r = add_taint(taints, item, err);
        if (r < 0)
            return r;
    }
    *ret = json_incref(taints);
    return 0;
}
