/* Starting a shim, and the requests to it; see shim_client.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/process.h"
#include "cri/shim_internal.h"

/* A memory file with these bytes. */
static int memory_file(const char *name, const struct strbuf *data, struct error *err)
{
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        return error_errno(err, -errno, "memory file");
    for (size_t done = 0; done < data->len;) {
        ssize_t n = write(fd, data->data + done, data->len - done);
        if (n < 0 && errno != EINTR)
            return error_errno(err, -errno, "memory file");
        done += n > 0 ? (size_t)n : 0;
    }
    return TAKE_FD(fd);
}

/* On a hybrid host the shim has to leave the unit's group in the unified tree as well: systemd
 * finds what it kills there. Where that tree cannot be written to it stays. */
static int encode_cgroup(const struct shim_config *cfg, struct strbuf *out, struct error *err)
{
    if (!cfg->cgroup || !cfg->cgs)
        return 0;
    int r = cgroup_create(cfg->cgs, cfg->cgroup, err);
    if (r < 0)
        return r;
    char **dirs;
    size_t n = cgroup_dirs(cfg->cgs, cfg->cgroup, &dirs);
    bool v2 = cgroups_mode(cfg->cgs) == CGROUP_V2;
    for (size_t i = 0; i < n; i++)
        tlv_put_string(out, v2 ? SETUP_CGROUP_V2 : SETUP_CGROUP_V1, dirs[i]);
    (void)cgroup_dirs_free(dirs);
    _cleanup_free_ char *unified = NULL;
    struct error why = ERROR_INIT;
    if (cgroup_create_unified(cfg->cgs, cfg->cgroup, &unified, &why) < 0)
        log_debug("shims stay in the daemon's group of the unified tree", "error", error_text(&why),
                  NULL);
    else
        tlv_put_string(out, SETUP_CGROUP_V2, unified);
    return 0;
}

static int encode_setup(const struct shim_config *cfg, struct strbuf *out, struct error *err)
{
    tlv_put_string(out, SETUP_LIBEXEC, cfg->libexec);
    int r = encode_cgroup(cfg, out, err);
    if (r < 0)
        return r;
    tlv_put_u64(out, SETUP_NAMESPACES, cfg->namespaces);
    tlv_put_string(out, SETUP_HOSTNAME, cfg->hostname);
    for (size_t i = 0; cfg->sysctls && cfg->sysctls[i]; i++) {
        /* Dots separate, as sysctl(8) has it, unless slashes do. */
        _cleanup_free_ char *setting = str_dup(cfg->sysctls[i]);
        char *equals = strchr(setting, '=');
        if (!equals)
            return error_set_field(err, -EINVAL, "sysctls", "\"%.200s\" has no value", setting);
        if (!memchr(setting, '/', (size_t)(equals - setting)))
            for (char *p = setting; p < equals; p++)
                if (*p == '.')
                    *p = '/';
        tlv_put_string(out, SETUP_SYSCTL, setting);
    }
    tlv_put_u64(out, SETUP_SHM_SIZE, cfg->shm_size);
    tlv_put_u64(out, SETUP_SHARE_PID, cfg->share_pid);
    tlv_put_u64(out, SETUP_UID_HOST, cfg->uids.host);
    tlv_put_u64(out, SETUP_UID_LENGTH, cfg->uids.length);
    tlv_put_u64(out, SETUP_GID_HOST, cfg->gids.host);
    tlv_put_u64(out, SETUP_GID_LENGTH, cfg->gids.length);
    return 0;
}

int shim_start(struct loop *loop, const struct shim_config *cfg, const struct shim_events *events,
               void (*ready)(struct shim *shim, int code, const char *message, void *arg),
               struct shim **ret, struct error *err)
{
    _cleanup_strbuf_ struct strbuf setup = STRBUF_INIT;
    int r = encode_setup(cfg, &setup, err);
    if (r < 0)
        return r;
    if (setup.len > SHIM_SETUP_MAX)
        return error_set(err, -E2BIG, "the pod's settings are too large");
    _cleanup_close_ int file = memory_file("setup", &setup, err);
    if (file < 0)
        return file;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return error_errno(err, -errno, "socketpair");
    _cleanup_close_ int ours = pair[0], theirs = pair[1];
    _cleanup_free_ char *program = fs_join(cfg->libexec, "coracle-shim");
    const char *argv[] = {program, cfg->dir, NULL}, *envp[] = {NULL, NULL};
    /* Sanitizers take their options from the environment; nothing else does. */
    const char *asan = getenv("ASAN_OPTIONS");
    _cleanup_free_ char *asan_option = asan ? str_printf("ASAN_OPTIONS=%s", asan) : NULL;
    envp[0] = asan_option;
    const int extra[] = {file, theirs};
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    spec.envp = envp;
    spec.extra_fds = extra;
    spec.n_extra_fds = ARRAY_SIZE(extra);
    pid_t pid;
    r = process_spawn(&spec, &pid, err);
    if (r < 0)
        return r;
    *ret = shim_new(loop, TAKE_FD(ours), events);
    (*ret)->ready = ready;
    shim_watch_starter(*ret, pid);
    return 0;
}

/* ---- requests ---- */

/* Sends; a request that cannot be sent is taken back. */
static int submit(struct shim *shim, struct shim_pending *p, const struct strbuf *msg,
                  const int *fds, size_t n_fds)
{
    int r = shim_send(shim, msg, fds, n_fds);
    if (r < 0) {
        list_remove(&p->link);
        free(p);
    }
    return r;
}

static int simple(struct shim *shim, uint16_t type, const char *id, shim_cb cb, void *arg)
{
    _cleanup_strbuf_ struct strbuf msg = STRBUF_INIT;
    struct shim_pending *p = shim_request(shim, type, id, &msg, cb, arg);
    return submit(shim, p, &msg, NULL, 0);
}

static int encode_spec(const struct launch_spec *spec, const struct cgroups *cgs, struct error *err)
{
    _cleanup_strbuf_ struct strbuf data = STRBUF_INIT;
    int r = launch_spec_encode(spec, cgs, &data, err);
    return r < 0 ? r : memory_file("launch", &data, err);
}

/* What the shim itself needs to know of the container's group. */
static void put_cgroup(const struct launch_spec *spec, const struct cgroups *cgs,
                       struct strbuf *msg)
{
    if (!spec->cgroup || !cgs)
        return;
    bool v2 = cgroups_mode(cgs) == CGROUP_V2;
    _cleanup_free_ char *memory = cgroup_dir(cgs, CGROUP_MEMORY, spec->cgroup);
    if (memory) {
        _cleanup_free_ char *oom = fs_join(memory, v2 ? "memory.events" : "memory.oom_control");
        tlv_put_string(msg, SHIM_OOM_FILE, oom);
    }
    char **dirs;
    if (cgroup_dirs(cgs, spec->cgroup, &dirs)) {
        _cleanup_free_ char *procs = fs_join(dirs[0], "cgroup.procs");
        tlv_put_string(msg, SHIM_PROCS_FILE, procs);
        if (v2)
            tlv_put_string(msg, SHIM_CGROUP, dirs[0]);
    }
    (void)cgroup_dirs_free(dirs);
}

/* The shim starts the launcher of its own release, which would do something else than it is told.
 */
static int check_version(const struct shim *shim, const struct launch_spec *spec, struct error *err)
{
    const char *feature =
        spec->pid_mode == LAUNCH_PID_TARGET ? "share the PID namespace of one container" : NULL;
    for (size_t i = 0; !feature && i < spec->n_mounts; i++)
        feature = spec->mounts[i].layers ? "mount images" : NULL;
    if (!shim->version || shim->version >= 2 || !feature)
        return 0;
    return error_set(err, -ENOTSUP,
                     "the pod was started by an older release, which cannot %s: recreate the pod",
                     feature);
}

int shim_create(struct shim *shim, const struct shim_container *c, const struct launch_spec *spec,
                const struct cgroups *cgs, shim_cb cb, void *arg, struct error *err)
{
    int r = check_version(shim, spec, err);
    if (r < 0)
        return r;
    _cleanup_close_ int file = encode_spec(spec, cgs, err);
    if (file < 0)
        return file;
    _cleanup_strbuf_ struct strbuf msg = STRBUF_INIT;
    struct shim_pending *p = shim_request(shim, SHIM_CREATE, c->id, &msg, cb, arg);
    tlv_put_string(&msg, SHIM_LOG_PATH, c->log_path);
    tlv_put_u64(&msg, SHIM_LOG_MAX_BYTES, c->log_max_bytes);
    tlv_put_u64(&msg, SHIM_LOG_MAX_FILES, c->log_max_files);
    tlv_put_u64(&msg, SHIM_STDIN_OPEN, c->stdin_open);
    tlv_put_u64(&msg, SHIM_STDIN_ONCE, c->stdin_once);
    tlv_put_u64(&msg, SHIM_TTY, spec->process.tty);
    if (c->hold)
        tlv_put_u64(&msg, SHIM_HOLD, 1);
    tlv_put_u64(&msg, SHIM_PID_MODE, spec->pid_mode);
    tlv_put_string(&msg, SHIM_PID_TARGET, c->pid_target);
    put_cgroup(spec, cgs, &msg);
    r = submit(shim, p, &msg, &file, 1);
    return r < 0 ? error_errno(err, r, "ask the shim") : 0;
}

int shim_start_container(struct shim *shim, const char *id, shim_cb cb, void *arg)
{
    return simple(shim, SHIM_START, id, cb, arg);
}

int shim_kill(struct shim *shim, const char *id, const char *exec, int signo, bool all, shim_cb cb,
              void *arg)
{
    _cleanup_strbuf_ struct strbuf msg = STRBUF_INIT;
    struct shim_pending *p = shim_request(shim, SHIM_KILL, id, &msg, cb, arg);
    tlv_put_string(&msg, SHIM_EXEC_ID, exec);
    tlv_put_u64(&msg, SHIM_SIGNAL, (uint64_t)signo);
    tlv_put_u64(&msg, SHIM_ALL, all);
    return submit(shim, p, &msg, NULL, 0);
}

/* Adds the streams that are there to @all, and says which those are. */
static size_t put_streams(const int fds[3], int *all, size_t n, struct strbuf *msg)
{
    uint64_t bits = 0;
    for (int i = 0; i < 3; i++)
        if (fds && fds[i] >= 0) {
            bits |= 1U << i;
            all[n++] = fds[i];
        }
    tlv_put_u64(msg, SHIM_FDS, bits);
    return n;
}

int shim_exec(struct shim *shim, const char *id, const char *exec, const struct launch_spec *spec,
              const struct cgroups *cgs, const int fds[3], shim_cb cb, void *arg, struct error *err)
{
    int all[SHIM_FDS_MAX];
    _cleanup_close_ int file = encode_spec(spec, cgs, err);
    if (file < 0)
        return file;
    all[0] = file;
    _cleanup_strbuf_ struct strbuf msg = STRBUF_INIT;
    struct shim_pending *p = shim_request(shim, SHIM_EXEC, id, &msg, cb, arg);
    tlv_put_string(&msg, SHIM_EXEC_ID, exec);
    size_t n = put_streams(spec->process.tty ? NULL : fds, all, 1, &msg);
    int r = submit(shim, p, &msg, all, n);
    return r < 0 ? error_errno(err, r, "ask the shim") : 0;
}

int shim_attach(struct shim *shim, const char *id, const int fds[3], shim_cb cb, void *arg)
{
    int all[SHIM_FDS_MAX];
    _cleanup_strbuf_ struct strbuf msg = STRBUF_INIT;
    struct shim_pending *p = shim_request(shim, SHIM_ATTACH, id, &msg, cb, arg);
    size_t n = put_streams(fds, all, 0, &msg);
    return submit(shim, p, &msg, all, n);
}

int shim_resize(struct shim *shim, const char *id, uint16_t columns, uint16_t rows, shim_cb cb,
                void *arg)
{
    _cleanup_strbuf_ struct strbuf msg = STRBUF_INIT;
    struct shim_pending *p = shim_request(shim, SHIM_RESIZE, id, &msg, cb, arg);
    tlv_put_u64(&msg, SHIM_COLUMNS, columns);
    tlv_put_u64(&msg, SHIM_ROWS, rows);
    return submit(shim, p, &msg, NULL, 0);
}

int shim_close_stdin(struct shim *shim, const char *id, shim_cb cb, void *arg)
{
    return simple(shim, SHIM_CLOSE_STDIN, id, cb, arg);
}

int shim_reopen_log(struct shim *shim, const char *id, shim_cb cb, void *arg)
{
    return simple(shim, SHIM_REOPEN_LOG, id, cb, arg);
}

int shim_remove(struct shim *shim, const char *id, shim_cb cb, void *arg)
{
    return simple(shim, SHIM_REMOVE, id, cb, arg);
}

int shim_shutdown(struct shim *shim, shim_cb cb, void *arg)
{
    return simple(shim, SHIM_SHUTDOWN, NULL, cb, arg);
}

int shim_query(struct shim *shim,
               void (*cb)(int code, const struct shim_state *states, size_t n, void *arg),
               void *arg)
{
    _cleanup_strbuf_ struct strbuf msg = STRBUF_INIT;
    struct shim_pending *p = shim_request(shim, SHIM_QUERY, NULL, &msg, NULL, arg);
    p->query_cb = cb;
    return submit(shim, p, &msg, NULL, 0);
}
