/* lib/kube/openapi: what clients look for in the documents, and the protobuf form. */
#include "lib/test.h"

#include "base/json.h"
#include "kube/openapi.h"

static struct schema_registry *reg;

static int setup(_unused_ void **state)
{
    reg = schema_registry_new();
    return 0;
}

static int teardown(_unused_ void **state)
{
    reg = schema_registry_free(reg);
    return 0;
}

static const json_t *at(const json_t *j, const char *a, const char *b, const char *c)
{
    j = json_object_get(j, a);
    j = b ? json_object_get(j, b) : j;
    return c ? json_object_get(j, c) : j;
}

/* Every reference in @j leads to a definition. Returns how many there are. */
static size_t check_refs(const json_t *j, const json_t *definitions, const char *prefix)
{
    size_t n = 0;
    const char *key;
    json_t *v;
    for (size_t i = 0; i < json_array_size(j); i++)
        n += check_refs(json_array_get(j, i), definitions, prefix);
    if (!json_is_object(j))
        return n;
    const char *ref = json_string_value(json_object_get(j, "$ref"));
    if (ref) {
        assert_true(str_starts(ref, prefix));
        if (!json_object_get(definitions, ref + strlen(prefix)))
            fail_msg("%s leads nowhere", ref);
        n++;
    }
    json_object_foreach((json_t *)(uintptr_t)j, key, v) {
        n += check_refs(v, definitions, prefix);
    }
    return n;
}

static void v2_describes_kinds(_unused_ void **state)
{
    _cleanup_json_ json_t *doc = openapi_v2(reg);
    const json_t *definitions = json_object_get(doc, "definitions");
    assert_string_equal(json_path_string(doc, "swagger"), "2.0");
    assert_true(check_refs(doc, definitions, "#/definitions/") > 500);
    const json_t *pod = json_object_get(definitions, "io.k8s.api.core.v1.Pod");
    const json_t *gvk = json_array_get(json_object_get(pod, "x-kubernetes-group-version-kind"), 0);
    assert_string_equal(json_path_string(gvk, "kind"), "Pod");
    assert_string_equal(json_path_string(gvk, "group"), "");
    const json_t *containers = at(at(definitions, "io.k8s.api.core.v1.PodSpec", "properties", NULL),
                                  "containers", NULL, NULL);
    assert_string_equal(json_path_string(containers, "type"), "array");
    assert_string_equal(json_path_string(containers, "x-kubernetes-patch-merge-key"), "name");
    assert_string_equal(json_path_string(containers, "x-kubernetes-patch-strategy"), "merge");
    assert_string_equal(json_path_string(containers, "x-kubernetes-list-type"), "map");
    assert_string_equal(json_path_string(containers, "items.$ref"),
                        "#/definitions/io.k8s.api.core.v1.Container");
    const json_t *list = json_object_get(definitions, "io.k8s.api.apps.v1.DeploymentList");
    assert_string_equal(
        json_path_string(
            json_array_get(json_object_get(list, "x-kubernetes-group-version-kind"), 0), "kind"),
        "DeploymentList");
}

static bool has_parameter(const json_t *op, const char *name)
{
    const json_t *list = json_object_get(op, "parameters");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_eq(json_path_string(json_array_get(list, i), "name"), name))
            return true;
    return false;
}

static void v2_has_the_paths(_unused_ void **state)
{
    static const struct {
        const char *path, *method, *action;
    } cases[] = {
        {"/api/v1/pods", "get", "list"},
        {"/api/v1/namespaces/{namespace}/pods", "post", "post"},
        {"/api/v1/namespaces/{namespace}/pods", "delete", "deletecollection"},
        {"/api/v1/namespaces/{namespace}/pods/{name}", "patch", "patch"},
        {"/api/v1/namespaces/{namespace}/pods/{name}/log", "get", "get"},
        {"/api/v1/namespaces/{namespace}/pods/{name}/exec", "post", "connect"},
        {"/api/v1/namespaces/{namespace}/pods/{name}/eviction", "post", "post"},
        {"/api/v1/nodes/{name}", "get", "get"},
        {"/api/v1/nodes", "post", "post"},
        {"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "put", "put"},
        {"/apis/discovery.k8s.io/v1/endpointslices", "get", "list"},
    };
    _cleanup_json_ json_t *doc = openapi_v2(reg);
    const json_t *paths = json_object_get(doc, "paths");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const json_t *op = at(paths, cases[i].path, cases[i].method, NULL);
        if (!op)
            fail_msg("%s %s is not there", cases[i].method, cases[i].path);
        assert_string_equal(json_path_string(op, "x-kubernetes-action"), cases[i].action);
    }
    const json_t *patch =
        at(paths, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "patch", NULL);
    assert_true(has_parameter(patch, "dryRun"));
    assert_true(has_parameter(patch, "fieldValidation"));
    assert_string_equal(json_path_string(patch, "x-kubernetes-group-version-kind.kind"),
                        "Deployment");
    assert_null(at(paths, "/api/v1/nodes/{name}/scale", NULL, NULL));
    assert_null(at(paths, "/api/v1/bindings", NULL, NULL));
}

static void v3_is_split_by_group_version(_unused_ void **state)
{
    _cleanup_json_ json_t *index = openapi_v3_index(reg);
    const json_t *paths = json_object_get(index, "paths");
    assert_non_null(json_object_get(paths, "api/v1"));
    assert_non_null(json_object_get(paths, "apis/authentication.k8s.io/v1"));
    assert_null(json_object_get(paths, "apis/events.k8s.io/v1"));
    const char *url = json_string_value(at(paths, "apis/apps/v1", "serverRelativeURL", NULL));
    assert_true(str_starts(url, "/openapi/v3/apis/apps/v1?hash="));
    const char *path;
    json_t *entry;
    json_object_foreach((json_t *)(uintptr_t)paths, path, entry) {
        _cleanup_json_ json_t *doc = openapi_v3(reg, path);
        assert_non_null(doc);
        assert_true(check_refs(doc, json_path(doc, "components.schemas"), "#/components/schemas/") >
                    20);
    }
    _cleanup_json_ json_t *apps = openapi_v3(reg, "apis/apps/v1");
    const json_t *schemas = json_path(apps, "components.schemas");
    const json_t *spec = at(schemas, "io.k8s.api.apps.v1.DeploymentSpec", "properties", "replicas");
    assert_int_equal(json_path_int(spec, "default", 0), 1);
    assert_null(json_object_get(schemas, "io.k8s.api.core.v1.Node"));
    assert_null(openapi_v3(reg, "apis/apps/v2"));
}

/* ---- a reader of the wire format, as far as the checks need it ---- */

struct wire {
    const unsigned char *at, *end;
};

static uint64_t varint(struct wire *w)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        assert_true(w->at < w->end);
        unsigned char c = *w->at++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80)
            return v;
    }
    fail_msg("a varint is too long");
    return 0;
}

/* The next field; lengths are checked. Returns its number, 0 at the end. */
static unsigned next(struct wire *w, struct wire *ret)
{
    if (w->at == w->end)
        return 0;
    uint64_t tag = varint(w);
    *ret = (struct wire){0};
    if ((tag & 7) == 0) {
        (void)varint(w);
    } else {
        assert_int_equal(tag & 7, 2);
        uint64_t len = varint(w);
        assert_true(len <= (size_t)(w->end - w->at));
        *ret = (struct wire){w->at, w->at + len};
        w->at += len;
    }
    return (unsigned)(tag >> 3);
}

static size_t count_pairs(struct wire all, unsigned number, const json_t *expected)
{
    struct wire pair = {0}, part = {0};
    unsigned n;
    size_t count = 0;
    while ((n = next(&all, &pair))) {
        assert_int_equal(n, number);
        assert_int_equal(next(&pair, &part), 1);
        _cleanup_free_ char *name = str_ndup((const char *)part.at, (size_t)(part.end - part.at));
        assert_non_null(json_object_get(expected, name));
        assert_int_equal(next(&pair, &part), 2);
        count++;
    }
    return count;
}

static void the_protobuf_form_holds_it_all(_unused_ void **state)
{
    _cleanup_json_ json_t *doc = openapi_v2(reg);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    assert_int_equal(openapi_v2_proto(doc, &text), 0);
    struct wire w = {(const unsigned char *)text.data, (const unsigned char *)text.data + text.len};
    struct wire field;
    unsigned number;
    bool seen[16] = {false};
    while ((number = next(&w, &field))) {
        const char *key = number == 8 ? "paths" : number == 9 ? "definitions" : NULL;
        seen[number & 15] = true;
        if (key)
            assert_int_equal(count_pairs(field, number == 8 ? 2 : 1, json_object_get(doc, key)),
                             json_object_size(json_object_get(doc, key)));
    }
    assert_true(seen[1] && seen[2] && seen[8] && seen[9]);
}

static void what_has_no_protobuf_form_is_refused(_unused_ void **state)
{
    static const char *const cases[] = {"{\"frob\":1}", "{\"info\":[]}",
                                        "{\"definitions\":{\"a\":{\"type\":3}}}", "[]",
                                        "{\"paths\":{\"/x\":{\"get\":{\"frob\":1}}}}"};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *doc = json_parse(cases[i], strlen(cases[i]), NULL);
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        assert_true(openapi_v2_proto(doc, &text) < 0);
        assert_int_equal(text.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v2_describes_kinds),
        cmocka_unit_test(v2_has_the_paths),
        cmocka_unit_test(v3_is_split_by_group_version),
        cmocka_unit_test(the_protobuf_form_holds_it_all),
        cmocka_unit_test(what_has_no_protobuf_form_is_refused),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
