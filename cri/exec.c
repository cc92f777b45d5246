/* Processes executed in running containers; see exec.h. */
#include "cri/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "base/digest.h"
#include "cri/spec.h"

#define EXEC_ID_LEN 16
/* Output that a background process still holds open after the command's end is not waited for
 * longer than this. */
#define DRAIN_MS 1000

struct exec {
    struct runtime *rt;
    char container[CONTAINER_ID_LEN + 1];
    char id[EXEC_ID_LEN + 1];
    const struct exec_events *events; /* NULL: forgotten */
    void *arg;
    bool started, ended;
    int exit_code;
};

static char *key_of(const char *container, const char *id)
{
    return str_printf("%s/%s", container, id);
}

static void end(struct exec *x)
{
    const struct exec_events *events = x->events;
    if (events)
        events->exited(x, x->exit_code, x->arg);
    _cleanup_free_ char *key = key_of(x->container, x->id);
    (void)map_take(&x->rt->execs, key);
    free(x);
}

static void on_started(const struct shim_reply *reply, void *arg)
{
    struct exec *x = arg;
    if (reply->code < 0) {
        if (x->events)
            x->events->started(x, reply->code, reply->message, -1, x->arg);
        _cleanup_free_ char *key = key_of(x->container, x->id);
        (void)map_take(&x->rt->execs, key);
        free(x);
        return;
    }
    x->started = true;
    if (x->events)
        x->events->started(x, 0, "", reply->fd, x->arg);
    else
        closep(&reply->fd);
    if (x->ended)
        end(x);
}

int exec_start(struct container *c, const char *const *argv, bool tty, const int fds[3],
               const struct exec_events *events, void *arg, struct exec **ret, struct error *err)
{
    if (c->state != CONTAINER_RUNNING || !c->sandbox->shim)
        return error_set(err, -EBADFD, "container %s is not running", c->id);
    _cleanup_arena_ struct arena a = ARENA_INIT;
    static char *nothing[] = {NULL};
    struct image_config image = {.user = c->image_user,
                                 .working_dir = c->image_cwd,
                                 .env = c->image_env ? c->image_env : nothing,
                                 .entrypoint = nothing,
                                 .cmd = nothing};
    struct spec_pod pod;
    struct launch_spec spec;
    sandbox_spec_pod(c->sandbox, &a, &pod);
    int r = spec_exec(&a, c->config, &image, &pod, c->cgroup, argv, tty, &spec, err);
    if (r < 0)
        return r;
    struct exec *x = mem_zalloc(sizeof(*x));
    x->rt = c->rt;
    x->events = events;
    x->arg = arg;
    memcpy(x->container, c->id, sizeof(x->container));
    random_hex(x->id, EXEC_ID_LEN);
    r = shim_exec(c->sandbox->shim, c->id, x->id, &spec, c->rt->cgs, fds, on_started, x, err);
    if (r < 0) {
        free(x);
        return r;
    }
    _cleanup_free_ char *key = key_of(x->container, x->id);
    map_set(&c->rt->execs, key, x);
    *ret = x;
    return 0;
}

static void on_killed(_unused_ const struct shim_reply *reply, _unused_ void *arg)
{
}

void exec_kill(struct exec *x)
{
    const struct container *c = map_get(&x->rt->containers, x->container);
    if (c && c->sandbox->shim)
        (void)shim_kill(c->sandbox->shim, x->container, x->id, SIGKILL, false, on_killed, NULL);
}

void exec_forget(struct exec *x)
{
    if (x)
        x->events = NULL;
}

static void ended(struct exec *x, int exit_code)
{
    x->ended = true;
    x->exit_code = exit_code;
    if (x->started)
        end(x);
}

void exec_exited(struct runtime *rt, const char *container, const char *exec, int exit_code)
{
    _cleanup_free_ char *key = key_of(container, exec);
    struct exec *x = map_get(&rt->execs, key);
    if (x && !x->ended)
        ended(x, exit_code);
}

void exec_container_gone(struct runtime *rt, const char *container)
{
    MAP_FOR_EACH(e, &rt->execs) {
        struct exec *x = map_value(e);
        /* One that has not started is answered by its request. */
        if (x->started && !x->ended && str_eq(x->container, container))
            ended(x, 137);
    }
}

/* ---- ExecSync ---- */
struct sync {
    struct exec *exec;
    struct loop *loop;
    struct loop_timer timer; /* the timeout, then the drain */
    struct {
        int fd;
        struct loop_io io;
        struct strbuf text;
    } out[2];
    bool timed_out;
    int exit_code;
    void (*cb)(const struct exec_result *result, void *arg);
    void *arg;
};

static void sync_finish(struct sync *s, int code, const char *message)
{
    struct exec_result result = {.code = code,
                                 .message = message,
                                 .exit_code = s->exit_code,
                                 .out = &s->out[0].text,
                                 .err = &s->out[1].text};
    exec_forget(s->exec);
    loop_timer_done(&s->timer);
    for (size_t i = 0; i < 2; i++) {
        loop_io_done(&s->out[i].io);
        closep(&s->out[i].fd);
    }
    s->cb(&result, s->arg);
    for (size_t i = 0; i < 2; i++)
        strbuf_done(&s->out[i].text);
    free(s);
}

static void sync_check(struct sync *s)
{
    if (!s->exec && s->out[0].fd < 0 && s->out[1].fd < 0)
        sync_finish(s, s->timed_out ? -ETIMEDOUT : 0,
                    s->timed_out ? "the command did not end in time" : "");
}

static void on_output(int fd, _unused_ short events, void *arg)
{
    struct sync *s = arg;
    size_t i = fd == s->out[0].fd ? 0 : 1;
    char buf[65536];
    ssize_t n = read(fd, buf, sizeof(buf));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        size_t room = EXEC_OUTPUT_MAX - s->out[0].text.len - s->out[1].text.len;
        strbuf_add(&s->out[i].text, buf, (size_t)n < room ? (size_t)n : room);
        return;
    }
    loop_io_done(&s->out[i].io);
    closep(&s->out[i].fd);
    s->out[i].fd = -1;
    sync_check(s);
}

static void on_timer(void *arg)
{
    struct sync *s = arg;
    if (s->exec && !s->timed_out) {
        s->timed_out = true;
        exec_kill(s->exec);
        loop_timer_set(&s->timer, DRAIN_MS);
        return;
    }
    sync_finish(s, s->timed_out ? -ETIMEDOUT : 0,
                s->timed_out ? "the command did not end in time" : "");
}

static void sync_started(_unused_ struct exec *x, int code, const char *message,
                         _unused_ int tty_fd, void *arg)
{
    struct sync *s = arg;
    if (code < 0) {
        s->exec = NULL;
        sync_finish(s, code, message);
    }
}

static void sync_exited(_unused_ struct exec *x, int exit_code, void *arg)
{
    struct sync *s = arg;
    s->exec = NULL;
    s->exit_code = exit_code;
    loop_timer_set(&s->timer, DRAIN_MS);
    sync_check(s);
}

static const struct exec_events sync_events = {.started = sync_started, .exited = sync_exited};

void exec_sync(struct container *c, const char *const *argv, int64_t timeout_s,
               void (*cb)(const struct exec_result *result, void *arg), void *arg)
{
    struct sync *s = mem_zalloc(sizeof(*s));
    *s = (struct sync){.loop = c->rt->loop, .cb = cb, .arg = arg};
    s->out[0].fd = s->out[1].fd = -1;
    loop_timer_init(&s->timer, s->loop, "exec timeout", on_timer, s);
    struct error err = ERROR_INIT;
    int fds[3] = {-1, -1, -1};
    int r = 0;
    for (size_t i = 0; i < 2 && r == 0; i++) {
        int p[2];
        if (pipe2(p, O_CLOEXEC) < 0) {
            r = error_errno(&err, -errno, "pipe");
            break;
        }
        (void)fcntl(p[0], F_SETFL, O_NONBLOCK);
        s->out[i].fd = p[0];
        fds[i + 1] = p[1];
        (void)loop_io_init(&s->out[i].io, s->loop, "exec output", p[0], EV_READ, on_output, s);
    }
    if (r == 0)
        r = exec_start(c, argv, false, fds, &sync_events, s, &s->exec, &err);
    closep(&fds[1]);
    closep(&fds[2]);
    if (r < 0) {
        sync_finish(s, r, error_text(&err));
        return;
    }
    if (timeout_s > 0)
        loop_timer_set(&s->timer, (uint64_t)(timeout_s < 1000000 ? timeout_s : 1000000) * 1000);
}
