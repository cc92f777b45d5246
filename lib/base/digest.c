/* Digests and random bytes; see digest.h. */
#include "base/digest.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/strbuf.h"

struct digest {
    EVP_MD_CTX *ctx;
};

struct digest *digest_new(void)
{
    struct digest *d = mem_zalloc(sizeof(*d));
    d->ctx = EVP_MD_CTX_new();
    if (!d->ctx || EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL) != 1)
        abort();
    return d;
}

void digest_add(struct digest *d, const void *data, size_t len)
{
    if (EVP_DigestUpdate(d->ctx, data, len) != 1)
        abort();
}

static void to_hex(const unsigned char *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

void digest_hex(struct digest *d, char out[SHA256_HEX_LEN + 1])
{
    unsigned char md[32];
    if (EVP_DigestFinal_ex(d->ctx, md, NULL) != 1)
        abort();
    to_hex(md, sizeof(md), out);
}

struct digest *digest_free(struct digest *d)
{
    if (d) {
        EVP_MD_CTX_free(d->ctx);
        free(d);
    }
    return NULL;
}

void sha256_hex(const void *data, size_t len, char out[SHA256_HEX_LEN + 1])
{
    _cleanup_(digest_freep) struct digest *d = digest_new();
    digest_add(d, data, len);
    digest_hex(d, out);
}

void random_bytes(void *out, size_t len)
{
    if (RAND_bytes(out, (int)len) != 1)
        abort();
}

void random_hex(char *out, size_t len)
{
    _cleanup_free_ unsigned char *bytes = mem_zalloc(len / 2 + 1);
    char pair[3];
    random_bytes(bytes, len / 2 + 1);
    for (size_t i = 0; i < len; i++) {
        to_hex(&bytes[i / 2], 1, pair);
        out[i] = pair[i % 2];
    }
    out[len] = '\0';
}

void random_uuid(char out[37])
{
    unsigned char b[16];
    random_bytes(b, sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    (void)snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                   b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
                   b[13], b[14], b[15]);
}
