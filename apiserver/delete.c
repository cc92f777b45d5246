/* The delete verb, and deletecollection as a list followed by deletions. */
#include <string.h>

#include "apiserver/admission/admission.h"
#include "apiserver/objects.h"
#include "apiserver/removal.h"
#include "apiserver/reply.h"
#include "apiserver/selection.h"
#include "apiserver/server.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"

struct delete_op {
    struct request *r;
    struct delete_options options;
    /* a collection's: */
    struct selection sel;
    struct encoded_list list; /* what is to go */
    struct encoded_list gone; /* as it was last */
    size_t next;
    int64_t revision;
};

static void delete_op_free(void *p)
{
    struct delete_op *op = p;
    delete_options_done(&op->options);
    selection_done(&op->sel);
    encoded_list_done(&op->list);
    encoded_list_done(&op->gone);
    free(op);
}

static struct delete_op *delete_op_new(struct request *r)
{
    struct delete_op *op = mem_zalloc(sizeof(*op));
    op->r = r;
    r->op = op;
    r->op_free = delete_op_free;
    return op;
}

static enum verdict make(void *arg, const struct encoded *old, json_t *tree, struct plan *plan,
                         json_t **next, json_t **status)
{
    struct delete_op *op = arg;
    if (!old) {
        *status = status_not_found(&op->r->route->about, op->r->info.name);
        return VERDICT_REFUSE;
    }
    const struct admission admission = request_admission(op->r, plan);
    enum verdict verdict = admit_write(&admission, "", NULL, tree, status);
    if (verdict != VERDICT_WRITE)
        return verdict;
    return removal_decide(op->r->route, &op->options, tree, next, status);
}

/* Kinds whose deletion answers with the object even when it is gone at once. */
static bool returns_object(const char *kind)
{
    return str_eq(kind, "Pod") || str_eq(kind, "Service") || str_eq(kind, "ServiceAccount") ||
           str_eq(kind, "PersistentVolumeClaim") || str_eq(kind, "PersistentVolume");
}

static void on_done(void *arg, struct change_result *result)
{
    struct delete_op *op = arg;
    struct request *r = op->r;
    r->change = NULL;
    if (result->code > 0) {
        reply_status(r, result->status);
    } else if (result->code < 0) {
        reply_store_error(r, result->code, result->err);
    } else if (!result->removed || returns_object(r->route->res->kind)) {
        reply_object(r, 200, result->object);
    } else {
        _cleanup_json_ json_t *tree = encoded_tree(result->object, NULL);
        reply_status(r, status_deleted(&r->route->about, r->info.name, meta_uid(tree)));
    }
}

void verb_delete(struct request *r)
{
    struct delete_op *op = delete_op_new(r);
    json_t *status = delete_options_parse(r, &op->options);
    if (status) {
        reply_status(r, status);
        return;
    }
    const struct change_spec spec = {
        .srv = r->srv,
        .route = r->route,
        .ns = r->info.namespace_,
        .name = r->info.name,
        .dry_run = op->options.dry_run,
        .make = make,
        .arg = op,
    };
    r->change = change_start(&spec, on_done, op);
}

/* ---- collections: one object after the other ---- */

static void delete_next(struct delete_op *op);

static enum verdict make_one(void *arg, const struct encoded *old, json_t *tree, struct plan *plan,
                             json_t **next, json_t **status)
{
    struct delete_op *op = arg;
    struct admission admission = request_admission(op->r, plan);
    if (!old) /* somebody else was faster: as good */
        return VERDICT_NOTHING;
    admission.name = meta_name(tree);
    enum verdict verdict = admit_write(&admission, "", NULL, tree, status);
    if (verdict != VERDICT_WRITE)
        return verdict;
    return removal_decide(op->r->route, &op->options, tree, next, status);
}

static void on_one_done(void *arg, struct change_result *result)
{
    struct delete_op *op = arg;
    struct request *r = op->r;
    r->change = NULL;
    if (result->code > 0) {
        reply_status(r, result->status);
        return;
    }
    if (result->code < 0) {
        reply_store_error(r, result->code, result->err);
        return;
    }
    if (result->object)
        encoded_list_add(&op->gone, encoded_ref(result->object));
    delete_next(op);
}

static void delete_next(struct delete_op *op)
{
    struct request *r = op->r;
    if (op->next == op->list.count) {
        reply_list(r, &op->gone, op->revision, NULL, -1);
        return;
    }
    const char *rest = op->list.items[op->next++]->key + strlen(r->route->prefix);
    size_t ns_len = r->route->res->namespaced ? strcspn(rest, "/") : 0;
    _cleanup_free_ char *ns = str_ndup(rest, ns_len);
    const struct change_spec spec = {
        .srv = r->srv,
        .route = r->route,
        .ns = ns,
        .name = rest + ns_len + (ns_len > 0),
        .dry_run = op->options.dry_run,
        .make = make_one,
        .arg = op,
    };
    r->change = change_start(&spec, on_one_done, op);
}

static void on_page(void *arg, int code, const struct store_range_result *result,
                    const struct error *err)
{
    struct delete_op *op = arg;
    struct request *r = op->r;
    if (code && code != STORE_E_NOT_FOUND) {
        r->call = NULL;
        if (code > 0)
            reply_status(r, status_expired("the list was compacted while it was being read"));
        else
            reply_store_error(r, code, err);
        return;
    }
    for (size_t i = 0; i < result->n; i++) {
        const struct store_kv *kv = &result->kvs[i];
        struct error bad = ERROR_INIT;
        struct encoded *e = encoded_new(kv->key, kv->value, kv->len, kv->mod_revision, &bad);
        if (!e) {
            if (result->more)
                store_cancel(r->call);
            r->call = NULL;
            reply_status(r, status_internal_error("%s", error_text(&bad)));
            return;
        }
        if (selection_matches(&op->sel, e, r->route->res))
            encoded_list_add(&op->list, e);
        else
            (void)encoded_unref(e);
    }
    if (result->more)
        return;
    r->call = NULL;
    op->revision = result->revision;
    delete_next(op);
}

void verb_delete_collection(struct request *r)
{
    struct delete_op *op = delete_op_new(r);
    json_t *status = delete_options_parse(r, &op->options);
    if (status || selection_parse(&op->sel, r, &status) < 0) {
        reply_status(r, status);
        return;
    }
    const struct store_range range = {.key = op->sel.prefix, .prefix = !op->sel.exact};
    r->call = op->sel.exact ? store_range(r->srv->store, &range, on_page, op)
                            : store_list(r->srv->store, &range, STORE_PAGE, on_page, op);
}
