/* The protocol's views of sandboxes and containers. What is returned borrows from the object and
 * from the arena: encode it before either changes. */
#pragma once

#include "cri/container.h"

Runtime__V1__PodSandboxStatus *status_of_sandbox(struct arena *a, const struct sandbox *sandbox);
Runtime__V1__PodSandbox *sandbox_summary(struct arena *a, const struct sandbox *sandbox);
Runtime__V1__ContainerStatus *status_of_container(struct arena *a,
                                                  const struct container *container);
Runtime__V1__Container *container_summary(struct arena *a, const struct container *container);
/* The statuses of all containers of a sandbox; *ret_n of them. */
Runtime__V1__ContainerStatus **statuses_of_containers(struct arena *a,
                                                      const struct sandbox *sandbox, size_t *ret_n);

Runtime__V1__PodSandboxState sandbox_state_of(const struct sandbox *sandbox);
Runtime__V1__ContainerState container_state_of(const struct container *container);

/* Filters of the lists, NULL accepts all. */
bool sandbox_matches(const struct sandbox *sandbox, const Runtime__V1__PodSandboxFilter *filter);
bool container_matches(const struct container *container,
                       const Runtime__V1__ContainerFilter *filter);
/* Whether @labels (map entries of some message) hold each pair of @selector (likewise). */
bool labels_match(size_t n_labels, const void *labels, size_t n_selector, const void *selector);
