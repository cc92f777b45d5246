/*
 * Bound service account tokens, by the TokenRequest API (authentication.k8s.io/v1): for the pod's
 * account, bound to the pod, so that the token dies with it. One request at a time; the next one is
 * due at 80 % of the token's life or after a day. A refresh that fails is tried again; the old
 * token is used for as long as it lives.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/volume/volume.h"

#define LIFETIME_DEFAULT 3600
#define LIFETIME_MAX     86400 /* a token is not used for longer than a day */
#define JITTER_S         10
#define RETRY_MS         1000
#define RETRY_MAX_MS     60000

struct token {
    struct kubelet *k;
    char *pod, *ns, *uid, *account, *audience;
    int64_t lifetime; /* asked for, seconds */
    char *text, *error;
    int64_t expires; /* seconds since the epoch */
    uint64_t retry_ms;
    struct kube_call *call;
    struct loop_timer timer;
    void (*changed)(void *arg);
    void *arg;
};

int64_t token_refresh_at(int64_t expires, int64_t lifetime, double jitter)
{
    int64_t slack = (int64_t)(jitter * JITTER_S);
    int64_t by_share = expires - lifetime / 5 - slack;
    int64_t by_age = expires - lifetime + LIFETIME_MAX - slack;
    return by_share < by_age ? by_share : by_age;
}

static double jitter(void)
{
    uint16_t r;
    random_bytes(&r, sizeof(r));
    return r / 65536.0;
}

static void failed(struct token *t, const char *error)
{
    free(t->error);
    t->error = str_dup(error);
    log_warn("service account token cannot be had", "pod", t->pod, "namespace", t->ns, "account",
             t->account, "error", error, NULL);
    loop_timer_set(&t->timer, t->retry_ms);
    t->retry_ms = t->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : t->retry_ms * 2;
    t->changed(t->arg);
}

static void on_answer(const struct kube_result *r, void *arg)
{
    struct token *t = arg;
    const char *text = json_path_string(r->body, "status.token");
    const char *until = json_path_string(r->body, "status.expirationTimestamp");
    int64_t nano;
    t->call = NULL;
    if (r->error) {
        failed(t, r->error);
        return;
    }
    if (!text || !*text || !until || time_parse(until, &nano) < 0) {
        failed(t, "the API server's TokenRequest has no token or no expirationTimestamp");
        return;
    }
    /* The server may give another lifetime than was asked for, and says so. */
    int64_t lifetime = json_path_int(r->body, "spec.expirationSeconds", t->lifetime);
    int64_t now = time_now();
    free(t->text);
    free(t->error);
    t->text = str_dup(text);
    t->error = NULL;
    t->expires = nano / 1000000000;
    t->retry_ms = RETRY_MS;
    int64_t at = token_refresh_at(t->expires, lifetime > 0 ? lifetime : t->lifetime, jitter());
    loop_timer_set(&t->timer, at > now ? (uint64_t)(at - now) * 1000 : RETRY_MS);
    t->changed(t->arg);
}

static void request(struct token *t)
{
    _cleanup_free_ char *path = kube_path("v1", t->ns, "serviceaccounts", t->account, "token");
    _cleanup_json_ json_t *body = json_pack(
        "{s:s,s:s,s:{s:I,s:{s:s,s:s,s:s,s:s}}}", "apiVersion", "authentication.k8s.io/v1", "kind",
        "TokenRequest", "spec", "expirationSeconds", (json_int_t)t->lifetime, "boundObjectRef",
        "apiVersion", "v1", "kind", "Pod", "name", t->pod, "uid", t->uid);
    /* No audience: the API server's own. */
    if (t->audience && *t->audience)
        (void)json_path_set(body, "spec.audiences", json_pack("[s]", t->audience));
    t->call = kube_create(t->k->api, path, body, on_answer, t);
}

static void on_timer(void *arg)
{
    struct token *t = arg;
    if (!t->k->api)
        failed(t, "there is no API server to ask for a token");
    else if (!t->account)
        failed(t, "the pod has no serviceAccountName");
    else if (!t->call)
        request(t);
}

struct token *token_new(struct kubelet *k, const struct pod *pod, const struct token_source *source,
                        void (*changed)(void *arg), void *arg)
{
    struct token *t = mem_zalloc(sizeof(*t));
    const char *account = pod->spec.service_account;
    t->k = k;
    t->pod = str_dup(pod->meta.name);
    t->ns = str_dup(pod->meta.ns);
    t->uid = str_dup(pod->meta.uid);
    t->account = account && *account ? str_dup(account) : NULL;
    t->audience = str_dup(source->audience);
    t->lifetime = source->expiration.set ? source->expiration.value : LIFETIME_DEFAULT;
    t->retry_ms = RETRY_MS;
    t->changed = changed;
    t->arg = arg;
    loop_timer_init(&t->timer, k->loop, "service account token", on_timer, t);
    loop_timer_set(&t->timer, 0);
    return t;
}

struct token *token_free(struct token *t)
{
    if (!t)
        return NULL;
    kube_call_cancel(t->call);
    loop_timer_done(&t->timer);
    free(t->pod);
    free(t->ns);
    free(t->uid);
    free(t->account);
    free(t->audience);
    free(t->text);
    free(t->error);
    free(t);
    return NULL;
}

const char *token_text(struct token *t, const char **ret_error)
{
    *ret_error = t->error;
    return t->text && t->expires > time_now() ? t->text : NULL;
}
