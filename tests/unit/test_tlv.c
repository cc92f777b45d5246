/* Tagged records: what is written is read, and what is cut short is refused. */
#include "lib/test.h"

#include <errno.h>

#include "base/tlv.h"

static void round_trip(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    tlv_put_u64(&b, 1, 0x1122334455667788ULL);
    tlv_put_string(&b, 2, "text");
    tlv_put_string(&b, 3, NULL);
    size_t place = tlv_begin(&b, 4);
    tlv_put_u64(&b, 9, 7);
    tlv_end(&b, place);
    /* The bytes themselves: little-endian on every machine. */
    static const uint8_t head[] = {1, 0, 8, 0, 0, 0, 0x88, 0x77};
    assert_memory_equal(b.data, head, sizeof(head));

    struct tlv_reader in = tlv_read(b.data, b.len);
    struct tlv_item i;
    uint64_t v;
    assert_int_equal(tlv_next(&in, &i), 1);
    assert_true(i.tag == 1 && tlv_u64(&i, &v) && v == 0x1122334455667788ULL);
    assert_null(tlv_string(&i));
    assert_int_equal(tlv_next(&in, &i), 1);
    assert_int_equal(i.tag, 2);
    assert_string_equal(tlv_string(&i), "text");
    assert_false(tlv_u64(&i, &v));
    assert_int_equal(tlv_next(&in, &i), 1);
    assert_int_equal(i.tag, 4);
    struct tlv_reader inner = tlv_read(i.data, i.len);
    assert_int_equal(tlv_next(&inner, &i), 1);
    assert_true(i.tag == 9 && tlv_u64(&i, &v) && v == 7);
    assert_int_equal(tlv_next(&inner, &i), 0);
    assert_int_equal(tlv_next(&in, &i), 0);
}

static void cut_short(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct tlv_item i;
    tlv_put_string(&b, 2, "text");
    for (size_t len = 1; len < b.len; len++) {
        struct tlv_reader in = tlv_read(b.data, len);
        assert_int_equal(tlv_next(&in, &i), -EBADMSG);
    }
    /* A length of nearly 4 GiB does not wrap. */
    static const uint8_t huge[] = {1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0};
    struct tlv_reader in = tlv_read(huge, sizeof(huge));
    assert_int_equal(tlv_next(&in, &i), -EBADMSG);
}

static void strings(_unused_ void **state)
{
    const struct tlv_item none = {.data = (const uint8_t *)"", .len = 0},
                          open = {.data = (const uint8_t *)"ab", .len = 2},
                          two = {.data = (const uint8_t *)"a\0b", .len = 4},
                          good = {.data = (const uint8_t *)"a", .len = 2};
    assert_null(tlv_string(&none));
    assert_null(tlv_string(&open));
    assert_null(tlv_string(&two));
    assert_string_equal(tlv_string(&good), "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(strings),
    };
    return RUN_TESTS(tests);
}
