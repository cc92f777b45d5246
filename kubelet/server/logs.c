/*
 * /containerLogs: a log file through the reader to the client. Following, new bytes are announced
 * by inotify; the end is the end of the run, found when the shim has closed the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/server/log_reader.h"
#include "kubelet/server/server.h"

#define CHUNK       (64u << 10)
#define PENDING_LOW (64u << 10)
#define ENDED_MS    100 /* between looks whether the run has ended, once its file was closed */

struct log_request {
    struct kubelet *k;
    struct http_exchange *x;
    struct log_reader reader;
    char *uid, *container, *id, *path;
    int fd, inotify;
    off_t offset;
    struct strbuf rest; /* an unfinished record */
    struct loop_io io;
    struct loop_deferred more;
    struct loop_timer ended;
    bool follow;
};

static void log_request_free(struct log_request *l)
{
    loop_io_done(&l->io);
    loop_deferred_done(&l->more);
    loop_timer_done(&l->ended);
    if (l->fd >= 0)
        (void)close(l->fd);
    if (l->inotify >= 0)
        (void)close(l->inotify);
    strbuf_done(&l->rest);
    free(l->uid);
    free(l->container);
    free(l->id);
    free(l->path);
    free(l);
}

static void end(struct log_request *l)
{
    http_exchange_end(l->x);
    log_request_free(l);
}

static void on_gone(struct http_exchange *x, void *arg)
{
    struct log_request *l = arg;
    http_exchange_abort(x);
    log_request_free(l);
}

/* Whether the run that is being followed still runs. */
static bool running(const struct log_request *l)
{
    const struct pod_worker *found = pod_manager_by_uid(l->k->pods, l->uid);
    const struct container_slot *s = found ? worker_slot(found, l->container) : NULL;
    return s && s->run && str_eq(s->run->id, l->id) && s->run->state != RUN_EXITED;
}

/* The runtime puts a new file in the place of a full one. */
static bool reopen(struct log_request *l)
{
    struct stat now, ours;
    int fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    if (fstat(fd, &now) < 0 || fstat(l->fd, &ours) < 0 ||
        (now.st_ino == ours.st_ino && now.st_dev == ours.st_dev)) {
        (void)close(fd);
        return false;
    }
    (void)close(l->fd);
    l->fd = fd;
    l->offset = 0;
    return true;
}

/* Everything there was has been sent. */
static void caught_up(struct log_request *l)
{
    if (reopen(l)) {
        loop_defer(&l->more);
        return;
    }
    if (l->follow && running(l))
        return; /* inotify, or the end of the run, goes on */
    struct strbuf out = STRBUF_INIT;
    (void)log_reader_feed(&l->reader, l->rest.data, l->rest.len, true, &out);
    http_exchange_write(l->x, out.data ? out.data : "", out.len);
    strbuf_done(&out);
    end(l);
}

static void send_more(void *arg)
{
    struct log_request *l = arg;
    struct strbuf out = STRBUF_INIT;
    if (http_exchange_pending(l->x) > PENDING_LOW)
        return; /* on_drain goes on */
    char *room = strbuf_reserve(&l->rest, CHUNK);
    ssize_t n = pread(l->fd, room, CHUNK, l->offset);
    if (n <= 0) {
        caught_up(l);
        return;
    }
    l->offset += n;
    l->rest.len += (size_t)n;
    strbuf_terminate(&l->rest);
    size_t used = log_reader_feed(&l->reader, l->rest.data, l->rest.len, false, &out);
    strbuf_consume(&l->rest, used);
    http_exchange_write(l->x, out.data ? out.data : "", out.len);
    strbuf_done(&out);
    if (l->reader.full)
        end(l);
    else
        loop_defer(&l->more);
}

static void on_drain(struct http_exchange *x, void *arg)
{
    struct log_request *l = arg;
    (void)x;
    loop_defer(&l->more);
}

static void on_ended(void *arg)
{
    struct log_request *l = arg;
    loop_defer(&l->more);
    if (running(l))
        loop_timer_set(&l->ended, ENDED_MS);
}

static void on_inotify(int fd, short events, void *arg)
{
    struct log_request *l = arg;
    union {
        char bytes[4096];
        struct inotify_event align;
    } buf;
    bool closed = false;
    (void)events;
    for (ssize_t n; (n = read(fd, buf.bytes, sizeof(buf.bytes))) > 0;) {
        for (ssize_t at = 0; at < n;) {
            struct inotify_event e;
            memcpy(&e, buf.bytes + at, sizeof(e));
            closed |= (e.mask & (IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF)) != 0;
            at += (ssize_t)(sizeof(e) + e.len);
        }
    }
    loop_defer(&l->more);
    if (closed)
        loop_timer_set(&l->ended, ENDED_MS);
}

static void follow(struct log_request *l)
{
    l->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (l->inotify < 0 ||
        inotify_add_watch(l->inotify, l->path,
                          IN_MODIFY | IN_CLOSE_WRITE | IN_MOVE_SELF | IN_DELETE_SELF) < 0 ||
        loop_io_init(&l->io, l->k->loop, "log", l->inotify, EV_READ, on_inotify, l) < 0)
        l->follow = false;
}

static int read_options(struct http_exchange *x, struct log_options *o)
{
    const struct http_query *q = http_exchange_query(x);
    const char *since = http_query_get(q, "sinceTime");
    int64_t seconds = http_query_int(q, "sinceSeconds", 0);
    *o = (struct log_options){.tail = http_query_int(q, "tailLines", -1),
                              .limit = http_query_int(q, "limitBytes", -1),
                              .timestamps = http_query_bool(q, "timestamps")};
    if (http_query_get(q, "tailLines") && o->tail < 0)
        return -EINVAL;
    if (http_query_get(q, "limitBytes") && o->limit < 1)
        return -EINVAL;
    if (since && time_parse(since, &o->since) < 0)
        return -EINVAL;
    if (seconds < 0)
        return -EINVAL;
    if (seconds)
        o->since = time_now_nano() - seconds * 1000000000;
    const char *stream = http_query_get(q, "stream");
    o->no_stderr = str_eq(stream, "Stdout");
    o->no_stdout = str_eq(stream, "Stderr");
    return 0;
}

/* The run whose log is wanted; answers itself when there is none. */
static const struct container_run *choose_run(struct http_exchange *x,
                                              const struct container_slot *s)
{
    const struct pod_meta *m = &s->w->pod->meta;
    const char *name = slot_spec(s)->name;
    bool previous = http_query_bool(http_exchange_query(x), "previous");
    const struct container_run *r = s->run;
    if (previous) {
        r = s->run && s->run->state == RUN_EXITED && s->wait_reason ? s->run : s->last;
        if (!r)
            http_exchange_replyf(x, 400,
                                 "previous terminated container \"%s\" in pod \"%s\" not found",
                                 name, m->name);
        return r;
    }
    if (!r || r->state == RUN_CREATED) {
        http_exchange_replyf(x, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s", name,
                             m->name, s->wait_reason ? s->wait_reason : "ContainerCreating");
        return NULL;
    }
    return r;
}

void serve_logs(struct http_exchange *x, const struct route *route)
{
    struct log_options options;
    struct container_slot *s = route_container(x, route);
    const struct container_run *run = s ? choose_run(x, s) : NULL;
    if (!run)
        return;
    if (read_options(x, &options) < 0) {
        http_exchange_replyf(x, 400, "unable to decode query");
        return;
    }
    struct log_request *l = mem_zalloc(sizeof(*l));
    _cleanup_free_ char *dir = pod_log_dir(s->w->pod, route->k->log_root);
    l->k = route->k;
    l->x = x;
    l->reader.options = options;
    l->inotify = -1;
    l->uid = str_dup(s->w->pod->meta.uid);
    l->container = str_dup(slot_spec(s)->name);
    l->id = str_dup(run->id);
    l->path = str_printf("%s/%s/%" PRIu32 ".log", dir, slot_spec(s)->name, run->restart);
    l->follow = http_query_bool(http_exchange_query(x), "follow");
    l->fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (l->fd < 0) {
        http_exchange_replyf(x, errno == ENOENT ? 404 : 500, "cannot open the log: %s",
                             strerror(errno));
        log_request_free(l);
        return;
    }
    int64_t from = options.tail >= 0 ? log_tail_offset(l->fd, options.tail) : 0;
    l->offset = from > 0 ? (off_t)from : 0;
    loop_deferred_init(&l->more, l->k->loop, send_more, l);
    loop_timer_init(&l->ended, l->k->loop, "end of a log", on_ended, l);
    http_exchange_on_close(x, on_gone, l);
    http_exchange_begin(x, 200, "text/plain", -1);
    http_exchange_set_patient(x); /* somebody may read this in a pager */
    http_exchange_on_drain(x, PENDING_LOW, on_drain, l);
    if (l->follow)
        follow(l);
    loop_defer(&l->more);
}
