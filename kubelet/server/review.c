/* TokenReview and SubjectAccessReview; see review.h. */
#include "kubelet/server/review.h"

#include <string.h>

#include "base/digest.h"
#include "base/map.h"
#include "base/strbuf.h"

/* Answers that are remembered; the oldest makes room. */
#define ANSWERS_MAX 1024
#define TIMEOUT_MS  10000

const struct review_kind token_review = {"TokenReview", "authentication.k8s.io/v1",
                                         "/apis/authentication.k8s.io/v1/tokenreviews",
                                         "authenticated"};
const struct review_kind access_review = {"SubjectAccessReview", "authorization.k8s.io/v1",
                                          "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                                          "allowed"};

struct answer {
    json_t *status;
    uint64_t until; /* now_ms() */
};

struct reviews {
    struct kube_client *api;
    const struct review_kind *kind;
    uint64_t yes_ms, no_ms;
    struct map answers; /* digest of the question → answer: tokens are not kept */
    struct list asked;
};

struct review {
    struct list link;
    struct reviews *owner;
    struct kube_call *call;
    char key[SHA256_HEX_LEN + 1];
    review_fn *done;
    void *arg;
};

static void answer_free(void *p)
{
    struct answer *a = p;
    json_decref(a->status);
    free(a);
}

struct reviews *reviews_new(struct kube_client *api, const struct review_kind *kind,
                            uint64_t yes_ms, uint64_t no_ms)
{
    struct reviews *r = mem_zalloc(sizeof(*r));
    r->api = api;
    r->kind = kind;
    r->yes_ms = yes_ms;
    r->no_ms = no_ms;
    r->answers = (struct map)MAP_INIT(answer_free);
    list_init(&r->asked);
    return r;
}

struct review *review_cancel(struct review *review)
{
    if (!review)
        return NULL;
    kube_call_cancel(review->call);
    list_remove(&review->link);
    free(review);
    return NULL;
}

struct reviews *reviews_free(struct reviews *r)
{
    if (!r)
        return NULL;
    LIST_FOR_EACH(l, &r->asked) {
        (void)review_cancel(LIST_ENTRY(l, struct review, link));
    }
    map_clear(&r->answers);
    free(r);
    return NULL;
}

static void remember(struct reviews *r, const char *key, const json_t *status)
{
    uint64_t now = now_ms();
    bool yes = json_is_true(json_object_get(status, r->kind->yes));
    uint64_t holds = yes ? r->yes_ms : r->no_ms;
    /* A no because something went wrong may be a yes the next time. */
    if (!holds || (!yes && json_object_get(status, "error")))
        return;
    MAP_FOR_EACH(e, &r->answers) {
        if (((const struct answer *)map_value(e))->until <= now)
            (void)map_remove(&r->answers, map_key(e));
    }
    if (map_count(&r->answers) >= ANSWERS_MAX)
        (void)map_remove(&r->answers, map_key(map_first(&r->answers)));
    struct answer *a = mem_zalloc(sizeof(*a));
    a->status = json_deep_copy(status);
    a->until = now + holds;
    map_set(&r->answers, key, a);
}

static void on_answer(const struct kube_result *result, void *arg)
{
    struct review *review = arg;
    struct review taken = *review;
    const json_t *status = json_object_get(result->body, "status");
    review->call = NULL;
    (void)review_cancel(review);
    if (result->error || !json_is_object(status)) {
        taken.done(taken.arg, NULL, result->error ? result->error : "the answer has no status");
        return;
    }
    remember(taken.owner, taken.key, status);
    taken.done(taken.arg, status, NULL);
}

struct review *review_ask(struct reviews *r, const json_t *spec, review_fn *done, void *arg)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    char key[SHA256_HEX_LEN + 1];
    json_encode(spec, &text);
    sha256_hex(text.data, text.len, key);
    const struct answer *known = map_get(&r->answers, key);
    if (known && known->until > now_ms()) {
        done(arg, known->status, NULL);
        return NULL;
    }
    struct review *review = mem_zalloc(sizeof(*review));
    *review = (struct review){.owner = r, .done = done, .arg = arg};
    memcpy(review->key, key, sizeof(key));
    list_append(&r->asked, &review->link);
    _cleanup_json_ json_t *body =
        json_pack("{s:s,s:s,s:{s:n},s:O}", "apiVersion", r->kind->api_version, "kind",
                  r->kind->kind, "metadata", "creationTimestamp", "spec", spec);
    review->call =
        kube_request(r->api, "POST", r->kind->path, NULL, body, TIMEOUT_MS, on_answer, review);
    return review;
}
