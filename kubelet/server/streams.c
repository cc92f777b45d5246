/*
 * exec, attach and port-forward: the runtime is asked for a streaming URL, the upgrade is passed on
 * to it with the client's own headers, and the two connections are spliced. A WebSocket client is
 * relayed to SPDY/3.1 instead (net/remote.h): few runtimes speak its newer protocols.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/runtime/message.h"
#include "kubelet/server/server.h"
#include "net/remote.h"
#include "net/upgrade.h"

#define WORDS_MAX 1024

struct stream_request {
    struct kubelet *k;
    struct http_exchange *x;
    struct runtime_call *call;
    struct upgrade *upgrade;
    struct remote_relay_request relay;
    struct remote_ports ports;
    const struct remote_protocol *protocol; /* NULL: passed on as it is */
};

static void stream_request_free(struct stream_request *s)
{
    runtime_cancel(s->k->runtime, &s->call);
    upgrade_cancel(s->upgrade);
    free(s);
}

static void on_gone(struct http_exchange *x, void *arg)
{
    struct stream_request *s = arg;
    http_exchange_abort(x);
    stream_request_free(s);
}

static void on_upgraded(struct stream *stream, const struct upgrade_response *response,
                        const struct error *err, void *arg)
{
    struct stream_request *s = arg;
    struct stream *client = NULL;
    s->upgrade = NULL;
    if (!response) {
        http_exchange_replyf(s->x, 502, "the runtime's streaming server: %s", error_text(err));
    } else if (!stream) {
        http_exchange_reply(s->x, response->status,
                            http_headers_get(response->headers, "Content-Type"), response->body,
                            response->body_len);
    } else if (s->protocol) {
        struct error bad = ERROR_INIT;
        if (remote_relay_start(s->k->loop, s->x, &s->relay, s->protocol, stream, response, NULL,
                               NULL, NULL, &bad) < 0)
            log_debug("a stream was not relayed", "error", error_text(&bad), NULL);
    } else if (http_exchange_upgrade_as(s->x, response->headers, &client) < 0) {
        stream_free(stream);
        http_exchange_abort(s->x);
    } else {
        (void)stream_splice(s->k->loop, client, stream, NULL, NULL);
    }
    stream_request_free(s);
}

static void connect_to(struct stream_request *s, const char *url)
{
    struct error err = ERROR_INIT;
    static const char *const hop[] = {"Host", "Authorization", "Content-Length",
                                      "Transfer-Encoding"};
    _cleanup_http_headers_ struct http_headers headers = HTTP_HEADERS_INIT;
    struct upgrade_request request = {
        .method = http_exchange_method(s->x), .url = url, .headers = &headers};
    if (s->protocol) {
        remote_relay_request(s->protocol, &headers, &request);
    } else {
        http_headers_copy(&headers, http_exchange_headers(s->x));
        for (size_t i = 0; i < ARRAY_SIZE(hop); i++)
            http_headers_remove(&headers, hop[i]);
    }
    if (upgrade_start(s->k->loop, &request, on_upgraded, s, &s->upgrade, &err) < 0) {
        http_exchange_replyf(s->x, 502, "the runtime's streaming server: %s", error_text(&err));
        stream_request_free(s);
    }
}

static void on_url(void *arg, enum rpc_status status, const char *message,
                   const ProtobufCMessage *response)
{
    struct stream_request *s = arg;
    s->call = NULL;
    if (status != RPC_OK) {
        http_exchange_replyf(s->x, status == RPC_NOT_FOUND ? 404 : 500, "%s", message);
        stream_request_free(s);
        return;
    }
    /* The three responses have the URL as their only field. */
    const char *url = response->descriptor == &runtime__v1__exec_response__descriptor
                          ? ((const Runtime__V1__ExecResponse *)(const void *)response)->url
                      : response->descriptor == &runtime__v1__attach_response__descriptor
                          ? ((const Runtime__V1__AttachResponse *)(const void *)response)->url
                          : ((const Runtime__V1__PortForwardResponse *)(const void *)response)->url;
    connect_to(s, url);
}

/* @options of a command, or @ports to be forwarded. */
static void ask(struct http_exchange *x, struct kubelet *k, enum cri_method method,
                const ProtobufCMessage *request, const struct remote_options *options,
                const struct remote_ports *ports)
{
    struct error err = ERROR_INIT;
    struct stream_request *s = mem_zalloc(sizeof(*s));
    s->k = k;
    s->x = x;
    if (options)
        s->relay.command = *options;
    if (ports) {
        s->ports = *ports;
        s->relay.ports = &s->ports;
    }
    if (remote_relay_negotiate(x, &s->relay, &s->protocol, &err) < 0) {
        log_debug("a stream was refused", "error", error_text(&err), NULL);
        free(s);
        return;
    }
    http_exchange_on_close(x, on_gone, s);
    s->call = runtime_call(k->runtime, method, request, CRI_DEADLINE_MS, on_url, s);
}

static bool wants_upgrade(struct http_exchange *x)
{
    if (http_headers_has_token(http_exchange_headers(x), "Connection", "upgrade"))
        return true;
    http_exchange_replyf(x, 400, "you must upgrade the connection (SPDY/3.1 or WebSocket)");
    return false;
}

static struct container_slot *running_container(struct http_exchange *x, const struct route *r)
{
    struct container_slot *s = wants_upgrade(x) ? route_container(x, r) : NULL;
    if (s && !slot_is_running(s)) {
        http_exchange_replyf(x, 400, "container \"%s\" is not running", slot_spec(s)->name);
        return NULL;
    }
    return s;
}

static bool read_options(struct http_exchange *x, struct remote_options *ret)
{
    struct error err = ERROR_INIT;
    if (remote_options_from_query(http_exchange_query(x), ret, &err) == 0)
        return true;
    http_exchange_replyf(x, 400, "%s", error_text(&err));
    return false;
}

void serve_exec(struct http_exchange *x, const struct route *r)
{
    const struct http_query *q = http_exchange_query(x);
    struct container_slot *s = running_container(x, r);
    struct remote_options o;
    if (!s || !read_options(x, &o))
        return;
    Runtime__V1__ExecRequest *request = message_new(&runtime__v1__exec_request__descriptor);
    request->container_id = str_dup(s->run->id);
    for (const char *word;
         request->n_cmd < WORDS_MAX && (word = http_query_get_nth(q, "command", request->n_cmd));)
        message_append_text(&request->n_cmd, &request->cmd, word);
    request->stdin = o.want_stdin;
    request->stdout = o.want_stdout;
    request->stderr = o.want_stderr;
    request->tty = o.tty;
    if (request->n_cmd)
        ask(x, r->k, CRI_EXEC, &request->base, &o, NULL);
    else
        http_exchange_replyf(x, 400, "the command is missing");
    message_free(request);
}

void serve_attach(struct http_exchange *x, const struct route *r)
{
    struct container_slot *s = running_container(x, r);
    struct remote_options o;
    if (!s || !read_options(x, &o))
        return;
    o.tty = slot_spec(s)->tty;
    o.want_stderr = o.want_stderr && !o.tty;
    Runtime__V1__AttachRequest request = RUNTIME__V1__ATTACH_REQUEST__INIT;
    request.container_id = s->run->id;
    request.stdin = o.want_stdin;
    request.stdout = o.want_stdout;
    request.stderr = o.want_stderr;
    request.tty = o.tty;
    ask(x, r->k, CRI_ATTACH, &request.base, &o, NULL);
}

void serve_port_forward(struct http_exchange *x, const struct route *r)
{
    struct pod_worker *w = wants_upgrade(x) ? route_pod(x, r) : NULL;
    if (!w)
        return;
    if (w->sandbox.state != SANDBOX_READY) {
        http_exchange_replyf(x, 400, "pod \"%s\" is not running", w->pod->meta.name);
        return;
    }
    struct error err = ERROR_INIT;
    struct remote_ports asked;
    if (remote_ports_from_query(http_exchange_query(x), "port", &asked, &err) < 0) {
        http_exchange_replyf(x, 400, "%s", error_text(&err));
        return;
    }
    int32_t ports[REMOTE_PORTS_MAX];
    Runtime__V1__PortForwardRequest request = RUNTIME__V1__PORT_FORWARD_REQUEST__INIT;
    request.pod_sandbox_id = w->sandbox.id;
    request.port = ports;
    for (; request.n_port < asked.count; request.n_port++)
        ports[request.n_port] = asked.ports[request.n_port];
    ask(x, r->k, CRI_PORT_FORWARD, &request.base, NULL, &asked);
}
