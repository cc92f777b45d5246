/* cli: the patch of apply, and the supervisor's promise that nothing runs twice. */
#include "lib/test.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "cli/supervisor.h"
#include "cli/threeway.h"
#include "kube/patch.h"

/* ---- apply ---- */

static json_t *parse(const char *text)
{
    struct error err = ERROR_INIT;
    json_t *j = json_parse(text, strlen(text), &err);
    assert_non_null(j);
    return j;
}

/* Applies @last → @wanted to @live and compares. */
static void applied(const char *kind, const char *last, const char *wanted, const char *live,
                    const char *expected)
{
    _cleanup_(schema_registry_freep) struct schema_registry *registry = schema_registry_new();
    const struct schema_resource *r = schema_by_word(registry, kind);
    assert_non_null(r);
    _cleanup_json_ json_t *l = last ? parse(last) : NULL;
    _cleanup_json_ json_t *w = parse(wanted);
    _cleanup_json_ json_t *doc = parse(live);
    _cleanup_json_ json_t *want = parse(expected);
    _cleanup_json_ json_t *patch = threeway_patch(r->type, l, w);
    _cleanup_json_ json_t *got = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(patch_strategic(r->type, doc, patch, &got, &err), 0);
    if (!json_equal(got, want)) {
        struct strbuf b = STRBUF_INIT;
        json_encode(got, &b);
        print_error("got %s\n", strbuf_text(&b));
        strbuf_done(&b);
    }
    assert_true(json_equal(got, want));
}

static void what_others_set_stays_and_what_we_dropped_goes(_unused_ void **state)
{
    applied("configmap", "{\"data\":{\"a\":\"1\",\"b\":\"2\"}}", "{\"data\":{\"a\":\"3\"}}",
            "{\"data\":{\"a\":\"1\",\"b\":\"2\",\"theirs\":\"x\"}}",
            "{\"data\":{\"a\":\"3\",\"theirs\":\"x\"}}");
    applied("configmap", NULL, "{\"data\":{\"a\":\"3\"}}", "{\"data\":{\"b\":\"2\"}}",
            "{\"data\":{\"b\":\"2\",\"a\":\"3\"}}");
}

static void lists_with_a_key_are_merged_item_by_item(_unused_ void **state)
{
    applied("pod",
            "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"x:1\",\"tty\":true},"
            "{\"name\":\"gone\",\"image\":\"y\"}]}}",
            "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"x:2\"}]}}",
            "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"x:1\",\"tty\":true,"
            "\"imagePullPolicy\":\"Always\"},{\"name\":\"gone\",\"image\":\"y\"},{\"name\":"
            "\"injected\",\"image\":\"z\"}]}}",
            "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"x:2\",\"imagePullPolicy\":"
            "\"Always\"},{\"name\":\"injected\",\"image\":\"z\"}]}}");
}

static void plain_lists_are_replaced_or_merged_as_the_schema_says(_unused_ void **state)
{
    applied("pod", "{\"spec\":{\"containers\":[{\"name\":\"a\",\"args\":[\"1\",\"2\"]}]}}",
            "{\"spec\":{\"containers\":[{\"name\":\"a\",\"args\":[\"3\"]}]}}",
            "{\"spec\":{\"containers\":[{\"name\":\"a\",\"args\":[\"1\",\"2\"]}]}}",
            "{\"spec\":{\"containers\":[{\"name\":\"a\",\"args\":[\"3\"]}]}}");
    applied("pod", "{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
            "{\"metadata\":{\"finalizers\":[\"a\"]}}",
            "{\"metadata\":{\"finalizers\":[\"a\",\"b\",\"theirs\"]}}",
            "{\"metadata\":{\"finalizers\":[\"a\",\"theirs\"]}}");
}

/* ---- the supervisor ---- */

struct fixture {
    char dir[64];
    struct loop *loop;
    int ready, ended;
    bool stopped;
};

static void on_ready(void *arg, _unused_ const char *unit)
{
    struct fixture *f = arg;
    f->ready++;
    loop_stop(f->loop, 0);
}

static void on_ended(void *arg, _unused_ const char *unit, _unused_ const char *how)
{
    struct fixture *f = arg;
    f->ended++;
}

static void on_stopped(void *arg)
{
    struct fixture *f = arg;
    f->stopped = true;
    loop_stop(f->loop, 0);
}

static const struct supervisor_ops ops = {
    .ready = on_ready, .ended = on_ended, .stopped = on_stopped};

static struct supervisor *supervise(struct fixture *f, const char *seconds)
{
    struct supervisor *s = NULL;
    struct error err = ERROR_INIT;
    pid_t holder = 0;
    _cleanup_free_ char *log = fs_join(f->dir, "log");
    const char *const argv[] = {"sleep", seconds, NULL};
    const struct unit_spec spec = {.name = "unit", .argv = argv, .log_path = log};
    assert_int_equal(supervisor_new(&s, f->loop, f->dir, &ops, f, &holder, &err), 0);
    assert_int_equal(supervisor_add(s, &spec, &err), 0);
    return s;
}

static pid_t recorded(const struct fixture *f)
{
    _cleanup_free_ char *path = fs_join(f->dir, "unit.json");
    _cleanup_json_ json_t *record = json_parse_file(path, 4096, NULL);
    return (pid_t)json_path_int(record, "pid", 0);
}

static void stop(struct fixture *f, struct supervisor *s)
{
    supervisor_stop(s, NULL);
    while (!f->stopped)
        (void)loop_run(f->loop);
    supervisor_free(s);
}

static void setup(struct fixture *f)
{
    *f = (struct fixture){.dir = "/tmp/coracle-unit-XXXXXX"};
    assert_non_null(mkdtemp(f->dir));
    f->loop = loop_new();
}

static void teardown(struct fixture *f)
{
    loop_free(f->loop);
    assert_int_equal(fs_remove_tree(f->dir, NULL), 0);
}

static void a_child_outlives_its_supervisor_and_is_adopted(_unused_ void **state)
{
    struct fixture f;
    setup(&f);
    struct supervisor *s = supervise(&f, "600");
    pid_t pid = recorded(&f);
    assert_true(pid > 1 && kill(pid, 0) == 0);
    assert_int_equal(supervisor_running(f.dir), getpid());
    supervisor_free(s); /* as when it was killed: the child stays */
    assert_int_equal(supervisor_running(f.dir), 0);
    assert_int_equal(kill(pid, 0), 0);
    s = supervise(&f, "600");
    assert_true(supervisor_adopted(s));
    assert_int_equal(recorded(&f), pid);
    stop(&f, s);
    assert_int_equal(kill(pid, 0), -1);
    teardown(&f);
}

static void another_command_line_replaces_the_process(_unused_ void **state)
{
    struct fixture f;
    setup(&f);
    supervisor_free(supervise(&f, "600"));
    pid_t pid = recorded(&f);
    f.ready = 0;
    struct supervisor *s = supervise(&f, "601");
    while (f.ready < 2) /* adopted, then started anew */
        (void)loop_run(f.loop);
    assert_int_equal(f.ended, 1);
    assert_int_not_equal(recorded(&f), pid);
    stop(&f, s);
    teardown(&f);
}

static void a_recycled_pid_is_not_adopted(_unused_ void **state)
{
    struct fixture f;
    setup(&f);
    _cleanup_free_ char *path = fs_join(f.dir, "unit.json");
    _cleanup_free_ char *text =
        str_printf("{\"pid\":%d,\"startTime\":1,\"command\":\"x\"}", (int)getpid());
    assert_int_equal(fs_write_atomic(path, text, strlen(text), 0600, FS_VOLATILE, NULL), 0);
    struct supervisor *s = supervise(&f, "600");
    assert_false(supervisor_adopted(s));
    assert_int_not_equal(recorded(&f), getpid());
    stop(&f, s);
    teardown(&f);
}

static void one_supervisor_at_a_time(_unused_ void **state)
{
    struct fixture f;
    setup(&f);
    struct supervisor *s = supervise(&f, "600"), *second = NULL;
    struct error err = ERROR_INIT;
    pid_t holder = 0;
    assert_int_equal(supervisor_new(&second, f.loop, f.dir, &ops, &f, &holder, &err), -EBUSY);
    assert_int_equal(holder, getpid());
    stop(&f, s);
    teardown(&f);
}

static void a_killed_child_is_started_again(_unused_ void **state)
{
    struct fixture f;
    setup(&f);
    struct supervisor *s = supervise(&f, "600");
    pid_t pid = recorded(&f);
    f.ready = 0;
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (!f.ready)
        (void)loop_run(f.loop);
    assert_int_not_equal(recorded(&f), pid);
    stop(&f, s);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_others_set_stays_and_what_we_dropped_goes),
        cmocka_unit_test(lists_with_a_key_are_merged_item_by_item),
        cmocka_unit_test(plain_lists_are_replaced_or_merged_as_the_schema_says),
        cmocka_unit_test(a_child_outlives_its_supervisor_and_is_adopted),
        cmocka_unit_test(another_command_line_replaces_the_process),
        cmocka_unit_test(a_recycled_pid_is_not_adopted),
        cmocka_unit_test(one_supervisor_at_a_time),
        cmocka_unit_test(a_killed_child_is_started_again),
    };
    return RUN_TESTS(tests);
}
