/* Seccomp filters through libseccomp; see seccomp_filter.h. */
#include "cri/seccomp_filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fs.h"

#define X32_BIT 0x40000000U
/* Arm's own calls, far above the others, are no sign of what else there is. */
#define NUMBER_MAX 0xf0000U

static void add_arch(struct seccomp_filter *f, uint32_t token)
{
    f->archs[f->n_archs].token = token;
    f->archs[f->n_archs++].newest = -1;
}

int seccomp_filter_init(struct seccomp_filter *f, uint32_t fallback)
{
    *f = (struct seccomp_filter){.ctx = seccomp_init(fallback), .fallback = fallback};
    if (!f->ctx)
        return -EINVAL;
    add_arch(f, seccomp_arch_native());
    return 0;
}

void seccomp_filter_done(struct seccomp_filter *f)
{
    if (f->ctx)
        seccomp_release(f->ctx);
    f->ctx = NULL;
}

int seccomp_filter_arch(struct seccomp_filter *f, uint32_t token)
{
    int r = seccomp_arch_add(f->ctx, token);
    /* Of another byte order: profiles may be for many machines. */
    if (r == -EEXIST || r == -EDOM)
        return 0;
    if (r < 0)
        return r;
    if (f->n_archs == SECCOMP_ARCHS_MAX)
        return -E2BIG;
    add_arch(f, token);
    return 0;
}

int seccomp_filter_rule(struct seccomp_filter *f, uint32_t action, const char *name, unsigned n,
                        const struct scmp_arg_cmp *args)
{
    int nr = seccomp_syscall_resolve_name(name);
    if (nr == __NR_SCMP_ERROR)
        return 0;
    for (size_t i = 0; i < f->n_archs; i++) {
        int own = seccomp_syscall_resolve_name_arch(f->archs[i].token, name);
        if (((unsigned)own & ~X32_BIT) < NUMBER_MAX && own > f->archs[i].newest)
            f->archs[i].newest = own;
    }
    if (action == f->fallback)
        return 0;
    int r = seccomp_rule_add_array(f->ctx, action, nr, n, args);
    return r == -EEXIST || r == -EACCES || r == -EDOM ? 0 : r;
}

/* x32's calls come as the 64-bit architecture's, with a bit of their own. */
static void add_newest(uint32_t token, uint32_t newest, struct strbuf *out)
{
    const bool family = token == SCMP_ARCH_X86_64 || token == SCMP_ARCH_X32;
    const bool x32 = token == SCMP_ARCH_X32;
    const struct sock_filter arch[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, x32 ? SCMP_ARCH_X86_64 : token, 0, family ? 4 : 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    const struct sock_filter mine[] = {
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, x32 ? 0 : 2, x32 ? 2 : 0),
    };
    const struct sock_filter test[] = {
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    };
    strbuf_add(out, arch, sizeof(arch));
    if (family)
        strbuf_add(out, mine, sizeof(mine));
    strbuf_add(out, test, sizeof(test));
}

/* A tracer is left to decide by itself. */
static bool denies(uint32_t action)
{
    uint32_t a = action & SECCOMP_RET_ACTION_FULL;
    return a != SECCOMP_RET_ALLOW && a != SECCOMP_RET_LOG && a != SECCOMP_RET_TRACE;
}

int seccomp_filter_export(const struct seccomp_filter *f, struct strbuf *out, struct error *err)
{
    static const char what[] = "compile the seccomp profile";
    (void)seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a chain */
    _cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : seccomp_export_bpf(f->ctx, fd);
    if (r < 0)
        return error_errno(err, r, "%s", what);
    size_t before = out->len;
    for (size_t i = 0; denies(f->fallback) && i < f->n_archs; i++)
        if (f->archs[i].newest >= 0)
            add_newest(f->archs[i].token, (uint32_t)f->archs[i].newest, out);
    if (lseek(fd, 0, SEEK_SET) < 0)
        return error_errno(err, -errno, "%s", what);
    for (;;) {
        char *to = strbuf_reserve(out, 8192);
        ssize_t n = read(fd, to, 8192);
        if (n < 0)
            return error_errno(err, -errno, "%s", what);
        out->len += (size_t)n;
        strbuf_terminate(out);
        if (n == 0)
            break;
    }
    if ((out->len - before) / sizeof(struct sock_filter) > BPF_MAXINSNS)
        return error_set(err, -E2BIG, "the seccomp profile is larger than the kernel takes");
    return 0;
}
