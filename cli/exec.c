/*
 * `coracle exec POD [-c CONTAINER] [-i] [-t] -- COMMAND…`: a command in a container over SPDY/3.1.
 * With -t our terminal is raw for as long and its size follows. The exit status is the command's.
 */
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/daemon.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/session.h"
#include "cli/target.h"
#include "net/http.h"
#include "net/remote.h"

struct exec {
    struct session session;
    struct cluster_flags flags;
    const char *container;
    bool want_stdin, tty;
    struct remote_client *remote;
    struct stream *in, *to_in, *out, *err_out;
    struct loop_signal winch;
    struct termios saved;
    bool raw;
    int exit_code;
    struct error error;
};

/* ---- the terminal ---- */

static void terminal_raw(struct exec *e)
{
    if (!e->tty || tcgetattr(STDIN_FILENO, &e->saved) < 0)
        return;
    struct termios raw = e->saved;
    cfmakeraw(&raw);
    e->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static void terminal_restore(struct exec *e)
{
    if (e->raw)
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &e->saved);
    e->raw = false;
}

static void on_winch(_unused_ int signo, void *arg)
{
    struct exec *e = arg;
    struct winsize size;
    if (e->remote && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        remote_client_resize(e->remote, size.ws_col, size.ws_row);
}

/* ---- copying ---- */

static void write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

static size_t on_stdout(_unused_ struct stream *s, const void *data, size_t len, _unused_ void *arg)
{
    write_all(STDOUT_FILENO, data, len);
    return len;
}

static size_t on_stderr(_unused_ struct stream *s, const void *data, size_t len, _unused_ void *arg)
{
    write_all(STDERR_FILENO, data, len);
    return len;
}

static size_t on_stdin(_unused_ struct stream *s, const void *data, size_t len, void *arg)
{
    struct exec *e = arg;
    if (!e->to_in || stream_congested(e->to_in))
        return 0;
    stream_write(e->to_in, data, len);
    return len;
}

static void on_stdin_end(_unused_ struct stream *s, void *arg)
{
    struct exec *e = arg;
    if (e->to_in)
        stream_end(e->to_in);
}

static void on_room(_unused_ struct stream *s, void *arg)
{
    struct exec *e = arg;
    if (e->in)
        stream_resume(e->in);
}

static const struct stream_handler out_handler = {.on_data = on_stdout};
static const struct stream_handler err_handler = {.on_data = on_stderr};
static const struct stream_handler in_handler = {.on_data = on_stdin, .on_eof = on_stdin_end};
static const struct stream_handler to_in_handler = {.on_drain = on_room};

static void on_ready(struct remote_client *r, void *arg)
{
    struct exec *e = arg;
    e->out = remote_client_take(r, REMOTE_STDOUT);
    e->err_out = remote_client_take(r, REMOTE_STDERR);
    if (e->out)
        stream_set_handler(e->out, &out_handler, e);
    if (e->err_out)
        stream_set_handler(e->err_out, &err_handler, e);
    terminal_raw(e);
    on_winch(SIGWINCH, e);
    if (e->want_stdin) {
        e->to_in = remote_client_take(r, REMOTE_STDIN);
        e->in = stream_new_fd(e->session.loop, dup(STDIN_FILENO));
        stream_set_handler(e->to_in, &to_in_handler, e);
        stream_set_handler(e->in, &in_handler, e);
    }
}

static void on_exit_status(_unused_ struct remote_client *r, int exit_code, const struct error *err,
                           void *arg)
{
    struct exec *e = arg;
    e->exit_code = exit_code;
    if (err)
        e->error = *err;
    loop_stop(e->session.loop, 0);
}

/* ---- the command ---- */

static char *make_url(const struct exec *e, const char *pod, int n, char **command)
{
    struct strbuf url = STRBUF_INIT;
    _cleanup_free_ char *path = kube_path("v1", e->session.ns, "pods", pod, "exec");
    strbuf_addf(&url, "%s%s?", e->session.config.server, path);
    for (int i = 0; i < n; i++)
        http_query_add(&url, "command", command[i]);
    if (e->container)
        http_query_add(&url, "container", e->container);
    http_query_add(&url, "stdin", e->want_stdin ? "true" : "false");
    http_query_add(&url, "stdout", "true");
    http_query_add(&url, "stderr", e->tty ? "false" : "true");
    http_query_add(&url, "tty", e->tty ? "true" : "false");
    return strbuf_take(&url);
}

static int run(struct exec *e, char *word, int n, char **command, struct error *err)
{
    static const struct remote_client_handler handler = {.on_ready = on_ready,
                                                         .on_exit = on_exit_status};
    _cleanup_(schema_registry_freep) struct schema_registry *registry = schema_registry_new();
    _cleanup_free_ char *pod = NULL;
    int r = session_open_flags(&e->session, &e->flags, err);
    if (r == 0)
        r = target_find_pod(&e->session, registry, word, &pod, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *url = make_url(e, pod, n, command);
    const struct upgrade_request request = {.url = url,
                                            .tls = kube_client_tls(e->session.client),
                                            .bearer_token = e->session.config.token};
    const struct remote_options options = {
        .want_stdin = e->want_stdin, .want_stdout = true, .want_stderr = !e->tty, .tty = e->tty};
    loop_signal_init(&e->winch, e->session.loop, SIGWINCH, on_winch, e);
    r = remote_client_start(e->session.loop, &request, &options, &handler, e, &e->remote, err);
    if (r == 0)
        (void)loop_run(e->session.loop);
    terminal_restore(e);
    loop_signal_done(&e->winch);
    stream_free(e->in);
    stream_free(e->to_in);
    stream_free(e->out);
    stream_free(e->err_out);
    remote_client_free(e->remote);
    return r == 0 && e->error.code ? error_set(err, e->error.code, "%s", e->error.text) : r;
}

int command_exec(int argc, char **argv)
{
    struct exec e = {.flags = CLUSTER_FLAGS_INIT};
    struct error err = ERROR_INIT;
    bool both = false;
    const struct option_def options[] = {
        {"container", 'c', OPTION_STRING, &e.container, "NAME", "of a pod with several"},
        {"stdin", 'i', OPTION_BOOL, &e.want_stdin, NULL, "pass standard input on"},
        {"tty", 't', OPTION_BOOL, &e.tty, NULL, "with a terminal"},
        {"it", 0, OPTION_BOOL, &both, NULL, "both (also -it)"},
        CLUSTER_OPTIONS(&e.flags),
        {NULL}};
    _cleanup_free_ char **words = mem_zalloc((size_t)argc * sizeof(*words));
    static char long_form[] = "--it";
    for (int i = 1; i < argc && !str_eq(argv[i], "--"); i++)
        if (str_eq(argv[i], "-it") || str_eq(argv[i], "-ti"))
            argv[i] = long_form;
    int n = options_parse(options, argc, argv, false, words, &err);
    if (n < 2) {
        (void)fprintf(stderr, "coracle exec: %s\n\nusage: coracle exec POD [flags] -- COMMAND...\n",
                      err.code ? err.text : "name a pod and a command");
        options_help(options, stderr);
        return 2;
    }
    e.want_stdin = e.want_stdin || both;
    e.tty = e.tty || both;
    if (e.tty && !isatty(STDIN_FILENO)) {
        (void)fputs("coracle exec: standard input is no terminal: going on without -t\n", stderr);
        e.tty = false;
    }
    int r = run(&e, words[0], n - 1, words + 1, &err);
    if (r < 0)
        (void)fprintf(stderr, "coracle exec: %s\n", error_text(&err));
    session_close(&e.session);
    return r < 0 ? 1 : e.exit_code;
}
