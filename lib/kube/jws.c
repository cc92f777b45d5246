/* Detached signatures; see jws.h. */
#include "kube/jws.h"

#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kube/decode.h"

#define JWS_MAX 4096 /* longest signature that is looked at */

/* base64url of the HMAC over "HEADER.PAYLOAD". */
static char *signature(const char *header, size_t header_len, const char *secret,
                       const char *payload, size_t len)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_len = 0;
    _cleanup_free_ char *encoded = base64url_encode(payload, len);
    _cleanup_strbuf_ struct strbuf input = STRBUF_INIT;
    strbuf_add(&input, header, header_len);
    strbuf_addf(&input, ".%s", encoded);
    if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)input.data,
              input.len, mac, &mac_len))
        abort(); /* memory is gone */
    return base64url_encode(mac, mac_len);
}

char *jws_sign(const char *token_id, const char *token_secret, const char *payload, size_t len)
{
    _cleanup_free_ char *plain = str_printf("{\"alg\":\"HS256\",\"kid\":\"%s\"}", token_id);
    _cleanup_free_ char *header = base64url_encode(plain, strlen(plain));
    _cleanup_free_ char *mac = signature(header, strlen(header), token_secret, payload, len);
    return str_printf("%s..%s", header, mac);
}

/* The header says how it was signed: by us, only this way. */
static int check_header(const char *header, size_t len, const char *token_id, struct error *err)
{
    struct bytes plain;
    if (base64url_decode(header, len, &plain) < 0)
        return error_set(err, -EINVAL, "the signature's header is not base64url");
    _cleanup_json_ json_t *j = json_loadb((const char *)plain.data, plain.len, 0, NULL);
    free(plain.data);
    if (!str_eq(json_path_string(j, "alg"), "HS256"))
        return error_set(err, -EINVAL, "the signature is not by HS256");
    if (!str_eq(json_path_string(j, "kid"), token_id))
        return error_set(err, -EINVAL, "the signature is by another token");
    return 0;
}

int jws_verify(const char *jws, const char *token_id, const char *token_secret, const char *payload,
               size_t len, struct error *err)
{
    size_t header = strcspn(jws, ".");
    const char *mac = jws + header;
    if (strlen(jws) > JWS_MAX || !str_starts(mac, "..") || strchr(mac + 2, '.'))
        return error_set(err, -EINVAL, "no detached signature (HEADER..SIGNATURE)");
    int r = check_header(jws, header, token_id, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *good = signature(jws, header, token_secret, payload, len);
    if (strlen(good) != strlen(mac + 2) || CRYPTO_memcmp(good, mac + 2, strlen(good)) != 0)
        return error_set(err, -EKEYREJECTED, "the signature does not match");
    return 0;
}
