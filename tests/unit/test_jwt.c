/* lib/kube/jwt.c: tokens that are taken, and every way in which one is not. */
#include "lib/test.h"

#include <errno.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kube/decode.h"
#include "kube/jwt.h"

static struct jwt_key key_of(EVP_PKEY *pkey)
{
    struct jwt_key key;
    assert_int_equal(jwt_key_init(&key, pkey, NULL), 0);
    return key;
}

static char *sign(const struct jwt_key *key, const char *claims)
{
    _cleanup_json_ json_t *tree = json_parse(claims, strlen(claims), NULL);
    assert_non_null(tree);
    char *token = jwt_sign(key, tree, NULL);
    assert_non_null(token);
    return token;
}

static void every_algorithm_verifies(_unused_ void **state)
{
    struct jwt_key keys[] = {key_of(EVP_RSA_gen(2048)), key_of(EVP_EC_gen("P-256")),
                             key_of(EVP_EC_gen("P-384")), key_of(EVP_EC_gen("P-521"))};
    static const char *const names[] = {"RS256", "ES256", "ES384", "ES512"};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        _cleanup_free_ char *token = sign(&keys[i], "{\"sub\":\"a\",\"n\":1}");
        assert_string_equal(keys[i].algorithm, names[i]);
        assert_int_equal(strlen(keys[i].id), JWT_KEY_ID_LEN);
        assert_int_equal(jwt_verify(token, keys, ARRAY_SIZE(keys), NULL), 0);
        assert_int_equal(jwt_verify(token, &keys[i], 1, NULL), 0);
        assert_int_equal(jwt_verify(token, &keys[(i + 1) % 4], 1, NULL), -EACCES);
        assert_int_equal(jwt_verify(token, keys, 0, NULL), -EACCES);
        _cleanup_json_ json_t *claims = jwt_claims(token, NULL);
        assert_string_equal(json_path_string(claims, "sub"), "a");
        _cleanup_json_ json_t *jwk = jwt_key_jwk(&keys[i]);
        assert_string_equal(json_path_string(jwk, "kid"), keys[i].id);
        assert_string_equal(json_path_string(jwk, "kty"), i ? "EC" : "RSA");
        assert_non_null(json_path_string(jwk, i ? "x" : "n"));
        /* Any changed byte of it is noticed, but for the spare bits of a part's last character. */
        for (char *c = token; *c; c++) {
            char was = *c;
            if (was == '.' || c[1] == '.' || !c[1])
                continue;
            *c = was == 'A' ? 'B' : 'A';
            assert_true(jwt_verify(token, keys, ARRAY_SIZE(keys), NULL) < 0);
            *c = was;
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        jwt_key_done(&keys[i]);
}

/* A signature made over a header of one's choice. */
static char *with_header(const struct jwt_key *key, const char *header)
{
    _cleanup_free_ char *good = sign(key, "{\"sub\":\"a\"}");
    _cleanup_free_ char *encoded = base64url_encode(header, strlen(header));
    return str_printf("%s%s", encoded, strchr(good, '.'));
}

static void headers_are_not_believed(_unused_ void **state)
{
    struct jwt_key key = key_of(EVP_EC_gen("P-256"));
    static const char *const headers[] = {"{\"alg\":\"none\"}",
                                          "{\"alg\":\"HS256\"}",
                                          "{}",
                                          "{\"alg\":\"ES256\",\"crit\":[\"x\"]}",
                                          "{\"alg\":\"RS256\"}",
                                          "[]",
                                          "{\"alg\":\"ES256\",\"kid\":\"other\"}"};
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        _cleanup_free_ char *token = with_header(&key, headers[i]);
        assert_true(jwt_verify(token, &key, 1, NULL) < 0);
    }
    jwt_key_done(&key);
}

static void what_is_no_token_is_refused(_unused_ void **state)
{
    struct jwt_key key = key_of(EVP_EC_gen("P-256"));
    _cleanup_free_ char *good = sign(&key, "{\"sub\":\"a\"}");
    _cleanup_free_ char *cut = str_ndup(good, strlen(good) - 4);
    _cleanup_free_ char *more = str_printf("%s.e30", good);
    _cleanup_free_ char *padded = str_printf("%s=", good);
    _cleanup_free_ char *huge = mem_zalloc(2 * JWT_MAX);
    memset(huge, 'A', 2 * JWT_MAX - 1);
    const char *const bad[] = {"",         ".",        "..",          "a.b", "e30.e30",
                               "e30..e30", "e30.e30.", "e30.W10.e30", cut,   more,
                               padded,     huge,       "e30.e3.e30"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_true(jwt_verify(bad[i], &key, 1, NULL) < 0);
    assert_null(jwt_claims("e30.W10.e30", NULL));
    assert_null(jwt_claims("e30.!.e30", NULL));
    jwt_key_done(&key);
}

static void weak_and_strange_keys_are_refused(_unused_ void **state)
{
    struct jwt_key key;
    struct error err = ERROR_INIT;
    assert_int_equal(jwt_key_init(&key, EVP_RSA_gen(1024), &err), -EINVAL);
    assert_int_equal(jwt_key_init(&key, EVP_EC_gen("secp256k1"), &err), -EINVAL);
    assert_int_equal(jwt_key_init(&key, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), &err), -EINVAL);
    assert_non_null(strstr(error_text(&err), "RSA of at least 2048"));
}

static void public_keys_cannot_sign(_unused_ void **state)
{
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pair, &der);
    const unsigned char *at = der;
    struct jwt_key private = key_of(pair), public = key_of(d2i_PUBKEY(NULL, &at, len));
    OPENSSL_free(der);
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *claims = json_object();
    assert_string_equal(private.id, public.id);
    assert_null(jwt_sign(&public, claims, &err));
    _cleanup_free_ char *token = jwt_sign(&private, claims, &err);
    assert_int_equal(jwt_verify(token, &public, 1, NULL), 0);
    jwt_key_done(&private);
    jwt_key_done(&public);
}

static void base64url_is_strict(_unused_ void **state)
{
    struct bytes out;
    static const char *const bad[] = {"a", "ab=", "ab==", "a+b", "a/b", "a b", "abcde"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(base64url_decode(bad[i], strlen(bad[i]), &out), -EINVAL);
    for (size_t len = 0; len < 9; len++) {
        _cleanup_free_ char *text = base64url_encode("\xff\xfe\xfb\xef\xbe\xff\x00\x01", len);
        assert_int_equal(base64url_decode(text, strlen(text), &out), 0);
        assert_int_equal(out.len, len);
        assert_memory_equal(out.data, "\xff\xfe\xfb\xef\xbe\xff\x00\x01", len);
        free(out.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm_verifies),
        cmocka_unit_test(headers_are_not_believed),
        cmocka_unit_test(what_is_no_token_is_refused),
        cmocka_unit_test(weak_and_strange_keys_are_refused),
        cmocka_unit_test(public_keys_cannot_sign),
        cmocka_unit_test(base64url_is_strict),
    };
    return RUN_TESTS(tests);
}
