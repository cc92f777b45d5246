/*
 * The etcd client against real etcd processes. Run by tests/integration/etcd.t in a network
 * namespace of its own (fixed ports, therefore) with a directory for the members' data.
 */
#include "lib/test.h"

#include <errno.h>
#include <signal.h>

#include "base/loop.h"
#include "base/strbuf.h"
#include "etcd-client/etcd.h"
#include "lib/etcd-members.h"

struct run {
    struct members members;
    struct etcd *etcd;
    /* the last answer */
    int code;
    char message[256];
    bool answered, more, succeeded;
    int64_t revision, count, lease, ttl, first_mod;
    size_t n, n_responses;
    char first[64], value[64], last_key[64], version[32];
    /* watches and keepers */
    int64_t sum, events, last_revision, progress, want;
    int ended, created, lost;
    size_t largest, bytes;
};

static void copy(char *out, size_t size, struct etcd_bytes b)
{
    (void)snprintf(out, size, "%.*s", (int)b.len, b.data ? (const char *)b.data : "");
}

static void on_reply(void *arg, int code, const char *message, const struct etcd_reply *reply)
{
    struct run *r = arg;
    r->answered = true;
    r->code = code;
    r->n = 0;
    (void)snprintf(r->message, sizeof(r->message), "%s", message);
    if (reply) {
        r->revision = reply->revision;
        r->count = reply->count;
        r->more = reply->more;
        r->succeeded = reply->succeeded;
        r->n = reply->n;
        r->n_responses = reply->n_responses;
        r->lease = reply->lease;
        r->ttl = reply->ttl;
        r->first[0] = r->value[0] = '\0';
        const struct etcd_reply *in = reply->n_responses ? &reply->responses[0] : reply;
        if (in->n > 0) {
            copy(r->first, sizeof(r->first), in->kvs[0].key);
            copy(r->value, sizeof(r->value), in->kvs[0].value);
            copy(r->last_key, sizeof(r->last_key), in->kvs[in->n - 1].key);
            r->first_mod = in->kvs[0].mod_revision;
        }
        (void)snprintf(r->version, sizeof(r->version), "%s", reply->version ? reply->version : "");
    }
    etcd_stop(r->etcd, 0);
}

static int wait_reply(struct run *r)
{
    r->answered = false;
    while (!r->answered)
        assert_int_equal(etcd_run(r->etcd), 0);
    return r->code;
}

static int put(struct run *r, const char *key, const char *value)
{
    struct etcd_put p = {.key = ETCD_STR(key), .value = ETCD_STR(value), .prev = true};
    (void)etcd_put(r->etcd, &p, 0, on_reply, r);
    return wait_reply(r);
}

static int range(struct run *r, struct etcd_range range)
{
    (void)etcd_range(r->etcd, &range, 0, on_reply, r);
    return wait_reply(r);
}

static int get(struct run *r, const char *key)
{
    return range(r, (struct etcd_range){.key = ETCD_STR(key)});
}

static int txn(struct run *r, const struct etcd_txn *t)
{
    (void)etcd_txn(r->etcd, t, 0, on_reply, r);
    return wait_reply(r);
}

static void connect_to(struct run *r, const struct etcd_options *options)
{
    char message[256] = "";
    r->etcd = etcd_open(options, message, sizeof(message));
    if (!r->etcd)
        fail_msg("%s", message);
}

static int setup_n(void **state, int n)
{
    struct run *r = mem_zalloc(sizeof(*r));
    members_start(&r->members, n, NULL);
    const char *urls[MEMBERS_MAX];
    for (int i = 0; i < n; i++)
        urls[i] = r->members.m[i].url;
    connect_to(r, &(struct etcd_options){.endpoints = urls, .n_endpoints = (size_t)n});
    *state = r;
    struct etcd_range any = {.key = ETCD_STR("x")};
    (void)etcd_range(r->etcd, &any, 30000, on_reply, r);
    return wait_reply(r);
}

static int setup(void **state)
{
    return setup_n(state, 1);
}

static int setup3(void **state)
{
    return setup_n(state, 3);
}

static int teardown(void **state)
{
    struct run *r = *state;
    r->etcd = etcd_free(r->etcd);
    members_end(&r->members);
    free(r);
    return 0;
}

/* ---- KV ---- */
static void ranges(void **state)
{
    struct run *r = *state;
    assert_int_equal(put(r, "a/1", "one"), 0);
    assert_int_equal(r->n, 0);
    int64_t first = r->revision;
    assert_int_equal(put(r, "a/2", "two"), 0);
    assert_int_equal(put(r, "a/1", "uno"), 0);
    assert_int_equal(r->n, 1); /* what was before */
    assert_string_equal(r->value, "one");
    assert_int_equal(put(r, "b", "bee"), 0);

    assert_int_equal(get(r, "a/1"), 0);
    assert_string_equal(r->value, "uno");
    assert_int_equal(get(r, "nothing"), 0);
    assert_int_equal(r->n, 0);
    struct etcd_range all = {.key = ETCD_STR("a/"), .prefix = true};
    assert_int_equal(range(r, all), 0);
    assert_int_equal(r->n, 2);
    all.limit = 1;
    assert_int_equal(range(r, all), 0);
    assert_int_equal(r->n, 1);
    assert_true(r->more);
    assert_int_equal(r->count, 2);
    all.limit = 0;
    all.order = ETCD_DESCENDING;
    all.target = ETCD_BY_MOD;
    all.keys_only = true;
    assert_int_equal(range(r, all), 0);
    assert_string_equal(r->first, "a/1");
    assert_string_equal(r->value, "");
    assert_int_equal(range(r, (struct etcd_range){.prefix = true, .count_only = true}), 0);
    assert_int_equal(r->count, 3);
    assert_int_equal(r->n, 0);
    struct etcd_range half_open = {.key = ETCD_STR("a/2"), .end = ETCD_STR("c")};
    assert_int_equal(range(r, half_open), 0);
    assert_int_equal(r->n, 2);
    struct etcd_range then = {.key = ETCD_STR("a/1"), .revision = first};
    assert_int_equal(range(r, then), 0);
    assert_string_equal(r->value, "one");
    then.revision = 1000000;
    assert_int_equal(range(r, then), ETCD_E_FUTURE);

    struct etcd_delete del = {.key = ETCD_STR("a/"), .prefix = true, .prev = true};
    (void)etcd_delete(r->etcd, &del, 0, on_reply, r);
    assert_int_equal(wait_reply(r), 0);
    assert_int_equal(r->count, 2);
    assert_int_equal(r->n, 2);
    assert_string_equal(r->value, "uno");
    assert_int_equal(put(r, "", "x"), -EINVAL);
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
    assert_int_equal(txn(r, &t), 0);
    assert_int_equal(r->n_responses, r->succeeded ? 1 : 0);
    return r->succeeded;
}

static void compares(void **state)
{
    struct run *r = *state;
    struct etcd_bytes k = ETCD_STR("k");
    assert_int_equal(put(r, "k", "v1"), 0);
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
    assert_int_equal(put(r, "kk", "v2"), 0);
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
    assert_int_equal(txn(r, &t), 0);
    assert_true(r->succeeded);
    int64_t mod = r->revision;
    assert_int_equal(txn(r, &t), 0);
    assert_false(r->succeeded);
    assert_string_equal(r->value, "v1");
    assert_int_equal(r->first_mod, mod);

    struct etcd_op ops[] = {
        {.kind = ETCD_OP_DELETE, .del = {.key = k, .prev = true}},
        {.kind = ETCD_OP_PUT, .put = {.key = ETCD_STR("k2"), .value = ETCD_STR("x")}},
        {.kind = ETCD_OP_RANGE, .range = {.key = ETCD_STR("k2")}},
    };
    struct etcd_txn several = {NULL, 0, ops, NULL, 3, 0};
    assert_int_equal(txn(r, &several), 0);
    assert_int_equal(r->n_responses, 3);
    assert_string_equal(r->value, "v1");
    struct etcd_op twice[] = {ops[1], ops[1]};
    struct etcd_txn bad = {NULL, 0, twice, NULL, 2, 0};
    assert_int_equal(txn(r, &bad), -EINVAL);
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
        assert_int_equal(txn(r, &t), 0);
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
        assert_int_equal(range(r, page), 0);
        if (pages++ == 0) {
            page.revision = r->revision;
            fill(r, 10000, 10100, "p/"); /* does not show at that revision */
            assert_int_equal(range(r, page), 0);
        }
        total += r->n;
        (void)snprintf(from, sizeof(from), "%s!", r->last_key); /* '!' sorts before any digit */
    } while (r->more);
    assert_int_equal(total, 10000);
    assert_int_equal(pages, 20);
}

/* ---- watches ---- */
static void on_created(void *arg, _unused_ int64_t revision)
{
    struct run *r = arg;
    r->created++;
    etcd_stop(r->etcd, 0);
}

static int64_t number(struct etcd_bytes b)
{
    char text[16];
    copy(text, sizeof(text), b);
    return strtol(text, NULL, 10);
}

static void on_events(void *arg, const struct etcd_event *events, size_t n, int64_t revision)
{
    struct run *r = arg;
    assert_true(n > 0);
    assert_int_equal(events[n - 1].kv.mod_revision, revision);
    for (size_t i = 0; i < n; i++) {
        if (i == 0) /* a revision is never split */
            assert_true(events[i].kv.mod_revision > r->last_revision);
        else
            assert_true(events[i].kv.mod_revision >= r->last_revision);
        r->last_revision = events[i].kv.mod_revision;
        r->bytes += events[i].kv.value.len;
        r->events++;
        if (events[i].deleted)
            copy(r->first, sizeof(r->first), events[i].prev.value);
        else
            r->sum += number(events[i].kv.value);
    }
    if (n > r->largest)
        r->largest = n;
    if (r->events >= r->want)
        etcd_stop(r->etcd, 0);
}

static void on_progress(void *arg, int64_t revision)
{
    struct run *r = arg;
    r->progress = revision;
    etcd_stop(r->etcd, 0);
}

static void on_end(void *arg, int code, const char *message)
{
    struct run *r = arg;
    r->ended = code;
    (void)snprintf(r->message, sizeof(r->message), "%s", message);
    etcd_stop(r->etcd, 0);
}

static const struct etcd_watch_events watch_events = {on_created, on_events, on_progress, on_end};

static struct etcd_watch *watch(struct run *r, const struct etcd_watch_request *request)
{
    r->events = r->sum = r->last_revision = r->want = 0;
    r->created = r->ended = 0;
    r->bytes = r->largest = 0;
    return etcd_watch(r->etcd, request, &watch_events, r);
}

static void wait_events(struct run *r, int64_t n)
{
    r->want = n;
    while (r->events < n)
        assert_int_equal(etcd_run(r->etcd), 0);
}

static void wait_created(struct run *r)
{
    while (r->created == 0 && !r->ended)
        assert_int_equal(etcd_run(r->etcd), 0);
}

static int wait_end(struct run *r)
{
    while (!r->ended)
        assert_int_equal(etcd_run(r->etcd), 0);
    return r->ended;
}

static void watches(void **state)
{
    struct run *r = *state;
    assert_int_equal(put(r, "w/a", "1"), 0);
    int64_t first = r->revision;
    struct etcd_watch_request request = {.key = ETCD_STR("w/"), .prefix = true, .prev = true};
    struct etcd_watch *w = watch(r, &request);
    wait_created(r);
    assert_int_equal(put(r, "w/a", "2"), 0);
    assert_int_equal(put(r, "other", "100"), 0);
    assert_int_equal(put(r, "w/b", "3"), 0);
    wait_events(r, 2);
    assert_int_equal(r->sum, 5);
    struct etcd_delete del = {.key = ETCD_STR("w/a")};
    (void)etcd_delete(r->etcd, &del, 0, on_reply, r);
    wait_events(r, 3);
    assert_string_equal(r->first, "2"); /* the value before */
    etcd_watch_cancel(w);

    /* from a revision in the past, and with a filter */
    request.start_revision = first;
    w = watch(r, &request);
    wait_events(r, 4);
    assert_int_equal(r->sum, 6);
    etcd_watch_cancel(w);
    request.no_put = true;
    w = watch(r, &request);
    wait_events(r, 1);
    assert_string_equal(r->first, "2");
    etcd_watch_pause(w, true);
    (void)etcd_delete(r->etcd, &(struct etcd_delete){.key = ETCD_STR("w/b")}, 0, on_reply, r);
    assert_int_equal(wait_reply(r), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(get(r, "w/a"), 0);
    assert_int_equal(r->events, 1);
    etcd_watch_pause(w, false);
    wait_events(r, 2);
    etcd_watch_cancel(w);
}

static void watch_gets_a_transaction_at_once(void **state)
{
    struct run *r = *state;
    struct etcd_watch_request request = {.key = ETCD_STR("t/"), .prefix = true};
    struct etcd_watch *w = watch(r, &request);
    wait_created(r);
    fill(r, 0, 300, "t/");
    wait_events(r, 300);
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
        (void)etcd_put(r->etcd, &p, 0, on_reply, r);
        assert_int_equal(wait_reply(r), 0);
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
        assert_int_equal(txn(r, &t), 0);
    }
    struct etcd_watch_request request = {
        .key = ETCD_STR("big"), .prefix = true, .start_revision = first};
    struct etcd_watch *w = watch(r, &request);
    wait_events(r, 90);
    assert_int_equal(r->events, 90);
    assert_int_equal(r->bytes, 90 * len);
    assert_int_equal(r->created, 1);
    etcd_watch_cancel(w);
    /* a value that etcd refuses */
    struct etcd_put refused = {.key = ETCD_STR("big"), .value = {big, 2 << 20}};
    (void)etcd_put(r->etcd, &refused, 0, on_reply, r);
    assert_int_equal(wait_reply(r), -EMSGSIZE);
}

static void watch_survives_a_killed_etcd(void **state)
{
    struct run *r = *state;
    assert_int_equal(put(r, "s/0", "0"), 0);
    struct etcd_watch_request request = {
        .key = ETCD_STR("s/"), .prefix = true, .start_revision = r->revision + 1};
    struct etcd_watch *w = watch(r, &request);
    int64_t written = 0, expected = 0;
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < 20; i++) {
            char value[16];
            (void)snprintf(value, sizeof(value), "%d", i);
            assert_int_equal(put(r, "s/k", value), 0);
            written++;
            expected += i;
        }
        if (round == 1)
            wait_events(r, written);
        members_kill(&r->members, 0);
        members_restart(&r->members, 0);
        struct etcd_range any = {.key = ETCD_STR("x")};
        (void)etcd_range(r->etcd, &any, 20000, on_reply, r);
        assert_int_equal(wait_reply(r), 0);
    }
    wait_events(r, written);
    assert_int_equal(r->events, written);
    assert_int_equal(r->sum, expected);
    assert_int_equal(r->ended, 0);
    etcd_watch_cancel(w);
}

static void compaction(void **state)
{
    struct run *r = *state;
    assert_int_equal(put(r, "c", "1"), 0);
    int64_t first = r->revision;
    for (int i = 0; i < 5; i++)
        assert_int_equal(put(r, "c", "2"), 0);
    int64_t last = r->revision;
    (void)etcd_compact(r->etcd, last, true, 0, on_reply, r);
    assert_int_equal(wait_reply(r), 0);
    (void)etcd_compact(r->etcd, last, true, 0, on_reply, r);
    assert_int_equal(wait_reply(r), ETCD_E_COMPACTED);
    (void)etcd_compact(r->etcd, last + 100, true, 0, on_reply, r);
    assert_int_equal(wait_reply(r), ETCD_E_FUTURE);
    struct etcd_range old = {.key = ETCD_STR("c"), .revision = first};
    assert_int_equal(range(r, old), ETCD_E_COMPACTED);
    struct etcd_watch_request request = {.key = ETCD_STR("c"), .start_revision = first};
    (void)watch(r, &request);
    assert_int_equal(wait_end(r), ETCD_E_COMPACTED);
    assert_int_equal(r->events, 0);
}

static void progress_is_exact_or_not_given(void **state)
{
    struct run *r = *state;
    struct etcd_watch_request request = {.key = ETCD_STR("none")};
    struct etcd_watch *w = watch(r, &request);
    wait_created(r);
    assert_int_equal(put(r, "elsewhere", "1"), 0);
    int64_t now = r->revision;
    (void)etcd_status(r->etcd, 0, on_reply, r);
    assert_int_equal(wait_reply(r), 0);
    unsigned minor = 0, patch = 0;
    assert_int_equal(sscanf(r->version, "3.%u.%u", &minor, &patch), 2);
    bool exact = (minor == 4 && patch >= 25) || (minor == 5 && patch >= 8) || minor >= 6;
    etcd_watch_progress(w);
    for (int i = 0; i < 20 && r->progress == 0; i++)
        assert_int_equal(get(r, "elsewhere"), 0);
    assert_int_equal(r->progress, exact ? now : 0);
    etcd_watch_cancel(w);
}

/* ---- leases ---- */
static void on_lost(void *arg, int code, _unused_ const char *message)
{
    struct run *r = arg;
    r->lost = code;
    etcd_stop(r->etcd, 0);
}

static int grant(struct run *r, int64_t id, int64_t ttl)
{
    (void)etcd_lease_grant(r->etcd, id, ttl, 0, on_reply, r);
    return wait_reply(r);
}

static int put_leased(struct run *r, const char *key, int64_t lease)
{
    struct etcd_put p = {.key = ETCD_STR(key), .value = ETCD_STR("x"), .lease = lease};
    (void)etcd_put(r->etcd, &p, 0, on_reply, r);
    return wait_reply(r);
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
    struct etcd_watch *w = watch(r, &request);
    wait_events(r, 1);
    assert_string_equal(r->first, "x"); /* it was deleted */
    /* the kept one outlives its time, also over a restart */
    members_kill(&r->members, 0);
    members_restart(&r->members, 0);
    uint64_t until = now_ms() + 8000;
    while (now_ms() < until) {
        assert_int_equal(get(r, "l/kept"), 0);
        assert_int_equal(r->n, 1);
    }
    (void)etcd_lease_ttl(r->etcd, 77, true, 0, on_reply, r);
    assert_int_equal(wait_reply(r), 0);
    assert_in_range(r->ttl, 0, 4);
    assert_int_equal(r->n, 1);
    assert_string_equal(r->first, "l/kept");
    assert_int_equal(r->lost, 0);
    (void)etcd_lease_revoke(r->etcd, 77, 0, on_reply, r);
    assert_int_equal(wait_reply(r), 0);
    assert_int_equal(get(r, "l/kept"), 0);
    assert_int_equal(r->n, 0);
    while (r->lost == 0)
        assert_int_equal(etcd_run(r->etcd), 0);
    assert_int_equal(r->lost, ETCD_E_NOT_FOUND);
    assert_non_null(keeper);
    (void)etcd_lease_ttl(r->etcd, 77, false, 0, on_reply, r);
    assert_int_equal(wait_reply(r), ETCD_E_NOT_FOUND);
    etcd_watch_cancel(w);
}

/* ---- failures ---- */
static void deadlines_and_cancel(void **state)
{
    struct run *r = *state;
    assert_int_equal(put(r, "d", "1"), 0);
    members_signal(&r->members, 0, SIGSTOP);
    uint64_t start = now_ms();
    struct etcd_range one = {.key = ETCD_STR("d")};
    struct etcd_call *given_up = etcd_range(r->etcd, &one, 0, on_reply, NULL);
    (void)etcd_range(r->etcd, &one, 500, on_reply, r);
    etcd_cancel(given_up);
    assert_int_equal(wait_reply(r), -ETIMEDOUT);
    assert_in_range(now_ms() - start, 400, 3000);
    members_signal(&r->members, 0, SIGCONT);
    assert_int_equal(get(r, "d"), 0);

    members_kill(&r->members, 0);
    start = now_ms();
    (void)etcd_range(r->etcd, &one, 1000, on_reply, r);
    assert_int_equal(wait_reply(r), -ECONNREFUSED);
    assert_in_range(now_ms() - start, 700, 4000);
    struct etcd_put p = {.key = ETCD_STR("d"), .value = ETCD_STR("2")};
    (void)etcd_put(r->etcd, &p, 1000, on_reply, r);
    assert_int_equal(wait_reply(r), -ECONNREFUSED);
    /* a call made while it is away is served when it comes back in time */
    (void)etcd_put(r->etcd, &p, 20000, on_reply, r);
    members_restart(&r->members, 0);
    assert_int_equal(wait_reply(r), 0);
}

static void failover(void **state)
{
    struct run *r = *state;
    assert_int_equal(put(r, "f", "0"), 0);
    struct etcd_watch_request request = {.key = ETCD_STR("f"), .start_revision = r->revision + 1};
    struct etcd_watch *w = watch(r, &request);
    wait_created(r);
    int64_t acknowledged = 0;
    for (int victim = 0; victim < 3; victim++) {
        char used[64];
        (void)snprintf(used, sizeof(used), "%s", etcd_endpoint(r->etcd));
        int index = members_index(&r->members, used);
        if (victim == 1)
            members_signal(&r->members, index, SIGSTOP); /* hangs instead of dying */
        else
            members_kill(&r->members, index);
        uint64_t start = now_ms();
        assert_int_equal(get(r, "f"), 0);
        assert_true(now_ms() - start < 9500);
        assert_string_not_equal(etcd_endpoint(r->etcd), used);
        int64_t before = acknowledged;
        for (int i = 0; i < 10; i++) /* an election may be under way */
            if (put(r, "f", "1") == 0)
                acknowledged++;
        assert_true(acknowledged > before);
        if (victim == 1)
            members_signal(&r->members, index, SIGCONT);
        else
            members_restart(&r->members, index);
    }
    uint64_t until = now_ms() + 20000;
    while (r->events < acknowledged && now_ms() < until)
        (void)get(r, "f");
    assert_true(r->events >= acknowledged);
    assert_int_equal(r->sum, r->events);
    assert_int_equal(r->ended, 0);
    etcd_watch_cancel(w);
}

static void authentication(void **state)
{
    struct run *r = *state;
    const struct members *m = &r->members;
    assert_int_equal(put(r, "mine/a", "1"), 0);
    assert_int_equal(put(r, "theirs/a", "1"), 0);
    members_ctl(m, "user", "add", "root:secret", NULL);
    members_ctl(m, "user", "add", "ann:pencil", NULL);
    members_ctl(m, "user", "grant-role", "root", "root", NULL);
    members_ctl(m, "role", "add", "mine", NULL);
    members_ctl(m, "role", "grant-permission", "mine", "readwrite", "mine/", "mine0", NULL);
    members_ctl(m, "user", "grant-role", "ann", "mine", NULL);
    members_ctl(m, "auth", "enable", NULL);
    assert_int_equal(get(r, "mine/a"), -EPERM);
    r->etcd = etcd_free(r->etcd);

    const char *urls[] = {m->m[0].url};
    struct etcd_options ann = {
        .endpoints = urls, .n_endpoints = 1, .user = "ann", .password = "pencil"};
    connect_to(r, &ann);
    assert_int_equal(get(r, "mine/a"), 0);
    assert_int_equal(r->n, 1);
    assert_int_equal(get(r, "theirs/a"), -EACCES);
    struct etcd_watch_request request = {.key = ETCD_STR("mine/"), .prefix = true};
    struct etcd_watch *w = watch(r, &request);
    wait_created(r);
    /* tokens do not survive a restart: the client gets a new one */
    members_kill(&r->members, 0);
    members_restart(&r->members, 0);
    int code = -EAGAIN;
    for (int i = 0; i < 20 && code != 0; i++)
        code = put(r, "mine/a", "5");
    assert_int_equal(code, 0);
    wait_events(r, 1);
    assert_int_equal(r->sum % 5, 0);
    etcd_watch_cancel(w);
    request.key = ETCD_STR("theirs/");
    (void)watch(r, &request);
    assert_int_equal(wait_end(r), -EACCES);
    r->etcd = etcd_free(r->etcd);

    ann.password = "wrong";
    connect_to(r, &ann);
    assert_int_equal(get(r, "mine/a"), -EPERM);
    request.key = ETCD_STR("mine/");
    (void)watch(r, &request);
    assert_int_equal(wait_end(r), -EPERM);
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

#define WITH_ETCD(test)    cmocka_unit_test_setup_teardown(test, setup, teardown)
#define WITH_MEMBERS(test) cmocka_unit_test_setup_teardown(test, setup3, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes),
        cmocka_unit_test(bad_options),
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
        WITH_ETCD(leases),
        WITH_ETCD(deadlines_and_cancel),
        WITH_MEMBERS(failover),
        WITH_ETCD(authentication),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return RUN_TESTS(tests);
}
