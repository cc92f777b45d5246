/* LinuxContainerResources of the CRI in terms of base/cgroup.h. */
#pragma once

#include "base/cgroup.h"
#include "cri/arena.h"
#include "cri/launch_spec.h"
#include "net/cri.pb-c.h"

/* 0, or -EINVAL naming the field. @r may be NULL: no limits. Lists in *ret are in @a. */
int resources_to_limits(struct arena *a, const Runtime__V1__LinuxContainerResources *r,
                        struct cgroup_limits *ret, struct error *err);
/* The device rules of a container: the standard ones, and @spec's devices. In @a. */
struct cgroup_device *resources_devices(struct arena *a, const struct launch_spec *spec,
                                        size_t *ret_n);
