/* What plugins are told of a pod beside their configuration: CNI_ARGS and the capabilities
 * (CNI's CONVENTIONS) portMappings, dns and bandwidth. */
#pragma once

#include "base/json.h"
#include "net/cri.pb-c.h"

/* CNI_ARGS in *ret (the caller frees). -EINVAL: a name that would not survive in there. */
int cni_runtime_args(const char *sandbox, const Runtime__V1__PodSandboxMetadata *metadata,
                     char **ret, struct error *err);
/* Capability → value in *ret, a new reference. -EINVAL naming the field. */
int cni_runtime_config(const Runtime__V1__PodSandboxConfig *config, json_t **ret,
                       struct error *err);
