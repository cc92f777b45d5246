/*
 * A pod's connection to the bridge: the veth pair, and the pod's end of it. Calls block for as long
 * as the kernel takes; attaching enters the pod's network namespace and stays there. So: on a
 * helper thread that ends afterwards, with plain data.
 */
#pragma once

#include "cri/ipam.h"
#include "nl/link.h"

struct pod_link {
    char name[IFNAMSIZ]; /* our end */
    char alias[LINK_ALIAS_MAX];
    const char *netns; /* path of the pod's network namespace */
    struct {
        struct ip_prefix addr, gateway;
    } families[IPAM_PREFIXES_MAX];
    size_t n_families;
    int bridge, mtu;
};

/* Makes the pair, brings the pod's loopback and eth0 up, with addresses and default routes. A pair
 * that was made before a failure stays, for pod_link_remove(). */
int pod_link_attach(const struct pod_link *l, struct error *err);
/* Brings the loopback of a namespace up. Enters it. */
int pod_link_loopback(const char *netns, struct error *err);
/* Removes the link of this name, or, with "", the one with this alias. Success when there is none.
 */
int pod_link_remove(const char *name, const char *alias, struct error *err);
/* Has the node forget at which link-layer address the pod was: who connects to it from here is told
 * that it is not there, instead of waiting for a host that the node believes in for half a minute.
 */
int pod_link_forget(int bridge, const struct ip_addr *addrs, size_t n, struct error *err);
