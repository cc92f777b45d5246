/* The kubelet's configuration: fields, flags, defaults; what a request to its server needs. */
#include "lib/test.h"

#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "kubelet/config/fields.h"
#include "kubelet/config/file.h"
#include "kubelet/server/auth.h"

static const struct option_def none[] = {{.name = NULL}};

static int load(char *argv[], int argc, struct kubelet_config *c, struct error *err)
{
    struct config_flags flags;
    char *words[8];
    config_flags_init(&flags, none);
    int r = options_parse(flags.definitions, argc, argv, false, words, err);
    if (r >= 0)
        r = kubelet_config_load(NULL, &flags, c, err);
    config_flags_done(&flags);
    return r;
}

#define LOAD(c, err, ...)                                        \
    load((char *[]){(char *)(uintptr_t) "kubelet", __VA_ARGS__}, \
         (int)(sizeof((char *[]){NULL, __VA_ARGS__}) / sizeof(char *)), c, err)
#define ARG(text) (char *)(uintptr_t)(text)

static void defaults_hold_without_a_file(void **state)
{
    (void)state;
    struct kubelet_config c;
    struct error err = ERROR_INIT;
    assert_int_equal(kubelet_config_load(NULL, NULL, &c, &err), 0);
    assert_int_equal(c.port, 10250);
    assert_int_equal(c.authentication.webhook.ttl_ms, 120000);
    assert_int_equal(c.authorization.webhook.allowed_ttl_ms, 300000);
    assert_int_equal(c.authorization.webhook.denied_ttl_ms, 30000);
    assert_false(c.authentication.anonymous.enabled);
    assert_true(c.debugging);
    assert_true(kubelet_config_enforces_pods(&c));
    assert_int_equal(json_path_int(c.json, "healthzPort", 0), 10248);
    kubelet_config_done(&c);
}

static void flags_are_fields(void **state)
{
    (void)state;
    struct kubelet_config c;
    struct error err = ERROR_INIT;
    assert_int_equal(LOAD(&c, &err, ARG("--port=1"), ARG("--cluster-dns=1.1.1.1,2.2.2.2"),
                          ARG("--anonymous-auth"), ARG("--enable-debugging-handlers=false"),
                          ARG("--kube-reserved=cpu=100m,memory=1Gi"),
                          ARG("--eviction-hard=memory.available<5%")),
                     0);
    assert_int_equal(c.port, 1);
    assert_int_equal(c.cluster_dns.count, 2);
    assert_string_equal(c.cluster_dns.items[1], "2.2.2.2");
    assert_true(c.authentication.anonymous.enabled);
    assert_false(c.debugging);
    assert_string_equal(string_map_get(&c.kube_reserved, "memory"), "1Gi");
    assert_string_equal(string_map_get(&c.eviction_hard, "memory.available"), "5%");
    kubelet_config_done(&c);
}

static void bad_flags_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *flag, *error;
    } cases[] = {
        {"--port=x", "--port: \"x\" is not a number"},
        {"--port=65536", "port: 65536 is not between 0 and 65535"},
        {"--kube-reserved=cpu", "--kube-reserved: \"cpu\" is not of the form key=value"},
        {"--anonymous-auth=maybe", "--anonymous-auth: \"maybe\" is neither true nor false"},
        {"--authorization-mode=RBAC", "authorization.mode: \"RBAC\" is neither"},
        {"--nonsense=1", "unknown flag: --nonsense"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct kubelet_config c;
        struct error err = ERROR_INIT;
        assert_true(LOAD(&c, &err, ARG(cases[i].flag)) < 0);
        if (!strstr(error_text(&err), cases[i].error))
            fail_msg("%s: %s", cases[i].flag, error_text(&err));
    }
}

static void a_request_needs(void **state)
{
    (void)state;
    static const struct {
        const char *word, *first, *second;
    } cases[] = {
        {"stats", "stats", NULL},        {"metrics", "metrics", NULL},
        {"logs", "log", NULL},           {"checkpoint", "checkpoint", NULL},
        {"pods", "pods", "proxy"},       {"runningpods", "pods", "proxy"},
        {"healthz", "healthz", "proxy"}, {"configz", "configz", "proxy"},
        {"exec", "proxy", NULL},         {"podsx", "proxy", NULL},
        {NULL, "proxy", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *needs[AUTH_SUBRESOURCES_MAX + 1];
        server_auth_subresources(cases[i].word, needs);
        assert_string_equal(needs[0], cases[i].first);
        assert_true(str_eq(needs[1], cases[i].second));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_without_a_file),
        cmocka_unit_test(flags_are_fields),
        cmocka_unit_test(bad_flags_are_named),
        cmocka_unit_test(a_request_needs),
    };
    return RUN_TESTS(tests);
}
