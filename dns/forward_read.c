/* What is believed of another server's answer; see forward_read.h. */
#include "dns/forward_read.h"

#include <errno.h>

#define SOA_MINIMUM 6 /* the field of an SOA that says how long an absence may be believed */

/* The name that was asked for and those its aliases lead to. Borrowed. */
struct chain {
    const ldns_rdf *names[FORWARD_ALIASES_MAX + 1];
    size_t count;
};

static const ldns_rr *alias_of(const ldns_rr_list *answers, const ldns_rdf *name)
{
    for (size_t i = 0; i < ldns_rr_list_rr_count(answers); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(answers, i);
        if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME &&
            ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN && ldns_rr_rd_count(rr) == 1 &&
            !ldns_dname_compare(ldns_rr_owner(rr), name))
            return rr;
    }
    return NULL;
}

static bool is_in_chain(const struct chain *c, const ldns_rdf *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (!ldns_dname_compare(c->names[i], name))
            return true;
    return false;
}

/* Aliases in a circle end where they began. */
static void follow(struct chain *c, const ldns_rdf *name, ldns_rr_type type,
                   const ldns_rr_list *answers)
{
    const ldns_rr *alias;
    c->names[0] = name;
    c->count = 1;
    while (type != LDNS_RR_TYPE_CNAME && c->count <= FORWARD_ALIASES_MAX &&
           (alias = alias_of(answers, c->names[c->count - 1])) &&
           !is_in_chain(c, ldns_rr_rdf(alias, 0)))
        c->names[c->count++] = ldns_rr_rdf(alias, 0);
}

static uint32_t shorter(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Copies a record, its time cut. */
static void take(ldns_rr_list *to, const ldns_rr *rr, uint32_t most, uint32_t age)
{
    uint32_t ttl = shorter(ldns_rr_ttl(rr), most);
    ldns_rr *copy = ldns_rr_clone(rr);
    ldns_rr_set_ttl(copy, ttl > age ? ttl - age : 0);
    record_push(to, copy);
}

static void take_answers(struct forward_answer *ret, const struct chain *c, ldns_rr_type type,
                         const ldns_rr_list *answers, uint32_t age, bool *ret_found)
{
    *ret_found = false;
    for (size_t i = 0; i < ldns_rr_list_rr_count(answers); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(answers, i);
        ldns_rr_type got = ldns_rr_get_type(rr);
        if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
            (got != type && got != LDNS_RR_TYPE_CNAME) || !is_in_chain(c, ldns_rr_owner(rr)))
            continue;
        *ret_found = *ret_found || got == type;
        ret->ttl = shorter(ret->ttl, ldns_rr_ttl(rr));
        take(ret->answer, rr, FORWARD_TTL_MAX, age);
    }
}

/* An absence without an SOA is not remembered (RFC 2308, 5). */
static void take_absence(struct forward_answer *ret, const ldns_rdf *name,
                         const ldns_rr_list *authority, uint32_t age)
{
    for (size_t i = 0; i < ldns_rr_list_rr_count(authority); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(authority, i);
        if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA || ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
            ldns_rr_rd_count(rr) != SOA_MINIMUM + 1 ||
            (ldns_dname_compare(name, ldns_rr_owner(rr)) != 0 &&
             !ldns_dname_is_subdomain(name, ldns_rr_owner(rr))))
            continue;
        uint32_t minimum = ldns_rdf2native_int32(ldns_rr_rdf(rr, SOA_MINIMUM));
        ret->ttl =
            shorter(shorter(ret->ttl, FORWARD_ABSENT_MAX), shorter(ldns_rr_ttl(rr), minimum));
        take(ret->authority, rr, shorter(minimum, FORWARD_ABSENT_MAX), age);
        return;
    }
    ret->ttl = 0;
}

static bool answers_question(const ldns_pkt *pkt, const ldns_rdf *name, ldns_rr_type type)
{
    const ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_question(pkt), 0);
    return ldns_pkt_qr(pkt) && ldns_rr_list_rr_count(ldns_pkt_question(pkt)) == 1 &&
           ldns_rr_get_type(rr) == type && !ldns_dname_compare(ldns_rr_owner(rr), name);
}

int forward_read(const ldns_rdf *name, ldns_rr_type type, const uint8_t *data, size_t len,
                 uint32_t age, struct forward_answer *ret)
{
    _cleanup_pkt_ ldns_pkt *pkt = NULL;
    struct chain chain;
    bool found;
    *ret = (struct forward_answer){.rcode = LDNS_RCODE_SERVFAIL};
    if (ldns_wire2pkt(&pkt, data, len) != LDNS_STATUS_OK) {
        pkt = NULL;
        return -EBADMSG;
    }
    if (!answers_question(pkt, name, type))
        return -EBADMSG;
    ret->rcode = (unsigned)ldns_pkt_get_rcode(pkt);
    ret->answer = ldns_rr_list_new();
    ret->authority = ldns_rr_list_new();
    if (ret->rcode != LDNS_RCODE_NOERROR && ret->rcode != LDNS_RCODE_NXDOMAIN)
        return 0;
    ret->ttl = FORWARD_TTL_MAX;
    follow(&chain, name, type, ldns_pkt_answer(pkt));
    take_answers(ret, &chain, type, ldns_pkt_answer(pkt), age, &found);
    if (!found)
        take_absence(ret, chain.names[chain.count - 1], ldns_pkt_authority(pkt), age);
    return 0;
}

void forward_answer_done(struct forward_answer *a)
{
    ldns_rr_list_deep_free(a->answer);
    ldns_rr_list_deep_free(a->authority);
    *a = (struct forward_answer){.rcode = LDNS_RCODE_SERVFAIL};
}
