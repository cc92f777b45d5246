/* What this process gives up; see confine.h. */
#include "dns/confine.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <sys/prctl.h>

static int become(const char *user, struct error *err)
{
    errno = 0;
    const struct passwd *pw = getpwnam(user ? user : "coracle-dns");
    if (!pw && !user)
        pw = getpwnam("nobody");
    if (!pw)
        return error_set(err, errno ? -errno : -ENOENT, "there is no user %s",
                         user ? user : "nobody");
    uid_t uid = pw->pw_uid;
    gid_t gid = pw->pw_gid;
    /* From root to another: the kernel clears the capabilities with the last of them. */
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return error_errno(err, -errno, "cannot become user %s", pw->pw_name);
    return 0;
}

static int filter_calls(struct error *err)
{
    static const char *const refused[] = {
        "execve",
        "execveat",
        "ptrace",
        "process_vm_readv",
        "fork",
        "vfork",
        "process_vm_writev",
        "pidfd_getfd",
        "kcmp",
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "open_tree",
        "move_mount",
        "fsopen",
        "fsmount",
        "fspick",
        "mount_setattr",
        "unshare",
        "setns",
        "open_by_handle_at",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "init_module",
        "finit_module",
        "delete_module",
        "kexec_load",
        "kexec_file_load",
        "keyctl",
        "add_key",
        "request_key",
        "io_uring_setup",
        "personality",
        "reboot",
    };
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (!ctx)
        return error_set(err, -ENOMEM, "cannot make a system call filter");
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(refused) && !r; i++) {
        int nr = seccomp_syscall_resolve_name(refused[i]);
        if (nr != __NR_SCMP_ERROR && nr >= 0) /* not every architecture has all */
            r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), nr, 0);
    }
    if (!r)
        r = seccomp_load(ctx); /* sets no_new_privs as well */
    seccomp_release(ctx);
    return r ? error_errno(err, r, "cannot set the system call filter") : 0;
}

int dns_confine(const char *user, struct error *err)
{
    int r = geteuid() == 0 ? become(user, err) : 0;
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = error_errno(err, -errno, "cannot set no_new_privs");
    return r == 0 ? filter_calls(err) : r;
}
