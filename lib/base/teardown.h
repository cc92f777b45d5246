/*
 * Taking down what a component left in the host, whatever state it is in: for its --cleanup. Each
 * function succeeds when there is nothing to do.
 */
#pragma once

#include "base/cgroup.h"
#include "base/error.h"

/* Unmounts everything mounted at or below @dir, deepest first, detaching what is busy. */
int teardown_mounts(const char *dir, struct error *err);

/* Kills every process in the group and below, waits until they are gone (at most 5 s), and removes
 * the groups. @path must not be a root. */
int teardown_cgroup(const struct cgroups *cgs, const char *path, struct error *err);
