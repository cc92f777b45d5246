/*
 * Host ids for pods with a user namespace of their own: 65536 for each, above those of the host.
 * Which pod has which is written in its directory, in upstream's form, and nowhere else.
 */
#pragma once

#include "kubelet/runtime/requests.h"

/* The ids of a pod: those that its directory names, else free ones, which are written there.
 * -ENOSPC when there are none, -EINVAL when the file is damaged. */
int userns_ids(const char *pods_dir, const char *uid, struct id_mapping *ret, struct error *err);
