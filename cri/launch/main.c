/* coracle-launch: see launch.h. `create` becomes a container's first process, `exec` another;
 * `hold` is only there (shim/holder.c); `probe` tells the daemon what this host can. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "cri/launch/launch.h"

static int load(struct launch_job *job, struct error *err)
{
    struct stat st;
    if (fstat(LAUNCH_FD_SPEC, &st) < 0)
        return error_errno(err, -errno, "launch specification");
    if (st.st_size <= 0 || st.st_size > LAUNCH_SPEC_MAX)
        return error_set(err, -EBADMSG, "launch specification of %lld bytes",
                         (long long)st.st_size);
    const void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, LAUNCH_FD_SPEC, 0);
    if (data == MAP_FAILED)
        return error_errno(err, -errno, "launch specification");
    return launch_decode(data, (size_t)st.st_size, job, err);
}

static int create(struct launch_job *job, struct error *err)
{
    const struct launch_spec *s = &job->spec;
    int r = process_prepare(job, err);
    if (r == 0)
        r = rootfs_prepare(job, err);
    if (r == 0)
        r = rootfs_make(job, err);
    if (r == 0 && s->userns)
        r = userns_cross(job, err);
    else if (r == 0 && unshare(CLONE_NEWCGROUP) < 0)
        report_note("no cgroup namespace: %s", strerror(errno));
    if (r == 0)
        r = rootfs_fill(job, err);
    if (r == 0 && s->process.tty)
        r = tty_make(job, true, err);
    return r < 0 ? r : rootfs_enter(job, err);
}

static int enter(struct launch_job *job, struct error *err)
{
    int r = process_prepare(job, err);
    if (r < 0)
        return r;
    /* The PID namespace is the shim's doing: it starts us in it. */
    int which = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP |
                (job->spec.userns ? CLONE_NEWUSER : 0);
    if (setns(LAUNCH_FD_TARGET, which) < 0)
        return error_errno(err, -errno,
                           errno == ESRCH ? "the container is not running" : "enter the container");
    if (job->spec.userns)
        r = userns_become_root(err);
    return r == 0 && job->spec.process.tty ? tty_make(job, false, err) : r;
}

/* From here on names are resolved that the image or the container chose: the working directory, the
 * program, /etc/passwd. Through /proc/self/fd each of them could be one of our descriptors, and
 * those lead to the host's directories. */
static void drop_descriptors(void)
{
    (void)close(LAUNCH_FD_SPEC);
    (void)close_range(LAUNCH_FD_REPORT + 1, ~0U, 0);
}

static int run_probe(const char *upper_layer, const char *lower_layer)
{
    struct error err = ERROR_INIT;
    if (probe(upper_layer, lower_layer, &err) == 0)
        return 0;
    (void)dprintf(STDERR_FILENO, "%s\n", error_text(&err));
    return 1;
}

static _noreturn_ void hold(void)
{
    (void)close_range(0, ~0U, 0);
    for (;;)
        (void)pause();
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "probe") == 0)
        return run_probe(argv[2], argv[3]);
    struct error err = ERROR_INIT;
    struct launch_job job = {.exit_code = 128};
    /* Nothing inside may look at us or keep our descriptors: from here on, not from exec on. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)setsid();
    if (argc > 1 && strcmp(argv[1], "hold") == 0)
        hold();
    bool exec = argc > 1 && strcmp(argv[1], "exec") == 0;
    int r = load(&job, &err);
    job.exit_code = 128;
    if (r == 0)
        r = exec ? enter(&job, &err) : create(&job, &err);
    if (r == 0) {
        drop_descriptors();
        r = user_resolve(&job, &err);
    }
    if (r == 0)
        (void)process_become(&job, &err); /* comes back only with an error */
    report_error(&err, job.exit_code);
    _exit(job.exit_code);
}
