/* lib/kube/patch: the three patch types, by table. Single quotes stand for double ones. */
#include "lib/test.h"

#include <errno.h>

#include "base/json.h"
#include "kube/patch.h"

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

static json_t *parse(const char *text)
{
    _cleanup_free_ char *copy = str_dup(text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    struct error err = ERROR_INIT;
    json_t *j = json_parse(copy, strlen(copy), &err);
    if (!j)
        fail_msg("%s: %s", text, err.text);
    return j;
}

struct patch_case {
    const char *doc, *patch;
    const char *result; /* or the error's text */
    int code;
};

static void run(enum patch_kind kind, const char *word, const struct patch_case *cases, size_t n)
{
    const struct schema_resource *res = schema_by_word(reg, word);
    for (size_t i = 0; i < n; i++) {
        _cleanup_json_ json_t *doc = parse(cases[i].doc);
        _cleanup_json_ json_t *copy = json_deep_copy(doc);
        _cleanup_json_ json_t *patch = parse(cases[i].patch);
        json_t *got = NULL;
        struct error err = ERROR_INIT;
        int r = patch_apply(kind, res, doc, patch, &got, &err);
        if (r != cases[i].code)
            fail_msg("%s + %s: %d %s", cases[i].doc, cases[i].patch, r, err.text);
        if (r < 0) {
            assert_string_equal(err.text, cases[i].result);
            continue;
        }
        _cleanup_json_ json_t *want = parse(cases[i].result);
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        json_encode(got, &text);
        if (!json_equal(got, want))
            fail_msg("%s + %s gives %s", cases[i].doc, cases[i].patch, strbuf_text(&text));
        assert_true(json_equal(doc, copy));
        json_decref(got);
    }
}

static void media_types(_unused_ void **state)
{
    enum patch_kind kind;
    assert_int_equal(patch_kind_parse("application/merge-patch+json; charset=utf-8", &kind), 0);
    assert_int_equal(kind, PATCH_MERGE);
    assert_int_equal(patch_kind_parse("application/apply-patch+yaml", &kind), 0);
    assert_int_equal(kind, PATCH_APPLY);
    assert_int_equal(patch_kind_parse("application/json", &kind), -EINVAL);
    assert_int_equal(patch_kind_parse(NULL, &kind), -EINVAL);
    _cleanup_json_ json_t *doc = json_object();
    json_t *got = NULL;
    assert_int_equal(patch_apply(PATCH_APPLY, schema_by_word(reg, "pod"), doc, doc, &got, NULL),
                     -EOPNOTSUPP);
}

static void json_patches(_unused_ void **state)
{
    static const struct patch_case cases[] = {
        {"{'a':1}", "[{'op':'add','path':'/b','value':2}]", "{'a':1,'b':2}", 0},
        {"{'a':1}", "[{'op':'add','path':'/a','value':null}]", "{'a':null}", 0},
        {"{'a':[1,3]}", "[{'op':'add','path':'/a/1','value':2}]", "{'a':[1,2,3]}", 0},
        {"{'a':[1]}", "[{'op':'add','path':'/a/-','value':2}]", "{'a':[1,2]}", 0},
        {"{'a':[1]}", "[{'op':'add','path':'/a/1','value':2}]", "{'a':[1,2]}", 0},
        {"{'a':1}", "[{'op':'add','path':'','value':{'b':1}}]", "{'b':1}", 0},
        {"{'a/b':{'c~d':1}}", "[{'op':'replace','path':'/a~1b/c~0d','value':2}]",
         "{'a/b':{'c~d':2}}", 0},
        {"{'a':1,'b':2}", "[{'op':'remove','path':'/a'}]", "{'b':2}", 0},
        {"{'a':[1,2]}", "[{'op':'remove','path':'/a/0'}]", "{'a':[2]}", 0},
        {"{'a':[1,2]}", "[{'op':'replace','path':'/a/1','value':{}}]", "{'a':[1,{}]}", 0},
        {"{'a':{'x':1}}", "[{'op':'move','from':'/a/x','path':'/y'}]", "{'a':{},'y':1}", 0},
        {"{'a':[1,2]}", "[{'op':'move','from':'/a/0','path':'/a/1'}]", "{'a':[2,1]}", 0},
        {"{'a':{'x':1}}", "[{'op':'copy','from':'/a','path':'/a/y'}]", "{'a':{'x':1,'y':{'x':1}}}",
         0},
        {"{'a':{'x':[1]}}", "[{'op':'test','path':'/a','value':{'x':[1]}}]", "{'a':{'x':[1]}}", 0},
        {"{}", "[]", "{}", 0},
        {"{'a':1}", "[{'op':'test','path':'/a','value':2}]", "operation 0: the test failed",
         -ENOENT},
        {"{}", "[{'op':'test','path':'/a','value':null}]", "operation 0: the test failed", -ENOENT},
        {"{}", "[{'op':'remove','path':'/a'}]", "operation 0: there is nothing to remove: \"a\"",
         -ENOENT},
        {"{'a':[]}", "[{'op':'remove','path':'/a/0'}]",
         "operation 0: there is nothing to remove: \"0\"", -ENOENT},
        {"{}", "[{'op':'remove','path':''}]", "operation 0: there is nothing to remove: \"\"",
         -ENOENT},
        {"{}", "[{'op':'add','path':'/a','value':1},{'op':'replace','path':'/b','value':1}]",
         "operation 1: there is nothing to replace: \"b\"", -ENOENT},
        {"{}", "[{'op':'add','path':'/a/b','value':1}]",
         "operation 0: there is no place to add to: \"b\"", -ENOENT},
        {"{'a':[1]}", "[{'op':'add','path':'/a/01','value':1}]",
         "operation 0: there is no place to add to: \"01\"", -ENOENT},
        {"{'a':[1]}", "[{'op':'add','path':'/a/3','value':1}]",
         "operation 0: there is no place to add to: \"3\"", -ENOENT},
        {"{'a':{}}", "[{'op':'move','from':'/a','path':'/a/b'}]",
         "operation 0: a value cannot be moved into itself: \"a\"", -EINVAL},
        {"{}", "[{'op':'copy','from':'/x','path':'/a'}]",
         "operation 0: there is nothing to copy: \"x\"", -ENOENT},
        {"{}", "{}", "a JSON patch must be a list of operations", -EINVAL},
        {"{}", "[1]", "operation 0: must be an object", -EINVAL},
        {"{}", "[{'path':'/a'}]", "operation 0: \"op\" must be a string", -EINVAL},
        {"{}", "[{'op':'add'}]", "operation 0: \"path\" must be a string", -EINVAL},
        {"{}", "[{'op':'add','path':'/a'}]", "operation 0: \"value\" is missing", -EINVAL},
        {"{}", "[{'op':'add','path':'a','value':1}]", "operation 0: not a JSON pointer: \"a\"",
         -EINVAL},
        {"{}", "[{'op':'frob','path':'/a'}]", "operation 0: unknown operation: \"frob\"", -EINVAL},
        {"{}", "[{'op':'copy','path':'/a'}]", "operation 0: \"from\" must be a string", -EINVAL},
    };
    run(PATCH_JSON, "cm", cases, ARRAY_SIZE(cases));
}

static void json_patches_are_bounded(_unused_ void **state)
{
    _cleanup_json_ json_t *doc = parse("{'a':[1]}");
    _cleanup_json_ json_t *op = parse("{'op':'copy','from':'/a','path':'/a/-'}");
    _cleanup_json_ json_t *patch = json_array();
    for (int i = 0; i < 60; i++)
        (void)json_array_append(patch, op);
    json_t *got = NULL;
    assert_int_equal(patch_json(doc, patch, &got, NULL), -EFBIG);
    _cleanup_json_ json_t *deep = parse("{'op':'copy','from':'','path':'/a'}");
    (void)json_array_clear(patch);
    for (int i = 0; i < 2000; i++)
        (void)json_array_append(patch, deep);
    assert_int_equal(patch_json(doc, patch, &got, NULL), -EFBIG);
    for (int i = 0; i < 9000; i++)
        (void)json_array_append(patch, op);
    struct error err = ERROR_INIT;
    assert_int_equal(patch_json(doc, patch, &got, &err), -EFBIG);
    assert_string_equal(err.text,
                        "The allowed maximum operations in a JSON patch is 10000, got 11000");
}

static void merge_patches(_unused_ void **state)
{
    static const struct patch_case cases[] = {
        {"{'a':'b'}", "{'a':'c'}", "{'a':'c'}", 0},
        {"{'a':'b','c':1}", "{'a':null}", "{'c':1}", 0},
        {"{'a':['b']}", "{'a':'c'}", "{'a':'c'}", 0},
        {"{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}", 0},
        {"{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}", 0},
        {"{'e':null}", "{'a':1}", "{'e':null,'a':1}", 0},
        {"{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}", 0},
        {"{'a':1}", "[1]", "a merge patch must be an object", -EINVAL},
    };
    run(PATCH_MERGE, "cm", cases, ARRAY_SIZE(cases));
}

#define SPEC(text) "{'spec':{" text "}}"

static void strategic_merges(_unused_ void **state)
{
    static const struct patch_case cases[] = {
        /* maps merge, null deletes, lists without strategy are replaced */
        {"{'metadata':{'labels':{'a':'1','b':'2'}}}", "{'metadata':{'labels':{'a':null,'c':'3'}}}",
         "{'metadata':{'labels':{'b':'2','c':'3'}}}", 0},
        {SPEC("'tolerations':[{'key':'a'}]"), SPEC("'tolerations':[{'key':'b'}]"),
         SPEC("'tolerations':[{'key':'b'}]"), 0},
        /* by merge key */
        {SPEC("'containers':[{'name':'a','image':'1'},{'name':'b','image':'1'}]"),
         SPEC("'containers':[{'name':'b','image':'2'}]"),
         SPEC("'containers':[{'name':'a','image':'1'},{'name':'b','image':'2'}]"), 0},
        {SPEC("'containers':[{'name':'a'}]"),
         SPEC("'containers':[{'name':'c','env':[{'name':'x','value':'1'}]}]"),
         SPEC("'containers':[{'name':'c','env':[{'name':'x','value':'1'}]},{'name':'a'}]"), 0},
        {SPEC("'containers':[{'name':'a','env':[{'name':'x','value':'1'},{'name':'y'}]}]"),
         SPEC("'containers':[{'name':'a','env':[{'name':'y','value':'2'}]}]"),
         SPEC("'containers':[{'name':'a','env':[{'name':'x','value':'1'},{'name':'y','value':'2'}]"
              "}]"),
         0},
        /* the order of the patch, with the others near where they were */
        {SPEC("'containers':[{'name':'a'},{'name':'b'},{'name':'c'}]"),
         SPEC("'containers':[{'name':'c'},{'name':'a'}]"),
         SPEC("'containers':[{'name':'b'},{'name':'c'},{'name':'a'}]"), 0},
        /* directives in elements */
        {SPEC("'containers':[{'name':'a'},{'name':'b'}]"),
         SPEC("'containers':[{'name':'a','$patch':'delete'}]"), SPEC("'containers':[{'name':'b'}]"),
         0},
        {SPEC("'containers':[{'name':'a'}]"), SPEC("'containers':[{'name':'x','$patch':'delete'}]"),
         SPEC("'containers':[{'name':'a'}]"), 0},
        {SPEC("'containers':[{'name':'a'}]"),
         SPEC("'containers':[{'$patch':'replace'},{'name':'z'}]"),
         SPEC("'containers':[{'name':'z'}]"), 0},
        {SPEC("'containers':[{'name':'a','image':'1','tty':true}]"),
         SPEC("'containers':[{'name':'a','image':'2','$patch':'replace'}]"),
         SPEC("'containers':[]"), 0},
        /* directives in maps */
        {SPEC("'nodeSelector':{'a':'1'}"), SPEC("'nodeSelector':{'$patch':'replace','b':'2'}"),
         SPEC("'nodeSelector':{'b':'2'}"), 0},
        {SPEC("'nodeSelector':{'a':'1'}"), SPEC("'nodeSelector':{'$patch':'delete'}"),
         SPEC("'nodeSelector':{}"), 0},
        {SPEC("'volumes':[{'name':'v','emptyDir':{}}]"),
         SPEC(
             "'volumes':[{'name':'v','hostPath':{'path':'/x'},'$retainKeys':['name','hostPath']}]"),
         SPEC("'volumes':[{'name':'v','hostPath':{'path':'/x'}}]"), 0},
        {SPEC("'volumes':[{'name':'v'}]"),
         SPEC("'volumes':[{'name':'v','emptyDir':{},'$retainKeys':['name']}]"),
         "$retainKeys does not name \"emptyDir\", which the patch sets", -EINVAL},
        /* lists of scalars */
        {"{'metadata':{'finalizers':['a','b']}}", "{'metadata':{'finalizers':['c','a']}}",
         "{'metadata':{'finalizers':['c','a','b']}}", 0},
        {"{'metadata':{'finalizers':['a','b','c']}}",
         "{'metadata':{'$deleteFromPrimitiveList/finalizers':['b','x']}}",
         "{'metadata':{'finalizers':['a','c']}}", 0},
        {"{'metadata':{'finalizers':['a','b','c']}}",
         "{'metadata':{'$setElementOrder/finalizers':['c','a'],'$deleteFromPrimitiveList/"
         "finalizers':['b']}}",
         "{'metadata':{'finalizers':['c','a']}}", 0},
        /* element order */
        {SPEC("'containers':[{'name':'a'},{'name':'b'},{'name':'s'}]"),
         SPEC("'$setElementOrder/containers':[{'name':'b'},{'name':'a'}],'containers':[{'name':'a'"
              ",'image':'2'}]"),
         SPEC("'containers':[{'name':'b'},{'name':'a','image':'2'},{'name':'s'}]"), 0},
        {SPEC("'containers':[{'name':'s'},{'name':'a'},{'name':'b'}]"),
         SPEC("'$setElementOrder/containers':[{'name':'b'},{'name':'a'}]"),
         SPEC("'containers':[{'name':'s'},{'name':'b'},{'name':'a'}]"), 0},
        {SPEC("'containers':[{'name':'a'}]"),
         SPEC("'$setElementOrder/containers':[{'name':'n'},{'name':'a'}],'containers':[{'name':'n'}"
              "]"),
         SPEC("'containers':[{'name':'n'},{'name':'a'}]"), 0},
        /* where the document has nothing, directives leave no trace */
        {"{}",
         SPEC("'containers':[{'name':'a','$patch':'delete'},{'name':'b'}],'nodeSelector':{"
              "'$patch':'replace','x':'1'},'hostname':null"),
         SPEC("'containers':[{'name':'b'}],'nodeSelector':{'x':'1'}"), 0},
        /* errors */
        {SPEC("'containers':[{'name':'a'}]"), SPEC("'containers':[{'image':'x'}]"),
         "map: does not contain declared merge key: name", -EINVAL},
        {SPEC("'containers':[{'name':'a'}]"), SPEC("'containers':['x']"),
         "a merged list holds values of different types", -EINVAL},
        {SPEC("'nodeSelector':{}"), SPEC("'nodeSelector':{'$patch':'frob'}"),
         "unknown patch type found: frob", -EINVAL},
        {"{'metadata':{'finalizers':[]}}", "{'metadata':{'$setElementOrder/finalizers':1}}",
         "$setElementOrder/finalizers must be a list", -EINVAL},
        {"{}", "[]", "a strategic merge patch must be an object", -EINVAL},
    };
    run(PATCH_STRATEGIC, "pod", cases, ARRAY_SIZE(cases));
    static const struct patch_case deployment[] = {
        {SPEC("'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1}}"),
         SPEC("'strategy':{'$retainKeys':['type'],'type':'Recreate'}"),
         SPEC("'strategy':{'type':'Recreate'}"), 0},
        {SPEC("'template':{'spec':{'containers':[{'name':'a','image':'1'}]}}"),
         SPEC("'template':{'spec':{'containers':[{'name':'a','image':'2'}]}}"),
         SPEC("'template':{'spec':{'containers':[{'name':'a','image':'2'}]}}"), 0},
    };
    run(PATCH_STRATEGIC, "deploy", deployment, ARRAY_SIZE(deployment));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(media_types),
        cmocka_unit_test(json_patches),
        cmocka_unit_test(json_patches_are_bounded),
        cmocka_unit_test(merge_patches),
        cmocka_unit_test(strategic_merges),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
