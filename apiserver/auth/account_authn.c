/* Tokens and the objects they are bound to; see account_authn.h. */
#include "apiserver/auth/account_authn.h"

#include <errno.h>
#include <string.h>

#include "apiserver/lookup.h"
#include "apiserver/server.h"
#include "apiserver/store/watch_cache.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/map.h"
#include "base/times.h"
#include "kube/decode.h"
#include "kube/meta.h"

#define KNOWN_MAX 1024
#define DELETED_LEEWAY \
    60 /* seconds that a token outlives the deletion of its object, as upstream */
#define EXTRA_PREFIX "authentication.kubernetes.io/"
#define OBJECTS_MAX  2 /* the account, and what else the token is bound to */

enum bound { BOUND_ACCOUNT, BOUND_POD, BOUND_SECRET, BOUND_NODE };

/* A token that was found to hold, and what that rests on. */
struct known {
    struct user user;
    json_t *audiences;
    int64_t expires;
    char *keys[OBJECTS_MAX];
    int64_t revisions[OBJECTS_MAX];
    size_t n;
};

struct account_authn {
    struct apiserver *srv;
    struct map known; /* digest of the token → struct known, the oldest first */
};

struct account_check {
    struct account_authn *a;
    char digest[SHA256_HEX_LEN + 1];
    char *token; /* legacy ones are compared with what the Secret holds */
    json_t *audiences;
    struct account_claims claims;
    enum bound kinds[OBJECTS_MAX];
    char *keys[OBJECTS_MAX];
    size_t n;
    bool ending; /* one of them is being deleted: the token holds for a while, unchanged */
    struct lookup *lookup;
    account_authn_fn *done;
    void *arg;
};

static void known_free(void *p)
{
    struct known *k = p;
    user_done(&k->user);
    json_decref(k->audiences);
    for (size_t i = 0; i < k->n; i++)
        free(k->keys[i]);
    free(k);
}

struct account_authn *account_authn_new(struct apiserver *srv)
{
    struct account_authn *a = mem_zalloc(sizeof(*a));
    a->srv = srv;
    a->known = (struct map)MAP_INIT(known_free);
    return a;
}

struct account_authn *account_authn_free(struct account_authn *a)
{
    if (a)
        map_clear(&a->known);
    free(a);
    return NULL;
}

struct account_check *account_authn_cancel(struct account_check *c)
{
    if (c) {
        (void)lookup_cancel(c->lookup);
        account_claims_done(&c->claims);
        for (size_t i = 0; i < c->n; i++)
            free(c->keys[i]);
        json_decref(c->audiences);
        free(c->token);
        free(c);
    }
    return NULL;
}

/* Those of @wanted that are in @have; NULL when there are none. New reference. */
static json_t *common_audiences(const json_t *wanted, const json_t *have)
{
    json_t *out = json_array(), *w, *h;
    size_t i, k;
    json_array_foreach(wanted, i, w) {
        json_array_foreach(have, k, h) {
            if (str_eq(json_string_value(w), json_string_value(h)))
                (void)json_array_append(out, w);
        }
    }
    if (json_array_size(out))
        return out;
    json_decref(out);
    return NULL;
}

/* ---- the objects ---- */

static void bind_to(struct account_check *c, enum bound kind, const char *prefix, const char *ns,
                    const char *name)
{
    c->kinds[c->n] = kind;
    c->keys[c->n++] =
        ns ? str_printf("%s/%s/%s", prefix, ns, name) : str_printf("%s/%s", prefix, name);
}

static bool is_name(const char *text)
{
    return text && *text && !strchr(text, '/');
}

/* A token of a pod names the pod's node too: the pod stands for both. */
static bool bind_all(struct account_check *c)
{
    const struct account_claims *claims = &c->claims;
    bool ok = is_name(claims->ns) && is_name(claims->account.name);
    if (ok)
        bind_to(c, BOUND_ACCOUNT, "/registry/serviceaccounts", claims->ns, claims->account.name);
    if (ok && claims->pod.name) {
        ok = is_name(claims->pod.name);
        bind_to(c, BOUND_POD, "/registry/pods", claims->ns, claims->pod.name);
    } else if (ok && claims->secret.name) {
        ok = is_name(claims->secret.name);
        bind_to(c, BOUND_SECRET, "/registry/secrets", claims->ns, claims->secret.name);
    } else if (ok && claims->node.name) {
        ok = is_name(claims->node.name);
        bind_to(c, BOUND_NODE, "/registry/minions", NULL, claims->node.name);
    }
    return ok;
}

static const struct claimed *claimed_of(const struct account_claims *claims, enum bound kind)
{
    return kind == BOUND_ACCOUNT  ? &claims->account
           : kind == BOUND_POD    ? &claims->pod
           : kind == BOUND_SECRET ? &claims->secret
                                  : &claims->node;
}

/* Whether the Secret still holds this very token. */
static bool holds_token(const json_t *secret, const char *token)
{
    struct bytes have;
    const char *text = json_path_string(secret, "data.token");
    if (!text || base64_decode(text, strlen(text), &have) < 0)
        return false;
    bool same = have.len == strlen(token) && !memcmp(have.data, token, have.len);
    free(have.data);
    return same;
}

static int check_object(struct account_check *c, enum bound kind, struct encoded *found,
                        struct error *err)
{
    static const char *const names[] = {"service account", "pod", "secret", "node"};
    const struct claimed *claimed = claimed_of(&c->claims, kind);
    if (!found)
        return error_set(err, -EACCES, "%s %s is gone", names[kind], claimed->name);
    _cleanup_json_ json_t *tree = encoded_tree(found, err);
    if (!tree)
        return -EACCES;
    int64_t deleted;
    if (time_parse(meta_deletion_timestamp(tree), &deleted) == 0) {
        c->ending = true;
        if (deleted / 1000000000 < time_now() - DELETED_LEEWAY)
            return error_set(err, -EACCES, "%s %s has been deleted", names[kind], claimed->name);
    }
    bool legacy_secret = c->claims.legacy && kind == BOUND_SECRET;
    if (!legacy_secret && !str_eq(meta_uid(tree), claimed->uid))
        return error_set(err, -EACCES, "%s %s is another one than that of the token", names[kind],
                         claimed->name);
    if (legacy_secret && !holds_token(tree, c->token))
        return error_set(err, -EACCES, "secret %s holds another token", claimed->name);
    return 0;
}

/* ---- the answer ---- */

static void make_user(const struct account_claims *claims, struct user *ret)
{
    user_of_account(ret, claims->ns, claims->account.name, claims->account.uid);
    if (claims->id) {
        _cleanup_free_ char *id = str_printf("JTI=%s", claims->id);
        user_add_extra(ret, EXTRA_PREFIX "credential-id", id);
    }
    if (claims->node.name)
        user_add_extra(ret, EXTRA_PREFIX "node-name", claims->node.name);
    if (claims->node.uid)
        user_add_extra(ret, EXTRA_PREFIX "node-uid", claims->node.uid);
    if (claims->pod.name)
        user_add_extra(ret, EXTRA_PREFIX "pod-name", claims->pod.name);
    if (claims->pod.uid)
        user_add_extra(ret, EXTRA_PREFIX "pod-uid", claims->pod.uid);
}

static void refuse(account_authn_fn *done, void *arg, int code, const struct error *err)
{
    struct user nobody = {.name = NULL};
    done(arg, code, &nobody, NULL, err);
}

static void take(account_authn_fn *done, void *arg, const struct user *user,
                 const json_t *audiences)
{
    struct user copy;
    user_copy(user, &copy);
    done(arg, 0, &copy, audiences, NULL);
}

static void remember(struct account_check *c, const struct user *user, struct encoded *const *found)
{
    struct map *known = &c->a->known;
    struct known *k = mem_zalloc(sizeof(*k));
    user_copy(user, &k->user);
    k->audiences = json_incref(c->claims.audiences);
    k->expires = c->claims.expires;
    for (; k->n < c->n; k->n++) {
        k->keys[k->n] = str_dup(c->keys[k->n]);
        k->revisions[k->n] = found[k->n]->revision;
    }
    if (map_count(known) >= KNOWN_MAX)
        (void)map_remove(known, map_key(map_first(known)));
    map_set(known, c->digest, k);
}

static void on_objects(void *arg, int code, struct encoded *const *found, const struct error *err)
{
    struct account_check *c = arg;
    struct error why = ERROR_INIT;
    c->lookup = NULL;
    for (size_t i = 0; code == 0 && i < c->n; i++) {
        code = check_object(c, c->kinds[i], found[i], &why);
        err = &why;
    }
    if (code < 0) {
        refuse(c->done, c->arg, code, err);
    } else {
        struct user user = {.name = NULL};
        make_user(&c->claims, &user);
        if (!c->ending)
            remember(c, &user, found);
        take(c->done, c->arg, &user, c->audiences);
        user_done(&user);
    }
    (void)account_authn_cancel(c);
}

/* Whether what was found out about a token cannot have changed since. */
static bool still_known(const struct account_authn *a, const struct known *k)
{
    if (!k || (k->expires && time_now() >= k->expires))
        return false;
    for (size_t i = 0; i < k->n; i++) {
        const struct encoded *now = watch_cache_get(a->srv->cache, k->keys[i]);
        if (!now || now->revision != k->revisions[i])
            return false;
    }
    return true;
}

/* Those audiences that are wanted and that the token is for; a legacy token is for this server. */
static json_t *match_audiences(const struct account_authn *a, const json_t *wanted,
                               const json_t *of_token)
{
    return common_audiences(wanted, of_token ? of_token : accounts_audiences(a->srv->accounts));
}

struct account_check *account_authn_start(struct account_authn *a, const char *token,
                                          const json_t *audiences, account_authn_fn *done,
                                          void *arg)
{
    struct error err = ERROR_INIT;
    struct account_claims claims = {.ns = NULL};
    char digest[SHA256_HEX_LEN + 1];
    sha256_hex(token, strlen(token), digest);
    const struct known *k = map_get(&a->known, digest);
    bool known = still_known(a, k);
    int code = known ? 0 : accounts_verify(a->srv->accounts, token, time_now(), &claims, &err);
    _cleanup_json_ json_t *common =
        code ? NULL : match_audiences(a, audiences, known ? k->audiences : claims.audiences);
    if (code == 0 && !common)
        code = error_set(&err, -EACCES, "the token is for another audience");
    if (code || known) {
        account_claims_done(&claims);
        if (code)
            refuse(done, arg, code, &err);
        else
            take(done, arg, &k->user, common);
        return NULL;
    }
    struct account_check *c = mem_zalloc(sizeof(*c));
    *c = (struct account_check){.a = a,
                                .token = str_dup(token),
                                .audiences = TAKE_PTR(common),
                                .claims = claims,
                                .done = done,
                                .arg = arg};
    memcpy(c->digest, digest, sizeof(digest));
    if (!bind_all(c)) {
        (void)error_set(&err, -EACCES, "the token names objects that cannot exist");
        refuse(done, arg, -EACCES, &err);
        return account_authn_cancel(c);
    }
    struct lookup *lookup =
        lookup_start(a->srv, (const char *const *)c->keys, c->n, false, on_objects, c);
    if (lookup) /* else @c is gone already */
        c->lookup = lookup;
    return lookup ? c : NULL;
}
