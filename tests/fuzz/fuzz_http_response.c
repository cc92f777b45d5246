/* The upgrade client's input: whatever a server answers. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "net/upgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_done(struct stream *stream, const struct upgrade_response *response,
                    const struct error *err, void *arg)
{
    bool *done = arg;
    *done = true;
    if ((response == NULL) == (err == NULL) || (stream && !response) ||
        (stream && response->status != 101))
        abort();
    (void)stream_free(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 200000)
        return 0;
    (void)signal(SIGPIPE, SIG_IGN);
    char name[64];
    (void)snprintf(name, sizeof(name), "@coracle-fuzz-response-%d", (int)getpid());
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path + 1, name + 1, strlen(name) - 1);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&sa,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))) < 0 ||
        listen(listener, 1) < 0)
        abort();
    struct loop *loop = loop_new();
    bool done = false;
    struct upgrade *u = NULL;
    const struct upgrade_request q = {
        .url = "http://h/x", .unix_socket = name, .protocol = "SPDY/3.1", .timeout_ms = 1000};
    if (upgrade_start(loop, &q, on_done, &done, &u, NULL) < 0)
        abort();
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    for (size_t at = 0; at < size && !done;) {
        ssize_t n = write(fd, data + at, at == 0 ? size / 2 + 1 : size - at);
        at += n > 0 ? (size_t)n : 0;
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    }
    (void)shutdown(fd, SHUT_WR);
    for (int i = 0; i < 3 && !done; i++)
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    if (!done)
        (void)upgrade_cancel(u);
    (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    (void)loop_free(loop);
    (void)close(fd);
    (void)close(listener);
    return 0;
}
