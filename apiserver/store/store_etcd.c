/*
 * The etcd back end of the store: reads, transactions and compaction. Leases are in
 * store_etcd_lease.c, watches in store_etcd_watch.c.
 */
#include <errno.h>

#include "apiserver/store/store_etcd_internal.h"
#include "base/log.h"

#define COMPACT_KEY   "compact_rev_key" /* upstream's name: kube-apiservers take part, too */
#define LEASE_RETRIES 1

/* One call of the store. */
struct request {
    struct store_request base;
    struct list entry;
    struct etcd_store *s;
    struct etcd_call *call;
    struct lease_wait *lease_wait;
    void *arg;
    store_range_fn *on_range;
    store_txn_fn *on_txn;
    store_revision_fn *on_revision;
    bool single; /* range of one key: its absence is a result */

    /* a transaction that waits for leases, or may have to be made again */
    struct store_guard *guards;
    struct store_op *ops;
    int64_t *leases; /* one for each op, 0: none or not known yet */
    size_t n_guards, n_ops;
    unsigned retries;
};

static void txn_next(struct request *q);

int etcd_store_code(int code)
{
    switch (code) {
    case ETCD_E_COMPACTED:
        return STORE_E_COMPACTED;
    case ETCD_E_FUTURE:
        return -ERANGE;
    case ETCD_E_NOT_FOUND:
    case ETCD_E_EXISTS:
        return -EIO; /* of leases: the callers here handle those that can happen */
    default:
        return code;
    }
}

/* ---- pairs ---- */
int kv_block_make(struct kv_block *block, const struct etcd_kv *const *pairs, size_t n,
                  struct error *err)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        if (pairs[i]->key.len && memchr(pairs[i]->key.data, 0, pairs[i]->key.len)) {
            (void)error_set(err, -EBADMSG, "a key in etcd holds a NUL byte: %s",
                            (const char *)pairs[i]->key.data);
            return -EBADMSG;
        }
        size += pairs[i]->key.len + 1;
    }
    block->kvs = calloc(n + 1, sizeof(*block->kvs));
    block->keys = malloc(size + 1);
    if (!block->kvs || !block->keys) {
        (void)error_errno(err, -ENOMEM, "%zu pairs", n);
        return -ENOMEM;
    }
    char *key = block->keys;
    for (size_t i = 0; i < n; i++) {
        const struct etcd_kv *in = pairs[i];
        if (in->key.len)
            memcpy(key, in->key.data, in->key.len);
        key[in->key.len] = '\0';
        block->kvs[i] = (struct store_kv){
            .key = key,
            .value = in->value.len ? in->value.data : NULL,
            .len = in->value.len,
            .mod_revision = in->mod_revision,
            .create_revision = in->create_revision,
        };
        key += in->key.len + 1;
    }
    return 0;
}

void kv_block_done(struct kv_block *block)
{
    free(block->kvs);
    free(block->keys);
}

/* ---- requests ---- */
static struct request *request_new(struct etcd_store *s, void *arg)
{
    struct request *q = mem_zalloc(sizeof(*q));
    q->base.ops = &etcd_store_ops;
    q->s = s;
    q->arg = arg;
    list_append(&s->requests, &q->entry);
    return q;
}

static void request_free(struct request *q)
{
    list_remove(&q->entry);
    for (size_t i = 0; i < q->n_guards; i++)
        free((void *)(uintptr_t)q->guards[i].key);
    for (size_t i = 0; i < q->n_ops; i++) {
        free((void *)(uintptr_t)q->ops[i].key);
        free((void *)(uintptr_t)q->ops[i].value);
    }
    free(q->guards);
    free(q->ops);
    free(q->leases);
    free(q);
}

static void request_cancel(struct store_request *request)
{
    struct request *q = CONTAINER_OF(request, struct request, base);
    etcd_cancel(q->call);
    lease_wait_cancel(q->lease_wait);
    request_free(q);
}

/* Calls back with a failure. */
static void request_fail(struct request *q, int code, const char *message)
{
    struct error err = ERROR_INIT;
    int r = etcd_store_code(code);
    (void)error_set(&err, r < 0 ? r : -ESTALE, "etcd: %s", message);
    list_remove(&q->entry);
    if (q->on_range)
        q->on_range(q->arg, r, NULL, &err);
    else if (q->on_txn)
        q->on_txn(q->arg, r < 0 ? r : -EIO, NULL, &err);
    else
        q->on_revision(q->arg, r, 0, &err);
    request_free(q);
}

/* ---- reading ---- */
static void on_range(void *arg, int code, const char *message, const struct etcd_reply *reply)
{
    struct request *q = arg;
    q->call = NULL;
    if (code != 0) {
        request_fail(q, code, message);
        return;
    }
    struct error err = ERROR_INIT;
    struct kv_block block = {0};
    const struct etcd_kv **pairs = calloc(reply->n + 1, sizeof(const struct etcd_kv *));
    int r = pairs ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < reply->n; i++)
        pairs[i] = &reply->kvs[i];
    if (r == 0)
        r = kv_block_make(&block, pairs, reply->n, &err);
    free(pairs);
    if (r < 0) {
        request_fail(q, r, error_text(&err));
    } else {
        struct store_range_result result = {.kvs = block.kvs,
                                            .n = reply->n,
                                            .more = reply->more,
                                            .count = reply->count,
                                            .revision = reply->revision};
        list_remove(&q->entry);
        q->on_range(q->arg, q->single && reply->count == 0 ? STORE_E_NOT_FOUND : 0, &result, NULL);
        request_free(q);
    }
    kv_block_done(&block);
}

static struct store_request *etcd_store_range(struct store *store, const struct store_range *range,
                                              store_range_fn *cb, void *arg)
{
    struct request *q = request_new(etcd_store_of(store), arg);
    q->on_range = cb;
    q->single = !range->prefix;
    struct etcd_range r = {
        .key = ETCD_STR(range->prefix && range->from && strcmp(range->from, range->key) > 0
                            ? range->from
                            : range->key),
        .limit = (int64_t)range->limit,
        .revision = range->revision,
        .keys_only = range->keys_only,
        .count_only = range->count_only,
    };
    _cleanup_free_ char *end = NULL;
    if (range->prefix) {
        end = str_dup(range->key);
        r.end = (struct etcd_bytes){end, etcd_prefix_end(ETCD_STR(range->key), end)};
    }
    q->call = etcd_range(q->s->etcd, &r, 0, on_range, q);
    return &q->base;
}

static void on_revision(void *arg, int code, const char *message, const struct etcd_reply *reply)
{
    struct request *q = arg;
    q->call = NULL;
    if (code != 0) {
        request_fail(q, code, message);
        return;
    }
    list_remove(&q->entry);
    q->on_revision(q->arg, 0, reply->revision, NULL);
    request_free(q);
}

static struct store_request *etcd_store_revision(struct store *store, store_revision_fn *cb,
                                                 void *arg)
{
    struct request *q = request_new(etcd_store_of(store), arg);
    q->on_revision = cb;
    struct etcd_range r = {.key = ETCD_STR(store->prefix), .count_only = true};
    q->call = etcd_range(q->s->etcd, &r, 0, on_revision, q);
    return &q->base;
}

/* ---- transactions ---- */
static struct etcd_compare compare_of(const struct store_guard *guard)
{
    struct etcd_compare c = {.key = ETCD_STR(guard->key)};
    switch (guard->compare) {
    case STORE_ABSENT:
    case STORE_PRESENT:
        c.target = ETCD_CREATE;
        c.result = guard->compare == STORE_ABSENT ? ETCD_EQUAL : ETCD_GREATER;
        break;
    case STORE_AT_REVISION:
    case STORE_NOT_MODIFIED: /* an absent key has mod_revision 0 */
        c.target = ETCD_MOD;
        c.result = guard->compare == STORE_AT_REVISION ? ETCD_EQUAL : ETCD_LESS;
        c.number = guard->revision;
        if (guard->compare == STORE_NOT_MODIFIED && c.number < INT64_MAX)
            c.number++;
        break;
    }
    return c;
}

/* A lease that was shared has run out under us (etcd was restored, or stood still): a new one. */
static bool retry_leases(struct request *q)
{
    bool any = false;
    for (size_t i = 0; i < q->n_ops; i++) {
        if (q->leases[i]) {
            lease_forget(q->s, q->leases[i]);
            any = true;
        }
        q->leases[i] = 0;
    }
    return any && q->retries++ < LEASE_RETRIES;
}

static void on_txn(void *arg, int code, const char *message, const struct etcd_reply *reply)
{
    struct request *q = arg;
    q->call = NULL;
    if (code == ETCD_E_NOT_FOUND && retry_leases(q)) {
        txn_next(q);
        return;
    }
    if (code != 0) {
        request_fail(q, code, message);
        return;
    }
    static const struct etcd_kv none;
    struct error err = ERROR_INIT;
    struct kv_block block = {0};
    const struct etcd_kv *pairs[STORE_TXN_MAX] = {NULL};
    size_t n = reply->n_responses;
    int r = n == (reply->succeeded ? q->n_ops : q->n_guards) ? 0 : -EIO;
    for (size_t i = 0; r == 0 && i < n; i++)
        pairs[i] = reply->responses[i].n > 0 ? &reply->responses[i].kvs[0] : &none;
    if (r == 0)
        r = kv_block_make(&block, pairs, n, &err);
    if (r < 0) {
        request_fail(q, r, err.code ? error_text(&err) : "the answer does not fit the transaction");
    } else {
        for (size_t i = 0; i < n; i++)
            if (pairs[i] == &none)
                block.kvs[i].key = NULL;
        struct store_txn_result result = {.revision = reply->revision, .kvs = block.kvs, .n = n};
        list_remove(&q->entry);
        q->on_txn(q->arg, reply->succeeded ? 0 : STORE_E_CONFLICT, &result, NULL);
        request_free(q);
    }
    kv_block_done(&block);
}

static void txn_send(struct request *q)
{
    struct etcd_compare compares[STORE_TXN_MAX];
    struct etcd_op success[STORE_TXN_MAX], failure[STORE_TXN_MAX];
    for (size_t i = 0; i < q->n_guards; i++) {
        compares[i] = compare_of(&q->guards[i]);
        failure[i] =
            (struct etcd_op){.kind = ETCD_OP_RANGE, .range = {.key = ETCD_STR(q->guards[i].key)}};
    }
    for (size_t i = 0; i < q->n_ops; i++) {
        const struct store_op *op = &q->ops[i];
        if (op->action == STORE_PUT)
            success[i] = (struct etcd_op){.kind = ETCD_OP_PUT,
                                          .put = {.key = ETCD_STR(op->key),
                                                  .value = {op->value, op->len},
                                                  .lease = q->leases[i],
                                                  .prev = true}};
        else
            success[i] = (struct etcd_op){.kind = ETCD_OP_DELETE,
                                          .del = {.key = ETCD_STR(op->key), .prev = true}};
    }
    struct etcd_txn txn = {compares, q->n_guards, success, failure, q->n_ops, q->n_guards};
    q->call = etcd_txn(q->s->etcd, &txn, 0, on_txn, q);
}

static void on_lease(void *arg, int code, const char *message, int64_t lease)
{
    struct request *q = arg;
    q->lease_wait = NULL;
    if (code != 0) {
        request_fail(q, code, message);
        return;
    }
    for (size_t i = 0; i < q->n_ops; i++)
        if (q->ops[i].ttl_s && !q->leases[i]) {
            q->leases[i] = lease;
            break;
        }
    txn_next(q);
}

/* Gets the next lease that is missing; sends the transaction when none is. */
static void txn_next(struct request *q)
{
    for (size_t i = 0; i < q->n_ops; i++)
        if (q->ops[i].ttl_s && !q->leases[i]) {
            struct lease_wait *w = lease_get(q->s, q->ops[i].ttl_s, on_lease, q);
            if (w) /* else it came at once, and the rest was done */
                q->lease_wait = w;
            return;
        }
    txn_send(q);
}

static struct store_request *etcd_store_txn(struct store *store, const struct store_txn *txn,
                                            store_txn_fn *cb, void *arg)
{
    struct request *q = request_new(etcd_store_of(store), arg);
    q->on_txn = cb;
    q->guards = mem_zalloc((txn->n_guards + 1) * sizeof(*q->guards));
    q->ops = mem_zalloc((txn->n_ops + 1) * sizeof(*q->ops));
    q->leases = mem_zalloc((txn->n_ops + 1) * sizeof(*q->leases));
    for (size_t i = 0; i < txn->n_guards; i++) {
        q->guards[q->n_guards] = txn->guards[i];
        q->guards[q->n_guards++].key = str_dup(txn->guards[i].key);
    }
    for (size_t i = 0; i < txn->n_ops; i++) {
        q->ops[q->n_ops] = txn->ops[i];
        q->ops[q->n_ops].key = str_dup(txn->ops[i].key);
        q->ops[q->n_ops++].value =
            txn->ops[i].len ? mem_dup(txn->ops[i].value, txn->ops[i].len) : NULL;
    }
    txn_next(q);
    return &q->base;
}

/* ---- compaction ---- */
static void on_compacted(void *arg, int code, const char *message, const struct etcd_reply *reply)
{
    struct request *q = arg;
    if (code == ETCD_E_COMPACTED) { /* done before */
        q->call = NULL;
        list_remove(&q->entry);
        q->on_revision(q->arg, 0, 0, NULL);
        request_free(q);
        return;
    }
    on_revision(q, code, message, reply);
}

static struct store_request *etcd_store_compact(struct store *store, int64_t revision,
                                                store_revision_fn *cb, void *arg)
{
    struct request *q = request_new(etcd_store_of(store), arg);
    q->on_revision = cb;
    q->call = etcd_compact(q->s->etcd, revision, false, 0, on_compacted, q);
    return &q->base;
}

static void on_auto_compacted(void *arg, int code, const char *message,
                              _unused_ const struct etcd_reply *reply)
{
    struct etcd_store *s = arg;
    s->compacting = NULL;
    if (code < 0)
        log_warn("cannot compact etcd", "reason", message, NULL);
}

/*
 * The agreement between servers: the version of a key counts the rounds. Whoever finds it as he
 * left it (nobody else had a turn meanwhile) writes it and compacts what he saw a round ago; the
 * others take note. So history is kept for one to two intervals, however many servers there are.
 */
static void on_round(void *arg, int code, const char *message, const struct etcd_reply *reply)
{
    struct etcd_store *s = arg;
    s->compacting = NULL;
    if (code != 0) {
        log_warn("cannot compact etcd", "reason", message, NULL);
        return;
    }
    int64_t revision = s->compact_next;
    s->compact_next = reply->revision;
    if (!reply->succeeded) {
        s->compact_time =
            reply->n_responses && reply->responses[0].n ? reply->responses[0].kvs[0].version : 0;
        return;
    }
    s->compact_time++;
    if (revision > 0)
        s->compacting = etcd_compact(s->etcd, revision, false, 0, on_auto_compacted, s);
}

static void on_compact_timer(void *arg)
{
    struct etcd_store *s = arg;
    loop_timer_set(&s->compact_timer, s->compact_interval_ms);
    if (s->compacting)
        return;
    char value[24];
    (void)snprintf(value, sizeof(value), "%lld", (long long)s->compact_next);
    struct etcd_bytes key = ETCD_STR(COMPACT_KEY);
    struct etcd_compare mine = {.key = key, .target = ETCD_VERSION, .number = s->compact_time};
    struct etcd_op put = {.kind = ETCD_OP_PUT, .put = {.key = key, .value = ETCD_STR(value)}};
    struct etcd_op get = {.kind = ETCD_OP_RANGE, .range = {.key = key}};
    struct etcd_txn txn = {&mine, 1, &put, &get, 1, 1};
    s->compacting = etcd_txn(s->etcd, &txn, 0, on_round, s);
}

/* ---- opening and closing ---- */
static void etcd_store_free(struct store *store)
{
    struct etcd_store *s = etcd_store_of(store);
    loop_timer_done(&s->compact_timer);
    etcd_cancel(s->compacting);
    etcd_store_watches_done(s);
    struct list *entry;
    while ((entry = list_pop(&s->requests)))
        request_cancel(&LIST_ENTRY(entry, struct request, entry)->base);
    leases_done(s);
    (void)etcd_free(s->etcd);
    free(s->base.prefix);
    free(s);
}

const struct store_ops etcd_store_ops = {
    .name = "etcd",
    .range = etcd_store_range,
    .txn = etcd_store_txn,
    .compact = etcd_store_compact,
    .revision = etcd_store_revision,
    .cancel = request_cancel,
    .watch = etcd_store_watch,
    .watch_progress = etcd_store_watch_progress,
    .watch_pause = etcd_store_watch_pause,
    .watch_cancel = etcd_store_watch_cancel,
    .free = etcd_store_free,
};

struct store *store_etcd_new(struct loop *loop, struct rpc *rpc,
                             const struct store_etcd_options *options, struct error *err)
{
    char message[512] = "";
    struct etcd_options o = {
        .endpoints = options->endpoints,
        .n_endpoints = options->n_endpoints,
        .ca_file = options->ca_file,
        .cert_file = options->cert_file,
        .key_file = options->key_file,
        .deadline_ms = options->deadline_ms,
    };
    struct etcd *etcd = etcd_new(loop, rpc, &o, message, sizeof(message));
    if (!etcd) {
        (void)error_set(err, -EINVAL, "%s", message);
        return NULL;
    }
    struct etcd_store *s = mem_zalloc(sizeof(*s));
    s->base.ops = &etcd_store_ops;
    s->base.loop = loop;
    const char *prefix = options->prefix ? options->prefix : "/registry";
    s->base.prefix = str_printf("%s%s", prefix, str_ends(prefix, "/") ? "" : "/");
    s->etcd = etcd;
    list_init(&s->requests);
    list_init(&s->leases);
    etcd_store_watches_init(s);
    loop_timer_init(&s->compact_timer, loop, "etcd compaction", on_compact_timer, s);
    s->compact_interval_ms = options->compact_interval_s * 1000;
    if (s->compact_interval_ms)
        loop_timer_set(&s->compact_timer, s->compact_interval_ms);
    return &s->base;
}
