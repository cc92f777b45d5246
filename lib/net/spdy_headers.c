/*
 * SPDY header blocks: count, then name and value with their lengths, names in lower case, several
 * values of a name joined by NUL (SPDY/3 section 2.6.10). All blocks of a direction are one zlib
 * stream, primed with a dictionary and flushed after each block.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/strbuf.h"
#include "net/spdy_impl.h"

#define DICTIONARY_LEN 1423

/* The dictionary: these words, each with its length before it as a 32-bit number, … */
static const char *const words[] = {
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
};
/* … and then this text. */
static const char text[] =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static void build_dictionary(uint8_t out[DICTIONARY_LEN])
{
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        size_t len = strlen(words[i]);
        spdy_put32(out + at, (uint32_t)len);
        memcpy(out + at + 4, words[i], len);
        at += 4 + len;
    }
    memcpy(out + at, text, DICTIONARY_LEN - at);
}

void spdy_headers_init(struct spdy_session *s)
{
    uint8_t dictionary[DICTIONARY_LEN];
    build_dictionary(dictionary);
    /* A small window: blocks are short, and a session should cost little memory. */
    if (deflateInit2(&s->deflate, Z_BEST_SPEED, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) != Z_OK ||
        deflateSetDictionary(&s->deflate, dictionary, DICTIONARY_LEN) != Z_OK ||
        inflateInit(&s->inflate) != Z_OK)
        abort();
}

void spdy_headers_done(struct spdy_session *s)
{
    (void)deflateEnd(&s->deflate);
    (void)inflateEnd(&s->inflate);
}

/* ---- packing ---- */

static void put_text(struct strbuf *out, const char *data, size_t len)
{
    uint8_t length[4];
    spdy_put32(length, (uint32_t)len);
    strbuf_add(out, length, sizeof(length));
    strbuf_add(out, data, len);
}

/* All values of the name of field @i, joined by NUL. */
static void put_values(struct strbuf *out, const struct http_headers *h, size_t i)
{
    _cleanup_strbuf_ struct strbuf joined = STRBUF_INIT;
    const char *value;
    for (size_t n = 0; (value = http_headers_get_nth(h, h->items[i].name, n)); n++) {
        if (n > 0)
            strbuf_addc(&joined, '\0');
        strbuf_adds(&joined, value);
    }
    put_text(out, strbuf_text(&joined), joined.len);
}

static bool is_first_of_name(const struct http_headers *h, size_t i)
{
    return http_headers_get(h, h->items[i].name) == h->items[i].value;
}

void spdy_headers_pack(struct spdy_session *s, const struct http_headers *h, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf block = STRBUF_INIT;
    uint8_t number[4];
    uint32_t count = 0;
    for (size_t i = 0; h && i < h->count; i++)
        count += is_first_of_name(h, i);
    spdy_put32(number, count);
    strbuf_add(&block, number, sizeof(number));
    for (size_t i = 0; h && i < h->count; i++) {
        if (!is_first_of_name(h, i))
            continue;
        _cleanup_free_ char *name = str_dup(h->items[i].name);
        for (char *p = name; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        put_text(&block, name, strlen(name));
        put_values(&block, h, i);
    }
    s->deflate.next_in = (uint8_t *)block.data;
    s->deflate.avail_in = (uInt)block.len;
    do {
        const uInt room = 1024;
        s->deflate.next_out = (uint8_t *)strbuf_reserve(out, room);
        s->deflate.avail_out = room;
        if (deflate(&s->deflate, Z_SYNC_FLUSH) == Z_STREAM_ERROR)
            abort();
        out->len += room - s->deflate.avail_out;
        strbuf_terminate(out);
    } while (s->deflate.avail_out == 0);
}

/* ---- unpacking ---- */

static int decompress(struct spdy_session *s, const uint8_t *data, size_t len, struct strbuf *out)
{
    z_stream *z = &s->inflate;
    z->next_in = (uint8_t *)(uintptr_t)data;
    z->avail_in = (uInt)len;
    while (z->avail_in > 0 || z->avail_out == 0) {
        const uInt room = 4096;
        z->next_out = (uint8_t *)strbuf_reserve(out, room);
        z->avail_out = room;
        int r = inflate(z, Z_SYNC_FLUSH);
        out->len += room - z->avail_out;
        strbuf_terminate(out);
        if (out->len > SPDY_BLOCK_MAX)
            return -EBADMSG;
        if (r == Z_NEED_DICT) {
            uint8_t dictionary[DICTIONARY_LEN];
            build_dictionary(dictionary);
            if (inflateSetDictionary(z, dictionary, DICTIONARY_LEN) != Z_OK)
                return -EBADMSG;
            z->avail_out = 0; /* look again, also without more input */
        } else if (r == Z_BUF_ERROR) {
            break; /* nothing more to be had */
        } else if (r != Z_OK) {
            return -EBADMSG;
        }
    }
    return z->avail_in == 0 ? 0 : -EBADMSG;
}

struct cursor {
    const uint8_t *at, *end;
};

static int get_number(struct cursor *c, uint32_t *ret)
{
    if (c->end - c->at < 4)
        return -EBADMSG;
    *ret = spdy_get32(c->at);
    c->at += 4;
    return 0;
}

static int get_text(struct cursor *c, const char **ret, size_t *ret_len)
{
    uint32_t len;
    if (get_number(c, &len) < 0 || (size_t)(c->end - c->at) < len)
        return -EBADMSG;
    *ret = (const char *)c->at;
    *ret_len = len;
    c->at += len;
    return 0;
}

/* One name with its values: "a\0b" are two. */
static int get_field(struct cursor *c, struct http_headers *h)
{
    const char *name, *value;
    size_t name_len, value_len;
    if (get_text(c, &name, &name_len) < 0 || get_text(c, &value, &value_len) < 0)
        return -EBADMSG;
    /* Names may begin with a colon (":method"). */
    size_t colon = name_len > 0 && *name == ':';
    if (!http_token_valid(name + colon, name_len - colon))
        return -EBADMSG;
    _cleanup_free_ char *name_text = str_ndup(name, name_len);
    if (http_headers_get(h, name_text))
        return -EBADMSG;
    for (const char *end = value + value_len;;) {
        const char *nul = memchr(value, '\0', (size_t)(end - value));
        size_t len = (size_t)((nul ? nul : end) - value);
        if (!http_value_valid(value, len) || h->count >= HTTP_HEADERS_MAX)
            return -EBADMSG;
        _cleanup_free_ char *value_text = str_ndup(value, len);
        http_headers_add(h, name_text, value_text);
        if (!nul)
            return 0;
        value = nul + 1;
    }
}

int spdy_headers_unpack(struct spdy_session *s, const uint8_t *data, size_t len,
                        struct http_headers *ret)
{
    _cleanup_strbuf_ struct strbuf block = STRBUF_INIT;
    struct http_headers h = HTTP_HEADERS_INIT;
    uint32_t count;
    int r = decompress(s, data, len, &block);
    struct cursor c = {.at = (const uint8_t *)strbuf_text(&block)};
    c.end = c.at + block.len;
    if (r == 0)
        r = get_number(&c, &count);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        r = get_field(&c, &h);
    if (r == 0 && c.at != c.end)
        r = -EBADMSG;
    if (r < 0)
        http_headers_done(&h);
    else
        *ret = h;
    return r;
}
