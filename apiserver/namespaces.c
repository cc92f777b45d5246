/* The lifecycle of namespaces; see namespaces.h. */
#include "apiserver/namespaces.h"

#include "apiserver/watch_cache.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"

/* A guard at this revision never holds: the store says what is there instead, and the next attempt
 * knows. */
#define NEVER INT64_MAX

bool namespace_is_immortal(const char *name)
{
    return str_eq(name, "default") || str_eq(name, "kube-system") || str_eq(name, "kube-public");
}

static json_t *refuse_terminating(const struct route *route, const char *ns, const char *name)
{
    json_t *status = status_forbidden(
        &route->about, name,
        "unable to create new content in namespace %s because it is being terminated", ns);
    _cleanup_free_ char *message = str_printf("namespace %s is being terminated", ns);
    (void)json_path_set(status, "details.causes",
                        json_pack("[{s:s,s:s,s:s}]", "reason", "NamespaceTerminating", "message",
                                  message, "field", "metadata.namespace"));
    return status;
}

json_t *namespace_guard(struct apiserver *srv, const struct route *route, const char *ns,
                        const char *name, struct plan *plan)
{
    static const struct status_resource about = {
        .group = "", .resource = "namespaces", .kind = "Namespace"};
    _cleanup_free_ char *key = str_printf("/registry/namespaces/%s", ns);
    const struct learned *learned = plan_learned(plan, key);
    const struct encoded *cached = learned ? NULL : watch_cache_get(srv->cache, key);
    if (learned && !learned->revision)
        return status_not_found(&about, ns);
    int64_t revision = learned ? learned->revision : cached ? cached->revision : NEVER;
    if (learned || cached) {
        _cleanup_json_ json_t *tree =
            learned ? json_parse(learned->value, learned->len, NULL) : encoded_tree(cached, NULL);
        bool terminating = *meta_deletion_timestamp(tree) != '\0';
        /* A cache that is behind may show the namespace before a new one of the same name. */
        if (terminating && learned)
            return refuse_terminating(route, ns, name);
        if (terminating)
            revision = NEVER;
    }
    plan_guard(plan, key, STORE_AT_REVISION, revision);
    return NULL;
}
