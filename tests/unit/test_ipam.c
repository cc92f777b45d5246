/* cri/ipam: leases on disk, never doubled; and the prefixes of nl/address. */
#include "lib/test.h"

#include <errno.h>

#include "base/fs.h"
#include "cri/ipam.h"

static char dir[] = "/tmp/coracle-ipam-XXXXXX";

static int setup(_unused_ void **state)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/coracle-ipam-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(_unused_ void **state)
{
    return fs_remove_tree(dir, NULL);
}

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix p;
    assert_int_equal(ip_prefix_parse(text, &p), 0);
    return p;
}

static void lease(struct ipam *ipam, const char *owner, const char *expected)
{
    struct ip_addr a;
    char text[IP_TEXT_MAX];
    int family = strchr(expected, ':') ? AF_INET6 : AF_INET;
    assert_int_equal(ipam_lease(ipam, family, owner, &a, NULL), 0);
    assert_string_equal(ip_addr_format(&a, text), expected);
}

static void addresses_are_given_in_turn(_unused_ void **state)
{
    struct ipam *ipam = ipam_new(dir, NULL);
    struct ip_prefix p = prefix("10.1.2.0/29");
    struct ip_addr a;
    char text[IP_TEXT_MAX];
    assert_int_equal(ipam_lease(ipam, AF_INET, "x", &a, NULL), -ENXIO);
    ipam_set_prefixes(ipam, &p, 1);
    assert_int_equal(ipam_lease(ipam, AF_INET6, "x", &a, NULL), -ENXIO);
    struct ip_prefix gateway = ipam_gateway(&p);
    assert_string_equal(ip_prefix_format(&gateway, text), "10.1.2.1/29");
    lease(ipam, "a", "10.1.2.2");
    lease(ipam, "b", "10.1.2.3");
    ipam_release(ipam, "nobody");
    assert_int_equal(ipam_count(ipam), 2);
    ipam_release(ipam, "a");
    lease(ipam, "c", "10.1.2.4"); /* the freed one rests */
    lease(ipam, "d", "10.1.2.5");
    lease(ipam, "e", "10.1.2.6");
    lease(ipam, "f", "10.1.2.2");
    assert_int_equal(ipam_lease(ipam, AF_INET, "g", &a, NULL), -ENOSPC);
    ipam_free(ipam);
}

static bool is_b(const char *owner, _unused_ void *arg)
{
    return strcmp(owner, "b") == 0;
}

static void leases_outlive_the_daemon(_unused_ void **state)
{
    struct ip_prefix p = prefix("10.1.2.0/24");
    struct ipam *ipam = ipam_new(dir, NULL);
    ipam_set_prefixes(ipam, &p, 1);
    lease(ipam, "a", "10.1.2.2");
    lease(ipam, "b", "10.1.2.3");
    ipam_free(ipam);
    ipam = ipam_new(dir, NULL);
    ipam_set_prefixes(ipam, &p, 1);
    assert_int_equal(ipam_count(ipam), 2);
    lease(ipam, "c", "10.1.2.4");
    assert_int_equal(ipam_sweep(ipam, is_b, NULL), 2);
    assert_int_equal(ipam_count(ipam), 1);
    ipam_free(ipam);
}

static void both_families(_unused_ void **state)
{
    struct ipam *ipam = ipam_new(dir, NULL);
    struct ip_prefix p[2] = {prefix("fd00:1::/64"), prefix("10.1.2.0/24")};
    struct ip_addr *used;
    char text[IP_TEXT_MAX];
    assert_int_equal(ipam_check(p, 2, NULL), 0);
    ipam_set_prefixes(ipam, p, 2);
    struct ip_prefix gateway = ipam_gateway(&p[0]);
    assert_string_equal(ip_prefix_format(&gateway, text), "fd00:1::1/64");
    lease(ipam, "a", "fd00:1::2");
    lease(ipam, "a", "10.1.2.2");
    lease(ipam, "b", "fd00:1::3");
    assert_int_equal(ipam_addresses(ipam, &used), 3);
    assert_string_equal(ip_addr_format(&used[1], text), "10.1.2.2");
    free(used);
    ipam_set_prefixes(ipam, p, 1); /* IPv4 goes: its lease stays, IPv6 goes on */
    assert_int_equal(ipam_count(ipam), 3);
    lease(ipam, "c", "fd00:1::4");
    ipam_release(ipam, "a");
    assert_int_equal(ipam_count(ipam), 2);
    ipam_free(ipam);
}

/* A large IPv6 prefix has as many addresses as any, and they carry into the second byte. */
static void a_pool_of_ipv6_is_large(_unused_ void **state)
{
    struct ipam *ipam = ipam_new(dir, NULL);
    struct ip_prefix p = prefix("fd00:1::/48"), small = prefix("fd00:2::4/126");
    struct ip_addr a;
    char text[IP_TEXT_MAX];
    ipam_set_prefixes(ipam, &p, 1);
    for (unsigned i = 2; i < 600; i++)
        assert_int_equal(ipam_lease(ipam, AF_INET6, "a", &a, NULL), 0);
    assert_string_equal(ip_addr_format(&a, text), "fd00:1::257");
    ipam_set_prefixes(ipam, &small, 1);
    lease(ipam, "b", "fd00:2::6");
    lease(ipam, "b", "fd00:2::7");
    assert_int_equal(ipam_lease(ipam, AF_INET6, "b", &a, NULL), -ENOSPC);
    ipam_free(ipam);
}

static void refused(const char *cidrs)
{
    struct ip_prefix p[3];
    struct error err = ERROR_INIT;
    int n = ip_prefixes_parse(cidrs, p, ARRAY_SIZE(p), NULL);
    assert_true(n > 0);
    assert_int_equal(ipam_check(p, (size_t)n, &err), -EINVAL);
    assert_string_equal(err.field, "pod_cidr");
}

static void bad_prefixes_are_refused(_unused_ void **state)
{
    struct ip_prefix p;
    refused("10.0.0.0/31");
    refused("10.0.0.0/7");
    refused("fd00::/127");
    refused("10.0.0.0/24,10.0.1.0/24");
    refused("fd00::/64,fd01::/64");
    refused("10.0.0.0/24,fd00::/64,10.1.0.0/24");
    static const char *const bad[] = {"10.0.0.0", "10.0.0.0/33", "10.0.0/8",    "10.0.0.0/",
                                      "x/8",      "10.0.0.0/8x", "10.0.0.0/-1", "::/129"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(ip_prefix_parse(bad[i], &p), -EINVAL);
}

static void lists_of_prefixes(_unused_ void **state)
{
    struct ip_prefix p[2];
    struct error err = ERROR_INIT;
    assert_int_equal(ip_prefixes_parse("10.1.2.0/24 , fd00::/64", p, 2, NULL), 2);
    assert_int_equal(p[0].len, 24);
    assert_int_equal(p[1].addr.family, AF_INET6);
    assert_int_equal(ip_prefixes_parse("10.1.2.0/24", p, 2, NULL), 1);
    assert_int_equal(ip_prefixes_parse("", p, 2, &err), -EINVAL);
    assert_int_equal(ip_prefixes_parse("10.1.2.0/24,", p, 2, &err), -EINVAL);
    assert_int_equal(ip_prefixes_parse("10.1.2.0/24,x", p, 2, &err), -EINVAL);
    assert_non_null(strstr(err.text, "\"x\""));
    assert_int_equal(ip_prefixes_parse("1.0.0.0/8,2.0.0.0/8,3.0.0.0/8", p, 2, &err), -EINVAL);
}

static void networks(_unused_ void **state)
{
    char text[IP_TEXT_MAX];
    struct ip_prefix p = prefix("10.1.2.131/25");
    p = ip_prefix_network(&p);
    assert_string_equal(ip_prefix_format(&p, text), "10.1.2.128/25");
    p = prefix("fd00:1234::ff/120");
    p = ip_prefix_network(&p);
    assert_string_equal(ip_prefix_format(&p, text), "fd00:1234::/120");
    p = prefix("1.2.3.4/0");
    p = ip_prefix_network(&p);
    assert_string_equal(ip_prefix_format(&p, text), "0.0.0.0/0");
    struct ip_addr a;
    p = prefix("10.1.2.128/25");
    assert_int_equal(ip_addr_parse("10.1.2.129", &a), 0);
    assert_true(ip_prefix_contains(&p, &a));
    assert_int_equal(ip_addr_parse("10.1.2.127", &a), 0);
    assert_false(ip_prefix_contains(&p, &a));
    assert_int_equal(ip_addr_parse("::", &a), 0);
    assert_false(ip_prefix_contains(&p, &a));
    assert_true(ip_addr_is_any(&a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(addresses_are_given_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(leases_outlive_the_daemon, setup, teardown),
        cmocka_unit_test_setup_teardown(both_families, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pool_of_ipv6_is_large, setup, teardown),
        cmocka_unit_test(bad_prefixes_are_refused),
        cmocka_unit_test(lists_of_prefixes),
        cmocka_unit_test(networks),
    };
    return RUN_TESTS(tests);
}
