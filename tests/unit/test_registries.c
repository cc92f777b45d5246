/* cri/image/registries: registries.yaml. */
#include "lib/test.h"

#include <errno.h>

#include "base/strbuf.h"
#include "cri/image/registries.h"

static const char example[] =
    "mirrors:\n"
    "  docker.io:\n"
    "    endpoint: [\"https://m.example:5000\", \"http://plain.example/prefix/v2/\"]\n"
    "    rewrite: {\"^library/(.*)$\": \"hub/$1-$1\"}\n"
    "  \"*\":\n"
    "    endpoint: [https://any.example]\n"
    "configs:\n"
    "  \"m.example:5000\":\n"
    "    auth: {username: u, password: p}\n"
    "    tls: {ca_file: /ca.pem, insecure_skip_verify: true}\n"
    "  docker.io: {auth: {username: file, password: p}}\n";

static struct registries *parse(const char *text)
{
    struct error err = ERROR_INIT;
    struct registries *r = registries_parse(text, strlen(text), &err);
    if (!r)
        fail_msg("%s", error_text(&err));
    return r;
}

static void endpoints_are_in_order(_unused_ void **state)
{
    _cleanup_(registries_freep) struct registries *r = parse(example);
    struct registry_auth mine = {.username = "me", .password = "secret"}, none = {.username = NULL};
    size_t n;
    struct registry_endpoint *e =
        registries_endpoints(r, "docker.io", "library/nginx", &mine, NULL, &n);
    assert_int_equal(n, 3);
    assert_string_equal(e[0].base, "https://m.example:5000");
    assert_string_equal(e[0].prefix, "/v2");
    assert_string_equal(e[0].repository, "hub/nginx-nginx");
    assert_string_equal(e[0].auth.username, "u");
    assert_true(e[0].tls.insecure);
    assert_string_equal(e[0].tls.ca_file, "/ca.pem");
    assert_string_equal(e[1].base, "http://plain.example");
    assert_string_equal(e[1].prefix, "/prefix/v2");
    assert_null(e[1].auth.username); /* neither the request's nor another host's */
    assert_false(e[1].has_tls);
    assert_string_equal(e[2].base, "https://registry-1.docker.io");
    assert_string_equal(e[2].repository, "library/nginx");
    assert_string_equal(e[2].auth.username, "me");
    (void)registry_endpoints_free(e, n);

    e = registries_endpoints(r, "docker.io", "other/x", &none, NULL, &n);
    assert_string_equal(e[0].repository, "other/x"); /* no rule matches */
    assert_string_equal(e[2].auth.username, "file");
    (void)registry_endpoints_free(e, n);

    mine.server = "https://quay.example/";
    e = registries_endpoints(r, "ghcr.example", "a/b", &mine, NULL, &n);
    assert_int_equal(n, 2);
    assert_string_equal(e[0].base, "https://any.example");
    assert_string_equal(e[1].base, "https://ghcr.example");
    assert_null(e[1].auth.username);
    (void)registry_endpoints_free(e, n);
}

static void nothing_configured(_unused_ void **state)
{
    static const char *const texts[] = {"", "{}", "mirrors:\nconfigs:\n", "mirrors: {a.b: }\n"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_(registries_freep) struct registries *r = parse(texts[i]);
        struct registry_auth none = {.username = NULL};
        size_t n;
        struct registry_endpoint *e =
            registries_endpoints(r, "localhost:5000", "a", &none, NULL, &n);
        assert_int_equal(n, 1);
        assert_string_equal(e[0].base, "http://localhost:5000");
        (void)registry_endpoints_free(e, n);
    }
    struct error err = ERROR_INIT;
    struct registries *missing = registries_load("/nonexistent/registries.yaml", &err);
    assert_non_null(missing);
    (void)registries_free(missing);
}

static void faults_are_named(_unused_ void **state)
{
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"mirror: {}", "registries.mirror"},
        {"mirrors: []", "mirrors"},
        {"mirrors: {a.b: {endpoint: x}}", "mirrors.a.b.endpoint"},
        {"mirrors: {a.b: {endpoint: [ftp://x]}}", "mirrors.a.b.endpoint"},
        {"mirrors: {a.b: {endpoints: []}}", "mirrors.a.b.endpoints"},
        {"mirrors: {a.b: {rewrite: {\"(\": x}}}", "mirrors.a.b.rewrite"},
        {"mirrors: {a.b: {rewrite: {x: 1}}}", "mirrors.a.b.rewrite"},
        {"mirrors: {a.b: {rewrite: {\"(.*++++++++++++++++++++++++++++++)\": x}}}",
         "mirrors.a.b.rewrite"},
        {"mirrors: {a.b: {rewrite: {\"((a{99}){99}){99}\": x}}}", "mirrors.a.b.rewrite"},
        {"mirrors: {a.b: {rewrite: {\"a{18446744073709551615}\": x}}}", "mirrors.a.b.rewrite"},
        {"mirrors: {a.b: {rewrite: {\"a{1,18446744073709551614}\": x}}}", "mirrors.a.b.rewrite"},
        {"mirrors: {a.b: {rewrite: {\"(.*)\\\\1\": x}}}", "mirrors.a.b.rewrite"},
        {"configs: {a.b: {auth: {user: x}}}", "configs.a.b.auth.user"},
        {"configs: {a.b: {tls: {insecure_skip_verify: x}}}",
         "configs.a.b.tls.insecure_skip_verify"},
        {"configs: {a.b: {tls: {ca_file: 1}}}", "configs.a.b.tls.ca_file"},
        {"- a", "registries"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        assert_null(registries_parse(cases[i].text, strlen(cases[i].text), &err));
        assert_int_equal(err.code, -EINVAL);
        assert_string_equal(err.field, cases[i].field);
    }
    struct error err = ERROR_INIT;
    assert_null(registries_parse("mirrors: {", 10, &err));
    assert_int_not_equal(err.code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_are_in_order),
        cmocka_unit_test(nothing_configured),
        cmocka_unit_test(faults_are_named),
    };
    return RUN_TESTS(tests);
}
