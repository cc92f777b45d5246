/*
 * coracle-shim DIR: see shim.h and cri/shim_client.h. Started with the setup on descriptor 3 and
 * its first connection on 4. It forks once, into its own cgroup, so that it is nobody's child and
 * moving costs nothing; what goes wrong on the way is told in its hello.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "cri/shim/shim.h"

int source_add(struct shim *shim, struct source *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};
    return epoll_ctl(shim->epoll_fd, EPOLL_CTL_ADD, s->fd, &e) < 0 ? -errno : 0;
}

void source_set(struct shim *shim, struct source *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (epoll_ctl(shim->epoll_fd, EPOLL_CTL_MOD, s->fd, &e) < 0 && errno == ENOENT)
        (void)epoll_ctl(shim->epoll_fd, EPOLL_CTL_ADD, s->fd, &e);
}

void source_pause(struct shim *shim, struct source *s)
{
    (void)epoll_ctl(shim->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
}

void source_close(struct shim *shim, struct source *s)
{
    if (s->fd < 0)
        return;
    /* Explicitly: a duplicate in another process would keep a closed descriptor in the set. */
    source_pause(shim, s);
    (void)close(s->fd);
    s->fd = -1;
}

static void on_signal(struct shim *shim, struct source *s, _unused_ uint32_t events)
{
    struct signalfd_siginfo info;
    while (read(s->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        ;
    process_reap(shim);
}

void shim_maybe_end(struct shim *shim)
{
    if (!shim->shutting_down || shim->n_processes || shim->pod_init > 0)
        return;
    (void)unlink("shim.sock");
    (void)unlink("shim.pid");
    while (!list_empty(&shim->containers))
        (void)container_free(shim, LIST_ENTRY(shim->containers.next, struct container, link));
    exit(0);
}

static int read_setup(struct shim_setup *setup, struct error *err)
{
    struct stat st;
    if (fstat(SHIM_FD_SETUP, &st) < 0 || st.st_size <= 0 || st.st_size > SHIM_SETUP_MAX)
        return error_set(err, -EBADMSG, "no setup on descriptor %d", SHIM_FD_SETUP);
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, SHIM_FD_SETUP, 0);
    if (data == MAP_FAILED)
        return error_errno(err, -errno, "the setup");
    int r = setup_decode(data, (size_t)st.st_size, setup);
    setup->data = data;
    setup->len = (size_t)st.st_size;
    return r < 0 ? error_set(err, r, "the setup is not valid") : 0;
}

/* Nothing borrows from it once the namespaces are made. */
static void setup_release(const struct shim_setup *setup)
{
    if (setup->data)
        (void)munmap(setup->data, setup->len);
}

/* Continues in a child that is born in the shims' cgroup (v2) or moves itself there (v1). */
static int detach(const struct shim_setup *setup, struct error *err)
{
    _cleanup_close_ int cgroup = -1;
    struct clone_args args = {.exit_signal = SIGCHLD};
    if (setup->cgroup_v2) {
        cgroup = open(setup->cgroup_v2, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (cgroup < 0)
            return error_errno(err, -errno, "cgroup %s", setup->cgroup_v2);
        args.flags = CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup;
    }
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid < 0)
        return error_errno(err, -errno, "fork");
    if (pid > 0)
        _exit(0);
    (void)setsid();
    for (size_t i = 0; i < setup->n_cgroup_v1; i++) {
        _cleanup_free_ char *tasks = fs_join(setup->cgroup_v1[i], "tasks");
        int r = fs_write_text(tasks, "0", err); /* see launch/process.c on why not cgroup.procs */
        if (r < 0)
            return error_prefix(err, r, "the shim's cgroup");
    }
    return 0;
}

/* "<pid> <start time>": the daemon tells a living shim from another process with its number. */
static int write_pid_file(struct error *err)
{
    _cleanup_strbuf_ struct strbuf stat = STRBUF_INIT;
    int r = fs_read("/proc/self/stat", 4096, &stat, err);
    const char *p = r == 0 ? strrchr(stat.data, ')') : NULL;
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    char text[64];
    int len = snprintf(text, sizeof(text), "%d %llu\n", (int)getpid(),
                       p ? strtoull(p + 1, NULL, 10) : 0ULL);
    return r < 0 ? r : fs_write_atomic("shim.pid", text, (size_t)len, 0644, FS_VOLATILE, err);
}

static int open_launcher(const struct shim_setup *setup, struct error *err)
{
    _cleanup_free_ char *path = fs_join(setup->libexec, "coracle-launch");
    _cleanup_close_ int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY, .propagation = MS_PRIVATE};
    if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
        return error_errno(err, -errno, "%s", path);
    return TAKE_FD(fd);
}

static int prepare(struct shim *shim, const char *dir, const struct shim_setup *setup,
                   struct error *err)
{
    if (chdir(dir) < 0)
        return error_errno(err, -errno, "%s", dir);
    (void)umask(022);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    /* Among the last to go when memory runs out; refused where we may not lower it. */
    (void)fs_write_text("/proc/self/oom_score_adj", "-998", NULL);
    if (mkdir("state", 0700) < 0 && errno != EEXIST)
        return error_errno(err, -errno, "make state");
    shim->own_pid_ns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (shim->own_pid_ns < 0)
        return error_errno(err, -errno, "/proc/self/ns/pid");
    shim->launch_fd = open_launcher(setup, err);
    if (shim->launch_fd < 0)
        return shim->launch_fd;
    int r = write_pid_file(err);
    if (r == 0)
        r = namespaces_make(shim, setup, err);
    if (r == 0 && setup->share_pid)
        r = pod_init_start(shim, setup, err);
    if (r == 0)
        r = server_listen(shim, err);
    if (r < 0) {
        if (shim->pod_init > 0)
            (void)kill(shim->pod_init, SIGKILL);
        namespaces_undo(setup);
    }
    return r;
}

static int open_loop(struct shim *shim, struct error *err)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_SETMASK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    /* The daemon's end, the terminal's, a service manager's stop of the daemon: not ours. */
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    shim->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    shim->signals =
        (struct source){.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .cb = on_signal};
    if (shim->epoll_fd < 0 || shim->signals.fd < 0)
        return error_errno(err, -errno, "event loop");
    return source_add(shim, &shim->signals, EPOLLIN);
}

/* 0, 1, 2 were given as /dev/null; 3 … 6 get to be placeholders: what we open is above
 * (process.c). */
#define PLACEHOLDERS 7
static int settle_descriptors(struct error *err)
{
    int conn = fcntl(SHIM_FD_CONN, F_DUPFD_CLOEXEC, PLACEHOLDERS);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (conn < 0 || null < 0)
        return error_errno(err, -errno, "descriptors");
    for (int fd = 0; fd < PLACEHOLDERS; fd++)
        if (fd != null && dup3(null, fd, fd < 3 ? 0 : O_CLOEXEC) < 0)
            return error_errno(err, -errno, "descriptors");
    if (null >= PLACEHOLDERS)
        (void)close(null);
    return conn;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct shim shim = {.epoll_fd = -1,
                        .launch_fd = -1,
                        .own_pid_ns = -1,
                        .user_ns = -1,
                        .pod_pidfd = -1,
                        .listener.fd = -1,
                        .signals.fd = -1};
    struct shim_setup setup = {.data = NULL};
    list_init(&shim.conns);
    list_init(&shim.containers);
    list_init(&shim.processes);
    if (argc != 2) {
        static const char usage[] = "coracle-shim is started by coracle-cri, one for each pod\n";
        return write(STDERR_FILENO, usage, sizeof(usage) - 1) < 0 ? 3 : 2;
    }
    int r = read_setup(&setup, &err);
    if (r == 0)
        r = detach(&setup, &err);
    int conn = settle_descriptors(&err);
    if (conn < 0)
        return 1;
    int loop = open_loop(&shim, &err);
    if (loop < 0)
        return 1;
    if (r == 0)
        r = prepare(&shim, argv[1], &setup, &err);
    setup_release(&setup);
    server_adopt(&shim, conn, r < 0 ? &err : NULL);
    if (r < 0)
        return 1;
    for (;;) {
        /* One at a time: a callback may end what the next event would be about. */
        struct epoll_event e;
        int n = epoll_wait(shim.epoll_fd, &e, 1, -1);
        struct source *s = n == 1 ? e.data.ptr : NULL;
        if (s)
            s->cb(&shim, s, e.events);
    }
}
