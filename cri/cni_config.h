/*
 * Configurations of the Container Network Interface (CNI specification 0.3.0 to 1.1.0, section
 * "Network configuration format"): reading them, and what each plugin of one is given.
 *
 * A configuration is a JSON object in the list form: cniVersion, name, plugins.
 */
#pragma once

#include <stdbool.h>

#include "base/json.h"

#define CNI_CONFIG_MAX  (1U << 20) /* bytes of a file */
#define CNI_PLUGINS_MAX 32         /* of a list */
#define CNI_FILES_MAX   256        /* of a directory */
#define CNI_NAME_MAX    253

/* Parses a list, or (@list false) one plugin's configuration, which becomes a list of one. NULL
 * with
 * @err naming the field. With cniVersions the highest that is known here is taken. */
json_t *cni_config_parse(const char *data, size_t len, bool list, struct error *err);
/* Whether it is one; sets its cniVersion to the one that is taken. -EINVAL naming the field. */
int cni_config_check(json_t *config, struct error *err);
/* The first valid configuration in @dir by name, of *.conflist, *.conf and *.json. Returns 0;
 * -ENOENT when there is none, then @err says what is wrong with the first that is not valid, if
 * any. *ret_file is its path. */
int cni_config_load(const char *dir, json_t **ret, char **ret_file, struct error *err);

/* Whether the configuration's version is @version or later; @version is one of those above. */
bool cni_config_at_least(const json_t *config, const char *version);
size_t cni_config_count(const json_t *config);
const char *cni_config_type(const json_t *config, size_t plugin); /* of the plugin: its program */
/* Whether a plugin declares the capability. */
bool cni_config_wants(const json_t *config, const char *capability);
/* What the plugin reads: its part with name, cniVersion, those of @runtime (capability → value; may
 * be NULL) that it declares as runtimeConfig, and prevResult (may be NULL). New reference. */
json_t *cni_config_input(const json_t *config, size_t plugin, json_t *runtime, json_t *prev_result);

/* The program of a type in one of the directories of @path (separated by colons). NULL; the caller
 * frees. */
char *cni_plugin_find(const char *path, const char *type);
/* Whether every plugin's program is there. -ENOENT naming the first that is not. */
int cni_config_check_plugins(const json_t *config, const char *path, struct error *err);
