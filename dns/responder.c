/* From a request to its reply; see responder.h. */
#include "dns/responder.h"

#include <time.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "dns/message.h"

#define ANY_TTL 3600 /* seconds */

struct responder {
    struct zone *zone;
    struct elsewhere *elsewhere;
    struct dns_metrics *metrics;
};

/* A query being answered. */
struct answering {
    struct responder *r;
    struct dns_request *rq;
    struct query q;
    struct zone_answer a;
    unsigned rcode;
    bool ours; /* the first name is the zone's */
    struct timespec start;
    ldns_rdf *outside; /* the name to be asked for elsewhere; NULL: none */
};

struct responder *responder_new(struct zone *zone, struct elsewhere *elsewhere,
                                struct dns_metrics *metrics)
{
    struct responder *r = mem_zalloc(sizeof(*r));
    r->zone = zone;
    r->elsewhere = elsewhere;
    r->metrics = metrics;
    return r;
}

struct responder *responder_free(struct responder *r)
{
    free(r);
    return NULL;
}

static void answering_done(struct answering *g)
{
    query_done(&g->q);
    zone_answer_done(&g->a);
    if (g->outside)
        ldns_rdf_deep_free(g->outside);
}

/* ---- from the zone ---- */

/* The lists change hands record by record: a list cannot be moved as a whole. */
static void move_records(ldns_rr_list *to, ldns_rr_list *from)
{
    (void)ldns_rr_list_push_rr_list(to, from);
    ldns_rr_list_set_rr_count(from, 0);
}

static unsigned rcode_of(enum zone_verdict v)
{
    switch (v) {
    case ZONE_OUTSIDE:
        return LDNS_RCODE_REFUSED;
    case ZONE_UNKNOWN:
        return LDNS_RCODE_SERVFAIL;
    case ZONE_NO_NAME:
        return LDNS_RCODE_NXDOMAIN;
    case ZONE_NAME:
        break;
    }
    return LDNS_RCODE_NOERROR;
}

/* Follows the alias that the answer ends with as far as it stays in the zone. The code is that of
 * the last name (RFC 6604). */
static void follow_aliases(struct answering *g)
{
    for (int n = 0; g->a.cname; n++) {
        _cleanup_free_ char *target = TAKE_PTR(g->a.cname);
        _cleanup_answer_ struct zone_answer more = {.answer = NULL};
        if (n == RESPONDER_ALIASES_MAX) {
            g->rcode = LDNS_RCODE_SERVFAIL;
            return;
        }
        enum zone_verdict v = zone_lookup(g->r->zone, target, g->q.type, &more);
        if (v == ZONE_OUTSIDE) {
            g->outside = ldns_dname_new_frm_str(target);
            return;
        }
        g->rcode = rcode_of(v);
        move_records(g->a.answer, more.answer);
        move_records(g->a.additional, more.additional);
        move_records(g->a.authority, more.authority);
        g->a.cname = TAKE_PTR(more.cname);
    }
}

/* One small record instead of all there are (RFC 8482). Whether a name of somebody else's is there
 * at all is not asked. */
static void answer_any(struct answering *g)
{
    enum zone_verdict v = zone_lookup(g->r->zone, g->q.name, LDNS_RR_TYPE_HINFO, &g->a);
    g->ours = v != ZONE_OUTSIDE;
    g->rcode =
        v == ZONE_OUTSIDE && elsewhere_forwards(g->r->elsewhere) ? LDNS_RCODE_NOERROR : rcode_of(v);
    if (g->rcode != LDNS_RCODE_NOERROR || g->a.cname)
        return;
    ldns_rr_list_deep_free(g->a.authority);
    g->a.authority = NULL;
    ldns_rr *hinfo = record_hinfo("", ANY_TTL, "RFC8482", "");
    if (hinfo) {
        ldns_rdf_deep_free(ldns_rr_owner(hinfo));
        ldns_rr_set_owner(hinfo, ldns_rdf_clone(query_name(&g->q)));
    }
    record_push(g->a.answer, hinfo);
}

/* What people added by hand is known here, whatever the name comes from. */
static void answer_outside(struct answering *g)
{
    char name[NAME_TEXT_MAX];
    if (!g->outside || !name_text(g->outside, name) ||
        !elsewhere_knows(g->r->elsewhere, name, g->q.type, g->a.answer))
        return;
    ldns_rdf_deep_free(g->outside);
    g->outside = NULL;
    g->rcode = LDNS_RCODE_NOERROR;
}

static void answer(struct answering *g)
{
    if (g->q.type == LDNS_RR_TYPE_ANY) {
        answer_any(g);
        return;
    }
    enum zone_verdict v = zone_lookup(g->r->zone, g->q.name, g->q.type, &g->a);
    g->ours = v != ZONE_OUTSIDE;
    g->rcode = rcode_of(v);
    follow_aliases(g);
    if (!g->ours)
        g->outside = ldns_rdf_clone(query_name(&g->q));
    answer_outside(g);
}

/* ---- replies ---- */

static bool has_records(unsigned rcode)
{
    return rcode == LDNS_RCODE_NOERROR || rcode == LDNS_RCODE_NXDOMAIN;
}

static void encode(const struct answering *g, bool tcp, uint8_t **ret, size_t *ret_len)
{
    struct reply reply = {.rcode = g->rcode,
                          .recursion_available = elsewhere_forwards(g->r->elsewhere)};
    if (has_records(g->rcode)) {
        reply.authoritative = g->ours;
        reply.answer = g->a.answer;
        reply.authority = g->a.authority;
        reply.additional = g->a.additional;
    }
    (void)reply_encode(&g->q, &reply, tcp ? MESSAGE_MAX : g->q.udp_limit, ret, ret_len);
}

/* Reads and answers what can be answered at once. False when there is to be no reply. */
static bool begin(struct answering *g, const uint8_t *data, size_t len)
{
    enum message_verdict v = query_parse(data, len, &g->q, &g->rcode);
    if (v == MESSAGE_QUERY)
        answer(g);
    return v != MESSAGE_DROP;
}

void responder_answer(struct responder *r, const uint8_t *data, size_t len, bool tcp, uint8_t **ret,
                      size_t *ret_len)
{
    _cleanup_(answering_done) struct answering g = {.r = r};
    *ret = NULL;
    *ret_len = 0;
    if (begin(&g, data, len))
        encode(&g, tcp, ret, ret_len);
}

/* ---- requests ---- */

static void count(const struct answering *g)
{
    struct timespec now;
    if (!g->r->metrics)
        return;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    const struct dns_sample s = {
        .tcp = request_is_tcp(g->rq),
        .ours = g->ours,
        .family = request_client(g->rq)->family,
        .type = g->q.type,
        .rcode = g->rcode,
        .seconds =
            (double)(now.tv_sec - g->start.tv_sec) + (double)(now.tv_nsec - g->start.tv_nsec) / 1e9,
    };
    dns_metrics_count(g->r->metrics, &s);
}

static void finish(struct answering *g)
{
    _cleanup_free_ uint8_t *reply = NULL;
    size_t len = 0;
    encode(g, request_is_tcp(g->rq), &reply, &len);
    count(g);
    request_reply(g->rq, reply, len);
    answering_done(g);
    free(g);
}

/* The records are the forwarder's: copied behind those of the zone. */
static void on_forwarded(void *arg, const struct forward_answer *answer)
{
    struct answering *g = arg;
    g->rcode = answer->rcode;
    for (size_t i = 0; i < ldns_rr_list_rr_count(answer->answer); i++)
        record_push(g->a.answer, ldns_rr_clone(ldns_rr_list_rr(answer->answer, i)));
    for (size_t i = 0; i < ldns_rr_list_rr_count(answer->authority); i++)
        record_push(g->a.authority, ldns_rr_clone(ldns_rr_list_rr(answer->authority, i)));
    finish(g);
}

/* Whom to ask for the rest; NULL: nobody, or nothing is left to ask. */
static struct forwarder *others(const struct answering *g)
{
    char name[NAME_TEXT_MAX];
    if (!g->outside)
        return NULL;
    (void)name_text(g->outside, name); /* odd bytes do not matter for the domain */
    return elsewhere_forwarder(g->r->elsewhere, name);
}

void responder_handle(struct dns_request *rq, void *arg)
{
    size_t len;
    const uint8_t *data = request_data(rq, &len);
    struct answering *g = mem_zalloc(sizeof(*g));
    g->r = arg;
    g->rq = rq;
    (void)clock_gettime(CLOCK_MONOTONIC, &g->start);
    bool wanted = begin(g, data, len);
    struct forwarder *forwarder = wanted ? others(g) : NULL;
    if (!wanted) {
        request_reply(rq, NULL, 0);
        answering_done(g);
        free(g);
    } else if (!forwarder || !g->q.recursion) {
        finish(g);
    } else if (elsewhere_is_loop(g->r->elsewhere, data, len)) {
        char text[IP_TEXT_MAX];
        log_warn("question comes back: a DNS server that is asked asks here", "name", g->q.name,
                 "from", ip_addr_format(request_client(rq), text), NULL);
        g->rcode = LDNS_RCODE_REFUSED;
        finish(g);
    } else {
        forwarder_ask(forwarder, g->outside, g->q.type, on_forwarded, g);
    }
}
