/* Configurations of the CNI; see cni_config.h. */
#include "cri/cni_config.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/fs.h"

/* In ascending order. */
static const char *const versions[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

static int version_index(const char *version)
{
    for (size_t i = 0; version && i < ARRAY_SIZE(versions); i++)
        if (str_eq(version, versions[i]))
            return (int)i;
    return -1;
}

bool cni_config_at_least(const json_t *config, const char *version)
{
    return version_index(json_path_string(config, "cniVersion")) >= version_index(version);
}

static bool plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static int check_name(const char *name, struct error *err)
{
    size_t len = name ? strlen(name) : 0;
    bool good = len > 0 && len <= CNI_NAME_MAX && plain(name[0]);
    for (size_t i = 0; good && i < len; i++)
        good = plain(name[i]) || strchr("_.-", name[i]);
    if (good)
        return 0;
    return name ? error_set_field(err, -EINVAL, "name", "name: \"%.100s\" is no name of a network",
                                  name)
                : error_set_field(err, -EINVAL, "name", "name: is missing");
}

static int check_plugin(const json_t *plugin, size_t i, struct error *err)
{
    const char *type = json_path_string(plugin, "type");
    const json_t *capabilities = json_path(plugin, "capabilities");
    if (!json_is_object(plugin))
        return error_set_field(err, -EINVAL, "plugins", "plugins[%zu]: is no object", i);
    if (!type)
        return error_set_field(err, -EINVAL, "plugins", "plugins[%zu].type: is missing", i);
    if (!*type || type[0] == '.' || strchr(type, '/') || strlen(type) > CNI_NAME_MAX)
        return error_set_field(err, -EINVAL, "plugins",
                               "plugins[%zu].type: \"%.100s\" is no name of a program", i, type);
    if (capabilities && !json_is_object(capabilities))
        return error_set_field(err, -EINVAL, "plugins", "plugins[%zu].capabilities: is no object",
                               i);
    return 0;
}

/* cniVersion, or the highest of cniVersions that is known here; NULL. */
static const char *choose_version(const json_t *j)
{
    const json_t *several = json_path(j, "cniVersions");
    int best = version_index(json_path_string(j, "cniVersion"));
    for (size_t i = 0; i < json_array_size(several); i++) {
        int one = version_index(json_string_value(json_array_get(several, i)));
        best = one > best ? one : best;
    }
    return best < 0 ? NULL : versions[best];
}

int cni_config_check(json_t *j, struct error *err)
{
    const char *told = json_path_string(j, "cniVersion");
    const char *version = choose_version(j);
    const json_t *plugins = json_path(j, "plugins");
    size_t n = json_array_size(plugins);
    int r = check_name(json_path_string(j, "name"), err);
    if (r < 0)
        return r;
    if (!version)
        return told ? error_set_field(err, -EINVAL, "cniVersion",
                                      "cniVersion: \"%.40s\" is not supported (0.3.0 to 1.1.0 are)",
                                      told)
                    : error_set_field(err, -EINVAL, "cniVersion", "cniVersion: is missing");
    (void)json_object_set_new(j, "cniVersion", json_string(version));
    if (n == 0 || n > CNI_PLUGINS_MAX)
        return error_set_field(err, -EINVAL, "plugins", "plugins: 1 to %d are needed",
                               CNI_PLUGINS_MAX);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = check_plugin(json_array_get(plugins, i), i, err);
    return r;
}

/* A list with the one plugin. */
static json_t *wrap(json_t *plugin)
{
    static const char *const carried[] = {"name", "cniVersion", "cniVersions", "disableGC"};
    json_t *list = json_object();
    for (size_t i = 0; i < ARRAY_SIZE(carried); i++)
        if (json_object_get(plugin, carried[i]))
            (void)json_object_set(list, carried[i], json_object_get(plugin, carried[i]));
    (void)json_object_set_new(list, "plugins", json_pack("[O]", plugin));
    return list;
}

json_t *cni_config_parse(const char *data, size_t len, bool list, struct error *err)
{
    _cleanup_json_ json_t *j = json_parse(data, len, err);
    if (!j)
        return NULL;
    if (!json_is_object(j)) {
        (void)error_set(err, -EINVAL, "is no JSON object");
        return NULL;
    }
    _cleanup_json_ json_t *config = list ? json_incref(j) : wrap(j);
    return cni_config_check(config, err) < 0 ? NULL : TAKE_PTR(config);
}

/* ---- the directory ---- */
static int is_config(const struct dirent *e)
{
    return e->d_name[0] != '.' && (str_ends(e->d_name, ".conflist") ||
                                   str_ends(e->d_name, ".conf") || str_ends(e->d_name, ".json"));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static json_t *read_file(const char *path, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(path, CNI_CONFIG_MAX, &text, err);
    if (r < 0)
        return NULL;
    json_t *j = cni_config_parse(strbuf_text(&text), text.len, str_ends(path, ".conflist"), err);
    if (!j)
        (void)error_prefix(err, -EINVAL, "%s", path);
    return j;
}

int cni_config_load(const char *dir, json_t **ret, char **ret_file, struct error *err)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, is_config, by_name);
    int r = -ENOENT;
    bool told = false;
    for (int i = 0; i < n; i++) {
        if (r < 0 && i < CNI_FILES_MAX) {
            _cleanup_free_ char *path = fs_join(dir, entries[i]->d_name);
            json_t *j = read_file(path, told ? NULL : err);
            told = true;
            if (j) {
                *ret = j;
                *ret_file = TAKE_PTR(path);
                r = 0;
            }
        }
        free(entries[i]);
    }
    free(entries);
    if (r < 0 && !told)
        (void)error_set(err, r, "no network configuration in %s yet", dir);
    return r;
}

/* ---- plugins ---- */
static json_t *plugin_of(const json_t *config, size_t i)
{
    return json_array_get(json_path(config, "plugins"), i);
}

size_t cni_config_count(const json_t *config)
{
    return json_array_size(json_path(config, "plugins"));
}

const char *cni_config_type(const json_t *config, size_t plugin)
{
    return json_path_string(plugin_of(config, plugin), "type");
}

static bool declares(const json_t *plugin, const char *capability)
{
    return json_is_true(json_object_get(json_path(plugin, "capabilities"), capability));
}

bool cni_config_wants(const json_t *config, const char *capability)
{
    for (size_t i = 0; i < cni_config_count(config); i++)
        if (declares(plugin_of(config, i), capability))
            return true;
    return false;
}

json_t *cni_config_input(const json_t *config, size_t plugin, json_t *runtime, json_t *prev_result)
{
    const json_t *part = plugin_of(config, plugin);
    json_t *input = json_copy((json_t *)(uintptr_t)part);
    _cleanup_json_ json_t *granted = json_object();
    const char *capability;
    json_t *value;
    json_object_foreach(runtime, capability, value) {
        if (declares(part, capability))
            (void)json_object_set(granted, capability, value);
    }
    (void)json_object_set(input, "name", json_object_get(config, "name"));
    (void)json_object_set(input, "cniVersion", json_object_get(config, "cniVersion"));
    if (json_object_size(granted))
        (void)json_object_set(input, "runtimeConfig", granted);
    if (prev_result)
        (void)json_object_set(input, "prevResult", prev_result);
    return input;
}

char *cni_plugin_find(const char *path, const char *type)
{
    for (const char *at = path; *at; at += *at == ':') {
        size_t len = strcspn(at, ":");
        _cleanup_free_ char *dir = str_ndup(at, len);
        _cleanup_free_ char *program = fs_join(dir, type);
        if (access(program, X_OK) == 0)
            return TAKE_PTR(program);
        at += len;
    }
    return NULL;
}

int cni_config_check_plugins(const json_t *config, const char *path, struct error *err)
{
    for (size_t i = 0; i < cni_config_count(config); i++) {
        const char *type = cni_config_type(config, i);
        _cleanup_free_ char *program = cni_plugin_find(path, type);
        if (!program)
            return error_set(err, -ENOENT, "network \"%s\": the plugin %s is not in %s",
                             json_path_string(config, "name"), type, path);
    }
    return 0;
}
