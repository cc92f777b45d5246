/* Decodes the launch specification; see launch_wire.h. Everything is bounded here. */
#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>

#include "base/tlv.h"
#include "cri/launch/launch.h"
#include "cri/launch_wire.h"

/* The lists that grow while records are read. */
struct list_of {
    const char **items;
    size_t n;
};
struct lists {
    struct list_of argv, env, lowerdirs, masked, readonly, join, view;
    struct launch_mount *mounts;
    struct launch_device *devices;
    struct launch_rlimit *rlimits;
    gid_t *groups;
};

static int add(struct list_of *l, const struct tlv_item *item, size_t max)
{
    const char *text = tlv_string(item);
    if (!text || l->n >= max)
        return -EINVAL;
    if ((l->n & (l->n + 1)) == 0) /* one more than a power of two is due: double */
        l->items = mem_grow(l->items, 2 * (l->n + 1) + 1, sizeof(*l->items));
    l->items[l->n++] = text;
    l->items[l->n] = NULL;
    return 0;
}

static int text(const struct tlv_item *item, const char **ret)
{
    *ret = tlv_string(item);
    return *ret ? 0 : -EINVAL;
}

static int path(const struct tlv_item *item, const char **ret)
{
    int r = text(item, ret);
    return r == 0 && ((*ret)[0] != '/' || item->len > LAUNCH_PATH_MAX + 1) ? -EINVAL : r;
}

static int number(const struct tlv_item *item, uint64_t max, uint64_t *ret)
{
    return tlv_u64(item, ret) && *ret <= max ? 0 : -EINVAL;
}

static int flag(const struct tlv_item *item, bool *ret)
{
    uint64_t v;
    int r = number(item, 1, &v);
    if (r == 0)
        *ret = v;
    return r;
}

static int decode_mount(const struct tlv_item *item, struct launch_mount *m)
{
    struct tlv_reader in = tlv_read(item->data, item->len);
    struct list_of layers = {.items = NULL};
    struct tlv_item i;
    int r;
    while ((r = tlv_next(&in, &i)) > 0) {
        uint64_t v = 0;
        switch (i.tag) {
        case LT_M_SOURCE:
            r = path(&i, &m->source);
            break;
        case LT_M_TARGET:
            r = path(&i, &m->target);
            break;
        case LT_M_PROPAGATION:
            r = number(&i, LAUNCH_SHARED, &v);
            m->propagation = (enum launch_propagation)v;
            break;
        case LT_M_READONLY:
            r = flag(&i, &m->readonly);
            break;
        case LT_M_RECURSIVE_READONLY:
            r = flag(&i, &m->recursive_readonly);
            break;
        case LT_M_IDMAPPED:
            r = flag(&i, &m->idmapped);
            break;
        case LT_M_LAYER:
            r = add(&layers, &i, LAUNCH_LAYERS_MAX);
            m->layers = layers.items;
            r = r == 0 && layers.items[layers.n - 1][0] != '/' ? -EINVAL : r;
            break;
        case LT_M_SUB_PATH:
            r = text(&i, &m->sub_path);
            break;
        default:
            break;
        }
        if (r < 0)
            return r;
    }
    return r < 0 ? r : !m->source == !m->layers || !m->target ? -EINVAL : 0;
}

static int decode_device(const struct tlv_item *item, struct launch_device *d)
{
    struct tlv_reader in = tlv_read(item->data, item->len);
    struct tlv_item i;
    int r;
    while ((r = tlv_next(&in, &i)) > 0) {
        uint64_t v = 0;
        r = i.tag == LT_D_PATH ? path(&i, &d->path) : number(&i, UINT32_MAX, &v);
        if (r < 0)
            return r;
        switch (i.tag) {
        case LT_D_TYPE:
            d->type = (char)v;
            break;
        case LT_D_MAJOR:
            d->major = (uint32_t)v;
            break;
        case LT_D_MINOR:
            d->minor = (uint32_t)v;
            break;
        case LT_D_MODE:
            d->mode = (mode_t)(v & 07777);
            break;
        case LT_D_UID:
            d->uid = (uid_t)v;
            break;
        case LT_D_GID:
            d->gid = (gid_t)v;
            break;
        default:
            break;
        }
    }
    return r < 0 ? r : d->path && (d->type == 'c' || d->type == 'b') ? 0 : -EINVAL;
}

static int decode_rlimit(const struct tlv_item *item, struct launch_rlimit *l)
{
    struct tlv_reader in = tlv_read(item->data, item->len);
    struct tlv_item i;
    int r;
    while ((r = tlv_next(&in, &i)) > 0) {
        uint64_t v = 0;
        r = number(&i, i.tag == LT_R_RESOURCE ? 63 : UINT64_MAX, &v);
        if (r < 0)
            return r;
        switch (i.tag) {
        case LT_R_RESOURCE:
            l->resource = (int)v;
            break;
        case LT_R_SOFT:
            l->soft = v;
            break;
        case LT_R_HARD:
            l->hard = v;
            break;
        default:
            break;
        }
    }
    return r;
}

static int decode_identity(const struct tlv_item *i, struct launch_process *p, struct lists *l)
{
    uint64_t v = 0;
    int r = 0;
    switch (i->tag) {
    case LT_USER:
        return text(i, &p->user);
    case LT_STRICT_GROUPS:
        return flag(i, &p->strict_groups);
    case LT_NO_NEW_PRIVS:
        return flag(i, &p->no_new_privs);
    case LT_CAP_BOUNDING:
        return number(i, UINT64_MAX, &p->cap_bounding);
    case LT_CAP_EFFECTIVE:
        return number(i, UINT64_MAX, &p->cap_effective);
    case LT_CAP_PERMITTED:
        return number(i, UINT64_MAX, &p->cap_permitted);
    case LT_CAP_INHERITABLE:
        return number(i, UINT64_MAX, &p->cap_inheritable);
    case LT_CAP_AMBIENT:
        return number(i, UINT64_MAX, &p->cap_ambient);
    default:
        break;
    }
    /* Identities: UINT32_MAX means "leave" to the kernel and is no identity. */
    r = number(i, UINT32_MAX - 1, &v);
    if (r < 0)
        return r;
    if (i->tag == LT_UID)
        p->uid = (int64_t)v;
    else if (i->tag == LT_GID)
        p->gid = (int64_t)v;
    else {
        if (p->n_groups >= LAUNCH_GROUPS_MAX)
            return -EINVAL;
        l->groups = mem_grow(l->groups, p->n_groups + 1, sizeof(gid_t));
        l->groups[p->n_groups++] = (gid_t)v;
    }
    return 0;
}

static int decode_process(const struct tlv_item *i, struct launch_process *p, struct lists *l)
{
    uint64_t v = 0;
    int r = 0;
    switch (i->tag) {
    case LT_ARG:
        return add(&l->argv, i, LAUNCH_ITEMS_MAX);
    case LT_ENV:
        return add(&l->env, i, LAUNCH_ITEMS_MAX);
    case LT_CWD:
        return path(i, &p->cwd);
    case LT_SECCOMP:
        p->seccomp = i->data;
        p->seccomp_len = i->len;
        return i->len && i->len % 8 == 0 && i->len <= LAUNCH_SECCOMP_MAX ? 0 : -EINVAL;
    case LT_SECCOMP_FLAGS:
        r = number(i, SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &v);
        p->seccomp_flags = (unsigned)v;
        return r;
    case LT_APPARMOR:
        return text(i, &p->apparmor);
    case LT_RLIMIT:
        if (p->n_rlimits >= 64)
            return -EINVAL;
        l->rlimits = mem_grow(l->rlimits, p->n_rlimits + 1, sizeof(*l->rlimits));
        l->rlimits[p->n_rlimits] = (struct launch_rlimit){.resource = 0};
        return decode_rlimit(i, &l->rlimits[p->n_rlimits++]);
    case LT_OOM_SCORE_ADJ:
        r = number(i, UINT64_MAX, &v);
        p->oom_score_adj = (int64_t)v;
        return r < 0 || p->oom_score_adj < -1000 || p->oom_score_adj > 1000 ? -EINVAL : 0;
    case LT_TTY:
        return flag(i, &p->tty);
    case LT_TTY_COLUMNS:
        r = number(i, UINT16_MAX, &v);
        p->tty_columns = (uint16_t)v;
        return r;
    case LT_TTY_ROWS:
        r = number(i, UINT16_MAX, &v);
        p->tty_rows = (uint16_t)v;
        return r;
    default:
        return decode_identity(i, p, l);
    }
}

static int decode_container(const struct tlv_item *i, struct launch_job *job, struct lists *l)
{
    struct launch_spec *s = &job->spec;
    uint64_t v = 0;
    int r;
    switch (i->tag) {
    case LT_LOWERDIR:
        return add(&l->lowerdirs, i, LAUNCH_LAYERS_MAX);
    case LT_UPPERDIR:
        return path(i, &s->upperdir);
    case LT_WORKDIR:
        return path(i, &s->workdir);
    case LT_ROOTDIR:
        return path(i, &s->rootdir);
    case LT_ROOT_READONLY:
        return flag(i, &s->rootfs_readonly);
    case LT_PID_MODE:
        r = number(i, LAUNCH_PID_TARGET, &v);
        s->pid_mode = (enum launch_pid_mode)v;
        return r;
    case LT_HOST_NETWORK:
        return flag(i, &s->host_network);
    case LT_PRIVILEGED:
        return flag(i, &s->privileged);
    case LT_SHM:
        return path(i, &s->shm_path);
    case LT_MOUNT:
        if (s->n_mounts >= LAUNCH_MOUNTS_MAX)
            return -EINVAL;
        l->mounts = mem_grow(l->mounts, s->n_mounts + 1, sizeof(*l->mounts));
        l->mounts[s->n_mounts] = (struct launch_mount){.source = NULL};
        return decode_mount(i, &l->mounts[s->n_mounts++]);
    case LT_DEVICE:
        if (s->n_devices >= LAUNCH_DEVICES_MAX)
            return -EINVAL;
        l->devices = mem_grow(l->devices, s->n_devices + 1, sizeof(*l->devices));
        l->devices[s->n_devices] = (struct launch_device){.path = NULL};
        return decode_device(i, &l->devices[s->n_devices++]);
    case LT_MASKED:
        return add(&l->masked, i, LAUNCH_MOUNTS_MAX);
    case LT_READONLY:
        return add(&l->readonly, i, LAUNCH_MOUNTS_MAX);
    case LT_CGROUP_JOIN:
        return add(&l->join, i, 64);
    case LT_CGROUP_VIEW:
        return add(&l->view, i, 64);
    case LT_CGROUP_V2:
        return flag(i, &job->cgroup_v2);
    case LT_USERNS_UID:
        s->userns = true;
        r = number(i, UINT32_MAX - 1, &v);
        s->userns_uid = (uid_t)v;
        return r;
    case LT_USERNS_GID:
        r = number(i, UINT32_MAX - 1, &v);
        s->userns_gid = (gid_t)v;
        return r;
    default:
        return 0; /* of a later release */
    }
}

/* Hands the lists to the job. */
static void take_lists(struct launch_job *job, struct lists *l)
{
    struct launch_spec *s = &job->spec;
    s->process.argv = l->argv.items;
    s->process.env = l->env.items;
    s->process.rlimits = l->rlimits;
    s->process.groups = l->groups;
    s->lowerdirs = l->lowerdirs.items;
    s->masked_paths = l->masked.items;
    s->readonly_paths = l->readonly.items;
    s->mounts = l->mounts;
    s->devices = l->devices;
    job->cgroup_join = l->join.items;
    job->cgroup_view = l->view.items;
}

int launch_decode(const void *data, size_t len, struct launch_job *ret, struct error *err)
{
    struct lists l = {.mounts = NULL};
    *ret = (struct launch_job){.spec.process = LAUNCH_PROCESS_INIT,
                               .root_fd = -1,
                               .dev_fd = -1,
                               .pts_fd = -1,
                               .shm_fd = -1};
    struct tlv_reader in = tlv_read(data, len > LAUNCH_SPEC_MAX ? 0 : len);
    struct tlv_item i;
    uint64_t version = 0;
    int r = tlv_next(&in, &i);
    if (r != 1 || i.tag != LT_VERSION || !tlv_u64(&i, &version) || version != LAUNCH_VERSION)
        return error_set(err, -EBADMSG, "launch specification: not of version %d", LAUNCH_VERSION);
    while ((r = tlv_next(&in, &i)) > 0) {
        r = i.tag < LT_LOWERDIR ? decode_process(&i, &ret->spec.process, &l)
                                : decode_container(&i, ret, &l);
        if (r < 0) {
            take_lists(ret, &l);
            return error_set(err, r, "launch specification: record %d is not valid", i.tag);
        }
    }
    take_lists(ret, &l);
    if (r < 0)
        return error_set(err, r, "launch specification: cut short");
    if (!ret->spec.process.argv)
        return error_set(err, -EINVAL, "launch specification: no command");
    return 0;
}

void launch_job_done(struct launch_job *job)
{
    const struct launch_spec *s = &job->spec;
    for (size_t i = 0; i < s->n_mounts; i++)
        free((void *)(uintptr_t)s->mounts[i].layers);
    const void *owned[] = {s->process.argv, s->process.env,   s->process.rlimits, s->process.groups,
                           s->lowerdirs,    s->masked_paths,  s->readonly_paths,  s->mounts,
                           s->devices,      job->cgroup_join, job->cgroup_view};
    for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
        free((void *)(uintptr_t)owned[i]);
    free(job->groups);
    free(job->home);
    free(job->mapped);
    free(job->binds);
}
