/* Receiving READY=1 and the like from children; see notify.h. */
#include "cli/notify.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/map.h"
#include "base/strbuf.h"

#define TEXT_MAX 4096

struct notify_socket {
    struct loop *loop;
    char *dir;
    struct map units; /* name → struct unit_socket */
    void (*cb)(const char *unit, const char *text, void *arg);
    void *arg;
};

struct unit_socket {
    struct notify_socket *owner;
    char *name, *path;
    int fd;
    struct loop_io io;
};

static void unit_socket_free(void *p)
{
    struct unit_socket *u = p;
    loop_io_done(&u->io);
    if (u->fd >= 0) {
        (void)unlink(u->path);
        (void)close(u->fd);
    }
    free(u->name);
    free(u->path);
    free(u);
}

static void on_datagram(int fd, _unused_ short events, void *arg)
{
    struct unit_socket *u = arg;
    char text[TEXT_MAX + 1];
    ssize_t n = recv(fd, text, TEXT_MAX, MSG_DONTWAIT);
    if (n <= 0)
        return;
    text[n] = '\0';
    u->owner->cb(u->name, text, u->owner->arg);
}

int notify_socket_new(struct notify_socket **ret, struct loop *loop, const char *dir,
                      void (*cb)(const char *unit, const char *text, void *arg), void *arg,
                      _unused_ struct error *err)
{
    struct notify_socket *n = mem_zalloc(sizeof(*n));
    *n = (struct notify_socket){.loop = loop,
                                .dir = str_dup(dir),
                                .units = MAP_INIT(unit_socket_free),
                                .cb = cb,
                                .arg = arg};
    *ret = n;
    return 0;
}

int notify_socket_add(struct notify_socket *n, const char *unit, struct error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct unit_socket *u = mem_zalloc(sizeof(*u));
    *u = (struct unit_socket){.owner = n,
                              .name = str_dup(unit),
                              .fd = -1,
                              .path = str_printf("%s/%s.notify", n->dir, unit)};
    map_set(&n->units, unit, u);
    if (strlen(u->path) >= sizeof(addr.sun_path))
        return error_set(err, -ENAMETOOLONG, "%s: longer than a socket's path may be", u->path);
    memcpy(addr.sun_path, u->path, strlen(u->path) + 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, -errno, "socket");
    (void)unlink(u->path);
    u->fd = fd;
    if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return error_errno(err, -errno, "cannot bind %s", u->path);
    return loop_io_init(&u->io, n->loop, u->name, fd, EV_READ, on_datagram, u);
}

const char *notify_socket_path(const struct notify_socket *n, const char *unit)
{
    const struct unit_socket *u = map_get(&n->units, unit);
    return u ? u->path : NULL;
}

struct notify_socket *notify_socket_free(struct notify_socket *n)
{
    if (n) {
        map_clear(&n->units);
        free(n->dir);
        free(n);
    }
    return NULL;
}
