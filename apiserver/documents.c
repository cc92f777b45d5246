/* /version, health, discovery and OpenAPI; see documents.h. */
#include "apiserver/documents.h"

#include <string.h>
#include <sys/utsname.h>

#include "apiserver/auth/accounts.h"
#include "apiserver/reply.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/map.h"
#include "kube/openapi.h"
#include "kube/status.h"

/* Encoded once, at the first question; the schema does not change yet. */
struct documents {
    struct strbuf openapi_v2, openapi_v2_proto;
    struct map openapi_v3; /* path ("" the index) → struct strbuf */
};

static void strbuf_free(void *p)
{
    strbuf_done(p);
    free(p);
}

struct documents *documents_new(void)
{
    struct documents *d = mem_zalloc(sizeof(*d));
    d->openapi_v3 = (struct map)MAP_INIT(strbuf_free);
    return d;
}

struct documents *documents_free(struct documents *d)
{
    if (d) {
        strbuf_done(&d->openapi_v2);
        strbuf_done(&d->openapi_v2_proto);
        map_clear(&d->openapi_v3);
        free(d);
    }
    return NULL;
}

static void reply_text(struct request *r, int code, const char *type, const char *text, size_t len)
{
    http_exchange_reply(r->x, code, type, text, len);
    request_free(r);
}

/* ---- health ---- */

static void on_store_checked(void *arg, int code, int64_t revision, const struct error *err)
{
    struct request *r = arg;
    (void)revision;
    r->call = NULL;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    bool ready = r->srv->ready || str_eq(http_exchange_path(r->x), "/healthz");
    bool verbose = http_exchange_query_get(r->x, "verbose") != NULL;
    bool healthy = !code && ready;
    if (verbose || !healthy) {
        strbuf_adds(&text, "[+]ping ok\n");
        if (code)
            strbuf_addf(&text, "[-]etcd failed: %s\n", error_text(err));
        else
            strbuf_adds(&text, "[+]etcd ok\n");
        if (!ready)
            strbuf_adds(&text, "[-]bootstrap failed: not finished\n");
        strbuf_addf(&text, "%s check %s\n", http_exchange_path(r->x) + 1,
                    healthy ? "passed" : "failed");
    } else {
        strbuf_adds(&text, "ok");
    }
    reply_text(r, healthy ? 200 : 500, "text/plain; charset=utf-8", text.data, text.len);
}

static void reply_version(struct request *r)
{
    struct utsname machine;
    const char *arch = uname(&machine) == 0 ? machine.machine : "unknown";
    _cleanup_free_ char *platform = str_printf("linux/%s", str_eq(arch, "x86_64")    ? "amd64"
                                                           : str_eq(arch, "aarch64") ? "arm64"
                                                                                     : arch);
    const char *version = CORACLE_VERSION;
    const char *minor = strchr(version, '.') + 1;
    _cleanup_free_ char *minor_text = str_ndup(minor, strcspn(minor, "."));
    reply_json(r, 200,
               json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "major", "1", "minor", minor_text,
                         "gitVersion", version, "gitCommit", "", "gitTreeState", "", "buildDate",
                         "1970-01-01T00:00:00Z", "goVersion", "none", "compiler", "gcc", "platform",
                         platform));
}

bool documents_serve_public(struct request *r, const char *path)
{
    if (str_eq(path, "/version") || str_eq(path, "/version/")) {
        reply_version(r);
    } else if (str_eq(path, "/livez") || str_eq(path, "/livez/ping")) {
        reply_text(r, 200, "text/plain; charset=utf-8", "ok", 2);
    } else if (str_eq(path, "/readyz") || str_eq(path, "/healthz")) {
        r->call = store_revision(r->srv->store, on_store_checked, r);
    } else {
        return false;
    }
    return true;
}

/* ---- OpenAPI ---- */

#define V2_JSON "application/json"

static void reply_openapi_v2(struct request *r)
{
    struct documents *d = r->srv->documents;
    const char *accept = http_exchange_header(r->x, "Accept");
    bool proto = negotiate_wants(accept, OPENAPI_V2_PROTO);
    if (!d->openapi_v2.len) {
        _cleanup_json_ json_t *document = openapi_v2(r->srv->schemas);
        json_encode(document, &d->openapi_v2);
        if (openapi_v2_proto(document, &d->openapi_v2_proto) < 0)
            strbuf_truncate(&d->openapi_v2_proto, 0);
    }
    if (proto && d->openapi_v2_proto.len)
        reply_text(r, 200, OPENAPI_V2_PROTO_CONTENT_TYPE, d->openapi_v2_proto.data,
                   d->openapi_v2_proto.len);
    else
        reply_text(r, 200, V2_JSON, d->openapi_v2.data, d->openapi_v2.len);
}

static void reply_openapi_v3(struct request *r, const char *path)
{
    struct documents *d = r->srv->documents;
    struct strbuf *text = map_get(&d->openapi_v3, path);
    if (!text) {
        _cleanup_json_ json_t *document =
            *path ? openapi_v3(r->srv->schemas, path) : openapi_v3_index(r->srv->schemas);
        if (!document) {
            reply_status(r, status_not_found_path());
            return;
        }
        text = mem_zalloc(sizeof(*text));
        json_encode(document, text);
        map_set(&d->openapi_v3, path, text);
    }
    reply_text(r, 200, "application/json", text->data, text->len);
}

/* ---- discovery ---- */

static void reply_discovery(struct request *r, json_t *document)
{
    if (document)
        reply_json(r, 200, document);
    else
        reply_status(r, status_not_found_path());
}

static void reply_versions(struct request *r, bool core)
{
    const char *version = negotiate_discovery(http_exchange_header(r->x, "Accept"));
    http_exchange_add_header(r->x, "Vary", "Accept");
    if (version) {
        _cleanup_json_ json_t *document = discovery_aggregated(r->srv->routes, core, version);
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        _cleanup_free_ char *type = str_printf(
            "application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList", version);
        json_encode(document, &text);
        reply_text(r, 200, type, text.data, text.len);
        return;
    }
    _cleanup_free_ char *address =
        str_printf("%s:%d", r->srv->advertise_address, r->srv->secure_port);
    reply_json(r, 200, core ? discovery_core_versions(address) : discovery_groups(r->srv->routes));
}

static bool serve_group(struct request *r, const char *rest)
{
    size_t len = strcspn(rest, "/");
    _cleanup_free_ char *group = str_ndup(rest, len);
    const char *version = rest[len] ? rest + len + 1 : "";
    size_t version_len = strcspn(version, "/");
    if (version[version_len] && version[version_len + 1])
        return false;
    _cleanup_free_ char *v = str_ndup(version, version_len);
    reply_discovery(r, *v ? discovery_resources(r->srv->routes, group, v)
                          : discovery_group(r->srv->routes, group));
    return true;
}

static void reply_paths(struct request *r)
{
    json_t *paths = json_pack("[s,s,s,s,s,s,s,s,s]", "/api", "/api/v1", "/apis", "/healthz",
                              "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version");
    const struct route *route;
    const char *last = "";
    for (size_t i = 0; (route = routes_at(r->srv->routes, i)); i++) {
        if (!*route->res->group || str_eq(last, route->res->group))
            continue;
        last = route->res->group;
        _cleanup_free_ char *path = str_printf("/apis/%s/%s", last, route->res->version);
        (void)json_array_append_new(paths, json_string(path));
    }
    reply_json(r, 200, json_pack("{s:o}", "paths", paths));
}

/* ---- OpenID Connect discovery: who else may check the tokens of ServiceAccounts ---- */

static void reply_openid(struct request *r, const char *type, json_t *document)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(document, &text);
    json_decref(document);
    http_exchange_add_header(r->x, "Cache-Control", "public, max-age=3600");
    reply_text(r, 200, type, text.data, text.len);
}

static bool serve_openid(struct request *r, const char *path)
{
    const struct accounts *accounts = r->srv->accounts;
    bool keys = str_eq(path, "/openid/v1/jwks");
    if (!keys && !str_eq(path, "/.well-known/openid-configuration"))
        return false;
    if (!accounts_options(accounts)->issuers.count)
        return false;
    _cleanup_free_ char *base =
        str_printf("https://%s:%d", r->srv->advertise_address, r->srv->secure_port);
    if (keys)
        reply_openid(r, "application/jwk-set+json", accounts_key_set(accounts));
    else
        reply_openid(r, "application/json", accounts_openid_configuration(accounts, base));
    return true;
}

bool documents_serve(struct request *r, const char *path)
{
    if (!str_eq(http_exchange_method(r->x), "GET") && !str_eq(http_exchange_method(r->x), "HEAD"))
        return false;
    if (str_eq(path, "/"))
        reply_paths(r);
    else if (str_eq(path, "/api") || str_eq(path, "/api/"))
        reply_versions(r, true);
    else if (str_eq(path, "/apis") || str_eq(path, "/apis/"))
        reply_versions(r, false);
    else if (str_eq(path, "/api/v1") || str_eq(path, "/api/v1/"))
        reply_discovery(r, discovery_resources(r->srv->routes, "", "v1"));
    else if (str_starts(path, "/apis/"))
        return serve_group(r, path + strlen("/apis/"));
    else if (str_eq(path, "/openapi/v2"))
        reply_openapi_v2(r);
    else if (str_eq(path, "/openapi/v3") || str_eq(path, "/openapi/v3/"))
        reply_openapi_v3(r, "");
    else if (str_starts(path, "/openapi/v3/"))
        reply_openapi_v3(r, path + strlen("/openapi/v3/"));
    else
        return serve_openid(r, path);
    return true;
}
