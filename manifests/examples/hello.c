/*
 * hello: a small HTTP server for the first deployment. Static, no dependencies but libc.
 *
 *   GET /         "Hello from <hostname>" and the request's path
 *   GET /healthz  "ok"
 *
 * On SIGTERM it serves on for two seconds, so that the cluster can take it out of its Services
 * first (kept connections are closed with their next answer, so that clients look for another one),
 * then stops listening, answers what is still open and exits with 0. PORT (8080) and
 * GRACE_SECONDS (2) come from the environment.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define HEAD_MAX        4096
#define DRAIN_SECONDS   5
#define IDLE_SECONDS    60

struct connection {
    int fd; /* 0: free */
    time_t active;
    size_t len;    /* bytes of the request's head so far */
    char out[512]; /* the answer that is not sent yet */
    size_t out_len, out_at;
    bool close_after;
    char head[HEAD_MAX];
};

static struct connection connections[CONNECTIONS_MAX];
static int epoll_fd, listen_fd, signal_fd, timer_fd, open_connections;
static bool stopping, draining;
static char hostname[256];

static time_t now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static void watch(int op, int fd, unsigned events, void *what)
{
    struct epoll_event e = {.events = events, .data.ptr = what};
    (void)epoll_ctl(epoll_fd, op, fd, &e);
}

static void set_timer(int seconds)
{
    struct itimerspec t = {.it_value.tv_sec = seconds};
    (void)timerfd_settime(timer_fd, 0, &t, NULL);
}

static void close_connection(struct connection *c)
{
    (void)close(c->fd);
    c->fd = 0;
    open_connections--;
}

/* Sends what is left; false when the connection is gone. */
static bool flush(struct connection *c)
{
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            watch(EPOLL_CTL_MOD, c->fd, EPOLLOUT, c);
            return true;
        }
        if (n < 0) {
            close_connection(c);
            return false;
        }
        c->out_at += (size_t)n;
    }
    c->out_len = c->out_at = 0;
    if (c->close_after) {
        close_connection(c);
        return false;
    }
    watch(EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
    return true;
}

/* Whether the head has "Connection: @value" (the names and values that matter are short). */
static bool connection_is(const char *head, const char *value)
{
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, "connection:", 11)) {
            const char *v = line + 13 + strspn(line + 13, " \t");
            return !strncasecmp(v, value, strlen(value));
        }
    return false;
}

static void answer(struct connection *c, const char *head)
{
    char method[8], path[129], version[9], body[384 - 64];
    bool parsed = sscanf(head, "%7[A-Z] %128[^ \r\n] %8[A-Z/.0-9]", method, path, version) == 3;
    const char *status = "200 OK";
    if (!parsed || (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)) {
        status = parsed ? "405 Method Not Allowed" : "400 Bad Request";
        (void)snprintf(body, sizeof(body), "%s\n", status);
        c->close_after = true;
    } else if (!strcmp(path, "/healthz")) {
        (void)snprintf(body, sizeof(body), "ok\n");
    } else {
        (void)snprintf(body, sizeof(body), "Hello from %.63s%s%.128s\n", hostname,
                       strcmp(path, "/") ? " " : "", strcmp(path, "/") ? path : "");
    }
    bool http10 = parsed && !strcmp(version, "HTTP/1.0");
    if (stopping || connection_is(head, "close") || (http10 && !connection_is(head, "keep-alive")))
        c->close_after = true;
    int n = snprintf(c->out, sizeof(c->out),
                     "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                     "Connection: %s\r\n\r\n%s",
                     status, strlen(body), c->close_after ? "close" : "keep-alive",
                     parsed && !strcmp(method, "HEAD") ? "" : body);
    c->out_len = (size_t)n;
    c->out_at = 0;
}

/* Answers complete requests, one after the other (pipelined ones too). */
static void serve(struct connection *c)
{
    for (;;) {
        c->head[c->len] = '\0';
        char *end = strstr(c->head, "\r\n\r\n");
        if (!end)
            break;
        end[2] = '\0';
        size_t used = (size_t)(end + 4 - c->head);
        answer(c, c->head);
        memmove(c->head, c->head + used, c->len - used);
        c->len -= used;
        if (!flush(c) || c->out_len)
            return;
    }
    if (c->len >= HEAD_MAX - 1)
        close_connection(c);
}

static void readable(struct connection *c)
{
    ssize_t n = recv(c->fd, c->head + c->len, HEAD_MAX - 1 - c->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close_connection(c);
        return;
    }
    c->len += (size_t)n;
    c->active = now();
    serve(c);
}

static void accept_all(void)
{
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct connection *c = NULL;
        for (int i = 0; i < CONNECTIONS_MAX && !c; i++)
            if (!connections[i].fd)
                c = &connections[i];
        if (!c) { /* the longest idle one goes */
            c = &connections[0];
            for (int i = 1; i < CONNECTIONS_MAX; i++)
                if (connections[i].active < c->active)
                    c = &connections[i];
            close_connection(c);
        }
        c->fd = fd;
        c->len = c->out_len = c->out_at = 0;
        c->close_after = false;
        c->active = now();
        open_connections++;
        watch(EPOLL_CTL_ADD, fd, EPOLLIN, c);
    }
}

/* After the grace time: no new connections; idle ones are closed, open requests get their answer.
 */
static void drain(void)
{
    accept_all(); /* who connected already is served */
    draining = true;
    (void)close(listen_fd);
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (connections[i].fd && !connections[i].len && !connections[i].out_len) {
            /* A request may have arrived in this very moment. */
            readable(&connections[i]);
            if (connections[i].fd && !connections[i].len && !connections[i].out_len)
                close_connection(&connections[i]);
        }
    set_timer(DRAIN_SECONDS);
}

static void close_idle(void)
{
    time_t limit = now() - IDLE_SECONDS;
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (connections[i].fd && connections[i].active < limit)
            close_connection(&connections[i]);
}

static int number(const char *name, int fallback)
{
    const char *text = getenv(name);
    return text && *text ? (int)strtol(text, NULL, 10) : fallback;
}

static int start(void)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(number("PORT", 8080))};
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = any.sin6_port};
    int one = 1, zero = 0, r;
    sigset_t mask;
    (void)gethostname(hostname, sizeof(hostname) - 1);
    listen_fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listen_fd >= 0) {
        (void)setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        (void)setsockopt(listen_fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
        r = bind(listen_fd, (struct sockaddr *)&any, sizeof(any));
    } else { /* a kernel without IPv6 */
        listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        r = bind(listen_fd, (struct sockaddr *)&any4, sizeof(any4));
    }
    if (r < 0 || listen(listen_fd, 512) < 0) {
        perror("hello: cannot listen");
        return -1;
    }
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, SIGTERM);
    (void)sigaddset(&mask, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &mask, NULL);
    signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, listen_fd, EPOLLIN, &listen_fd);
    watch(EPOLL_CTL_ADD, signal_fd, EPOLLIN, &signal_fd);
    watch(EPOLL_CTL_ADD, timer_fd, EPOLLIN, &timer_fd);
    return 0;
}

int main(void)
{
    if (start() < 0)
        return 1;
    (void)printf("hello: listening on port %d\n", number("PORT", 8080));
    (void)fflush(stdout);
    while (!draining || open_connections) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll_fd, events, 64, -1);
        for (int i = 0; i < n; i++) {
            void *what = events[i].data.ptr;
            if (what == &listen_fd) {
                if (open_connections > CONNECTIONS_MAX / 2)
                    close_idle();
                accept_all();
            } else if (what == &signal_fd) {
                struct signalfd_siginfo info;
                (void)!read(signal_fd, &info, sizeof(info));
                if (!stopping) {
                    stopping = true;
                    int grace = number("GRACE_SECONDS", 2);
                    (void)printf("hello: stopping in %d s\n", grace);
                    (void)fflush(stdout);
                    if (grace > 0)
                        set_timer(grace);
                    else
                        drain();
                }
            } else if (what == &timer_fd) {
                if (draining)
                    return 0; /* somebody does not read his answer */
                drain();
            } else if (((struct connection *)what)->fd) {
                struct connection *c = what;
                if (events[i].events & EPOLLOUT) {
                    if (flush(c))
                        serve(c);
                } else {
                    readable(c);
                }
            }
        }
    }
    return 0;
}
