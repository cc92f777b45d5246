/* The kubelet's configuration: fields, flags, defaults; what a request to its server needs. */
#include "lib/test.h"

#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "kubelet/config/fields.h"
#include "kubelet/config/file.h"
#include "kubelet/server/auth.h"
#include "kubelet/shutdown/shutdown.h"

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
    struct kubelet_config c = {.json = NULL};
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
    struct kubelet_config c = {.json = NULL};
    struct error err = ERROR_INIT;
    assert_int_equal(LOAD(&c, &err, ARG("--port=1"), ARG("--cluster-dns=1.1.1.1,2.2.2.2"),
                          ARG("--anonymous-auth"), ARG("--enable-debugging-handlers=false"),
                          ARG("--kube-reserved=cpu=100m,memory=1Gi"),
                          ARG("--eviction-hard=memory.available<5%")),
                     0);
    assert_int_equal(c.port, 1);
    assert_int_equal(c.cluster_dns.count, 2);
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the assertion above ends the test
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

static int plan_of(const char *fields, struct shutdown_plan *plan, struct error *err)
{
    char path[] = "/tmp/coracle-config-XXXXXX";
    struct kubelet_config c = {.json = NULL};
    struct strbuf text = STRBUF_INIT;
    int fd = mkstemp(path);
    strbuf_addf(&text,
                "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n%s\n",
                fields);
    assert_int_equal(write(fd, strbuf_text(&text), text.len), (ssize_t)text.len);
    close(fd);
    int r = kubelet_config_load(path, NULL, &c, err);
    if (r == 0) {
        r = shutdown_plan_read(&c, plan, err);
        kubelet_config_done(&c);
    }
    unlink(path);
    strbuf_done(&text);
    return r;
}

static void shutdown_plans(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct shutdown_plan p = {.count = 0};
    assert_int_equal(plan_of("", &p, &err), 0);
    assert_int_equal(p.count, 0);
    assert_int_equal(
        plan_of("shutdownGracePeriod: 30s\nshutdownGracePeriodCriticalPods: 10s", &p, &err), 0);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.groups[0].seconds, 20);
    assert_int_equal(p.groups[1].seconds, 10);
    assert_int_equal(shutdown_plan_seconds(&p), 30);
    assert_int_equal(shutdown_plan_group(&p, -5), 0);
    assert_int_equal(shutdown_plan_group(&p, 1999999999), 0);
    assert_int_equal(shutdown_plan_group(&p, 2000000000), 1);
    assert_int_equal(shutdown_plan_group(&p, 2000001000), 1);
    assert_int_equal(plan_of("shutdownGracePeriodByPodPriority:\n"
                             "- {priority: 1000, shutdownGracePeriodSeconds: 7}\n"
                             "- {priority: -10, shutdownGracePeriodSeconds: 3}\n"
                             "- {priority: 5, shutdownGracePeriodSeconds: 0}",
                             &p, &err),
                     0);
    assert_int_equal(p.groups[0].priority, -10);
    assert_int_equal(p.groups[2].seconds, 7);
    assert_int_equal(shutdown_plan_group(&p, -11), 0);
    assert_int_equal(shutdown_plan_group(&p, 4), 0);
    assert_int_equal(shutdown_plan_group(&p, 5), 1);
    assert_int_equal(shutdown_plan_group(&p, 999), 1);
    assert_int_equal(shutdown_plan_group(&p, 1001), 2);
}

static void bad_shutdown_plans_are_named(void **state)
{
    (void)state;
#define BY_PRIORITY "shutdownGracePeriodByPodPriority: "
    static const struct {
        const char *fields, *error;
    } cases[] = {
        {"shutdownGracePeriod: soon", "shutdownGracePeriod: \"soon\" is not a duration"},
        {"shutdownGracePeriod: 300ms", "shutdownGracePeriod: is above 0 and below 1s"},
        {"shutdownGracePeriodCriticalPods: 5s", "shutdownGracePeriodCriticalPods: is more than"},
        {BY_PRIORITY "[{priority: 1, shutdownGracePeriodSeconds: -1}]",
         "Seconds: -1 is not between"},
        {BY_PRIORITY "[{priority: 3000000000}]", "[0].priority: 3000000000 is no priority"},
        {BY_PRIORITY "[{priority: 1}, {priority: 1}]", "has the priority 1 twice"},
        {BY_PRIORITY "[{priority: 1, seconds: 1}]", "[0].seconds: there is no such field"},
        {BY_PRIORITY "[{priority: high}]", "[0].priority: expected an integer"},
        {BY_PRIORITY "[{priority: 1}]\nshutdownGracePeriod: 5s", "does not go with"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        struct shutdown_plan p = {.count = 0};
        assert_true(plan_of(cases[i].fields, &p, &err) < 0);
        if (!strstr(error_text(&err), cases[i].error))
            fail_msg("%s: %s", cases[i].fields, error_text(&err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_without_a_file),
        cmocka_unit_test(flags_are_fields),
        cmocka_unit_test(bad_flags_are_named),
        cmocka_unit_test(a_request_needs),
        cmocka_unit_test(shutdown_plans),
        cmocka_unit_test(bad_shutdown_plans_are_named),
    };
    return RUN_TESTS(tests);
}
