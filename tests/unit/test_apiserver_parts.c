/* The API server's parts that need no store: paths, negotiation, encoded objects, ranges, tokens.
 */
#include "lib/test.h"

#include <errno.h>
#include <string.h>

#include "apiserver/continue_token.h"
#include "apiserver/store/encoded.h"
#include "apiserver/negotiate.h"
#include "apiserver/proxy.h"
#include "apiserver/ranges.h"
#include "apiserver/request.h"
#include "base/json.h"

static void check_path(const char *path, const char *expected)
{
    _cleanup_request_info_ struct request_info i = REQUEST_INFO_INIT;
    assert_int_equal(request_info_parse(&i, path, NULL), 0);
    _cleanup_free_ char *got =
        i.is_resource ? str_printf("%s|%s|%s|%s|%s|%s|%s%s", i.group, i.version, i.namespace_,
                                   i.resource, i.name, i.subresource, i.rest, i.watch ? "|w" : "")
                      : str_dup("-");
    assert_string_equal(got, expected);
}

static void test_paths(void **state)
{
    (void)state;
    check_path("/api/v1/pods", "|v1||pods|||");
    check_path("/api/v1/namespaces", "|v1||namespaces|||");
    check_path("/api/v1/namespaces/x", "|v1|x|namespaces|x||");
    check_path("/api/v1/namespaces/x/finalize", "|v1|x|namespaces|x|finalize|");
    check_path("/api/v1/namespaces/x/status", "|v1|x|namespaces|x|status|");
    check_path("/api/v1/namespaces/x/pods", "|v1|x|pods|||");
    check_path("/api/v1/namespaces/x/pods/y/log", "|v1|x|pods|y|log|");
    check_path("/api/v1/namespaces/x/pods/y/proxy/a/b", "|v1|x|pods|y|proxy|a/b");
    check_path("/apis/apps/v1/namespaces/x/deployments/d/scale", "apps|v1|x|deployments|d|scale|");
    check_path("/api/v1/watch/pods", "|v1||pods||||w");
    check_path("/api/v1/nodes/a%2eb", "|v1||nodes|a.b||");
    check_path("//api//v1//pods//", "|v1||pods|||");
    check_path("/apis/apps/v1", "-");
    check_path("/healthz", "-");
    check_path("/", "-");
    check_path("", "-");
    struct request_info i;
    assert_int_equal(request_info_parse(&i, "/api/v1/nodes/a%2fb", NULL), -EINVAL);
    assert_int_equal(request_info_parse(&i, "/api/v1/nodes/a%zz", NULL), -EINVAL);
    char longest[400];
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "/api/v1/nodes/", 14);
    longest[399] = '\0';
    assert_int_equal(request_info_parse(&i, longest, NULL), -EINVAL);
}

static void test_verbs(void **state)
{
    (void)state;
    _cleanup_request_info_ struct request_info list = REQUEST_INFO_INIT, one = REQUEST_INFO_INIT;
    assert_int_equal(request_info_parse(&list, "/api/v1/pods", NULL), 0);
    assert_int_equal(request_info_parse(&one, "/api/v1/namespaces/n/pods/p", NULL), 0);
    assert_int_equal(request_verb(&list, "GET", false), VERB_LIST);
    assert_int_equal(request_verb(&list, "GET", true), VERB_WATCH);
    assert_int_equal(request_verb(&list, "POST", false), VERB_CREATE);
    assert_int_equal(request_verb(&list, "DELETE", false), VERB_DELETE_COLLECTION);
    assert_int_equal(request_verb(&list, "PUT", false), VERB_NONE);
    assert_int_equal(request_verb(&one, "GET", false), VERB_GET);
    assert_int_equal(request_verb(&one, "PUT", false), VERB_UPDATE);
    assert_int_equal(request_verb(&one, "PATCH", false), VERB_PATCH);
    assert_int_equal(request_verb(&one, "DELETE", false), VERB_DELETE);
    assert_int_equal(request_verb(&one, "POST", false), VERB_NONE);
    assert_int_equal(request_verb(&one, "BREW", false), VERB_NONE);
}

static void test_accept(void **state)
{
    (void)state;
    struct negotiated n = negotiate_accept(
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;"
        "g=meta.k8s.io,application/json");
    assert_int_equal(n.shape, SHAPE_TABLE);
    assert_string_equal(n.version, "v1");
    n = negotiate_accept("application/json;as=Table;g=meta.k8s.io;v=v1beta1, */*");
    assert_int_equal(n.shape, SHAPE_TABLE);
    assert_string_equal(n.version, "v1beta1");
    n = negotiate_accept("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io");
    assert_int_equal(n.shape, SHAPE_OBJECT);
    n = negotiate_accept("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
    assert_int_equal(n.shape, SHAPE_METADATA);
    assert_int_equal(negotiate_accept(NULL).shape, SHAPE_OBJECT);
    assert_int_equal(negotiate_accept(",;=,;;,").shape, SHAPE_OBJECT);
    assert_string_equal(
        negotiate_discovery(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/"
            "json"),
        "v2");
    assert_null(negotiate_discovery("application/json"));
    assert_true(negotiate_wants("a/b;q=1, application/json", "a/b"));
    assert_false(negotiate_wants("application/json, a/b", "a/b"));
    assert_int_equal(negotiate_body(NULL), BODY_JSON);
    assert_int_equal(negotiate_body("application/json; charset=utf-8"), BODY_JSON);
    assert_int_equal(negotiate_body("application/yaml"), BODY_YAML);
    assert_int_equal(negotiate_body("application/vnd.kubernetes.protobuf"), BODY_PROTOBUF);
    assert_int_equal(negotiate_body("application/cbor"), BODY_UNSUPPORTED);
}

static void check_splice(const char *in, const char *expected)
{
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    int code = encoded_splice(in, strlen(in), 42, &out);
    if (!expected) {
        assert_int_equal(code, -EBADMSG);
        return;
    }
    assert_int_equal(code, 0);
    assert_string_equal(strbuf_text(&out), expected);
}

static void test_splice(void **state)
{
    (void)state;
    check_splice("{\"kind\":\"A\",\"metadata\":{\"name\":\"x\"},\"z\":[1,{\"metadata\":{}}]}",
                 "{\"kind\":\"A\",\"metadata\":{\"resourceVersion\":\"42\",\"name\":\"x\"},"
                 "\"z\":[1,{\"metadata\":{}}]}");
    check_splice("{\"metadata\":{}}", "{\"metadata\":{\"resourceVersion\":\"42\"}}");
    check_splice(" { \"metadata\" : { \"resourceVersion\" : \"7\" , \"a\" : 1 } } \n",
                 " { \"metadata\" : { \"resourceVersion\" : \"42\" , \"a\" : 1 } }");
    check_splice("{\"a\":\"\\\"metadata\\\":{\",\"metadata\":{\"n\":\"}\"}}",
                 "{\"a\":\"\\\"metadata\\\":{\",\"metadata\":{\"resourceVersion\":\"42\","
                 "\"n\":\"}\"}}");
    check_splice("{}", NULL);
    check_splice("[]", NULL);
    check_splice("", NULL);
    check_splice("{\"metadata\":[]}", NULL);
    check_splice("{\"metadata\":{}} x", NULL);
    check_splice("{\"metadata\":{},\"metadata\":{}}", NULL);
    check_splice("{\"metadata\":{\"a\":\"b}", NULL);
    check_splice("{\"metadata\":{\"a\":\"b\\", NULL);
}

static void test_encoded(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    static const char value[] = "{\"metadata\":{\"name\":\"a\"}}";
    _cleanup_(encoded_unrefp) struct encoded *e =
        encoded_new("/registry/pods/n/a", value, strlen(value), 7, &err);
    assert_non_null(e);
    _cleanup_json_ json_t *tree = encoded_tree(e, &err);
    assert_string_equal(json_path_string(tree, "metadata.resourceVersion"), "7");
    assert_null(encoded_new("/registry/pods/n/b", "k8s\0abc", 7, 7, &err));
    assert_non_null(strstr(error_text(&err), "/registry/pods/n/b"));
    assert_null(encoded_new("/registry/pods/n/c", NULL, 0, 7, &err));
}

static void test_tokens(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    _cleanup_free_ char *token =
        continue_token_make("/registry/pods/", "/registry/pods/default/web\x01", 12345);
    _cleanup_free_ char *from = NULL;
    int64_t revision;
    assert_int_equal(continue_token_parse(token, "/registry/pods/", &from, &revision, &err), 0);
    assert_string_equal(from, "/registry/pods/default/web\x01");
    assert_int_equal(revision, 12345);
    char *bad = NULL;
    assert_int_equal(continue_token_parse("?", "/", &bad, &revision, &err), -EINVAL);
    assert_int_equal(continue_token_parse("e30", "/", &bad, &revision, &err), -EINVAL);
    int64_t v;
    assert_int_equal(version_parse("9223372036854775000", &v), 0);
    assert_int_equal(version_parse("99999999999999999999", &v), -EINVAL);
    assert_int_equal(version_parse("-1", &v), -EINVAL);
    assert_int_equal(version_parse("", &v), 0);
}

static void test_ranges(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct number_range r;
    char text[IP_TEXT_MAX];
    assert_int_equal(ip_range_parse("10.96.0.0/28", &r, &err), 0);
    assert_string_equal(ip_format(r.base, text), "10.96.0.1");
    assert_int_equal(r.size, 14);
    uint32_t ip = 0;
    for (int i = 0; i < 14; i++) {
        assert_int_equal(number_range_pick(&r, &ip), 0);
        assert_false(number_range_used(&r, ip));
        number_range_set(&r, ip, true);
    }
    assert_int_equal(number_range_pick(&r, &ip), -ENOSPC);
    number_range_set(&r, r.base + 3, false);
    assert_int_equal(number_range_pick(&r, &ip), 0);
    assert_int_equal(ip, r.base + 3);
    assert_false(number_range_has(&r, r.base + 14));
    assert_false(number_range_has(&r, r.base - 1));
    number_range_done(&r);
    static const char *const bad[] = {
        "",          "10.0.0.0",  "10.0.0.0/8",   "10.0.0.0/31", "fd00::/108",
        "10.0.0/16", "10.0.0.0/", "10.0.0.0/16x", "1.2.3.4/99",  "10.0.0.0/16,10.1.0.0/16"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(ip_range_parse(bad[i], &r, &err), -EINVAL);
    assert_int_equal(port_range_parse("30000", &r, &err), -EINVAL);
    assert_int_equal(port_range_parse("30000-29999", &r, &err), -EINVAL);
    assert_int_equal(port_range_parse("1-70000", &r, &err), -EINVAL);
}

static void test_bitmap(void **state)
{
    (void)state;
    struct number_range a, b;
    assert_int_equal(port_range_parse("30000-30019", &a, NULL), 0);
    assert_int_equal(port_range_parse("30000-30019", &b, NULL), 0);
    _cleanup_strbuf_ struct strbuf bits = STRBUF_INIT;
    number_range_bitmap(&a, &bits);
    assert_int_equal(bits.len, 0);
    number_range_set(&a, 30000, true);
    number_range_set(&a, 30009, true);
    number_range_bitmap(&a, &bits);
    /* Upstream's big integer: 1 + 2^9, most significant byte first. */
    assert_int_equal(bits.len, 2);
    assert_memory_equal(bits.data, "\x02\x01", 2);
    number_range_set(&b, 30005, true);
    number_range_load(&b, (const uint8_t *)bits.data, bits.len);
    assert_true(number_range_used(&b, 30009));
    assert_false(number_range_used(&b, 30005));
    uint8_t full[64];
    memset(full, 0xff, sizeof(full));
    number_range_load(&b, full, sizeof(full));
    uint32_t port;
    assert_int_equal(number_range_pick(&b, &port), -ENOSPC);
    number_range_done(&a);
    number_range_done(&b);
}

static void check_target(const char *text, const char *expected)
{
    struct proxy_target t = {.scheme = NULL};
    if (!expected) {
        assert_int_equal(proxy_target_parse(text, &t), -EINVAL);
        return;
    }
    assert_int_equal(proxy_target_parse(text, &t), 0);
    _cleanup_free_ char *got = str_printf("%s|%s|%s", t.scheme, t.name, t.port);
    assert_string_equal(got, expected);
    proxy_target_done(&t);
}

static void test_proxy_targets(void **state)
{
    (void)state;
    check_target("web", "|web|");
    check_target("web:80", "|web|80");
    check_target("https:web:443", "https|web|443");
    check_target("http:web:", "http|web|");
    check_target("", NULL);
    check_target(":80", NULL);
    check_target("web:", NULL);
    check_target("web:0", NULL);
    check_target("web:65536", NULL);
    check_target("web:+1", NULL);
    check_target("ftp:web:1", NULL);
    check_target("https::1", NULL);
    check_target("a:1:2", NULL);
}

static void test_proxy_rest(void **state)
{
    (void)state;
    assert_string_equal(proxy_rest("/api/v1/nodes/n/proxy", false), "");
    assert_string_equal(proxy_rest("/api/v1/nodes/n/proxy/", false), "/");
    assert_string_equal(proxy_rest("//api/v1//nodes/n/proxy/a%2fb//c", false), "/a%2fb//c");
    assert_string_equal(proxy_rest("/api/v1/namespaces/x/pods/p/proxy/a", true), "/a");
    assert_null(proxy_rest("/api/v1/nodes/n", false));
}

/* @expected: the URL, or a part of the message. */
static void check_base(const char *object, const char *target, bool node, const char *expected)
{
    struct proxy_target t = {.scheme = NULL};
    json_t *status = NULL;
    _cleanup_json_ json_t *j = json_parse(object, strlen(object), NULL);
    assert_int_equal(proxy_target_parse(target, &t), 0);
    _cleanup_free_ char *base = proxy_base(j, &t, node, &status);
    const char *got = base ? base : json_path_string(status, "message");
    if (base ? !str_eq(base, expected) : !strstr(got, expected))
        fail_msg("%s: %s", target, got);
    json_decref(status);
    proxy_target_done(&t);
}

static void test_proxy_bases(void **state)
{
    (void)state;
    static const char node[] =
        "{\"metadata\":{\"name\":\"n\"},\"status\":{\"addresses\":[{\"type\":\"InternalIP\","
        "\"address\":\"fd00::1\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":1234}}}}";
    static const char pod[] =
        "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{},{\"ports\":[{"
        "\"containerPort\":8080}]}]},\"status\":{\"podIP\":\"10.0.0.9\"}}";
    check_base(node, "n", true, "https://[fd00::1]:1234");
    check_base(node, "https:n:1234", true, "https://[fd00::1]:1234");
    check_base(node, "n:1235", true, "kubelet only");
    check_base(node, "http:n:", true, "kubelet only");
    check_base("{\"metadata\":{\"name\":\"n\"}}", "n", true, "has no address");
    check_base(pod, "p", false, "http://10.0.0.9:8080");
    check_base(pod, "https:p:1", false, "https://10.0.0.9:1");
    check_base("{\"status\":{\"podIP\":\"fd00::2\"}}", "https:p:", false, "https://[fd00::2]:443");
    static const char *const not_pods[] = {
        "127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1",        "255.255.255.255",
        "::1",       "fe80::1",         "ff02::1", "::ffff:127.0.0.1", "evil.example",
        ""};
    for (size_t i = 0; i < ARRAY_SIZE(not_pods); i++) {
        _cleanup_free_ char *object = str_printf("{\"status\":{\"podIP\":\"%s\"}}", not_pods[i]);
        check_base(object, "p", false, "address not allowed");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),         cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_accept),        cmocka_unit_test(test_splice),
        cmocka_unit_test(test_encoded),       cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_ranges),        cmocka_unit_test(test_bitmap),
        cmocka_unit_test(test_proxy_targets), cmocka_unit_test(test_proxy_rest),
        cmocka_unit_test(test_proxy_bases),
    };
    return RUN_TESTS(tests);
}
