/* Requests passed on to nodes and pods; see proxy.h. */
#include "apiserver/proxy.h"

#include <string.h>

#include "apiserver/kubelet_proxy.h"
#include "apiserver/reply.h"
#include "base/json.h"
#include "kube/status.h"
#include "net/http_client.h"

#define PENDING_MAX     (256u << 10)
#define DIAL_TIMEOUT_MS 10000
#define STALL_MS        600000 /* without a byte of the answer */

struct proxy_op {
    struct request *r;
    struct proxy_target target;
    bool node;
    char *url;
    struct http_headers headers;
    struct http_call *call;
    bool paused;
};

static void op_free(void *p)
{
    struct proxy_op *op = p;
    (void)http_call_cancel(op->call);
    proxy_target_done(&op->target);
    http_headers_done(&op->headers);
    free(op->url);
    free(op);
}

bool proxy_serves(const struct request_info *info)
{
    return str_eq(info->subresource, "proxy") && !*info->group &&
           (str_eq(info->resource, "nodes") || str_eq(info->resource, "pods"));
}

/* RFC 9110 section 7.6.1: what is about one connection only; and what frames a body, which each
 * side does itself. */
static bool is_of_connection(const struct http_headers *h, const char *name)
{
    static const char *const names[] = {"Connection",
                                        "Keep-Alive",
                                        "Proxy-Connection",
                                        "Proxy-Authenticate",
                                        "Proxy-Authorization",
                                        "TE",
                                        "Trailer",
                                        "Transfer-Encoding",
                                        "Upgrade",
                                        "Content-Length"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!strcasecmp(names[i], name))
            return true;
    return http_headers_has_token(h, "Connection", name);
}

/* What says who asks is ours to know. */
static bool is_of_client(const char *name)
{
    return !strcasecmp(name, "Authorization") || !strcasecmp(name, "Cookie") ||
           !strcasecmp(name, "Host") || !strcasecmp(name, "Expect") ||
           !strncasecmp(name, "Impersonate-", strlen("Impersonate-")) ||
           !strncasecmp(name, "X-Remote-", strlen("X-Remote-")) ||
           !strncasecmp(name, "X-Forwarded-", strlen("X-Forwarded-"));
}

/* ---- the answer ---- */

/* A redirect within what is behind us stays there. */
static void add_location(struct proxy_op *op, const char *to)
{
    const char *path = http_exchange_path(op->r->x);
    bool within = to[0] == '/' && to[1] != '/';
    _cleanup_free_ char *text =
        str_printf("%.*s%s", within ? (int)(proxy_rest(path, !op->node) - path) : 0, path, to);
    http_exchange_add_header(op->r->x, "Location", text);
}

static void on_headers(struct http_call *call, const struct http_response *response, void *arg)
{
    struct proxy_op *op = arg;
    const char *type = NULL;
    (void)call;
    for (size_t i = 0; i < response->headers->count; i++) {
        const struct http_header *h = &response->headers->items[i];
        if (!strcasecmp(h->name, "Content-Type"))
            type = h->value;
        else if (!strcasecmp(h->name, "Location"))
            add_location(op, h->value);
        else if (!is_of_connection(response->headers, h->name) && strcasecmp(h->name, "Date") != 0)
            http_exchange_add_header(op->r->x, h->name, h->value);
    }
    http_exchange_begin(op->r->x, response->status, type, -1);
}

static void on_drain(struct http_exchange *x, void *arg)
{
    struct proxy_op *op = arg;
    (void)x;
    if (op->paused && op->call) {
        op->paused = false;
        http_call_resume(op->call);
    }
}

static void on_data(struct http_call *call, const void *data, size_t len, void *arg)
{
    struct proxy_op *op = arg;
    http_exchange_write(op->r->x, data, len);
    if (http_exchange_pending(op->r->x) > PENDING_MAX) {
        op->paused = true;
        http_call_pause(call);
    }
}

static void reply_unreachable(struct proxy_op *op, const struct error *err)
{
    _cleanup_free_ char *shown = str_ndup(op->url, strcspn(op->url, "?"));
    reply_status(op->r, status_unavailable("error trying to reach %s: %s", shown, error_text(err)));
}

static void on_end(struct http_call *call, const struct error *err, void *arg)
{
    struct proxy_op *op = arg;
    struct request *r = op->r;
    (void)call;
    op->call = NULL;
    if (!http_exchange_begun(r->x)) {
        reply_unreachable(op, err);
        return;
    }
    if (err)
        http_exchange_abort(r->x);
    else
        http_exchange_end(r->x);
    request_free(r);
}

/* ---- the request ---- */
static void send_on(struct proxy_op *op)
{
    static const struct http_stream_handler handler = {
        .on_headers = on_headers, .on_data = on_data, .on_end = on_end};
    struct request *r = op->r;
    const struct http_headers *from = http_exchange_headers(r->x);
    const struct tls_client_config kubelet = kubelet_tls(r->srv->kubelets);
    const struct tls_client_config pod = {.insecure = true};
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < from->count; i++)
        if (!is_of_connection(from, from->items[i].name) && !is_of_client(from->items[i].name))
            http_headers_add(&op->headers, from->items[i].name, from->items[i].value);
    http_headers_set(&op->headers, "X-Forwarded-For", http_exchange_peer(r->x)->address);
    const struct http_request request = {.method = http_exchange_method(r->x),
                                         .url = op->url,
                                         .headers = &op->headers,
                                         .body = r->body_len ? r->body : NULL,
                                         .body_len = r->body_len,
                                         .tls = op->node ? &kubelet : &pod,
                                         .connect_timeout_ms = DIAL_TIMEOUT_MS,
                                         .stall_timeout_ms = STALL_MS};
    http_exchange_on_drain(r->x, PENDING_MAX / 4, on_drain, op);
    if (http_client_stream(r->srv->kubelets->http, &request, &handler, op, &op->call, &err) < 0)
        reply_unreachable(op, &err);
}

static void on_object(void *arg, int code, const struct store_range_result *result,
                      const struct error *err)
{
    struct proxy_op *op = arg;
    struct request *r = op->r;
    json_t *status = NULL;
    struct error bad = ERROR_INIT;
    r->call = NULL;
    if (code < 0) {
        reply_store_error(r, code, err);
        return;
    }
    if (code || !result->n) {
        reply_status(r, status_not_found(&r->route->about, op->target.name));
        return;
    }
    _cleanup_json_ json_t *object = json_parse(result->kvs[0].value, result->kvs[0].len, &bad);
    if (!object) {
        reply_status(r, status_internal_error("%s", error_text(&bad)));
        return;
    }
    _cleanup_free_ char *base = proxy_base(object, &op->target, op->node, &status);
    if (!base) {
        reply_status(r, status);
        return;
    }
    const char *query = http_exchange_query_string(r->x);
    op->url = str_printf("%s%s%s%s", base, proxy_rest(http_exchange_path(r->x), !op->node),
                         *query ? "?" : "", query);
    send_on(op);
}

/* Relative links in what a client is shown need the slash. */
static void redirect(struct request *r)
{
    const char *query = http_exchange_query_string(r->x);
    _cleanup_free_ char *to =
        str_printf("%s/%s%s", http_exchange_path(r->x), *query ? "?" : "", query);
    http_exchange_add_header(r->x, "Location", to);
    http_exchange_reply(r->x, 301, NULL, NULL, 0);
    request_free(r);
}

void verb_proxy(struct request *r)
{
    const char *method = http_exchange_method(r->x);
    bool node = str_eq(r->info.resource, "nodes");
    const char *rest = r->info.watch ? NULL : proxy_rest(http_exchange_path(r->x), !node);
    struct proxy_target target;
    if (!rest) {
        reply_status(r, status_method_not_allowed(&r->route->about, method));
        return;
    }
    if (http_exchange_header(r->x, "Upgrade")) {
        reply_status(r, status_bad_request("%s/proxy does not carry upgraded connections",
                                           r->info.resource));
        return;
    }
    if (proxy_target_parse(r->info.name, &target) < 0) {
        reply_status(r, status_bad_request("invalid %s request \"%.200s\"", node ? "node" : "pod",
                                           r->info.name));
        return;
    }
    if (!*rest && (str_eq(method, "GET") || str_eq(method, "HEAD"))) {
        proxy_target_done(&target);
        redirect(r);
        return;
    }
    struct proxy_op *op = mem_zalloc(sizeof(*op));
    op->r = r;
    op->node = node;
    op->target = target;
    r->op = op;
    r->op_free = op_free;
    _cleanup_free_ char *key = route_key(r->route, r->info.namespace_, target.name);
    const struct store_range range = {.key = key};
    r->call = store_range(r->srv->store, &range, on_object, op);
}
