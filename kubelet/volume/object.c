/* configMap and secret volumes: keys become files, written atomically. */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "kubelet/volume/volume.h"

/* A ConfigMap holds at most 1 MiB, so the number of keys is bounded by the object itself. */
static int add_file(struct payload_file **files, size_t *n, const char *path, const struct bytes *b,
                    int64_t mode, struct error *err)
{
    if (!path_is_below(path))
        return error_set(err, -EINVAL, "key \"%.100s\" is not usable as a path", path);
    if (mode < 0 || mode > 0777)
        return error_set(err, -EINVAL, "file mode %lld is not between 0 and 0777", (long long)mode);
    *files = mem_grow(*files, *n + 1, sizeof(**files));
    (*files)[(*n)++] =
        (struct payload_file){.path = path, .data = b->data, .len = b->len, .mode = (mode_t)mode};
    return 0;
}

static int gather(const struct volume *v, const struct object_volume_source *o,
                  const struct bytes_map *data, struct payload_file **files, size_t *n,
                  struct error *err)
{
    int code = 0;
    if (!o->items.count)
        for (size_t i = 0; !code && data && i < data->count; i++)
            code = add_file(files, n, data->items[i].key, &data->items[i].value,
                            o->default_mode.value, err);
    for (size_t i = 0; !code && i < o->items.count; i++) {
        const struct key_to_path *item = &o->items.items[i];
        const struct bytes *b = bytes_map_get(data, item->key);
        if (!b && !o->optional)
            return error_set(err, -ENOENT, "references non-existent %s key: %.100s",
                             v->spec->secret ? "secret" : "config", item->key);
        if (b)
            code = add_file(files, n, item->path, b,
                            item->mode.set ? item->mode.value : o->default_mode.value, err);
    }
    return code;
}

static int setup_object(struct volume *v, struct error *err)
{
    const struct object_volume_source *o =
        v->spec->config_map ? v->spec->config_map : v->spec->secret;
    const char *kind = v->spec->config_map ? "configmap" : "secret";
    if (!v->object)
        return error_set(err, -EINVAL, "the %s has no name", kind);
    enum object_state state = object_state(v->object);
    const char *name = v->spec->config_map ? o->name : o->secret_name;
    if (state == OBJECT_PENDING)
        return VOLUME_E_PENDING;
    if (state == OBJECT_NO_API)
        return error_set(err, -ENOTCONN, "%s \"%s\": there is no API server to read it from", kind,
                         name);
    /* One that vanishes later stays as it was: running containers keep what they have. */
    if (state == OBJECT_ABSENT && v->ready)
        return 0;
    if (state == OBJECT_ABSENT && !o->optional)
        return error_set(err, -ENOENT, "%s \"%s\" not found", kind, name);
    _cleanup_free_ struct payload_file *files = NULL;
    size_t n = 0;
    int code = gather(v, o, object_data(v->object), &files, &n, err);
    if (!code)
        code = fs_mkdirs(v->path, 0755, err);
    if (!code && v->spec->secret && !is_mount_point(v->path) &&
        mount("tmpfs", v->path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0)
        code = error_errno(err, -errno, "cannot mount tmpfs on %s", v->path);
    const struct opt_int *gid = &v->pod->spec.security.fs_group;
    if (!code)
        code = atomic_write(v->path, files, n, gid->set ? gid->value : -1, err);
    if (!code)
        v->version = object_version(v->object);
    return code;
}
const struct volume_ops volume_config_map = {.plugin = "kubernetes.io~configmap",
                                             .setup = setup_object};
const struct volume_ops volume_secret = {.plugin = "kubernetes.io~secret", .setup = setup_object};
