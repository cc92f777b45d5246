/* Tokens and keys; see jwt.h. */
#include "kube/jwt.h"

#include <errno.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kube/decode.h"
#include "net/tls.h"

#define RSA_BITS_MIN 2048

/* How a kind of key signs. */
struct algorithm {
    const char *name, *curve; /* curve NULL: RSA */
    const char *group;        /* OpenSSL's name of the curve */
    size_t coordinate;        /* bytes of r, s, x and y */
    const EVP_MD *(*digest)(void);
};
static const struct algorithm algorithms[] = {
    {"RS256", NULL, NULL, 0, EVP_sha256},
    {"ES256", "P-256", "prime256v1", 32, EVP_sha256},
    {"ES384", "P-384", "secp384r1", 48, EVP_sha384},
    {"ES512", "P-521", "secp521r1", 66, EVP_sha512},
};

static const struct algorithm *algorithm_of(const struct jwt_key *key)
{
    for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
        if (str_eq(algorithms[i].name, key->algorithm))
            return &algorithms[i];
    return NULL;
}

static const struct algorithm *choose_algorithm(const EVP_PKEY *key)
{
    char group[64];
    if (EVP_PKEY_is_a(key, "RSA"))
        return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN ? &algorithms[0] : NULL;
    if (!EVP_PKEY_is_a(key, "EC") ||
        EVP_PKEY_get_group_name((EVP_PKEY *)(uintptr_t)key, group, sizeof(group), NULL) != 1)
        return NULL;
    for (size_t i = 1; i < ARRAY_SIZE(algorithms); i++)
        if (str_eq(algorithms[i].group, group))
            return &algorithms[i];
    return NULL;
}

int jwt_key_init(struct jwt_key *ret, EVP_PKEY *key, struct error *err)
{
    const struct algorithm *a = choose_algorithm(key);
    *ret = (struct jwt_key){.key = key};
    if (!a) {
        jwt_key_done(ret);
        return error_set(err, -EINVAL,
                         "the key is neither RSA of at least %d bits nor on P-256, P-384 or P-521",
                         RSA_BITS_MIN);
    }
    unsigned char *der = NULL, digest[SHA256_DIGEST_LENGTH];
    int len = i2d_PUBKEY(key, &der);
    if (len < 0)
        abort();
    (void)SHA256(der, (size_t)len, digest);
    OPENSSL_free(der);
    _cleanup_free_ char *id = base64url_encode(digest, sizeof(digest));
    (void)snprintf(ret->id, sizeof(ret->id), "%s", id);
    ret->algorithm = a->name;
    return 0;
}

void jwt_key_done(struct jwt_key *key)
{
    EVP_PKEY_free(key->key);
    *key = (struct jwt_key){.key = NULL};
}

/* ---- the two forms of an ECDSA signature: DER (OpenSSL) and r and s side by side (JWS) ---- */

static int to_plain(const struct algorithm *a, const unsigned char *der, size_t len,
                    struct strbuf *out)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    if (!sig)
        return -EINVAL;
    unsigned char *at = (unsigned char *)strbuf_reserve(out, 2 * a->coordinate);
    bool fits = BN_bn2binpad(ECDSA_SIG_get0_r(sig), at, (int)a->coordinate) >= 0 &&
                BN_bn2binpad(ECDSA_SIG_get0_s(sig), at + a->coordinate, (int)a->coordinate) >= 0;
    out->len += 2 * a->coordinate;
    strbuf_terminate(out);
    ECDSA_SIG_free(sig);
    return fits ? 0 : -EINVAL;
}

static int to_der(const struct algorithm *a, const struct bytes *plain, unsigned char **ret)
{
    *ret = NULL;
    if (plain->len != 2 * a->coordinate)
        return -EINVAL;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(plain->data, (int)a->coordinate, NULL);
    BIGNUM *s = BN_bin2bn(plain->data + a->coordinate, (int)a->coordinate, NULL);
    if (!sig || !r || !s || ECDSA_SIG_set0(sig, r, s) != 1)
        abort();
    int len = i2d_ECDSA_SIG(sig, ret);
    ECDSA_SIG_free(sig);
    return len;
}

/* ---- signing ---- */

static void add_part(const json_t *part, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(part, &text);
    _cleanup_free_ char *encoded = base64url_encode(text.data, text.len);
    strbuf_adds(out, encoded);
}

static int sign(const struct jwt_key *key, const struct strbuf *text, struct strbuf *ret)
{
    const struct algorithm *a = algorithm_of(key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = 0;
    const unsigned char *data = (const unsigned char *)text->data;
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, a->digest(), NULL, key->key) == 1 &&
              EVP_DigestSign(ctx, NULL, &len, data, text->len) == 1;
    _cleanup_free_ unsigned char *raw = mem_zalloc(len + 1);
    ok = ok && EVP_DigestSign(ctx, raw, &len, data, text->len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return -EINVAL;
    if (a->curve)
        return to_plain(a, raw, len, ret);
    strbuf_add(ret, raw, len);
    return 0;
}

char *jwt_sign(const struct jwt_key *key, const json_t *claims, struct error *err)
{
    _cleanup_json_ json_t *header = json_pack("{ssss}", "alg", key->algorithm, "kid", key->id);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT, signature = STRBUF_INIT;
    add_part(header, &text);
    strbuf_addc(&text, '.');
    add_part(claims, &text);
    if (sign(key, &text, &signature) < 0) {
        (void)tls_error(err, -EINVAL, "signing a token");
        return NULL;
    }
    _cleanup_free_ char *encoded = base64url_encode(signature.data, signature.len);
    strbuf_addc(&text, '.');
    strbuf_adds(&text, encoded);
    return strbuf_take(&text);
}

/* ---- verifying ---- */

struct parts {
    const char *text[3];
    size_t len[3];
};

static int split(const char *token, struct parts *p, struct error *err)
{
    size_t length = strnlen(token, JWT_MAX + 1);
    if (length > JWT_MAX)
        return error_set(err, -EINVAL, "the token is longer than %d bytes", JWT_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(p->text); i++) {
        p->text[i] = token;
        p->len[i] = strcspn(token, ".");
        token += p->len[i];
        if (!p->len[i] || (*token != '.' && i < 2))
            return error_set(err, -EINVAL, "the token is not three parts with dots between them");
        token += i < 2;
    }
    return *token ? error_set(err, -EINVAL, "the token has more than three parts") : 0;
}

static json_t *parse_part(const struct parts *p, size_t i, const char *name, struct error *err)
{
    struct bytes raw;
    json_t *part = NULL;
    if (base64url_decode(p->text[i], p->len[i], &raw) == 0)
        part = json_parse((const char *)raw.data, raw.len, NULL);
    free(raw.data);
    if (!json_is_object(part)) {
        json_decref(part);
        (void)error_set(err, -EINVAL, "the token's %s is not an object", name);
        return NULL;
    }
    return part;
}

json_t *jwt_claims(const char *token, struct error *err)
{
    struct parts p = {.len = {0}};
    return split(token, &p, err) < 0 ? NULL : parse_part(&p, 1, "claims", err);
}

static bool signed_by(const struct jwt_key *key, const void *text, size_t len,
                      const struct bytes *signature)
{
    const struct algorithm *a = algorithm_of(key);
    unsigned char *der = NULL;
    const unsigned char *raw = signature->data;
    size_t raw_len = signature->len;
    if (a->curve) {
        int n = to_der(a, signature, &der);
        if (n < 0)
            return false;
        raw = der;
        raw_len = (size_t)n;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, a->digest(), NULL, key->key) == 1 &&
              EVP_DigestVerify(ctx, raw, raw_len, text, len) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ERR_clear_error();
    return ok;
}

int jwt_verify(const char *token, const struct jwt_key *keys, size_t n, struct error *err)
{
    struct parts p = {.len = {0}};
    if (split(token, &p, err) < 0)
        return -EINVAL;
    _cleanup_json_ json_t *header = parse_part(&p, 0, "header", err);
    if (!header)
        return -EINVAL;
    if (json_object_get(header, "crit"))
        return error_set(err, -EINVAL, "the token has critical headers, which are not supported");
    const char *algorithm = json_path_string(header, "alg");
    const char *id = json_path_string(header, "kid");
    struct bytes signature;
    if (base64url_decode(p.text[2], p.len[2], &signature) < 0)
        return error_set(err, -EINVAL, "the token's signature is not base64");
    bool ok = false;
    for (size_t i = 0; i < n && !ok; i++)
        if (str_eq(keys[i].algorithm, algorithm) && (!id || !*id || str_eq(keys[i].id, id)))
            ok = signed_by(&keys[i], token, (size_t)(p.text[2] - 1 - token), &signature);
    free(signature.data);
    return ok ? 0 : error_set(err, -EACCES, "the token is not signed by a key that is trusted");
}

/* ---- key sets ---- */

/* A number of the key, big endian; at least @size bytes. */
static void set_number(json_t *jwk, const char *name, const EVP_PKEY *key, const char *parameter,
                       size_t size)
{
    BIGNUM *n = NULL;
    if (EVP_PKEY_get_bn_param(key, parameter, &n) != 1)
        abort();
    size_t len = (size_t)BN_num_bytes(n);
    len = len < size ? size : len;
    _cleanup_free_ unsigned char *bytes = mem_zalloc(len + 1);
    (void)BN_bn2binpad(n, bytes, (int)len);
    BN_free(n);
    _cleanup_free_ char *text = base64url_encode(bytes, len);
    (void)json_object_set_new(jwk, name, json_string(text));
}

json_t *jwt_key_jwk(const struct jwt_key *key)
{
    const struct algorithm *a = algorithm_of(key);
    json_t *jwk = json_pack("{ssssssss}", "use", "sig", "kty", a->curve ? "EC" : "RSA", "kid",
                            key->id, "alg", a->name);
    if (a->curve) {
        (void)json_object_set_new(jwk, "crv", json_string(a->curve));
        set_number(jwk, "x", key->key, OSSL_PKEY_PARAM_EC_PUB_X, a->coordinate);
        set_number(jwk, "y", key->key, OSSL_PKEY_PARAM_EC_PUB_Y, a->coordinate);
    } else {
        set_number(jwk, "n", key->key, OSSL_PKEY_PARAM_RSA_N, 0);
        set_number(jwk, "e", key->key, OSSL_PKEY_PARAM_RSA_E, 0);
    }
    return jwk;
}
