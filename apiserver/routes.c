/* The table of served resources; see routes.h. */
#include "apiserver/routes.h"

#include <string.h>

#include "base/strbuf.h"

struct routes {
    struct route *items;
    size_t count;
};

#define BIT(verb) (1u << (verb))

static unsigned verbs_of(const struct schema_resource *res)
{
    if (!res->storage)
        return BIT(VERB_CREATE);
    return BIT(VERB_GET) | BIT(VERB_LIST) | BIT(VERB_WATCH) | BIT(VERB_CREATE) | BIT(VERB_UPDATE) |
           BIT(VERB_PATCH) | BIT(VERB_DELETE) |
           /* A namespace goes with all that is in it: never by the collection. */
           (str_eq(res->group, "") && str_eq(res->plural, "namespaces")
                ? 0
                : BIT(VERB_DELETE_COLLECTION));
}

struct routes *routes_new(const struct schema_registry *schemas)
{
    struct routes *routes = mem_zalloc(sizeof(*routes));
    const struct schema_resource *res;
    for (size_t i = 0; (res = schema_resource_at(schemas, i)); i++) {
        char own[SCHEMA_API_VERSION_MAX];
        if (!res->plural)
            continue;
        /* Served in a version other than the stored one: needs a conversion, and has none. */
        if (!str_eq(res->storage_version, schema_api_version(res, own)))
            continue;
        routes->items = mem_grow(routes->items, routes->count + 1, sizeof(*routes->items));
        routes->items[routes->count++] = (struct route){
            .res = res,
            .prefix = res->storage ? str_printf("/registry/%s/", res->storage) : NULL,
            .verbs = verbs_of(res),
            .about = {.group = res->group, .resource = res->plural, .kind = res->kind},
        };
    }
    return routes;
}

struct routes *routes_free(struct routes *routes)
{
    if (routes) {
        for (size_t i = 0; i < routes->count; i++)
            free(routes->items[i].prefix);
        free(routes->items);
        free(routes);
    }
    return NULL;
}

const struct route *routes_find(const struct routes *routes, const char *group, const char *version,
                                const char *resource)
{
    for (size_t i = 0; i < routes->count; i++) {
        const struct schema_resource *res = routes->items[i].res;
        if (str_eq(res->plural, resource) && str_eq(res->group, group) &&
            str_eq(res->version, version))
            return &routes->items[i];
    }
    return NULL;
}

const struct route *routes_at(const struct routes *routes, size_t i)
{
    return i < routes->count ? &routes->items[i] : NULL;
}

const struct route *routes_of_key(const struct routes *routes, const char *key)
{
    for (size_t i = 0; i < routes->count; i++)
        if (routes->items[i].prefix && str_starts(key, routes->items[i].prefix))
            return &routes->items[i];
    return NULL;
}

char *route_key(const struct route *route, const char *ns, const char *name)
{
    return route->res->namespaced ? str_printf("%s%s/%s", route->prefix, ns, name)
                                  : str_printf("%s%s", route->prefix, name);
}

bool route_allows(const struct route *route, enum verb verb)
{
    return route->verbs & BIT(verb);
}
