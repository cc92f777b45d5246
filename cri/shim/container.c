/* The containers of the pod; see shim.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/times.h"
#include "cri/launch_spec.h"
#include "cri/shim/shim.h"

struct container *container_find(struct shim *shim, const char *id)
{
    LIST_FOR_EACH(l, &shim->containers) {
        struct container *c = LIST_ENTRY(l, struct container, link);
        if (str_eq(c->state.id, id))
            return c;
    }
    return NULL;
}

struct container *container_free(struct shim *shim, struct container *c)
{
    list_remove(&c->link);
    shim->n_containers--;
    streams_close(shim, c);
    holder_end(c);
    log_close(&c->log);
    closep(&c->spec_fd);
    free(c->pid_target);
    free(c->cgroup);
    free(c->oom_file);
    free(c->procs_file);
    free(c);
    return NULL;
}

static bool valid_id(const char *id)
{
    if (!id || !id[0] || id[0] == '.' || strlen(id) > SHIM_ID_MAX)
        return false;
    return id[strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")] == 0;
}

int container_create(struct shim *shim, struct request *req, struct error *err)
{
    if (!valid_id(req->container))
        return error_set(err, -EINVAL, "container id is not valid");
    if (container_find(shim, req->container))
        return error_set(err, -EEXIST, "container %s exists", req->container);
    if (shim->shutting_down || shim->n_containers >= SHIM_CONTAINERS_MAX)
        return error_set(err, -EAGAIN, "the pod takes no more containers");
    struct stat st;
    if (fstat(req->fds[0], &st) < 0 || st.st_size <= 0 || st.st_size > LAUNCH_SPEC_MAX)
        return error_set(err, -EINVAL, "launch specification of a size that is not valid");
    struct container *c = mem_zalloc(sizeof(*c));
    (void)snprintf(c->state.id, sizeof(c->state.id), "%s", req->container);
    c->state.created_ns = time_now_nano();
    c->pid_mode = (uint8_t)req->pid_mode;
    c->pid_target = str_dup(req->pid_target);
    c->tty = req->tty;
    c->stdin_open = req->stdin_open;
    c->stdin_once = req->stdin_once;
    c->cgroup = str_dup(req->cgroup);
    c->oom_file = str_dup(req->oom_file);
    c->procs_file = str_dup(req->procs_file);
    c->out[0].fd = c->out[1].fd = c->in.fd = -1;
    c->log = (struct log_file){.fd = -1,
                               .path = str_dup(req->log_path),
                               .max_bytes = req->log_max_bytes,
                               .max_files = req->log_max_files ? (unsigned)req->log_max_files : 1};
    list_init(&c->attached);
    list_append(&shim->containers, &c->link);
    shim->n_containers++;
    c->spec_fd = TAKE_FD(req->fds[0]);
    int r = c->log.path ? log_open(&c->log) : 0;
    if (r < 0)
        (void)error_errno(err, r, "log file %s", c->log.path);
    if (r == 0 && req->hold)
        r = holder_start(shim, c, err);
    if (r < 0)
        (void)container_free(shim, c);
    else
        req->holder = c->holder;
    return r;
}

/* The container that a request is about; NULL, with @err set to -ENOENT. */
static struct container *need(struct shim *shim, const char *id, struct error *err)
{
    struct container *c = id ? container_find(shim, id) : NULL;
    if (!c)
        (void)error_set(err, -ENOENT, "no container %s in this pod", id ? id : "");
    return c;
}

int container_start(struct shim *shim, const struct request *req, struct conn *asker,
                    struct error *err)
{
    struct container *c = need(shim, req->container, err);
    if (!c)
        return -ENOENT;
    if (c->state.state != SHIM_CREATED || c->process || c->spec_fd < 0)
        return error_set(err, -EBUSY, "container %s was started already", c->state.id);
    int theirs[3] = {-1, -1, -1};
    int r = streams_open(c, theirs, err);
    if (r == 0)
        r = process_start(shim,
                          &(struct spawn){.container = c, .spec_fd = c->spec_fd, .fds = theirs},
                          asker, req->id, err);
    for (int i = 0; i < 3; i++)
        closep(&theirs[i]);
    if (r < 0)
        streams_close(shim, c);
    else
        streams_watch(shim, c);
    return r;
}

int container_exec(struct shim *shim, const struct request *req, struct conn *asker,
                   struct error *err)
{
    struct container *c = need(shim, req->container, err);
    if (!c)
        return -ENOENT;
    if (c->state.state != SHIM_RUNNING)
        return error_set(err, -ESRCH, "container %s is not running", c->state.id);
    if (!valid_id(req->exec_id) || process_find(shim, c, req->exec_id))
        return error_set(err, -EEXIST, "exec id is not valid or in use");
    int fds[3];
    request_streams(req, 1, fds);
    return process_start(
        shim,
        &(struct spawn){
            .container = c, .exec_id = req->exec_id, .spec_fd = req->fds[0], .fds = fds},
        asker, req->id, err);
}

/* How many processes the kernel killed in the container for want of memory. */
static bool oom_seen(const struct container *c)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (!c->oom_file || fs_read(c->oom_file, 4096, &text, NULL) < 0)
        return false;
    for (const char *p = strbuf_text(&text); p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strncmp(p, "oom_kill ", 9) == 0)
            return strtoull(p + 9, NULL, 10) > 0;
    }
    return false;
}

void container_exited(struct shim *shim, struct container *c, int status)
{
    /* In a namespace of its own nothing survives the first process; elsewhere we see to it. */
    if (c->pid_mode != LAUNCH_PID_CONTAINER)
        (void)container_kill_all(c, SIGKILL);
    streams_drain(shim, c);
    c->state.state = SHIM_EXITED;
    c->state.finished_ns = time_now_nano();
    c->state.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    c->state.exit_code = c->state.signal ? 128 + c->state.signal : WEXITSTATUS(status);
    c->state.oom_killed = oom_seen(c);
    c->state.pid = 0;
    closep(&c->spec_fd);
    c->spec_fd = -1;
    state_save(&c->state);
    server_broadcast_exit(shim, c->process, c->state.oom_killed, c->state.finished_ns);
    holder_end(c);
}

int container_kill_all(const struct container *c, int signo)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (!c->procs_file)
        return -EOPNOTSUPP;
    int r = fs_read(c->procs_file, 1 << 20, &text, NULL);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    char *end;
    for (const char *p = strbuf_text(&text); *p; p = end + (*end == '\n')) {
        long pid = strtol(p, &end, 10);
        if (end == p)
            break;
        if (pid > 0)
            (void)kill((pid_t)pid, signo); /* one that has just ended is no error */
    }
    return 0;
}

int container_signal(struct shim *shim, const struct request *req, struct error *err)
{
    struct container *c = need(shim, req->container, err);
    if (!c)
        return -ENOENT;
    if (req->signo > 64)
        return error_set(err, -EINVAL, "signal %llu", (unsigned long long)req->signo);
    if (req->all && c->state.state == SHIM_RUNNING) {
        int all = container_kill_all(c, (int)req->signo);
        if (all < 0)
            return error_errno(err, all, "signal all of container %s", c->state.id);
    }
    struct process *p = process_find(shim, c, req->exec_id);
    int r = p && (!req->all || req->signo == SIGKILL) ? process_kill(p, (int)req->signo) : 0;
    return r < 0 ? error_errno(err, r, "signal container %s", c->state.id) : 0;
}

int container_remove(struct shim *shim, const struct request *req, struct error *err)
{
    struct container *c = need(shim, req->container, err);
    if (!c)
        return -ENOENT;
    LIST_FOR_EACH(l, &shim->processes)
        if (LIST_ENTRY(l, struct process, link)->container == c)
            return error_set(err, -EBUSY, "container %s still has processes", c->state.id);
    state_remove(c->state.id);
    (void)container_free(shim, c);
    return 0;
}
