/* Listeners, limits and draining of the HTTP server: see http_server.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"
#include "net/http_server_impl.h"
#include "net/socket.h"

#define BACKLOG         512
#define ACCEPT_PAUSE_MS 100 /* when descriptors run out */

struct listener {
    struct list entry;
    struct http_server *server;
    struct evconnlistener *ev;
    struct tls_server *tls;
    struct loop_timer pause;
    char *path; /* of a unix socket, removed at the end */
};

static void on_drained(void *arg)
{
    struct http_server *s = arg;
    void (*cb)(void *) = s->drain_cb;
    loop_timer_stop(&s->drain_timer);
    s->drain_cb = NULL;
    if (cb)
        cb(s->drain_arg);
}

static void on_drain_timeout(void *arg)
{
    struct http_server *s = arg;
    LIST_FOR_EACH(e, &s->conns)
        http_conn_close(LIST_ENTRY(e, struct http_conn, entry));
    on_drained(s);
}

struct http_server *http_server_new(struct loop *loop, const struct http_server_options *options,
                                    http_handler_fn handler, void *arg)
{
    struct http_server *s = mem_zalloc(sizeof(*s));
    s->loop = loop;
    s->handler = handler;
    s->arg = arg;
    if (options)
        s->options = *options;
    struct http_server_options *o = &s->options;
    o->max_connections = o->max_connections ? o->max_connections : 4096;
    o->head_timeout_ms = o->head_timeout_ms ? o->head_timeout_ms : 30000;
    o->idle_timeout_ms = o->idle_timeout_ms ? o->idle_timeout_ms : 120000;
    o->write_timeout_ms = o->write_timeout_ms ? o->write_timeout_ms : 60000;
    o->body_timeout_ms = o->body_timeout_ms ? o->body_timeout_ms : 60000;
    list_init(&s->listeners);
    list_init(&s->conns);
    loop_timer_init(&s->drain_timer, loop, "http drain", on_drain_timeout, s);
    loop_deferred_init(&s->drained, loop, on_drained, s);
    return s;
}

static void listener_free(struct listener *l)
{
    list_remove(&l->entry);
    loop_timer_done(&l->pause);
    evconnlistener_free(l->ev);
    if (l->path)
        (void)unlink(l->path);
    free(l->path);
    (void)tls_server_unref(l->tls);
    free(l);
}

struct http_server *http_server_free(struct http_server *s)
{
    if (!s)
        return NULL;
    LIST_FOR_EACH(e, &s->listeners)
        listener_free(LIST_ENTRY(e, struct listener, entry));
    LIST_FOR_EACH(e, &s->conns)
        http_conn_close(LIST_ENTRY(e, struct http_conn, entry));
    loop_timer_done(&s->drain_timer);
    loop_deferred_done(&s->drained);
    free(s);
    return NULL;
}

static void on_accept(_unused_ struct evconnlistener *ev, evutil_socket_t fd,
                      _unused_ struct sockaddr *address, _unused_ int len, void *arg)
{
    const struct listener *l = arg;
    if (l->server->n_conns >= l->server->options.max_connections)
        (void)close(fd);
    else
        (void)http_conn_new(l->server, fd, l->tls);
}

static void on_unpause(void *arg)
{
    struct listener *l = arg;
    (void)evconnlistener_enable(l->ev);
}

static void on_accept_error(struct evconnlistener *ev, void *arg)
{
    struct listener *l = arg;
    log_debug("accept failed", "error", strerror(errno), NULL);
    (void)evconnlistener_disable(ev);
    loop_timer_set(&l->pause, ACCEPT_PAUSE_MS);
}

static int add_listener(struct http_server *s, int fd, struct tls_server *tls, const char *path,
                        struct error *err)
{
    struct listener *l = mem_zalloc(sizeof(*l));
    (void)evutil_make_socket_nonblocking(fd);
    (void)evutil_make_socket_closeonexec(fd);
    l->ev = evconnlistener_new(loop_base(s->loop), on_accept, l,
                               LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!l->ev) {
        (void)close(fd);
        free(l);
        return error_set(err, -EINVAL, "not a listening socket");
    }
    evconnlistener_set_error_cb(l->ev, on_accept_error);
    l->server = s;
    l->tls = tls ? tls_server_ref(tls) : NULL;
    l->path = str_dup(path);
    loop_timer_init(&l->pause, s->loop, "http accept", on_unpause, l);
    list_append(&s->listeners, &l->entry);
    return 0;
}

int http_server_listen_fd(struct http_server *s, int fd, struct tls_server *tls, struct error *err)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening) {
        (void)close(fd);
        return error_set(err, -EINVAL, "not a listening socket");
    }
    return add_listener(s, fd, tls, NULL, err);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    socklen_t len = sizeof(sa);
    if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
        return 0;
    memcpy(&v4, &sa, sizeof(v4));
    memcpy(&v6, &sa, sizeof(v6));
    return ntohs(sa.ss_family == AF_INET ? v4.sin_port : v6.sin6_port);
}

int http_server_listen_tcp(struct http_server *s, const char *address, uint16_t port,
                           struct tls_server *tls, uint16_t *ret_port, struct error *err)
{
    struct sockaddr_storage sa;
    socklen_t len;
    bool any = !address || !*address || strcmp(address, "::") == 0;
    int r = socket_address(any ? "::" : address, port, &sa, &len, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 && any && errno == EAFNOSUPPORT) {
        /* A kernel without IPv6. */
        (void)socket_address("0.0.0.0", port, &sa, &len, NULL);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    if (fd < 0)
        return error_errno(err, -errno, "socket");
    const int on = 1, only = any ? 0 : 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (sa.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    if (bind(fd, (const struct sockaddr *)&sa, len) < 0 || listen(fd, BACKLOG) < 0)
        return error_errno(err, -errno, "listening on %s port %u", any ? "all addresses" : address,
                           port);
    if (ret_port)
        *ret_port = port_of(fd);
    return add_listener(s, TAKE_FD(fd), tls, NULL, err);
}

/* Whether somebody accepts on the socket file. */
static bool is_served(const struct sockaddr_storage *sa, socklen_t len)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && (connect(fd, (const struct sockaddr *)sa, len) == 0 || errno == EAGAIN);
}

int http_server_listen_unix(struct http_server *s, const char *path, mode_t mode, struct error *err)
{
    struct sockaddr_storage sa;
    socklen_t len;
    int r = socket_unix_address(path, &sa, &len, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, -errno, "socket");
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        if (is_served(&sa, len))
            return error_errno(err, -EADDRINUSE, "%s", path);
        (void)unlink(path);
    }
    /* The mode must hold from the start: bind() applies the umask to the socket's own mode. */
    (void)fchmod(fd, mode);
    if (bind(fd, (const struct sockaddr *)&sa, len) < 0 ||
        (path[0] != '@' && chmod(path, mode) < 0) || listen(fd, BACKLOG) < 0)
        return error_errno(err, -errno, "%s: listening", path);
    return add_listener(s, TAKE_FD(fd), NULL, path[0] == '@' ? NULL : path, err);
}

int http_server_serve_fd(struct http_server *s, int fd, struct tls_server *tls, struct error *err)
{
    int r = http_conn_new(s, fd, tls);
    return r < 0 ? error_errno(err, r, "serving a socket") : 0;
}

void http_server_drain(struct http_server *s, uint64_t deadline_ms, void (*cb)(void *arg),
                       void *arg)
{
    s->draining = true;
    s->drain_cb = cb;
    s->drain_arg = arg;
    LIST_FOR_EACH(e, &s->listeners)
        listener_free(LIST_ENTRY(e, struct listener, entry));
    LIST_FOR_EACH(e, &s->conns) {
        http_conn_retire(LIST_ENTRY(e, struct http_conn, entry));
    }
    if (s->n_conns == 0)
        loop_defer(&s->drained);
    else
        loop_timer_set(&s->drain_timer, deadline_ms);
}

size_t http_server_connections(const struct http_server *s)
{
    return s->n_conns;
}
