/*
 * What a pod has on the host beside its volumes: directories, the managed /etc/hosts, termination
 * message files, log directories and the links to logs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/server/log_reader.h"
#include "kubelet/worker/worker.h"

/* Upstream's limits for one container: of the file, and of what is taken from the log. */
#define MESSAGE_MAX     4096
#define LOG_MESSAGE_MAX 2048
#define LOG_LINES       80
#define LOG_TAIL_MAX    65536 /* read from its end */
#define HOSTS_MAX       (1u << 20)

int worker_make_dirs(struct pod_worker *w, struct error *err)
{
    _cleanup_free_ char *dir = kubelet_pod_dir(w->k, w->pod->meta.uid);
    _cleanup_free_ char *logs = pod_log_dir(w->pod, w->k->log_root);
    int code = fs_mkdirs(dir, 0750, err);
    return code ? code : fs_mkdirs(logs, 0755, err);
}

/* ---- /etc/hosts ---- */
static void add_aliases(const struct pod *pod, struct strbuf *out)
{
    if (pod->spec.host_aliases.count)
        strbuf_adds(out, "\n# Entries added by HostAliases.\n");
    for (size_t i = 0; i < pod->spec.host_aliases.count; i++) {
        const struct host_alias *a = &pod->spec.host_aliases.items[i];
        strbuf_adds(out, a->ip ? a->ip : "");
        for (size_t n = 0; n < a->hostnames.count; n++)
            strbuf_addf(out, "\t%s", a->hostnames.items[n]);
        strbuf_addc(out, '\n');
    }
}

static void add_own(struct pod_worker *w, struct strbuf *out)
{
    _cleanup_free_ char *domain = NULL;
    _cleanup_free_ char *host = pod_hostname(w->pod, w->k->dns.domain, &domain);
    strbuf_adds(out, "# Kubernetes-managed hosts file.\n"
                     "127.0.0.1\tlocalhost\n"
                     "::1\tlocalhost ip6-localhost ip6-loopback\n"
                     "fe00::0\tip6-localnet\n"
                     "fe00::0\tip6-mcastprefix\n"
                     "fe00::1\tip6-allnodes\n"
                     "fe00::2\tip6-allrouters\n");
    _cleanup_free_ char *ips = str_dup(worker_ips(w));
    char *save = NULL;
    for (char *ip = strtok_r(ips, ",", &save); ip; ip = strtok_r(NULL, ",", &save)) {
        if (*domain)
            strbuf_addf(out, "%s\t%s.%s\t%s\n", ip, host, domain, host);
        else
            strbuf_addf(out, "%s\t%s\n", ip, host);
    }
}

int worker_write_hosts(struct pod_worker *w, struct error *err)
{
    _cleanup_free_ char *dir = kubelet_pod_dir(w->k, w->pod->meta.uid);
    _cleanup_free_ char *path = fs_join(dir, "etc-hosts");
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT, now = STRBUF_INIT;
    if (w->pod->spec.host_network) {
        strbuf_adds(&text, "# Kubernetes-managed hosts file (host network).\n");
        (void)fs_read("/etc/hosts", HOSTS_MAX, &text, NULL);
    } else {
        add_own(w, &text);
    }
    add_aliases(w->pod, &text);
    /* Containers have the file bound: it is rewritten in place, and only when it differs. */
    if (!fs_read(path, 2 * HOSTS_MAX, &now, NULL) && now.len == text.len &&
        !memcmp(now.data, text.data, text.len))
        return 0;
    _cleanup_close_ int fd =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return error_errno(err, -errno, "cannot write %s", path);
    if (write(fd, text.data, text.len) != (ssize_t)text.len || fchmod(fd, 0644) < 0)
        return error_errno(err, errno ? -errno : -EIO, "cannot write %s", path);
    return 0;
}

/* ---- per container ---- */
static bool mounts_at(const struct container_spec *c, const char *path)
{
    for (size_t i = 0; i < c->volume_mounts.count; i++)
        if (str_eq(c->volume_mounts.items[i].mount_path, path))
            return true;
    return false;
}

int slot_file_mounts(struct container_slot *s, struct mount_list *mounts, struct error *err)
{
    const struct container_spec *c = slot_spec(s);
    _cleanup_free_ char *pod_dir = kubelet_pod_dir(s->w->k, s->w->pod->meta.uid);
    _cleanup_free_ char *logs = pod_log_dir(s->w->pod, s->w->k->log_root);
    _cleanup_free_ char *own_logs = fs_join(logs, c->name);
    int code = fs_mkdirs(own_logs, 0755, err);
    if (code < 0)
        return code;
    if (!mounts_at(c, "/etc/hosts")) {
        _cleanup_free_ char *hosts = fs_join(pod_dir, "etc-hosts");
        code = worker_write_hosts(s->w, err);
        if (code < 0)
            return code;
        mount_list_add(mounts, hosts, "/etc/hosts", false);
    }
    if (mounts_at(c, c->termination_path) || c->termination_path[0] != '/')
        return 0;
    char id[9];
    random_hex(id, 8);
    _cleanup_free_ char *dir = str_printf("%s/containers/%s", pod_dir, c->name);
    _cleanup_free_ char *path = fs_join(dir, id);
    code = fs_mkdirs(dir, 0750, err);
    if (code < 0)
        return code;
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 || fchmod(fd, 0666) < 0)
        return error_errno(err, -errno, "cannot make %s", path);
    mount_list_add(mounts, path, c->termination_path, false);
    return 0;
}

/* The end of the container's log. */
static char *log_message(const struct container_slot *s, const struct container_run *r)
{
    _cleanup_free_ char *logs = pod_log_dir(s->w->pod, s->w->k->log_root);
    _cleanup_free_ char *path =
        str_printf("%s/%s/%" PRIu32 ".log", logs, slot_spec(s)->name, r->restart);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    int64_t at = fd < 0 ? -1 : log_tail_offset(fd, LOG_LINES);
    if (at < 0 || fstat(fd, &st) < 0)
        return NULL;
    at = st.st_size - at > LOG_TAIL_MAX ? st.st_size - LOG_TAIL_MAX : at;
    _cleanup_free_ char *raw = mem_zalloc(LOG_TAIL_MAX);
    ssize_t n = pread(fd, raw, LOG_TAIL_MAX, at);
    struct log_reader reader = {.options = {.tail = -1, .limit = -1}};
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (n > 0)
        (void)log_reader_feed(&reader, raw, (size_t)n, true, &text);
    if (text.len > LOG_MESSAGE_MAX)
        strbuf_consume(&text, text.len - LOG_MESSAGE_MAX);
    return text.len ? strbuf_take(&text) : NULL;
}

static char *file_message(const struct container_run *r)
{
    if (!r->message_file)
        return NULL;
    /* The container owns the content; it is a plain file that we made. */
    _cleanup_close_ int fd = open(r->message_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !st.st_size)
        return NULL;
    off_t skip = st.st_size > MESSAGE_MAX ? st.st_size - MESSAGE_MAX : 0;
    char buf[MESSAGE_MAX + 1];
    ssize_t n = pread(fd, buf, MESSAGE_MAX, skip);
    if (n <= 0)
        return NULL;
    buf[n] = 0;
    for (ssize_t i = 0; i < n; i++)
        if (!buf[i])
            buf[i] = ' ';
    return str_dup(buf);
}

char *run_termination_message(const struct container_slot *s, const struct container_run *r)
{
    char *text = file_message(r);
    return text || !r->message_from_log || !r->exit_code ? text : log_message(s, r);
}

void slot_link_log(const struct container_slot *s)
{
    const struct pod_worker *w = s->w;
    const struct pod_meta *m = &w->pod->meta;
    _cleanup_free_ char *logs = pod_log_dir(w->pod, w->k->log_root);
    _cleanup_free_ char *target =
        str_printf("%s/%s/%u.log", logs, slot_spec(s)->name, (unsigned)s->run->restart);
    _cleanup_free_ char *link = str_printf("%s/%s_%s_%s-%s.log", w->k->log_links, m->name, m->ns,
                                           slot_spec(s)->name, s->run->id);
    if (symlink(target, link) < 0 && errno != EEXIST)
        log_debug("cannot link a log", "link", link, NULL);
}

/* Links into a directory that goes. They are found by where they point: the runs that they were
 * made for may have been forgotten. */
static void unlink_logs(const struct kubelet *k, const char *logs)
{
    DIR *d = opendir(k->log_links);
    char target[PATH_MAX];
    size_t len = strlen(logs);
    for (const struct dirent *e; d && (e = readdir(d));) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);
        if (n <= (ssize_t)len || memcmp(target, logs, len) != 0 || target[len] != '/')
            continue;
        (void)unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        (void)closedir(d);
}

int kubelet_remove_logs(const struct kubelet *k, const char *dir, struct error *err)
{
    unlink_logs(k, dir);
    return fs_remove_tree(dir, err);
}

void worker_remove_files(struct pod_worker *w)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ char *logs = pod_log_dir(w->pod, w->k->log_root);
    if (kubelet_remove_logs(w->k, logs, &err) < 0)
        log_warn("logs cannot be removed", "path", logs, "error", error_text(&err), NULL);
}
