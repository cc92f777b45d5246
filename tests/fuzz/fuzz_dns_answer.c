/* A message from another server, as the answer to a question: what is believed of it is about the
 * question, and can be written again. */
#include <stdlib.h>

#include "dns/forward_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const ldns_rdf *name, const ldns_rr_list *list, uint32_t most)
{
    for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(list, i);
        if (ldns_rr_ttl(rr) > most || ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN)
            abort();
        /* The first name of all must be the question's, or an alias of it. */
        if (ldns_rr_list_rr_count(list) == 1 && ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA &&
            ldns_dname_compare(ldns_rr_owner(rr), name) != 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ldns_rdf *name = ldns_dname_new_frm_str("a.example.");
    struct forward_answer a;
    if (forward_read(name, LDNS_RR_TYPE_A, data, size, 7, &a) == 0) {
        ldns_pkt *pkt = ldns_pkt_new();
        uint8_t *wire = NULL;
        size_t len;
        check(name, a.answer, FORWARD_TTL_MAX);
        check(name, a.authority, FORWARD_ABSENT_MAX);
        for (size_t i = 0; i < ldns_rr_list_rr_count(a.answer); i++)
            (void)ldns_pkt_push_rr(pkt, LDNS_SECTION_ANSWER,
                                   ldns_rr_clone(ldns_rr_list_rr(a.answer, i)));
        (void)ldns_pkt2wire(&wire, pkt, &len);
        free(wire);
        ldns_pkt_free(pkt);
    }
    forward_answer_done(&a);
    ldns_rdf_deep_free(name);
    return 0;
}
