/*
 * Pod sandboxes: a shim that holds the namespaces, an address, and the containers in it.
 *
 * States: CREATING → READY → STOPPING → STOPPED, and from any of them LOST → STOPPED when the shim
 * dies by itself. A record on tmpfs (record.h) is written before each step that puts something into
 * the host, so that whatever a killed daemon left can be found and undone.
 */
#pragma once

#include "base/cpu_rate.h"
#include "cri/runtime.h"
#include "cri/shim_client.h"
#include "cri/userns.h"
#include "cri/waiters.h"

#define SANDBOX_ID_LEN 32

enum sandbox_state {
    SANDBOX_CREATING, /* not answered yet; undone when found at start */
    SANDBOX_READY,
    SANDBOX_STOPPING,
    SANDBOX_STOPPED, /* nothing of it is left in the host but its records */
};

struct run;

struct sandbox {
    struct runtime *rt;
    char id[SANDBOX_ID_LEN + 1];
    char *dir; /* <sandboxes_dir>/<id> */
    Runtime__V1__PodSandboxConfig *config;
    int64_t created_ns;
    enum sandbox_state state;
    bool removing;
    struct run *run;         /* while it is being made: who waits (sandbox_run.c) */
    unsigned outstanding;    /* parts of a stop that are not done yet */
    struct error stop_error; /* the first failure among them */
    struct shim *shim;       /* NULL: none (any more) */
    bool host_network, host_ipc, share_pid;
    struct userns userns;
    struct network_attachment net;
    struct list containers; /* struct container.entry, in order of creation */
    struct list stop_waiters, remove_waiters;
    struct loop_timer deadline;
    struct cpu_rate cpu_rate;
};

/* @sandbox is NULL when @code is not 0. */
typedef void (*sandbox_fn)(struct sandbox *sandbox, int code, const struct error *err, void *arg);

/* Makes a sandbox and answers when it is ready; on failure nothing of it is left. @config is
 * copied.
 */
void sandbox_run(struct runtime *rt, const Runtime__V1__PodSandboxConfig *config, sandbox_fn cb,
                 void *arg);
/* Kills what runs, gives network and namespaces back. Idempotent. */
void sandbox_stop(struct sandbox *sandbox, done_fn cb, void *arg);
/* Stops, then forgets the sandbox and its containers. */
void sandbox_remove(struct sandbox *sandbox, done_fn cb, void *arg);

/* network_stats() of it. */
int sandbox_network_stats(const struct sandbox *sandbox, struct link_info *ret, struct error *err);

/* ---- for adoption (adopt.c) ---- */
/* A sandbox of a record; takes @config. */
struct sandbox *sandbox_new(struct runtime *rt, const char *id,
                            Runtime__V1__PodSandboxConfig *config);
struct shim_events sandbox_shim_events(struct sandbox *sandbox);
void sandbox_free(struct sandbox *sandbox);

/* Whether the parts of the configuration that everything relies on are there. -EINVAL. */
int sandbox_check(const Runtime__V1__PodSandboxConfig *config, struct error *err);

/* The namespace options, which may be absent; never NULL. */
const Runtime__V1__NamespaceOption *sandbox_namespaces(const Runtime__V1__PodSandboxConfig *config);

/* The group that its containers' are in. Caller frees. */
char *sandbox_cgroup(const struct sandbox *sandbox);

/* What the sandbox gives its containers (spec.h); strings in @a. */
struct spec_pod;
void sandbox_spec_pod(const struct sandbox *sandbox, struct arena *a, struct spec_pod *ret);
