/* lib/net/websocket*.c and remote_websocket.c: bytes made by hand against either side, and two
 * sides with each other. The numbers of sections are RFC 6455's. */
#include "lib/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/strbuf.h"
#include "net/remote.h"
#include "net/socket.h"
#include "net/websocket.h"

/* What a side got. */
struct side {
    struct strbuf data;
    int messages, texts, closes, code;
    bool paused, free_at_once;
};
struct fixture {
    struct loop *loop;
    int fd; /* the raw side */
    struct strbuf raw;
    struct websocket *ws, *other;
    struct side got, other_got;
};

static void on_begin(struct websocket *ws, bool text, void *arg)
{
    struct side *s = arg;
    (void)ws;
    s->texts += text;
}

static void on_data(struct websocket *ws, const void *data, size_t len, void *arg)
{
    struct side *s = arg;
    strbuf_add(&s->data, data, len);
    if (s->paused)
        websocket_pause(ws);
}

static void on_end(struct websocket *ws, void *arg)
{
    struct side *s = arg;
    (void)ws;
    s->messages++;
}

static void on_close(struct websocket *ws, const struct error *err, void *arg)
{
    struct side *s = arg;
    s->closes++;
    s->code = err ? err->code : 0;
    if (s->free_at_once)
        (void)websocket_free(ws);
}

static const struct websocket_handler handler = {
    .on_begin = on_begin, .on_data = on_data, .on_end = on_end, .on_close = on_close};

static void start(struct fixture *f, bool server, bool raw)
{
    int fds[2];
    (void)signal(SIGPIPE, SIG_IGN);
    *f = (struct fixture){.loop = loop_new(), .fd = -1};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    f->ws = websocket_new(f->loop, stream_new_fd(f->loop, fds[0]), server, &handler, &f->got);
    if (raw)
        f->fd = fds[1];
    else
        f->other = websocket_new(f->loop, stream_new_fd(f->loop, fds[1]), !server, &handler,
                                 &f->other_got);
}

static void run(struct fixture *f, int ms)
{
    /* Some turns in any case, however slow the machine is. */
    uint64_t end = now_ms() + (uint64_t)ms;
    for (int i = 0; i < 20 || now_ms() < end; i++) {
        char buf[4096];
        (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        ssize_t n = f->fd >= 0 ? read(f->fd, buf, sizeof(buf)) : -1;
        if (n > 0)
            strbuf_add(&f->raw, buf, (size_t)n);
        else
            (void)usleep(200);
    }
}

static void stop(struct fixture *f)
{
    if (!f->got.free_at_once || f->got.closes == 0)
        (void)websocket_free(f->ws);
    (void)websocket_free(f->other);
    if (f->fd >= 0)
        (void)close(f->fd);
    run(f, 5);
    (void)loop_free(f->loop);
    strbuf_done(&f->raw);
    strbuf_done(&f->got.data);
    strbuf_done(&f->other_got.data);
}

/* Sends bytes given in hexadecimal. */
static void send_hex(struct fixture *f, const char *hex)
{
    _cleanup_strbuf_ struct strbuf bytes = STRBUF_INIT;
    for (; *hex; hex += 2) {
        const char digits[3] = {hex[0], hex[1], '\0'};
        strbuf_addc(&bytes, (char)strtoul(digits, NULL, 16));
    }
    assert_int_equal(write(f->fd, bytes.data, bytes.len), bytes.len);
}

static void assert_hex(const struct strbuf *b, const char *hex)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    for (size_t i = 0; i < b->len; i++)
        strbuf_addf(&text, "%02x", (unsigned char)b->data[i]);
    assert_string_equal(strbuf_text(&text), hex);
}

/* ---- connections ---- */

/* Section 5.7's examples: "Hello" masked, whole and in two fragments. */
static void messages_arrive_in_pieces(_unused_ void **state)
{
    struct fixture f;
    start(&f, true, true);
    for (const char *p = "818537fa213d7f9f4d5158"; *p; p += 2) {
        const char byte[3] = {p[0], p[1], '\0'};
        send_hex(&f, byte);
        run(&f, 1);
    }
    assert_string_equal(strbuf_text(&f.got.data), "Hello");
    assert_int_equal(f.got.texts, 1);
    assert_int_equal(f.got.messages, 1);
    send_hex(&f, "018300000000"); /* "Hel", a Ping in between, "lo" */
    send_hex(&f, "48656c");
    run(&f, 5);
    assert_int_equal(f.got.data.len, 8); /* not held back until it is whole */
    send_hex(&f, "898237fa213d5f93");
    send_hex(&f, "8082000000006c6f");
    run(&f, 10);
    assert_string_equal(strbuf_text(&f.got.data), "HelloHello");
    assert_int_equal(f.got.messages, 2);
    assert_hex(&f.raw, "8a026869"); /* the Pong with the Ping's bytes */
    send_hex(&f, "828000000000");   /* an empty one */
    send_hex(&f, "828000000000");
    run(&f, 10);
    assert_int_equal(f.got.messages, 4);
    assert_int_equal(f.got.texts, 2);
    assert_int_equal(f.got.closes, 0);
    stop(&f);
}

static void sides_talk_and_close(_unused_ void **state)
{
    static char block[100000];
    struct fixture f;
    memset(block, 'x', sizeof(block));
    start(&f, false, false); /* f.ws is the client: masks */
    websocket_send(f.ws, false, "head", 4, block, sizeof(block));
    websocket_send(f.other, true, NULL, 0, "hi", 2);
    run(&f, 30);
    assert_int_equal(f.other_got.data.len, sizeof(block) + 4);
    assert_memory_equal(f.other_got.data.data, "headxxx", 7);
    assert_int_equal(f.other_got.messages, 1);
    assert_string_equal(strbuf_text(&f.got.data), "hi");
    websocket_end(f.ws, WEBSOCKET_NORMAL);
    websocket_send(f.ws, false, "late", 4, NULL, 0);
    run(&f, 20);
    assert_int_equal(f.got.closes, 1); /* the other has answered */
    assert_int_equal(f.other_got.closes, 1);
    assert_int_equal(f.got.code, 0);
    assert_int_equal(f.other_got.code, 0);
    assert_int_equal(f.other_got.messages, 1);
    stop(&f);
}

static void closes_have_reasons(_unused_ void **state)
{
    static const struct {
        const char *hex;
        int code;
        const char *answer;
    } cases[] = {
        {"88820000000003e8", 0, "880203e8"},           /* 1000 */
        {"888000000000", 0, "8800"},                   /* none */
        {"88820000000003f3", -ECONNRESET, "880203f3"}, /* 1011 */
        {"888500000000"
         "0bb8"
         "6f7574",
         -ECONNRESET, "88050bb86f7574"},            /* 3000 "out" */
        {"88820000000003ed", -EBADMSG, "880203ea"}, /* 1005 must not be sent */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        start(&f, true, true);
        f.got.free_at_once = i % 2;
        send_hex(&f, cases[i].hex);
        run(&f, 10);
        assert_int_equal(f.got.closes, 1);
        assert_int_equal(f.got.code, cases[i].code);
        assert_hex(&f.raw, cases[i].answer);
        stop(&f);
    }
    /* The end of the bytes without a Close is none. */
    struct fixture f;
    start(&f, true, true);
    (void)close(f.fd);
    f.fd = -1;
    run(&f, 10);
    assert_int_equal(f.got.closes, 1);
    assert_int_equal(f.got.code, -ECONNRESET);
    stop(&f);
}

/* Whatever breaks the protocol is refused with the code that says so, and nothing after it counts.
 */
static void broken_frames_are_refused(_unused_ void **state)
{
    static const struct {
        const char *hex, *answer;
        bool client;
    } cases[] = {
        {"810548656c6c6f", "880203ea", false},               /* a client that does not mask */
        {"c18537fa213d7f9f4d5158", "880203ea", false},       /* RSV1: no extension was agreed on */
        {"a18537fa213d7f9f4d5158", "880203ea", false},       /* RSV2 */
        {"918537fa213d7f9f4d5158", "880203ea", false},       /* RSV3 */
        {"838537fa213d7f9f4d5158", "880203ea", false},       /* an opcode that nobody has */
        {"8b8537fa213d7f9f4d5158", "880203ea", false},       /* and for control */
        {"808537fa213d7f9f4d5158", "880203ea", false},       /* a continuation of nothing */
        {"018100000000788181000000007a", "880203ea", false}, /* a message inside another */
        {"82ff000000000200000100000000", "880203f1", false}, /* 32 MB and a byte: 1009 */
        {"81830000000061ff62", "880203ef", false},           /* text that is no UTF-8: 1007 */
        {"8182000000000a0b8182000000006162", NULL, false},   /* fine */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        start(&f, !cases[i].client, true);
        send_hex(&f, cases[i].hex);
        send_hex(&f, "828100000000"
                     "21");
        run(&f, 10);
        assert_int_equal(f.got.closes, cases[i].answer ? 1 : 0);
        assert_int_equal(f.got.code, cases[i].answer ? -EBADMSG : 0);
        assert_hex(&f.raw, cases[i].answer ? cases[i].answer : "");
        assert_int_equal(f.got.data.len > 0 && f.got.data.data[f.got.data.len - 1] == '!',
                         !cases[i].answer);
        stop(&f);
    }
}

/* A control frame in pieces or too long, a length in more bytes than it needs. */
static void broken_lengths_are_refused(_unused_ void **state)
{
    static const char *const cases[] = {
        "098200000000"
        "6869",             /* a Ping that is not the last fragment */
        "89fe007e00000000", /* a Ping of 126 bytes */
        "82fe000500000000"
        "3132333435",                   /* 5 in two bytes */
        "82ff000000000000ffff00000000", /* 65,535 in eight */
        "82ff800000000000000000000000", /* the highest bit set */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        start(&f, true, true);
        send_hex(&f, cases[i]);
        send_hex(&f, "828100000000"
                     "21");
        run(&f, 10);
        assert_int_equal(f.got.closes, 1);
        assert_int_equal(f.got.code, -EBADMSG);
        assert_int_equal(f.got.data.len, 0);
        stop(&f);
    }
    struct fixture f;
    start(&f, false, true);
    send_hex(&f, "818537fa213d7f9f4d5158"); /* a server that masks */
    run(&f, 10);
    assert_int_equal(f.got.code, -EBADMSG);
    stop(&f);
}

static void a_paused_reader_holds_the_peer_back(_unused_ void **state)
{
    static char block[8192];
    struct fixture f;
    start(&f, false, false);
    f.other_got.paused = true;
    size_t sent = 0;
    for (int i = 0; i < 200; i++) {
        if (websocket_pending(f.ws) < STREAM_BUFFER_MAX) {
            websocket_send(f.ws, false, NULL, 0, block, sizeof(block));
            sent += sizeof(block);
        }
        run(&f, 1);
    }
    assert_true(f.other_got.data.len <= 8192); /* the piece that paused it, and 4 KB */
    assert_true(sent < 1600000);
    f.other_got.paused = false;
    websocket_resume(f.other);
    for (int i = 0; i < 500 && f.other_got.data.len < sent; i++)
        run(&f, 10);
    assert_int_equal(f.other_got.data.len, sent);
    stop(&f);
}

/* Pings from a peer that takes no Pongs: reading stops before they fill memory. */
static void a_deaf_peer_is_not_answered_for_ever(_unused_ void **state)
{
    static char pings[131 * 1000];
    struct fixture f;
    start(&f, true, true);
    for (size_t i = 0; i < sizeof(pings); i += 131) {
        pings[i] = (char)0x89;
        pings[i + 1] = (char)(0x80 | 125);
    }
    size_t sent = 0;
    for (int i = 0; i < 300; i++) {
        ssize_t n = write(f.fd, pings + sent % 131, 131 * 999);
        sent += n > 0 ? (size_t)n : 0;
        for (int k = 0; k < 20; k++)
            (void)event_base_loop(loop_base(f.loop), EVLOOP_NONBLOCK); /* without reading */
    }
    assert_true(sent < 2000000);
    assert_true(websocket_pending(f.ws) < 200000);
    for (int i = 0; i < 500 && f.raw.len < sent / 131 * 127; i++)
        run(&f, 5);
    assert_int_equal(f.raw.len, sent / 131 * 127);
    assert_int_equal(f.got.closes, 0);
    stop(&f);
}

/* What is pending goes out after the connection was given away; then the peer closes. */
static void finishing_sends_the_rest(_unused_ void **state)
{
    static char block[30000];
    struct fixture f;
    start(&f, true, true);
    for (int i = 0; i < 20; i++)
        websocket_send(f.ws, false, NULL, 0, block, sizeof(block));
    f.ws = websocket_finish(f.ws, WEBSOCKET_INTERNAL);
    for (int i = 0; i < 100 && f.raw.len < 20 * 30004 + 4; i++)
        run(&f, 5);
    assert_int_equal(f.raw.len, 20 * 30004 + 4);
    assert_memory_equal(f.raw.data + f.raw.len - 4, "\x88\x02\x03\xf3", 4);
    char byte;
    assert_int_equal(recv(f.fd, &byte, 1, MSG_DONTWAIT), -1); /* it waits for the peer's end */
    send_hex(&f, "828100000000"
                 "21");
    (void)shutdown(f.fd, SHUT_WR);
    run(&f, 20);
    assert_int_equal(recv(f.fd, &byte, 1, MSG_DONTWAIT), 0);
    stop(&f);
}

/* ---- the handshake ---- */

static void keys_are_accepted(_unused_ void **state)
{
    char accept[WEBSOCKET_ACCEPT_LEN + 1], key[WEBSOCKET_KEY_LEN + 1];
    websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", accept); /* section 1.3 */
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    _cleanup_http_headers_ struct http_headers h = HTTP_HEADERS_INIT;
    websocket_add_request(&h, key);
    assert_string_equal(http_headers_get(&h, "Sec-WebSocket-Key"), key);
    assert_int_equal(strlen(key), WEBSOCKET_KEY_LEN);
    assert_int_equal(websocket_check_response(&h, key, NULL), -EPROTO);
    http_headers_add(&h, "Upgrade", "WebSocket");
    http_headers_add(&h, "Sec-WebSocket-Accept", accept); /* of another key */
    assert_int_equal(websocket_check_response(&h, key, NULL), -EPROTO);
    websocket_accept(key, accept);
    http_headers_set(&h, "Sec-WebSocket-Accept", accept);
    assert_int_equal(websocket_check_response(&h, key, NULL), 0);
    http_headers_add(&h, "Sec-WebSocket-Extensions", "permessage-deflate");
    assert_int_equal(websocket_check_response(&h, key, NULL), -EPROTO);
}

/* ---- a server of remote command and port forward, and requests made by hand ---- */

struct server {
    struct fixture f;
    struct http_server *http;
    uint16_t port;
    struct remote_server *remote;
    struct portforward_server *forward;
    struct stream *in, *out;
    int columns, closes;
    bool in_eof;
};

static size_t on_stdin(struct stream *s, const void *data, size_t len, void *arg)
{
    struct server *v = arg;
    (void)s;
    strbuf_add(&v->f.got.data, data, len);
    return len;
}

static void on_stdin_eof(struct stream *s, void *arg)
{
    struct server *v = arg;
    (void)s;
    v->in_eof = true;
    stream_write(v->out, "bye", 3);
    stream_finish(TAKE_PTR(v->out));
    v->in = stream_free(v->in);
    remote_server_exit(TAKE_PTR(v->remote), 3);
}

static const struct stream_handler stdin_handler = {.on_data = on_stdin, .on_eof = on_stdin_eof};

static void on_exec(struct remote_server *r, void *arg)
{
    struct server *v = arg;
    v->in = remote_server_take(r, REMOTE_STDIN);
    v->out = remote_server_take(r, REMOTE_STDOUT);
    stream_set_handler(v->in, &stdin_handler, v);
}

static void on_resize(struct remote_server *r, uint16_t columns, uint16_t rows, void *arg)
{
    (void)r, (void)rows;
    ((struct server *)arg)->columns = columns;
}

static void on_exec_gone(struct remote_server *r, const struct error *err, void *arg)
{
    struct server *v = arg;
    assert_non_null(err);
    v->closes++;
    v->remote = remote_server_free(r);
}

static void on_connect(struct portforward_server *p, struct portforward_pair *pair, uint16_t port,
                       void *arg)
{
    struct server *v = arg;
    int fds[2];
    (void)p;
    if (port == 9) {
        portforward_fail(pair, "nobody there");
        return;
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    portforward_accept(pair, stream_new_fd(v->f.loop, fds[0]));
    assert_int_equal(write(fds[1], "greeting", 8), 8);
    v->closes = fds[1]; /* the other end, for the test */
}

static void on_forward_gone(struct portforward_server *p, const struct error *err, void *arg)
{
    (void)err;
    ((struct server *)arg)->forward = portforward_server_free(p);
}

static void on_request(struct http_exchange *x, void *arg)
{
    static const struct remote_server_handler exec = {on_exec, on_resize, on_exec_gone};
    static const struct portforward_handler forward = {on_connect, on_forward_gone};
    struct server *v = arg;
    struct remote_options o;
    struct remote_ports ports;
    struct error err = ERROR_INIT;
    if (strcmp(http_exchange_path(x), "/exec") == 0 &&
        remote_options_from_query(http_exchange_query(x), &o, NULL) == 0)
        (void)remote_server_start(v->f.loop, x, &o, &exec, v, &v->remote, &err);
    else if (remote_ports_from_query(http_exchange_query(x), "port", &ports, &err) == 0)
        (void)portforward_server_start(v->f.loop, x, &ports, &forward, v, &v->forward, &err);
    else
        http_exchange_replyf(x, 400, "%s", err.text);
}

static void server_start(struct server *v)
{
    *v = (struct server){.f = {.loop = loop_new(), .fd = -1}};
    (void)signal(SIGPIPE, SIG_IGN);
    v->http = http_server_new(v->f.loop, NULL, on_request, v);
    assert_int_equal(http_server_listen_tcp(v->http, "127.0.0.1", 0, NULL, &v->port, NULL), 0);
}

static void server_stop(struct server *v)
{
    v->f.got.free_at_once = false;
    (void)stream_free(v->in);
    (void)stream_free(v->out);
    (void)remote_server_free(v->remote);
    (void)portforward_server_free(v->forward);
    (void)http_server_free(v->http);
    stop(&v->f);
}

/* Connects, sends a handshake with @fields, and leaves what follows the head of the answer in
 * v->f.raw. Returns the head. */
static const char *shake(struct server *v, const char *target, const char *fields)
{
    static char head[4096];
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(v->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    _cleanup_free_ char *request =
        str_printf("%s HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n"
                   "Upgrade: websocket\r\n%s\r\n",
                   target, fields);
    if (v->f.fd >= 0)
        (void)close(v->f.fd);
    strbuf_truncate(&v->f.raw, 0);
    v->f.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(v->f.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    socket_tune(v->f.fd);
    (void)evutil_make_socket_nonblocking(v->f.fd);
    assert_int_equal(write(v->f.fd, request, strlen(request)), strlen(request));
    run(&v->f, 30);
    const char *end = strstr(strbuf_text(&v->f.raw), "\r\n\r\n");
    assert_non_null(end);
    (void)snprintf(head, sizeof(head), "%.*s", (int)(end + 4 - v->f.raw.data), v->f.raw.data);
    strbuf_consume(&v->f.raw, (size_t)(end + 4 - v->f.raw.data));
    return head;
}

#define KEY    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13    "Sec-WebSocket-Version: 13\r\n"
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

static void handshakes_are_checked(_unused_ void **state)
{
    static const struct {
        const char *target, *fields, *answer;
    } cases[] = {
        {"GET /exec?stdin=1&stdout=1", KEY V13, ACCEPT "\r\n"}, /* none asked for, none chosen */
        {"GET /exec?stdin=1&stdout=1", KEY V13 "Sec-WebSocket-Protocol: v9, v5.channel.k8s.io\r\n",
         "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"},
        {"GET /exec?stdin=1&stdout=1",
         KEY V13 "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.AAAA\r\n"
                 "Sec-WebSocket-Protocol: base64.channel.k8s.io\r\n",
         "Sec-WebSocket-Protocol: base64.channel.k8s.io\r\n"},
        {"GET /exec?stdin=1&stdout=1", KEY V13 "Sec-WebSocket-Protocol: v9\r\n", " 403 "},
        {"POST /exec?stdin=1&stdout=1", KEY V13 "Content-Length: 0\r\n", " 400 "},
        {"GET /exec?stdin=1&stdout=1", KEY "Sec-WebSocket-Version: 8\r\n",
         "Sec-WebSocket-Version: 13\r\n"},
        {"GET /exec?stdin=1&stdout=1", KEY, " 426 "},
        {"GET /exec?stdin=1&stdout=1", V13, " 400 "},
        {"GET /exec?stdin=1&stdout=1", KEY KEY V13, " 400 "},
        {"GET /exec?stdin=1&stdout=1", V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTI=\r\n",
         " 400 "},
        {"GET /exec?stdin=1&stdout=1", KEY V13 "Content-Length: 3\r\n\r\nabc", " 400 "},
        {"GET /forward", KEY V13 "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n", " 400 "},
        {"GET /forward?port=80,x", KEY V13, "400"},
        {"GET /forward?port=80,70000", KEY V13, "400"},
        {"GET /forward", KEY V13 "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n",
         "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n"},
    };
    struct server v;
    server_start(&v);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_non_null(strstr(shake(&v, cases[i].target, cases[i].fields), cases[i].answer));
        (void)close(v.f.fd);
        v.f.fd = -1;
        run(&v.f, 10);
        v.in = stream_free(v.in);
        v.out = stream_free(v.out);
    }
    server_stop(&v);
}

static void v5_ends_standard_input(_unused_ void **state)
{
    struct server v;
    server_start(&v);
    (void)shake(&v, "GET /exec?stdin=1&stdout=1&tty=1",
                KEY V13 "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n");
    run(&v.f, 10);
    assert_hex(&v.f.raw, "820101"); /* an empty message on stdout: it is set up */
    send_hex(&v.f, "828300000000"
                   "006869"); /* stdin "hi" */
    send_hex(&v.f, "828300000000"
                   "077878"); /* channel 7: nobody's */
    send_hex(&v.f, "828300000000"
                   "017878"); /* stdout: not the client's */
    send_hex(&v.f, "829900000000"
                   "047b225769647468223a38302c22486569676874223a32347d"); /* resize */
    run(&v.f, 10);
    assert_string_equal(strbuf_text(&v.f.got.data), "hi");
    assert_int_equal(v.columns, 80);
    assert_false(v.in_eof);
    strbuf_truncate(&v.f.raw, 0);
    send_hex(&v.f, "828200000000"
                   "ff00");
    run(&v.f, 20);
    assert_true(v.in_eof);
    assert_memory_equal(v.f.raw.data,
                        "\x82\x04\x01"
                        "bye\x82",
                        7);
    assert_non_null(memmem(v.f.raw.data, v.f.raw.len, "\x03{\"", 3));
    assert_non_null(memmem(v.f.raw.data, v.f.raw.len, "\"message\":\"3\"", 13));
    assert_memory_equal(v.f.raw.data + v.f.raw.len - 4, "\x88\x02\x03\xe8", 4);
    server_stop(&v);
}

static void base64_channels(_unused_ void **state)
{
    struct server v;
    server_start(&v);
    (void)shake(&v, "GET /exec?stdin=1&stdout=1",
                KEY V13 "Sec-WebSocket-Protocol: v4.base64.channel.k8s.io\r\n");
    run(&v.f, 10);
    assert_hex(&v.f.raw, "810131");
    send_hex(&v.f, "818500000000"
                   "3061476b3d"); /* '0' "aGk=" */
    send_hex(&v.f, "018300000000"
                   "306147"); /* in fragments */
    send_hex(&v.f, "808200000000"
                   "6b3d");
    send_hex(&v.f, "818500000000"
                   "303f3f3f3f"); /* no base64: dropped */
    run(&v.f, 10);
    assert_string_equal(strbuf_text(&v.f.got.data), "hihi");
    strbuf_truncate(&v.f.raw, 0);
    stream_write(v.out, "\xff\x00\x01\x02", 4);
    run(&v.f, 10);
    assert_int_equal(v.f.raw.len, 11);
    assert_memory_equal(v.f.raw.data,
                        "\x81\x09"
                        "1/wABAg==",
                        11);
    /* No variant but v5 ends a channel: the client leaves. */
    send_hex(&v.f, "88820000000003e8");
    run(&v.f, 20);
    assert_true(v.in_eof);
    assert_memory_equal(v.f.raw.data + v.f.raw.len - 4, "\x88\x02\x03\xe8", 4);
    server_stop(&v);
}

static void numbered_ports(_unused_ void **state)
{
    struct server v;
    server_start(&v);
    (void)shake(&v, "GET /forward?port=8080,9",
                KEY V13 "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n");
    run(&v.f, 20);
    static const char expected[] = "\x82\x03\x00\x90\x1f\x82\x03\x01\x90\x1f"
                                   "\x82\x03\x02\x09\x00\x82\x03\x03\x09\x00"
                                   "\x82\x0d\x03nobody there";
    assert_true(v.f.raw.len >= sizeof(expected) - 1);
    assert_memory_equal(v.f.raw.data, expected, sizeof(expected) - 1);
    assert_non_null(memmem(v.f.raw.data, v.f.raw.len, "\x82\x09\x00greeting", 11));
    int pod = v.closes;
    char buf[16] = "";
    send_hex(&v.f, "828300000000"
                   "006869");
    run(&v.f, 10);
    assert_int_equal(read(pod, buf, sizeof(buf)), 2);
    assert_memory_equal(buf, "hi", 2);
    /* The last forwarded connection has ended, and there is no other way to say so. */
    (void)close(pod);
    run(&v.f, 20);
    assert_memory_equal(v.f.raw.data + v.f.raw.len - 4, "\x88\x02\x03\xe8", 4);
    assert_null(v.forward);
    v.closes = 0;
    server_stop(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_arrive_in_pieces),
        cmocka_unit_test(sides_talk_and_close),
        cmocka_unit_test(closes_have_reasons),
        cmocka_unit_test(broken_frames_are_refused),
        cmocka_unit_test(broken_lengths_are_refused),
        cmocka_unit_test(a_paused_reader_holds_the_peer_back),
        cmocka_unit_test(a_deaf_peer_is_not_answered_for_ever),
        cmocka_unit_test(finishing_sends_the_rest),
        cmocka_unit_test(keys_are_accepted),
        cmocka_unit_test(handshakes_are_checked),
        cmocka_unit_test(v5_ends_standard_input),
        cmocka_unit_test(base64_channels),
        cmocka_unit_test(numbered_ports),
    };
    return RUN_TESTS(tests);
}
