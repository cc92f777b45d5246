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
    assert_int_equal(ipam_lease(ipam, owner, &a, NULL), 0);
    assert_string_equal(ip_addr_format(&a, text), expected);
}

static void addresses_are_given_in_turn(_unused_ void **state)
{
    struct ipam *ipam = ipam_new(dir, NULL);
    struct ip_prefix p = prefix("10.1.2.0/29");
    struct ip_addr a;
    char text[IP_TEXT_MAX];
    assert_int_equal(ipam_lease(ipam, "x", &a, NULL), -ENXIO);
    assert_int_equal(ipam_set_prefix(ipam, &p, NULL), 0);
    struct ip_prefix gateway = ipam_gateway(ipam);
    assert_string_equal(ip_prefix_format(&gateway, text), "10.1.2.1/29");
    lease(ipam, "a", "10.1.2.2");
    lease(ipam, "b", "10.1.2.3");
    assert_int_equal(ip_addr_parse("10.1.2.2", &a), 0);
    ipam_release(ipam, "b", &a); /* not its owner */
    assert_int_equal(ipam_count(ipam), 2);
    ipam_release(ipam, "a", &a);
    lease(ipam, "c", "10.1.2.4"); /* the freed one rests */
    lease(ipam, "d", "10.1.2.5");
    lease(ipam, "e", "10.1.2.6");
    lease(ipam, "f", "10.1.2.2");
    assert_int_equal(ipam_lease(ipam, "g", &a, NULL), -ENOSPC);
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
    assert_int_equal(ipam_set_prefix(ipam, &p, NULL), 0);
    lease(ipam, "a", "10.1.2.2");
    lease(ipam, "b", "10.1.2.3");
    ipam_free(ipam);
    ipam = ipam_new(dir, NULL);
    assert_int_equal(ipam_set_prefix(ipam, &p, NULL), 0);
    assert_int_equal(ipam_count(ipam), 2);
    lease(ipam, "c", "10.1.2.4");
    assert_int_equal(ipam_sweep(ipam, is_b, NULL), 2);
    assert_int_equal(ipam_count(ipam), 1);
    ipam_free(ipam);
}

static void bad_prefixes_are_refused(_unused_ void **state)
{
    struct ipam *ipam = ipam_new(dir, NULL);
    struct error err = ERROR_INIT;
    struct ip_prefix p = prefix("fd00::/64");
    assert_int_equal(ipam_set_prefix(ipam, &p, &err), -EINVAL);
    assert_string_equal(err.field, "pod_cidr");
    p = prefix("10.0.0.0/31");
    assert_int_equal(ipam_set_prefix(ipam, &p, &err), -EINVAL);
    ipam_free(ipam);
    static const char *const bad[] = {"10.0.0.0", "10.0.0.0/33", "10.0.0/8",    "10.0.0.0/",
                                      "x/8",      "10.0.0.0/8x", "10.0.0.0/-1", "::/129"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(ip_prefix_parse(bad[i], &p), -EINVAL);
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(addresses_are_given_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(leases_outlive_the_daemon, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_prefixes_are_refused, setup, teardown),
        cmocka_unit_test(networks),
    };
    return RUN_TESTS(tests);
}
