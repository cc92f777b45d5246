/*
 * From the layers of an image to one tree: an overlay, which has to be mounted somewhere to be. In
 * our own mount tree any directory will do; the callers name one that is the container's.
 *
 * In a user namespace the layers are seen through id-mapped mounts of them, so that what belongs to
 * root on disk belongs to the root inside (overlayfs: Linux 5.19). The writable layer is not
 * mapped: what is written there belongs to the outside ids of who wrote it, also on disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cri/launch/launch.h"

/* A layer may be part of more than one tree, but be mapped only once. */
static int find_mapped(const struct launch_job *job, const char *path)
{
    for (size_t i = 0; i < job->n_mapped; i++)
        if (str_eq(job->mapped[i].path, path))
            return job->mapped[i].fd;
    return -1;
}

/* Overlayfs takes layers of our own mount tree only, so the mapped mount covers its layer there. */
static int map_layer(struct launch_job *job, const char *path, struct error *err)
{
    int fd = find_mapped(job, path);
    if (fd >= 0)
        return fd;
    _cleanup_close_ int tree = mount_clone(AT_FDCWD, path, false, err);
    int r = tree < 0 ? tree : mount_idmap(tree, path, err);
    if (r < 0)
        return r;
    _cleanup_close_ int on = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (on < 0)
        return error_errno(err, -errno, "%s", path);
    r = mount_attach(tree, on, path, err);
    if (r < 0)
        return r;
    job->mapped = mem_grow(job->mapped, job->n_mapped + 1, sizeof(*job->mapped));
    job->mapped[job->n_mapped++] = (struct launch_mapped){path, tree};
    return TAKE_FD(tree);
}

int layer_open(struct launch_job *job, const char *path, struct error *err)
{
    int fd =
        job->spec.userns ? map_layer(job, path, err) : open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    return job->spec.userns ? error_prefix(err, fd, "layer")
                            : error_errno(err, -errno, "layer %s", path);
}

/* Adds "key=/proc/self/fd/N" for an opened layer: short whatever the path, so that the most layers
 * fit into the one page that the kernel takes, and no path's commas or colons matter. The
 * descriptors go with exec. */
static int add_lower(struct launch_job *job, struct strbuf *data, const char *lead,
                     const char *path, struct error *err)
{
    int fd = layer_open(job, path, err);
    if (fd < 0)
        return fd;
    strbuf_addf(data, "%s/proc/self/fd/%d", lead, fd);
    return 0;
}

static int add_own(struct strbuf *data, const char *lead, const char *path, struct error *err)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, -errno, "layer %s", path);
    strbuf_addf(data, "%s/proc/self/fd/%d", lead, fd);
    return 0;
}

/* A container's own layer is worthless after a crash of the host, so nothing of it is synced
 * ("volatile"). The kernel marks such a layer and refuses it a second time, which is for those who
 * would keep it: a start that failed after the mount may be tried again. */
static int mount_with(const struct layers *l, const char *target, const struct strbuf *data)
{
    _cleanup_free_ char *unsynced = str_printf("%s,volatile", data->data);
    if (!l->upper)
        return mount("overlay", target, "overlay", 0, data->data) < 0 ? -errno : 0;
    if (mount("overlay", target, "overlay", 0, unsynced) == 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    _cleanup_free_ char *mark = fs_join(l->work, "work/incompat");
    if (fs_remove_tree(mark, NULL) == 0 && mount("overlay", target, "overlay", 0, unsynced) == 0)
        return 0;
    /* Kernels before 5.10 do not have the option. */
    return mount("overlay", target, "overlay", 0, data->data) < 0 ? -errno : 0;
}

int layers_mount(struct launch_job *job, const struct layers *l, const char *target,
                 struct error *err)
{
    _cleanup_strbuf_ struct strbuf data = STRBUF_INIT;
    int r = 0;
    for (size_t i = 0; r == 0 && l->lower[i]; i++)
        r = add_lower(job, &data, i ? ":" : "lowerdir=", l->lower[i], err);
    if (r == 0 && l->upper)
        r = add_own(&data, ",upperdir=", l->upper, err);
    if (r == 0 && l->upper)
        r = add_own(&data, ",workdir=", l->work, err);
    if (r < 0)
        return r;
    r = mount_with(l, target, &data);
    if (r == -EINVAL && job->spec.userns)
        return error_errno(err, r, "mount the overlay of %s in a user namespace (Linux 5.19 can)",
                           target);
    return r < 0 ? error_errno(err, r, "mount the overlay of %s", target) : 0;
}
