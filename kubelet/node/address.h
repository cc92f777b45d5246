/*
 * The node's address, where --node-ip does not say it: that of the interface with the default
 * route, followed while the kubelet runs.
 */
#pragma once

#include "kubelet/kubelet.h"

struct node_address;

/* Sets k->node_ip and k->node_ips from now on, and calls @changed after each change, when those of
 * before still stand in memory. An address that goes without another one coming stays. 0 or -errno.
 */
int node_address_new(struct kubelet *k, void (*changed)(void *arg), void *arg,
                     struct node_address **ret, struct error *err);
struct node_address *node_address_free(struct node_address *a); /* NULL is harmless; returns NULL */
