/* /stats/summary, /metrics and what is below: gathered for whoever asks. */
#include "base/json.h"
#include "base/metrics.h"
#include "base/strbuf.h"
#include "kubelet/server/server.h"
#include "kubelet/stats/stats.h"

struct stats_request {
    struct kubelet *k;
    struct http_exchange *x;
    struct stats_query *query;
    bool summary, only_cpu_and_memory;
};

static void on_found(void *arg, const struct stats_found *found)
{
    struct stats_request *r = arg;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    struct http_exchange *x = r->x;
    if (r->summary) {
        _cleanup_json_ json_t *j = stats_summary(r->k->stats, found, r->only_cpu_and_memory);
        json_encode(j, &text);
    } else {
        stats_resource_metrics(r->k->stats, found, &text);
    }
    const char *type = r->summary ? "application/json" : METRICS_CONTENT_TYPE;
    free(r);
    http_exchange_reply(x, 200, type, text.data, text.len);
}

static void on_gone(struct http_exchange *x, void *arg)
{
    struct stats_request *r = arg;
    stats_query_cancel(r->query);
    free(r);
    http_exchange_abort(x);
}

static void ask(struct http_exchange *x, const struct route *route, bool summary)
{
    struct stats_request *r = mem_zalloc(sizeof(*r));
    r->k = route->k;
    r->x = x;
    r->summary = summary;
    r->only_cpu_and_memory = http_query_bool(http_exchange_query(x), "only_cpu_and_memory");
    http_exchange_on_close(x, on_gone, r);
    r->query = stats_ask(route->k->stats, summary && !r->only_cpu_and_memory, on_found, r);
}

void serve_stats(struct http_exchange *x, const struct route *r)
{
    if (r->count == 1 && str_eq(r->words[0], "summary"))
        ask(x, r, true);
    else
        http_exchange_replyf(x, 404, "404 page not found");
}

void serve_metrics(struct http_exchange *x, const struct route *r)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (r->count == 1 && str_eq(r->words[0], "resource")) {
        ask(x, r, false);
        return;
    }
    if (r->count == 1 && str_eq(r->words[0], "probes")) {
        stats_probe_metrics(r->k, &text);
    } else if (r->count == 0) {
        stats_kubelet_metrics(r->k->stats, &text);
    } else {
        http_exchange_replyf(x, 404, "404 page not found");
        return;
    }
    http_exchange_reply(x, 200, METRICS_CONTENT_TYPE, text.data, text.len);
}
