/* Reading policy.text; see policy.h. */
#include "apiserver/auth/policy.h"

#include <string.h>

#include "apiserver/auth/policy_text.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "kube/meta.h"

#define WORDS_MAX   16
#define GROUP       "rbac.authorization.k8s.io"
#define AGGREGATION "rbac.authorization.k8s.io/aggregate-to-"
/* What the controllers of this project, all in one process, run as. */
#define CONTROLLERS_USER "system:kube-controller-manager"

struct reader {
    json_t *objects;
    json_t *role; /* rules go here; borrowed */
    char *words[WORDS_MAX];
    size_t n;
};

static json_t *add_object(struct reader *r, const char *kind, const char *name)
{
    json_t *obj = json_pack("{s:s,s:s,s:{s:s,s:{s:s},s:{s:s}}}", "apiVersion", GROUP "/v1", "kind",
                            kind, "metadata", "name", name, "labels", "kubernetes.io/bootstrapping",
                            "rbac-defaults", "annotations",
                            "rbac.authorization.kubernetes.io/autoupdate", "true");
    (void)json_array_append_new(r->objects, obj);
    return obj;
}

/* ---- roles ---- */

static void add_words(json_t *array, const char *text)
{
    static const struct {
        const char *word, *stands_for;
    } short_forms[] = {{"READ", "get,list,watch"},
                       {"WRITE", "create,delete,deletecollection,patch,update"},
                       {"core", ""}};
    while (*text) {
        size_t len = strcspn(text, ",");
        _cleanup_free_ char *word = str_ndup(text, len);
        const char *value = word;
        for (size_t i = 0; i < ARRAY_SIZE(short_forms); i++)
            if (str_eq(short_forms[i].word, word))
                value = short_forms[i].stands_for;
        if (!*value)
            (void)json_array_append_new(array, json_string(""));
        while (*value) {
            size_t n = strcspn(value, ",");
            (void)json_array_append_new(array, json_stringn(value, n));
            value += n + (value[n] == ',');
        }
        text += len + (text[len] == ',');
    }
}

static json_t *words(const char *text)
{
    json_t *array = json_array();
    add_words(array, text);
    return array;
}

static void add_rule(struct reader *r)
{
    if (!r->role)
        abort();
    json_t *rules = json_object_get(r->role, "rules");
    if (!rules) {
        rules = json_array();
        (void)json_object_set_new(r->role, "rules", rules);
    }
    json_t *rule = json_object();
    (void)json_array_append_new(rules, rule);
    if (r->n == 1 && str_eq(r->words[0], "events")) {
        (void)json_object_set_new(rule, "verbs", words("create,patch,update"));
        (void)json_object_set_new(rule, "apiGroups", words("core,events.k8s.io"));
        (void)json_object_set_new(rule, "resources", words("events"));
        return;
    }
    if (r->n < 3 || r->n > 4)
        abort();
    (void)json_object_set_new(rule, "verbs", words(r->words[0]));
    if (str_eq(r->words[1], "url")) {
        (void)json_object_set_new(rule, "nonResourceURLs", words(r->words[2]));
        return;
    }
    (void)json_object_set_new(rule, "apiGroups", words(r->words[1]));
    (void)json_object_set_new(rule, "resources", words(r->words[2]));
    if (r->n == 4)
        (void)json_object_set_new(rule, "resourceNames", words(r->words[3]));
}

static void add_role(struct reader *r, const char *name)
{
    r->role = add_object(r, "ClusterRole", name);
    for (size_t i = 2; i < r->n; i++) {
        const char *value = strchr(r->words[i], '=');
        if (!value)
            abort();
        _cleanup_free_ char *label = str_printf(AGGREGATION "%s", value + 1);
        if (str_starts(r->words[i], "from="))
            meta_set_label(r->role, label, "true");
        else
            (void)json_object_set_new(
                r->role, "aggregationRule",
                json_pack("{s:[{s:{s:s}}]}", "clusterRoleSelectors", "matchLabels", label, "true"));
    }
}

/* ---- bindings ---- */

static void add_subject(json_t *binding, const char *text)
{
    json_t *subjects = json_object_get(binding, "subjects");
    const char *name = strchr(text, ':');
    const char *last = strrchr(text, ':');
    if (!name)
        abort();
    if (str_starts(text, "account:")) {
        _cleanup_free_ char *ns = str_ndup(name + 1, (size_t)(last - name - 1));
        (void)json_array_append_new(subjects, json_pack("{s:s,s:s,s:s}", "kind", "ServiceAccount",
                                                        "name", last + 1, "namespace", ns));
        return;
    }
    (void)json_array_append_new(subjects, json_pack("{s:s,s:s,s:s}", "apiGroup", GROUP, "kind",
                                                    str_starts(text, "user:") ? "User" : "Group",
                                                    "name", name + 1));
}

static json_t *add_binding(struct reader *r, const char *name, const char *role)
{
    json_t *binding = add_object(r, "ClusterRoleBinding", name);
    (void)json_object_set_new(
        binding, "roleRef",
        json_pack("{s:s,s:s,s:s}", "apiGroup", GROUP, "kind", "ClusterRole", "name", role));
    (void)json_object_set_new(binding, "subjects", json_array());
    return binding;
}

static void add_controller(struct reader *r, const char *controller)
{
    _cleanup_free_ char *name = str_printf("system:controller:%s", controller);
    _cleanup_free_ char *account = str_printf("account:kube-system:%s", controller);
    json_t *binding = add_binding(r, name, name);
    add_subject(binding, account);
    add_subject(binding, "user:" CONTROLLERS_USER);
    add_role(r, name);
}

/* ---- lines ---- */

static void read_line(struct reader *r, char *line)
{
    bool indented = *line == ' ';
    char *save = NULL;
    r->n = 0;
    if (*line == '#')
        return;
    for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        if (r->n == WORDS_MAX)
            abort();
        r->words[r->n++] = word;
    }
    if (!r->n)
        return;
    if (indented) {
        add_rule(r);
    } else if (str_eq(r->words[0], "role") && r->n > 1) {
        add_role(r, r->words[1]);
    } else if (str_eq(r->words[0], "controller") && r->n == 2) {
        add_controller(r, r->words[1]);
    } else if (str_eq(r->words[0], "bind") && r->n > 2) {
        json_t *binding = add_binding(r, r->words[1], r->words[2]);
        for (size_t i = 3; i < r->n; i++)
            add_subject(binding, r->words[i]);
        r->role = NULL;
    } else {
        abort();
    }
}

json_t *policy_objects(void)
{
    struct reader r = {.objects = json_array()};
    const char *text = policy_builtin_text();
    while (*text) {
        size_t len = strcspn(text, "\n");
        _cleanup_free_ char *line = str_ndup(text, len);
        read_line(&r, line);
        text += len + (text[len] == '\n');
    }
    return r.objects;
}

json_t *policy_cluster_role(const char *name)
{
    _cleanup_json_ json_t *all = policy_objects();
    size_t i;
    json_t *obj;
    json_array_foreach(all, i, obj) {
        if (str_eq(meta_kind(obj), "ClusterRole") && str_eq(meta_name(obj), name))
            return json_incref(obj);
    }
    return NULL;
}
