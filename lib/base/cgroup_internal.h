/* Shared by the cgroup files: the layout of the host, and what differs between v1 and v2. */
#pragma once

#include "base/cgroup.h"

#define CGROUP_UNDO_MAX 48

/* A set of limits on its way into the group's files (cgroup_set.c). */
struct cgroup_undo {
    enum cgroup_controller controller;
    char *file, *old;
};
struct cgroup_change {
    const struct cgroups *cgs;
    const char *path;
    struct strbuf *notes;
    struct cgroup_undo undo[CGROUP_UNDO_MAX];
    size_t n;
};
/* Writes a file where the controller and the file are there, a note where not. NULL, "" and
 * CGROUP_UNSET leave it. The error's field is the file. */
int cgroup_put_text(struct cgroup_change *change, enum cgroup_controller c, const char *file,
                    const char *text, struct error *err);
int cgroup_put(struct cgroup_change *change, enum cgroup_controller c, const char *file,
               int64_t value, struct error *err);

struct cgroup_ops {
    /* A group's directory @dir was just made below @parent. */
    int (*inherit)(const struct cgroups *cgs, enum cgroup_controller c, const char *parent,
                   const char *dir, struct error *err);
    int (*set)(struct cgroup_change *change, const struct cgroup_limits *limits, struct error *err);
    int (*set_devices)(const struct cgroups *cgs, const char *path,
                       const struct cgroup_device *rules, size_t n, struct error *err);
    int (*kill)(const struct cgroups *cgs, const char *path, struct error *err);
    int (*freeze)(const struct cgroups *cgs, const char *path, bool frozen, struct error *err);
    void (*stats)(const struct cgroups *cgs, const char *path, struct cgroup_stats *ret);
    void (*details)(const struct cgroups *cgs, const char *path, struct cgroup_details *ret);
    size_t (*io)(const struct cgroups *cgs, const char *path, struct cgroup_io *list, size_t max);
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
/* The hierarchy whose processes count: one that every mode has. */
enum cgroup_controller cgroup_any_controller(const struct cgroups *cgs);
/* Whether the group is there in the hierarchy of @c. */
bool cgroup_exists(const struct cgroups *cgs, enum cgroup_controller c, const char *path);
/* The number after @key at the beginning of a line ("oom_kill 3"); whether it is there. */
bool cgroup_key(const char *text, const char *key, uint64_t *ret);
/* The number of a file, "max" is UINT64_MAX; whether it could be read. */
bool cgroup_number(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                   const char *file, uint64_t *ret);
/* Of a text of lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0". */
void cgroup_parse_psi(const char *text, struct cgroup_psi *ret);
/* The device that a line begins with ("8:0 …"), in @list or added to it, and *rest after it. NULL:
 * no such line, or no room. */
struct cgroup_io *cgroup_io_line(const char *line, struct cgroup_io *list, size_t *n, size_t max,
                                 const char **rest);
void cgroup_note(struct strbuf *notes, const char *fmt, ...) _printf_(2, 3);
/* Calls @each for every group at and below @path (parents first), in the hierarchy of @c. */
int cgroup_walk(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                int (*each)(const char *dir, void *arg, struct error *err), void *arg,
                struct error *err);
/* cgroup_devices_bpf.c: attaches a program with these rules to the v2 group directory. */
int cgroup_bpf_devices(const char *dir, const struct cgroup_device *rules, size_t n,
                       struct error *err);
