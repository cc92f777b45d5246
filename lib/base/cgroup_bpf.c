/*
 * Device rules of cgroup v2: a BPF_PROG_TYPE_CGROUP_DEVICE program attached to the group, written
 * out instruction by instruction. The last rule that matches wins, so they are tested from the last
 * to the first; the default answers when none does.
 *
 * The kernel's context (struct bpf_cgroup_dev_ctx): access_type (low half: 1 block, 2 char; high
 * half: 1 mknod, 2 read, 4 write), major, minor.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cgroup_internal.h"

#define RULES_MAX 400
#define PER_RULE  8 /* instructions at most */

struct program {
    struct bpf_insn *code;
    size_t n;
};

static void add(struct program *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
    p->code[p->n++] =
        (struct bpf_insn){.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

/* r2: type, r3: access, r4: major, r5: minor. */
static void add_prologue(struct program *p)
{
    add(p, BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);
    add(p, BPF_ALU | BPF_MOV | BPF_X, 3, 2, 0, 0);
    add(p, BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
    add(p, BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16);
    add(p, BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);
    add(p, BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);
}

static void add_answer(struct program *p, bool allow)
{
    add(p, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, allow);
    add(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void add_rule(struct program *p, const struct cgroup_device *d)
{
    size_t jumps[4], n = 0;
    int access = (d->mknod ? 1 : 0) | (d->read ? 2 : 0) | (d->write ? 4 : 0);
    if (d->type != 'a') {
        jumps[n++] = p->n;
        add(p, BPF_JMP | BPF_JNE | BPF_K, 2, 0, 0, d->type == 'b' ? 1 : 2);
    }
    if (access != 7) { /* an allowed access asks for nothing beyond; a denied one for any of it */
        add(p, BPF_ALU | BPF_MOV | BPF_X, 1, 3, 0, 0);
        add(p, BPF_ALU | BPF_AND | BPF_K, 1, 0, 0, d->allow ? 7 & ~access : access);
        jumps[n++] = p->n;
        add(p, BPF_JMP | (d->allow ? BPF_JNE : BPF_JEQ) | BPF_K, 1, 0, 0, 0);
    }
    if (d->major >= 0) {
        jumps[n++] = p->n;
        add(p, BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, (int32_t)d->major);
    }
    if (d->minor >= 0) {
        jumps[n++] = p->n;
        add(p, BPF_JMP | BPF_JNE | BPF_K, 5, 0, 0, (int32_t)d->minor);
    }
    add_answer(p, d->allow);
    for (size_t i = 0; i < n; i++)
        p->code[jumps[i]].off = (int16_t)(p->n - jumps[i] - 1);
}

static int bpf_call(int command, union bpf_attr *attr)
{
    long r = syscall(SYS_bpf, command, attr, sizeof(*attr));
    return r < 0 ? -errno : (int)r;
}

int cgroup_bpf_devices(const char *dir, const struct cgroup_device *rules, size_t n,
                       struct error *err)
{
    if (n > RULES_MAX)
        return error_set(err, -EINVAL, "more than %d device rules", RULES_MAX);
    _cleanup_close_ int group = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group < 0)
        return error_errno(err, -errno, "cgroup %s", dir);
    _cleanup_free_ struct bpf_insn *code = mem_zalloc((n * (PER_RULE + 1) + 16) * sizeof(*code));
    struct program p = {.code = code};
    add_prologue(&p);
    for (size_t i = n; i-- > 1;)
        add_rule(&p, &rules[i]);
    add_answer(&p, rules[0].allow);
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
                           .insn_cnt = (uint32_t)p.n,
                           .insns = (uint64_t)(uintptr_t)code,
                           .license = (uint64_t)(uintptr_t) "Apache-2.0"};
    _cleanup_close_ int program = bpf_call(BPF_PROG_LOAD, &load);
    if (program < 0)
        return error_errno(err, program, "load the device rules of %s", dir);
    union bpf_attr attach = {.target_fd = (uint32_t)group,
                             .attach_bpf_fd = (uint32_t)program,
                             .attach_type = BPF_CGROUP_DEVICE};
    /* Without the multi flag a new program takes the old one's place. */
    int r = bpf_call(BPF_PROG_ATTACH, &attach);
    return r < 0 ? error_errno(err, r, "attach the device rules of %s", dir) : 0;
}
