/*
 * Kinds that are not stored but answered: the answer is the question with its status filled in.
 * TokenReview and SelfSubjectReview are here, those about rights in access_review.c.
 */
#include "apiserver/auth/reviews.h"

#include <errno.h>

#include "apiserver/auth/accounts.h"
#include "apiserver/objects.h"
#include "apiserver/reply.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/object.h"
#include "kube/status.h"

static void review_free(void *p)
{
    struct review *review = p;
    (void)authn_cancel(review->authn);
    json_decref(review->body);
    free(review);
}

void review_answer(struct review *review, json_t *status)
{
    (void)json_object_set_new(review->body, "status", status);
    reply_tree(review->r, 201, review->body);
}

/* ---- who is this? ---- */

static void on_token(void *arg, int code, struct user *user, const json_t *audiences,
                     const struct error *err)
{
    struct review *op = arg;
    op->authn = NULL;
    json_t *status = json_object();
    if (code == 0) {
        (void)json_object_set_new(status, "authenticated", json_true());
        (void)json_object_set_new(status, "user", user_info(user));
        if (json_array_size(audiences))
            (void)json_object_set(status, "audiences", (json_t *)(uintptr_t)audiences);
    } else {
        (void)json_object_set_new(status, "user", json_object());
        (void)json_object_set_new(status, "error", json_text(error_text(err)));
    }
    user_done(user);
    review_answer(op, status);
}

static json_t *review_token(struct review *op)
{
    struct apiserver *srv = op->r->srv;
    const char *token = json_path_string(op->body, "spec.token");
    const json_t *audiences = json_path(op->body, "spec.audiences");
    if (!token || !*token)
        return status_bad_request("token is required for TokenReview in authentication");
    if (!json_array_size(audiences))
        audiences = accounts_audiences(srv->accounts);
    struct authn_call *call = authn_token(srv->authn, token, audiences, on_token, op);
    if (call) /* else @op is gone already */
        op->authn = call;
    return NULL;
}

static json_t *review_self(struct review *op)
{
    review_answer(op, json_pack("{s:o}", "userInfo", user_info(&op->r->user)));
    return NULL;
}

void verb_review(struct request *r)
{
    static const struct {
        const char *kind;
        json_t *(*review)(struct review *op); /* answers, or returns what is wrong */
    } table[] = {
        {"TokenReview", review_token},
        {"SelfSubjectReview", review_self},
        {"SubjectAccessReview", review_access},
        {"LocalSubjectAccessReview", review_local_access},
        {"SelfSubjectAccessReview", review_self_access},
        {"SelfSubjectRulesReview", review_self_rules},
    };
    const struct schema_resource *res = r->route->res;
    struct review *op = mem_zalloc(sizeof(*op));
    op->r = r;
    r->op = op;
    r->op_free = review_free;
    json_t *status = object_dry_run(r, &r->dry_run);
    if (!status)
        status = object_from_body(r, res, &op->body);
    for (size_t i = 0; !status && i < ARRAY_SIZE(table); i++) {
        if (str_eq(table[i].kind, res->kind)) {
            status = table[i].review(op);
            if (!status)
                return;
        }
    }
    reply_status(r, status ? status : status_not_found_path());
}
