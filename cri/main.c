/* coracle-cri: the container runtime of a Kubernetes node. Flags and wiring. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "cri/cleanup.h"
#include "cri/runtime.h"

#define LOG_MAX_BYTES_MIN 65536
#define LOG_MAX_FILES_MAX 1000

struct program {
    struct loop *loop;
    struct daemon_signals signals;
    struct runtime *rt;
};

static void on_ready(void *arg, int code, const struct error *err)
{
    struct program *p = arg;
    if (code < 0) {
        log_error("cannot serve", "error", error_text(err), NULL);
        loop_stop(p->loop, 1);
        return;
    }
    log_info("serving", "version", CORACLE_VERSION, NULL);
    daemon_notify("READY=1");
}

/* The programs that are run (iptables) are in the system directories, whatever our PATH. */
static void complete_path(void)
{
    const char *path = getenv("PATH");
    if (path && strstr(path, "/usr/sbin"))
        return;
    char *complete =
        str_printf("%s%s/usr/sbin:/usr/bin:/sbin:/bin", path ? path : "", path && *path ? ":" : "");
    (void)setenv("PATH", complete, 1);
    free(complete);
}

static int run(const struct runtime_options *opts)
{
    struct program p = {.loop = loop_new()};
    struct error err = ERROR_INIT;
    daemon_stop_on_signals(&p.signals, p.loop);
    int code = 1;
    if (runtime_start(p.loop, opts, on_ready, &p, &p.rt, &err) < 0)
        log_error("cannot start", "error", error_text(&err), NULL);
    else
        code = loop_run(p.loop);
    (void)runtime_free(p.rt);
    daemon_signals_done(&p.signals);
    (void)loop_free(p.loop);
    return code;
}

static int clean_up(const struct runtime_options *opts)
{
    struct error err = ERROR_INIT;
    if (runtime_cleanup(opts, &err) == 0)
        return 0;
    log_error("cannot clean up", "error", error_text(&err), NULL);
    return 1;
}

int main(int argc, char **argv)
{
    struct runtime_options opts = {.root = "",
                                   .network = "builtin",
                                   .bridge = "coracle0",
                                   .cgroup_driver = "cgroupfs",
                                   .cgroup_root = "/",
                                   .log_max_files = 4,
                                   .docker_config = "/root/.docker/config.json"};
    int verbosity = 0;
    bool help = false, cleanup = false;
    const struct option_def defs[] = {
        {"root", 0, OPTION_STRING, &opts.root, "DIR", "prefix of every path"},
        {"listen", 0, OPTION_STRING, &opts.listen, "unix:///PATH",
         "socket to serve (DIR/run/coracle/cri.sock)"},
        {"network", 0, OPTION_STRING, &opts.network, "NAME",
         "where the pods' network comes from: builtin or cni (builtin)"},
        {"await-flannel", 0, OPTION_BOOL, &opts.await_flannel, NULL,
         "pods wait for flannel's subnet.env: the kubelet is not heard on their addresses"},
        {"pod-cidr", 0, OPTION_STRING, &opts.pod_cidr, "CIDR[,CIDR]",
         "addresses of this node's pods, IPv4, IPv6 or both (told by flannel's subnet.env or the "
         "kubelet otherwise)"},
        {"cluster-cidr", 0, OPTION_STRING, &opts.cluster_cidr, "CIDR[,…]",
         "addresses of all pods: not masqueraded (the pod CIDR)"},
        {"bridge", 0, OPTION_STRING, &opts.bridge, "NAME", "bridge of the pods (coracle0)"},
        {"cni-conf-dir", 0, OPTION_STRING, &opts.cni_conf_dir, "DIR",
         "configurations of --network cni (/etc/cni/net.d below the root)"},
        {"cni-bin-dir", 0, OPTION_STRING, &opts.cni_bin_path, "DIR[:DIR…]",
         "its plugins (/opt/cni/bin:/usr/lib/cni)"},
        {"cni-timeout", 0, OPTION_INT, &opts.cni_timeout_s, "SECONDS",
         "time a plugin has before it is killed (60)"},
        {"cgroup-driver", 0, OPTION_STRING, &opts.cgroup_driver, "NAME",
         "cgroupfs or systemd: the kubelet's (cgroupfs)"},
        {"systemd-socket", 0, OPTION_STRING, &opts.systemd_socket, "PATH",
         "where systemd is asked for scopes (/run/systemd/private)"},
        {"cgroup-root", 0, OPTION_STRING, &opts.cgroup_root, "PATH",
         "cgroup below which shims, and pods that name none, live (/)"},
        {"insecure-registry", 0, OPTION_LIST, &opts.insecure, "HOST:PORT",
         "registry to speak plain HTTP to"},
        {"container-log-max-bytes", 0, OPTION_INT, &opts.log_max_bytes, "N",
         "rotate a container's log before it grows beyond (0: leave that to the kubelet)"},
        {"container-log-max-files", 0, OPTION_INT, &opts.log_max_files, "N",
         "rotated logs to keep of a container (4)"},
        {"docker-config", 0, OPTION_STRING, &opts.docker_config, "FILE",
         "credentials of registries, as docker keeps them (/root/.docker/config.json); \"\": none"},
        {"libexec", 0, OPTION_STRING, &opts.libexec, "DIR",
         "directory of coracle-shim and its companions (beside this program)"},
        {"cleanup", 0, OPTION_BOOL, &cleanup, NULL, "remove everything from the host and exit"},
        {"v", 0, OPTION_INT, &verbosity, "N", "log level, as upstream's"},
        {"help", 'h', OPTION_BOOL, &help, NULL, "show this text"},
        {NULL}};
    struct error err = ERROR_INIT;
    char **words = mem_zalloc((size_t)argc * sizeof(*words));
    int n = options_parse(defs, argc, argv, false, words, &err);
    if (n == 0 && ((opts.log_max_bytes && opts.log_max_bytes < LOG_MAX_BYTES_MIN) ||
                   opts.log_max_files < 1 || opts.log_max_files > LOG_MAX_FILES_MAX))
        n = error_set(
            &err, -EINVAL,
            "--container-log-max-bytes: at least %d or 0; --container-log-max-files: 1 to "
            "%d",
            LOG_MAX_BYTES_MIN, LOG_MAX_FILES_MAX);
    if (n > 0)
        n = error_set(&err, -EINVAL, "unexpected argument \"%s\"", words[0]);
    free(words);
    if (n < 0) {
        (void)fprintf(stderr, "coracle-cri: %s\n", error_text(&err));
        option_list_done(&opts.insecure);
        return 2;
    }
    if (help) {
        (void)printf("coracle-cri: the container runtime of a Kubernetes node (CRI v1)\n\n");
        options_help(defs, stdout);
        option_list_done(&opts.insecure);
        return 0;
    }
    daemon_init("coracle-cri", verbosity);
    complete_path();
    int code = cleanup ? clean_up(&opts) : run(&opts);
    option_list_done(&opts.insecure);
    return code;
}
