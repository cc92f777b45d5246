/*
 * The Kubernetes subnet manager: leases are the Nodes' pod CIDRs and annotations. Tells the overlay
 * of them, publishes ours, and sets the Node's condition NetworkUnavailable.
 */
#pragma once

#include "flannel/overlay.h"
#include "kube/client.h"

struct kube_manager;

struct kube_manager_options {
    const char *node;   /* our Node's name */
    const char *prefix; /* of the annotations; see lease_prefix() */
    const struct flannel_config *config;
    bool set_condition; /* NetworkUnavailable=False once the overlay is ready */
};

/* Strings and structs of @options are borrowed. Begins with kube_manager_start(). Never NULL. */
struct kube_manager *kube_manager_new(struct kube_client *client,
                                      const struct kube_manager_options *options);
struct kube_manager *kube_manager_free(struct kube_manager *m); /* NULL is harmless */
/* @overlay is told from now on, and was made with kube_manager_ops and @m as their argument. */
void kube_manager_start(struct kube_manager *m, struct overlay *overlay);

extern const struct overlay_ops kube_manager_ops;
