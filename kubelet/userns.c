/* Host ids of pods; see userns.h. The file:
 * {"uidMappings":[{"hostId":…,"containerId":0,"length":…}], "gidMappings":[the same]}. */
#include "kubelet/userns.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/strbuf.h"

#define LENGTH   65536u
#define FIRST    LENGTH /* ids below are the host's */
#define PODS_MAX 1024u
#define FILE_MAX 4096

static char *file_of(const char *pods_dir, const char *uid)
{
    return str_printf("%s/%s/userns", pods_dir, uid);
}

static int read_ids(const char *path, struct id_mapping *ret, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int code = fs_read(path, FILE_MAX, &text, err);
    if (code < 0)
        return code;
    _cleanup_json_ json_t *j = json_parse(strbuf_text(&text), text.len, err);
    const json_t *uids = json_object_get(j, "uidMappings"),
                 *gids = json_object_get(j, "gidMappings");
    const json_t *m = json_array_get(uids, 0);
    int64_t host = json_path_int(m, "hostId", 0), length = json_path_int(m, "length", 0);
    /* Others would not be what we gave out, and cannot be known to be nobody else's. */
    if (json_array_size(uids) != 1 || !json_equal(uids, gids) || length != LENGTH ||
        json_path_int(m, "containerId", -1) != 0 || host < FIRST || host % LENGTH ||
        host > UINT32_MAX - LENGTH)
        return error_set(err, -EINVAL, "%s does not hold the ids of a pod", path);
    *ret = (struct id_mapping){.host = (uint32_t)host, .length = LENGTH};
    return 0;
}

static int write_ids(const char *path, const struct id_mapping *ids, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    for (int i = 0; i < 2; i++)
        strbuf_addf(&text, "%s\"%sMappings\":[{\"hostId\":%u,\"containerId\":0,\"length\":%u}]",
                    i ? "," : "{", i ? "gid" : "uid", ids->host, ids->length);
    strbuf_addc(&text, '}');
    return fs_write_atomic(path, text.data, text.len, 0644, FS_VOLATILE, err);
}

int userns_ids(const char *pods_dir, const char *uid, struct id_mapping *ret, struct error *err)
{
    _cleanup_free_ char *path = file_of(pods_dir, uid);
    bool used[PODS_MAX] = {false};
    int code = read_ids(path, ret, err);
    if (code != -ENOENT)
        return code;
    DIR *d = opendir(pods_dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        _cleanup_free_ char *other = file_of(pods_dir, e->d_name);
        struct id_mapping ids;
        if (e->d_name[0] != '.' && read_ids(other, &ids, NULL) == 0 &&
            ids.host / LENGTH - 1 < PODS_MAX)
            used[ids.host / LENGTH - 1] = true;
    }
    if (d)
        (void)closedir(d);
    uint32_t i = 0;
    while (i < PODS_MAX && used[i])
        i++;
    if (i == PODS_MAX)
        return error_set(err, -ENOSPC, "no user ids are left for another pod");
    struct id_mapping ids = {.host = FIRST + i * LENGTH, .length = LENGTH};
    code = write_ids(path, &ids, err);
    if (!code)
        *ret = ids;
    return code;
}
