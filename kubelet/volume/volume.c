/* Volume sets: which operations a volume has, when it is ready, what containers mount of it. */
#include "kubelet/volume/volume.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/strbuf.h"

struct volume_set {
    struct pod *pod;
    char *dir;
    struct volume *volumes;
    size_t count;
};

static const struct volume_ops *ops_of(const struct volume_spec *v)
{
    return v->unsupported  ? &volume_unsupported
           : v->host_path  ? &volume_host_path
           : v->config_map ? &volume_config_map
           : v->secret     ? &volume_secret
                           : &volume_empty_dir;
}

struct volume_set *volume_set_new(struct object_cache *objects, const struct pod *pod,
                                  const char *pod_dir, void (*changed)(void *arg), void *arg)
{
    struct volume_set *s = mem_zalloc(sizeof(*s));
    s->pod = pod_ref((struct pod *)(uintptr_t)pod);
    s->dir = str_dup(pod_dir);
    s->count = pod->spec.volumes.count;
    s->volumes = mem_zalloc((s->count + 1) * sizeof(*s->volumes));
    for (size_t i = 0; i < s->count; i++) {
        struct volume *v = &s->volumes[i];
        v->spec = &pod->spec.volumes.items[i];
        v->ops = ops_of(v->spec);
        v->pod = pod;
        if (v->ops->plugin)
            v->path = str_printf("%s/volumes/%s/%s", pod_dir, v->ops->plugin, v->spec->name);
        const char *name = v->spec->config_map ? v->spec->config_map->name
                           : v->spec->secret   ? v->spec->secret->secret_name
                                               : NULL;
        if (name && *name)
            v->object =
                object_acquire(objects, v->spec->config_map ? OBJECT_CONFIG_MAP : OBJECT_SECRET,
                               pod->meta.ns, name, changed, arg);
    }
    return s;
}

struct volume_set *volume_set_free(struct volume_set *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->count; i++) {
        object_release(s->volumes[i].object);
        free(s->volumes[i].path);
    }
    free(s->volumes);
    free(s->dir);
    pod_unref(s->pod);
    free(s);
    return NULL;
}

int volume_set_setup(struct volume_set *s, struct error *err)
{
    int result = 0;
    struct error why = ERROR_INIT;
    for (size_t i = 0; i < s->count; i++) {
        struct volume *v = &s->volumes[i];
        if (v->ready && (!v->object || v->version == object_version(v->object)))
            continue;
        int code = v->ops->setup(v, &why);
        if (!code)
            v->ready = true;
        if (code < 0 && result >= 0)
            result = error_set(err, code, "MountVolume.SetUp failed for volume \"%s\" : %s",
                               v->spec->name, error_text(&why));
        else if (code > 0 && !result)
            result = code;
    }
    return result;
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

int volume_set_mounts(struct volume_set *s, const struct container_spec *c,
                      const struct env_list *env, struct mount_list *out, struct error *err)
{
    for (size_t i = 0; i < c->volume_mounts.count; i++) {
        const struct volume_mount *m = &c->volume_mounts.items[i];
        const struct volume *v = find_volume(s, m->name);
        if (!v || !v->path)
            return error_set(err, -ENOENT, "volume \"%.63s\" is not mounted", m->name);
        _cleanup_free_ char *expanded =
            m->sub_path_expr && *m->sub_path_expr ? env_expand(m->sub_path_expr, env) : NULL;
        const char *sub = expanded ? expanded : m->sub_path;
        _cleanup_free_ char *source = NULL;
        if (expanded && (strstr(expanded, "$(") || !path_is_below(expanded)))
            return error_set(err, -EINVAL, "subPathExpr of \"%.63s\" expands to an unusable path",
                             m->name);
        if (sub && *sub) {
            int code = mount_subpath(s, v, c, i, sub, &source, err);
            if (code < 0)
                return code;
        }
        _cleanup_free_ char *where =
            m->mount_path[0] == '/' ? str_dup(m->mount_path) : str_printf("/%s", m->mount_path);
        mount_list_add(out, source ? source : v->path, where,
                       m->read_only || v->spec->config_map || v->spec->secret);
        struct container_mount *added = &out->items[out->count - 1];
        added->propagation = str_dup(m->propagation);
        added->recursive_read_only = str_eq(m->recursive_read_only, "Enabled");
    }
    return 0;
}

int volumes_teardown(const char *pod_dir, struct error *err)
{
    if (!fs_exists(pod_dir))
        return 0;
    int code = unmount_below(pod_dir, err);
    return code < 0 ? code : fs_remove_tree(pod_dir, err);
}

static int setup_unsupported(struct volume *v, struct error *err)
{
    return error_set(err, -ENOTSUP, "volumes of kind \"%s\" are not supported by this kubelet",
                     v->spec->unsupported);
}
const struct volume_ops volume_unsupported = {.setup = setup_unsupported};
