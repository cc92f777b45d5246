/* The API server's verbs over the in-memory store: what a real etcd makes hard to bring about. */
#include "lib/test.h"

#include <errno.h>

#include "apiserver/store/watch_cache.h"
#include "base/json.h"
#include "lib/harness.h"
#include "lib/memstore.h"

#define CMS  "/api/v1/namespaces/default/configmaps"
#define SVCS "/api/v1/namespaces/default/services"

/* The value at @path of an answer, as text; owned by @answer. */
static const char *at(const json_t *answer, const char *path)
{
    const char *text = json_path_string(answer, path);
    return text ? text : "";
}

static void expect(struct harness *h, const char *method, const char *url, const char *body,
                   const char *path, const char *expected)
{
    _cleanup_json_ json_t *answer = harness_json(h, method, url, body);
    assert_string_equal(at(answer, path), expected);
}

static char *config_map(const char *name)
{
    return str_printf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\","
                      "\"labels\":{\"l\":\"%s\"}}}",
                      name, name);
}

static void create(struct harness *h, const char *name)
{
    _cleanup_free_ char *body = config_map(name);
    expect(h, "POST", CMS, body, "metadata.name", name);
}

static int service(struct harness *h, const char *name, const char *type, json_t **ret)
{
    _cleanup_free_ char *body =
        str_printf("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"%s\"},"
                   "\"spec\":{\"type\":\"%s\",\"ports\":[{\"port\":80}]}}",
                   name, type);
    *ret = harness_json(h, "POST", SVCS, body);
    return (int)json_path_int(*ret, "code", 201);
}

static void test_verbs(void **state)
{
    (void)state;
    struct harness *h = harness_new("10.0.0.0/28");
    create(h, "a");
    _cleanup_free_ char *again = config_map("a");
    expect(h, "POST", CMS, again, "reason", "AlreadyExists");
    expect(h, "GET", CMS "/a", NULL, "metadata.labels.l", "a");
    expect(h, "PATCH", CMS "/a", "{\"data\":{\"x\":\"1\"}}", "data.x", "1");
    expect(h, "DELETE", CMS "/a", NULL, "status", "Success");
    expect(h, "GET", CMS "/a", NULL, "reason", "NotFound");
    expect(h, "GET", "/api/v1/nonsense", NULL, "reason", "NotFound");
    expect(h, "BREW", CMS, NULL, "reason", "MethodNotAllowed");
    expect(h, "GET", "/api/v1/namespaces/a%2fb/pods", NULL, "reason", "BadRequest");
    (void)harness_free(h);
}

static void test_store_fails(void **state)
{
    (void)state;
    struct harness *h = harness_new("10.0.0.0/28");
    create(h, "a");
    memstore_fail(h->srv.store, -ECONNREFUSED);
    expect(h, "GET", CMS "/a", NULL, "reason", "ServiceUnavailable");
    _cleanup_free_ char *body = config_map("b");
    expect(h, "POST", CMS, body, "reason", "Timeout");
    expect(h, "GET", CMS "?resourceVersion=0", NULL, "kind", "ConfigMapList");
    memstore_fail(h->srv.store, 0);
    expect(h, "GET", CMS "/a", NULL, "metadata.name", "a");
    (void)harness_free(h);
}

static void test_ranges_run_out(void **state)
{
    (void)state;
    struct harness *h = harness_new("10.0.0.0/29"); /* six addresses, four node ports */
    struct map seen = MAP_INIT(NULL);
    for (int i = 0; i < 6; i++) {
        _cleanup_free_ char *name = str_printf("s%d", i);
        _cleanup_json_ json_t *svc = NULL;
        assert_int_equal(service(h, name, i < 4 ? "NodePort" : "ClusterIP", &svc), 201);
        assert_false(map_has(&seen, at(svc, "spec.clusterIP")));
        map_set(&seen, at(svc, "spec.clusterIP"), h);
    }
    _cleanup_json_ json_t *full = NULL, *freed = NULL, *no_port = NULL;
    assert_int_equal(service(h, "s6", "ClusterIP", &full), 500);
    assert_non_null(strstr(at(full, "message"), "10.0.0.0/29 is full"));
    expect(h, "DELETE", SVCS "/s5", NULL, "metadata.name", "s5");
    assert_int_equal(service(h, "s6", "NodePort", &no_port), 500);
    assert_non_null(strstr(at(no_port, "message"), "range is full"));
    assert_int_equal(service(h, "s6", "ClusterIP", &freed), 201);
    map_clear(&seen);
    (void)harness_free(h);
}

/* Another server has taken what this one believes to be free: it finds out and goes on. */
static void test_stale_ranges(void **state)
{
    (void)state;
    struct harness *h = harness_new("10.0.0.0/29");
    _cleanup_json_ json_t *a = NULL, *b = NULL, *c = NULL;
    assert_int_equal(service(h, "a", "NodePort", &a), 201);
    uint32_t ip;
    assert_int_equal(ip_parse(at(a, "spec.clusterIP"), &ip), 0);
    for (uint32_t i = 0; i < h->allocations.ips.size; i++)
        number_range_set(&h->allocations.ips, h->allocations.ips.base + i, true);
    number_range_set(&h->allocations.ips, ip, false);
    uint32_t base = h->allocations.ips.base;
    number_range_set(&h->allocations.ips, base + (ip - base + 1) % h->allocations.ips.size, false);
    h->allocations.ports_revision = 0; /* as if nothing had ever been written */
    memset(h->allocations.ports.used, 0, h->allocations.ports.size / 8 + 1);
    assert_int_equal(service(h, "b", "NodePort", &b), 201);
    assert_string_not_equal(at(b, "spec.clusterIP"), at(a, "spec.clusterIP"));
    const json_t *pa = json_array_get(json_path(a, "spec.ports"), 0);
    const json_t *pb = json_array_get(json_path(b, "spec.ports"), 0);
    assert_int_not_equal(json_path_int(pa, "nodePort", 0), json_path_int(pb, "nodePort", 0));
    (void)harness_free(h);
}

static void watch(struct harness *h, const char *query, const char *expected)
{
    _cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
    _cleanup_strbuf_ struct strbuf got = STRBUF_INIT;
    _cleanup_free_ char *path = str_printf(CMS "?watch=1&%s", query);
    (void)harness_request(h, "GET", path, NULL, NULL, 0, 50, &body);
    for (char *line = body.data; line && *line;) {
        char *end = strchr(line, '\n');
        size_t len = end ? (size_t)(end - line) : strlen(line);
        _cleanup_json_ json_t *event = json_parse(line, len, NULL);
        const char *name = json_path_string(event, "object.metadata.name");
        if (!name)
            name = json_path_string(event, "object.reason");
        strbuf_addf(&got, "%s%s %s", got.len ? ", " : "", at(event, "type"), name ? name : "");
        line = end ? end + 1 : NULL;
    }
    assert_string_equal(strbuf_text(&got), expected);
}

static void test_watches(void **state)
{
    (void)state;
    struct harness *h = harness_new("10.0.0.0/28");
    create(h, "a");
    int64_t revision = watch_cache_revision(h->srv.cache);
    create(h, "b");
    expect(h, "PATCH", CMS "/a", "{\"metadata\":{\"labels\":{\"l\":\"b\"}}}", "kind", "ConfigMap");
    expect(h, "DELETE", CMS "/b", NULL, "status", "Success");
    char query[128];
    (void)snprintf(query, sizeof(query), "resourceVersion=%d", (int)revision);
    watch(h, query, "ADDED b, MODIFIED a, DELETED b");
    (void)snprintf(query, sizeof(query), "resourceVersion=%d&labelSelector=l%%3Da", (int)revision);
    watch(h, query, "DELETED a");
    (void)snprintf(query, sizeof(query), "resourceVersion=%d&labelSelector=l%%3Db", (int)revision);
    watch(h, query, "ADDED b, ADDED a, DELETED b");
    watch(h, "", "ADDED a");
    watch(h, "resourceVersion=0", "ADDED a");
    watch(h, "resourceVersion=99999", "");
    watch(h, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
          "ADDED a, BOOKMARK ");
    expect(h, "GET", CMS "?watch=1&sendInitialEvents=true", NULL, "reason", "BadRequest");
    expect(h, "GET", CMS "?watch=1&resourceVersion=x", NULL, "reason", "BadRequest");
    (void)harness_free(h);
}

static void ignore_txn(void *arg, int code, const struct store_txn_result *result,
                       const struct error *err)
{
    (void)arg;
    (void)code;
    (void)result;
    (void)err;
}

/* More changes than the ring holds: who comes from before it is told so. */
static void test_ring_is_bounded(void **state)
{
    (void)state;
    struct harness *h = harness_new("10.0.0.0/28");
    create(h, "a");
    int64_t revision = watch_cache_revision(h->srv.cache);
    static const char value[] = "{\"metadata\":{\"name\":\"x\"}}";
    for (int i = 0; i < CACHE_RING_EVENTS + 10; i++)
        (void)store_create(h->srv.store, i % 2 ? "/registry/configmaps/default/x" : "/registry/y",
                           value, strlen(value), 0, ignore_txn, NULL);
    create(h, "b");
    for (int i = 0; i < 2 * CACHE_RING_EVENTS; i++) {
        static const char key[] = "/registry/configmaps/default/x";
        const struct store_op ops[] = {
            {.action = STORE_PUT, .key = key, .value = value, .len = strlen(value)}};
        const struct store_txn txn = {.ops = ops, .n_ops = 1};
        (void)store_txn(h->srv.store, &txn, ignore_txn, NULL);
    }
    create(h, "c");
    char query[64];
    (void)snprintf(query, sizeof(query), "resourceVersion=%d", (int)revision);
    watch(h, query, "ERROR Expired");
    (void)harness_free(h);
}

static void test_cache_starts_anew(void **state)
{
    (void)state;
    struct harness *h = harness_new("10.0.0.0/28");
    create(h, "a");
    memstore_break_watches(h->srv.store);
    assert_false(watch_cache_loaded(h->srv.cache));
    expect(h, "GET", CMS "?watch=1&resourceVersion=2", NULL, "reason", "ServiceUnavailable");
    expect(h, "GET", CMS "/a", NULL, "metadata.name", "a");
    expect(h, "GET", CMS "?resourceVersion=0", NULL, "kind", "ConfigMapList");
    (void)harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_store_fails),
        cmocka_unit_test(test_ranges_run_out),
        cmocka_unit_test(test_stale_ranges),
        cmocka_unit_test(test_watches),
        cmocka_unit_test(test_ring_is_bounded),
        cmocka_unit_test(test_cache_starts_anew),
    };
    return RUN_TESTS(tests);
}
