/* What a request wants, for the authorizers; see authorize.h. */
#include "apiserver/auth/authorize.h"

#include <ctype.h>

#include "apiserver/auth/access.h"
#include "apiserver/auth/authz.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kube/selector.h"
#include "kube/status.h"

/* The verb of a request for a resource. Streams into a pod are "create", however they are asked
 * for: a WebSocket begins with a GET. */
static const char *resource_verb(const struct request *r)
{
    const struct request_info *info = &r->info;
    const char *method = http_exchange_method(r->x);
    bool named = *info->name != '\0';
    static const char *const streams[] = {"exec", "attach", "portforward"};
    for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
        if (str_eq(info->resource, "pods") && str_eq(info->subresource, streams[i]))
            return "create";
    bool watch = http_query_bool(http_exchange_query(r->x), "watch");
    if (str_eq(method, "GET") || str_eq(method, "HEAD"))
        return verb_name(request_verb(info, method, watch));
    if (str_eq(method, "POST"))
        return "create";
    if (str_eq(method, "PUT"))
        return "update";
    if (str_eq(method, "PATCH"))
        return "patch";
    if (str_eq(method, "DELETE"))
        return named ? "delete" : "deletecollection";
    return "";
}

static json_t *check(struct request *r, const struct access *a)
{
    _cleanup_strbuf_ struct strbuf reason = STRBUF_INIT;
    if (authz_allows(r->srv->authz, a, NULL))
        return NULL;
    (void)authz_allows(r->srv->authz, a, &reason); /* once more, to be told why not */
    log_debug("forbidden", "user", a->user->name, "verb", a->verb, "resource", a->resource, "path",
              http_exchange_path(r->x), "reason", strbuf_text(&reason), NULL);
    return access_forbidden(a, strbuf_text(&reason));
}

static json_t *check_resource(struct request *r)
{
    const struct request_info *info = &r->info;
    struct access a = ACCESS_INIT;
    struct field_selector *fields = NULL;
    const char *text = http_exchange_query_get(r->x, "fieldSelector");
    a.user = &r->user;
    a.is_resource = true;
    a.verb = resource_verb(r);
    a.group = info->group;
    a.resource = info->resource;
    a.subresource = info->subresource;
    a.ns = info->namespace_;
    a.name = info->name;
    bool many =
        str_eq(a.verb, "list") || str_eq(a.verb, "watch") || str_eq(a.verb, "deletecollection");
    const struct route *route =
        routes_find(r->srv->routes, info->group, info->version, info->resource);
    if (many && text && route &&
        field_selector_parse(text, field_selector_fields(a.group, route->res->kind), &fields,
                             NULL) == 0) {
        const char *name = field_selector_exact(fields, "metadata.name");
        const char *node = field_selector_exact(fields, "spec.nodeName");
        if (!*a.name && name)
            a.name = name;
        a.node = node ? node : "";
    }
    json_t *status = check(r, &a);
    field_selector_free(fields);
    return status;
}

static json_t *check_path(struct request *r)
{
    struct access a = ACCESS_INIT;
    char verb[16] = "";
    const char *method = http_exchange_method(r->x);
    for (size_t i = 0; method[i] && i + 1 < sizeof(verb); i++)
        verb[i] = (char)tolower((unsigned char)method[i]);
    a.user = &r->user;
    a.verb = verb;
    a.path = http_exchange_path(r->x);
    return check(r, &a);
}

json_t *authorize(struct request *r)
{
    /* Roles are read from the store: until then only they who need none may go on. */
    if (!r->srv->ready && !authz_allows_all(r->srv->authz) &&
        !user_in_group(&r->user, GROUP_MASTERS)) {
        http_exchange_add_header(r->x, "Retry-After", "1");
        return status_unavailable("the server is starting: it waits for the store");
    }
    json_t *status = impersonate(r);
    if (status)
        return status;
    return r->info.is_resource ? check_resource(r) : check_path(r);
}
