/* Making a sandbox; see sandbox.h. */
#include "cri/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/times.h"
#include "cri/events.h"
#include "cri/groups.h"
#include "cri/record.h"
#include "cri/spec.h"
#include "net/pbjson.h"

#define SHM_SIZE        (64U << 20)
#define RESOLV_CONF_MAX (64U << 10)

static const Runtime__V1__NamespaceOption no_options = RUNTIME__V1__NAMESPACE_OPTION__INIT;

const Runtime__V1__NamespaceOption *sandbox_namespaces(const Runtime__V1__PodSandboxConfig *config)
{
    const Runtime__V1__LinuxSandboxSecurityContext *sc =
        config->linux ? config->linux->security_context : NULL;
    return sc && sc->namespace_options ? sc->namespace_options : &no_options;
}

int sandbox_check(const Runtime__V1__PodSandboxConfig *config, struct error *err)
{
    if (!config)
        return error_set_field(err, -EINVAL, "config", "config: missing");
    const Runtime__V1__PodSandboxMetadata *m = config->metadata;
    if (!m || !m->name[0] || !m->namespace_[0] || !m->uid[0])
        return error_set_field(err, -EINVAL, "config.metadata",
                               "config.metadata: name, namespace and uid are needed");
    struct userns userns;
    return userns_parse(sandbox_namespaces(config)->userns_options,
                        "config.linux.security_context.namespace_options.userns_options", &userns,
                        err);
}

static bool plain(const char *s)
{
    return !strpbrk(s, "\n\r") && strlen(s) <= 255;
}

static int check_dns(const Runtime__V1__DNSConfig *dns, struct error *err)
{
    const char *field = "config.dns_config";
    if (!dns)
        return 0;
    for (size_t i = 0; i < dns->n_servers; i++) {
        struct ip_addr a;
        if (ip_addr_parse(dns->servers[i], &a) < 0)
            return error_set_field(err, -EINVAL, field, "%s.servers[%zu]: \"%s\" is no address",
                                   field, i, dns->servers[i]);
    }
    for (size_t i = 0; i < dns->n_searches; i++)
        if (!plain(dns->searches[i]))
            return error_set_field(err, -EINVAL, field, "%s.searches[%zu]: no domain", field, i);
    for (size_t i = 0; i < dns->n_options; i++)
        if (!plain(dns->options[i]))
            return error_set_field(err, -EINVAL, field, "%s.options[%zu]: no option", field, i);
    return 0;
}

/* Only what belongs to a namespace that is the pod's own: everything else below /proc/sys is the
 * node's, and some of it (kernel.core_pattern) runs programs there. */
static bool is_pods_sysctl(const char *key, bool own_network, bool own_ipc)
{
    static const char *const ipc[] = {
        "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
        "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
    };
    _cleanup_free_ char *dotted = str_dup(key);
    for (char *c = dotted; *c; c++)
        if (*c == '/')
            *c = '.';
    if (str_starts(dotted, "net."))
        return own_network;
    if (str_starts(dotted, "fs.mqueue."))
        return own_ipc;
    for (size_t i = 0; i < ARRAY_SIZE(ipc); i++)
        if (str_eq(dotted, ipc[i]))
            return own_ipc;
    return false;
}

static int check_parent(const struct groups *groups, const char *parent, struct error *err)
{
    struct error why = ERROR_INIT;
    int r = groups_check_parent(groups, parent, &why);
    return r < 0 ? error_set_field(err, r, "config.linux.cgroup_parent",
                                   "config.linux.cgroup_parent: %s", error_text(&why))
                 : 0;
}

static int check_linux(const struct runtime *rt, const Runtime__V1__PodSandboxConfig *config,
                       struct error *err)
{
    const Runtime__V1__LinuxPodSandboxConfig *l = config->linux;
    if (!l)
        return 0;
    int r = check_parent(rt->groups, l->cgroup_parent, err);
    if (r < 0)
        return r;
    const Runtime__V1__NamespaceOption *ns = sandbox_namespaces(config);
    bool network = ns->network != RUNTIME__V1__NAMESPACE_MODE__NODE;
    bool ipc = ns->ipc != RUNTIME__V1__NAMESPACE_MODE__NODE;
    for (size_t i = 0; i < l->n_sysctls; i++) {
        const char *key = l->sysctls[i]->key;
        if (!key[0] || strchr(key, '=') || strstr(key, "..") || !plain(key) ||
            !plain(l->sysctls[i]->value))
            return error_set_field(err, -EINVAL, "config.linux.sysctls",
                                   "config.linux.sysctls: \"%s\" is no sysctl", key);
        if (!is_pods_sysctl(key, network, ipc))
            return error_set_field(err, -EINVAL, "config.linux.sysctls",
                                   "config.linux.sysctls: \"%s\" is not of a namespace of the "
                                   "pod's own",
                                   key);
    }
    return 0;
}

/* The other namespaces have to belong to it. */
static int check_userns(const struct runtime *rt, const Runtime__V1__NamespaceOption *ns,
                        struct error *err)
{
    const char *field = "config.linux.security_context.namespace_options";
    const Runtime__V1__NamespaceMode node = RUNTIME__V1__NAMESPACE_MODE__NODE;
    struct userns userns;
    int r = userns_parse(ns->userns_options, field, &userns, err);
    if (r < 0 || !userns.own)
        return r;
    if (ns->network == node || ns->pid == node || ns->ipc == node)
        return error_set_field(err, -EINVAL, field,
                               "%s.%s: NODE is not possible with a user namespace of the pod's",
                               field,
                               ns->network == node ? "network"
                               : ns->pid == node   ? "pid"
                                                   : "ipc");
    if (rt->userns_problem)
        return error_set_field(err, -ENOTSUP, field,
                               "%s.userns_options: no user namespaces here: %s", field,
                               rt->userns_problem);
    return 0;
}

static int check(struct runtime *rt, const Runtime__V1__PodSandboxConfig *config, struct error *err)
{
    int r;
    if ((r = sandbox_check(config, err)) < 0 || (r = check_dns(config->dns_config, err)) < 0 ||
        (r = check_linux(rt, config, err)) < 0)
        return r;
    const Runtime__V1__NamespaceOption *ns = sandbox_namespaces(config);
    if (ns->pid == RUNTIME__V1__NAMESPACE_MODE__TARGET)
        return error_set_field(err, -EINVAL, "config.linux.security_context.namespace_options.pid",
                               "namespace_options.pid: TARGET is for containers");
    if ((r = check_userns(rt, ns, err)) < 0)
        return r;
    if (strlen(config->hostname) > 64 || !plain(config->hostname) || strchr(config->hostname, '/'))
        return error_set_field(err, -EINVAL, "config.hostname",
                               "config.hostname: \"%s\" is no hostname", config->hostname);
    const Runtime__V1__PodSandboxMetadata *m = config->metadata;
    MAP_FOR_EACH(e, &rt->sandboxes) {
        const struct sandbox *s = map_value(e);
        const Runtime__V1__PodSandboxMetadata *o = s->config->metadata;
        if (o->attempt == m->attempt && str_eq(o->uid, m->uid) && str_eq(o->name, m->name) &&
            str_eq(o->namespace_, m->namespace_))
            return error_set(err, -EEXIST, "sandbox %s has the same name, uid and attempt", s->id);
    }
    return 0;
}

/* ---- the files that containers see ---- */
/* The pod's own root owns them, and may write to them. */
static int write_file(const struct sandbox *s, const char *name, const struct strbuf *text,
                      struct error *err)
{
    _cleanup_free_ char *path = fs_join(s->dir, name);
    int r = fs_write_atomic(path, strbuf_text(text), text->len, 0644, FS_VOLATILE, err);
    if (r == 0 && s->userns.own && lchown(path, s->userns.uids.host, s->userns.gids.host) < 0)
        r = error_errno(err, -errno, "%s", path);
    return r;
}

static void resolv_conf(const Runtime__V1__DNSConfig *dns, struct strbuf *out)
{
    if (!dns) {
        (void)fs_read("/etc/resolv.conf", RESOLV_CONF_MAX, out, NULL);
        return;
    }
    if (dns->n_searches) {
        strbuf_adds(out, "search");
        for (size_t i = 0; i < dns->n_searches; i++)
            strbuf_addf(out, " %s", dns->searches[i]);
        strbuf_addc(out, '\n');
    }
    for (size_t i = 0; i < dns->n_servers; i++)
        strbuf_addf(out, "nameserver %s\n", dns->servers[i]);
    if (dns->n_options) {
        strbuf_adds(out, "options");
        for (size_t i = 0; i < dns->n_options; i++)
            strbuf_addf(out, " %s", dns->options[i]);
        strbuf_addc(out, '\n');
    }
}

static int write_resolv_conf(const struct sandbox *s, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    resolv_conf(s->config->dns_config, &text);
    return write_file(s, "resolv.conf", &text, err);
}

/* Known once the pod has its address. */
static int write_names(const struct sandbox *s, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    char address[IP_TEXT_MAX];
    strbuf_adds(&text, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (size_t i = 0; i < s->net.n_addrs && s->config->hostname[0]; i++)
        strbuf_addf(&text, "%s\t%s\n", ip_addr_format(&s->net.addrs[i], address),
                    s->config->hostname);
    int r = write_file(s, "hosts", &text, err);
    strbuf_truncate(&text, 0);
    if (s->config->hostname[0])
        strbuf_addf(&text, "%s\n", s->config->hostname);
    return r < 0 ? r : write_file(s, "hostname", &text, err);
}

void sandbox_spec_pod(const struct sandbox *s, struct arena *a, struct spec_pod *ret)
{
    *ret = (struct spec_pod){
        .hostname = s->config->hostname,
        .resolv_conf = arena_printf(a, "%s/resolv.conf", s->dir),
        .hostname_file =
            s->config->hostname[0] ? arena_printf(a, "%s/hostname", s->dir) : "/etc/hostname",
        .hosts_file = s->host_network ? "/etc/hosts" : arena_printf(a, "%s/hosts", s->dir),
        .shm_path = "/dev/shm",
        .host_network = s->host_network,
        .privileged = s->config->linux && s->config->linux->security_context &&
                      s->config->linux->security_context->privileged,
        .share_pid = s->share_pid,
        .userns = s->userns,
        .filters = &s->rt->filters,
        .apparmor = s->rt->apparmor,
    };
    if (!s->host_ipc) {
        _cleanup_free_ char *shm = shim_shm_path(s->dir);
        ret->shm_path = arena_dup(a, shm);
    }
}

/* ---- the steps ---- */
struct run {
    struct sandbox *s;
    sandbox_fn cb;
    void *arg;
    struct error err; /* why it is being undone */
};

static void on_undone(_unused_ int code, _unused_ const struct error *err, void *arg)
{
    struct run *run = arg;
    run->cb(NULL, run->err.code, &run->err, run->arg);
    free(run);
}

/* Takes back what was made so far, then answers with the error. */
static void fail(struct run *run, const struct error *err)
{
    run->err = *err;
    run->s->created_ns = 0; /* nobody has heard of it: no events */
    sandbox_remove(run->s, on_undone, run);
}

static void ready(struct run *run)
{
    struct sandbox *s = run->s;
    struct error err = ERROR_INIT;
    if (!s->shim) {
        (void)error_set(&err, -EIO, "the shim died while the sandbox was being made");
        fail(run, &err);
        return;
    }
    s->state = SANDBOX_READY;
    if (write_names(s, &err) < 0 || sandbox_save(s, &err) < 0) {
        fail(run, &err);
        return;
    }
    events_emit(s->rt->events, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_CREATED_EVENT, s, NULL);
    events_emit(s->rt->events, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STARTED_EVENT, s, NULL);
    run->cb(s, 0, NULL, run->arg);
    free(run);
}

static void on_attached(int code, const struct error *err, void *arg)
{
    struct run *run = arg;
    if (code < 0)
        fail(run, err);
    else
        ready(run);
}

static void on_shim_ready(struct shim *shim, int code, const char *message, void *arg)
{
    /* The shim's argument is its sandbox; the run waits there. */
    struct sandbox *s = arg;
    struct run *run = s->run;
    struct error err = ERROR_INIT;
    s->run = NULL;
    if (code < 0) {
        (void)shim;
        s->shim = NULL; /* freed by its client */
        (void)error_set(&err, code, "shim: %s", message);
        fail(run, &err);
        return;
    }
    if (s->host_network) {
        ready(run);
        return;
    }
    _cleanup_free_ char *ns = shim_ns_path(s->dir, "net");
    int r = network_attach(s->rt->network, s->id, ns, s->config, &s->net, on_attached, run, &err);
    if (r < 0)
        fail(run, &err);
}

static int start_shim(struct sandbox *s, struct error *err)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    const Runtime__V1__LinuxPodSandboxConfig *linux_config = s->config->linux;
    size_t n = linux_config ? linux_config->n_sysctls : 0;
    const char **sysctls = arena_array(&a, n + 1, sizeof(*sysctls));
    for (size_t i = 0; i < n; i++)
        sysctls[i] = arena_printf(&a, "%s=%s", linux_config->sysctls[i]->key,
                                  linux_config->sysctls[i]->value);
    _cleanup_free_ char *cgroup = groups_shims(s->rt->groups);
    struct shim_config cfg = {
        .dir = s->dir,
        .cgroup = cgroup,
        .cgs = s->rt->cgs,
        .namespaces =
            (s->host_network ? 0 : SHIM_NS_NET | SHIM_NS_UTS) | (s->host_ipc ? 0 : SHIM_NS_IPC),
        .hostname = s->host_network || !s->config->hostname[0] ? NULL : s->config->hostname,
        .sysctls = sysctls,
        .shm_size = s->host_ipc ? 0 : SHM_SIZE,
        .share_pid = s->share_pid,
        .uids = {s->userns.uids.host, s->userns.uids.length},
        .gids = {s->userns.gids.host, s->userns.gids.length},
        .libexec = s->rt->libexec,
    };
    struct shim_events events = sandbox_shim_events(s);
    return shim_start(s->rt->loop, &cfg, &events, on_shim_ready, &s->shim, err);
}

void sandbox_run(struct runtime *rt, const Runtime__V1__PodSandboxConfig *config, sandbox_fn cb,
                 void *arg)
{
    struct error err = ERROR_INIT;
    int r = check(rt, config, &err);
    if (r < 0) {
        cb(NULL, r, &err, arg);
        return;
    }
    char id[SANDBOX_ID_LEN + 1];
    random_hex(id, SANDBOX_ID_LEN);
    struct run *run = mem_zalloc(sizeof(*run));
    struct sandbox *s =
        sandbox_new(rt, id, (Runtime__V1__PodSandboxConfig *)pbjson_copy(&config->base));
    *run = (struct run){.s = s, .cb = cb, .arg = arg};
    s->run = run;
    s->created_ns = time_now_nano();
    _cleanup_free_ char *containers = fs_join(s->dir, "containers");
    if (fs_mkdirs(containers, 0700, &err) < 0 || sandbox_save(s, &err) < 0 ||
        write_resolv_conf(s, &err) < 0 ||
        (config->log_directory[0] && fs_mkdirs(config->log_directory, 0755, &err) < 0) ||
        start_shim(s, &err) < 0) {
        s->run = NULL;
        fail(run, &err);
    }
}
