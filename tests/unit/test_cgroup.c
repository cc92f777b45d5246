/* Control groups: parsing and formulas, and as root on a real hierarchy of the host. */
#include "lib/test.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
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

/* A group of the test's own, removed at the end of the test. */
struct fixture {
    struct cgroups *cgs;
    char *path;
};

static int set_up(void **state)
{
    static unsigned n;
    struct fixture *f = mem_zalloc(sizeof(*f));
    *state = f;
    if (writable(&f->cgs) < 0)
        return 0;
    f->path = str_printf("/cl-test-%d-%u", (int)getpid(), n++);
    return cgroup_create(f->cgs, f->path, NULL);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    int r = -EBUSY;
    for (int i = 0; f->path && i < 100 && r < 0; i++) {
        (void)cgroup_kill(f->cgs, f->path, NULL);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        r = cgroup_remove(f->cgs, f->path, NULL);
        if (r < 0)
            (void)usleep(10000);
    }
    bool ok = !f->path || r == 0;
    (void)cgroups_free(f->cgs);
    free(f->path);
    free(f);
    return ok ? 0 : -1;
}

static char *content(const struct fixture *f, enum cgroup_controller c, const char *v1,
                     const char *v2)
{
    struct strbuf text = STRBUF_INIT;
    bool unified = cgroups_mode(f->cgs) == CGROUP_V2;
    assert_int_equal(cgroup_file_read(f->cgs, c, f->path, unified ? v2 : v1, &text, NULL), 0);
    strbuf_truncate(&text, strcspn(strbuf_text(&text), "\n"));
    return strbuf_take(&text);
}

static void assert_content(const struct fixture *f, enum cgroup_controller c, const char *v1,
                           const char *v2, const char *want_v1, const char *want_v2)
{
    _cleanup_free_ char *text = content(f, c, v1, v2);
    assert_string_equal(text, cgroups_mode(f->cgs) == CGROUP_V2 ? want_v2 : want_v1);
}

static void refused(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    if (!f->path || !cgroups_has(f->cgs, CGROUP_CPUSET, NULL))
        skip();
    struct cgroup_limits l = CGROUP_LIMITS_INIT;
    l.cpus = "not-a-list";
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), -EINVAL);
    assert_string_equal(err.field, "cpuset.cpus");
    assert_non_null(strstr(err.text, "cpuset.cpus \"not-a-list\""));
    l = (struct cgroup_limits)CGROUP_LIMITS_INIT;
    l.cpu_shares = 512;
    assert_int_equal(cgroup_set(f->cgs, "/cl-test/no-such-group", &l, NULL, &err), -ENOENT);
}

/* When one limit is refused, those before it go back to what they were. */
static void nothing_half_done(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    if (!f->path || !cgroups_has(f->cgs, CGROUP_CPU, NULL) ||
        !cgroups_has(f->cgs, CGROUP_MEMORY, NULL))
        skip();
    struct cgroup_limits l = CGROUP_LIMITS_INIT;
    l.cpu_shares = 1024;
    l.cpu_quota = 50000;
    l.cpu_period = 100000;
    l.memory_limit = 64 << 20;
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), 0);
    l.cpu_shares = 2048;
    l.cpu_quota = 20000;
    l.memory_limit = 96 << 20;
    l.memory_swap = 80 << 20; /* below the limit */
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), -EINVAL);
    assert_string_equal(err.field, "memory_swap");
    l.memory_swap = CGROUP_UNSET;
    l.pids_limit = -7; /* the kernel refuses it, the last of all */
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), -EINVAL);
    assert_string_equal(err.field, "pids.max");
    assert_content(f, CGROUP_CPU, "cpu.shares", "cpu.weight", "1024", "100");
    assert_content(f, CGROUP_CPU, "cpu.cfs_quota_us", "cpu.max", "50000", "50000 100000");
    assert_content(f, CGROUP_MEMORY, "memory.limit_in_bytes", "memory.max", "67108864", "67108864");
}

/* A limit that is given alone leaves the others. */
static void one_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    if (!f->path || !cgroups_has(f->cgs, CGROUP_CPU, NULL))
        skip();
    struct cgroup_limits l = CGROUP_LIMITS_INIT;
    l.cpu_quota = 40000;
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), 0);
    l = (struct cgroup_limits)CGROUP_LIMITS_INIT;
    l.cpu_period = 200000;
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), 0);
    assert_content(f, CGROUP_CPU, "cpu.cfs_quota_us", "cpu.max", "40000", "40000 200000");
    l = (struct cgroup_limits)CGROUP_LIMITS_INIT;
    l.cpu_quota = CGROUP_UNLIMITED;
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), 0);
    assert_content(f, CGROUP_CPU, "cpu.cfs_quota_us", "cpu.max", "-1", "max 200000");
}

static void swap_is_the_difference(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    struct cgroup_stats s;
    if (!f->path || !cgroups_has(f->cgs, CGROUP_MEMORY, NULL))
        skip();
    struct cgroup_limits l = CGROUP_LIMITS_INIT;
    _cleanup_strbuf_ struct strbuf notes = STRBUF_INIT;
    l.memory_limit = 64 << 20;
    l.memory_swap = 96 << 20;
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, &notes, &err), 0);
    if (notes.len) /* a kernel that does not count swap */
        skip();
    assert_int_equal(cgroup_stats(f->cgs, f->path, &s, &err), 0);
    assert_int_equal(s.swap_limit, 32 << 20);
    l.memory_limit = CGROUP_UNSET; /* the limit that the group has counts */
    l.memory_swap = 128 << 20;
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), 0);
    assert_int_equal(cgroup_stats(f->cgs, f->path, &s, &err), 0);
    assert_int_equal(s.swap_limit, 64 << 20);
    l.memory_limit = CGROUP_UNLIMITED; /* and with it swap */
    l.memory_swap = CGROUP_UNSET;
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), 0);
    assert_int_equal(cgroup_stats(f->cgs, f->path, &s, &err), 0);
    assert_true(s.memory_limit == UINT64_MAX && s.swap_limit == UINT64_MAX);
}

/* A process in the group that holds @size bytes of anonymous memory. */
static pid_t hold_memory(const struct fixture *f, size_t size)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (cgroup_add_pid(f->cgs, f->path, getpid(), NULL) < 0 || p == MAP_FAILED)
            _exit(1);
        memset(p, 1, size);
        if (write(ready[1], "", 1) == 1)
            for (;;)
                (void)pause();
        _exit(1);
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    return pid;
}

static void below_what_is_used(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    if (!f->path || !cgroups_has(f->cgs, CGROUP_MEMORY, NULL))
        skip();
    struct cgroup_limits l = CGROUP_LIMITS_INIT;
    l.memory_limit = l.memory_swap = 128 << 20;
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), 0);
    pid_t pid = hold_memory(f, 48 << 20);
    l.memory_limit = l.memory_swap = 16 << 20;
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), -EBUSY);
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(cgroup_oom_kills(f->cgs, f->path), 0);
    struct cgroup_stats s;
    assert_int_equal(cgroup_stats(f->cgs, f->path, &s, &err), 0);
    assert_int_equal(s.memory_limit, 128 << 20);
    assert_true(s.memory_rss >= 48 << 20);
    assert_true(s.memory_working_set >= s.memory_rss && s.memory_usage >= s.memory_working_set);
    l.memory_limit = l.memory_swap = 96 << 20; /* where there is room it works */
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), 0);
    if (cgroups_mode(f->cgs) == CGROUP_V2)
        assert_content(f, CGROUP_MEMORY, "", "memory.high", "", "max");
    struct cgroup_details d;
    assert_int_equal(cgroup_details(f->cgs, f->path, &d, &err), 0);
    assert_int_equal(d.processes, 1);
    assert_true(d.memory_peak == 0 || d.memory_peak >= 48 << 20);
}

static void unified(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    if (!f->path || !cgroups_has(f->cgs, CGROUP_MEMORY, NULL))
        skip();
    bool v2 = cgroups_mode(f->cgs) == CGROUP_V2;
    const char *list[] = {"cpu.weight=50", NULL, NULL};
    struct cgroup_limits l = CGROUP_LIMITS_INIT;
    l.unified = list;
    if (!v2) {
        assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), -ENOTSUP);
        assert_non_null(strstr(err.text, "cpu.weight"));
        return;
    }
    static const struct {
        const char *setting;
        int code;
    } bad[] = {
        {"nodot=1", -EINVAL},          {"memory.high", -EINVAL},      {".max=1", -EINVAL},
        {"memory.=1", -EINVAL},        {"cgroup.kill=1", -EINVAL},    {"../memory.max=1", -EINVAL},
        {"memory/x.max=1", -EINVAL},   {"nope.max=1", -EINVAL},       {"memory.high=", -EINVAL},
        {"memory.high=1\n2", -EINVAL}, {"memory.nosuch=1", -ENOTSUP}, {"memory.high=x", -EINVAL},
        {"pids.max=-7", -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        list[1] = bad[i].setting;
        assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), bad[i].code);
        assert_content(f, CGROUP_CPU, "", "cpu.weight", "", "100");
    }
    list[1] = "memory.oom.group=1";
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), 0);
    assert_content(f, CGROUP_CPU, "", "cpu.weight", "", "50");
    assert_content(f, CGROUP_MEMORY, "", "memory.oom.group", "", "1");
}

static void huge_pages(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    if (!f->path)
        skip();
    _cleanup_strbuf_ struct strbuf notes = STRBUF_INIT;
    struct cgroup_hugetlb h = {"2MB", 4 << 20};
    struct cgroup_limits l = CGROUP_LIMITS_INIT;
    l.hugetlb = &h;
    l.n_hugetlb = 1;
    h.page_size = "2MB/../x";
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), -EINVAL);
    h.page_size = "2MB";
    int r = cgroup_set(f->cgs, f->path, &l, &notes, &err);
    if (!cgroups_has(f->cgs, CGROUP_HUGETLB, NULL)) {
        assert_int_equal(r, 0);
        assert_non_null(strstr(strbuf_text(&notes), "hugetlb.2MB"));
        return;
    }
    assert_int_equal(r, 0);
    assert_content(f, CGROUP_HUGETLB, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max", "4194304",
                   "4194304");
    h.page_size = "3MB"; /* no such pages: their limit of 0 holds by itself */
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), -EINVAL);
    h.limit = 0;
    assert_int_equal(cgroup_set(f->cgs, f->path, &l, NULL, &err), 0);
}

/* A group that was not given every controller of the host (as systemd gives none that it does not
 * know) has children all the same, which lack that one. */
static void less_than_the_host(void **state)
{
    const struct fixture *f = *state;
    const struct cgroups *cgs = f->cgs;
    struct error err = ERROR_INIT;
    if (!cgs || cgroups_mode(cgs) != CGROUP_V2 || !cgroups_has(cgs, CGROUP_PIDS, NULL) ||
        !cgroups_has(cgs, CGROUP_MEMORY, NULL))
        skip();
    _cleanup_free_ char *top = str_printf("/cl-less-%d", (int)getpid());
    _cleanup_free_ char *given = str_printf("%s/given", top);
    _cleanup_free_ char *below = str_printf("%s/below", given);
    assert_int_equal(cgroup_create(cgs, given, &err), 0);
    _cleanup_free_ char *dir = cgroup_dir(cgs, CGROUP_PIDS, top);
    _cleanup_free_ char *control = fs_join(dir, "cgroup.subtree_control");
    assert_int_equal(fs_write_text(control, "-pids", &err), 0);
    assert_int_equal(cgroup_create(cgs, below, &err), 0);
    struct cgroup_limits l = CGROUP_LIMITS_INIT;
    _cleanup_strbuf_ struct strbuf notes = STRBUF_INIT;
    l.pids_limit = 20;
    l.memory_limit = 64 << 20;
    assert_int_equal(cgroup_set(cgs, below, &l, &notes, &err), 0);
    assert_non_null(strstr(strbuf_text(&notes), "pids.max"));
    assert_null(strstr(strbuf_text(&notes), "memory.max"));
    assert_int_equal(cgroup_remove(cgs, top, &err), 0);
}

static void pressure(_unused_ void **state)
{
    struct cgroup_psi psi = {.there = false};
    cgroup_parse_psi("", &psi);
    assert_false(psi.there);
    cgroup_parse_psi("some avg10=1.50 avg60=0.25 avg300=0.00 total=123456\n"
                     "full avg10=0.50 avg60=0.00 avg300=99.99 total=7\n",
                     &psi);
    assert_true(psi.there);
    assert_int_equal(psi.some.total_us, 123456);
    assert_true(psi.some.avg10 == 1.5 && psi.some.avg60 == 0.25 && psi.some.avg300 == 0);
    assert_int_equal(psi.full.total_us, 7);
    assert_true(psi.full.avg300 == 99.99);
}

static void devices(_unused_ void **state)
{
    struct cgroup_io list[2], *io;
    const char *rest;
    size_t n = 0;
    io = cgroup_io_line("8:16 rbytes=1", list, &n, 2, &rest);
    assert_true(io == &list[0] && io->major == 8 && io->minor == 16);
    assert_string_equal(rest, "rbytes=1");
    assert_true(cgroup_io_line("8:0 x", list, &n, 2, &rest) == &list[1]);
    assert_true(cgroup_io_line("8:16 Write 3", list, &n, 2, &rest) == &list[0]);
    assert_null(cgroup_io_line("9:1 x", list, &n, 2, &rest)); /* full */
    assert_null(cgroup_io_line("Total 4096", list, &n, 2, &rest));
    assert_int_equal(n, 2);
}

/* The tree without controllers: groups are made there only for who asks. */
static void unified_tree_of_a_hybrid_host(_unused_ void **state)
{
    _cleanup_(cgroups_freep) struct cgroups *cgs = NULL;
    struct error err = ERROR_INIT;
    if (writable(&cgs) < 0)
        skip();
    _cleanup_free_ char *path = str_printf("/cl-hybrid-%d/deep", (int)getpid());
    _cleanup_free_ char *top = str_printf("/cl-hybrid-%d", (int)getpid());
    _cleanup_free_ char *dir = NULL;
    assert_int_equal(cgroup_create_unified(cgs, "/a/../b", &dir, NULL), -EINVAL);
    if (cgroup_create_unified(cgs, path, &dir, &err) < 0)
        skip(); /* it is read-only */
    if (cgroups_mode(cgs) != CGROUP_HYBRID) {
        assert_null(dir);
        return;
    }
    _cleanup_free_ char *procs = fs_join(dir, "cgroup.procs");
    assert_true(fs_exists(procs));
    assert_int_equal(cgroup_remove(cgs, top, &err), 0); /* of this tree alone, and what is below */
    assert_false(fs_exists(dir));
    assert_int_equal(cgroup_remove(cgs, top, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights),
        cmocka_unit_test(keys),
        cmocka_unit_test(bad_paths),
        cmocka_unit_test(life),
        cmocka_unit_test(unified_tree_of_a_hybrid_host),
        cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_half_done, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(swap_is_the_difference, set_up, tear_down),
        cmocka_unit_test_setup_teardown(below_what_is_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unified, set_up, tear_down),
        cmocka_unit_test_setup_teardown(huge_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(less_than_the_host, set_up, tear_down),
        cmocka_unit_test(pressure),
        cmocka_unit_test(devices),
    };
    return RUN_TESTS(tests);
}
