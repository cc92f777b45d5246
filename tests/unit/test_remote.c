/* lib/net/remote*.c, portforward*.c, upgrade.c: both sides with each other over loopback,
 * in SPDY and in WebSocket. */
#include "lib/test.h"

#include <errno.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "net/remote.h"
#include "net/x509.h"

struct fixture {
    bool websocket, relayed;
    struct loop *loop;
    struct http_server *server;
    struct tls_server *tls;
    uint16_t port, tls_port;
    char *url;
    /* the server's side */
    struct remote_server *remote;
    struct portforward_server *forward;
    struct portforward_pair *unanswered;
    struct stream *held;
    uint16_t columns, rows, asked_port;
    int closes, relays_ended, relay_code;
    bool slow; /* don't read stdin */
    /* the client's side */
    struct remote_client *client;
    struct portforward_client *forwarder;
    struct stream *out, *err_out, *in;
    struct strbuf got, got_err;
    bool ready, exited, out_eof, forward_closed;
    int exit_code, code;
    char text[256];
    unsigned ended, failed_id;
    struct loop_timer deadline;
};

/* ---- the server ---- */

/* Copies stdin to stdout until its end, then exits as the path says. */
static size_t on_stdin(struct stream *s, const void *data, size_t len, void *arg)
{
    struct fixture *f = arg;
    (void)s;
    if (f->slow)
        return 0;
    stream_write(f->held, data, len);
    return len;
}

static void on_stdin_eof(struct stream *s, void *arg)
{
    struct fixture *f = arg;
    f->in = NULL;
    stream_finish(s);
    stream_finish(TAKE_PTR(f->held));
    remote_server_exit(TAKE_PTR(f->remote), 0);
}

static const struct stream_handler stdin_handler = {.on_data = on_stdin, .on_eof = on_stdin_eof};

static void on_exec(struct remote_server *r, void *arg)
{
    struct fixture *f = arg;
    struct stream *in = remote_server_take(r, REMOTE_STDIN);
    struct stream *out = remote_server_take(r, REMOTE_STDOUT);
    struct stream *err = remote_server_take(r, REMOTE_STDERR);
    if (in) {
        f->held = out;
        stream_set_handler(in, &stdin_handler, f);
        f->in = in;
    } else if (out) {
        stream_write(out, "to stdout", 9);
        stream_finish(out);
        if (err) {
            stream_write(err, "to stderr", 9);
            stream_finish(err);
        }
        remote_server_exit(TAKE_PTR(f->remote), 3);
    } else {
        stream_finish(err);
        remote_server_fail(TAKE_PTR(f->remote), "no such container");
    }
}

static void on_resize(struct remote_server *r, uint16_t columns, uint16_t rows, void *arg)
{
    struct fixture *f = arg;
    (void)r;
    f->columns = columns;
    f->rows = rows;
}

static void on_gone(struct remote_server *r, const struct error *err, void *arg)
{
    struct fixture *f = arg;
    assert_non_null(err);
    f->closes++;
    f->remote = remote_server_free(r);
}

static const struct remote_server_handler exec_handler = {on_exec, on_resize, on_gone};

static void on_connect(struct portforward_server *p, struct portforward_pair *pair, uint16_t port,
                       void *arg)
{
    struct fixture *f = arg;
    struct stream *target;
    (void)p;
    f->asked_port = port;
    if (port == 1)
        portforward_fail(pair, "nothing listens on port 1");
    else if (port == 2)
        f->unanswered = pair;
    else if (stream_connect(f->loop, "127.0.0.1", f->port, &target, NULL) == 0)
        portforward_accept(pair, target);
}

static void on_forward_gone(struct portforward_server *p, const struct error *err, void *arg)
{
    struct fixture *f = arg;
    (void)err;
    f->closes++;
    f->forward = portforward_server_free(p);
}

static const struct portforward_handler forward_handler = {on_connect, on_forward_gone};

/* ---- a proxy in front of it, on the same server: /relay/exec, /relay/forward ---- */

struct relaying {
    struct fixture *f;
    struct http_exchange *x;
    struct remote_relay_request q;
    struct remote_ports ports;
    const struct remote_protocol *protocol;
};

static void on_relay_end(const struct error *err, void *arg)
{
    struct fixture *f = arg;
    f->relays_ended++;
    f->relay_code = err ? err->code : 0;
}

static void on_relay_upgraded(struct stream *stream, const struct upgrade_response *response,
                              const struct error *err, void *arg)
{
    struct relaying *r = arg;
    assert_null(err);
    if (!stream)
        http_exchange_reply(r->x, response->status, NULL, response->body, response->body_len);
    else
        assert_int_equal(remote_relay_start(r->f->loop, r->x, &r->q, r->protocol, stream, response,
                                            on_relay_end, r->f, NULL, NULL),
                         0);
    free(r);
}

static void relay(struct fixture *f, struct http_exchange *x, const char *path)
{
    _cleanup_http_headers_ struct http_headers h = HTTP_HEADERS_INIT;
    _cleanup_free_ char *url =
        str_printf("http://127.0.0.1:%u%s?%s", f->port, path, http_exchange_query_string(x));
    struct relaying *r = mem_zalloc(sizeof(*r));
    r->f = f;
    r->x = x;
    if (strcmp(path, "/forward") == 0)
        r->q.ports = &r->ports;
    else
        (void)remote_options_from_query(http_exchange_query(x), &r->q.command, NULL);
    assert_int_equal(remote_relay_negotiate(x, &r->q, &r->protocol, NULL), 0);
    struct upgrade_request q = {.url = url};
    remote_relay_request(r->protocol, &h, &q);
    assert_int_equal(upgrade_start(f->loop, &q, on_relay_upgraded, r, NULL, NULL), 0);
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct fixture *f = arg;
    struct remote_options options;
    const char *path = http_exchange_path(x);
    if (strncmp(path, "/relay/", 7) == 0)
        relay(f, x, path + 6);
    else if (strcmp(path, "/exec") == 0) {
        assert_int_equal(remote_options_from_query(http_exchange_query(x), &options, NULL), 0);
        (void)remote_server_start(f->loop, x, &options, &exec_handler, f, &f->remote, NULL);
    } else if (strcmp(path, "/forward") == 0) {
        struct remote_ports ports;
        assert_int_equal(remote_ports_from_query(http_exchange_query(x), "port", &ports, NULL), 0);
        (void)portforward_server_start(f->loop, x, &ports, &forward_handler, f, &f->forward, NULL);
    } else if (strcmp(path, "/status") == 0) {
        const char text[] = "{\"kind\":\"Status\",\"message\":\"pods \\\"x\\\" not found\"}";
        http_exchange_reply(x, 404, "application/json", text, sizeof(text) - 1);
    } else {
        http_exchange_replyf(x, 200, "hello\n");
    }
}

/* ---- the client ---- */

static size_t on_out(struct stream *s, const void *data, size_t len, void *arg)
{
    struct fixture *f = arg;
    strbuf_add(s == f->err_out ? &f->got_err : &f->got, data, len);
    return len;
}

static void on_out_eof(struct stream *s, void *arg)
{
    struct fixture *f = arg;
    f->out_eof |= s == f->out;
}

static const struct stream_handler out_handler = {.on_data = on_out, .on_eof = on_out_eof};

static void on_ready(struct remote_client *r, void *arg)
{
    struct fixture *f = arg;
    f->ready = true;
    if ((f->out = remote_client_take(r, REMOTE_STDOUT)))
        stream_set_handler(f->out, &out_handler, f);
    if ((f->err_out = remote_client_take(r, REMOTE_STDERR)))
        stream_set_handler(f->err_out, &out_handler, f);
}

static void on_exit_(struct remote_client *r, int exit_code, const struct error *err, void *arg)
{
    struct fixture *f = arg;
    (void)r;
    f->exited = true;
    f->exit_code = exit_code;
    f->code = err ? err->code : 0;
    (void)snprintf(f->text, sizeof(f->text), "%.200s", err ? err->text : "");
}

static const struct remote_client_handler client_handler = {on_ready, on_exit_};

static void on_forward_ready(struct portforward_client *p, void *arg)
{
    (void)p;
    ((struct fixture *)arg)->ready = true;
}

static void on_forward_end(struct portforward_client *p, unsigned id, const char *message,
                           void *arg)
{
    struct fixture *f = arg;
    (void)p;
    f->ended++;
    if (!message)
        return;
    f->failed_id = id;
    (void)snprintf(f->text, sizeof(f->text), "%.200s", message);
}

static void on_forward_close(struct portforward_client *p, const struct error *err, void *arg)
{
    struct fixture *f = arg;
    (void)p;
    f->forward_closed = true;
    f->code = err ? err->code : 0;
}

static const struct portforward_client_handler forward_client_handler = {
    on_forward_ready, on_forward_end, on_forward_close};

/* ---- the tests ---- */

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    f->websocket = *state != NULL;
    f->relayed = *state && strcmp(*state, "relay") == 0;
    (void)signal(SIGPIPE, SIG_IGN); /* as daemon_init() does */
    f->loop = loop_new();
    f->server = http_server_new(f->loop, NULL, on_request, f);
    assert_int_equal(http_server_listen_tcp(f->server, "127.0.0.1", 0, NULL, &f->port, NULL), 0);
    *state = f;
    return 0;
}

/* Listens with TLS too, with a certificate that signs itself. */
static void serve_tls(struct fixture *f)
{
    static const char *const addresses[] = {"127.0.0.1", NULL};
    const struct x509_request q = {
        .common_name = "test", .ip_addresses = addresses, .usage = X509_SERVER, .days = 1};
    _cleanup_x509_pair_ struct x509_pair p = {.cert = NULL};
    char dir[] = "/tmp/coracle-remote-XXXXXX";
    assert_non_null(mkdtemp(dir));
    _cleanup_free_ char *cert = fs_join(dir, "crt"), *key = fs_join(dir, "key");
    assert_int_equal(x509_self_signed(&q, &p, NULL), 0);
    assert_int_equal(x509_pair_write(&p, cert, key, NULL), 0);
    const struct tls_server_options o = {.cert_file = cert, .key_file = key};
    assert_int_equal(tls_server_new(&o, &f->tls, NULL), 0);
    assert_int_equal(fs_remove_tree(dir, NULL), 0);
    assert_int_equal(http_server_listen_tcp(f->server, "127.0.0.1", 0, f->tls, &f->tls_port, NULL),
                     0);
}

static void run(struct fixture *f, int ms)
{
    for (uint64_t end = now_ms() + (uint64_t)ms; now_ms() < end;) {
        (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        (void)usleep(200);
    }
}

static void until(struct fixture *f, const bool *flag)
{
    for (int i = 0; i < 500 && !*flag; i++)
        run(f, 10);
    assert_true(*flag);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)remote_client_free(f->client);
    (void)portforward_client_free(f->forwarder);
    (void)stream_free(f->out);
    (void)stream_free(f->err_out);
    (void)stream_free(f->in);
    run(f, 30);
    (void)stream_free(f->held);
    (void)remote_server_free(f->remote);
    (void)portforward_server_free(f->forward);
    (void)http_server_free(f->server);
    (void)tls_server_unref(f->tls);
    run(f, 20);
    (void)loop_free(f->loop);
    strbuf_done(&f->got);
    strbuf_done(&f->got_err);
    free(f->url);
    free(f);
    return 0;
}

static void exec(struct fixture *f, const char *path, struct remote_options options)
{
    const struct tls_client_config insecure = {.insecure = true};
    const char *before = f->relayed ? "/relay" : "";
    f->url = f->tls ? str_printf("https://127.0.0.1:%u%s%s", f->tls_port, before, path)
                    : str_printf("http://127.0.0.1:%u%s%s", f->port, before, path);
    const struct upgrade_request q = {.url = f->url, .tls = &insecure};
    options.websocket = f->websocket;
    assert_int_equal(
        remote_client_start(f->loop, &q, &options, &client_handler, f, &f->client, NULL), 0);
}

static void outputs_and_exit_code(void **state)
{
    struct fixture *f = *state;
    exec(f, "/exec?stdout=1&stderr=1",
         (struct remote_options){.want_stdout = true, .want_stderr = true});
    until(f, &f->exited);
    until(f, &f->out_eof);
    assert_int_equal(f->code, 0);
    assert_int_equal(f->exit_code, 3);
    assert_string_equal(strbuf_text(&f->got), "to stdout");
    assert_string_equal(strbuf_text(&f->got_err), "to stderr");
}

static void failures_to_run(void **state)
{
    struct fixture *f = *state;
    exec(f, "/exec?stderr=1", (struct remote_options){.want_stderr = true});
    until(f, &f->exited);
    assert_int_equal(f->code, -EIO);
    assert_string_equal(f->text, "no such container");
}

static void refusals(void **state)
{
    struct fixture *f = *state;
    exec(f, "/status", (struct remote_options){.want_stdout = true});
    until(f, &f->exited);
    assert_int_equal(f->code, -ENOENT);
    assert_string_equal(f->text, "pods \"x\" not found");
}

static void echo(struct fixture *f)
{
    static char block[50000];
    exec(f, "/exec?stdin=1&stdout=1&tty=1",
         (struct remote_options){.want_stdin = true, .want_stdout = true, .tty = true});
    until(f, &f->ready);
    remote_client_resize(f->client, 132, 43);
    remote_client_resize(f->client, 80, 24);
    struct stream *in = remote_client_take(f->client, REMOTE_STDIN);
    memset(block, 'e', sizeof(block));
    for (int i = 0; i < 40; i++) {
        stream_write(in, block, sizeof(block));
        run(f, 2);
    }
    stream_finish(in);
    until(f, &f->exited);
    until(f, &f->out_eof);
    assert_int_equal(f->exit_code, 0);
    assert_int_equal(f->got.len, 2000000);
    assert_int_equal(f->columns, 80);
    assert_int_equal(f->rows, 24);
}

static void stdin_is_echoed(void **state)
{
    echo(*state);
}

static void stdin_is_echoed_over_tls(void **state)
{
    serve_tls(*state);
    echo(*state);
}

static void an_unknown_server_is_refused(void **state)
{
    struct fixture *f = *state;
    serve_tls(f);
    f->url = str_printf("https://127.0.0.1:%u/exec?stdout=1", f->tls_port);
    const struct upgrade_request q = {.url = f->url};
    const struct remote_options options = {.want_stdout = true};
    assert_int_equal(
        remote_client_start(f->loop, &q, &options, &client_handler, f, &f->client, NULL), 0);
    until(f, &f->exited);
    assert_int_equal(f->code, -EPROTO);
    assert_non_null(strstr(f->text, "self-signed"));
}

static void a_slow_command_holds_its_client_back(void **state)
{
    static char block[50000];
    struct fixture *f = *state;
    f->slow = true;
    exec(f, "/exec?stdin=1&stdout=1",
         (struct remote_options){.want_stdin = true, .want_stdout = true});
    until(f, &f->ready);
    run(f, 20);
    struct stream *in = remote_client_take(f->client, REMOTE_STDIN);
    /* WebSocket has no windows: what the kernel holds comes on top. */
    const size_t limit = f->websocket ? 30000000 : 500000;
    size_t sent = 0;
    for (int i = 0; i < 100; i++) {
        for (int n = 0; n < 20 && !stream_congested(in); n++) {
            stream_write(in, block, sizeof(block));
            sent += sizeof(block);
        }
        run(f, 1);
    }
    assert_true(sent < limit);
    f->slow = false; /* now it reads, and echoes */
    stream_resume(f->in);
    stream_finish(in); /* the client's */
    stream_pause(f->out);
    run(f, 50);
    assert_false(f->exited); /* not before the output is read */
    stream_resume(f->out);
    until(f, &f->exited);
    until(f, &f->out_eof);
    assert_int_equal(f->got.len, sent);
}

static void a_client_that_goes_is_told(void **state)
{
    struct fixture *f = *state;
    exec(f, "/exec?stdin=1&stdout=1",
         (struct remote_options){.want_stdin = true, .want_stdout = true});
    until(f, &f->ready);
    run(f, 20);
    f->client = remote_client_free(f->client);
    run(f, 50);
    if (!f->relayed) /* a relay ends standard input first, and with it the command */
        assert_int_equal(f->closes, 1);
    assert_null(f->remote);
}

/* In the middle of a command: its end is not known, which is no success. */
static void a_server_that_goes_is_told(void **state)
{
    struct fixture *f = *state;
    exec(f, "/exec?stdin=1&stdout=1",
         (struct remote_options){.want_stdin = true, .want_stdout = true});
    until(f, &f->ready);
    run(f, 20);
    stream_write(f->held, "half of it", 10);
    run(f, 20);
    f->in = stream_free(f->in);
    f->held = stream_free(f->held);
    f->remote = remote_server_free(f->remote);
    until(f, &f->exited);
    assert_int_equal(f->code, -ECONNRESET);
    assert_string_equal(strbuf_text(&f->got), "half of it");
    if (f->relayed) {
        assert_int_equal(f->relays_ended, 1);
        assert_int_equal(f->relay_code, -ECONNRESET);
    }
}

/* Sends a raw request, returns the answer's first bytes. */
static const char *raw(struct fixture *f, const char *request)
{
    static char answer[2048];
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(f->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    run(f, 30);
    ssize_t n = recv(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT);
    answer[n > 0 ? n : 0] = '\0';
    (void)close(fd);
    run(f, 20);
    return answer;
}

static void versions_are_negotiated(void **state)
{
    struct fixture *f = *state;
    assert_non_null(strstr(raw(f, "POST /exec?stdout=1 HTTP/1.1\r\nHost: h\r\n\r\n"), " 400 "));
    const char *answer = raw(f, "POST /exec?stdout=1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
                                "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v9\r\n\r\n");
    assert_non_null(strstr(answer, " 403 "));
    assert_non_null(strstr(answer, "X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io\r\n"));
    answer = raw(f, "POST /exec?stdout=1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
                    "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v5.channel.k8s.io\r\n"
                    "X-Stream-Protocol-Version: v3.channel.k8s.io, v4.channel.k8s.io\r\n\r\n");
    assert_non_null(strstr(answer, " 101 "));
    assert_non_null(strstr(answer, "X-Stream-Protocol-Version: v3.channel.k8s.io\r\n"));
    answer = raw(f, "POST /exec?stdout=1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
                    "Upgrade: SPDY/3.1\r\n\r\n");
    assert_non_null(strstr(answer, "X-Stream-Protocol-Version: channel.k8s.io\r\n"));
    assert_int_equal(f->closes, 2);
    struct remote_options options;
    struct http_query q = {.items = NULL};
    assert_int_equal(remote_options_from_query(&q, &options, NULL), -EINVAL);
}

static void ports_are_forwarded(void **state)
{
    struct fixture *f = *state;
    static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    f->url = str_printf("http://127.0.0.1:%u%s/forward", f->port, f->relayed ? "/relay" : "");
    const struct upgrade_request q = {.url = f->url};
    assert_int_equal(portforward_client_start(f->loop, &q, f->websocket, &forward_client_handler, f,
                                              &f->forwarder, NULL),
                     0);
    until(f, &f->ready);
    for (int i = 0; i < 3; i++) {
        int fds[2];
        char answer[1024] = "";
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(
            portforward_client_open(f->forwarder, 8080, stream_new_fd(f->loop, fds[0]), NULL), 0);
        assert_int_equal(write(fds[1], request, sizeof(request) - 1), sizeof(request) - 1);
        for (int n = 0; n < 100 && !strstr(answer, "hello"); n++) {
            run(f, 10);
            (void)!recv(fds[1], answer, sizeof(answer) - 1, MSG_DONTWAIT);
        }
        assert_non_null(strstr(answer, "hello"));
        assert_int_equal(f->asked_port, 8080);
        (void)close(fds[1]);
        for (int n = 0; n < 100 && f->ended <= (unsigned)i; n++)
            run(f, 10);
        assert_int_equal(f->ended, i + 1);
    }
    int fds[2];
    unsigned id;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(portforward_client_open(f->forwarder, 1, stream_new_fd(f->loop, fds[0]), &id),
                     0);
    run(f, 50);
    char byte;
    assert_int_equal(recv(fds[1], &byte, 1, MSG_DONTWAIT), 0); /* closed */
    assert_int_equal(f->failed_id, id);
    assert_string_equal(f->text, "nothing listens on port 1");
    (void)close(fds[1]);
    /* A client that goes while the server still connects. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(portforward_client_open(f->forwarder, 2, stream_new_fd(f->loop, fds[0]), NULL),
                     0);
    run(f, 30);
    assert_non_null(f->unanswered);
    f->forwarder = portforward_client_free(f->forwarder);
    run(f, 30);
    assert_int_equal(f->closes, 1);
    portforward_fail(f->unanswered, "too late");
    (void)close(fds[1]);
}

static void on_silent(struct stream *stream, const struct upgrade_response *response,
                      const struct error *err, void *arg)
{
    struct fixture *f = arg;
    assert_null(stream);
    assert_null(response);
    f->exited = true;
    f->code = err->code;
}

static void upgrades_fail_with_reasons(void **state)
{
    struct fixture *f = *state;
    struct upgrade_request q = {.url = "http://127.0.0.1:1/", .protocol = "SPDY/3.1"};
    struct error err = ERROR_INIT;
    if (upgrade_start(f->loop, &q, on_silent, f, NULL, &err) == 0)
        until(f, &f->exited);
    else
        f->code = err.code;
    assert_int_equal(f->code, -ECONNREFUSED);
    /* Somebody who never answers. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    f->url = str_printf("http://127.0.0.1:%u/", ntohs(sa.sin_port));
    q = (struct upgrade_request){.url = f->url, .protocol = "SPDY/3.1", .timeout_ms = 50};
    f->exited = false;
    assert_int_equal(upgrade_start(f->loop, &q, on_silent, f, NULL, NULL), 0);
    until(f, &f->exited);
    assert_int_equal(f->code, -ETIMEDOUT);
    (void)close(fd);
    q.url = "nonsense";
    assert_int_equal(upgrade_start(f->loop, &q, on_silent, f, NULL, NULL), -EINVAL);
}

int main(void)
{
    static char websocket[] = "websocket", relayed[] = "relay";
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define ALL(name)                                                         \
    TEST(name), {#name " (WebSocket)", name, setup, teardown, websocket}, \
    {                                                                     \
#name " (relayed)", name, setup, teardown, relayed                \
    }
    const struct CMUnitTest tests[] = {
        ALL(outputs_and_exit_code),
        ALL(failures_to_run),
        ALL(refusals),
        ALL(stdin_is_echoed),
        ALL(stdin_is_echoed_over_tls),
        TEST(an_unknown_server_is_refused),
        ALL(a_slow_command_holds_its_client_back),
        ALL(a_client_that_goes_is_told),
        ALL(a_server_that_goes_is_told),
        TEST(versions_are_negotiated),
        ALL(ports_are_forwarded),
        TEST(upgrades_fail_with_reasons),
    };
    return RUN_TESTS(tests);
}
