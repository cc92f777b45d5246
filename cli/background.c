/* Starting a node in the background and waiting for it; see background.h. */
#include "cli/background.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "base/fs.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "cli/notify.h"

#define START_MS    60000
#define READY_MS    60000
#define RETRY_MS    20
#define PATIENCE_MS 1000 /* then say what is being waited for */

struct start {
    struct loop *loop;
    struct loop_pid pid;
    struct loop_timer patience, deadline;
    char status[256];
    bool ready, ended;
};

static void on_notify(_unused_ const char *unit, const char *text, void *arg)
{
    struct start *st = arg;
    const char *status = strstr(text, "STATUS=");
    if (status) {
        (void)snprintf(st->status, sizeof(st->status), "%s", status + strlen("STATUS="));
        st->status[strcspn(st->status, "\n")] = '\0';
    }
    if (strstr(text, "READY=1")) {
        st->ready = true;
        loop_stop(st->loop, 0);
    }
}

static void on_ended(_unused_ pid_t pid, _unused_ int status, void *arg)
{
    struct start *st = arg;
    st->ended = true;
    loop_stop(st->loop, 0);
}

static void on_patience(void *arg)
{
    struct start *st = arg;
    (void)printf("starting the node%s%s\n", *st->status ? ": " : "", st->status);
    (void)fflush(stdout);
    loop_timer_set(&st->patience, 3000);
}

static void on_start_deadline(void *arg)
{
    struct start *st = arg;
    loop_stop(st->loop, 0);
}

/* The last lines of a log, for somebody who wonders. */
static void print_tail(const char *path)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (fs_read(path, 64 << 20, &text, NULL) < 0 || !text.len)
        return;
    const char *p = text.data + text.len;
    for (int lines = 0; p > text.data && lines <= 10; p--)
        lines += p[-1] == '\n';
    (void)fprintf(stderr, "the end of %s:\n%s", path, p + (p > text.data));
}

static int spawn(const struct node_config *c, char **argv, const char *notify, pid_t *ret,
                 struct error *err)
{
    _cleanup_free_ char *dir = node_path(c, "/var/log/coracle");
    _cleanup_free_ char *path = node_log(c, argv[1]);
    int r = fs_mkdirs(dir, 0755, err);
    if (r < 0)
        return r;
    _cleanup_close_ int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (log < 0)
        return error_errno(err, -errno, "%s", path);
    if (setenv("NOTIFY_SOCKET", notify, 1) < 0)
        return error_errno(err, -errno, "setenv");
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = (const char *const *)argv;
    spec.stdout_fd = log;
    spec.stderr_fd = log;
    spec.new_session = true;
    r = process_spawn(&spec, ret, err);
    (void)unsetenv("NOTIFY_SOCKET");
    return r;
}

static int start(const struct node_config *c, char **argv, struct error *err)
{
    _cleanup_(loop_freep) struct loop *loop = loop_new();
    struct start st = {.loop = loop, .pid.pidfd = -1};
    struct notify_socket *notify = NULL;
    _cleanup_free_ char *dir = node_path(c, "/run/coracle");
    _cleanup_free_ char *log = node_log(c, argv[1]);
    pid_t pid = 0;
    int r = fs_mkdirs(dir, 0755, err);
    if (r == 0)
        r = notify_socket_new(&notify, loop, dir, on_notify, &st, err);
    if (r == 0)
        r = notify_socket_add(notify, "up", err);
    if (r == 0)
        r = spawn(c, argv, notify_socket_path(notify, "up"), &pid, err);
    if (r == 0 && (r = loop_pid_init(&st.pid, loop, pid, on_ended, &st)) < 0)
        (void)error_errno(err, r, "cannot watch the supervisor");
    loop_timer_init(&st.patience, loop, "patience", on_patience, &st);
    loop_timer_init(&st.deadline, loop, "start", on_start_deadline, &st);
    if (r == 0) {
        loop_timer_set(&st.patience, PATIENCE_MS);
        loop_timer_set(&st.deadline, START_MS);
        (void)loop_run(loop);
        if (!st.ready) {
            print_tail(log);
            r = error_set(err, -EIO, "the node did not start: %s%s; logs: %s",
                          st.ended ? "the supervisor ended" : "not ready in time: ",
                          *st.status ? st.status : "", log);
        }
    }
    loop_timer_done(&st.patience);
    loop_timer_done(&st.deadline);
    loop_pid_done(&st.pid);
    notify_socket_free(notify);
    return r;
}

int node_start(const struct node_config *c, const char *verb, int n, char **flags,
               struct error *err)
{
    _cleanup_free_ char **argv = mem_zalloc(((size_t)n + 3) * sizeof(*argv));
    _cleanup_free_ char *copy = str_dup(verb);
    char exe[PATH_MAX] = "";
    if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0)
        return error_errno(err, -errno, "/proc/self/exe");
    argv[0] = exe;
    argv[1] = copy;
    for (int i = 0; i < n; i++)
        argv[i + 2] = flags[i];
    return start(c, argv, err);
}

/* ---- waiting for the node ---- */

static void nap(unsigned ms)
{
    (void)poll(NULL, 0, (int)ms);
}

/* 0 when the Node is Ready; -EAGAIN and what it lacks. */
static int is_ready(struct session *s, const char *name, struct error *err)
{
    _cleanup_free_ char *path = kube_path("v1", NULL, "nodes", name, NULL);
    _cleanup_json_ json_t *node = NULL;
    int r = session_call(s, "GET", path, NULL, NULL, NULL, &node, err);
    if (r < 0)
        return error_prefix(err, -EAGAIN, "node %s", name);
    const json_t *conditions = json_path(node, "status.conditions");
    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const json_t *c = json_array_get(conditions, i);
        if (!str_eq(json_path_string(c, "type"), "Ready"))
            continue;
        if (str_eq(json_path_string(c, "status"), "True"))
            return 0;
        const char *message = json_path_string(c, "message");
        return error_set(err, -EAGAIN, "%s", message ? message : "not Ready");
    }
    return error_set(err, -EAGAIN, "the kubelet has not reported yet");
}

int node_wait_ready(struct session *s, const char *name, struct error *err)
{
    uint64_t began = now_ms(), told = began;
    for (;;) {
        struct error why = ERROR_INIT;
        if (is_ready(s, name, &why) == 0)
            return 0;
        uint64_t now = now_ms();
        if (now - began > READY_MS)
            return error_set(err, -ETIMEDOUT, "gave up waiting for the node: %s", error_text(&why));
        if (now - told > PATIENCE_MS) {
            (void)printf("waiting for the node: %s\n", error_text(&why));
            (void)fflush(stdout);
            told = now + 2000;
        }
        nap(now - began < 1000 ? RETRY_MS : 10 * RETRY_MS);
    }
}
