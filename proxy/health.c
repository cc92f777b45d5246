/* Health checks and metrics over HTTP; see health.h. */
#include "proxy/health.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/times.h"
#include "net/http_server.h"

#define RETRY_MS 10000

struct health {
    struct loop *loop;
    struct health_config c;
    struct http_server *healthz, *metrics;
    struct map services; /* key → struct check */
    bool eligible;
    struct loop_timer retry; /* of ports that could not be listened on */
};

/* One service's health check port. */
struct check {
    struct health *h;
    char *key;
    uint16_t port;
    size_t endpoints;
    struct http_server *server; /* NULL: could not listen */
};

/* ---- the proxy's own health ---- */

static bool is_healthy(const struct health *h, const struct proxier *p)
{
    struct proxier_health ph;
    proxier_health(p, &ph);
    return ph.late_ms < h->c.late_ms;
}

static bool all_healthy(const struct health *h)
{
    bool healthy = true;
    for (size_t i = 0; i < h->c.n_proxiers; i++)
        healthy = healthy && is_healthy(h, h->c.proxiers[i]);
    return healthy;
}

static void reply_health(struct health *h, struct http_exchange *x, bool with_node)
{
    char now[TIME_TEXT_MAX], text[TIME_TEXT_MAX];
    bool healthy = all_healthy(h), good = healthy && (!with_node || h->eligible);
    int64_t latest = 0;
    _cleanup_json_ json_t *status = json_object();
    for (size_t i = 0; i < h->c.n_proxiers; i++) {
        struct proxier_health ph;
        proxier_health(h->c.proxiers[i], &ph);
        latest = ph.updated > latest ? ph.updated : latest;
        (void)json_object_set_new(status,
                                  proxier_family(h->c.proxiers[i]) == AF_INET ? "IPv4" : "IPv6",
                                  json_pack("{sssb}", "lastUpdated", time_format(ph.updated, text),
                                            "healthy", is_healthy(h, h->c.proxiers[i])));
    }
    (void)time_format(time_now(), now);
    /* A node that is well has looked just now, whether there was something to do or not. */
    _cleanup_json_ json_t *j = json_pack(
        "{ssss}", "lastUpdated", good ? now : time_format(latest, text), "currentTime", now);
    if (with_node)
        (void)json_object_set_new(j, "nodeEligible", json_boolean(h->eligible));
    (void)json_object_set_new(j, "healthy", json_boolean(healthy));
    (void)json_object_set(j, "status", status);
    _cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
    json_encode(j, &body);
    metric_add(with_node ? h->c.metrics->healthz : h->c.metrics->livez,
               good ? "code=\"200\"" : "code=\"503\"", 1);
    http_exchange_add_header(x, "X-Content-Type-Options", "nosniff");
    http_exchange_reply(x, good ? 200 : 503, "application/json", body.data, body.len);
}

static void on_healthz(struct http_exchange *x, void *arg)
{
    const char *path = http_exchange_path(x);
    if (str_eq(path, "/healthz"))
        reply_health(arg, x, true);
    else if (str_eq(path, "/livez"))
        reply_health(arg, x, false);
    else
        http_exchange_replyf(x, 404, "there are /healthz and /livez\n");
}

/* ---- metrics ---- */

static void reply_service(struct health *h, struct http_exchange *x, const char *key)
{
    _cleanup_json_ json_t *j = h->c.describe(h->c.arg, key);
    if (!j) {
        http_exchange_replyf(x, 404, "no service %s\n", key);
        return;
    }
    _cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
    json_encode(j, &body);
    http_exchange_reply(x, 200, "application/json", body.data, body.len);
}

static void on_metrics(struct http_exchange *x, void *arg)
{
    struct health *h = arg;
    const char *path = http_exchange_path(x);
    if (!str_eq(http_exchange_method(x), "GET") && !str_eq(http_exchange_method(x), "HEAD")) {
        http_exchange_replyf(x, 405, "GET only\n");
    } else if (str_eq(path, "/metrics")) {
        _cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
        metrics_write(h->c.metrics->all, &body);
        http_exchange_reply(x, 200, METRICS_CONTENT_TYPE, body.data, body.len);
    } else if (str_eq(path, "/proxyMode")) {
        http_exchange_replyf(x, 200, "%s", h->c.mode);
    } else if (str_eq(path, "/healthz")) {
        http_exchange_replyf(x, 200, "ok");
    } else if (str_starts(path, "/services/")) {
        reply_service(h, x, path + strlen("/services/"));
    } else {
        http_exchange_replyf(x, 404, "there are /metrics, /proxyMode, /services/NAMESPACE/NAME\n");
    }
}

/* ---- services ---- */

static void on_check(struct http_exchange *x, void *arg)
{
    const struct check *c = arg;
    bool healthy = all_healthy(c->h);
    const char *slash = strchr(c->key, '/');
    _cleanup_free_ char *weight = str_printf("%zu", c->endpoints);
    _cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
    strbuf_addf(&body,
                "{\n\t\"service\": {\n\t\t\"namespace\": \"%.*s\",\n\t\t\"name\": \"%s\"\n\t},\n"
                "\t\"localEndpoints\": %zu,\n\t\"serviceProxyHealthy\": %s\n}",
                slash ? (int)(slash - c->key) : 0, c->key, slash ? slash + 1 : c->key, c->endpoints,
                healthy ? "true" : "false");
    http_exchange_add_header(x, "X-Content-Type-Options", "nosniff");
    http_exchange_add_header(x, "X-Load-Balancing-Endpoint-Weight", weight);
    http_exchange_reply(x, c->endpoints && healthy ? 200 : 503, "application/json", body.data,
                        body.len);
}

static void check_free(void *p)
{
    struct check *c = p;
    (void)http_server_free(c->server);
    free(c->key);
    free(c);
}

static int listen_check(struct check *c, struct error *err)
{
    const struct addresses *a = c->h->c.addresses;
    char text[IP_TEXT_MAX];
    int r = 0;
    if (a->everywhere)
        return http_server_listen_tcp(c->server, "", c->port, NULL, NULL, err);
    for (size_t i = 0; r == 0 && i < a->n_node_ports; i++) {
        const struct ip_addr *ip = &a->node_ports[i];
        if (ip->family == AF_INET6 && ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80)
            continue; /* link-local: of which link? */
        r = http_server_listen_tcp(c->server, ip_addr_format(ip, text), c->port, NULL, NULL, err);
    }
    return r;
}

static void open_check(struct check *c, bool complain)
{
    struct error err = ERROR_INIT;
    c->server = http_server_new(c->h->loop, NULL, on_check, c);
    if (listen_check(c, &err) == 0)
        return;
    c->server = http_server_free(c->server);
    if (complain)
        c->h->c.failed(c->h->c.arg, c->key, c->port, err.text);
    if (!loop_timer_armed(&c->h->retry))
        loop_timer_set(&c->h->retry, RETRY_MS);
}

static void on_retry(void *arg)
{
    struct health *h = arg;
    MAP_FOR_EACH(e, &h->services) {
        struct check *c = map_value(e);
        if (!c->server)
            open_check(c, false);
    }
}

void health_set_service(struct health *h, const char *key, uint16_t port, size_t endpoints)
{
    struct check *c = map_get(&h->services, key);
    if (c && c->port != port) {
        map_remove(&h->services, key);
        c = NULL;
    }
    if (!port)
        return;
    if (!c) {
        c = mem_zalloc(sizeof(*c));
        *c = (struct check){.h = h, .key = str_dup(key), .port = port};
        map_set(&h->services, key, c);
        open_check(c, true);
    }
    c->endpoints = endpoints;
}

void health_addresses_changed(struct health *h)
{
    if (h->c.addresses->everywhere)
        return;
    MAP_FOR_EACH(e, &h->services) {
        struct check *c = map_value(e);
        c->server = http_server_free(c->server);
        open_check(c, true);
    }
}

void health_set_node(struct health *h, bool eligible)
{
    h->eligible = eligible;
}

/* ---- life ---- */

static int open_server(struct health *h, struct http_server **ret, const char *what,
                       const char *host, int port, http_handler_fn handler, struct error *err)
{
    struct error local = ERROR_INIT;
    if (!port)
        return 0;
    *ret = http_server_new(h->loop, NULL, handler, h);
    int r = http_server_listen_tcp(*ret, host, (uint16_t)port, NULL, NULL, &local);
    if (r == 0)
        return 0;
    *ret = http_server_free(*ret);
    if (h->c.hard_fail)
        return error_set(err, r, "%s: %s", what, local.text);
    log_warn("port cannot be served", "what", what, "error", local.text, NULL);
    return 0;
}

int health_new(struct health **ret, struct loop *loop, const struct health_config *config,
               struct error *err)
{
    struct health *h = mem_zalloc(sizeof(*h));
    *h = (struct health){.loop = loop, .c = *config, .services = MAP_INIT(check_free)};
    loop_timer_init(&h->retry, loop, "health check ports", on_retry, h);
    int r = open_server(h, &h->healthz, "healthz", config->healthz_host, config->healthz_port,
                        on_healthz, err);
    if (r == 0)
        r = open_server(h, &h->metrics, "metrics", config->metrics_host, config->metrics_port,
                        on_metrics, err);
    if (r < 0) {
        (void)health_free(h);
        return r;
    }
    *ret = h;
    return 0;
}

struct health *health_free(struct health *h)
{
    if (h) {
        map_clear(&h->services);
        (void)http_server_free(h->healthz);
        (void)http_server_free(h->metrics);
        loop_timer_done(&h->retry);
        free(h);
    }
    return NULL;
}
