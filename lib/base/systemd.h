/*
 * Scopes and slices of the systemd that runs this machine, over its private socket (what systemctl
 * uses as root; no message bus is needed), with sd-bus on our loop. A connection is made when there
 * is something to ask and closed soon after: every signal of the manager arrives on it, and an idle
 * daemon does not want to hear them.
 *
 * systemd.resource-control(5), org.freedesktop.systemd1(5).
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/loop.h"

#define SYSTEMD_SOCKET "/run/systemd/private"

/* ---- names (systemd_name.c, pure) ---- */

/* The group of a slice: "a-b-c.slice" is "/a.slice/a-b.slice/a-b-c.slice", "-.slice" is "". NULL
 * with
 * @err set when that is no name of a slice. Caller frees. */
char *systemd_slice_group(const char *slice, struct error *err);
/* The name of the slice that @parent means, by its name or by its group ("/a.slice/a-b.slice",
 * which must be where systemd puts it). NULL with @err set when it means none. Caller frees. */
char *systemd_slice_name(const char *parent, struct error *err);
/* The name of the slice that stands for a path of cgroupfs, as the kubelet makes it: "/a/b-c" is
 * "a-b_c.slice", "/" is "-.slice". Caller frees. */
char *systemd_slice_of_path(const char *path);

/* ---- the manager ---- */
struct systemd;
struct systemd_job; /* a request under way */

/* Connects, to see whether somebody answers there: -ENOTCONN with what is wrong. @socket NULL:
 * SYSTEMD_SOCKET. Waits for the answer: for when a daemon starts. */
int systemd_open(struct loop *loop, const char *socket, struct systemd **ret, struct error *err);
/* Forgets all requests. NULL is harmless; returns NULL. Not from within a callback. */
struct systemd *systemd_free(struct systemd *sd);
DEFINE_CLEANUP(struct systemd *, systemd_free);

/* @code 0, or -errno: -ETIMEDOUT, -ECONNRESET when the connection broke. Called once, always later
 * than the request, unless it was forgotten. */
typedef void systemd_done_fn(int code, const struct error *err, void *arg);

struct systemd_scope {
    const char *name;  /* "x.scope" */
    const char *slice; /* "a-b.slice"; made when it is not there */
    const char *description;
    pid_t pid; /* is moved into it; the scope ends with its last process */
};
/* Starts a delegated scope: what is below its group is ours, systemd leaves it alone. Accounting is
 * on, the number of tasks is not limited. -EEXIST when there is one of that name. */
struct systemd_job *systemd_start_scope(struct systemd *sd, const struct systemd_scope *scope,
                                        systemd_done_fn *done, void *arg);
struct systemd_slice {
    const char *name; /* "a-b.slice" */
    const char *description;
    /* The host has cgroup v2 alone: limits go by its names, CPUWeight and MemoryMax; else by
     * those of v1, CPUShares and MemoryLimit. */
    bool unified;
    /* Each: 0 as it is, UINT64_MAX no limit (of @cpu: the default). */
    uint64_t cpu;       /* weight, or shares */
    uint64_t cpu_quota; /* microseconds per second */
    uint64_t memory;    /* bytes */
    uint64_t tasks;
};
/* Starts a slice with these limits, or gives them to the one that there is. Accounting is on. */
struct systemd_job *systemd_start_slice(struct systemd *sd, const struct systemd_slice *slice,
                                        systemd_done_fn *done, void *arg);
/* Stops a unit: what is left in it is killed. One that is not there is success. */
struct systemd_job *systemd_stop_unit(struct systemd *sd, const char *name, systemd_done_fn *done,
                                      void *arg);
/* @done will not be called; what was asked for happens all the same. NULL is harmless. */
void systemd_job_forget(struct systemd_job *job);
