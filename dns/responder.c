/* From a request to its reply; see responder.h. */
#include "dns/responder.h"

#include "base/strbuf.h"
#include "dns/message.h"

#define ANY_TTL 3600 /* seconds */

struct responder {
    struct zone *zone;
};

struct responder *responder_new(struct zone *zone)
{
    struct responder *r = mem_zalloc(sizeof(*r));
    r->zone = zone;
    return r;
}

struct responder *responder_free(struct responder *r)
{
    free(r);
    return NULL;
}

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

/* Looks @name up and follows its alias as far as it stays in the zone. The code is that of the
 * last name (RFC 6604); an alias that leads outside ends the answer. */
static unsigned look_up(struct responder *r, const char *name, ldns_rr_type type,
                        struct zone_answer *a)
{
    enum zone_verdict v = zone_lookup(r->zone, name, type, a);
    for (int n = 0; a->cname; n++) {
        _cleanup_free_ char *target = TAKE_PTR(a->cname);
        _cleanup_answer_ struct zone_answer more = {.answer = NULL};
        if (n == RESPONDER_ALIASES_MAX)
            return LDNS_RCODE_SERVFAIL;
        v = zone_lookup(r->zone, target, type, &more);
        if (v == ZONE_OUTSIDE)
            return LDNS_RCODE_NOERROR;
        move_records(a->answer, more.answer);
        move_records(a->additional, more.additional);
        move_records(a->authority, more.authority);
        a->cname = TAKE_PTR(more.cname);
    }
    return rcode_of(v);
}

static unsigned answer(struct responder *r, const struct query *q, struct zone_answer *a)
{
    if (q->type != LDNS_RR_TYPE_ANY)
        return look_up(r, q->name, q->type, a);
    /* One small record instead of all there are (RFC 8482), of a name that is there. */
    unsigned rcode = rcode_of(zone_lookup(r->zone, q->name, LDNS_RR_TYPE_HINFO, a));
    if (rcode == LDNS_RCODE_NOERROR && !a->cname) {
        ldns_rr_list_deep_free(a->authority);
        a->authority = NULL;
        record_push(a->answer, record_hinfo(q->name, ANY_TTL, "RFC8482", ""));
    }
    return rcode;
}

void responder_answer(struct responder *r, const uint8_t *data, size_t len, bool tcp, uint8_t **ret,
                      size_t *ret_len)
{
    _cleanup_query_ struct query q;
    _cleanup_answer_ struct zone_answer a = {.answer = NULL};
    struct reply reply = {.rcode = 0};
    enum message_verdict v = query_parse(data, len, &q, &reply.rcode);
    *ret = NULL;
    *ret_len = 0;
    if (v == MESSAGE_DROP)
        return;
    if (v == MESSAGE_QUERY) {
        reply.rcode = answer(r, &q, &a);
        reply.authoritative =
            reply.rcode == LDNS_RCODE_NOERROR || reply.rcode == LDNS_RCODE_NXDOMAIN;
    }
    if (reply.authoritative) {
        reply.answer = a.answer;
        reply.authority = a.authority;
        reply.additional = a.additional;
    }
    (void)reply_encode(&q, &reply, tcp ? MESSAGE_MAX : q.udp_limit, ret, ret_len);
}

void responder_handle(struct dns_request *rq, void *arg)
{
    _cleanup_free_ uint8_t *reply = NULL;
    size_t len, reply_len;
    const uint8_t *data = request_data(rq, &len);
    responder_answer(arg, data, len, request_is_tcp(rq), &reply, &reply_len);
    request_reply(rq, reply, reply_len);
}
