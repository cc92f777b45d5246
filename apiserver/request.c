/* Paths of the Kubernetes API; see request.h. */
#include "apiserver/request.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "net/http.h"

#define SEGMENTS_MAX 12

const char *verb_name(enum verb verb)
{
    static const char *const names[] = {
        [VERB_NONE] = "",
        [VERB_GET] = "get",
        [VERB_LIST] = "list",
        [VERB_WATCH] = "watch",
        [VERB_CREATE] = "create",
        [VERB_UPDATE] = "update",
        [VERB_PATCH] = "patch",
        [VERB_DELETE] = "delete",
        [VERB_DELETE_COLLECTION] = "deletecollection",
    };
    return (size_t)verb < ARRAY_SIZE(names) ? names[verb] : "";
}

void request_info_done(struct request_info *info)
{
    free(info->group);
    free(info->version);
    free(info->namespace_);
    free(info->resource);
    free(info->name);
    free(info->subresource);
    free(info->rest);
    *info = (struct request_info)REQUEST_INFO_INIT;
}

struct segments {
    char *items[SEGMENTS_MAX];
    size_t count;
};

static void segments_done(struct segments *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->items[i]);
}

/* Splits at slashes and decodes; empty segments vanish. The last one holds all the rest when there
 * are too many. */
static int split(const char *path, struct segments *s, struct error *err)
{
    while (*path) {
        path += strspn(path, "/");
        if (!*path)
            break;
        size_t len = s->count == SEGMENTS_MAX - 1 ? strlen(path) : strcspn(path, "/");
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        if (http_percent_decode(path, len, false, &text) < 0)
            return error_set(err, -EINVAL, "the path holds a broken percent-encoding");
        if (s->count < SEGMENTS_MAX - 1) {
            if (text.len > REQUEST_SEGMENT_MAX)
                return error_set(err, -EINVAL, "a segment of the path is longer than %d bytes",
                                 REQUEST_SEGMENT_MAX);
            if (memchr(strbuf_text(&text), '/', text.len))
                return error_set(err, -EINVAL, "a segment of the path holds an encoded slash");
        }
        s->items[s->count++] = strbuf_take(&text);
        path += len;
    }
    return 0;
}

/* The old names of subresources of a namespace, which are no resources inside it. */
static bool is_namespace_subresource(const char *word)
{
    return str_eq(word, "status") || str_eq(word, "finalize");
}

static void join_rest(struct request_info *info, char **part, size_t n)
{
    struct strbuf rest = STRBUF_INIT;
    for (size_t i = 0; i < n; i++) {
        if (i)
            strbuf_addc(&rest, '/');
        strbuf_adds(&rest, part[i]);
    }
    info->rest = strbuf_take(&rest);
}

int request_info_parse(struct request_info *info, const char *path, struct error *err)
{
    *info = (struct request_info)REQUEST_INFO_INIT;
    _cleanup_(segments_done) struct segments s = {.count = 0};
    if (split(path, &s, err) < 0)
        return -EINVAL;
    char **part = s.items;
    size_t n = s.count;
    const char *group = "";
    if (n >= 3 && str_eq(part[0], "api")) {
        part++;
        n--;
    } else if (n >= 4 && str_eq(part[0], "apis")) {
        group = part[1];
        part += 2;
        n -= 2;
    } else {
        return 0;
    }
    const char *version = *part++;
    n--;
    if (n > 1 && str_eq(part[0], "watch")) {
        info->watch = true;
        part++;
        n--;
    }
    const char *ns = "";
    if (str_eq(part[0], "namespaces") && n > 1) {
        ns = part[1];
        if (n > 2 && !is_namespace_subresource(part[2])) {
            part += 2;
            n -= 2;
        }
    }
    info->is_resource = true;
    info->group = str_dup(group);
    info->version = str_dup(version);
    info->namespace_ = str_dup(ns);
    info->resource = str_dup(part[0]);
    info->name = str_dup(n > 1 ? part[1] : "");
    info->subresource = str_dup(n > 2 ? part[2] : "");
    join_rest(info, part + 3, n > 3 ? n - 3 : 0);
    return 0;
}

enum verb request_verb(const struct request_info *info, const char *method, bool watch)
{
    bool named = *info->name != '\0';
    if (str_eq(method, "GET") || str_eq(method, "HEAD")) {
        if (info->watch || (watch && !*info->subresource))
            return VERB_WATCH;
        return named ? VERB_GET : VERB_LIST;
    }
    if (info->watch)
        return VERB_NONE;
    if (str_eq(method, "POST"))
        return !named || *info->subresource ? VERB_CREATE : VERB_NONE;
    if (str_eq(method, "PUT"))
        return named ? VERB_UPDATE : VERB_NONE;
    if (str_eq(method, "PATCH"))
        return named ? VERB_PATCH : VERB_NONE;
    if (str_eq(method, "DELETE"))
        return named ? VERB_DELETE : VERB_DELETE_COLLECTION;
    return VERB_NONE;
}
