/* lib/net/http_client.c and tls.c against our own server, over loopback and unix sockets. */
#include "lib/test.h"

#include <errno.h>

#include "base/fs.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/x509.h"

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct http_client *client;
    struct tls_server *tls;
    uint16_t plain, secure;
    char dir[40];
    char *ca, *cert, *key, *client_cert, *client_key, *stranger_cert, *stranger_key, *sock;
    /* what the last call gave */
    int status, code;
    char text[512];
    char *body;
    size_t len, pieces, requests;
    bool ended, headers;
    struct http_exchange *watch;
    struct http_call *call;
    struct loop_timer deadline;
};

static void on_gone(struct http_exchange *x, void *arg)
{
    struct fixture *f = arg;
    f->watch = NULL;
    http_exchange_abort(x);
}

static void on_body(struct http_exchange *x, int result, const char *data, size_t len, void *arg)
{
    (void)arg;
    assert_int_equal(result, 0);
    _cleanup_free_ char *text = str_printf(
        "%s:%s:%.*s", http_exchange_method(x),
        http_exchange_header(x, "Content-Type") ? http_exchange_header(x, "Content-Type") : "-",
        (int)len, data);
    http_exchange_reply(x, 201, "text/plain", text, strlen(text));
}

static void on_request(struct http_exchange *x, void *arg)
{
    static char big[300000];
    struct fixture *f = arg;
    const char *path = http_exchange_path(x);
    const struct http_peer *p = http_exchange_peer(x);
    f->requests++;
    if (strcmp(path, "/who") == 0) {
        http_exchange_replyf(x, 200, "%d%d %s %s %s", p->has_certificate, p->verified,
                             p->common_name, p->organizations[0] ? p->organizations[0] : "-",
                             http_exchange_bearer_token(x) ? http_exchange_bearer_token(x) : "-");
    } else if (strcmp(path, "/peer") == 0) {
        http_exchange_replyf(x, 200, "%s %d %d %s", p->address, p->is_unix, (int)p->uid,
                             http_exchange_header(x, "Host"));
    } else if (strcmp(path, "/watch") == 0) {
        http_exchange_on_close(x, on_gone, f);
        http_exchange_begin(x, 200, "application/json", -1);
        http_exchange_write(x, "event", 5);
        f->watch = x;
    } else if (strcmp(path, "/big") == 0) {
        memset(big, 'b', sizeof(big));
        http_exchange_reply(x, 200, NULL, big, sizeof(big));
    } else if (strcmp(path, "/redirect") == 0) {
        http_exchange_add_header(x, "Location", "/who");
        http_exchange_reply(x, 307, NULL, "ignored", 7);
    } else if (strcmp(path, "/elsewhere") == 0) {
        _cleanup_free_ char *to = str_printf("http://localhost:%u/who", f->plain);
        http_exchange_add_header(x, "Location", to);
        http_exchange_reply(x, 307, NULL, "ignored", 7);
    } else if (strcmp(path, "/torn") == 0) {
        http_exchange_begin(x, 200, NULL, 100);
        http_exchange_write(x, "half", 4);
        http_exchange_end(x);
    } else if (strcmp(path, "/never") == 0) {
        http_exchange_on_close(x, on_gone, f);
    } else {
        http_exchange_read_body(x, 1000, on_body, f);
    }
}

static void issue(const struct x509_pair *ca, const char *name, unsigned usage, const char *cert,
                  const char *key)
{
    static const char *const groups[] = {"system:masters", NULL};
    static const char *const names[] = {"localhost", NULL};
    static const char *const addresses[] = {"127.0.0.1", NULL};
    _cleanup_x509_pair_ struct x509_pair p = {.cert = NULL};
    struct x509_request q = {.common_name = name,
                             .organizations = groups,
                             .dns_names = names,
                             .ip_addresses = addresses,
                             .usage = usage,
                             .days = 1};
    assert_int_equal(x509_issue(ca, &q, &p, NULL), 0);
    assert_int_equal(x509_pair_write(&p, cert, key, NULL), 0);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    _cleanup_x509_pair_ struct x509_pair ca = {.cert = NULL}, other = {.cert = NULL};
    (void)signal(SIGPIPE, SIG_IGN); /* as daemon_init() does */
    (void)strcpy(f->dir, "/tmp/coracle-client-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->ca = fs_join(f->dir, "ca.crt");
    f->cert = fs_join(f->dir, "server.crt");
    f->key = fs_join(f->dir, "server.key");
    f->client_cert = fs_join(f->dir, "client.crt");
    f->client_key = fs_join(f->dir, "client.key");
    f->stranger_cert = fs_join(f->dir, "stranger.crt");
    f->stranger_key = fs_join(f->dir, "stranger.key");
    f->sock = fs_join(f->dir, "s");
    assert_int_equal(x509_ca_new("ca", 1, &ca, NULL), 0);
    assert_int_equal(x509_ca_new("other", 1, &other, NULL), 0);
    _cleanup_free_ char *ca_key = fs_join(f->dir, "ca.key");
    assert_int_equal(x509_pair_write(&ca, f->ca, ca_key, NULL), 0);
    issue(&ca, "server", X509_SERVER, f->cert, f->key);
    issue(&ca, "admin", X509_CLIENT, f->client_cert, f->client_key);
    issue(&other, "stranger", X509_CLIENT, f->stranger_cert, f->stranger_key);
    f->loop = loop_new();
    f->server = http_server_new(f->loop, NULL, on_request, f);
    f->client = http_client_new(f->loop);
    const struct tls_server_options o = {.cert_file = f->cert,
                                         .key_file = f->key,
                                         .client_ca_file = f->ca,
                                         .client_auth = TLS_CLIENT_REQUEST};
    assert_int_equal(tls_server_new(&o, &f->tls, NULL), 0);
    assert_int_equal(http_server_listen_tcp(f->server, "127.0.0.1", 0, NULL, &f->plain, NULL), 0);
    assert_int_equal(http_server_listen_tcp(f->server, "127.0.0.1", 0, f->tls, &f->secure, NULL),
                     0);
    assert_int_equal(http_server_listen_unix(f->server, f->sock, 0600, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)http_client_free(f->client);
    (void)http_server_free(f->server);
    (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
    assert_null(f->watch);
    (void)tls_server_unref(f->tls);
    loop_timer_done(&f->deadline);
    (void)loop_free(f->loop);
    (void)fs_remove_tree(f->dir, NULL);
    char **texts[] = {&f->ca,           &f->cert,       &f->key,
                      &f->client_cert,  &f->client_key, &f->stranger_cert,
                      &f->stranger_key, &f->sock,       &f->body};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(*texts[i]);
    free(f);
    return 0;
}

static void on_response(const struct http_response *r, const struct error *err, void *arg)
{
    struct fixture *f = arg;
    f->status = r ? r->status : 0;
    f->code = err ? err->code : 0;
    free(f->body);
    f->body = str_dup(r ? r->body : "");
    f->len = r ? r->body_len : 0;
    (void)snprintf(f->text, sizeof(f->text), "%s", err ? err->text : "");
    loop_stop(f->loop, 0);
}

static void on_deadline(void *arg)
{
    loop_stop(arg, 1);
}

static int run(struct fixture *f, uint64_t ms)
{
    loop_timer_init(&f->deadline, f->loop, "test", on_deadline, f->loop);
    loop_timer_set(&f->deadline, ms);
    int r = loop_run(f->loop);
    loop_timer_done(&f->deadline);
    return r;
}

/* Calls scheme://host:port/path, with what else @q holds; the result is in the fixture. */
static void call(struct fixture *f, struct http_request q, const char *base, uint16_t port,
                 const char *path)
{
    _cleanup_free_ char *url = str_printf("%s:%u%s", base, port, path);
    struct error err = ERROR_INIT;
    q.url = url;
    if (http_client_call(f->client, &q, 1000, on_response, f, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(run(f, 10000), 0);
}

static void bodies_and_methods(void **state)
{
    struct fixture *f = *state;
    struct http_headers h = HTTP_HEADERS_INIT;
    http_headers_add(&h, "Content-Type", "application/json");
    call(f, (struct http_request){.method = "PATCH", .body = "{}", .body_len = 2, .headers = &h},
         "http://127.0.0.1", f->plain, "/x");
    assert_int_equal(f->status, 201);
    assert_string_equal(f->body, "PATCH:application/json:{}");
    http_headers_done(&h);
    call(f, (struct http_request){.method = "PUT", .body = "", .body_len = 0}, "http://127.0.0.1",
         f->plain, "/x");
    assert_string_equal(f->body, "PUT:-:");
    call(f, (struct http_request){.method = "DELETE"}, "http://127.0.0.1", f->plain, "/x");
    assert_string_equal(f->body, "DELETE:-:");
    call(f, (struct http_request){.method = "HEAD"}, "http://127.0.0.1", f->plain, "/x");
    assert_int_equal(f->status, 201);
    assert_int_equal(f->len, 0);
    assert_int_equal(http_server_connections(f->server), 1); /* all on one */
    http_client_forget_connections(f->client);
    call(f, (struct http_request){.fresh = true}, "http://127.0.0.1", f->plain, "/x");
    assert_int_equal(f->status, 201);
    (void)run(f, 50);
    assert_int_equal(http_server_connections(f->server), 0);
}

static void unix_sockets_and_redirects(void **state)
{
    struct fixture *f = *state;
    call(f, (struct http_request){.unix_socket = f->sock}, "http://runtime", 80, "/peer");
    _cleanup_free_ char *want = str_printf(" 1 %d runtime", (int)getuid());
    assert_string_equal(f->body, want);
    call(f, (struct http_request){.method = "GET"}, "http://127.0.0.1", f->plain, "/redirect");
    assert_int_equal(f->status, 307);
    call(f, (struct http_request){.max_redirects = 2, .bearer_token = "t"}, "http://127.0.0.1",
         f->plain, "/redirect");
    assert_int_equal(f->status, 200);
    assert_string_equal(f->body, "00  - t");
    /* Another host must not learn the token, whichever way it was given. */
    call(f, (struct http_request){.max_redirects = 2, .bearer_token = "t"}, "http://127.0.0.1",
         f->plain, "/elsewhere");
    assert_string_equal(f->body, "00  - -");
    struct http_headers h = HTTP_HEADERS_INIT;
    http_headers_add(&h, "Authorization", "Bearer t");
    call(f, (struct http_request){.max_redirects = 2, .headers = &h}, "http://127.0.0.1", f->plain,
         "/elsewhere");
    assert_string_equal(f->body, "00  - -");
    http_headers_done(&h);
}

static void client_certificates_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct tls_client_config t = {.ca_file = f->ca};
    call(f, (struct http_request){.tls = &t}, "https://127.0.0.1", f->secure, "/who");
    assert_string_equal(f->body, "00  - -");
    t.cert_file = f->client_cert;
    t.key_file = f->client_key;
    call(f, (struct http_request){.tls = &t}, "https://localhost", f->secure, "/who");
    assert_string_equal(f->body, "11 admin system:masters -");
    t.cert_file = f->stranger_cert;
    t.key_file = f->stranger_key;
    call(f, (struct http_request){.tls = &t}, "https://127.0.0.1", f->secure, "/who");
    assert_string_equal(f->body, "10 stranger system:masters -");
    /* A server's certificate is no client's. */
    t.cert_file = f->cert;
    t.key_file = f->key;
    call(f, (struct http_request){.tls = &t}, "https://127.0.0.1", f->secure, "/who");
    assert_string_equal(f->body, "10 server system:masters -");
    /* From memory. */
    _cleanup_strbuf_ struct strbuf ca = STRBUF_INIT, cert = STRBUF_INIT, key = STRBUF_INIT;
    assert_int_equal(fs_read(f->ca, 10000, &ca, NULL), 0);
    assert_int_equal(fs_read(f->client_cert, 10000, &cert, NULL), 0);
    assert_int_equal(fs_read(f->client_key, 10000, &key, NULL), 0);
    t = (struct tls_client_config){.ca_pem = ca.data, .cert_pem = cert.data, .key_pem = key.data};
    call(f, (struct http_request){.tls = &t}, "https://127.0.0.1", f->secure, "/who");
    assert_string_equal(f->body, "11 admin system:masters -");
}

static void servers_are_verified(void **state)
{
    struct fixture *f = *state;
    struct tls_client_config t = {.ca_file = f->stranger_cert};
    call(f, (struct http_request){.tls = &t}, "https://127.0.0.1", f->secure, "/who");
    assert_int_equal(f->code, -EPROTO);
    t = (struct tls_client_config){.ca_file = f->ca, .server_name = "wrong.example"};
    call(f, (struct http_request){.tls = &t}, "https://127.0.0.1", f->secure, "/who");
    assert_int_equal(f->code, -EPROTO);
    t.server_name = "localhost";
    call(f, (struct http_request){.tls = &t}, "https://127.0.0.1", f->secure, "/who");
    assert_int_equal(f->status, 200);
    t = (struct tls_client_config){.insecure = true};
    call(f, (struct http_request){.tls = &t}, "https://127.0.0.1", f->secure, "/who");
    assert_int_equal(f->status, 200);
    struct error err = ERROR_INIT;
    t = (struct tls_client_config){.ca_file = "/nonexistent"};
    const struct http_request q = {.url = "https://127.0.0.1/", .tls = &t};
    assert_int_equal(http_client_call(f->client, &q, 0, on_response, f, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "/nonexistent"));
}

static void new_certificates_are_taken_up(void **state)
{
    struct fixture *f = *state;
    _cleanup_x509_pair_ struct x509_pair ca = {.cert = NULL};
    struct tls_client_config t = {.ca_file = f->stranger_key}; /* replaced below */
    _cleanup_free_ char *new_ca = fs_join(f->dir, "new-ca.crt");
    _cleanup_free_ char *new_key = fs_join(f->dir, "new-ca.key");
    assert_int_equal(tls_server_watch(f->tls, f->loop, NULL), 0);
    assert_int_equal(x509_ca_new("new", 1, &ca, NULL), 0);
    assert_int_equal(x509_pair_write(&ca, new_ca, new_key, NULL), 0);
    t.ca_file = new_ca;
    call(f, (struct http_request){.tls = &t}, "https://127.0.0.1", f->secure, "/who");
    assert_int_equal(f->code, -EPROTO);
    issue(&ca, "server2", X509_SERVER, f->cert, f->key);
    (void)run(f, 400);
    call(f, (struct http_request){.tls = &t}, "https://127.0.0.1", f->secure, "/who");
    assert_int_equal(f->status, 200);
    /* Broken files leave what was. */
    assert_int_equal(fs_write_atomic(f->cert, "junk", 4, 0644, FS_VOLATILE, NULL), 0);
    (void)run(f, 400);
    http_client_forget_connections(f->client);
    call(f, (struct http_request){.tls = &t}, "https://127.0.0.1", f->secure, "/who");
    assert_int_equal(f->status, 200);
    struct error err = ERROR_INIT;
    assert_int_equal(tls_server_reload(f->tls, &err), -EINVAL);
    assert_non_null(strstr(err.text, f->cert));
}

static void failures_are_told(void **state)
{
    struct fixture *f = *state;
    call(f, (struct http_request){.method = "GET"}, "http://127.0.0.1", f->plain, "/big");
    assert_int_equal(f->code, -EFBIG);
    call(f, (struct http_request){.timeout_ms = 100}, "http://127.0.0.1", f->plain, "/never");
    assert_int_equal(f->code, -ETIMEDOUT);
    call(f, (struct http_request){.method = "GET"}, "http://127.0.0.1", f->plain, "/torn");
    assert_int_equal(f->code, -ECONNRESET);
    uint16_t port;
    struct http_server *gone = http_server_new(f->loop, NULL, on_request, f);
    assert_int_equal(http_server_listen_tcp(gone, "127.0.0.1", 0, NULL, &port, NULL), 0);
    (void)http_server_free(gone);
    call(f, (struct http_request){.method = "GET"}, "http://127.0.0.1", port, "/");
    assert_int_equal(f->code, -ECONNREFUSED);
    assert_true(*f->text);
    struct http_headers h = HTTP_HEADERS_INIT;
    http_headers_add(&h, "X", "a\r\nb");
    const struct http_request bad[] = {{.url = "nonsense"},
                                       {.url = "http://127.0.0.1/", .method = "G T"},
                                       {.url = "http://127.0.0.1/", .headers = &h}};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(http_client_call(f->client, &bad[i], 1, on_response, f, NULL, NULL),
                         -EINVAL);
    http_headers_done(&h);
}

static void on_headers(struct http_call *c, const struct http_response *r, void *arg)
{
    (void)c;
    struct fixture *f = arg;
    f->headers = true;
    f->status = r->status;
}

static void on_data(struct http_call *c, const void *data, size_t len, void *arg)
{
    struct fixture *f = arg;
    (void)data;
    f->pieces++;
    f->len += len;
    http_call_pause(c);
}

static void on_end(struct http_call *c, const struct error *err, void *arg)
{
    (void)c;
    struct fixture *f = arg;
    f->ended = true;
    f->code = err ? err->code : 0;
    loop_stop(f->loop, 0);
}

static const struct http_stream_handler stream = {on_headers, on_data, on_end};

static void streams_pause_and_resume(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *url = str_printf("http://127.0.0.1:%u/big", f->plain);
    const struct http_request q = {.url = url};
    assert_int_equal(http_client_stream(f->client, &q, &stream, f, &f->call, NULL), 0);
    (void)run(f, 50);
    assert_true(f->headers);
    size_t before = f->len;
    assert_int_equal(f->pieces, 1);
    assert_true(before < 300000);
    for (int i = 0; i < 100 && !f->ended; i++) {
        http_call_resume(f->call);
        (void)run(f, 10);
    }
    assert_true(f->ended);
    assert_int_equal(f->len, 300000);
    assert_int_equal(f->code, 0);
}

static void watches_live_until_cancelled(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *url = str_printf("http://127.0.0.1:%u/watch", f->plain);
    const struct http_request q = {.url = url};
    assert_int_equal(http_client_stream(f->client, &q, &stream, f, &f->call, NULL), 0);
    (void)run(f, 50);
    assert_int_equal(f->len, 5);
    assert_non_null(f->watch);
    (void)http_call_cancel(f->call);
    (void)run(f, 50);
    assert_false(f->ended);
    assert_null(f->watch);
    /* One that the server ends, and one that is freed with the client. */
    assert_int_equal(http_client_stream(f->client, &q, &stream, f, &f->call, NULL), 0);
    (void)run(f, 50);
    http_exchange_end(TAKE_PTR(f->watch));
    http_call_resume(f->call);
    assert_int_equal(run(f, 2000), 0);
    assert_true(f->ended);
    assert_int_equal(f->code, 0);
    assert_int_equal(http_client_stream(f->client, &q, &stream, f, &f->call, NULL), 0);
    (void)run(f, 50);
    f->client = http_client_free(f->client);
    (void)run(f, 50);
    assert_null(f->watch);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(bodies_and_methods),
        TEST(unix_sockets_and_redirects),
        TEST(client_certificates_are_told_apart),
        TEST(servers_are_verified),
        TEST(new_certificates_are_taken_up),
        TEST(failures_are_told),
        TEST(streams_pause_and_resume),
        TEST(watches_live_until_cancelled),
    };
    return RUN_TESTS(tests);
}
