/* Device plugins: who has what, the checkpoint file. */
#include "lib/test.h"

#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kubelet/devices/devices.h"

static void give(struct allocation_list *l, const char *pod, const char *container,
                 const char *resource, const char *const *ids)
{
    struct allocation *a = allocation_add(l, pod, container, resource);
    for (; *ids; ids++)
        string_list_add(&a->ids, *ids);
    a->answer = mem_zalloc(1);
}
#define GIVE(l, pod, container, resource, ...) \
    give(l, pod, container, resource, (const char *const[]){__VA_ARGS__, NULL})

static struct pod *pod_of(const char *spec)
{
    struct pod *pod = NULL;
    _cleanup_free_ char *text =
        str_printf("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\"},"
                   "\"spec\":%s}",
                   spec);
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), NULL);
    assert_int_equal(pod_decode(j, POD_FROM_API, &pod, NULL), 0);
    return pod;
}

static void init_containers_leave_their_devices(void **state)
{
    (void)state;
    struct allocation_list l = {.items = NULL};
    struct string_list ids = {.items = NULL};
    struct pod *pod =
        pod_of("{\"initContainers\":[{\"name\":\"i\",\"image\":\"x\"},{\"name\":\"s\","
               "\"image\":\"x\",\"restartPolicy\":\"Always\"}],\"containers\":["
               "{\"name\":\"a\",\"image\":\"x\"},{\"name\":\"b\",\"image\":\"x\"}]}");
    GIVE(&l, "u1", "i", "x/y", "1", "2", "3");
    GIVE(&l, "u1", "s", "x/y", "2");
    GIVE(&l, "u2", "i", "x/y", "9");
    allocation_reusable(&l, pod, 2, "x/y", &ids);
    assert_int_equal(ids.count, 2); /* the sidecar keeps its own */
    assert_true(string_list_has(&ids, "1") && string_list_has(&ids, "3"));
    string_list_done(&ids);
    GIVE(&l, "u1", "a", "x/y", "1", "4");
    allocation_reusable(&l, pod, 3, "x/y", &ids);
    assert_int_equal(ids.count, 1);
    assert_true(string_list_has(&ids, "3"));
    string_list_done(&ids);
    allocation_reusable(&l, pod, 3, "x/z", &ids);
    assert_int_equal(ids.count, 0);
    assert_true(allocation_has_device(&l, "x/y", "9", NULL));
    assert_false(allocation_has_device(&l, "x/z", "9", NULL));
    assert_true(allocation_remove_pod(&l, "u2"));
    assert_false(allocation_remove_pod(&l, "u2"));
    assert_false(allocation_has_device(&l, "x/y", "9", NULL));
    assert_true(allocation_has_device(&l, "x/y", "4", NULL));
    allocation_list_done(&l);
    pod_unref(pod);
}

static void names_of_resources(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool extended;
    } cases[] = {
        {"example.com/gpu", true},  {"cpu", false},
        {"kubernetes.io/x", false}, {"a.kubernetes.io/x", false},
        {"requests.x/y", false},    {"/gpu", false},
        {"example.com/", false},    {"example.com/a b", false},
        {"a/b/c", false},           {"example.com/gpu\nx", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (resource_is_extended(cases[i].name) != cases[i].extended)
            fail_msg("%s", cases[i].name);
}

static void a_checkpoint_is_read_back(void **state)
{
    (void)state;
    struct allocation_list l = {.items = NULL}, back;
    struct string_list names = {.items = NULL}, names_back;
    struct error err = ERROR_INIT;
    GIVE(&l, "u1", "c", "example.com/gpu", "d1", "d2");
    free(l.items[0].answer);
    l.items[0].answer = (uint8_t *)str_dup("\n\x06\n\001K\022\001V"); /* envs {K: V} */
    l.items[0].answer_len = 8;
    /* What a plugin was only asked for is not written down. */
    (void)allocation_add(&l, "u2", "c", "example.com/gpu");
    string_list_add(&names, "example.com/gpu");
    _cleanup_free_ char *text = checkpoint_encode(&l, &names);
    assert_int_equal(checkpoint_decode(text, strlen(text), &back, &names_back, &err), 0);
    assert_int_equal(back.count, 1);
    assert_string_equal(back.items[0].pod_uid, "u1");
    assert_string_equal(back.items[0].container, "c");
    assert_int_equal(back.items[0].ids.count, 2);
    assert_int_equal(back.items[0].answer_len, 8);
    assert_memory_equal(back.items[0].answer, l.items[0].answer, 8);
    assert_int_equal(names_back.count, 1);
    string_list_done(&names);
    string_list_done(&names_back);
    allocation_list_done(&l);
    allocation_list_done(&back);
}

/* As a stock kubelet wrote it. */
static const char upstream[] =
    "{\"Data\":{\"PodDeviceEntries\":[{\"PodUID\":\"u1\",\"ContainerName\":\"c\",\"ResourceName\":"
    "\"example.com/gpu\",\"DeviceIDs\":{\"0\":[\"d0\"],\"1\":[\"d1\",\"d0\"]},\"AllocResp\":\"\"}],"
    "\"RegisteredDevices\":{\"example.com/gpu\":[\"d0\",\"d1\"]}},\"Checksum\":3128512823}";

static void upstreams_checkpoint_is_read(void **state)
{
    (void)state;
    struct allocation_list l;
    struct string_list names;
    assert_int_equal(checkpoint_decode(upstream, strlen(upstream), &l, &names, NULL), 0);
    assert_int_equal(l.count, 1);
    assert_int_equal(l.items[0].ids.count, 2);
    assert_non_null(l.items[0].answer);
    assert_int_equal(names.count, 1);
    string_list_done(&names);
    allocation_list_done(&l);
}

static void bad_checkpoints_are_refused(void **state)
{
    (void)state;
#define ENTRY(rest) \
    "{\"Data\":{\"PodDeviceEntries\":[{\"PodUID\":\"u\",\"ContainerName\":\"c\"," rest "}]}}"
#define GPU "\"ResourceName\":\"example.com/gpu\","
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "line 1"},
        {"[]", "Data: is not"},
        {"{\"Data\":{\"PodDeviceEntries\":{}}}", "Data: is not"},
        {ENTRY("\"ResourceName\":\"cpu\""), "PodDeviceEntries: is not"},
        {ENTRY(GPU "\"DeviceIDs\":[]"), "DeviceIDs: is not"},
        {ENTRY(GPU "\"DeviceIDs\":{\"0\":[1]}"), "DeviceIDs: is not"},
        {ENTRY(GPU "\"DeviceIDs\":{\"0\":[\"a\"]}"), "AllocResp: is not"},
        {ENTRY(GPU "\"DeviceIDs\":{\"0\":[\"a\"]},\"AllocResp\":\"!\""), "AllocResp: is not"},
        {ENTRY(GPU "\"DeviceIDs\":{},\"AllocResp\":\"CgU=\""), "AllocResp: is not"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct allocation_list l;
        struct string_list names;
        struct error err = ERROR_INIT;
        assert_true(checkpoint_decode(cases[i].text, strlen(cases[i].text), &l, &names, &err) < 0);
        assert_int_equal(l.count + names.count, 0);
        if (!strstr(error_text(&err), cases[i].error))
            fail_msg("%s: %s", cases[i].text, error_text(&err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_containers_leave_their_devices),
        cmocka_unit_test(names_of_resources),
        cmocka_unit_test(a_checkpoint_is_read_back),
        cmocka_unit_test(upstreams_checkpoint_is_read),
        cmocka_unit_test(bad_checkpoints_are_refused),
    };
    return RUN_TESTS(tests);
}
