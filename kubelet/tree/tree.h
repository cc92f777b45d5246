/*
 * Walks over trees of files that belong to containers: never out of the tree by a link, never into
 * another mount, with a bounded number of open descriptors.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Gives everything in @dir to group @gid, readable (and, unless @read_only, writable) by it;
 * directories get the set-group-ID bit, so that new files belong to the group too. With
 * @only_on_mismatch nothing is touched when @dir itself is like that already; it is changed last,
 * so that a run that was cut short is done again. 0 or -errno. */
int tree_own(const char *dir, gid_t gid, bool read_only, bool only_on_mismatch, struct error *err);
