/* The runtime's default seccomp profile; see seccomp.h. */
#include "cri/seccomp.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "cri/seccomp_filter.h"
#include "cri/seccomp_table.h"

#define NAMESPACES                                                                             \
    (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | \
     CLONE_NEWCGROUP)

/* The architectures a program may switch between on this machine. */
static int add_architectures(struct seccomp_filter *f)
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
            int r = seccomp_filter_arch(f, families[i][k]);
            if (r < 0)
                return r;
        }
    return 0;
}

static int add_group(struct seccomp_filter *f, uint32_t action, const char *calls)
{
    int r = 0;
    while (r == 0 && *calls) {
        char name[64];
        size_t len = strcspn(calls, " ");
        (void)snprintf(name, sizeof(name), "%.*s", (int)len, calls);
        r = seccomp_filter_rule(f, action, name, 0, NULL);
        calls += len + strspn(calls + len, " ");
    }
    return r;
}

static int add_by_argument(struct seccomp_filter *f, uint64_t capabilities)
{
    /* Linux, UNAME26, both, and "tell me which it is" */
    static const uint64_t personalities[] = {0, 8, 0x20000, 0x20008, 0xffffffff};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(personalities); i++)
        r = seccomp_filter_rule(f, SCMP_ACT_ALLOW, "personality", 1,
                                &(struct scmp_arg_cmp){0, SCMP_CMP_EQ, personalities[i], 0});
    /* Every family but vsock, which leads to the hypervisor past every network policy. */
    if (r == 0)
        r = seccomp_filter_rule(f, SCMP_ACT_ALLOW, "socket", 1,
                                &(struct scmp_arg_cmp){0, SCMP_CMP_NE, AF_VSOCK, 0});
    if (r < 0 || capabilities & (1ULL << CAP_SYS_ADMIN))
        return r;
    unsigned flags = seccomp_arch_native() == SCMP_ARCH_S390X ? 1 : 0;
    r = seccomp_filter_rule(f, SCMP_ACT_ALLOW, "clone", 1,
                            &(struct scmp_arg_cmp){flags, SCMP_CMP_MASKED_EQ, NAMESPACES, 0});
    /* Its flags are behind a pointer that a filter cannot follow: C libraries then use clone. */
    return r < 0 ? r : seccomp_filter_rule(f, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
}

int seccomp_default(uint64_t capabilities, struct strbuf *out, struct error *err)
{
    struct seccomp_filter f;
    int r = seccomp_filter_init(&f, SCMP_ACT_ERRNO(EPERM));
    if (r == 0)
        r = add_architectures(&f);
    for (const struct seccomp_group *g = seccomp_groups; r == 0 && g->calls; g++) {
        bool allowed = g->capability == SECCOMP_ALWAYS || capabilities & (1ULL << g->capability);
        /* What is refused is known nevertheless: it fails with EPERM, not as if it were new. */
        r = add_group(&f, allowed ? SCMP_ACT_ALLOW : f.fallback, g->calls);
    }
    if (r == 0)
        r = add_by_argument(&f, capabilities);
    r = r < 0 ? error_errno(err, r, "make the default seccomp profile")
              : seccomp_filter_export(&f, out, err);
    seccomp_filter_done(&f);
    return r;
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
