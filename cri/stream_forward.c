/* Port-forward sessions: each connection is made inside the pod's network namespace, to loopback as
 * upstream does, on a helper thread. */
#include "cri/stream_session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/socket.h"

struct forward {
    struct list entry;
    struct streaming *st;
    struct portforward_server *server; /* NULL: the client has gone */
    char sandbox[SANDBOX_ID_LEN + 1];
    unsigned connecting;
};

struct connecting {
    struct forward *f;
    struct portforward_pair *pair;
    char *netns; /* NULL: the node's */
    uint16_t port;
    int fd;
};

static void release(struct forward *f)
{
    if (f->server || f->connecting)
        return;
    list_remove(&f->entry);
    free(f);
}

void stream_forward_end_all(struct streaming *st)
{
    LIST_FOR_EACH(e, &st->forwards) {
        struct forward *f = LIST_ENTRY(e, struct forward, entry);
        f->server = portforward_server_free(f->server);
        list_remove(&f->entry);
        if (!f->connecting)
            free(f);
    }
}

static int connect_to(int family, uint16_t port)
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = family == AF_INET ? connect(fd, (const struct sockaddr *)&v4, sizeof(v4))
                              : connect(fd, (const struct sockaddr *)&v6, sizeof(v6));
    if (r == 0) {
        /* A pod's server may take its time to read. */
        socket_tune(fd);
        socket_set_patient(fd, true);
        return fd;
    }
    r = -errno;
    (void)close(fd);
    return r;
}

/* On a helper thread. Connecting to loopback is decided at once, so blocking is fine. */
static int make_connection(void *data, struct error *err)
{
    struct connecting *c = data;
    if (c->netns) {
        _cleanup_close_ int ns = open(c->netns, O_RDONLY | O_CLOEXEC);
        if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
            return error_errno(err, -errno, "cannot enter the pod's network namespace");
    }
    int fd = connect_to(AF_INET, c->port);
    if (fd < 0) {
        int v4 = fd;
        fd = connect_to(AF_INET6, c->port);
        if (fd < 0)
            return error_errno(err, v4, "cannot connect to port %u of the pod", c->port);
    }
    c->fd = fd;
    return 0;
}

static void on_connected(int code, const struct error *err, void *data)
{
    struct connecting *c = data;
    struct forward *f = c->f;
    f->connecting--;
    if (!f->server) { /* the client has gone: the pair wants its answer all the same */
        closep(&c->fd);
        portforward_fail(c->pair, "the client has gone");
    } else if (code < 0)
        portforward_fail(c->pair, error_text(err));
    else
        portforward_accept(c->pair, stream_new_fd(f->st->rt->loop, c->fd));
    free(c->netns);
    free(c);
    release(f);
}

static void on_connect(_unused_ struct portforward_server *p, struct portforward_pair *pair,
                       uint16_t port, void *arg)
{
    struct forward *f = arg;
    const struct sandbox *s = map_get(&f->st->rt->sandboxes, f->sandbox);
    if (!s || s->state != SANDBOX_READY) {
        portforward_fail(pair, "the sandbox is not ready");
        return;
    }
    struct connecting *c = mem_zalloc(sizeof(*c));
    *c = (struct connecting){.f = f, .pair = pair, .port = port, .fd = -1};
    if (!s->host_network)
        c->netns = shim_ns_path(s->dir, "net");
    f->connecting++;
    job_run(f->st->rt->jobs, make_connection, on_connected, c);
}

static void on_close(_unused_ struct portforward_server *p, _unused_ const struct error *err,
                     void *arg)
{
    struct forward *f = arg;
    f->server = portforward_server_free(f->server);
    release(f);
}

static const struct portforward_handler handler = {.on_connect = on_connect, .on_close = on_close};

void stream_forward_start(struct streaming *st, struct http_exchange *x, const struct ticket *t)
{
    struct forward *f = mem_zalloc(sizeof(*f));
    f->st = st;
    (void)snprintf(f->sandbox, sizeof(f->sandbox), "%s", t->id);
    list_append(&st->forwards, &f->entry);
    struct error err = ERROR_INIT;
    if (portforward_server_start(st->rt->loop, x, &t->ports, &handler, f, &f->server, &err) < 0) {
        log_debug("a port-forward was refused", "error", error_text(&err), NULL);
        f->server = NULL;
        release(f);
    }
}
