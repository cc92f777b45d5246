/* base/dirwatch: a directory that comes, changes and goes. */
#include "lib/test.h"

#include <sys/stat.h>

#include "base/dirwatch.h"
#include "base/fs.h"
#include "base/strbuf.h"

struct watched {
    struct loop *loop;
    struct loop_timer limit;
    char *top, *dir;
    struct dirwatch *w;
    unsigned changes;
};

static void on_changed(void *arg)
{
    struct watched *t = arg;
    t->changes++;
    loop_stop(t->loop, 1);
}

static void on_limit(void *arg)
{
    struct watched *t = arg;
    loop_stop(t->loop, 0);
}

static void begin(struct watched *t, bool there)
{
    char top[] = "/tmp/coracle-dirwatch-XXXXXX";
    assert_non_null(mkdtemp(top));
    *t = (struct watched){.loop = loop_new(), .top = str_dup(top)};
    t->dir = str_printf("%s/a/b/c", top);
    if (there)
        assert_int_equal(fs_mkdirs(t->dir, 0755, NULL), 0);
    loop_timer_init(&t->limit, t->loop, "test", on_limit, t);
    t->w = dirwatch_new(t->loop, t->dir, on_changed, t, NULL);
    assert_non_null(t->w);
}

static void end(struct watched *t)
{
    assert_null(dirwatch_free(t->w));
    loop_timer_done(&t->limit);
    assert_int_equal(fs_remove_tree(t->top, NULL), 0);
    free(t->top);
    free(t->dir);
    (void)loop_free(t->loop);
}

/* Whether a change is told within @ms. */
static bool told(struct watched *t, uint64_t ms)
{
    loop_timer_set(&t->limit, ms);
    return loop_run(t->loop) == 1;
}

static void put(const struct watched *t, const char *name)
{
    _cleanup_free_ char *path = str_printf("%s/%s", t->dir, name);
    assert_int_equal(fs_write_atomic(path, "x", 1, 0644, FS_VOLATILE, NULL), 0);
}

static void changes_are_told_once(_unused_ void **state)
{
    struct watched t;
    begin(&t, true);
    assert_false(told(&t, 100));
    put(&t, "one");
    put(&t, "two");
    assert_true(told(&t, 10000));
    assert_false(told(&t, 100));
    assert_int_equal(t.changes, 1);
    _cleanup_free_ char *path = str_printf("%s/one", t.dir);
    assert_int_equal(unlink(path), 0);
    assert_true(told(&t, 10000));
    end(&t);
}

static void a_directory_that_appears_and_goes(_unused_ void **state)
{
    struct watched t;
    begin(&t, false);
    _cleanup_free_ char *a = str_printf("%s/a", t.top), *b = str_printf("%s/a/b", t.top),
                        *other = str_printf("%s/other", t.top);
    assert_int_equal(mkdir(other, 0755), 0);
    assert_int_equal(mkdir(a, 0755), 0);
    assert_false(told(&t, 100)); /* not what is watched */
    assert_int_equal(mkdir(b, 0755), 0);
    assert_int_equal(mkdir(t.dir, 0755), 0);
    assert_true(told(&t, 10000));
    put(&t, "one");
    assert_true(told(&t, 10000));
    assert_int_equal(fs_remove_tree(a, NULL), 0);
    assert_true(told(&t, 10000));
    assert_int_equal(fs_mkdirs(t.dir, 0755, NULL), 0); /* all at once */
    put(&t, "two");
    assert_true(told(&t, 10000));
    while (told(&t, 100))
        ;
    put(&t, "three");
    assert_true(told(&t, 10000));
    end(&t);
}

/* The number of the newest inotify watch of this process, which grows with every one that is made.
 */
static unsigned newest_watch(void)
{
    unsigned newest = 0;
    for (int fd = 0; fd < 64; fd++) {
        char path[64];
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
        if (fs_read(path, 65536, &text, NULL) < 0)
            continue;
        for (const char *p = strbuf_text(&text); (p = strstr(p, "inotify wd:")); p++) {
            unsigned wd = (unsigned)strtoul(p + strlen("inotify wd:"), NULL, 16);
            newest = wd > newest ? wd : newest;
        }
    }
    return newest;
}

/* Looking for the directory makes watches and gives them up; being told of that is no reason to
 * look again. */
static void waiting_is_quiet(_unused_ void **state)
{
    struct watched t;
    begin(&t, false);
    _cleanup_free_ char *other = str_printf("%s/other", t.top);
    assert_int_equal(mkdir(other, 0755), 0);
    assert_false(told(&t, 50));
    unsigned before = newest_watch();
    assert_true(before > 0);
    assert_false(told(&t, 100));
    assert_int_equal(newest_watch(), before);
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_told_once),
        cmocka_unit_test(a_directory_that_appears_and_goes),
        cmocka_unit_test(waiting_is_quiet),
    };
    return RUN_TESTS(tests);
}
