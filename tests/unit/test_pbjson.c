/* net/pbjson: protocol buffers as JSON and back. */
#include "lib/test.h"

#include "net/cri.pb-c.h"
#include "net/pbjson.h"

static ProtobufCMessage *parse(const ProtobufCMessageDescriptor *type, const char *text,
                               struct error *err)
{
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), NULL);
    assert_non_null(j);
    return pbjson_to_message(type, j, err);
}

static void round_trip(const ProtobufCMessageDescriptor *type, const char *text)
{
    ProtobufCMessage *m = parse(type, text, NULL);
    assert_non_null(m);
    ProtobufCMessage *copy = pbjson_copy(m);
    _cleanup_json_ json_t *back = pbjson_from_message(copy);
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    json_encode(back, &out);
    assert_string_equal(strbuf_text(&out), text);
    protobuf_c_message_free_unpacked(m, NULL);
    protobuf_c_message_free_unpacked(copy, NULL);
}

static void messages_survive(_unused_ void **state)
{
    round_trip(
        &runtime__v1__pod_sandbox_config__descriptor,
        "{\"metadata\":{\"name\":\"a\",\"attempt\":4294967295},\"port_mappings\":"
        "[{\"protocol\":\"UDP\",\"container_port\":-1}],\"labels\":{\"k\":\"v\",\"e\":\"\"}}");
    round_trip(&runtime__v1__exec_sync_response__descriptor,
               "{\"stdout\":\"AAEC\",\"stderr\":\"/w==\",\"exit_code\":-2147483648}");
    round_trip(&runtime__v1__psi_data__descriptor, "{\"Total\":9223372036854775807,\"Avg10\":0.1}");
    round_trip(&runtime__v1__linux_container_security_context__descriptor,
               "{\"run_as_user\":{},\"supplemental_groups\":[1,-2],\"no_new_privs\":true,"
               "\"masked_paths\":[\"a\",\"\"],\"supplemental_groups_policy\":\"Strict\"}");
}

static void other_forms_are_understood(_unused_ void **state)
{
    ProtobufCMessage *m = parse(&runtime__v1__stop_container_request__descriptor,
                                "{\"timeout\":\"-5\",\"container_id\":null}", NULL);
    assert_non_null(m);
    assert_int_equal(((Runtime__V1__StopContainerRequest *)m)->timeout, -5);
    protobuf_c_message_free_unpacked(m, NULL);
    m = parse(&runtime__v1__port_mapping__descriptor, "{\"protocol\":2}", NULL);
    assert_int_equal(((Runtime__V1__PortMapping *)m)->protocol, RUNTIME__V1__PROTOCOL__SCTP);
    protobuf_c_message_free_unpacked(m, NULL);
}

static void bad_input_names_its_field(_unused_ void **state)
{
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"{\"nope\":1}", "nope"},
        {"{\"hostname\":1}", "hostname"},
        {"{\"hostname\":\"a\\u0000b\"}", "hostname"},
        {"{\"metadata\":[]}", "metadata"},
        {"{\"metadata\":{\"attempt\":-1}}", "attempt"},
        {"{\"metadata\":{\"attempt\":4294967296}}", "attempt"},
        {"{\"labels\":[]}", "labels"},
        {"{\"labels\":{\"a\":1}}", "labels[a]"},
        {"{\"port_mappings\":[{},{\"protocol\":\"NOPE\"}]}", "port_mappings[1]"},
        {"{\"port_mappings\":{}}", "port_mappings"},
        {"[]", "PodSandboxConfig"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = ERROR_INIT;
        assert_null(parse(&runtime__v1__pod_sandbox_config__descriptor, bad[i].text, &err));
        if (!strstr(err.text, bad[i].words))
            fail_msg("%s: %s", bad[i].text, err.text);
    }
    assert_null(parse(&runtime__v1__exec_sync_response__descriptor, "{\"stdout\":\"=\"}", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_survive),
        cmocka_unit_test(other_forms_are_understood),
        cmocka_unit_test(bad_input_names_its_field),
    };
    return RUN_TESTS(tests);
}
