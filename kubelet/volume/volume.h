/*
 * The volumes of a pod, behind one table of operations. Setting up is idempotent and runs again
 * whenever a source changes; tearing down needs no spec, only the pod's directory, so that orphans
 * go the same way.
 *
 * <pods>/<uid>/volumes/kubernetes.io~<kind>/<name>,
 * <pods>/<uid>/volume-subpaths/<volume>/<container>/<n>
 */
#pragma once

#include "kubelet/config/objects.h"
#include "kubelet/pod/pod.h"
#include "kubelet/runtime/requests.h"

struct volume;
struct volume_set;

struct volume_ops {
    const char *plugin; /* directory below volumes/; NULL: nothing of its own there */
    /* Makes the volume, or brings it up to date. 0 when it is ready, VOLUME_E_PENDING, -errno. */
    int (*setup)(struct volume *v, struct error *err);
};
/* What the volume is made of has not been read yet. */
#define VOLUME_E_PENDING 1

struct volume {
    const struct volume_ops *ops;
    const struct volume_spec *spec;
    const struct pod *pod;
    struct object_ref *object; /* ConfigMap or Secret */
    char *path;                /* on the host */
    uint64_t version;          /* of the object, written last */
    bool ready, is_file;
};

/* @changed is called, later, when a source has changed: call volume_set_setup() then. @root is the
 * --root prefix of host paths that pods name ("" in production). */
struct volume_set *volume_set_new(struct object_cache *objects, const struct pod *pod,
                                  const char *pod_dir, void (*changed)(void *arg), void *arg);
struct volume_set *volume_set_free(struct volume_set *s); /* volumes stay; returns NULL */
/* Sets up what is not ready or out of date. 0, VOLUME_E_PENDING, or the first -errno with the
 * volume named (`MountVolume.SetUp failed for volume "x" : …`). */
int volume_set_setup(struct volume_set *s, struct error *err);
/* Adds the container's volume mounts. subPaths are resolved inside their volume and pinned by a
 * bind mount. @env expands subPathExpr. */
int volume_set_mounts(struct volume_set *s, const struct container_spec *c,
                      const struct env_list *env, struct mount_list *out, struct error *err);

/* Unmounts everything below the pod's directory, deepest first, and removes it; never across a
 * mount that stays. A missing directory is success. */
int volumes_teardown(const char *pod_dir, struct error *err);

/* ---- kinds ---- */
extern const struct volume_ops volume_empty_dir, volume_host_path, volume_config_map, volume_secret,
    volume_unsupported;

/* ---- atomic_writer.c ---- */
struct payload_file {
    const char *path; /* relative, checked by the caller (path_is_below) */
    const void *data; /* borrowed */
    size_t len;
    mode_t mode;
};
/* Makes @dir hold exactly these files: a fresh directory beside, then one rename of the link
 * "..data" that all names go through; readers see all of the old or all of the new. @gid: owner
 * group, or -1. Nothing is touched when the content is the same already. */
int atomic_write(const char *dir, const struct payload_file *files, size_t n, int64_t gid,
                 struct error *err);

/* ---- subpath.c ---- */

/* Opens @sub below @volume_path without leaving it, making missing directories, and binds what it
 * finds on @target. 0 or -errno. */
int subpath_bind(const char *volume_path, const char *sub, const char *target, struct error *err);
/* Unmounts every mount below @dir (not @dir's own), deepest first. */
int unmount_below(const char *dir, struct error *err);
bool is_mount_point(const char *path);
