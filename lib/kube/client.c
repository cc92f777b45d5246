/* A Kubernetes API client over lib/net/http_client; see client.h. */
#include "kube/client.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "net/http_client.h"

#define ANSWER_MAX  ((size_t)64 << 20)
#define REFUSAL_MAX ((size_t)64 << 10)
#define DEFAULT_MS  30000

struct kube_client {
    struct loop *loop;
    struct http_client *http;
    struct kubeconfig config;
    struct tls_client_config tls;
    char *user_agent;
    char *suspended; /* why nothing is sent, or NULL */
    struct list calls, streams;
};

struct kube_call {
    struct list link;
    struct kube_client *client;
    struct http_call *http;
    struct loop_deferred failed; /* reports what failed before anything was sent */
    struct error error;
    kube_cb cb;
    void *arg;
};

struct kube_stream {
    struct list link;
    struct kube_client *client;
    struct http_call *http;
    struct loop_deferred failed;
    struct error error;
    int status;
    struct strbuf refusal; /* body of an answer that is no 2xx */
    const struct kube_stream_handler *handler;
    void *arg;
};

static char *copy(const char *s)
{
    return str_dup(s);
}

int kube_client_new(struct kube_client **ret, struct loop *loop, const struct kubeconfig *config,
                    const char *user_agent, struct error *err)
{
    struct kube_client *c = mem_zalloc(sizeof(*c));
    c->loop = loop;
    c->http = http_client_new(loop);
    c->config = (struct kubeconfig){.server = copy(config->server),
                                    .ca_pem = copy(config->ca_pem),
                                    .cert_pem = copy(config->cert_pem),
                                    .key_pem = copy(config->key_pem),
                                    .cert_file = copy(config->cert_file),
                                    .token = copy(config->token),
                                    .tls_server_name = copy(config->tls_server_name),
                                    .namespace = copy(config->namespace),
                                    .context = copy(config->context),
                                    .cluster = copy(config->cluster),
                                    .user = copy(config->user),
                                    .insecure = config->insecure};
    c->tls = (struct tls_client_config){.ca_pem = c->config.ca_pem,
                                        .cert_pem = c->config.cert_pem,
                                        .key_pem = c->config.key_pem,
                                        .server_name = c->config.tls_server_name,
                                        .insecure = c->config.insecure};
    c->user_agent = str_printf("%s/%s", user_agent, CORACLE_VERSION);
    list_init(&c->calls);
    list_init(&c->streams);
    SSL_CTX *probe = NULL; /* a bad certificate is told now, not at every call */
    int r = tls_client_context(&c->tls, &probe, err);
    SSL_CTX_free(probe);
    if (r < 0) {
        (void)kube_client_free(c);
        return error_prefix(err, r, "credentials for %s", config->server);
    }
    *ret = c;
    return 0;
}

struct loop *kube_client_loop(struct kube_client *client)
{
    return client->loop;
}

const struct kubeconfig *kube_client_config(const struct kube_client *client)
{
    return &client->config;
}

const struct tls_client_config *kube_client_tls(const struct kube_client *client)
{
    return &client->tls;
}

int kube_client_use_certificate(struct kube_client *c, const char *cert_pem, const char *key_pem,
                                struct error *err)
{
    struct tls_client_config tls = c->tls;
    tls.cert_pem = cert_pem;
    tls.key_pem = key_pem;
    SSL_CTX *probe = NULL;
    int r = tls_client_context(&tls, &probe, err);
    SSL_CTX_free(probe);
    if (r < 0)
        return r;
    free(c->config.cert_pem);
    OPENSSL_cleanse(c->config.key_pem, c->config.key_pem ? strlen(c->config.key_pem) : 0);
    free(c->config.key_pem);
    free(c->config.token);
    c->config.token = NULL;
    c->tls.cert_pem = c->config.cert_pem = copy(cert_pem);
    c->tls.key_pem = c->config.key_pem = copy(key_pem);
    http_client_forget_connections(c->http);
    free(c->suspended);
    c->suspended = NULL;
    return 0;
}

void kube_client_forget_connections(struct kube_client *c)
{
    http_client_forget_connections(c->http);
}

void kube_client_suspend(struct kube_client *c, const char *why)
{
    free(c->suspended);
    c->suspended = copy(why);
}

static void call_free(struct kube_call *call)
{
    list_remove(&call->link);
    loop_deferred_done(&call->failed);
    free(call);
}

static void stream_done(struct kube_stream *s)
{
    list_remove(&s->link);
    loop_deferred_done(&s->failed);
    strbuf_done(&s->refusal);
    free(s);
}

struct kube_client *kube_client_free(struct kube_client *c)
{
    if (!c)
        return NULL;
    LIST_FOR_EACH(l, &c->calls) {
        kube_call_cancel(LIST_ENTRY(l, struct kube_call, link));
    }
    LIST_FOR_EACH(l, &c->streams) {
        kube_stream_cancel(LIST_ENTRY(l, struct kube_stream, link));
    }
    http_client_free(c->http);
    kubeconfig_done(&c->config);
    free(c->user_agent);
    free(c->suspended);
    free(c);
    return NULL;
}

/* Fills @result from an answer. @parsed holds the reference on the body. */
static void make_result(struct kube_result *result, json_t **parsed, char *message, size_t size,
                        int status, const char *body, size_t len)
{
    *parsed = len && (body[0] == '{' || body[0] == '[') ? json_parse(body, len, NULL) : NULL;
    *result = (struct kube_result){
        .status = status, .body = *parsed, .text = body, .text_len = len, .reason = ""};
    if (status >= 200 && status < 300)
        return;
    const char *text = json_path_string(*parsed, "message");
    const char *reason = json_path_string(*parsed, "reason");
    if (text)
        (void)snprintf(message, size, "%s", text);
    else
        (void)snprintf(message, size, "the server answered %d %s%s%.*s", status,
                       http_status_text(status), len ? ": " : "", (int)(len > 200 ? 200 : len),
                       body);
    result->error = message;
    result->reason = reason ? reason : "";
}

static void on_answer(const struct http_response *response, const struct error *err, void *arg)
{
    struct kube_call *call = arg;
    struct kube_result result = {.reason = "", .text = ""};
    json_t *parsed = NULL;
    char message[ERROR_TEXT_MAX];
    call->http = NULL;
    if (response) {
        make_result(&result, &parsed, message, sizeof(message), response->status, response->body,
                    response->body_len);
    } else {
        result.error = error_text(err);
        result.failure = err->code;
    }
    kube_cb cb = call->cb;
    void *cb_arg = call->arg;
    call_free(call);
    if (cb)
        cb(&result, cb_arg);
    json_decref(parsed);
}

static void on_failed(void *arg)
{
    struct kube_call *call = arg;
    struct error err = call->error;
    on_answer(NULL, &err, call);
}

static void add_common_headers(const struct kube_client *c, const char *accept,
                               struct http_headers *h)
{
    http_headers_add(h, "Accept", accept ? accept : "application/json");
    http_headers_add(h, "User-Agent", c->user_agent);
}

static bool is_suspended(const struct kube_client *c, struct error *err)
{
    return c->suspended && error_set(err, -EAGAIN, "%s", c->suspended) < 0;
}

struct kube_call *kube_request_as(struct kube_client *client, const char *method, const char *path,
                                  const char *accept, const char *content_type, const json_t *body,
                                  uint64_t timeout_ms, kube_cb cb, void *arg)
{
    struct kube_call *call = mem_zalloc(sizeof(*call));
    *call = (struct kube_call){.client = client, .cb = cb, .arg = arg};
    list_append(&client->calls, &call->link);
    loop_deferred_init(&call->failed, client->loop, on_failed, call);
    _cleanup_free_ char *url = str_printf("%s%s", client->config.server, path);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_http_headers_ struct http_headers headers = HTTP_HEADERS_INIT;
    add_common_headers(client, accept, &headers);
    if (body) {
        json_encode(body, &text);
        http_headers_add(&headers, "Content-Type",
                         content_type ? content_type : "application/json");
    }
    struct http_request request = {.method = method,
                                   .url = url,
                                   .headers = &headers,
                                   .body = body ? text.data : NULL,
                                   .body_len = text.len,
                                   .tls = &client->tls,
                                   .bearer_token = client->config.token,
                                   .timeout_ms = timeout_ms ? timeout_ms : DEFAULT_MS};
    if (is_suspended(client, &call->error) ||
        http_client_call(client->http, &request, ANSWER_MAX, on_answer, call, &call->http,
                         &call->error) < 0)
        loop_defer(&call->failed);
    return call;
}

struct kube_call *kube_request(struct kube_client *client, const char *method, const char *path,
                               const char *content_type, const json_t *body, uint64_t timeout_ms,
                               kube_cb cb, void *arg)
{
    return kube_request_as(client, method, path, NULL, content_type, body, timeout_ms, cb, arg);
}

void kube_call_cancel(struct kube_call *call)
{
    if (!call)
        return;
    http_call_cancel(call->http);
    call_free(call);
}

struct kube_call *kube_get(struct kube_client *c, const char *path, kube_cb cb, void *arg)
{
    return kube_request(c, "GET", path, NULL, NULL, 0, cb, arg);
}

struct kube_call *kube_create(struct kube_client *c, const char *path, const json_t *body,
                              kube_cb cb, void *arg)
{
    return kube_request(c, "POST", path, NULL, body, 0, cb, arg);
}

struct kube_call *kube_replace(struct kube_client *c, const char *path, const json_t *body,
                               kube_cb cb, void *arg)
{
    return kube_request(c, "PUT", path, NULL, body, 0, cb, arg);
}

struct kube_call *kube_patch(struct kube_client *c, const char *path, const char *patch_type,
                             const json_t *patch, kube_cb cb, void *arg)
{
    return kube_request(c, "PATCH", path, patch_type, patch, 0, cb, arg);
}

struct kube_call *kube_delete(struct kube_client *c, const char *path, const json_t *options,
                              kube_cb cb, void *arg)
{
    return kube_request(c, "DELETE", path, NULL, options, 0, cb, arg);
}

/* ---- streams ---- */

static bool is_2xx(int status)
{
    return status >= 200 && status < 300;
}

static void on_stream_headers(_unused_ struct http_call *http, const struct http_response *response,
                              void *arg)
{
    struct kube_stream *s = arg;
    s->status = response->status;
    if (is_2xx(s->status) && s->handler->on_open)
        s->handler->on_open(s->arg);
}

static void on_stream_data(_unused_ struct http_call *http, const void *data, size_t len, void *arg)
{
    struct kube_stream *s = arg;
    if (is_2xx(s->status))
        s->handler->on_data(data, len, s->arg);
    else if (s->refusal.len + len <= REFUSAL_MAX)
        strbuf_add(&s->refusal, data, len);
}

static void on_stream_end(_unused_ struct http_call *http, const struct error *err, void *arg)
{
    struct kube_stream *s = arg;
    struct kube_result result = {.reason = "", .text = "", .status = s->status};
    json_t *parsed = NULL;
    char message[ERROR_TEXT_MAX];
    s->http = NULL;
    if (err) {
        result.error = error_text(err);
        result.failure = err->code;
    } else if (!is_2xx(s->status)) {
        make_result(&result, &parsed, message, sizeof(message), s->status, strbuf_text(&s->refusal),
                    s->refusal.len);
    }
    const struct kube_stream_handler *handler = s->handler;
    void *handler_arg = s->arg;
    list_remove(&s->link);
    handler->on_end(&result, handler_arg);
    json_decref(parsed);
    stream_done(s);
}

static void on_stream_failed(void *arg)
{
    struct kube_stream *s = arg;
    on_stream_end(NULL, &s->error, s);
}

struct kube_stream *kube_stream_as(struct kube_client *client, const char *path, const char *accept,
                                   const struct kube_stream_handler *handler, void *arg)
{
    static const struct http_stream_handler http_handler = {
        .on_headers = on_stream_headers, .on_data = on_stream_data, .on_end = on_stream_end};
    struct kube_stream *s = mem_zalloc(sizeof(*s));
    *s = (struct kube_stream){
        .client = client, .handler = handler, .arg = arg, .refusal = STRBUF_INIT};
    list_append(&client->streams, &s->link);
    loop_deferred_init(&s->failed, client->loop, on_stream_failed, s);
    _cleanup_free_ char *url = str_printf("%s%s", client->config.server, path);
    _cleanup_http_headers_ struct http_headers headers = HTTP_HEADERS_INIT;
    add_common_headers(client, accept, &headers);
    struct http_request request = {
        .url = url, .headers = &headers, .tls = &client->tls, .bearer_token = client->config.token};
    if (is_suspended(client, &s->error) ||
        http_client_stream(client->http, &request, &http_handler, s, &s->http, &s->error) < 0)
        loop_defer(&s->failed);
    return s;
}

struct kube_stream *kube_stream(struct kube_client *client, const char *path,
                                const struct kube_stream_handler *handler, void *arg)
{
    return kube_stream_as(client, path, NULL, handler, arg);
}

void kube_stream_cancel(struct kube_stream *s)
{
    if (!s)
        return;
    http_call_cancel(s->http);
    stream_done(s);
}

/* ---- paths ---- */

char *kube_path(const char *api, const char *ns, const char *plural, const char *name,
                const char *sub)
{
    struct strbuf b = STRBUF_INIT;
    strbuf_addf(&b, "%s/%s", strchr(api, '/') ? "/apis" : "/api", api);
    if (ns) {
        strbuf_adds(&b, "/namespaces/");
        http_percent_encode(ns, NULL, &b);
    }
    strbuf_addf(&b, "/%s", plural);
    if (name) {
        strbuf_addc(&b, '/');
        http_percent_encode(name, NULL, &b);
    }
    if (sub)
        strbuf_addf(&b, "/%s", sub);
    return strbuf_take(&b);
}

char *kube_key(const json_t *object)
{
    const char *ns = json_path_string(object, "metadata.namespace");
    const char *name = json_path_string(object, "metadata.name");
    if (ns && *ns)
        return str_printf("%s/%s", ns, name ? name : "");
    return str_dup(name ? name : "");
}
