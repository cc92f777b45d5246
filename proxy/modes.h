/* Which modes there are, and which of them this node can do. */
#pragma once

#include "proxy/config.h"

extern const struct backend_ops
    *const modes[]; /* NULL-terminated, in the order "auto" tries them */

/* NULL: there is no such mode. */
const struct backend_ops *mode_find(const char *name);

/* Decides on @config->mode ("auto": the first that works) and on the address families: IPv6 where
 * the node and the mode have it. -ENOTSUP (or another) and what is missing. */
int mode_choose(struct config *config, const struct backend_config *probe, bool *ret_ipv6,
                const struct backend_ops **ret, struct error *err);

/* Removes what all modes but @keep (NULL: all) have made. Continues past errors; the first. */
int mode_cleanup(const struct backend_config *c, const struct backend_ops *keep, struct error *err);
