/* Volumes on this machine: emptyDir and hostPath. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "kube/quantity.h"
#include "kubelet/volume/volume.h"

/* ---- emptyDir ---- */
int volume_mount_tmpfs(const char *path, const char *mode, int64_t size, struct error *err)
{
    char options[100];
    if (is_mount_point(path))
        return 0;
    int n = snprintf(options, sizeof(options), "mode=%s", mode);
    if (size > 0)
        n += snprintf(options + n, sizeof(options) - (size_t)n, ",size=%" PRId64, size);
    (void)snprintf(options + n, sizeof(options) - (size_t)n, ",noswap");
    if (mount("tmpfs", path, "tmpfs", 0, options) == 0)
        return 0;
    options[n] = 0; /* noswap came with Linux 6.4 */
    if (mount("tmpfs", path, "tmpfs", 0, options) < 0)
        return error_errno(err, -errno, "cannot mount tmpfs on %s", path);
    return 0;
}

static int64_t lower(int64_t a, int64_t b)
{
    return a <= 0 || (b > 0 && b < a) ? b : a;
}

/* The least of what the node may give, what the pod may use, and the limit. */
static int64_t memory_size(const struct volume *v)
{
    int64_t size = lower(v->set->k->allocatable.memory, pod_resources_of(v->set->pod).memory);
    return lower(size, quantity_text_value(v->spec->empty_dir->size_limit, 0));
}

static int setup_empty_dir(struct volume *v, struct error *err)
{
    const char *medium = v->spec->empty_dir->medium;
    bool memory = str_eq(medium, "Memory");
    if (medium && *medium && !memory)
        return error_set(err, -ENOTSUP, "emptyDir medium \"%.40s\" is not supported", medium);
    int code = fs_mkdirs(v->path, 0755, err);
    if (!code && memory)
        code = volume_mount_tmpfs(v->path, "0777", memory_size(v), err);
    if (code < 0)
        return code;
    const struct opt_int *gid = &v->set->pod->spec.security.fs_group;
    if (gid->set && chown(v->path, (uid_t)-1, (gid_t)gid->value) < 0)
        return error_errno(err, -errno, "cannot give %s to group %" PRId64, v->path, gid->value);
    /* The umask took bits from mkdir(); set-group-ID keeps the group for what is made inside. */
    if (chmod(v->path, gid->set ? 02777 : 0777) < 0)
        return error_errno(err, -errno, "cannot set the mode of %s", v->path);
    return 0;
}
const struct volume_ops volume_empty_dir = {.plugin = "kubernetes.io~empty-dir",
                                            .setup = setup_empty_dir};

/* ---- hostPath ---- */
static int make_file(const char *path, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0 && errno != EEXIST)
        return error_errno(err, -errno, "cannot make %s", path);
    return 0;
}

static int check_host_path(const char *path, const char *type, struct error *err)
{
    static const struct {
        const char *type, *what;
        mode_t mode;
    } kinds[] = {
        {"DirectoryOrCreate", "a directory", S_IFDIR},
        {"Directory", "a directory", S_IFDIR},
        {"FileOrCreate", "a file", S_IFREG},
        {"File", "a file", S_IFREG},
        {"Socket", "a socket", S_IFSOCK},
        {"CharDevice", "a character device", S_IFCHR},
        {"BlockDevice", "a block device", S_IFBLK},
    };
    struct stat st;
    bool there = !stat(path, &st);
    int code = 0;
    if (!type || !*type)
        return 0;
    if (!there && str_eq(type, "DirectoryOrCreate"))
        code = fs_mkdirs(path, 0755, err);
    else if (!there && str_eq(type, "FileOrCreate"))
        code = make_file(path, err);
    if (code < 0)
        return code;
    there = !stat(path, &st);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!str_eq(kinds[i].type, type))
            continue;
        if (there && (st.st_mode & S_IFMT) == kinds[i].mode)
            return 0;
        return error_set(err, there ? -ENOTDIR : -ENOENT,
                         "hostPath type check failed: %s is not %s", path, kinds[i].what);
    }
    return error_set(err, -EINVAL, "hostPath type \"%.40s\" is not known", type);
}

int volume_use_path(struct volume *v, const char *path, const char *type, struct error *err)
{
    struct stat st;
    if (!path || path[0] != '/' || strstr(path, "/../") || str_ends(path, "/.."))
        return error_set(err, -EINVAL, "path must be absolute and without '..'");
    int code = check_host_path(path, type, err);
    if (code < 0)
        return code;
    v->is_file = !stat(path, &st) && !S_ISDIR(st.st_mode);
    if (!str_eq(v->path, path)) {
        free(v->path);
        v->path = str_dup(path);
    }
    return 0;
}

static int setup_host_path(struct volume *v, struct error *err)
{
    const struct host_path_source *h = v->spec->host_path;
    return volume_use_path(v, h->path, h->type, err);
}
const struct volume_ops volume_host_path = {.setup = setup_host_path};
