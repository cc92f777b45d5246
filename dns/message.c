/* Messages on the wire; see message.h. */
#include "dns/message.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"

#define RECORD_MIN 12 /* bytes: a compressed name, type, class, TTL, length of the data */

enum { FLAG_QR = 0x80, OPCODE_MASK = 0x78, FLAG_RD = 0x01 }; /* of the header's third byte */

/* ---- in ---- */

static unsigned count_at(const uint8_t *head, size_t at)
{
    return (unsigned)head[at] << 8 | head[at + 1];
}

/* Types that are no records but things to do (RFC 6895, 3.1); ANY is answered. */
static bool is_meta(ldns_rr_type type)
{
    return type == LDNS_RR_TYPE_OPT || (type >= 128 && type < LDNS_RR_TYPE_ANY);
}

static unsigned read_edns(struct query *q)
{
    size_t size = ldns_pkt_edns_udp_size(q->pkt);
    q->edns = ldns_pkt_edns(q->pkt);
    q->udp_limit = MESSAGE_PLAIN;
    if (!q->edns)
        return 0;
    q->dnssec_ok = ldns_pkt_edns_do(q->pkt);
    if (size > MESSAGE_PLAIN)
        q->udp_limit = size < MESSAGE_UDP_MAX ? size : MESSAGE_UDP_MAX;
    return ldns_pkt_edns_version(q->pkt) ? MESSAGE_BADVERS : 0;
}

static unsigned read_question(struct query *q)
{
    const ldns_rr_list *questions = ldns_pkt_question(q->pkt);
    if (ldns_rr_list_rr_count(questions) != 1)
        return LDNS_RCODE_FORMERR;
    const ldns_rr *rr = ldns_rr_list_rr(questions, 0);
    q->type = ldns_rr_get_type(rr);
    (void)name_text(ldns_rr_owner(rr), q->name); /* an odd name is nobody's here */
    if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN || is_meta(q->type))
        return LDNS_RCODE_REFUSED;
    return 0;
}

enum message_verdict query_parse(const uint8_t *data, size_t len, struct query *q,
                                 unsigned *ret_rcode)
{
    *q = (struct query){.udp_limit = MESSAGE_PLAIN};
    if (len < MESSAGE_HEADER || data[2] & FLAG_QR)
        return MESSAGE_DROP;
    memcpy(q->head, data, MESSAGE_HEADER);
    q->recursion = data[2] & FLAG_RD;
    *ret_rcode = LDNS_RCODE_NOTIMPL;
    if (data[2] & OPCODE_MASK)
        return MESSAGE_REFUSE;
    /* One question, no answers, and of what may come along (OPT, TSIG) a few. */
    *ret_rcode = LDNS_RCODE_FORMERR;
    if (count_at(data, 4) != 1 || count_at(data, 6) || count_at(data, 8) ||
        count_at(data, 10) > 2 || ldns_wire2pkt(&q->pkt, data, len) != LDNS_STATUS_OK) {
        q->pkt = NULL;
        return MESSAGE_REFUSE;
    }
    *ret_rcode = read_edns(q);
    if (!*ret_rcode)
        *ret_rcode = read_question(q);
    return *ret_rcode ? MESSAGE_REFUSE : MESSAGE_QUERY;
}

const ldns_rdf *query_name(const struct query *q)
{
    return ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(q->pkt), 0));
}

void query_done(struct query *q)
{
    if (q->pkt)
        ldns_pkt_free(q->pkt);
    q->pkt = NULL;
}

/* ---- out ---- */

/* A packet with the records of @reply, borrowed: give_back() before it is freed. */
static ldns_pkt *build(const struct query *q, const struct reply *reply)
{
    const ldns_rr_list *questions = ldns_pkt_question(q->pkt);
    ldns_pkt *pkt = ldns_pkt_new();
    ldns_pkt_set_id(pkt, ldns_pkt_id(q->pkt));
    ldns_pkt_set_qr(pkt, true);
    ldns_pkt_set_aa(pkt, reply->authoritative);
    ldns_pkt_set_rd(pkt, ldns_pkt_rd(q->pkt));
    ldns_pkt_set_cd(pkt, ldns_pkt_cd(q->pkt));
    ldns_pkt_set_ra(pkt, reply->recursion_available);
    ldns_pkt_set_rcode(pkt, (ldns_pkt_rcode)(reply->rcode & 15));
    for (size_t i = 0; i < ldns_rr_list_rr_count(questions); i++)
        (void)ldns_pkt_push_rr(pkt, LDNS_SECTION_QUESTION,
                               ldns_rr_clone(ldns_rr_list_rr(questions, i)));
    if (q->edns) {
        ldns_pkt_set_edns_udp_size(pkt, MESSAGE_UDP_MAX);
        ldns_pkt_set_edns_extended_rcode(pkt, (uint8_t)(reply->rcode >> 4));
        ldns_pkt_set_edns_do(pkt, q->dnssec_ok);
    }
    if (reply->answer)
        (void)ldns_rr_list_push_rr_list(ldns_pkt_answer(pkt), reply->answer);
    if (reply->authority)
        (void)ldns_rr_list_push_rr_list(ldns_pkt_authority(pkt), reply->authority);
    if (reply->additional)
        (void)ldns_rr_list_push_rr_list(ldns_pkt_additional(pkt), reply->additional);
    return pkt;
}

static void keep_answers(ldns_pkt *pkt, size_t n)
{
    ldns_rr_list_set_rr_count(ldns_pkt_answer(pkt), n);
    ldns_pkt_set_ancount(pkt, (uint16_t)n);
}

static void keep_authority(ldns_pkt *pkt, size_t n)
{
    ldns_rr_list_set_rr_count(ldns_pkt_authority(pkt), n);
    ldns_pkt_set_nscount(pkt, (uint16_t)n);
}

static void keep_additional(ldns_pkt *pkt, size_t n)
{
    ldns_rr_list_set_rr_count(ldns_pkt_additional(pkt), n);
    ldns_pkt_set_arcount(pkt, (uint16_t)n);
}

static void give_back(ldns_pkt **pkt)
{
    keep_answers(*pkt, 0);
    keep_authority(*pkt, 0);
    keep_additional(*pkt, 0);
    ldns_pkt_free(*pkt);
}

/* 1 when it fits; 0 when it does not, or cannot be written. */
static int encode(const ldns_pkt *pkt, size_t limit, uint8_t **ret, size_t *ret_len)
{
    uint8_t *wire = NULL;
    size_t len = 0;
    if (ldns_pkt2wire(&wire, pkt, &len) == LDNS_STATUS_OK && wire && len <= limit) {
        *ret = wire;
        *ret_len = len;
        return 1;
    }
    free(wire);
    return 0;
}

/* As many answers as fit; found by halving, for each try writes the message anew. */
static int truncated(ldns_pkt *pkt, size_t n, size_t limit, uint8_t **ret, size_t *ret_len)
{
    size_t most = limit / RECORD_MIN;
    size_t low = 0, high = n < most ? n : most; /* fits; does not */
    ldns_pkt_set_tc(pkt, true);
    keep_answers(pkt, 0);
    if (!encode(pkt, limit, ret, ret_len))
        return -EMSGSIZE;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        uint8_t *wire = NULL;
        /* The list has kept its room, so that it can grow back. */
        keep_answers(pkt, middle);
        if (encode(pkt, limit, &wire, ret_len)) {
            free(*ret);
            *ret = wire;
            low = middle;
        } else {
            high = middle;
        }
    }
    return 0;
}

/* The header alone, for what could not be parsed. */
static int bare(const struct query *q, unsigned rcode, uint8_t **ret, size_t *ret_len)
{
    uint8_t *wire = mem_zalloc(MESSAGE_HEADER);
    wire[0] = q->head[0];
    wire[1] = q->head[1];
    wire[2] = (uint8_t)(FLAG_QR | (q->head[2] & (OPCODE_MASK | FLAG_RD)));
    wire[3] = (uint8_t)(rcode & 15);
    *ret = wire;
    *ret_len = MESSAGE_HEADER;
    return 0;
}

int reply_encode(const struct query *q, const struct reply *reply, size_t limit, uint8_t **ret,
                 size_t *ret_len)
{
    if (!q->pkt)
        return bare(q, reply->rcode, ret, ret_len);
    _cleanup_(give_back) ldns_pkt *pkt = build(q, reply);
    size_t n = ldns_rr_list_rr_count(ldns_pkt_answer(pkt));
    keep_answers(pkt, n);
    keep_authority(pkt, ldns_rr_list_rr_count(ldns_pkt_authority(pkt)));
    keep_additional(pkt, ldns_rr_list_rr_count(ldns_pkt_additional(pkt)));
    bool hopeless = n > limit / RECORD_MIN;
    if (!hopeless && encode(pkt, limit, ret, ret_len))
        return 0;
    keep_additional(pkt, 0);
    if (!hopeless && encode(pkt, limit, ret, ret_len))
        return 0;
    keep_authority(pkt, 0);
    if (n && !hopeless && encode(pkt, limit, ret, ret_len))
        return 0;
    return truncated(pkt, n, limit, ret, ret_len);
}
