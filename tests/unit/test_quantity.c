/* lib/kube/quantity: the forms of upstream's tests and the edges of the range. */
#include "lib/test.h"

#include <errno.h>

#include "base/macros.h"
#include "kube/quantity.h"

static void canonical_forms(_unused_ void **state)
{
    static const char *const cases[][2] = {
        {"0", "0"},
        {"0n", "0"},
        {"-0", "0"},
        {"0Mi", "0"},
        {".", "0"},
        {"100m", "100m"},
        {"0.1", "100m"},
        {"0.5", "500m"},
        {".5", "500m"},
        {"1.", "1"},
        {"1000m", "1"},
        {"1500m", "1500m"},
        {"1.5", "1500m"},
        {"1", "1"},
        {"10", "10"},
        {"1000", "1k"},
        {"1500", "1500"},
        {"100000", "100k"},
        {"1234567", "1234567"},
        {"1Ki", "1Ki"},
        {"1024Ki", "1Mi"},
        {"1024Mi", "1Gi"},
        {"0.5Gi", "512Mi"},
        {"1.5Gi", "1536Mi"},
        {"1023", "1023"},
        {"512", "512"},
        {"0.5Ki", "512"},
        {"0.0001Ki", "102400u"},
        {"1.1Ki", "1126400m"},
        {"2Ei", "2Ei"},
        {"1e3", "1e3"},
        {"1E3", "1e3"},
        {"12e5", "1200e3"},
        {"1e-3", "1e-3"},
        {"100e-1", "10"},
        {"1E", "1E"},
        {"+5", "5"},
        {"-5", "-5"},
        {"-1.5", "-1500m"},
        {"-1Gi", "-1Gi"},
        {"1n", "1n"},
        {"0.1n", "1n"},
        {"1.0000000001", "1000000001n"},
        {"0.9999999999", "1"},
        {"1e-20", "1e-9"},
        {"1e-99999999999999999999", "1e-9"},
        {"9223372036854775807", "9223372036854775807"},
        {"9223372036854775808", "9223372036854775807"},
        {"9223372036854775807.1", "9223372036854775807"},
        {"1e100", "9223372036854775807"},
        {"-1e100", "-9223372036854775807"},
        {"16Ei", "9223372036854775807"},
        {"00012", "12"},
        {"0.000000000000000000000000000001Ki", "1n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct quantity q;
        char buf[QUANTITY_TEXT_MAX];
        assert_int_equal(quantity_parse(cases[i][0], &q, NULL), 0);
        const char *got = quantity_format(&q, buf);
        if (strcmp(got, cases[i][1]) != 0)
            fail_msg("%s gives %s, not %s", cases[i][0], got, cases[i][1]);
    }
}

static void what_is_no_quantity_is_refused(_unused_ void **state)
{
    static const char *const cases[] = {"",      "x",   "1x",   "1.1.1", "1 ",    " 1",  "10 Mi",
                                        "1Mi ",  "Mi1", "1i",   "1mi",   "1KiB",  "1e",  "1e+",
                                        "1e1.5", "--1", "1-",   "0x10",  "1ki",   "1K",  "1,5",
                                        "1e3k",  "∞",   "1EE3", "1Ei3",  "100MB", "NaN", "1e1e1"};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct quantity q;
        if (quantity_parse(cases[i], &q, NULL) != -EINVAL)
            fail_msg("'%s' was taken", cases[i]);
    }
    struct quantity q;
    assert_int_equal(quantity_parse(NULL, &q, NULL), -EINVAL);
    char big[400];
    memset(big, '1', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    assert_int_equal(quantity_parse(big, &q, NULL), -EINVAL);
    big[256] = '\0';
    assert_int_equal(quantity_parse(big, &q, NULL), 0);
    assert_int_equal(quantity_value(&q), INT64_MAX);
}

static struct quantity parsed(const char *text)
{
    struct quantity q;
    assert_int_equal(quantity_parse(text, &q, NULL), 0);
    return q;
}

static void comparing_and_adding(_unused_ void **state)
{
    static const struct {
        const char *a, *b, *sum, *difference;
        int order;
    } cases[] = {
        {"1", "1000m", "2", "0", 0},
        {"100m", "200m", "300m", "-100m", -1},
        {"1Gi", "1G", "2073741824", "73741824", 1},
        {"0", "1Mi", "1Mi", "-1Mi", -1},
        {"-1.5", "0.7", "-800m", "-2200m", -1},
        {"0.7", "-1.5", "-800m", "2200m", 1},
        {"-0.3", "0.4", "100m", "-700m", -1},
        {"9223372036854775807", "1", "9223372036854775807", "9223372036854775806", 1},
        {"-9223372036854775807", "1", "-9223372036854775806", "-9223372036854775807", -1},
        {"0.999999999", "1n", "1", "999999998n", 1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct quantity a = parsed(cases[i].a), b = parsed(cases[i].b), sum = a, diff = a;
        char buf[QUANTITY_TEXT_MAX];
        int order = quantity_compare(&a, &b);
        assert_int_equal((order > 0) - (order < 0), cases[i].order);
        quantity_add(&sum, &b);
        struct quantity want = parsed(cases[i].sum);
        if (quantity_compare(&sum, &want) != 0)
            fail_msg("%s + %s gives %s", cases[i].a, cases[i].b, quantity_format(&sum, buf));
        quantity_sub(&diff, &b);
        want = parsed(cases[i].difference);
        if (quantity_compare(&diff, &want) != 0)
            fail_msg("%s - %s gives %s", cases[i].a, cases[i].b, quantity_format(&diff, buf));
    }
}

static void integral_values_round_up(_unused_ void **state)
{
    static const struct {
        const char *text;
        int64_t value, milli;
    } cases[] = {
        {"1", 1, 1000},        {"100m", 1, 100},
        {"1500m", 2, 1500},    {"1u", 1, 1},
        {"-1500m", -2, -1500}, {"1Ki", 1024, 1024000},
        {"-1n", -1, -1},       {"9E", 9000000000000000000, INT64_MAX},
        {"0", 0, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct quantity q = parsed(cases[i].text);
        assert_int_equal(quantity_value(&q), cases[i].value);
        assert_int_equal(quantity_milli_value(&q), cases[i].milli);
    }
    assert_int_equal(quantity_text_milli("250m", -1), 250);
    assert_int_equal(quantity_text_milli("oops", -1), -1);
    assert_int_equal(quantity_text_value(NULL, 7), 7);
    struct quantity q = quantity_from_milli(-1500, QUANTITY_DECIMAL_SI);
    char buf[QUANTITY_TEXT_MAX];
    assert_string_equal(quantity_format(&q, buf), "-1500m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_forms),
        cmocka_unit_test(what_is_no_quantity_is_refused),
        cmocka_unit_test(comparing_and_adding),
        cmocka_unit_test(integral_values_round_up),
    };
    return RUN_TESTS(tests);
}
