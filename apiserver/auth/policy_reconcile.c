/* Built-in roles into the store; see policy_reconcile.h. Many objects go into one transaction: a
 * first start writes a hundred. */
#include "apiserver/auth/policy_reconcile.h"

#include <errno.h>

#include "apiserver/objects.h"
#include "apiserver/store/peek.h"
#include "apiserver/auth/policy.h"
#include "apiserver/auth/rules.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"

#define BATCH      40
#define AUTOUPDATE "rbac.authorization.kubernetes.io/autoupdate"

struct policy_reconcile {
    struct apiserver *srv;
    json_t *wanted;
    size_t begin, end; /* the batch under way */
    int attempts;
    struct plan plan;
    struct store_request *call;
    struct loop_deferred start;
    policy_reconcile_fn *done;
    void *arg;
};

/* ---- what should be there ---- */

/* Adds the members of @from.@key that @to has not. */
static void add_members(json_t *to, const json_t *from, const char *key)
{
    const char *name;
    json_t *value, *into = json_object_get(meta_of(to), key);
    if (!into) {
        into = json_object();
        (void)json_object_set_new(meta_of(to), key, into);
    }
    json_object_foreach(json_object_get(json_object_get(from, "metadata"), key), name, value) {
        if (!json_object_get(into, name))
            (void)json_object_set(into, name, value);
    }
}

static json_t *array_of(json_t *obj, const char *key)
{
    json_t *array = json_object_get(obj, key);
    if (!json_is_array(array)) {
        array = json_array();
        (void)json_object_set_new(obj, key, array);
    }
    return array;
}

static bool covered(const struct rules *have, const json_t *rule)
{
    _cleanup_json_ json_t *one = json_pack("[O]", rule);
    const struct rule **owned = mem_grow(NULL, have->count + 1, sizeof(*owned));
    struct rules wanted;
    role_rules_parse(one, &wanted);
    for (size_t i = 0; i < have->count; i++)
        owned[i] = &have->items[i];
    bool all = role_rules_cover(owned, have->count, &wanted, NULL) == 1;
    role_rules_done(&wanted);
    free(owned);
    return all;
}

static void add_rules(json_t *to, const json_t *from)
{
    struct rules have;
    size_t i;
    json_t *rule;
    role_rules_parse(json_object_get(to, "rules"), &have);
    json_array_foreach(json_object_get(from, "rules"), i, rule) {
        if (!covered(&have, rule))
            (void)json_array_append(array_of(to, "rules"), rule);
    }
    role_rules_done(&have);
}

static bool contains(const json_t *array, const json_t *value)
{
    size_t i;
    json_t *one;
    json_array_foreach(array, i, one) {
        if (json_equal(one, value))
            return true;
    }
    return false;
}

static void add_entries(json_t *to, const json_t *from)
{
    size_t i;
    json_t *entry;
    json_array_foreach(from, i, entry) {
        if (!contains(to, entry))
            (void)json_array_append(to, entry);
    }
}

json_t *policy_merge(const json_t *wanted, const json_t *old)
{
    static const char selectors[] = "clusterRoleSelectors";
    const json_t *ref = json_object_get(wanted, "roleRef");
    const json_t *aggregation = json_object_get(wanted, "aggregationRule");
    if (old && str_eq(meta_annotation(old, AUTOUPDATE), "false"))
        return NULL;
    /* A binding's role is fixed: another one needs another binding. */
    if (!old || (ref && !json_equal(ref, json_object_get(old, "roleRef"))))
        return json_deep_copy(wanted);
    _cleanup_json_ json_t *next = json_deep_copy(old);
    add_members(next, wanted, "labels");
    add_members(next, wanted, "annotations");
    if (ref) {
        add_entries(array_of(next, "subjects"), json_object_get(wanted, "subjects"));
    } else if (aggregation) {
        if (!json_object_get(next, "aggregationRule"))
            (void)json_object_set_new(next, "aggregationRule", json_object());
        add_entries(array_of(json_object_get(next, "aggregationRule"), selectors),
                    json_object_get(aggregation, selectors));
    } else {
        add_rules(next, wanted);
    }
    return json_equal(next, old) ? NULL : TAKE_PTR(next);
}

/* ---- writing ---- */

static void finish(struct policy_reconcile *p, int code, const struct error *err)
{
    p->done(p->arg, code, err);
    (void)policy_reconcile_cancel(p);
}

struct policy_reconcile *policy_reconcile_cancel(struct policy_reconcile *p)
{
    if (p) {
        store_cancel(p->call);
        loop_deferred_done(&p->start);
        plan_done(&p->plan);
        json_decref(p->wanted);
        free(p);
    }
    return NULL;
}

/* Puts what one object takes into the plan. 0, or -EINVAL when it is not valid. */
static int plan_one(struct policy_reconcile *p, const json_t *wanted, struct error *err)
{
    const char *plural =
        str_eq(meta_kind(wanted), "ClusterRole") ? "clusterroles" : "clusterrolebindings";
    const struct route *route =
        routes_find(p->srv->routes, "rbac.authorization.k8s.io", "v1", plural);
    _cleanup_free_ char *key = route_key(route, "", meta_name(wanted));
    _cleanup_(peeked_done) struct peeked old = peek(p->srv, &p->plan, key);
    _cleanup_json_ json_t *next = policy_merge(wanted, old.tree);
    if (!next)
        return 0;
    bool fresh = !old.tree || !*meta_uid(next);
    _cleanup_json_ json_t *status = fresh ? object_complete_new(route, next)
                                          : object_complete_update(route, "", next, old.tree);
    if (status)
        return error_set(err, -EINVAL, "%s", status_message(status));
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    meta_set(next, "resourceVersion", NULL);
    json_encode(next, &text);
    plan_put(&p->plan, key, text.data, text.len, 0);
    plan_guard(&p->plan, key, old.revision ? STORE_AT_REVISION : STORE_ABSENT, old.revision);
    return 0;
}

static void start_batch(void *arg);

static void on_written(void *arg, int code, const struct store_txn_result *result,
                       const struct error *err)
{
    struct policy_reconcile *p = arg;
    struct error busy = ERROR_INIT;
    p->call = NULL;
    if (code < 0) {
        finish(p, code, err);
        return;
    }
    if (code == 0) {
        p->begin = p->end;
        p->attempts = 0;
    } else if (++p->attempts < WRITE_ATTEMPTS) {
        plan_learn(&p->plan, result);
    } else {
        (void)error_set(&busy, -EBUSY, "others keep changing the built-in roles");
        finish(p, -EBUSY, &busy);
        return;
    }
    loop_defer(&p->start);
}

static void start_batch(void *arg)
{
    struct policy_reconcile *p = arg;
    struct error err = ERROR_INIT;
    plan_reset(&p->plan);
    for (p->end = p->begin; p->end < json_array_size(p->wanted) && p->plan.n_ops < BATCH;
         p->end++) {
        int r = plan_one(p, json_array_get(p->wanted, p->end), &err);
        if (r < 0) {
            finish(p, r, &err);
            return;
        }
    }
    if (p->plan.n_ops)
        p->call = plan_submit(&p->plan, p->srv->store, on_written, p);
    else
        finish(p, 0, NULL);
}

struct policy_reconcile *policy_reconcile(struct apiserver *srv, policy_reconcile_fn *done,
                                          void *arg)
{
    struct policy_reconcile *p = mem_zalloc(sizeof(*p));
    p->srv = srv;
    p->wanted = policy_objects();
    p->done = done;
    p->arg = arg;
    plan_init(&p->plan);
    loop_deferred_init(&p->start, srv->loop, start_batch, p);
    loop_defer(&p->start);
    return p;
}
