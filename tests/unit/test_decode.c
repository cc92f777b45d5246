/* lib/kube/decode: every kind of field, refusals with their path, nothing leaked on failure. */
#include "lib/test.h"

#include <errno.h>

#include "kube/decode.h"

struct port {
    char *name;
    struct int_or_string target;
};
struct thing {
    char *name;
    int64_t number, created;
    struct opt_int grace;
    struct opt_bool enabled;
    bool plain;
    struct bytes blob;
    struct string_list args;
    struct string_map labels;
    struct bytes_map data;
    struct port main;
    struct port *extra;
    ARRAY_OF(struct port) ports;
    json_t *raw;
};
static const struct decode_field port_fields[] = {
    DECODE_FIELD(struct port, name, "name", DECODE_STRING),
    DECODE_FIELD(struct port, target, "target", DECODE_INT_OR_STRING), DECODE_END};
static const struct decode_type port_type = {"Port", sizeof(struct port), port_fields};
static const struct decode_field thing_fields[] = {
    DECODE_FIELD(struct thing, name, "name", DECODE_STRING),
    DECODE_FIELD(struct thing, number, "number", DECODE_INT),
    DECODE_FIELD(struct thing, created, "created", DECODE_TIME),
    DECODE_FIELD(struct thing, grace, "grace", DECODE_OPT_INT),
    DECODE_FIELD(struct thing, enabled, "enabled", DECODE_OPT_BOOL),
    DECODE_FIELD(struct thing, plain, "plain", DECODE_BOOL),
    DECODE_FIELD(struct thing, blob, "blob", DECODE_BYTES),
    DECODE_FIELD(struct thing, args, "args", DECODE_STRINGS),
    DECODE_FIELD(struct thing, labels, "labels", DECODE_MAP),
    DECODE_FIELD(struct thing, data, "data", DECODE_BYTES_MAP),
    DECODE_SUB(struct thing, main, "main", DECODE_OBJECT, &port_type),
    DECODE_SUB(struct thing, extra, "extra", DECODE_OPT_OBJECT, &port_type),
    DECODE_SUB(struct thing, ports, "ports", DECODE_ARRAY, &port_type),
    DECODE_FIELD(struct thing, raw, "raw", DECODE_RAW),
    DECODE_END};
static const struct decode_type thing_type = {"Thing", sizeof(struct thing), thing_fields};

static int try(const char *text, struct thing *out, struct error *err)
{
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), err);
    assert_non_null(j);
    return decode(&thing_type, j, out, err);
}

static void every_kind_decodes(_unused_ void **state)
{
    struct thing t;
    struct error err = ERROR_INIT;
    assert_int_equal(
        try("{\"name\":\"n\",\"number\":-5,\"created\":\"1970-01-01T00:00:01Z\","
            "\"grace\":0,\"enabled\":false,\"plain\":true,\"blob\":\"aGk=\","
            "\"args\":[\"a\",\"b\"],\"labels\":{\"k\":\"v\"},\"data\":{\"d\":\"AAE=\"},"
            "\"main\":{\"name\":\"m\",\"target\":80},\"extra\":{\"target\":\"http\"},"
            "\"ports\":[{\"name\":\"p0\"},{\"name\":\"p1\"}],\"raw\":{\"x\":[1]},"
            "\"unknown\":1}",
            &t, &err),
        0);
    assert_string_equal(t.name, "n");
    assert_int_equal(t.number, -5);
    assert_int_equal(t.created, 1000000000);
    assert_true(t.grace.set && t.grace.value == 0);
    assert_true(t.enabled.set && !t.enabled.value && t.plain);
    assert_int_equal(t.blob.len, 2);
    assert_memory_equal(t.blob.data, "hi", 2);
    assert_true(t.args.count == 2 && string_list_has(&t.args, "b"));
    assert_string_equal(string_map_get(&t.labels, "k"), "v");
    assert_int_equal(t.data.items[0].value.len, 2);
    assert_int_equal(t.main.target.value, 80);
    assert_string_equal(t.extra->target.text, "http");
    assert_int_equal(t.ports.count, 2);
    assert_string_equal(t.ports.items[1].name, "p1");
    assert_int_equal(json_array_size(json_path(t.raw, "x")), 1);
    decode_done(&thing_type, &t);
    assert_null(t.name);
}

static void absent_and_null_stay_zero(_unused_ void **state)
{
    struct thing t;
    assert_int_equal(try("{\"name\":null}", &t, NULL), 0);
    assert_true(!t.name && !t.grace.set && !t.extra && !t.ports.count);
    decode_done(&thing_type, &t);
}

static void refusals_name_the_path(_unused_ void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"ports\":[{\"name\":\"a\"},{\"name\":5}]}",
         "ports[1].name: expected a string, got an integer"},
        {"{\"labels\":{\"a\":\"b\",\"k\":[]}}", "labels[k]: expected a string, got an array"},
        {"{\"blob\":\"a b=\"}", "blob: not base64"},
        {"{\"data\":{\"x\":\"AAE=\",\"k\":\"!!!!\"}}", "data[k]: not base64"},
        {"{\"created\":\"yesterday\"}", "created: not a time in RFC 3339"},
        {"{\"extra\":{\"target\":true}}",
         "extra.target: expected an integer or a string, got a boolean"},
        {"{\"name\":\"a\\u0000b\"}", "name: not text: it holds a NUL character"},
        {"{\"args\":[\"x\",1.5]}", "args[1]: expected a string, got a number"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct thing t;
        struct error err = ERROR_INIT;
        assert_int_equal(try(cases[i].text, &t, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].message);
        assert_null(t.name);
    }
}

static void base64_is_strict(_unused_ void **state)
{
    struct bytes b;
    assert_int_equal(base64_decode("", 0, &b), 0);
    assert_int_equal(b.len, 0);
    free(b.data);
    assert_int_equal(base64_decode("AAE", 3, &b), -EINVAL);
    assert_int_equal(base64_decode("AA =", 4, &b), -EINVAL);
    _cleanup_free_ char *text = base64_encode("\xff\xfe\x00", 3);
    assert_string_equal(text, "//4A");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_decodes),
        cmocka_unit_test(absent_and_null_stay_zero),
        cmocka_unit_test(refusals_name_the_path),
        cmocka_unit_test(base64_is_strict),
    };
    return RUN_TESTS(tests);
}
