/*
 * Control groups on whatever the host has: v2 (unified), v1, or hybrid (controllers on v1 mounts).
 * Callers name a group by one path below every hierarchy ("/kubepods/pod1/abc"); what that means in
 * directories is the back end's business. A controller that the host lacks, or that the boot
 * loader switched off, never fails a call: what could not be applied is reported as a note.
 *
 * Nothing here blocks longer than a few system calls; nothing here logs.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/strbuf.h"

enum cgroup_mode {
    CGROUP_V1,     /* every hierarchy a v1 mount */
    CGROUP_HYBRID, /* controllers on v1 mounts, and a v2 tree without any */
    CGROUP_V2,     /* one tree */
};

enum cgroup_controller {
    CGROUP_CPU,
    CGROUP_CPUACCT, /* v1 only; part of cpu in v2 */
    CGROUP_CPUSET,
    CGROUP_MEMORY,
    CGROUP_PIDS,
    CGROUP_DEVICES, /* v1 controller; an eBPF program in v2 */
    CGROUP_FREEZER, /* v1 controller; cgroup.freeze in v2 */
    CGROUP_BLKIO,   /* "io" in v2 */
    CGROUP_HUGETLB,
    CGROUP_SYSTEMD, /* v1's "name=systemd" */
    CGROUP_N_CONTROLLERS,
};

struct cgroups; /* the host's layout; immutable once open */

/* Looks at the host. @mountpoint is where cgroups are mounted; NULL means /sys/fs/cgroup. */
int cgroups_open(const char *mountpoint, struct cgroups **ret, struct error *err);
struct cgroups *cgroups_free(struct cgroups *cgs); /* returns NULL */
DEFINE_CLEANUP(struct cgroups *, cgroups_free);

enum cgroup_mode cgroups_mode(const struct cgroups *cgs);
const char *cgroup_controller_name(enum cgroup_controller c);
/* Whether limits of @c can be set. Where not, *reason (may be NULL) says why in a form for people:
 * "not in this kernel", "disabled at boot (add cgroup_enable=memory …)". Static text. */
bool cgroups_has(const struct cgroups *cgs, enum cgroup_controller c, const char **reason);

/* The group of process @pid (0: ours), "/" when it is a root: the path below which a daemon may
 * nest. Of the memory (v1) or unified (v2) hierarchy. Caller frees. */
int cgroup_of(const struct cgroups *cgs, pid_t pid, char **ret_path, struct error *err);

/* The directory of group @path in the hierarchy of @c (any @c in v2); NULL when there is none.
 * Caller frees. */
char *cgroup_dir(const struct cgroups *cgs, enum cgroup_controller c, const char *path);
/* Every distinct directory that makes up group @path, in the order of enum cgroup_controller:
 * *ret is a NULL-terminated array, to be freed with cgroup_dirs_free(). One element in v2. */
size_t cgroup_dirs(const struct cgroups *cgs, const char *path, char ***ret);
char **cgroup_dirs_free(char **dirs);

/* Makes the group and its parents in every hierarchy; delegates the controllers on the way (v2) and
 * gives each new cpuset its parent's processors and nodes (v1). An existing group is success. */
int cgroup_create(const struct cgroups *cgs, const char *path, struct error *err);
/* Makes the group in the unified tree of a hybrid host, where groups have no meaning but that
 * systemd takes a unit's processes from it; cgroup_remove() removes it there, too. *ret_dir is its
 * directory, NULL on hosts that are not hybrid. Caller frees. */
int cgroup_create_unified(const struct cgroups *cgs, const char *path, char **ret_dir,
                          struct error *err);

#define CGROUP_UNSET     INT64_MIN /* leave as it is */
#define CGROUP_UNLIMITED (-1)      /* no limit */

struct cgroup_hugetlb {
    const char *page_size; /* as the kernel names its files: "2MB", "1GB" */
    uint64_t limit;        /* bytes */
};

struct cgroup_limits {
    int64_t cpu_shares;   /* v1's scale, 2 … 262144; becomes cpu.weight in v2 */
    int64_t cpu_quota;    /* microseconds per period; CGROUP_UNLIMITED */
    int64_t cpu_period;   /* microseconds */
    int64_t memory_limit; /* bytes; CGROUP_UNLIMITED */
    /* Memory plus swap, bytes (v1's meaning); CGROUP_UNLIMITED. v2 gets the difference to the
     * memory limit, the one set here or else the group's; unlimited memory without a word on swap
     * is unlimited swap. */
    int64_t memory_swap;
    int64_t pids_limit;  /* CGROUP_UNLIMITED */
    const char *cpus;    /* cpuset list "0-1,3"; NULL: leave */
    const char *mems;    /* cpuset nodes; NULL: leave */
    int64_t memory_low;  /* v2 memory.low; a note on v1 */
    int64_t memory_min;  /* v2 memory.min */
    int64_t memory_high; /* v2 memory.high */
    bool oom_group;      /* v2 memory.oom.group: the kernel kills all of the group together */
    const struct cgroup_hugetlb *hugetlb;
    size_t n_hugetlb;
    const char *const *unified; /* v2: "file=value", NULL-terminated; NULL: none */
};
#define CGROUP_LIMITS_INIT                                                                     \
    {                                                                                          \
        .cpu_shares = CGROUP_UNSET, .cpu_quota = CGROUP_UNSET, .cpu_period = CGROUP_UNSET,     \
        .memory_limit = CGROUP_UNSET, .memory_swap = CGROUP_UNSET, .pids_limit = CGROUP_UNSET, \
        .memory_low = CGROUP_UNSET, .memory_min = CGROUP_UNSET, .memory_high = CGROUP_UNSET    \
    }

/* Applies what is set. @notes (may be NULL) gathers, one a line, what this host cannot do. On
 * failure the group has its old limits again; the error's field is the member or file at fault.
 * -EINVAL for a value the kernel refuses, and for a unified setting that is not a file of a
 * controller; -ENOTSUP for a unified setting on v1, or of a controller or file that this host
 * lacks; -EBUSY when the group still uses more memory than the new limit after the kernel
 * reclaimed what it could: nothing is killed. May take as long as reclaiming takes. */
int cgroup_set(const struct cgroups *cgs, const char *path, const struct cgroup_limits *limits,
               struct strbuf *notes, struct error *err);
/* v1's cpu.shares on v2's scale and back: the curve of the current runtimes (cgroup_set.c). */
uint64_t cgroup_shares_to_weight(uint64_t shares);
uint64_t cgroup_weight_to_shares(uint64_t weight);

struct cgroup_device {
    char type;            /* 'c', 'b', or 'a' for all */
    int64_t major, minor; /* -1: any */
    bool read, write, mknod;
    bool allow;
};
/* Sets the device rules of the group, replacing what was: the first element is the default
 * ({'a', -1, -1, …, allow}), each later one wins over those before it. */
int cgroup_set_devices(const struct cgroups *cgs, const char *path,
                       const struct cgroup_device *rules, size_t n, struct error *err);

/* Moves a process into the group, in every hierarchy. */
int cgroup_add_pid(const struct cgroups *cgs, const char *path, pid_t pid, struct error *err);
/* The processes in the group and, with @recursive, below it. Caller frees *ret. A group that is not
 * there has none. */
int cgroup_pids(const struct cgroups *cgs, const char *path, bool recursive, pid_t **ret, size_t *n,
                struct error *err);
/* Sends SIGKILL to every process in the group and below, such that none escapes by forking. They
 * die soon after this returns. A missing group is success. */
int cgroup_kill(const struct cgroups *cgs, const char *path, struct error *err);
int cgroup_freeze(const struct cgroups *cgs, const char *path, bool frozen, struct error *err);
/* Removes the group and those below it. A missing group is success. -EBUSY while processes are in
 * it: try again when they have exited. */
int cgroup_remove(const struct cgroups *cgs, const char *path, struct error *err);

/* Pressure stall information: how long tasks waited for a resource (cgroup v2, where the kernel
 * counts it). */
struct cgroup_psi {
    bool there;
    struct cgroup_psi_line {
        uint64_t total_us;
        double avg10, avg60, avg300; /* percent */
    } some, full;                    /* some of the tasks waited; all of them did */
};

struct cgroup_stats {
    uint64_t cpu_usage_ns;       /* since the group was made */
    uint64_t memory_usage;       /* bytes, page cache included */
    uint64_t memory_working_set; /* usage less inactive file pages */
    uint64_t memory_rss;         /* anonymous memory */
    uint64_t page_faults, major_page_faults;
    uint64_t memory_limit; /* UINT64_MAX: none */
    uint64_t swap_usage;
    uint64_t swap_limit; /* UINT64_MAX: none */
    uint64_t pids;       /* tasks: threads count */
    struct cgroup_psi cpu_psi, memory_psi, io_psi;
    bool has_cpu, has_memory, has_swap, has_pids;
};
/* -ENOENT when the group is not there. */
int cgroup_stats(const struct cgroups *cgs, const char *path, struct cgroup_stats *ret,
                 struct error *err);

/* What only a close look asks for: 0 where the host does not count it. */
struct cgroup_details {
    uint64_t cpu_user_ns, cpu_system_ns;
    uint64_t cpu_periods, cpu_throttled_periods, cpu_throttled_ns; /* of the quota */
    uint64_t cpu_shares, cpu_period;                               /* v1's scale; microseconds */
    int64_t cpu_quota;                                             /* CGROUP_UNLIMITED */
    uint64_t memory_cache, memory_mapped_file, memory_kernel, memory_active_file,
        memory_inactive_file;
    uint64_t memory_peak;     /* the most that was ever used; 0: not counted */
    uint64_t memory_failures; /* how often the limit was hit */
    uint64_t pids_limit;      /* UINT64_MAX: none */
    uint64_t processes;
};
/* -ENOENT when the group is not there. */
int cgroup_details(const struct cgroups *cgs, const char *path, struct cgroup_details *ret,
                   struct error *err);

struct cgroup_io {
    unsigned major, minor; /* of the block device */
    uint64_t read_bytes, written_bytes, reads, writes;
};
#define CGROUP_IO_MAX 64
/* What the group read from and wrote to block devices; returns how many of @list were filled. */
size_t cgroup_io(const struct cgroups *cgs, const char *path, struct cgroup_io *list, size_t max);

/* How many processes of the group the kernel killed for want of memory. 0 where it is not known. */
uint64_t cgroup_oom_kills(const struct cgroups *cgs, const char *path);
