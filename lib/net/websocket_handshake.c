/* WebSocket's opening handshake (RFC 6455 section 4): see websocket.h. */
#include "net/websocket.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/digest.h"
#include "base/strbuf.h"

#define VERSION "13"
#define NONCE   16
#define SHA1    20

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

void websocket_accept(const char *key, char accept[WEBSOCKET_ACCEPT_LEN + 1])
{
    _cleanup_free_ char *text = str_printf("%s%s", key, guid);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_Digest(text, strlen(text), hash, &len, EVP_sha1(), NULL) != 1 || len != SHA1)
        abort();
    (void)EVP_EncodeBlock((unsigned char *)accept, hash, SHA1);
}

/* 16 bytes in base64: 22 digits and "==". */
static bool key_valid(const char *key)
{
    unsigned char nonce[WEBSOCKET_KEY_LEN];
    return strlen(key) == WEBSOCKET_KEY_LEN && key[21] != '=' && strcmp(key + 22, "==") == 0 &&
           EVP_DecodeBlock(nonce, (const unsigned char *)key, WEBSOCKET_KEY_LEN) == NONCE + 2;
}

int websocket_check_request(struct http_exchange *x, struct error *err)
{
    const struct http_headers *h = http_exchange_headers(x);
    const char *key = http_headers_get(h, "Sec-WebSocket-Key");
    const char *version = http_headers_get(h, "Sec-WebSocket-Version");
    if (strcmp(http_exchange_method(x), "GET") != 0) {
        http_exchange_replyf(x, 400, "a WebSocket handshake is a GET request\n");
        return error_set(err, -EINVAL, "a WebSocket handshake that is no GET request");
    }
    if (!version || strcmp(version, VERSION) != 0) {
        http_exchange_add_header(x, "Sec-WebSocket-Version", VERSION);
        http_exchange_replyf(x, 426, "Sec-WebSocket-Version: only " VERSION " is spoken here\n");
        return error_set(err, -EINVAL, "a WebSocket handshake of another version");
    }
    if (!key || http_headers_count(h, "Sec-WebSocket-Key") > 1 || !key_valid(key)) {
        http_exchange_replyf(x, 400, "Sec-WebSocket-Key: not 16 bytes in base64\n");
        return error_set(err, -EINVAL, "a WebSocket handshake without a valid key");
    }
    return 0;
}

void websocket_add_request(struct http_headers *h, char key[WEBSOCKET_KEY_LEN + 1])
{
    unsigned char nonce[NONCE];
    random_bytes(nonce, sizeof(nonce));
    (void)EVP_EncodeBlock((unsigned char *)key, nonce, sizeof(nonce));
    http_headers_set(h, "Sec-WebSocket-Key", key);
    http_headers_set(h, "Sec-WebSocket-Version", VERSION);
}

int websocket_check_response(const struct http_headers *h, const char *key, struct error *err)
{
    char expected[WEBSOCKET_ACCEPT_LEN + 1];
    const char *accept = http_headers_get(h, "Sec-WebSocket-Accept");
    websocket_accept(key, expected);
    if (!http_headers_has_token(h, "Upgrade", "websocket") || !accept ||
        strcmp(accept, expected) != 0)
        return error_set(err, -EPROTO, "the server did not accept the WebSocket handshake");
    if (http_headers_get(h, "Sec-WebSocket-Extensions"))
        return error_set(err, -EPROTO,
                         "the server chose a WebSocket extension that was not asked for");
    return 0;
}
