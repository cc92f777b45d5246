/*
 * The etcd client against a real etcd: keys, transactions, watches. Run by
 * tests/integration/etcd.t in a network namespace of its own (fixed ports, therefore) with a
 * directory for the members' data.
 */
#include "lib/test.h"

#include <errno.h>

#include "base/loop.h"
#include "base/strbuf.h"
#include "lib/etcd-run.h"

/* ---- KV ---- */
static void ranges(void **state)
{
    struct run *r = *state;
    assert_int_equal(run_put(r, "a/1", "one"), 0);
    assert_int_equal(r->n, 0);
    int64_t first = r->revision;
    assert_int_equal(run_put(r, "a/2", "two"), 0);
    assert_int_equal(run_put(r, "a/1", "uno"), 0);
    assert_int_equal(r->n, 1); /* what was before */
    assert_string_equal(r->value, "one");
    assert_int_equal(run_put(r, "b", "bee"), 0);

    assert_int_equal(run_get(r, "a/1"), 0);
    assert_string_equal(r->value, "uno");
    assert_int_equal(run_get(r, "nothing"), 0);
    assert_int_equal(r->n, 0);
    struct etcd_range all = {.key = ETCD_STR("a/"), .prefix = true};
    assert_int_equal(run_range(r, all), 0);
    assert_int_equal(r->n, 2);
    all.limit = 1;
    assert_int_equal(run_range(r, all), 0);
    assert_int_equal(r->n, 1);
    assert_true(r->more);
    assert_int_equal(r->count, 2);
    all.limit = 0;
    all.order = ETCD_DESCENDING;
    all.target = ETCD_BY_MOD;
    all.keys_only = true;
    assert_int_equal(run_range(r, all), 0);
    assert_string_equal(r->first, "a/1");
    assert_string_equal(r->value, "");
    assert_int_equal(run_range(r, (struct etcd_range){.prefix = true, .count_only = true}), 0);
    assert_int_equal(r->count, 3);
    assert_int_equal(r->n, 0);
    struct etcd_range half_open = {.key = ETCD_STR("a/2"), .end = ETCD_STR("c")};
    assert_int_equal(run_range(r, half_open), 0);
    assert_int_equal(r->n, 2);
    struct etcd_range then = {.key = ETCD_STR("a/1"), .revision = first};
    assert_int_equal(run_range(r, then), 0);
    assert_string_equal(r->value, "one");
    then.revision = 1000000;
    assert_int_equal(run_range(r, then), ETCD_E_FUTURE);

    struct etcd_delete del = {.key = ETCD_STR("a/"), .prefix = true, .prev = true};
    (void)etcd_delete(r->etcd, &del, 0, run_on_reply, r);
    assert_int_equal(run_wait(r), 0);
    assert_int_equal(r->count, 2);
    assert_int_equal(r->n, 2);
    assert_string_equal(r->value, "uno");
    assert_int_equal(run_put(r, "", "x"), -EINVAL);
}

static void prefixes(_unused_ void **state)
{
    uint8_t out[4];
    assert_int_equal(etcd_prefix_end(ETCD_STR("ab"), out), 2);
    assert_memory_equal(out, "ac", 2);
    assert_int_equal(etcd_prefix_end(ETCD_STR("a\xff\xff"), out), 1);
    assert_memory_equal(out, "b", 1);
    assert_int_equal(etcd_prefix_end(ETCD_STR("\xff"), out), 1);
    assert_memory_equal(out, "\0", 1);
}

static bool holds(struct run *r, struct etcd_compare c)
{
    struct etcd_op get_it = {.kind = ETCD_OP_RANGE, .range = {.key = c.key}};
    struct etcd_txn t = {&c, 1, &get_it, NULL, 1, 0};
    assert_int_equal(run_txn(r, &t), 0);
    assert_int_equal(r->n_responses, r->succeeded ? 1 : 0);
    return r->succeeded;
}

static void compares(void **state)
{
    struct run *r = *state;
    struct etcd_bytes k = ETCD_STR("k");
    assert_int_equal(run_put(r, "k", "v1"), 0);
    int64_t mod = r->revision;
    struct etcd_compare c = {.key = k, .target = ETCD_MOD, .number = mod};
    assert_true(holds(r, c));
    c.number = mod + 1;
    assert_false(holds(r, c));
    c.result = ETCD_LESS;
    assert_true(holds(r, c));
    assert_true(holds(r, (struct etcd_compare){.key = k, .target = ETCD_VERSION, .number = 1}));
    c = (struct etcd_compare){.key = k, .target = ETCD_VERSION, .result = ETCD_GREATER};
    assert_true(holds(r, c));
    assert_true(holds(r, (struct etcd_compare){.key = k, .target = ETCD_CREATE, .number = mod}));
    c = (struct etcd_compare){.key = k, .target = ETCD_VALUE, .value = ETCD_STR("v1")};
    assert_true(holds(r, c));
    c.result = ETCD_NOT_EQUAL;
    assert_false(holds(r, c));
    assert_true(holds(r, (struct etcd_compare){.key = k, .target = ETCD_LEASE, .number = 0}));
    /* over a range of keys */
    assert_int_equal(run_put(r, "kk", "v2"), 0);
    c = (struct etcd_compare){
        .key = k, .end = ETCD_STR("l"), .target = ETCD_MOD, .result = ETCD_LESS, .number = mod + 1};
    assert_false(holds(r, c));
}

static void transactions(void **state)
{
    struct run *r = *state;
    struct etcd_bytes k = ETCD_STR("k");
    struct etcd_compare absent = {.key = k, .target = ETCD_CREATE, .result = ETCD_EQUAL};
    struct etcd_op create = {.kind = ETCD_OP_PUT, .put = {.key = k, .value = ETCD_STR("v1")}};
    struct etcd_op look = {.kind = ETCD_OP_RANGE, .range = {.key = k}};
    struct etcd_txn t = {&absent, 1, &create, &look, 1, 1};
    assert_int_equal(run_txn(r, &t), 0);
    assert_true(r->succeeded);
    int64_t mod = r->revision;
    assert_int_equal(run_txn(r, &t), 0);
    assert_false(r->succeeded);
    assert_string_equal(r->value, "v1");
    assert_int_equal(r->first_mod, mod);

    struct etcd_op ops[] = {
        {.kind = ETCD_OP_DELETE, .del = {.key = k, .prev = true}},
        {.kind = ETCD_OP_PUT, .put = {.key = ETCD_STR("k2"), .value = ETCD_STR("x")}},
        {.kind = ETCD_OP_RANGE, .range = {.key = ETCD_STR("k2")}},
    };
    struct etcd_txn several = {NULL, 0, ops, NULL, 3, 0};
    assert_int_equal(run_txn(r, &several), 0);
    assert_int_equal(r->n_responses, 3);
    assert_string_equal(r->value, "v1");
    struct etcd_op twice[] = {ops[1], ops[1]};
    struct etcd_txn bad = {NULL, 0, twice, NULL, 2, 0};
    assert_int_equal(run_txn(r, &bad), -EINVAL);
    assert_non_null(strstr(r->message, "duplicate"));
}

static void fill(struct run *r, int from, int to, const char *prefix)
{
    char keys[100][32];
    struct etcd_op ops[100];
    for (int i = from; i < to;) {
        size_t n = 0;
        for (; n < 100 && i < to; n++, i++) {
            (void)snprintf(keys[n], sizeof(keys[n]), "%s%06d", prefix, i);
            ops[n] = (struct etcd_op){.kind = ETCD_OP_PUT,
                                      .put = {.key = ETCD_STR(keys[n]), .value = ETCD_STR("v")}};
        }
        struct etcd_txn t = {NULL, 0, ops, NULL, n, 0};
        assert_int_equal(run_txn(r, &t), 0);
    }
}

static void ten_thousand_keys_in_pages(void **state)
{
    struct run *r = *state;
    fill(r, 0, 10000, "p/");
    uint8_t end[2];
    struct etcd_range page = {.limit = 500};
    page.end = (struct etcd_bytes){end, etcd_prefix_end(ETCD_STR("p/"), end)};
    size_t total = 0;
    int pages = 0;
    char from[70] = "p/";
    do {
        page.key = ETCD_STR(from);
        assert_int_equal(run_range(r, page), 0);
        if (pages++ == 0) {
            page.revision = r->revision;
            fill(r, 10000, 10100, "p/"); /* does not show at that revision */
            assert_int_equal(run_range(r, page), 0);
        }
        total += r->n;
        (void)snprintf(from, sizeof(from), "%s!", r->last_key); /* '!' sorts before any digit */
    } while (r->more);
    assert_int_equal(total, 10000);
    assert_int_equal(pages, 20);
}

/* ---- watches ---- */
static void watches(void **state)
{
    struct run *r = *state;
    assert_int_equal(run_put(r, "w/a", "1"), 0);
    int64_t first = r->revision;
    struct etcd_watch_request request = {.key = ETCD_STR("w/"), .prefix = true, .prev = true};
    struct etcd_watch *w = run_watch(r, &request);
    run_wait_created(r);
    assert_int_equal(run_put(r, "w/a", "2"), 0);
    assert_int_equal(run_put(r, "other", "100"), 0);
    assert_int_equal(run_put(r, "w/b", "3"), 0);
    run_wait_events(r, 2);
    assert_int_equal(r->sum, 5);
    struct etcd_delete del = {.key = ETCD_STR("w/a")};
    (void)etcd_delete(r->etcd, &del, 0, run_on_reply, r);
    run_wait_events(r, 3);
    assert_string_equal(r->prev, "2"); /* the value before */
    etcd_watch_cancel(w);

    /* from a revision in the past, and with a filter */
    request.start_revision = first;
    w = run_watch(r, &request);
    run_wait_events(r, 4);
    assert_int_equal(r->sum, 6);
    etcd_watch_cancel(w);
    request.no_put = true;
    w = run_watch(r, &request);
    run_wait_events(r, 1);
    assert_string_equal(r->prev, "2");
    etcd_watch_pause(w, true);
    (void)etcd_delete(r->etcd, &(struct etcd_delete){.key = ETCD_STR("w/b")}, 0, run_on_reply, r);
    assert_int_equal(run_wait(r), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(run_get(r, "w/a"), 0);
    assert_int_equal(r->events, 1);
    etcd_watch_pause(w, false);
    run_wait_events(r, 2);
    etcd_watch_cancel(w);
}

static void watch_gets_a_transaction_at_once(void **state)
{
    struct run *r = *state;
    struct etcd_watch_request request = {.key = ETCD_STR("t/"), .prefix = true};
    struct etcd_watch *w = run_watch(r, &request);
    run_wait_created(r);
    fill(r, 0, 300, "t/");
    run_wait_events(r, 300);
    assert_true(r->largest >= 100);
    etcd_watch_cancel(w);
}

/* Far more than a message may hold, so that etcd has to send fragments. */
static void watch_catches_up_on_much(void **state)
{
    struct run *r = *state;
    size_t len = 400 << 10;
    _cleanup_free_ char *big = mem_zalloc(2 << 20);
    memset(big, 'x', 2 << 20);
    int64_t first = 0;
    for (int i = 0; i < 60; i++) {
        struct etcd_put p = {.key = ETCD_STR("big"), .value = {big, len}};
        (void)etcd_put(r->etcd, &p, 0, run_on_reply, r);
        assert_int_equal(run_wait(r), 0);
        if (i == 0)
            first = r->revision;
    }
    /* and revisions of several large pairs */
    static const char *const keys[] = {"big0", "big1", "big2"};
    struct etcd_op ops[3];
    for (size_t i = 0; i < 3; i++)
        ops[i] = (struct etcd_op){.kind = ETCD_OP_PUT,
                                  .put = {.key = ETCD_STR(keys[i]), .value = {big, len}}};
    for (int i = 0; i < 10; i++) {
        struct etcd_txn t = {NULL, 0, ops, NULL, 3, 0};
        assert_int_equal(run_txn(r, &t), 0);
    }
    struct etcd_watch_request request = {
        .key = ETCD_STR("big"), .prefix = true, .start_revision = first};
    struct etcd_watch *w = run_watch(r, &request);
    run_wait_events(r, 90);
    assert_int_equal(r->events, 90);
    assert_int_equal(r->bytes, 90 * len);
    assert_int_equal(r->created, 1);
    etcd_watch_cancel(w);
    /* a value that etcd refuses */
    struct etcd_put refused = {.key = ETCD_STR("big"), .value = {big, 2 << 20}};
    (void)etcd_put(r->etcd, &refused, 0, run_on_reply, r);
    assert_int_equal(run_wait(r), -EMSGSIZE);
}

static void watch_survives_a_killed_etcd(void **state)
{
    struct run *r = *state;
    assert_int_equal(run_put(r, "s/0", "0"), 0);
    struct etcd_watch_request request = {
        .key = ETCD_STR("s/"), .prefix = true, .start_revision = r->revision + 1};
    struct etcd_watch *w = run_watch(r, &request);
    int64_t written = 0, expected = 0;
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < 20; i++) {
            char value[16];
            (void)snprintf(value, sizeof(value), "%d", i);
            assert_int_equal(run_put(r, "s/k", value), 0);
            written++;
            expected += i;
        }
        if (round == 1)
            run_wait_events(r, written);
        members_kill(&r->members, 0);
        members_restart(&r->members, 0);
        struct etcd_range any = {.key = ETCD_STR("x")};
        (void)etcd_range(r->etcd, &any, 20000, run_on_reply, r);
        assert_int_equal(run_wait(r), 0);
    }
    run_wait_events(r, written);
    assert_int_equal(r->events, written);
    assert_int_equal(r->sum, expected);
    assert_int_equal(r->ended, 0);
    etcd_watch_cancel(w);
}

static void compaction(void **state)
{
    struct run *r = *state;
    assert_int_equal(run_put(r, "c", "1"), 0);
    int64_t first = r->revision;
    for (int i = 0; i < 5; i++)
        assert_int_equal(run_put(r, "c", "2"), 0);
    int64_t last = r->revision;
    (void)etcd_compact(r->etcd, last, true, 0, run_on_reply, r);
    assert_int_equal(run_wait(r), 0);
    (void)etcd_compact(r->etcd, last, true, 0, run_on_reply, r);
    assert_int_equal(run_wait(r), ETCD_E_COMPACTED);
    (void)etcd_compact(r->etcd, last + 100, true, 0, run_on_reply, r);
    assert_int_equal(run_wait(r), ETCD_E_FUTURE);
    struct etcd_range old = {.key = ETCD_STR("c"), .revision = first};
    assert_int_equal(run_range(r, old), ETCD_E_COMPACTED);
    struct etcd_watch_request request = {.key = ETCD_STR("c"), .start_revision = first};
    (void)run_watch(r, &request);
    assert_int_equal(run_wait_end(r), ETCD_E_COMPACTED);
    assert_int_equal(r->events, 0);
}

static void progress_is_exact_or_not_given(void **state)
{
    struct run *r = *state;
    struct etcd_watch_request request = {.key = ETCD_STR("none")};
    struct etcd_watch *w = run_watch(r, &request);
    run_wait_created(r);
    assert_int_equal(run_put(r, "elsewhere", "1"), 0);
    int64_t now = r->revision;
    (void)etcd_status(r->etcd, 0, run_on_reply, r);
    assert_int_equal(run_wait(r), 0);
    assert_memory_equal(r->version, "3.", 2);
    char *rest;
    unsigned long minor = strtoul(r->version + 2, &rest, 10), patch = strtoul(rest + 1, NULL, 10);
    bool exact = (minor == 4 && patch >= 25) || (minor == 5 && patch >= 8) || minor >= 6;
    etcd_watch_progress(w);
    for (int i = 0; i < 20 && r->progress == 0; i++)
        assert_int_equal(run_get(r, "elsewhere"), 0);
    assert_int_equal(r->progress, exact ? now : 0);
    etcd_watch_cancel(w);
}

#define WITH_ETCD(test) cmocka_unit_test_setup_teardown(test, run_setup, run_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes),
        WITH_ETCD(ranges),
        WITH_ETCD(compares),
        WITH_ETCD(transactions),
        WITH_ETCD(ten_thousand_keys_in_pages),
        WITH_ETCD(watches),
        WITH_ETCD(watch_gets_a_transaction_at_once),
        WITH_ETCD(watch_catches_up_on_much),
        WITH_ETCD(watch_survives_a_killed_etcd),
        WITH_ETCD(compaction),
        WITH_ETCD(progress_is_exact_or_not_given),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return RUN_TESTS(tests);
}
