/* Watching a directory that may not be there; see dirwatch.h. */
#include "base/dirwatch.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/strbuf.h"

#define SETTLE_MS 20 /* a file is often written in several steps */

/* Of the directory itself, and of a parent that stands in for it. */
#define EVENTS_SELF (IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define EVENTS_DIR \
    (EVENTS_SELF | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE)
#define EVENTS_PARENT (EVENTS_SELF | IN_MOVED_TO | IN_CREATE)

struct dirwatch {
    char *dir;
    int fd;
    int wd;      /* -1: nothing is watched */
    bool parent; /* what is watched is a parent */
    struct loop_io io;
    struct loop_timer settle;
    void (*changed)(void *arg);
    void *arg;
};

static int add(struct dirwatch *w, const char *path, bool parent)
{
    int wd = inotify_add_watch(w->fd, path, parent ? EVENTS_PARENT : EVENTS_DIR);
    if (wd < 0)
        return -errno;
    if (w->wd >= 0 && w->wd != wd)
        (void)inotify_rm_watch(w->fd, w->wd);
    w->wd = wd;
    w->parent = parent;
    return 0;
}

/* Watches the deepest directory of the path that is there, from the root downwards: what appears
 * after it was looked for is seen by the watch above it. */
static int arm(struct dirwatch *w)
{
    int r = add(w, w->dir, false);
    if (r == 0)
        return 0;
    r = add(w, w->dir[0] == '/' ? "/" : ".", true);
    for (size_t end = 0; r == 0 && w->dir[end];) {
        end += strspn(w->dir + end, "/");
        end += strcspn(w->dir + end, "/");
        _cleanup_free_ char *path = str_ndup(w->dir, end);
        bool last = w->dir[end + strspn(w->dir + end, "/")] == '\0';
        int found = add(w, path, !last);
        if (found < 0)
            return found == -ENOENT || found == -ENOTDIR ? 0 : found;
        if (last)
            return 0;
    }
    return r;
}

static void on_settled(void *arg)
{
    struct dirwatch *w = arg;
    w->changed(w->arg);
}

static void on_events(int fd, _unused_ short events, void *arg)
{
    struct dirwatch *w = arg;
    union {
        char bytes[4096];
        struct inotify_event first;
    } buf;
    bool was_parent = w->parent, gone = false, ours = false;
    ssize_t n;
    while ((n = read(fd, &buf, sizeof(buf))) > 0) {
        for (const char *p = buf.bytes; p < buf.bytes + n;) {
            const struct inotify_event *e = (const void *)p;
            /* The end of a watch that arm() gave up is told, too: acting on it would go on for
             * ever. */
            ours |= e->wd == w->wd || (e->mask & IN_Q_OVERFLOW);
            if (e->wd == w->wd && (e->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)))
                gone = true;
            p += sizeof(*e) + e->len;
        }
    }
    if (!ours)
        return;
    if (gone) {
        (void)inotify_rm_watch(w->fd, w->wd); /* one that moved is still watched */
        w->wd = -1;
    }
    if (gone || was_parent)
        (void)arm(w);
    if (!was_parent || !w->parent)
        loop_timer_set(&w->settle, SETTLE_MS);
}

struct dirwatch *dirwatch_new(struct loop *loop, const char *dir, void (*changed)(void *arg),
                              void *arg, struct error *err)
{
    struct dirwatch *w = mem_zalloc(sizeof(*w));
    *w = (struct dirwatch){.dir = str_dup(dir), .wd = -1, .changed = changed, .arg = arg};
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    int r = w->fd < 0 ? -errno : arm(w);
    loop_timer_init(&w->settle, loop, "directory watch", on_settled, w);
    if (r == 0)
        r = loop_io_init(&w->io, loop, "directory watch", w->fd, EV_READ, on_events, w);
    if (r < 0) {
        (void)error_errno(err, r, "cannot watch %s", dir);
        return dirwatch_free(w);
    }
    return w;
}

struct dirwatch *dirwatch_free(struct dirwatch *w)
{
    if (!w)
        return NULL;
    loop_io_done(&w->io);
    loop_timer_done(&w->settle);
    closep(&w->fd);
    free(w->dir);
    free(w);
    return NULL;
}
