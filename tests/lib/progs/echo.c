/*
 * Servers that say who they are, and clients that count the answers: for tests of services.
 *
 *   echo serve NAME PROTO:PORT…             answers "NAME CLIENT-ADDRESS" (tcp, udp, sctp; both
 * families) echo ask PROTO ADDRESS PORT [COUNT [MS [SOURCE]]] asks COUNT times (1), each answer
 * within MS (1000), and prints what came and how often, sorted echo names PROTO ADDRESS PORT COUNT
 * the same without the clients' addresses echo hammer ADDRESS PORT                asks (tcp) again
 * and again until SIGTERM; prints "asked N failed M" echo hold ADDRESS PORT                  one
 * connection (tcp); echoes every line of standard input through it echo flow ADDRESS PORT one udp
 * socket: asks for every line of standard input
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWERS_MAX 4096
#define TEXT_MAX    128

static volatile sig_atomic_t stopped;

static void on_signal(int signo)
{
    (void)signo;
    stopped = 1;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int protocol(const char *name)
{
    return !strcmp(name, "udp") ? IPPROTO_UDP : !strcmp(name, "sctp") ? IPPROTO_SCTP : IPPROTO_TCP;
}

static int new_socket(int family, int proto)
{
    return socket(family, (proto == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, proto);
}

/* ---- servers ---- */

static void client_text(const char *name, const struct sockaddr_in6 *from, char *out)
{
    char text[INET6_ADDRSTRLEN];
    if (IN6_IS_ADDR_V4MAPPED(&from->sin6_addr))
        (void)inet_ntop(AF_INET, &from->sin6_addr.s6_addr[12], text, sizeof(text));
    else
        (void)inet_ntop(AF_INET6, &from->sin6_addr, text, sizeof(text));
    (void)snprintf(out, TEXT_MAX, "%s %s", name, text);
}

/* Answers the connection, and then every line on it. */
static void serve_stream(int ep, int fd, const char *name)
{
    struct sockaddr_in6 from;
    socklen_t len = sizeof(from);
    char text[TEXT_MAX];
    int c = accept4(fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (c < 0)
        return;
    client_text(name, &from, text);
    strcat(text, "\n");
    (void)send(c, text, strlen(text), MSG_NOSIGNAL);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)c << 8};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, c, &e) < 0)
        (void)close(c);
}

static void serve_datagram(int fd, const char *name)
{
    struct sockaddr_in6 from;
    socklen_t len = sizeof(from);
    char text[TEXT_MAX];
    if (recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &len) < 0)
        return;
    client_text(name, &from, text);
    (void)sendto(fd, text, strlen(text), 0, (struct sockaddr *)&from, len);
}

static int listen_on(const char *spec, int *ret_proto)
{
    const char *colon = strchr(spec, ':');
    char name[8] = "";
    if (!colon || colon - spec > 6)
        exit(2);
    memcpy(name, spec, (size_t)(colon - spec));
    *ret_proto = protocol(name);
    int one = 1, zero = 0;
    struct sockaddr_in6 a = {.sin6_family = AF_INET6,
                             .sin6_port = htons((uint16_t)strtol(colon + 1, NULL, 10))};
    int fd = new_socket(AF_INET6, *ret_proto);
    if (fd < 0)
        die(spec);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        (*ret_proto != IPPROTO_UDP && listen(fd, 1024) < 0))
        die(spec);
    return fd;
}

static int serve(int argc, char **argv)
{
    int protos[64], ep = epoll_create1(EPOLL_CLOEXEC), n = argc - 3;
    for (int i = 0; i < n && i < 64; i++) {
        int fd = listen_on(argv[3 + i], &protos[i]);
        struct epoll_event e = {.events = EPOLLIN,
                                .data.u64 = ((uint64_t)fd << 8) | (uint64_t)(i + 1)};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
            die("epoll");
    }
    while (!stopped) {
        struct epoll_event e;
        if (epoll_wait(ep, &e, 1, -1) < 1)
            continue;
        int fd = (int)(e.data.u64 >> 8), i = (int)(e.data.u64 & 255);
        char line[TEXT_MAX];
        if (i && protos[i - 1] == IPPROTO_UDP) {
            serve_datagram(fd, argv[2]);
        } else if (i) {
            serve_stream(ep, fd, argv[2]);
        } else {
            ssize_t got = recv(fd, line, sizeof(line), 0);
            if (got > 0)
                (void)send(fd, line, (size_t)got, MSG_NOSIGNAL);
            else if (got == 0 || errno != EAGAIN)
                (void)close(fd);
        }
    }
    return 0;
}

/* ---- clients ---- */

struct target {
    struct sockaddr_storage to, from;
    socklen_t len;
    int proto, ms;
    int has_source;
};

static int parse(const char *text, int port, struct sockaddr_storage *out, socklen_t *len)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *len = sizeof(*v4);
        return 0;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
        return -1;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    *len = sizeof(*v6);
    return 0;
}

static const char *why(int code)
{
    switch (code) {
    case ECONNREFUSED:
        return "refused";
    case EINPROGRESS:
    case EAGAIN:
    case ETIMEDOUT:
        return "timeout";
    case EHOSTUNREACH:
    case ENETUNREACH:
        return "unreachable";
    case ECONNRESET:
        return "reset";
    default:
        return strerror(code);
    }
}

static int wait_for(int fd, short events, int64_t until)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = until - now();
    int r = poll(&p, 1, left > 0 ? (int)left : 0);
    if (r == 0)
        return ETIMEDOUT;
    return r < 0 ? errno : 0;
}

/* One question over @fd, connected; the answer is in @out. */
static int question(int fd, int proto, int64_t until, char *out)
{
    int code = 0;
    socklen_t len = sizeof(code);
    if (proto == IPPROTO_UDP && send(fd, "?", 1, 0) < 0)
        return errno;
    if (proto != IPPROTO_UDP) {
        code = wait_for(fd, POLLOUT, until);
        if (!code)
            (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len);
        if (code)
            return code;
    }
    code = wait_for(fd, POLLIN, until);
    if (code)
        return code;
    ssize_t n = recv(fd, out, TEXT_MAX - 1, 0);
    if (n <= 0)
        return n < 0 ? errno : ECONNRESET;
    out[n] = 0;
    out[strcspn(out, "\n")] = 0;
    return 0;
}

static int open_to(const struct target *t)
{
    int fd = new_socket(t->to.ss_family, t->proto);
    if (fd < 0)
        return -errno;
    struct linger now_gone = {.l_onoff = 1, .l_linger = 0}; /* thousands of ports in TIME_WAIT */
    if (t->proto == IPPROTO_TCP)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now_gone, sizeof(now_gone));
    if (t->has_source && bind(fd, (const struct sockaddr *)&t->from, t->len) < 0)
        die("bind");
    struct timeval limit = {.tv_sec = t->ms / 1000, .tv_usec = (t->ms % 1000) * 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (const struct sockaddr *)&t->to, t->len) < 0) {
        int code = errno;
        (void)close(fd);
        return -code;
    }
    return fd;
}

static int ask_once(const struct target *t, char *out)
{
    int64_t until = now() + t->ms;
    int fd = open_to(t);
    if (fd < 0)
        return -fd;
    int code = question(fd, t->proto, until, out);
    (void)close(fd);
    return code;
}

static struct answer {
    char text[TEXT_MAX];
    int count;
} answers[ANSWERS_MAX];
static int n_answers;

static void count_answer(const char *text)
{
    for (int i = 0; i < n_answers; i++)
        if (!strcmp(answers[i].text, text)) {
            answers[i].count++;
            return;
        }
    if (n_answers == ANSWERS_MAX)
        return;
    (void)snprintf(answers[n_answers].text, TEXT_MAX, "%s", text);
    answers[n_answers++].count = 1;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct answer *)a)->text, ((const struct answer *)b)->text);
}

static int ask(int argc, char **argv, int names)
{
    struct target t = {.proto = protocol(argv[2]), .ms = 1000};
    int count = argc > 5 ? (int)strtol(argv[5], NULL, 10) : 1;
    socklen_t len;
    if (argc > 6)
        t.ms = (int)strtol(argv[6], NULL, 10);
    if (parse(argv[3], (int)strtol(argv[4], NULL, 10), &t.to, &t.len) < 0)
        return 2;
    if (argc > 7) {
        t.has_source = 1;
        if (parse(argv[7], 0, &t.from, &len) < 0)
            return 2;
    }
    for (int i = 0; i < count; i++) {
        char text[TEXT_MAX];
        int code = ask_once(&t, text);
        if (!code && names)
            text[strcspn(text, " ")] = 0;
        count_answer(code ? why(code) : text);
    }
    qsort(answers, (size_t)n_answers, sizeof(answers[0]), by_text);
    for (int i = 0; i < n_answers; i++)
        (void)printf(count == 1 ? "%s\n" : "%s: %d\n", answers[i].text, answers[i].count);
    return 0;
}

static int hammer(char **argv)
{
    struct target t = {.proto = IPPROTO_TCP, .ms = 3000};
    long asked = 0, failed = 0;
    if (parse(argv[2], (int)strtol(argv[3], NULL, 10), &t.to, &t.len) < 0)
        return 2;
    while (!stopped) {
        char text[TEXT_MAX];
        int code = ask_once(&t, text);
        if (code && stopped)
            break;
        asked++;
        failed += code != 0;
        if (code)
            (void)fprintf(stderr, "%s\n", why(code));
    }
    (void)printf("asked %ld failed %ld\n", asked, failed);
    return 0;
}

static int keep(char **argv, int proto)
{
    struct target t = {.proto = proto, .ms = 2000};
    char line[TEXT_MAX], text[TEXT_MAX];
    if (parse(argv[2], (int)strtol(argv[3], NULL, 10), &t.to, &t.len) < 0)
        return 2;
    int fd = open_to(&t);
    if (fd < 0) {
        (void)puts(why(-fd));
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    int code = proto == IPPROTO_TCP ? question(fd, proto, now() + t.ms, text) : 0;
    if (proto == IPPROTO_TCP)
        (void)puts(code ? why(code) : text);
    while (fgets(line, sizeof(line), stdin)) {
        if (proto == IPPROTO_TCP && send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
            code = errno;
        else
            code = question(fd, proto, now() + t.ms, text);
        (void)puts(code ? why(code) : text);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct sigaction stop = {.sa_handler = on_signal}; /* interrupts what waits */
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGINT, &stop, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc >= 4 && !strcmp(argv[1], "serve"))
        return serve(argc, argv);
    if (argc >= 5 && !strcmp(argv[1], "ask"))
        return ask(argc, argv, 0);
    if (argc >= 6 && !strcmp(argv[1], "names"))
        return ask(argc, argv, 1);
    if (argc >= 4 && !strcmp(argv[1], "hammer"))
        return hammer(argv);
    if (argc >= 4 && !strcmp(argv[1], "hold"))
        return keep(argv, IPPROTO_TCP);
    if (argc >= 4 && !strcmp(argv[1], "flow"))
        return keep(argv, IPPROTO_UDP);
    (void)fprintf(stderr, "usage: echo serve|ask|names|hammer|hold|flow …\n");
    return 2;
}
