/*
 * The last steps: cgroups and limits while we still may, then credentials, the filter, and exec.
 *
 * Order matters. A seccomp filter without no_new_privs needs CAP_SYS_ADMIN, so it comes before the
 * capabilities are dropped; with no_new_privs it comes last. The parent-death signal is
 * cleared by every change of credentials and is set again after them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/fs.h"
#include "cri/launch/launch.h"

/* "0" in a v1 group's tasks file moves just the calling thread, which spares the kernel the lock
 * that moving a process needs (a grace period of RCU, milliseconds). We have only this thread. */
static int join_cgroups(const struct launch_job *job, struct error *err)
{
    for (size_t i = 0; job->cgroup_join && job->cgroup_join[i]; i++) {
        _cleanup_free_ char *tasks = fs_join(job->cgroup_join[i], "tasks");
        int r = fs_write_text(tasks, "0", err);
        if (r < 0)
            return error_prefix(err, r, "join the cgroup");
    }
    return 0;
}

static void set_oom_score(const struct launch_process *p)
{
    if (p->oom_score_adj == INT64_MIN) {
        /* Not the shim's own, which is among the last to go. Where it may not be set it is not low.
         */
        (void)fs_write_text("/proc/self/oom_score_adj", "0", NULL);
        return;
    }
    char text[24];
    (void)snprintf(text, sizeof(text), "%lld", (long long)p->oom_score_adj);
    struct error err = ERROR_INIT;
    if (fs_write_text("/proc/self/oom_score_adj", text, &err) < 0)
        report_note("oom_score_adj %s could not be set: %s", text, error_text(&err));
}

static void set_rlimits(const struct launch_process *p)
{
    for (size_t i = 0; i < p->n_rlimits; i++) {
        const struct launch_rlimit *l = &p->rlimits[i];
        struct rlimit want = {.rlim_cur = (rlim_t)l->soft, .rlim_max = (rlim_t)l->hard};
        if (setrlimit((__rlimit_resource_t)l->resource, &want) == 0)
            continue;
        int code = errno;
        struct rlimit have;
        if (getrlimit((__rlimit_resource_t)l->resource, &have) == 0) {
            /* As near as we may come. */
            want.rlim_max = want.rlim_max < have.rlim_max ? want.rlim_max : have.rlim_max;
            want.rlim_cur = want.rlim_cur < want.rlim_max ? want.rlim_cur : want.rlim_max;
            (void)setrlimit((__rlimit_resource_t)l->resource, &want);
        }
        report_note("resource limit %d could not be set fully: %s", l->resource, strerror(code));
    }
}

/* A process that is not root must be able to reopen its output as /dev/stdout. */
void process_own_streams(uid_t uid)
{
    for (int fd = 0; fd < 3; fd++) {
        struct stat st;
        if (fstat(fd, &st) < 0 || st.st_uid == uid ||
            (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)))
            continue;
        if (fchown(fd, uid, (gid_t)-1) < 0)
            continue; /* on a read-only or foreign file system: it stays as it is */
    }
}

/* A session keyring of its own, lest keys of whoever started the daemon are seen inside. */
static void join_keyring(void)
{
    (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
}

int process_prepare(struct launch_job *job, struct error *err)
{
    (void)umask(0); /* what we make gets the modes we name */
    int r = join_cgroups(job, err);
    if (r < 0)
        return r;
    set_oom_score(&job->spec.process);
    if (job->spec.userns) {
        /* To the root inside, who can pass them on; what we make until we are there as well. */
        process_own_streams(job->spec.userns_uid);
        job->owner_uid = job->spec.userns_uid;
        job->owner_gid = job->spec.userns_gid;
    } else {
        join_keyring();
    }
    return 0;
}

static int load_filter(const struct launch_process *p, struct error *err)
{
    if (!p->seccomp)
        return 0;
    struct sock_fprog prog = {
        .len = (unsigned short)(p->seccomp_len / sizeof(struct sock_filter)),
        .filter = (struct sock_filter *)(uintptr_t)p->seccomp,
    };
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, p->seccomp_flags, &prog) < 0)
        return error_errno(err, -errno, "load the seccomp filter");
    return 0;
}

static int drop_bounding(uint64_t keep, struct error *err)
{
    for (unsigned long c = 0; c < 64; c++) {
        if (keep & (1ULL << c))
            continue;
        if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0) {
            if (errno == EINVAL)
                return 0; /* past the last capability of this kernel */
            return error_errno(err, -errno, "drop capability %lu", c);
        }
    }
    return 0;
}

static int set_capabilities(const struct launch_process *p, struct error *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct have[2], want[2];
    if (syscall(SYS_capget, &head, have) < 0)
        return error_errno(err, -errno, "read the capabilities");
    uint64_t permitted = have[0].permitted | (uint64_t)have[1].permitted << 32;
    uint64_t missing = p->cap_permitted & ~permitted;
    if (missing && p->cap_permitted != UINT64_MAX)
        report_note("capabilities that the node's agent does not have itself were left out: %llx",
                    (unsigned long long)missing);
    uint64_t effective = p->cap_effective & permitted, inheritable = p->cap_inheritable & permitted;
    permitted &= p->cap_permitted;
    for (int i = 0; i < 2; i++) {
        want[i].effective = (uint32_t)(effective >> (32 * i));
        want[i].permitted = (uint32_t)(permitted >> (32 * i));
        want[i].inheritable = (uint32_t)(inheritable >> (32 * i));
    }
    if (syscall(SYS_capset, &head, want) < 0)
        return error_errno(err, -errno, "set the capabilities");
    for (unsigned long c = 0; c < 64; c++)
        if ((p->cap_ambient & permitted & inheritable & (1ULL << c)) &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0) < 0)
            return error_errno(err, -errno, "raise ambient capability %lu", c);
    return 0;
}

/* Links are followed within the root only, and none of those in /proc that lead to open files. */
static int enter_cwd(const char *cwd)
{
    _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -errno;
    _cleanup_close_ int dir =
        fs_open_in_root(root, cwd, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS);
    if (dir < 0)
        return dir;
    return fchdir(dir) < 0 ? -errno : 0;
}

static int set_credentials(const struct launch_job *job, struct error *err)
{
    const struct launch_process *p = &job->spec.process;
    /* The working directory may be open to root alone, or (on a network) to the user alone. */
    int cwd = enter_cwd(p->cwd);
    if (cwd < 0 && cwd != -EACCES)
        return error_errno(err, cwd, "working directory %s", p->cwd);
    set_rlimits(p); /* late: our own descriptors and memory are no business of the limits */
    int r = drop_bounding(p->cap_bounding, err);
    if (r == 0 && !p->no_new_privs)
        r = load_filter(p, err);
    if (r < 0)
        return r;
    if (setgroups(job->n_groups, job->groups) < 0)
        return error_errno(err, -errno, "set the supplementary groups");
    if (setresgid(job->gid, job->gid, job->gid) < 0)
        return error_errno(err, -errno, "set group %u", (unsigned)job->gid);
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setresuid(job->uid, job->uid, job->uid) < 0)
        return error_errno(err, -errno, "set user %u", (unsigned)job->uid);
    (void)prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    if (cwd < 0 && (cwd = enter_cwd(p->cwd)) < 0)
        return error_errno(err, cwd, "working directory %s", p->cwd);
    r = set_capabilities(p, err);
    if (r < 0)
        return r;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_errno(err, -errno, "set the parent-death signal");
    if (p->no_new_privs) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
            return error_errno(err, -errno, "no_new_privs");
        r = load_filter(p, err);
    }
    return r;
}

/* What is at /proc in a container need not be the kernel's: a volume, or another mount, may be. */
static int write_attribute(const char *path, const char *text)
{
    struct statfs fs;
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || fstatfs(fd, &fs) < 0)
        return -errno;
    if (fs.f_type != PROC_SUPER_MAGIC)
        return -EXDEV;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* The profile is taken at the next exec. Kernels with more than one security module have the first
 * path. */
static int confine(const struct launch_process *p, struct error *err)
{
    if (!p->apparmor || str_eq(p->apparmor, "unconfined"))
        return 0;
    _cleanup_free_ char *text = str_printf("exec %s", p->apparmor);
    int r = write_attribute("/proc/self/attr/apparmor/exec", text);
    if (r == -ENOENT)
        r = write_attribute("/proc/self/attr/exec", text);
    if (r == -EXDEV)
        return error_set(err, r, "AppArmor: the container's /proc is not the kernel's");
    if (r < 0)
        return error_errno(err, r, "AppArmor profile \"%.200s\" (is it loaded?)", p->apparmor);
    return 0;
}

static const char *variable(const char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; env && *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

/* Does not return when the program runs; else what kept it, worst first. */
static int try_exec(const char *const *argv, char *const *env)
{
    char *const *args = (char *const *)(uintptr_t)argv;
    if (strchr(argv[0], '/')) {
        (void)execve(argv[0], args, env);
        return -errno;
    }
    const char *dirs = variable((const char *const *)(uintptr_t)env, "PATH");
    if (!dirs)
        dirs = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    int worst = -ENOENT;
    for (;; dirs++) {
        size_t len = strcspn(dirs, ":");
        _cleanup_free_ char *path =
            str_printf("%.*s/%s", len ? (int)len : 1, len ? dirs : ".", argv[0]);
        (void)execve(path, args, env);
        if (errno == EACCES)
            worst = -EACCES;
        else if (errno != ENOENT && errno != ENOTDIR)
            return -errno;
        dirs += len;
        if (!*dirs)
            return worst;
    }
}

static int exec_error(struct launch_job *job, int code, struct error *err)
{
    const char *name = job->spec.process.argv[0];
    job->exit_code = code == -ENOENT || code == -ENOTDIR ? 127 : 126;
    if (code == -ENOENT && !strchr(name, '/'))
        return error_set(err, code, "exec \"%.200s\": executable file not found in $PATH", name);
    if (code == -ENOENT && access(name, F_OK) == 0)
        return error_set(err, code, "exec \"%.200s\": the interpreter that it names is missing",
                         name);
    static const struct {
        int code;
        const char *text;
    } texts[] = {{-ENOENT, "no such file or directory"},
                 {-EACCES, "permission denied"},
                 {-ENOEXEC, "exec format error (made for another architecture?)"}};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (texts[i].code == code)
            return error_set(err, code, "exec \"%.200s\": %s", name, texts[i].text);
    return error_errno(err, code, "exec \"%.200s\"", name);
}

int process_become(struct launch_job *job, struct error *err)
{
    const struct launch_process *p = &job->spec.process;
    size_t n = 0;
    while (p->env && p->env[n])
        n++;
    const char **env = mem_grow(NULL, n + 2, sizeof(*env));
    for (size_t i = 0; i < n; i++)
        env[i] = p->env[i];
    env[n] = NULL;
    env[n + 1] = NULL;
    if (!variable(p->env, "HOME"))
        env[n] = str_printf("HOME=%s", job->home ? job->home : "/");
    process_own_streams(job->uid);
    (void)umask(022);
    if (job->spec.userns)
        join_keyring(); /* now that it belongs to the root inside */
    int r = confine(p, err);
    if (r == 0)
        r = set_credentials(job, err);
    if (r == 0 && close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        r = error_errno(err, -errno, "close the descriptors");
    if (r == 0)
        r = report_ready(err);
    if (r == 0)
        r = exec_error(job, try_exec(p->argv, (char *const *)(uintptr_t)env), err);
    free(env);
    return r;
}
