/*
 * A pod worker: one pod, from the moment it is wanted on this node to the moment nothing of it is
 * left. It is level-triggered: whatever happens (a new object, an answer of the runtime, a runtime
 * event, a probe result, a timer) only changes what the worker knows and asks for worker_sync(),
 * which compares desired with known and starts what is missing. Nothing blocks; every call under
 * way is remembered in the place it belongs to, so that it is never made twice.
 *
 * Stages: RUN → STOP (containers, then the sandbox) → DONE (stopped for good; containers are kept
 * for their logs) or CLEAN (everything removed, then the API object) → GONE.
 */
#pragma once

#include "kubelet/devices/devices.h"
#include "kubelet/kubelet.h"
#include "kubelet/probe/probe.h"
#include "kubelet/runtime/images.h"
#include "kubelet/volume/volume.h"
#include "kubelet/worker/backoff.h"

enum run_state { RUN_CREATED, RUN_RUNNING, RUN_EXITED };

/* One container of the runtime: what the CRI says about it. */
struct container_run {
    char *id, *sandbox;
    char *image, *image_id;             /* as in the status: what was asked for, what it is */
    char *reason, *message;             /* of the end */
    char *message_file;                 /* termination message on the host, NULL when not mounted */
    char *stop_signal;                  /* "SIGTERM"; NULL when the runtime does not say */
    bool message_from_log;              /* a failed run without a message: the end of its log */
    int64_t created, started, finished; /* nanoseconds since the epoch */
    int32_t exit_code;
    uint32_t restart;
    enum run_state state;
    struct container_limits applied; /* what its cgroup has */
    bool applied_known;
    char hash[9];
};

enum slot_step {
    SLOT_IDLE,
    SLOT_IMAGE,
    SLOT_CREATE,
    SLOT_START,
    SLOT_HOOK,
    SLOT_RESIZE,
    SLOT_DEVICES,
    SLOT_STOP
};

/* A container of the spec. */
struct container_slot {
    struct pod_worker *w;
    uint32_t index;
    enum slot_step step;
    struct container_run *run, *last; /* the current one; the one before, always ended */
    struct runtime_call *call;
    struct image_request *image;
    struct device_request *devices; /* its plugins are being told of the start */
    struct image_info info;         /* of its image; id NULL until it is there */
    size_t volume_images;           /* how many of its image volumes are there too */
    struct hook *hook;
    struct backoff restarts, pulls;
    int64_t pull_failed; /* ms since the epoch; 0: the last pull was fine */
    uint64_t retry_at;   /* now_ms() before which creating is not tried again */
    char *wait_reason, *wait_message;
    char *pull_message;
    struct probe_set *probes;
    struct probe_totals probed;
    const char *kill_event; /* why it is being stopped to be restarted; NULL when it isn't */
    int64_t kill_grace;
    struct container_limits requested; /* by the call under way */
    uint64_t hook_began;               /* now_ms() */
    bool hook_done;                    /* preStop of the current run was called */
    bool said_backoff;
    bool devices_told;
};

enum worker_stage { WORKER_RUN, WORKER_STOP, WORKER_DONE, WORKER_CLEAN, WORKER_GONE };
enum sandbox_state {
    SANDBOX_NONE,
    SANDBOX_STARTING,
    SANDBOX_READY,
    SANDBOX_DEAD,
    SANDBOX_STOPPING
};

struct pod_sandbox {
    char *id;
    enum sandbox_state state;
    uint32_t attempt;
    char *ip, *ips; /* first, and all separated by commas; "" when none */
    int64_t created;
};

struct disk_limits;

struct pod_worker {
    struct kubelet *k;
    struct pod *pod;
    struct pod *mirror;           /* the API's image of a static pod, NULL when there is none */
    struct pod *desired;          /* asks for resources that the node has not; else NULL */
    struct pod_resources applied; /* what the pod's cgroup has */
    char *resize_pending, *resize_message; /* why @desired has to wait; NULL: not tried yet */
    char *resize_error;                    /* of what is being brought about */
    uint64_t resize_retry_at;
    bool resizing; /* set aside, not yet brought about */
    bool weigh;    /* and not yet counted */
    enum worker_stage stage;
    struct pod_sandbox sandbox;
    struct string_list old_sandboxes; /* still known to the runtime */
    struct container_slot **slots;    /* init containers, containers, ephemeral containers */
    size_t n_slots, n_init, n_fixed;  /* ephemeral ones begin at n_fixed */
    struct volume_set *volumes;
    struct disk_limits *limits;
    struct object_ref **env_refs;
    size_t n_env_refs;
    struct runtime_call *call; /* about the sandbox */
    size_t removals;           /* removals under way */
    struct list calls;         /* of removals */
    struct loop_deferred sync;
    struct loop_timer timer;
    uint64_t wake_at;  /* earliest deadline found by this sync */
    uint64_t retry_at; /* now_ms() before which the sandbox is not tried again */
    uint32_t failures; /* in a row, of sandbox or clean-up */
    uint64_t volume_retry_at;
    uint32_t volume_failures;
    struct volume_teardown *teardown;
    int64_t start_time;    /* seconds since the epoch */
    int64_t grace;         /* of the stop under way, seconds */
    int64_t evict_grace;   /* of an eviction or shutdown; 0: the pod's own */
    uint64_t stop_began;   /* now_ms() */
    char *handler;         /* of the RuntimeClass; NULL until it is known */
    struct id_mapping ids; /* of a user namespace of its own */
    struct kube_call *handler_call;
    struct device_request *devices;
    char *failed_reason, *failed_message; /* the pod as a whole was ended by us */
    bool held;                            /* the runtime is still being asked what there is of it */
    bool removed;         /* no longer wanted: delete it from the runtime and the API */
    bool volumes_ready;   /* containers can have them */
    bool volumes_current; /* and no source has changed since */
    bool dirs_ready, volumes_gone, evicted, rejected;
    bool devices_ready; /* it has those that it asks for */
    bool dropped;       /* the runtime has been asked to forget its ended containers */
    struct status_writer *status;
    void (*gone)(struct pod_worker *w, void *arg); /* nothing is left: free it */
    void *gone_arg;
};

/* Starts a worker; the first sync comes on the next turn of the loop. */
struct pod_worker *worker_new(struct kubelet *k, struct pod *pod,
                              void (*gone)(struct pod_worker *w, void *arg), void *arg);
/* Gives up without touching the pod: containers run on. Returns NULL. */
struct pod_worker *worker_free(struct pod_worker *w);
/* A new version of the same pod (same uid). */
void worker_update(struct pod_worker *w, struct pod *pod);
void worker_set_mirror(struct pod_worker *w, struct pod *mirror); /* NULL: there is none */
/* The pod is no longer wanted here: stop and remove it. */
void worker_remove(struct pod_worker *w);
/* As worker_remove(), and the API has forgotten it already. */
void worker_forget(struct pod_worker *w);
void worker_kick(struct pod_worker *w);
/* Ends the pod, Failed with reason Evicted, because it used up what the node needs. It gets @grace
 * seconds at most; 0: what it asks for itself. False when it is ending already. */
bool worker_evict(struct pod_worker *w, const char *message, int64_t grace);
/* Ends the pod, Failed with this reason, within @grace seconds (0: what it asks for itself). One
 * that is ending already gets at most that much time from now on and keeps its own reason. */
void worker_terminate(struct pod_worker *w, const char *reason, const char *message, int64_t grace);

/* ---- observe.c: what the runtime says ---- */
void worker_observe_sandbox(struct pod_worker *w, const Runtime__V1__PodSandboxStatus *s);
void worker_observe_container(struct pod_worker *w, const char *sandbox,
                              const Runtime__V1__ContainerStatus *c);
/* A sandbox or container is no longer known to the runtime. */
void worker_observe_gone(struct pod_worker *w, const char *id);
struct container_run *run_free(struct container_run *r); /* returns NULL */
struct container_slot *worker_slot(const struct pod_worker *w, const char *name);

/* ---- decide.c: pure decisions ---- */
bool slot_is_sidecar(const struct container_slot *s);
const struct container_spec *slot_spec(const struct container_slot *s);
bool slot_is_running(const struct container_slot *s);
bool slot_is_ephemeral(const struct container_slot *s);
/* Whether a container that ended so is to be started again. @policy is the pod's; the container's
 * own, and its rules, win. */
bool restart_wanted(enum restart_policy policy, const struct container_spec *c, int32_t exit_code);
/* Whether this container should have a run that it has not: never started, or ended and to be
 * started again. */
bool slot_wants_run(const struct container_slot *s);
/* Every container that decides about the pod's end has ended, and none will be started again. */
bool worker_is_finished(const struct pod_worker *w);
/* "Pending", "Running", "Succeeded", "Failed". */
const char *worker_phase(const struct pod_worker *w);
bool worker_initialized(const struct pod_worker *w);
bool slot_is_started(const struct container_slot *s);
bool slot_is_ready(const struct container_slot *s);

/* ---- container.c: one container's steps ---- */

/* The attempt failed; it is told why, and tried again later or when something changes. */
void slot_failed(struct container_slot *s, const char *reason, const char *message);

/* Starts what is missing. Returns false when the containers after it have to wait. */
bool slot_sync(struct container_slot *s);
void slot_done(struct container_slot *s);
void slot_wait(struct container_slot *s, const char *reason, const char *message);
/* Begins or follows up probing of the current run. */
void slot_probe(struct container_slot *s);

/* The pod's control group, as pod_cgroups_ensure() and pod_cgroups_remove(): the worker is kicked
 * when what is under way is over. 0 where pods have none. */
int worker_make_group(struct pod_worker *w, const struct pod_resources *r, struct error *err);
int worker_remove_group(struct pod_worker *w, struct error *err);

/* ---- resize.c ---- */

/* Sets aside what @pod, a new version, asks for, if the node has it. Returns a reference to what
 * the pod is from now on: @pod, or one like it with the resources of before. */
struct pod *worker_allocate(struct pod_worker *w, struct pod *pod);
/* Another pod has left: what had to wait is tried again. */
void worker_retry_resize(struct pod_worker *w);
/* The pod's own part. Returns whether containers are behind what was set aside. */
bool worker_sync_resize(struct pod_worker *w);
/* A running container's part: true when a call is under way. It may ask for the container to be
 * restarted (kill_event). */
bool slot_sync_resize(struct container_slot *s);
/* ---- status_resources.c ---- */
void slot_put_resources(const struct container_slot *s, json_t *status);

/* ---- stop.c ---- */

/* Stops the current run, hooks included. */
void slot_stop(struct container_slot *s, int64_t grace, const char *why);
/* The grace period of the stop under way has become w->grace, which is shorter. */
void worker_hurry(struct pod_worker *w);
void worker_sync_stop(struct pod_worker *w);
void worker_sync_clean(struct pod_worker *w);
void worker_remove_container(struct pod_worker *w, const char *id);
/* Makes room: of a pod that is over the runtime forgets the containers; what is known of them and
 * their logs stay. */
void worker_drop_ended(struct pod_worker *w);
/* Removes dead sandboxes of which no container is kept. */
void worker_remove_old_sandboxes(struct pod_worker *w);
void worker_cancel_removals(struct pod_worker *w);

/* ---- admit.c ---- */

/* Whether the pod may run here at all; false, and the worker's failed_reason and _message, when
 * not. */
bool worker_admit(struct pod_worker *w);
void worker_fail(struct pod_worker *w, const char *reason, const char *message);
/* As worker_fail(), with an event, for a pod of which nothing runs: it never counted. */
void worker_reject(struct pod_worker *w, const char *reason, const char *message);

/* ---- devices.c ---- */

/* True when the pod has the devices that it asks for. It is rejected when it can't have them. */
bool worker_sync_devices(struct pod_worker *w);
/* True when the plugins of a container's devices know that it is about to be made. */
bool slot_sync_devices(struct container_slot *s);
void slot_done_devices(struct container_slot *s); /* they need not any more */
/* Adds the variables of what plugins gave the container, which those of the specification win
 * over, and its mounts. @a may be NULL. */
void slot_devices_env(const V1beta1__ContainerAllocateResponse *a, struct env_list *env);
void slot_devices_mounts(const V1beta1__ContainerAllocateResponse *a, struct mount_list *mounts);

/* ---- pull_secrets.c ---- */

/* Gathers the credentials of the pod's imagePullSecrets; those that are missing are told and
 * passed over. False while the API server has not answered. */
bool worker_keyring(struct pod_worker *w, struct keyring *ret);
/* The reference to an object that the pod uses; NULL when there is none. */
const struct object_ref *worker_object(const struct pod_worker *w, enum object_kind kind,
                                       const char *name);

/* ---- sandbox.c ---- */

/* True when the sandbox is ready for containers. */
bool worker_sync_sandbox(struct pod_worker *w);
void worker_fill_request(struct pod_worker *w, struct request_context *ctx);
void worker_fill_env(struct pod_worker *w, struct env_context *ctx);
/* The pod's address, and all of them separated by commas; the node's in its network; "" while it is
 * not known. */
const char *worker_ip(const struct pod_worker *w);
const char *worker_ips(const struct pod_worker *w);

/* ---- files.c: directories, /etc/hosts, termination messages, log links ---- */
int worker_make_dirs(struct pod_worker *w, struct error *err);
int worker_write_hosts(struct pod_worker *w, struct error *err);
/* Adds /etc/hosts and the termination message file to the mounts. */
int slot_file_mounts(struct container_slot *s, struct mount_list *mounts, struct error *err);
/* The termination message of an ended run; NULL when there is none. The caller frees. */
char *run_termination_message(const struct container_slot *s, const struct container_run *r);
void slot_link_log(const struct container_slot *s);
void worker_remove_files(struct pod_worker *w);
/* Removes a pod's log directory and the links into it. */
int kubelet_remove_logs(const struct kubelet *k, const char *dir, struct error *err);

/* ---- status.c, status_writer.c ---- */
json_t *worker_status(const struct pod_worker *w); /* the v1 PodStatus */
struct status_writer *status_writer_new(struct pod_worker *w);
struct status_writer *status_writer_free(struct status_writer *s);
/* The status may have changed: writes what differs. */
void status_writer_update(struct status_writer *s);
/* The API has it as it is, or nobody is to be told. */
bool status_writer_is_current(const struct status_writer *s);
/* A new version of the object arrived from the API. */
void status_writer_observe(struct status_writer *s, const struct pod *pod);
/* The object to write to is another one now: nothing is known of it. */
void status_writer_retarget(struct status_writer *s);
/* The API server has no such object any more: nothing is to be written or deleted. */
void status_writer_gone(struct status_writer *s);
/* Deletes the API object once the last status is written; @done is called when it is gone. */
void status_writer_delete(struct status_writer *s, void (*done)(void *arg), void *arg);

/* ---- hooks.c: postStart and preStop ---- */
struct hook;
/* @cb: @error NULL when it went well. Called once, later. */
struct hook *hook_start(struct container_slot *s, const struct lifecycle_handler *h,
                        uint64_t deadline_ms, void (*cb)(void *arg, const char *error), void *arg);
struct hook *hook_cancel(struct hook *h); /* NULL is harmless; returns NULL */

/* Asks for a sync in @ms at the latest. */
void worker_wake_in(struct pod_worker *w, uint64_t ms);
