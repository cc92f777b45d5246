/*
 * Registry requests; see registry.h.
 *
 * A request is a series of HTTP calls: to the registry, after a 401 to the token service, to the
 * registry again, after a redirect to storage. Each step starts the next from the end of the one
 * before. The token belongs to the repository and serves all later requests.
 */
#include "cri/image/registry.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/log.h"
#include "cri/image/challenge.h"
#include "cri/image/registry_private.h"

#define REDIRECTS_MAX    5
#define ERROR_BODY_MAX   4096
#define STALL_TIMEOUT_MS 30000
#define WAITS_MAX        3 /* for a registry that is busy and says for how long */
#define WAIT_SECONDS_MAX 60

/* ---- the registry ---- */

static bool listed(const struct option_list *list, const char *host)
{
    for (size_t i = 0; list && i < list->count; i++)
        if (!strcasecmp(list->items[i], host))
            return true;
    return false;
}

static bool is_this_machine(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        size_t len = strlen(names[i]);
        if (!strncmp(host, names[i], len) && (!host[len] || host[len] == ':'))
            return true;
    }
    return false;
}

/* The server is "", "registry:5000" or "https://index.docker.io/v1/". */
bool registry_auth_is_for(const struct registry_auth *auth, const char *host)
{
    const char *server = auth->server;
    if (!server || !*server)
        return true;
    const char *start = strstr(server, "://");
    start = start ? start + 3 : server;
    size_t len = strcspn(start, "/");
    static const char *const hub[] = {"docker.io", "index.docker.io", "registry-1.docker.io"};
    for (size_t i = 0; str_eq(host, "docker.io") && i < ARRAY_SIZE(hub); i++)
        if (len == strlen(hub[i]) && !strncasecmp(start, hub[i], len))
            return true;
    return len == strlen(host) && !strncasecmp(start, host, len);
}

bool registry_auth_given(const struct registry_auth *a)
{
    return (a->username && *a->username) || (a->encoded && *a->encoded) ||
           (a->identity_token && *a->identity_token) || (a->registry_token && *a->registry_token);
}

static char *text_or_null(const char *s)
{
    return s && *s ? str_dup(s) : NULL;
}

char *registry_base(const char *host, const struct option_list *insecure)
{
    bool plain = listed(insecure, host) || is_this_machine(host);
    return str_printf("%s://%s", plain ? "http" : "https",
                      str_eq(host, "docker.io") ? "registry-1.docker.io" : host);
}

struct registry *registry_new(struct loop *loop, struct http_client *http,
                              const struct registry_endpoint *endpoint)
{
    const struct registry_auth *auth = &endpoint->auth;
    struct registry *r = mem_zalloc(sizeof(*r));
    r->loop = loop;
    r->http = http;
    r->plain = !str_starts(endpoint->base, "https://");
    r->base = str_dup(endpoint->base);
    r->prefix = str_dup(endpoint->prefix);
    r->repository = str_dup(endpoint->repository);
    if (endpoint->has_tls) {
        r->has_tls = true;
        r->tls.ca_file = r->ca_file = str_dup(endpoint->tls.ca_file);
        r->tls.cert_file = r->cert_file = str_dup(endpoint->tls.cert_file);
        r->tls.key_file = r->key_file = str_dup(endpoint->tls.key_file);
        r->tls.insecure = endpoint->tls.insecure;
    }
    r->identity_token = text_or_null(auth->identity_token);
    r->basic = text_or_null(auth->encoded);
    if (!r->basic && auth->username && *auth->username) {
        _cleanup_free_ char *both =
            str_printf("%s:%s", auth->username, auth->password ? auth->password : "");
        r->basic = base64_text(both);
    }
    if (auth->registry_token && *auth->registry_token)
        r->authorization = str_printf("Bearer %s", auth->registry_token);
    return r;
}

struct registry *registry_free(struct registry *r)
{
    if (r) {
        free(r->base);
        free(r->prefix);
        free(r->repository);
        free(r->ca_file);
        free(r->cert_file);
        free(r->key_file);
        free(r->identity_token);
        free(r->basic);
        free(r->authorization);
        free(r);
    }
    return NULL;
}

/* ---- one request ---- */

static int send_call(struct registry_get *g, struct error *err);

struct registry_get *registry_cancel(struct registry_get *g)
{
    if (g) {
        g->call = http_call_cancel(g->call);
        loop_deferred_done(&g->again);
        loop_timer_done(&g->later);
        challenge_done(&g->challenge);
        strbuf_done(&g->body);
        free(g->url);
        free(g->accept);
        free(g->next);
        free(g);
    }
    return NULL;
}

static void end(struct registry_get *g, const struct error *err)
{
    struct registry_ops ops = g->ops;
    void *arg = g->arg;
    struct error copy = ERROR_INIT;
    if (err)
        copy = *err;
    ops.end(g, err ? &copy : NULL, arg);
    (void)registry_cancel(g);
}

static void on_again(void *arg)
{
    struct registry_get *g = arg;
    struct error err = ERROR_INIT;
    if (send_call(g, &err))
        end(g, &err);
}

/* Retry-After in seconds (a date is rare enough to be passed over). */
static uint64_t retry_after(const struct http_response *response)
{
    const char *field = http_headers_get(response->headers, "Retry-After");
    char *end;
    if (!field || *field < '0' || *field > '9')
        return 0;
    unsigned long long seconds = strtoull(field, &end, 10);
    return *end ? 0 : seconds > WAIT_SECONDS_MAX ? 0 : seconds ? seconds * 1000 : 1;
}

/* "manifest unknown" out of {"errors":[{"code":…,"message":…}]}, printable and short. */
static void add_reason(struct strbuf *to, const struct strbuf *body)
{
    _cleanup_json_ json_t *j = json_parse(strbuf_text(body), body->len, NULL);
    const json_t *first = json_array_get(json_object_get(j, "errors"), 0);
    const char *message = json_path_string(first, "message");
    if (!message || !*message)
        message = json_path_string(first, "code");
    if (!message)
        message = json_path_string(j, "details"); /* what token services answer */
    if (!message)
        return;
    strbuf_adds(to, ": ");
    for (size_t i = 0; i < 200 && message[i]; i++) {
        char c = message[i];
        if ((unsigned char)c < ' ' || c == 127)
            c = ' ';
        strbuf_addc(to, c);
    }
}

int registry_status_error(const char *url, int status, const struct strbuf *body, bool had_auth,
                          struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    strbuf_addf(&text, "GET %.300s: %d %s", url, status, http_status_text(status));
    add_reason(&text, body);
    if (status == 401)
        strbuf_adds(&text, had_auth ? " (the credentials were refused)"
                                    : " (it needs credentials, or the image does not exist)");
    int code = status == 401 || status == 403   ? -EACCES
               : status == 404 || status == 410 ? -ENOENT
               : status == 408 || status == 429 ? -EAGAIN
               : status >= 500 && status != 501 ? -EAGAIN
                                                : -EPROTO;
    return error_set(err, code, "%s", text.data);
}

/* Whether @url goes to the registry itself: same scheme, host and port. */
static bool is_own(const struct registry *r, const char *url)
{
    size_t len = strlen(r->base);
    return !strncasecmp(url, r->base, len) && (url[len] == '/' || !url[len] || url[len] == '?');
}

/* Where a Location field leads: absolute, or a path on the same host. NULL with @err. */
static char *redirect_target(const struct registry_get *g, const char *location, struct error *err)
{
    char *to = NULL;
    if (!location) {
        (void)error_set(err, -EPROTO, "GET %.300s: a redirect without Location", g->url);
        return NULL;
    }
    if (strncasecmp(location, "https://", 8) == 0 || strncasecmp(location, "http://", 7) == 0) {
        to = str_dup(location);
    } else if (location[0] == '/' && location[1] != '/') {
        const char *host = strstr(g->url, "://") + 3;
        to = str_printf("%.*s%s", (int)(host + strcspn(host, "/?") - g->url), g->url, location);
    }
    if (!to)
        (void)error_set(err, -EPROTO, "GET %.300s: a redirect to \"%.200s\"", g->url, location);
    else if (!g->registry->plain && strncasecmp(to, "https://", 8) != 0) {
        (void)error_set(err, -EPROTO, "GET %.300s: a redirect away from TLS, to %.200s", g->url,
                        to);
        free(to);
        to = NULL;
    }
    return to;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void on_headers(_unused_ struct http_call *call, const struct http_response *response,
                       void *arg)
{
    struct registry_get *g = arg;
    g->status = response->status;
    g->retry_after_ms =
        response->status == 429 || response->status == 503 ? retry_after(response) : 0;
    if (response->status == 200 || response->status == 206) {
        if (g->ops.head)
            g->ops.head(g, response, g->arg);
        return;
    }
    if (is_redirect(response->status)) {
        free(g->next);
        g->failure.code = 0;
        g->next = redirect_target(g, http_headers_get(response->headers, "Location"), &g->failure);
        return;
    }
    challenge_done(&g->challenge);
    for (size_t i = 0; response->status == 401; i++) {
        const char *field = http_headers_get_nth(response->headers, "WWW-Authenticate", i);
        struct challenge c;
        if (!field)
            break;
        if (challenge_parse(field, &c) || c.scheme <= g->challenge.scheme) {
            challenge_done(&c);
            continue;
        }
        challenge_done(&g->challenge);
        g->challenge = c;
    }
}

static void on_data(_unused_ struct http_call *call, const void *data, size_t len, void *arg)
{
    struct registry_get *g = arg;
    if (g->status == 200 || g->status == 206)
        g->ops.data(g, data, len, g->arg);
    else if (g->body.len + len <= ERROR_BODY_MAX)
        strbuf_add(&g->body, data, len);
}

/* The registry wants to know who we are. 0 when the request goes on. */
static int authenticate(struct registry_get *g, struct error *err)
{
    struct registry *r = g->registry;
    bool can = g->challenge.scheme == CHALLENGE_BEARER ||
               (g->challenge.scheme == CHALLENGE_BASIC && r->basic);
    if (g->authenticated || !can)
        return registry_status_error(g->url, 401, &g->body, r->basic || r->identity_token, err);
    g->authenticated = true;
    if (g->challenge.scheme == CHALLENGE_BEARER)
        return registry_fetch_token(g, err);
    free(r->authorization);
    r->authorization = str_printf("Basic %s", r->basic);
    loop_defer(&g->again);
    return 0;
}

static int next_step(struct registry_get *g, struct error *err)
{
    if (is_redirect(g->status)) {
        if (!g->next) {
            *err = g->failure;
            return err->code;
        }
        if (++g->redirects > REDIRECTS_MAX)
            return error_set(err, -EPROTO, "GET %.300s: too many redirects", g->url);
        free(g->url);
        g->url = TAKE_PTR(g->next);
        loop_defer(&g->again);
        return 0;
    }
    if (g->retry_after_ms && g->waits < WAITS_MAX) {
        g->waits++;
        loop_timer_set(&g->later, g->retry_after_ms);
        return 0;
    }
    if (g->status == 401 && is_own(g->registry, g->url))
        return authenticate(g, err);
    return registry_status_error(g->url, g->status, &g->body, g->registry->authorization != NULL,
                                 err);
}

static void on_end(_unused_ struct http_call *call, const struct error *failure, void *arg)
{
    struct registry_get *g = arg;
    struct error err = ERROR_INIT;
    g->call = NULL;
    if (failure) {
        /* A certificate that does not verify stays so; what else breaks a connection may not. */
        (void)error_set(&err, failure->code == -EPROTO ? -EPROTO : -EAGAIN, "GET %.300s: %.600s",
                        g->url, error_text(failure));
        end(g, &err);
        return;
    }
    if (g->status == 200 || g->status == 206) {
        end(g, NULL);
        return;
    }
    if (next_step(g, &err))
        end(g, &err);
}

static int send_call(struct registry_get *g, struct error *err)
{
    static const struct http_stream_handler handler = {
        .on_headers = on_headers, .on_data = on_data, .on_end = on_end};
    _cleanup_http_headers_ struct http_headers headers = HTTP_HEADERS_INIT;
    const struct registry *r = g->registry;
    g->status = 0;
    strbuf_truncate(&g->body, 0);
    http_headers_add(&headers, "User-Agent", "coracle/" CORACLE_VERSION);
    if (g->accept)
        http_headers_add(&headers, "Accept", g->accept);
    if (g->offset)
        http_headers_addf(&headers, "Range", "bytes=%llu-", (unsigned long long)g->offset);
    if (r->authorization && is_own(r, g->url))
        http_headers_add(&headers, "Authorization", r->authorization);
    struct http_request request = {
        .url = g->url, .headers = &headers, .stall_timeout_ms = STALL_TIMEOUT_MS};
    if (r->has_tls && is_own(r, g->url)) /* client certificates are the registry's alone */
        request.tls = &r->tls;
    int code = http_client_stream(r->http, &request, &handler, g, &g->call, err);
    return code ? error_prefix(err, code, "GET %.300s", g->url) : 0;
}

struct registry_get *registry_start(struct registry *registry, const char *what, const char *accept,
                                    uint64_t offset, const struct registry_ops *ops, void *arg,
                                    struct error *err)
{
    struct registry_get *g = mem_zalloc(sizeof(*g));
    g->registry = registry;
    g->ops = *ops;
    g->arg = arg;
    g->accept = str_dup(accept);
    g->offset = offset;
    g->url = str_printf("%s%s/%s/%s", registry->base, registry->prefix, registry->repository, what);
    loop_deferred_init(&g->again, registry->loop, on_again, g);
    loop_timer_init(&g->later, registry->loop, "busy registry", on_again, g);
    return send_call(g, err) ? registry_cancel(g) : g;
}

void registry_continue(struct registry_get *g, const struct error *err)
{
    if (err)
        end(g, err);
    else
        loop_defer(&g->again);
}
