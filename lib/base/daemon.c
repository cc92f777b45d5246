/* What every daemon does first; see daemon.h. */
#include "base/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/log.h"
#include "base/strbuf.h"

void daemon_init(const char *program, int verbosity)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    closep(&fd);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)umask(022);
    log_init(program, verbosity);
}

void daemon_notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    if (len == 0 || len >= sizeof(addr.sun_path))
        return;
    memcpy(addr.sun_path, path, len);
    if (path[0] == '@')
        addr.sun_path[0] = '\0';
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&addr,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

static void on_stop(int signo, void *arg)
{
    log_debug("stopping", "signal", signo == SIGTERM ? "TERM" : "INT", NULL);
    daemon_notify("STOPPING=1");
    loop_stop(arg, 0);
}

void daemon_stop_on_signals(struct daemon_signals *s, struct loop *loop)
{
    loop_signal_init(&s->term, loop, SIGTERM, on_stop, loop);
    loop_signal_init(&s->intr, loop, SIGINT, on_stop, loop);
}

void daemon_signals_done(struct daemon_signals *s)
{
    loop_signal_done(&s->term);
    loop_signal_done(&s->intr);
}

char *daemon_path(const char *root, const char *path)
{
    return str_printf("%s%s", root ? root : "", path);
}
