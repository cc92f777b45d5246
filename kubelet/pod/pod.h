/*
 * A pod: its decoded object, reference counted, immutable once made. The worker, volumes and
 * probes hold references; an update makes a new struct pod.
 */
#pragma once

#include "kubelet/pod/spec.h"

#define POD_ANNOTATION_SOURCE "kubernetes.io/config.source"
#define POD_ANNOTATION_HASH   "kubernetes.io/config.hash"
#define POD_ANNOTATION_SEEN   "kubernetes.io/config.seen"
#define POD_ANNOTATION_MIRROR "kubernetes.io/config.mirror"

enum pod_source { POD_FROM_API, POD_FROM_FILE };
enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };
enum qos_class { QOS_GUARANTEED, QOS_BURSTABLE, QOS_BEST_EFFORT };

/* What of status is read back: what others wrote, and what must survive a restart of ours. */
struct pod_condition {
    char *type, *status, *reason, *message, *transition;
};
struct api_container_state {
    char *name, *container_id;
    int64_t restart_count;
    bool ready, started;
};
struct api_status {
    char *phase, *reason, *message, *start_time, *pod_ip;
    ARRAY_OF(struct pod_condition) conditions;
    ARRAY_OF(struct api_container_state) containers, init_containers, ephemeral;
};

struct pod {
    unsigned refs;
    enum pod_source source;
    enum restart_policy restart;
    enum qos_class qos;
    struct pod_meta meta;
    struct pod_spec spec;
    struct api_status status;
    char *invalid; /* why it can't be run: a line that names the field; NULL when it can */
    char *json;    /* the object as it came, without managedFields, encoded */
    size_t json_len;
};

/* Decodes, defaults and checks a v1 Pod. An object whose metadata cannot be used (no safe name,
 * namespace or uid) is refused: -EINVAL. One whose spec cannot be run becomes a pod with
 * ->invalid set. */
int pod_decode(const json_t *object, enum pod_source source, struct pod **ret, struct error *err);
struct pod *pod_ref(struct pod *pod);
struct pod *pod_unref(struct pod *pod); /* NULL is harmless; returns NULL */
DEFINE_CLEANUP(struct pod *, pod_unref);

/* The container spec by name, init containers too; NULL when there is none. */
const struct container_spec *pod_container(const struct pod *pod, const char *name);
/* Init containers and containers; and ephemeral containers too. */
size_t pod_fixed_count(const struct pod *pod);
size_t pod_container_count(const struct pod *pod);
/* Number @i: init containers first, ephemeral ones last. */
const struct container_spec *pod_container_at(const struct pod *pod, size_t i);
static inline bool pod_container_is_init(const struct pod *pod, size_t i)
{
    return i < pod->spec.init_containers.count;
}
/* The field of the spec that container number @i stands in: "initContainers", … */
const char *pod_container_field(const struct pod *pod, size_t i);
const struct volume_spec *pod_volume(const struct pod *pod, const char *name);
/* "ns/name", for logs. In a buffer of the caller's (POD_LABEL_MAX bytes); returned. */
#define POD_LABEL_MAX 330
const char *pod_label(const struct pod *pod, char *buf);
int64_t pod_grace(const struct pod *pod); /* seconds; deletion's when being deleted */
bool pod_is_mirror(const struct pod *pod);
/* The API has it as Succeeded or Failed: it is never run again. */
bool pod_is_over(const struct pod *pod);
/* What the API has as the status of a condition; NULL when it has none of this type. */
const struct pod_condition *pod_condition_of(const struct pod *pod, const char *type);
/* Static pods and those of a system priority: never evicted, let in under pressure, without swap.
 */
bool pod_is_critical(const struct pod *pod);
const char *qos_name(enum qos_class qos);
/* The hash of what makes a container another one: name and image, 8 hexadecimal digits. */
void container_hash(const struct container_spec *c, char out[9]);
/* Milli-units or bytes of one resource of a container; @fallback when it is not set. */
int64_t resource_milli(const struct string_map *m, const char *name, int64_t fallback);
int64_t resource_value(const struct string_map *m, const char *name, int64_t fallback);

/* ---- resize.c ---- */

/* Whether the containers of both ask for the same cpu and memory. */
bool pod_same_resources(const struct pod *a, const struct pod *b);
/* A pod that is @pod but for the resources of its containers, which are those of @from. */
struct pod *pod_with_resources(const struct pod *pod, const struct pod *from);
/* What the status in the API says was set aside for the pod, as a pod; NULL when that is what the
 * specification asks for, or the status does not say. For a kubelet that was restarted. */
struct pod *pod_allocated(const struct pod *pod);

/* ---- sysctls.c ---- */
/* Whether the pod's sysctls may be set: safe ones, and those that match an item of @unsafe
 * ("net.x", "kernel.msg*"); none of a namespace that is the host's. -EPERM with upstream's text. */
int pod_check_sysctls(const struct pod *pod, const struct string_list *unsafe, struct error *err);

/* ---- validate.c ---- */
/* Sets defaults as the API server does, for manifests that never saw it, and resolves what the
 * struct holds beside the tables. */
void pod_default(struct pod *pod);
/* 0, or -EINVAL naming the field. */
int pod_validate(const struct pod *pod, struct error *err);
/* A path component that is a DNS label or subdomain; safe in paths and cgroup names. */
bool name_is_dns(const char *name, size_t max, bool dots);
/* A relative path with no ".." and no empty start. */
bool path_is_below(const char *path);
