/* Names of slices and where systemd has their groups. */
#include "lib/test.h"

#include <errno.h>

#include "base/systemd.h"

static void assert_group(const char *slice, const char *want)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ char *group = systemd_slice_group(slice, &err);
    assert_non_null(group);
    assert_string_equal(group, want);
}

static void groups(_unused_ void **state)
{
    assert_group("a.slice", "/a.slice");
    assert_group("-.slice", "");
    assert_group("kubelet-kubepods-burstable-pod0a_1b.slice",
                 "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
                 "kubelet-kubepods-burstable-pod0a_1b.slice");
    assert_group("a-b.c.slice", "/a.slice/a-b.c.slice");
    static const char *const bad[] = {"",           ".slice",    "a",          "a.scope",
                                      "-a.slice",   "a-.slice",  "a--b.slice", "a/b.slice",
                                      "../x.slice", "a b.slice", "--.slice",   "a\n.slice"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = ERROR_INIT;
        assert_null(systemd_slice_group(bad[i], &err));
        assert_int_equal(err.code, -EINVAL);
    }
    char longest[300];
    memset(longest, 'x', sizeof(longest));
    memcpy(longest + 250, ".slice", 7);
    assert_null(systemd_slice_group(longest, NULL)); /* 256 bytes */
    memcpy(longest + 249, ".slice", 7);
    _cleanup_free_ char *fits = systemd_slice_group(longest, NULL);
    assert_non_null(fits);
}

static void assert_name(const char *parent, const char *want)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ char *name = systemd_slice_name(parent, &err);
    if (!want) {
        assert_null(name);
        assert_int_equal(err.code, -EINVAL);
        return;
    }
    assert_non_null(name);
    assert_string_equal(name, want);
}

/* The kubelet sends the whole path, others the name. */
static void names(_unused_ void **state)
{
    assert_name("a-b.slice", "a-b.slice");
    assert_name("/a.slice/a-b.slice", "a-b.slice");
    assert_name("a.slice/a-b.slice", "a-b.slice");
    assert_name("/a.slice", "a.slice");
    assert_name("/a-b.slice", NULL); /* not where systemd has it */
    assert_name("/x.slice/a-b.slice", NULL);
    assert_name("/kubepods/pod1", NULL);
    assert_name("/a.slice/", NULL);
    assert_name("", NULL);
}

static void paths(_unused_ void **state)
{
    static const struct {
        const char *path, *slice;
    } cases[] = {{"/", "-.slice"},
                 {"", "-.slice"},
                 {"/coracle", "coracle.slice"},
                 {"/a/b/c", "a-b-c.slice"},
                 {"/with-dash/b", "with_dash-b.slice"},
                 {"//a//b/", "a-b.slice"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *slice = systemd_slice_of_path(cases[i].path);
        assert_string_equal(slice, cases[i].slice);
        _cleanup_free_ char *group = systemd_slice_group(slice, NULL);
        assert_non_null(group);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups),
        cmocka_unit_test(names),
        cmocka_unit_test(paths),
    };
    return RUN_TESTS(tests);
}
