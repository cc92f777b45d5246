/* Tokens of ServiceAccounts; see accounts.h. */
#include "apiserver/auth/accounts.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "kube/jwt.h"
#include "net/x509.h"

#define LEGACY_ISSUER "kubernetes/serviceaccount"
#define LEGACY_CLAIM  "kubernetes.io/serviceaccount/"
#define PRIVATE_CLAIM "kubernetes.io"

struct accounts {
    const struct accounts_options *options;
    struct jwt_key keys[JWT_KEYS_MAX]; /* to verify with */
    size_t n_keys;
    struct jwt_key signing; /* key NULL: none */
    json_t *audiences;
};

/* ---- keys ---- */

static int add_key(struct accounts *a, EVP_PKEY *key, struct error *err)
{
    struct jwt_key k;
    int r = jwt_key_init(&k, key, err);
    for (size_t i = 0; r == 0 && i < a->n_keys; i++)
        if (str_eq(a->keys[i].id, k.id)) {
            jwt_key_done(&k);
            return 0;
        }
    if (r == 0)
        a->keys[a->n_keys++] = k;
    return r;
}

static int read_keys(struct accounts *a, const char *file, struct error *err)
{
    EVP_PKEY *keys[JWT_KEYS_MAX];
    int n = x509_keys_read(file, keys, JWT_KEYS_MAX - a->n_keys, err);
    int r = n < 0 ? n : 0;
    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = add_key(a, keys[i], err);
        else
            EVP_PKEY_free(keys[i]);
    }
    return r < 0 && n >= 0 ? error_prefix(err, r, "%s", file) : r;
}

static int read_signing_key(struct accounts *a, const char *file, struct error *err)
{
    EVP_PKEY *key = NULL;
    int r = x509_key_read(file, &key, err);
    if (r == 0)
        r = jwt_key_init(&a->signing, key, err);
    return r < 0 ? error_prefix(err, r, "--service-account-signing-key-file") : 0;
}

static json_t *string_array(const struct option_list *list)
{
    json_t *out = json_array();
    for (size_t i = 0; i < list->count; i++)
        (void)json_array_append_new(out, json_text(list->items[i]));
    return out;
}

static int check_options(const struct accounts_options *o, struct error *err)
{
    bool any = o->issuers.count || o->key_files.count || o->signing_key_file;
    if (any && !o->issuers.count)
        return error_set(err, -EINVAL, "--service-account-issuer is missing");
    if (any && !o->key_files.count && !o->signing_key_file)
        return error_set(err, -EINVAL, "--service-account-key-file is missing");
    for (size_t i = 0; i < o->issuers.count; i++)
        if (!*o->issuers.items[i] ||
            (strchr(o->issuers.items[i], ':') && !str_starts(o->issuers.items[i], "https://") &&
             !str_starts(o->issuers.items[i], "http://")))
            return error_set(err, -EINVAL,
                             "--service-account-issuer: \"%s\" is neither a URL nor a plain word",
                             o->issuers.items[i]);
    if (o->max_expiration_s && o->max_expiration_s < 3600)
        return error_set(err, -EINVAL,
                         "--service-account-max-token-expiration: must be at least an hour");
    return 0;
}

struct accounts *accounts_new(const struct accounts_options *o, struct error *err)
{
    _cleanup_(accounts_freep) struct accounts *a = mem_zalloc(sizeof(*a));
    a->options = o;
    a->audiences = string_array(o->audiences.count ? &o->audiences : &o->issuers);
    if (check_options(o, err) < 0)
        return NULL;
    for (size_t i = 0; i < o->key_files.count; i++)
        if (read_keys(a, o->key_files.items[i], err) < 0)
            return NULL;
    if (o->signing_key_file && read_signing_key(a, o->signing_key_file, err) < 0)
        return NULL;
    if (o->signing_key_file && !o->key_files.count && read_keys(a, o->signing_key_file, err) < 0)
        return NULL;
    return TAKE_PTR(a);
}

struct accounts *accounts_free(struct accounts *a)
{
    if (a) {
        for (size_t i = 0; i < a->n_keys; i++)
            jwt_key_done(&a->keys[i]);
        jwt_key_done(&a->signing);
        json_decref(a->audiences);
        free(a);
    }
    return NULL;
}

bool accounts_can_sign(const struct accounts *a)
{
    return a->signing.key != NULL;
}

const struct accounts_options *accounts_options(const struct accounts *a)
{
    return a->options;
}

const json_t *accounts_audiences(const struct accounts *a)
{
    return a->audiences;
}

/* ---- claims ---- */

static void claimed_done(struct claimed *c)
{
    free(c->name);
    free(c->uid);
}

void account_claims_done(struct account_claims *c)
{
    free(c->ns);
    free(c->id);
    claimed_done(&c->account);
    claimed_done(&c->pod);
    claimed_done(&c->secret);
    claimed_done(&c->node);
    json_decref(c->audiences);
    *c = (struct account_claims){.ns = NULL};
}

static void set_claimed(json_t *out, const char *key, const struct claimed *c)
{
    if (c->name)
        (void)json_object_set_new(
            out, key, json_pack("{s:o,s:o}", "name", json_text(c->name), "uid", json_text(c->uid)));
}

char *accounts_issue(const struct accounts *a, const struct account_claims *c, struct error *err)
{
    if (!a->signing.key) {
        (void)error_set(err, -EOPNOTSUPP, "this server has no key to sign tokens with");
        return NULL;
    }
    char id[37];
    random_uuid(id);
    json_t *private = json_pack("{s:o}", "namespace", json_text(c->ns));
    set_claimed(private, "node", &c->node);
    set_claimed(private, "pod", &c->pod);
    set_claimed(private, "secret", &c->secret);
    set_claimed(private, "serviceaccount", &c->account);
    if (c->warn_after)
        (void)json_object_set_new(private, "warnafter", json_integer(c->warn_after));
    _cleanup_free_ char *subject =
        str_printf("system:serviceaccount:%s:%s", c->ns, c->account.name);
    _cleanup_json_ json_t *claims = json_pack(
        "{s:O,s:I,s:I,s:s,s:s,s:o,s:I,s:s}", "aud", c->audiences, "exp", (json_int_t)c->expires,
        "iat", (json_int_t)c->issued, "iss", a->options->issuers.items[0], "jti", id, PRIVATE_CLAIM,
        private, "nbf", (json_int_t)c->issued, "sub", subject);
    return jwt_sign(&a->signing, claims, err);
}

/* ---- verification ---- */

static char *text_claim(const json_t *from, const char *key)
{
    const char *text = json_string_value(json_object_get(from, key));
    return text && *text ? str_dup(text) : NULL;
}

static void read_claimed(const json_t *from, const char *key, struct claimed *ret)
{
    const json_t *c = json_object_get(from, key);
    ret->name = text_claim(c, "name");
    ret->uid = text_claim(c, "uid");
}

static void read_legacy(const json_t *claims, struct account_claims *ret)
{
    ret->ns = text_claim(claims, LEGACY_CLAIM "namespace");
    ret->account.name = text_claim(claims, LEGACY_CLAIM "service-account.name");
    ret->account.uid = text_claim(claims, LEGACY_CLAIM "service-account.uid");
    ret->secret.name = text_claim(claims, LEGACY_CLAIM "secret.name");
    ret->legacy = true;
}

/* An audience may be one string or a list of them (RFC 7519 section 4.1.3). */
static json_t *read_audiences(const json_t *claim)
{
    json_t *out = json_array(), *one;
    size_t i;
    if (json_is_string(claim))
        (void)json_array_append(out, (json_t *)(uintptr_t)claim);
    json_array_foreach(claim, i, one) {
        if (json_is_string(one))
            (void)json_array_append(out, one);
    }
    return out;
}

/* A time in seconds, which may be given with a fraction; 0 when it is absent. */
static int64_t read_time(const json_t *claims, const char *key)
{
    const json_t *value = json_object_get(claims, key);
    double seconds = json_number_value(value);
    return seconds > 0 && seconds < 1e12 ? (int64_t)seconds : 0;
}

static void read_bound(const json_t *claims, struct account_claims *ret)
{
    const json_t *private = json_object_get(claims, PRIVATE_CLAIM);
    ret->ns = text_claim(private, "namespace");
    read_claimed(private, "serviceaccount", &ret->account);
    read_claimed(private, "pod", &ret->pod);
    read_claimed(private, "secret", &ret->secret);
    read_claimed(private, "node", &ret->node);
    ret->audiences = read_audiences(json_object_get(claims, "aud"));
    ret->id = text_claim(claims, "jti");
    ret->issued = read_time(claims, "iat");
    ret->expires = read_time(claims, "exp");
    ret->warn_after = read_time(private, "warnafter");
}

static int check_claims(const json_t *claims, const struct account_claims *c, int64_t now,
                        struct error *err)
{
    const char *subject = json_path_string(claims, "sub");
    if (!c->ns || !c->account.name || !c->account.uid)
        return error_set(err, -EACCES, "the token names no service account");
    _cleanup_free_ char *expected =
        str_printf("system:serviceaccount:%s:%s", c->ns, c->account.name);
    if (!str_eq(subject, expected))
        return error_set(err, -EACCES, "the token's subject is not its service account");
    if (c->legacy)
        return c->secret.name ? 0 : error_set(err, -EACCES, "the token names no secret");
    if (!c->expires || now >= c->expires)
        return error_set(err, -EACCES, "the token has expired");
    if (now < read_time(claims, "nbf"))
        return error_set(err, -EACCES, "the token is not valid yet");
    return 0;
}

int accounts_verify(const struct accounts *a, const char *token, int64_t now,
                    struct account_claims *ret, struct error *err)
{
    _cleanup_json_ json_t *claims = a->n_keys ? jwt_claims(token, NULL) : NULL;
    const char *issuer = json_path_string(claims, "iss");
    bool legacy = str_eq(issuer, LEGACY_ISSUER), ours = legacy;
    for (size_t i = 0; i < a->options->issuers.count && !ours; i++)
        ours = str_eq(issuer, a->options->issuers.items[i]);
    if (!issuer || !ours)
        return ACCOUNTS_NOT_OURS;
    if (jwt_verify(token, a->keys, a->n_keys, err) < 0)
        return -EACCES;
    struct account_claims c = {.ns = NULL};
    if (legacy)
        read_legacy(claims, &c);
    else
        read_bound(claims, &c);
    int r = check_claims(claims, &c, now, err);
    if (r < 0)
        account_claims_done(&c);
    else
        *ret = c;
    return r;
}

/* ---- discovery ---- */

json_t *accounts_openid_configuration(const struct accounts *a, const char *base)
{
    const char *issuer = a->options->issuers.count ? a->options->issuers.items[0] : "";
    _cleanup_free_ char *own = str_printf("%s/openid/v1/jwks", base);
    json_t *algorithms = json_array();
    for (size_t i = 0; i < a->n_keys; i++) {
        size_t same = 0;
        while (!str_eq(a->keys[same].algorithm, a->keys[i].algorithm))
            same++;
        if (same == i)
            (void)json_array_append_new(algorithms, json_string(a->keys[i].algorithm));
    }
    return json_pack("{s:s,s:s,s:[s],s:[s],s:o}", "issuer", issuer, "jwks_uri",
                     a->options->jwks_uri ? a->options->jwks_uri : own, "response_types_supported",
                     "id_token", "subject_types_supported", "public",
                     "id_token_signing_alg_values_supported", algorithms);
}

json_t *accounts_key_set(const struct accounts *a)
{
    json_t *keys = json_array();
    for (size_t i = 0; i < a->n_keys; i++)
        (void)json_array_append_new(keys, jwt_key_jwk(&a->keys[i]));
    return json_pack("{s:o}", "keys", keys);
}
