/* The HTTP server's input: the parser by itself, in pieces, and a whole connection. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "net/http_parse.h"
#include "net/http_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(const char *data, size_t len, size_t step)
{
    size_t scanned = 0;
    ssize_t n = 0;
    for (size_t have = step < len ? step : len; n == 0; have += step) {
        n = http_head_find(data, have < len ? have : len, &scanned);
        if (have >= len)
            break;
    }
    if (n <= 2)
        return;
    struct http_head head;
    struct http_query query;
    if (http_request_parse(data, (size_t)n, &head, NULL) == 0) {
        /* What was accepted can be sent on without changing its meaning. */
        for (size_t i = 0; i < head.headers.count; i++)
            if (strpbrk(head.headers.items[i].value, "\r\n"))
                abort();
        if (strpbrk(head.path, " \r\n?"))
            abort();
        if (http_query_parse(&query, head.query, NULL) == 0)
            http_query_done(&query);
    }
    http_head_done(&head);
    struct http_chunked c = HTTP_CHUNKED_INIT;
    for (size_t at = (size_t)n; at < len && !http_chunked_ended(&c);) {
        const char *piece;
        size_t piece_len, left = len - at < step ? len - at : step;
        ssize_t used = http_chunked_feed(&c, data + at, left, &piece, &piece_len);
        if (used <= 0)
            break;
        if (piece_len && (piece < data + at || piece + piece_len > data + at + used))
            abort();
        at += (size_t)used;
    }
}

static void on_body(struct http_exchange *x, int result, const char *data, size_t len,
                    _unused_ void *arg)
{
    if (result < 0)
        http_exchange_replyf(x, 400, "%d", result);
    else
        http_exchange_reply(x, 200, NULL, data, len);
}

static void on_request(struct http_exchange *x, _unused_ void *arg)
{
    struct stream *stream;
    if (http_exchange_wants_upgrade(x, "SPDY/3.1") &&
        http_exchange_upgrade(x, "SPDY/3.1", &stream) == 0)
        (void)stream_free(stream);
    else if (strcmp(http_exchange_method(x), "GET") == 0)
        http_exchange_replyf(x, 200, "%s", http_exchange_decoded_path(x));
    else
        http_exchange_read_body(x, 1000, on_body, NULL);
}

static void serve(const uint8_t *data, size_t size)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return;
    struct loop *loop = loop_new();
    struct http_server *s = http_server_new(loop, NULL, on_request, NULL);
    (void)http_server_serve_fd(s, fds[1], NULL, NULL);
    size_t half = size / 2;
    (void)!write(fds[0], data, half);
    for (int i = 0; i < 3; i++)
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    (void)!write(fds[0], data + half, size - half);
    (void)shutdown(fds[0], SHUT_WR);
    for (int i = 0; i < 8; i++)
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    (void)http_server_free(s);
    (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    (void)loop_free(loop);
    (void)close(fds[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 100000)
        return 0;
    (void)signal(SIGPIPE, SIG_IGN);
    parse((const char *)data + 1, size - 1, 1 + data[0] % 64);
    serve(data + 1, size - 1);
    return 0;
}
