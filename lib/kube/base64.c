/* Base64 (RFC 4648 section 4), strict. */
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
