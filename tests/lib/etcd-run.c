/* The fixture of the etcd client's tests (etcd-run.h). */
#include "lib/etcd-run.h"

#include "lib/test.h"

#include <errno.h>

#include "base/loop.h"
#include "base/strbuf.h"

static void copy(char *out, size_t size, struct etcd_bytes b)
{
    (void)snprintf(out, size, "%.*s", (int)b.len, b.data ? (const char *)b.data : "");
}

void run_on_reply(void *arg, int code, const char *message, const struct etcd_reply *reply)
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

int run_wait(struct run *r)
{
    r->answered = false;
    while (!r->answered)
        assert_int_equal(etcd_run(r->etcd), 0);
    return r->code;
}

int run_put(struct run *r, const char *key, const char *value)
{
    struct etcd_put p = {.key = ETCD_STR(key), .value = ETCD_STR(value), .prev = true};
    (void)etcd_put(r->etcd, &p, 0, run_on_reply, r);
    return run_wait(r);
}

int run_range(struct run *r, struct etcd_range range)
{
    (void)etcd_range(r->etcd, &range, 0, run_on_reply, r);
    return run_wait(r);
}

int run_get(struct run *r, const char *key)
{
    return run_range(r, (struct etcd_range){.key = ETCD_STR(key)});
}

int run_txn(struct run *r, const struct etcd_txn *t)
{
    (void)etcd_txn(r->etcd, t, 0, run_on_reply, r);
    return run_wait(r);
}

void run_connect(struct run *r, const struct etcd_options *options)
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
    run_connect(r, &(struct etcd_options){.endpoints = urls, .n_endpoints = (size_t)n});
    *state = r;
    struct etcd_range any = {.key = ETCD_STR("x")};
    (void)etcd_range(r->etcd, &any, 30000, run_on_reply, r);
    return run_wait(r);
}

int run_setup(void **state)
{
    return setup_n(state, 1);
}

int run_setup3(void **state)
{
    return setup_n(state, 3);
}

int run_teardown(void **state)
{
    struct run *r = *state;
    r->etcd = etcd_free(r->etcd);
    members_end(&r->members);
    free(r);
    return 0;
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
            copy(r->prev, sizeof(r->prev), events[i].prev.value);
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

struct etcd_watch *run_watch(struct run *r, const struct etcd_watch_request *request)
{
    r->events = r->sum = r->last_revision = r->want = 0;
    r->created = r->ended = 0;
    r->bytes = r->largest = 0;
    return etcd_watch(r->etcd, request, &watch_events, r);
}

void run_wait_events(struct run *r, int64_t n)
{
    r->want = n;
    while (r->events < n)
        assert_int_equal(etcd_run(r->etcd), 0);
}

void run_wait_created(struct run *r)
{
    while (r->created == 0 && !r->ended)
        assert_int_equal(etcd_run(r->etcd), 0);
}

int run_wait_end(struct run *r)
{
    while (!r->ended)
        assert_int_equal(etcd_run(r->etcd), 0);
    return r->ended;
}
