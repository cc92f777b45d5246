/* The job server; see serve.h. */
#include "cri/unpack/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/digest.h"
#include "base/strbuf.h"
#include "cri/unpack/jobs.h"

struct job {
    pid_t pid;
    int pidfd, answer;
};

struct server {
    int sock;
    const struct confine_filter *filter;
    struct job *jobs;
    struct pollfd *polls; /* the socket, then two for each job */
    size_t count;
};

struct message {
    char text[JOB_MESSAGE_MAX + 1];
    size_t len;
    int fds[JOB_FDS_MAX];
    size_t n_fds;
};

/* ---- in the job's process ---- */

/* The descriptors of the message become 1, 3, 4, …; all others are closed. */
static int place_fds(struct message *m)
{
    int high[JOB_FDS_MAX];
    for (size_t i = 0; i < m->n_fds; i++)
        if ((high[i] = fcntl(m->fds[i], F_DUPFD, 64)) < 0)
            return -errno;
    for (size_t i = 0; i < m->n_fds; i++)
        if (dup2(high[i], i ? (int)i + 2 : STDOUT_FILENO) < 0)
            return -errno;
    return close_range((unsigned)m->n_fds + 2, ~0U, 0) < 0 ? -errno : 0;
}

static _noreturn_ void do_job(const struct server *s, struct message *m, pid_t parent)
{
    char *words[JOB_WORDS_MAX + 2] = {(char *)"coracle-unpack"};
    int n = 1;
    const char *dir = m->text;
    for (size_t at = strlen(dir) + 1; at < m->len && n <= JOB_WORDS_MAX; n++) {
        words[n] = m->text + at;
        at += strlen(m->text + at) + 1;
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || place_fds(m))
        _exit(1);
    if (chdir(dir) == 0)
        _exit(job_run(s->filter, n, words));
    struct error err = ERROR_INIT;
    json_t *answer = json_object();
    (void)error_errno(&err, -errno, "%s", dir);
    job_answer(STDOUT_FILENO, answer, &err);
    _exit(1);
}

/* ---- in the server ---- */

static void fail_job(int answer, int code, const char *what)
{
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *text = json_object();
    (void)error_errno(&err, code, "%s", what);
    job_answer(answer, text, &err);
}

static void start_job(struct server *s, struct message *m)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        do_job(s, m, parent);
    struct job job = {.pid = pid, .answer = m->fds[0]};
    job.pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
    int code = -errno;
    for (size_t i = 1; i < m->n_fds; i++)
        (void)close(m->fds[i]);
    if (job.pidfd < 0) {
        fail_job(job.answer, code, "coracle-unpack cannot start a job");
        if (pid > 0 && kill(pid, SIGKILL) == 0)
            (void)waitpid(pid, NULL, 0);
        (void)close(job.answer);
        return;
    }
    s->jobs = mem_grow(s->jobs, s->count + 1, sizeof(*s->jobs));
    s->polls = mem_grow(s->polls, 2 * (s->count + 1) + 1, sizeof(*s->polls));
    s->jobs[s->count++] = job;
}

/* The job has ended, or nobody wants its answer any more. */
static void end_job(struct server *s, size_t i, bool unwanted)
{
    struct job *job = &s->jobs[i];
    int status = 0;
    if (unwanted)
        (void)kill(job->pid, SIGKILL);
    while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status) && !unwanted) {
        char what[64];
        (void)snprintf(what, sizeof(what), "coracle-unpack was killed by signal %d",
                       WTERMSIG(status));
        fail_job(job->answer, -EIO, what);
    }
    (void)close(job->pidfd);
    (void)close(job->answer);
    *job = s->jobs[--s->count];
}

/* False at the end of the conversation. */
static bool receive(struct server *s, struct message *m)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * JOB_FDS_MAX)];
    } control;
    struct iovec iov = {m->text, JOB_MESSAGE_MAX};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    m->n_fds = 0;
    ssize_t n = recvmsg(s->sock, &msg, MSG_CMSG_CLOEXEC);
    if (n <= 0 || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        return n < 0 && errno == EINTR;
    m->len = (size_t)n;
    m->text[n] = '\0';
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        m->n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(m->fds, CMSG_DATA(c), m->n_fds * sizeof(int));
    }
    return true;
}

/* Returns the exit status once the other side has closed. */
static int serve_jobs(struct server *s)
{
    for (;;) {
        s->polls[0] = (struct pollfd){.fd = s->sock, .events = POLLIN};
        for (size_t i = 0; i < s->count; i++) {
            s->polls[2 * i + 1] = (struct pollfd){.fd = s->jobs[i].pidfd, .events = POLLIN};
            s->polls[2 * i + 2] = (struct pollfd){.fd = s->jobs[i].answer}; /* tells of POLLERR */
        }
        if (poll(s->polls, 2 * s->count + 1, -1) < 0) {
            if (errno == EINTR)
                continue;
            return 1;
        }
        /* What was cancelled before a job was sent ends before that job begins. */
        for (size_t i = s->count; i-- > 0;) {
            bool ended = s->polls[2 * i + 1].revents, unwanted = s->polls[2 * i + 2].revents;
            if (ended || unwanted)
                end_job(s, i, unwanted && !ended);
        }
        struct message m;
        if (!s->polls[0].revents)
            continue;
        if (!receive(s, &m))
            return 0;
        if (m.n_fds)
            start_job(s, &m);
    }
}

int serve(int sock, const struct confine_filter *filter)
{
    struct server s = {.sock = sock, .filter = filter};
    struct error err = ERROR_INIT;
    /* Whatever a job does, it starts in a place from which only the store can be seen; and mount
     * namespaces that are copied for each job hold one mount. */
    if (confine_here(&err)) {
        (void)fprintf(stderr, "coracle-unpack: %s\n", error_text(&err));
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)digest_free(digest_new()); /* the library's start is once, not once a job */
    s.polls = mem_zalloc(sizeof(*s.polls));
    int status = serve_jobs(&s);
    free(s.polls);
    free(s.jobs);
    return status;
}
