/* Who a process is, by the image's /etc/passwd and /etc/group. */
#include "lib/test.h"

#include <errno.h>

#include "cri/launch/launch.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "# no line of ours\n"
                             "short:x\n"
                             ":x:7:7::/:\n"
                             "web:x:33:34:web:/srv/web:/bin/sh\n"
                             "1000:x:5:6:a name of digits:/five:/bin/sh\n"
                             "big:x:99999999999:1::/:\n"
                             "last:x:70:71:no newline:/last";
static const char group[] = "root:x:0:\nwww:x:34:\nextra:x:50:web,other\nmore:x:51:other,web\n"
                            "webby:x:52:webber\nbad:x:zz:web\nnum:x:8:root\n";

struct expected {
    const char *user;
    int64_t uid, gid; /* as asked for */
    bool strict;
    int code;
    uid_t got_uid;
    gid_t got_gid;
    const char *home;
    gid_t groups[4];
    size_t n_groups;
};

static void check(const struct expected *e)
{
    struct error err = ERROR_INIT;
    struct launch_job job = {.spec.process = LAUNCH_PROCESS_INIT};
    job.spec.process.user = e->user;
    job.spec.process.uid = e->uid;
    job.spec.process.gid = e->gid;
    job.spec.process.strict_groups = e->strict;
    assert_int_equal(user_lookup(&job, passwd, group, &err), e->code);
    if (e->code == 0) {
        assert_int_equal(job.uid, e->got_uid);
        assert_int_equal(job.gid, e->got_gid);
        if (e->home)
            assert_string_equal(job.home, e->home);
        else
            assert_null(job.home);
        assert_int_equal(job.n_groups, e->n_groups);
        for (size_t i = 0; i < e->n_groups; i++)
            assert_int_equal(job.groups[i], e->groups[i]);
    } else {
        assert_int_equal(job.exit_code, 126);
        assert_non_null(strstr(err.text, "not in the image"));
    }
    free(job.groups);
    free(job.home);
}

static void lookups(_unused_ void **state)
{
    static const struct expected all[] = {
        {"", -1, -1, false, 0, 0, 0, "/root", {8, 0}, 2},
        {"root", -1, -1, false, 0, 0, 0, "/root", {8, 0}, 2},
        {"web", -1, -1, false, 0, 33, 34, "/srv/web", {50, 51, 34}, 3},
        {"web", -1, -1, true, 0, 33, 34, "/srv/web", {34}, 1},
        {"33", -1, -1, false, 0, 33, 34, "/srv/web", {50, 51, 34}, 3},
        {"web:extra", -1, -1, false, 0, 33, 50, "/srv/web", {50, 51}, 2},
        {"web:77", -1, -1, false, 0, 33, 77, "/srv/web", {50, 51, 77}, 3},
        {"web", 33, -1, false, 0, 33, 34, "/srv/web", {50, 51, 34}, 3},
        {"web:extra", 0, 9, false, 0, 0, 9, "/root", {8, 9}, 2},
        {"4242", -1, -1, false, 0, 4242, 0, NULL, {0}, 1},
        {"4242:50", -1, -1, false, 0, 4242, 50, NULL, {50}, 1},
        {"", 4242, -1, false, 0, 4242, 0, NULL, {0}, 1},
        {"1000", -1, -1, false, 0, 5, 6, "/five", {6}, 1}, /* a name comes before a number */
        {"last", -1, -1, false, 0, 70, 71, "/last", {71}, 1},
        {"nobody", -1, -1, false, -EINVAL, 0, 0, NULL, {0}, 0},
        {"web:nogroup", -1, -1, false, -EINVAL, 0, 0, NULL, {0}, 0},
        {"4294967295", -1, -1, false, -EINVAL, 0, 0, NULL, {0}, 0}, /* "leave" to the kernel */
        {"-1", -1, -1, false, -EINVAL, 0, 0, NULL, {0}, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        check(&all[i]);
}

static void explicit_groups(_unused_ void **state)
{
    static const gid_t wanted[] = {50, 1234};
    struct launch_job job = {.spec.process = LAUNCH_PROCESS_INIT};
    job.spec.process.user = "web";
    job.spec.process.groups = wanted;
    job.spec.process.n_groups = 2;
    assert_int_equal(user_lookup(&job, passwd, group, NULL), 0);
    static const gid_t merged[] = {50, 51, 1234, 34};
    assert_int_equal(job.n_groups, 4);
    assert_memory_equal(job.groups, merged, sizeof(merged));
    free(job.groups);
    free(job.home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookups),
        cmocka_unit_test(explicit_groups),
    };
    return RUN_TESTS(tests);
}
