/*
 * The update and patch verbs, for objects and their subresource "status". A patch is applied to
 * what is there each time it is tried; it meets a conflict only if it names a resourceVersion.
 */
#include <errno.h>

#include "apiserver/admission/admission.h"
#include "apiserver/objects.h"
#include "apiserver/reply.h"
#include "apiserver/server.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/patch.h"
#include "kube/status.h"

struct update_op {
    struct request *r;
    json_t *body; /* the new object, or the patch */
    enum patch_kind kind;
    enum field_validation fv;
};

static void update_op_free(void *p)
{
    struct update_op *op = p;
    json_decref(op->body);
    free(op);
}

static void on_done(void *arg, struct change_result *result)
{
    struct update_op *op = arg;
    struct request *r = op->r;
    r->change = NULL;
    if (result->code > 0)
        reply_status(r, result->status);
    else if (result->code < 0)
        reply_store_error(r, result->code, result->err);
    else
        reply_object(r, 200, result->object);
}

json_t *patch_status(const struct route *route, const char *name, int code, const struct error *err)
{
    switch (code) {
    case -ENOENT: {
        json_t *status = status_new(422, "Invalid", error_text(err));
        (void)json_path_set(status, "details.name", json_text(name));
        (void)json_path_set(status, "details.kind", json_text(route->about.resource));
        return status;
    }
    case -EFBIG:
        return status_too_large("%s", error_text(err));
    case -EOPNOTSUPP:
        return status_new(415, "UnsupportedMediaType", error_text(err));
    default:
        return status_bad_request("%s", error_text(err));
    }
}

/* The patched object, checked against the schema. */
static json_t *apply_patch(struct update_op *op, const json_t *tree, json_t **ret)
{
    struct request *r = op->r;
    struct error err = ERROR_INIT;
    int code = patch_apply(op->kind, r->route->res, tree, op->body, ret, &err);
    if (code < 0)
        return patch_status(r->route, r->info.name, code, &err);
    json_t *status = NULL;
    _cleanup_json_ json_t *warnings = NULL;
    if (object_check(r->route->res, *ret, op->fv, &warnings, &status) < 0)
        return status;
    json_decref(r->warnings);
    r->warnings = TAKE_PTR(warnings);
    if (!str_eq(meta_name(*ret), r->info.name) ||
        !str_eq(meta_namespace(*ret), meta_namespace(tree)))
        return status_bad_request("the name or namespace of the object cannot be changed by a "
                                  "patch");
    return NULL;
}

static enum verdict make(void *arg, const struct encoded *old, json_t *tree, struct plan *plan,
                         json_t **next, json_t **status)
{
    struct update_op *op = arg;
    struct request *r = op->r;
    if (!old) {
        *status = status_not_found(&r->route->about, r->info.name);
        return VERDICT_REFUSE;
    }
    _cleanup_json_ json_t *obj = NULL;
    if (r->verb == VERB_PATCH)
        *status = apply_patch(op, tree, &obj);
    else
        obj = json_deep_copy(op->body);
    if (!*status)
        *status = object_complete_update(r->route, r->info.subresource, obj, tree);
    if (*status)
        return VERDICT_REFUSE;
    const struct admission admission = request_admission(r, plan);
    enum verdict verdict = admit_write(&admission, r->info.subresource, obj, tree, status);
    if (verdict != VERDICT_WRITE)
        return verdict;
    *next = TAKE_PTR(obj);
    return object_is_released(r->route, *next) ? VERDICT_REMOVE : VERDICT_WRITE;
}

json_t *patch_from_body(const struct request *r, enum patch_kind *ret_kind, json_t **ret)
{
    const char *type = http_exchange_header(r->x, "Content-Type");
    if (!type || patch_kind_parse(type, ret_kind) < 0)
        return status_unsupported_media_type(PATCH_MEDIA_TYPES);
    if (*ret_kind == PATCH_APPLY)
        return status_new(415, "UnsupportedMediaType",
                          "server-side apply is not supported: use client-side apply "
                          "(kubectl apply without --server-side)");
    struct error err = ERROR_INIT;
    *ret = json_parse(r->body, r->body_len, &err);
    return *ret ? NULL : status_bad_request("the patch is not JSON: %s", error_text(&err));
}

void verb_update(struct request *r)
{
    struct update_op *op = mem_zalloc(sizeof(*op));
    op->r = r;
    r->op = op;
    r->op_free = update_op_free;
    json_t *status = object_dry_run(r, &r->dry_run);
    if (!status)
        status = object_field_validation(r, &op->fv);
    if (!status)
        status = r->verb == VERB_PATCH ? patch_from_body(r, &op->kind, &op->body)
                                       : object_from_body(r, r->route->res, &op->body);
    if (status) {
        reply_status(r, status);
        return;
    }
    const struct change_spec spec = {
        .srv = r->srv,
        .route = r->route,
        .ns = r->info.namespace_,
        .name = r->info.name,
        .dry_run = r->dry_run,
        .make = make,
        .arg = op,
    };
    r->change = change_start(&spec, on_done, op);
}
