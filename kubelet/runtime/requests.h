/*
 * Pod → CRI requests. Pure: everything that needs the file system, the API or the clock is in the
 * context.
 */
#pragma once

#include "kubelet/config/env.h"
#include "kubelet/pod/pod.h"
#include "net/cri.pb-c.h"
#include "net/deviceplugin.pb-c.h"

/* Labels and annotations by which a restarted kubelet knows its own again (upstream's names). */
#define LABEL_POD_NAME            "io.kubernetes.pod.name"
#define LABEL_POD_NAMESPACE       "io.kubernetes.pod.namespace"
#define LABEL_POD_UID             "io.kubernetes.pod.uid"
#define LABEL_CONTAINER_NAME      "io.kubernetes.container.name"
#define ANNOTATION_HASH           "io.kubernetes.container.hash"
#define ANNOTATION_RESTARTS       "io.kubernetes.container.restartCount"
#define ANNOTATION_MESSAGE_PATH   "io.kubernetes.container.terminationMessagePath"
#define ANNOTATION_MESSAGE_POLICY "io.kubernetes.container.terminationMessagePolicy"
#define ANNOTATION_POD_GRACE      "io.kubernetes.pod.terminationGracePeriod"
#define ANNOTATION_DELETION_GRACE "io.kubernetes.pod.deletionGracePeriod"

struct dns_settings {
    struct string_list servers; /* cluster DNS */
    const char *domain;         /* cluster domain, may be "" */
    const char *host_config;    /* text of the host's resolv.conf, may be NULL */
};

/* The user and group ids of a pod with a user namespace of its own: 0 … length - 1 inside. */
struct id_mapping {
    uint32_t host, length; /* length 0: the pod has the host's ids */
};

struct request_context {
    const char *log_root;      /* /var/log/pods */
    const char *cgroup_parent; /* "" when pods get no cgroup of their own */
    const char *seccomp_root;  /* where localhost profiles are */
    const char *node_name;
    const struct dns_settings *dns;
    int64_t memory_capacity; /* of the node, bytes */
    int64_t swap_capacity;   /* of the node, bytes */
    bool unified_cgroups;    /* cgroup v2 */
    bool swap_accounting;    /* groups have a limit of swap */
    bool limited_swap;       /* burstable pods may have some, else nobody */
    bool oom_single;         /* the kernel kills one process of a container, not all */
    bool seccomp_default;    /* RuntimeDefault where no profile is named */
    struct id_mapping ids;
};

struct container_mount {
    char *host_path, *container_path, *propagation;
    char *image, *image_sub_path; /* in place of host_path: the runtime mounts this image */
    bool read_only, recursive_read_only;
};
struct mount_list {
    struct container_mount *items;
    size_t count;
};
/* @host_path NULL: the caller sets image. The entry is the list's; valid until the next one. */
struct container_mount *mount_list_add(struct mount_list *l, const char *host_path,
                                       const char *container_path, bool read_only);
void mount_list_done(struct mount_list *l);

/* What is known of the image when the container is made. */
struct image_info {
    char *id;         /* as the runtime names it */
    char *digest_ref; /* first repo digest, or the id: status.imageID */
    bool has_uid;
    int64_t uid;
    char *username;
};
void image_info_done(struct image_info *i);

struct container_request {
    const struct container_spec *spec;
    const struct image_info *image;
    const struct env_list *env;
    const struct mount_list *mounts;
    const V1beta1__ContainerAllocateResponse *devices; /* of plugins; NULL: none. Its variables and
                                                        * mounts are in @env and @mounts already */
    const char *target_id; /* an ephemeral container joins this one's processes; NULL: none */
    uint32_t restart_count;
};

/* The caller frees with message_free(). */
Runtime__V1__PodSandboxConfig *request_sandbox(const struct pod *pod,
                                               const struct request_context *ctx, uint32_t attempt);
/* NULL and @err (code -EPERM: refused by the security context; -ENOTSUP: not supported). */
Runtime__V1__ContainerConfig *request_container(const struct pod *pod,
                                                const struct request_context *ctx,
                                                const struct container_request *r,
                                                struct error *err);

/* The pod's host name and its domain ("" without subdomain). Callers free. */
char *pod_hostname(const struct pod *pod, const char *cluster_domain, char **ret_domain);
/* The name that the kernel is told: with the domain when the pod says so. NULL and @err when it is
 * too long for the kernel. The caller frees. */
char *pod_kernel_hostname(const struct pod *pod, const char *cluster_domain, struct error *err);
/* "<log_root>/<ns>_<name>_<uid>". The caller frees. */
char *pod_log_dir(const struct pod *pod, const char *log_root);

/* ---- resources.c ---- */
int64_t milli_to_shares(int64_t milli);
/* The quota of a 100 ms period in microseconds; 0: none. */
int64_t milli_to_quota(int64_t milli);
#define CPU_PERIOD_US 100000
/* What of a container's resources its cgroup gets; 0: no limit. */
struct container_limits {
    int64_t shares, quota, memory;
};
struct container_limits container_limits_of(const struct container_spec *c);
int64_t oom_score_adj(const struct pod *pod, const struct container_spec *c, int64_t capacity);
Runtime__V1__LinuxContainerResources *request_resources(const struct pod *pod,
                                                        const struct container_spec *c,
                                                        const struct request_context *ctx);
/* What the pod asks for of "cpu" (milli), "memory" or another resource, with its overhead. */
int64_t pod_request(const struct pod *pod, const char *name);
/* What its containers that have a limit may use together; 0: none has. */
int64_t pod_limit(const struct pod *pod, const char *name);
/* What the pod's own cgroup gets: sums over containers, 0 where there is no limit. */
struct pod_resources {
    int64_t shares, quota, memory;
};
struct pod_resources pod_resources_of(const struct pod *pod);

/* ---- security.c ---- */
Runtime__V1__LinuxSandboxSecurityContext *
request_sandbox_security(const struct pod *pod, const struct request_context *ctx);
Runtime__V1__IDMapping *request_id_mapping(const struct id_mapping *m);
Runtime__V1__LinuxContainerSecurityContext *
request_container_security(const struct pod *pod, const struct request_context *ctx,
                           const struct container_request *r, struct error *err);

/* ---- dns.c ---- */
/* @notes (may be NULL) gets a line for whatever had to be left out. */
Runtime__V1__DNSConfig *request_dns(const struct pod *pod, const struct dns_settings *dns,
                                    struct strbuf *notes);
/* The pod's policy asks for cluster DNS and there is none: it gets the host's. */
bool dns_lacks_cluster(const struct pod *pod, const struct dns_settings *dns);
