/* What the machine is and has. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "kubelet/node/node.h"

#define PODS_MAX 110

int64_t node_meminfo(const char *name)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (fs_read("/proc/meminfo", 65536, &text, NULL) < 0)
        return 0;
    size_t len = strlen(name);
    for (const char *line = strbuf_text(&text); *line; line += *line == '\n') {
        if (str_starts(line, name) && line[len] == ':')
            return strtoll(line + len + 1, NULL, 10) * 1024;
        line += strcspn(line, "\n");
    }
    return 0;
}

void node_read_capacity(struct kubelet *k, int64_t max_pods)
{
    struct statvfs fs;
    struct node_capacity *c = &k->capacity;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    *c = (struct node_capacity){.cpu_milli = (cpus > 0 ? cpus : 1) * 1000,
                                .memory = node_meminfo("MemTotal"),
                                .pods = max_pods ? max_pods : PODS_MAX};
    if (!statvfs(k->pods_dir, &fs))
        c->ephemeral = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
}

static void put_quantity(json_t *o, const char *key, int64_t value, const char *suffix)
{
    char text[40];
    (void)snprintf(text, sizeof(text), "%" PRId64 "%s", value, suffix);
    (void)json_object_set_new(o, key, json_string(text));
}

json_t *node_resources(const struct node_capacity *c)
{
    json_t *o = json_object();
    if (c->cpu_milli % 1000)
        put_quantity(o, "cpu", c->cpu_milli, "m");
    else
        put_quantity(o, "cpu", c->cpu_milli / 1000, "");
    put_quantity(o, "memory", c->memory / 1024, "Ki");
    put_quantity(o, "ephemeral-storage", c->ephemeral / 1024, "Ki");
    put_quantity(o, "pods", c->pods, "");
    return o;
}

const char *node_architecture(void)
{
    static const struct {
        const char *machine, *name;
    } table[] = {{"x86_64", "amd64"},    {"aarch64", "arm64"}, {"armv7l", "arm"},
                 {"armv6l", "arm"},      {"i686", "386"},      {"i386", "386"},
                 {"ppc64le", "ppc64le"}, {"s390x", "s390x"},   {"riscv64", "riscv64"}};
    struct utsname u;
    if (uname(&u) < 0)
        return "unknown";
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (str_eq(table[i].machine, u.machine))
            return table[i].name;
    return "unknown";
}

/* The first line of a file, "" when it cannot be read. */
static void put_line(json_t *o, const char *key, const char *path)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    (void)fs_read(path, 4096, &text, NULL);
    _cleanup_free_ char *line = str_ndup(strbuf_text(&text), strcspn(strbuf_text(&text), "\n"));
    (void)json_object_set_new(o, key, json_text(line));
}

static void put_os(json_t *o)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    (void)fs_read("/etc/os-release", 16384, &text, NULL);
    const char *p = strstr(strbuf_text(&text), "PRETTY_NAME=");
    _cleanup_free_ char *name = NULL;
    if (p) {
        p += strlen("PRETTY_NAME=");
        p += *p == '"';
        name = str_ndup(p, strcspn(p, "\"\n"));
    }
    (void)json_object_set_new(o, "osImage", json_text(name ? name : "Linux"));
}

json_t *node_info(const char *runtime_version)
{
    struct utsname u;
    json_t *o = json_object();
    put_line(o, "machineID", "/etc/machine-id");
    put_line(o, "systemUUID", "/sys/class/dmi/id/product_uuid");
    put_line(o, "bootID", "/proc/sys/kernel/random/boot_id");
    put_os(o);
    (void)json_object_set_new(o, "kernelVersion", json_string(uname(&u) < 0 ? "" : u.release));
    (void)json_object_set_new(o, "containerRuntimeVersion", json_text(runtime_version));
    (void)json_object_set_new(o, "kubeletVersion", json_string(CORACLE_VERSION));
    (void)json_object_set_new(o, "kubeProxyVersion", json_string(""));
    (void)json_object_set_new(o, "operatingSystem", json_string("linux"));
    (void)json_object_set_new(o, "architecture", json_string(node_architecture()));
    return o;
}

/* Connecting a datagram socket sends nothing; it makes the kernel choose the route and with it the
 * source address. 192.0.2.0/24 is never anybody's (RFC 5737). */
char *node_default_address(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)}, from;
    socklen_t len = sizeof(from);
    char text[INET_ADDRSTRLEN];
    to.sin_addr.s_addr = htonl(0xc0000201U);
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ||
        getsockname(fd, (struct sockaddr *)&from, &len) < 0 ||
        !inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text)))
        return NULL;
    return str_dup(text);
}
