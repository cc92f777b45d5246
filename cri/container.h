/*
 * Containers: CREATED → RUNNING → EXITED. The shim runs them; the daemon keeps what the kubelet may
 * ask about, in memory and in a record on tmpfs.
 */
#pragma once

#include "cri/layer_usage.h"
#include "cri/sandbox.h"

#define CONTAINER_ID_LEN 64

enum container_state {
    CONTAINER_CREATING, /* not answered yet; undone when found at start */
    CONTAINER_CREATED,
    CONTAINER_STARTING,
    CONTAINER_RUNNING,
    CONTAINER_EXITED,
};

struct container;
typedef void container_done_fn(struct container *container);

struct container {
    struct runtime *rt;
    struct sandbox *sandbox;
    struct list entry; /* in sandbox->containers */
    char id[CONTAINER_ID_LEN + 1];
    Runtime__V1__ContainerConfig *config;
    char *image_id;       /* "sha256:…" */
    char **volume_images; /* ids of the images that are mounted, NULL-terminated; NULL: none */
    /* What a process executed later needs of the image, which may be gone by then. */
    char *image_user, *image_cwd;
    char **image_env; /* NULL-terminated; NULL: none */
    char *cgroup;     /* path for base/cgroup.h */
    char *log_path;   /* absolute; NULL: none */
    char *layer_dir;  /* <containers_dir>/<id> */
    int stop_signal;
    enum container_state state;
    pid_t pid;
    /* Who the first process was when it began; n_groups -1: not known. */
    int64_t uid, gid;
    int64_t *groups;
    int n_groups;
    int64_t created_ns, started_ns, finished_ns;
    int exit_code;
    char *reason, *message; /* NULL: none */
    bool removing;
    enum { STOP_NONE, STOP_SIGNALLED, STOP_KILLED } stop;
    struct list stop_waiters, remove_waiters;
    struct loop_timer deadline; /* of a stop */
    struct creation *creation;  /* while it is being made (container_create.c) */
    struct group_op *group_op;  /* its group is being made or removed */
    bool cgroup_gone;
    container_done_fn *on_reaped; /* who waits for that */
    struct list updates;          /* container_update.c */
    struct cpu_rate cpu_rate;
    struct layer_usage layer;
};

typedef void (*container_fn)(struct container *container, int code, const struct error *err,
                             void *arg);

/* Makes a container; on failure nothing of it is left and @container is NULL. */
void container_create(struct sandbox *sandbox, const Runtime__V1__ContainerConfig *config,
                      container_fn cb, void *arg);
void container_start(struct container *container, done_fn cb, void *arg);
/* Sends the stop signal, after @timeout_s seconds SIGKILL. Idempotent. */
void container_stop(struct container *container, int64_t timeout_s, done_fn cb, void *arg);
void container_remove(struct container *container, done_fn cb, void *arg);
/* Applies what is set in @resources, whole or not at all, and records it (container_update.c). */
void container_update(struct container *container,
                      const Runtime__V1__LinuxContainerResources *resources, done_fn cb, void *arg);
/* The container is about to be freed. */
void container_updates_end(struct container *container);
void container_creation_drop(struct container *container);
/* The container is unwanted before it was made: waits for nothing any more. */
void container_creation_cancel(struct container *container);

/* The first process has ended (or is known to have). */
void container_exited(struct container *container, int exit_code, bool oom_killed,
                      int64_t finished_ns, const char *reason, const char *message);

/* Whether the parts of the configuration that everything relies on are there. -EINVAL. */
int container_check(const Runtime__V1__ContainerConfig *config, struct error *err);

/* ---- for adoption (adopt.c) ---- */
struct container *container_new(struct sandbox *sandbox, const char *id,
                                Runtime__V1__ContainerConfig *config);
void container_free(struct container *container);
/* Kills what is left in the container's cgroup and removes it; @cb (may be NULL) when it is gone.
 */
void container_reap(struct container *container, container_done_fn *cb);
/* Keeps the layers of its images on disk until it is discarded. */
int container_use_images(const struct container *container, struct error *err);
/* Takes away what a container that was never answered, or is removed, has in the host, frees it,
 * and answers who waits for that. */
void container_discard(struct container *container);
/* The signal of the configuration, or the image's, or SIGTERM. */
int container_stop_signal(const Runtime__V1__ContainerConfig *config, const char *image_signal);
