/* Network namespaces; see netns.h. */
#include "nl/netns.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>

struct call {
    int netns;
    int (*fn)(void *arg, struct error *err);
    void *arg;
    struct error *err;
    int result;
};

static void *run(void *arg)
{
    struct call *c = arg;
    if (setns(c->netns, CLONE_NEWNET) < 0)
        c->result = error_errno(c->err, -errno, "cannot enter the network namespace");
    else
        c->result = c->fn(c->arg, c->err);
    return NULL;
}

int netns_call(int netns, int (*fn)(void *arg, struct error *err), void *arg, struct error *err)
{
    struct call c = {.netns = netns, .fn = fn, .arg = arg, .err = err};
    pthread_t thread;
    sigset_t all, old;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(&thread, NULL, run, &c);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r)
        return error_errno(err, -r, "cannot start a thread");
    (void)pthread_join(thread, NULL);
    return c.result;
}

struct socket_call {
    int family, type, protocol;
};

static int open_socket(void *arg, struct error *err)
{
    const struct socket_call *s = arg;
    int fd = socket(s->family, s->type | SOCK_CLOEXEC, s->protocol);
    return fd < 0 ? error_errno(err, -errno, "socket") : fd;
}

int netns_socket(int netns, int family, int type, int protocol, struct error *err)
{
    struct socket_call s = {family, type, protocol};
    return netns_call(netns, open_socket, &s, err);
}
