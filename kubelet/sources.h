/* Where pods come from: a directory of manifests, and the API. Both tell the pod manager. */
#pragma once

#include "kubelet/pods.h"

struct file_source;
struct api_source;

/* Reads every *.yaml, *.yml, *.json in @dir and follows changes (inotify). A file that cannot be
 * read as a Pod is logged and passed over; the pod it held before, if any, runs on. A missing
 * directory is waited for. */
struct file_source *file_source_new(struct kubelet *k, const char *dir);
struct file_source *file_source_free(struct file_source *s); /* returns NULL */

/* Lists and watches the pods bound to this node. */
struct api_source *api_source_new(struct kubelet *k);
struct api_source *api_source_free(struct api_source *s); /* returns NULL */
bool api_source_connected(const struct api_source *s);

/* One manifest → a pod, as file_source does: name suffixed with the node's, uid from its content.
 * -EINVAL with the field. */
int static_pod_decode(const struct kubelet *k, const char *file, json_t *object, struct pod **ret,
                      struct error *err);
