/*
 * `coracle reset`: makes the machine what it was. Stops everything, lets each component remove what
 * it put into the host (its --cleanup), restores the sysctls of the journal, and removes the
 * files. Works from any half-done state; a second run finds nothing to do.
 */
#include <errno.h>
#include <string.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/journal.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "cli/agent.h"
#include "cli/command.h"
#include "cli/down.h"
#include "cli/node.h"

/* Everything that is ours alone, removed last. The order is that of dependence: journals go after
 * what they describe. */
static const char *const directories[] = {
    "/var/lib/kubelet", "/var/log/pods",    "/var/log/containers", "/var/log/coracle",
    "/run/coracle",     "/var/lib/coracle", "/etc/coracle",
};

struct reset {
    const struct node_config *config;
    bool dry_run;
    int failed;
};

static void complain(struct reset *r, const struct error *err)
{
    (void)fprintf(stderr, "coracle reset: %s\n", error_text(err));
    r->failed = 1;
}

static void cleanup_component(struct reset *r, const char *name, const char *const *extra)
{
    const struct node_config *c = r->config;
    _cleanup_free_ char *libexec = node_libexec();
    _cleanup_free_ char *program = str_printf("%s/coracle-%s", libexec, name);
    _cleanup_free_ char *root = str_printf("--root=%s", c->root);
    const char *argv[10] = {program, "--cleanup", root};
    size_t n = 3;
    for (; extra && *extra && n + 1 < ARRAY_SIZE(argv); extra++)
        argv[n++] = *extra;
    if (r->dry_run) {
        (void)printf("would run %s --cleanup\n", program);
        return;
    }
    struct error err = ERROR_INIT;
    int status = process_call(argv, NULL, &err);
    if (status > 0)
        (void)error_set(&err, -EIO, "coracle-%s --cleanup: exit status %d", name, status);
    if (status)
        complain(r, &err);
}

static void report_sysctl(const char *key, const char *old, void *arg)
{
    const struct reset *r = arg;
    (void)printf("%s sysctl %s = %s\n", r->dry_run ? "would restore" : "restored", key, old);
}

/* The cluster is told that this node is gone, so that another of its name may join at once; with
 * the server out of reach it finds out by itself. */
static void say_goodbye(struct reset *r)
{
    const struct node_config *c = r->config;
    struct node_config node = *c;
    _cleanup_(agent_file_freep) struct agent_file *file = NULL;
    _cleanup_free_ char *kubeconfig = node_path(c, "/etc/coracle/kubelet.kubeconfig");
    struct session s = {.loop = NULL};
    struct error err = ERROR_INIT;
    char now[TIME_TEXT_MAX];
    if (r->dry_run || !agent_exists(c) || !fs_exists(kubeconfig) ||
        agent_load(&node, &file, NULL) < 0)
        return;
    _cleanup_json_ json_t *patch = json_pack(
        "{s{s[{ss ss ss ss ss}]}}", "status", "conditions", "type", "Ready", "status", "False",
        "reason", "NodeReset", "message", "coracle reset took this machine out of the cluster",
        "lastTransitionTime", time_format(time_now(), now));
    _cleanup_free_ char *path = kube_path("v1", NULL, "nodes", node.node_name, "status");
    int code = session_open(&s, kubeconfig, NULL, NULL, &err);
    if (code == 0)
        code = session_call(&s, "PATCH", path, NULL, KUBE_PATCH_STRATEGIC, patch, NULL, &err);
    if (code < 0)
        (void)printf("The cluster could not be told (%s): `kubectl delete node %s` removes what it "
                     "knows of this machine.\n",
                     error_text(&err), node.node_name);
    session_close(&s);
    free(node.server_url);
    free(node.dns_ip);
}

static void restore_journal(struct reset *r)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ char *dir = node_path(r->config, "/var/lib/coracle/journal");
    if (journal_restore(dir, r->dry_run, report_sysctl, r, &err) < 0)
        complain(r, &err);
}

static void remove_directories(struct reset *r)
{
    for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
        struct error err = ERROR_INIT;
        _cleanup_free_ char *path = node_path(r->config, directories[i]);
        if (!fs_exists(path))
            continue;
        if (r->dry_run)
            (void)printf("would remove %s\n", path);
        else if (fs_remove_tree(path, &err) < 0)
            complain(r, &err);
    }
}

static int run(struct reset *r)
{
    struct error err = ERROR_INIT;
    bool was_up = false;
    if (!r->dry_run && node_down(r->config, &was_up, &err) < 0)
        complain(r, &err); /* what cannot be stopped in order is killed by --cleanup */
    say_goodbye(r);
    _cleanup_free_ char *bridge = str_printf("--bridge=%s", r->config->bridge);
    _cleanup_free_ char *cgroup =
        r->config->cgroup_root ? str_printf("--cgroup-root=%s", r->config->cgroup_root) : NULL;
    const char *const kubelet[] = {cgroup, NULL};
    const char *const cri[] = {bridge, cgroup, NULL};
    cleanup_component(r, "dns", NULL);
    cleanup_component(r, "flannel", NULL);
    cleanup_component(r, "proxy", NULL);
    cleanup_component(r, "cri", cri);
    cleanup_component(r, "kubelet", kubelet);
    restore_journal(r);
    if (!r->failed)
        remove_directories(r);
    return r->failed;
}

int command_reset(int argc, char **argv)
{
    struct node_config c = NODE_CONFIG_INIT;
    struct reset r = {.config = &c};
    struct error err = ERROR_INIT;
    bool yes = false;
    const struct option_def options[] = {
        {"root", 0, OPTION_STRING, &c.root, "DIR", "prefix of every path"},
        {"cgroup-root", 0, OPTION_STRING, &c.cgroup_root, "PATH", "as given to up"},
        {"bridge", 0, OPTION_STRING, &c.bridge, "NAME", "as given to up"},
        {"dry-run", 0, OPTION_BOOL, &r.dry_run, NULL, "say what would be done"},
        {"yes", 'y', OPTION_BOOL, &yes, NULL, "do not ask"},
        {NULL}};
    char *words[16];
    if (argc > (int)ARRAY_SIZE(words) || options_parse(options, argc, argv, false, words, &err)) {
        (void)fprintf(stderr, "coracle reset: %s\n", err.code ? err.text : "takes flags only");
        return 2;
    }
    daemon_init("coracle", 0);
    if (geteuid() != 0) {
        (void)fputs("coracle reset: must be run as root\n", stderr);
        return 1;
    }
    if (!yes && !r.dry_run) {
        char answer[16] = "";
        (void)printf("This stops the cluster on this machine and removes its state, volumes and "
                     "images.\nGo on? [y/N] ");
        (void)fflush(stdout);
        if (!fgets(answer, sizeof(answer), stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
            return 1;
    }
    int status = run(&r);
    if (status == 0 && !r.dry_run)
        (void)puts("The machine is as it was.");
    else if (status)
        (void)fputs("coracle reset: some things are still there; files were kept, so that another "
                    "run can finish\n",
                    stderr);
    return status;
}
