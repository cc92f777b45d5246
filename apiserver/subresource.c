/*
 * Subresources other than status: scale, binding, eviction, finalize. What goes on to the kubelet
 * (log, exec, attach, portforward) is in kubelet_proxy.c, any other request in proxy.c.
 */
#include <errno.h>

#include "apiserver/admission/admission.h"
#include "apiserver/kubelet_proxy.h"
#include "apiserver/proxy.h"
#include "apiserver/objects.h"
#include "apiserver/removal.h"
#include "apiserver/reply.h"
#include "apiserver/server.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/patch.h"
#include "kube/status.h"

struct sub_op {
    struct request *r;
    json_t *body;
    enum patch_kind kind;
    struct delete_options options; /* eviction */
};

static void sub_op_free(void *p)
{
    struct sub_op *op = p;
    json_decref(op->body);
    delete_options_done(&op->options);
    free(op);
}

static json_t *not_found(const struct request *r)
{
    return status_not_found(&r->route->about, r->info.name);
}

static void start(struct sub_op *op,
                  enum verdict (*make)(void *, const struct encoded *, json_t *, struct plan *,
                                       json_t **, json_t **),
                  change_fn *done)
{
    struct request *r = op->r;
    const struct change_spec spec = {
        .srv = r->srv,
        .route = r->route,
        .ns = r->info.namespace_,
        .name = r->info.name,
        .dry_run = r->dry_run,
        .make = make,
        .arg = op,
    };
    r->change = change_start(&spec, done, op);
}

/* True when the change went wrong and the request has been answered. */
static bool failed(struct sub_op *op, struct change_result *result)
{
    op->r->change = NULL;
    if (result->code > 0)
        reply_status(op->r, result->status);
    else if (result->code < 0)
        reply_store_error(op->r, result->code, result->err);
    return result->code != 0;
}

static void done_success(void *arg, struct change_result *result)
{
    struct sub_op *op = arg;
    if (failed(op, result))
        return;
    json_t *status = status_success();
    (void)json_object_set_new(status, "code", json_integer(201));
    reply_json(op->r, 201, status);
}

/* The body as JSON, its kind checked where it says one. */
static json_t *body_of_kind(struct request *r, const char *kind, json_t **ret)
{
    json_t *status = object_raw_body(r, ret);
    if (status)
        return status;
    const char *got = meta_kind(*ret);
    if (*got && !str_eq(got, kind))
        return status_bad_request("the body is a %.64s, expected a %s", got, kind);
    const char *name = meta_name(*ret), *ns = meta_namespace(*ret);
    if (*name && !str_eq(name, r->info.name))
        return status_bad_request(
            "the name of the object (%s) does not match the name on the URL (%s)", name,
            r->info.name);
    if (*ns && !str_eq(ns, r->info.namespace_))
        return status_bad_request("the namespace of the provided object does not match the "
                                  "namespace sent on the request");
    return NULL;
}

/* ---- scale ---- */

static void reply_scale(struct request *r, const struct encoded *e)
{
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *tree = encoded_tree(e, &err);
    if (!tree)
        reply_status(r, status_internal_error("%s", error_text(&err)));
    else
        reply_json(r, 200, object_scale_get(r->route->res, tree));
}

static void on_scale_read(void *arg, int code, const struct store_range_result *result,
                          const struct error *err)
{
    struct request *r = arg;
    r->call = NULL;
    if (code < 0) {
        reply_store_error(r, code, err);
        return;
    }
    if (code || !result->n) {
        reply_not_found(r);
        return;
    }
    const struct store_kv *kv = &result->kvs[0];
    struct error bad = ERROR_INIT;
    _cleanup_(encoded_unrefp) struct encoded *e =
        encoded_new(kv->key, kv->value, kv->len, kv->mod_revision, &bad);
    if (!e)
        reply_status(r, status_internal_error("%s", error_text(&bad)));
    else
        reply_scale(r, e);
}

/* The scale that is asked for: the body, or the patched present one. */
static json_t *wanted_scale(struct sub_op *op, const json_t *tree, json_t **ret)
{
    struct request *r = op->r;
    if (r->verb != VERB_PATCH) {
        *ret = json_incref(op->body);
        return NULL;
    }
    struct error err = ERROR_INIT;
    const struct schema_resource *type =
        schema_by_kind(r->srv->schemas, "autoscaling", "v1", "Scale");
    _cleanup_json_ json_t *now = object_scale_get(r->route->res, tree);
    int code = op->kind == PATCH_STRATEGIC && !type
                   ? patch_merge(now, op->body, ret, &err)
                   : patch_apply(op->kind, type, now, op->body, ret, &err);
    return code < 0 ? patch_status(r->route, r->info.name, code, &err) : NULL;
}

static enum verdict make_scale(void *arg, const struct encoded *old, json_t *tree,
                               struct plan *plan, json_t **next, json_t **status)
{
    struct sub_op *op = arg;
    struct request *r = op->r;
    (void)plan;
    if (!old) {
        *status = not_found(r);
        return VERDICT_REFUSE;
    }
    _cleanup_json_ json_t *scale = NULL;
    *status = wanted_scale(op, tree, &scale);
    if (*status)
        return VERDICT_REFUSE;
    _cleanup_json_ json_t *obj = json_deep_copy(tree);
    meta_set(obj, "resourceVersion", meta_resource_version(scale));
    struct field_errors errs = FIELD_ERRORS_INIT;
    if (object_scale_set(obj, scale, &errs) < 0) {
        static const struct status_resource about = {
            .group = "autoscaling", .resource = "scales", .kind = "Scale"};
        *status = status_invalid(&about, r->info.name, &errs);
    }
    field_errors_done(&errs);
    if (!*status)
        *status = object_complete_update(r->route, "", obj, tree);
    if (*status)
        return VERDICT_REFUSE;
    *next = TAKE_PTR(obj);
    return VERDICT_WRITE;
}

static void done_scale(void *arg, struct change_result *result)
{
    struct sub_op *op = arg;
    if (!failed(op, result))
        reply_scale(op->r, result->object);
}

static json_t *serve_scale(struct sub_op *op)
{
    struct request *r = op->r;
    if (r->verb == VERB_GET) {
        _cleanup_free_ char *key = route_key(r->route, r->info.namespace_, r->info.name);
        const struct store_range range = {.key = key};
        r->call = store_range(r->srv->store, &range, on_scale_read, r);
        return NULL;
    }
    if (r->verb != VERB_UPDATE && r->verb != VERB_PATCH)
        return status_method_not_allowed(&r->route->about, http_exchange_method(r->x));
    json_t *status = r->verb == VERB_PATCH ? patch_from_body(r, &op->kind, &op->body)
                                           : body_of_kind(r, "Scale", &op->body);
    if (!status)
        start(op, make_scale, done_scale);
    return status;
}

/* ---- binding ---- */

static void set_scheduled(json_t *pod)
{
    json_t *conditions = json_object_get(json_object_get(pod, "status"), "conditions");
    if (!json_is_array(conditions)) {
        (void)json_path_set(pod, "status.conditions", json_array());
        conditions = json_object_get(json_object_get(pod, "status"), "conditions");
    }
    size_t i;
    json_t *c;
    json_array_foreach(conditions, i, c) {
        if (str_eq(json_path_string(c, "type"), "PodScheduled")) {
            (void)json_array_remove(conditions, i);
            break;
        }
    }
    json_t *now = object_now();
    (void)json_array_append_new(conditions,
                                json_pack("{s:s,s:s,s:n,s:o}", "type", "PodScheduled", "status",
                                          "True", "lastProbeTime", "lastTransitionTime", now));
}

static enum verdict make_binding(void *arg, const struct encoded *old, json_t *tree,
                                 struct plan *plan, json_t **next, json_t **status)
{
    struct sub_op *op = arg;
    struct request *r = op->r;
    (void)plan;
    const char *uid = meta_uid(op->body), *version = meta_resource_version(op->body);
    const char *assigned = json_path_string(tree, "spec.nodeName");
    if (!old)
        *status = not_found(r);
    else if (*uid && !str_eq(uid, meta_uid(tree)))
        *status = status_conflict(&r->route->about, r->info.name,
                                  "Precondition failed: UID in precondition: %s, UID in object "
                                  "meta: %s",
                                  uid, meta_uid(tree));
    else if (*version && !str_eq(version, meta_resource_version(tree)))
        *status = status_conflict(&r->route->about, r->info.name, "%s", STATUS_CONFLICT_MODIFIED);
    else if (*meta_deletion_timestamp(tree))
        *status =
            status_conflict(&r->route->about, r->info.name,
                            "pod %s is being deleted, cannot be assigned to a host", r->info.name);
    else if (assigned && *assigned)
        *status =
            status_conflict(&r->route->about, r->info.name,
                            "pod %s is already assigned to node \"%s\"", r->info.name, assigned);
    if (*status)
        return VERDICT_REFUSE;
    (void)json_path_set(tree, "spec.nodeName",
                        json_text(json_path_string(op->body, "target.name")));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)meta_annotations(op->body), key, value)
        meta_set_annotation(tree, key, json_string_value(value));
    if (meta_generation(tree) > 0)
        meta_set_int(tree, "generation", meta_generation(tree) + 1);
    set_scheduled(tree);
    *next = json_incref(tree);
    return VERDICT_WRITE;
}

static json_t *serve_binding(struct sub_op *op)
{
    struct request *r = op->r;
    json_t *status = body_of_kind(r, "Binding", &op->body);
    if (status)
        return status;
    struct field_errors errs = FIELD_ERRORS_INIT;
    const struct field_path *target = FIELD(NULL, "target");
    const char *kind = json_path_string(op->body, "target.kind");
    const char *name = json_path_string(op->body, "target.name");
    if (kind && *kind && !str_eq(kind, "Node"))
        field_not_supported(&errs, FIELD(target, "kind"), json_path(op->body, "target.kind"),
                            (const char *const[]){"Node", NULL});
    if (!name || !*name)
        field_required(&errs, FIELD(target, "name"), "");
    if (errs.count) {
        static const struct status_resource about = {
            .group = "", .resource = "bindings", .kind = "Binding"};
        status = status_invalid(&about, r->info.name, &errs);
    }
    field_errors_done(&errs);
    if (!status)
        start(op, make_binding, done_success);
    return status;
}

/* ---- eviction ---- */

static enum verdict make_eviction(void *arg, const struct encoded *old, json_t *tree,
                                  struct plan *plan, json_t **next, json_t **status)
{
    struct sub_op *op = arg;
    if (!old) {
        *status = not_found(op->r);
        return VERDICT_REFUSE;
    }
    const struct admission admission = request_admission(op->r, plan);
    enum verdict verdict = admit_write(&admission, "eviction", NULL, tree, status);
    if (verdict != VERDICT_WRITE)
        return verdict;
    return removal_decide(op->r->route, &op->options, tree, next, status);
}

static json_t *serve_eviction(struct sub_op *op)
{
    struct request *r = op->r;
    json_t *status = body_of_kind(r, "Eviction", &op->body);
    if (!status)
        status = delete_options_from(r, json_object_get(op->body, "deleteOptions"), &op->options);
    if (status)
        return status;
    r->dry_run |= op->options.dry_run;
    start(op, make_eviction, done_success);
    return NULL;
}

/* ---- a namespace's finalizers ---- */

static enum verdict make_finalize(void *arg, const struct encoded *old, json_t *tree,
                                  struct plan *plan, json_t **next, json_t **status)
{
    struct sub_op *op = arg;
    struct request *r = op->r;
    (void)plan;
    if (!old) {
        *status = not_found(r);
        return VERDICT_REFUSE;
    }
    const char *version = meta_resource_version(op->body);
    if (*version && !str_eq(version, meta_resource_version(tree))) {
        *status = status_conflict(&r->route->about, r->info.name, "%s", STATUS_CONFLICT_MODIFIED);
        return VERDICT_REFUSE;
    }
    const json_t *finalizers = json_path(op->body, "spec.finalizers");
    (void)json_path_set(tree, "spec.finalizers",
                        json_is_array(finalizers) ? json_incref((json_t *)(uintptr_t)finalizers)
                                                  : json_array());
    *next = json_incref(tree);
    return object_is_released(r->route, tree) ? VERDICT_REMOVE : VERDICT_WRITE;
}

static void done_object(void *arg, struct change_result *result)
{
    struct sub_op *op = arg;
    if (!failed(op, result))
        reply_object(op->r, 200, result->object);
}

static json_t *serve_finalize(struct sub_op *op)
{
    struct request *r = op->r;
    if (r->verb != VERB_UPDATE)
        return status_method_not_allowed(&r->route->about, http_exchange_method(r->x));
    json_t *status = object_from_body(r, r->route->res, &op->body);
    if (!status)
        start(op, make_finalize, done_object);
    return status;
}

bool subresource_is_part(const char *subresource)
{
    return str_eq(subresource, "status") || str_eq(subresource, "approval") ||
           str_eq(subresource, "ephemeralcontainers") || str_eq(subresource, "resize");
}

bool subresource_streams(const struct request *r)
{
    return kubelet_proxy_serves(r->info.subresource);
}

void verb_subresource(struct request *r)
{
    static const struct {
        const char *name;
        bool create_only;
        json_t *(*serve)(struct sub_op *op);
    } table[] = {
        {"scale", false, serve_scale},
        {"binding", true, serve_binding},
        {"eviction", true, serve_eviction},
        {"finalize", false, serve_finalize},
    };
    const char *name = r->info.subresource;
    if (kubelet_proxy_serves(name)) {
        kubelet_proxy_start(r);
        return;
    }
    if (proxy_serves(&r->info)) {
        verb_proxy(r);
        return;
    }
    if (str_eq(name, "token")) {
        verb_token_request(r);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (!str_eq(table[i].name, name))
            continue;
        if (table[i].create_only != (r->verb == VERB_CREATE)) {
            reply_status(r,
                         status_method_not_allowed(&r->route->about, http_exchange_method(r->x)));
            return;
        }
        struct sub_op *op = mem_zalloc(sizeof(*op));
        op->r = r;
        r->op = op;
        r->op_free = sub_op_free;
        json_t *status = object_dry_run(r, &r->dry_run);
        if (!status)
            status = table[i].serve(op);
        if (status)
            reply_status(r, status);
        return;
    }
    reply_status(r, status_not_found_path());
}
