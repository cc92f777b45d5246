/* What a pod's DEL needs to know of its ADD; see cni_attachment.h. */
#include "cri/cni_attachment.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "cri/cni_config.h"
#include "cri/cni_result.h"

#define SUFFIX         ".json"
#define FILE_MAX_BYTES (2 * (CNI_CONFIG_MAX + CNI_OUTPUT_MAX))

void cni_attachment_free(struct cni_attachment *a)
{
    if (!a)
        return;
    free(a->sandbox);
    free(a->netns);
    free(a->args);
    json_decref(a->config);
    json_decref(a->runtime);
    json_decref(a->result);
    free(a);
}

static char *path_of(const char *dir, const char *sandbox)
{
    return str_printf("%s/%s" SUFFIX, dir, sandbox);
}

int cni_attachment_save(const char *dir, const struct cni_attachment *a, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_free_ char *path = path_of(dir, a->sandbox);
    _cleanup_json_ json_t *j = json_object();
    (void)json_object_set_new(j, "netns", json_text(a->netns));
    (void)json_object_set_new(j, "args", json_text(a->args));
    (void)json_object_set(j, "config", a->config);
    (void)json_object_set(j, "runtimeConfig", a->runtime);
    if (a->result)
        (void)json_object_set(j, "result", a->result);
    json_encode(j, &text);
    int r = fs_mkdirs(dir, 0700, err);
    return r < 0 ? r : fs_write_atomic(path, text.data, text.len, 0600, FS_VOLATILE, err);
}

int cni_attachment_load(const char *dir, const char *sandbox, struct cni_attachment **ret,
                        struct error *err)
{
    _cleanup_free_ char *path = path_of(dir, sandbox);
    if (!fs_exists(path))
        return error_set(err, -ENOENT, "%s is not there", path);
    _cleanup_json_ json_t *j = json_parse_file(path, FILE_MAX_BYTES, err);
    const char *netns = json_path_string(j, "netns"), *args = json_path_string(j, "args");
    json_t *config = json_object_get(j, "config"), *runtime = json_object_get(j, "runtimeConfig");
    if (!netns || !args || !json_is_object(runtime) || !json_is_object(config) ||
        cni_config_check(config, NULL) < 0)
        return error_set(err, -EBADMSG, "%s: damaged", path);
    struct cni_attachment *a = mem_zalloc(sizeof(*a));
    a->sandbox = str_dup(sandbox);
    a->netns = str_dup(netns);
    a->args = str_dup(args);
    a->config = json_incref(config);
    a->runtime = json_incref(runtime);
    a->result = json_incref(json_object_get(j, "result"));
    *ret = a;
    return 0;
}

int cni_attachment_forget(const char *dir, const char *sandbox, struct error *err)
{
    _cleanup_free_ char *path = path_of(dir, sandbox);
    return unlink(path) < 0 && errno != ENOENT ? error_errno(err, -errno, "%s", path) : 0;
}

size_t cni_attachments_each(const char *dir, void (*cb)(const char *sandbox, void *arg), void *arg)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.' || !str_ends(e->d_name, SUFFIX))
            continue;
        _cleanup_free_ char *sandbox = str_ndup(e->d_name, strlen(e->d_name) - strlen(SUFFIX));
        if (cb)
            cb(sandbox, arg);
        n++;
    }
    if (d)
        (void)closedir(d);
    return n;
}
