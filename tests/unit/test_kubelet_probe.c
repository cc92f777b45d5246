/* One try of each kind of probe against real servers: what counts as success, and what is said. */
#include "lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "kubelet/probe/http_get.h"
#include "kubelet/probe/probe.h"
#include "net/grpc_server.h"
#include "net/health.pb-c.h"
#include "net/http_server.h"
#include "net/x509.h"

struct fixture {
    struct kubelet k;
    struct http_server *http;
    struct tls_server *tls;
    struct rpc_server *grpc;
    struct loop_io grpc_io;
    int grpc_fd;
    uint16_t plain, secure, grpc_port;
    char dir[40];
    char *seen; /* what the last request showed */
    struct http_exchange *held;
    int results;
    bool ok;
    char *text;
};

/* ---- the servers ---- */
static void on_gone(struct http_exchange *x, void *arg)
{
    struct fixture *f = arg;
    f->held = NULL;
    http_exchange_abort(x);
}

static void redirect(struct http_exchange *x, const char *to)
{
    http_exchange_add_header(x, "Location", to);
    http_exchange_reply(x, 302, NULL, "", 0);
}

static const char *or_none(const char *value)
{
    return value ? value : "-";
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct fixture *f = arg;
    const char *path = http_exchange_path(x);
    free(f->seen);
    f->seen = str_printf(
        "%s?%s %s %s %s %s", path, http_exchange_query_string(x),
        or_none(http_exchange_header(x, "Host")), or_none(http_exchange_header(x, "User-Agent")),
        or_none(http_exchange_header(x, "Accept")), or_none(http_exchange_header(x, "X-Custom")));
    if (str_eq(path, "/ok")) {
        http_exchange_reply(x, 200, NULL, "fine", 4);
    } else if (str_eq(path, "/here")) {
        redirect(x, "/ok");
    } else if (str_eq(path, "/deep/beside")) {
        redirect(x, "missing");
    } else if (str_eq(path, "/round")) {
        redirect(x, "/round");
    } else if (str_eq(path, "/away")) {
        redirect(x, "http://192.0.2.1:1/");
    } else if (str_eq(path, "/big")) {
        static char big[100000];
        http_exchange_reply(x, 200, NULL, big, sizeof(big));
    } else if (str_eq(path, "/never")) {
        http_exchange_on_close(x, on_gone, f);
        f->held = x;
    } else {
        http_exchange_reply(x, 404, NULL, "", 0);
    }
}

static void on_check(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Grpc__Health__V1__HealthCheckRequest *q = (const void *)request;
    Grpc__Health__V1__HealthCheckResponse r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    (void)arg;
    r.status = str_eq(q->service, "sick")
                   ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
                   : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    if (str_eq(q->service, "unknown"))
        rpc_server_fail(call, RPC_NOT_FOUND, "no such service");
    else if (str_eq(q->service, "old"))
        rpc_server_fail(call, RPC_UNIMPLEMENTED, "what?");
    else
        rpc_server_reply(call, &r.base);
}
static const struct rpc_server_method methods[] = {
    {"/grpc.health.v1.Health/Check", &grpc__health__v1__health_check_request__descriptor, RPC_UNARY,
     on_check}};

static void on_accept(int fd, short events, void *arg)
{
    struct fixture *f = arg;
    (void)events;
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (peer >= 0)
        rpc_server_adopt(f->grpc, peer);
}

static void listen_grpc(struct fixture *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    f->grpc_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f->grpc_fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(f->grpc_fd, 10), 0);
    assert_int_equal(getsockname(f->grpc_fd, (struct sockaddr *)&a, &len), 0);
    f->grpc_port = ntohs(a.sin_port);
    struct rpc_server_options options = {.listen = "/nowhere"};
    f->grpc = rpc_server_new(f->k.rpc, &options);
    rpc_server_add(f->grpc, methods, ARRAY_SIZE(methods), f);
    assert_int_equal(
        loop_io_init(&f->grpc_io, f->k.loop, "grpc", f->grpc_fd, EV_READ, on_accept, f), 0);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct error err = ERROR_INIT;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/coracle-probe-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    _cleanup_free_ char *cert = fs_join(f->dir, "c.crt"), *key = fs_join(f->dir, "c.key");
    static const char *const names[] = {"somebody.else", NULL};
    _cleanup_x509_pair_ struct x509_pair pair = {.cert = NULL};
    struct x509_request q = {
        .common_name = "x", .dns_names = names, .usage = X509_SERVER, .days = 1};
    assert_int_equal(x509_self_signed(&q, &pair, &err), 0);
    assert_int_equal(x509_pair_write(&pair, cert, key, &err), 0);
    f->k.loop = loop_new();
    f->k.http = http_client_new(f->k.loop);
    f->k.rpc = rpc_new(f->k.loop, &err);
    assert_non_null(f->k.rpc);
    f->http = http_server_new(f->k.loop, NULL, on_request, f);
    struct tls_server_options o = {.cert_file = cert, .key_file = key};
    assert_int_equal(tls_server_new(&o, &f->tls, &err), 0);
    assert_int_equal(http_server_listen_tcp(f->http, "127.0.0.1", 0, NULL, &f->plain, &err), 0);
    assert_int_equal(http_server_listen_tcp(f->http, "127.0.0.1", 0, f->tls, &f->secure, &err), 0);
    listen_grpc(f);
    *state = f;
    return 0;
}

static void turn(struct fixture *f, int n)
{
    for (int i = 0; i < n; i++)
        (void)event_base_loop(loop_base(f->k.loop), EVLOOP_NONBLOCK);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    turn(f, 50);
    loop_io_done(&f->grpc_io);
    rpc_server_free(f->grpc);
    (void)close(f->grpc_fd);
    http_client_free(f->k.http);
    http_server_free(f->http);
    turn(f, 50);
    tls_server_unref(f->tls);
    rpc_free(f->k.rpc);
    loop_free(f->k.loop);
    (void)fs_remove_tree(f->dir, NULL);
    free(f->seen);
    free(f->text);
    free(f);
    return 0;
}

/* ---- a try ---- */
static void on_result(void *arg, bool ok, const char *text)
{
    struct fixture *f = arg;
    f->results++;
    f->ok = ok;
    free(f->text);
    f->text = str_dup(text ? text : "");
}

static struct pod *make_pod(const struct fixture *f, const char *probe)
{
    struct error err = ERROR_INIT;
    struct pod *pod = NULL;
    _cleanup_free_ char *text = str_printf(
        "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"containers\":[{\"name\":\"c\","
        "\"image\":\"i\",\"ports\":[{\"name\":\"web\",\"containerPort\":%u}],\"readinessProbe\":"
        "{%s}}]}}",
        f->plain, probe);
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    if (!j)
        fail_msg("%s: %s", text, error_text(&err));
    assert_int_equal(pod_decode(j, POD_FROM_API, &pod, &err), 0);
    if (pod->invalid)
        fail_msg("%s", pod->invalid);
    return pod;
}

static void wait_results(struct fixture *f, int n)
{
    for (uint64_t end = now_ms() + 20000; f->results < n;) {
        assert_true(now_ms() < end);
        (void)event_base_loop(loop_base(f->k.loop), EVLOOP_ONCE);
    }
}

/* @text: a part of what is said; "": nothing; NULL: something. */
static void expect(struct fixture *f, bool ok, const char *text, const char *fmt, ...)
    _printf_(4, 5);
static void expect(struct fixture *f, bool ok, const char *text, const char *fmt, ...)
{
    va_list args;
    struct strbuf probe = STRBUF_INIT;
    va_start(args, fmt);
    strbuf_addv(&probe, fmt, args);
    va_end(args);
    struct pod *pod = make_pod(f, strbuf_text(&probe));
    const struct container_spec *c = &pod->spec.containers.items[0];
    struct probe_target target = {
        .pod = pod, .container = c, .container_id = "id", .pod_ip = "127.0.0.1"};
    f->results = 0;
    (void)probe_try_start(&f->k, &target, c->readiness, on_result, f);
    wait_results(f, 1);
    if (f->ok != ok || (!text ? !*f->text : *text ? !strstr(f->text, text) : *f->text != 0))
        fail_msg("%s: %d \"%s\"", strbuf_text(&probe), f->ok, f->text);
    pod_unref(pod);
    strbuf_done(&probe);
}

static void http_probes(void **state)
{
    struct fixture *f = *state;
    expect(f, true, "", "\"httpGet\":{\"path\":\"/ok?a=b\",\"port\":\"web\"}");
    _cleanup_free_ char *seen = str_printf("/ok?a=b 127.0.0.1:%u kube-probe/1.36 */* -", f->plain);
    assert_string_equal(f->seen, seen);
    expect(f, true, "",
           "\"httpGet\":{\"path\":\"ok\",\"port\":%u,\"httpHeaders\":[{\"name\":\"Host\",\"value\":"
           "\"me.example\"},{\"name\":\"X-Custom\",\"value\":\"v\"},{\"name\":\"User-Agent\","
           "\"value\":\"me\"},{\"name\":\"Accept\",\"value\":\"\"}]}",
           f->plain);
    assert_string_equal(f->seen, "/ok? me.example me  v");
    expect(f, false, "HTTP probe failed with statuscode: 404",
           "\"httpGet\":{\"path\":\"/none\",\"port\":\"web\"}");
    expect(f, true, "", "\"httpGet\":{\"path\":\"/big\",\"port\":\"web\"}");
    expect(f, false, "no port of this name", "\"httpGet\":{\"port\":\"other\"}");
    expect(f, false, "malformed",
           "\"httpGet\":{\"port\":1,\"httpHeaders\":[{\"name\":\"a b\",\"value\":\"\"}]}");
    /* The certificate is nobody's we trust, and for another name: no matter. */
    expect(f, true, "", "\"httpGet\":{\"path\":\"/ok\",\"port\":%u,\"scheme\":\"HTTPS\"}",
           f->secure);
    expect(f, true, "", "\"httpGet\":{\"path\":\"/ok\",\"port\":%u,\"host\":\"127.0.0.1\"}",
           f->plain);
    expect(f, false, NULL,
           "\"httpGet\":{\"path\":\"/never\",\"port\":\"web\"},\"timeoutSeconds\":1");
}

static void redirects_stay_on_the_host(void **state)
{
    struct fixture *f = *state;
    expect(f, true, "", "\"httpGet\":{\"path\":\"/here\",\"port\":\"web\"}");
    assert_true(str_starts(f->seen, "/ok?"));
    expect(f, false, "statuscode: 404", "\"httpGet\":{\"path\":\"/deep/beside\",\"port\":\"web\"}");
    assert_true(str_starts(f->seen, "/deep/missing?"));
    expect(f, false, "stopped after 10 redirects",
           "\"httpGet\":{\"path\":\"/round\",\"port\":\"web\"}");
    expect(f, true, "Probe terminated redirects",
           "\"httpGet\":{\"path\":\"/away\",\"port\":\"web\"}");
}

static void tcp_probes(void **state)
{
    struct fixture *f = *state;
    expect(f, true, "", "\"tcpSocket\":{\"port\":\"web\"}");
    expect(f, true, "", "\"tcpSocket\":{\"port\":%u,\"host\":\"127.0.0.1\"}", f->plain);
    expect(f, false, "refused", "\"tcpSocket\":{\"port\":1}");
    expect(f, false, "no port of this name", "\"tcpSocket\":{\"port\":\"other\"}");
}

static void grpc_probes(void **state)
{
    struct fixture *f = *state;
    expect(f, true, "", "\"grpc\":{\"port\":%u}", f->grpc_port);
    expect(f, true, "", "\"grpc\":{\"port\":%u,\"service\":\"well\"}", f->grpc_port);
    expect(f, false, "service unhealthy (responded with \"NOT_SERVING\")",
           "\"grpc\":{\"port\":%u,\"service\":\"sick\"}", f->grpc_port);
    expect(f, false, "error: health rpc probe failed: no such service",
           "\"grpc\":{\"port\":%u,\"service\":\"unknown\"}", f->grpc_port);
    expect(f, false, "does not implement the grpc health protocol",
           "\"grpc\":{\"port\":%u,\"service\":\"old\"}", f->grpc_port);
    expect(f, false, "error: health rpc probe failed", "\"grpc\":{\"port\":1}");
    /* A server that speaks no HTTP/2. */
    expect(f, false, NULL, "\"grpc\":{\"port\":%u},\"timeoutSeconds\":1", f->plain);
}

static size_t count_threads(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/task");
    for (const struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        (void)closedir(d);
    return n;
}

static void many_at_once_need_no_threads(void **state)
{
    struct fixture *f = *state;
    struct pod *pod = make_pod(f, "\"httpGet\":{\"path\":\"/ok\",\"port\":\"web\"}");
    const struct container_spec *c = &pod->spec.containers.items[0];
    struct probe_target target = {
        .pod = pod, .container = c, .container_id = "id", .pod_ip = "127.0.0.1"};
    size_t threads = count_threads();
    c->readiness->timeout = 20;
    f->results = 0;
    for (int i = 0; i < 300; i++)
        (void)probe_try_start(&f->k, &target, c->readiness, on_result, f);
    while (f->results < 300) {
        (void)event_base_loop(loop_base(f->k.loop), EVLOOP_ONCE);
        assert_int_equal(count_threads(), threads);
        assert_true(!f->results || f->ok);
    }
    pod_unref(pod);
}

static void a_try_can_be_given_up(void **state)
{
    struct fixture *f = *state;
    static const char *const probes[] = {"\"httpGet\":{\"path\":\"/never\",\"port\":\"web\"}",
                                         "\"tcpSocket\":{\"port\":\"web\"}",
                                         "\"grpc\":{\"port\":1}"};
    f->results = 0;
    for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
        struct pod *pod = make_pod(f, probes[i]);
        const struct container_spec *c = &pod->spec.containers.items[0];
        struct probe_target target = {
            .pod = pod, .container = c, .container_id = "id", .pod_ip = "127.0.0.1"};
        struct probe_try *t = probe_try_start(&f->k, &target, c->readiness, on_result, f);
        assert_null(probe_try_cancel(t));
        pod_unref(pod);
    }
    turn(f, 100);
    assert_int_equal(f->results, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(http_probes, setup, teardown),
        cmocka_unit_test_setup_teardown(redirects_stay_on_the_host, setup, teardown),
        cmocka_unit_test_setup_teardown(tcp_probes, setup, teardown),
        cmocka_unit_test_setup_teardown(grpc_probes, setup, teardown),
        cmocka_unit_test_setup_teardown(many_at_once_need_no_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(a_try_can_be_given_up, setup, teardown),
    };
    return RUN_TESTS(tests);
}
