/* Real etcd processes for tests (etcd-members.h). */
#include "lib/etcd-members.h"

#include "lib/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/process.h"

static const char *work_dir(void)
{
    const char *dir = getenv("T");
    return dir ? dir : "/tmp";
}

static void spawn(struct members *c, int i)
{
    _cleanup_strbuf_ struct strbuf cluster = STRBUF_INIT;
    for (int j = 0; j < c->n; j++)
        strbuf_addf(&cluster, "%sm%d=%s", j ? "," : "", j, c->m[j].peer);
    char name[8];
    (void)snprintf(name, sizeof(name), "m%d", i);
    const char *argv[40] = {"etcd",
                            "--name",
                            name,
                            "--data-dir",
                            c->m[i].dir,
                            "--listen-client-urls",
                            c->m[i].url,
                            "--advertise-client-urls",
                            c->m[i].url,
                            "--listen-peer-urls",
                            c->m[i].peer,
                            "--initial-advertise-peer-urls",
                            c->m[i].peer,
                            "--initial-cluster",
                            strbuf_text(&cluster),
                            "--heartbeat-interval",
                            "50",
                            "--election-timeout",
                            "500",
                            "--auth-token-ttl",
                            "300",
                            "--unsafe-no-fsync"}; /* members are killed, power stays */
    size_t n = 0;
    while (argv[n])
        n++;
    for (size_t j = 0; c->extra && c->extra[j] && n < ARRAY_SIZE(argv) - 1; j++)
        argv[n++] = c->extra[j];
    _cleanup_free_ char *log_path = str_printf("%s.log", c->m[i].dir);
    _cleanup_close_ int log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(log_fd >= 0);
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    spec.stdout_fd = log_fd;
    spec.stderr_fd = log_fd;
    struct error err = ERROR_INIT;
    if (process_spawn(&spec, &c->m[i].pid, &err) < 0)
        fail_msg("%s", error_text(&err));
}

void members_start(struct members *c, int n, const char *const *extra)
{
    static int runs;
    runs++;
    c->n = n;
    c->extra = extra;
    for (int i = 0; i < n; i++) {
        (void)snprintf(c->m[i].url, sizeof(c->m[i].url), "%s://127.0.0.1:%d",
                       c->scheme ? c->scheme : "http", 2379 + 10 * i);
        (void)snprintf(c->m[i].peer, sizeof(c->m[i].peer), "http://127.0.0.1:%d", 2380 + 10 * i);
        (void)snprintf(c->m[i].dir, sizeof(c->m[i].dir), "%s/etcd%d.%d", work_dir(), runs, i);
    }
    for (int i = 0; i < n; i++)
        spawn(c, i);
}

void members_start_tls(struct members *c, const char *ca_file, const char *cert_file,
                       const char *key_file)
{
    const char *args[] = {"--cert-file",        cert_file,           "--key-file", key_file,
                          "--client-cert-auth", "--trusted-ca-file", ca_file};
    memcpy(c->tls_args, args, sizeof(args));
    c->scheme = "https";
    members_start(c, 1, c->tls_args);
}

void members_stop(struct members *c, int i)
{
    members_signal(c, i, SIGTERM);
    assert_int_equal(waitpid(c->m[i].pid, NULL, 0), c->m[i].pid);
    c->m[i].pid = 0;
}

void members_signal(struct members *c, int i, int signo)
{
    if (c->m[i].pid > 0)
        assert_int_equal(kill(c->m[i].pid, signo), 0);
}

void members_kill(struct members *c, int i)
{
    if (c->m[i].pid <= 0)
        return;
    members_signal(c, i, SIGKILL);
    assert_int_equal(waitpid(c->m[i].pid, NULL, 0), c->m[i].pid);
    c->m[i].pid = 0;
}

void members_restart(struct members *c, int i)
{
    spawn(c, i);
}

int members_index(const struct members *c, const char *url)
{
    for (int i = 0; i < c->n; i++)
        if (str_eq(c->m[i].url, url))
            return i;
    fail_msg("no member has the URL %s", url);
    return -1;
}

void members_ctl(const struct members *c, ...)
{
    const char *argv[20] = {"etcdctl", "--endpoints", c->m[0].url};
    size_t n = 3;
    va_list args;
    va_start(args, c);
    const char *a;
    while ((a = va_arg(args, const char *)) && n < ARRAY_SIZE(argv) - 1)
        argv[n++] = a;
    va_end(args);
    assert_int_equal(setenv("ETCDCTL_API", "3", 1), 0);
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    struct error err = ERROR_INIT;
    int r = process_call(argv, &out, &err);
    if (r != 0)
        fail_msg("etcdctl %s %s: %d %s %s", argv[3], argv[4], r, error_text(&err),
                 strbuf_text(&out));
}

int members_count(const struct members *c, const char *args, const char *regex)
{
    _cleanup_free_ char *command = str_printf(
        "ETCDCTL_API=3 etcdctl --endpoints %s %s | grep -oE '%s' | head -n 1 | tr -dc 0-9",
        c->m[0].url, args, regex);
    const char *argv[] = {"sh", "-c", command, NULL};
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    struct error err = ERROR_INIT;
    if (process_call(argv, &out, &err) != 0 || out.len == 0)
        fail_msg("%s: %s", command, error_text(&err));
    return (int)strtol(strbuf_text(&out), NULL, 10);
}

void members_end(struct members *c)
{
    for (int i = 0; i < c->n; i++) {
        members_kill(c, i);
        (void)fs_remove_tree(c->m[i].dir, NULL);
    }
    c->n = 0;
}
