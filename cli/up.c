/*
 * `coracle up`: from nothing to a served request. Checks the machine, starts `coracle server` in
 * the background, waits until the node is Ready, imports images, applies manifests, and asks the
 * first Service for an answer. Every step that takes over a second says what it is doing. A second
 * run finds the cluster and goes on from there.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/strbuf.h"
#include "cli/agent.h"
#include "cli/apply.h"
#include "cli/background.h"
#include "cli/check.h"
#include "cli/command.h"
#include "cli/down.h"
#include "cli/node.h"
#include "cli/runtime.h"
#include "net/http_client.h"

#define ANSWER_MS   60000
#define RETRY_MS    20
#define PATIENCE_MS 1000 /* then say what is being waited for */

struct up {
    struct node_config *config;
    struct option_list manifests, images;
    struct session session;
    bool was_running;
};

/* ---- images, manifests, the answer ---- */

static void on_imported(_unused_ const char *name, _unused_ const char *id, _unused_ void *arg)
{
}

static int import_images(struct up *up, struct error *err)
{
    if (!up->images.count)
        return 0;
    struct runtime runtime;
    int r = runtime_open(&runtime, up->config->root, err);
    for (size_t i = 0; i < up->images.count && r == 0; i++)
        r = runtime_import(&runtime, up->images.items[i], NULL, on_imported, NULL, err);
    runtime_close(&runtime);
    return r;
}

struct apply_state {
    struct error first;
};

static void on_applied(_unused_ const char *title, _unused_ const char *what, _unused_ void *arg)
{
}

static void on_apply_failed(const struct error *err, void *arg)
{
    struct apply_state *a = arg;
    if (!a->first.code)
        a->first = *err;
}

/* The URL of the first Service with a cluster IP among what was applied; NULL when there is none.
 */
static char *service_url(struct up *up, const struct manifests *m)
{
    for (size_t i = 0; i < m->count; i++) {
        if (!str_eq(m->items[i].resource->kind, "Service"))
            continue;
        _cleanup_free_ char *path = manifest_path(&m->items[i], up->session.ns, true);
        _cleanup_json_ json_t *service = NULL;
        if (session_call(&up->session, "GET", path, NULL, NULL, NULL, &service, NULL) < 0)
            continue;
        const char *ip = json_path_string(service, "spec.clusterIP");
        const json_t *port = json_array_get(json_path(service, "spec.ports"), 0);
        if (ip && !str_eq(ip, "None"))
            return str_printf("http://%s:%d/", ip, (int)json_path_int(port, "port", 80));
    }
    return NULL;
}

struct answer {
    struct loop *loop;
    char *text;
    struct error error;
};

static void on_answer(const struct http_response *response, const struct error *err, void *arg)
{
    struct answer *a = arg;
    if (!response)
        a->error = *err;
    else if (response->status != 200)
        (void)error_set(&a->error, -EIO, "status %d", response->status);
    else
        a->text = str_ndup(response->body, response->body_len);
    loop_stop(a->loop, 0);
}

/* Asks until there is an answer: endpoints become ready one after the other. */
static int ask(const char *url, char **ret, struct error *err)
{
    _cleanup_(loop_freep) struct loop *loop = loop_new();
    struct http_client *http = http_client_new(loop);
    uint64_t began = now_ms(), told = began;
    int r = -ETIMEDOUT;
    for (;;) {
        struct answer a = {.loop = loop};
        struct http_request request = {
            .url = url, .connect_timeout_ms = 200, .timeout_ms = 3000, .fresh = true};
        if (http_client_call(http, &request, 65536, on_answer, &a, NULL, &a.error) == 0)
            (void)loop_run(loop);
        uint64_t now = now_ms();
        if (a.text) {
            *ret = a.text;
            r = 0;
            break;
        }
        if (now - began > ANSWER_MS) {
            (void)error_set(err, r, "no answer from %s: %s", url, error_text(&a.error));
            break;
        }
        if (now - told > PATIENCE_MS) {
            (void)printf("waiting for an answer from %s: %s\n", url, error_text(&a.error));
            (void)fflush(stdout);
            told = now + 2000;
        }
        (void)poll(NULL, 0, RETRY_MS);
    }
    http_client_free(http);
    return r;
}

static int apply_and_ask(struct up *up, struct error *err)
{
    _cleanup_(schema_registry_freep) struct schema_registry *registry = schema_registry_new();
    struct manifests m = {.items = NULL};
    struct apply_state state = {.first = ERROR_INIT};
    int r = manifests_load(registry, &up->manifests, &m, err);
    if (r < 0)
        return r;
    if (apply_manifests(&up->session, &m, on_applied, on_apply_failed, &state)) {
        manifests_done(&m);
        return error_set(err, state.first.code, "%s", state.first.text);
    }
    _cleanup_free_ char *url = service_url(up, &m);
    manifests_done(&m);
    _cleanup_free_ char *answer = NULL;
    if (!url)
        return 0;
    if ((r = ask(url, &answer, err)) < 0)
        return r;
    (void)printf("%s answers:\n\n  %s%s\n", url, answer, str_ends(answer, "\n") ? "" : "\n");
    return 0;
}

/* ---- the command ---- */

static void print_trouble(enum check_result result, const char *what, const char *finding,
                          const char *remedy, _unused_ void *arg)
{
    if (result == CHECK_FAIL)
        (void)fprintf(stderr, "coracle up: %s: %s\n  → %s\n", what, finding, remedy);
}

static int run(struct up *up, int argc, char **argv, struct error *err)
{
    _cleanup_free_ char *state = node_state_dir(up->config);
    _cleanup_free_ char *kubeconfig = node_kubeconfig(up->config);
    if (agent_exists(up->config))
        return error_set(err, -EEXIST,
                         "this machine is a node of another cluster: `coracle reset` first");
    up->was_running = supervisor_running(state) > 0;
    int r = 0;
    if (!up->was_running) {
        /* Daemons may have outlived their supervisor: then the ports are theirs. */
        _cleanup_free_ char *record = fs_join(state, "apiserver.json");
        if (check_machine(up->config, !fs_exists(record), print_trouble, NULL))
            return error_set(err, -ENOTSUP, "this machine is not ready; nothing was changed");
        bool ran = false;
        r = node_start(up->config, "server", argc, argv, err);
        if (r < 0) /* nothing half made stays */
            (void)node_down(up->config, &ran, NULL);
    }
    if (r == 0)
        r = session_open(&up->session, kubeconfig, NULL, NULL, err);
    if (r == 0)
        r = node_wait_ready(&up->session, up->config->node_name, err);
    if (r < 0)
        return r;
    (void)printf(up->was_running ? "The cluster is running already: node %s is Ready.\n"
                                 : "Node %s is Ready.\n",
                 up->config->node_name);
    if ((r = import_images(up, err)) < 0)
        return error_prefix(err, r, "importing images");
    if (up->manifests.count && (r = apply_and_ask(up, err)) < 0)
        return r;
    (void)printf("kubeconfig: %s\n\nTry next:\n"
                 "  export KUBECONFIG=%s\n"
                 "  kubectl get pods -o wide\n"
                 "  coracle logs -f deployment/hello\n\n"
                 "Another machine joins with the line that this prints:\n"
                 "  coracle token create --print-join-command\n",
                 kubeconfig, kubeconfig);
    return 0;
}

/* The flags for `server`: ours without --apply and --image. NULL-terminated, borrowed. */
static int server_flags(int argc, char **argv, char **out)
{
    int n = 0;
    for (int i = 1; i < argc; i++) {
        bool ours = str_starts(argv[i], "--apply") || str_starts(argv[i], "--image");
        if (!ours)
            out[n++] = argv[i];
        else if (!strchr(argv[i], '='))
            i++;
    }
    return n;
}

int command_up(int argc, char **argv)
{
    struct node_config c = NODE_CONFIG_INIT;
    struct up up = {.config = &c};
    struct error err = ERROR_INIT;
    bool help = false;
    const struct option_def options[] = {
        NODE_OPTIONS(&c),
        {"apply", 0, OPTION_LIST, &up.manifests, "FILE",
         "manifests to apply once the node is Ready"},
        {"image", 0, OPTION_LIST, &up.images, "FILE", "image archives to import before that"},
        {"help", 'h', OPTION_BOOL, &help, NULL, "show this"},
        {NULL}};
    char *words[128];
    if (argc > (int)ARRAY_SIZE(words) || options_parse(options, argc, argv, false, words, &err)) {
        (void)fprintf(stderr, "coracle up: %s\n", err.code ? err.text : "takes flags only");
        return 2;
    }
    if (help) {
        (void)puts("usage: coracle up [flags]\n\nStarts a single-node cluster on this machine.\n");
        options_help(options, stdout);
        return 0;
    }
    daemon_init("coracle", c.verbosity);
    char *flags[128];
    int n = server_flags(argc, argv, flags);
    int r = geteuid() == 0 ? node_config_complete(&c, &err)
                           : error_set(&err, -EPERM, "must be run as root (sudo)");
    if (r == 0)
        r = run(&up, n, flags, &err);
    if (r < 0)
        (void)fprintf(stderr, "coracle up: %s\n", error_text(&err));
    session_close(&up.session);
    option_list_done(&up.manifests);
    option_list_done(&up.images);
    node_config_done(&c);
    return r < 0;
}
