/*
 * The store of the API server over a real etcd. Run by tests/integration/store.t, like etcd-test.
 */
#include "lib/test.h"

#include <errno.h>

#include "apiserver/store/store_etcd.h"
#include "base/strbuf.h"
#include "lib/etcd-members.h"

struct seen { /* by one watch */
    struct run *run;
    int events, deleted, ended, progresses;
    int64_t last, progress;
    char keys[1024], prev[64];
};

struct run {
    struct members members;
    struct loop *loop;
    struct rpc *rpc;
    struct store *store;
    struct loop_timer limit;
    bool answered, more;
    int code, pages;
    size_t n, total;
    int64_t revision, mod, count;
    char key[64], value[64], message[256];
    struct seen w[4];
};

static void on_limit(void *arg)
{
    struct run *r = arg;
    loop_stop(r->loop, 1);
}

static void turn(struct run *r)
{
    loop_timer_set(&r->limit, 30000);
    assert_int_equal(loop_run(r->loop), 0);
    loop_timer_stop(&r->limit);
}

static int wait_reply(struct run *r)
{
    r->answered = false;
    while (!r->answered)
        turn(r);
    return r->code;
}

static void note(struct run *r, const struct store_kv *kv)
{
    (void)snprintf(r->key, sizeof(r->key), "%s", kv && kv->key ? kv->key : "");
    (void)snprintf(r->value, sizeof(r->value), "%.*s", kv ? (int)kv->len : 0,
                   kv && kv->value ? (const char *)kv->value : "");
    r->mod = kv ? kv->mod_revision : 0;
}

static void answer(struct run *r, int code, const struct error *err)
{
    r->code = code;
    r->answered = true;
    (void)snprintf(r->message, sizeof(r->message), "%s", err ? error_text(err) : "");
    loop_stop(r->loop, 0);
}

static void on_txn(void *arg, int code, const struct store_txn_result *result,
                   const struct error *err)
{
    struct run *r = arg;
    assert_true(code < 0 || result);
    if (result) {
        note(r, result->n ? &result->kvs[0] : NULL);
        r->revision = result->revision;
        r->n = result->n;
    }
    answer(r, code, err);
}

static void on_range(void *arg, int code, const struct store_range_result *result,
                     const struct error *err)
{
    struct run *r = arg;
    r->more = false;
    if (result) {
        if (r->pages++ == 0)
            r->revision = result->revision;
        assert_int_equal(result->revision, r->revision);
        r->n = result->n;
        r->total += result->n;
        r->count = result->count;
        r->more = result->more;
        note(r, result->n ? &result->kvs[0] : NULL);
    }
    if (code != 0 || !r->more)
        answer(r, code, err);
}

static void on_revision(void *arg, int code, int64_t revision, const struct error *err)
{
    struct run *r = arg;
    r->revision = revision;
    answer(r, code, err);
}

static struct store *open_store(struct run *r, uint64_t compact_interval_s)
{
    const char *urls[] = {r->members.m[0].url};
    struct store_etcd_options o = {
        .endpoints = urls, .n_endpoints = 1, .compact_interval_s = compact_interval_s};
    struct error err = ERROR_INIT;
    struct store *store = store_etcd_new(r->loop, r->rpc, &o, &err);
    assert_non_null(store);
    return store;
}

static int setup(void **state)
{
    struct run *r = mem_zalloc(sizeof(*r));
    r->loop = loop_new();
    loop_timer_init(&r->limit, r->loop, "limit", on_limit, r);
    struct error err = ERROR_INIT;
    r->rpc = rpc_new(r->loop, &err);
    assert_non_null(r->rpc);
    members_start(&r->members, 1, NULL);
    r->store = open_store(r, 0);
    *state = r;
    do
        (void)store_revision(r->store, on_revision, r);
    while (wait_reply(r) != 0);
    return 0;
}

static int teardown(void **state)
{
    struct run *r = *state;
    r->store = store_free(r->store);
    r->rpc = rpc_free(r->rpc);
    r->loop = loop_free(r->loop);
    members_end(&r->members);
    free(r);
    return 0;
}

static int create_ttl(struct run *r, const char *key, const char *value, uint64_t ttl)
{
    (void)store_create(r->store, key, value, strlen(value), ttl, on_txn, r);
    return wait_reply(r);
}

static int create(struct run *r, const char *key, const char *value)
{
    return create_ttl(r, key, value, 0);
}

static int update(struct run *r, const char *key, int64_t revision, const char *value)
{
    (void)store_update(r->store, key, revision, value, strlen(value), 0, on_txn, r);
    return wait_reply(r);
}

static int erase(struct run *r, const char *key, int64_t revision)
{
    (void)store_delete(r->store, key, revision, on_txn, r);
    return wait_reply(r);
}

static int range(struct run *r, struct store_range range)
{
    r->pages = 0;
    r->total = 0;
    (void)store_range(r->store, &range, on_range, r);
    r->answered = false;
    while (!r->answered) /* one page, whether more follow or not */
        turn(r);
    return r->code;
}

static int get(struct run *r, const char *key)
{
    return range(r, (struct store_range){.key = key});
}

/* ---- objects ---- */
static void life_of_an_object(void **state)
{
    struct run *r = *state;
    const char *key = "/registry/pods/default/web";
    assert_int_equal(get(r, key), STORE_E_NOT_FOUND);
    assert_true(r->revision > 0);
    assert_int_equal(create(r, key, "{1}"), 0);
    int64_t first = r->revision;
    assert_string_equal(r->key, "");
    assert_int_equal(create(r, key, "{2}"), STORE_E_EXISTS);
    assert_string_equal(r->value, "{1}");
    assert_int_equal(r->mod, first);
    assert_int_equal(update(r, key, first + 1, "{2}"), STORE_E_CONFLICT);
    assert_string_equal(r->value, "{1}");
    assert_int_equal(r->mod, first);
    assert_int_equal(update(r, key, first, "{2}"), 0);
    assert_string_equal(r->value, "{1}"); /* what was before */
    int64_t second = r->revision;
    assert_int_equal(get(r, key), 0);
    assert_string_equal(r->value, "{2}");
    assert_int_equal(r->mod, second);
    assert_int_equal(range(r, (struct store_range){.key = key, .revision = first}), 0);
    assert_string_equal(r->value, "{1}");
    assert_int_equal(range(r, (struct store_range){.key = key, .revision = 1 << 20}), -ERANGE);
    assert_int_equal(erase(r, key, first), STORE_E_CONFLICT);
    assert_int_equal(erase(r, key, second), 0);
    assert_string_equal(r->value, "{2}");
    assert_int_equal(erase(r, key, 0), STORE_E_NOT_FOUND);
    assert_int_equal(update(r, key, second, "{3}"), STORE_E_NOT_FOUND);
    assert_int_equal(create(r, key, "{3}"), 0);
    assert_int_equal(erase(r, key, 0), 0);
}

static void transactions_over_several_keys(void **state)
{
    struct run *r = *state;
    assert_int_equal(create(r, "/registry/ranges/serviceips", "map"), 0);
    int64_t at = r->revision;
    struct store_guard guards[] = {
        {.key = "/registry/ranges/serviceips", .compare = STORE_AT_REVISION, .revision = at},
        {.key = "/registry/services/specs/default/web", .compare = STORE_ABSENT},
        {.key = "/registry/namespaces/default", .compare = STORE_NOT_MODIFIED, .revision = at},
    };
    struct store_op ops[] = {
        {.action = STORE_PUT, .key = guards[0].key, .value = "map2", .len = 4},
        {.action = STORE_PUT, .key = guards[1].key, .value = "{}", .len = 2},
    };
    struct store_txn txn = {guards, 3, ops, 2};
    (void)store_txn(r->store, &txn, on_txn, r);
    assert_int_equal(wait_reply(r), 0);
    assert_int_equal(r->n, 2);
    assert_string_equal(r->value, "map");
    (void)store_txn(r->store, &txn, on_txn, r);
    assert_int_equal(wait_reply(r), STORE_E_CONFLICT);
    assert_int_equal(r->n, 3);
    assert_string_equal(r->value, "map2");
}

static void refusals(void **state)
{
    struct run *r = *state;
    assert_int_equal(get(r, "/other/key"), -EINVAL);
    assert_non_null(strstr(r->message, "/other/key"));
    assert_int_equal(create(r, "/registryx/key", "x"), -EINVAL);
    struct store_range wrong = {.key = "/registry/x", .revision = -1};
    assert_int_equal(range(r, wrong), -EINVAL);
    wrong.revision = INT64_MAX;
    assert_int_equal(range(r, wrong), -ERANGE);
    struct store_guard never = {
        .key = "/registry/x", .compare = STORE_NOT_MODIFIED, .revision = INT64_MAX};
    struct store_txn nothing = {.guards = &never, .n_guards = 1};
    (void)store_txn(r->store, &nothing, on_txn, r);
    assert_int_equal(wait_reply(r), 0);
    size_t len = STORE_VALUE_MAX + 1;
    _cleanup_free_ char *big = mem_zalloc(len);
    (void)store_create(r->store, "/registry/secrets/big", big, len, 0, on_txn, r);
    assert_int_equal(wait_reply(r), -EMSGSIZE);
    assert_non_null(strstr(r->message, "/registry/secrets/big"));
    /* a call that is given up does not call back */
    struct store_range one = {.key = "/registry/x"}, bad = {.key = "/x"};
    store_cancel(store_range(r->store, &one, on_range, NULL));
    store_cancel(store_range(r->store, &bad, on_range, NULL));
    store_cancel(store_create(r->store, "/registry/x", "x", 1, 0, on_txn, NULL));
    store_cancel(store_create(r->store, "/registry/y", "x", 1, 100, on_txn, NULL));
    assert_int_equal(get(r, "/registry/none"), STORE_E_NOT_FOUND);
}

static void foreign_forms(_unused_ void **state)
{
    struct error err = ERROR_INIT;
    struct store_kv kv = {.key = "/registry/secrets/a", .value = "k8s\0\n\0", .len = 6};
    assert_int_equal(store_value_check(&kv, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "/registry/secrets/a"));
    kv.value = "k8s:enc:aesgcm:v1:key1:xx";
    kv.len = strlen(kv.value);
    assert_int_equal(store_value_check(&kv, &err), -EBADMSG);
    kv.value = "{\"k8s\":1}";
    kv.len = 9;
    assert_int_equal(store_value_check(&kv, &err), 0);
}

static void lists_in_pages(void **state)
{
    struct run *r = *state;
    for (int i = 0; i < 1000; i += 100) {
        struct store_op ops[100];
        char keys[100][64];
        for (int j = 0; j < 100; j++) {
            (void)snprintf(keys[j], sizeof(keys[j]), "/registry/pods/default/p%04d", i + j);
            ops[j] = (struct store_op){
                .action = STORE_PUT, .key = keys[j], .value = keys[j], .len = strlen(keys[j])};
        }
        struct store_txn txn = {NULL, 0, ops, 100};
        (void)store_txn(r->store, &txn, on_txn, r);
        assert_int_equal(wait_reply(r), 0);
    }
    assert_int_equal(create(r, "/registry/podtemplates/default/x", "{}"), 0);
    struct store_range pods = {.key = "/registry/pods/"};
    r->pages = 0;
    r->total = 0;
    (void)store_list(r->store, &pods, 64, on_range, r);
    assert_int_equal(wait_reply(r), 0);
    assert_int_equal(r->total, 1000);
    assert_int_equal(r->pages, 16);
    r->pages = 0;
    r->total = 0;
    pods.from = "/registry/pods/default/p0990";
    (void)store_list(r->store, &pods, 3, on_range, r);
    assert_int_equal(wait_reply(r), 0);
    assert_int_equal(r->total, 10);
    assert_string_equal(r->key, "/registry/pods/default/p0999");
}

/* ---- watches ---- */
static void on_events(void *arg, const struct store_event *events, size_t n, int64_t revision)
{
    struct seen *w = arg;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(w->keys);
        assert_true(events[i].kv.mod_revision >= w->last);
        w->last = events[i].kv.mod_revision;
        w->events++;
        w->deleted += events[i].deleted;
        (void)snprintf(w->keys + len, sizeof(w->keys) - len, "%s%s ", events[i].deleted ? "-" : "",
                       strrchr(events[i].kv.key, '/') + 1);
        (void)snprintf(w->prev, sizeof(w->prev), "%.*s", (int)events[i].prev.len,
                       events[i].prev.key ? (const char *)events[i].prev.value : "");
    }
    assert_int_equal(w->last, revision);
    loop_stop(w->run->loop, 0);
}

static void on_progress(void *arg, int64_t revision)
{
    struct seen *w = arg;
    w->progresses++;
    w->progress = revision;
    loop_stop(w->run->loop, 0);
}

static void on_end(void *arg, int code, _unused_ const struct error *err)
{
    struct seen *w = arg;
    w->ended = code;
    loop_stop(w->run->loop, 0);
}

static const struct store_watch_events watch_events = {on_events, on_progress, on_end};

static struct store_watch *watch(struct run *r, int i, const char *prefix, int64_t revision)
{
    r->w[i] = (struct seen){.run = r};
    return store_watch(r->store, prefix, revision, &watch_events, &r->w[i]);
}

static void wait_events(struct run *r, int i, int n)
{
    while (r->w[i].events < n)
        turn(r);
}

static void watches_share_and_stay_current(void **state)
{
    struct run *r = *state;
    assert_int_equal(create(r, "/registry/pods/default/a", "1"), 0);
    int64_t first = r->revision;
    struct store_watch *pods = watch(r, 0, "/registry/pods/", first);
    assert_int_equal(create(r, "/registry/pods/default/b", "1"), 0);
    assert_int_equal(create(r, "/registry/nodes/n", "1"), 0);
    int64_t node = r->revision;
    wait_events(r, 0, 1);
    assert_string_equal(r->w[0].keys, "b ");
    /* one that begins earlier than the others stand */
    struct store_watch *all = watch(r, 1, "/registry/", first - 1);
    struct store_watch *nodes = watch(r, 2, "/registry/nodes/", node);
    wait_events(r, 1, 3);
    assert_string_equal(r->w[1].keys, "a b n ");
    assert_int_equal(update(r, "/registry/pods/default/a", first, "2"), 0);
    assert_int_equal(erase(r, "/registry/pods/default/a", 0), 0);
    int64_t last = r->revision;
    wait_events(r, 0, 3);
    wait_events(r, 1, 5);
    assert_string_equal(r->w[0].keys, "b a -a ");
    assert_string_equal(r->w[0].prev, "2");
    assert_string_equal(r->w[1].keys, "a b n a -a ");
    assert_int_equal(r->w[2].events, 0);
    /* nothing of nodes has changed, and yet they are current */
    store_watch_progress(nodes);
    while (r->w[2].progresses == 0)
        turn(r);
    assert_int_equal(r->w[2].progress, last);
    assert_int_equal(r->w[0].ended | r->w[1].ended | r->w[2].ended, 0);

    store_watch_pause(pods, true);
    assert_int_equal(create(r, "/registry/pods/default/c", "1"), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(get(r, "/registry/pods/default/c"), 0);
    assert_int_equal(r->w[0].events, 3);
    store_watch_pause(pods, false);
    wait_events(r, 0, 4);
    store_watch_cancel(pods);
    store_watch_cancel(all);
    store_watch_cancel(nodes);
    /* from now on: the past does not show */
    struct store_watch *now = watch(r, 3, "/registry/", 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(get(r, "/registry/pods/default/c"), 0);
    assert_int_equal(create(r, "/registry/pods/default/d", "1"), 0);
    wait_events(r, 3, 1);
    assert_string_equal(r->w[3].keys, "d ");
    store_watch_cancel(now);
}

static void watches_survive_a_killed_etcd(void **state)
{
    struct run *r = *state;
    assert_int_equal(create(r, "/registry/pods/default/a", "1"), 0);
    struct store_watch *pods = watch(r, 0, "/registry/pods/", r->revision);
    struct store_watch *nodes = watch(r, 1, "/registry/nodes/", r->revision);
    for (int i = 0; i < 3; i++) {
        char key[64];
        (void)snprintf(key, sizeof(key), "/registry/pods/default/k%d", i);
        assert_int_equal(create(r, key, "1"), 0);
        members_kill(&r->members, 0);
        members_restart(&r->members, 0);
        do
            (void)store_revision(r->store, on_revision, r);
        while (wait_reply(r) != 0);
    }
    assert_int_equal(create(r, "/registry/nodes/n", "1"), 0);
    wait_events(r, 0, 3);
    wait_events(r, 1, 1);
    assert_string_equal(r->w[0].keys, "k0 k1 k2 ");
    assert_string_equal(r->w[1].keys, "n ");
    store_watch_cancel(pods);
    store_watch_cancel(nodes);
}

static void compacted_watches_end_alone(void **state)
{
    struct run *r = *state;
    assert_int_equal(create(r, "/registry/pods/default/a", "1"), 0);
    int64_t first = r->revision;
    assert_int_equal(update(r, "/registry/pods/default/a", first, "2"), 0);
    assert_int_equal(update(r, "/registry/pods/default/a", r->revision, "3"), 0);
    int64_t last = r->revision;
    struct store_watch *good = watch(r, 0, "/registry/pods/", last);
    (void)store_compact(r->store, last, on_revision, r);
    assert_int_equal(wait_reply(r), 0);
    (void)store_compact(r->store, last, on_revision, r);
    assert_int_equal(wait_reply(r), 0);
    (void)watch(r, 1, "/registry/pods/", first - 1);
    while (!r->w[1].ended)
        turn(r);
    assert_int_equal(r->w[1].ended, STORE_E_COMPACTED);
    assert_int_equal(
        range(r, (struct store_range){.key = "/registry/pods/", .prefix = true, .revision = first}),
        STORE_E_COMPACTED);
    assert_int_equal(create(r, "/registry/pods/default/b", "1"), 0);
    wait_events(r, 0, 1);
    assert_string_equal(r->w[0].keys, "b ");
    assert_int_equal(r->w[0].ended, 0);
    store_watch_cancel(good);
}

/* ---- upkeep ---- */
static void values_expire_and_share_leases(void **state)
{
    struct run *r = *state;
    struct store_watch *events = watch(r, 0, "/registry/events/", r->revision);
    assert_int_equal(create_ttl(r, "/registry/events/default/e1", "1", 40), 0);
    assert_int_equal(create_ttl(r, "/registry/events/default/e2", "1", 40), 0);
    assert_int_equal(create_ttl(r, "/registry/events/default/e3", "1", 1), 0);
    assert_int_equal(members_count(&r->members, "lease list", "found [0-9]+ leases"), 2);
    wait_events(r, 0, 4);
    assert_string_equal(r->w[0].keys, "e1 e2 e3 -e3 ");
    assert_int_equal(get(r, "/registry/events/default/e1"), 0);
    assert_int_equal(get(r, "/registry/events/default/e3"), STORE_E_NOT_FOUND);
    store_watch_cancel(events);
}

static void on_pause_over(void *arg)
{
    struct run *r = arg;
    loop_stop(r->loop, 0);
}

static void servers_agree_on_compaction(void **state)
{
    struct run *r = *state;
    assert_int_equal(create(r, "/registry/pods/default/a", "1"), 0);
    int64_t first = r->revision;
    assert_int_equal(update(r, "/registry/pods/default/a", first, "2"), 0);
    struct store *one = open_store(r, 1), *two = open_store(r, 1);
    struct loop_timer pause;
    loop_timer_init(&pause, r->loop, "pause", on_pause_over, r);
    uint64_t until = now_ms() + 15000;
    int code = 0;
    while (code != STORE_E_COMPACTED && now_ms() < until) {
        loop_timer_set(&pause, 200);
        turn(r);
        code = range(r, (struct store_range){.key = "/registry/pods/default/a", .revision = first});
    }
    assert_int_equal(code, STORE_E_COMPACTED);
    /* one of the two had each turn: about as many rounds as seconds */
    loop_timer_set(&pause, 3000);
    turn(r);
    int rounds = members_count(&r->members, "get compact_rev_key -w fields", "Version\" : [0-9]+");
    assert_in_range(rounds, 2, 12);
    (void)store_free(one);
    (void)store_free(two);
    loop_timer_done(&pause);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_forms),
        T(life_of_an_object),
        T(transactions_over_several_keys),
        T(refusals),
        T(lists_in_pages),
        T(watches_share_and_stay_current),
        T(watches_survive_a_killed_etcd),
        T(compacted_watches_end_alone),
        T(values_expire_and_share_leases),
        T(servers_agree_on_compaction),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return RUN_TESTS(tests);
}
