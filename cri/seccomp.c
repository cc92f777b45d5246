/* Seccomp filters through libseccomp; see seccomp.h. */
#include "cri/seccomp.h"

#include <ctype.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "base/json.h"
#include "cri/seccomp_table.h"

#define NAMESPACES                                                                             \
    (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | \
     CLONE_NEWCGROUP)

static void release(scmp_filter_ctx *ctx)
{
    if (*ctx)
        seccomp_release(*ctx);
}

/* The architectures a program may switch between on this machine. */
static int add_architectures(scmp_filter_ctx ctx)
{
    static const uint32_t families[][4] = {
        {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32, 0},
        {SCMP_ARCH_AARCH64, SCMP_ARCH_ARM, 0, 0},
        {SCMP_ARCH_S390X, SCMP_ARCH_S390, 0, 0},
        {SCMP_ARCH_MIPS64, SCMP_ARCH_MIPS, SCMP_ARCH_MIPS64N32, 0},
        {SCMP_ARCH_MIPSEL64, SCMP_ARCH_MIPSEL, SCMP_ARCH_MIPSEL64N32, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
        for (size_t k = 1; families[i][0] == seccomp_arch_native() && families[i][k]; k++) {
            int r = seccomp_arch_add(ctx, families[i][k]);
            if (r < 0 && r != -EEXIST)
                return r;
        }
    return 0;
}

/* Adds a rule where the call exists; a rule that is there already, or that adds nothing, is no
 * error. */
static int rule(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned n,
                const struct scmp_arg_cmp *args)
{
    int nr = seccomp_syscall_resolve_name(name);
    if (nr == __NR_SCMP_ERROR)
        return 0;
    int r = seccomp_rule_add_array(ctx, action, nr, n, args);
    return r == -EEXIST || r == -EACCES || r == -EDOM ? 0 : r;
}

static int add_group(scmp_filter_ctx ctx, const char *calls)
{
    int r = 0;
    while (r == 0 && *calls) {
        char name[64];
        size_t len = strcspn(calls, " ");
        (void)snprintf(name, sizeof(name), "%.*s", (int)len, calls);
        r = rule(ctx, SCMP_ACT_ALLOW, name, 0, NULL);
        calls += len + strspn(calls + len, " ");
    }
    return r;
}

static int add_by_argument(scmp_filter_ctx ctx, uint64_t capabilities)
{
    /* Linux, UNAME26, both, and "tell me which it is" */
    static const uint64_t personalities[] = {0, 8, 0x20000, 0x20008, 0xffffffff};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(personalities); i++)
        r = rule(ctx, SCMP_ACT_ALLOW, "personality", 1,
                 &(struct scmp_arg_cmp){0, SCMP_CMP_EQ, personalities[i], 0});
    /* Every family but vsock, which leads to the hypervisor past every network policy. */
    if (r == 0)
        r = rule(ctx, SCMP_ACT_ALLOW, "socket", 1,
                 &(struct scmp_arg_cmp){0, SCMP_CMP_NE, AF_VSOCK, 0});
    if (r < 0 || capabilities & (1ULL << CAP_SYS_ADMIN))
        return r;
    unsigned flags = seccomp_arch_native() == SCMP_ARCH_S390X ? 1 : 0;
    r = rule(ctx, SCMP_ACT_ALLOW, "clone", 1,
             &(struct scmp_arg_cmp){flags, SCMP_CMP_MASKED_EQ, NAMESPACES, 0});
    /* Its flags are behind a pointer that a filter cannot follow: C libraries then use clone. */
    return r < 0 ? r : rule(ctx, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
}

/* The newest system call that libseccomp can name: what is beyond is newer than any profile. */
static uint32_t newest_call(void)
{
    uint32_t newest = 0;
    for (int nr = 424; nr < 600; nr++) { /* from here on numbers are the same everywhere */
        _cleanup_free_ char *name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), nr);
        if (name)
            newest = (uint32_t)nr;
    }
    return newest;
}

/* In front of the filter: a call of the native architecture that is newer than all we know fails
 * with ENOSYS, as on a kernel that does not have it, so that libraries fall back. */
static void add_unknown(struct strbuf *out)
{
    const uint32_t newest = newest_call(), arch = seccomp_arch_native();
    const uint8_t skip = arch == SCMP_ARCH_X86_64 ? 4 : 3;
    const struct sock_filter load[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, skip),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    const struct sock_filter x32[] = {/* x32's calls have this bit and go through the filter */
                                      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 2, 0)};
    const struct sock_filter test[] = {
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    };
    if (!newest)
        return;
    strbuf_add(out, load, sizeof(load));
    if (arch == SCMP_ARCH_X86_64)
        strbuf_add(out, x32, sizeof(x32));
    strbuf_add(out, test, sizeof(test));
}

static int export_filter(scmp_filter_ctx ctx, bool unknown, struct strbuf *out, struct error *err)
{
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a chain */
    _cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);
    if (r < 0)
        return error_errno(err, r, "compile the seccomp profile");
    size_t before = out->len;
    if (unknown)
        add_unknown(out);
    if (lseek(fd, 0, SEEK_SET) < 0)
        return error_errno(err, -errno, "compile the seccomp profile");
    for (;;) {
        char *to = strbuf_reserve(out, 8192);
        ssize_t n = read(fd, to, 8192);
        if (n < 0)
            return error_errno(err, -errno, "compile the seccomp profile");
        out->len += (size_t)n;
        strbuf_terminate(out);
        if (n == 0)
            break;
    }
    if ((out->len - before) / sizeof(struct sock_filter) > BPF_MAXINSNS)
        return error_set(err, -E2BIG, "the seccomp profile is larger than the kernel takes");
    return 0;
}

int seccomp_default(uint64_t capabilities, struct strbuf *out, struct error *err)
{
    _cleanup_(release) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int r = ctx ? add_architectures(ctx) : -ENOMEM;
    for (const struct seccomp_group *g = seccomp_groups; r == 0 && g->calls; g++)
        if (g->capability == SECCOMP_ALWAYS || capabilities & (1ULL << g->capability))
            r = add_group(ctx, g->calls);
    if (r == 0)
        r = add_by_argument(ctx, capabilities);
    if (r < 0)
        return error_errno(err, r, "make the default seccomp profile");
    return export_filter(ctx, true, out, err);
}

int seccomp_cache_default(struct seccomp_cache *cache, uint64_t capabilities,
                          const struct strbuf **ret, struct error *err)
{
    uint64_t relevant = 0;
    for (const struct seccomp_group *g = seccomp_groups; g->calls; g++)
        relevant |= g->capability == SECCOMP_ALWAYS ? 0 : 1ULL << g->capability;
    capabilities &= relevant;
    for (size_t i = 0; i < SECCOMP_CACHE_SIZE; i++)
        if (cache->entries[i].filter.len && cache->entries[i].capabilities == capabilities) {
            *ret = &cache->entries[i].filter;
            return 0;
        }
    struct strbuf filter = STRBUF_INIT;
    int r = seccomp_default(capabilities, &filter, err);
    if (r < 0) {
        strbuf_done(&filter);
        return r;
    }
    unsigned at = cache->next++ % SECCOMP_CACHE_SIZE;
    strbuf_done(&cache->entries[at].filter);
    cache->entries[at].filter = filter;
    cache->entries[at].capabilities = capabilities;
    *ret = &cache->entries[at].filter;
    return 0;
}

void seccomp_cache_done(struct seccomp_cache *cache)
{
    for (size_t i = 0; i < SECCOMP_CACHE_SIZE; i++)
        strbuf_done(&cache->entries[i].filter);
}

/* ---- profiles in JSON (OCI runtime specification, linux.seccomp) ---- */

static bool parse_action(const char *name, int64_t errno_ret, uint32_t *ret)
{
    static const struct {
        const char *name;
        uint32_t action;
    } actions[] = {
        {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
        {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
        {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
        {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
        {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
        {"SCMP_ACT_LOG", SCMP_ACT_LOG},
    };
    uint32_t value = (uint32_t)errno_ret & 0xffff;
    for (size_t i = 0; name && i < ARRAY_SIZE(actions); i++)
        if (str_eq(actions[i].name, name)) {
            *ret = actions[i].action;
            return true;
        }
    if (str_eq(name, "SCMP_ACT_ERRNO"))
        *ret = SCMP_ACT_ERRNO(value);
    else if (str_eq(name, "SCMP_ACT_TRACE"))
        *ret = SCMP_ACT_TRACE(value);
    else
        return false;
    return true;
}

static bool parse_arg(const json_t *j, struct scmp_arg_cmp *ret)
{
    static const struct {
        const char *name;
        enum scmp_compare op;
    } ops[] = {{"SCMP_CMP_NE", SCMP_CMP_NE},
               {"SCMP_CMP_LT", SCMP_CMP_LT},
               {"SCMP_CMP_LE", SCMP_CMP_LE},
               {"SCMP_CMP_EQ", SCMP_CMP_EQ},
               {"SCMP_CMP_GE", SCMP_CMP_GE},
               {"SCMP_CMP_GT", SCMP_CMP_GT},
               {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
    const char *op = json_path_string(j, "op");
    int64_t index = json_path_int(j, "index", -1);
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
        if (str_eq(ops[i].name, op) && index >= 0 && index < 6) {
            *ret = (struct scmp_arg_cmp){(unsigned)index, ops[i].op,
                                         (uint64_t)json_path_int(j, "value", 0),
                                         (uint64_t)json_path_int(j, "valueTwo", 0)};
            return true;
        }
    return false;
}

static int add_json_rule(scmp_filter_ctx ctx, const json_t *j, size_t number, uint32_t fallback,
                         struct error *err)
{
    struct scmp_arg_cmp args[6];
    unsigned n_args = 0;
    uint32_t action;
    char field[40];
    (void)snprintf(field, sizeof(field), "syscalls[%zu]", number);
    if (!parse_action(json_path_string(j, "action"), json_path_int(j, "errnoRet", EPERM), &action))
        return error_set_field(err, -EINVAL, field, "its action is not one we know");
    size_t i;
    json_t *arg, *name;
    json_array_foreach(json_path(j, "args"), i, arg) {
        if (n_args == ARRAY_SIZE(args) || !parse_arg(arg, &args[n_args++]))
            return error_set_field(err, -EINVAL, field, "an argument is not valid");
    }
    if (!json_is_array(json_path(j, "names")))
        return error_set_field(err, -EINVAL, field, "it has no names");
    json_array_foreach(json_path(j, "names"), i, name) {
        if (!json_is_string(name))
            return error_set_field(err, -EINVAL, field, "a name is not a string");
        if (action == fallback)
            continue;
        int r = rule(ctx, action, json_string_value(name), n_args, args);
        if (r < 0)
            return error_errno(err, r, "%s: %s", field, json_string_value(name));
    }
    return 0;
}

static int add_json_architectures(scmp_filter_ctx ctx, const json_t *list, struct error *err)
{
    size_t i;
    json_t *j;
    json_array_foreach(list, i, j) {
        char name[32] = "";
        const char *text = json_is_string(j) ? json_string_value(j) : "";
        if (str_starts(text, "SCMP_ARCH_"))
            (void)snprintf(name, sizeof(name), "%s", text + 10);
        for (char *p = name; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        uint32_t arch = seccomp_arch_resolve_name(name);
        if (!arch)
            return error_set_field(err, -EINVAL, "architectures", "\"%.40s\"", text);
        int r = seccomp_arch_add(ctx, arch);
        /* Another byte order's can be in a profile that is for many machines. */
        if (r < 0 && r != -EEXIST && r != -EDOM)
            return error_errno(err, r, "architecture %s", text);
    }
    return 0;
}

int seccomp_from_json(const char *json, size_t len, struct strbuf *out, struct error *err)
{
    _cleanup_json_ json_t *j = json_parse(json, len, err);
    if (!j)
        return -EINVAL;
    uint32_t fallback;
    int64_t errno_ret = json_path_int(j, "defaultErrnoRet", EPERM);
    if (!parse_action(json_path_string(j, "defaultAction"), errno_ret, &fallback))
        return error_set_field(err, -EINVAL, "defaultAction", "not an action that we know");
    _cleanup_(release) scmp_filter_ctx ctx = seccomp_init(fallback);
    if (!ctx)
        return error_set_field(err, -EINVAL, "defaultAction", "not one for a default");
    int r = add_json_architectures(ctx, json_path(j, "architectures"), err);
    size_t i;
    json_t *entry;
    json_array_foreach(json_path(j, "syscalls"), i, entry) {
        if (r == 0)
            r = add_json_rule(ctx, entry, i, fallback, err);
    }
    /* As with the default: where calls fail by default, one from the future is not there. */
    bool fails = (fallback & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO;
    return r < 0 ? r : export_filter(ctx, fails, out, err);
}
