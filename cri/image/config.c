/* The image config: execution parameters and diff IDs; see manifest.h and store.h. */
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "cri/image/manifest.h"
#include "cri/image/reference.h"

#define LIST_ENTRIES_MAX 10000

char **image_strings_free(char **list)
{
    for (char **s = list; s && *s; s++)
        free(*s);
    free(list);
    return NULL;
}

void image_config_done(struct image_config *c)
{
    free(c->user);
    free(c->working_dir);
    free(c->stop_signal);
    (void)image_strings_free(c->env);
    (void)image_strings_free(c->entrypoint);
    (void)image_strings_free(c->cmd);
    (void)image_strings_free(c->volumes);
    (void)image_strings_free(c->ports);
    map_clear(&c->labels);
    free(c->os);
    free(c->architecture);
    free(c->variant);
    free(c->created);
    memset(c, 0, sizeof(*c));
}

/* The text of a JSON string; NULL for another type and for a string with a NUL byte in it. */
static const char *plain_string(const json_t *v)
{
    const char *s = json_string_value(v);
    return s && strlen(s) == json_string_length(v) ? s : NULL;
}

/* A string may be absent or null. */
static int get_string(const json_t *j, const char *key, char **ret, struct error *err)
{
    const json_t *v = json_object_get(j, key);
    if (!v || json_is_null(v))
        return 0;
    if (!plain_string(v))
        return error_set_field(err, -EINVAL, key, "config: %s must be a string", key);
    *ret = str_dup(plain_string(v));
    return 0;
}

static int get_list(const json_t *j, const char *key, char ***ret, struct error *err)
{
    const json_t *v = json_object_get(j, key);
    size_t count = json_is_array(v) ? json_array_size(v) : 0;
    if (v && !json_is_null(v) && !json_is_array(v))
        return error_set_field(err, -EINVAL, key, "config: %s must be a list", key);
    if (count > LIST_ENTRIES_MAX)
        return error_set_field(err, -EINVAL, key, "config: %s has over %d entries", key,
                               LIST_ENTRIES_MAX);
    *ret = mem_zalloc((count + 1) * sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        const char *s = plain_string(json_array_get(v, i));
        if (!s)
            return error_set_field(err, -EINVAL, key, "config: %s[%zu] must be a string", key, i);
        (*ret)[i] = str_dup(s);
    }
    return 0;
}

/* Sets written as objects: {"/data": {}}. */
static int get_keys(const json_t *j, const char *key, char ***ret, struct error *err)
{
    json_t *v = json_object_get(j, key);
    if (v && !json_is_null(v) && !json_is_object(v))
        return error_set_field(err, -EINVAL, key, "config: %s must be an object", key);
    size_t count = json_is_object(v) ? json_object_size(v) : 0, i = 0;
    if (count > LIST_ENTRIES_MAX)
        return error_set_field(err, -EINVAL, key, "config: %s has over %d entries", key,
                               LIST_ENTRIES_MAX);
    *ret = mem_zalloc((count + 1) * sizeof(char *));
    if (count) {
        const char *name = NULL;
        json_t *value;
        json_object_foreach(v, name, value)
            (*ret)[i++] = str_dup(name);
    }
    return 0;
}

static int get_labels(const json_t *j, struct map *ret, struct error *err)
{
    json_t *v = json_object_get(j, "Labels");
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_object(v) || json_object_size(v) > LIST_ENTRIES_MAX)
        return error_set_field(err, -EINVAL, "Labels",
                               "config: Labels must be an object of strings");
    const char *name = NULL;
    json_t *value;
    json_object_foreach(v, name, value) {
        if (!plain_string(value))
            return error_set_field(err, -EINVAL, "Labels",
                                   "config: Labels[%.100s] must be a string", name);
        map_set(ret, name, str_dup(plain_string(value)));
    }
    return 0;
}

static int parse_config(const json_t *j, struct image_config *ret, struct error *err)
{
    int r = 0;
    if (!json_is_object(j))
        return error_set(err, -EINVAL, "the image config is no JSON object");
    const json_t *c = json_object_get(j, "config");
    if (c && !json_is_null(c) && !json_is_object(c))
        return error_set_field(err, -EINVAL, "config", "config must be an object");
    if ((r = get_string(j, "os", &ret->os, err)) ||
        (r = get_string(j, "architecture", &ret->architecture, err)) ||
        (r = get_string(j, "variant", &ret->variant, err)) ||
        (r = get_string(j, "created", &ret->created, err)) ||
        (r = get_string(c, "User", &ret->user, err)) ||
        (r = get_string(c, "WorkingDir", &ret->working_dir, err)) ||
        (r = get_string(c, "StopSignal", &ret->stop_signal, err)) ||
        (r = get_list(c, "Env", &ret->env, err)) ||
        (r = get_list(c, "Entrypoint", &ret->entrypoint, err)) ||
        (r = get_list(c, "Cmd", &ret->cmd, err)) ||
        (r = get_keys(c, "Volumes", &ret->volumes, err)) ||
        (r = get_keys(c, "ExposedPorts", &ret->ports, err)) ||
        (r = get_labels(c, &ret->labels, err)))
        return r;
    return 0;
}

int image_config_parse(const json_t *j, struct image_config *ret, struct error *err)
{
    memset(ret, 0, sizeof(*ret));
    ret->labels.free_value = free;
    int r = parse_config(j, ret, err);
    if (r)
        image_config_done(ret);
    return r;
}

int image_config_diff_ids(const json_t *j, char ***ret, size_t *ret_count, struct error *err)
{
    const json_t *rootfs = json_object_get(j, "rootfs");
    const json_t *list = json_object_get(rootfs, "diff_ids");
    const char *type = json_path_string(rootfs, "type");
    if (type && !str_eq(type, "layers"))
        return error_set_field(err, -EINVAL, "rootfs.type",
                               "config: rootfs.type must be \"layers\"");
    if (rootfs && list && !json_is_array(list))
        return error_set_field(err, -EINVAL, "rootfs.diff_ids",
                               "config: rootfs.diff_ids must be a list");
    size_t count = json_array_size(list);
    if (count > IMAGE_MAX_LAYERS)
        return error_set_field(err, -EINVAL, "rootfs.diff_ids", "config: %zu layers (at most %d)",
                               count, IMAGE_MAX_LAYERS);
    char **ids = mem_zalloc((count + 1) * sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        const char *id = json_string_value(json_array_get(list, i));
        if (!digest_valid(id)) {
            (void)image_strings_free(ids);
            return error_set_field(err, -EINVAL, "rootfs.diff_ids",
                                   "config: rootfs.diff_ids[%zu] must be a sha256 digest", i);
        }
        ids[i] = str_dup(id);
    }
    *ret = ids;
    *ret_count = count;
    return 0;
}
