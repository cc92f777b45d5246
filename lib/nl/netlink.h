/*
 * Netlink sockets over libnl-3: one request, one acknowledgement, with errors as -errno and the
 * kernel's own explanation (extended ack) in the text. Calls block for as long as the kernel takes
 * (RTNL lock), so a daemon makes those that are slow on a helper thread. A socket stays in the
 * network namespace that its thread was in when it was opened.
 */
#pragma once

#include <stdbool.h>

#include <netlink/msg.h>
#include <netlink/netlink.h>

#include "base/error.h"

struct netlink;

/* Opens a socket of @protocol (NETLINK_ROUTE, …). 0 or -errno. */
int netlink_open(int protocol, struct netlink **ret, struct error *err);
struct netlink *netlink_free(struct netlink *nl); /* returns NULL */
DEFINE_CLEANUP(struct netlink *, netlink_free);
/* Its port ID: what monitor_ignore() wants to know. */
uint32_t netlink_port(const struct netlink *nl);

/* A message of @type with NLM_F_REQUEST | @flags and @header (family header) of @len bytes. Never
 * NULL. */
struct nl_msg *netlink_message(int type, int flags, const void *header, size_t len);
/* Appends an attribute; aborts when the message is full (messages here have known sizes). */
void netlink_put(struct nl_msg *msg, int attribute, const void *data, size_t len);
void netlink_put_u32(struct nl_msg *msg, int attribute, uint32_t value);
void netlink_put_u8(struct nl_msg *msg, int attribute, uint8_t value);
void netlink_put_string(struct nl_msg *msg, int attribute, const char *value);
struct nlattr *netlink_nest(struct nl_msg *msg, int attribute);
void netlink_nest_end(struct nl_msg *msg, struct nlattr *nest);

/* Sends @msg (taken) and waits for the acknowledgement. 0 or the kernel's -errno; text: @what. */
int netlink_call(struct netlink *nl, struct nl_msg *msg, struct error *err, const char *what, ...)
    _printf_(4, 5);
/* Sends @msg (taken; NLM_F_DUMP or a get) and hands each answer to @cb, up to the end. An error
 * that @cb returns (negative) is returned after the rest was read. 0 or -errno. */
int netlink_dump(struct netlink *nl, struct nl_msg *msg,
                 int (*cb)(const struct nlmsghdr *h, void *arg), void *arg, struct error *err,
                 const char *what, ...) _printf_(6, 7);
