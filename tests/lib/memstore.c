/* The in-memory store of the tests; see memstore.h. */
#include "lib/memstore.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"

/* Every write there ever was, in order: the state at any revision follows from it. */
struct record {
    char *key;
    char *value; /* NULL: deleted */
    size_t len;
    int64_t revision, created;
};

enum call_kind { CALL_RANGE, CALL_TXN, CALL_REVISION };
struct call {
    struct store_request base;
    struct memstore *ms;
    struct list entry;
    enum call_kind kind;
    struct store_range range;
    char *key, *from;
    struct store_txn txn;
    int64_t compact;
    union {
        store_range_fn *range;
        store_txn_fn *txn;
        store_revision_fn *revision;
    } cb;
    void *arg;
};

struct watch {
    struct store_watch base;
    struct memstore *ms;
    struct list entry;
    char *prefix;
    size_t next; /* record */
    bool paused, cancelled;
    struct store_watch_events events;
    void *arg;
};

struct memstore {
    struct store base;
    struct record *records;
    size_t count;
    int64_t revision, compacted;
    int fail;
    struct list calls, watches;
    struct loop_deferred turn;
    bool dispatching;
};

static struct memstore *of(struct store *store)
{
    return (struct memstore *)store;
}

/* The newest record of @key at @revision; NULL when there is none or it says deleted. */
static const struct record *at(const struct memstore *ms, const char *key, int64_t revision)
{
    for (size_t i = ms->count; i-- > 0;)
        if (ms->records[i].revision <= revision && str_eq(ms->records[i].key, key))
            return ms->records[i].value ? &ms->records[i] : NULL;
    return NULL;
}

static struct store_kv kv_of(const struct record *r)
{
    return r ? (struct store_kv){.key = r->key,
                                 .value = r->value,
                                 .len = r->len,
                                 .mod_revision = r->revision,
                                 .create_revision = r->created}
             : (struct store_kv){.key = NULL};
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct store_kv *)a)->key, ((const struct store_kv *)b)->key);
}

static void run_range(struct call *c)
{
    struct memstore *ms = c->ms;
    struct error err = ERROR_INIT;
    int64_t revision = c->range.revision ? c->range.revision : ms->revision;
    if (ms->fail || revision > ms->revision || revision < ms->compacted) {
        int code = ms->fail ? ms->fail : revision > ms->revision ? -ERANGE : STORE_E_COMPACTED;
        (void)error_set(&err, -EIO, "memstore: %d", code);
        c->cb.range(c->arg, code, NULL, &err);
        return;
    }
    struct store_kv *kvs = mem_grow(NULL, ms->count + 1, sizeof(*kvs));
    size_t n = 0;
    for (size_t i = 0; i < ms->count; i++) {
        const struct record *r = &ms->records[i];
        bool wanted = c->range.prefix ? str_starts(r->key, c->key) : str_eq(r->key, c->key);
        if (wanted && at(ms, r->key, revision) == r && (!c->from || strcmp(r->key, c->from) >= 0))
            kvs[n++] = kv_of(r);
    }
    if (n)
        qsort(kvs, n, sizeof(*kvs), by_key);
    struct store_range_result result = {.kvs = kvs, .count = (int64_t)n, .revision = ms->revision};
    result.n = c->range.limit && n > c->range.limit ? c->range.limit : n;
    result.more = result.n < n;
    int code = !n && !c->range.prefix ? STORE_E_NOT_FOUND : 0;
    c->cb.range(c->arg, code, &result, NULL);
    free(kvs);
}

static bool holds(const struct memstore *ms, const struct store_guard *g)
{
    const struct record *r = at(ms, g->key, ms->revision);
    switch (g->compare) {
    case STORE_ABSENT:
        return !r;
    case STORE_PRESENT:
        return r;
    case STORE_AT_REVISION:
        return r && r->revision == g->revision;
    case STORE_NOT_MODIFIED:
        return !r || r->revision <= g->revision;
    }
    return false;
}

static void write_record(struct memstore *ms, const struct store_op *op)
{
    const struct record *old = at(ms, op->key, ms->revision);
    bool put = op->action == STORE_PUT;
    if (!put && !old)
        return;
    int64_t created = old ? old->created : ms->revision;
    ms->records = mem_grow(ms->records, ms->count + 1, sizeof(*ms->records));
    ms->records[ms->count++] = (struct record){.key = str_dup(op->key),
                                               .value = put ? mem_dup(op->value, op->len) : NULL,
                                               .len = put ? op->len : 0,
                                               .revision = ms->revision,
                                               .created = created};
}

static void run_txn(struct call *c)
{
    struct memstore *ms = c->ms;
    struct error err = ERROR_INIT;
    if (ms->fail) {
        (void)error_set(&err, ms->fail, "memstore: made to fail");
        c->cb.txn(c->arg, ms->fail, NULL, &err);
        return;
    }
    struct store_kv kvs[STORE_TXN_MAX];
    struct store_txn_result result = {.kvs = kvs};
    bool all = true;
    for (size_t i = 0; i < c->txn.n_guards; i++)
        all &= holds(ms, &c->txn.guards[i]);
    if (all) {
        for (size_t i = 0; i < c->txn.n_ops; i++)
            kvs[result.n++] = kv_of(at(ms, c->txn.ops[i].key, ms->revision));
        ms->revision++;
        for (size_t i = 0; i < c->txn.n_ops; i++)
            write_record(ms, &c->txn.ops[i]);
    } else {
        for (size_t i = 0; i < c->txn.n_guards; i++)
            kvs[result.n++] = kv_of(at(ms, c->txn.guards[i].key, ms->revision));
    }
    result.revision = ms->revision;
    /* The keys may move when records are added: hand out nothing that a callback outlives. */
    c->cb.txn(c->arg, all ? 0 : STORE_E_CONFLICT, &result, NULL);
}

static void call_free(struct call *c)
{
    list_remove(&c->entry);
    for (size_t i = 0; i < c->txn.n_guards; i++)
        free((char *)(uintptr_t)c->txn.guards[i].key);
    for (size_t i = 0; i < c->txn.n_ops; i++) {
        free((char *)(uintptr_t)c->txn.ops[i].key);
        free((void *)(uintptr_t)c->txn.ops[i].value);
    }
    free((void *)(uintptr_t)c->txn.guards);
    free((void *)(uintptr_t)c->txn.ops);
    free(c->key);
    free(c->from);
    free(c);
}

static void run(struct call *c)
{
    struct memstore *ms = c->ms;
    struct error err = ERROR_INIT;
    list_remove(&c->entry);
    if (c->kind == CALL_RANGE) {
        run_range(c);
    } else if (c->kind == CALL_TXN) {
        run_txn(c);
    } else if (ms->fail) {
        (void)error_set(&err, ms->fail, "memstore: made to fail");
        c->cb.revision(c->arg, ms->fail, 0, &err);
    } else {
        if (c->compact > ms->compacted)
            ms->compacted = c->compact;
        c->cb.revision(c->arg, 0, ms->revision, NULL);
    }
    call_free(c);
}

static void watch_step(struct watch *w)
{
    struct memstore *ms = w->ms;
    while (!w->cancelled && !w->paused && w->next < ms->count) {
        const struct record *r = &ms->records[w->next++];
        if (!str_starts(r->key, w->prefix))
            continue;
        struct store_event event = {.deleted = !r->value, .kv = kv_of(r)};
        event.kv.key = r->key;
        event.kv.mod_revision = r->revision;
        event.prev = kv_of(at(ms, r->key, r->revision - 1));
        w->events.on_events(w->arg, &event, 1, r->revision);
    }
}

static void watch_free(struct watch *w)
{
    list_remove(&w->entry);
    free(w->prefix);
    free(w);
}

static void on_turn(void *arg)
{
    struct memstore *ms = arg;
    ms->dispatching = true;
    while (!list_empty(&ms->calls))
        run(LIST_ENTRY(ms->calls.next, struct call, entry));
    LIST_FOR_EACH(entry, &ms->watches)
        watch_step(LIST_ENTRY(entry, struct watch, entry));
    ms->dispatching = false;
    LIST_FOR_EACH(entry, &ms->watches) {
        struct watch *w = LIST_ENTRY(entry, struct watch, entry);
        if (w->cancelled)
            watch_free(w);
    }
}

static struct call *call_new(struct store *store, enum call_kind kind, void *arg)
{
    struct call *c = mem_zalloc(sizeof(*c));
    c->base.ops = store->ops;
    c->ms = of(store);
    c->kind = kind;
    c->arg = arg;
    list_append(&c->ms->calls, &c->entry);
    loop_defer(&c->ms->turn);
    return c;
}

static struct store_request *op_range(struct store *store, const struct store_range *range,
                                      store_range_fn *cb, void *arg)
{
    struct call *c = call_new(store, CALL_RANGE, arg);
    c->range = *range;
    c->key = str_dup(range->key);
    c->from = str_dup(range->from);
    c->cb.range = cb;
    return &c->base;
}

static struct store_request *op_txn(struct store *store, const struct store_txn *txn,
                                    store_txn_fn *cb, void *arg)
{
    struct call *c = call_new(store, CALL_TXN, arg);
    struct store_guard *guards = mem_grow(NULL, txn->n_guards + 1, sizeof(*guards));
    struct store_op *ops = mem_grow(NULL, txn->n_ops + 1, sizeof(*ops));
    for (size_t i = 0; i < txn->n_guards; i++) {
        guards[i] = txn->guards[i];
        guards[i].key = str_dup(guards[i].key);
    }
    for (size_t i = 0; i < txn->n_ops; i++) {
        ops[i] = txn->ops[i];
        ops[i].key = str_dup(ops[i].key);
        ops[i].value = ops[i].value ? mem_dup(ops[i].value, ops[i].len) : NULL;
    }
    c->txn = (struct store_txn){
        .guards = guards, .n_guards = txn->n_guards, .ops = ops, .n_ops = txn->n_ops};
    c->cb.txn = cb;
    return &c->base;
}

static struct store_request *op_compact(struct store *store, int64_t revision,
                                        store_revision_fn *cb, void *arg)
{
    struct call *c = call_new(store, CALL_REVISION, arg);
    c->compact = revision;
    c->cb.revision = cb;
    return &c->base;
}

static struct store_request *op_revision(struct store *store, store_revision_fn *cb, void *arg)
{
    return op_compact(store, 0, cb, arg);
}

static void op_cancel(struct store_request *request)
{
    call_free((struct call *)request);
}

static struct store_watch *op_watch(struct store *store, const char *prefix, int64_t revision,
                                    const struct store_watch_events *events, void *arg)
{
    struct memstore *ms = of(store);
    struct watch *w = mem_zalloc(sizeof(*w));
    w->base.ops = store->ops;
    w->ms = ms;
    w->prefix = str_dup(prefix);
    w->events = *events;
    w->arg = arg;
    int64_t after = revision ? revision : ms->revision;
    while (w->next < ms->count && ms->records[w->next].revision <= after)
        w->next++;
    list_append(&ms->watches, &w->entry);
    loop_defer(&ms->turn);
    return &w->base;
}

static void op_watch_progress(struct store_watch *watch)
{
    struct watch *w = (struct watch *)watch;
    loop_defer(&w->ms->turn);
}

static void op_watch_pause(struct store_watch *watch, bool paused)
{
    struct watch *w = (struct watch *)watch;
    w->paused = paused;
    loop_defer(&w->ms->turn);
}

static void op_watch_cancel(struct store_watch *watch)
{
    struct watch *w = (struct watch *)watch;
    w->cancelled = true;
    if (!w->ms->dispatching)
        watch_free(w);
}

void memstore_fail(struct store *store, int code)
{
    of(store)->fail = code;
}

void memstore_break_watches(struct store *store)
{
    struct memstore *ms = of(store);
    LIST_FOR_EACH(entry, &ms->watches) {
        struct watch *w = LIST_ENTRY(entry, struct watch, entry);
        list_remove(&w->entry);
        struct error err = ERROR_INIT;
        (void)error_set(&err, -EIO, "compacted");
        w->events.on_end(w->arg, STORE_E_COMPACTED, &err);
        watch_free(w);
    }
}

static void op_free(struct store *store)
{
    struct memstore *ms = of(store);
    LIST_FOR_EACH(entry, &ms->calls)
        call_free(LIST_ENTRY(entry, struct call, entry));
    LIST_FOR_EACH(entry, &ms->watches)
        watch_free(LIST_ENTRY(entry, struct watch, entry));
    for (size_t i = 0; i < ms->count; i++) {
        free(ms->records[i].key);
        free(ms->records[i].value);
    }
    free(ms->records);
    loop_deferred_done(&ms->turn);
    free(ms->base.prefix);
    free(ms);
}

struct store *memstore_new(struct loop *loop)
{
    static const struct store_ops ops = {
        .name = "memory",
        .range = op_range,
        .txn = op_txn,
        .compact = op_compact,
        .revision = op_revision,
        .cancel = op_cancel,
        .watch = op_watch,
        .watch_progress = op_watch_progress,
        .watch_pause = op_watch_pause,
        .watch_cancel = op_watch_cancel,
        .free = op_free,
    };
    struct memstore *ms = mem_zalloc(sizeof(*ms));
    ms->base.ops = &ops;
    ms->base.prefix = str_dup("/registry/");
    ms->base.loop = loop;
    ms->revision = 1;
    list_init(&ms->calls);
    list_init(&ms->watches);
    loop_deferred_init(&ms->turn, loop, on_turn, ms);
    return &ms->base;
}
