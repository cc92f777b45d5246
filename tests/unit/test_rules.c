/* apiserver/auth/rules.c, policy.c and rbac.c: what a rule allows, what rules cover, and how fast.
 */
#include "lib/test.h"

#include <errno.h>
#include <time.h>

#include "apiserver/auth/authz.h"
#include "apiserver/auth/node_refs.h"
#include "apiserver/auth/policy.h"
#include "apiserver/auth/policy_reconcile.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/auth/rules.h"
#include "base/json.h"
#include "kube/meta.h"
#include "lib/harness.h"

static struct rules parse(const char *text)
{
    struct rules rules;
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *array = json_parse(text, strlen(text), &err);
    if (!array)
        fail_msg("%s: %s", text, error_text(&err));
    role_rules_parse(array, &rules);
    return rules;
}

static struct user somebody = {.name = (char *)(uintptr_t) "u"};

static bool allows(const char *rule, const char *verb, const char *group, const char *resource,
                   const char *subresource, const char *name)
{
    _cleanup_free_ char *text = str_printf("[%s]", rule);
    struct rules rules = parse(text);
    struct access a = ACCESS_INIT;
    a.user = &somebody;
    a.is_resource = true;
    a.verb = verb;
    a.group = group;
    a.resource = resource;
    a.subresource = subresource;
    a.name = name;
    _cleanup_free_ char *both =
        str_printf("%s%s%s", resource, *subresource ? "/" : "", subresource);
    bool yes = rule_allows(&rules.items[0], &a, both);
    role_rules_done(&rules);
    return yes;
}

#define RULE(verbs, groups, resources) \
    "{\"verbs\":[" verbs "],\"apiGroups\":[" groups "],\"resources\":[" resources "]}"

static void rules_allow_what_they_say(_unused_ void **state)
{
    const char *pods = RULE("\"get\",\"list\"", "\"\"", "\"pods\"");
    assert_true(allows(pods, "get", "", "pods", "", "x"));
    assert_true(allows(pods, "list", "", "pods", "", ""));
    assert_false(allows(pods, "watch", "", "pods", "", ""));
    assert_false(allows(pods, "get", "apps", "pods", "", "x"));
    assert_false(allows(pods, "get", "", "pods", "log", "x"));
    assert_false(allows(pods, "get", "", "pod", "", "x"));
    assert_false(allows(pods, "*", "", "pods", "", "x"));
    const char *all = RULE("\"*\"", "\"*\"", "\"*\"");
    assert_true(allows(all, "anything", "x.example", "things", "sub", "x"));
    const char *scale = RULE("\"get\"", "\"*\"", "\"*/scale\"");
    assert_true(allows(scale, "get", "apps", "deployments", "scale", "x"));
    assert_false(allows(scale, "get", "apps", "deployments", "status", "x"));
    assert_false(allows(scale, "get", "apps", "deployments", "", "x"));
    const char *log = RULE("\"get\"", "\"\"", "\"pods/log\"");
    assert_true(allows(log, "get", "", "pods", "log", "x"));
    assert_false(allows(log, "get", "", "pods", "", "x"));
    const char *named = "{\"verbs\":[\"get\",\"create\"],\"apiGroups\":[\"\"],\"resources\":"
                        "[\"secrets\"],\"resourceNames\":[\"a\",\"b\"]}";
    assert_true(allows(named, "get", "", "secrets", "", "b"));
    assert_false(allows(named, "get", "", "secrets", "", "c"));
    assert_false(allows(named, "create", "", "secrets", "", ""));
}

static bool allows_path(const char *urls, const char *path)
{
    _cleanup_free_ char *text =
        str_printf("[{\"verbs\":[\"get\"],\"nonResourceURLs\":[%s]}]", urls);
    struct rules rules = parse(text);
    struct access a = ACCESS_INIT;
    a.user = &somebody;
    a.verb = "get";
    a.path = path;
    bool yes = rule_allows(&rules.items[0], &a, "");
    role_rules_done(&rules);
    return yes;
}

static void paths_end_in_a_star(_unused_ void **state)
{
    assert_true(allows_path("\"/healthz\"", "/healthz"));
    assert_false(allows_path("\"/healthz\"", "/healthz/x"));
    assert_true(allows_path("\"/apis/*\"", "/apis/apps/v1"));
    assert_true(allows_path("\"/apis/*\"", "/apis/"));
    assert_false(allows_path("\"/apis/*\"", "/apis"));
    assert_true(allows_path("\"*\"", "/anything"));
    assert_false(allows_path("\"/a/*/b\"", "/a/x/b"));
}

static int cover(const char *owned, const char *wanted, struct strbuf *missing)
{
    struct rules o = parse(owned), w = parse(wanted);
    const struct rule **list = mem_grow(NULL, o.count + 1, sizeof(*list));
    for (size_t i = 0; i < o.count; i++)
        list[i] = &o.items[i];
    int r = role_rules_cover(list, o.count, &w, missing);
    free(list);
    role_rules_done(&o);
    role_rules_done(&w);
    return r;
}

static void rules_cover_others(_unused_ void **state)
{
    static const struct {
        const char *owned, *wanted;
        bool covered;
    } cases[] = {
        {"[]", "[]", true},
        {"[]", "[" RULE("\"get\"", "\"\"", "\"pods\"") "]", false},
        {"[" RULE("\"*\"", "\"*\"", "\"*\"") "]", "[" RULE("\"*\"", "\"*\"", "\"*\"") "]", true},
        {"[" RULE("\"get\"", "\"\"", "\"pods\"") "," RULE("\"list\"", "\"\"", "\"pods\"") "]",
         "[" RULE("\"get\",\"list\"", "\"\"", "\"pods\"") "]", true},
        {"[" RULE("\"get\",\"list\"", "\"\",\"apps\"", "\"pods\",\"nodes\"") "]",
         "[" RULE("\"*\"", "\"\"", "\"pods\"") "]", false},
        {"[" RULE("\"get\"", "\"\"", "\"*\"") "]", "[" RULE("\"get\"", "\"\"", "\"pods/log\"") "]",
         true},
        {"[" RULE("\"get\"", "\"*\"", "\"*/scale\"") "]",
         "[" RULE("\"get\"", "\"apps\"", "\"deployments/scale\"") "]", true},
        {"[" RULE("\"get\"", "\"*\"", "\"*/scale\"") "]",
         "[" RULE("\"get\"", "\"apps\"", "\"*\"") "]", false},
        {"[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"resourceNames\":"
         "[\"a\"]}]",
         "[" RULE("\"get\"", "\"\"", "\"pods\"") "]", false},
        {"[" RULE("\"get\"", "\"\"", "\"pods\"") "]",
         "[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"resourceNames\":"
         "[\"a\"]}]",
         true},
        {"[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/a/*\"]}]",
         "[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/a/b\",\"/a/c/*\"]}]", true},
        {"[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/a/*\"]}]",
         "[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/*\"]}]", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (cover(cases[i].owned, cases[i].wanted, NULL) != cases[i].covered)
            fail_msg("case %zu: %s and %s", i, cases[i].owned, cases[i].wanted);
    _cleanup_strbuf_ struct strbuf missing = STRBUF_INIT;
    assert_int_equal(cover("[" RULE("\"get\"", "\"\"", "\"pods\"") "]",
                           "[" RULE("\"get\",\"delete\"", "\"\"", "\"pods\",\"nodes\"") "]",
                           &missing),
                     0);
    assert_string_equal(strbuf_text(&missing),
                        "\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}"
                        "\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"delete\"]}");
}

/* A list of @n different words. */
static void add_list(struct strbuf *b, const char *key, int n)
{
    strbuf_addf(b, "%s\"%s\":[", b->data[b->len - 1] == '{' ? "" : ",", key);
    for (int i = 0; i < n; i++)
        strbuf_addf(b, "%s\"w%d\"", i ? "," : "", i);
    strbuf_addc(b, ']');
}

static void what_would_take_for_ever_is_refused(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf huge = STRBUF_INIT;
    strbuf_adds(&huge, "[{");
    add_list(&huge, "verbs", 500);
    add_list(&huge, "apiGroups", 500);
    add_list(&huge, "resources", 500);
    add_list(&huge, "resourceNames", 500);
    strbuf_adds(&huge, "}]");
    assert_int_equal(cover("[]", strbuf_text(&huge), NULL), -E2BIG);
}

static void the_policy_is_whole(_unused_ void **state)
{
    _cleanup_json_ json_t *all = policy_objects();
    struct map roles = MAP_INIT(NULL);
    size_t i;
    json_t *obj;
    json_array_foreach(all, i, obj) {
        if (str_eq(meta_kind(obj), "ClusterRole")) {
            assert_false(map_has(&roles, meta_name(obj)));
            map_set(&roles, meta_name(obj), obj);
        }
    }
    json_array_foreach(all, i, obj) {
        const char *role = json_path_string(obj, "roleRef.name");
        if (role && !map_has(&roles, role))
            fail_msg("%s binds %s, which is not there", meta_name(obj), role);
    }
    map_clear(&roles);
    _cleanup_json_ json_t *node = policy_cluster_role("system:node");
    assert_non_null(node);
    assert_null(policy_cluster_role("nothing"));
}

static void merging_adds_only(_unused_ void **state)
{
    _cleanup_json_ json_t *wanted = policy_cluster_role("system:basic-user");
    _cleanup_json_ json_t *fresh = policy_merge(wanted, NULL);
    assert_true(json_equal(fresh, wanted));
    assert_null(policy_merge(wanted, fresh));
    /* More than is wanted is enough. */
    _cleanup_json_ json_t *more = json_deep_copy(wanted);
    _cleanup_json_ json_t *star =
        json_pack("[{s:[s],s:[s],s:[s]}]", "verbs", "*", "apiGroups", "*", "resources", "*");
    (void)json_object_set(more, "rules", star);
    assert_null(policy_merge(wanted, more));
    /* Labels that somebody has changed stay changed. */
    meta_set_label(more, "kubernetes.io/bootstrapping", "mine");
    assert_null(policy_merge(wanted, more));
    (void)json_object_set_new(more, "rules", json_array());
    _cleanup_json_ json_t *back = policy_merge(wanted, more);
    assert_string_equal(meta_label(back, "kubernetes.io/bootstrapping"), "mine");
    assert_true(json_equal(json_object_get(back, "rules"), json_object_get(wanted, "rules")));
    meta_set_annotation(more, "rbac.authorization.kubernetes.io/autoupdate", "false");
    assert_null(policy_merge(wanted, more));
}

/* ---- the index, over the API ---- */

static void post(struct harness *h, const char *path, const char *body)
{
    _cleanup_json_ json_t *answer = harness_json(h, "POST", path, body);
    if (!*meta_uid(answer))
        fail_msg("%s: %s", path, json_path_string(answer, "message"));
}

#define RBAC "/apis/rbac.authorization.k8s.io/v1"
#define REF(kind, name)                                                        \
    "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"" kind \
    "\",\"name\":\"" name "\"}"

static bool index_allows(struct harness *h, const struct user *user, const char *verb,
                         const char *ns, const char *resource)
{
    struct access a = ACCESS_INIT;
    a.user = user;
    a.is_resource = true;
    a.verb = verb;
    a.ns = ns;
    a.resource = resource;
    a.name = "x";
    return rbac_allows(authz_rbac(h->srv.authz), &a, NULL);
}

static void bindings_come_and_go(_unused_ void **state)
{
    struct harness *h = harness_new("10.0.0.0/28");
    struct user user = {.name = NULL}, robot;
    user.name = str_dup("u");
    user_add_group(&user, "g", 1);
    user_of_account(&robot, "default", "robot", "uid");
    post(h, RBAC "/clusterroles",
         "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"ClusterRole\",\"metadata\":{"
         "\"name\":\"r\"},\"rules\":[" RULE("\"get\"", "\"\"", "\"pods\"") "]}");
    post(h, RBAC "/namespaces/default/rolebindings",
         "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"RoleBinding\",\"metadata\":{"
         "\"name\":\"b\"}," REF("ClusterRole", "r") ",\"subjects\":[{\"kind\":\"Group\",\"name\":"
                                                    "\"g\"},{\"kind\":\"ServiceAccount\",\"name\":"
                                                    "\"robot\"},{\"kind\":\"Group\",\"name\":"
                                                    "\"g\"}]}");
    assert_true(index_allows(h, &user, "get", "default", "pods"));
    assert_true(index_allows(h, &robot, "get", "default", "pods"));
    assert_false(index_allows(h, &user, "get", "other", "pods"));
    assert_false(index_allows(h, &user, "get", "", "pods"));
    assert_false(index_allows(h, &user, "list", "default", "pods"));
    json_decref(harness_json(h, "PATCH", RBAC "/clusterroles/r",
                             "{\"rules\":[" RULE("\"list\"", "\"\"", "\"pods\"") "]}"));
    assert_true(index_allows(h, &user, "list", "default", "pods"));
    assert_false(index_allows(h, &user, "get", "default", "pods"));
    json_decref(harness_json(h, "DELETE", RBAC "/clusterroles/r", NULL));
    assert_false(index_allows(h, &user, "list", "default", "pods"));
    post(h, RBAC "/clusterroles",
         "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"ClusterRole\",\"metadata\":{"
         "\"name\":\"r\"},\"rules\":[" RULE("\"*\"", "\"*\"", "\"*\"") "]}");
    assert_true(index_allows(h, &user, "list", "default", "nodes"));
    /* The index built anew says the same. */
    authz_load(h->srv.authz);
    assert_true(index_allows(h, &user, "list", "default", "nodes"));
    json_decref(harness_json(h, "DELETE", RBAC "/namespaces/default/rolebindings/b", NULL));
    assert_false(index_allows(h, &user, "list", "default", "nodes"));
    user_done(&user);
    user_done(&robot);
    (void)harness_free(h);
}

/* Many bindings of others cost nothing; the asker's own are walked. */
static void a_question_costs_microseconds(_unused_ void **state)
{
    struct harness *h = harness_new("10.0.0.0/28");
    struct user user = {.name = NULL};
    user.name = str_dup("u500");
    user_add_group(&user, GROUP_AUTHENTICATED, strlen(GROUP_AUTHENTICATED));
    post(h, RBAC "/clusterroles",
         "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"ClusterRole\",\"metadata\":{"
         "\"name\":\"r\"},\"rules\":[" RULE("\"get\"", "\"\"", "\"pods\"") "]}");
    for (int i = 0; i < 1000; i++) {
        _cleanup_free_ char *body = str_printf(
            "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"ClusterRoleBinding\","
            "\"metadata\":{\"name\":\"b%d\"}," REF("ClusterRole", "r") ",\"subjects\":[{\"kind\":"
                                                                       "\"User\",\"name\":"
                                                                       "\"u%d\"}]}",
            i, i);
        post(h, RBAC "/clusterrolebindings", body);
    }
    struct timespec from, to;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < 10000; i++) {
        assert_true(index_allows(h, &user, "get", "default", "pods"));
        assert_false(index_allows(h, &user, "list", "default", "nodes"));
    }
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double us = ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
                1e3 / 20000;
    print_message("# %.2f us a question\n", us);
    assert_true(us < 100); /* sanitizers and all */
    user_done(&user);
    (void)harness_free(h);
}

/* ---- what pods refer to ---- */

static void pods_refer_by_name(_unused_ void **state)
{
    static const char text[] =
        "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"serviceAccountName\":\"a\",\"volumes\":["
        "{\"name\":\"v\",\"ephemeral\":{}},{\"name\":\"w\",\"iscsi\":{\"secretRef\":{\"name\":"
        "\"chap\"}}},{\"name\":\"x\",\"csi\":{\"nodePublishSecretRef\":{\"name\":\"csi\"}}},"
        "{\"name\":\"y\",\"persistentVolumeClaim\":{\"claimName\":\"claim\"}}]}}";
    _cleanup_json_ json_t *pod = json_parse(text, sizeof(text) - 1, NULL);
    _cleanup_strbuf_ struct strbuf refs = STRBUF_INIT, mirror = STRBUF_INIT;
    node_refs_of_pod(pod, &refs);
    assert_true(node_refs_have(refs.data, refs.len, REF_CLAIM, "p-v"));
    assert_true(node_refs_have(refs.data, refs.len, REF_CLAIM, "claim"));
    assert_true(node_refs_have(refs.data, refs.len, REF_SECRET, "chap"));
    assert_true(node_refs_have(refs.data, refs.len, REF_SECRET, "csi"));
    assert_true(node_refs_have(refs.data, refs.len, REF_ACCOUNT, "a"));
    assert_false(node_refs_have(refs.data, refs.len, REF_SECRET, "a"));
    meta_set_annotation(pod, "kubernetes.io/config.mirror", "x");
    node_refs_of_pod(pod, &mirror);
    assert_int_equal(mirror.len, 0);
    static const char pv[] =
        "{\"spec\":{\"csi\":{\"driver\":\"d\",\"nodeStageSecretRef\":{\"name\":\"s\",\"namespace\":"
        "\"o\"}},\"rbd\":{\"secretRef\":{\"name\":\"r\"}},\"azureFile\":{\"secretName\":\"z\"}}}";
    _cleanup_json_ json_t *volume = json_parse(pv, sizeof(pv) - 1, NULL);
    _cleanup_strbuf_ struct strbuf secrets = STRBUF_INIT;
    node_secrets_of_volume(volume, "ns", &secrets);
    assert_int_equal(secrets.len, sizeof("o/s\0ns/r\0ns/z"));
    assert_memory_equal(secrets.data, "o/s\0ns/r\0ns/z", secrets.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_allow_what_they_say),
        cmocka_unit_test(paths_end_in_a_star),
        cmocka_unit_test(rules_cover_others),
        cmocka_unit_test(what_would_take_for_ever_is_refused),
        cmocka_unit_test(the_policy_is_whole),
        cmocka_unit_test(merging_adds_only),
        cmocka_unit_test(bindings_come_and_go),
        cmocka_unit_test(a_question_costs_microseconds),
        cmocka_unit_test(pods_refer_by_name),
    };
    return RUN_TESTS(tests);
}
