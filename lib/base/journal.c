/* The journal of host changes; see journal.h. */
#include "base/journal.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"

#define RECORD_MAX 4096

static int read_sysctl(const char *path, struct strbuf *out, struct error *err)
{
    int r = fs_read(path, RECORD_MAX, out, err);
    if (r == 0)
        strbuf_truncate(out, strcspn(strbuf_text(out), "\n"));
    return r;
}

static int write_record(const char *dir, const char *owner, const char *key, const char *old,
                        const char *value, struct error *err)
{
    _cleanup_free_ char *name = str_printf("sysctl-%s", key);
    for (char *c = name; *c; c++)
        if (*c == '/')
            *c = ':';
    _cleanup_free_ char *path = fs_join(dir, name);
    if (fs_exists(path))
        return 0;
    int r = fs_mkdirs(dir, 0700, err);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *record = json_pack("{ssssssssss}", "kind", "sysctl", "key", key, "old",
                                              old, "new", value, "owner", owner);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(record, &text);
    return fs_write_atomic(path, text.data, text.len, 0600, FS_DURABLE, err);
}

int journal_sysctl(const char *dir, const char *owner, const char *key, const char *value,
                   struct error *err)
{
    _cleanup_free_ char *path = fs_join("/proc/sys", key);
    _cleanup_strbuf_ struct strbuf old = STRBUF_INIT;
    int r = read_sysctl(path, &old, err);
    if (r < 0)
        return r;
    if (str_eq(strbuf_text(&old), value))
        return 0;
    if (dir && (r = write_record(dir, owner, key, strbuf_text(&old), value, err)) < 0)
        return r;
    return fs_write_text(path, value, err);
}

static int restore_one(const char *path, bool dry_run,
                       void (*report)(const char *key, const char *old, void *arg), void *arg,
                       struct error *err)
{
    _cleanup_json_ json_t *record = json_parse_file(path, RECORD_MAX, err);
    const char *key = json_path_string(record, "key");
    const char *old = json_path_string(record, "old");
    const char *set = json_path_string(record, "new");
    if (!key || !old || !set || strstr(key, ".."))
        return error_set(err, -EINVAL, "%s: not a journal record", path);
    if (report)
        report(key, old, arg);
    if (dry_run)
        return 0;
    _cleanup_free_ char *file = fs_join("/proc/sys", key);
    _cleanup_strbuf_ struct strbuf now = STRBUF_INIT;
    int r = read_sysctl(file, &now, NULL);
    if (r == 0 && str_eq(strbuf_text(&now), set) && (r = fs_write_text(file, old, err)) < 0)
        return r;
    return unlink(path) < 0 ? error_errno(err, -errno, "%s", path) : 0;
}

int journal_restore(const char *dir, bool dry_run,
                    void (*report)(const char *key, const char *old, void *arg), void *arg,
                    struct error *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? 0 : error_errno(err, -errno, "%s", dir);
    int first = 0;
    struct dirent *e;
    while ((e = readdir(d))) {
        if (!str_starts(e->d_name, "sysctl-") || strstr(e->d_name, ".tmp-"))
            continue;
        _cleanup_free_ char *path = fs_join(dir, e->d_name);
        int r = restore_one(path, dry_run, report, arg, first ? NULL : err);
        if (r < 0 && !first)
            first = r;
    }
    (void)closedir(d);
    return first;
}
