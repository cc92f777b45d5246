/* Netlink multicast; see monitor.h. */
#include "nl/monitor.h"

#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>
#include <arpa/inet.h>

#include "base/strbuf.h"

#define BUFFER_SIZE  65536
#define RECEIVE_ROOM (32 << 20) /* a burst of rules; taken up only while it is queued */
#define MESSAGES_MAX 64         /* datagrams read in one turn of the loop */

struct monitor {
    int fd;
    struct loop_io io;
    void (*cb)(const struct nlmsghdr *h, void *arg);
    void *arg;
    char *buffer;
};

static void take(const struct monitor *m, size_t len)
{
    const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)m->buffer;
    for (; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len))
        if (h->nlmsg_type >= NLMSG_MIN_TYPE)
            m->cb(h, m->arg);
}

static void on_readable(int fd, _unused_ short events, void *arg)
{
    struct monitor *m = arg;
    for (int i = 0; i < MESSAGES_MAX; i++) {
        struct sockaddr_nl from = {.nl_family = AF_NETLINK};
        struct iovec iov = {.iov_base = m->buffer, .iov_len = BUFFER_SIZE};
        struct msghdr msg = {
            .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);
        if (n < 0 && errno == ENOBUFS)
            m->cb(NULL, m->arg);
        else if (n < 0 && errno != EINTR)
            return;
        else if (n >= 0 && (msg.msg_flags & MSG_TRUNC))
            m->cb(NULL, m->arg);
        else if (n > 0 && from.nl_pid == 0)
            take(m, (size_t)n);
    }
}

static int join(struct monitor *m, int protocol, const unsigned *groups, size_t n)
{
    int room = RECEIVE_ROOM;
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    m->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    if (m->fd < 0 || bind(m->fd, (const struct sockaddr *)&self, sizeof(self)) < 0)
        return -errno;
    if (setsockopt(m->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
        (void)setsockopt(m->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    for (size_t i = 0; i < n; i++)
        if (setsockopt(m->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) <
            0)
            return -errno;
    return 0;
}

int monitor_new(struct monitor **ret, struct loop *loop, int protocol, const unsigned *groups,
                size_t n, void (*cb)(const struct nlmsghdr *h, void *arg), void *arg,
                struct error *err)
{
    struct monitor *m = mem_zalloc(sizeof(*m));
    *m = (struct monitor){.fd = -1, .cb = cb, .arg = arg, .buffer = mem_zalloc(BUFFER_SIZE)};
    int r = join(m, protocol, groups, n);
    if (r == 0)
        r = loop_io_init(&m->io, loop, "netlink monitor", m->fd, EV_READ, on_readable, m);
    if (r < 0) {
        (void)monitor_free(m);
        return error_errno(err, r, "netlink multicast");
    }
    *ret = m;
    return 0;
}

struct monitor *monitor_free(struct monitor *m)
{
    if (m) {
        loop_io_done(&m->io);
        closep(&m->fd);
        free(m->buffer);
        free(m);
    }
    return NULL;
}

int monitor_ignore(struct monitor *m, uint32_t port, struct error *err)
{
    /* The filter's loads are big endian, the header is in the host's order. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(port), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};
    if (setsockopt(m->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
        return error_errno(err, -errno, "netlink multicast: filter");
    return 0;
}
