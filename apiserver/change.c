/* Guarded changes; see change.h. */
#include "apiserver/change.h"

#include <errno.h>
#include <string.h>

#include "apiserver/namespaces.h"
#include "apiserver/service.h"
#include "apiserver/store/watch_cache.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"

/* Between looks at what is not there yet (VERDICT_LATER): with WRITE_ATTEMPTS, about 2 s in all. */
#define LATER_MS 200

struct change {
    struct change_spec spec;
    char *ns, *name, *key;
    struct plan plan;
    struct store_request *call;
    struct loop_deferred start;
    struct loop_timer later;
    int attempts;
    change_fn *done;
    void *done_arg;
    struct encoded *written; /* what the transaction under way will leave behind */
    char *text;              /* its stored form */
    size_t text_len;
    int64_t revision; /* of the object that it replaces; 0: none */
    bool removing;
};

static void change_free(struct change *c)
{
    loop_deferred_done(&c->start);
    loop_timer_done(&c->later);
    plan_done(&c->plan);
    (void)encoded_unref(c->written);
    free(c->ns);
    free(c->name);
    free(c->key);
    free(c->text);
    free(c);
}

struct change *change_cancel(struct change *c)
{
    if (c) {
        store_cancel(c->call);
        change_free(c);
    }
    return NULL;
}

void change_rename(struct change *c, const char *name)
{
    free(c->name);
    free(c->key);
    c->name = str_dup(name);
    c->key = route_key(c->spec.route, c->ns, name);
}

static void finish(struct change *c, struct change_result *result)
{
    c->call = NULL;
    c->done(c->done_arg, result);
    change_free(c);
}

static void finish_status(struct change *c, json_t *status)
{
    struct change_result result = {.code = 1, .status = status};
    finish(c, &result);
}

static void finish_error(struct change *c, int code, const struct error *err)
{
    struct change_result result = {.code = code, .err = err};
    finish(c, &result);
}

static void finish_object(struct change *c, struct encoded *e, bool removed, bool unchanged)
{
    struct change_result result = {.object = e, .removed = removed, .unchanged = unchanged};
    finish(c, &result);
}

static void attempt(struct change *c, const struct learned *current);
static void conflict(struct change *c);

static void on_written(void *arg, int code, const struct store_txn_result *result,
                       const struct error *err)
{
    struct change *c = arg;
    c->call = NULL;
    if (code < 0) {
        finish_error(c, code, err);
        return;
    }
    if (code == 0) {
        service_committed(c->spec.srv, &c->plan, result->revision);
        if (!c->removing)
            c->written = encoded_new(c->key, c->text, c->text_len,
                                     c->spec.dry_run ? c->revision : result->revision, NULL);
        finish_object(c, c->written, c->removing, false);
        return;
    }
    plan_learn(&c->plan, result);
    service_conflicted(c->spec.srv, &c->plan);
    if (++c->attempts >= WRITE_ATTEMPTS) {
        conflict(c);
        return;
    }
    attempt(c, plan_learned(&c->plan, c->key));
}

/* Puts @next into the plan as the object's value. */
static void plan_object(struct change *c, json_t *next)
{
    struct strbuf text = STRBUF_INIT;
    meta_set(next, "resourceVersion", NULL);
    json_encode(next, &text);
    free(c->text);
    c->text_len = text.len;
    c->text = strbuf_take(&text);
    bool event = str_eq(c->spec.route->res->kind, "Event");
    plan_put(&c->plan, c->key, c->text, c->text_len, event ? c->spec.srv->event_ttl_s : 0);
}

static bool same(json_t *tree, json_t *next)
{
    meta_set(tree, "resourceVersion", NULL);
    meta_set(next, "resourceVersion", NULL);
    return json_equal(tree, next) != 0;
}

/* @next as it would be served at @revision. */
static struct encoded *encode_at(struct change *c, json_t *next, int64_t revision)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    meta_set(next, "resourceVersion", NULL);
    json_encode(next, &text);
    return encoded_new(c->key, text.data, text.len, revision, NULL);
}

/* The verdict was to write or to remove: sends the transaction, or ends a dry run. */
static void submit(struct change *c, struct encoded *old, json_t *tree, json_t *next)
{
    int64_t revision = old ? old->revision : 0;
    if (str_eq(c->spec.route->res->kind, "Service")) {
        json_t *status = service_plan(c->spec.srv, tree, c->removing ? NULL : next, &c->plan);
        if (status) {
            finish_status(c, status);
            return;
        }
    }
    if (c->removing) {
        c->written = encoded_unref(c->written);
        c->written = next ? encode_at(c, next, revision) : encoded_ref(old);
        plan_delete(&c->plan, c->key);
    } else {
        if (old && same(tree, next)) {
            finish_object(c, old, false, true);
            return;
        }
        plan_object(c, next);
    }
    c->revision = revision;
    if (c->spec.dry_run)
        plan_drop_ops(&c->plan);
    plan_guard(&c->plan, c->key, old ? STORE_AT_REVISION : STORE_ABSENT, revision);
    c->call = plan_submit(&c->plan, c->spec.srv->store, on_written, c);
}

static void conflict(struct change *c)
{
    finish_status(c,
                  status_conflict(&c->spec.route->about, c->name, "%s", STATUS_CONFLICT_MODIFIED));
}

/* One round from what is there now (@current; NULL or revision 0: nothing). */
static void attempt(struct change *c, const struct learned *current)
{
    plan_reset(&c->plan);
    struct error err = ERROR_INIT;
    _cleanup_(encoded_unrefp) struct encoded *old = NULL;
    _cleanup_json_ json_t *tree = NULL, *next = NULL, *compare = NULL;
    if (current && current->revision) {
        old = encoded_new(c->key, current->value, current->len, current->revision, &err);
        tree = old ? encoded_tree(old, &err) : NULL;
        if (!tree) {
            finish_status(c, status_internal_error("%s", error_text(&err)));
            return;
        }
        compare = json_deep_copy(tree);
    }
    json_t *status = NULL;
    if (c->spec.guard_namespace) {
        status = namespace_guard(c->spec.srv, c->spec.route, c->ns, c->name, &c->plan);
        if (status) {
            finish_status(c, status);
            return;
        }
    }
    enum verdict verdict = c->spec.make(c->spec.arg, old, tree, &c->plan, &next, &status);
    switch (verdict) {
    case VERDICT_REFUSE:
        finish_status(c, status);
        return;
    case VERDICT_NOTHING:
        finish_object(c, old, false, true);
        return;
    case VERDICT_AGAIN:
        if (++c->attempts >= WRITE_ATTEMPTS)
            conflict(c);
        else
            loop_defer(&c->start);
        return;
    case VERDICT_LATER:
        if (++c->attempts >= WRITE_ATTEMPTS) {
            finish_status(c, status);
            return;
        }
        json_decref(status);
        plan_forget(&c->plan);
        loop_timer_set(&c->later, LATER_MS);
        return;
    case VERDICT_WRITE:
    case VERDICT_REMOVE:
        c->removing = verdict == VERDICT_REMOVE;
        submit(c, old, compare, next);
    }
}

static void on_read(void *arg, int code, const struct store_range_result *result,
                    const struct error *err)
{
    struct change *c = arg;
    c->call = NULL;
    if (code < 0) {
        finish_error(c, code, err);
        return;
    }
    if (code || !result->n) {
        attempt(c, NULL);
        return;
    }
    const struct store_kv *kv = &result->kvs[0];
    struct learned *l = mem_zalloc(sizeof(*l) + kv->len + 1);
    l->revision = kv->mod_revision;
    l->len = kv->len;
    if (kv->len)
        memcpy(l->value, kv->value, kv->len);
    attempt(c, l);
    free(l);
}

static void on_start(void *arg)
{
    struct change *c = arg;
    if (c->spec.create) {
        attempt(c, NULL);
        return;
    }
    const struct store_range range = {.key = c->key};
    c->call = store_range(c->spec.srv->store, &range, on_read, c);
}

struct change *change_start(const struct change_spec *spec, change_fn *done, void *arg)
{
    struct change *c = mem_zalloc(sizeof(*c));
    c->spec = *spec;
    c->ns = str_dup(spec->ns ? spec->ns : "");
    c->name = str_dup(spec->name);
    c->key = route_key(spec->route, c->ns, c->name);
    c->done = done;
    c->done_arg = arg;
    plan_init(&c->plan);
    loop_deferred_init(&c->start, spec->srv->loop, on_start, c);
    loop_timer_init(&c->later, spec->srv->loop, "change that waits", on_start, c);
    loop_defer(&c->start);
    return c;
}
