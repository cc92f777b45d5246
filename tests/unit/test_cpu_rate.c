/* Processor usage as a rate. */
#include "lib/test.h"

#include "base/macros.h"
#include "base/cpu_rate.h"

#define S 1000000000LL

static void rates(_unused_ void **state)
{
    struct cpu_rate r = {.known = false};
    assert_false(cpu_rate_update(&r, 100 * S, 5000)); /* one reading tells nothing */
    assert_false(cpu_rate_update(&r, 100 * S + S / 2, 5000 + S / 2));
    assert_true(cpu_rate_update(&r, 102 * S, 5000 + S)); /* since the first one */
    assert_int_equal(r.nano_cores, 500000000);
    assert_true(cpu_rate_update(&r, 102 * S + 10, 5000 + 2 * S)); /* too near: the last rate */
    assert_int_equal(r.nano_cores, 500000000);
    assert_true(cpu_rate_update(&r, 112 * S, 5000 + 31 * S)); /* three processors */
    assert_int_equal(r.nano_cores, 3000000000);
    assert_true(cpu_rate_update(&r, 122 * S, 5000 + 31 * S));
    assert_int_equal(r.nano_cores, 0);
    assert_false(cpu_rate_update(&r, 132 * S, 7)); /* it began anew */
    assert_true(cpu_rate_update(&r, 134 * S, 7 + S));
    assert_int_equal(r.nano_cores, 500000000);
    assert_false(cpu_rate_update(&r, 1 * S, 7 + 2 * S)); /* the clock was set back */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rates)};
    return RUN_TESTS(tests);
}
