/*
 * What every daemon does first, and the readiness protocol between a daemon and whoever started
 * it: sd_notify's datagrams (NOTIFY_SOCKET), so that systemd and our supervisor hear the same.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

/* Ignores SIGPIPE, sets up logging (log.h), sets the process's umask to 022, and opens /dev/null in
 * place of closed standard descriptors. */
void daemon_init(const char *program, int verbosity);

/* Tells the supervisor @text ("READY=1", "STATUS=…", "STOPPING=1"). Nothing happens when nobody
 * listens. */
void daemon_notify(const char *text);

/* Makes SIGTERM and SIGINT stop the loop with code 0. Both structs belong to the caller. */
struct daemon_signals {
    struct loop_signal term, intr;
};
void daemon_stop_on_signals(struct daemon_signals *s, struct loop *loop);
void daemon_signals_done(struct daemon_signals *s);

/* "<root><path>": where @path (absolute) is under --root; @root may be NULL or "". Caller frees. */
char *daemon_path(const char *root, const char *path);
