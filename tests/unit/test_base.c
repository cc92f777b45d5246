/* lib/base: buffers, maps, JSON, times, durations, options, files. */
#include "lib/test.h"

#include <errno.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "base/options.h"
#include "base/process.h"
#include "base/times.h"

static void buffer_grows_and_consumes(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&b, "%d,", i);
    assert_int_equal(b.len, 3890);
    strbuf_consume(&b, 2);
    assert_memory_equal(b.data, "1,2,", 4);
    strbuf_truncate(&b, 3);
    assert_string_equal(strbuf_text(&b), "1,2");
}

static void map_keeps_order_and_replaces(_unused_ void **state)
{
    struct map m = MAP_INIT(free);
    map_set(&m, "b", str_dup("1"));
    map_set(&m, "a", str_dup("2"));
    map_set(&m, "b", str_dup("3"));
    assert_int_equal(map_count(&m), 2);
    assert_string_equal(map_key(map_first(&m)), "b");
    assert_string_equal(map_get(&m, "b"), "3");
    assert_true(map_remove(&m, "b"));
    assert_false(map_remove(&m, "b"));
    map_clear(&m);
    assert_int_equal(map_count(&m), 0);
}

static void json_is_exact(_unused_ void **state)
{
    const char text[] = "{\"b\":0.1,\"a\":[1,-2,1e300,true,null,\"\\u0001\\\"\\u00e9\"],\"c\":{}}";
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    assert_non_null(j);
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    json_encode(j, &out);
    assert_string_equal(out.data,
                        "{\"b\":0.1,\"a\":[1,-2,1e+300,true,null,\"\\u0001\\\"é\"],\"c\":{}}");
    assert_null(json_parse("{\"a\":1,\"a\":2}", 13, &err));
    assert_non_null(strstr(err.text, "line 1"));
}

static void json_paths(_unused_ void **state)
{
    _cleanup_json_ json_t *j = json_object();
    assert_int_equal(json_path_set(j, "metadata.name", json_string("x")), 0);
    assert_string_equal(json_path_string(j, "metadata.name"), "x");
    assert_null(json_path_string(j, "metadata.name.more"));
    assert_int_equal(json_path_set(j, "metadata.name.more", json_true()), -EINVAL);
    assert_int_equal(json_path_int(j, "spec.replicas", 7), 7);
}

static void times_round_trip(_unused_ void **state)
{
    char buf[TIME_TEXT_MAX];
    int64_t ns;
    assert_int_equal(time_parse("2026-01-02T03:04:05.123456789+01:00", &ns), 0);
    assert_string_equal(time_format_nano(ns, buf), "2026-01-02T02:04:05.123456789Z");
    assert_string_equal(time_format_micro(ns, buf), "2026-01-02T02:04:05.123456Z");
    assert_int_equal(time_parse("2026-01-02T03:04:05", &ns), -EINVAL);
    assert_int_equal(time_parse("2026-01-02T03:04:05Zjunk", &ns), -EINVAL);
    assert_int_equal(time_parse("2026-01-02T03:04:05+-1:-1", &ns), -EINVAL);
}

static void durations(_unused_ void **state)
{
    int64_t ms;
    assert_int_equal(duration_parse("1h2m3.5s", &ms), 0);
    assert_int_equal(ms, 3723500);
    assert_int_equal(duration_parse("300ms", &ms), 0);
    assert_int_equal(ms, 300);
    assert_int_equal(duration_parse("5", &ms), -EINVAL);
    assert_int_equal(duration_parse("", &ms), -EINVAL);
    assert_int_equal(duration_parse("1x", &ms), -EINVAL);
}

static void options_take_upstreams_forms(_unused_ void **state)
{
    const char *name = NULL;
    int n = 0;
    bool flag = false;
    struct option_list list = {.items = NULL};
    const struct option_def defs[] = {{"name", 'n', OPTION_STRING, &name, NULL, ""},
                                      {"count", 0, OPTION_INT, &n, NULL, ""},
                                      {"flag", 0, OPTION_BOOL, &flag, NULL, ""},
                                      {"list", 0, OPTION_LIST, &list, NULL, ""},
                                      {NULL}};
    const char *args[] = {"x",      "-n",         "a",      "--count=3", "word",
                          "--flag", "--list=a,b", "--list", "c"};
    char **argv = (char **)(uintptr_t)args;
    char *words[9];
    struct error err = ERROR_INIT;
    assert_int_equal(options_parse(defs, 9, argv, false, words, &err), 1);
    assert_string_equal(name, "a");
    assert_int_equal(n, 3);
    assert_true(flag);
    assert_int_equal(list.count, 3);
    const char *bad[] = {"x", "--count=3x"};
    assert_int_equal(options_parse(defs, 2, (char **)(uintptr_t)bad, false, words, &err), -EINVAL);
    assert_string_equal(err.text, "--count: \"3x\" is not a number");
    option_list_done(&list);
}

static void files_are_replaced_whole(_unused_ void **state)
{
    char dir[] = "/tmp/coracle-unit-XXXXXX";
    assert_non_null(mkdtemp(dir));
    _cleanup_free_ char *deep = fs_join(dir, "a/b/c");
    assert_int_equal(fs_mkdirs(deep, 0755, NULL), 0);
    _cleanup_free_ char *file = fs_join(deep, "file");
    assert_int_equal(fs_write_atomic(file, "one", 3, 0600, FS_DURABLE, NULL), 0);
    assert_int_equal(fs_write_atomic(file, "two", 3, 0600, FS_VOLATILE, NULL), 0);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    assert_int_equal(fs_read(file, 3, &text, NULL), 0);
    assert_string_equal(text.data, "two");
    assert_int_equal(fs_read(file, 2, &text, NULL), -EFBIG);
    _cleanup_free_ char *link = fs_join(deep, "link");
    assert_int_equal(symlink("/", link), 0);
    assert_int_equal(fs_remove_tree(dir, NULL), 0);
    assert_false(fs_exists(dir));
}

static void digests(_unused_ void **state)
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

struct run_state {
    struct loop *loop;
    int status;
    char out[32];
};

static void on_run(const struct process_result *result, void *arg)
{
    struct run_state *s = arg;
    s->status = result->status;
    (void)snprintf(s->out, sizeof(s->out), "%s", strbuf_text(result->out));
    loop_stop(s->loop, 0);
}

static void programs_run_with_input_and_output(_unused_ void **state)
{
    struct run_state s = {.loop = loop_new(), .status = -1};
    const char *const argv[] = {"cat", NULL};
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    assert_int_equal(process_run(s.loop, &spec, "hello", 5, 100, 5000, on_run, &s, NULL, NULL), 0);
    (void)loop_run(s.loop);
    assert_int_equal(s.status, 0);
    assert_string_equal(s.out, "hello");
    loop_free(s.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_grows_and_consumes),
        cmocka_unit_test(map_keeps_order_and_replaces),
        cmocka_unit_test(json_is_exact),
        cmocka_unit_test(json_paths),
        cmocka_unit_test(times_round_trip),
        cmocka_unit_test(durations),
        cmocka_unit_test(options_take_upstreams_forms),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(digests),
        cmocka_unit_test(programs_run_with_input_and_output),
    };
    return RUN_TESTS(tests);
}
