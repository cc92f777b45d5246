/*
 * From the CRI's configuration and the image's to what coracle-launch is told: arguments and
 * environment, user, capabilities, seccomp, mounts, devices. Pure but for looking at host files
 * that the configuration names. Bad input is refused with the field's path.
 */
#pragma once

#include "cri/apparmor.h"
#include "cri/arena.h"
#include "cri/image/store.h"
#include "cri/launch_spec.h"
#include "cri/seccomp.h"
#include "cri/userns.h"
#include "net/cri.pb-c.h"

/* What the sandbox gives. */
struct spec_pod {
    const char *hostname;    /* for $HOSTNAME; may be "" */
    const char *resolv_conf; /* files to show in the container unless it mounts its own; NULL */
    const char *hostname_file, *hosts_file;
    const char *shm_path;
    bool host_network;
    bool privileged; /* its containers may be */
    bool share_pid;  /* the pod has a PID namespace to share */
    struct userns userns;
    struct seccomp_cache *filters; /* compiled profiles */
    struct apparmor *apparmor;     /* NULL: none */
};

struct spec_root {
    const char *const *lowerdirs;
    const char *upperdir, *workdir;
    /* The layers of each of the configuration's mounts that is of an image, topmost first; NULL
     * where it is none. NULL: no mount is. */
    const char *const *const *volumes;
};

/* What errors about mounts of images begin with, as the kubelet knows them. */
#define SPEC_IMAGE_VOLUME_FAILED "ImageVolumeMountFailed: "

/* Fills *ret, everything in it borrowed from @a, @config and @image. 0 or -EINVAL, -ENOENT,
 * -ENOTSUP. */
int spec_build(struct arena *a, const Runtime__V1__ContainerConfig *config,
               const struct image_config *image, const struct spec_pod *pod,
               const struct spec_root *root, const char *cgroup, struct launch_spec *ret,
               struct error *err);
/* A process to be executed in the container that @config describes, with its user, environment and
 * limits. */
int spec_exec(struct arena *a, const Runtime__V1__ContainerConfig *config,
              const struct image_config *image, const struct spec_pod *pod, const char *cgroup,
              const char *const *argv, bool tty, struct launch_spec *ret, struct error *err);

/* ---- parts (spec_security.c, spec_mounts.c), for spec.c and tests ---- */
int spec_mounts(struct arena *a, const Runtime__V1__ContainerConfig *config,
                const struct spec_pod *pod, const struct spec_root *root, struct launch_spec *ret,
                struct error *err);
int spec_capabilities(const Runtime__V1__LinuxContainerSecurityContext *sc,
                      struct launch_process *ret, struct error *err);
int spec_seccomp(struct arena *a, struct seccomp_cache *filters,
                 const Runtime__V1__LinuxContainerSecurityContext *sc, struct launch_process *ret,
                 struct error *err);
int spec_user(struct arena *a, const Runtime__V1__LinuxContainerSecurityContext *sc,
              const char *image_user, struct launch_process *ret, struct error *err);
int spec_devices(struct arena *a, const Runtime__V1__ContainerConfig *config,
                 struct launch_spec *ret, struct error *err);
