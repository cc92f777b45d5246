/* Listening to netlink's multicast groups on the loop. */
#pragma once

#include <linux/netlink.h>

#include "base/error.h"
#include "base/loop.h"

struct monitor;

/* Joins @groups (@n of them, RTNLGRP_LINK or the like) of @protocol in the calling thread's network
 * namespace. @cb is called for every message of the kernel, or with NULL when some were lost:
 * whoever listens then looks at everything. It must not free the monitor. 0 or -errno. */
int monitor_new(struct monitor **ret, struct loop *loop, int protocol, const unsigned *groups,
                size_t n, void (*cb)(const struct nlmsghdr *h, void *arg), void *arg,
                struct error *err);
struct monitor *monitor_free(struct monitor *m); /* NULL is harmless; returns NULL */
/* The kernel keeps messages back that requests of this port ID caused: a program's own. */
int monitor_ignore(struct monitor *m, uint32_t port, struct error *err);
