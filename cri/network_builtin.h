/* The builtin network's state, shared by its two halves: the node's side (network_builtin.c) and
 * the pods' (network_builtin_pods.c). */
#pragma once

#include "base/dirwatch.h"
#include "cri/bridge.h"
#include "cri/firewall.h"
#include "cri/network_ops.h"

/* What the network is made of. */
struct builtin_settings {
    struct firewall_config firewall;
    int mtu; /* 0: that of the link which leads outside */
};

struct builtin {
    struct network base;
    char *dir, *journal_dir;
    struct ipam *ipam;
    struct netlink *nl;
    struct hostports ports;
    struct firewall *firewall;
    struct builtin_settings flags;       /* as the command line has it */
    struct builtin_settings wanted, now; /* told last; in effect (no pods' prefix: nothing is) */
    struct bridge bridge;
    bool applied; /* the rules of @now are in the kernel */
    struct loop_timer retry;
    char not_ready[ERROR_TEXT_MAX];
    char *flannel_file; /* NULL: --pod-cidr says it all */
    struct dirwatch *flannel_watch;
    bool from_flannel;  /* @wanted is */
    bool await_flannel; /* nobody else tells the pod CIDRs */
};

static inline struct builtin *builtin_of(struct network *n)
{
    return CONTAINER_OF(n, struct builtin, base);
}

/* The operations on pods, as in network.h. */
int builtin_attach(struct network *n, const char *sandbox, const char *netns_path,
                   const Runtime__V1__PodSandboxConfig *config, struct network_attachment *ret,
                   done_fn done, void *arg, struct error *err);
void builtin_adopt(struct network *n, const char *sandbox,
                   const Runtime__V1__PodSandboxConfig *config, const struct network_attachment *a);
void builtin_detach(struct network *n, const char *sandbox, const struct network_attachment *a,
                    done_fn done, void *arg);
void builtin_sweep(struct network *n, bool (*keep)(const char *sandbox, void *arg), void *arg);
