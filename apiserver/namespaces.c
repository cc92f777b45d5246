/* The lifecycle of namespaces; see namespaces.h. */
#include "apiserver/namespaces.h"

#include "apiserver/store/peek.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"

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
    _cleanup_(peeked_done) struct peeked found = peek(srv, plan, key);
    if (found.known && !found.revision)
        return status_not_found(&about, ns);
    /* A cache that is behind may show the namespace before a new one of the same name. */
    bool terminating = *meta_deletion_timestamp(found.tree) != '\0';
    if (terminating && found.fresh)
        return refuse_terminating(route, ns, name);
    if (terminating)
        peek_again(plan, key);
    else
        peek_guard(plan, key, &found);
    return NULL;
}
