/* lib/kube/yaml: scalars, documents, anchors, errors with their places, and writing. */
#include "lib/test.h"

#include <errno.h>

#include "base/json.h"
#include "kube/yaml.h"

static void scalars_resolve_as_in_kubernetes(_unused_ void **state)
{
    static const char *const cases[][2] = {
        {"0644", "420"},
        {"0o644", "420"},
        {"0x1F", "31"},
        {"0b101", "5"},
        {"1_000", "1000"},
        {"-12", "-12"},
        {"+12", "12"},
        {"089", "89"},
        {"1.5", "1.5"},
        {".5", "0.5"},
        {"1e3", "1000"},
        {"1e-3", "0.001"},
        {"on", "true"},
        {"yes", "true"},
        {"Off", "false"},
        {"NO", "false"},
        {"y", "true"},
        {"true", "true"},
        {"truE", "\"truE\""},
        {"~", "null"},
        {"null", "null"},
        {"", "null"},
        {"Null", "null"},
        {"'on'", "\"on\""},
        {"\"0644\"", "\"0644\""},
        {"1.2.3", "\"1.2.3\""},
        {"12:30", "\"12:30\""},
        {"2026-01-02", "\"2026-01-02\""},
        {"2026-01-02T03:04:05Z", "\"2026-01-02T03:04:05Z\""},
        {"100m", "\"100m\""},
        {"!!str 12", "\"12\""},
        {"!!int '12'", "12"},
        {"!!float 1", "1"},
        {"!!bool 'on'", "true"},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", "9.223372036854775808e18"},
        {"0x", "\"0x\""},
        {"1e", "\"1e\""},
        {"-", "[null]"},
        {"- -", "[[null]]"},
        {"+", "\"+\""},
        {"1__0", "10"},
        {"|\n a\n b\n", "\"a\\nb\\n\""},
        {">-\n a\n b\n", "\"a b\""},
        {"\"\\u00e9\\x41\"", "\"\\u00e9A\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        _cleanup_free_ char *text = str_printf("v: %s", cases[i][0]);
        if (cases[i][0][0] == '-' && (cases[i][0][1] == '\0' || cases[i][0][1] == ' ')) {
            free(text);
            text = str_printf("v:\n%s", cases[i][0]);
        }
        _cleanup_json_ json_t *got = yaml_parse_one(text, strlen(text), &err);
        if (!got)
            fail_msg("%s: %s", cases[i][0], err.text);
        _cleanup_json_ json_t *want = json_parse(cases[i][1], strlen(cases[i][1]), NULL);
        _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
        json_encode(got, &out);
        if (!json_equal(json_object_get(got, "v"), want))
            fail_msg("%s gives %s", cases[i][0], strbuf_text(&out));
    }
}

static void collections_and_anchors(_unused_ void **state)
{
    static const char *const cases[][2] = {
        {"a: 1\nb: [1, {c: d}]\n", "{\"a\":1,\"b\":[1,{\"c\":\"d\"}]}"},
        {"- a\n-\n  - b\n- {}\n- []\n", "[\"a\",[\"b\"],{},[]]"},
        {"a: &x {b: 1}\nc: *x\n", "{\"a\":{\"b\":1},\"c\":{\"b\":1}}"},
        {"a: &x 5\nb: [*x, *x]\n", "{\"a\":5,\"b\":[5,5]}"},
        {"y: 1\nn: 2\n", "{\"true\":1,\"false\":2}"}, /* as Go's library has it */
        {"b: &b {x: 1, w: 2}\nm:\n  <<: *b\n  w: 3\n",
         "{\"b\":{\"x\":1,\"w\":2},\"m\":{\"w\":3,\"x\":1}}"},
        {"a: &a {x: 1}\nb: &b {x: 2, z: 3}\nm:\n  <<: [*a, *b]\n",
         "{\"a\":{\"x\":1},\"b\":{\"x\":2,\"z\":3},\"m\":{\"x\":1,\"z\":3}}"},
        {"'<<': 1\n", "{\"<<\":1}"},
        {"1: a\ntrue: b\n1.5: c\n", "{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\"}"},
        {"{\n\t\"a\": [1,\n\t\t2]\n}", "{\"a\":[1,2]}"},
        {"# only\na: b # text\n", "{\"a\":\"b\"}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        _cleanup_json_ json_t *got = yaml_parse_one(cases[i][0], strlen(cases[i][0]), &err);
        if (!got)
            fail_msg("%s: %s", cases[i][0], err.text);
        _cleanup_json_ json_t *want = json_parse(cases[i][1], strlen(cases[i][1]), NULL);
        _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
        json_encode(got, &out);
        if (!json_equal(got, want))
            fail_msg("%s gives %s", cases[i][0], strbuf_text(&out));
    }
}

static void documents_know_their_places(_unused_ void **state)
{
    static const char text[] =
        "# head\n---\na: 1\n---\n# nothing\n---\n\nb: 2\n---\n~\n...\n---\n- c\n";
    struct yaml_documents docs = {0};
    assert_int_equal(yaml_parse(text, strlen(text), &docs, NULL), 0);
    assert_int_equal(docs.count, 3);
    static const int expected[][2] = {{1, 3}, {3, 8}, {5, 13}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(docs.items[i].number, expected[i][0]);
        assert_int_equal(docs.items[i].line, expected[i][1]);
    }
    yaml_documents_done(&docs);
    assert_int_equal(yaml_parse("", 0, &docs, NULL), 0);
    assert_int_equal(docs.count, 0);
    struct error err = ERROR_INIT;
    assert_null(yaml_parse_one(text, strlen(text), &err));
    assert_string_equal(err.text, "expected one YAML document, found 3");
}

static void errors_name_document_and_line(_unused_ void **state)
{
    static const char *const cases[][2] = {
        {"a: 1\na: 2\n", "document 1, line 2: key \"a\" already set in map"},
        {"{\"a\":1,\"a\":2}", "document 1, line 1: key \"a\" already set in map"},
        {"---\nx: y\n---\nb: *nope\n", "document 2, line 4: unknown anchor 'nope'"},
        {"a: &x [*x]\n", "document 1, line 1: unknown anchor 'x'"},
        {"a: .inf\n", "document 1, line 1: .inf has no form in JSON"},
        {"a: !!int x\n",
         "document 1, line 1: 'x' is not a value for the tag tag:yaml.org,2002:int"},
        {"a: !mine x\n", "document 1, line 1: unknown tag !mine"},
        {"? [a]\n: b\n", "document 1, line 1: a key must be a string, a number or a boolean"},
        {"~: b\n", "document 1, line 1: a key must be a string, a number or a boolean"},
        {"<<: 1\n", "document 1, line 1: a merge key needs a mapping or a list of mappings"},
        {"a: \"x\\0y\"\n", "document 1, line 1: a string holds a NUL character"},
        {"a:\n\tb: 1\n", "document 1, line 2: while scanning for the next token: found character "
                         "that cannot start any token"},
        {"a: [1\n", "document 1, line 2: while parsing a flow sequence: did not find expected ',' "
                    "or ']'"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        struct yaml_documents docs = {0};
        assert_int_equal(yaml_parse(cases[i][0], strlen(cases[i][0]), &docs, &err), -EINVAL);
        if (strcmp(err.text, cases[i][1]) != 0)
            fail_msg("%s: %s", cases[i][0], err.text);
        assert_int_equal(docs.count, 0);
    }
}

static void expansion_and_depth_are_bounded(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf laughs = STRBUF_INIT, deep = STRBUF_INIT;
    strbuf_adds(&laughs, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 10; i++)
        strbuf_addf(&laughs, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i,
                    i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    struct yaml_documents docs = {0};
    struct error err = ERROR_INIT;
    assert_int_equal(yaml_parse(laughs.data, laughs.len, &docs, &err), -EINVAL);
    assert_non_null(strstr(err.text, "more than 500000 values"));
    for (int i = 0; i < YAML_MAX_DEPTH + 2; i++)
        strbuf_addc(&deep, '[');
    for (int i = 0; i < YAML_MAX_DEPTH + 2; i++)
        strbuf_addc(&deep, ']');
    assert_int_equal(yaml_parse(deep.data, deep.len, &docs, &err), -EINVAL);
    assert_non_null(strstr(err.text, "nested deeper than 200 levels"));
}

static void writing(_unused_ void **state)
{
    static const char *const cases[][2] = {
        {"{\"b\":1,\"a\":\"x\"}", "a: x\nb: 1\n"},
        {"{\"l\":[1,\"two\",{\"k\":\"v\",\"j\":[]}],\"m\":{},\"n\":null}",
         "l:\n- 1\n- two\n- j: []\n  k: v\nm: {}\n\"n\": null\n"},
        {"[[1,2],[3]]", "- - 1\n  - 2\n- - 3\n"},
        {"{\"a\":{\"b\":{\"c\":[{\"d\":{\"e\":1}}]}}}",
         "a:\n  b:\n    c:\n    - d:\n        e: 1\n"},
        {"[\"\",\"true\",\"on\",\"12\",\"0644\",\"1e3\",\"null\",\"~\",\"1.5\",\"y\"]",
         "- \"\"\n- \"true\"\n- \"on\"\n- \"12\"\n- \"0644\"\n- \"1e3\"\n- \"null\"\n- \"~\"\n- "
         "\"1.5\"\n- \"y\"\n"},
        {"[\"a: b\",\"a #b\",\"- x\",\"*x\",\"it's\",\"@x\",\"a:\",\" a\",\"-x\",\"#\",\"'\"]",
         "- 'a: b'\n- 'a #b'\n- '- x'\n- '*x'\n- it's\n- '@x'\n- 'a:'\n- ' a'\n- -x\n- '#'\n- "
         "''''\n"},
        {"{\"s\":\"line 1\\nline 2\\n\",\"t\":\"a\\n\\nb\",\"u\":\"x\\n\\n\",\"v\":\" lead\\nx\"}",
         "s: |\n  line 1\n  line 2\nt: |-\n  a\n\n  b\nu: |+\n  x\n\nv: \" lead\\nx\"\n"},
        {"\"scalar\"", "scalar\n"},
        {"[\"a\\tb\",\"\\u0007\"]", "- \"a\\tb\"\n- \"\\u0007\"\n"},
        {"{\"a\\nb\":1,\"x: y\":2}", "\"a\\nb\": 1\n'x: y': 2\n"},
        {"[0.1,-3,true]", "- 0.1\n- -3\n- true\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *value = json_parse(cases[i][0], strlen(cases[i][0]), NULL);
        assert_non_null(value);
        _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
        yaml_write(value, &out);
        assert_string_equal(strbuf_text(&out), cases[i][1]);
        struct error err = ERROR_INIT;
        _cleanup_json_ json_t *back = yaml_parse_one(out.data, out.len, &err);
        if (!back)
            fail_msg("%s: %s", out.data, err.text);
        assert_true(json_equal(value, back));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_resolve_as_in_kubernetes),
        cmocka_unit_test(collections_and_anchors),
        cmocka_unit_test(documents_know_their_places),
        cmocka_unit_test(errors_name_document_and_line),
        cmocka_unit_test(expansion_and_depth_are_bounded),
        cmocka_unit_test(writing),
    };
    return RUN_TESTS(tests);
}
