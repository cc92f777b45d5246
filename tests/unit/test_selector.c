/* lib/kube/selector and lib/kube/format: parsing, matching, canonical text, errors. */
#include "lib/test.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/json.h"
#include "kube/format.h"
#include "kube/selector.h"

static json_t *parse(const char *text)
{
    _cleanup_free_ char *copy = str_dup(text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    json_t *j = json_parse(copy, strlen(copy), NULL);
    assert_non_null(j);
    return j;
}

static void label_selectors_match(_unused_ void **state)
{
    static const struct {
        const char *selector, *labels;
        bool matches;
    } cases[] = {
        {"", "{}", true},
        {"", "{'a':'b'}", true},
        {"a=b", "{'a':'b','c':'d'}", true},
        {"a==b", "{'a':'b'}", true},
        {"a=b", "{'a':'c'}", false},
        {"a=b", "{}", false},
        {"a=", "{'a':''}", true},
        {"a=", "{}", false},
        {"a!=b", "{'a':'b'}", false},
        {"a!=b", "{}", true},
        {"a", "{'a':''}", true},
        {"a", "{}", false},
        {"!a", "{}", true},
        {"!a", "{'a':'b'}", false},
        {"a in (x,y)", "{'a':'y'}", true},
        {"a in (x,y)", "{'a':'z'}", false},
        {"a in (x,)", "{'a':''}", true},
        {"a in ()", "{'a':''}", true},
        {"a notin (x,y)", "{'a':'z'}", true},
        {"a notin (x,y)", "{}", true},
        {"a notin (x,y)", "{'a':'x'}", false},
        {"a>5", "{'a':'6'}", true},
        {"a>5", "{'a':'5'}", false},
        {"a < 5", "{'a':'4'}", true},
        {"a<5", "{'a':'x'}", false},
        {"a=b,c!=d, !e ,f in (g)", "{'a':'b','f':'g'}", true},
        {"a=b,c!=d,!e,f in (g)", "{'a':'b','f':'g','e':''}", false},
        {"in in (in)", "{'in':'in'}", true},
        {"example.com/x=y", "{'example.com/x':'y'}", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        struct selector *s = NULL;
        if (selector_parse(cases[i].selector, &s, &err) < 0)
            fail_msg("%s: %s", cases[i].selector, err.text);
        _cleanup_json_ json_t *labels = parse(cases[i].labels);
        if (selector_matches(s, labels) != cases[i].matches)
            fail_msg("%s on %s", cases[i].selector, cases[i].labels);
        assert_int_equal(selector_is_everything(s), !*cases[i].selector);
        selector_free(s);
    }
    struct selector *s = NULL;
    assert_int_equal(selector_parse(NULL, &s, NULL), 0);
    assert_true(selector_matches(s, NULL));
    selector_free(s);
}

static void broken_label_selectors_are_refused(_unused_ void **state)
{
    static const char *const cases[][2] = {
        {"a=b,", "unable to parse requirement: found '', expected: identifier after ','"},
        {",a", "unable to parse requirement: found ',', expected: identifier"},
        {"a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
        {"a in x", "unable to parse requirement: found 'x', expected: '('"},
        {"a in (x", "unable to parse requirement: found '', expected: ',', ')' or identifier"},
        {"a in (x y)", "unable to parse requirement: found 'y', expected: ',', ')' or identifier"},
        {"a=b=c", "unable to parse requirement: found '=', expected: ',' or 'end of string'"},
        {"!a=b", "unable to parse requirement: found '=', expected: ',' or 'end of string'"},
        {"!", "unable to parse requirement: found '', expected: identifier"},
        {"a>x", "values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an "
                "integer"},
        {"/a=b", "key: Invalid value: \"/a\": prefix part must be non-empty"},
        {"a/=b", "key: Invalid value: \"a/\": name part must be non-empty"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        struct selector *s = NULL;
        assert_int_equal(selector_parse(cases[i][0], &s, &err), -EINVAL);
        assert_string_equal(err.text, cases[i][1]);
    }
}

static void canonical_text(_unused_ void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"b == 2 , a=1", "a=1,b=2"},
        {"x in (c,a,b)", "x in (a,b,c)"},
        {"z notin (b,),!y,w", "w,!y,z notin (,b)"},
        {"a!=b,c>1,d<2", "a!=b,c>1,d<2"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct selector *s = NULL;
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        assert_int_equal(selector_parse(cases[i][0], &s, NULL), 0);
        selector_write(s, &text);
        assert_string_equal(strbuf_text(&text), cases[i][1]);
        selector_free(s);
    }
}

static void selectors_from_objects(_unused_ void **state)
{
    static const struct {
        const char *object, *labels;
        bool matches;
    } cases[] = {
        {"{}", "{'a':'b'}", true},
        {"{'matchLabels':{'a':'b'}}", "{'a':'b'}", true},
        {"{'matchLabels':{'a':'b'}}", "{'a':'c'}", false},
        {"{'matchExpressions':[{'key':'a','operator':'In','values':['x','b']}]}", "{'a':'b'}",
         true},
        {"{'matchExpressions':[{'key':'a','operator':'NotIn','values':['b']}]}", "{'a':'b'}",
         false},
        {"{'matchExpressions':[{'key':'a','operator':'Exists'}]}", "{'a':''}", true},
        {"{'matchExpressions':[{'key':'a','operator':'DoesNotExist'}]}", "{'a':''}", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *object = parse(cases[i].object);
        _cleanup_json_ json_t *labels = parse(cases[i].labels);
        struct selector *s = NULL;
        assert_int_equal(selector_from_object(object, &s, NULL), 0);
        assert_int_equal(selector_matches(s, labels), cases[i].matches);
        selector_free(s);
    }
    struct selector *s = NULL;
    _cleanup_json_ json_t *labels = parse("{'a':'b'}");
    assert_int_equal(selector_from_object(NULL, &s, NULL), 0);
    assert_false(selector_matches(s, labels));
    selector_free(s);
    static const char *const broken[] = {
        "{'matchExpressions':[{'key':'a','operator':'Frob'}]}",
        "{'matchExpressions':[{'key':'a','operator':'In'}]}",
        "{'matchExpressions':[{'key':'a','operator':'Exists','values':['x']}]}",
        "{'matchLabels':{'a':'b c'}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        _cleanup_json_ json_t *object = parse(broken[i]);
        assert_int_equal(selector_from_object(object, &s, NULL), -EINVAL);
    }
    s = selector_from_map(NULL);
    assert_false(selector_matches(s, labels));
    selector_free(s);
    s = selector_from_map(labels);
    assert_true(selector_matches(s, labels));
    selector_free(s);
}

static void field_selectors(_unused_ void **state)
{
    static const struct {
        const char *selector, *object;
        bool matches;
    } cases[] = {
        {"", "{}", true},
        {"metadata.name=a", "{'metadata':{'name':'a'}}", true},
        {"metadata.name!=a", "{'metadata':{'name':'a'}}", false},
        {"spec.nodeName=", "{'spec':{}}", true},
        {"spec.nodeName==n,status.phase!=Failed",
         "{'spec':{'nodeName':'n'},'status':{'phase':'R'}}", true},
        {"status.phase=Running,metadata.name=a", "{'status':{'phase':'Running'}}", false},
        {"spec.hostNetwork=false", "{'spec':{}}", true},
        {"spec.hostNetwork=true", "{'spec':{'hostNetwork':true}}", true},
        {"status.podIPs=10.0.0.2", "{'status':{'podIPs':[{'ip':'10.0.0.1'},{'ip':'10.0.0.2'}]}}",
         true},
        {"metadata.name=a\\,b\\=c\\\\", "{'metadata':{'name':'a,b=c\\\\'}}", true},
    };
    const char *const *fields = field_selector_fields("", "Pod");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        struct field_selector *s = NULL;
        if (field_selector_parse(cases[i].selector, fields, &s, &err) < 0)
            fail_msg("%s: %s", cases[i].selector, err.text);
        _cleanup_json_ json_t *object = parse(cases[i].object);
        if (field_selector_matches(s, object) != cases[i].matches)
            fail_msg("%s on %s", cases[i].selector, cases[i].object);
        field_selector_free(s);
    }
    struct field_selector *s = NULL;
    assert_int_equal(field_selector_parse("metadata.name=a,spec.nodeName!=n", fields, &s, NULL), 0);
    assert_string_equal(field_selector_exact(s, "metadata.name"), "a");
    assert_null(field_selector_exact(s, "spec.nodeName"));
    field_selector_free(s);
    static const char *const broken[][2] = {
        {"spec.frob=x", "field label not supported: spec.frob"},
        {"metadata.name", "invalid field selector: \"metadata.name\": can't understand "
                          "'metadata.name'"},
        {"=x", "invalid field selector: \"=x\": can't understand '=x'"},
        {"metadata.name=a=b", "invalid field selector: \"metadata.name=a=b\": can't understand "
                              "'metadata.name=a=b'"},
        {"metadata.name=a\\b", "invalid field selector: \"metadata.name=a\\b\": can't understand "
                               "'metadata.name=a\\b'"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        struct error err = ERROR_INIT;
        assert_int_equal(field_selector_parse(broken[i][0], fields, &s, &err), -EINVAL);
        assert_string_equal(err.text, broken[i][1]);
    }
    assert_null(field_selector_fields("", "ConfigMap")[0]);
}

static void formats(_unused_ void **state)
{
    static const struct {
        enum schema_format format;
        const char *text;
        bool good;
    } cases[] = {
        {FORMAT_DNS_LABEL, "a-1", true},
        {FORMAT_DNS_LABEL, "-a", false},
        {FORMAT_DNS_LABEL, "", false},
        {FORMAT_DNS_LABEL, "a.b", false},
        {FORMAT_DNS_SUBDOMAIN, "a.b-c.1", true},
        {FORMAT_DNS_SUBDOMAIN, "a..b", false},
        {FORMAT_DNS_SUBDOMAIN, "a.", false},
        {FORMAT_DNS1035_LABEL, "1a", false},
        {FORMAT_QUALIFIED_NAME, "example.com/A_b", true},
        {FORMAT_QUALIFIED_NAME, "Example.com/a", false},
        {FORMAT_LABEL_VALUE, "", true},
        {FORMAT_LABEL_VALUE, "a b", false},
        {FORMAT_PORT_NAME, "http-1", true},
        {FORMAT_PORT_NAME, "80", false},
        {FORMAT_PORT_NAME, "a--b", false},
        {FORMAT_PORT_NAME, "abcdefghijklmnop", false},
        {FORMAT_CONFIG_KEY, ".a", true},
        {FORMAT_CONFIG_KEY, "..a", false},
        {FORMAT_ENV_NAME, "a.b-c", true},
        {FORMAT_ENV_NAME, "a=b", false},
        {FORMAT_IP, "10.0.0.1", true},
        {FORMAT_IP, "010.0.0.1", false},
        {FORMAT_IP, "::ffff:1.2.3.4", true},
        {FORMAT_CIDR, "10.0.0.0/8", true},
        {FORMAT_CIDR, "10.0.0.0/08", false},
        {FORMAT_CIDR, "fd00::/64", true},
        {FORMAT_CIDR, "fd00::/129", false},
        {FORMAT_CIDR, "10.0.0.0", false},
        {FORMAT_LOCAL_PATH, "a/b..c", true},
        {FORMAT_LOCAL_PATH, "a/../b", false},
        {FORMAT_LOCAL_PATH, "..", false},
        {FORMAT_LOCAL_PATH, "/a", false},
        {FORMAT_PERCENT_OR_COUNT, "25%", true},
        {FORMAT_PERCENT_OR_COUNT, "25", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (!format_problem(cases[i].format, cases[i].text) != cases[i].good)
            fail_msg("%d '%s'", cases[i].format, cases[i].text);
    char longer[70];
    memset(longer, 'a', sizeof(longer));
    longer[64] = '\0';
    assert_string_equal(format_problem(FORMAT_DNS_LABEL, longer), "must be no more than 63 bytes");
    assert_null(format_name_prefix_problem(FORMAT_DNS_LABEL, "web-"));
    assert_non_null(format_name_prefix_problem(FORMAT_DNS_LABEL, "-"));
    assert_int_equal(format_cidr_family("fd00::/8"), AF_INET6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(label_selectors_match),
        cmocka_unit_test(broken_label_selectors_are_refused),
        cmocka_unit_test(canonical_text),
        cmocka_unit_test(selectors_from_objects),
        cmocka_unit_test(field_selectors),
        cmocka_unit_test(formats),
    };
    return RUN_TESTS(tests);
}
