/* Detached signatures; see jws.h. */
#include "kube/jws.h"

#include <string.h>

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
