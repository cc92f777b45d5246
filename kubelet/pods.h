/*
 * The pods of this node: what the sources want (API, static manifests), one worker for each, what
 * the runtime has that nobody wants (orphans), and the mirrors of static pods in the API.
 */
#pragma once

#include "kubelet/kubelet.h"
#include "kubelet/worker/worker.h"

struct pod_manager;

struct pod_manager *pod_manager_new(struct kubelet *k);
/* Workers end without touching their pods. Returns NULL. */
struct pod_manager *pod_manager_free(struct pod_manager *m);

/* A source has a pod, new or changed. A reference is taken. */
void pod_manager_upsert(struct pod_manager *m, struct pod *pod);
/* A source has it no more. */
void pod_manager_remove(struct pod_manager *m, const char *uid);
/* The source has told everything it had at the start (once each). Orphans go after both. */
void pod_manager_synced(struct pod_manager *m, enum pod_source source);
/* An object of the API that mirrors a static pod; @gone: it was deleted. */
void pod_manager_mirror(struct pod_manager *m, struct pod *mirror, bool gone);
/* All sources and the runtime have told what there is: who has no worker is not wanted. */
bool pod_manager_is_synced(const struct pod_manager *m);
/* Something that every worker may be waiting for has happened (services read). */
void pod_manager_kick(struct pod_manager *m);
/* Pods can have control groups from now on (pod_cgroups_start()). NULL is harmless. */
void pod_manager_groups_ready(struct pod_manager *m);

/* The worker of a pod; NULL when there is none. @uid may be NULL. */
struct pod_worker *pod_manager_find(const struct pod_manager *m, const char *ns, const char *name,
                                    const char *uid);
struct pod_worker *pod_manager_by_uid(const struct pod_manager *m, const char *uid);
void pod_manager_each(const struct pod_manager *m,
                      void (*fn)(const struct pod_worker *w, void *arg), void *arg);

/* What all pods but @but have set aside of "cpu" (milli), "memory" or "pods". 0 for a NULL manager.
 */
int64_t pod_manager_requested(const struct pod_manager *m, const char *name,
                              const struct pod_worker *but);

/* What they ask for has changed. */
void pod_manager_weigh(struct pod_manager *m); /* NULL is harmless */

extern const struct runtime_events_ops pod_manager_runtime_ops; /* arg: the manager */
