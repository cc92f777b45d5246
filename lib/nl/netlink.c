/* Netlink sockets; see netlink.h. */
#include "nl/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include "base/strbuf.h"

#define MESSAGE_MAX 8192

struct netlink {
    struct nl_sock *sock;
};

/* What one exchange gathers from libnl's callbacks. */
struct exchange {
    bool done;
    int code; /* kernel's -errno */
    char text[256];
    int (*cb)(const struct nlmsghdr *h, void *arg);
    void *arg;
    int cb_code;
};

/* libnl's own failures as -errno: they only tell of sockets and memory. */
static int nle_errno(int code)
{
    switch (code < 0 ? -code : code) {
    case NLE_NOMEM:
        return -ENOMEM;
    case NLE_AGAIN:
        return -EAGAIN;
    case NLE_PERM:
    case NLE_NOACCESS:
        return -EPERM;
    case NLE_PROTO_MISMATCH:
    case NLE_OPNOTSUPP:
        return -EPROTONOSUPPORT;
    case NLE_DUMP_INTR:
        return -EINTR;
    default:
        return -EIO;
    }
}

int netlink_open(int protocol, struct netlink **ret, struct error *err)
{
    struct netlink *nl = mem_zalloc(sizeof(*nl));
    nl->sock = nl_socket_alloc();
    if (!nl->sock)
        abort();
    int r = nl_connect(nl->sock, protocol);
    if (r < 0) {
        (void)netlink_free(nl);
        return error_set(err, nle_errno(r), "netlink socket: %s", nl_geterror(r));
    }
    int one = 1;
    int fd = nl_socket_get_fd(nl->sock);
    /* Best effort: kernels without them only give poorer texts or check less strictly. */
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
    (void)nl_socket_set_buffer_size(nl->sock, 1 << 18, 1 << 16);
    *ret = nl;
    return 0;
}

struct netlink *netlink_free(struct netlink *nl)
{
    if (nl) {
        nl_socket_free(nl->sock);
        free(nl);
    }
    return NULL;
}

uint32_t netlink_port(const struct netlink *nl)
{
    return nl_socket_get_local_port(nl->sock);
}

struct nl_msg *netlink_message(int type, int flags, const void *header, size_t len)
{
    struct nl_msg *msg = nlmsg_alloc_size(MESSAGE_MAX);
    if (!msg || !nlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, type, 0, NLM_F_REQUEST | flags) ||
        nlmsg_append(msg, (void *)(uintptr_t)header, len, NLMSG_ALIGNTO) < 0)
        abort();
    return msg;
}

void netlink_put(struct nl_msg *msg, int attribute, const void *data, size_t len)
{
    if (nla_put(msg, attribute, (int)len, data) < 0)
        abort();
}

void netlink_put_u32(struct nl_msg *msg, int attribute, uint32_t value)
{
    netlink_put(msg, attribute, &value, sizeof(value));
}

void netlink_put_u8(struct nl_msg *msg, int attribute, uint8_t value)
{
    netlink_put(msg, attribute, &value, sizeof(value));
}

void netlink_put_string(struct nl_msg *msg, int attribute, const char *value)
{
    netlink_put(msg, attribute, value, strlen(value) + 1);
}

struct nlattr *netlink_nest(struct nl_msg *msg, int attribute)
{
    struct nlattr *nest = nla_nest_start(msg, attribute | NLA_F_NESTED);
    if (!nest)
        abort();
    return nest;
}

void netlink_nest_end(struct nl_msg *msg, struct nlattr *nest)
{
    (void)nla_nest_end(msg, nest);
}

/* The kernel's explanation follows its error message (capped: the request is not repeated). */
static void take_extended_ack(struct exchange *x, const struct nlmsghdr *h,
                              const struct nlmsgerr *e)
{
    if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
        return;
    size_t skip = sizeof(*e);
    if (!(h->nlmsg_flags & NLM_F_CAPPED))
        skip += e->msg.nlmsg_len - NLMSG_HDRLEN;
    size_t len = h->nlmsg_len - NLMSG_HDRLEN;
    if (skip >= len)
        return;
    const struct nlattr *a =
        nla_find((const struct nlattr *)(const void *)((const char *)e + NLMSG_ALIGN(skip)),
                 (int)(len - NLMSG_ALIGN(skip)), NLMSGERR_ATTR_MSG);
    if (a)
        (void)snprintf(x->text, sizeof(x->text), "%.*s", nla_len(a), (const char *)nla_data(a));
}

static int on_error(_unused_ struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
    struct exchange *x = arg;
    x->done = true;
    x->code = e->error;
    take_extended_ack(x, (const struct nlmsghdr *)(const void *)((const char *)e - NLMSG_HDRLEN),
                      e);
    return NL_STOP;
}

static int on_ack(_unused_ struct nl_msg *msg, void *arg)
{
    struct exchange *x = arg;
    x->done = true;
    return NL_STOP;
}

static int on_valid(struct nl_msg *msg, void *arg)
{
    struct exchange *x = arg;
    if (x->cb && x->cb_code >= 0)
        x->cb_code = x->cb(nlmsg_hdr(msg), x->arg);
    return NL_OK;
}

static int exchange(struct netlink *nl, struct nl_msg *msg, struct exchange *x)
{
    int r = nl_send_auto(nl->sock, msg);
    nlmsg_free(msg);
    if (r < 0)
        return nle_errno(r);
    struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
    if (!cb)
        abort();
    (void)nl_cb_err(cb, NL_CB_CUSTOM, on_error, x);
    (void)nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, x);
    (void)nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_ack, x);
    (void)nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, x);
    r = 0;
    while (!x->done) {
        r = nl_recvmsgs(nl->sock, cb);
        if (r < 0 && !x->done && r != -NLE_INTR) {
            r = nle_errno(r);
            break;
        }
        r = 0;
    }
    nl_cb_put(cb);
    return r < 0 ? r : x->code;
}

static int report(int code, const struct exchange *x, struct error *err, const char *what,
                  va_list args)
{
    if (code >= 0)
        return 0;
    struct strbuf text = STRBUF_INIT;
    strbuf_addv(&text, what, args);
    if (x->text[0])
        code = error_errno(err, code, "%s: %s", strbuf_text(&text), x->text);
    else
        code = error_errno(err, code, "%s", strbuf_text(&text));
    strbuf_done(&text);
    return code;
}

int netlink_call(struct netlink *nl, struct nl_msg *msg, struct error *err, const char *what, ...)
{
    struct exchange x = {.done = false};
    nlmsg_hdr(msg)->nlmsg_flags |= NLM_F_ACK;
    int r = exchange(nl, msg, &x);
    va_list args;
    va_start(args, what);
    r = report(r, &x, err, what, args);
    va_end(args);
    return r;
}

int netlink_dump(struct netlink *nl, struct nl_msg *msg,
                 int (*cb)(const struct nlmsghdr *h, void *arg), void *arg, struct error *err,
                 const char *what, ...)
{
    struct exchange x = {.cb = cb, .arg = arg};
    struct nlmsghdr *h = nlmsg_hdr(msg);
    if ((h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
        h->nlmsg_flags |= NLM_F_ACK;
    int r = exchange(nl, msg, &x);
    va_list args;
    va_start(args, what);
    r = report(r < 0 ? r : x.cb_code, &x, err, what, args);
    va_end(args);
    return r;
}
