/*
 * The streaming server: exec, attach and port-forward over an HTTP server on loopback. A URL holds
 * a random token that is good once, for a minute; who has it need not prove more.
 */
#pragma once

#include "cri/container.h"
#include "net/remote.h"

struct streaming;

struct streaming_options {
    bool want_stdin, want_stdout, want_stderr, tty;
};

/* Listens on 127.0.0.1, on a free port. NULL with @err. */
struct streaming *streaming_new(struct runtime *rt, struct error *err);
/* Tells those who are attached to it. @st may be NULL. */
void streaming_container_exited(struct streaming *st, const struct container *c);
/* Breaks what is under way off. NULL is harmless; returns NULL. */
struct streaming *streaming_free(struct streaming *st);

/* Each returns a URL that the caller frees, or NULL with @err. What was asked for is checked when
 * the URL is used: the container may have ended by then. */
char *streaming_exec(struct streaming *st, const struct container *c, const char *const *argv,
                     const struct streaming_options *options, struct error *err);
char *streaming_attach(struct streaming *st, const struct container *c,
                       const struct streaming_options *options, struct error *err);
char *streaming_port_forward(struct streaming *st, const struct sandbox *sandbox,
                             const struct remote_ports *ports, struct error *err);
