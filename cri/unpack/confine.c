/* Confinement of the worker; see confine.h. */
#include "cri/unpack/confine.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/strbuf.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

/* zstd may ask for a window of 128 MB. */
#define MEMORY_MAX (192UL << 20)

int confine_begin(void)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return -errno;
    struct rlimit core = {0, 0}, memory = {MEMORY_MAX, MEMORY_MAX}, files;
    (void)setrlimit(RLIMIT_CORE, &core);
#ifndef __SANITIZE_ADDRESS__
    (void)setrlimit(RLIMIT_DATA, &memory);
#endif
    (void)memory;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    (void)umask(0);
    return 0;
}

static int enter_root(struct error *err)
{
    if (syscall(SYS_pivot_root, ".", ".") == 0) {
        if (umount2(".", MNT_DETACH) < 0)
            return error_errno(err, -errno, "cannot leave the host's root");
    } else if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0) {
        /* An initial ramfs cannot be pivoted away from. */
        return error_errno(err, -errno, "cannot change the root");
    }
    return chdir("/") < 0 ? error_errno(err, -errno, "cannot enter the new root") : 0;
}

/* Whether the layer is on disk is asked once an image, by a sync of the store: a plain overlay
 * would sync the whole disk at the end of each layer. "volatile" is unknown before Linux 5.10. */
static int mount_overlay(const char *at, unsigned long flags, const char *options)
{
    _cleanup_free_ char *unsynced = str_printf("%s,volatile", options);
    int r = mount("overlay", at, "overlay", flags, unsynced);
    return r < 0 && errno == EINVAL ? mount("overlay", at, "overlay", flags, options) : r;
}

int confine_root(const char *source, const char *at, const char *overlay_options, const char *upper,
                 int *ret_upper, struct error *err)
{
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_errno(err, -errno, "cannot make a mount namespace");
    if (ret_upper) {
        *ret_upper = (int)syscall(SYS_open_tree, AT_FDCWD, upper, OPEN_TREE_CLONE | O_CLOEXEC);
        if (*ret_upper < 0)
            return error_errno(err, -errno, "cannot open %s", upper);
    }
    if (overlay_options) {
        if (mount_overlay(at, flags, overlay_options) < 0)
            return error_errno(err, -errno,
                               "cannot mount an overlay (the file system below the image store "
                               "must be able to hold overlayfs' upper directories)");
    } else if (mount(source, at, NULL, MS_BIND, NULL) < 0 ||
               mount(NULL, at, NULL, MS_REMOUNT | MS_BIND | flags, NULL) < 0) {
        return error_errno(err, -errno, "cannot bind %s", source);
    }
    if (chdir(at) < 0)
        return error_errno(err, -errno, "%s", at);
    return enter_root(err);
}

int confine_here(struct error *err)
{
    _cleanup_free_ char *here = getcwd(NULL, 0); /* "." would stay below the new mount */
    if (!here)
        return error_errno(err, -errno, "no current directory");
    if (str_eq(here, "/")) /* it is the root: the server's (serve.h) */
        return 0;
    return confine_root(here, here, NULL, NULL, NULL, err);
}

static int drop_capabilities(struct error *err)
{
    capng_clear(CAPNG_SELECT_BOTH);
    if (capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_CHOWN, CAP_DAC_OVERRIDE,
                      CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP, CAP_SYS_ADMIN, -1) < 0 ||
        capng_apply(CAPNG_SELECT_BOTH) < 0)
        return error_set(err, -EPERM, "cannot drop capabilities");
    return 0;
}

/* What libc, zlib, zstd, libarchive and our own code use on files that are open or below the root.
 * Names that an architecture lacks are skipped. */
static const char *const allowed[] = {
    "read",          "readv",
    "pread64",       "write",
    "writev",        "pwrite64",
    "lseek",         "_llseek",
    "close",         "dup",
    "fcntl",         "fcntl64",
    "openat",        "openat2",
    "fstat",         "fstat64",
    "newfstatat",    "fstatat64",
    "statx",         "getdents64",
    "fstatfs",       "fstatfs64",
    "fchdir",        "mkdirat",
    "mknodat",       "symlinkat",
    "linkat",        "unlinkat",
    "unlink",        "rmdir",
    "lstat",         "lstat64",
    "open",          "fchown",
    "fchown32",      "fchownat",
    "fchmod",        "fchmodat",
    "utimensat",     "utimensat_time64",
    "fsetxattr",     "lsetxattr",
    "ftruncate",     "ftruncate64",
    "fsync",         "fdatasync",
    "syncfs",        "mmap",
    "mmap2",         "munmap",
    "mremap",        "brk",
    "madvise",       "futex",
    "futex_time64",  "getrandom",
    "clock_gettime", "clock_gettime64",
    "gettimeofday",  "getpid",
    "gettid",        "getuid",
    "geteuid",       "getgid",
    "getegid",       "rt_sigreturn",
    "sigreturn",     "rt_sigprocmask",
    "rt_sigaction",  "restart_syscall",
    "exit",          "exit_group",
    "sched_yield",   "sigaltstack",
    "getcwd",
};

/* The finished program, read back from where the library writes it. */
static int export_filter(scmp_filter_ctx ctx, struct confine_filter *ret)
{
    _cleanup_close_ int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = seccomp_export_bpf(ctx, fd);
    off_t size = r ? 0 : lseek(fd, 0, SEEK_END);
    if (r || size <= 0 || (size_t)size / sizeof(struct sock_filter) > BPF_MAXINSNS)
        return r ? r : -EIO;
    struct sock_filter *code = mem_zalloc((size_t)size);
    if (pread(fd, code, (size_t)size, 0) != size) {
        free(code);
        return -EIO;
    }
    ret->program.len = (unsigned short)((size_t)size / sizeof(struct sock_filter));
    ret->program.filter = code;
    return 0;
}

int confine_filter_make(struct confine_filter *ret, struct error *err)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!ctx)
        return error_set(err, -ENOMEM, "cannot make a system call filter");
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(allowed) && !r; i++) {
        int nr = seccomp_syscall_resolve_name(allowed[i]);
        if (nr != __NR_SCMP_ERROR && nr >= 0)
            r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
    }
    if (!r)
        r = export_filter(ctx, ret);
    seccomp_release(ctx);
    return r ? error_errno(err, r, "cannot make a system call filter") : 0;
}

int confine_privileges(const struct confine_filter *filter, struct error *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_errno(err, -errno, "cannot set no_new_privs");
    int r = drop_capabilities(err);
    if (r)
        return r;
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter->program) < 0)
        return error_errno(err, -errno, "cannot set the system call filter");
    return 0;
}
