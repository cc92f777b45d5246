/*
 * The etcd client when things go wrong: leases over restarts, members that die or hang,
 * authentication, TLS. Run by tests/integration/etcd-failure.t as etcd-test is.
 */
#include "lib/test.h"

#include <errno.h>
#include <signal.h>

#include "base/loop.h"
#include "base/strbuf.h"
#include "lib/etcd-run.h"
#include "net/x509.h"

/* ---- leases ---- */
static void on_lost(void *arg, int code, _unused_ const char *message)
{
    struct run *r = arg;
    r->lost = code;
    etcd_stop(r->etcd, 0);
}

static int grant(struct run *r, int64_t id, int64_t ttl)
{
    (void)etcd_lease_grant(r->etcd, id, ttl, 0, run_on_reply, r);
    return run_wait(r);
}

static int put_leased(struct run *r, const char *key, int64_t lease)
{
    struct etcd_put p = {.key = ETCD_STR(key), .value = ETCD_STR("x"), .lease = lease};
    (void)etcd_put(r->etcd, &p, 0, run_on_reply, r);
    return run_wait(r);
}

static void leases(void **state)
{
    struct run *r = *state;
    assert_int_equal(grant(r, 0, 1), 0);
    int64_t expires = r->lease;
    assert_int_equal(grant(r, 77, 4), 0);
    assert_int_equal(r->lease, 77);
    assert_int_equal(grant(r, 77, 4), ETCD_E_EXISTS);
    struct etcd_keeper *keeper = etcd_lease_keep(r->etcd, 77, 4, on_lost, r);
    assert_int_equal(put_leased(r, "l/gone", expires), 0);
    int64_t after = r->revision + 1;
    assert_int_equal(put_leased(r, "l/kept", 77), 0);
    assert_int_equal(put_leased(r, "l/none", 4711), ETCD_E_NOT_FOUND);

    struct etcd_watch_request request = {
        .key = ETCD_STR("l/gone"), .start_revision = after, .prev = true};
    struct etcd_watch *w = run_watch(r, &request);
    run_wait_events(r, 1);
    assert_string_equal(r->prev, "x"); /* it was deleted */
    /* the kept one outlives its time, also over a restart */
    members_kill(&r->members, 0);
    members_restart(&r->members, 0);
    uint64_t until = now_ms() + 8000;
    while (now_ms() < until) {
        assert_int_equal(run_get(r, "l/kept"), 0);
        assert_int_equal(r->n, 1);
    }
    (void)etcd_lease_ttl(r->etcd, 77, true, 0, run_on_reply, r);
    assert_int_equal(run_wait(r), 0);
    assert_in_range(r->ttl, 0, 4);
    assert_int_equal(r->n, 1);
    assert_string_equal(r->first, "l/kept");
    assert_int_equal(r->lost, 0);
    (void)etcd_lease_revoke(r->etcd, 77, 0, run_on_reply, r);
    assert_int_equal(run_wait(r), 0);
    assert_int_equal(run_get(r, "l/kept"), 0);
    assert_int_equal(r->n, 0);
    while (r->lost == 0)
        assert_int_equal(etcd_run(r->etcd), 0);
    assert_int_equal(r->lost, ETCD_E_NOT_FOUND);
    assert_non_null(keeper);
    (void)etcd_lease_ttl(r->etcd, 77, false, 0, run_on_reply, r);
    assert_int_equal(run_wait(r), ETCD_E_NOT_FOUND);
    etcd_watch_cancel(w);
}

/* ---- failures ---- */
static void deadlines_and_cancel(void **state)
{
    struct run *r = *state;
    assert_int_equal(run_put(r, "d", "1"), 0);
    members_signal(&r->members, 0, SIGSTOP);
    uint64_t start = now_ms();
    struct etcd_range one = {.key = ETCD_STR("d")};
    struct etcd_call *given_up = etcd_range(r->etcd, &one, 0, run_on_reply, NULL);
    (void)etcd_range(r->etcd, &one, 500, run_on_reply, r);
    etcd_cancel(given_up);
    assert_int_equal(run_wait(r), -ETIMEDOUT);
    assert_in_range(now_ms() - start, 400, 3000);
    members_signal(&r->members, 0, SIGCONT);
    assert_int_equal(run_get(r, "d"), 0);

    members_kill(&r->members, 0);
    start = now_ms();
    (void)etcd_range(r->etcd, &one, 1000, run_on_reply, r);
    assert_int_equal(run_wait(r), -ECONNREFUSED);
    assert_in_range(now_ms() - start, 700, 4000);
    struct etcd_put p = {.key = ETCD_STR("d"), .value = ETCD_STR("2")};
    (void)etcd_put(r->etcd, &p, 1000, run_on_reply, r);
    assert_int_equal(run_wait(r), -ECONNREFUSED);
    /* a call made while it is away is served when it comes back in time */
    (void)etcd_put(r->etcd, &p, 20000, run_on_reply, r);
    members_restart(&r->members, 0);
    assert_int_equal(run_wait(r), 0);
}

static void failover(void **state)
{
    struct run *r = *state;
    assert_int_equal(run_put(r, "f", "0"), 0);
    struct etcd_watch_request request = {.key = ETCD_STR("f"), .start_revision = r->revision + 1};
    struct etcd_watch *w = run_watch(r, &request);
    run_wait_created(r);
    int64_t acknowledged = 0;
    for (int victim = 0; victim < 3; victim++) {
        char used[64];
        (void)snprintf(used, sizeof(used), "%s", etcd_endpoint(r->etcd));
        int index = members_index(&r->members, used);
        if (victim == 1)
            members_signal(&r->members, index, SIGSTOP); /* hangs instead of dying */
        else if (victim == 0)
            members_stop(&r->members, index); /* says goodbye first */
        else
            members_kill(&r->members, index);
        assert_int_equal(run_get(r, "f"), 0); /* within the deadline of one request */
        assert_string_not_equal(etcd_endpoint(r->etcd), used);
        int64_t before = acknowledged;
        for (int i = 0; i < 10; i++) /* an election may be under way */
            if (run_put(r, "f", "1") == 0)
                acknowledged++;
        assert_true(acknowledged > before);
        if (victim == 1)
            members_signal(&r->members, index, SIGCONT);
        else
            members_restart(&r->members, index);
    }
    uint64_t until = now_ms() + 20000;
    while (r->events < acknowledged && now_ms() < until)
        (void)run_get(r, "f");
    assert_true(r->events >= acknowledged);
    assert_int_equal(r->sum, r->events);
    assert_int_equal(r->ended, 0);
    etcd_watch_cancel(w);
}

static void authentication(void **state)
{
    struct run *r = *state;
    const struct members *m = &r->members;
    assert_int_equal(run_put(r, "mine/a", "1"), 0);
    assert_int_equal(run_put(r, "theirs/a", "1"), 0);
    members_ctl(m, "user", "add", "root:secret", NULL);
    members_ctl(m, "user", "add", "ann:pencil", NULL);
    members_ctl(m, "user", "grant-role", "root", "root", NULL);
    members_ctl(m, "role", "add", "mine", NULL);
    members_ctl(m, "role", "grant-permission", "mine", "readwrite", "mine/", "mine0", NULL);
    members_ctl(m, "user", "grant-role", "ann", "mine", NULL);
    members_ctl(m, "auth", "enable", NULL);
    assert_int_equal(run_get(r, "mine/a"), -EPERM);
    r->etcd = etcd_free(r->etcd);

    const char *urls[] = {m->m[0].url};
    struct etcd_options ann = {
        .endpoints = urls, .n_endpoints = 1, .user = "ann", .password = "pencil"};
    run_connect(r, &ann);
    assert_int_equal(run_get(r, "mine/a"), 0);
    assert_int_equal(r->n, 1);
    assert_int_equal(run_get(r, "theirs/a"), -EACCES);
    struct etcd_watch_request request = {.key = ETCD_STR("mine/"), .prefix = true};
    struct etcd_watch *w = run_watch(r, &request);
    run_wait_created(r);
    /* tokens do not survive a restart: the client gets a new one */
    members_kill(&r->members, 0);
    members_restart(&r->members, 0);
    int code = -EAGAIN;
    for (int i = 0; i < 20 && code != 0; i++)
        code = run_put(r, "mine/a", "5");
    assert_int_equal(code, 0);
    run_wait_events(r, 1);
    assert_int_equal(r->sum % 5, 0);
    etcd_watch_cancel(w);
    request.key = ETCD_STR("theirs/");
    (void)run_watch(r, &request);
    assert_int_equal(run_wait_end(r), -EACCES);
    r->etcd = etcd_free(r->etcd);

    ann.password = "wrong";
    run_connect(r, &ann);
    assert_int_equal(run_get(r, "mine/a"), -EPERM);
    request.key = ETCD_STR("mine/");
    (void)run_watch(r, &request);
    assert_int_equal(run_wait_end(r), -EPERM);
}

/* Issues a certificate by @ca and writes it to T/NAME.{crt,key}. */
static void issue(const struct x509_pair *ca, const char *name, unsigned usage)
{
    const char *ips[] = {"127.0.0.1", NULL}, *names[] = {"localhost", NULL};
    struct x509_request request = {
        .common_name = name, .ip_addresses = ips, .dns_names = names, .usage = usage, .days = 1};
    _cleanup_x509_pair_ struct x509_pair pair = {0};
    _cleanup_free_ char *cert = str_printf("%s/%s.crt", getenv("T"), name);
    _cleanup_free_ char *key = str_printf("%s/%s.key", getenv("T"), name);
    struct error err = ERROR_INIT;
    if (ca)
        assert_int_equal(x509_issue(ca, &request, &pair, &err), 0);
    else
        assert_int_equal(x509_ca_new(name, 1, &pair, &err), 0);
    assert_int_equal(x509_pair_write(&pair, cert, key, &err), 0);
}

static void read_pair(const char *cert, const char *key, struct x509_pair *pair)
{
    struct error err = ERROR_INIT;
    assert_int_equal(x509_pair_read(cert, key, pair, &err), 0);
}

static void tls(void **state)
{
    struct run *r = mem_zalloc(sizeof(*r));
    *state = r;
    const char *dir = getenv("T");
    assert_int_equal(chdir(dir ? dir : "/tmp"), 0);
    issue(NULL, "ca", 0);
    issue(NULL, "otherca", 0);
    _cleanup_x509_pair_ struct x509_pair ca = {0}, other = {0};
    read_pair("ca.crt", "ca.key", &ca);
    read_pair("otherca.crt", "otherca.key", &other);
    issue(&ca, "server", X509_SERVER | X509_CLIENT);
    issue(&ca, "client", X509_CLIENT);
    issue(&other, "stranger", X509_CLIENT);
    members_start_tls(&r->members, "ca.crt", "server.crt", "server.key");
    const char *urls[] = {r->members.m[0].url};
    struct etcd_options good = {.endpoints = urls,
                                .n_endpoints = 1,
                                .ca_file = "ca.crt",
                                .cert_file = "client.crt",
                                .key_file = "client.key"};
    run_connect(r, &good);
    assert_int_equal(run_put(r, "t", "1"), 0);
    struct etcd_watch_request request = {.key = ETCD_STR("t")};
    struct etcd_watch *w = run_watch(r, &request);
    run_wait_created(r);
    assert_int_equal(run_put(r, "t", "2"), 0);
    run_wait_events(r, 1);
    size_t len = 1 << 20; /* many TLS records */
    _cleanup_free_ char *big = mem_zalloc(len);
    memset(big, 'x', len);
    struct etcd_put p = {.key = ETCD_STR("t"), .value = {big, len}};
    (void)etcd_put(r->etcd, &p, 0, run_on_reply, r);
    assert_int_equal(run_wait(r), 0);
    run_wait_events(r, 2);
    assert_int_equal(r->bytes, len + 1);
    etcd_watch_cancel(w);
    r->etcd = etcd_free(r->etcd);

    const char *by_name[] = {"https://localhost:2379"}; /* a name that has to be looked up */
    struct etcd_options other_options = good;
    other_options.endpoints = by_name;
    run_connect(r, &other_options);
    assert_int_equal(run_get(r, "t"), 0);
    r->etcd = etcd_free(r->etcd);
    other_options = good;
    other_options.deadline_ms = 500;
    other_options.server_name = "elsewhere";
    run_connect(r, &other_options);
    assert_int_equal(run_get(r, "t"), -ECONNREFUSED);
    assert_non_null(strstr(r->message, "ertificate"));
    r->etcd = etcd_free(r->etcd);
    other_options.server_name = NULL;
    other_options.ca_file = "otherca.crt";
    run_connect(r, &other_options);
    assert_int_equal(run_get(r, "t"), -ECONNREFUSED);
    r->etcd = etcd_free(r->etcd);
    other_options.ca_file = "ca.crt";
    other_options.cert_file = "stranger.crt";
    other_options.key_file = "stranger.key";
    run_connect(r, &other_options);
    assert_int_equal(run_put(r, "t", "3"), -ECONNREFUSED); /* refused before anything was sent */
    assert_non_null(strstr(r->message, "TLS"));
    r->etcd = etcd_free(r->etcd);
    char message[256];
    other_options.key_file = "client.key";
    assert_null(etcd_open(&other_options, message, sizeof(message)));
    other_options.key_file = "missing.key";
    assert_null(etcd_open(&other_options, message, sizeof(message)));
    assert_non_null(strstr(message, "missing.key"));
}

static void bad_options(_unused_ void **state)
{
    char message[256];
    const char *bad[] = {"127.0.0.1", "http://", "https://127.0.0.1:2379", "unix://relative",
                         "http://127.0.0.1:2379/path"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct etcd_options o = {.endpoints = &bad[i], .n_endpoints = 1};
        assert_null(etcd_open(&o, message, sizeof(message)));
        assert_non_null(strstr(message, bad[i]));
    }
    struct etcd_options none = {.n_endpoints = 0};
    assert_null(etcd_open(&none, message, sizeof(message)));
}

#define WITH_ETCD(test)    cmocka_unit_test_setup_teardown(test, run_setup, run_teardown)
#define WITH_MEMBERS(test) cmocka_unit_test_setup_teardown(test, run_setup3, run_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_options),   WITH_ETCD(leases),
        WITH_ETCD(deadlines_and_cancel), WITH_MEMBERS(failover),
        WITH_ETCD(authentication),       cmocka_unit_test_teardown(tls, run_teardown),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return RUN_TESTS(tests);
}
