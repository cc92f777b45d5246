/*
 * Who answers, and whom it sees: for tests of addresses and their translation.
 *
 *   who serve NAME ADDRESS PORT…   answers "NAME <address of the peer>" to every TCP connection and
 *                                  every UDP packet (SCTP too, where the kernel has it); says
 *                                  "ready" once it does; ends after five minutes
 *   who ask tcp|udp|sctp ADDRESS PORT [LOCAL-PORT]
 *                                  prints the answer, or "none" after WAIT_MS
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "nl/address.h"

#define WAIT_MS     1000
#define LIFE_S      300
#define SOCKETS_MAX 64

static struct sockaddr_storage address_of(const char *text, const char *port, socklen_t *len)
{
    struct sockaddr_storage s = {.ss_family = AF_UNSPEC};
    struct ip_addr a;
    if (ip_addr_parse(text, &a) < 0)
        errx(2, "%s is no address", text);
    uint16_t number = htons((uint16_t)strtoul(port, NULL, 10));
    if (a.family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&s;
        *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = number};
        memcpy(&in6->sin6_addr, a.bytes, 16);
        *len = sizeof(*in6);
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)&s;
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = number};
        memcpy(&in->sin_addr, a.bytes, 4);
        *len = sizeof(*in);
    }
    return s;
}

static void answer_for(const char *name, const struct sockaddr_storage *peer, char *out, size_t n)
{
    char text[INET6_ADDRSTRLEN] = "?";
    if (peer->ss_family == AF_INET6)
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)peer)->sin6_addr, text,
                        sizeof(text));
    else
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)peer)->sin_addr, text, sizeof(text));
    bool mapped = strncmp(text, "::ffff:", 7) == 0 && strchr(text, '.');
    (void)snprintf(out, n, "%s %s", name, text + (mapped ? 7 : 0));
}

static void serve_one(int fd, const char *name)
{
    char answer[256], in[256];
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(peer);
    int type = 0;
    socklen_t type_len = sizeof(type);
    (void)getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len);
    if (type == SOCK_DGRAM) {
        if (recvfrom(fd, in, sizeof(in), 0, (struct sockaddr *)&peer, &len) < 0)
            return;
        answer_for(name, &peer, answer, sizeof(answer));
        (void)sendto(fd, answer, strlen(answer), 0, (struct sockaddr *)&peer, len);
        return;
    }
    int c = accept(fd, (struct sockaddr *)&peer, &len);
    if (c < 0)
        return;
    answer_for(name, &peer, answer, sizeof(answer));
    (void)send(c, answer, strlen(answer), MSG_NOSIGNAL);
    (void)close(c);
}

static void serve(char **argv)
{
    static const struct {
        int type, protocol;
    } kinds[] = {{SOCK_STREAM, 0}, {SOCK_DGRAM, 0}, {SOCK_STREAM, IPPROTO_SCTP}};
    struct pollfd fds[SOCKETS_MAX];
    nfds_t n = 0;
    int one = 1;
    for (char **port = argv + 4; *port; port++) {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
            socklen_t len;
            struct sockaddr_storage s = address_of(argv[3], *port, &len);
            int fd = socket(s.ss_family, kinds[i].type | SOCK_CLOEXEC, kinds[i].protocol);
            if (fd < 0 && kinds[i].protocol)
                continue; /* this kernel has none */
            (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
            if (n == SOCKETS_MAX || bind(fd, (struct sockaddr *)&s, len) < 0 ||
                (kinds[i].type == SOCK_STREAM && listen(fd, 16) < 0))
                err(1, "%s port %s", argv[3], *port);
            fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
    }
    (void)puts("ready");
    (void)fflush(stdout);
    (void)alarm(LIFE_S); /* nothing of a test that was killed stays */
    while (poll(fds, n, -1) >= 0)
        for (nfds_t i = 0; i < n; i++)
            if (fds[i].revents)
                serve_one(fds[i].fd, argv[2]);
}

static bool ask(char **argv, char *answer, size_t n)
{
    socklen_t len;
    struct sockaddr_storage to = address_of(argv[3], argv[4], &len);
    bool udp = strcmp(argv[2], "udp") == 0;
    int one = 1;
    int fd = socket(to.ss_family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC,
                    strcmp(argv[2], "sctp") == 0 ? IPPROTO_SCTP : 0);
    struct timeval wait = {.tv_sec = WAIT_MS / 1000, .tv_usec = WAIT_MS % 1000 * 1000};
    if (fd < 0)
        err(1, "socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)); /* of connect() */
    if (argv[5]) {
        socklen_t from_len;
        struct sockaddr_storage from =
            address_of(to.ss_family == AF_INET6 ? "::" : "0.0.0.0", argv[5], &from_len);
        if (bind(fd, (struct sockaddr *)&from, from_len) < 0)
            err(1, "local port %s", argv[5]);
    }
    if (connect(fd, (struct sockaddr *)&to, len) < 0 || (udp && send(fd, "hi", 2, 0) < 0))
        return false;
    ssize_t got = recv(fd, answer, n - 1, 0);
    answer[got > 0 ? got : 0] = '\0';
    return got > 0;
}

int main(int argc, char **argv)
{
    char answer[256];
    if (argc > 4 && strcmp(argv[1], "serve") == 0)
        serve(argv);
    else if (argc > 4 && strcmp(argv[1], "ask") == 0)
        (void)puts(ask(argv, answer, sizeof(answer)) ? answer : "none");
    else
        errx(2, "who serve NAME ADDRESS PORT… | who ask PROTOCOL ADDRESS PORT [LOCAL-PORT]");
    return 0;
}
