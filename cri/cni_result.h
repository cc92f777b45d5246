/* What CNI plugins answer (CNI specification, section "Result types"). */
#pragma once

#include "base/json.h"
#include "base/process.h"
#include "nl/address.h"

#define CNI_OUTPUT_MAX (1U << 20) /* bytes of a plugin's output */
#define CNI_IPS_MAX    64

/* Parses what a plugin printed after ADD, in the form of @version (the configuration's: a plugin
 * that answers in another one is converted). NULL with @err. */
json_t *cni_result_parse(const char *data, size_t len, const char *version, struct error *err);
/* The addresses of the pod's interface @ifname, at most @max; those of other interfaces are passed
 * over. Returns how many, at least one; -EINVAL naming the field. */
int cni_result_addresses(const json_t *result, const char *ifname, struct ip_addr *ret, size_t max,
                         struct error *err);

/* 0 when the plugin succeeded. Else -errno with what it said: the error object's msg and details,
 * else the first line of its output or how it ended. */
int cni_result_error(const struct process_result *result, const char *command, const char *type,
                     struct error *err);
