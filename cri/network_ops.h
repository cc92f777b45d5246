/* What a back end of the pods' network provides; the calls are those of network.h. */
#pragma once

#include "cri/network.h"

struct network_ops {
    const char *name;
    bool detach_needs_netns;
    struct network *(*open)(const struct network_options *o, struct error *err);
    void (*close)(struct network *n);
    int (*set_pod_cidr)(struct network *n, const char *cidr, done_fn done, void *arg,
                        struct error *err);
    const char *(*not_ready)(struct network *n);
    int (*attach)(struct network *n, const char *sandbox, const char *netns_path,
                  const Runtime__V1__PodSandboxConfig *config, struct network_attachment *ret,
                  done_fn done, void *arg, struct error *err);
    void (*adopt)(struct network *n, const char *sandbox,
                  const Runtime__V1__PodSandboxConfig *config, const struct network_attachment *a);
    void (*detach)(struct network *n, const char *sandbox, const struct network_attachment *a,
                   done_fn done, void *arg);
    void (*sweep)(struct network *n, bool (*keep)(const char *sandbox, void *arg), void *arg);
    /* How many pods it still has attached, by what is on disk. */
    size_t (*left)(const struct network_options *o);
    int (*cleanup)(const struct network_options *o, struct error *err);
};

extern const struct network_ops network_builtin, network_cni;

/* The first member of a back end's own. */
struct network {
    const struct network_ops *ops;
    struct loop *loop;
    struct jobs *jobs;
};
