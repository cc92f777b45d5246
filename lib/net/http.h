/*
 * What HTTP's two sides share: header lists, status texts, percent-encoding, queries and URLs
 * (RFC 9110, RFC 3986). Nothing here does I/O.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/strbuf.h"

/* Limits on what a peer may send. */
#define HTTP_HEAD_MAX    (64 * 1024) /* bytes of a request or response head, line included */
#define HTTP_HEADERS_MAX 100         /* header fields of one message */

/* ---- header lists: order kept, names compared without case, a name may occur several times ----
 */
struct http_header {
    char *name;
    char *value;
};
struct http_headers {
    struct http_header *items;
    size_t count;
};
#define HTTP_HEADERS_INIT \
    {                     \
        .items = NULL     \
    }
#define _cleanup_http_headers_ _cleanup_(http_headers_done)

void http_headers_add(struct http_headers *h, const char *name, const char *value);
void http_headers_addf(struct http_headers *h, const char *name, const char *fmt, ...)
    _printf_(3, 4);
/* Replaces every field of this name by one. */
void http_headers_set(struct http_headers *h, const char *name, const char *value);
void http_headers_remove(struct http_headers *h, const char *name);
/* The first value, NULL when there is none. */
const char *http_headers_get(const struct http_headers *h, const char *name);
/* The value number @n (from 0) of this name, NULL when there are fewer. */
const char *http_headers_get_nth(const struct http_headers *h, const char *name, size_t n);
size_t http_headers_count(const struct http_headers *h, const char *name);
/* Whether @token is an element of the comma-separated list that all fields of this name make
 * together; case is ignored: ("Connection", "upgrade"). */
bool http_headers_has_token(const struct http_headers *h, const char *name, const char *token);
void http_headers_copy(struct http_headers *to, const struct http_headers *from);
/* Frees the fields; the list is empty and can be used again. */
void http_headers_done(struct http_headers *h);

/* A token of RFC 9110 section 5.6.2 (methods, field names), not empty. */
bool http_token_valid(const char *s, size_t len);
/* No control characters but tab (so no CR, LF, NUL): what may stand in a field value. */
bool http_value_valid(const char *s, size_t len);

/* "Not Found"; "Unknown" for codes nobody registered. */
const char *http_status_text(int status);

/* ---- percent-encoding and queries ---- */

/* Appends the decoded text. @plus: '+' is a space (queries). -EINVAL for a broken escape or an
 * encoded NUL; @out then holds what came before it. */
int http_percent_decode(const char *s, size_t len, bool plus, struct strbuf *out);
/* Appends @s with everything but unreserved characters escaped; @keep (may be NULL) lists further
 * characters that stay. */
void http_percent_encode(const char *s, const char *keep, struct strbuf *out);

/* A parsed query string: decoded pairs in order. A key without '=' has the value "". */
struct http_query {
    struct http_header *items; /* name, value */
    size_t count;
};
#define _cleanup_http_query_ _cleanup_(http_query_done)
/* Parses "a=1&b=2" (NULL and "" give no pairs). -EINVAL for broken escapes, -E2BIG for more than
 * 1000 pairs. On failure @q is empty. */
int http_query_parse(struct http_query *q, const char *text, struct error *err);
/* The first value of @key, NULL when it is not there. */
const char *http_query_get(const struct http_query *q, const char *key);
const char *http_query_get_nth(const struct http_query *q, const char *key, size_t n);
/* "", "1", "true" (any case), "t" are true; absent and everything else is false. As Go's
 * url.Values with strconv.ParseBool, but that a bare key counts. */
bool http_query_bool(const struct http_query *q, const char *key);
/* A decimal number; @fallback when absent or malformed. */
int64_t http_query_int(const struct http_query *q, const char *key, int64_t fallback);
void http_query_done(struct http_query *q);
/* Appends "key=value", escaped, with '&' in front when @out does not end in '?' and isn't empty. */
void http_query_add(struct strbuf *out, const char *key, const char *value);

/* ---- URLs ---- */
struct http_url {
    char *scheme;  /* "http" or "https", lower case */
    char *host;    /* without brackets: "::1" */
    uint16_t port; /* the scheme's default filled in */
    char *path;    /* as written, still escaped, starts with '/' */
    char *query;   /* without '?', NULL when there is none */
};
#define _cleanup_http_url_ _cleanup_(http_url_done)
/* Parses an absolute http or https URL. A fragment is dropped; user information is refused.
 * -EINVAL with a text. */
int http_url_parse(struct http_url *u, const char *text, struct error *err);
void http_url_done(struct http_url *u);
/* The value of a Host field: "[::1]:6443", the port left out when it is the scheme's default. */
void http_url_host_field(const struct http_url *u, struct strbuf *out);
