/*
 * The proxy without an API server: objects come as lines of JSON on standard input.
 *
 *   proxy-drive [--variant NAME] [--journal DIR] [--config JSON] [--cleanup] [--node NAME]
 *
 *   {"kind":"Service",…}         an object is new or has changed (Service, EndpointSlice, Node)
 *   {"delete":{"kind":…}}        it is gone
 *   sync                         waits until everything is programmed: "synced MILLISECONDS"
 *   describe NAMESPACE/NAME      prints what is known of a service
 *   memory                       prints PSS and the CPU time used so far, its children's too, in kB
 * and ms error lines go to standard error; the end of input ends the program
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "kube/client.h"
#include "proxy/modes.h"
#include "proxy/proxy.h"
#include "proxy/sysctls.h"

struct drive {
    struct loop *loop;
    struct proxy *proxy;
    struct loop_io in;
    struct loop_timer look;
    struct strbuf input;
    uint64_t since; /* of a sync under way; 0: none */
    bool ended;
    const char *error;
};

static uint64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void object(struct drive *d, const json_t *j, bool gone)
{
    const char *kind = json_path_string(j, "kind");
    _cleanup_free_ char *key = kube_key(j);
    if (str_eq(kind, "Service"))
        proxy_service(d->proxy, key, gone ? NULL : j);
    else if (str_eq(kind, "EndpointSlice"))
        proxy_slice(d->proxy, key, gone ? NULL : j);
    else if (str_eq(kind, "Node"))
        proxy_node(d->proxy, gone ? NULL : j);
    else
        (void)fprintf(stderr, "proxy-drive: kind %s?\n", kind ? kind : "");
}

static void print_memory(void)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    struct rusage u, c;
    (void)getrusage(RUSAGE_SELF, &u);
    (void)getrusage(RUSAGE_CHILDREN, &c); /* iptables-restore */
    (void)fs_read("/proc/self/smaps_rollup", 65536, &text, NULL);
    const char *pss = strstr(strbuf_text(&text), "Pss:");
    (void)printf(
        "memory %ld %ld\n", pss ? strtol(pss + 4, NULL, 10) : 0,
        (u.ru_utime.tv_sec + u.ru_stime.tv_sec + c.ru_utime.tv_sec + c.ru_stime.tv_sec) * 1000 +
            (u.ru_utime.tv_usec + u.ru_stime.tv_usec + c.ru_utime.tv_usec + c.ru_stime.tv_usec) /
                1000);
}

static void line(struct drive *d, const char *text, size_t len)
{
    struct error err = ERROR_INIT;
    if (str_eq(text, "sync")) {
        d->since = now_us();
        proxy_start(d->proxy);
    } else if (str_eq(text, "memory")) {
        print_memory();
    } else if (str_starts(text, "describe ")) {
        _cleanup_json_ json_t *j = proxy_describe(d->proxy, text + strlen("describe "));
        _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
        json_encode(j ? j : json_null(), &out);
        (void)puts(strbuf_text(&out));
    } else if (*text) {
        _cleanup_json_ json_t *j = json_parse(text, len, &err);
        const json_t *gone = json_object_get(j, "delete");
        if (!j)
            (void)fprintf(stderr, "proxy-drive: %s\n", err.text);
        else
            object(d, gone ? gone : j, gone != NULL);
    }
}

/* Lines up to one that has to be waited for. */
static void work(struct drive *d)
{
    size_t used = 0;
    while (!d->since) {
        char *begin = d->input.data + used;
        char *nl = d->input.len > used ? memchr(begin, '\n', d->input.len - used) : NULL;
        if (!nl)
            break;
        *nl = '\0';
        line(d, begin, (size_t)(nl - begin));
        used += (size_t)(nl - begin) + 1;
    }
    strbuf_consume(&d->input, used);
    (void)fflush(stdout);
    if (d->since)
        loop_timer_set(&d->look, 0);
    else if (d->ended)
        loop_stop(d->loop, 0);
}

static void on_look(void *arg)
{
    struct drive *d = arg;
    if (!d->since)
        return;
    if (!proxy_is_settled(d->proxy)) {
        loop_timer_set(&d->look, 1);
        return;
    }
    (void)printf("synced %.2f\n", (double)(now_us() - d->since) / 1000);
    d->since = 0;
    work(d);
}

static void on_input(int fd, _unused_ short events, void *arg)
{
    struct drive *d = arg;
    char *room = strbuf_reserve(&d->input, 1 << 20);
    ssize_t n = read(fd, room, 1 << 20);
    if (n > 0)
        d->input.len += (size_t)n;
    strbuf_terminate(&d->input);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        d->ended = true;
        loop_io_done(&d->in);
    }
    if (!d->since)
        work(d);
}

static void on_synced(void *arg, _unused_ int family, const char *error)
{
    struct drive *d = arg;
    if (error)
        (void)fprintf(stderr, "proxy-drive: %s\n", error);
    on_look(d);
}

static int run(struct config *config, const struct proxy_env *env, struct drive *d,
               struct error *err)
{
    struct daemon_signals signals;
    int r = proxy_new(&d->proxy, d->loop, config, env, err);
    if (r == 0)
        r = sysctls_apply(config, config->mode, env->journal, err);
    if (r == 0) {
        daemon_stop_on_signals(&signals, d->loop);
        loop_timer_init(&d->look, d->loop, "settled", on_look, d);
        (void)fcntl(0, F_SETFL, O_NONBLOCK);
        (void)printf("mode %s\n", config->mode);
        (void)fflush(stdout);
        struct stat st;
        if (fstat(0, &st) == 0 &&
            S_ISREG(st.st_mode)) /* always readable: not a thing to wait for */
            while (!d->ended)
                on_input(0, EV_READ, d);
        else
            r = loop_io_init(&d->in, d->loop, "stdin", 0, EV_READ, on_input, d);
        if (r == 0 && (!d->ended || d->since))
            r = loop_run(d->loop);
        loop_io_done(&d->in);
        loop_timer_done(&d->look);
        daemon_signals_done(&signals);
    }
    (void)proxy_free(d->proxy);
    return r;
}

int main(int argc, char **argv)
{
    struct drive d = {.loop = loop_new()};
    struct config config = {.mode = NULL};
    struct proxy_env env = {.node = "node1",
                            .variant = "auto",
                            .slice_api = "discovery.k8s.io/v1",
                            .synced = on_synced,
                            .arg = &d};
    struct error err = ERROR_INIT;
    const char *text = "{}";
    bool cleanup = false;
    int verbosity = 0;
    const struct option_def options[] = {
        {"variant", 0, OPTION_STRING, &env.variant, "NAME", "of iptables"},
        {"journal", 0, OPTION_STRING, &env.journal, "DIR", "of host changes"},
        {"config", 0, OPTION_STRING, &text, "JSON", "as in KubeProxyConfiguration"},
        {"node", 0, OPTION_STRING, &env.node, "NAME", "this node"},
        {"cleanup", 0, OPTION_BOOL, &cleanup, NULL, "remove everything and exit"},
        {"v", 'v', OPTION_INT, &verbosity, "N", "verbosity"},
        {NULL}};
    char *words[16];
    if (argc > 16 || options_parse(options, argc, argv, false, words, &err) != 0) {
        (void)fprintf(stderr, "proxy-drive: %s\n", err.text);
        return 2;
    }
    daemon_init("proxy-drive", verbosity);
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    int r = j ? config_from_json(j, 1, &config, &err) : -EINVAL;
    if (r == 0 && cleanup) {
        const struct backend_config c = {.family = AF_INET,
                                         .journal = env.journal,
                                         .variant = "auto",
                                         .nft_table = "kube-proxy"};
        r = mode_cleanup(&c, NULL, &err);
    } else if (r == 0) {
        r = run(&config, &env, &d, &err);
    }
    if (r < 0)
        (void)fprintf(stderr, "proxy-drive: %s\n", error_text(&err));
    config_done(&config);
    strbuf_done(&d.input);
    (void)loop_free(d.loop);
    return r < 0;
}
