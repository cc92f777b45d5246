/* Shared by the cgroup files: the layout of the host, and what differs between v1 and v2. */
#pragma once

#include "base/cgroup.h"

struct cgroup_ops {
    /* A group's directory @dir was just made below @parent. */
    int (*inherit)(const struct cgroups *cgs, enum cgroup_controller c, const char *parent,
                   const char *dir, struct error *err);
    int (*set)(const struct cgroups *cgs, const char *path, const struct cgroup_limits *limits,
               struct strbuf *notes, struct error *err);
    int (*set_devices)(const struct cgroups *cgs, const char *path,
                       const struct cgroup_device *rules, size_t n, struct error *err);
    int (*kill)(const struct cgroups *cgs, const char *path, struct error *err);
    int (*freeze)(const struct cgroups *cgs, const char *path, bool frozen, struct error *err);
    int (*stats)(const struct cgroups *cgs, const char *path, struct cgroup_stats *ret,
                 struct error *err);
    uint64_t (*oom_kills)(const struct cgroups *cgs, const char *path);
};
extern const struct cgroup_ops cgroup_v1_ops, cgroup_v2_ops;

struct cgroups {
    enum cgroup_mode mode;
    const struct cgroup_ops *ops;
    char
        *mount[CGROUP_N_CONTROLLERS]; /* v1: of each hierarchy, NULL when not mounted; may repeat */
    char *unified;                    /* v2's mount point */
    bool has[CGROUP_N_CONTROLLERS];
    bool disabled[CGROUP_N_CONTROLLERS]; /* switched off on the kernel's command line */
};

/* One file of the group: reads (bounded) or writes text. -ENOENT when it is not there. */
int cgroup_file_read(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                     const char *file, struct strbuf *out, struct error *err);
int cgroup_file_write(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                      const char *file, const char *text, struct error *err);
/* The number after @key at the beginning of a line ("oom_kill 3"); whether it is there. */
bool cgroup_key(const char *text, const char *key, uint64_t *ret);
void cgroup_note(struct strbuf *notes, const char *fmt, ...) _printf_(2, 3);
/* Calls @each for every group at and below @path (parents first), in the hierarchy of @c. */
int cgroup_walk(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                int (*each)(const char *dir, void *arg, struct error *err), void *arg,
                struct error *err);
/* cgroup_devices_bpf.c: attaches a program with these rules to the v2 group directory. */
int cgroup_bpf_devices(const char *dir, const struct cgroup_device *rules, size_t n,
                       struct error *err);
