/*
 * The "builtin" pod network: a bridge in the node's network namespace, a veth pair for every pod,
 * an address from the node's pod CIDR, masquerading of what leaves it. All of it over netlink; the
 * one thing that runs a program is the set of iptables rules, once at start.
 *
 * What is ours in the host: the bridge and links whose alias starts with "coracle:" (a pod's link:
 * "coracle:<sandbox id>"), chains CORACLE-FORWARD and CORACLE-MASQ with one jump to each, sysctls
 * through the journal.
 */
#pragma once

#include <stdbool.h>

#include "base/loop.h"
#include "cri/job.h"
#include "cri/waiters.h"
#include "nl/address.h"
#include "nl/link.h"

struct network;

struct network_options {
    struct loop *loop;
    struct jobs *jobs;
    const char *dir;          /* of leases and of what outlives the daemon: on tmpfs */
    const char *journal_dir;  /* base/journal.h */
    const char *bridge;       /* name */
    const char *pod_cidr;     /* NULL or "": not known yet (UpdateRuntimeConfig tells) */
    const char *cluster_cidr; /* not masqueraded either; NULL or "": the pod CIDR alone */
};

struct network *network_new(const struct network_options *options, struct error *err);
struct network *network_free(struct network *n); /* what is in the host stays; returns NULL */

/* Sets or changes the pod CIDR and makes the bridge and rules for it. Remembered in @dir. @done
 * (may be NULL) is called when that is done. -EINVAL at once for a bad one. */
int network_set_pod_cidr(struct network *n, const char *cidr, done_fn done, void *arg,
                         struct error *err);
/* NetworkReady of CRI's Status: NULL when ready, else why not (owned by the network). */
const char *network_not_ready(const struct network *n);

/* What a pod has. Kept in its record. */
struct network_attachment {
    char link[IFNAMSIZ]; /* our end of the veth pair; "" when there is none */
    struct ip_addr addr; /* family 0: none leased */
};

/* Leases an address into @ret, names the link, and configures @netns_path (a pinned namespace) on a
 * helper thread; @done is called when the pod is reachable, or with what failed, and then the
 * attachment is to be detached. -errno at once when there is no address: nothing to detach. */
int network_attach(struct network *n, const char *sandbox, const char *netns_path,
                   struct network_attachment *ret, done_fn done, void *arg, struct error *err);
/* Removes link and lease. Succeeds when they are gone already. */
void network_detach(struct network *n, const char *sandbox, const struct network_attachment *a,
                    done_fn done, void *arg);
/* After the daemon has read its records: removes links and leases of sandboxes that @keep rejects.
 */
void network_sweep(struct network *n, bool (*keep)(const char *sandbox, void *arg), void *arg);
/* Counters of a pod's interface, as the pod sees them. -ENOENT. */
int network_stats(struct network *n, const struct network_attachment *a, struct link_info *ret,
                  struct error *err);
