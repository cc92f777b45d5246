/* Pieces of the pods' address range, and the flags that make them. */
#include "lib/test.h"

#include <errno.h>

#include "base/strbuf.h"
#include "controllers/cidr_set.h"

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix p;
    assert_int_equal(ip_prefix_parse(text, &p), 0);
    return p;
}

static void set_of(struct cidr_set *s, const char *cluster, unsigned len)
{
    struct ip_prefix p = prefix(cluster);
    assert_int_equal(cidr_set_init(s, &p, len, NULL), 0);
}

static void expect(struct cidr_set *s, const char *wanted)
{
    struct ip_prefix p;
    char text[IP_TEXT_MAX];
    assert_string_equal(cidr_set_allocate(s, &p) ? ip_prefix_format(&p, text) : "none", wanted);
}

static int occupy(struct cidr_set *s, const char *text)
{
    struct ip_prefix p = prefix(text);
    return cidr_set_occupy(s, &p);
}

static void release(struct cidr_set *s, const char *text)
{
    struct ip_prefix p = prefix(text);
    cidr_set_release(s, &p);
}

static void pieces_come_in_order_and_end(_unused_ void **state)
{
    struct cidr_set s;
    set_of(&s, "10.244.7.9/22", 24);
    expect(&s, "10.244.4.0/24");
    expect(&s, "10.244.5.0/24");
    release(&s, "10.244.4.0/24"); /* what was given back is used last */
    expect(&s, "10.244.6.0/24");
    expect(&s, "10.244.7.0/24");
    expect(&s, "10.244.4.0/24");
    expect(&s, "none");
    release(&s, "10.244.6.128/25"); /* a part counts as its piece */
    expect(&s, "10.244.6.0/24");
    expect(&s, "none");
    cidr_set_done(&s);
}

static void ipv6_across_the_middle(_unused_ void **state)
{
    struct cidr_set s;
    set_of(&s, "fd00:244::/56", 66);
    expect(&s, "fd00:244::/66");
    expect(&s, "fd00:244:0:0:4000::/66");
    for (int i = 0; i < 5; i++) {
        struct ip_prefix p;
        assert_true(cidr_set_allocate(&s, &p));
    }
    expect(&s, "fd00:244:0:1:c000::/66");
    cidr_set_done(&s);
}

static void users_are_counted(_unused_ void **state)
{
    struct cidr_set s;
    set_of(&s, "10.0.0.0/22", 24);
    assert_int_equal(occupy(&s, "10.0.0.0/24"), 0);
    assert_int_equal(occupy(&s, "10.0.0.0/23"), 0); /* overlaps the first */
    assert_int_equal(occupy(&s, "10.0.4.0/24"), -ERANGE);
    assert_int_equal(occupy(&s, "11.0.0.0/8"), -ERANGE);
    release(&s, "10.0.0.0/24");
    expect(&s, "10.0.2.0/24"); /* the first is still somebody's */
    assert_int_equal(occupy(&s, "10.0.0.0/8"), 0);
    expect(&s, "none");
    release(&s, "10.0.0.0/8");
    expect(&s, "10.0.3.0/24");
    release(&s, "10.0.0.0/23");
    expect(&s, "10.0.0.0/24");
    cidr_set_done(&s);
}

static void flags_make_the_sets(_unused_ void **state)
{
    struct cidr_set sets[CIDR_SETS_MAX];
    struct cidr_flags f = {.cluster = "10.244.0.0/16"};
    assert_int_equal(cidr_sets_make(&f, sets, NULL), 0); /* only when asked to */
    f = (struct cidr_flags){.allocate = true,
                            .cluster = "10.96.0.0/12, fd00::/50",
                            .service = "10.96.0.0/16,fd00::/112",
                            .mask_size_v4 = 20};
    assert_int_equal(cidr_sets_make(&f, sets, NULL), 2);
    expect(&sets[0], "10.97.0.0/20");
    expect(&sets[1], "fd00:0:0:1::/64");
    for (size_t i = 0; i < CIDR_SETS_MAX; i++)
        cidr_set_done(&sets[i]);
}

static void bad_flags_are_named(_unused_ void **state)
{
    static const struct {
        struct cidr_flags flags;
        const char *message;
    } cases[] = {
        {{true}, "--cluster-cidr: \"\" is no prefix"},
        {{true, "10.0.0.0/33"}, "--cluster-cidr: \"10.0.0.0/33\" is no prefix"},
        {{true, "10.0.0.0/16,10.1.0.0/16"},
         "--cluster-cidr: \"10.0.0.0/16,10.1.0.0/16\": two of one family"},
        {{true, "10.0.0.0/25"}, "--cluster-cidr: a node's /24 does not fit into 10.0.0.0/25"},
        {{true, "10.0.0.0/16", NULL, 31},
         "--cluster-cidr: /31 leaves a node no room for pods (at most /30)"},
        {{true, "fd00::/32"}, "--cluster-cidr: fd00::/32 has more than 2^20 pieces of /64"},
        {{true, "10.0.0.0/16", NULL, 24, 24},
         "--node-cidr-mask-size and --node-cidr-mask-size-ipv4 exclude each other"},
        {{true, "10.0.0.0/16,fd00::/60", NULL, 24},
         "--node-cidr-mask-size: with two cluster CIDRs use --node-cidr-mask-size-ipv4 and "
         "--node-cidr-mask-size-ipv6"},
        {{true, "10.0.0.0/16", NULL, 0, -1}, "--node-cidr-mask-size-ipv4: -1 is no prefix length"},
        {{true, "10.0.0.0/16", "x"}, "--service-cluster-ip-range: \"x\" is no prefix"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cidr_set sets[CIDR_SETS_MAX];
        struct error err = ERROR_INIT;
        assert_int_equal(cidr_sets_make(&cases[i].flags, sets, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_come_in_order_and_end),
        cmocka_unit_test(ipv6_across_the_middle),
        cmocka_unit_test(users_are_counted),
        cmocka_unit_test(flags_make_the_sets),
        cmocka_unit_test(bad_flags_are_named),
    };
    return RUN_TESTS(tests);
}
