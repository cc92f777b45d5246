/* dns/: what is believed of other servers' answers, how long it is kept, which servers there are.
 */
#include "lib/test.h"

#include <errno.h>

#include "base/strbuf.h"
#include "dns/cache.h"
#include "dns/forward_read.h"
#include "dns/resolv.h"

static void push(ldns_pkt *pkt, ldns_pkt_section section, const char *text)
{
    ldns_rr *rr = NULL;
    if (ldns_rr_new_frm_str(&rr, text, 0, NULL, NULL) != LDNS_STATUS_OK)
        fail_msg("%s", text);
    assert_true(ldns_pkt_push_rr(pkt, section, rr));
}

/* A message of a server: records of the answer, then after "-" those of authority. */
static uint8_t *message(const char *question, ldns_pkt_rcode rcode, const char *const *records,
                        size_t *ret_len)
{
    ldns_pkt *pkt = NULL;
    uint8_t *wire = NULL;
    ldns_pkt_section section = LDNS_SECTION_ANSWER;
    assert_int_equal(
        ldns_pkt_query_new_frm_str(&pkt, question, LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN, 0), 0);
    ldns_pkt_set_qr(pkt, true);
    ldns_pkt_set_rcode(pkt, rcode);
    for (size_t i = 0; records[i]; i++) {
        if (!strcmp(records[i], "-"))
            section = LDNS_SECTION_AUTHORITY;
        else
            push(pkt, section, records[i]);
    }
    assert_int_equal(ldns_pkt2wire(&wire, pkt, ret_len), 0);
    ldns_pkt_free(pkt);
    return wire;
}

static void add(struct strbuf *b, const char *what, const ldns_rr_list *list)
{
    for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
        char *text = ldns_rr2str(ldns_rr_list_rr(list, i));
        text[strcspn(text, "\n")] = '\0';
        for (char *c = text; *c; c++)
            *c = (char)(*c == '\t' ? ' ' : *c);
        strbuf_addf(b, "%s%s", what, text);
        free(text);
    }
}

#define RECORDS_MAX 8

static void answers_are_read(_unused_ void **state)
{
    static const struct {
        const char *records[RECORDS_MAX];
        ldns_pkt_rcode rcode;
        uint32_t age;
        const char *expected; /* "TTL rcode | answers ! authority" */
    } cases[] = {
        {{"a.example. 60 IN A 192.0.2.1", "A.Example. 90 IN A 192.0.2.2"},
         0,
         10,
         "60 0 | a.example. 50 IN A 192.0.2.1 | a.example. 80 IN A 192.0.2.2"},
        /* Aliases in any order; what is not on their way is left out. */
        {{"c.example. 70 IN A 192.0.2.1", "b.example. 60 IN CNAME c.example.",
          "a.example. 50 IN CNAME b.example.", "bank.example. 9999 IN A 192.0.2.66",
          "a.example. 5 IN TXT \"x\"", "-", "example. 60 IN NS ns.evil.example."},
         0,
         0,
         "50 0 | c.example. 70 IN A 192.0.2.1 | b.example. 60 IN CNAME c.example. | a.example. 50 "
         "IN CNAME b.example."},
        {{"a.example. 99999999 IN A 192.0.2.1"}, 0, 0, "3600 0 | a.example. 3600 IN A 192.0.2.1"},
        {{"b.example. 60 IN A 192.0.2.1"}, 0, 0, "0 0"},
        /* A circle. */
        {{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME a.example."},
         0,
         0,
         "0 0 | a.example. 60 IN CNAME b.example. | b.example. 60 IN CNAME a.example."},
        /* Absences. */
        {{"-", "example. 500 IN SOA ns.example. m.example. 1 2 3 4 90"},
         LDNS_RCODE_NXDOMAIN,
         20,
         "90 3 ! example. 70 IN SOA ns.example. m.example. 1 2 3 4 90"},
        {{"a.example. 40 IN CNAME b.example.", "-",
          "example. 99999 IN SOA ns.example. m.example. 1 2 3 4 99999"},
         0,
         0,
         "40 0 | a.example. 40 IN CNAME b.example. ! example. 300 IN SOA ns.example. m.example. 1 "
         "2 "
         "3 4 99999"},
        {{"-", "other. 500 IN SOA ns.example. m.example. 1 2 3 4 90"},
         LDNS_RCODE_NXDOMAIN,
         0,
         "0 3"},
        {{"a.example. 60 IN A 192.0.2.1"}, LDNS_RCODE_SERVFAIL, 0, "0 2"},
    };
    ldns_rdf *name = ldns_dname_new_frm_str("a.example.");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t len;
        _cleanup_free_ uint8_t *wire =
            message("a.example.", cases[i].rcode, cases[i].records, &len);
        _cleanup_forward_ struct forward_answer a;
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        assert_int_equal(forward_read(name, LDNS_RR_TYPE_A, wire, len, cases[i].age, &a), 0);
        strbuf_addf(&b, "%u %u", a.ttl, a.rcode);
        add(&b, " | ", a.answer);
        add(&b, " ! ", a.authority);
        assert_string_equal(strbuf_text(&b), cases[i].expected);
    }
    ldns_rdf_deep_free(name);
}

static void others_are_refused(_unused_ void **state)
{
    const char *const none[] = {NULL};
    size_t len;
    _cleanup_free_ uint8_t *wire = message("a.example.", 0, none, &len);
    ldns_rdf *a = ldns_dname_new_frm_str("a.example."), *b = ldns_dname_new_frm_str("b.example.");
    struct forward_answer answer;
    assert_int_equal(forward_read(b, LDNS_RR_TYPE_A, wire, len, 0, &answer), -EBADMSG);
    assert_int_equal(forward_read(a, LDNS_RR_TYPE_AAAA, wire, len, 0, &answer), -EBADMSG);
    assert_int_equal(forward_read(a, LDNS_RR_TYPE_A, wire, len - 1, 0, &answer), -EBADMSG);
    assert_int_equal(answer.rcode, LDNS_RCODE_SERVFAIL);
    wire[2] &= 0x7f; /* a question */
    assert_int_equal(forward_read(a, LDNS_RR_TYPE_A, wire, len, 0, &answer), -EBADMSG);
    ldns_rdf_deep_free(a);
    ldns_rdf_deep_free(b);
}

static bool has(struct dns_cache *c, const char *key, uint64_t now, const char *text, uint32_t age)
{
    size_t len = 0;
    uint32_t got = 0;
    const uint8_t *m = dns_cache_get(c, key, now, &len, &got);
    if (!m)
        return !text;
    return text && len == strlen(text) && !memcmp(m, text, len) && got == age;
}

static void cache_forgets(_unused_ void **state)
{
    struct dns_cache *c = dns_cache_new(1000);
    dns_cache_put(c, "a", "one", 3, 2, 5000);
    assert_true(has(c, "a", 6999, "one", 1));
    assert_true(has(c, "a", 7000, NULL, 0));
    assert_int_equal(dns_cache_count(c), 0);
    dns_cache_put(c, "a", "two", 3, 0, 7000);
    assert_int_equal(dns_cache_count(c), 0);
    dns_cache_put(c, "a", "one", 3, 9, 7000);
    dns_cache_put(c, "a", "three", 5, 9, 8000);
    assert_true(has(c, "a", 8000, "three", 0));
    /* Room for five; what was asked for stays. */
    for (char key[2] = "b"; key[0] <= 'f'; key[0]++) {
        dns_cache_put(c, key, key, 1, 9, 8000);
        assert_true(has(c, "a", 8000, "three", 0));
    }
    assert_true(has(c, "b", 8000, NULL, 0));
    assert_true(has(c, "f", 8000, "f", 0));
    assert_true(dns_cache_count(c) <= 5);
    _cleanup_free_ char *large = mem_zalloc(2000);
    dns_cache_put(c, "large", large, 2000, 9, 8000);
    assert_true(has(c, "large", 8000, NULL, 0));
    (void)dns_cache_free(c);
}

static void resolvers(_unused_ void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", ""},
        {"nameserver 192.0.2.1\nnameserver\t2001:db8::1 # x\n", "192.0.2.1 2001:db8::1 "},
        {"# nameserver 192.0.2.1\nsearch a b\nnameserver 192.0.2.2", "192.0.2.2 "},
        {"nameserver\nnameserver x\nnameservers 192.0.2.1\nnameserver fe80::1%eth0\r\n", ""},
        {"nameserver 192.0.2.1\r\noptions ndots:5\r\n", "192.0.2.1 "},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ip_addr servers[RESOLV_SERVERS_MAX];
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        char text[IP_TEXT_MAX];
        size_t n;
        resolv_parse(cases[i].text, servers, &n);
        for (size_t k = 0; k < n; k++)
            strbuf_addf(&b, "%s ", ip_addr_format(&servers[k], text));
        assert_string_equal(strbuf_text(&b), cases[i].expected);
    }
    _cleanup_strbuf_ struct strbuf many = STRBUF_INIT;
    struct ip_addr servers[RESOLV_SERVERS_MAX];
    size_t n;
    for (int i = 0; i < 20; i++)
        strbuf_addf(&many, "nameserver 192.0.2.%d\n", i);
    resolv_parse(many.data, servers, &n);
    assert_int_equal(n, RESOLV_SERVERS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(cache_forgets),
        cmocka_unit_test(resolvers),
    };
    return RUN_TESTS(tests);
}
