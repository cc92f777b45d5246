/* proxy/plan and proxy/rules: from objects to chains, without a kernel. */
#include "lib/test.h"

#include <errno.h>

#include "base/strbuf.h"
#include "proxy/plan.h"
#include "proxy/rules.h"

static void set_service(struct plan *p, const char *key, const char *text)
{
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    assert_non_null(j);
    assert_int_equal(plan_service_set(p, key, j, &err), 0);
}

static int set_slice(struct plan *p, const char *key, const char *text, struct error *err)
{
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), err);
    assert_non_null(j);
    return plan_slice_set(p, key, j, err);
}

#define WEB                                                                                        \
    "{\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"},\"spec\":{\"type\":\"NodePort\","  \
    "\"clusterIP\":\"10.96.0.10\",\"ports\":[{\"name\":\"http\",\"port\":80,\"nodePort\":30080}]}" \
    "}"
#define SLICE(endpoints)                                                                      \
    "{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"default\",\"labels\":{"                \
    "\"kubernetes.io/service-name\":\"web\"}},\"addressType\":\"IPv4\",\"ports\":[{\"name\":" \
    "\"http\",\"port\":8080}],\"endpoints\":[" endpoints "]}"

static void refresh(struct plan *p)
{
    struct map dirty;
    plan_take_dirty(p, &dirty);
    map_clear(&dirty);
}

/* The names are public knowledge: people look for them in iptables-save. sha256 of
 * "default/kubernetes:httpstcp" begins KUBE-SVC-NPX46M4PTMTKRN6Y in every cluster. */
static void chains_have_upstreams_names(_unused_ void **state)
{
    char hash[17];
    plan_hash("default/kubernetes:httpstcp", hash);
    assert_string_equal(hash, "NPX46M4PTMTKRN6Y");
    plan_hash("kube-system/kube-dns:dnsudp", hash);
    assert_string_equal(hash, "TCOU7JCQXEZGVUNU");
}

static void ready_endpoints_are_used_and_terminating_ones_as_a_fallback(_unused_ void **state)
{
    struct plan *p = plan_new("n1");
    set_service(p, "default/web", WEB);
    assert_int_equal(
        set_slice(p, "default/web-1",
                  SLICE("{\"addresses\":[\"10.0.0.2\"],\"nodeName\":\"n1\",\"conditions\":{"
                        "\"ready\":true}},{\"addresses\":[\"10.0.0.1\"],\"conditions\":{\"ready\":"
                        "false,\"serving\":true,\"terminating\":true}},{\"addresses\":["
                        "\"10.0.0.3\"],\"conditions\":{}}"),
                  NULL),
        0);
    refresh(p);
    const struct plan_service *s = plan_get(p, "default/web");
    assert_non_null(s);
    assert_int_equal(s->n_ports, 1);
    assert_int_equal(s->ports[0].n_endpoints, 2);
    assert_string_equal(s->ports[0].endpoints[0].ip, "10.0.0.2");
    assert_true(s->ports[0].endpoints[0].local);
    assert_int_equal(s->ports[0].endpoints[0].port, 8080);
    assert_int_equal(
        set_slice(p, "default/web-1",
                  SLICE("{\"addresses\":[\"10.0.0.1\"],\"conditions\":{\"ready\":false,"
                        "\"serving\":true,\"terminating\":true}},{\"addresses\":[\"10.0.0.4\"],"
                        "\"conditions\":{\"ready\":false}}"),
                  NULL),
        0);
    refresh(p);
    s = plan_get(p, "default/web");
    assert_int_equal(s->ports[0].n_endpoints, 1);
    assert_string_equal(s->ports[0].endpoints[0].ip, "10.0.0.1");
    plan_free(p);
}

static void only_what_changed_is_dirty(_unused_ void **state)
{
    struct plan *p = plan_new("n1");
    struct map dirty;
    set_service(p, "default/web", WEB);
    set_service(p, "default/other",
                "{\"metadata\":{\"name\":\"other\",\"namespace\":\"default\"},\"spec\":{"
                "\"clusterIP\":\"10.96.0.11\",\"ports\":[{\"port\":1}]}}");
    refresh(p);
    assert_int_equal(set_slice(p, "default/web-1", SLICE("{\"addresses\":[\"10.0.0.2\"]}"), NULL),
                     0);
    plan_take_dirty(p, &dirty);
    assert_int_equal(map_count(&dirty), 1);
    assert_true(map_has(&dirty, "default/web"));
    map_clear(&dirty);
    plan_slice_remove(p, "default/web-1");
    plan_service_remove(p, "default/other");
    plan_take_dirty(p, &dirty);
    assert_int_equal(map_count(&dirty), 2);
    map_clear(&dirty);
    assert_null(plan_get(p, "default/other"));
    assert_int_equal(plan_get(p, "default/web")->ports[0].n_endpoints, 0);
    plan_free(p);
}

static void bad_objects_concern_themselves_only(_unused_ void **state)
{
    struct plan *p = plan_new("n1");
    struct error err = ERROR_INIT;
    set_service(p, "default/web", WEB);
    assert_int_equal(set_slice(p, "default/bad", SLICE("{\"addresses\":[\"10.0.0.999\"]}"), &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "10.0.0.999"));
    assert_int_equal(set_slice(p, "default/bad", SLICE("{\"addresses\":\"x\"}"), &err), -EINVAL);
    static const char huge[] =
        "{\"spec\":{\"clusterIP\":\"10.96.0.9\",\"ports\":[{\"port\":99999}]}}";
    _cleanup_json_ json_t *j = json_parse(huge, strlen(huge), &err);
    assert_non_null(j);
    assert_int_equal(plan_service_set(p, "default/huge", j, &err), -EINVAL);
    refresh(p);
    assert_non_null(plan_get(p, "default/web"));
    assert_null(plan_get(p, "default/huge"));
    plan_free(p);
}

static void headless_and_external_name_are_left_alone(_unused_ void **state)
{
    struct plan *p = plan_new("n1");
    set_service(p, "a/headless", "{\"spec\":{\"clusterIP\":\"None\",\"ports\":[{\"port\":1}]}}");
    set_service(p, "a/name", "{\"spec\":{\"type\":\"ExternalName\"}}");
    set_service(p, "a/foreign",
                "{\"metadata\":{\"labels\":{\"service.kubernetes.io/service-proxy-name\":\"x\"}},"
                "\"spec\":{\"clusterIP\":\"10.96.0.5\",\"ports\":[{\"port\":1}]}}");
    refresh(p);
    assert_int_equal(map_count(plan_services(p)), 0);
    plan_free(p);
}

static void rules_share_among_endpoints(_unused_ void **state)
{
    struct plan *p = plan_new("n1");
    struct map nat = MAP_INIT(free), filter = MAP_INIT(free);
    const struct rules_config config = {.cluster_cidr = "10.0.0.0/8"};
    set_service(p, "default/web", WEB);
    assert_int_equal(
        set_slice(p, "default/web-1",
                  SLICE("{\"addresses\":[\"10.0.0.2\"]},{\"addresses\":[\"10.0.0.3\"]}"), NULL),
        0);
    refresh(p);
    const struct plan_service *s = plan_get(p, "default/web");
    rules_of_service(&config, s, &nat);
    _cleanup_free_ char *svc = str_printf("KUBE-SVC-%s", s->ports[0].id);
    _cleanup_free_ char *ext = str_printf("KUBE-EXT-%s", s->ports[0].id);
    assert_int_equal(map_count(&nat), 4); /* SVC, EXT, two SEP */
    const char *rules = map_get(&nat, svc);
    assert_non_null(rules);
    assert_non_null(strstr(rules, "! -s 10.0.0.0/8 -d 10.96.0.10/32"));
    assert_non_null(strstr(rules, "--probability 0.50000000000"));
    assert_null(
        strstr(strstr(rules, "--probability") + 1, "--probability")); /* the last takes all */
    assert_non_null(strstr(map_get(&nat, ext), "KUBE-MARK-MASQ"));
    rules_lists(plan_services(p), &nat, &filter);
    assert_non_null(strstr(map_get(&nat, "KUBE-NODEPORTS"), "--dport 30080"));
    assert_string_equal(map_get(&filter, "KUBE-SERVICES"), "");
    map_clear(&nat);
    map_clear(&filter);
    plan_free(p);
}

static void no_endpoints_are_refused(_unused_ void **state)
{
    struct plan *p = plan_new("n1");
    struct map nat = MAP_INIT(free), filter = MAP_INIT(free);
    set_service(p, "default/web", WEB);
    refresh(p);
    rules_lists(plan_services(p), &nat, &filter);
    const char *rejects = map_get(&filter, "KUBE-SERVICES");
    assert_non_null(strstr(rejects, "default/web:http has no endpoints"));
    assert_non_null(strstr(rejects, "-j REJECT"));
    assert_non_null(strstr(map_get(&filter, "KUBE-EXTERNAL-SERVICES"), "--dport 30080"));
    assert_null(strstr(map_get(&nat, "KUBE-SERVICES"), "10.96.0.10"));
    map_clear(&nat);
    map_clear(&filter);
    plan_free(p);
}

static void only_our_chains_are_ours(_unused_ void **state)
{
    assert_true(rules_is_ours("KUBE-SVC-ABC"));
    assert_true(rules_is_ours("KUBE-POSTROUTING"));
    assert_false(rules_is_ours("KUBE-SERVICES-MINE"));
    assert_false(rules_is_ours("KUBE-IPVS-FILTER"));
    assert_false(rules_is_ours("DOCKER"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_have_upstreams_names),
        cmocka_unit_test(ready_endpoints_are_used_and_terminating_ones_as_a_fallback),
        cmocka_unit_test(only_what_changed_is_dirty),
        cmocka_unit_test(bad_objects_concern_themselves_only),
        cmocka_unit_test(headless_and_external_name_are_left_alone),
        cmocka_unit_test(rules_share_among_endpoints),
        cmocka_unit_test(no_endpoints_are_refused),
        cmocka_unit_test(only_our_chains_are_ours),
    };
    return RUN_TESTS(tests);
}
