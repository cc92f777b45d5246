/* The token service of a registry: a bearer token for the repository, from basic credentials, from
 * an OAuth2 refresh token, or anonymously. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "base/json.h"
#include "cri/image/registry_private.h"

#define TOKEN_BYTES_MAX  65536
#define TOKEN_TIMEOUT_MS 30000

char *base64_text(const char *text)
{
    size_t len = strlen(text);
    char *out = mem_zalloc(4 * ((len + 2) / 3) + 1);
    (void)EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)text, (int)len);
    return out;
}

static void on_token(const struct http_response *response, const struct error *failure, void *arg)
{
    struct registry_get *g = arg;
    struct registry *r = g->registry;
    struct error err = ERROR_INIT;
    g->call = NULL;
    if (!response) {
        (void)error_set(&err, -EAGAIN, "token service %.200s: %.600s", g->challenge.realm,
                        error_text(failure));
        registry_continue(g, &err);
        return;
    }
    _cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
    strbuf_add(&body, response->body, response->body_len);
    if (response->status != 200) {
        (void)registry_status_error(g->challenge.realm, response->status, &body,
                                    r->basic || r->identity_token, &err);
        registry_continue(g, &err);
        return;
    }
    _cleanup_json_ json_t *j = json_parse(strbuf_text(&body), body.len, NULL);
    const char *token = json_path_string(j, "token");
    if (!token || !*token)
        token = json_path_string(j, "access_token");
    if (!token || !*token || !http_value_valid(token, strlen(token))) {
        (void)error_set(&err, -EPROTO, "token service %.200s: the answer holds no token",
                        g->challenge.realm);
        registry_continue(g, &err);
        return;
    }
    free(r->authorization);
    r->authorization = str_printf("Bearer %s", token);
    registry_continue(g, NULL);
}

/* Credentials leave only over TLS, unless the registry is a plain one anyway. */
static int check_realm(const struct registry_get *g, struct error *err)
{
    const char *realm = g->challenge.realm;
    bool tls = realm && !strncasecmp(realm, "https://", 8);
    bool plain = realm && !strncasecmp(realm, "http://", 7);
    if (!tls && !(plain && g->registry->plain))
        return error_set(err, -EACCES,
                         "GET %.300s: the registry names no usable token service (%.200s)", g->url,
                         realm ? realm : "no realm");
    return 0;
}

int registry_fetch_token(struct registry_get *g, struct error *err)
{
    const struct registry *r = g->registry;
    const struct challenge *c = &g->challenge;
    int code = check_realm(g, err);
    if (code)
        return code;
    _cleanup_free_ char *scope =
        c->scope ? str_dup(c->scope) : str_printf("repository:%s:pull", r->repository);
    _cleanup_http_headers_ struct http_headers headers = HTTP_HEADERS_INIT;
    http_headers_add(&headers, "User-Agent", "coracle/" CORACLE_VERSION);
    _cleanup_strbuf_ struct strbuf query = STRBUF_INIT;
    if (c->service)
        http_query_add(&query, "service", c->service);
    http_query_add(&query, "scope", scope);
    struct http_request request = {.headers = &headers, .timeout_ms = TOKEN_TIMEOUT_MS};
    _cleanup_free_ char *url = NULL;
    if (r->identity_token) {
        http_query_add(&query, "grant_type", "refresh_token");
        http_query_add(&query, "refresh_token", r->identity_token);
        http_query_add(&query, "client_id", "coracle");
        http_headers_add(&headers, "Content-Type", "application/x-www-form-urlencoded");
        request.method = "POST";
        request.body = query.data;
        request.body_len = query.len;
        request.url = c->realm;
    } else {
        if (r->basic)
            http_headers_addf(&headers, "Authorization", "Basic %s", r->basic);
        url = str_printf("%s%c%s", c->realm, strchr(c->realm, '?') ? '&' : '?', query.data);
        request.url = url;
    }
    code = http_client_call(r->http, &request, TOKEN_BYTES_MAX, on_token, g, &g->call, err);
    return code ? error_prefix(err, code, "token service %.200s", c->realm) : 0;
}
