/* Encodes launch specifications; see launch_spec.h. */
#include "cri/launch_spec.h"

#include <errno.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/tlv.h"
#include "cri/launch_wire.h"

const char *const launch_default_masked_paths[] = {"/proc/asound",
                                                   "/proc/acpi",
                                                   "/proc/interrupts",
                                                   "/proc/kcore",
                                                   "/proc/keys",
                                                   "/proc/latency_stats",
                                                   "/proc/timer_list",
                                                   "/proc/timer_stats",
                                                   "/proc/sched_debug",
                                                   "/proc/scsi",
                                                   "/sys/firmware",
                                                   "/sys/devices/virtual/powercap",
                                                   NULL};
const char *const launch_default_readonly_paths[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL};

/* Paths must be absolute and of a length the kernel takes. */
static int put_path(struct strbuf *out, uint16_t tag, const char *path, const char *field,
                    struct error *err)
{
    if (!path)
        return 0;
    if (path[0] != '/')
        return error_set_field(err, -EINVAL, field, "\"%.200s\" is not an absolute path", path);
    if (strlen(path) > LAUNCH_PATH_MAX)
        return error_set_field(err, -EINVAL, field, "longer than %d bytes", LAUNCH_PATH_MAX);
    tlv_put_string(out, tag, path);
    return 0;
}

static int put_list(struct strbuf *out, uint16_t tag, const char *const *list, size_t max,
                    bool paths, const char *field, struct error *err)
{
    for (size_t i = 0; list && list[i]; i++) {
        if (i == max)
            return error_set_field(err, -EINVAL, field, "more than %zu entries", max);
        int r = 0;
        if (paths)
            r = put_path(out, tag, list[i], field, err);
        else
            tlv_put_string(out, tag, list[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int put_identity(const struct launch_process *p, struct strbuf *out, struct error *err)
{
    if (p->n_groups > LAUNCH_GROUPS_MAX)
        return error_set_field(err, -EINVAL, "groups", "more than %d", LAUNCH_GROUPS_MAX);
    tlv_put_string(out, LT_USER, p->user);
    if (p->uid != LAUNCH_ID_UNSET)
        tlv_put_u64(out, LT_UID, (uint64_t)p->uid);
    if (p->gid != LAUNCH_ID_UNSET)
        tlv_put_u64(out, LT_GID, (uint64_t)p->gid);
    for (size_t i = 0; i < p->n_groups; i++)
        tlv_put_u64(out, LT_GROUP, p->groups[i]);
    tlv_put_u64(out, LT_STRICT_GROUPS, p->strict_groups);
    tlv_put_u64(out, LT_CAP_BOUNDING, p->cap_bounding);
    tlv_put_u64(out, LT_CAP_EFFECTIVE, p->cap_effective);
    tlv_put_u64(out, LT_CAP_PERMITTED, p->cap_permitted);
    tlv_put_u64(out, LT_CAP_INHERITABLE, p->cap_inheritable);
    tlv_put_u64(out, LT_CAP_AMBIENT, p->cap_ambient);
    tlv_put_u64(out, LT_NO_NEW_PRIVS, p->no_new_privs);
    return 0;
}

static int put_process(const struct launch_process *p, struct strbuf *out, struct error *err)
{
    if (!p->argv || !p->argv[0])
        return error_set_field(err, -EINVAL, "args", "no command: neither given nor in the image");
    int r = put_list(out, LT_ARG, p->argv, LAUNCH_ITEMS_MAX, false, "args", err);
    if (r == 0)
        r = put_list(out, LT_ENV, p->env, LAUNCH_ITEMS_MAX, false, "env", err);
    if (r == 0)
        r = put_path(out, LT_CWD, p->cwd, "cwd", err);
    if (r == 0)
        r = put_identity(p, out, err);
    if (r < 0)
        return r;
    if (p->seccomp) {
        if (p->seccomp_len == 0 || p->seccomp_len > LAUNCH_SECCOMP_MAX || p->seccomp_len % 8)
            return error_set_field(err, -EINVAL, "seccomp", "filter of %zu bytes", p->seccomp_len);
        tlv_put(out, LT_SECCOMP, p->seccomp, p->seccomp_len);
        if (p->seccomp_flags)
            tlv_put_u64(out, LT_SECCOMP_FLAGS, p->seccomp_flags);
    }
    tlv_put_string(out, LT_APPARMOR, p->apparmor);
    for (size_t i = 0; i < p->n_rlimits; i++) {
        size_t place = tlv_begin(out, LT_RLIMIT);
        tlv_put_u64(out, LT_R_RESOURCE, (uint64_t)p->rlimits[i].resource);
        tlv_put_u64(out, LT_R_SOFT, p->rlimits[i].soft);
        tlv_put_u64(out, LT_R_HARD, p->rlimits[i].hard);
        tlv_end(out, place);
    }
    if (p->oom_score_adj != INT64_MIN) {
        if (p->oom_score_adj < -1000 || p->oom_score_adj > 1000)
            return error_set_field(err, -EINVAL, "oom_score_adj", "not in -1000 … 1000");
        tlv_put_u64(out, LT_OOM_SCORE_ADJ, (uint64_t)p->oom_score_adj);
    }
    tlv_put_u64(out, LT_TTY, p->tty);
    tlv_put_u64(out, LT_TTY_COLUMNS, p->tty_columns);
    tlv_put_u64(out, LT_TTY_ROWS, p->tty_rows);
    return 0;
}

static int put_mounts(const struct launch_spec *s, struct strbuf *out, struct error *err)
{
    if (s->n_mounts > LAUNCH_MOUNTS_MAX)
        return error_set_field(err, -EINVAL, "mounts", "more than %d", LAUNCH_MOUNTS_MAX);
    if (s->n_devices > LAUNCH_DEVICES_MAX)
        return error_set_field(err, -EINVAL, "devices", "more than %d", LAUNCH_DEVICES_MAX);
    for (size_t i = 0; i < s->n_mounts; i++) {
        const struct launch_mount *m = &s->mounts[i];
        if (!m->source == !m->layers || !m->target)
            return error_set_field(err, -EINVAL, "mounts", "entry %zu has no source or target", i);
        size_t place = tlv_begin(out, LT_MOUNT);
        int r = put_path(out, LT_M_SOURCE, m->source, "mounts.host_path", err);
        if (r == 0)
            r = put_list(out, LT_M_LAYER, m->layers, LAUNCH_LAYERS_MAX, true, "mounts.image", err);
        if (r == 0 && m->sub_path && strlen(m->sub_path) > LAUNCH_PATH_MAX)
            r = error_set_field(err, -EINVAL, "mounts.image_sub_path", "longer than %d bytes",
                                LAUNCH_PATH_MAX);
        tlv_put_string(out, LT_M_SUB_PATH, m->sub_path);
        if (r == 0)
            r = put_path(out, LT_M_TARGET, m->target, "mounts.container_path", err);
        if (r < 0)
            return r;
        tlv_put_u64(out, LT_M_PROPAGATION, m->propagation);
        tlv_put_u64(out, LT_M_READONLY, m->readonly || m->recursive_readonly);
        tlv_put_u64(out, LT_M_RECURSIVE_READONLY, m->recursive_readonly);
        tlv_put_u64(out, LT_M_IDMAPPED, m->idmapped);
        tlv_end(out, place);
    }
    for (size_t i = 0; i < s->n_devices; i++) {
        const struct launch_device *d = &s->devices[i];
        size_t place = tlv_begin(out, LT_DEVICE);
        int r = put_path(out, LT_D_PATH, d->path, "devices.container_path", err);
        if (r < 0)
            return r;
        tlv_put_u64(out, LT_D_TYPE, (uint64_t)(unsigned char)d->type);
        tlv_put_u64(out, LT_D_MAJOR, d->major);
        tlv_put_u64(out, LT_D_MINOR, d->minor);
        tlv_put_u64(out, LT_D_MODE, d->mode);
        tlv_put_u64(out, LT_D_UID, d->uid);
        tlv_put_u64(out, LT_D_GID, d->gid);
        tlv_end(out, place);
    }
    return 0;
}

static int put_rootfs(const struct launch_spec *s, struct strbuf *out, struct error *err)
{
    int r = put_list(out, LT_LOWERDIR, s->lowerdirs, LAUNCH_LAYERS_MAX, true, "lowerdirs", err);
    if (r == 0)
        r = put_path(out, LT_UPPERDIR, s->upperdir, "upperdir", err);
    if (r == 0)
        r = put_path(out, LT_WORKDIR, s->workdir, "workdir", err);
    if (r == 0)
        r = put_path(out, LT_ROOTDIR, s->rootdir, "rootdir", err);
    if (r == 0)
        r = put_path(out, LT_SHM, s->shm_path, "shm_path", err);
    if (r == 0)
        r = put_mounts(s, out, err);
    if (r == 0)
        r = put_list(out, LT_MASKED, s->masked_paths, LAUNCH_MOUNTS_MAX, true, "masked_paths", err);
    if (r == 0)
        r = put_list(out, LT_READONLY, s->readonly_paths, LAUNCH_MOUNTS_MAX, true, "readonly_paths",
                     err);
    tlv_put_u64(out, LT_ROOT_READONLY, s->rootfs_readonly);
    tlv_put_u64(out, LT_PID_MODE, s->pid_mode);
    tlv_put_u64(out, LT_HOST_NETWORK, s->host_network);
    tlv_put_u64(out, LT_PRIVILEGED, s->privileged);
    if (s->userns) {
        tlv_put_u64(out, LT_USERNS_UID, s->userns_uid);
        tlv_put_u64(out, LT_USERNS_GID, s->userns_gid);
    }
    return r;
}

static void put_cgroup(const char *path, const struct cgroups *cgs, struct strbuf *out)
{
    if (!path || !cgs)
        return;
    if (cgroups_mode(cgs) == CGROUP_V2) {
        tlv_put_u64(out, LT_CGROUP_V2, 1); /* the shim clones into the group */
        return;
    }
    char **dirs;
    size_t n = cgroup_dirs(cgs, path, &dirs);
    for (size_t i = 0; i < n; i++)
        tlv_put_string(out, LT_CGROUP_JOIN, dirs[i]);
    (void)cgroup_dirs_free(dirs);
    for (int c = 0; c < CGROUP_N_CONTROLLERS; c++) {
        _cleanup_free_ char *dir = cgroup_dir(cgs, (enum cgroup_controller)c, path);
        if (!dir)
            continue;
        _cleanup_free_ char *view =
            str_printf("%s=%s", cgroup_controller_name((enum cgroup_controller)c), dir);
        tlv_put_string(out, LT_CGROUP_VIEW, view);
    }
}

int launch_spec_encode(const struct launch_spec *spec, const struct cgroups *cgs,
                       struct strbuf *out, struct error *err)
{
    size_t start = out->len;
    tlv_put_u64(out, LT_VERSION, LAUNCH_VERSION);
    int r = put_process(&spec->process, out, err);
    if (r == 0)
        r = put_rootfs(spec, out, err);
    if (r == 0)
        put_cgroup(spec->cgroup, cgs, out);
    if (r == 0 && out->len - start > LAUNCH_SPEC_MAX)
        r = error_set(err, -E2BIG, "specification larger than %u bytes", LAUNCH_SPEC_MAX);
    return r;
}
