/* dns/message and dns/responder: from the bytes of a query to the bytes of its reply. */
#include "lib/test.h"

#include "base/strbuf.h"
#include "dns/message.h"
#include "dns/responder.h"

static void set_service(struct zone *z, const char *name, const char *spec)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ char *key = str_printf("default/%s", name);
    _cleanup_free_ char *text =
        str_printf("{\"metadata\": {\"name\": \"%s\", \"namespace\": \"default\"}, \"spec\": {%s}}",
                   name, spec);
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    assert_non_null(j);
    assert_int_equal(zone_service_set(z, key, j, &err), 0);
}

static void alias(struct zone *z, const char *name, const char *target)
{
    _cleanup_free_ char *spec =
        str_printf("\"type\": \"ExternalName\", \"externalName\": \"%s\"", target);
    set_service(z, name, spec);
}

#define ENDPOINTS 100

static struct zone *new_zone(bool synced)
{
    struct zone *z = NULL;
    const struct zone_config c = {.domain = "cluster.local", .ttl = 5};
    assert_int_equal(zone_new(&z, &c, NULL), 0);
    zone_namespace_set(z, "default");
    set_service(z, "web", "\"clusterIP\": \"10.96.1.1\"");
    set_service(z, "many", "\"clusterIP\": \"None\"");
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    strbuf_adds(&b, "{\"metadata\": {\"name\": \"many-1\", \"namespace\": \"default\", \"labels\": "
                    "{\"kubernetes.io/service-name\": \"many\"}}, \"endpoints\": [");
    for (int i = 0; i < ENDPOINTS; i++)
        strbuf_addf(&b, "%s{\"addresses\": [\"10.244.0.%d\"]}", i ? "," : "", i + 1);
    strbuf_adds(&b, "]}");
    _cleanup_json_ json_t *j = json_parse(b.data, b.len, NULL);
    assert_int_equal(zone_slice_set(z, "default/many-1", j, NULL), 0);
    alias(z, "inside", "web.default.svc.cluster.local");
    alias(z, "twice", "inside.default.svc.cluster.local");
    alias(z, "nowhere", "absent.default.svc.cluster.local");
    alias(z, "outside", "www.example.com");
    alias(z, "loop", "pool.default.svc.cluster.local");
    alias(z, "pool", "loop.default.svc.cluster.local");
    if (synced)
        zone_synced(z);
    return z;
}

/* A query as a client would send it. @edns: its size, 0 for none. */
static uint8_t *query(const char *name, ldns_rr_type type, uint16_t edns, size_t *ret_len)
{
    ldns_pkt *pkt = NULL;
    uint8_t *wire = NULL;
    assert_int_equal(ldns_pkt_query_new_frm_str(&pkt, name, type, LDNS_RR_CLASS_IN, LDNS_RD), 0);
    ldns_pkt_set_id(pkt, 0x1234);
    ldns_pkt_set_edns_udp_size(pkt, edns);
    assert_int_equal(ldns_pkt2wire(&wire, pkt, ret_len), 0);
    ldns_pkt_free(pkt);
    return wire;
}

static ldns_pkt *answer_bytes(struct zone *z, const uint8_t *data, size_t len, bool tcp,
                              size_t *ret_len)
{
    _cleanup_(responder_freep) struct responder *r = responder_new(z, NULL, NULL);
    _cleanup_free_ uint8_t *reply = NULL;
    ldns_pkt *pkt = NULL;
    responder_answer(r, data, len, tcp, &reply, ret_len);
    if (reply)
        assert_int_equal(ldns_wire2pkt(&pkt, reply, *ret_len), 0);
    return pkt;
}

static ldns_pkt *ask(struct zone *z, const char *name, ldns_rr_type type, uint16_t edns, bool tcp,
                     size_t *ret_len)
{
    size_t len;
    _cleanup_free_ uint8_t *wire = query(name, type, edns, &len);
    ldns_pkt *pkt = answer_bytes(z, wire, len, tcp, ret_len);
    assert_non_null(pkt);
    assert_int_equal(ldns_pkt_id(pkt), 0x1234);
    assert_true(ldns_pkt_qr(pkt));
    assert_true(ldns_pkt_rd(pkt));
    assert_int_equal(ldns_pkt_qdcount(pkt), 1);
    assert_int_equal(ldns_pkt_edns(pkt), edns != 0);
    return pkt;
}

static void rcodes(_unused_ void **state)
{
    static const struct {
        const char *name;
        ldns_rr_type type;
        ldns_pkt_rcode rcode;
        int answers, authority;
    } cases[] = {
        {"web.default.svc.cluster.local", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR, 1, 0},
        {"web.default.svc.cluster.local", LDNS_RR_TYPE_AAAA, LDNS_RCODE_NOERROR, 0, 1},
        {"web.default.svc.cluster.local", LDNS_RR_TYPE_ANY, LDNS_RCODE_NOERROR, 1, 0},
        {"absent.default.svc.cluster.local", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN, 0, 1},
        {"absent.default.svc.cluster.local", LDNS_RR_TYPE_ANY, LDNS_RCODE_NXDOMAIN, 0, 1},
        {"with\\.dot.default.svc.cluster.local", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN, 0, 1},
        {"inside.default.svc.cluster.local", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR, 2, 0},
        {"inside.default.svc.cluster.local", LDNS_RR_TYPE_AAAA, LDNS_RCODE_NOERROR, 1, 1},
        {"inside.default.svc.cluster.local", LDNS_RR_TYPE_CNAME, LDNS_RCODE_NOERROR, 1, 0},
        {"twice.default.svc.cluster.local", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR, 3, 0},
        {"nowhere.default.svc.cluster.local", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN, 1, 1},
        {"outside.default.svc.cluster.local", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR, 1, 0},
        {"loop.default.svc.cluster.local", LDNS_RR_TYPE_A, LDNS_RCODE_SERVFAIL, 0, 0},
        {"example.com", LDNS_RR_TYPE_A, LDNS_RCODE_REFUSED, 0, 0},
        {"cluster.local", LDNS_RR_TYPE_AXFR, LDNS_RCODE_REFUSED, 0, 0},
    };
    struct zone *z = new_zone(true), *early = new_zone(false);
    size_t len;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_pkt_ ldns_pkt *p = ask(z, cases[i].name, cases[i].type, 1232, false, &len);
        if (ldns_pkt_get_rcode(p) != cases[i].rcode || ldns_pkt_ancount(p) != cases[i].answers ||
            ldns_pkt_nscount(p) != cases[i].authority)
            fail_msg("%s type %d: rcode %d, %d answers, %d authority", cases[i].name,
                     (int)cases[i].type, (int)ldns_pkt_get_rcode(p), ldns_pkt_ancount(p),
                     ldns_pkt_nscount(p));
        assert_int_equal(ldns_pkt_aa(p), cases[i].rcode == LDNS_RCODE_NOERROR ||
                                             cases[i].rcode == LDNS_RCODE_NXDOMAIN);
    }
    _cleanup_pkt_ ldns_pkt *p =
        ask(early, "web.default.svc.cluster.local", LDNS_RR_TYPE_A, 0, false, &len);
    assert_int_equal(ldns_pkt_get_rcode(p), LDNS_RCODE_SERVFAIL);
    (void)zone_free(z);
    (void)zone_free(early);
}

static void sizes(_unused_ void **state)
{
    static const struct {
        uint16_t edns;
        bool tcp;
        size_t limit;
    } cases[] = {{0, false, 512},     {100, false, 512},      {700, false, 700},
                 {4096, false, 1232}, {0, true, MESSAGE_MAX}, {512, true, MESSAGE_MAX}};
    struct zone *z = new_zone(true);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t len;
        _cleanup_pkt_ ldns_pkt *p = ask(z, "many.default.svc.cluster.local", LDNS_RR_TYPE_A,
                                        cases[i].edns, cases[i].tcp, &len);
        assert_true(len <= cases[i].limit);
        assert_int_equal(ldns_pkt_tc(p), !cases[i].tcp);
        if (cases[i].tcp)
            assert_int_equal(ldns_pkt_ancount(p), ENDPOINTS);
        else /* as many as fit: another of 16 bytes does not */
            assert_true(len + 16 > cases[i].limit);
    }
    (void)zone_free(z);
}

/* Clients that change letters of a name to tell answers from forgeries want them back. */
static void letters_come_back(_unused_ void **state)
{
    struct zone *z = new_zone(true);
    size_t len;
    _cleanup_free_ uint8_t *wire = query("wEB.Default.svc.CLUSTER.local", LDNS_RR_TYPE_A, 0, &len);
    _cleanup_(responder_freep) struct responder *r = responder_new(z, NULL, NULL);
    _cleanup_free_ uint8_t *reply = NULL;
    size_t reply_len;
    responder_answer(r, wire, len, false, &reply, &reply_len);
    assert_non_null(reply);
    assert_int_equal(reply_len, len + 16); /* the owner is a pointer to the question */
    assert_memory_equal(reply + MESSAGE_HEADER, wire + MESSAGE_HEADER, len - MESSAGE_HEADER);
    (void)zone_free(z);
}

static void bad_messages(_unused_ void **state)
{
    struct zone *z = new_zone(true);
    size_t len, reply_len;
    _cleanup_free_ uint8_t *good =
        query("web.default.svc.cluster.local", LDNS_RR_TYPE_A, 1232, &len);
    static const struct {
        size_t at; /* the byte to change */
        uint8_t value;
        int cut;        /* bytes to leave out at the end */
        unsigned rcode; /* 99: no answer at all */
    } cases[] = {
        {0, 0x12, 0, LDNS_RCODE_NOERROR},  {2, 0x81, 0, 99},
        {2, 0x11, 0, LDNS_RCODE_NOTIMPL},  {5, 2, 0, LDNS_RCODE_FORMERR},
        {5, 0, 0, LDNS_RCODE_FORMERR},     {7, 1, 0, LDNS_RCODE_FORMERR},
        {11, 0, 11, LDNS_RCODE_NOERROR},   {11, 1, 11, LDNS_RCODE_FORMERR},
        {11, 9, 0, LDNS_RCODE_FORMERR},    {12, 63, 0, LDNS_RCODE_FORMERR},
        {12, 0xc0, 0, LDNS_RCODE_FORMERR}, {0, 0x12, 12, LDNS_RCODE_FORMERR},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ uint8_t *wire = mem_dup(good, len - (size_t)cases[i].cut);
        wire[cases[i].at] = cases[i].value;
        _cleanup_pkt_ ldns_pkt *p =
            answer_bytes(z, wire, len - (size_t)cases[i].cut, false, &reply_len);
        unsigned rcode = p ? (unsigned)ldns_pkt_get_rcode(p) : 99;
        if (rcode != cases[i].rcode)
            fail_msg("case %zu: rcode %u", i, rcode);
        if (p && rcode == LDNS_RCODE_FORMERR)
            assert_int_equal(reply_len, MESSAGE_HEADER);
    }
    for (size_t n = 0; n < MESSAGE_HEADER; n++)
        assert_null(answer_bytes(z, good, n, false, &reply_len));
    (void)zone_free(z);
}

static void other_versions_and_classes(_unused_ void **state)
{
    struct zone *z = new_zone(true);
    size_t len, reply_len;
    _cleanup_free_ uint8_t *wire =
        query("web.default.svc.cluster.local", LDNS_RR_TYPE_A, 1232, &len);
    wire[len - 5] = 1; /* the version in the OPT record */
    ldns_pkt *p = answer_bytes(z, wire, len, false, &reply_len);
    assert_int_equal(ldns_pkt_get_rcode(p), 0);
    assert_int_equal(ldns_pkt_edns_extended_rcode(p), 1); /* 16: BADVERS */
    assert_int_equal(ldns_pkt_ancount(p), 0);
    ldns_pkt_free(p);
    wire[len - 5] = 0;
    wire[len - 11 - 1] = LDNS_RR_CLASS_CH;
    p = answer_bytes(z, wire, len, false, &reply_len);
    assert_int_equal(ldns_pkt_get_rcode(p), LDNS_RCODE_REFUSED);
    ldns_pkt_free(p);
    (void)zone_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rcodes),
        cmocka_unit_test(sizes),
        cmocka_unit_test(letters_come_back),
        cmocka_unit_test(bad_messages),
        cmocka_unit_test(other_versions_and_classes),
    };
    return RUN_TESTS(tests);
}
