/*
 * What every back end of the store has in common: keys are checked against the prefix, whole lists
 * are read page by page, and create, update and delete are transactions.
 */
#include "apiserver/store/store.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"

/* A request on top of a back end's. Its own ops have a cancel only. */
struct layered {
    struct store_request base;
    struct store *store;
    struct store_request *inner;
    bool delivering, over;

    /* store_list() */
    struct store_range range;
    char *key, *from;
    int64_t revision;
    store_range_fn *on_range;

    /* create, update, delete */
    int absent_code, present_code; /* what a conflict is, by whether the key is there */
    store_txn_fn *on_txn;

    store_revision_fn *on_revision;
    void *arg;

    /* a request that was refused at once */
    struct loop_deferred refuse;
    struct error err;
};

static void layered_release(struct layered *l)
{
    if (!l->over || l->delivering)
        return;
    loop_deferred_done(&l->refuse);
    free(l->key);
    free(l->from);
    free(l);
}

static void layered_cancel(struct store_request *request)
{
    struct layered *l = CONTAINER_OF(request, struct layered, base);
    if (l->over)
        return;
    store_cancel(TAKE_PTR(l->inner));
    l->over = true;
    layered_release(l);
}

static const struct store_ops layered_ops = {.name = "layered", .cancel = layered_cancel};

static void on_refuse(void *arg)
{
    struct layered *l = arg;
    l->over = l->delivering = true;
    if (l->on_range)
        l->on_range(l->arg, l->err.code, NULL, &l->err);
    else if (l->on_txn)
        l->on_txn(l->arg, l->err.code, NULL, &l->err);
    else
        l->on_revision(l->arg, l->err.code, 0, &l->err);
    l->delivering = false;
    layered_release(l);
}

static struct layered *layered_new(struct store *store, void *arg)
{
    struct layered *l = mem_zalloc(sizeof(*l));
    l->base.ops = &layered_ops;
    l->store = store;
    l->arg = arg;
    loop_deferred_init(&l->refuse, store->loop, on_refuse, l);
    return l;
}

static struct store_request *refused(struct layered *l, const struct error *err)
{
    l->err = *err;
    loop_defer(&l->refuse);
    return &l->base;
}

static int check_key(const struct store *store, const char *key, struct error *err)
{
    if (!str_starts(key, store->prefix))
        return error_set(err, -EINVAL, "key \"%s\" is outside %s", key, store->prefix);
    return 0;
}

static int check_range(const struct store *store, const struct store_range *range,
                       struct error *err)
{
    int r = check_key(store, range->key, err);
    if (r == 0 && range->from)
        r = check_key(store, range->from, err);
    if (r == 0 && range->revision < 0)
        r = error_set(err, -EINVAL, "revision %lld is negative", (long long)range->revision);
    return r;
}

static int check_txn(const struct store *store, const struct store_txn *txn, struct error *err)
{
    int r = 0;
    if (txn->n_guards > STORE_TXN_MAX || txn->n_ops > STORE_TXN_MAX)
        return error_set(err, -EINVAL, "a transaction of more than %d operations", STORE_TXN_MAX);
    for (size_t i = 0; i < txn->n_guards && r == 0; i++)
        r = check_key(store, txn->guards[i].key, err);
    for (size_t i = 0; i < txn->n_ops && r == 0; i++) {
        r = check_key(store, txn->ops[i].key, err);
        if (r == 0 && txn->ops[i].action == STORE_PUT && txn->ops[i].len > STORE_VALUE_MAX)
            r = error_set(err, -EMSGSIZE, "the object at %s has %zu bytes, more than %u",
                          txn->ops[i].key, txn->ops[i].len, STORE_VALUE_MAX);
    }
    return r;
}

/* ---- reading ---- */
struct store_request *store_range(struct store *store, const struct store_range *range,
                                  store_range_fn *cb, void *arg)
{
    struct error err = ERROR_INIT;
    if (check_range(store, range, &err) < 0) {
        struct layered *l = layered_new(store, arg);
        l->on_range = cb;
        return refused(l, &err);
    }
    return store->ops->range(store, range, cb, arg);
}

static void on_page(void *arg, int code, const struct store_range_result *result,
                    const struct error *err)
{
    struct layered *l = arg;
    l->inner = NULL;
    l->delivering = true;
    bool more = code == 0 && result->more && result->n > 0;
    struct store_range_result page = {0};
    if (result) {
        page = *result;
        if (l->revision == 0)
            l->revision = l->range.revision ? l->range.revision : result->revision;
        page.revision = l->revision;
    }
    _cleanup_free_ char *next = more ? str_printf("%s\x01", result->kvs[result->n - 1].key) : NULL;
    l->over = l->over || !more;
    l->on_range(l->arg, code, result ? &page : NULL, err);
    if (!l->over) {
        free(l->from);
        l->from = TAKE_PTR(next);
        l->range.from = l->from;
        l->range.revision = l->revision;
        l->inner = store_range(l->store, &l->range, on_page, l);
    }
    l->delivering = false;
    layered_release(l);
}

struct store_request *store_list(struct store *store, const struct store_range *range, size_t page,
                                 store_range_fn *cb, void *arg)
{
    struct layered *l = layered_new(store, arg);
    l->on_range = cb;
    l->range = *range;
    l->range.prefix = true;
    l->range.limit = page;
    l->key = str_dup(range->key);
    l->from = str_dup(range->from);
    l->range.key = l->key;
    l->range.from = l->from;
    l->inner = store_range(store, &l->range, on_page, l);
    return &l->base;
}

/* ---- writing ---- */
struct store_request *store_txn(struct store *store, const struct store_txn *txn, store_txn_fn *cb,
                                void *arg)
{
    struct error err = ERROR_INIT;
    if (check_txn(store, txn, &err) < 0) {
        struct layered *l = layered_new(store, arg);
        l->on_txn = cb;
        return refused(l, &err);
    }
    return store->ops->txn(store, txn, cb, arg);
}

static void on_written(void *arg, int code, const struct store_txn_result *result,
                       const struct error *err)
{
    struct layered *l = arg;
    l->inner = NULL;
    l->over = l->delivering = true;
    if (code == STORE_E_CONFLICT)
        code = result->n > 0 && result->kvs[0].key ? l->present_code : l->absent_code;
    l->on_txn(l->arg, code, result, err);
    l->delivering = false;
    layered_release(l);
}

static struct store_request *write_one(struct store *store, const struct store_guard *guard,
                                       const struct store_op *op, int absent_code, int present_code,
                                       store_txn_fn *cb, void *arg)
{
    struct layered *l = layered_new(store, arg);
    l->absent_code = absent_code;
    l->present_code = present_code;
    l->on_txn = cb;
    struct store_txn txn = {.guards = guard, .n_guards = 1, .ops = op, .n_ops = 1};
    l->inner = store_txn(store, &txn, on_written, l);
    return &l->base;
}

struct store_request *store_create(struct store *store, const char *key, const void *value,
                                   size_t len, uint64_t ttl_s, store_txn_fn *cb, void *arg)
{
    struct store_guard guard = {.key = key, .compare = STORE_ABSENT};
    struct store_op op = {
        .action = STORE_PUT, .key = key, .value = value, .len = len, .ttl_s = ttl_s};
    /* Gone again between the compare and the look, which etcd's transactions rule out. */
    return write_one(store, &guard, &op, STORE_E_CONFLICT, STORE_E_EXISTS, cb, arg);
}

struct store_request *store_update(struct store *store, const char *key, int64_t revision,
                                   const void *value, size_t len, uint64_t ttl_s, store_txn_fn *cb,
                                   void *arg)
{
    struct store_guard guard = {.key = key, .compare = STORE_AT_REVISION, .revision = revision};
    struct store_op op = {
        .action = STORE_PUT, .key = key, .value = value, .len = len, .ttl_s = ttl_s};
    return write_one(store, &guard, &op, STORE_E_NOT_FOUND, STORE_E_CONFLICT, cb, arg);
}

struct store_request *store_delete(struct store *store, const char *key, int64_t revision,
                                   store_txn_fn *cb, void *arg)
{
    struct store_guard guard = {
        .key = key, .compare = revision ? STORE_AT_REVISION : STORE_PRESENT, .revision = revision};
    struct store_op op = {.action = STORE_DELETE, .key = key};
    return write_one(store, &guard, &op, STORE_E_NOT_FOUND, STORE_E_CONFLICT, cb, arg);
}

void store_cancel(struct store_request *request)
{
    if (request)
        request->ops->cancel(request);
}

/* ---- the rest goes straight through ---- */
struct store_request *store_compact(struct store *store, int64_t revision, store_revision_fn *cb,
                                    void *arg)
{
    return store->ops->compact(store, revision, cb, arg);
}

struct store_request *store_revision(struct store *store, store_revision_fn *cb, void *arg)
{
    return store->ops->revision(store, cb, arg);
}

struct store_watch *store_watch(struct store *store, const char *prefix, int64_t revision,
                                const struct store_watch_events *events, void *arg)
{
    return store->ops->watch(store, prefix, revision < 0 ? 0 : revision, events, arg);
}

void store_watch_progress(struct store_watch *watch)
{
    watch->ops->watch_progress(watch);
}

void store_watch_pause(struct store_watch *watch, bool paused)
{
    watch->ops->watch_pause(watch, paused);
}

void store_watch_cancel(struct store_watch *watch)
{
    if (watch)
        watch->ops->watch_cancel(watch);
}

struct store *store_free(struct store *store)
{
    if (store)
        store->ops->free(store);
    return NULL;
}

int store_value_check(const struct store_kv *kv, struct error *err)
{
    static const char protobuf[] = {'k', '8', 's', 0}, envelope[] = "k8s:enc:";
    if (kv->len >= sizeof(protobuf) && memcmp(kv->value, protobuf, sizeof(protobuf)) == 0)
        return error_set_field(
            err, -EBADMSG, kv->key,
            "%s is stored as protobuf, which this server does not read: have "
            "kube-apiserver rewrite it with --storage-media-type=application/json",
            kv->key);
    if (kv->len >= strlen(envelope) && memcmp(kv->value, envelope, strlen(envelope)) == 0)
        return error_set_field(err, -EBADMSG, kv->key,
                               "%s is stored encrypted, and this server has no key for it",
                               kv->key);
    return 0;
}
