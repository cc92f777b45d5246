/* The life of one request; see server.h. */
#include "apiserver/server.h"

#include <errno.h>
#include <string.h>

#include "apiserver/auth/authorize.h"
#include "apiserver/auth/authz.h"
#include "apiserver/change.h"
#include "apiserver/documents.h"
#include "apiserver/proxy.h"
#include "apiserver/reply.h"
#include "base/json.h"
#include "base/log.h"
#include "kube/status.h"

void request_free(struct request *r)
{
    store_cancel(r->call);
    (void)change_cancel(r->change);
    if (r->op_free)
        r->op_free(r->op);
    list_remove(&r->entry);
    user_done(&r->user);
    request_info_done(&r->info);
    json_decref(r->warnings);
    free(r);
}

static void on_client_gone(struct http_exchange *x, void *arg)
{
    http_exchange_abort(x);
    request_free(arg);
}

void server_drop_requests(struct apiserver *srv)
{
    LIST_FOR_EACH(entry, &srv->requests) {
        struct request *r = LIST_ENTRY(entry, struct request, entry);
        http_exchange_abort(r->x);
        request_free(r);
    }
}

static void dispatch(struct request *r)
{
    if (*r->info.subresource && !subresource_is_part(r->info.subresource)) {
        verb_subresource(r);
        return;
    }
    if (!r->route->res->storage) {
        verb_review(r);
        return;
    }
    switch (r->verb) {
    case VERB_GET:
        verb_get(r);
        return;
    case VERB_LIST:
        verb_list(r);
        return;
    case VERB_WATCH:
        verb_watch(r);
        return;
    case VERB_CREATE:
        verb_create(r);
        return;
    case VERB_UPDATE:
    case VERB_PATCH:
        verb_update(r);
        return;
    case VERB_DELETE:
        verb_delete(r);
        return;
    case VERB_DELETE_COLLECTION:
        verb_delete_collection(r);
        return;
    case VERB_NONE:
        break;
    }
    reply_status(r, status_method_not_allowed(&r->route->about, http_exchange_method(r->x)));
}

static void on_body(struct http_exchange *x, int result, const char *data, size_t len, void *arg)
{
    struct request *r = arg;
    (void)x;
    if (result == -ECONNRESET)
        return; /* on_client_gone follows */
    if (result == -EFBIG) {
        reply_status(r, status_too_large("the body of the request is larger than %u bytes",
                                         REQUEST_BODY_MAX));
        return;
    }
    if (result) {
        reply_status(r, status_bad_request("the body of the request is malformed"));
        return;
    }
    r->body = data;
    r->body_len = len;
    dispatch(r);
}

/* Whether what the path names can be asked for in this way; else the Status to say so. */
static json_t *check_route(struct request *r)
{
    const struct request_info *info = &r->info;
    r->route = routes_find(r->srv->routes, info->group, info->version, info->resource);
    if (!r->route)
        return status_not_found_path();
    const struct schema_resource *res = r->route->res;
    if ((*info->rest && !proxy_serves(info)) ||
        (*info->subresource && !schema_has_subresource(res, info->subresource)))
        return status_not_found_path();
    if (!res->namespaced && *info->namespace_ && !str_eq(res->kind, "Namespace"))
        return status_not_found_path();
    if (res->namespaced && *info->name && !*info->namespace_)
        return status_not_found_path();
    bool watch = http_query_bool(http_exchange_query(r->x), "watch");
    r->verb = request_verb(info, http_exchange_method(r->x), watch);
    bool allowed = r->verb != VERB_NONE;
    if (!*info->subresource)
        allowed = allowed && route_allows(r->route, r->verb);
    else if (subresource_is_part(info->subresource))
        allowed = r->verb == VERB_GET || r->verb == VERB_UPDATE || r->verb == VERB_PATCH;
    if (!allowed)
        return status_method_not_allowed(&r->route->about, http_exchange_method(r->x));
    if (!r->srv->ready) {
        http_exchange_add_header(r->x, "Retry-After", "1");
        return status_unavailable("the server is starting: it waits for the store");
    }
    return NULL;
}

static void handle_resource(struct request *r)
{
    json_t *status = check_route(r);
    if (status) {
        reply_status(r, status);
        return;
    }
    bool reading = r->verb == VERB_GET || r->verb == VERB_LIST || r->verb == VERB_WATCH;
    if (reading || subresource_streams(r))
        dispatch(r);
    else
        http_exchange_read_body(r->x, REQUEST_BODY_MAX, on_body, r);
}

static bool wants_pretty(const struct http_exchange *x)
{
    return http_query_bool(http_exchange_query(x), "pretty");
}

static void authn_free_op(void *p)
{
    (void)authn_cancel(p);
}

static void on_authenticated(void *arg, int code, struct user *user, const json_t *audiences,
                             const struct error *err)
{
    struct request *r = arg;
    (void)audiences;
    r->op = NULL;
    r->op_free = NULL;
    if (code == -EACCES) {
        log_debug("request without valid credentials", "path", http_exchange_path(r->x), "error",
                  error_text(err), NULL);
        reply_status(r, status_unauthorized("Unauthorized"));
        return;
    }
    if (code < 0) {
        reply_status(r, status_unavailable("the token cannot be checked: %s", error_text(err)));
        return;
    }
    r->user = *user;
    struct error bad = ERROR_INIT;
    const char *path = http_exchange_path(r->x);
    if (request_info_parse(&r->info, path, &bad) < 0) {
        reply_status(r, status_bad_request("%s", error_text(&bad)));
        return;
    }
    json_t *status = authorize(r);
    if (status)
        reply_status(r, status);
    else if (r->info.is_resource)
        handle_resource(r);
    else if (!documents_serve_public(r, path) && !documents_serve(r, path))
        reply_status(r, status_not_found_path());
}

/* Whether health and version are told to whoever asks: where nobody is refused anything, and as
 * long as the roles that say who may know them have not been read. */
static bool is_open(const struct apiserver *srv)
{
    return authz_allows_all(srv->authz) || !srv->ready;
}

void server_handle(struct http_exchange *x, void *arg)
{
    struct apiserver *srv = arg;
    struct request *r = mem_zalloc(sizeof(*r));
    r->srv = srv;
    r->x = x;
    list_append(&srv->requests, &r->entry);
    http_exchange_on_close(x, on_client_gone, r);
    r->accept = negotiate_accept(http_exchange_header(x, "Accept"));
    r->accept.pretty = wants_pretty(x);
    if (is_open(srv) && documents_serve_public(r, http_exchange_path(x)))
        return;
    struct authn_call *call = authn_start(srv->authn, x, on_authenticated, r);
    if (call) { /* else the request may be gone already */
        r->op = call;
        r->op_free = authn_free_op;
    }
}
