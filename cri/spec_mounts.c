/* The mounts of a launch specification: volumes, images, the pod's files; see spec.h. */
#include "cri/spec.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/strbuf.h"

static int path_depth(const char *path)
{
    int n = 0;
    for (const char *p = path; *p; p++)
        n += *p != '/' && (p == path || p[-1] == '/');
    return n;
}

/* A mount of what the host has. */
static int add_bind(const Runtime__V1__Mount *m, const struct spec_pod *pod, const char *field,
                    struct launch_mount *out, struct error *err)
{
    int r = userns_check_mount(m, &pod->userns, field, &out->idmapped, err);
    if (r < 0)
        return r;
    if (m->recursive_read_only &&
        (!m->readonly || m->propagation != RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE))
        return error_set_field(err, -EINVAL, field,
                               "%s.recursive_read_only: needs readonly and private propagation",
                               field);
    struct stat st;
    if (m->host_path[0] != '/')
        return error_set_field(err, -EINVAL, field, "%s.host_path: \"%s\" is not absolute", field,
                               m->host_path);
    if (stat(m->host_path, &st) < 0)
        return error_set_field(err, -errno, field, "%s.host_path: %s: %s", field, m->host_path,
                               strerror(errno));
    static const enum launch_propagation propagation[] = {LAUNCH_PRIVATE, LAUNCH_SLAVE,
                                                          LAUNCH_SHARED};
    if ((unsigned)m->propagation >= ARRAY_SIZE(propagation))
        return error_set_field(err, -EINVAL, field, "%s.propagation: no such mode", field);
    out->source = m->host_path;
    out->propagation = propagation[m->propagation];
    out->readonly = m->readonly;
    out->recursive_readonly = m->recursive_read_only;
    return 0;
}

static bool leaves_its_root(const char *path)
{
    for (const char *p = path; *p; p += strcspn(p, "/"), p += strspn(p, "/"))
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || !p[2]))
            return true;
    return path[0] == '/';
}

/* A mount of an image. The kubelet looks for the first word in errors about these. */
static int add_image(const Runtime__V1__Mount *m, const char *const *layers, const char *field,
                     struct launch_mount *out, struct error *err)
{
    const char *problem = m->host_path[0] ? ".host_path: must be empty for an image"
                          : !m->readonly  ? ".readonly: must be true for an image"
                          : leaves_its_root(m->image_sub_path)
                              ? ".image_sub_path: must be relative and stay in the image"
                              : NULL;
    if (problem)
        return error_set_field(err, -EINVAL, field, SPEC_IMAGE_VOLUME_FAILED "%s%s", field,
                               problem);
    out->layers = layers;
    out->sub_path = m->image_sub_path[0] ? m->image_sub_path : NULL;
    out->readonly = true;
    return 0;
}

static int add_mount(struct arena *a, const Runtime__V1__Mount *m, size_t i,
                     const struct spec_pod *pod, const struct spec_root *root,
                     struct launch_mount *out, struct error *err)
{
    _cleanup_free_ char *field = str_printf("mounts[%zu]", i);
    const char *const *layers = root->volumes ? root->volumes[i] : NULL;
    if (!m->container_path[0])
        return error_set_field(err, -EINVAL, field, "%s.container_path: missing", field);
    *out = (struct launch_mount){.target = m->container_path[0] == '/'
                                               ? m->container_path
                                               : arena_printf(a, "/%s", m->container_path)};
    return layers ? add_image(m, layers, field, out, err) : add_bind(m, pod, field, out, err);
}

/* "/etc//hosts/" names the same as "/etc/hosts". */
static bool same_path(const char *a, const char *b)
{
    while (*a && *b) {
        while (*a == '/' && (a[1] == '/' || !a[1]))
            a++;
        while (*b == '/' && (b[1] == '/' || !b[1]))
            b++;
        if (*a != *b)
            return false;
        if (*a) {
            a++;
            b++;
        }
    }
    a += strspn(a, "/");
    b += strspn(b, "/");
    return !*a && !*b;
}

static void add_file(struct launch_mount *list, size_t *n, const char *source, const char *target,
                     bool readonly)
{
    if (!source)
        return;
    for (size_t i = 0; i < *n; i++)
        if (same_path(list[i].target, target))
            return;
    list[(*n)++] = (struct launch_mount){.source = source, .target = target, .readonly = readonly};
}

static int by_depth(const void *x, const void *y)
{
    const struct launch_mount *a = x;
    const struct launch_mount *b = y;
    return path_depth(a->target) - path_depth(b->target);
}

int spec_mounts(struct arena *a, const Runtime__V1__ContainerConfig *config,
                const struct spec_pod *pod, const struct spec_root *root, struct launch_spec *spec,
                struct error *err)
{
    if (config->n_mounts + 3 > LAUNCH_MOUNTS_MAX)
        return error_set_field(err, -EINVAL, "mounts", "mounts: more than %d", LAUNCH_MOUNTS_MAX);
    struct launch_mount *list = arena_array(a, config->n_mounts + 3, sizeof(*list));
    size_t n = 0;
    for (size_t i = 0; i < config->n_mounts; i++) {
        int r = add_mount(a, config->mounts[i], i, pod, root, &list[n], err);
        if (r < 0)
            return r;
        if (same_path(list[n].target, "/dev/shm"))
            spec->shm_path = NULL;
        n++;
    }
    bool readonly = spec->rootfs_readonly;
    add_file(list, &n, pod->hosts_file, "/etc/hosts", readonly);
    add_file(list, &n, pod->hostname_file, "/etc/hostname", readonly);
    add_file(list, &n, pod->resolv_conf, "/etc/resolv.conf", readonly);
    /* glibc's qsort() is a stable merge sort for lists of this size: equal depths keep their order
     * as the configuration has it. */
    qsort(list, n, sizeof(*list), by_depth);
    spec->mounts = list;
    spec->n_mounts = n;
    return 0;
}
