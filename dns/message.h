/*
 * Messages on the wire (RFC 1035, EDNS by RFC 6891): a query as it came, the reply to it, and what
 * fits into a datagram. Over ldns, which parses and compresses.
 */
#pragma once

#include "dns/records.h"

#define MESSAGE_HEADER  12
#define MESSAGE_MAX     65535 /* over TCP */
#define MESSAGE_PLAIN   512   /* over UDP, for who does not speak EDNS */
#define MESSAGE_BADVERS 16    /* a code above those of the header: an unknown version of EDNS */
#define MESSAGE_UDP_MAX 1232  /* over UDP for all others: never fragmented */

struct query {
    ldns_pkt *pkt; /* owned; NULL when it could not be parsed */
    uint8_t head[MESSAGE_HEADER];
    char name[NAME_TEXT_MAX]; /* what is asked for; see name_text() */
    ldns_rr_type type;
    bool edns, dnssec_ok, recursion;
    size_t udp_limit; /* how long an answer over UDP may be */
};

/* What becomes of bytes that came in. */
enum message_verdict {
    MESSAGE_QUERY,  /* one question of class IN, to be answered */
    MESSAGE_REFUSE, /* to be answered with *ret_rcode alone */
    MESSAGE_DROP, /* not to be answered: no header, or itself an answer (which could go on for ever)
                   */
};
/* @q is to be freed with query_done() whatever comes out. *ret_rcode may be above 15 (BADVERS). */
enum message_verdict query_parse(const uint8_t *data, size_t len, struct query *q,
                                 unsigned *ret_rcode);
void query_done(struct query *q);
/* The name that is asked for, letter by letter, of a MESSAGE_QUERY. Borrowed. */
const ldns_rdf *query_name(const struct query *q);
#define _cleanup_query_ _cleanup_(query_done)

struct reply {
    unsigned rcode;
    bool authoritative, recursion_available;
    /* Borrowed; each may be NULL. */
    ldns_rr_list *answer, *authority, *additional;
};
/* The reply to @q in at most @limit bytes: additional records are left out first, then authority,
 * then (and the reply is marked as truncated) answers from the end. *ret is freed by the caller.
 * -EMSGSIZE when not even the question fits. */
int reply_encode(const struct query *q, const struct reply *reply, size_t limit, uint8_t **ret,
                 size_t *ret_len);
