/* cri/apparmor: which profile a container gets, over the files of a made-up kernel. */
#include "lib/test.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "cri/apparmor.h"

static char *sys_dir;

static void put(const char *name, const char *text)
{
    _cleanup_free_ char *path = fs_join(sys_dir, name);
    _cleanup_free_ char *dir = str_dup(path);
    *strrchr(dir, '/') = '\0';
    assert_int_equal(fs_mkdirs(dir, 0755, NULL), 0);
    assert_int_equal(fs_write_atomic(path, text, strlen(text), 0644, FS_VOLATILE, NULL), 0);
}

static int setup(_unused_ void **state)
{
    sys_dir = str_dup("/tmp/test_apparmor.XXXXXX");
    return mkdtemp(sys_dir) ? 0 : -1;
}

static int teardown(_unused_ void **state)
{
    int r = fs_remove_tree(sys_dir, NULL);
    free(sys_dir);
    return r;
}

#define ENABLED "module/apparmor/parameters/enabled"
#define LIST    "kernel/security/apparmor/profiles"

enum { RUNTIME_DEFAULT, UNCONFINED, LOCALHOST };

/* What a container gets that asks for a profile of type @type (-1: says nothing) and name @ref. */
static int ask(struct apparmor *a, int type, const char *ref, bool privileged, const char **ret,
               struct error *err)
{
    Runtime__V1__LinuxContainerSecurityContext sc =
        RUNTIME__V1__LINUX_CONTAINER_SECURITY_CONTEXT__INIT;
    Runtime__V1__SecurityProfile p = RUNTIME__V1__SECURITY_PROFILE__INIT;
    p.profile_type = (Runtime__V1__SecurityProfile__ProfileType)type;
    p.localhost_ref = (char *)(uintptr_t)ref;
    sc.privileged = privileged;
    if (type >= 0)
        sc.apparmor = &p;
    *ret = NULL;
    *err = (struct error)ERROR_INIT;
    return apparmor_profile(a, &sc, ret, err);
}

static void without(_unused_ void **state)
{
    const char *name;
    struct error err;
    put(ENABLED, "N\n");
    struct apparmor *a = apparmor_new(NULL, "", sys_dir);
    assert_false(apparmor_load(a, NULL, NULL));
    for (int i = 0; i < 2; i++) {
        struct apparmor *which = i ? a : NULL;
        assert_int_equal(ask(which, -1, "", false, &name, &err), 0);
        assert_null(name);
        assert_int_equal(ask(which, UNCONFINED, "", false, &name, &err), 0);
        assert_int_equal(ask(which, RUNTIME_DEFAULT, "", false, &name, &err), -ENOTSUP);
        assert_string_equal(err.field, "linux.security_context.apparmor");
        assert_int_equal(ask(which, LOCALHOST, "x", true, &name, &err), -ENOTSUP);
        assert_non_null(strstr(err.text, "has no AppArmor"));
    }
    (void)apparmor_free(a);
}

static void with(_unused_ void **state)
{
    const char *name;
    struct error err;
    put(ENABLED, "Y\n");
    put(LIST, "other (complain)\ncoracle-default (enforce)\ncoracle-defaults (enforce)\nlast "
              "(enforce)");
    struct apparmor *a = apparmor_new(NULL, "", sys_dir);
    assert_int_equal(ask(a, -1, "", false, &name, &err), 0);
    assert_string_equal(name, "coracle-default");
    assert_int_equal(ask(a, RUNTIME_DEFAULT, "", false, &name, &err), 0);
    assert_string_equal(name, "coracle-default");
    assert_int_equal(ask(a, UNCONFINED, "", false, &name, &err), 0);
    assert_null(name);
    assert_int_equal(ask(a, RUNTIME_DEFAULT, "", true, &name, &err), 0);
    assert_null(name);
    assert_int_equal(ask(a, LOCALHOST, "other", true, &name, &err), 0);
    assert_string_equal(name, "other");
    assert_int_equal(ask(a, LOCALHOST, "localhost/last", false, &name, &err), 0);
    assert_string_equal(name, "last");
    (void)apparmor_free(a);
}

static void refused(_unused_ void **state)
{
    static const struct {
        int type;
        const char *ref;
        int code;
        const char *field;
    } cases[] = {
        {LOCALHOST, "coracle", -ENOENT, "linux.security_context.apparmor.localhost_ref"},
        {LOCALHOST, "", -EINVAL, "linux.security_context.apparmor.localhost_ref"},
        {LOCALHOST, "other\nexec", -EINVAL, "linux.security_context.apparmor.localhost_ref"},
        {RUNTIME_DEFAULT, "other", -EINVAL, "linux.security_context.apparmor.localhost_ref"},
        {7, "", -EINVAL, "linux.security_context.apparmor.profile_type"},
    };
    struct apparmor *a = apparmor_new(NULL, "", sys_dir);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *name;
        struct error err;
        assert_int_equal(ask(a, cases[i].type, cases[i].ref, false, &name, &err), cases[i].code);
        assert_string_equal(err.field, cases[i].field);
        assert_null(name);
    }
    (void)apparmor_free(a);
}

static void unloading(_unused_ void **state)
{
    assert_int_equal(apparmor_unload("", "/no/such", NULL), 0);
    put("kernel/security/apparmor/.remove", "");
    assert_int_equal(apparmor_unload("/elsewhere", sys_dir, NULL), 0);
    _cleanup_free_ char *path = fs_join(sys_dir, "kernel/security/apparmor/.remove");
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    assert_int_equal(fs_read(path, 100, &text, NULL), 0);
    assert_true(str_starts(strbuf_text(&text), "coracle-default-"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without),
        cmocka_unit_test(with),
        cmocka_unit_test(refused),
        cmocka_unit_test(unloading),
    };
    (void)cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
