/* Sockets: see socket.h. */
#include "net/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/un.h>

#define PROBE_AFTER_SECONDS 30
#define USER_TIMEOUT_MS     30000

void socket_tune(int fd)
{
    const int on = 1, idle = PROBE_AFTER_SECONDS, interval = 10, count = 3;
    const unsigned timeout = USER_TIMEOUT_MS;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

void socket_set_patient(int fd, bool patient)
{
    const unsigned timeout = patient ? 0 : USER_TIMEOUT_MS;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

int socket_address(const char *address, uint16_t port, struct sockaddr_storage *ret,
                   socklen_t *ret_len, struct error *err)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) {
        memcpy(ret, &v4, sizeof(v4));
        *ret_len = sizeof(v4);
    } else if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1) {
        memcpy(ret, &v6, sizeof(v6));
        *ret_len = sizeof(v6);
    } else {
        return error_set(err, -EINVAL, "\"%s\" is no IP address", address);
    }
    return 0;
}

int socket_unix_address(const char *path, struct sockaddr_storage *ret, socklen_t *ret_len,
                        struct error *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(un.sun_path))
        return error_set(err, -ENAMETOOLONG, "%s: a unix socket's path has 1 to %zu bytes", path,
                         sizeof(un.sun_path) - 1);
    memcpy(un.sun_path, path, len);
    if (path[0] == '@')
        un.sun_path[0] = '\0';
    memset(ret, 0, sizeof(*ret));
    memcpy(ret, &un, sizeof(un));
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] != '@'));
    return 0;
}

int socket_for(const struct sockaddr_storage *address, struct error *err)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, -errno, "socket");
    if (address->ss_family != AF_UNIX)
        socket_tune(fd);
    return fd;
}

int socket_connect(const struct sockaddr_storage *address, socklen_t len, struct error *err)
{
    _cleanup_close_ int fd = socket_for(address, err);
    if (fd < 0)
        return fd;
    if (connect(fd, (const struct sockaddr *)address, len) < 0 && errno != EINPROGRESS)
        return error_errno(err, -errno, "connect");
    return TAKE_FD(fd);
}
