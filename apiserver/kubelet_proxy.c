/* log, exec, attach and portforward on their way to a kubelet; see kubelet_proxy.h. */
#include "apiserver/kubelet_proxy.h"

#include <errno.h>
#include <string.h>

#include "apiserver/reply.h"
#include "base/json.h"
#include "base/log.h"
#include "kube/meta.h"
#include "kube/status.h"
#include "net/http_client.h"
#include "net/remote.h"
#include "net/upgrade.h"

#define LOG_PENDING_MAX    (256u << 10)
#define REFUSAL_MAX        (16u << 10)
#define DIAL_TIMEOUT_MS    10000
#define UPGRADE_TIMEOUT_MS 30000

struct proxy_op {
    struct request *r;
    json_t *pod;
    char *url;
    struct http_call *call;
    struct upgrade *upgrade;
    struct remote_relay_request relay;
    struct remote_ports ports;
    const struct remote_protocol *protocol; /* of a client to be relayed */
    struct strbuf refusal;                  /* of a log: the body of an answer other than 200 */
    int status;
    bool paused;
};

/* An upgraded connection under way: nobody's request any more. */
struct tunnel {
    struct list entry;
    struct splice *splice; /* or */
    struct remote_relay *relay;
};

static void proxy_op_free(void *p)
{
    struct proxy_op *op = p;
    (void)http_call_cancel(op->call);
    (void)upgrade_cancel(op->upgrade);
    json_decref(op->pod);
    strbuf_done(&op->refusal);
    free(op->url);
    free(op);
}

bool kubelet_proxy_serves(const char *subresource)
{
    return str_eq(subresource, "log") || str_eq(subresource, "exec") ||
           str_eq(subresource, "attach") || str_eq(subresource, "portforward");
}

void kubelet_access_done(struct kubelet_access *access)
{
    LIST_FOR_EACH(entry, &access->tunnels) {
        struct tunnel *t = LIST_ENTRY(entry, struct tunnel, entry);
        (void)splice_free(t->splice);
        (void)remote_relay_free(t->relay);
        list_remove(&t->entry);
        free(t);
    }
    access->http = http_client_free(access->http);
}

struct tls_client_config kubelet_tls(const struct kubelet_access *a)
{
    return (struct tls_client_config){.ca_file = a->ca,
                                      .cert_file = a->client_cert,
                                      .key_file = a->client_key,
                                      .insecure = !a->ca};
}

/* What a kubelet that refuses says, as a Status: its own one, or its text. */
static json_t *refusal_status(int code, const char *body, size_t len)
{
    json_t *status = json_parse(body, len, NULL);
    if (str_eq(meta_kind(status), "Status"))
        return status;
    json_decref(status);
    static const struct {
        int code;
        const char *reason;
    } reasons[] = {{400, "BadRequest"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "NotFound"},
                   {405, "MethodNotAllowed"}};
    const char *reason = "InternalError";
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        if (reasons[i].code == code)
            reason = reasons[i].reason;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    while (len && strchr("\r\n ", body[len - 1]))
        len--;
    /* A message is text: bytes that are not are dropped. */
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)body[i] >= ' ' || body[i] == '\n')
            strbuf_addc(&text, body[i]);
    _cleanup_json_ json_t *message =
        json_text(text.len ? strbuf_text(&text) : "the kubelet refused the request");
    return status_new(code >= 400 ? code : 500, reason, json_string_value(message));
}

static json_t *transport_status(const struct proxy_op *op, const struct error *err)
{
    _cleanup_free_ char *shown = str_ndup(op->url, strcspn(op->url, "?"));
    return status_internal_error("cannot reach the kubelet at %s: %s", shown, error_text(err));
}

/* ---- logs ---- */

static void on_log_headers(struct http_call *call, const struct http_response *response, void *arg)
{
    struct proxy_op *op = arg;
    (void)call;
    op->status = response->status;
    if (response->status == 200) {
        http_exchange_begin(op->r->x, 200, "text/plain", -1);
        http_exchange_set_patient(op->r->x); /* somebody may read this in a pager */
    }
}

static void on_log_drain(struct http_exchange *x, void *arg)
{
    struct proxy_op *op = arg;
    (void)x;
    if (op->paused && op->call) {
        op->paused = false;
        http_call_resume(op->call);
    }
}

static void on_log_data(struct http_call *call, const void *data, size_t len, void *arg)
{
    struct proxy_op *op = arg;
    if (op->status != 200) {
        size_t room = REFUSAL_MAX - op->refusal.len;
        strbuf_add(&op->refusal, data, len < room ? len : room);
        return;
    }
    http_exchange_write(op->r->x, data, len);
    if (http_exchange_pending(op->r->x) > LOG_PENDING_MAX) {
        op->paused = true;
        http_call_pause(call);
    }
}

static void on_log_end(struct http_call *call, const struct error *err, void *arg)
{
    struct proxy_op *op = arg;
    struct request *r = op->r;
    (void)call;
    op->call = NULL;
    if (http_exchange_begun(r->x)) {
        if (err)
            http_exchange_abort(r->x);
        else
            http_exchange_end(r->x);
        request_free(r);
    } else if (err) {
        reply_status(r, transport_status(op, err));
    } else {
        reply_status(r, refusal_status(op->status, strbuf_text(&op->refusal), op->refusal.len));
    }
}

static void start_log(struct proxy_op *op)
{
    static const struct http_stream_handler handler = {
        .on_headers = on_log_headers, .on_data = on_log_data, .on_end = on_log_end};
    struct kubelet_access *access = op->r->srv->kubelets;
    const struct tls_client_config tls = kubelet_tls(access);
    const struct http_request request = {
        .url = op->url, .tls = &tls, .connect_timeout_ms = DIAL_TIMEOUT_MS};
    struct error err = ERROR_INIT;
    http_exchange_on_drain(op->r->x, LOG_PENDING_MAX / 4, on_log_drain, op);
    if (http_client_stream(access->http, &request, &handler, op, &op->call, &err) < 0)
        reply_status(op->r, transport_status(op, &err));
}

/* ---- upgraded connections ---- */

static void on_tunnel_end(const struct error *err, void *arg)
{
    struct tunnel *t = arg;
    if (err)
        log_debug("tunnel to a kubelet ended", "error", error_text(err), NULL);
    list_remove(&t->entry);
    free(t);
}

static void on_upgraded(struct stream *stream, const struct upgrade_response *response,
                        const struct error *err, void *arg)
{
    struct proxy_op *op = arg;
    struct request *r = op->r;
    struct apiserver *srv = r->srv;
    op->upgrade = NULL;
    if (!stream) {
        reply_status(r, response
                            ? refusal_status(response->status, response->body, response->body_len)
                            : transport_status(op, err));
        return;
    }
    struct stream *client = NULL;
    struct tunnel *t = mem_zalloc(sizeof(*t));
    list_append(&srv->kubelets->tunnels, &t->entry);
    if (op->protocol) {
        struct error bad = ERROR_INIT;
        if (remote_relay_start(srv->loop, r->x, &op->relay, op->protocol, stream, response,
                               on_tunnel_end, t, &t->relay, &bad) < 0)
            on_tunnel_end(&bad, t);
    } else if (http_exchange_upgrade_as(r->x, response->headers, &client) == 0) {
        t->splice = stream_splice(srv->loop, client, stream, on_tunnel_end, t);
    } else {
        (void)stream_free(stream);
        on_tunnel_end(NULL, t);
        reply_status(r, status_bad_request("the connection cannot be upgraded"));
        return;
    }
    request_free(r);
}

/* The client's headers that the kubelet must see. */
static void forward_headers(const struct http_exchange *x, struct http_headers *out)
{
    static const char *const names[] = {"X-Stream-Protocol-Version", "User-Agent"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *value;
        for (size_t n = 0; (value = http_headers_get_nth(http_exchange_headers(x), names[i], n));
             n++)
            http_headers_add(out, names[i], value);
    }
}

/* Looks at what the client speaks. On failure the exchange has been replied to. */
static int negotiate(struct proxy_op *op, struct error *err)
{
    const struct http_query *q = http_exchange_query(op->r->x);
    if (!str_eq(op->r->info.subresource, "portforward")) {
        /* kubelet_url() has refused what asks for nothing. */
        (void)remote_options_from_query(q, &op->relay.command, NULL);
    } else {
        int r = remote_ports_from_query(q, "ports", &op->ports, err);
        if (r < 0) {
            http_exchange_replyf(op->r->x, 400, "%s\n", error_text(err));
            return r;
        }
        op->relay.ports = &op->ports;
    }
    return remote_relay_negotiate(op->r->x, &op->relay, &op->protocol, err);
}

static void start_upgrade(struct proxy_op *op)
{
    struct request *r = op->r;
    struct error err = ERROR_INIT;
    if (negotiate(op, &err) < 0) {
        log_debug("an upgrade was refused", "error", error_text(&err), NULL);
        request_free(r);
        return;
    }
    const struct tls_client_config tls = kubelet_tls(r->srv->kubelets);
    _cleanup_http_headers_ struct http_headers headers = HTTP_HEADERS_INIT;
    forward_headers(r->x, &headers);
    struct upgrade_request request = {
        .method = "POST",
        .url = op->url,
        .headers = &headers,
        .protocol = "SPDY/3.1",
        .tls = &tls,
        .timeout_ms = UPGRADE_TIMEOUT_MS,
    };
    if (op->protocol)
        remote_relay_request(op->protocol, &headers, &request);
    if (upgrade_start(r->srv->loop, &request, on_upgraded, op, &op->upgrade, &err) < 0)
        reply_status(r, transport_status(op, &err));
}

/* ---- finding the kubelet ---- */

static void on_node(void *arg, int code, const struct store_range_result *result,
                    const struct error *err)
{
    struct proxy_op *op = arg;
    struct request *r = op->r;
    r->call = NULL;
    const char *node_name = json_path_string(op->pod, "spec.nodeName");
    if (code < 0) {
        reply_store_error(r, code, err);
        return;
    }
    if (code || !result->n) {
        static const struct status_resource about = {
            .group = "", .resource = "nodes", .kind = "Node"};
        reply_status(r, status_not_found(&about, node_name));
        return;
    }
    _cleanup_json_ json_t *node = json_parse(result->kvs[0].value, result->kvs[0].len, NULL);
    json_t *status = NULL;
    op->url = kubelet_url(node, op->pod, r->info.subresource, http_exchange_query(r->x), &status);
    if (!op->url)
        reply_status(r, status);
    else if (str_eq(r->info.subresource, "log"))
        start_log(op);
    else
        start_upgrade(op);
}

static void on_pod(void *arg, int code, const struct store_range_result *result,
                   const struct error *err)
{
    struct proxy_op *op = arg;
    struct request *r = op->r;
    r->call = NULL;
    if (code < 0) {
        reply_store_error(r, code, err);
        return;
    }
    if (code || !result->n) {
        reply_not_found(r);
        return;
    }
    struct error bad = ERROR_INIT;
    op->pod = json_parse(result->kvs[0].value, result->kvs[0].len, &bad);
    if (!op->pod) {
        reply_status(r, status_internal_error("%s", error_text(&bad)));
        return;
    }
    const char *node = json_path_string(op->pod, "spec.nodeName");
    if (!node || !*node || strchr(node, '/')) {
        reply_status(r, status_bad_request("pod %s does not have a host assigned", r->info.name));
        return;
    }
    _cleanup_free_ char *key = str_printf("/registry/minions/%s", node);
    const struct store_range range = {.key = key};
    r->call = store_range(r->srv->store, &range, on_node, op);
}

enum verb kubelet_proxy_verb(const char *subresource, enum verb verb)
{
    bool get = verb == VERB_GET || verb == VERB_WATCH;
    if (str_eq(subresource, "log"))
        return get ? VERB_GET : VERB_NONE;
    return get || verb == VERB_CREATE ? VERB_CREATE : VERB_NONE;
}

static json_t *check(const struct request *r)
{
    enum verb verb = kubelet_proxy_verb(r->info.subresource, r->verb);
    if (verb == VERB_NONE)
        return status_method_not_allowed(&r->route->about, http_exchange_method(r->x));
    if (verb == VERB_CREATE && !http_exchange_wants_upgrade(r->x, "SPDY/3.1") &&
        !http_exchange_wants_upgrade(r->x, "websocket"))
        return status_bad_request("pods/%s needs a connection upgraded to SPDY/3.1 or websocket",
                                  r->info.subresource);
    return NULL;
}

void kubelet_proxy_start(struct request *r)
{
    json_t *status = check(r);
    if (status) {
        reply_status(r, status);
        return;
    }
    struct proxy_op *op = mem_zalloc(sizeof(*op));
    op->r = r;
    r->op = op;
    r->op_free = proxy_op_free;
    _cleanup_free_ char *key = route_key(r->route, r->info.namespace_, r->info.name);
    const struct store_range range = {.key = key};
    r->call = store_range(r->srv->store, &range, on_pod, op);
}
