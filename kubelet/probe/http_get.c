/* httpGet actions as requests; see http_get.h. */
#include "kubelet/probe/http_get.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/probe/probe.h"

/* A header that the action gives, even an empty one, takes the place of ours. */
static void default_header(struct http_get *g, const char *name, const char *value)
{
    if (!http_headers_get(&g->headers, name))
        http_headers_add(&g->headers, name, value);
}

int http_get_init(struct http_get *g, const struct http_get_action *a,
                  const struct container_spec *c, const char *pod_ip, const char *agent,
                  struct error *err)
{
    uint16_t port = probe_port(c, &a->port);
    const char *host = a->host && *a->host ? a->host : pod_ip, *path = a->path ? a->path : "/";
    memset(g, 0, sizeof(*g));
    if (!port)
        return error_set(err, -EINVAL, "no port of this name");
    for (size_t i = 0; i < a->headers.count; i++) {
        const struct http_header_pair *h = &a->headers.items[i];
        if (!h->name || !http_token_valid(h->name, strlen(h->name)) ||
            (h->value && !http_value_valid(h->value, strlen(h->value)))) {
            http_get_done(g);
            return error_set(err, -EINVAL, "httpHeaders[%zu] is malformed", i);
        }
        http_headers_add(&g->headers, h->name, h->value ? h->value : "");
    }
    default_header(g, "User-Agent", agent);
    default_header(g, "Accept", "*/*");
    g->secure = str_eq(a->scheme, "HTTPS");
    g->tls.insecure = true;
    g->url = str_printf(strchr(host, ':') ? "%s://[%s]:%u%s%s" : "%s://%s:%u%s%s",
                        g->secure ? "https" : "http", host, port, path[0] == '/' ? "" : "/", path);
    return 0;
}

void http_get_done(struct http_get *g)
{
    free(g->url);
    http_headers_done(&g->headers);
    g->url = NULL;
}

struct http_request http_get_request(struct http_get *g, uint64_t timeout_ms)
{
    return (struct http_request){.url = g->url,
                                 .headers = &g->headers,
                                 .tls = g->secure ? &g->tls : NULL,
                                 .connect_timeout_ms = timeout_ms,
                                 .timeout_ms = timeout_ms,
                                 .fresh = true};
}

bool http_get_redirect(struct http_get *g, const char *location)
{
    _cleanup_http_url_ struct http_url now = {.scheme = NULL}, next = {.scheme = NULL};
    _cleanup_strbuf_ struct strbuf target = STRBUF_INIT;
    if (!location || !*location || http_url_parse(&now, g->url, NULL) < 0)
        return false;
    if (strstr(location, "://")) {
        strbuf_adds(&target, location);
    } else if (str_starts(location, "//")) {
        strbuf_addf(&target, "%s:%s", now.scheme, location);
    } else {
        /* A relative one stands beside the last component of the path. */
        const char *slash = strrchr(now.path, '/');
        strbuf_addf(&target, strchr(now.host, ':') ? "%s://[%s]:%u" : "%s://%s:%u", now.scheme,
                    now.host, now.port);
        if (*location != '/')
            strbuf_add(&target, now.path, slash ? (size_t)(slash - now.path) + 1 : 0);
        strbuf_adds(&target, location);
    }
    if (http_url_parse(&next, strbuf_text(&target), NULL) < 0 || !str_eq(now.host, next.host))
        return false;
    free(g->url);
    g->url = strbuf_take(&target);
    g->secure = str_eq(next.scheme, "https");
    return true;
}
