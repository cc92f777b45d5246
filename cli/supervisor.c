/* Starting, adopting, restarting and stopping the processes of a node; see supervisor.h. */
#include "cli/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/process.h"
#include "cli/notify.h"

#define BACKOFF_FIRST_MS 200
#define BACKOFF_MAX_MS   30000
#define BACKOFF_RESET_MS 60000
#define STOP_DEFAULT_MS  10000
#define RECORD_MAX       16384

enum unit_state {
    UNIT_WAITING,
    UNIT_STARTING,
    UNIT_READY,
    UNIT_BACKOFF,
    UNIT_STOPPING,
    UNIT_STOPPED
};

struct unit {
    struct list link;
    struct supervisor *supervisor;
    char *name, *log_path, *record_path;
    char **argv;
    char digest[SHA256_HEX_LEN + 1];
    bool notifies;
    uint64_t stop_ms, started_at, backoff_ms;
    enum unit_state state;
    struct loop_pid pid;
    struct loop_timer timer; /* back-off, or the deadline of a stop */
};

struct supervisor {
    struct loop *loop;
    char *state_dir;
    int lock_fd;
    struct list units;
    struct notify_socket *notify;
    const struct supervisor_ops *ops;
    void *arg;
    struct loop_deferred stopped;
    bool stopping, adopted, only_adopt;
    char *stop_until; /* unit that stays, NULL: none does */
};

/* ---- records ---- */

/* The kernel's start time of a process in clock ticks since boot: with the pid, its identity. */
static int process_start_time(pid_t pid, unsigned long long *ret)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(path, 4096, &text, NULL);
    if (r < 0)
        return r;
    /* The name may hold anything: fields are counted from its closing parenthesis; the state
     * is the first of them, the start time the 20th (proc(5), field 22). */
    const char *p = strrchr(strbuf_text(&text), ')');
    for (int i = 0; p && i < 20; i++) {
        p = strchr(p + 1, ' ');
        if (p && i == 0 && (p[1] == 'Z' || p[1] == 'X'))
            return -ESRCH;
    }
    if (!p)
        return -EINVAL;
    char *end;
    *ret = strtoull(p + 1, &end, 10);
    return end == p + 1 ? -EINVAL : 0;
}

static void write_record(const struct unit *u)
{
    unsigned long long start;
    struct error err = ERROR_INIT;
    if (process_start_time(u->pid.pid, &start) < 0)
        return;
    _cleanup_json_ json_t *record = json_pack("{sIsIss}", "pid", (json_int_t)u->pid.pid,
                                              "startTime", (json_int_t)start, "command", u->digest);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(record, &text);
    if (fs_write_atomic(u->record_path, text.data, text.len, 0600, FS_VOLATILE, &err) < 0)
        log_error("cannot record a process", "unit", u->name, "error", err.text, NULL);
}

/* The recorded process if it still runs, else 0. */
static pid_t read_record(const struct unit *u, bool *ret_same_command)
{
    _cleanup_json_ json_t *record = json_parse_file(u->record_path, RECORD_MAX, NULL);
    pid_t pid = (pid_t)json_path_int(record, "pid", 0);
    unsigned long long start;
    if (pid <= 1 || process_start_time(pid, &start) < 0 ||
        (unsigned long long)json_path_int(record, "startTime", -1) != start)
        return 0;
    const char *command = json_path_string(record, "command");
    *ret_same_command = command && str_eq(command, u->digest);
    return pid;
}

/* ---- starting ---- */

static void start_next(struct supervisor *s);
static void start_unit(struct unit *u);

static void describe_status(int status, char *out, size_t size)
{
    if (status == -1)
        (void)snprintf(out, size, "ended");
    else if (WIFSIGNALED(status))
        (void)snprintf(out, size, "killed by signal %d", WTERMSIG(status));
    else
        (void)snprintf(out, size, "exit status %d", WEXITSTATUS(status));
}

static struct unit *last_running(struct supervisor *s)
{
    for (struct list *l = s->units.prev; l != &s->units; l = l->prev) {
        struct unit *u = LIST_ENTRY(l, struct unit, link);
        if (s->stop_until && str_eq(u->name, s->stop_until))
            return NULL;
        if (u->state != UNIT_STOPPED)
            return u;
    }
    return NULL;
}

static void stop_next(struct supervisor *s)
{
    struct unit *u;
    while ((u = last_running(s))) {
        if (u->state == UNIT_STOPPING)
            return;
        bool runs = u->state == UNIT_STARTING || u->state == UNIT_READY;
        loop_timer_stop(&u->timer);
        if (!runs || loop_pid_kill(&u->pid, SIGTERM) < 0) {
            u->state = UNIT_STOPPED;
            (void)unlink(u->record_path);
            continue;
        }
        u->state = UNIT_STOPPING;
        loop_timer_set(&u->timer, u->stop_ms);
        return;
    }
    loop_defer(&s->stopped);
}

static void on_all_stopped(void *arg)
{
    struct supervisor *s = arg;
    if (s->ops->stopped)
        s->ops->stopped(s->arg);
}

static void on_ended(_unused_ pid_t pid, int status, void *arg)
{
    struct unit *u = arg;
    struct supervisor *s = u->supervisor;
    char how[64];
    (void)unlink(u->record_path);
    loop_timer_stop(&u->timer);
    if (s->stopping || s->only_adopt) {
        u->state = UNIT_STOPPED;
        if (s->stopping)
            stop_next(s);
        return;
    }
    describe_status(status, how, sizeof(how));
    log_warn("process ended, restarting", "unit", u->name, "how", how, NULL);
    if (s->ops->ended)
        s->ops->ended(s->arg, u->name, how);
    /* The first restart after a good while is immediate. */
    if (now_ms() - u->started_at > BACKOFF_RESET_MS)
        u->backoff_ms = 0;
    u->state = UNIT_BACKOFF;
    loop_timer_set(&u->timer, u->backoff_ms);
    u->backoff_ms = u->backoff_ms ? u->backoff_ms * 2 : BACKOFF_FIRST_MS;
    if (u->backoff_ms > BACKOFF_MAX_MS)
        u->backoff_ms = BACKOFF_MAX_MS;
}

static void mark_ready(struct unit *u)
{
    if (u->state != UNIT_STARTING)
        return;
    u->state = UNIT_READY;
    struct supervisor *s = u->supervisor;
    if (s->ops->ready)
        s->ops->ready(s->arg, u->name);
    start_next(s);
}

static void on_notify(const char *name, const char *text, void *arg)
{
    struct supervisor *s = arg;
    LIST_FOR_EACH(l, &s->units) {
        struct unit *u = LIST_ENTRY(l, struct unit, link);
        if (str_eq(u->name, name) && strstr(text, "READY=1"))
            mark_ready(u);
    }
}

static void on_timer(void *arg)
{
    struct unit *u = arg;
    if (u->state == UNIT_STOPPING) {
        log_warn("process does not stop, killing it", "unit", u->name, NULL);
        (void)loop_pid_kill(&u->pid, SIGKILL);
    } else if (u->state == UNIT_BACKOFF) {
        start_unit(u);
    }
}

static int spawn_unit(struct unit *u, pid_t *ret_pid, struct error *err)
{
    _cleanup_close_ int log = open(u->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (log < 0)
        return error_errno(err, -errno, "%s", u->log_path);
    _cleanup_free_ char *socket =
        str_printf("NOTIFY_SOCKET=%s", notify_socket_path(u->supervisor->notify, u->name));
    extern char **environ;
    size_t n = 0;
    while (environ[n])
        n++;
    _cleanup_free_ const char **envp = mem_zalloc((n + 2) * sizeof(*envp));
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!str_starts(environ[i], "NOTIFY_SOCKET="))
            envp[kept++] = environ[i];
    envp[kept] = socket;
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = (const char *const *)u->argv;
    spec.envp = envp;
    spec.stdout_fd = log;
    spec.stderr_fd = log;
    spec.new_session = true;
    return process_spawn(&spec, ret_pid, err);
}

static void start_unit(struct unit *u)
{
    struct error err = ERROR_INIT;
    pid_t pid = 0;
    u->started_at = now_ms();
    int r = spawn_unit(u, &pid, &err);
    if (r == 0 && (r = loop_pid_init(&u->pid, u->supervisor->loop, pid, on_ended, u)) < 0)
        (void)error_errno(&err, r, "cannot watch process %d", (int)pid);
    if (r < 0) {
        log_error("cannot start", "unit", u->name, "error", err.text, NULL);
        u->state = UNIT_BACKOFF;
        loop_timer_set(&u->timer, BACKOFF_MAX_MS);
        return;
    }
    write_record(u);
    u->state = UNIT_STARTING;
    if (!u->notifies)
        mark_ready(u);
}

/* Takes over a process that an earlier supervisor left. Returns whether there was one. */
static bool adopt_unit(struct unit *u)
{
    bool same = false;
    pid_t pid = read_record(u, &same);
    if (!pid || loop_pid_init(&u->pid, u->supervisor->loop, pid, on_ended, u) < 0)
        return false;
    u->started_at = now_ms();
    u->supervisor->adopted = true;
    log_info("adopted", "unit", u->name, NULL);
    if (!same && !u->supervisor->only_adopt) { /* on_ended() starts it with the new command line */
        log_info("command line changed, restarting", "unit", u->name, NULL);
        (void)loop_pid_kill(&u->pid, SIGTERM);
    }
    /* It was ready for the supervisor that recorded it, or is about to be. */
    u->state = UNIT_STARTING;
    mark_ready(u);
    return true;
}

/* Starts the first waiting unit once all before it are ready. */
static void start_next(struct supervisor *s)
{
    if (s->stopping || s->only_adopt)
        return;
    LIST_FOR_EACH(l, &s->units) {
        struct unit *u = LIST_ENTRY(l, struct unit, link);
        if (u->state == UNIT_WAITING) {
            start_unit(u);
            return;
        }
        if (u->state != UNIT_READY)
            return;
    }
}

/* ---- life of the supervisor ---- */

static char *lock_path(const char *state_dir)
{
    return fs_join(state_dir, "lock");
}

static pid_t lock_holder(const char *path)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (fs_read(path, 32, &text, NULL) < 0)
        return 0;
    return (pid_t)strtol(strbuf_text(&text), NULL, 10);
}

pid_t supervisor_running(const char *state_dir)
{
    _cleanup_free_ char *path = lock_path(state_dir);
    _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return lock_holder(path);
}

static int take_lock(struct supervisor *s, pid_t *ret_holder, struct error *err)
{
    _cleanup_free_ char *path = lock_path(s->state_dir);
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, -errno, "%s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        *ret_holder = lock_holder(path);
        return error_set(err, -EBUSY, "already running (pid %d)", (int)*ret_holder);
    }
    char text[16];
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || write(fd, text, (size_t)len) != len)
        return error_errno(err, -errno, "%s", path);
    s->lock_fd = TAKE_FD(fd);
    return 0;
}

int supervisor_new(struct supervisor **ret, struct loop *loop, const char *state_dir,
                   const struct supervisor_ops *ops, void *arg, pid_t *ret_holder,
                   struct error *err)
{
    struct supervisor *s = mem_zalloc(sizeof(*s));
    *s = (struct supervisor){
        .loop = loop, .state_dir = str_dup(state_dir), .lock_fd = -1, .ops = ops, .arg = arg};
    list_init(&s->units);
    loop_deferred_init(&s->stopped, loop, on_all_stopped, s);
    int r = fs_mkdirs(state_dir, 0700, err);
    if (r == 0)
        r = take_lock(s, ret_holder, err);
    if (r == 0)
        r = notify_socket_new(&s->notify, loop, state_dir, on_notify, s, err);
    if (r < 0) {
        supervisor_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

static void unit_free(struct unit *u)
{
    loop_pid_done(&u->pid);
    loop_timer_done(&u->timer);
    for (size_t i = 0; u->argv && u->argv[i]; i++)
        free(u->argv[i]);
    free(u->argv);
    free(u->name);
    free(u->log_path);
    free(u->record_path);
    free(u);
}

struct supervisor *supervisor_free(struct supervisor *s)
{
    if (!s)
        return NULL;
    LIST_FOR_EACH(l, &s->units) {
        list_remove(l);
        unit_free(LIST_ENTRY(l, struct unit, link));
    }
    notify_socket_free(s->notify);
    loop_deferred_done(&s->stopped);
    closep(&s->lock_fd);
    free(s->stop_until);
    free(s->state_dir);
    free(s);
    return NULL;
}

int supervisor_add(struct supervisor *s, const struct unit_spec *spec, struct error *err)
{
    struct unit *u = mem_zalloc(sizeof(*u));
    _cleanup_free_ char *record = str_printf("%s.json", spec->name);
    size_t n = 0;
    struct digest *command = digest_new();
    while (spec->argv[n])
        n++;
    *u = (struct unit){.supervisor = s,
                       .name = str_dup(spec->name),
                       .log_path = str_dup(spec->log_path),
                       .record_path = fs_join(s->state_dir, record),
                       .argv = mem_zalloc((n + 1) * sizeof(char *)),
                       .notifies = spec->notifies,
                       .stop_ms = spec->stop_ms ? spec->stop_ms : STOP_DEFAULT_MS,
                       .state = UNIT_WAITING,
                       .pid.pidfd = -1};
    for (size_t i = 0; i < n; i++) {
        u->argv[i] = str_dup(spec->argv[i]);
        digest_add(command, u->argv[i], strlen(u->argv[i]) + 1);
    }
    digest_hex(command, u->digest);
    digest_free(command);
    loop_timer_init(&u->timer, s->loop, "unit", on_timer, u);
    int r = notify_socket_add(s->notify, u->name, err);
    if (r < 0) {
        unit_free(u);
        return r;
    }
    list_append(&s->units, &u->link);
    if (!adopt_unit(u)) {
        if (s->only_adopt)
            u->state = UNIT_STOPPED;
        start_next(s);
    }
    return 0;
}

bool supervisor_all_ready(const struct supervisor *s)
{
    for (const struct list *l = s->units.next; l != &s->units; l = l->next)
        if (LIST_ENTRY((struct list *)(uintptr_t)l, struct unit, link)->state != UNIT_READY)
            return false;
    return true;
}

bool supervisor_adopted(const struct supervisor *s)
{
    return s->adopted;
}

void supervisor_only_adopt(struct supervisor *s)
{
    s->only_adopt = true;
}

void supervisor_stop(struct supervisor *s, const char *until)
{
    s->stopping = true;
    free(s->stop_until);
    s->stop_until = str_dup(until);
    stop_next(s);
}
