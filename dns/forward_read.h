/*
 * What is believed of another server's answer: the records of the name that was asked for and of
 * the aliases that lead on from it, and the SOA of a domain above the last of them for an absence.
 * Whatever else came along is left out.
 */
#pragma once

#include "dns/message.h"

#define FORWARD_TTL_MAX     3600 /* seconds that a record may be believed */
#define FORWARD_ABSENT_MAX  300  /* seconds that an absence may be */
#define FORWARD_ALIASES_MAX 16   /* in one answer; what comes after them is left out */

struct forward_answer {
    unsigned rcode;
    ldns_rr_list *answer, *authority; /* NULL: none */
    uint32_t ttl;                     /* seconds that all of it may be remembered; 0: not at all */
};

/* Reads a message that answers a question for @type of @name, and that was remembered for @age
 * seconds, by which its TTLs are less. -EBADMSG when it is no such answer. *ret is to be freed with
 * forward_answer_done() in any case. */
int forward_read(const ldns_rdf *name, ldns_rr_type type, const uint8_t *data, size_t len,
                 uint32_t age, struct forward_answer *ret);
void forward_answer_done(struct forward_answer *a);
#define _cleanup_forward_ _cleanup_(forward_answer_done)
