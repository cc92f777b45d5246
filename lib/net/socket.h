/* Sockets as every part of lib/net wants them. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "base/error.h"

/* Keep-alive probes after 30 s, TCP_USER_TIMEOUT of 30 s, no Nagle delay. Harmless on others. */
void socket_tune(int fd);
/* Whether the peer may keep its window closed for as long as it likes. TCP_USER_TIMEOUT counts that
 * as silence, even from a peer that answers every probe: a patient socket has none. */
void socket_set_patient(int fd, bool patient);
/* A numeric IPv4 or IPv6 address. -EINVAL. */
int socket_address(const char *address, uint16_t port, struct sockaddr_storage *ret,
                   socklen_t *ret_len, struct error *err);
/* A unix socket's address; a leading '@' means the abstract namespace. -ENAMETOOLONG. */
int socket_unix_address(const char *path, struct sockaddr_storage *ret, socklen_t *ret_len,
                        struct error *err);
/* A tuned, non-blocking stream socket for this address. The descriptor or -errno. */
int socket_for(const struct sockaddr_storage *address, struct error *err);
/* Starts connecting, non-blocking. Returns the descriptor or -errno. */
int socket_connect(const struct sockaddr_storage *address, socklen_t len, struct error *err);
