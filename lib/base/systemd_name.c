/* Names of slices, and what groups they are; see systemd.h. */
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/systemd.h"

#define NAME_MAX_LEN 255 /* systemd's UNIT_NAME_MAX less the NUL */
#define SUFFIX       ".slice"

/* The name without its suffix: words joined by dashes, none empty. */
static bool is_stem(const char *s, size_t len)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\";
    if (len == 0 || s[0] == '-' || s[len - 1] == '-' || strspn(s, allowed) < len)
        return false;
    for (size_t i = 1; i < len; i++)
        if (s[i] == '-' && s[i - 1] == '-')
            return false;
    return true;
}

char *systemd_slice_group(const char *slice, struct error *err)
{
    size_t len = strlen(slice), stem = len - strlen(SUFFIX);
    if (len > NAME_MAX_LEN || len <= strlen(SUFFIX) || !str_ends(slice, SUFFIX) ||
        (!str_eq(slice, "-" SUFFIX) && !is_stem(slice, stem))) {
        (void)error_set(err, -EINVAL, "\"%.300s\" is no name of a systemd slice", slice);
        return NULL;
    }
    struct strbuf path = STRBUF_INIT;
    for (size_t i = 1; i <= stem && slice[0] != '-'; i++)
        if (i == stem || slice[i] == '-')
            strbuf_addf(&path, "/%.*s" SUFFIX, (int)i, slice);
    return strbuf_take(&path);
}

char *systemd_slice_name(const char *parent, struct error *err)
{
    const char *slash = strrchr(parent, '/'), *name = slash ? slash + 1 : parent;
    _cleanup_free_ char *group = systemd_slice_group(name, err);
    if (!group)
        return NULL;
    if (slash && !str_eq(parent, group) && (parent[0] == '/' || !str_eq(parent, group + 1))) {
        (void)error_set(err, -EINVAL, "\"%.300s\" is not where systemd has %s (%s)", parent, name,
                        group);
        return NULL;
    }
    return str_dup(name);
}

char *systemd_slice_of_path(const char *path)
{
    struct strbuf name = STRBUF_INIT;
    while (*path) {
        path += strspn(path, "/");
        size_t len = strcspn(path, "/");
        if (len && name.len)
            strbuf_addc(&name, '-');
        for (size_t i = 0; i < len; i++)
            strbuf_addc(&name, path[i] == '-' ? '_' : path[i]);
        path += len;
    }
    if (!name.len)
        strbuf_addc(&name, '-');
    strbuf_adds(&name, SUFFIX);
    return strbuf_take(&name);
}
