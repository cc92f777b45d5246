/* Starting programs through posix_spawn; see process.h. */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

/* How long a killed program is waited for: in the loop, and by who cancels. */
#define KILL_WAIT_MS   2000
#define CANCEL_WAIT_MS 200

static int add_files(posix_spawn_file_actions_t *fa, const struct process_spec *spec)
{
    int fds[3] = {spec->stdin_fd, spec->stdout_fd, spec->stderr_fd};
    int r = 0;
    for (int i = 0; i < 3 && !r; i++) {
        if (fds[i] >= 0)
            r = posix_spawn_file_actions_adddup2(fa, fds[i], i);
        else if (i < 2)
            r = posix_spawn_file_actions_addopen(fa, i, "/dev/null", i ? O_WRONLY : O_RDONLY, 0);
    }
    for (size_t i = 0; i < spec->n_extra_fds && !r; i++)
        r = posix_spawn_file_actions_adddup2(fa, spec->extra_fds[i], (int)(3 + i));
    if (!r && spec->cwd)
        r = posix_spawn_file_actions_addchdir_np(fa, spec->cwd);
    if (!r)
        r = posix_spawn_file_actions_addclosefrom_np(fa, (int)(3 + spec->n_extra_fds));
    return r;
}

/* Descriptors that are to become 0..n may sit in that very range: lift them above it first. */
static int lift(int fd, int above, int *lifted, size_t *n)
{
    if (fd < 0 || fd >= above)
        return fd;
    int up = fcntl(fd, F_DUPFD_CLOEXEC, above);
    if (up >= 0)
        lifted[(*n)++] = up;
    return up;
}

#define MAX_EXTRA_FDS 16

int process_spawn(const struct process_spec *spec, pid_t *ret_pid, struct error *err)
{
    if (spec->n_extra_fds > MAX_EXTRA_FDS)
        return error_set(err, -E2BIG, "too many descriptors for %s", spec->argv[0]);
    struct process_spec s = *spec;
    int lifted[MAX_EXTRA_FDS + 3];
    int extra[MAX_EXTRA_FDS];
    size_t n_lifted = 0;
    int above = 3 + (int)s.n_extra_fds;
    s.stdin_fd = lift(s.stdin_fd, above, lifted, &n_lifted);
    s.stdout_fd = lift(s.stdout_fd, above, lifted, &n_lifted);
    s.stderr_fd = lift(s.stderr_fd, above, lifted, &n_lifted);
    for (size_t i = 0; i < s.n_extra_fds; i++)
        extra[i] = lift(s.extra_fds[i], above, lifted, &n_lifted);
    s.extra_fds = extra;

    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    (void)posix_spawn_file_actions_init(&fa);
    (void)posix_spawnattr_init(&attr);
    sigset_t none, all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (s.new_session)
        flags |= POSIX_SPAWN_SETSID;
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setsigdefault(&attr, &all);
    (void)posix_spawnattr_setflags(&attr, flags);
    int r = add_files(&fa, &s);
    if (!r)
        r = posix_spawnp(ret_pid, s.argv[0], &fa, &attr, (char *const *)(uintptr_t)s.argv,
                         s.envp ? (char *const *)(uintptr_t)s.envp : environ);
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&fa);
    for (size_t i = 0; i < n_lifted; i++)
        (void)close(lifted[i]);
    return r ? error_errno(err, -r, "cannot start %s", s.argv[0]) : 0;
}

struct process_run {
    struct loop *loop;
    struct loop_pid pid;
    struct loop_timer deadline;
    struct loop_io in_io, out_io, err_io;
    int in_fd, out_fd, err_fd;
    struct strbuf input, out, err;
    size_t written; /* of the input */
    size_t limit;
    bool session; /* the program leads one: what it started is killed with it */
    bool ended, timed_out, truncated;
    int status;
    void (*cb)(const struct process_result *result, void *arg);
    void *arg;
};

static void run_free(struct process_run *run)
{
    loop_pid_done(&run->pid);
    loop_timer_done(&run->deadline);
    loop_io_done(&run->in_io);
    loop_io_done(&run->out_io);
    loop_io_done(&run->err_io);
    closep(&run->in_fd);
    closep(&run->out_fd);
    closep(&run->err_fd);
    strbuf_done(&run->input);
    strbuf_done(&run->out);
    strbuf_done(&run->err);
    free(run);
}

static void close_io(struct loop_io *io, int *fd)
{
    loop_io_done(io);
    closep(fd);
    *fd = -1;
}

/* It was killed and does not die (it waits for a disk or a server that does not answer). Nobody
 * waits for it any longer; it is reaped when it ends. */
static void abandon(struct process_run *run)
{
    run->cb = NULL;
    loop_timer_done(&run->deadline);
    close_io(&run->in_io, &run->in_fd);
    close_io(&run->out_io, &run->out_fd);
    close_io(&run->err_io, &run->err_fd);
}

static void finish_if_over(struct process_run *run)
{
    if (!run->ended || run->out_fd >= 0 || run->err_fd >= 0)
        return;
    if (!run->cb) {
        run_free(run);
        return;
    }
    struct process_result result = {.status = run->status,
                                    .timed_out = run->timed_out,
                                    .truncated = run->truncated,
                                    .out = &run->out,
                                    .err = &run->err};
    run->cb(&result, run->arg);
    run_free(run);
}

/* Reads what is there; returns false at the end of file. */
static bool gather(struct process_run *run, int fd, struct strbuf *to)
{
    char buf[16384];
    ssize_t n = read(fd, buf, sizeof(buf));
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    size_t room = run->limit > to->len ? run->limit - to->len : 0;
    if ((size_t)n > room)
        run->truncated = true;
    strbuf_add(to, buf, (size_t)n < room ? (size_t)n : room);
    return true;
}

static void on_out(int fd, _unused_ short events, void *arg)
{
    struct process_run *run = arg;
    if (!gather(run, fd, &run->out))
        close_io(&run->out_io, &run->out_fd);
    finish_if_over(run);
}

static void on_err(int fd, _unused_ short events, void *arg)
{
    struct process_run *run = arg;
    if (!gather(run, fd, &run->err))
        close_io(&run->err_io, &run->err_fd);
    finish_if_over(run);
}

static void on_in(int fd, _unused_ short events, void *arg)
{
    struct process_run *run = arg;
    size_t left = run->input.len - run->written;
    ssize_t n = left ? write(fd, run->input.data + run->written, left) : 0;
    if (n > 0)
        run->written += (size_t)n;
    if (run->written == run->input.len || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_io(&run->in_io, &run->in_fd);
}

static void on_end(_unused_ pid_t pid, int status, void *arg)
{
    struct process_run *run = arg;
    run->ended = true;
    run->status = status;
    /* A grandchild may hold the pipes open: what the program itself wrote is there already. */
    if (run->out_fd >= 0 && !gather(run, run->out_fd, &run->out))
        close_io(&run->out_io, &run->out_fd);
    if (run->err_fd >= 0 && !gather(run, run->err_fd, &run->err))
        close_io(&run->err_io, &run->err_fd);
    if (run->timed_out) {
        close_io(&run->out_io, &run->out_fd);
        close_io(&run->err_io, &run->err_fd);
    }
    finish_if_over(run);
}

/* The program is not waited for yet, so its number is nobody else's. */
static void kill_run(struct process_run *run)
{
    if (run->session)
        (void)kill(-run->pid.pid, SIGKILL);
    (void)loop_pid_kill(&run->pid, SIGKILL);
}

static void on_deadline(void *arg)
{
    struct process_run *run = arg;
    if (run->ended) { /* a grandchild holds the pipes open: what we have is the answer */
        close_io(&run->out_io, &run->out_fd);
        close_io(&run->err_io, &run->err_fd);
        finish_if_over(run);
        return;
    }
    if (run->timed_out) {
        struct process_result result = {
            .status = -1, .timed_out = true, .out = &run->out, .err = &run->err};
        run->cb(&result, run->arg);
        abandon(run);
        return;
    }
    run->timed_out = true;
    kill_run(run);
    loop_timer_set(&run->deadline, KILL_WAIT_MS);
}

static int open_pipes(struct process_run *run, int theirs[3])
{
    int in[2], out[2], errp[2];
    if (pipe2(in, O_CLOEXEC) < 0)
        return -errno;
    theirs[0] = in[0];
    run->in_fd = in[1];
    if (pipe2(out, O_CLOEXEC) < 0)
        return -errno;
    run->out_fd = out[0];
    theirs[1] = out[1];
    if (pipe2(errp, O_CLOEXEC) < 0)
        return -errno;
    run->err_fd = errp[0];
    theirs[2] = errp[1];
    (void)fcntl(run->in_fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(run->out_fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(run->err_fd, F_SETFL, O_NONBLOCK);
    return 0;
}

int process_run(struct loop *loop, const struct process_spec *spec, const void *input,
                size_t input_len, size_t limit, uint64_t deadline_ms,
                void (*cb)(const struct process_result *result, void *arg), void *arg,
                struct process_run **ret, struct error *err)
{
    struct process_run *run = mem_zalloc(sizeof(*run));
    *run = (struct process_run){.loop = loop,
                                .in_fd = -1,
                                .out_fd = -1,
                                .err_fd = -1,
                                .limit = limit,
                                .session = spec->new_session,
                                .cb = cb,
                                .arg = arg,
                                .pid.pidfd = -1};
    int theirs[3] = {-1, -1, -1};
    pid_t pid = -1;
    int r = open_pipes(run, theirs);
    if (r < 0) {
        (void)error_errno(err, r, "cannot start %s: pipe", spec->argv[0]);
    } else {
        struct process_spec s = *spec;
        s.stdin_fd = theirs[0];
        s.stdout_fd = theirs[1];
        s.stderr_fd = theirs[2];
        r = process_spawn(&s, &pid, err);
    }
    for (int i = 0; i < 3; i++)
        closep(&theirs[i]);
    if (r == 0) {
        r = loop_pid_init(&run->pid, loop, pid, on_end, run);
        if (r < 0) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, NULL, 0);
            (void)error_errno(err, r, "cannot watch %s", spec->argv[0]);
        }
    }
    if (r < 0) {
        run_free(run);
        return r;
    }
    strbuf_add(&run->input, input, input_len);
    loop_timer_init(&run->deadline, loop, "process deadline", on_deadline, run);
    loop_timer_set(&run->deadline, deadline_ms);
    (void)loop_io_init(&run->in_io, loop, "process stdin", run->in_fd, EV_WRITE, on_in, run);
    (void)loop_io_init(&run->out_io, loop, "process stdout", run->out_fd, EV_READ, on_out, run);
    (void)loop_io_init(&run->err_io, loop, "process stderr", run->err_fd, EV_READ, on_err, run);
    if (ret)
        *ret = run;
    return 0;
}

pid_t process_run_pid(const struct process_run *run)
{
    return run->pid.pid;
}

void process_run_cancel(struct process_run *run)
{
    if (!run)
        return;
    if (!run->ended) {
        struct pollfd death = {.fd = run->pid.pidfd, .events = POLLIN};
        kill_run(run);
        if (poll(&death, 1, CANCEL_WAIT_MS) == 0) {
            abandon(run);
            return;
        }
        (void)waitpid(run->pid.pid, NULL, 0);
    }
    run_free(run);
}

/* Line breaks become spaces, and go at the end. */
static void one_line(char *text)
{
    for (char *p = text; (p = strchr(p, '\n'));)
        *p = p[1] ? ' ' : '\0';
}

int process_result_error(const struct process_result *result, const char *program,
                         struct error *err)
{
    if (result->timed_out)
        return error_set(err, -ETIMEDOUT, "%s: no answer in time, killed", program);
    if (result->status == 0)
        return 0;
    _cleanup_free_ char *text = str_ndup(strbuf_text(result->err), 600);
    one_line(text);
    if (WIFSIGNALED(result->status))
        return error_set(err, -EIO, "%s: killed by signal %d: %s", program,
                         WTERMSIG(result->status), text);
    return error_set(err, -EIO, "%s: exit status %d: %s", program, WEXITSTATUS(result->status),
                     text);
}

int process_call(const char *const *argv, struct strbuf *out, struct error *err)
{
    int p[2] = {-1, -1};
    if (out && pipe2(p, O_CLOEXEC) < 0)
        return error_errno(err, -errno, "pipe");
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    spec.stdout_fd = out ? p[1] : STDOUT_FILENO;
    pid_t pid = -1;
    int r = process_spawn(&spec, &pid, err);
    closep(&p[1]);
    if (r < 0) {
        closep(&p[0]);
        return r;
    }
    char buf[16384];
    ssize_t n = 0;
    while (out && ((n = read(p[0], buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0)
            strbuf_add(out, buf, (size_t)n);
    closep(&p[0]);
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return error_errno(err, -errno, "wait for %s", argv[0]);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
