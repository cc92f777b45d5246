/* Header lists, status texts, percent-encoding, queries, URLs: see http.h. */
#include "net/http.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#define QUERY_PAIRS_MAX 1000

/* ---- header lists ---- */

static void push(struct http_header **items, size_t *count, char *name, char *value)
{
    /* Grows by powers of two: the count is its own record of the room. */
    if ((*count & (*count - 1)) == 0)
        *items = mem_grow(*items, *count ? *count * 2 : 1, sizeof(**items));
    (*items)[(*count)++] = (struct http_header){name, value};
}

void http_headers_add(struct http_headers *h, const char *name, const char *value)
{
    push(&h->items, &h->count, str_dup(name), str_dup(value));
}

void http_headers_addf(struct http_headers *h, const char *name, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf value = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&value, fmt, args);
    va_end(args);
    http_headers_add(h, name, strbuf_text(&value));
}

void http_headers_set(struct http_headers *h, const char *name, const char *value)
{
    /* @value may belong to the field that is replaced. */
    char *copy = str_dup(value);
    http_headers_remove(h, name);
    push(&h->items, &h->count, str_dup(name), copy);
}

void http_headers_remove(struct http_headers *h, const char *name)
{
    struct http_headers kept = HTTP_HEADERS_INIT;
    for (size_t i = 0; i < h->count; i++) {
        if (strcasecmp(h->items[i].name, name) == 0) {
            free(h->items[i].name);
            free(h->items[i].value);
        } else {
            push(&kept.items, &kept.count, h->items[i].name, h->items[i].value);
        }
    }
    free(h->items);
    *h = kept;
}

const char *http_headers_get_nth(const struct http_headers *h, const char *name, size_t n)
{
    for (size_t i = 0; i < h->count; i++)
        if (strcasecmp(h->items[i].name, name) == 0 && n-- == 0)
            return h->items[i].value;
    return NULL;
}

const char *http_headers_get(const struct http_headers *h, const char *name)
{
    return http_headers_get_nth(h, name, 0);
}

size_t http_headers_count(const struct http_headers *h, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < h->count; i++)
        n += strcasecmp(h->items[i].name, name) == 0;
    return n;
}

static bool list_has(const char *list, const char *token)
{
    size_t len = strlen(token);
    for (const char *p = list; *p;) {
        p += strspn(p, " \t,");
        size_t n = strcspn(p, ",");
        size_t trimmed = n;
        while (trimmed && (p[trimmed - 1] == ' ' || p[trimmed - 1] == '\t'))
            trimmed--;
        if (trimmed == len && strncasecmp(p, token, len) == 0)
            return true;
        p += n;
    }
    return false;
}

bool http_headers_has_token(const struct http_headers *h, const char *name, const char *token)
{
    for (size_t i = 0; i < h->count; i++)
        if (strcasecmp(h->items[i].name, name) == 0 && list_has(h->items[i].value, token))
            return true;
    return false;
}

void http_headers_copy(struct http_headers *to, const struct http_headers *from)
{
    for (size_t i = 0; i < from->count; i++)
        http_headers_add(to, from->items[i].name, from->items[i].value);
}

static void items_free(struct http_header **items, size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        free((*items)[i].name);
        free((*items)[i].value);
    }
    free(*items);
    *items = NULL;
    *count = 0;
}

void http_headers_done(struct http_headers *h)
{
    items_free(&h->items, &h->count);
}

bool http_token_valid(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x80 || (!isalnum(c) && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c))))
            return false;
    }
    return len > 0;
}

bool http_value_valid(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Unknown";
}

/* ---- percent-encoding and queries ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int http_percent_decode(const char *s, size_t len, bool plus, struct strbuf *out)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '+' && plus) {
            strbuf_addc(out, ' ');
        } else if (s[i] != '%') {
            strbuf_addc(out, s[i]);
        } else {
            int high = len - i > 2 ? hex_digit(s[i + 1]) : -1;
            int low = len - i > 2 ? hex_digit(s[i + 2]) : -1;
            if (high < 0 || low < 0 || (high | low) == 0)
                return -EINVAL;
            strbuf_addc(out, (char)(high << 4 | low));
            i += 2;
        }
    }
    return 0;
}

void http_percent_encode(const char *s, const char *keep, struct strbuf *out)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c < 0x80 && isalnum(c)) || strchr("-._~", c) || (keep && strchr(keep, c)))
            strbuf_addc(out, *s);
        else
            strbuf_addf(out, "%%%02X", c);
    }
}

int http_query_parse(struct http_query *q, const char *text, struct error *err)
{
    struct http_query parsed = {.items = NULL};
    for (const char *p = text ? text : ""; *p;) {
        size_t n = strcspn(p, "&");
        const char *equals = memchr(p, '=', n);
        size_t key_len = equals ? (size_t)(equals - p) : n;
        if (n > 0) {
            _cleanup_strbuf_ struct strbuf key = STRBUF_INIT;
            _cleanup_strbuf_ struct strbuf value = STRBUF_INIT;
            int r = parsed.count >= QUERY_PAIRS_MAX ? -E2BIG : 0;
            if (r == 0)
                r = http_percent_decode(p, key_len, true, &key);
            if (r == 0 && equals)
                r = http_percent_decode(equals + 1, n - key_len - 1, true, &value);
            if (r < 0) {
                http_query_done(&parsed);
                return error_set(err, r,
                                 r == -E2BIG ? "query: too many parameters"
                                             : "query: invalid percent-encoding");
            }
            push(&parsed.items, &parsed.count, strbuf_take(&key), strbuf_take(&value));
        }
        p += n;
        p += *p == '&';
    }
    *q = parsed;
    return 0;
}

const char *http_query_get_nth(const struct http_query *q, const char *key, size_t n)
{
    for (size_t i = 0; i < q->count; i++)
        if (strcmp(q->items[i].name, key) == 0 && n-- == 0)
            return q->items[i].value;
    return NULL;
}

const char *http_query_get(const struct http_query *q, const char *key)
{
    return http_query_get_nth(q, key, 0);
}

bool http_query_bool(const struct http_query *q, const char *key)
{
    const char *v = http_query_get(q, key);
    return v &&
           (!*v || strcmp(v, "1") == 0 || strcasecmp(v, "true") == 0 || strcasecmp(v, "t") == 0);
}

int64_t http_query_int(const struct http_query *q, const char *key, int64_t fallback)
{
    const char *v = http_query_get(q, key);
    if (!v || !*v)
        return fallback;
    char *end;
    errno = 0;
    long long n = strtoll(v, &end, 10);
    if (errno || *end || isspace((unsigned char)*v))
        return fallback;
    return n;
}

void http_query_done(struct http_query *q)
{
    items_free(&q->items, &q->count);
}

void http_query_add(struct strbuf *out, const char *key, const char *value)
{
    if (out->len > 0 && out->data[out->len - 1] != '?')
        strbuf_addc(out, '&');
    http_percent_encode(key, NULL, out);
    strbuf_addc(out, '=');
    http_percent_encode(value, NULL, out);
}

/* ---- URLs ---- */

static int parse_port(const char *s, size_t len, uint16_t *ret)
{
    unsigned port = 0;
    if (len == 0 || len > 5)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -EINVAL;
        port = port * 10 + (unsigned)(s[i] - '0');
    }
    if (port == 0 || port > 65535)
        return -EINVAL;
    *ret = (uint16_t)port;
    return 0;
}

static int parse_authority(struct http_url *u, const char *s, size_t len)
{
    const char *host = s, *port = NULL;
    size_t host_len = len;
    if (memchr(s, '@', len))
        return -EINVAL;
    if (len > 0 && *s == '[') {
        const char *close = memchr(s, ']', len);
        if (!close)
            return -EINVAL;
        host = s + 1;
        host_len = (size_t)(close - host);
        if (close + 1 < s + len) {
            if (close[1] != ':')
                return -EINVAL;
            port = close + 2;
        }
    } else if ((port = memchr(s, ':', len))) {
        host_len = (size_t)(port - s);
        port++;
    }
    if (host_len == 0 || host_len > 255)
        return -EINVAL;
    for (size_t i = 0; i < host_len; i++) {
        unsigned char c = (unsigned char)host[i];
        if (c >= 0x80 || (!isalnum(c) && !strchr("-._:%", c)))
            return -EINVAL;
    }
    u->host = str_ndup(host, host_len);
    return port ? parse_port(port, (size_t)(s + len - port), &u->port) : 0;
}

int http_url_parse(struct http_url *u, const char *text, struct error *err)
{
    struct http_url parsed = {.scheme = NULL};
    const char *s = text ? text : "";
    if (strncasecmp(s, "https://", 8) == 0)
        parsed = (struct http_url){.scheme = str_dup("https"), .port = 443};
    else if (strncasecmp(s, "http://", 7) == 0)
        parsed = (struct http_url){.scheme = str_dup("http"), .port = 80};
    else
        return error_set(err, -EINVAL, "\"%.200s\" is no http or https URL", s);
    s += strlen(parsed.scheme) + 3;
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f) {
            http_url_done(&parsed);
            return error_set(err, -EINVAL, "\"%.200s\": invalid character in URL", text);
        }
    size_t len = strcspn(s, "/?#");
    if (parse_authority(&parsed, s, len) < 0) {
        http_url_done(&parsed);
        return error_set(err, -EINVAL, "\"%.200s\": invalid host or port", text);
    }
    s += len;
    len = strcspn(s, "?#");
    parsed.path = len ? str_ndup(s, len) : str_dup("/");
    s += len;
    if (*s == '?')
        parsed.query = str_ndup(s + 1, strcspn(s + 1, "#"));
    *u = parsed;
    return 0;
}

void http_url_done(struct http_url *u)
{
    free(u->scheme);
    free(u->host);
    free(u->path);
    free(u->query);
    *u = (struct http_url){.scheme = NULL};
}

void http_url_host_field(const struct http_url *u, struct strbuf *out)
{
    strbuf_addf(out, strchr(u->host, ':') ? "[%s]" : "%s", u->host);
    if (u->port != (strcmp(u->scheme, "https") == 0 ? 443 : 80))
        strbuf_addf(out, ":%u", u->port);
}
