/* What the files about links share. */
#pragma once

#include <netlink/attr.h>

#include "nl/link.h"

/* Fills @info from an RTM_NEWLINK message; *ret_data (may be NULL) is its IFLA_INFO_DATA, NULL when
 * it has none. -EBADMSG. */
int link_parse(const struct nlmsghdr *h, struct link_info *info, const struct nlattr **ret_data);
/* Asks for one link and hands the answer to @cb; 0 when there is none, 1 when @cb was called. */
int link_ask(struct netlink *nl, const char *name, int (*cb)(const struct nlmsghdr *h, void *arg),
             void *arg, struct error *err);
