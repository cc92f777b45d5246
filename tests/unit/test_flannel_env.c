/* cri/flannel_env: flanneld's subnet.env. */
#include "lib/test.h"

#include <errno.h>

#include "cri/flannel_env.h"

static int parse(const char *text, struct flannel_env *e, struct error *err)
{
    return flannel_env_parse(text, strlen(text), e, err);
}

static void both_families(_unused_ void **state)
{
    struct flannel_env e;
    char text[IP_TEXT_MAX];
    assert_int_equal(parse("FLANNEL_NETWORK=10.244.0.0/16\n"
                           "FLANNEL_SUBNET=10.244.3.1/24\n"
                           "FLANNEL_IPV6_NETWORK=fd00:10::/48\n"
                           "FLANNEL_IPV6_SUBNET=fd00:10:0:3::1/64\n"
                           "FLANNEL_MTU=1450\n"
                           "FLANNEL_IPMASQ=true\n",
                           &e, NULL),
                     0);
    assert_int_equal(e.n_pods, 2);
    assert_string_equal(ip_prefix_format(&e.pods[0], text), "10.244.3.0/24");
    assert_string_equal(ip_prefix_format(&e.pods[1], text), "fd00:10:0:3::/64");
    assert_int_equal(e.n_clusters, 2);
    assert_int_equal(e.mtu, 1450);
    assert_true(e.masquerade);
}

static void the_least(_unused_ void **state)
{
    struct flannel_env e;
    assert_int_equal(parse("# a comment\n\nOTHER=x=y\nFLANNEL_IPMASQ=false\n"
                           "FLANNEL_IPV6_SUBNET=fd00::1/64",
                           &e, NULL),
                     0);
    assert_int_equal(e.n_pods, 1);
    assert_int_equal(e.n_clusters, 0);
    assert_int_equal(e.mtu, 0);
    assert_false(e.masquerade);
}

static void bad_files_name_the_key(_unused_ void **state)
{
    static const struct {
        const char *text, *named;
    } bad[] = {
        {"", "FLANNEL_SUBNET"},
        {"FLANNEL_NETWORK=10.0.0.0/8\n", "FLANNEL_SUBNET"},
        {"FLANNEL_SUBNET=10.0.0.1\n", "FLANNEL_SUBNET"},
        {"FLANNEL_SUBNET=fd00::1/64\n", "FLANNEL_SUBNET"},
        {"FLANNEL_SUBNET=10.0.0.1/24\nFLANNEL_SUBNET=10.0.1.1/24\n", "FLANNEL_SUBNET"},
        {"FLANNEL_SUBNET=10.0.0.1/24,10.0.1.1/24\n", "FLANNEL_SUBNET"},
        {"FLANNEL_SUBNET=10.0.0.1/32\n", "10.0.0.1/32"},
        {"FLANNEL_SUBNET=10.0.0.1/24\nFLANNEL_MTU=x\n", "FLANNEL_MTU"},
        {"FLANNEL_SUBNET=10.0.0.1/24\nFLANNEL_MTU=0\n", "FLANNEL_MTU"},
        {"FLANNEL_SUBNET=10.0.0.1/24\nFLANNEL_MTU=99999999999999999999\n", "FLANNEL_MTU"},
        {"FLANNEL_SUBNET=10.0.0.1/24\nFLANNEL_IPMASQ=yes\n", "FLANNEL_IPMASQ"},
        {"FLANNEL_SUBNET=10.0.0.1/24\nFLANNEL_IPV6_NETWORK=10.0.0.0/8\n", "FLANNEL_IPV6_NETWORK"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct flannel_env e;
        struct error err = ERROR_INIT;
        assert_int_equal(parse(bad[i].text, &e, &err), -EINVAL);
        if (!strstr(err.text, bad[i].named))
            fail_msg("%s: %s", bad[i].text, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_families),
        cmocka_unit_test(the_least),
        cmocka_unit_test(bad_files_name_the_key),
    };
    return RUN_TESTS(tests);
}
