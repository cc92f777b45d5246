/* What the proxy counts, under kube-proxy's names. Each series carries ip_family where upstream's
 * does. */
#pragma once

#include "base/metrics.h"

struct proxy_metrics {
    struct metrics *all;
    struct metric *sync, *sync_full, *sync_partial, *last_sync, *last_queued;
    struct metric *programming, *conntrack;
    struct metric *endpoint_changes, *endpoint_pending, *service_changes, *service_pending;
    struct metric *restore_failures, *partial_failures, *rules_total, *rules_last;
    struct metric *nft_failures, *no_local_endpoints, *healthz, *livez;
};

/* @mode: "iptables" and so on; metrics of the other modes are not registered. */
void proxy_metrics_init(struct proxy_metrics *m, const char *mode);
void proxy_metrics_done(struct proxy_metrics *m);
