/* Volume sets: which operations a volume has, when it is ready, what containers mount of it. */
#include "kubelet/volume/volume.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/strbuf.h"

/* Which operations a volume has, by the source that is set. */
#define KIND(member, ops)                            \
    {                                                \
        offsetof(struct volume_spec, member), &(ops) \
    }
static const struct {
    size_t offset; /* of a pointer */
    const struct volume_ops *ops;
} kinds[] = {
    KIND(unsupported, volume_unsupported),
    KIND(host_path, volume_host_path),
    KIND(config_map, volume_config_map),
    KIND(secret, volume_secret),
    KIND(downward, volume_downward),
    KIND(projected, volume_projected),
    KIND(nfs, volume_nfs),
    KIND(claim, volume_claim),
    KIND(image, volume_image),
    KIND(empty_dir, volume_empty_dir),
};

static const struct volume_ops *ops_of(const struct volume_spec *v)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const void *source;
        memcpy(&source, (const char *)v + kinds[i].offset, sizeof(source));
        if (source)
            return kinds[i].ops;
    }
    return &volume_unsupported;
}

struct volume_set *volume_set_new(struct kubelet *k, struct pod *pod, void (*changed)(void *arg),
                                  void *arg)
{
    struct volume_set *s = mem_zalloc(sizeof(*s));
    s->k = k;
    s->pod = pod_ref(pod);
    s->dir = kubelet_pod_dir(k, pod->meta.uid);
    s->changed = changed;
    s->arg = arg;
    s->count = pod->spec.volumes.count;
    s->volumes = mem_zalloc((s->count + 1) * sizeof(*s->volumes));
    for (size_t i = 0; i < s->count; i++) {
        struct volume *v = &s->volumes[i];
        v->set = s;
        v->spec = &pod->spec.volumes.items[i];
        v->ops = ops_of(v->spec);
        if (v->ops->plugin)
            v->path = str_printf("%s/volumes/%s/%s", s->dir, v->ops->plugin, v->spec->name);
        if (v->ops->open)
            v->ops->open(v);
    }
    return s;
}

struct volume_set *volume_set_free(struct volume_set *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->count; i++) {
        if (s->volumes[i].ops->close)
            s->volumes[i].ops->close(&s->volumes[i]);
        free(s->volumes[i].path);
    }
    free(s->volumes);
    free(s->dir);
    pod_unref(s->pod);
    free(s);
    return NULL;
}

/* Labels, annotations and resources may change, volumes never do. */
bool volume_set_update(struct volume_set *s, struct pod *pod)
{
    bool stale = false;
    if (pod->spec.volumes.count != s->count)
        return false;
    struct pod *old = s->pod;
    s->pod = pod_ref(pod);
    for (size_t i = 0; i < s->count; i++) {
        struct volume *v = &s->volumes[i];
        v->spec = &pod->spec.volumes.items[i];
        if (v->ops == &volume_downward || v->ops == &volume_projected)
            stale = v->stale = true;
    }
    pod_unref(old);
    return stale;
}

void volume_changed(struct volume *v)
{
    v->stale = true;
    v->set->changed(v->set->arg);
}

int volume_set_setup(struct volume_set *s, struct error *err)
{
    int result = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct volume *v = &s->volumes[i];
        struct error why = ERROR_INIT;
        if (v->ready && !v->stale)
            continue;
        int code = v->ops->setup(v, &why);
        if (!code) {
            v->ready = true;
            v->stale = false;
        }
        if (code < 0 && result >= 0)
            result = error_set(err, code, "MountVolume.SetUp failed for volume \"%s\" : %s",
                               v->spec->name, error_text(&why));
        else if (code > 0 && !result)
            result = code;
    }
    return result;
}

bool volume_set_ready(const struct volume_set *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (!s->volumes[i].ready)
            return false;
    return true;
}

static int mount_subpath(struct volume_set *s, const struct volume *v,
                         const struct container_spec *c, size_t n, const char *sub, char **ret,
                         struct error *err)
{
    char *target = str_printf("%s/volume-subpaths/%s/%s/%zu", s->dir, v->spec->name, c->name, n);
    int code = subpath_bind(v->path, sub, target, err);
    if (code < 0)
        free(target);
    else
        *ret = target;
    return code < 0
               ? error_prefix(err, code, "subPath \"%.100s\" of volume \"%s\"", sub, v->spec->name)
               : 0;
}

static const struct volume *find_volume(const struct volume_set *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (str_eq(s->volumes[i].spec->name, name))
            return &s->volumes[i];
    return NULL;
}

static int recursive_read_only(const struct volume_set *s, const struct volume_mount *m,
                               const char *handler, bool *ret, struct error *err)
{
    const struct runtime_handler *h = kubelet_handler(s->k, handler);
    bool supported = h && h->recursive_read_only, must = str_eq(m->recursive_read_only, "Enabled");
    *ret = false;
    if (!must && !str_eq(m->recursive_read_only, "IfPossible"))
        return 0;
    if (!m->read_only)
        return error_set(err, -EINVAL,
                         "volume \"%.63s\" requested recursive read-only mode, but it is not "
                         "read-only",
                         m->name);
    if (m->propagation && *m->propagation && !str_eq(m->propagation, "None"))
        return error_set(err, -EINVAL,
                         "volume \"%.63s\" requested recursive read-only mode, but it is not "
                         "compatible with propagation \"%.20s\"",
                         m->name, m->propagation);
    if (must && !supported)
        return error_set(err, -ENOTSUP,
                         "volume \"%.63s\" requested recursive read-only mode, but it is not "
                         "supported by the runtime",
                         m->name);
    *ret = supported;
    return 0;
}

/* Mount number @n of the container; @sub NULL: the whole volume. */
static int add_mount(struct volume_set *s, const struct volume *v, const struct container_spec *c,
                     size_t n, const char *sub, bool recursive, struct mount_list *out,
                     struct error *err)
{
    const struct volume_mount *m = &c->volume_mounts.items[n];
    _cleanup_free_ char *source = NULL;
    int code = sub && v->path ? mount_subpath(s, v, c, n, sub, &source, err) : 0;
    if (code < 0)
        return code;
    _cleanup_free_ char *where =
        m->mount_path[0] == '/' ? str_dup(m->mount_path) : str_printf("/%s", m->mount_path);
    struct container_mount *added =
        mount_list_add(out, source ? source : v->path, where, m->read_only || v->read_only);
    added->propagation = str_dup(m->propagation);
    added->recursive_read_only = recursive;
    if (!v->path) {
        added->image = str_dup(v->spec->image->reference);
        added->image_sub_path = str_dup(sub);
    }
    return 0;
}

int volume_set_mounts(struct volume_set *s, const struct container_spec *c, const char *handler,
                      const struct env_list *env, struct mount_list *out, struct error *err)
{
    for (size_t i = 0; i < c->volume_mounts.count; i++) {
        const struct volume_mount *m = &c->volume_mounts.items[i];
        const struct volume *v = find_volume(s, m->name);
        if (!v || !v->ready)
            return error_set(err, -ENOENT, "volume \"%.63s\" is not mounted", m->name);
        _cleanup_free_ char *expanded =
            m->sub_path_expr && *m->sub_path_expr ? env_expand(m->sub_path_expr, env) : NULL;
        const char *sub = expanded ? expanded : m->sub_path;
        if (expanded && (strstr(expanded, "$(") || !path_is_below(expanded)))
            return error_set(err, -EINVAL, "subPathExpr of \"%.63s\" expands to an unusable path",
                             m->name);
        bool rro;
        int code = recursive_read_only(s, m, handler, &rro, err);
        if (!code)
            code = add_mount(s, v, c, i, sub && *sub ? sub : NULL, rro, out, err);
        if (code < 0)
            return code;
    }
    return 0;
}

static int setup_unsupported(struct volume *v, struct error *err)
{
    return error_set(err, -ENOTSUP, "volumes of kind \"%s\" are not supported by this kubelet",
                     v->spec->unsupported);
}
const struct volume_ops volume_unsupported = {.setup = setup_unsupported};

/* The image is pulled by each container that mounts it, as its own image is. */
static int setup_image(struct volume *v, struct error *err)
{
    if (!v->spec->image->reference || !*v->spec->image->reference)
        return error_set(err, -EINVAL, "image.reference is missing");
    v->read_only = true;
    return 0;
}
const struct volume_ops volume_image = {.setup = setup_image};
