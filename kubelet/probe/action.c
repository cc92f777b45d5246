/* One try of a probe: a command through the runtime, an HTTP request, a TCP connection, a call. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/probe/http_get.h"
#include "kubelet/probe/probe.h"
#include "net/health.pb-c.h"
#include "net/socket.h"

#define SAID_MAX      1024  /* of a command's output, in events */
#define BODY_MAX      10240 /* upstream reads this much of an answer */
#define REDIRECTS_MAX 10

struct probe_try {
    struct kubelet *k;
    struct runtime_call *call;
    struct http_call *http;
    struct http_get get;
    char *location;
    int http_status, redirects;
    size_t http_bytes;
    struct rpc_client *grpc;
    struct rpc_call *grpc_call;
    int fd; /* of a TCP probe */
    struct loop_io io;
    struct loop_timer timer; /* deadline; or the report of what is over */
    uint64_t timeout_ms, deadline;
    char *failure;
    bool success;
    void (*cb)(void *arg, bool ok, const char *text);
    void *arg;
};

struct probe_try *probe_try_cancel(struct probe_try *t)
{
    if (!t)
        return NULL;
    runtime_cancel(t->k->runtime, &t->call);
    http_call_cancel(t->http);
    http_get_done(&t->get);
    rpc_call_cancel(t->grpc_call);
    rpc_client_free(t->grpc);
    loop_io_done(&t->io);
    if (t->fd >= 0)
        (void)close(t->fd);
    loop_timer_done(&t->timer);
    free(t->location);
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
    finish(t, t->success, t->success || t->failure ? t->failure : "timed out");
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
    int status = t->http_status;
    bool ok = status >= 200 && status < 400;
    if (ok && status >= 300)
        (void)snprintf(text, sizeof(text), "Probe terminated redirects");
    else
        (void)snprintf(text, sizeof(text), "HTTP probe failed with statuscode: %d", status);
    finish(t, ok, ok && status < 300 ? NULL : text);
}

static void on_http_headers(struct http_call *call, const struct http_response *response, void *arg)
{
    struct probe_try *t = arg;
    (void)call;
    t->http_status = response->status;
    free(t->location);
    t->location = response->status >= 300 && response->status < 400
                      ? str_dup(http_headers_get(response->headers, "Location"))
                      : NULL;
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

static int send_http(struct probe_try *t, struct error *err);

static void on_http_end(struct http_call *call, const struct error *err, void *arg)
{
    struct probe_try *t = arg;
    struct error why = ERROR_INIT;
    (void)call;
    t->http = NULL;
    if (err) {
        finish(t, false, error_text(err));
    } else if (t->location && http_get_redirect(&t->get, t->location)) {
        /* On the same host; elsewhere is not the container's answer. */
        if (++t->redirects > REDIRECTS_MAX)
            finish(t, false, "stopped after 10 redirects");
        else if (send_http(t, &why) < 0)
            finish(t, false, error_text(&why));
    } else {
        judge(t);
    }
}

static const struct http_stream_handler http_handler = {
    .on_headers = on_http_headers, .on_data = on_http_data, .on_end = on_http_end};

static int send_http(struct probe_try *t, struct error *err)
{
    uint64_t now = now_ms();
    struct http_request request =
        http_get_request(&t->get, t->deadline > now ? t->deadline - now : 1);
    t->http_bytes = 0;
    return http_client_stream(t->k->http, &request, &http_handler, t, &t->http, err);
}

static int start_http(struct probe_try *t, const struct probe_target *target,
                      const struct http_get_action *g, struct error *err)
{
    int code = http_get_init(&t->get, g, target->container, target->pod_ip,
                             "kube-probe/" KUBERNETES_MINOR_TEXT, err);
    return code < 0 ? code : send_http(t, err);
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

/* ---- grpc: grpc.health.v1.Health/Check, without TLS ---- */
static void on_grpc(void *arg, enum rpc_status status, const char *message,
                    const ProtobufCMessage *response)
{
    struct probe_try *t = arg;
    const Grpc__Health__V1__HealthCheckResponse *r = (const void *)response;
    char text[300];
    t->grpc_call = NULL;
    t->success = status == RPC_OK &&
                 r->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    if (status == RPC_OK) {
        const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
            &grpc__health__v1__health_check_response__serving_status__descriptor, (int)r->status);
        (void)snprintf(text, sizeof(text), "service unhealthy (responded with \"%s\")",
                       v ? v->name : "?");
    } else if (status == RPC_UNIMPLEMENTED) {
        (void)snprintf(text, sizeof(text),
                       "error: this server does not implement the grpc health protocol "
                       "(grpc.health.v1.Health): %.100s",
                       message);
    } else if (status == RPC_DEADLINE_EXCEEDED) {
        (void)snprintf(text, sizeof(text),
                       "timeout: health rpc did not complete within %" PRIu64 "s",
                       t->timeout_ms / 1000);
    } else {
        (void)snprintf(text, sizeof(text), "error: health rpc probe failed: %.200s", message);
    }
    /* Not from here: the client that is to be freed is calling. */
    t->failure = t->success ? NULL : str_dup(text);
    loop_timer_set(&t->timer, 0);
}

static int start_grpc(struct probe_try *t, const struct probe_target *target,
                      const struct grpc_action *a, struct error *err)
{
    static const struct rpc_method check = {"/grpc.health.v1.Health/Check",
                                            &grpc__health__v1__health_check_response__descriptor};
    Grpc__Health__V1__HealthCheckRequest q = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    if (a->port < 1 || a->port > 65535)
        return error_set(err, -EINVAL, "grpc.port is not between 1 and 65535");
    _cleanup_free_ char *at = str_printf(
        strchr(target->pod_ip, ':') ? "[%s]:%" PRId64 : "%s:%" PRId64, target->pod_ip, a->port);
    struct rpc_client_options options = {.target = at, .message_max = 4096};
    t->grpc = rpc_client_new(t->k->rpc, &options, err);
    if (!t->grpc)
        return -EINVAL;
    if (a->service)
        q.service = a->service;
    t->grpc_call = rpc_client_call(t->grpc, &check, &q.base, t->timeout_ms, on_grpc, t);
    return 0;
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
    t->deadline = now_ms() + t->timeout_ms;
    loop_timer_init(&t->timer, k->loop, "probe", on_timer, t);
    if (spec->exec)
        start_exec(t, target, spec->exec);
    else if (spec->http_get)
        code = start_http(t, target, spec->http_get, &err);
    else if (spec->tcp_socket)
        code = start_tcp(t, target, spec->tcp_socket, &err);
    else if (spec->grpc)
        code = start_grpc(t, target, spec->grpc, &err);
    else
        code = error_set(&err, -EINVAL, "the probe has no handler");
    if (code < 0)
        fail_later(t, error_text(&err));
    return t;
}
