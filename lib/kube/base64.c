/* Base64 (RFC 4648 sections 4 and 5), strict. */
#include "kube/decode.h"

#include <errno.h>

#include <openssl/evp.h>

#include "base/strbuf.h"

int base64_decode(const char *text, size_t len, struct bytes *ret)
{
    *ret = (struct bytes){.data = NULL};
    if (len % 4 || len > INT32_MAX)
        return -EINVAL;
    unsigned char *data = mem_zalloc(len / 4 * 3 + 1);
    /* EVP_DecodeBlock() passes over white space at the ends; refuse it here. */
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ') {
            free(data);
            return -EINVAL;
        }
    }
    int n = len ? EVP_DecodeBlock(data, (const unsigned char *)text, (int)len) : 0;
    if (n < 0) {
        free(data);
        return -EINVAL;
    }
    /* The block decoder counts padding as bytes. */
    size_t padding = len && text[len - 1] == '=' ? 1 + (size_t)(text[len - 2] == '=') : 0;
    ret->data = data;
    ret->len = (size_t)n - padding;
    ret->data[ret->len] = '\0';
    return 0;
}

char *base64_encode(const void *data, size_t len)
{
    if (len > INT32_MAX / 2)
        return NULL;
    char *text = mem_zalloc((len + 2) / 3 * 4 + 1);
    (void)EVP_EncodeBlock((unsigned char *)text, data, (int)len);
    return text;
}

int base64url_decode(const char *text, size_t len, struct bytes *ret)
{
    *ret = (struct bytes){.data = NULL};
    if (len % 4 == 1 || len > INT32_MAX / 2)
        return -EINVAL;
    size_t padded = (len + 3) / 4 * 4;
    _cleanup_free_ char *standard = mem_zalloc(padded + 1);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '+' || text[i] == '/' || text[i] == '=')
            return -EINVAL;
        standard[i] = (char)(text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i]);
    }
    for (size_t i = len; i < padded; i++)
        standard[i] = '=';
    return base64_decode(standard, padded, ret);
}

char *base64url_encode(const void *data, size_t len)
{
    char *text = base64_encode(data, len);
    if (!text)
        return NULL;
    char *c = text;
    for (; *c && *c != '='; c++)
        *c = (char)(*c == '+' ? '-' : *c == '/' ? '_' : *c);
    *c = '\0';
    return text;
}
