/*
 * The pod's namespaces. The shim unshares them itself and stays in them, so that whatever it starts
 * is born there; bind mounts keep them for as long as the daemon wants, also when the shim is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cri/shim/shim.h"

static const struct {
    unsigned bit;
    int flag;
    const char *name;
} kinds[] = {{1, CLONE_NEWNET, "net"}, {2, CLONE_NEWIPC, "ipc"}, {4, CLONE_NEWUTS, "uts"}};

static uint64_t *setup_number(struct shim_setup *setup, uint16_t tag)
{
    switch (tag) {
    case SETUP_NAMESPACES:
        return &setup->namespaces;
    case SETUP_SHM_SIZE:
        return &setup->shm_size;
    case SETUP_SHARE_PID:
        return &setup->share_pid;
    case SETUP_UID_HOST:
        return &setup->uids.host;
    case SETUP_UID_LENGTH:
        return &setup->uids.length;
    case SETUP_GID_HOST:
        return &setup->gids.host;
    case SETUP_GID_LENGTH:
        return &setup->gids.length;
    default:
        return NULL;
    }
}

static int setup_text(struct shim_setup *setup, uint16_t tag, const char *text)
{
    switch (tag) {
    case SETUP_LIBEXEC:
        setup->libexec = text;
        break;
    case SETUP_CGROUP_V2:
        setup->cgroup_v2 = text;
        break;
    case SETUP_HOSTNAME:
        setup->hostname = text;
        break;
    case SETUP_CGROUP_V1:
        if (setup->n_cgroup_v1 == ARRAY_SIZE(setup->cgroup_v1))
            return -EBADMSG;
        setup->cgroup_v1[setup->n_cgroup_v1++] = text;
        break;
    case SETUP_SYSCTL:
        if (setup->n_sysctls == ARRAY_SIZE(setup->sysctls))
            return -EBADMSG;
        setup->sysctls[setup->n_sysctls++] = text;
        break;
    default:
        return 0; /* of a later release */
    }
    return text ? 0 : -EBADMSG;
}

static bool ids_valid(const struct shim_ids *ids)
{
    return ids->host <= UINT32_MAX && ids->length <= UINT32_MAX &&
           ids->host + ids->length <= UINT32_MAX && (!ids->length || ids->host);
}

int setup_decode(const void *data, size_t len, struct shim_setup *ret)
{
    struct tlv_reader in = tlv_read(data, len);
    struct tlv_item i;
    int r;
    *ret = (struct shim_setup){.libexec = NULL};
    while ((r = tlv_next(&in, &i)) > 0) {
        uint64_t *number = setup_number(ret, i.tag);
        if (number)
            r = tlv_u64(&i, number) ? 0 : -EBADMSG;
        else
            r = setup_text(ret, i.tag, tlv_string(&i));
        if (r < 0)
            return r;
    }
    if (r < 0 || !ret->libexec || ret->namespaces > 7 || !ids_valid(&ret->uids) ||
        !ids_valid(&ret->gids) || !ret->uids.length != !ret->gids.length)
        return -EBADMSG;
    return 0;
}

static int pin(const char *from, const char *name, struct error *err)
{
    _cleanup_free_ char *to = str_printf("ns/%s", name);
    int fd = open(to, O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
    if (fd < 0)
        return error_errno(err, -errno, "make %s", to);
    (void)close(fd);
    if (mount(from, to, NULL, MS_BIND, NULL) < 0)
        return error_errno(err, -errno, "pin the %s namespace", name);
    return 0;
}

static int loopback_up(struct error *err)
{
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK};
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
        return error_errno(err, -errno, "bring up the loopback interface");
    return 0;
}

static int set_sysctl(const char *setting, struct error *err)
{
    const char *equals = strchr(setting, '=');
    size_t len = equals ? (size_t)(equals - setting) : 0;
    _cleanup_free_ char *path = str_printf("/proc/sys/%.*s", (int)len, setting);
    if (!len || strstr(path, ".."))
        return error_set(err, -EINVAL, "sysctl %s", setting);
    int r = fs_write_text(path, equals + 1, err);
    return r < 0 ? error_prefix(err, r, "sysctl") : 0;
}

static int pin_all(const struct shim *shim, const struct shim_setup *setup, struct error *err)
{
    int r = 0;
    if (mkdir("ns", 0755) < 0 && errno != EEXIST)
        return error_errno(err, -errno, "make ns");
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++) {
        _cleanup_free_ char *from = str_printf("/proc/self/ns/%s", kinds[i].name);
        if (setup->namespaces & kinds[i].bit)
            r = pin(from, kinds[i].name, err);
    }
    if (r == 0 && shim->user_ns >= 0) {
        _cleanup_free_ char *from = str_printf("/proc/self/fd/%d", shim->user_ns);
        r = pin(from, "user", err);
    }
    return r;
}

/* Its root directory belongs to the root of the pod's user namespace. */
static int mount_shm(const struct shim_setup *setup, struct error *err)
{
    char options[96];
    (void)snprintf(options, sizeof(options), "mode=1777,size=%llu,uid=%llu,gid=%llu",
                   (unsigned long long)setup->shm_size, (unsigned long long)setup->uids.host,
                   (unsigned long long)setup->gids.host);
    if ((mkdir("shm", 0755) < 0 && errno != EEXIST) ||
        mount("shm", "shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
        return error_errno(err, -errno, "mount the pod's /dev/shm");
    return 0;
}

int namespaces_make(struct shim *shim, const struct shim_setup *setup, struct error *err)
{
    int flags = 0, r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        flags |= setup->namespaces & kinds[i].bit ? kinds[i].flag : 0;
    if (setup->uids.length)
        r = userns_make(shim, setup, flags, err);
    else if (flags && unshare(flags) < 0)
        r = error_errno(err, -errno, "make the pod's namespaces");
    if (r == 0 && (flags || setup->uids.length))
        r = pin_all(shim, setup, err);
    if (r == 0 && flags & CLONE_NEWNET)
        r = loopback_up(err);
    if (r == 0 && flags & CLONE_NEWUTS && setup->hostname &&
        sethostname(setup->hostname, strlen(setup->hostname)) < 0)
        r = error_errno(err, -errno, "set the host name");
    for (size_t i = 0; r == 0 && i < setup->n_sysctls; i++)
        r = set_sysctl(setup->sysctls[i], err);
    if (r == 0 && setup->shm_size)
        r = mount_shm(setup, err);
    return r;
}

void namespaces_undo(const struct shim_setup *setup)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        _cleanup_free_ char *path = str_printf("ns/%s", kinds[i].name);
        if (setup->namespaces & kinds[i].bit)
            (void)umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW); /* not there: not made yet */
    }
    if (setup->uids.length)
        (void)umount2("ns/user", MNT_DETACH | UMOUNT_NOFOLLOW);
    if (setup->shm_size)
        (void)umount2("shm", MNT_DETACH | UMOUNT_NOFOLLOW);
}
