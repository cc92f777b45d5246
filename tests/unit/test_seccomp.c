/* The default profile, run through a small interpreter of its own instructions. */
#include "lib/test.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "cri/capabilities.h"
#include "cri/seccomp.h"

/* What the filter answers: the part of classic BPF that libseccomp makes. */
static uint32_t run(const struct strbuf *filter, const struct seccomp_data *data)
{
    const struct sock_filter *code = (const struct sock_filter *)(const void *)filter->data;
    size_t n = filter->len / sizeof(*code);
    uint32_t a = 0;
    for (size_t pc = 0; pc < n; pc++) {
        const struct sock_filter *i = &code[pc];
        bool taken;
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(i->k + 4 <= sizeof(*data));
            memcpy(&a, (const char *)data + i->k, 4);
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= i->k;
            continue;
        case BPF_RET | BPF_K:
            return i->k;
        case BPF_JMP | BPF_JA:
            pc += i->k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            taken = a == i->k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            taken = a > i->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            taken = a >= i->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            taken = a & i->k;
            break;
        default:
            fail_msg("instruction %x", i->code);
            return 0;
        }
        pc += taken ? i->jt : i->jf;
    }
    fail_msg("runs off its end");
    return 0;
}

static uint32_t call(const struct strbuf *filter, const char *name, uint64_t first)
{
    int nr = seccomp_syscall_resolve_name(name);
    assert_true(nr >= 0);
    struct seccomp_data data = {.nr = nr, .arch = seccomp_arch_native(), .args = {first, first}};
    return run(filter, &data);
}

#define ALLOWED SECCOMP_RET_ALLOW
#define DENIED  (SECCOMP_RET_ERRNO | EPERM)
#define MISSING (SECCOMP_RET_ERRNO | ENOSYS)

static void default_profile(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf f = STRBUF_INIT;
    struct error err = ERROR_INIT;
    assert_int_equal(seccomp_default(capabilities_default(), &f, &err), 0);
    assert_int_equal(f.len % sizeof(struct sock_filter), 0);
    assert_true(f.len / sizeof(struct sock_filter) <= BPF_MAXINSNS);
    static const char *const good[] = {"read",  "execve", "openat", "futex", "close_range", "clone",
                                       "prctl", "capset", "chroot", "statx", "epoll_pwait2"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_int_equal(call(&f, good[i], 0), ALLOWED);
    static const char *const bad[] = {"mount",           "umount2",     "unshare",
                                      "setns",           "bpf",         "reboot",
                                      "keyctl",          "add_key",     "kexec_load",
                                      "swapon",          "init_module", "open_by_handle_at",
                                      "move_mount",      "userfaultfd", "io_uring_setup",
                                      "perf_event_open", "syslog"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(call(&f, bad[i], 0), DENIED);
    assert_int_equal(call(&f, "clone3", 0), MISSING);
}

static void arguments(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf f = STRBUF_INIT;
    assert_int_equal(seccomp_default(capabilities_default(), &f, NULL), 0);
    assert_int_equal(call(&f, "clone", CLONE_VM | CLONE_THREAD), ALLOWED);
    assert_int_equal(call(&f, "clone", CLONE_NEWUSER), DENIED);
    assert_int_equal(call(&f, "clone", CLONE_VM | CLONE_NEWNS), DENIED);
    assert_int_equal(call(&f, "personality", 0), ALLOWED);
    assert_int_equal(call(&f, "personality", 0xffffffff), ALLOWED);
    assert_int_equal(call(&f, "personality", 0x0040000), DENIED);
    assert_int_equal(call(&f, "socket", AF_INET), ALLOWED);
    assert_int_equal(call(&f, "socket", AF_VSOCK), DENIED);
}

static void with_capabilities(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf f = STRBUF_INIT;
    uint64_t admin;
    assert_true(capability_parse("cap_sys_admin", &admin));
    assert_int_equal(seccomp_default(admin, &f, NULL), 0);
    assert_int_equal(call(&f, "mount", 0), ALLOWED);
    assert_int_equal(call(&f, "clone3", 0), ALLOWED);
    assert_int_equal(call(&f, "clone", CLONE_NEWUSER), ALLOWED);
    assert_int_equal(call(&f, "chroot", 0), DENIED);
    assert_int_equal(call(&f, "reboot", 0), DENIED);
}

/* Calls from the future do not exist; those of a foreign architecture go through the filter. */
static void unknown_calls(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf f = STRBUF_INIT;
    assert_int_equal(seccomp_default(0, &f, NULL), 0);
    struct seccomp_data data = {.nr = 590, .arch = seccomp_arch_native()};
    assert_int_equal(run(&f, &data), MISSING);
    data.nr = 100000;
    assert_int_equal(run(&f, &data), MISSING);
    data.arch = 0xdead;
    uint32_t answer = run(&f, &data);
    assert_true(answer != ALLOWED);
    if (seccomp_arch_native() != SCMP_ARCH_X86_64)
        return;
    data = (struct seccomp_data){.nr = 0x40000000 + 0, .arch = AUDIT_ARCH_X86_64}; /* x32 read */
    assert_int_equal(run(&f, &data), ALLOWED);
    data = (struct seccomp_data){.nr = 3, .arch = AUDIT_ARCH_I386}; /* read */
    assert_int_equal(run(&f, &data), ALLOWED);
    data.nr = 21; /* i386 mount */
    assert_int_equal(run(&f, &data), DENIED);
}

static void cache(_unused_ void **state)
{
    struct seccomp_cache c = {.next = 0};
    const struct strbuf *first, *again, *other;
    assert_int_equal(seccomp_cache_default(&c, 0, &first, NULL), 0);
    /* A capability that no call belongs to makes no other filter. */
    assert_int_equal(seccomp_cache_default(&c, 1ULL << CAP_CHOWN, &again, NULL), 0);
    assert_ptr_equal(first, again);
    assert_int_equal(seccomp_cache_default(&c, 1ULL << CAP_SYS_BOOT, &other, NULL), 0);
    assert_ptr_not_equal(first, other);
    seccomp_cache_done(&c);
}

static int from_json(const char *json, struct strbuf *f, struct error *err)
{
    strbuf_truncate(f, 0);
    unsigned flags;
    return seccomp_from_json(json, strlen(json), f, &flags, err);
}

static void json_profiles(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf f = STRBUF_INIT;
    struct error err = ERROR_INIT;
    assert_int_equal(
        from_json("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\","
                  "\"no_such_call\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":13},"
                  "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":0,"
                  "\"value\":2,\"op\":\"SCMP_CMP_EQ\"}]}]}",
                  &f, &err),
        0);
    assert_int_equal(call(&f, "mkdir", 0), SECCOMP_RET_ERRNO | 13);
    assert_int_equal(call(&f, "read", 0), ALLOWED);
    assert_int_equal(call(&f, "socket", AF_INET), DENIED);
    assert_int_equal(call(&f, "socket", AF_UNIX), ALLOWED);
}

#define RULE(text)  "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[" text "]}"
#define READ(extra) RULE("{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\"" extra "}")
#define ARG(text)   READ(",\"args\":[{" text "}]")

/* Each says which field it is. */
static void bad_profiles(_unused_ void **state)
{
    static const struct {
        const char *json, *field;
    } cases[] = {
        {"{}", "defaultAction"},
        {"{\"defaultAction\":\"SCMP_ACT_WHAT\"}", "defaultAction"},
        {"{\"defaultAction\":7}", "defaultAction"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":1}", "defaultErrnoRet"},
        {"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":4096}", "defaultErrnoRet"},
        {"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":-1}", "defaultErrnoRet"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":{}}", "syscalls"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"x86_64\"]}", "architectures"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_PDP11\"]}",
         "architectures"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_NO\"]}", "flags"},
        {RULE("{\"names\":[\"read\"],\"action\":\"SCMP_ACT_NOTIFY\"}"), "syscalls[0].action"},
        {RULE("{\"names\":[\"read\"]}"), "syscalls[0].action"},
        {RULE("{\"action\":\"SCMP_ACT_ALLOW\"}"), "syscalls[0]"},
        {RULE("7"), "syscalls[0]"},
        {READ(",\"errnoRet\":1"), "syscalls[0].errnoRet"},
        {READ("},{\"names\":[3],\"action\":\"SCMP_ACT_ALLOW\""), "syscalls[1]"},
        {READ(",\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}"), "syscalls[0]"},
        {ARG("\"index\":6,\"value\":1,\"op\":\"SCMP_CMP_EQ\""), "syscalls[0].args[0]"},
        {ARG("\"index\":0,\"value\":1,\"op\":\"==\""), "syscalls[0].args[0]"},
        {ARG("\"index\":0,\"value\":-1,\"op\":\"SCMP_CMP_EQ\""), "syscalls[0].args[0]"},
        {ARG("\"index\":0,\"op\":\"SCMP_CMP_EQ\""), "syscalls[0].args[0]"},
    };
    _cleanup_strbuf_ struct strbuf f = STRBUF_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        if (from_json(cases[i].json, &f, &err) != -EINVAL || !str_eq(err.field, cases[i].field))
            fail_msg("%s: %s: %s", cases[i].json, err.field, err.text);
        if (!strstr(err.text, cases[i].field))
            fail_msg("%s does not name %s", err.text, cases[i].field);
        assert_int_equal(f.len, 0);
    }
    struct error err = ERROR_INIT;
    assert_true(from_json("{", &f, &err) < 0);
}

static void argument_operators(_unused_ void **state)
{
    static const struct {
        const char *op;
        bool below, at, above; /* of 100 */
    } cases[] = {
        {"SCMP_CMP_LT", true, false, false}, {"SCMP_CMP_LE", true, true, false},
        {"SCMP_CMP_EQ", false, true, false}, {"SCMP_CMP_NE", true, false, true},
        {"SCMP_CMP_GE", false, true, true},  {"SCMP_CMP_GT", false, false, true},
    };
    _cleanup_strbuf_ struct strbuf f = STRBUF_INIT;
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *json =
            str_printf(ARG("\"index\":0,\"value\":100,\"op\":\"%s\""), cases[i].op);
        assert_int_equal(from_json(json, &f, &err), 0);
        assert_int_equal(call(&f, "read", 99), cases[i].below ? ALLOWED : DENIED);
        assert_int_equal(call(&f, "read", 100), cases[i].at ? ALLOWED : DENIED);
        assert_int_equal(call(&f, "read", 101), cases[i].above ? ALLOWED : DENIED);
        assert_int_equal(call(&f, "read", UINT64_C(1) << 32), cases[i].above ? ALLOWED : DENIED);
    }
    assert_int_equal(
        from_json(ARG("\"index\":0,\"value\":240,\"valueTwo\":16,\"op\":\"SCMP_CMP_MASKED_EQ\""),
                  &f, &err),
        0);
    assert_int_equal(call(&f, "read", 0x101f), ALLOWED);
    assert_int_equal(call(&f, "read", 0x30), DENIED);
    /* Two conditions: on two arguments both must hold, on one argument either. */
    assert_int_equal(from_json(ARG("\"index\":0,\"value\":3,\"op\":\"SCMP_CMP_GT\"},{\"index\":1,"
                                   "\"value\":6,\"op\":\"SCMP_CMP_LT\""),
                               &f, &err),
                     0);
    assert_int_equal(call(&f, "read", 2), DENIED);
    assert_int_equal(call(&f, "read", 5), ALLOWED);
    assert_int_equal(call(&f, "read", 7), DENIED);
    assert_int_equal(from_json(ARG("\"index\":0,\"value\":3,\"op\":\"SCMP_CMP_EQ\"},{\"index\":0,"
                                   "\"value\":6,\"op\":\"SCMP_CMP_EQ\""),
                               &f, &err),
                     0);
    assert_int_equal(call(&f, "read", 3), ALLOWED);
    assert_int_equal(call(&f, "read", 6), ALLOWED);
    assert_int_equal(call(&f, "read", 4), DENIED);
}

static uint32_t by_number(const struct strbuf *f, uint32_t arch, int nr)
{
    struct seccomp_data data = {.nr = nr, .arch = arch};
    return run(f, &data);
}

/* A call newer than all that a profile names does not exist, in each of its architectures; one that
 * the profile could have named is denied as it says. */
static void newer_than_the_profile(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf f = STRBUF_INIT;
    struct error err = ERROR_INIT;
    const uint32_t native = seccomp_arch_native();
    assert_int_equal(from_json("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":13,"
                               "\"syscalls\":[{\"names\":[\"read\",\"openat2\"],"
                               "\"action\":\"SCMP_ACT_ALLOW\"}]}",
                               &f, &err),
                     0);
    assert_int_equal(call(&f, "openat2", 0), ALLOWED);
    assert_int_equal(call(&f, "pidfd_open", 0), SECCOMP_RET_ERRNO | 13);
    assert_int_equal(call(&f, "faccessat2", 0), MISSING);
    /* What it denies by name is known to it, also when that is its default. */
    assert_int_equal(from_json("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":["
                               "\"process_madvise\"],\"action\":\"SCMP_ACT_ERRNO\"},{\"names\":["
                               "\"read\"],\"action\":\"SCMP_ACT_ALLOW\"}]}",
                               &f, &err),
                     0);
    assert_int_equal(call(&f, "process_madvise", 0), DENIED);
    assert_int_equal(call(&f, "faccessat2", 0), DENIED);
    assert_int_equal(call(&f, "epoll_pwait2", 0), MISSING);
    /* Killing is denying; allowing and tracing are not. */
    static const struct {
        const char *action;
        uint32_t expected;
    } cases[] = {{"SCMP_ACT_KILL_PROCESS", MISSING},
                 {"SCMP_ACT_TRAP", MISSING},
                 {"SCMP_ACT_TRACE", SECCOMP_RET_TRACE | EPERM},
                 {"SCMP_ACT_LOG", SECCOMP_RET_LOG},
                 {"SCMP_ACT_ALLOW", ALLOWED}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *json =
            str_printf("{\"defaultAction\":\"%s\",\"syscalls\":[{\"names\":["
                       "\"read\"],\"action\":\"SCMP_ACT_ERRNO\"}]}",
                       cases[i].action);
        assert_int_equal(from_json(json, &f, &err), 0);
        assert_int_equal(by_number(&f, native, 590), cases[i].expected);
        assert_int_equal(call(&f, "read", 0), DENIED);
    }
    if (native != SCMP_ARCH_X86_64)
        return;
    assert_int_equal(from_json("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":["
                               "\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\","
                               "\"SCMP_ARCH_S390X\"],\"syscalls\":[{\"names\":[\"read\",\"statx\"],"
                               "\"action\":\"SCMP_ACT_ALLOW\"}]}",
                               &f, &err),
                     0);
    assert_int_equal(by_number(&f, native, 332), ALLOWED); /* statx */
    assert_int_equal(by_number(&f, native, 333), MISSING);
    assert_int_equal(by_number(&f, AUDIT_ARCH_I386, 333), DENIED); /* preadv */
    assert_int_equal(by_number(&f, AUDIT_ARCH_I386, 383), ALLOWED);
    assert_int_equal(by_number(&f, AUDIT_ARCH_I386, 384), MISSING);
    assert_int_equal(by_number(&f, native, 0x40000000 + 332), ALLOWED);
    assert_int_equal(by_number(&f, native, 0x40000000 + 331), DENIED);
    assert_int_equal(by_number(&f, native, 0x40000000 + 333), MISSING);
    /* Without its architecture a call kills. */
    assert_int_equal(from_json(READ(""), &f, &err), 0);
    assert_int_equal(by_number(&f, native, 0), ALLOWED);
    assert_int_equal(by_number(&f, AUDIT_ARCH_I386, 3), SECCOMP_RET_KILL_THREAD);
    assert_int_equal(by_number(&f, native, 0x40000000), SECCOMP_RET_KILL_THREAD);
}

static void flags(_unused_ void **state)
{
    static const char json[] =
        "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_TSYNC\","
        "\"SECCOMP_FILTER_FLAG_LOG\",\"SECCOMP_FILTER_FLAG_SPEC_ALLOW\"]}";
    _cleanup_strbuf_ struct strbuf f = STRBUF_INIT;
    unsigned got = 0;
    assert_int_equal(seccomp_from_json(json, strlen(json), &f, &got, NULL), 0);
    assert_int_equal(got, SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW);
}

static void capability_names(_unused_ void **state)
{
    uint64_t bit;
    assert_true(capability_parse("NET_ADMIN", &bit) && bit == 1ULL << CAP_NET_ADMIN);
    assert_true(capability_parse("cap_checkpoint_restore", &bit) &&
                bit == 1ULL << CAP_CHECKPOINT_RESTORE);
    assert_false(capability_parse("NET", &bit));
    assert_false(capability_parse("", &bit));
    /* Docker's and containerd's set, as /proc/<pid>/status shows it. */
    assert_int_equal(capabilities_default(), 0xa80425fbULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_profile),
        cmocka_unit_test(arguments),
        cmocka_unit_test(with_capabilities),
        cmocka_unit_test(unknown_calls),
        cmocka_unit_test(cache),
        cmocka_unit_test(json_profiles),
        cmocka_unit_test(bad_profiles),
        cmocka_unit_test(argument_operators),
        cmocka_unit_test(newer_than_the_profile),
        cmocka_unit_test(flags),
        cmocka_unit_test(capability_names),
    };
    return RUN_TESTS(tests);
}
