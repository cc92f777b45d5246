/*
 * `coracle check`, and what `up` looks at first: privileges, kernel features, cgroup controllers,
 * programs, ports. Each check is one function in a table; none changes anything.
 */
#include "cli/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "base/cgroup.h"
#include "base/daemon.h"
#include "base/fs.h"
#include "base/strbuf.h"
#include "cli/command.h"

#define DNS_PORT 53

struct checks {
    const struct node_config *config;
    check_report *report;
    void *arg;
    int failures;
};

static void say(struct checks *c, enum check_result result, const char *what, const char *finding,
                const char *remedy)
{
    c->failures += result == CHECK_FAIL;
    c->report(result, what, finding, remedy, c->arg);
}

static void check_root(struct checks *c)
{
    if (geteuid() == 0)
        say(c, CHECK_OK, "privileges", "root", NULL);
    else
        say(c, CHECK_FAIL, "privileges", "not root", "run it with sudo");
}

static void check_kernel(struct checks *c)
{
    struct utsname u;
    int major = 0, minor = 0;
    (void)uname(&u);
    if (sscanf(u.release, "%d.%d", &major, &minor) == 2 && // NOLINT(cert-err34-c)
        (major > 5 || (major == 5 && minor >= 10)))
        say(c, CHECK_OK, "kernel", u.release, NULL);
    else
        say(c, CHECK_FAIL, "kernel", u.release, "Linux 5.10 or newer is needed");
}

static void check_namespaces(struct checks *c)
{
    static const char *const names[] = {"net", "mnt", "pid", "ipc", "uts", "user"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *path = str_printf("/proc/self/ns/%s", names[i]);
        _cleanup_free_ char *what = str_printf("%s namespaces", names[i]);
        if (fs_exists(path))
            continue;
        if (str_eq(names[i], "user"))
            say(c, CHECK_WARN, what, "not in this kernel",
                "pods with hostUsers: false will fail (CONFIG_USER_NS)");
        else
            say(c, CHECK_FAIL, what, "not in this kernel", "a kernel with CONFIG_NAMESPACES=y");
    }
    say(c, CHECK_OK, "namespaces", "looked at", NULL);
}

static bool filesystem_known(const char *name)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_free_ char *line = str_printf("\t%s\n", name);
    return fs_read("/proc/filesystems", 65536, &text, NULL) == 0 &&
           strstr(strbuf_text(&text), line);
}

/* A module may load on demand: only modprobe's own list can tell. */
static bool module_available(const char *name)
{
    struct utsname u;
    (void)uname(&u);
    _cleanup_free_ char *path = str_printf("/lib/modules/%s/modules.dep", u.release);
    _cleanup_free_ char *needle = str_printf("/%s.ko", name);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    return fs_read(path, 16 << 20, &text, NULL) == 0 && strstr(strbuf_text(&text), needle);
}

static void check_overlay(struct checks *c)
{
    if (filesystem_known("overlay") || module_available("overlay"))
        say(c, CHECK_OK, "overlayfs", "there", NULL);
    else
        say(c, CHECK_FAIL, "overlayfs", "not in this kernel",
            "a kernel with CONFIG_OVERLAY_FS, or `modprobe overlay`");
}

static void check_seccomp(struct checks *c)
{
    if (fs_exists("/proc/sys/kernel/seccomp"))
        say(c, CHECK_OK, "seccomp", "there", NULL);
    else
        say(c, CHECK_FAIL, "seccomp", "not in this kernel",
            "a kernel with CONFIG_SECCOMP_FILTER=y");
}

static void check_bridge_netfilter(struct checks *c)
{
    if (fs_exists("/proc/sys/net/bridge/bridge-nf-call-iptables") ||
        module_available("br_netfilter"))
        say(c, CHECK_OK, "br_netfilter", "there", NULL);
    else
        say(c, CHECK_WARN, "br_netfilter", "not in this kernel",
            "a pod cannot reach itself or its neighbours through a Service "
            "(CONFIG_BRIDGE_NETFILTER)");
}

/* The line of a Raspberry Pi, whose firmware switches the memory controller off. */
static const char *memory_remedy(void)
{
    if (fs_exists("/boot/firmware/cmdline.txt"))
        return "append to the line in /boot/firmware/cmdline.txt and reboot: "
               "cgroup_enable=memory cgroup_memory=1";
    if (fs_exists("/boot/cmdline.txt"))
        return "append to the line in /boot/cmdline.txt and reboot: "
               "cgroup_enable=memory cgroup_memory=1";
    return "boot with cgroup_enable=memory (on a Raspberry Pi append \"cgroup_enable=memory "
           "cgroup_memory=1\" to the line in cmdline.txt)";
}

static void check_cgroups(struct checks *c)
{
    struct error err = ERROR_INIT;
    _cleanup_(cgroups_freep) struct cgroups *cgs = NULL;
    if (cgroups_open(NULL, &cgs, &err) < 0) {
        say(c, CHECK_FAIL, "cgroups", err.text, "mount them: mount -t cgroup2 none /sys/fs/cgroup");
        return;
    }
    static const char *const modes[] = {"v1", "v1 (hybrid)", "v2"};
    say(c, CHECK_OK, "cgroups", modes[cgroups_mode(cgs)], NULL);
    static const enum cgroup_controller wanted[] = {CGROUP_MEMORY, CGROUP_CPU, CGROUP_PIDS,
                                                    CGROUP_CPUSET};
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        const char *reason = NULL;
        _cleanup_free_ char *what = str_printf("%s controller", cgroup_controller_name(wanted[i]));
        if (cgroups_has(cgs, wanted[i], &reason))
            say(c, CHECK_OK, what, "there", NULL);
        else if (wanted[i] == CGROUP_MEMORY)
            say(c, CHECK_FAIL, what, reason ? reason : "missing", memory_remedy());
        else
            say(c, CHECK_WARN, what, reason ? reason : "missing",
                "limits of this kind do not hold");
    }
}

static bool in_path(const char *program)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t len = strcspn(path, ":");
        _cleanup_free_ char *full = str_printf("%.*s/%s", (int)len, path, program);
        if (access(full, X_OK) == 0)
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}

static void check_programs(struct checks *c)
{
    static const struct {
        const char *program, *package;
    } needed[] = {{"iptables-restore", "iptables"}, {"etcd", "etcd-server"}};
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
        if (str_eq(needed[i].program, "etcd") && c->config->etcd_servers)
            continue;
        _cleanup_free_ char *remedy = str_printf("apt-get install %s", needed[i].package);
        if (in_path(needed[i].program))
            say(c, CHECK_OK, needed[i].program, "there", NULL);
        else
            say(c, CHECK_FAIL, needed[i].program, "not in PATH", remedy);
    }
}

/* Without the parser nobody can load the runtime's profile: pods go without one. */
static void check_apparmor(struct checks *c)
{
    _cleanup_strbuf_ struct strbuf enabled = STRBUF_INIT;
    if (fs_read("/sys/module/apparmor/parameters/enabled", 16, &enabled, NULL) < 0 ||
        strbuf_text(&enabled)[0] != 'Y')
        return;
    if (in_path("apparmor_parser"))
        say(c, CHECK_OK, "AppArmor", "there", NULL);
    else
        say(c, CHECK_WARN, "AppArmor", "apparmor_parser is not in PATH",
            "apt-get install apparmor; without it containers run without a profile, and pods that "
            "ask for RuntimeDefault fail");
}

/* Pods share nothing with / unless it propagates mounts; volumes with propagation need it. */
static void check_disk(struct checks *c)
{
    struct statvfs v;
    _cleanup_free_ char *path = node_path(c->config, "/var/lib");
    if (statvfs(path, &v) < 0 && statvfs("/", &v) < 0)
        return;
    double free_mb = (double)v.f_bavail * (double)v.f_frsize / 1e6;
    _cleanup_free_ char *finding = str_printf("%.0f MB free", free_mb);
    if (free_mb >= 500)
        say(c, CHECK_OK, "disk", finding, NULL);
    else
        say(c, CHECK_WARN, "disk", finding, "images and volumes need room");
}

/* Whether one could listen there; also at an address that is still to come. */
static bool port_is_free(int type, const char *address, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    _cleanup_close_ int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    (void)inet_pton(AF_INET, address, &to.sin_addr);
    (void)setsockopt(fd, SOL_IP, IP_FREEBIND, &one, sizeof(one));
    if (type == SOCK_STREAM)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    return bind(fd, (const struct sockaddr *)&to, sizeof(to)) == 0;
}

static void say_port(struct checks *c, int port, bool is_free, const char *remedy)
{
    _cleanup_free_ char *what = str_printf("port %d", port);
    int code = errno;
    if (is_free)
        say(c, CHECK_OK, what, "free", NULL);
    else
        say(c, CHECK_FAIL, what, code == EADDRINUSE ? "in use" : strerror(code), remedy);
}

static void check_port(struct checks *c, const char *address, int port, const char *flag)
{
    _cleanup_free_ char *remedy = str_printf(
        "stop what listens there (ss -ltnp 'sport = :%d'), or choose another with %s", port, flag);
    say_port(c, port, port_is_free(SOCK_STREAM, address, port), remedy);
}

static void check_dns_port(struct checks *c)
{
    const char *ip = c->config->dns_ip;
    _cleanup_free_ char *remedy = str_printf(
        "what listens on every address (ss -lnp 'sport = :%d') takes %s too: have it listen on its "
        "own addresses only, or go without the cluster's DNS: --dns=off",
        DNS_PORT, ip);
    say_port(c, DNS_PORT,
             port_is_free(SOCK_DGRAM, ip, DNS_PORT) && port_is_free(SOCK_STREAM, ip, DNS_PORT),
             remedy);
}

int check_machine(const struct node_config *config, bool ports, check_report *report, void *arg)
{
    static void (*const checks[])(struct checks *) = {
        check_root,    check_kernel,   check_namespaces,
        check_overlay, check_seccomp,  check_bridge_netfilter,
        check_cgroups, check_programs, check_apparmor,
        check_disk,
    };
    struct checks c = {.config = config, .report = report, .arg = arg};
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        checks[i](&c);
    if (ports) {
        if (!config->joined)
            check_port(&c, "0.0.0.0", config->port, "--port");
        check_port(&c, "0.0.0.0", config->kubelet_port, "--kubelet-port");
        if (!config->joined && !config->etcd_servers) {
            check_port(&c, "127.0.0.1", config->etcd_port, "--etcd-port");
            check_port(&c, "127.0.0.1", config->etcd_peer_port, "--etcd-peer-port");
        }
        if (config->dns_ip && geteuid() == 0)
            check_dns_port(&c);
    }
    return c.failures;
}

static void print_finding(enum check_result result, const char *what, const char *finding,
                          const char *remedy, _unused_ void *arg)
{
    static const char *const marks[] = {"ok  ", "warn", "FAIL"};
    (void)printf("%s  %-22s %s\n", marks[result], what, finding);
    if (remedy)
        (void)printf("      %-22s → %s\n", "", remedy);
}

int command_check(int argc, char **argv)
{
    struct node_config c = NODE_CONFIG_INIT;
    struct error err = ERROR_INIT;
    const struct option_def options[] = {NODE_OPTIONS(&c), {NULL}};
    char *words[64];
    if (argc > (int)ARRAY_SIZE(words) || options_parse(options, argc, argv, false, words, &err)) {
        (void)fprintf(stderr, "coracle check: %s\n", err.code ? err.text : "takes flags only");
        return 2;
    }
    int r = node_config_complete(&c, &err);
    if (r < 0) {
        (void)fprintf(stderr, "coracle check: %s\n", err.text);
        node_config_done(&c);
        return 1;
    }
    _cleanup_free_ char *state = node_state_dir(&c);
    bool running = supervisor_running(state) > 0;
    int failures = check_machine(&c, !running, print_finding, NULL);
    if (running)
        (void)puts("      a cluster is running here: its ports were not looked at");
    node_config_done(&c);
    return failures ? 1 : 0;
}
