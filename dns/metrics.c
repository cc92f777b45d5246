/* What the name server counts; see metrics.h. */
#include "dns/metrics.h"

#include <netinet/in.h>

#define BOUNDS     16
#define LABELS_MAX (NAME_TEXT_MAX + 128)

void dns_metrics_init(struct dns_metrics *m, const char *domain, int port)
{
    double bounds[BOUNDS], bound = 0.00025; /* a quarter of a millisecond, and doubled each time */
    for (size_t i = 0; i < BOUNDS; i++, bound *= 2)
        bounds[i] = bound;
    *m = (struct dns_metrics){
        .all = metrics_new(), .domain = str_printf("%s.", domain), .port = port};
    m->requests = metrics_counter(m->all, "coredns_dns_requests_total",
                                  "Counter of DNS requests made per zone, protocol and family.");
    m->duration = metrics_histogram(
        m->all, "coredns_dns_request_duration_seconds",
        "Histogram of the time (in seconds) each request took per zone.", bounds, BOUNDS);
    m->responses =
        metrics_counter(m->all, "coredns_dns_responses_total", "Counter of response status codes.");
    m->entries =
        metrics_gauge(m->all, "coredns_cache_entries", "The number of elements in the cache.");
    m->hits = metrics_counter(m->all, "coredns_cache_hits_total", "The count of cache hits.");
    m->misses = metrics_counter(m->all, "coredns_cache_misses_total", "The count of cache misses.");
}

void dns_metrics_done(struct dns_metrics *m)
{
    m->all = metrics_free(m->all);
    free(m->domain);
    m->domain = NULL;
}

/* Names for the types that have a series of their own: clients must not make new ones at will. */
static const char *type_text(ldns_rr_type type)
{
    static const struct {
        ldns_rr_type type;
        const char *text;
    } known[] = {
        {LDNS_RR_TYPE_A, "A"},         {LDNS_RR_TYPE_AAAA, "AAAA"},     {LDNS_RR_TYPE_SRV, "SRV"},
        {LDNS_RR_TYPE_PTR, "PTR"},     {LDNS_RR_TYPE_CNAME, "CNAME"},   {LDNS_RR_TYPE_TXT, "TXT"},
        {LDNS_RR_TYPE_MX, "MX"},       {LDNS_RR_TYPE_NS, "NS"},         {LDNS_RR_TYPE_SOA, "SOA"},
        {LDNS_RR_TYPE_HTTPS, "HTTPS"}, {LDNS_RR_TYPE_DS, "DS"},         {LDNS_RR_TYPE_ANY, "ANY"},
        {LDNS_RR_TYPE_AXFR, "AXFR"},   {LDNS_RR_TYPE_DNSKEY, "DNSKEY"}, {LDNS_RR_TYPE_IXFR, "IXFR"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (known[i].type == type)
            return known[i].text;
    return "other";
}

static const char *rcode_text(unsigned rcode)
{
    static const char *const texts[] = {"NOERROR",  "FORMERR", "SERVFAIL",
                                        "NXDOMAIN", "NOTIMP",  "REFUSED"};
    if (rcode == MESSAGE_BADVERS)
        return "BADVERS";
    return rcode < ARRAY_SIZE(texts) ? texts[rcode] : "other";
}

void dns_metrics_count(struct dns_metrics *m, const struct dns_sample *s)
{
    char base[LABELS_MAX], labels[LABELS_MAX + 128];
    (void)snprintf(base, sizeof(base), "server=\"dns://:%d\",zone=\"%s\",view=\"\"", m->port,
                   s->ours ? m->domain : ".");
    (void)snprintf(labels, sizeof(labels), "%s,proto=\"%s\",family=\"%d\",type=\"%s\"", base,
                   s->tcp ? "tcp" : "udp", s->family == AF_INET6 ? 2 : 1, type_text(s->type));
    metric_add(m->requests, labels, 1);
    metric_observe(m->duration, base, s->seconds);
    (void)snprintf(labels, sizeof(labels), "%s,rcode=\"%s\",plugin=\"%s\"", base,
                   rcode_text(s->rcode), s->ours ? "kubernetes" : "forward");
    metric_add(m->responses, labels, 1);
}

void dns_metrics_cache(struct dns_metrics *m, const struct elsewhere *e)
{
    struct forwarder_stats s;
    elsewhere_stats(e, &s);
    metric_set(m->entries, NULL, (double)s.entries);
    metric_set(m->hits, NULL, (double)s.hits);
    metric_set(m->misses, NULL, (double)s.misses);
}
