/* Bootstrap tokens and their Secrets; see bootstrap_token.h. */
#include "apiserver/auth/bootstrap_token.h"

#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>

#include "apiserver/lookup.h"
#include "apiserver/server.h"
#include "base/json.h"
#include "base/times.h"
#include "kube/decode.h"
#include "kube/meta.h"

#define ID_LEN        6
#define SECRET_LEN    16
#define ALPHABET      "abcdefghijklmnopqrstuvwxyz0123456789"
#define GROUP         "system:bootstrappers"
#define VALUE_MAX     1024
#define SECRET_TYPE   "bootstrap.kubernetes.io/token"
#define SECRET_PREFIX "/registry/secrets/kube-system/bootstrap-token-"

struct bootstrap_check {
    char id[ID_LEN + 1], secret[SECRET_LEN + 1];
    struct lookup *lookup;
    bootstrap_token_fn *done;
    void *arg;
};

bool bootstrap_token_is(const char *token)
{
    return strlen(token) == ID_LEN + 1 + SECRET_LEN && strspn(token, ALPHABET) == ID_LEN &&
           token[ID_LEN] == '.' && strspn(token + ID_LEN + 1, ALPHABET) == SECRET_LEN;
}

/* A value of the Secret as text; NULL when there is none. The caller frees. */
static char *value_of(const json_t *secret, const char *key)
{
    struct bytes value;
    const char *text = json_string_value(json_object_get(json_object_get(secret, "data"), key));
    if (!text || base64_decode(text, strlen(text), &value) < 0)
        return NULL;
    char *out = value.len <= VALUE_MAX && !memchr(value.data, '\0', value.len)
                    ? str_ndup((const char *)value.data, value.len)
                    : NULL;
    free(value.data);
    return out;
}

static bool is_expired(const char *text)
{
    int64_t ns;
    return text && (time_parse(text, &ns) < 0 || ns / 1000000000 <= time_now());
}

/* Further groups, which must be below the one that all are in. */
static int add_groups(struct user *user, const char *text, struct error *err)
{
    user_add_group(user, GROUP, strlen(GROUP));
    while (text && *text) {
        size_t len = strcspn(text, ",");
        if (strncmp(text, GROUP ":", strlen(GROUP ":")) != 0 || len == strlen(GROUP ":"))
            return error_set(err, -EACCES,
                             "the bootstrap token's groups must start with " GROUP ":");
        user_add_group(user, text, len);
        text += len + (text[len] == ',');
    }
    return 0;
}

static int check(const struct bootstrap_check *c, const json_t *secret, struct user *user,
                 struct error *err)
{
    _cleanup_free_ char *have = value_of(secret, "token-secret");
    _cleanup_free_ char *id = value_of(secret, "token-id");
    _cleanup_free_ char *usage = value_of(secret, "usage-bootstrap-authentication");
    _cleanup_free_ char *expiration = value_of(secret, "expiration");
    _cleanup_free_ char *groups = value_of(secret, "auth-extra-groups");
    if (!secret || *meta_deletion_timestamp(secret) ||
        !str_eq(json_path_string(secret, "type"), SECRET_TYPE))
        return error_set(err, -EACCES, "there is no bootstrap token %s", c->id);
    if (!have || strlen(have) != SECRET_LEN || CRYPTO_memcmp(have, c->secret, SECRET_LEN) != 0 ||
        !str_eq(id, c->id))
        return error_set(err, -EACCES, "bootstrap token %s has another secret", c->id);
    if (is_expired(expiration))
        return error_set(err, -EACCES, "bootstrap token %s has expired", c->id);
    if (!str_eq(usage, "true"))
        return error_set(err, -EACCES, "bootstrap token %s is not for authentication", c->id);
    *user = (struct user){.name = str_printf("system:bootstrap:%s", c->id)};
    int r = add_groups(user, groups, err);
    if (r < 0)
        user_done(user);
    return r;
}

static void on_secret(void *arg, int code, struct encoded *const *found, const struct error *err)
{
    struct bootstrap_check *c = arg;
    struct user user = {.name = NULL};
    struct error why = ERROR_INIT;
    c->lookup = NULL;
    if (code == 0) {
        _cleanup_json_ json_t *secret = found[0] ? encoded_tree(found[0], NULL) : NULL;
        code = check(c, secret, &user, &why);
        err = &why;
    }
    c->done(c->arg, code, &user, err);
    (void)bootstrap_token_cancel(c);
}

struct bootstrap_check *bootstrap_token_start(struct apiserver *srv, const char *token,
                                              bootstrap_token_fn *done, void *arg)
{
    struct bootstrap_check *c = mem_zalloc(sizeof(*c));
    c->done = done;
    c->arg = arg;
    memcpy(c->id, token, ID_LEN);
    memcpy(c->secret, token + ID_LEN + 1, SECRET_LEN);
    _cleanup_free_ char *key = str_printf(SECRET_PREFIX "%s", c->id);
    struct lookup *lookup = lookup_start(srv, (const char *const[]){key}, 1, false, on_secret, c);
    if (lookup) /* else @c is gone already */
        c->lookup = lookup;
    return lookup ? c : NULL;
}

struct bootstrap_check *bootstrap_token_cancel(struct bootstrap_check *c)
{
    if (c) {
        (void)lookup_cancel(c->lookup);
        OPENSSL_cleanse(c->secret, sizeof(c->secret));
        free(c);
    }
    return NULL;
}
