/*
 * What a container mounts besides its root: directories and files of the host, and images. While
 * the host's mounts are still shared with their peers, detached copies are taken and given their
 * attributes; images follow when our tree is our own. All are attached when the container's root is
 * complete.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cri/launch/launch.h"

/* Whether the mount gives what happens below it to others ("shared:") or takes it from others
 * ("master:"), by its optional fields in mountinfo (proc(5)). */
static int check_propagation(const struct launch_mount *m, struct error *err)
{
    if (m->propagation == LAUNCH_PRIVATE)
        return 0;
    _cleanup_(mountinfo_done) struct mountinfo info;
    int r = mountinfo_read(m->source, &info, err);
    if (r < 0)
        return error_prefix(err, r, "mount %s", m->target);
    if (strstr(info.options, " shared:") ||
        (m->propagation == LAUNCH_SLAVE && strstr(info.options, " master:")))
        return 0;
    return error_set(err, -EINVAL,
                     "mount %s: %s is not on a shared mount%s, as its propagation needs", m->target,
                     m->source, m->propagation == LAUNCH_SLAVE ? " or a slave" : "");
}

static int prepare_bind(const struct launch_mount *m, struct error *err)
{
    static const uint64_t kinds[] = {
        [LAUNCH_PRIVATE] = MS_PRIVATE, [LAUNCH_SLAVE] = MS_SLAVE, [LAUNCH_SHARED] = MS_SHARED};
    int r = check_propagation(m, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = mount_clone(AT_FDCWD, m->source, true, err);
    if (fd < 0)
        return error_prefix(err, fd, "mount %s", m->target);
    struct mount_attr attr = {.propagation = kinds[m->propagation]};
    if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
        return error_errno(err, -errno, "mount %s: propagation", m->target);
    if (m->idmapped)
        r = mount_idmap(fd, m->source, err);
    if (r == 0 && m->readonly)
        r = mount_set_readonly(fd, m->recursive_readonly, err);
    return r < 0 ? error_prefix(err, r, "mount %s", m->target) : TAKE_FD(fd);
}

int binds_prepare(struct launch_job *job, struct error *err)
{
    job->binds = mem_grow(NULL, job->spec.n_mounts + 1, sizeof(int));
    for (size_t i = 0; i < job->spec.n_mounts; i++) {
        const struct launch_mount *m = &job->spec.mounts[i];
        job->binds[i] = m->source ? prepare_bind(m, err) : -1;
        if (m->source && job->binds[i] < 0)
            return job->binds[i];
    }
    return 0;
}

/* A detached mount of the directory that @m names in the tree at @base. */
static int clone_sub_path(const struct launch_mount *m, int base, struct error *err)
{
    const char *sub = m->sub_path ? m->sub_path : ".";
    _cleanup_close_ int dir =
        fs_open_in_root(base, sub, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS);
    if (dir == -ENOENT || dir == -ENOTDIR)
        return error_set(err, dir, "the image has no directory \"%.200s\"", sub);
    return dir < 0 ? error_errno(err, dir, "image_sub_path %.200s", sub)
                   : mount_clone(dir, "", false, err);
}

/* An overlay has to be mounted somewhere: over its topmost layer, which a root may have as a layer,
 * too, and which is therefore uncovered again. */
static int clone_layers(struct launch_job *job, const struct launch_mount *m, struct error *err)
{
    const char *at = m->layers[0];
    if (!m->layers[1]) {
        int layer = layer_open(job, at, err);
        return layer < 0 ? layer : clone_sub_path(m, layer, err);
    }
    const struct layers layers = {m->layers, NULL, NULL};
    int r = layers_mount(job, &layers, at, err);
    if (r < 0)
        return r;
    _cleanup_close_ int base = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int tree = base < 0 ? error_errno(err, -errno, "%s", at) : clone_sub_path(m, base, err);
    closep(&base);
    base = -1;
    if (umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && tree >= 0) {
        closep(&tree);
        return error_errno(err, -errno, "uncover %s", at);
    }
    return tree;
}

int images_prepare(struct launch_job *job, struct error *err)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC |
                                          MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    for (size_t i = 0; i < job->spec.n_mounts; i++) {
        const struct launch_mount *m = &job->spec.mounts[i];
        if (!m->layers)
            continue;
        job->binds[i] = clone_layers(job, m, err);
        if (job->binds[i] < 0)
            return error_prefix(err, job->binds[i], "ImageVolumeMountFailed: mount %s", m->target);
        if (mount_setattr(job->binds[i], "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
            return error_errno(err, -errno, "mount %s", m->target);
    }
    return 0;
}

int binds_attach(struct launch_job *job, struct error *err)
{
    for (size_t i = 0; i < job->spec.n_mounts; i++) {
        const struct launch_mount *m = &job->spec.mounts[i];
        struct stat st;
        if (fstat(job->binds[i], &st) < 0)
            return error_errno(err, -errno, "mount %s", m->target);
        _cleanup_close_ int target = root_make(job, m->target, S_ISDIR(st.st_mode), err);
        if (target < 0)
            return target;
        int r = mount_attach(job->binds[i], target, m->target, err);
        if (r < 0)
            return r;
        (void)close(job->binds[i]);
    }
    return 0;
}
