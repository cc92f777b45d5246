/*
 * Drives a shim through cri/shim_client.h, without the daemon: reads commands from standard input,
 * one a line, and answers each before it reads the next. For tests/integration/launch.t and
 * benchmarks.
 *
 *   shim-drive DIR LIBEXEC CGROUP-OF-SHIMS
 *
 *   start NAMESPACES [share-pid] [hostname=H] [sysctl=K=V]… [userns=HOST-ID]
 *                                                              → ready PID | failed CODE TEXT
 *   connect                                                    → connected PID
 *   create ID [KEY=VALUE]… -- ARG…                             → created | failed …
 *   run ID                                                     → started PID [notes] | failed …
 *   exec ID EXEC [KEY=VALUE]… -- ARG…                          → its output, then "exec-exit CODE"
 *   wait ID                                                    → exit CODE SIGNAL OOM
 *   kill ID SIGNAL [all] · stop ID (KILL, wait) · remove ID · reopen ID · close-stdin ID
 *   attach ID TEXT MS                                          → what comes back within MS
 *   attach-stuck ID                                            → attached; never reads
 *   state · shutdown · closed (waits for the end of the shim) · sleep MS
 *   bench-pod N                      N pods, one after the other: microseconds to ready, to ended,
 * to clean bench N KEY=VALUE… -- ARG…       N times create, run, kill, wait, remove: microseconds
 * of each
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "base/times.h"
#include "cri/capabilities.h"
#include "cri/seccomp.h"
#include "cri/shim_client.h"

#define WORDS_MAX 256

struct drive {
    struct loop *loop;
    struct cgroups *cgs;
    struct shim *shim;
    const char *dir, *libexec, *shims;
    bool done, closed, process_ended;
    struct {
        int code, exit_code, fd;
        pid_t pid;
        char message[1024], notes[1024];
    } reply;
    struct exit_seen {
        char id[64], exec[64];
        int code, signo;
        bool oom;
    } exits[4096];
    size_t n_exits;
    struct seccomp_cache filters;
};

static void turn(struct drive *d)
{
    (void)event_base_loop(loop_base(d->loop), EVLOOP_ONCE);
}

static void on_exit_event(_unused_ struct shim *shim, const struct shim_exit *e, void *arg)
{
    struct drive *d = arg;
    struct exit_seen *x = &d->exits[d->n_exits++ % ARRAY_SIZE(d->exits)];
    (void)snprintf(x->id, sizeof(x->id), "%s", e->container);
    (void)snprintf(x->exec, sizeof(x->exec), "%s", e->exec ? e->exec : "");
    x->code = e->exit_code;
    x->signo = e->signal;
    x->oom = e->oom_killed;
}

static void on_closed(_unused_ struct shim *shim, bool process_ended, void *arg)
{
    struct drive *d = arg;
    d->closed = true;
    d->process_ended = process_ended;
}

static void on_ready(_unused_ struct shim *shim, int code, const char *message, void *arg)
{
    struct drive *d = arg;
    d->reply.code = code;
    (void)snprintf(d->reply.message, sizeof(d->reply.message), "%s", message);
    d->done = true;
}

static void on_reply(const struct shim_reply *r, void *arg)
{
    struct drive *d = arg;
    d->reply.code = r->code;
    d->reply.exit_code = r->exit_code;
    d->reply.pid = r->pid;
    d->reply.fd = r->fd;
    (void)snprintf(d->reply.message, sizeof(d->reply.message), "%s", r->message);
    (void)snprintf(d->reply.notes, sizeof(d->reply.notes), "%s", r->notes);
    d->done = true;
}

/* Waits for the reply to a request that returned @sent. */
static int finish(struct drive *d, int sent, const struct error *err)
{
    if (sent < 0) {
        d->reply.code = sent;
        (void)snprintf(d->reply.message, sizeof(d->reply.message), "%s",
                       err && err->code ? error_text(err) : strerror(-sent));
        d->done = true;
    }
    while (!d->done)
        turn(d);
    d->done = false;
    return d->reply.code;
}

static void say(struct drive *d, const char *good)
{
    if (d->reply.code < 0)
        (void)printf("failed %d %d %s\n", d->reply.code, d->reply.exit_code, d->reply.message);
    else
        (void)printf("%s\n", good);
}

/* ---- specifications from KEY=VALUE words ---- */

struct options {
    struct launch_spec spec;
    struct shim_container container;
    struct cgroup_limits limits;
    const char *lower[160], *env[64], *argv[64], *masked[2];
    struct launch_mount mounts[64];
    struct launch_rlimit rlimit;
    gid_t groups[8];
    size_t n_lower, n_env;
    bool seccomp;
};

static void take_mount(struct options *o, char *value)
{
    struct launch_mount *m = &o->mounts[o->spec.n_mounts++];
    char *save = NULL;
    m->source = strtok_r(value, ":", &save);
    m->target = strtok_r(NULL, ":", &save);
    for (char *w; (w = strtok_r(NULL, ":", &save));) {
        m->readonly |= str_eq(w, "ro");
        m->recursive_readonly |= str_eq(w, "rro");
        m->idmapped |= str_eq(w, "idmap");
        m->propagation = str_eq(w, "shared")  ? LAUNCH_SHARED
                         : str_eq(w, "slave") ? LAUNCH_SLAVE
                                              : m->propagation;
    }
    o->spec.mounts = o->mounts;
}

static void take_list(const char **list, size_t *n, char *value)
{
    char *save = NULL;
    for (char *w = strtok_r(value, ":", &save); w; w = strtok_r(NULL, ":", &save))
        list[(*n)++] = w;
}

static void take_caps(struct launch_process *p, const char *value)
{
    uint64_t caps = str_eq(value, "all")    ? capabilities_all()
                    : str_eq(value, "none") ? 0
                                            : capabilities_default();
    p->cap_bounding = p->cap_effective = p->cap_permitted = caps;
}

static bool take_container_option(struct options *o, const char *key, char *value)
{
    struct launch_spec *s = &o->spec;
    if (str_eq(key, "lower"))
        take_list(o->lower, &o->n_lower, value), s->lowerdirs = o->lower;
    else if (str_eq(key, "upper"))
        s->upperdir = value;
    else if (str_eq(key, "work"))
        s->workdir = value;
    else if (str_eq(key, "rootdir"))
        s->rootdir = value;
    else if (str_eq(key, "ro"))
        s->rootfs_readonly = true;
    else if (str_eq(key, "privileged"))
        s->privileged = true;
    else if (str_eq(key, "pid"))
        s->pid_mode = str_eq(value, "pod")      ? LAUNCH_PID_POD
                      : str_eq(value, "node")   ? LAUNCH_PID_NODE
                      : str_eq(value, "target") ? LAUNCH_PID_TARGET
                                                : LAUNCH_PID_CONTAINER;
    else if (str_eq(key, "target"))
        o->container.pid_target = value;
    else if (str_eq(key, "userns"))
        s->userns = true, s->userns_uid = s->userns_gid = (uid_t)strtoul(value, NULL, 10);
    else if (str_eq(key, "shm"))
        s->shm_path = value;
    else if (str_eq(key, "mount"))
        take_mount(o, value);
    else if (str_eq(key, "cgroup"))
        s->cgroup = value;
    else if (str_eq(key, "log"))
        o->container.log_path = value;
    else if (str_eq(key, "log-max"))
        o->container.log_max_bytes = strtoull(value, NULL, 10);
    else if (str_eq(key, "stdin"))
        o->container.stdin_open = true;
    else if (str_eq(key, "once"))
        o->container.stdin_open = o->container.stdin_once = true;
    else if (str_eq(key, "memory"))
        o->limits.memory_limit = o->limits.memory_swap = strtoll(value, NULL, 10);
    else if (str_eq(key, "pids"))
        o->limits.pids_limit = strtoll(value, NULL, 10);
    else if (str_eq(key, "shares"))
        o->limits.cpu_shares = strtoll(value, NULL, 10);
    else if (str_eq(key, "quota"))
        o->limits.cpu_quota = strtoll(value, NULL, 10);
    else
        return false;
    return true;
}

static bool take_process_option(struct options *o, const char *key, char *value)
{
    struct launch_process *p = &o->spec.process;
    if (str_eq(key, "tty"))
        p->tty = true, p->tty_columns = 100, p->tty_rows = 30;
    else if (str_eq(key, "user"))
        p->user = value;
    else if (str_eq(key, "uid"))
        p->uid = strtoll(value, NULL, 10);
    else if (str_eq(key, "gid"))
        p->gid = strtoll(value, NULL, 10);
    else if (str_eq(key, "group"))
        o->groups[p->n_groups++] = (gid_t)strtoul(value, NULL, 10), p->groups = o->groups;
    else if (str_eq(key, "cwd"))
        p->cwd = value;
    else if (str_eq(key, "env"))
        o->env[o->n_env++] = value;
    else if (str_eq(key, "caps"))
        take_caps(p, value);
    else if (str_eq(key, "nnp"))
        p->no_new_privs = true;
    else if (str_eq(key, "seccomp"))
        o->seccomp = true;
    else if (str_eq(key, "oom"))
        p->oom_score_adj = strtoll(value, NULL, 10);
    else if (str_eq(key, "nofile"))
        o->rlimit = (struct launch_rlimit){RLIMIT_NOFILE, strtoull(value, NULL, 10),
                                           strtoull(value, NULL, 10)},
        p->rlimits = &o->rlimit, p->n_rlimits = 1;
    else
        return false;
    return true;
}

/* The words from @words on; false names one that is not known. */
static bool take_options(struct options *o, struct seccomp_cache *filters, char **words)
{
    *o = (struct options){.spec.process = LAUNCH_PROCESS_INIT, .limits = CGROUP_LIMITS_INIT};
    struct launch_process *p = &o->spec.process;
    take_caps(p, "default");
    o->env[o->n_env++] = "PATH=/bin:/usr/bin";
    o->spec.masked_paths = launch_default_masked_paths;
    o->spec.readonly_paths = launch_default_readonly_paths;
    for (; *words && !str_eq(*words, "--"); words++) {
        char *equals = strchr(*words, '=');
        if (equals)
            *equals = '\0';
        char *value = equals ? equals + 1 : *words + strlen(*words);
        if (!take_container_option(o, *words, value) && !take_process_option(o, *words, value)) {
            (void)printf("failed: unknown option %s\n", *words);
            return false;
        }
    }
    size_t n = 0;
    for (words += *words != NULL; *words; words++)
        o->argv[n++] = *words;
    p->argv = o->argv;
    p->env = o->env;
    struct error err = ERROR_INIT;
    const struct strbuf *filter = NULL;
    if (o->seccomp && seccomp_cache_default(filters, p->cap_bounding, &filter, &err) < 0) {
        (void)printf("failed: %s\n", error_text(&err));
        return false;
    }
    p->seccomp = filter ? filter->data : NULL;
    p->seccomp_len = filter ? filter->len : 0;
    return true;
}

static int apply_cgroup(struct drive *d, const struct options *o)
{
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf notes = STRBUF_INIT;
    if (!o->spec.cgroup)
        return 0;
    int r = cgroup_create(d->cgs, o->spec.cgroup, &err);
    if (r == 0)
        r = cgroup_set(d->cgs, o->spec.cgroup, &o->limits, &notes, &err);
    static const struct cgroup_device rules[] = {
        {'a', -1, -1, true, true, true, false},  {'c', -1, -1, false, false, true, true},
        {'b', -1, -1, false, false, true, true}, {'c', 1, -1, true, true, true, true},
        {'c', 5, -1, true, true, true, true},    {'c', 136, -1, true, true, true, true},
    };
    if (r == 0 && !o->spec.privileged)
        r = cgroup_set_devices(d->cgs, o->spec.cgroup, rules, ARRAY_SIZE(rules), &err);
    if (r < 0)
        (void)printf("failed %d 0 %s\n", r, error_text(&err));
    if (notes.len)
        (void)fprintf(stderr, "note: %s\n", notes.data);
    return r;
}

/* ---- commands ---- */

static void do_start(struct drive *d, char **w)
{
    const char *sysctls[8] = {NULL};
    size_t n = 0;
    struct shim_config cfg = {.dir = d->dir,
                              .cgroup = d->shims,
                              .cgs = d->cgs,
                              .namespaces = (unsigned)strtoul(w[1], NULL, 10),
                              .shm_size = 16 << 20,
                              .libexec = d->libexec,
                              .sysctls = sysctls};
    for (w += 2; *w; w++) {
        cfg.share_pid |= str_eq(*w, "share-pid");
        if (str_starts(*w, "userns=")) {
            cfg.uids.host = cfg.gids.host = (uint32_t)strtoul(*w + 7, NULL, 10);
            cfg.uids.length = cfg.gids.length = 65536;
        }
        if (str_starts(*w, "hostname="))
            cfg.hostname = *w + 9;
        if (str_starts(*w, "sysctl=") && n < 7)
            sysctls[n++] = *w + 7;
    }
    struct shim_events events = {on_exit_event, on_closed, d};
    struct error err = ERROR_INIT;
    int r = shim_start(d->loop, &cfg, &events, on_ready, &d->shim, &err);
    char text[32];
    if (finish(d, r, &err) == 0)
        (void)snprintf(text, sizeof(text), "ready %d", (int)shim_pid(d->shim));
    else
        d->shim = NULL;
    say(d, text);
}

static void do_connect(struct drive *d)
{
    struct shim_events events = {on_exit_event, on_closed, d};
    struct error err = ERROR_INIT;
    int r = shim_connect(d->loop, d->dir, &events, &d->shim, &err);
    if (r < 0)
        (void)printf("failed %d 0 %s\n", r, error_text(&err));
    else
        (void)printf("connected %d\n", (int)shim_pid(d->shim));
}

static int create(struct drive *d, const char *id, char **words)
{
    struct options o;
    struct error err = ERROR_INIT;
    if (!take_options(&o, &d->filters, words) || apply_cgroup(d, &o) < 0)
        return -1;
    o.container.id = id;
    int r = finish(d, shim_create(d->shim, &o.container, &o.spec, d->cgs, on_reply, d, &err), &err);
    return r;
}

static void do_run(struct drive *d, const char *id)
{
    char text[2048];
    (void)finish(d, shim_start_container(d->shim, id, on_reply, d), NULL);
    (void)snprintf(text, sizeof(text), "started %d %s", (int)d->reply.pid, d->reply.notes);
    for (char *p = text; *p; p++)
        if (*p == '\n')
            *p = ';';
    say(d, text);
}

static const struct exit_seen *wait_exit(struct drive *d, const char *id, const char *exec)
{
    for (;;) {
        for (size_t i = 0; i < d->n_exits && i < ARRAY_SIZE(d->exits); i++)
            if (str_eq(d->exits[i].id, id) && str_eq(d->exits[i].exec, exec))
                return &d->exits[i];
        if (d->closed)
            return NULL;
        turn(d);
    }
}

static void do_wait(struct drive *d, const char *id)
{
    const struct exit_seen *x = wait_exit(d, id, "");
    if (x)
        (void)printf("exit %d %d %d\n", x->code, x->signo, x->oom);
    else
        (void)printf("closed\n");
}

static void copy_output(int fd)
{
    char buf[4096];
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        (void)fwrite(buf, 1, (size_t)n, stdout);
}

static void do_exec(struct drive *d, char **w)
{
    struct options o;
    struct error err = ERROR_INIT;
    int p[2];
    if (!take_options(&o, &d->filters, w + 3) || pipe2(p, O_CLOEXEC) < 0)
        return;
    const int fds[3] = {-1, p[1], p[1]};
    int r =
        finish(d, shim_exec(d->shim, w[1], w[2], &o.spec, d->cgs, fds, on_reply, d, &err), &err);
    (void)close(p[1]);
    if (r == 0) {
        copy_output(d->reply.fd >= 0 ? d->reply.fd : p[0]);
        const struct exit_seen *x = wait_exit(d, w[1], w[2]);
        (void)printf("exec-exit %d\n", x ? x->code : -1);
    } else {
        say(d, "");
    }
    closep(&d->reply.fd);
    d->reply.fd = -1;
    (void)close(p[0]);
}

static void do_attach(struct drive *d, char **w)
{
    int in[2], out[2], e[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, in) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, out) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, e) < 0)
        return;
    const int fds[3] = {in[0], out[0], e[0]};
    (void)finish(d, shim_attach(d->shim, w[1], fds, on_reply, d), NULL);
    for (int i = 0; i < 3; i++)
        (void)close(fds[i]);
    if (d->reply.code < 0) {
        say(d, "");
        return;
    }
    if (write(in[1], w[2], strlen(w[2])) < 0 || write(in[1], "\n", 1) < 0)
        (void)printf("write failed\n");
    (void)shutdown(in[1], SHUT_WR);
    int64_t end = time_now_nano() + strtoll(w[3], NULL, 10) * 1000000;
    bool open[2] = {true, true};
    while ((open[0] || open[1]) && time_now_nano() < end) {
        struct pollfd pfd[2] = {{open[0] ? out[1] : -1, POLLIN, 0},
                                {open[1] ? e[1] : -1, POLLIN, 0}};
        (void)poll(pfd, 2, 50);
        for (int i = 0; i < 2; i++) {
            char buf[1024];
            if (!(pfd[i].revents & (POLLIN | POLLHUP)))
                continue;
            ssize_t n = read(i ? e[1] : out[1], buf, sizeof(buf));
            if (n > 0)
                (void)fwrite(buf, 1, (size_t)n, stdout);
            else
                open[i] = false;
        }
    }
    (void)printf("attach-end %s\n", open[0] ? "open" : "eof");
    (void)close(in[1]);
    (void)close(out[1]);
    (void)close(e[1]);
}

/* A client that takes nothing: its descriptors stay open until we end. */
static void do_attach_stuck(struct drive *d, const char *id)
{
    int out[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, out) < 0)
        return;
    const int fds[3] = {-1, out[0], -1};
    (void)finish(d, shim_attach(d->shim, id, fds, on_reply, d), NULL);
    (void)close(out[0]);
    say(d, "attached");
}

static void on_query(int code, const struct shim_state *states, size_t n, void *arg)
{
    static const char *const names[] = {"created", "running", "exited"};
    struct drive *d = arg;
    d->reply.code = code;
    for (size_t i = 0; i < n; i++)
        (void)printf("%s %s %d %d\n", states[i].id, names[states[i].state], states[i].exit_code,
                     states[i].pid > 0);
    d->done = true;
}

static uint64_t now_us(void)
{
    return (uint64_t)time_now_nano() / 1000;
}

static void do_bench(struct drive *d, char **w)
{
    unsigned long n = strtoul(w[1], NULL, 10);
    uint64_t sum[4] = {0};
    if (!n)
        return;
    for (unsigned long i = 0; i < n; i++) {
        char id[32];
        char *copy[WORDS_MAX];
        size_t k = 0;
        for (; w[2 + k]; k++) { /* a layer of its own each time, as in life */
            bool layer = str_starts(w[2 + k], "upper=") || str_starts(w[2 + k], "work=");
            copy[k] = layer ? str_printf("%s-%lu", w[2 + k], i) : str_dup(w[2 + k]);
            if (layer)
                (void)fs_mkdirs(strchr(copy[k], '=') + 1, 0755, NULL);
        }
        copy[k] = NULL;
        (void)snprintf(id, sizeof(id), "b%lu", i);
        uint64_t t0 = now_us();
        int r = create(d, id, copy);
        uint64_t t1 = now_us();
        if (r == 0)
            r = finish(d, shim_start_container(d->shim, id, on_reply, d), NULL);
        uint64_t t2 = now_us();
        if (r < 0) {
            say(d, "");
            return;
        }
        (void)finish(d, shim_kill(d->shim, id, NULL, SIGKILL, false, on_reply, d), NULL);
        (void)wait_exit(d, id, "");
        uint64_t t3 = now_us();
        (void)finish(d, shim_remove(d->shim, id, on_reply, d), NULL);
        uint64_t t4 = now_us();
        sum[0] += t1 - t0;
        sum[1] += t2 - t1;
        sum[2] += t3 - t2;
        sum[3] += t4 - t3;
        for (k = 0; copy[k]; k++)
            free(copy[k]);
    }
    (void)printf("bench create %llu start %llu kill %llu remove %llu us\n",
                 (unsigned long long)(sum[0] / n), (unsigned long long)(sum[1] / n),
                 (unsigned long long)(sum[2] / n), (unsigned long long)(sum[3] / n));
}

/* Needs subdirectories 0 … N-1 of the directory. */
static void do_bench_pod(struct drive *d, char **w)
{
    unsigned long n = strtoul(w[1], NULL, 10);
    uint64_t sum[3] = {0};
    if (!n)
        return;
    const char *top = d->dir;
    for (unsigned long i = 0; i < n; i++) {
        _cleanup_free_ char *dir = str_printf("%s/%lu", top, i);
        char *start[] = {w[0], (char *)(uintptr_t) "7", (char *)(uintptr_t) "hostname=bench", NULL};
        d->dir = dir;
        uint64_t t0 = now_us();
        do_start(d, start);
        uint64_t t1 = now_us();
        if (!d->shim)
            break;
        (void)finish(d, shim_shutdown(d->shim, on_reply, d), NULL);
        while (!d->closed)
            turn(d);
        uint64_t t2 = now_us();
        d->shim = shim_free(d->shim);
        d->closed = false;
        (void)shim_clean(dir, NULL);
        sum[0] += t1 - t0;
        sum[1] += t2 - t1;
        sum[2] += now_us() - t2;
    }
    d->dir = top;
    (void)printf("bench-pod ready %llu ended %llu clean %llu us\n",
                 (unsigned long long)(sum[0] / n), (unsigned long long)(sum[1] / n),
                 (unsigned long long)(sum[2] / n));
}

static bool do_simple(struct drive *d, char **w)
{
    int r = 0;
    if (str_eq(w[0], "kill"))
        r = shim_kill(d->shim, w[1], NULL, (int)strtol(w[2] ? w[2] : "0", NULL, 10),
                      str_eq(w[3], "all"), on_reply, d);
    else if (str_eq(w[0], "remove"))
        r = shim_remove(d->shim, w[1], on_reply, d);
    else if (str_eq(w[0], "reopen"))
        r = shim_reopen_log(d->shim, w[1], on_reply, d);
    else if (str_eq(w[0], "close-stdin"))
        r = shim_close_stdin(d->shim, w[1], on_reply, d);
    else if (str_eq(w[0], "shutdown"))
        r = shim_shutdown(d->shim, on_reply, d);
    else
        return false;
    (void)finish(d, r, NULL);
    say(d, "ok");
    return true;
}

static void command(struct drive *d, char **w)
{
    if (str_eq(w[0], "start"))
        do_start(d, w);
    else if (str_eq(w[0], "connect"))
        do_connect(d);
    else if (str_eq(w[0], "sleep"))
        (void)usleep((useconds_t)strtoul(w[1], NULL, 10) * 1000);
    else if (str_eq(w[0], "bench-pod"))
        do_bench_pod(d, w);
    else if (!d->shim)
        (void)printf("no shim\n");
    else if (str_eq(w[0], "create"))
        create(d, w[1], w + 2) == -1 ? (void)0 : say(d, "created");
    else if (str_eq(w[0], "run"))
        do_run(d, w[1]);
    else if (str_eq(w[0], "exec"))
        do_exec(d, w);
    else if (str_eq(w[0], "wait"))
        do_wait(d, w[1]);
    else if (str_eq(w[0], "attach"))
        do_attach(d, w);
    else if (str_eq(w[0], "attach-stuck"))
        do_attach_stuck(d, w[1]);
    else if (str_eq(w[0], "bench"))
        do_bench(d, w);
    else if (str_eq(w[0], "state"))
        (void)finish(d, shim_query(d->shim, on_query, d), NULL);
    else if (str_eq(w[0], "closed")) {
        while (!d->closed)
            turn(d);
        (void)printf("closed %s\n", d->process_ended ? "ended" : "alive");
    } else if (!do_simple(d, w))
        (void)printf("unknown command %s\n", w[0]);
}

/* Words are separated by blanks; '…' quotes. */
static size_t split(char *line, char **words)
{
    size_t n = 0;
    while (n < WORDS_MAX - 1) {
        line += strspn(line, " \t\n");
        if (!*line)
            break;
        char end = ' ';
        if (*line == '\'')
            end = *line++;
        words[n++] = line;
        line += end == '\'' ? strcspn(line, "'") : strcspn(line, " \t\n");
        if (*line)
            *line++ = '\0';
    }
    memset(words + n, 0, (WORDS_MAX - n) * sizeof(*words));
    return n;
}

int main(int argc, char **argv)
{
    static struct drive d;
    static char line[65536];
    struct error err = ERROR_INIT;
    if (argc != 4) {
        (void)fprintf(stderr, "shim-drive DIR LIBEXEC CGROUP\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    d.loop = loop_new();
    d.dir = argv[1];
    d.libexec = argv[2];
    d.shims = argv[3];
    if (cgroups_open(NULL, &d.cgs, &err) < 0) {
        (void)fprintf(stderr, "%s\n", error_text(&err));
        return 1;
    }
    while (fgets(line, sizeof(line), stdin)) {
        char *words[WORDS_MAX];
        if (split(line, words) == 0 || words[0][0] == '#')
            continue;
        command(&d, words);
        (void)fflush(stdout);
    }
    seccomp_cache_done(&d.filters);
    d.shim = shim_free(d.shim);
    d.cgs = cgroups_free(d.cgs);
    d.loop = loop_free(d.loop);
    return 0;
}
