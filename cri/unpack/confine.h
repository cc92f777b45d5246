/* What the worker may do once it reads foreign bytes. */
#pragma once

#include <linux/filter.h>

#include "base/error.h"

/* The filter of system calls, made once and good for every process that is forked later. */
struct confine_filter {
    struct sock_fprog program;
};

/* First of all: dies with its parent, leaves no core, bounds its memory and opens its
 * limits on descriptors. */
int confine_begin(void);

/* Makes the filter: every call but those that unpacking makes fails with EPERM, among them mount,
 * ptrace, sockets and open_by_handle_at. It lives as long as the process. */
int confine_filter_make(struct confine_filter *ret, struct error *err);

/* Makes a mount namespace of its own in which @source is mounted at @at (directories): with
 * @overlay_options an overlay with these options, else a bind mount. With @ret_upper a detached
 * mount of @upper alone is opened into it. Then that mount becomes the root, everything else is
 * out of reach, and the current directory is the new root. 0 or -errno. */
int confine_root(const char *source, const char *at, const char *overlay_options, const char *upper,
                 int *ret_upper, struct error *err);
/* The current directory becomes the root, in the same way. */
int confine_here(struct error *err);

/* Keeps the capabilities that unpacking needs and the system calls of @filter. */
int confine_privileges(const struct confine_filter *filter, struct error *err);
