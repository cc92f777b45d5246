/* `coracle logs`: a container's output, with -f as it comes. */
#include <errno.h>

#include "base/daemon.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "cli/command.h"
#include "cli/session.h"
#include "cli/target.h"
#include "net/http.h"

struct logs {
    struct session session;
    struct cluster_flags flags;
    const char *container, *since;
    int tail, limit;
    bool follow, previous, timestamps;
    struct error end;
};

static void on_data(const void *data, size_t len, _unused_ void *arg)
{
    (void)fwrite(data, 1, len, stdout);
    (void)fflush(stdout);
}

static void on_end(const struct kube_result *result, void *arg)
{
    struct logs *l = arg;
    if (result->error)
        (void)error_set(&l->end, -EIO, "%s", result->error);
    loop_stop(l->session.loop, 0);
}

static int make_path(const struct logs *l, const char *pod, struct strbuf *path, struct error *err)
{
    _cleanup_free_ char *base = kube_path("v1", l->session.ns, "pods", pod, "log");
    strbuf_addf(path, "%s?", base);
    if (l->container)
        http_query_add(path, "container", l->container);
    if (l->follow)
        http_query_add(path, "follow", "true");
    if (l->previous)
        http_query_add(path, "previous", "true");
    if (l->timestamps)
        http_query_add(path, "timestamps", "true");
    char number[16];
    if (l->tail >= 0) {
        (void)snprintf(number, sizeof(number), "%d", l->tail);
        http_query_add(path, "tailLines", number);
    }
    if (l->limit > 0) {
        (void)snprintf(number, sizeof(number), "%d", l->limit);
        http_query_add(path, "limitBytes", number);
    }
    if (l->since) {
        int64_t ms;
        if (duration_parse(l->since, &ms) < 0 || ms < 1000)
            return error_set(err, -EINVAL, "--since: \"%s\" is not a duration like 5m", l->since);
        (void)snprintf(number, sizeof(number), "%d", (int)(ms / 1000));
        http_query_add(path, "sinceSeconds", number);
    }
    return 0;
}

static int run(struct logs *l, char *word, struct error *err)
{
    static const struct kube_stream_handler handler = {.on_data = on_data, .on_end = on_end};
    _cleanup_(schema_registry_freep) struct schema_registry *registry = schema_registry_new();
    _cleanup_free_ char *pod = NULL;
    _cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
    int r = session_open_flags(&l->session, &l->flags, err);
    if (r == 0)
        r = target_find_pod(&l->session, registry, word, &pod, err);
    if (r == 0)
        r = make_path(l, pod, &path, err);
    if (r < 0)
        return r;
    (void)kube_stream_as(l->session.client, strbuf_text(&path), "*/*", &handler, l);
    (void)loop_run(l->session.loop);
    return l->end.code ? error_set(err, l->end.code, "%s", l->end.text) : 0;
}

int command_logs(int argc, char **argv)
{
    struct logs l = {.flags = CLUSTER_FLAGS_INIT, .tail = -1};
    struct error err = ERROR_INIT;
    const struct option_def options[] = {
        {"container", 'c', OPTION_STRING, &l.container, "NAME", "of a pod with several"},
        {"follow", 'f', OPTION_BOOL, &l.follow, NULL, "go on as output comes"},
        {"previous", 'p', OPTION_BOOL, &l.previous, NULL,
         "of the container before the last restart"},
        {"tail", 0, OPTION_INT, &l.tail, "N", "the last N lines"},
        {"since", 0, OPTION_STRING, &l.since, "DURATION", "what is newer, for example 5m"},
        {"limit-bytes", 0, OPTION_INT, &l.limit, "N", "at most so many bytes"},
        {"timestamps", 0, OPTION_BOOL, &l.timestamps, NULL, "with the time of each line"},
        CLUSTER_OPTIONS(&l.flags),
        {NULL}};
    _cleanup_free_ char **words = mem_zalloc((size_t)argc * sizeof(*words));
    int n = options_parse(options, argc, argv, false, words, &err);
    if (n == 2 && !l.container) {
        l.container = words[1];
        n = 1;
    }
    if (n != 1) {
        (void)fprintf(stderr, "coracle logs: %s\n\nusage: coracle logs POD [CONTAINER] [flags]\n",
                      err.code ? err.text : "name one pod");
        options_help(options, stderr);
        return 2;
    }
    int r = run(&l, words[0], &err);
    if (r < 0)
        (void)fprintf(stderr, "coracle logs: %s\n", error_text(&err));
    session_close(&l.session);
    return r < 0;
}
