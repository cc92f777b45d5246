/* Control groups: parsing and formulas, and as root on a real hierarchy of the host. */
#include "lib/test.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/cgroup_internal.h"
#include "base/fs.h"

static void weights(_unused_ void **state)
{
    assert_int_equal(cgroup_shares_to_weight(0), 1);
    assert_int_equal(cgroup_shares_to_weight(2), 1);
    assert_int_equal(cgroup_shares_to_weight(1024), 100);
    assert_int_equal(cgroup_shares_to_weight(102), 17);
    assert_int_equal(cgroup_shares_to_weight(262144), 10000);
    assert_int_equal(cgroup_shares_to_weight(1U << 30), 10000);
    for (uint64_t shares = 2; shares < 262144; shares += 997) {
        uint64_t w = cgroup_shares_to_weight(shares);
        assert_true(w >= 1 && w <= 10000);
        assert_true(w <= cgroup_shares_to_weight(shares + 997));
    }
    assert_int_equal(cgroup_weight_to_shares(100), 1024);
    assert_int_equal(cgroup_weight_to_shares(1), 2);
    assert_int_equal(cgroup_weight_to_shares(10000), 262144);
}

static void keys(_unused_ void **state)
{
    uint64_t v = 0;
    const char *text = "oom 1\noom_kill 3\nunder_oom 9\n";
    assert_true(cgroup_key(text, "oom_kill", &v) && v == 3);
    assert_true(cgroup_key(text, "oom", &v) && v == 1);
    assert_false(cgroup_key(text, "kill", &v));
    assert_false(cgroup_key("", "oom", &v));
}

static void bad_paths(_unused_ void **state)
{
    _cleanup_(cgroups_freep) struct cgroups *cgs = NULL;
    if (cgroups_open(NULL, &cgs, NULL) < 0)
        skip();
    static const char *const bad[] = {"relative", "/a/../b", "/..", "//a", "/a/./b", ""};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(cgroup_create(cgs, bad[i], NULL), -EINVAL);
    assert_int_equal(cgroup_remove(cgs, "/", NULL), -EINVAL);
    assert_true(cgroups_open("/no/such/place", &cgs, NULL) < 0);
}

static int writable(struct cgroups **cgs)
{
    return geteuid() == 0 ? cgroups_open(NULL, cgs, NULL) : -EPERM;
}

static pid_t start_sleeper(void)
{
    pid_t pid = -1;
    char *argv[] = {(char *)(uintptr_t) "sleep", (char *)(uintptr_t) "100", NULL};
    assert_int_equal(posix_spawnp(&pid, "sleep", NULL, NULL, argv, NULL), 0);
    return pid;
}

static void life(_unused_ void **state)
{
    _cleanup_(cgroups_freep) struct cgroups *cgs = NULL;
    struct error err = ERROR_INIT;
    if (writable(&cgs) < 0)
        skip();
    _cleanup_free_ char *top = str_printf("/cl-test-%d", (int)getpid());
    _cleanup_free_ char *path = str_printf("%s/deep/er", top);
    assert_int_equal(cgroup_create(cgs, path, &err), 0);
    assert_int_equal(cgroup_create(cgs, path, &err), 0);
    struct cgroup_limits l = CGROUP_LIMITS_INIT;
    _cleanup_strbuf_ struct strbuf notes = STRBUF_INIT;
    l.cpu_shares = 512;
    l.cpu_quota = 50000;
    l.cpu_period = 100000;
    l.memory_limit = l.memory_swap = 64 << 20;
    l.pids_limit = 20;
    assert_int_equal(cgroup_set(cgs, path, &l, &notes, &err), 0);
    l.memory_limit = l.memory_swap = 128 << 20; /* up */
    assert_int_equal(cgroup_set(cgs, path, &l, &notes, &err), 0);
    l.memory_limit = l.memory_swap = 32 << 20; /* and down */
    assert_int_equal(cgroup_set(cgs, path, &l, &notes, &err), 0);
    pid_t pid = start_sleeper(), *pids = NULL;
    size_t n = 0;
    assert_int_equal(cgroup_add_pid(cgs, path, pid, &err), 0);
    assert_int_equal(cgroup_pids(cgs, top, true, &pids, &n, &err), 0);
    assert_true(n == 1 && pids[0] == pid);
    free(pids);
    _cleanup_free_ char *at = NULL;
    if (cgroups_has(cgs, CGROUP_MEMORY, NULL)) {
        assert_int_equal(cgroup_of(cgs, pid, &at, &err), 0);
        assert_string_equal(at, path);
    }
    struct cgroup_stats s;
    assert_int_equal(cgroup_stats(cgs, path, &s, &err), 0);
    if (s.has_memory)
        assert_int_equal(s.memory_limit, 32 << 20);
    if (s.has_pids)
        assert_int_equal(s.pids, 1);
    assert_int_equal(cgroup_oom_kills(cgs, path), 0);
    assert_int_equal(cgroup_remove(cgs, top, &err), -EBUSY);
    assert_int_equal(cgroup_kill(cgs, top, &err), 0);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    int r = -EBUSY; /* the kernel lets go of the group a moment after the process is reaped */
    for (int i = 0; i < 100 && (r = cgroup_remove(cgs, top, &err)) == -EBUSY; i++)
        (void)usleep(10000);
    assert_int_equal(r, 0);
    assert_int_equal(cgroup_remove(cgs, top, &err), 0);
    assert_int_equal(cgroup_kill(cgs, top, &err), 0);
    assert_int_equal(cgroup_stats(cgs, path, &s, &err), -ENOENT);
}

static void refused(_unused_ void **state)
{
    _cleanup_(cgroups_freep) struct cgroups *cgs = NULL;
    struct error err = ERROR_INIT;
    if (writable(&cgs) < 0 || !cgroups_has(cgs, CGROUP_CPUSET, NULL))
        skip();
    _cleanup_free_ char *path = str_printf("/cl-test-%d-r", (int)getpid());
    assert_int_equal(cgroup_create(cgs, path, &err), 0);
    struct cgroup_limits l = CGROUP_LIMITS_INIT;
    l.cpus = "not-a-list";
    assert_int_equal(cgroup_set(cgs, path, &l, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "cpuset.cpus"));
    assert_int_equal(cgroup_remove(cgs, path, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights), cmocka_unit_test(keys),    cmocka_unit_test(bad_paths),
        cmocka_unit_test(life),    cmocka_unit_test(refused),
    };
    return RUN_TESTS(tests);
}
