/* The HTTP/1.1 message parser: see http_parse.h. Sections are those of RFC 9112. */
#include "net/http_parse.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define METHOD_MAX         32
#define CHUNK_OVERHEAD_MAX (16 * 1024)

ssize_t http_head_find(const char *data, size_t len, size_t *scanned)
{
    size_t i = *scanned;
    while (i < len) {
        const char *lf = memchr(data + i, '\n', len - i);
        if (!lf) {
            i = len;
            break;
        }
        size_t at = (size_t)(lf - data);
        if (at == 0 || data[at - 1] != '\r')
            return -EBADMSG;
        i = at + 1;
        if (i > HTTP_HEAD_MAX)
            return -E2BIG;
        /* An empty line: CRLF at the very start is left to the caller as a head of two bytes. */
        if (at == 1 || (at >= 3 && data[at - 2] == '\n'))
            return (ssize_t)i;
    }
    *scanned = i;
    return len > HTTP_HEAD_MAX ? -E2BIG : 0;
}

/* One line of the head without its CRLF; false at the empty line that ends it. */
static bool next_line(const char **at, const char *end, const char **line, size_t *len)
{
    const char *cr = memchr(*at, '\r', (size_t)(end - *at));
    if (!cr || end - cr < 2 || cr[1] != '\n' || cr == *at)
        return false;
    *line = *at;
    *len = (size_t)(cr - *at);
    *at = cr + 2;
    return true;
}

static int refuse(struct http_head *head, int status, struct error *err, const char *text)
{
    head->status = status;
    return error_set(err, -EBADMSG, "%s", text);
}

static int parse_field(struct http_head *head, const char *line, size_t len, struct error *err)
{
    const char *colon = memchr(line, ':', len);
    if (line[0] == ' ' || line[0] == '\t')
        return refuse(head, 400, err, "folded header line");
    if (!colon || !http_token_valid(line, (size_t)(colon - line)))
        return refuse(head, 400, err, "malformed header line");
    const char *value = colon + 1, *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (!http_value_valid(value, (size_t)(end - value)))
        return refuse(head, 400, err, "control character in header value");
    if (head->headers.count >= HTTP_HEADERS_MAX)
        return refuse(head, 431, err, "too many header fields");
    _cleanup_free_ char *name_text = str_ndup(line, (size_t)(colon - line));
    _cleanup_free_ char *value_text = str_ndup(value, (size_t)(end - value));
    http_headers_add(&head->headers, name_text, value_text);
    return 0;
}

static int parse_fields(struct http_head *head, const char *at, const char *end, struct error *err)
{
    const char *line;
    size_t len;
    while (next_line(&at, end, &line, &len)) {
        int r = parse_field(head, line, len, err);
        if (r < 0)
            return r;
    }
    /* Only the empty line may be left: anything else is a stray CR. */
    if (end - at != 2 || at[0] != '\r' || at[1] != '\n')
        return refuse(head, 400, err, "stray carriage return");
    return 0;
}

/* Section 6.3, the parts that requests and responses share. */
static int parse_framing(struct http_head *head, struct error *err)
{
    const struct http_headers *h = &head->headers;
    size_t codings = http_headers_count(h, "Transfer-Encoding");
    size_t lengths = http_headers_count(h, "Content-Length");
    if (codings > 0) {
        if (lengths > 0)
            return refuse(head, 400, err, "both Transfer-Encoding and Content-Length");
        if (head->minor == 0)
            return refuse(head, 400, err, "Transfer-Encoding in HTTP/1.0");
        if (codings > 1 || strcasecmp(http_headers_get(h, "Transfer-Encoding"), "chunked") != 0)
            return refuse(head, 501, err, "unsupported Transfer-Encoding");
        head->framing = HTTP_BODY_CHUNKED;
    } else if (lengths > 0) {
        const char *v = http_headers_get(h, "Content-Length");
        size_t digits = strspn(v, "0123456789");
        if (lengths > 1 || digits == 0 || digits > 18 || v[digits])
            return refuse(head, 400, err, "invalid Content-Length");
        head->length = strtoull(v, NULL, 10);
        head->framing = head->length ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    }
    head->keep_alive = head->minor == 1 && !http_headers_has_token(h, "Connection", "close");
    return 0;
}

static int parse_version(struct http_head *head, const char *s, size_t len, struct error *err)
{
    if (len != 8 || memcmp(s, "HTTP/", 5) != 0 || s[5] < '0' || s[5] > '9' || s[6] != '.' ||
        s[7] < '0' || s[7] > '9')
        return refuse(head, 400, err, "malformed HTTP version");
    if (s[5] != '1')
        return refuse(head, 505, err, "unsupported HTTP version");
    head->minor = s[7] == '0' ? 0 : 1;
    return 0;
}

/* Section 3.2: origin form, absolute form (the authority is ignored), or "*". */
static int parse_target(struct http_head *head, const char *s, size_t len, struct error *err)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] <= 0x20 || (unsigned char)s[i] >= 0x7f || s[i] == '#')
            return refuse(head, 400, err, "invalid character in request target");
    const char *end = s + len;
    if ((len > 7 && strncasecmp(s, "http://", 7) == 0) ||
        (len > 8 && strncasecmp(s, "https://", 8) == 0)) {
        s += s[4] == ':' ? 7 : 8;
        while (s < end && *s != '/' && *s != '?')
            s++;
    } else if (len == 1 && *s == '*' && strcmp(head->method, "OPTIONS") == 0) {
        head->path = str_dup("*");
        return 0;
    } else if (len == 0 || *s != '/') {
        return refuse(head, 400, err, "invalid request target");
    }
    const char *query = s < end ? memchr(s, '?', (size_t)(end - s)) : NULL;
    const char *path_end = query ? query : end;
    head->path = path_end > s ? str_ndup(s, (size_t)(path_end - s)) : str_dup("/");
    if (query)
        head->query = str_ndup(query + 1, (size_t)(end - query - 1));
    return 0;
}

int http_request_parse(const char *data, size_t len, struct http_head *head, struct error *err)
{
    const char *at = data, *end = data + len, *line;
    size_t line_len;
    *head = (struct http_head){.status = 400};
    if (!next_line(&at, end, &line, &line_len))
        return refuse(head, 400, err, "malformed request line");
    const char *method_end = memchr(line, ' ', line_len);
    const char *version = method_end ? memrchr(line, ' ', line_len) : NULL;
    if (!version || version == method_end)
        return refuse(head, 400, err, "malformed request line");
    size_t method_len = (size_t)(method_end - line);
    if (method_len > METHOD_MAX || !http_token_valid(line, method_len))
        return refuse(head, 400, err, "malformed method");
    head->method = str_ndup(line, method_len);
    int r = parse_version(head, version + 1, (size_t)(line + line_len - version - 1), err);
    if (r == 0)
        r = parse_target(head, method_end + 1, (size_t)(version - method_end - 1), err);
    if (r == 0)
        r = parse_fields(head, at, end, err);
    if (r == 0)
        r = parse_framing(head, err);
    if (r < 0)
        return r;
    size_t hosts = http_headers_count(&head->headers, "Host");
    if (hosts > 1 || (hosts == 0 && head->minor == 1))
        return refuse(head, 400, err, "there must be one Host header");
    head->status = 0;
    return 0;
}

int http_response_parse(const char *data, size_t len, const char *method, struct http_head *head,
                        struct error *err)
{
    const char *at = data, *end = data + len, *line;
    size_t line_len;
    *head = (struct http_head){.status = 0};
    if (!next_line(&at, end, &line, &line_len) || line_len < 12 || line[8] != ' ')
        return error_set(err, -EBADMSG, "malformed status line");
    int r = parse_version(head, line, 8, err);
    if (r < 0)
        return r;
    int status = 0;
    for (int i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9')
            return error_set(err, -EBADMSG, "malformed status code");
        status = status * 10 + (line[i] - '0');
    }
    if (status < 100 || (line_len > 12 && line[12] != ' ') || !http_value_valid(line, line_len))
        return error_set(err, -EBADMSG, "malformed status line");
    head->framing = HTTP_BODY_UNTIL_CLOSE;
    r = parse_fields(head, at, end, err);
    if (r == 0)
        r = parse_framing(head, err);
    if (r < 0)
        return r;
    head->status = status;
    if (status < 200 || status == 204 || status == 304 || strcmp(method, "HEAD") == 0)
        head->framing = HTTP_BODY_NONE;
    if (head->framing == HTTP_BODY_UNTIL_CLOSE)
        head->keep_alive = false;
    return 0;
}

void http_head_done(struct http_head *head)
{
    free(head->method);
    free(head->path);
    free(head->query);
    http_headers_done(&head->headers);
    *head = (struct http_head){.status = 0};
}

/* ---- chunked bodies: section 7.1 ---- */

enum {
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    LINE,
    TRAILER,
    TRAILER_LF,
    LAST_LF,
    ENDED
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One byte outside of chunk data. 0 or -EBADMSG. */
static int chunked_byte(struct http_chunked *c, char b)
{
    int digit;
    switch (c->state) {
    case SIZE:
        digit = hex_value(b);
        if (digit >= 0 && c->digits < 15) {
            c->left = c->left << 4 | (unsigned)digit;
            c->digits++;
            return 0;
        }
        if (c->digits == 0 || digit >= 0 || (b != ';' && b != '\r'))
            return -EBADMSG;
        c->state = b == ';' ? EXTENSION : SIZE_LF;
        return 0;
    case EXTENSION:
        if (b == '\r')
            c->state = SIZE_LF;
        else if (!http_value_valid(&b, 1) || ++c->overhead > CHUNK_OVERHEAD_MAX)
            return -EBADMSG;
        return 0;
    case SIZE_LF:
        c->state = c->left ? DATA : LINE;
        return b == '\n' ? 0 : -EBADMSG;
    case DATA_CR:
        c->state = DATA_LF;
        return b == '\r' ? 0 : -EBADMSG;
    case DATA_LF:
        c->state = SIZE;
        c->digits = 0;
        return b == '\n' ? 0 : -EBADMSG;
    case LINE: /* the start of a trailer line, or the last line */
        c->state = b == '\r' ? LAST_LF : TRAILER;
        return b == '\r' || (b != ' ' && b != '\t' && http_value_valid(&b, 1)) ? 0 : -EBADMSG;
    case TRAILER:
        if (b == '\r')
            c->state = TRAILER_LF;
        else if (!http_value_valid(&b, 1) || ++c->overhead > CHUNK_OVERHEAD_MAX)
            return -EBADMSG;
        return 0;
    case TRAILER_LF:
        c->state = LINE;
        return b == '\n' ? 0 : -EBADMSG;
    case LAST_LF:
        c->state = ENDED;
        return b == '\n' ? 0 : -EBADMSG;
    default:
        return -EBADMSG;
    }
}

ssize_t http_chunked_feed(struct http_chunked *c, const char *data, size_t len, const char **piece,
                          size_t *piece_len)
{
    size_t i = 0;
    *piece = NULL;
    *piece_len = 0;
    while (i < len && c->state != ENDED) {
        if (c->state == DATA) {
            size_t n = len - i < c->left ? len - i : (size_t)c->left;
            *piece = data + i;
            *piece_len = n;
            c->left -= n;
            if (c->left == 0)
                c->state = DATA_CR;
            return (ssize_t)(i + n);
        }
        if (chunked_byte(c, data[i++]) < 0)
            return -EBADMSG;
    }
    return (ssize_t)i;
}

bool http_chunked_ended(const struct http_chunked *c)
{
    return c->state == ENDED;
}
