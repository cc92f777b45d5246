/*
 * The volumes of a pod, behind one table of operations. Setting up is idempotent and runs again
 * whenever a source changes; tearing down needs no spec, only the pod's directory, so that orphans
 * go the same way.
 *
 * <pods>/<uid>/volumes/kubernetes.io~<kind>/<name>,
 * <pods>/<uid>/volume-subpaths/<volume>/<container>/<n>
 */
#pragma once

#include "kubelet/kubelet.h"

struct volume;
struct volume_set;

struct volume_ops {
    const char *plugin; /* directory below volumes/; NULL: nothing of its own there */
    /* Takes references to what the volume is made of. May be NULL. */
    void (*open)(struct volume *v);
    /* Makes the volume, or brings it up to date. 0 when it is ready; VOLUME_E_PENDING: an answer is
     * being waited for, volume_changed() follows; -errno: it is tried again later. */
    int (*setup)(struct volume *v, struct error *err);
    /* Lets go of what the other two took and cancels what is under way. May be NULL. */
    void (*close)(struct volume *v);
};
/* What the volume is made of is not known yet. */
#define VOLUME_E_PENDING 1

struct volume {
    struct volume_set *set;
    const struct volume_ops *ops;
    const struct volume_spec *spec;
    char *path;  /* on the host; NULL: the runtime brings it (image volumes) */
    void *state; /* the kind's own */
    bool ready;
    bool stale; /* ready once; a source has changed since */
    bool is_file, read_only;
};

struct volume_set {
    struct kubelet *k;
    struct pod *pod;
    char *dir; /* of the pod */
    struct volume *volumes;
    size_t count;
    void (*changed)(void *arg);
    void *arg;
};

/* @changed is called, later, when a source has changed or an answer has come: call
 * volume_set_setup() then. */
struct volume_set *volume_set_new(struct kubelet *k, struct pod *pod, void (*changed)(void *arg),
                                  void *arg);
struct volume_set *volume_set_free(struct volume_set *s); /* volumes stay; returns NULL */
/* A new version of the same pod: what shows its labels and annotations goes stale. Returns whether
 * something did. */
bool volume_set_update(struct volume_set *s, struct pod *pod);
/* Sets up what is not ready or is stale. 0, VOLUME_E_PENDING, or the first -errno with the volume
 * named (`MountVolume.SetUp failed for volume "x" : …`). */
int volume_set_setup(struct volume_set *s, struct error *err);
/* Whether each volume has been ready: later troubles with a source leave what is there. */
bool volume_set_ready(const struct volume_set *s);
/* Adds the container's volume mounts. subPaths are resolved inside their volume and pinned by a
 * bind mount. @env expands subPathExpr; @handler is the runtime's that makes the container. */
int volume_set_mounts(struct volume_set *s, const struct container_spec *c, const char *handler,
                      const struct env_list *env, struct mount_list *out, struct error *err);

/* ---- for the kinds ---- */
void volume_changed(struct volume *v); /* marks it stale and tells the set's owner */
/* A tmpfs, without swap where the kernel can, unless one is mounted there already. @size: bytes, 0:
 * the kernel's default. */
int volume_mount_tmpfs(const char *path, const char *mode, int64_t size, struct error *err);
/* Checks, and with the types that say so makes, what a hostPath names; sets path and is_file. */
int volume_use_path(struct volume *v, const char *path, const char *type, struct error *err);
/* Mounts an export of NFS on the volume's path; asynchronous as setup. *@state is its own, NULL at
 * first. @options: for mount(8), NULL: none. */
struct nfs_mount;
int nfs_mount(struct volume *v, struct nfs_mount **state, const struct nfs_source *nfs,
              const char *options, struct error *err);
struct nfs_mount *nfs_mount_free(struct nfs_mount *m); /* NULL is harmless; returns NULL */

extern const struct volume_ops volume_empty_dir, volume_host_path, volume_config_map, volume_secret,
    volume_downward, volume_projected, volume_nfs, volume_claim, volume_image, volume_unsupported;

/* ---- token.c: a bound service account token ---- */
struct token;
/* Asks for a token for the pod's account and renews it in time. @changed is called, later, when
 * there is an answer. */
struct token *token_new(struct kubelet *k, const struct pod *pod, const struct token_source *source,
                        void (*changed)(void *arg), void *arg);
struct token *token_free(struct token *t); /* NULL is harmless; returns NULL */
/* The token; NULL while there is none, or none that is still good: then *@ret_error is why the last
 * request failed, or NULL while the first is under way. */
const char *token_text(struct token *t, const char **ret_error);
/* When to ask for the next one: at 80 % of its life or after a day, less up to @jitter (0 … 1) of
 * ten seconds. All in seconds since the epoch. */
int64_t token_refresh_at(int64_t expires, int64_t lifetime, double jitter);

/* ---- atomic_writer.c ---- */
struct payload_file {
    const char *path; /* relative, checked by the caller (path_is_below) */
    const void *data; /* borrowed */
    size_t len;
    mode_t mode;
    int64_t uid; /* owner, or -1 */
};
/* Makes @dir hold exactly these files: a fresh directory beside, then one rename of the link
 * "..data" that all names go through; readers see all of the old or all of the new. @gid: the group
 * that may read them, or -1. Nothing is touched when the content is the same already. */
int atomic_write(const char *dir, const struct payload_file *files, size_t n, int64_t gid,
                 struct error *err);

/* ---- subpath.c ---- */

/* Opens @sub below @volume_path without leaving it, making missing directories, and binds what it
 * finds on @target. 0 or -errno. */
int subpath_bind(const char *volume_path, const char *sub, const char *target, struct error *err);
bool is_mount_point(const char *path);

/* ---- teardown.c ---- */
struct volume_teardown;
/* Unmounts everything below the pod's directory, deepest first, and removes it; never across a
 * mount that stays. A missing directory is success. What may take long (large trees, network
 * mounts) is done by another process: then VOLUME_E_PENDING and *ret, and @cb is called once, with
 * 0 or -errno and the text. */
int volumes_teardown(struct kubelet *k, const char *pod_dir,
                     void (*cb)(void *arg, int code, const char *error), void *arg,
                     struct volume_teardown **ret, struct error *err);
struct volume_teardown *volume_teardown_cancel(struct volume_teardown *t); /* returns NULL */
