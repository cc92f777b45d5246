/* cri/hostport and cri/firewall_rules: who has which port of the node, and the rules for it. */
#include "lib/test.h"

#include <errno.h>
#include <netinet/in.h>

#include "cri/firewall_rules.h"
#include "net/pbjson.h"

static struct hostports ports;

static int setup(_unused_ void **state)
{
    hostports_init(&ports);
    return 0;
}

static int teardown(_unused_ void **state)
{
    hostports_done(&ports);
    return 0;
}

static int parse(const char *mappings, struct hostport **list, size_t *n, struct error *err)
{
    _cleanup_free_ char *text = str_printf("{\"port_mappings\":[%s]}", mappings);
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), NULL);
    assert_non_null(j);
    ProtobufCMessage *config =
        pbjson_to_message(&runtime__v1__pod_sandbox_config__descriptor, j, NULL);
    assert_non_null(config);
    int r = hostports_parse((const Runtime__V1__PodSandboxConfig *)config, list, n, err);
    protobuf_c_message_free_unpacked(config, NULL);
    return r;
}

/* Claims for a pod with these addresses. */
static int claim(const char *sandbox, const char *mappings, const char *addresses,
                 struct error *err)
{
    struct hostport *list;
    struct ip_addr addrs[2];
    size_t n, n_addrs = 0;
    _cleanup_free_ char *pod = str_printf("default/%s", sandbox);
    _cleanup_free_ char *copy = str_dup(addresses);
    char *rest = NULL;
    for (char *a = strtok_r(copy, ",", &rest); a; a = strtok_r(NULL, ",", &rest))
        assert_int_equal(ip_addr_parse(a, &addrs[n_addrs++]), 0);
    assert_int_equal(parse(mappings, &list, &n, NULL), 0);
    return hostports_claim(&ports, sandbox, pod, list, n, addrs, n_addrs, err);
}

static void mappings_are_read(_unused_ void **state)
{
    struct hostport *list;
    size_t n;
    assert_int_equal(parse("{\"container_port\":80},"
                           "{\"container_port\":53,\"host_port\":5353,\"protocol\":\"UDP\","
                           "\"host_ip\":\"127.0.0.1\"},"
                           "{\"container_port\":9,\"host_port\":9,\"protocol\":\"SCTP\"}",
                           &list, &n, NULL),
                     0);
    assert_int_equal(n, 2); /* a port without a host port is not mapped */
    assert_int_equal(list[0].protocol, IPPROTO_UDP);
    assert_int_equal(list[0].host_port, 5353);
    assert_int_equal(list[0].pod_port, 53);
    assert_int_equal(list[0].host_ip.family, AF_INET);
    assert_string_equal(hostport_protocol(&list[1]), "sctp");
    assert_true(hostport_serves(&list[1], AF_INET6));
    assert_false(hostport_serves(&list[0], AF_INET6));
    free(list);
    assert_int_equal(parse("{\"container_port\":80}", &list, &n, NULL), 0);
    assert_null(list);
}

static void bad_mappings_name_the_field(_unused_ void **state)
{
    static const struct {
        const char *mapping, *named;
    } bad[] = {
        {"{\"container_port\":80,\"host_port\":65536}", "[0].host_port"},
        {"{\"container_port\":80,\"host_port\":-1}", "[0].host_port"},
        {"{\"container_port\":0,\"host_port\":1}", "[0].container_port"},
        {"{\"container_port\":70000,\"host_port\":1}", "[0].container_port"},
        {"{\"container_port\":1,\"host_port\":1,\"host_ip\":\"localhost\"}", "[0].host_ip"},
        {"{\"container_port\":1,\"host_port\":1,\"protocol\":7}", "[0].protocol"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct hostport *list;
        struct error err = ERROR_INIT;
        size_t n;
        assert_int_equal(parse(bad[i].mapping, &list, &n, &err), -EINVAL);
        if (!strstr(err.text, bad[i].named))
            fail_msg("%s: %s", bad[i].mapping, err.text);
        assert_string_equal(err.field, "config.port_mappings");
        assert_null(list);
    }
}

static void a_port_has_one_pod(_unused_ void **state)
{
    struct error err = ERROR_INIT;
    static const char any[] = "{\"container_port\":80,\"host_port\":8080}",
                      udp[] = "{\"container_port\":80,\"host_port\":8080,\"protocol\":\"UDP\"}",
                      one[] = "{\"container_port\":80,\"host_port\":81,\"host_ip\":\"10.0.0.1\"}",
                      two[] = "{\"container_port\":80,\"host_port\":81,\"host_ip\":\"10.0.0.2\"}",
                      all4[] = "{\"container_port\":80,\"host_port\":81,\"host_ip\":\"0.0.0.0\"}",
                      all6[] = "{\"container_port\":80,\"host_port\":81,\"host_ip\":\"::\"}";
    assert_int_equal(claim("a", any, "10.1.0.2", NULL), 0);
    assert_int_equal(claim("b", any, "10.1.0.3", &err), -EBUSY);
    assert_non_null(strstr(err.text, "8080/tcp"));
    assert_non_null(strstr(err.text, "default/a"));
    assert_null(hostports_of(&ports, "b"));
    assert_int_equal(claim("b", udp, "10.1.0.3", NULL), 0); /* another protocol */
    assert_int_equal(claim("c", one, "10.1.0.4", NULL), 0);
    assert_int_equal(claim("d", two, "10.1.0.5", NULL), 0); /* another address */
    assert_int_equal(claim("e", one, "10.1.0.6", &err), -EBUSY);
    assert_int_equal(claim("e", all4, "10.1.0.6", &err), -EBUSY); /* overlaps both */
    assert_int_equal(claim("e", all6, "10.1.0.6,fd00::6", NULL), 0);
    assert_int_equal(claim("f", all6, "10.1.0.7", &err), -EINVAL); /* the pod has no IPv6 */
    assert_non_null(strstr(err.text, "host_ip"));
    assert_true(hostports_release(&ports, "a"));
    assert_false(hostports_release(&ports, "a"));
    assert_int_equal(claim("f", any, "10.1.0.7", NULL), 0);
    /* Twice in one pod. */
    _cleanup_free_ char *twice = str_printf("%s,%s", two, two);
    assert_int_equal(claim("g", twice, "10.1.0.8", &err), -EBUSY);
    assert_int_equal(map_count(&ports.claims), 5);
}

/* ---- rules ---- */
static struct firewall_config config(const char *pods, const char *clusters)
{
    struct firewall_config c = {.bridge = "br0", .masquerade = true, .bridged_nat = true};
    int n = ip_prefixes_parse(pods, c.pods, IPAM_PREFIXES_MAX, NULL);
    assert_true(n > 0);
    c.n_pods = (size_t)n;
    n = *clusters ? ip_prefixes_parse(clusters, c.clusters, FIREWALL_CLUSTERS_MAX, NULL) : 0;
    assert_true(n >= 0);
    c.n_clusters = (size_t)n;
    return c;
}

static char *rules(const struct firewall_config *c, int family, struct firewall_seen *seen)
{
    struct strbuf text = STRBUF_INIT;
    firewall_rules(c, family, &ports, seen, &text);
    return strbuf_take(&text);
}

static bool has(const char *text, const char *line)
{
    _cleanup_free_ char *whole = str_printf("\n%s\n", line);
    return strstr(text, whole);
}

static void masquerading(_unused_ void **state)
{
    struct firewall_config c = config("10.1.0.0/24,fd00:1::/64", "10.1.0.0/16,10.9.0.0/16");
    struct firewall_seen seen = {.ports = false};
    _cleanup_free_ char *first = rules(&c, AF_INET, &seen);
    assert_true(has(first, "-A CORACLE-MASQ ! -s 10.1.0.0/24 -j RETURN"));
    assert_true(has(first, "-A CORACLE-MASQ -d 10.1.0.0/16 -j RETURN"));
    assert_true(has(first, "-A CORACLE-MASQ -d 10.9.0.0/16 -j RETURN"));
    assert_non_null(strstr(first, "-A POSTROUTING"));
    assert_non_null(strstr(first, "-A FORWARD"));
    assert_null(strstr(first, "HOSTPORTS"));
    assert_null(strstr(first, "fd00"));
    _cleanup_free_ char *again = rules(&c, AF_INET, &seen);
    assert_null(strstr(again, "-A POSTROUTING")); /* the jumps are there by then */
    assert_null(strstr(again, "-A FORWARD"));

    seen = (struct firewall_seen){.ports = false};
    _cleanup_free_ char *v6 = rules(&c, AF_INET6, &seen);
    assert_true(has(v6, "-A CORACLE-MASQ -d fd00:1::/64 -j RETURN"));
    assert_true(has(v6, "-A CORACLE-MASQ -d ff00::/8 -j RETURN"));
    assert_null(strstr(v6, "10."));

    c.masquerade = false;
    _cleanup_free_ char *none = rules(&c, AF_INET, &seen);
    assert_null(strstr(none, "MASQUERADE"));
    assert_true(has(none, ":CORACLE-MASQ - [0:0]")); /* what was there goes */
    c.bridged_nat = false;
    _cleanup_free_ char *bridged = rules(&c, AF_INET, &seen);
    assert_true(has(bridged, "-A CORACLE-MASQ -s 10.1.0.0/24 -d 10.1.0.0/24 -o br0 -m conntrack "
                             "--ctstate DNAT -j MASQUERADE"));
}

static void rules_of_host_ports(_unused_ void **state)
{
    struct firewall_config c = config("10.1.0.0/24,fd00:1::/64", "");
    struct firewall_seen seen = {.ports = false};
    assert_int_equal(claim("a\"; evil",
                           "{\"container_port\":80,\"host_port\":8080},"
                           "{\"container_port\":53,\"host_port\":53,\"protocol\":\"UDP\","
                           "\"host_ip\":\"192.0.2.1\"}",
                           "10.1.0.2,fd00:1::2", NULL),
                     0);
    _cleanup_free_ char *v4 = rules(&c, AF_INET, &seen);
    assert_true(has(v4, "-A CORACLE-HOSTPORTS -p tcp -m tcp --dport 8080 -m comment --comment "
                        "\"default/a___evil\" -j DNAT --to-destination 10.1.0.2:80"));
    assert_true(has(v4, "-A CORACLE-HOSTPORTS -d 192.0.2.1/32 -p udp -m udp --dport 53 -m comment "
                        "--comment \"default/a___evil\" -j DNAT --to-destination 10.1.0.2:53"));
    assert_true(has(v4, "-A CORACLE-MASQ -s 127.0.0.0/8 -o br0 -j MASQUERADE"));
    assert_true(has(v4, "-A CORACLE-MASQ -s 10.1.0.2/32 -d 10.1.0.2/32 -o br0 -j MASQUERADE"));
    assert_non_null(strstr(v4, "\n-I INPUT "));
    assert_non_null(strstr(v4, "\n-A PREROUTING "));
    assert_non_null(strstr(v4, "\n-A OUTPUT "));
    seen = (struct firewall_seen){.ports = false};
    _cleanup_free_ char *v6 = rules(&c, AF_INET6, &seen);
    assert_true(has(v6, "-A CORACLE-HOSTPORTS -d ::1/128 -j RETURN"));
    assert_non_null(strstr(v6, "--to-destination [fd00:1::2]:80\n"));
    assert_null(strstr(v6, "--dport 53")); /* its host_ip is IPv4 */
    assert_null(strstr(v6, "INPUT"));

    assert_true(hostports_release(&ports, "a\"; evil"));
    _cleanup_free_ char *empty = rules(&c, AF_INET6, &seen);
    assert_true(has(empty, ":CORACLE-HOSTPORTS - [0:0]"));
    assert_null(strstr(empty, "DNAT"));
    seen = (struct firewall_seen){.ports = false};
    _cleanup_free_ char *never = rules(&c, AF_INET6, &seen);
    assert_null(strstr(never, "HOSTPORTS"));
}

static void what_is_there_is_seen(_unused_ void **state)
{
    static const char saved[] =
        "*nat\n:PREROUTING ACCEPT [0:0]\n:CORACLE-HOSTPORTS - [0:0]\n:CORACLE-MASQ - [0:0]\n"
        "-A PREROUTING -m comment --comment \"coracle: host ports\" -m addrtype --dst-type LOCAL "
        "-j CORACLE-HOSTPORTS\n"
        "-A POSTROUTING -m comment --comment \"coracle: pod egress\" -j CORACLE-MASQ\nCOMMIT\n"
        "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n";
    struct firewall_seen seen;
    firewall_look(saved, &seen);
    assert_true(seen.ports);
    assert_true(seen.jumps[FIREWALL_JUMP_PREROUTING]);
    assert_true(seen.jumps[FIREWALL_JUMP_MASQ]);
    assert_false(seen.jumps[FIREWALL_JUMP_OUTPUT]);
    assert_false(seen.jumps[FIREWALL_JUMP_FORWARD]);
    assert_true(firewall_is_ours("CORACLE-INPUT"));
    assert_false(firewall_is_ours("CORACLE"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mappings_are_read),
        cmocka_unit_test(bad_mappings_name_the_field),
        cmocka_unit_test_setup_teardown(a_port_has_one_pod, setup, teardown),
        cmocka_unit_test_setup_teardown(masquerading, setup, teardown),
        cmocka_unit_test_setup_teardown(rules_of_host_ports, setup, teardown),
        cmocka_unit_test(what_is_there_is_seen),
    };
    return RUN_TESTS(tests);
}
