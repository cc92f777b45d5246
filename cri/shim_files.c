/* What a shim keeps in its pod's directory; see shim_client.h. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cri/shim_internal.h"

#define KILL_WAIT_MS 5000
#define KILL_STEP_MS 10

char *shim_ns_path(const char *dir, const char *ns)
{
    return str_printf("%s/ns/%s", dir, ns);
}

char *shim_shm_path(const char *dir)
{
    return str_printf("%s/shm", dir);
}

int shim_clean(const char *dir, struct error *err)
{
    static const char *const mounts[] = {"ns/net", "ns/ipc", "ns/uts", "ns/user", "shm"};
    static const char *const trees[] = {"ns", "shm", "state", "shim.sock", "shim.pid"};
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
        _cleanup_free_ char *path = fs_join(dir, mounts[i]);
        /* EINVAL: nothing is mounted there. */
        while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
            ;
        if (errno != EINVAL && errno != ENOENT)
            r = error_errno(err, -errno, "unmount %s", path);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(trees); i++) {
        _cleanup_free_ char *path = fs_join(dir, trees[i]);
        r = fs_remove_tree(path, err);
    }
    return r;
}

/* Whether @pid is a shim of @dir: the number in its file may be another process's by now. */
static bool is_shim(pid_t pid, const char *dir)
{
    _cleanup_free_ char *path = str_printf("/proc/%d/cmdline", (int)pid);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (fs_read(path, 65536, &text, NULL) < 0 || !text.len)
        return false;
    size_t first = strlen(text.data);
    return str_ends(text.data, "coracle-shim") && first + 1 < text.len &&
           str_eq(text.data + first + 1, dir);
}

int shim_kill_stray(const char *dir, struct error *err)
{
    _cleanup_free_ char *path = fs_join(dir, "shim.pid");
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (fs_read(path, 256, &text, NULL) < 0)
        return 0; /* it ended in order */
    pid_t pid = (pid_t)strtol(strbuf_text(&text), NULL, 10);
    for (int waited = 0; pid > 1 && is_shim(pid, dir); waited += KILL_STEP_MS) {
        if (waited >= KILL_WAIT_MS)
            return error_set(err, -ETIMEDOUT, "shim %d of %s does not die", (int)pid, dir);
        (void)kill(pid, SIGKILL);
        (void)poll(NULL, 0, KILL_STEP_MS);
    }
    return 0;
}

bool shim_state_take(struct shim_state *s, const struct tlv_item *i)
{
    const char *id;
    uint64_t v = 0;
    if (i->tag == SHIM_CONTAINER) {
        id = tlv_string(i);
        if (!id || strlen(id) > SHIM_ID_MAX)
            return false;
        (void)snprintf(s->id, sizeof(s->id), "%s", id);
        return true;
    }
    if (i->tag < SHIM_EXIT_CODE || i->tag > SHIM_STATE)
        return true; /* not of ours, or of a later release */
    if (!tlv_u64(i, &v))
        return false;
    switch (i->tag) {
    case SHIM_STATE:
        s->state = v <= SHIM_EXITED ? (enum shim_container_state)v : SHIM_EXITED;
        break;
    case SHIM_PID:
        s->pid = (pid_t)v;
        break;
    case SHIM_CREATED_AT:
        s->created_ns = (int64_t)v;
        break;
    case SHIM_STARTED_AT:
        s->started_ns = (int64_t)v;
        break;
    case SHIM_FINISHED_AT:
        s->finished_ns = (int64_t)v;
        break;
    case SHIM_EXIT_CODE:
        s->exit_code = (int)v;
        break;
    case SHIM_SIGNAL:
        s->signal = (int)v;
        break;
    default:
        s->oom_killed = v;
        break;
    }
    return true;
}

static int read_state(const char *dir, const char *name, struct shim_state *ret, struct error *err)
{
    _cleanup_free_ char *path = fs_join(dir, name);
    _cleanup_strbuf_ struct strbuf data = STRBUF_INIT;
    int r = fs_read(path, 4096, &data, err);
    if (r < 0)
        return r;
    *ret = (struct shim_state){.state = SHIM_CREATED};
    struct tlv_reader in = tlv_read(data.data, data.len);
    struct tlv_item i;
    while ((r = tlv_next(&in, &i)) > 0)
        if (!shim_state_take(ret, &i))
            break;
    return r != 0 || !str_eq(ret->id, name) ? error_set(err, -EBADMSG, "%s is damaged", path) : 0;
}

int shim_state_files(const char *dir, struct shim_state **ret, size_t *n, struct error *err)
{
    _cleanup_free_ char *path = fs_join(dir, "state");
    struct shim_state *states = NULL;
    size_t count = 0;
    DIR *d = opendir(path);
    if (!d && errno != ENOENT)
        return error_errno(err, -errno, "%s", path);
    int r = 0;
    struct dirent *e;
    while (d && (e = readdir(d)) && count < SHIM_CONTAINERS_MAX) {
        if (e->d_name[0] == '.' || strstr(e->d_name, ".tmp-"))
            continue;
        states = mem_grow(states, count + 1, sizeof(*states));
        int one = read_state(path, e->d_name, &states[count], err);
        if (one == 0)
            count++;
        else
            r = one;
    }
    if (d)
        (void)closedir(d);
    if (r < 0 && count == 0) {
        free(states);
        return r;
    }
    *ret = states; /* what can be read counts */
    *n = count;
    return 0;
}
