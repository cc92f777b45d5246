/* What the name server counts, under CoreDNS's names and with its labels: `plugin` says who
 * answered (kubernetes: names of the cluster, forward: others), `zone` what for. */
#pragma once

#include "base/metrics.h"
#include "dns/elsewhere.h"

struct dns_metrics {
    struct metrics *all;
    struct metric *requests, *duration, *responses, *entries, *hits, *misses;
    char *domain; /* "cluster.local." */
    int port;
};

void dns_metrics_init(struct dns_metrics *m, const char *domain, int port);
void dns_metrics_done(struct dns_metrics *m);

/* One request that was answered. */
struct dns_sample {
    bool tcp, ours; /* ours: a name of the cluster */
    int family;
    ldns_rr_type type;
    unsigned rcode;
    double seconds;
};
void dns_metrics_count(struct dns_metrics *m, const struct dns_sample *s);
/* What is remembered of others now. */
void dns_metrics_cache(struct dns_metrics *m, const struct elsewhere *e);
