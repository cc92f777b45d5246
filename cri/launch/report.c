/*
 * The report socket: one message each, tagged records (shim_proto.h, enum report_tag). Sent with
 * write() alone, which every seccomp profile worth running under allows: an exec that fails after
 * the filter is in place can still say so.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/tlv.h"
#include "cri/launch/launch.h"
#include "cri/shim_proto.h"

static int put(const struct strbuf *msg)
{
    ssize_t n;
    do
        n = write(LAUNCH_FD_REPORT, msg->data, msg->len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

void report_note(const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT, msg = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    if (text.len > ERROR_TEXT_MAX)
        strbuf_truncate(&text, ERROR_TEXT_MAX);
    tlv_put_string(&msg, REPORT_NOTE, text.data);
    (void)put(&msg); /* advice only */
}

int report_tty(int master, struct error *err)
{
    _cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
    tlv_put_u64(&body, REPORT_TTY, 1);
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec iov = {.iov_base = body.data, .iov_len = body.len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &master, sizeof(int));
    if (sendmsg(LAUNCH_FD_REPORT, &msg, MSG_NOSIGNAL) < 0)
        return error_errno(err, -errno, "hand the terminal to the shim");
    return 0;
}

int report_pid(pid_t pid)
{
    _cleanup_strbuf_ struct strbuf msg = STRBUF_INIT;
    tlv_put_u64(&msg, REPORT_PID, (uint64_t)pid);
    return put(&msg);
}

int report_ready(struct error *err)
{
    _cleanup_strbuf_ struct strbuf msg = STRBUF_INIT;
    tlv_put_u64(&msg, REPORT_READY, 1);
    int r = put(&msg);
    return r < 0 ? error_errno(err, r, "report to the shim") : 0;
}

void report_error(const struct error *err, int exit_code)
{
    _cleanup_strbuf_ struct strbuf msg = STRBUF_INIT;
    tlv_put_u64(&msg, REPORT_CODE, (uint64_t)(int64_t)err->code);
    tlv_put_u64(&msg, REPORT_EXIT_CODE, (uint64_t)(int64_t)exit_code);
    tlv_put_string(&msg, REPORT_ERROR, error_text(err));
    (void)put(&msg); /* the shim is gone: so is whoever would read it */
}
