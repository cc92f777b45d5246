/* One question to one server; see exchange.h. */
#include "dns/exchange.h"

#include <ctype.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <string.h>
#include <sys/random.h>

#include "base/strbuf.h"
#include "dns/message.h"
#include "net/socket.h"

#define PORT        53
#define ANSWER_MAX  4096 /* over UDP; we ask for less */
#define STRAYS_MAX  64   /* datagrams that are not the answer: somebody is guessing */
#define PREFIX      2    /* bytes of length in front of a message over TCP */
#define FLAG_QR     0x80 /* in the third byte of the header */
#define FLAG_TC     0x02
#define OPCODE_MASK 0x78
#define TYPE_CLASS  4 /* bytes after a question's name */

struct exchange {
    struct loop *loop;
    struct sockaddr_storage server;
    socklen_t server_len;
    int fd; /* UDP */
    struct loop_io io;
    struct loop_timer deadline;
    struct bufferevent *tcp;
    unsigned strays;
    int failed; /* -errno, to be told from the loop */
    exchange_fn done;
    void *arg;
    size_t len, question_len; /* of the query; of its question */
    uint8_t query[];
};

/* The length of the question in a message of ours; 0 when there is none. */
static size_t question_length(const uint8_t *query, size_t len)
{
    size_t at = MESSAGE_HEADER;
    while (at < len && query[at] && !(query[at] & 0xc0))
        at += (size_t)query[at] + 1;
    return at + 1 + TYPE_CLASS <= len ? at + 1 + TYPE_CLASS - MESSAGE_HEADER : 0;
}

/* Some servers repeat the question in small letters. */
static bool same_question(const uint8_t *a, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (tolower(a[i]) != tolower(b[i]))
            return false;
    return true;
}

static bool repeats_question(const struct exchange *x, const uint8_t *data, size_t len)
{
    return len >= MESSAGE_HEADER + x->question_len && data[0] == x->query[0] &&
           data[1] == x->query[1] && !(data[2] & OPCODE_MASK) && !data[4] && data[5] == 1 &&
           same_question(data + MESSAGE_HEADER, x->query + MESSAGE_HEADER, x->question_len);
}

bool exchange_is_query(const struct exchange *x, const uint8_t *data, size_t len)
{
    return repeats_question(x, data, len) && !(data[2] & FLAG_QR);
}

static bool is_answer(const struct exchange *x, const uint8_t *data, size_t len)
{
    return repeats_question(x, data, len) && data[2] & FLAG_QR;
}

static void finish(struct exchange *x, int result, const uint8_t *data, size_t len)
{
    loop_timer_stop(&x->deadline);
    loop_io_done(&x->io);
    x->done(x->arg, result, data, len);
}

/* ---- TCP ---- */

static void on_read(struct bufferevent *bev, void *arg)
{
    struct exchange *x = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    const uint8_t *p = evbuffer_pullup(in, PREFIX);
    size_t len = p ? (size_t)p[0] << 8 | p[1] : 0;
    if (!p || evbuffer_get_length(in) < PREFIX + len)
        return;
    p = evbuffer_pullup(in, (ev_ssize_t)(PREFIX + len));
    bufferevent_disable(bev, EV_READ | EV_WRITE);
    if (p && is_answer(x, p + PREFIX, len))
        finish(x, 0, p + PREFIX, len);
    else
        finish(x, -EBADMSG, NULL, 0);
}

static void on_event(_unused_ struct bufferevent *bev, short events, void *arg)
{
    int error = EVUTIL_SOCKET_ERROR();
    if (events & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        finish(arg, events & BEV_EVENT_ERROR && error ? -error : -ECONNRESET, NULL, 0);
}

static void ask_over_tcp(struct exchange *x)
{
    const uint8_t prefix[PREFIX] = {(uint8_t)(x->len >> 8), (uint8_t)x->len};
    int fd = socket_connect(&x->server, x->server_len, NULL);
    x->tcp = fd < 0 ? NULL : bufferevent_socket_new(loop_base(x->loop), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!x->tcp) {
        if (fd >= 0)
            (void)close(fd);
        finish(x, fd < 0 ? fd : -ENOMEM, NULL, 0);
        return;
    }
    bufferevent_setcb(x->tcp, on_read, NULL, on_event, x);
    bufferevent_setwatermark(x->tcp, EV_READ, 0, PREFIX + MESSAGE_MAX);
    (void)bufferevent_write(x->tcp, prefix, PREFIX);
    (void)bufferevent_write(x->tcp, x->query, x->len);
    (void)bufferevent_enable(x->tcp, EV_READ | EV_WRITE);
}

/* ---- UDP ---- */

static void on_datagram(int fd, _unused_ short events, void *arg)
{
    struct exchange *x = arg;
    uint8_t data[ANSWER_MAX];
    ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            finish(x, -errno, NULL, 0);
        return;
    }
    if (!is_answer(x, data, (size_t)n)) {
        if (++x->strays > STRAYS_MAX)
            finish(x, -EBADMSG, NULL, 0);
        return;
    }
    if (!(data[2] & FLAG_TC)) {
        finish(x, 0, data, (size_t)n);
        return;
    }
    loop_io_done(&x->io);
    ask_over_tcp(x);
}

static void on_deadline(void *arg)
{
    struct exchange *x = arg;
    finish(x, x->failed ? x->failed : -ETIMEDOUT, NULL, 0);
}

/* The kernel picks a port at random for a connected socket, and lets in only what the server sends
 * from its port 53. */
static int send_query(struct exchange *x)
{
    x->fd = socket(x->server.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (x->fd < 0 || connect(x->fd, (const struct sockaddr *)&x->server, x->server_len) < 0 ||
        send(x->fd, x->query, x->len, MSG_NOSIGNAL) < 0)
        return -errno;
    return loop_io_init(&x->io, x->loop, "answer of a DNS server", x->fd, EV_READ, on_datagram, x);
}

/* ---- life ---- */

struct exchange *exchange_new(struct loop *loop, const struct ip_addr *server, const uint8_t *query,
                              size_t len, uint64_t timeout_ms, exchange_fn done, void *arg)
{
    char text[IP_TEXT_MAX];
    struct exchange *x = mem_zalloc(sizeof(*x) + len);
    *x = (struct exchange){.loop = loop, .fd = -1, .done = done, .arg = arg, .len = len};
    memcpy(x->query, query, len);
    x->question_len = question_length(query, len);
    loop_timer_init(&x->deadline, loop, "answer of a DNS server", on_deadline, x);
    x->failed =
        socket_address(ip_addr_format(server, text), PORT, &x->server, &x->server_len, NULL);
    if (!x->failed && (!x->question_len || getrandom(x->query, 2, 0) != 2))
        x->failed = -EINVAL;
    if (!x->failed)
        x->failed = send_query(x);
    loop_timer_set(&x->deadline, x->failed ? 0 : timeout_ms);
    return x;
}

struct exchange *exchange_free(struct exchange *x)
{
    if (x) {
        loop_io_done(&x->io);
        loop_timer_done(&x->deadline);
        if (x->tcp)
            bufferevent_free(x->tcp);
        if (x->fd >= 0)
            (void)close(x->fd);
        free(x);
    }
    return NULL;
}
