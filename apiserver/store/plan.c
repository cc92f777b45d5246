/* Transactions under construction; see plan.h. */
#include "apiserver/store/plan.h"

#include <string.h>

#include "base/strbuf.h"

void plan_init(struct plan *plan)
{
    memset(plan, 0, sizeof(*plan));
    plan->learned = (struct map)MAP_INIT(free);
}

void plan_drop_ops(struct plan *plan)
{
    for (size_t i = 0; i < plan->n_ops; i++) {
        free((char *)(uintptr_t)plan->ops[i].key);
        free((void *)(uintptr_t)plan->ops[i].value);
    }
    plan->n_ops = 0;
}

void plan_reset(struct plan *plan)
{
    for (size_t i = 0; i < plan->n_guards; i++)
        free((char *)(uintptr_t)plan->guards[i].key);
    plan->n_guards = 0;
    plan_drop_ops(plan);
}

void plan_forget(struct plan *plan)
{
    map_clear(&plan->learned);
}

void plan_done(struct plan *plan)
{
    plan_reset(plan);
    map_clear(&plan->learned);
}

void plan_guard(struct plan *plan, const char *key, enum store_compare compare, int64_t revision)
{
    if (plan->n_guards == STORE_TXN_MAX)
        abort();
    plan->guards[plan->n_guards++] =
        (struct store_guard){.key = str_dup(key), .compare = compare, .revision = revision};
}

static struct store_op *plan_add(struct plan *plan, enum store_action action, const char *key)
{
    if (plan->n_ops == STORE_TXN_MAX)
        abort();
    struct store_op *op = &plan->ops[plan->n_ops++];
    *op = (struct store_op){.action = action, .key = str_dup(key)};
    return op;
}

void plan_put(struct plan *plan, const char *key, const void *value, size_t len, uint64_t ttl_s)
{
    struct store_op *op = plan_add(plan, STORE_PUT, key);
    op->value = mem_dup(value, len);
    op->len = len;
    op->ttl_s = ttl_s;
}

void plan_delete(struct plan *plan, const char *key)
{
    (void)plan_add(plan, STORE_DELETE, key);
}

bool plan_has_room(const struct plan *plan, size_t more)
{
    return plan->n_guards + more <= STORE_TXN_MAX && plan->n_ops + more <= STORE_TXN_MAX;
}

const struct learned *plan_learned(const struct plan *plan, const char *key)
{
    return map_get(&plan->learned, key);
}

void plan_learn(struct plan *plan, const struct store_txn_result *result)
{
    for (size_t i = 0; i < result->n && i < plan->n_guards; i++) {
        const struct store_kv *kv = &result->kvs[i];
        size_t len = kv->key ? kv->len : 0;
        struct learned *l = mem_zalloc(sizeof(*l) + len + 1);
        l->revision = kv->key ? kv->mod_revision : 0;
        l->len = len;
        if (len)
            memcpy(l->value, kv->value, len);
        map_set(&plan->learned, plan->guards[i].key, l);
    }
}

const struct store_op *plan_op(const struct plan *plan, const char *key)
{
    for (size_t i = 0; i < plan->n_ops; i++)
        if (str_eq(plan->ops[i].key, key))
            return &plan->ops[i];
    return NULL;
}

struct store_request *plan_submit(struct plan *plan, struct store *store, store_txn_fn *cb,
                                  void *arg)
{
    const struct store_txn txn = {
        .guards = plan->guards, .n_guards = plan->n_guards, .ops = plan->ops, .n_ops = plan->n_ops};
    return store_txn(store, &txn, cb, arg);
}
