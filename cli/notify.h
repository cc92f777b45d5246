/* The receiving side of sd_notify's protocol: one datagram socket per unit, so that the sender is
 * known by where it wrote. */
#pragma once

#include "base/error.h"
#include "base/loop.h"

struct notify_socket;

/* Sockets lie in @dir. @cb gets the unit's name and the text ("READY=1\nSTATUS=…"). */
int notify_socket_new(struct notify_socket **ret, struct loop *loop, const char *dir,
                      void (*cb)(const char *unit, const char *text, void *arg), void *arg,
                      struct error *err);
/* Makes the socket of @unit. 0 or -errno. */
int notify_socket_add(struct notify_socket *n, const char *unit, struct error *err);
/* The path for NOTIFY_SOCKET; owned. NULL for an unknown unit. */
const char *notify_socket_path(const struct notify_socket *n, const char *unit);
struct notify_socket *notify_socket_free(struct notify_socket *n); /* returns NULL */
