/* One try of a probe: a command through the runtime, an HTTP request, a TCP connection. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/probe/probe.h"
#include "net/http_client.h"
#include "net/socket.h"

#define SAID_MAX 1024  /* of a command's output, in events */
#define BODY_MAX 10240 /* upstream reads this much of an answer */

struct probe_try {
    struct kubelet *k;
    struct runtime_call *call;
    struct http_call *http;
    int http_status;
    size_t http_bytes;
    int fd; /* of a TCP probe */
    struct loop_io io;
    struct loop_timer timer; /* deadline; or the report of what failed at once */
    uint64_t timeout_ms;
    char *failure;
    void (*cb)(void *arg, bool ok, const char *text);
    void *arg;
};

struct probe_try *probe_try_cancel(struct probe_try *t)
{
    if (!t)
        return NULL;
    runtime_cancel(t->k->runtime, &t->call);
    http_call_cancel(t->http);
    loop_io_done(&t->io);
    if (t->fd >= 0)
        (void)close(t->fd);
    loop_timer_done(&t->timer);
    free(t->failure);
    free(t);
    return NULL;
}

static void finish(struct probe_try *t, bool ok, const char *text)
{
    void (*cb)(void *arg, bool ok, const char *text) = t->cb;
    void *arg = t->arg;
    _cleanup_free_ char *copy = str_dup(text);
    probe_try_cancel(t);
    cb(arg, ok, copy);
}

static void on_timer(void *arg)
{
    struct probe_try *t = arg;
    finish(t, false, t->failure ? t->failure : "timed out");
}

static void fail_later(struct probe_try *t, const char *text)
{
    t->failure = str_dup(text);
    loop_timer_set(&t->timer, 0);
}

/* ---- exec ---- */
static void on_exec(void *arg, enum rpc_status status, const char *message,
                    const ProtobufCMessage *response)
{
    struct probe_try *t = arg;
    const Runtime__V1__ExecSyncResponse *r = (const void *)response;
    t->call = NULL;
    if (status != RPC_OK) {
        char text[64];
        (void)snprintf(text, sizeof(text), "command timed out after %" PRIu64 "s",
                       t->timeout_ms / 1000);
        finish(t, false, status == RPC_DEADLINE_EXCEEDED ? text : message);
        return;
    }
    const ProtobufCBinaryData *said = r->stdout.len ? &r->stdout : &r->stderr;
    _cleanup_free_ char *out = str_ndup(said->len ? (const char *)said->data : "",
                                        said->len < SAID_MAX ? said->len : SAID_MAX);
    finish(t, r->exit_code == 0, out);
}

static void start_exec(struct probe_try *t, const struct probe_target *target,
                       const struct exec_action *e)
{
    Runtime__V1__ExecSyncRequest q = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
    q.container_id = (char *)(uintptr_t)target->container_id;
    q.n_cmd = e->command.count;
    q.cmd = e->command.items;
    q.timeout = (int64_t)(t->timeout_ms / 1000);
    t->call = runtime_call(t->k->runtime, CRI_EXEC_SYNC, &q.base, t->timeout_ms + 2000, on_exec, t);
}

/* ---- http ---- */
static void judge(struct probe_try *t)
{
    char text[200];
    bool ok = t->http_status >= 200 && t->http_status < 400;
    (void)snprintf(text, sizeof(text), "HTTP probe failed with statuscode: %d", t->http_status);
    finish(t, ok, ok ? NULL : text);
}

static void on_http_headers(struct http_call *call, const struct http_response *response, void *arg)
{
    struct probe_try *t = arg;
    (void)call;
    t->http_status = response->status;
}

static void on_http_data(struct http_call *call, const void *data, size_t len, void *arg)
{
    struct probe_try *t = arg;
    (void)call;
    (void)data;
    t->http_bytes += len;
    if (t->http_bytes > BODY_MAX)
        judge(t);
}

static void on_http_end(struct http_call *call, const struct error *err, void *arg)
{
    struct probe_try *t = arg;
    (void)call;
    t->http = NULL;
    if (err)
        finish(t, false, error_text(err));
    else
        judge(t);
}

static const struct http_stream_handler http_handler = {
    .on_headers = on_http_headers, .on_data = on_http_data, .on_end = on_http_end};

static int start_http(struct probe_try *t, const struct probe_target *target,
                      const struct http_get_action *g, struct error *err)
{
    bool https = str_eq(g->scheme, "HTTPS");
    uint16_t port = probe_port(target->container, &g->port);
    const char *host = g->host && *g->host ? g->host : target->pod_ip;
    const char *path = g->path ? g->path : "/";
    if (!port)
        return error_set(err, -EINVAL, "no port of this name");
    _cleanup_free_ char *url =
        str_printf(strchr(host, ':') ? "%s://[%s]:%u%s%s" : "%s://%s:%u%s%s",
                   https ? "https" : "http", host, port, path[0] == '/' ? "" : "/", path);
    _cleanup_http_headers_ struct http_headers headers = HTTP_HEADERS_INIT;
    for (size_t i = 0; i < g->headers.count; i++) {
        const struct http_header_pair *h = &g->headers.items[i];
        if (!h->name || !http_token_valid(h->name, strlen(h->name)) ||
            (h->value && !http_value_valid(h->value, strlen(h->value))))
            return error_set(err, -EINVAL, "httpHeaders[%zu] is malformed", i);
        http_headers_add(&headers, h->name, h->value ? h->value : "");
    }
    if (!http_headers_get(&headers, "User-Agent"))
        http_headers_add(&headers, "User-Agent", "kube-probe/1.36");
    if (!http_headers_get(&headers, "Accept"))
        http_headers_add(&headers, "Accept", "*/*");
    struct tls_client_config tls = {.insecure = true};
    struct http_request request = {.url = url,
                                   .headers = &headers,
                                   .tls = https ? &tls : NULL,
                                   .connect_timeout_ms = t->timeout_ms,
                                   .timeout_ms = t->timeout_ms,
                                   .max_redirects = 0,
                                   .fresh = true};
    return http_client_stream(t->k->http, &request, &http_handler, t, &t->http, err);
}

/* ---- tcp ---- */
static void on_connected(int fd, short events, void *arg)
{
    int code = 0;
    socklen_t len = sizeof(code);
    (void)events;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
        code = errno;
    finish(arg, code == 0, code ? strerror(code) : NULL);
}

static int start_tcp(struct probe_try *t, const struct probe_target *target,
                     const struct tcp_socket_action *a, struct error *err)
{
    uint16_t port = probe_port(target->container, &a->port);
    const char *host = a->host && *a->host ? a->host : target->pod_ip;
    if (!port)
        return error_set(err, -EINVAL, "no port of this name");
    struct sockaddr_storage address;
    socklen_t len;
    int code = socket_address(host, port, &address, &len, err);
    if (code < 0)
        return code;
    t->fd = socket_connect(&address, len, err);
    if (t->fd < 0)
        return t->fd;
    loop_timer_set(&t->timer, t->timeout_ms);
    return loop_io_init(&t->io, t->k->loop, "tcp probe", t->fd, EV_WRITE, on_connected, t);
}

struct probe_try *probe_try_start(struct kubelet *k, const struct probe_target *target,
                                  const struct probe_spec *spec,
                                  void (*cb)(void *arg, bool ok, const char *text), void *arg)
{
    struct probe_try *t = mem_zalloc(sizeof(*t));
    struct error err = ERROR_INIT;
    int code = 0;
    t->k = k;
    t->fd = -1;
    t->cb = cb;
    t->arg = arg;
    t->timeout_ms = (uint64_t)spec->timeout * 1000;
    loop_timer_init(&t->timer, k->loop, "probe", on_timer, t);
    if (spec->exec)
        start_exec(t, target, spec->exec);
    else if (spec->http_get)
        code = start_http(t, target, spec->http_get, &err);
    else if (spec->tcp_socket)
        code = start_tcp(t, target, spec->tcp_socket, &err);
    else
        code = error_set(&err, -ENOTSUP, "this kind of probe is not supported");
    if (code < 0)
        fail_later(t, error_text(&err));
    return t;
}
