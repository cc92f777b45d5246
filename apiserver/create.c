/* The create verb. */
#include "apiserver/admission/admission.h"
#include "apiserver/objects.h"
#include "apiserver/reply.h"
#include "apiserver/server.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"

struct create_op {
    struct request *r;
    json_t *obj;
    bool generated; /* the name is ours: another one will do */
};

static void create_op_free(void *p)
{
    struct create_op *op = p;
    json_decref(op->obj);
    free(op);
}

static void on_done(void *arg, struct change_result *result)
{
    struct create_op *op = arg;
    struct request *r = op->r;
    r->change = NULL;
    if (result->code > 0)
        reply_status(r, result->status);
    else if (result->code < 0)
        reply_store_error(r, result->code, result->err);
    else
        reply_object(r, 201, result->object);
}

static enum verdict make(void *arg, const struct encoded *old, json_t *tree, struct plan *plan,
                         json_t **next, json_t **status)
{
    struct create_op *op = arg;
    struct request *r = op->r;
    (void)tree;
    if (old && op->generated) {
        _cleanup_free_ char *name = meta_generated_name(meta_generate_name(op->obj));
        meta_set(op->obj, "name", name);
        change_rename(r->change, name);
        return VERDICT_AGAIN;
    }
    if (old) {
        *status = status_already_exists(&r->route->about, meta_name(op->obj));
        return VERDICT_REFUSE;
    }
    _cleanup_json_ json_t *obj = json_deep_copy(op->obj);
    struct admission admission = request_admission(r, plan);
    admission.name = meta_name(obj);
    enum verdict verdict = admit_create(&admission, obj, status);
    if (verdict != VERDICT_WRITE)
        return verdict;
    *status = object_complete_new(r->route, obj);
    if (*status)
        return VERDICT_REFUSE;
    verdict = admit_write(&admission, "", obj, NULL, status);
    if (verdict == VERDICT_WRITE)
        *next = TAKE_PTR(obj);
    return verdict;
}

void verb_create(struct request *r)
{
    struct create_op *op = mem_zalloc(sizeof(*op));
    op->r = r;
    r->op = op;
    r->op_free = create_op_free;
    const struct schema_resource *res = r->route->res;
    json_t *status = object_dry_run(r, &r->dry_run);
    if (!status && res->namespaced && !*r->info.namespace_)
        status = status_bad_request("%s is created in a namespace: POST to "
                                    "…/namespaces/NAMESPACE/%s",
                                    res->kind, res->plural);
    if (!status)
        status = object_from_body(r, res, &op->obj);
    if (!status && !*meta_name(op->obj)) {
        if (*meta_generate_name(op->obj)) {
            _cleanup_free_ char *name = meta_generated_name(meta_generate_name(op->obj));
            meta_set(op->obj, "name", name);
            op->generated = true;
        }
    }
    if (status) {
        reply_status(r, status);
        return;
    }
    const struct change_spec spec = {
        .srv = r->srv,
        .route = r->route,
        .ns = r->info.namespace_,
        .name = meta_name(op->obj),
        .create = true,
        .dry_run = r->dry_run,
        .guard_namespace = res->namespaced,
        .make = make,
        .arg = op,
    };
    r->change = change_start(&spec, on_done, op);
}
