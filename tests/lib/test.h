/* What every unit test includes: cmocka with its odd prerequisites. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Runs the group with TAP output. Use as: int main(void) { return RUN_TESTS(tests); } */
#define RUN_TESTS(tests) \
    (cmocka_set_message_output(CM_OUTPUT_TAP), cmocka_run_group_tests(tests, NULL, NULL))

/* cmocka writes a test that skips itself as "not ok # SKIP", which prove counts as a failure. Here
 * the test ends, and a line says that it saw nothing. To be called by the test's own function. */
#undef skip
#define skip()                                                                          \
    do {                                                                                \
        print_message("# %s: skipped, this machine has not what it needs\n", __func__); \
        return;                                                                         \
    } while (0)
