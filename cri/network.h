/*
 * The pods' network. Where it comes from is the back end's business (network_ops.h):
 *
 *   builtin  a bridge in the node's network namespace, a veth pair for every pod, addresses from
 *            the node's pod CIDRs, host ports, masquerading of what leaves (network_builtin.c)
 *   cni      plugins of the Container Network Interface (network_cni.c)
 */
#pragma once

#include <stdbool.h>

#include "base/loop.h"
#include "base/options.h"
#include "cri/job.h"
#include "cri/waiters.h"
#include "net/cri.pb-c.h"
#include "nl/address.h"
#include "nl/link.h"

#define NETWORK_ADDRS_MAX 8 /* of a pod; the builtin network gives one of each family */

struct network;

struct network_options {
    struct loop *loop;
    struct jobs *jobs;
    const char *root;         /* prefix of our directories; "" */
    const char *backend;      /* "builtin" or "cni" */
    const char *bridge;       /* name (builtin) */
    const char *pod_cidr;     /* one or two, with a comma; NULL or "": not known yet */
    bool await_flannel;       /* flannel tells the pod CIDRs, nobody else: not ready before */
    const char *cluster_cidr; /* not masqueraded either; NULL or "": the pod CIDRs alone */
    const char *cni_conf_dir; /* NULL: /etc/cni/net.d below root */
    const char *cni_bin_path; /* directories separated by colons; NULL: /opt/cni/bin:/usr/lib/cni */
    int cni_timeout_s;        /* of each plugin; 0: 60 */
};

/* NULL with @err; -EINVAL names the flag; -EBUSY: pods of the other back end are there. */
struct network *network_new(const struct network_options *options, struct error *err);
struct network *network_free(struct network *n); /* what is in the host stays; returns NULL */
/* Removes what either back end put into the host, and waits for that: for --cleanup. */
int network_cleanup(const struct network_options *options, struct error *err);

/* UpdateRuntimeConfig of CRI: sets or changes the pod CIDRs, where the back end's addresses come
 * from there. @done (may be NULL) is called when that is in effect. -EINVAL at once for bad ones.
 */
int network_set_pod_cidr(struct network *n, const char *cidr, done_fn done, void *arg,
                         struct error *err);
/* NetworkReady of CRI's Status: NULL when ready, else why not (owned by the network). */
const char *network_not_ready(struct network *n);

/* What a pod has. Kept in its record. */
struct network_attachment {
    char link[IFNAMSIZ]; /* our end of the veth pair; "" when there is none, or it is not known */
    struct ip_addr addrs[NETWORK_ADDRS_MAX]; /* the first is the pod's own */
    size_t n_addrs;
};
/* The addresses as text, separated by commas, and back (-EINVAL). */
void network_addresses_format(const struct network_attachment *a, struct strbuf *out);
int network_addresses_parse(struct network_attachment *a, const char *text);

/* Connects @netns_path (a pinned namespace): eth0, loopback, host ports. @ret is filled by the time
 * @done is called with 0; it and @config stay until then. After a failure that @done tells the pod
 * is to be detached. -errno at once: nothing was done, nothing to detach. */
int network_attach(struct network *n, const char *sandbox, const char *netns_path,
                   const Runtime__V1__PodSandboxConfig *config, struct network_attachment *ret,
                   done_fn done, void *arg, struct error *err);
/* A sandbox that an earlier daemon attached: what of it is ours to know (host ports). */
void network_adopt(struct network *n, const char *sandbox,
                   const Runtime__V1__PodSandboxConfig *config, const struct network_attachment *a);
/* Takes back what attaching made, also half of it; succeeds when nothing is left of it. @done may
 * be called at once. */
void network_detach(struct network *n, const char *sandbox, const struct network_attachment *a,
                    done_fn done, void *arg);
/* Whether the pod's namespace must stay pinned until it is detached. */
bool network_detach_needs_netns(const struct network *n);
/* After the daemon has read its records: takes back what sandboxes that @keep rejects have. */
void network_sweep(struct network *n, bool (*keep)(const char *sandbox, void *arg), void *arg);
/* Counters of eth0, as the pod sees them. -ENOENT. */
int network_stats(const char *netns_path, const struct network_attachment *a, struct link_info *ret,
                  struct error *err);
