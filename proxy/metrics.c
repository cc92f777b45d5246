/* Metrics of the proxy; see metrics.h. */
#include "proxy/metrics.h"

#include <string.h>

#define SYNC_BOUNDS        15
#define PROGRAMMING_BOUNDS 80

/* 1 ms, and doubled each time. */
static struct metric *sync_histogram(struct metrics *m, const char *name, const char *help)
{
    double bounds[SYNC_BOUNDS], bound = 0.001;
    for (size_t i = 0; i < SYNC_BOUNDS; i++, bound *= 2)
        bounds[i] = bound;
    return metrics_histogram(m, name, help, bounds, SYNC_BOUNDS);
}

/* 0.25 and 0.5 s, then every second, from a minute every 5 s, from two minutes every 30 s. */
static struct metric *programming_histogram(struct metrics *m)
{
    double bounds[PROGRAMMING_BOUNDS];
    size_t n = 0;
    bounds[n++] = 0.25;
    bounds[n++] = 0.5;
    for (int s = 1; s < 60; s++)
        bounds[n++] = s;
    for (int s = 60; s < 120; s += 5)
        bounds[n++] = s;
    for (int s = 120; s <= 300; s += 30)
        bounds[n++] = s;
    return metrics_histogram(m, "kubeproxy_network_programming_duration_seconds",
                             "In Cluster Network Programming Latency in seconds", bounds, n);
}

static void init_iptables(struct proxy_metrics *m)
{
    m->sync_full = sync_histogram(m->all, "kubeproxy_sync_full_proxy_rules_duration_seconds",
                                  "SyncProxyRules latency in seconds for full resyncs");
    m->sync_partial = sync_histogram(m->all, "kubeproxy_sync_partial_proxy_rules_duration_seconds",
                                     "SyncProxyRules latency in seconds for partial resyncs");
    m->partial_failures = metrics_counter(
        m->all, "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
        "Cumulative proxy iptables partial restore failures");
    m->rules_total = metrics_gauge(m->all, "kubeproxy_sync_proxy_rules_iptables_total",
                                   "Total number of iptables rules owned by kube-proxy");
    m->rules_last = metrics_gauge(m->all, "kubeproxy_sync_proxy_rules_iptables_last",
                                  "Number of iptables rules written by kube-proxy in last sync");
}

void proxy_metrics_init(struct proxy_metrics *m, const char *mode)
{
    *m = (struct proxy_metrics){.all = metrics_new()};
    m->sync = sync_histogram(m->all, "kubeproxy_sync_proxy_rules_duration_seconds",
                             "SyncProxyRules latency in seconds");
    m->last_sync = metrics_gauge(m->all, "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                                 "The last time proxy rules were successfully synced");
    m->last_queued =
        metrics_gauge(m->all, "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                      "The last time a sync of proxy rules was queued");
    m->programming = programming_histogram(m->all);
    m->conntrack = sync_histogram(m->all, "kubeproxy_conntrack_reconciler_sync_duration_seconds",
                                  "ReconcileConntrackFlowsLatency latency in seconds");
    m->endpoint_changes =
        metrics_counter(m->all, "kubeproxy_sync_proxy_rules_endpoint_changes_total",
                        "Cumulative proxy rules Endpoint changes");
    m->endpoint_pending =
        metrics_gauge(m->all, "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                      "Pending proxy rules Endpoint changes");
    m->service_changes = metrics_counter(m->all, "kubeproxy_sync_proxy_rules_service_changes_total",
                                         "Cumulative proxy rules Service changes");
    m->service_pending = metrics_gauge(m->all, "kubeproxy_sync_proxy_rules_service_changes_pending",
                                       "Pending proxy rules Service changes");
    m->no_local_endpoints =
        metrics_gauge(m->all, "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                      "Number of services with a Local traffic policy and no endpoints");
    m->healthz = metrics_counter(m->all, "kubeproxy_proxy_healthz_total",
                                 "Cumulative proxy healthz HTTP status");
    m->livez = metrics_counter(m->all, "kubeproxy_proxy_livez_total",
                               "Cumulative proxy livez HTTP status");
    if (!strcmp(mode, "iptables"))
        init_iptables(m);
    if (strcmp(mode, "nftables") != 0)
        m->restore_failures =
            metrics_counter(m->all, "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
                            "Cumulative proxy iptables restore failures");
    else
        m->nft_failures =
            metrics_counter(m->all, "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
                            "Cumulative proxy nftables sync failures");
}

void proxy_metrics_done(struct proxy_metrics *m)
{
    m->all = metrics_free(m->all);
}
