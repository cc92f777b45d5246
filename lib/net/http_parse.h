/*
 * The HTTP/1.1 message parser that the server and the upgrade client share (RFC 9112). Strict where
 * leniency is how requests get smuggled: lines end in CRLF, no folded lines, no space before a
 * colon, not both Content-Length and Transfer-Encoding, one Content-Length of digits, one Host,
 * "chunked" as the only coding, exact chunk syntax.
 */
#pragma once

#include <stdbool.h>

#include "net/http.h"

/* Finds the end of a head in @data, whose first *scanned bytes were seen before (0 at first).
 * Returns the length of the head with its empty line, 0 when it is not whole yet, -EBADMSG for a
 * line that does not end in CRLF, -E2BIG beyond HTTP_HEAD_MAX. */
ssize_t http_head_find(const char *data, size_t len, size_t *scanned);

enum http_framing {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,
    HTTP_BODY_CHUNKED,
    HTTP_BODY_UNTIL_CLOSE, /* responses only */
};
struct http_head {
    char *method; /* requests */
    char *path;   /* requests: raw path, or "*" */
    char *query;  /* requests: raw query, NULL when there is none */
    int status;   /* responses; for a request that is refused: what to answer */
    int minor;    /* HTTP/1.<minor>: 0 or 1 */
    struct http_headers headers;
    enum http_framing framing;
    uint64_t length; /* HTTP_BODY_LENGTH */
    bool keep_alive; /* the connection may be used again after this message */
};
/* Parses a whole head (of the length that http_head_find() gave). On failure returns -EBADMSG, and
 * for requests head->status is the status to answer: 400, 431, 501, 505. @head is to be done in
 * any case. */
int http_request_parse(const char *data, size_t len, struct http_head *head, struct error *err);
/* @method: of the request that this responds to (HEAD has no body). */
int http_response_parse(const char *data, size_t len, const char *method, struct http_head *head,
                        struct error *err);
void http_head_done(struct http_head *head);

/* ---- chunked bodies, incrementally ---- */
struct http_chunked {
    int state;
    unsigned digits;
    uint64_t left;   /* of the current chunk */
    size_t overhead; /* bytes of extensions or trailers seen: bounded */
};
#define HTTP_CHUNKED_INIT \
    {                     \
        .state = 0        \
    }
/* Takes bytes until a piece of the body is found, @len is used up, or the body ends. Returns how
 * many were used; *piece (inside @data) and *piece_len tell the piece, 0 when none. -EBADMSG. Call
 * again with the rest while bytes are left and http_chunked_ended() is false. */
ssize_t http_chunked_feed(struct http_chunked *c, const char *data, size_t len, const char **piece,
                          size_t *piece_len);
bool http_chunked_ended(const struct http_chunked *c);
