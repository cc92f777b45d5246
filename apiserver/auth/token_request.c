/*
 * serviceaccounts/token: a token for an account, bound to a pod, a Secret or a node or to nothing.
 * What it is bound to is read from the store, so that a token is never made for what is gone.
 */
#include <errno.h>
#include <inttypes.h>

#include "apiserver/auth/accounts.h"
#include "apiserver/admission/admission.h"
#include "apiserver/lookup.h"
#include "apiserver/objects.h"
#include "apiserver/reply.h"
#include "apiserver/server.h"
#include "base/json.h"
#include "base/times.h"
#include "kube/meta.h"
#include "kube/status.h"

#define EXPIRATION_MIN 600
#define EXPIRATION_MAX (INT64_C(1) << 32)
/* The kubelet asks for this lifetime when a pod has the standard volume; such a token holds for a
 * year, so that programs which read it once go on, and warns after the lifetime. As upstream. */
#define EXTENDED_FROM 3607
#define EXTENDED_TO   (INT64_C(365) * 24 * 3600)

static const struct status_resource about_request = {
    .group = "authentication.k8s.io", .resource = "tokenrequests", .kind = "TokenRequest"};

struct token_op {
    struct request *r;
    json_t *body;
    struct account_claims claims;
    struct lookup *lookup;
};

static void token_op_free(void *p)
{
    struct token_op *op = p;
    (void)lookup_cancel(op->lookup);
    account_claims_done(&op->claims);
    json_decref(op->body);
    free(op);
}

/* ---- what is asked for ---- */

static json_t *validate(const struct token_op *op)
{
    const json_t *spec = json_object_get(op->body, "spec");
    int64_t seconds = json_path_int(spec, "expirationSeconds", 3600);
    struct field_errors errs = FIELD_ERRORS_INIT;
    const struct field_path *path = FIELD(FIELD(NULL, "spec"), "expirationSeconds");
    if (seconds < EXPIRATION_MIN)
        field_invalid_int(&errs, path, seconds, "may not specify a duration less than 10 minutes");
    if (seconds > EXPIRATION_MAX)
        field_invalid_int(&errs, path, seconds,
                          "may not specify a duration larger than 2^32 seconds");
    json_t *status = errs.count ? status_invalid(&about_request, op->r->info.name, &errs) : NULL;
    field_errors_done(&errs);
    return status;
}

static const struct bindable {
    const char *kind, *resource, *prefix;
    size_t claim; /* in struct account_claims */
} bindables[] = {
    {"Pod", "pods", "/registry/pods/", offsetof(struct account_claims, pod)},
    {"Secret", "secrets", "/registry/secrets/", offsetof(struct account_claims, secret)},
    {"Node", "nodes", "/registry/minions/", offsetof(struct account_claims, node)},
};

/* What the token is to be bound to; NULL and no status when nothing is. */
static const struct bindable *bound_kind(const struct token_op *op, json_t **ret_status)
{
    const json_t *ref = json_path(op->body, "spec.boundObjectRef");
    const char *kind = json_path_string(ref, "kind");
    const char *version = json_path_string(ref, "apiVersion");
    if (!ref)
        return NULL;
    for (size_t i = 0; str_eq(version, "v1") && i < ARRAY_SIZE(bindables); i++)
        if (str_eq(bindables[i].kind, kind))
            return &bindables[i];
    *ret_status = status_bad_request("cannot bind token to object of type %s, Kind=%s",
                                     version ? version : "", kind ? kind : "");
    return NULL;
}

/* ---- the answer ---- */

static bool is_for_server(const struct token_op *op)
{
    const json_t *own = accounts_audiences(op->r->srv->accounts);
    json_t *one, *a;
    size_t i, k;
    json_array_foreach(op->claims.audiences, i, one) {
        bool found = false;
        json_array_foreach(own, k, a) {
            found |= str_eq(json_string_value(one), json_string_value(a));
        }
        if (!found)
            return false;
    }
    return true;
}

static void warn_shortened(struct request *r, int64_t wanted, int64_t given)
{
    _cleanup_free_ char *text =
        str_printf("requested expiration of %" PRId64 " seconds shortened to %" PRId64 " seconds",
                   wanted, given);
    if (!r->warnings)
        r->warnings = json_array();
    (void)json_array_append_new(r->warnings, json_string(text));
}

static void answer(struct token_op *op)
{
    struct request *r = op->r;
    const struct accounts_options *o = accounts_options(r->srv->accounts);
    struct account_claims *c = &op->claims;
    struct error err = ERROR_INIT;
    char until[TIME_TEXT_MAX];
    int64_t wanted = json_path_int(op->body, "spec.expirationSeconds", 3600), seconds = wanted;
    if (o->max_expiration_s && wanted > o->max_expiration_s) {
        seconds = o->max_expiration_s;
        warn_shortened(r, wanted, seconds);
        (void)json_path_set(op->body, "spec.expirationSeconds", json_integer(seconds));
    }
    c->issued = time_now();
    c->expires = c->issued + seconds;
    (void)time_format(c->expires, until);
    if (o->extend && c->pod.name && seconds == EXTENDED_FROM && is_for_server(op)) {
        c->warn_after = c->expires;
        c->expires = c->issued + EXTENDED_TO;
    }
    _cleanup_free_ char *token = accounts_issue(r->srv->accounts, c, &err);
    if (!token) {
        reply_status(r, status_internal_error("%s", error_text(&err)));
        return;
    }
    (void)json_object_set_new(op->body, "status",
                              json_pack("{s:s,s:s}", "token", token, "expirationTimestamp", until));
    (void)json_object_set_new(meta_of(op->body), "creationTimestamp", object_now());
    reply_json(r, 201, json_incref(op->body));
}

/* ---- what it is bound to ---- */

static void set_claimed(struct claimed *c, const json_t *object)
{
    c->name = str_dup(meta_name(object));
    c->uid = str_dup(meta_uid(object));
}

static json_t *store_status(int code, const struct error *err)
{
    return code == -EBADMSG ? status_internal_error("%s", error_text(err))
                            : status_unavailable("the store: %s", error_text(err));
}

static void on_node(void *arg, int code, struct encoded *const *found, const struct error *err)
{
    struct token_op *op = arg;
    op->lookup = NULL;
    if (code < 0) {
        reply_status(op->r, store_status(code, err));
        return;
    }
    /* A node that is not registered (any more): the token names the pod alone. */
    _cleanup_json_ json_t *node = found[0] ? encoded_tree(found[0], NULL) : NULL;
    if (node)
        set_claimed(&op->claims.node, node);
    answer(op);
}

static json_t *check_bound(struct token_op *op, const struct bindable *b, const json_t *object)
{
    const char *name = json_path_string(op->body, "spec.boundObjectRef.name");
    const char *uid = json_path_string(op->body, "spec.boundObjectRef.uid");
    const struct status_resource about = {.group = "", .resource = b->resource, .kind = b->kind};
    if (!object)
        return status_not_found(&about, name);
    if (str_eq(b->kind, "Pod") &&
        !str_eq(json_path_string(object, "spec.serviceAccountName"), op->r->info.name))
        return status_bad_request("cannot bind token for serviceaccount \"%s\" to pod running with "
                                  "different serviceaccount name.",
                                  op->r->info.name);
    if (uid && *uid && !str_eq(uid, meta_uid(object)))
        return status_conflict(&about, name,
                               "the UID in the bound object reference (%s) does not match the UID "
                               "in record. The object might have been deleted and then recreated",
                               uid);
    return NULL;
}

static void on_objects(void *arg, int code, struct encoded *const *found, const struct error *err)
{
    struct token_op *op = arg;
    struct request *r = op->r;
    op->lookup = NULL;
    if (code < 0) {
        reply_status(r, store_status(code, err));
        return;
    }
    _cleanup_json_ json_t *account = found[0] ? encoded_tree(found[0], NULL) : NULL;
    _cleanup_json_ json_t *object = found[1] ? encoded_tree(found[1], NULL) : NULL;
    if (!account) {
        reply_not_found(r);
        return;
    }
    json_t *status = NULL;
    const struct bindable *b = bound_kind(op, &status);
    if (b)
        status = check_bound(op, b, object);
    if (!status) {
        const struct admission admission = request_admission(r, NULL);
        status =
            admit_node_token(&admission, op->body, b && str_eq(b->kind, "Pod") ? object : NULL);
    }
    if (status) {
        reply_status(r, status);
        return;
    }
    set_claimed(&op->claims.account, account);
    if (b)
        set_claimed((struct claimed *)(void *)((char *)&op->claims + b->claim), object);
    const char *node = json_path_string(object, "spec.nodeName");
    if (!b || !str_eq(b->kind, "Pod") || !node || !*node) {
        answer(op);
        return;
    }
    _cleanup_free_ char *key = str_printf("/registry/minions/%s", node);
    op->lookup = lookup_start(r->srv, (const char *const[]){key}, 1, true, on_node, op);
}

static void look_up(struct token_op *op, const struct bindable *b)
{
    struct request *r = op->r;
    const char *name = json_path_string(op->body, "spec.boundObjectRef.name");
    _cleanup_free_ char *account = route_key(r->route, r->info.namespace_, r->info.name);
    _cleanup_free_ char *bound = NULL;
    if (b)
        bound = str_printf("%s%s%s%s", b->prefix, str_eq(b->kind, "Node") ? "" : r->info.namespace_,
                           str_eq(b->kind, "Node") ? "" : "/", name ? name : "");
    op->lookup = lookup_start(r->srv, (const char *const[]){account, bound}, b ? 2 : 1, true,
                              on_objects, op);
}

static json_t *start(struct token_op *op)
{
    struct request *r = op->r;
    json_t *status = NULL;
    if (r->verb != VERB_CREATE)
        return status_method_not_allowed(&r->route->about, http_exchange_method(r->x));
    if (!accounts_can_sign(r->srv->accounts))
        return status_not_found_path();
    const struct schema_resource *res =
        schema_by_kind(r->srv->schemas, "authentication.k8s.io", "v1", "TokenRequest");
    status = object_from_body(r, res, &op->body);
    if (status)
        return status;
    object_default(res, op->body);
    const json_t *audiences = json_path(op->body, "spec.audiences");
    if (!json_array_size(audiences)) {
        audiences = accounts_audiences(r->srv->accounts);
        (void)json_path_set(op->body, "spec.audiences", json_deep_copy(audiences));
    }
    op->claims.ns = str_dup(r->info.namespace_);
    op->claims.audiences = json_deep_copy(audiences);
    status = validate(op);
    const struct bindable *b = status ? NULL : bound_kind(op, &status);
    if (!status)
        look_up(op, b);
    return status;
}

void verb_token_request(struct request *r)
{
    struct token_op *op = mem_zalloc(sizeof(*op));
    op->r = r;
    r->op = op;
    r->op_free = token_op_free;
    json_t *status = object_dry_run(r, &r->dry_run);
    if (!status)
        status = start(op);
    if (status)
        reply_status(r, status);
}
