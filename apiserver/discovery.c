/* The documents by which clients find out what is served; see routes.h. */
#include <string.h>

#include "apiserver/routes.h"
#include "base/json.h"
#include "base/strbuf.h"

/* What a subresource takes or gives, where that is not the resource's own kind. */
struct subresource_kind {
    const char *name;
    const char *group, *version, *kind; /* NULL: the resource's */
    unsigned verbs;
    const char *of; /* plural of the only resource; NULL: any */
};
#define BIT(verb) (1u << (verb))
#define PROXY_VERBS \
    (BIT(VERB_CREATE) | BIT(VERB_DELETE) | BIT(VERB_GET) | BIT(VERB_PATCH) | BIT(VERB_UPDATE))
static const struct subresource_kind subresource_kinds[] = {
    {"status", NULL, NULL, NULL, BIT(VERB_GET) | BIT(VERB_PATCH) | BIT(VERB_UPDATE)},
    {"scale", "autoscaling", "v1", "Scale", BIT(VERB_GET) | BIT(VERB_PATCH) | BIT(VERB_UPDATE)},
    {"ephemeralcontainers", NULL, NULL, NULL, BIT(VERB_GET) | BIT(VERB_PATCH) | BIT(VERB_UPDATE)},
    {"resize", NULL, NULL, NULL, BIT(VERB_GET) | BIT(VERB_PATCH) | BIT(VERB_UPDATE)},
    {"approval", NULL, NULL, NULL, BIT(VERB_GET) | BIT(VERB_PATCH) | BIT(VERB_UPDATE)},
    {"finalize", NULL, NULL, NULL, BIT(VERB_UPDATE)},
    {"binding", "", "v1", "Binding", BIT(VERB_CREATE)},
    {"eviction", "policy", "v1", "Eviction", BIT(VERB_CREATE)},
    {"token", "authentication.k8s.io", "v1", "TokenRequest", BIT(VERB_CREATE)},
    {"log", NULL, NULL, NULL, BIT(VERB_GET)},
    {"exec", "", "v1", "PodExecOptions", BIT(VERB_CREATE) | BIT(VERB_GET)},
    {"attach", "", "v1", "PodAttachOptions", BIT(VERB_CREATE) | BIT(VERB_GET)},
    {"portforward", "", "v1", "PodPortForwardOptions", BIT(VERB_CREATE) | BIT(VERB_GET)},
    {"proxy", "", "v1", "NodeProxyOptions", PROXY_VERBS, "nodes"},
    {"proxy", "", "v1", "PodProxyOptions", PROXY_VERBS, "pods"},
};

static const struct subresource_kind *subresource_kind(const char *of, const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(subresource_kinds); i++)
        if (str_eq(subresource_kinds[i].name, name) &&
            (!subresource_kinds[i].of || str_eq(subresource_kinds[i].of, of)))
            return &subresource_kinds[i];
    return NULL;
}

static json_t *verb_list_of(unsigned verbs)
{
    /* In the order upstream lists them. */
    static const enum verb order[] = {VERB_CREATE, VERB_DELETE, VERB_DELETE_COLLECTION,
                                      VERB_GET,    VERB_LIST,   VERB_PATCH,
                                      VERB_UPDATE, VERB_WATCH};
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        if (verbs & BIT(order[i]))
            (void)json_array_append_new(list, json_string(verb_name(order[i])));
    return list;
}

static json_t *words(const char *const *list)
{
    json_t *out = json_array();
    for (size_t i = 0; list[i]; i++)
        (void)json_array_append_new(out, json_string(list[i]));
    return out;
}

/* The group and version a word list would be empty for stay out. */
static void set_words(json_t *obj, const char *key, const char *const *list)
{
    if (list[0])
        (void)json_object_set_new(obj, key, words(list));
}

static bool in_version(const struct route *route, const char *group, const char *version)
{
    return str_eq(route->res->group, group) && str_eq(route->res->version, version);
}

/* Whether an earlier route has the same group (and version). */
static bool seen(const struct routes *routes, size_t index, bool version_too)
{
    const struct schema_resource *res = routes_at(routes, index)->res;
    for (size_t i = 0; i < index; i++) {
        const struct schema_resource *other = routes_at(routes, i)->res;
        if (str_eq(other->group, res->group) &&
            (!version_too || str_eq(other->version, res->version)))
            return true;
    }
    return false;
}

json_t *discovery_core_versions(const char *server_address)
{
    return json_pack("{s:s,s:[s],s:[{s:s,s:s}]}", "kind", "APIVersions", "versions", "v1",
                     "serverAddressByClientCIDRs", "clientCIDR", "0.0.0.0/0", "serverAddress",
                     server_address);
}

static json_t *group_version(const char *group, const char *version)
{
    _cleanup_free_ char *both = str_printf("%s/%s", group, version);
    return json_pack("{s:s,s:s}", "groupVersion", both, "version", version);
}

static json_t *api_group(const struct routes *routes, const char *group)
{
    json_t *versions = json_array();
    const struct route *route;
    for (size_t i = 0; (route = routes_at(routes, i)); i++)
        if (str_eq(route->res->group, group) && !seen(routes, i, true))
            (void)json_array_append_new(versions, group_version(group, route->res->version));
    json_t *preferred = json_array_get(versions, 0);
    return json_pack("{s:s,s:o,s:O}", "name", group, "versions", versions, "preferredVersion",
                     preferred);
}

static bool has_group(const struct routes *routes, const char *group)
{
    const struct route *route;
    for (size_t i = 0; (route = routes_at(routes, i)); i++)
        if (*group && str_eq(route->res->group, group))
            return true;
    return false;
}

json_t *discovery_groups(const struct routes *routes)
{
    json_t *groups = json_array();
    const struct route *route;
    for (size_t i = 0; (route = routes_at(routes, i)); i++)
        if (*route->res->group && !seen(routes, i, false))
            (void)json_array_append_new(groups, api_group(routes, route->res->group));
    return json_pack("{s:s,s:s,s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups", groups);
}

json_t *discovery_group(const struct routes *routes, const char *group)
{
    if (!has_group(routes, group))
        return NULL;
    json_t *out = api_group(routes, group);
    (void)json_object_set_new(out, "kind", json_string("APIGroup"));
    (void)json_object_set_new(out, "apiVersion", json_string("v1"));
    return out;
}

/* ---- the resources of one version ---- */

static void add_resource(json_t *list, const struct route *route)
{
    const struct schema_resource *res = route->res;
    json_t *item = json_pack("{s:s,s:s,s:b,s:s,s:o}", "name", res->plural, "singularName",
                             res->singular, "namespaced", res->namespaced, "kind", res->kind,
                             "verbs", verb_list_of(route->verbs));
    set_words(item, "shortNames", res->short_names);
    set_words(item, "categories", res->categories);
    (void)json_array_append_new(list, item);
    for (size_t i = 0; res->subresources[i]; i++) {
        const struct subresource_kind *sub = subresource_kind(res->plural, res->subresources[i]);
        if (!sub)
            continue;
        _cleanup_free_ char *name = str_printf("%s/%s", res->plural, sub->name);
        item = json_pack("{s:s,s:s,s:b,s:s,s:o}", "name", name, "singularName", "", "namespaced",
                         res->namespaced, "kind", sub->kind ? sub->kind : res->kind, "verbs",
                         verb_list_of(sub->verbs));
        if (sub->kind && (!str_eq(sub->group, res->group) || !str_eq(sub->version, res->version))) {
            (void)json_object_set_new(item, "group", json_string(sub->group));
            (void)json_object_set_new(item, "version", json_string(sub->version));
        }
        (void)json_array_append_new(list, item);
    }
}

json_t *discovery_resources(const struct routes *routes, const char *group, const char *version)
{
    json_t *list = json_array();
    const struct route *route;
    for (size_t i = 0; (route = routes_at(routes, i)); i++)
        if (in_version(route, group, version))
            add_resource(list, route);
    if (!json_array_size(list)) {
        json_decref(list);
        return NULL;
    }
    _cleanup_free_ char *both = *group ? str_printf("%s/%s", group, version) : str_dup(version);
    return json_pack("{s:s,s:s,s:s,s:o}", "kind", "APIResourceList", "apiVersion", "v1",
                     "groupVersion", both, "resources", list);
}

/* ---- the aggregated form ---- */

static json_t *response_kind(const char *group, const char *version, const char *kind)
{
    return json_pack("{s:s,s:s,s:s}", "group", group, "version", version, "kind", kind);
}

static json_t *aggregated_resource(const struct route *route)
{
    const struct schema_resource *res = route->res;
    const char *scope = res->namespaced ? "Namespaced" : "Cluster";
    json_t *item =
        json_pack("{s:s,s:o,s:s,s:s,s:o}", "resource", res->plural, "responseKind",
                  response_kind(res->group, res->version, res->kind), "scope", scope,
                  "singularResource", res->singular, "verbs", verb_list_of(route->verbs));
    set_words(item, "shortNames", res->short_names);
    set_words(item, "categories", res->categories);
    json_t *subs = json_array();
    for (size_t i = 0; res->subresources[i]; i++) {
        const struct subresource_kind *sub = subresource_kind(res->plural, res->subresources[i]);
        if (sub)
            (void)json_array_append_new(
                subs, json_pack("{s:s,s:o,s:o}", "subresource", sub->name, "responseKind",
                                sub->kind ? response_kind(sub->group, sub->version, sub->kind)
                                          : response_kind(res->group, res->version, res->kind),
                                "verbs", verb_list_of(sub->verbs)));
    }
    if (json_array_size(subs))
        (void)json_object_set(item, "subresources", subs);
    json_decref(subs);
    return item;
}

static json_t *aggregated_version(const struct routes *routes, const char *group,
                                  const char *version)
{
    json_t *resources = json_array();
    const struct route *route;
    for (size_t i = 0; (route = routes_at(routes, i)); i++)
        if (in_version(route, group, version))
            (void)json_array_append_new(resources, aggregated_resource(route));
    return json_pack("{s:s,s:o,s:s}", "version", version, "resources", resources, "freshness",
                     "Current");
}

json_t *discovery_aggregated(const struct routes *routes, bool core, const char *version)
{
    json_t *items = json_array();
    const struct route *route;
    for (size_t i = 0; (route = routes_at(routes, i)); i++) {
        const char *group = route->res->group;
        if (core != (*group == '\0') || seen(routes, i, false))
            continue;
        json_t *versions = json_array();
        const struct route *other;
        for (size_t j = i; (other = routes_at(routes, j)); j++)
            if (str_eq(other->res->group, group) && !seen(routes, j, true))
                (void)json_array_append_new(versions,
                                            aggregated_version(routes, group, other->res->version));
        json_t *meta = json_object();
        if (*group)
            (void)json_object_set_new(meta, "name", json_string(group));
        (void)json_object_set_new(meta, "creationTimestamp", json_null());
        (void)json_array_append_new(items,
                                    json_pack("{s:o,s:o}", "metadata", meta, "versions", versions));
    }
    _cleanup_free_ char *api_version = str_printf("apidiscovery.k8s.io/%s", version);
    return json_pack("{s:s,s:s,s:{},s:o}", "kind", "APIGroupDiscoveryList", "apiVersion",
                     api_version, "metadata", "items", items);
}
