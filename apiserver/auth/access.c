/* Requests as authorizers see them; see access.h. */
#include "apiserver/auth/access.h"

#include "base/json.h"
#include "base/strbuf.h"

json_t *access_forbidden(const struct access *a, const char *reason)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    strbuf_addf(&text, "User \"%s\" cannot %s ", a->user->name, a->verb);
    if (!a->is_resource) {
        strbuf_addf(&text, "path \"%s\"", a->path);
    } else {
        strbuf_addf(&text, "resource \"%s%s%s\" in API group \"%s\" ", a->resource,
                    *a->subresource ? "/" : "", a->subresource, a->group);
        if (*a->ns)
            strbuf_addf(&text, "in the namespace \"%s\"", a->ns);
        else
            strbuf_adds(&text, "at the cluster scope");
    }
    if (reason && *reason)
        strbuf_addf(&text, ": %s", reason);
    const struct status_resource about = {.group = a->group, .resource = a->resource, .kind = ""};
    return status_forbidden(a->is_resource ? &about : NULL, a->name, "%s", strbuf_text(&text));
}
