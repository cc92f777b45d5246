/* What the name server says of itself; see status.h. */
#include "dns/status.h"

#include <errno.h>
#include <string.h>

#include "dns/names.h"

struct dns_status {
    struct http_server *server;
    struct dns_metrics *metrics;
    struct zone *zone;
    struct elsewhere *elsewhere;
};

static void reply_metrics(struct dns_status *s, struct http_exchange *x)
{
    _cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
    dns_metrics_cache(s->metrics, s->elsewhere);
    metrics_write(s->metrics->all, &body);
    http_exchange_reply(x, 200, METRICS_CONTENT_TYPE, body.data, body.len);
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct dns_status *s = arg;
    const char *path = http_exchange_path(x), *method = http_exchange_method(x);
    if (!str_eq(method, "GET") && !str_eq(method, "HEAD"))
        http_exchange_replyf(x, 405, "GET only\n");
    else if (str_eq(path, "/metrics"))
        reply_metrics(s, x);
    else if (str_eq(path, "/health"))
        http_exchange_replyf(x, 200, "OK");
    else if (str_starts(path, "/names/"))
        names_handle(s->zone, s->elsewhere, x, http_exchange_decoded_path(x) + strlen("/names/"));
    else if (!str_eq(path, "/ready"))
        http_exchange_replyf(x, 404, "there are /metrics, /health, /ready, /names/NAME\n");
    else if (zone_is_synced(s->zone))
        http_exchange_replyf(x, 200, "OK");
    else
        http_exchange_replyf(x, 503, "the names of the cluster are not known yet\n");
}

/* Splits "address:port" and "[address]:port". */
static int listen_on(struct http_server *server, const char *text, struct error *err)
{
    const char *colon = strrchr(text, ':');
    struct ip_addr a;
    char host[IP_TEXT_MAX];
    size_t len = colon ? (size_t)(colon - text) : 0;
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (len > 2 && *text == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    (void)snprintf(host, sizeof(host), "%.*s", (int)len, text);
    if (!colon || *end || end == colon + 1 || port < 1 || port > UINT16_MAX ||
        len >= sizeof(host) || ip_addr_parse(host, &a) < 0)
        return error_set(err, -EINVAL, "not an address and a port");
    return http_server_listen_tcp(server, host, (uint16_t)port, NULL, NULL, err);
}

int dns_status_new(struct dns_status **ret, struct loop *loop, const char *address,
                   struct dns_metrics *metrics, struct zone *zone, struct elsewhere *elsewhere,
                   struct error *err)
{
    struct dns_status *s = mem_zalloc(sizeof(*s));
    *s = (struct dns_status){.metrics = metrics, .zone = zone, .elsewhere = elsewhere};
    s->server = http_server_new(loop, NULL, on_request, s);
    int r = listen_on(s->server, address, err);
    if (r < 0) {
        (void)dns_status_free(s);
        return error_prefix(err, r, "%s", address);
    }
    *ret = s;
    return 0;
}

struct dns_status *dns_status_free(struct dns_status *s)
{
    if (s) {
        (void)http_server_free(s->server);
        free(s);
    }
    return NULL;
}
