/* What the parts of the streaming server share. */
#pragma once

#include "cri/exec.h"
#include "cri/streaming.h"
#include "net/http_server.h"
#include "net/remote.h"

enum ticket_kind { TICKET_EXEC, TICKET_ATTACH, TICKET_PORT_FORWARD };

/* What a token stands for. */
struct ticket {
    enum ticket_kind kind;
    char *id;    /* of the container, or of the sandbox */
    char **argv; /* NULL-terminated; exec */
    struct streaming_options options;
    struct remote_ports ports; /* port forward, for protocols that number them */
    uint64_t expires_ms;
};

struct streaming {
    struct runtime *rt;
    struct http_server *http;
    uint16_t port;
    struct map tickets; /* token → ticket */
    struct loop_timer expire;
    struct list sessions; /* stream_exec.c */
    struct list forwards; /* stream_forward.c */
};

/* Each ends the exchange in any case; the ticket stays the caller's. */
void stream_exec_start(struct streaming *st, struct http_exchange *x, const struct ticket *t);
void stream_forward_start(struct streaming *st, struct http_exchange *x, const struct ticket *t);
void stream_exec_end_all(struct streaming *st);
void stream_forward_end_all(struct streaming *st);
