/* dns/zone: from objects to records, without a socket. Objects are written with ' for ", answers
 * are compared as text; see ask(). */
#include "lib/test.h"

#include <errno.h>

#include "base/strbuf.h"
#include "dns/zone.h"

static json_t *parse(const char *text)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ char *copy = str_dup(text);
    for (char *c = copy; *c; c++)
        *c = (char)(*c == '\'' ? '"' : *c);
    json_t *j = json_parse(copy, strlen(copy), &err);
    if (!j)
        fail_msg("%s: %s", err.text, copy);
    return j;
}

static void set_service(struct zone *z, const char *key, const char *text)
{
    _cleanup_json_ json_t *j = parse(text);
    assert_int_equal(zone_service_set(z, key, j, NULL), 0);
}

static void set_slice(struct zone *z, const char *key, const char *text)
{
    _cleanup_json_ json_t *j = parse(text);
    assert_int_equal(zone_slice_set(z, key, j, NULL), 0);
}

static void set_pod(struct zone *z, const char *key, const char *text)
{
    _cleanup_json_ json_t *j = parse(text);
    assert_int_equal(zone_pod_set(z, key, j, NULL), 0);
}

#define PORTS \
    "'ports': [{'name': 'http', 'port': 80}, {'name': 'dns', 'port': 53, 'protocol': 'UDP'}]"

static struct zone *new_zone(enum zone_pods pods)
{
    const struct ip_addr servers[] = {{.family = AF_INET, .bytes = {10, 96, 0, 10}}};
    const struct zone_config c = {
        .domain = "Cluster.Local.", .pods = pods, .ttl = 5, .servers = servers, .n_servers = 1};
    struct zone *z = NULL;
    assert_int_equal(zone_new(&z, &c, NULL), 0);
    zone_namespace_set(z, "default");
    zone_namespace_set(z, "empty");
    return z;
}

/* A service of each kind. */
static struct zone *full_zone(void)
{
    struct zone *z = new_zone(ZONE_PODS_INSECURE);
    set_service(z, "default/web",
                "{'metadata': {'name': 'web', 'namespace': 'default'}, 'spec': {'clusterIP': "
                "'10.96.1.1', 'clusterIPs': ['10.96.1.1', 'fd00::1'], " PORTS "}}");
    set_slice(z, "default/web-1",
              "{'metadata': {'name': 'web-1', 'namespace': 'default', 'labels': "
              "{'kubernetes.io/service-name': 'web'}}, 'addressType': 'IPv4', 'ports': [{'name': "
              "'http', 'port': 8080}], 'endpoints': [{'addresses': ['10.244.0.9']}]}");
    set_service(z, "default/pets",
                "{'metadata': {'name': 'pets', 'namespace': 'default'}, 'spec': {'clusterIP': "
                "'None', 'clusterIPs': ['None'], " PORTS "}}");
    set_slice(z, "default/pets-4",
              "{'metadata': {'name': 'pets-4', 'namespace': 'default', 'labels': "
              "{'kubernetes.io/service-name': 'pets'}}, 'addressType': 'IPv4', 'ports': [{'name': "
              "'http', 'port': 8080}, {'name': 'dns', 'port': 53, 'protocol': 'UDP'}], "
              "'endpoints': [{'addresses': ['10.244.0.1'], 'hostname': 'cat'}, "
              "{'addresses': ['10.244.0.2'], 'conditions': {'ready': true}}, "
              "{'addresses': ['10.244.0.3'], 'hostname': 'dog', 'conditions': {'ready': false}}]}");
    set_slice(z, "default/pets-6",
              "{'metadata': {'name': 'pets-6', 'namespace': 'default', 'labels': "
              "{'kubernetes.io/service-name': 'pets'}}, 'addressType': 'IPv6', 'ports': [{'name': "
              "'http', 'port': 8080}], 'endpoints': [{'addresses': ['fd00:1::1'], 'hostname': "
              "'cat'}]}");
    set_service(z, "default/early",
                "{'metadata': {'name': 'early', 'namespace': 'default'}, 'spec': {'clusterIP': "
                "'None', 'publishNotReadyAddresses': true}}");
    set_slice(z, "default/early-1",
              "{'metadata': {'name': 'early-1', 'namespace': 'default', 'labels': "
              "{'kubernetes.io/service-name': 'early'}}, 'addressType': 'IPv4', 'endpoints': "
              "[{'addresses': ['10.244.0.4'], 'conditions': {'ready': false}}]}");
    set_service(z, "default/none",
                "{'metadata': {'name': 'none', 'namespace': 'default'}, 'spec': {'clusterIP': "
                "'None'}}");
    set_service(z, "default/out",
                "{'metadata': {'name': 'out', 'namespace': 'default'}, 'spec': {'type': "
                "'ExternalName', 'externalName': 'www.Example.com'}}");
    set_service(z, "default/number",
                "{'metadata': {'name': 'number', 'namespace': 'default'}, 'spec': {'type': "
                "'ExternalName', 'externalName': '192.0.2.1'}}");
    zone_synced(z);
    return z;
}

static void add_records(struct strbuf *b, const char *what, const ldns_rr_list *list)
{
    for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(list, i);
        char *text = ldns_rr2str(rr);
        text[strcspn(text, "\n")] = '\0';
        for (char *c = text; *c; c++)
            *c = (char)(*c == '\t' ? ' ' : *c);
        if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA) /* its serial is the time */
            strbuf_addf(b, "%s%.*s", what, (int)(strstr(text, " SOA ") + 4 - text), text);
        else
            strbuf_addf(b, "%s%s", what, text);
        free(text);
    }
}

/* "| web… 5 IN A 10.96.1.1 + additional ! authority -> alias", or "NXDOMAIN ! …", "OUTSIDE". */
static char *ask(struct zone *z, const char *name, ldns_rr_type type)
{
    static const char *const verdicts[] = {
        [ZONE_OUTSIDE] = "OUTSIDE", [ZONE_UNKNOWN] = "UNKNOWN", [ZONE_NO_NAME] = "NXDOMAIN"};
    _cleanup_answer_ struct zone_answer a;
    struct strbuf b = STRBUF_INIT;
    enum zone_verdict v = zone_lookup(z, name, type, &a);
    strbuf_adds(&b, v == ZONE_NAME ? "" : verdicts[v]);
    add_records(&b, "| ", a.answer);
    add_records(&b, " + ", a.additional);
    add_records(&b, " ! ", a.authority);
    if (a.cname)
        strbuf_addf(&b, " -> %s", a.cname);
    return strbuf_take(&b);
}

struct question {
    const char *name;
    ldns_rr_type type;
    const char *expected;
};

static void check(struct zone *z, const struct question *q, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *got = ask(z, q[i].name, q[i].type);
        if (strcmp(got, q[i].expected) != 0)
            fail_msg("%s type %d:\n     got %s\nexpected %s", q[i].name, (int)q[i].type, got,
                     q[i].expected);
    }
}

#define D          "default.svc.cluster.local"
#define NO_RECORD  " ! cluster.local. 5 IN SOA"
#define NO_NAME    "NXDOMAIN ! cluster.local. 5 IN SOA"
#define A          LDNS_RR_TYPE_A
#define AAAA       LDNS_RR_TYPE_AAAA
#define SRV        LDNS_RR_TYPE_SRV
#define PTR        LDNS_RR_TYPE_PTR
#define NIBBLES(s) s ".0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"

static void cluster_ip_services(_unused_ void **state)
{
    static const struct question q[] = {
        {"web." D, A, "| web." D ". 5 IN A 10.96.1.1"},
        {"web." D, AAAA, "| web." D ". 5 IN AAAA fd00::1"},
        {"web." D, LDNS_RR_TYPE_TXT, NO_RECORD},
        {"_http._tcp.web." D, SRV,
         "| _http._tcp.web." D ". 5 IN SRV 0 100 80 web." D ". + web." D
         ". 5 IN A 10.96.1.1 + web." D ". 5 IN AAAA fd00::1"},
        {"_dns._udp.web." D, SRV,
         "| _dns._udp.web." D ". 5 IN SRV 0 100 53 web." D ". + web." D
         ". 5 IN A 10.96.1.1 + web." D ". 5 IN AAAA fd00::1"},
        {"web." D, SRV,
         "| web." D ". 5 IN SRV 0 50 80 web." D ".| web." D ". 5 IN SRV 0 50 53 web." D ". + web." D
         ". 5 IN A 10.96.1.1 + web." D ". 5 IN AAAA fd00::1"},
        {"_http._tcp.web." D, A, NO_RECORD},
        {"_tcp.web." D, SRV, NO_RECORD},
        {"_sctp.web." D, SRV, NO_NAME},
        {"_http._udp.web." D, SRV, NO_NAME},
        {"http.tcp.web." D, SRV, NO_NAME},
        {"10-244-0-9.web." D, A, "| 10-244-0-9.web." D ". 5 IN A 10.244.0.9"},
        {"1.1.96.10.in-addr.arpa", PTR, "| 1.1.96.10.in-addr.arpa. 5 IN PTR web." D "."},
        {"1.1.96.10.in-addr.arpa", A, " ! 1.1.96.10.in-addr.arpa. 5 IN SOA"},
        {NIBBLES("1.0"), PTR, "| " NIBBLES("1.0") ". 5 IN PTR web." D "."},
        {"9.0.244.10.in-addr.arpa", PTR,
         "| 9.0.244.10.in-addr.arpa. 5 IN PTR 10-244-0-9.web." D "."},
        {"01.1.96.10.in-addr.arpa", PTR, "OUTSIDE"},
        {"8.8.8.8.in-addr.arpa", PTR, "OUTSIDE"},
        {"absent." D, A, NO_NAME},
        {"a.b.c.web." D, A, NO_NAME},
    };
    struct zone *z = full_zone();
    check(z, q, ARRAY_SIZE(q));
    (void)zone_free(z);
}

static void headless_services(_unused_ void **state)
{
    static const struct question q[] = {
        {"pets." D, A, "| pets." D ". 5 IN A 10.244.0.1| pets." D ". 5 IN A 10.244.0.2"},
        {"pets." D, A, "| pets." D ". 5 IN A 10.244.0.2| pets." D ". 5 IN A 10.244.0.1"},
        {"pets." D, AAAA, "| pets." D ". 5 IN AAAA fd00:1::1"},
        {"cat.pets." D, A, "| cat.pets." D ". 5 IN A 10.244.0.1"},
        {"cat.pets." D, AAAA, "| cat.pets." D ". 5 IN AAAA fd00:1::1"},
        {"10-244-0-2.pets." D, A, "| 10-244-0-2.pets." D ". 5 IN A 10.244.0.2"},
        {"10-244-0-2.pets." D, AAAA, NO_RECORD},
        {"dog.pets." D, A, NO_NAME},
        {"10-244-0-1.pets." D, A, NO_NAME},
        {"_dns._udp.pets." D, SRV,
         "| _dns._udp.pets." D ". 5 IN SRV 0 50 53 cat.pets." D ".| _dns._udp.pets." D
         ". 5 IN SRV 0 50 53 10-244-0-2.pets." D ". + cat.pets." D
         ". 5 IN A 10.244.0.1 + 10-244-0-2.pets." D ". 5 IN A 10.244.0.2"},
        /* One host with two addresses is one target. */
        {"_http._tcp.pets." D, SRV,
         "| _http._tcp.pets." D ". 5 IN SRV 0 50 8080 cat.pets." D ".| _http._tcp.pets." D
         ". 5 IN SRV 0 50 8080 10-244-0-2.pets." D ". + cat.pets." D
         ". 5 IN A 10.244.0.1 + 10-244-0-2.pets." D ". 5 IN A 10.244.0.2 + cat.pets." D
         ". 5 IN AAAA fd00:1::1"},
        {"1.0.244.10.in-addr.arpa", PTR, "| 1.0.244.10.in-addr.arpa. 5 IN PTR cat.pets." D "."},
        {"3.0.244.10.in-addr.arpa", PTR, "OUTSIDE"},
        {"early." D, A, "| early." D ". 5 IN A 10.244.0.4"},
        {"none." D, A, NO_NAME},
    };
    struct zone *z = full_zone();
    check(z, q, ARRAY_SIZE(q));
    (void)zone_free(z);
}

static void external_names(_unused_ void **state)
{
    static const struct question q[] = {
        {"out." D, A, "| out." D ". 5 IN CNAME www.example.com. -> www.example.com"},
        {"out." D, LDNS_RR_TYPE_CNAME, "| out." D ". 5 IN CNAME www.example.com."},
        {"x.out." D, A, NO_NAME},
        {"number." D, A, NO_NAME},
    };
    struct zone *z = full_zone();
    check(z, q, ARRAY_SIZE(q));
    (void)zone_free(z);
}

static void the_rest_of_the_domain(_unused_ void **state)
{
    static const struct question q[] = {
        {"dns-version.cluster.local", LDNS_RR_TYPE_TXT,
         "| dns-version.cluster.local. 28800 IN TXT \"1.1.0\""},
        {"dns-version.cluster.local", A, NO_RECORD},
        {"cluster.local", A, NO_RECORD},
        {"cluster.local", LDNS_RR_TYPE_SOA, "| cluster.local. 5 IN SOA"},
        {"cluster.local", LDNS_RR_TYPE_NS,
         "| cluster.local. 5 IN NS ns.dns.cluster.local. + ns.dns.cluster.local. 5 IN A "
         "10.96.0.10"},
        {"ns.dns.cluster.local", A, "| ns.dns.cluster.local. 5 IN A 10.96.0.10"},
        {"dns.cluster.local", A, NO_RECORD},
        {"a.ns.dns.cluster.local", A, NO_NAME},
        {"svc.cluster.local", A, NO_RECORD},
        {"pod.cluster.local", A, NO_RECORD},
        {"empty.svc.cluster.local", A, NO_RECORD},
        {"other.svc.cluster.local", A, NO_NAME},
        {"www.example.com." D, A, NO_NAME}, /* the search walk ends here */
        {"w?b." D, A, NO_NAME},
        {"example.com", A, "OUTSIDE"},
        {"xcluster.local", A, "OUTSIDE"},
        {"local", A, "OUTSIDE"},
        {"", A, "OUTSIDE"},
    };
    struct zone *z = full_zone();
    check(z, q, ARRAY_SIZE(q));
    (void)zone_free(z);
}

static void pods(_unused_ void **state)
{
    static const struct question insecure[] = {
        {"10-1-2-3.default.pod.cluster.local", A,
         "| 10-1-2-3.default.pod.cluster.local. 5 IN A 10.1.2.3"},
        {"10-1-2-3.default.pod.cluster.local", AAAA, NO_RECORD},
        {"fd00--1.default.pod.cluster.local", AAAA,
         "| fd00--1.default.pod.cluster.local. 5 IN AAAA fd00::1"},
        {"10-1-2-3.other.pod.cluster.local", A, NO_NAME},
        {"10-1-2.default.pod.cluster.local", A, NO_NAME},
        {"10-1-2-300.default.pod.cluster.local", A, NO_NAME},
        {"x.10-1-2-3.default.pod.cluster.local", A, NO_NAME},
    };
    static const struct question verified[] = {
        {"10-1-2-3.default.pod.cluster.local", A,
         "| 10-1-2-3.default.pod.cluster.local. 5 IN A 10.1.2.3"},
        {"10-1-2-4.default.pod.cluster.local", A, NO_NAME},
        {"10-1-2-3.empty.pod.cluster.local", A, NO_NAME},
    };
    static const struct question disabled[] = {
        {"10-1-2-3.default.pod.cluster.local", A, NO_NAME},
        {"pod.cluster.local", A, NO_NAME},
    };
    struct zone *z = full_zone();
    check(z, insecure, ARRAY_SIZE(insecure));
    (void)zone_free(z);

    z = new_zone(ZONE_PODS_VERIFIED);
    const char *pod = "{'metadata': {'namespace': 'default'}, 'status': {'podIPs': [{'ip': "
                      "'10.1.2.3'}]}}";
    set_pod(z, "default/a", pod);
    set_pod(z, "default/b", pod); /* the host's network: the same address */
    set_pod(z, "default/b", pod);
    zone_synced(z);
    zone_pod_remove(z, "default/b");
    check(z, verified, ARRAY_SIZE(verified));
    zone_pod_remove(z, "default/a");
    check(z, &(struct question){"10-1-2-3.default.pod.cluster.local", A, NO_NAME}, 1);
    (void)zone_free(z);

    z = new_zone(ZONE_PODS_DISABLED);
    zone_synced(z);
    check(z, disabled, ARRAY_SIZE(disabled));
    (void)zone_free(z);
}

static void changes(_unused_ void **state)
{
    struct zone *z = full_zone();
    struct error err = ERROR_INIT;
    /* The address moves to another service, then the first goes. */
    set_service(z, "default/new",
                "{'metadata': {'name': 'new', 'namespace': 'default'}, 'spec': {'clusterIP': "
                "'10.96.1.1'}}");
    zone_service_remove(z, "default/web");
    zone_slice_remove(z, "default/pets-6");
    zone_slice_remove(z, "default/unheard-of");
    set_slice(z, "default/pets-4",
              "{'metadata': {'name': 'pets-4', 'namespace': 'default', 'labels': "
              "{'kubernetes.io/service-name': 'pets'}}, 'endpoints': [{'addresses': "
              "['10.244.0.7', 'not an address']}]}");
    static const struct question q[] = {
        {"web." D, A, NO_NAME},
        {"new." D, A, "| new." D ". 5 IN A 10.96.1.1"},
        {"1.1.96.10.in-addr.arpa", PTR, "| 1.1.96.10.in-addr.arpa. 5 IN PTR new." D "."},
        {"9.0.244.10.in-addr.arpa", PTR, "OUTSIDE"}, /* its service is gone */
        {"1.0.244.10.in-addr.arpa", PTR, "OUTSIDE"},
        {"pets." D, A, "| pets." D ". 5 IN A 10.244.0.7"},
        {"pets." D, AAAA, NO_RECORD},
        {"cat.pets." D, A, NO_NAME},
    };
    check(z, q, ARRAY_SIZE(q));

    _cleanup_json_ json_t *bad = parse("{'metadata': {'name': 'new', 'namespace': 7}}");
    assert_int_equal(zone_service_set(z, "default/new", bad, &err), -EINVAL);
    assert_non_null(strstr(err.text, "metadata.namespace"));
    check(z, &(struct question){"new." D, A, NO_NAME}, 1);
    zone_namespace_remove(z, "default");
    check(z, &(struct question){"pets." D, A, NO_NAME}, 1);
    (void)zone_free(z);
}

static void before_it_is_complete(_unused_ void **state)
{
    static const struct question q[] = {
        {"web." D, A, "UNKNOWN"},
        {"cluster.local", A, "UNKNOWN"},
        {"1.1.96.10.in-addr.arpa", PTR, "UNKNOWN"},
        {"example.com", A, "OUTSIDE"},
    };
    struct zone *z = new_zone(ZONE_PODS_INSECURE);
    check(z, q, ARRAY_SIZE(q));
    (void)zone_free(z);
}

static void bad_domains(_unused_ void **state)
{
    static const char *const domains[] = {"", ".", "a..b", "a b", "x\\.y"};
    for (size_t i = 0; i < ARRAY_SIZE(domains); i++) {
        struct zone *z = NULL;
        const struct zone_config c = {.domain = domains[i]};
        assert_int_equal(zone_new(&z, &c, NULL), -EINVAL);
        assert_null(z);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cluster_ip_services),
        cmocka_unit_test(headless_services),
        cmocka_unit_test(external_names),
        cmocka_unit_test(the_rest_of_the_domain),
        cmocka_unit_test(pods),
        cmocka_unit_test(changes),
        cmocka_unit_test(before_it_is_complete),
        cmocka_unit_test(bad_domains),
    };
    return RUN_TESTS(tests);
}
