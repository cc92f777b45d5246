/* The protobuf form of objects: what typed Go clients send. */
#include "lib/test.h"

#include <errno.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kube/protobuf.h"

/* ---- a writer, so that cases read like messages ---- */

static void put_varint(struct strbuf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        strbuf_addc(b, (char)(v | 0x80));
    strbuf_addc(b, (char)v);
}

static void put_int(struct strbuf *b, unsigned number, int64_t v)
{
    put_varint(b, number << 3);
    put_varint(b, (uint64_t)v);
}

static void put_bytes(struct strbuf *b, unsigned number, const void *data, size_t len)
{
    put_varint(b, number << 3 | 2);
    put_varint(b, len);
    strbuf_add(b, data, len);
}

static void put_text(struct strbuf *b, unsigned number, const char *text)
{
    put_bytes(b, number, text, strlen(text));
}

/* Puts @inner, and empties it. */
static void put_message(struct strbuf *b, unsigned number, struct strbuf *inner)
{
    put_bytes(b, number, strbuf_text(inner), inner->len);
    strbuf_truncate(inner, 0);
}

static json_t *decode(const char *api_version, const char *kind, struct strbuf *object,
                      struct error *err)
{
    _cleanup_(schema_registry_freep) struct schema_registry *reg = schema_registry_new();
    _cleanup_strbuf_ struct strbuf meta = STRBUF_INIT, out = STRBUF_INIT;
    strbuf_add(&out, "k8s\0", 4);
    put_text(&meta, 1, api_version);
    put_text(&meta, 2, kind);
    put_message(&out, 1, &meta);
    put_message(&out, 2, object);
    put_text(&out, 3, "");
    put_text(&out, 4, "");
    json_t *ret = NULL;
    int code = protobuf_decode(reg, out.data, out.len, &ret, err);
    assert_int_equal(code, ret ? 0 : -EINVAL);
    return ret;
}

static void expect(json_t *got, const char *text)
{
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    assert_non_null(got);
    json_encode(got, &out);
    assert_string_equal(strbuf_text(&out), text);
    json_decref(got);
}

static void entry(struct strbuf *b, unsigned number, const char *key, const char *value)
{
    _cleanup_strbuf_ struct strbuf e = STRBUF_INIT;
    put_text(&e, 1, key);
    put_text(&e, 2, value);
    put_message(b, number, &e);
}

static void test_maps_and_zero_values(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf obj = STRBUF_INIT, meta = STRBUF_INIT;
    put_text(&meta, 1, "cm");
    put_text(&meta, 2, "");
    put_int(&meta, 7, 0);
    put_text(&meta, 8, "");
    entry(&meta, 11, "app", "");
    put_message(&obj, 1, &meta);
    entry(&obj, 2, "k", "v");
    entry(&obj, 3, "bin", "\x01\x02");
    put_int(&obj, 4, 0); /* immutable may be absent: false is a value */
    expect(
        decode("v1", "ConfigMap", &obj, &err),
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"cm\",\"labels\":{"
        "\"app\":\"\"}},\"data\":{\"k\":\"v\"},\"binaryData\":{\"bin\":\"AQI=\"},\"immutable\":"
        "false}");
}

static void test_nested_and_inline(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf obj = STRBUF_INIT, spec = STRBUF_INIT, volume = STRBUF_INIT,
                                   source = STRBUF_INIT, inner = STRBUF_INIT,
                                   container = STRBUF_INIT, resources = STRBUF_INIT,
                                   pair = STRBUF_INIT;
    put_text(&volume, 1, "tmp");
    put_text(&inner, 1, "");
    put_message(&source, 2, &inner); /* emptyDir: present, though empty */
    put_message(&volume, 2, &source);
    put_message(&spec, 1, &volume);
    put_text(&container, 1, "c");
    put_text(&container, 2, "i");
    put_text(&inner, 1, "250m");
    put_text(&pair, 1, "cpu");
    put_message(&pair, 2, &inner);
    put_message(&resources, 2, &pair);
    put_message(&container, 8, &resources);
    put_message(&spec, 2, &container);
    put_int(&spec, 4, 0); /* terminationGracePeriodSeconds may be absent: 0 is a value */
    put_int(&spec, 11, 0);
    put_message(&obj, 2, &spec);
    expect(decode("v1", "Pod", &obj, &err),
           "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"volumes\":[{\"name\":\"tmp\","
           "\"emptyDir\":{}}],\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{"
           "\"requests\":{\"cpu\":\"250m\"}}}],\"terminationGracePeriodSeconds\":0}}");
}

static void test_int_or_string_and_times(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf obj = STRBUF_INIT, spec = STRBUF_INIT, port = STRBUF_INIT,
                                   target = STRBUF_INIT, time = STRBUF_INIT;
    put_int(&port, 3, 80);
    put_int(&target, 1, 1);
    put_int(&target, 2, 0);
    put_text(&target, 3, "http");
    put_message(&port, 4, &target);
    put_message(&spec, 1, &port);
    put_message(&obj, 2, &spec);
    expect(decode("v1", "Service", &obj, &err),
           "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"spec\":{\"ports\":[{\"port\":80,"
           "\"targetPort\":\"http\"}]}}");
    strbuf_truncate(&obj, 0);
    put_int(&time, 1, 1700000000);
    put_int(&time, 2, 123456000);
    put_text(&spec, 1, "me");
    put_message(&spec, 4, &time);
    put_message(&obj, 2, &spec);
    expect(decode("coordination.k8s.io/v1", "Lease", &obj, &err),
           "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"spec\":{"
           "\"holderIdentity\":\"me\",\"renewTime\":\"2023-11-14T22:13:20.123456Z\"}}");
}

static void test_refusals(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf obj = STRBUF_INIT;
    put_text(&obj, 999, "new");
    assert_null(decode("v1", "ConfigMap", &obj, &err));
    assert_string_equal(error_text(&err), "unknown protobuf field 999 of core.v1.ConfigMap");
    strbuf_truncate(&obj, 0);
    assert_null(decode("v1", "Nonsense", &obj, &err));
    put_text(&obj, 1, "x"); /* metadata: no message inside */
    err = (struct error)ERROR_INIT;
    assert_null(decode("v1", "ConfigMap", &obj, &err));
    strbuf_truncate(&obj, 0);
    put_int(&obj, 2, 1); /* data: not a number */
    err = (struct error)ERROR_INIT;
    assert_null(decode("v1", "ConfigMap", &obj, &err));
    assert_string_equal(error_text(&err), "malformed value of core.v1.ConfigMap.data");
    _cleanup_(schema_registry_freep) struct schema_registry *reg = schema_registry_new();
    json_t *ret = NULL;
    assert_int_equal(protobuf_decode(reg, "k8s\0", 4, &ret, &err), -EINVAL);
    assert_int_equal(protobuf_decode(reg, "k8s", 3, &ret, &err), -EINVAL);
    assert_int_equal(protobuf_decode(reg, "k8s\0\x0a\xff", 6, &ret, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps_and_zero_values),
        cmocka_unit_test(test_nested_and_inline),
        cmocka_unit_test(test_int_or_string_and_times),
        cmocka_unit_test(test_refusals),
    };
    return RUN_TESTS(tests);
}
