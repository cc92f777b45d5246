/* lib/net/http.c and http_parse.c: lists, queries, URLs, message heads, chunked bodies. */
#include "lib/test.h"

#include <errno.h>

#include "net/http_parse.h"

static void headers_ignore_case(_unused_ void **state)
{
    _cleanup_http_headers_ struct http_headers h = HTTP_HEADERS_INIT;
    http_headers_add(&h, "Accept", "a");
    http_headers_addf(&h, "connection", "keep-alive , %s", "Upgrade");
    http_headers_add(&h, "ACCEPT", "b");
    assert_string_equal(http_headers_get(&h, "accept"), "a");
    assert_string_equal(http_headers_get_nth(&h, "accept", 1), "b");
    assert_null(http_headers_get_nth(&h, "accept", 2));
    assert_true(http_headers_has_token(&h, "Connection", "upgrade"));
    assert_false(http_headers_has_token(&h, "Connection", "keep"));
    http_headers_set(&h, "Accept", http_headers_get_nth(&h, "Accept", 1));
    assert_int_equal(http_headers_count(&h, "Accept"), 1);
    assert_string_equal(http_headers_get(&h, "Accept"), "b");
    http_headers_remove(&h, "accept");
    assert_int_equal(h.count, 1);
}

static void queries(_unused_ void **state)
{
    _cleanup_http_query_ struct http_query q = {.items = NULL};
    assert_int_equal(
        http_query_parse(&q, "a=1&command=sh&command=-c+x%20%26&watch&b=&c=F&n=-5", NULL), 0);
    assert_string_equal(http_query_get_nth(&q, "command", 1), "-c x &");
    assert_true(http_query_bool(&q, "watch"));
    assert_true(http_query_bool(&q, "a"));
    assert_false(http_query_bool(&q, "c"));
    assert_false(http_query_bool(&q, "none"));
    assert_int_equal(http_query_int(&q, "n", 7), -5);
    assert_int_equal(http_query_int(&q, "c", 7), 7);
    struct http_query bad;
    assert_int_equal(http_query_parse(&bad, "a=%2", NULL), -EINVAL);
    assert_int_equal(http_query_parse(&bad, "a=%zz", NULL), -EINVAL);
    assert_int_equal(http_query_parse(&bad, "a=%00", NULL), -EINVAL);
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    strbuf_adds(&out, "/x?");
    http_query_add(&out, "fieldSelector", "metadata.name=a b");
    http_query_add(&out, "é", "/");
    assert_string_equal(out.data, "/x?fieldSelector=metadata.name%3Da%20b&%C3%A9=%2F");
}

static void urls(_unused_ void **state)
{
    _cleanup_http_url_ struct http_url u = {.scheme = NULL};
    _cleanup_strbuf_ struct strbuf host = STRBUF_INIT;
    assert_int_equal(http_url_parse(&u, "HTTPS://[::1]:6443/api%2Fx?a=b#f", NULL), 0);
    assert_string_equal(u.scheme, "https");
    assert_string_equal(u.host, "::1");
    assert_int_equal(u.port, 6443);
    assert_string_equal(u.path, "/api%2Fx");
    assert_string_equal(u.query, "a=b");
    http_url_host_field(&u, &host);
    assert_string_equal(host.data, "[::1]:6443");
    http_url_done(&u);
    assert_int_equal(http_url_parse(&u, "http://example.com", NULL), 0);
    assert_int_equal(u.port, 80);
    assert_string_equal(u.path, "/");
    assert_null(u.query);
    static const char *const bad[] = {"",
                                      "ftp://x/",
                                      "http://",
                                      "http://a:0/",
                                      "http://a:/",
                                      "http://a:65536/",
                                      "http://u@h/",
                                      "http://a b/",
                                      "http://[::1",
                                      "http://a/\r\nX",
                                      "http://a\\b/",
                                      "/path"};
    struct http_url ignored;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(http_url_parse(&ignored, bad[i], NULL), -EINVAL);
}

/* Parses a request; returns 0 or the status it is refused with. */
static int request(const char *text, struct http_head *head)
{
    size_t scanned = 0;
    ssize_t n = http_head_find(text, strlen(text), &scanned);
    if (n < 0)
        return n == -E2BIG ? 431 : 400;
    assert_int_equal(n, strlen(text));
    int r = http_request_parse(text, (size_t)n, head, NULL);
    return r < 0 ? head->status : 0;
}

static void requests(_unused_ void **state)
{
    struct http_head h = {.status = 0};
    assert_int_equal(request("POST http://x:1/a%20b?c=d HTTP/1.1\r\nhost: \t x \r\n"
                             "Content-Length: 12\r\nX:\r\n\r\n",
                             &h),
                     0);
    assert_string_equal(h.method, "POST");
    assert_string_equal(h.path, "/a%20b");
    assert_string_equal(h.query, "c=d");
    assert_string_equal(http_headers_get(&h.headers, "Host"), "x");
    assert_string_equal(http_headers_get(&h.headers, "x"), "");
    assert_int_equal(h.framing, HTTP_BODY_LENGTH);
    assert_int_equal(h.length, 12);
    assert_true(h.keep_alive);
    http_head_done(&h);
    assert_int_equal(request("GET / HTTP/1.0\r\n\r\n", &h), 0);
    assert_false(h.keep_alive);
    http_head_done(&h);
}

static void smuggling_is_refused(_unused_ void **state)
{
    static const struct {
        int status;
        const char *text;
    } cases[] = {
        {400, "GET / HTTP/1.1\r\n\r\n"}, /* no Host */
        {400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
        {400, "GET / HTTP/1.1\nHost: a\n\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / a HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "G@T / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
        {505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
        {400, "GET / http/1.1\r\nHost: a\r\n\r\n"},
        {400,
         "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"},
        {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_head h = {.status = 0};
        int status = request(cases[i].text, &h);
        if (status != cases[i].status)
            print_error("case %zu: %s\n", i, cases[i].text);
        assert_int_equal(status, cases[i].status);
        http_head_done(&h);
    }
}

static void heads_are_found_bytewise_and_bounded(_unused_ void **state)
{
    const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    size_t scanned = 0;
    for (size_t len = 1; len < sizeof(text) - 5; len++)
        assert_int_equal(http_head_find(text, len, &scanned), 0);
    assert_int_equal(http_head_find(text, sizeof(text) - 1, &scanned), sizeof(text) - 5);
    _cleanup_strbuf_ struct strbuf big = STRBUF_INIT;
    for (size_t i = 0; i < HTTP_HEAD_MAX / 8 + 1; i++)
        strbuf_adds(&big, "ab: cd\r\n");
    scanned = 0;
    assert_int_equal(http_head_find(big.data, big.len, &scanned), -E2BIG);
}

static void responses(_unused_ void **state)
{
    struct http_head h;
    const char ok[] = "HTTP/1.1 101 \r\nUpgrade: SPDY/3.1\r\n\r\n";
    assert_int_equal(http_response_parse(ok, sizeof(ok) - 1, "POST", &h, NULL), 0);
    assert_int_equal(h.status, 101);
    assert_int_equal(h.framing, HTTP_BODY_NONE);
    http_head_done(&h);
    const char until[] = "HTTP/1.0 403 No\r\nA: b\r\n\r\n";
    assert_int_equal(http_response_parse(until, sizeof(until) - 1, "POST", &h, NULL), 0);
    assert_int_equal(h.framing, HTTP_BODY_UNTIL_CLOSE);
    http_head_done(&h);
    static const char *const bad[] = {"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
                                      "ICY 200 OK here\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(http_response_parse(bad[i], strlen(bad[i]), "GET", &h, NULL), -EBADMSG);
        http_head_done(&h);
    }
}

/* Feeds @text in steps; appends the body. 1 ended, 0 wants more, -EBADMSG. */
static int chunked(const char *text, size_t step, struct strbuf *body)
{
    struct http_chunked c = HTTP_CHUNKED_INIT;
    size_t len = strlen(text), at = 0;
    while (at < len && !http_chunked_ended(&c)) {
        const char *piece;
        size_t piece_len, n = len - at < step ? len - at : step;
        ssize_t used = http_chunked_feed(&c, text + at, n, &piece, &piece_len);
        if (used < 0)
            return (int)used;
        strbuf_add(body, piece ? piece : "", piece_len);
        at += (size_t)used;
    }
    return http_chunked_ended(&c) ? 1 : 0;
}

static void chunked_bodies(_unused_ void **state)
{
    const char good[] = "4;ext=\"x\"\r\nWiki\r\n00B\r\n, in\r\nchunk\r\n0\r\nTrailer: x\r\n\r\n";
    for (size_t step = 1; step < sizeof(good); step++) {
        _cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
        assert_int_equal(chunked(good, step, &body), 1);
        assert_string_equal(body.data, "Wiki, in\r\nchunk");
    }
    static const char *const bad[] = {"\r\n",
                                      "g\r\n",
                                      "4\nWiki",
                                      "4 \r\nWiki\r\n",
                                      "-1\r\n",
                                      "4\r\nWikix",
                                      "4\r\nWiki\n",
                                      "0\r\n\n",
                                      "0x4\r\nWiki",
                                      "1234567890abcdef0\r\n",
                                      "0\r\n x: folded\r\n",
                                      "4;\x01\r\n"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
        assert_int_equal(chunked(bad[i], 100, &body), -EBADMSG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_ignore_case),
        cmocka_unit_test(queries),
        cmocka_unit_test(urls),
        cmocka_unit_test(requests),
        cmocka_unit_test(smuggling_is_refused),
        cmocka_unit_test(heads_are_found_bytewise_and_bounded),
        cmocka_unit_test(responses),
        cmocka_unit_test(chunked_bodies),
    };
    return RUN_TESTS(tests);
}
