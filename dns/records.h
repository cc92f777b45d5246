/*
 * Resource records and names, over ldns. Names are text without the last dot, in lower case: what
 * is looked up, compared and kept. A name that cannot be one (a label of 64 bytes, 254 in all)
 * makes no record: the builders return NULL.
 */
#pragma once

#include <stdbool.h>

#include <ldns/ldns.h>

#include "base/macros.h"
#include "nl/address.h"

#define NAME_TEXT_MAX 256 /* with the NUL */

/* A name of a message as text in lower case; "" for the root. A byte of a label that is no letter,
 * digit, '-' or '_' becomes '?', which no name of ours has, so that it is not taken for another's.
 * Returns whether there was none. */
bool name_text(const ldns_rdf *name, char text[NAME_TEXT_MAX]);
/* Whether @name is @zone or lies below it; "" is above everything. */
bool name_is_under(const char *name, const char *zone);
/* The address that a name below in-addr.arpa or ip6.arpa means. False when it means none. */
bool name_reverse(const char *name, struct ip_addr *ret);

ldns_rr *record_address(const char *owner, uint32_t ttl, const struct ip_addr *a);
/* A record whose data is one name: CNAME, PTR, NS. */
ldns_rr *record_name(const char *owner, uint32_t ttl, ldns_rr_type type, const char *target);
struct record_srv {
    uint16_t priority, weight, port;
    const char *target;
};
ldns_rr *record_srv(const char *owner, uint32_t ttl, const struct record_srv *srv);
ldns_rr *record_txt(const char *owner, uint32_t ttl, const char *text);
/* The whole answer to a question for everything (RFC 8482). */
ldns_rr *record_hinfo(const char *owner, uint32_t ttl, const char *cpu, const char *os);
/* What says how long an absence may be believed: @ttl seconds (RFC 2308). */
ldns_rr *record_soa(const char *owner, uint32_t ttl, const char *server, const char *mailbox,
                    uint32_t serial);
/* Adds @rr to @list, which owns it from now on; NULL is passed over. */
void record_push(ldns_rr_list *list, ldns_rr *rr);

static inline void rr_list_donep(ldns_rr_list **list)
{
    ldns_rr_list_deep_free(*list);
}
static inline void pkt_donep(ldns_pkt **pkt)
{
    if (*pkt)
        ldns_pkt_free(*pkt);
}
#define _cleanup_pkt_ _cleanup_(pkt_donep)
