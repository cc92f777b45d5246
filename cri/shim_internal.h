/* Shared by the files of the shim's client; nobody else's business. */
#pragma once

#include "base/tlv.h"
#include "cri/shim_client.h"
#include "cri/shim_proto.h"

/* A request under way. */
struct shim_pending {
    struct list link;
    uint32_t id;
    shim_cb cb;
    void (*query_cb)(int code, const struct shim_state *states, size_t n, void *arg);
    void *arg;
    struct shim_state *states; /* of a query */
    size_t n_states;
};

struct shim {
    struct loop *loop;
    struct loop_io io;
    struct loop_pid process;   /* the shim itself, once its number is known */
    struct loop_pid starter;   /* what we spawned: ends when the shim has detached itself */
    struct loop_timer lost;    /* the connection broke: does the process end too? */
    struct loop_deferred kick; /* to report a broken connection from the loop */
    int fd;
    pid_t pid;
    uint64_t version; /* of its protocol; 0 until it has said hello */
    uint32_t next_id;
    struct list pending;
    struct shim_events events;
    void (*ready)(struct shim *shim, int code, const char *message, void *arg);
    bool process_ended, broken;
    unsigned depth; /* callbacks we are inside of */
    bool freed;     /* by one of them */
};

/* A message as it came in. */
struct shim_message {
    uint64_t type, request;
    const char *text, *notes, *container, *exec;
    uint64_t protocol, pid, exit_code, signo, oom, finished, started;
    int code;
    int fd; /* -1 */
    struct shim_state state;
};
/* Pure; -EBADMSG. */
int shim_message_decode(const void *data, size_t len, struct shim_message *ret);
bool shim_state_take(struct shim_state *s, const struct tlv_item *i);

/* Sends a request; @p is taken over (answered by the shim, or with an error from the loop). */
int shim_send(struct shim *shim, const struct strbuf *msg, const int *fds, size_t n_fds);
struct shim_pending *shim_request(struct shim *shim, uint16_t type, const char *container,
                                  struct strbuf *msg, shim_cb cb, void *arg);
/* Makes the struct around a connected descriptor (taken) and watches it. */
struct shim *shim_new(struct loop *loop, int fd, const struct shim_events *events);
/* Reaps the process that was spawned, which ends when the shim has detached itself. */
void shim_watch_starter(struct shim *shim, pid_t pid);
