/*
 * Which sysctls a pod may set. Safe are those that are namespaced and can harm no other pod; the
 * list is upstream's. Names may be written with slashes instead of dots.
 */
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/pod/pod.h"

static const char *const safe[] = {
    "kernel.shm_rmid_forced",           "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",        "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",     "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",      "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",          "net.ipv4.tcp_wmem",
};

static const struct {
    const char *prefix;
    bool ipc; /* of the IPC namespace, else of the network namespace */
} namespaced[] = {{"kernel.sem", true},
                  {"kernel.shm", true},
                  {"kernel.msg", true},
                  {"fs.mqueue.", true},
                  {"net.", false}};

/* The first separator says how the name is written (sysctl.d(5)). */
static char *dotted(const char *name)
{
    char *s = str_dup(name);
    size_t first = strcspn(s, "./");
    if (s[first] != '/')
        return s;
    for (char *p = s; *p; p++)
        *p = (char)(*p == '/' ? '.' : *p == '.' ? '/' : *p);
    return s;
}

static bool allowed(const char *name, const struct string_list *unsafe)
{
    for (size_t i = 0; i < ARRAY_SIZE(safe); i++)
        if (str_eq(safe[i], name))
            return true;
    for (size_t i = 0; i < unsafe->count; i++) {
        _cleanup_free_ char *pattern = dotted(unsafe->items[i]);
        size_t len = strlen(pattern);
        bool prefix = len && pattern[len - 1] == '*';
        if (prefix ? !strncmp(pattern, name, len - 1) : str_eq(pattern, name))
            return true;
    }
    return false;
}

static int check(const struct pod *pod, const char *name, const struct string_list *unsafe,
                 struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(namespaced); i++) {
        bool host = namespaced[i].ipc ? pod->spec.host_ipc : pod->spec.host_network;
        if (str_starts(name, namespaced[i].prefix) && host)
            return error_set(err, -EPERM,
                             "forbidden sysctl: \"%.100s\" not allowed with host %s "
                             "enabled",
                             name, namespaced[i].ipc ? "ipc" : "net");
    }
    if (!allowed(name, unsafe))
        return error_set(err, -EPERM, "forbidden sysctl: \"%.100s\" not allowlisted", name);
    return 0;
}

int pod_check_sysctls(const struct pod *pod, const struct string_list *unsafe, struct error *err)
{
    int code = 0;
    for (size_t i = 0; !code && i < pod->spec.security.sysctls.count; i++) {
        const char *raw = pod->spec.security.sysctls.items[i].name;
        _cleanup_free_ char *name = dotted(raw ? raw : "");
        code = check(pod, name, unsafe, err);
    }
    return code;
}
