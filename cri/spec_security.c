/* The security half of a launch specification: user, capabilities, seccomp, devices; see spec.h. */
#include "cri/spec.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "cri/capabilities.h"
#include "cri/seccomp.h"

#define ID_MAX           ((int64_t)UINT32_MAX - 1)
#define PROFILE_SIZE_MAX (1U << 20)
#define SECURITY         "linux.security_context."

static int add_named(size_t n, char *const *names, const char *field, uint64_t *set,
                     struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bit;
        if (strcasecmp(names[i], "ALL") == 0)
            continue;
        if (!capability_parse(names[i], &bit))
            return error_set_field(err, -EINVAL, field, "%s: there is no capability \"%s\"", field,
                                   names[i]);
        *set |= bit;
    }
    return 0;
}

static bool has_all(size_t n, char *const *names)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(names[i], "ALL") == 0)
            return true;
    return false;
}

/* "ALL" in the lists first (dropping wins), then the named ones (dropping wins again). */
int spec_capabilities(const Runtime__V1__LinuxContainerSecurityContext *sc,
                      struct launch_process *ret, struct error *err)
{
    uint64_t all = capabilities_all();
    uint64_t set = capabilities_default();
    uint64_t ambient = 0;
    const Runtime__V1__Capability *c = sc->capabilities;
    if (c) {
        uint64_t add = 0, drop = 0;
        int r;
        if ((r = add_named(c->n_add_capabilities, c->add_capabilities,
                           SECURITY "capabilities.add_capabilities", &add, err)) < 0 ||
            (r = add_named(c->n_drop_capabilities, c->drop_capabilities,
                           SECURITY "capabilities.drop_capabilities", &drop, err)) < 0 ||
            (r = add_named(c->n_add_ambient_capabilities, c->add_ambient_capabilities,
                           SECURITY "capabilities.add_ambient_capabilities", &ambient, err)) < 0)
            return r;
        if (has_all(c->n_add_capabilities, c->add_capabilities))
            set = all;
        if (has_all(c->n_drop_capabilities, c->drop_capabilities))
            set = 0;
        set |= add | ambient;
        set &= ~drop;
        ambient &= ~drop;
    }
    if (sc->privileged)
        set = all;
    set &= all;
    ambient &= set;
    ret->cap_bounding = ret->cap_effective = ret->cap_permitted = set;
    ret->cap_inheritable = ret->cap_ambient = ambient;
    return 0;
}

static int load_profile(struct arena *a, const char *path, struct launch_process *ret,
                        struct error *err)
{
    const char *field = SECURITY "seccomp.localhost_ref";
    if (path[0] != '/')
        return error_set_field(err, -EINVAL, field, "%s: \"%s\" is not absolute", field, path);
    _cleanup_strbuf_ struct strbuf json = STRBUF_INIT;
    _cleanup_strbuf_ struct strbuf filter = STRBUF_INIT;
    int r = fs_read(path, PROFILE_SIZE_MAX, &json, err);
    if (r == 0)
        r = seccomp_from_json(strbuf_text(&json), json.len, &filter, &ret->seccomp_flags, err);
    if (r == 0 && !filter.len)
        r = error_set(err, -EINVAL, "empty");
    if (r < 0)
        return error_prefix(err, r, "seccomp profile %s", path);
    ret->seccomp = memcpy(arena_zalloc(a, filter.len), strbuf_text(&filter), filter.len);
    ret->seccomp_len = filter.len;
    return 0;
}

static int default_profile(struct arena *a, struct seccomp_cache *filters,
                           struct launch_process *ret, struct error *err)
{
    const struct strbuf *filter;
    int r = seccomp_cache_default(filters, ret->cap_bounding, &filter, err);
    if (r < 0)
        return error_prefix(err, r, "default seccomp profile");
    ret->seccomp = memcpy(arena_zalloc(a, filter->len), filter->data, filter->len);
    ret->seccomp_len = filter->len;
    return 0;
}

/* The field that kubelets before 1.19 filled. */
static int old_seccomp(struct arena *a, struct seccomp_cache *filters, const char *profile,
                       struct launch_process *ret, struct error *err)
{
    if (!profile || !*profile || str_eq(profile, "unconfined"))
        return 0;
    if (str_eq(profile, "runtime/default") || str_eq(profile, "docker/default"))
        return default_profile(a, filters, ret, err);
    if (str_starts(profile, "localhost/"))
        return load_profile(a, profile + strlen("localhost/"), ret, err);
    return error_set_field(err, -EINVAL, SECURITY "seccomp_profile_path",
                           SECURITY "seccomp_profile_path: \"%s\" is no profile", profile);
}

int spec_seccomp(struct arena *a, struct seccomp_cache *filters,
                 const Runtime__V1__LinuxContainerSecurityContext *sc, struct launch_process *ret,
                 struct error *err)
{
    if (sc->privileged)
        return 0;
    const Runtime__V1__SecurityProfile *p = sc->seccomp;
    if (!p)
        return old_seccomp(a, filters, sc->seccomp_profile_path, ret, err);
    switch (p->profile_type) {
    case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault:
        return default_profile(a, filters, ret, err);
    case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined:
        return 0;
    case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost:
        return load_profile(a, p->localhost_ref, ret, err);
    default:
        return error_set_field(err, -EINVAL, SECURITY "seccomp.profile_type",
                               SECURITY "seccomp.profile_type: no such type");
    }
}

static int check_id(int64_t id, const char *field, struct error *err)
{
    if (id >= 0 && id <= ID_MAX)
        return 0;
    return error_set_field(err, -EINVAL, field, "%s: %lld is no id", field, (long long)id);
}

static int groups(struct arena *a, const Runtime__V1__LinuxContainerSecurityContext *sc,
                  struct launch_process *ret, struct error *err)
{
    if (sc->n_supplemental_groups > LAUNCH_GROUPS_MAX)
        return error_set_field(err, -EINVAL, SECURITY "supplemental_groups",
                               SECURITY "supplemental_groups: more than %d", LAUNCH_GROUPS_MAX);
    gid_t *list = arena_array(a, sc->n_supplemental_groups, sizeof(*list));
    for (size_t i = 0; i < sc->n_supplemental_groups; i++) {
        int r = check_id(sc->supplemental_groups[i], SECURITY "supplemental_groups", err);
        if (r < 0)
            return r;
        list[i] = (gid_t)sc->supplemental_groups[i];
    }
    ret->groups = list;
    ret->n_groups = sc->n_supplemental_groups;
    ret->strict_groups =
        sc->supplemental_groups_policy == RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict;
    return 0;
}

int spec_user(struct arena *a, const Runtime__V1__LinuxContainerSecurityContext *sc,
              const char *image_user, struct launch_process *ret, struct error *err)
{
    int r;
    if (sc->run_as_user && sc->run_as_username[0])
        return error_set_field(err, -EINVAL, SECURITY "run_as_username",
                               "run_as_user and run_as_username exclude each other");
    if (sc->run_as_group && !sc->run_as_user && !sc->run_as_username[0])
        return error_set_field(err, -EINVAL, SECURITY "run_as_group",
                               "run_as_group needs run_as_user or run_as_username");
    ret->user = image_user ? image_user : "";
    if (sc->run_as_user) {
        if ((r = check_id(sc->run_as_user->value, SECURITY "run_as_user", err)) < 0)
            return r;
        ret->user = arena_printf(a, "%lld", (long long)sc->run_as_user->value);
        ret->uid = sc->run_as_user->value;
    } else if (sc->run_as_username[0]) {
        ret->user = sc->run_as_username;
    }
    if (sc->run_as_group) {
        if ((r = check_id(sc->run_as_group->value, SECURITY "run_as_group", err)) < 0)
            return r;
        ret->gid = sc->run_as_group->value;
    }
    return groups(a, sc, ret, err);
}

static int add_device(const char *host, const char *path, size_t i, struct launch_device *out,
                      struct error *err)
{
    struct stat st;
    if (stat(host, &st) < 0)
        return error_set_field(err, -errno, "devices", "devices[%zu].host_path: %s: %s", i, host,
                               strerror(errno));
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
        return error_set_field(err, -EINVAL, "devices",
                               "devices[%zu].host_path: %s is not a device", i, host);
    *out = (struct launch_device){.path = path,
                                  .type = S_ISCHR(st.st_mode) ? 'c' : 'b',
                                  .major = major(st.st_rdev),
                                  .minor = minor(st.st_rdev),
                                  .mode = st.st_mode & 07777,
                                  .uid = st.st_uid,
                                  .gid = st.st_gid};
    return 0;
}

/* A directory of devices (as /dev/snd) stands for those in it. */
static int add_directory(struct arena *a, const char *host, const char *path, size_t i,
                         struct launch_device *list, size_t *n, struct error *err)
{
    DIR *d = opendir(host);
    if (!d)
        return error_set_field(err, -errno, "devices", "devices[%zu].host_path: %s: %s", i, host,
                               strerror(errno));
    int r = 0;
    struct dirent *e;
    while (r >= 0 && (e = readdir(d))) {
        if (e->d_type != DT_CHR && e->d_type != DT_BLK)
            continue;
        if (*n >= LAUNCH_DEVICES_MAX) {
            r = error_set_field(err, -EINVAL, "devices", "more than %d devices",
                                LAUNCH_DEVICES_MAX);
            break;
        }
        r = add_device(arena_printf(a, "%s/%s", host, e->d_name),
                       arena_printf(a, "%s/%s", path, e->d_name), i, &list[*n], err);
        *n += r >= 0;
    }
    (void)closedir(d);
    return r;
}

int spec_devices(struct arena *a, const Runtime__V1__ContainerConfig *config,
                 struct launch_spec *ret, struct error *err)
{
    if (!config->n_devices)
        return 0;
    struct launch_device *list = arena_array(a, LAUNCH_DEVICES_MAX, sizeof(*list));
    size_t n = 0;
    for (size_t i = 0; i < config->n_devices; i++) {
        const Runtime__V1__Device *d = config->devices[i];
        const char *path = d->container_path[0] ? d->container_path : d->host_path;
        if (n >= LAUNCH_DEVICES_MAX)
            return error_set_field(err, -EINVAL, "devices", "more than %d devices",
                                   LAUNCH_DEVICES_MAX);
        if (d->host_path[0] != '/' || path[0] != '/')
            return error_set_field(err, -EINVAL, "devices", "devices[%zu]: paths must be absolute",
                                   i);
        if (d->permissions[strspn(d->permissions, "rwm")])
            return error_set_field(err, -EINVAL, "devices",
                                   "devices[%zu].permissions: \"%s\" is not of r, w, m", i,
                                   d->permissions);
        struct stat st;
        size_t first = n;
        int r;
        if (stat(d->host_path, &st) == 0 && S_ISDIR(st.st_mode))
            r = add_directory(a, d->host_path, path, i, list, &n, err);
        else if ((r = add_device(d->host_path, path, i, &list[n], err)) >= 0)
            n++;
        if (r < 0)
            return r;
        for (; first < n; first++)
            list[first].access = d->permissions;
    }
    ret->devices = list;
    ret->n_devices = n;
    return 0;
}
