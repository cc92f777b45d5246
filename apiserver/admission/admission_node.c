/*
 * What a kubelet may write, as upstream's NodeRestriction: its own Node, without labels that are
 * the administrator's and without touching taints; mirrors of static pods, and status and end of
 * the pods on its node; its own lease; tokens for its pods only.
 */
#include <string.h>

#include "apiserver/auth/accounts.h"
#include "apiserver/admission/admission.h"
#include "apiserver/auth/authz.h"
#include "apiserver/auth/node_authz.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"
#include "kube/node_label.h"

#define MIRROR          "kubernetes.io/config.mirror"
#define LEASE_NAMESPACE "kube-node-lease"

struct node_write {
    const struct admission *a;
    const char *node; /* who writes */
    const char *subresource;
    const json_t *obj, *old; /* either may be NULL */
};

static json_t *refuse(const struct node_write *w, const char *fmt, ...) _printf_(2, 3);
static json_t *refuse(const struct node_write *w, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    return status_forbidden(&w->a->route->about, w->a->name, "%s", strbuf_text(&text));
}

static const char *text_at(const json_t *obj, const char *path)
{
    const char *text = json_path_string(obj, path);
    return text ? text : "";
}

static bool same(const json_t *a, const json_t *b)
{
    return a == b || (a && b && json_equal(a, b));
}

/* ---- pods ---- */

static json_t *check_owners(const struct node_write *w)
{
    const json_t *owners = json_path(w->obj, "metadata.ownerReferences");
    const json_t *owner = json_array_get(owners, 0);
    if (!json_array_size(owners))
        return NULL;
    if (json_array_size(owners) > 1)
        return refuse(w,
                      "node \"%s\" can only create pods with a single owner reference set to "
                      "itself",
                      w->node);
    if (!str_eq(text_at(owner, "apiVersion"), "v1") || !str_eq(text_at(owner, "kind"), "Node") ||
        !str_eq(text_at(owner, "name"), w->node))
        return refuse(w, "node \"%s\" can only create pods with an owner reference set to itself",
                      w->node);
    if (!json_is_true(json_object_get(owner, "controller")))
        return refuse(w,
                      "node \"%s\" can only create pods with a controller owner reference set "
                      "to itself",
                      w->node);
    if (json_is_true(json_object_get(owner, "blockOwnerDeletion")))
        return refuse(w, "node \"%s\" must not set blockOwnerDeletion on an owner reference",
                      w->node);
    return NULL;
}

static json_t *check_new_pod(const struct node_write *w)
{
    static const char *const forbidden[][2] = {{"configMap", "configmaps"},
                                               {"persistentVolumeClaim", "persistentvolumeclaims"},
                                               {"secret", "secrets"}};
    size_t i;
    json_t *volume;
    if (!meta_annotation(w->obj, MIRROR))
        return refuse(w,
                      "pod does not have \"" MIRROR "\" annotation, node \"%s\" can only create "
                      "mirror pods",
                      w->node);
    if (!str_eq(text_at(w->obj, "spec.nodeName"), w->node))
        return refuse(w, "node \"%s\" can only create pods with spec.nodeName set to itself",
                      w->node);
    if (*text_at(w->obj, "spec.serviceAccountName"))
        return refuse(w, "node \"%s\" can not create pods that reference a service account",
                      w->node);
    json_array_foreach(json_path(w->obj, "spec.volumes"), i, volume) {
        for (size_t k = 0; k < ARRAY_SIZE(forbidden); k++)
            if (json_object_get(volume, forbidden[k][0]))
                return refuse(w, "node \"%s\" can not create pods that reference %s", w->node,
                              forbidden[k][1]);
    }
    return check_owners(w);
}

static json_t *check_pod(const struct node_write *w)
{
    if (!*w->subresource && !w->old)
        return check_new_pod(w);
    const char *what = !*w->subresource                   ? "delete pods"
                       : str_eq(w->subresource, "status") ? "update pod status for pods"
                                                          : "evict pods";
    if (!*w->subresource && w->obj)
        return refuse(w, "node \"%s\" cannot update pods", w->node);
    if (!str_eq(text_at(w->old, "spec.nodeName"), w->node))
        return refuse(w, "node \"%s\" can only %s with spec.nodeName set to itself", w->node, what);
    if (w->obj && str_eq(w->subresource, "status") &&
        !same(meta_labels(w->obj), meta_labels(w->old)))
        return refuse(w, "node \"%s\" cannot update labels through pod status", w->node);
    return NULL;
}

/* ---- nodes ---- */

/* Adds those labels of @a that @b has not, or has with another value, and that no kubelet may
 * change. */
static void add_forbidden(const json_t *a, const json_t *b, struct strbuf *out)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)a, key, value) {
        if (same(value, json_object_get(b, key)) || !node_label_is_reserved(key))
            continue;
        if (!strstr(strbuf_text(out), key))
            strbuf_addf(out, "%s%s", out->len ? ", " : "", key);
    }
}

static json_t *check_labels(const struct node_write *w)
{
    _cleanup_strbuf_ struct strbuf forbidden = STRBUF_INIT;
    add_forbidden(meta_labels(w->obj), meta_labels(w->old), &forbidden);
    add_forbidden(meta_labels(w->old), meta_labels(w->obj), &forbidden);
    if (!forbidden.len)
        return NULL;
    return refuse(w, "is not allowed to %s the following labels: %s", w->old ? "modify" : "set",
                  strbuf_text(&forbidden));
}

static json_t *check_node(const struct node_write *w)
{
    if (!str_eq(w->a->name, w->node))
        return refuse(w, "node \"%s\" is not allowed to modify node \"%s\"", w->node, w->a->name);
    if (!w->obj)
        return refuse(w, "node \"%s\" is not allowed to delete itself", w->node);
    if (json_path(w->obj, "spec.configSource") &&
        !same(json_path(w->obj, "spec.configSource"), json_path(w->old, "spec.configSource")))
        return refuse(w, "node \"%s\" is not allowed to update configSource", w->node);
    if (w->old && !same(json_path(w->obj, "spec.taints"), json_path(w->old, "spec.taints")))
        return refuse(w, "node \"%s\" is not allowed to modify taints", w->node);
    if (!same(json_path(w->obj, "metadata.ownerReferences"),
              json_path(w->old, "metadata.ownerReferences")))
        return refuse(w, "node \"%s\" is not allowed to modify ownerReferences", w->node);
    return check_labels(w);
}

static json_t *check_lease(const struct node_write *w)
{
    if (!str_eq(w->a->ns, LEASE_NAMESPACE))
        return refuse(w, "can only access leases in the \"" LEASE_NAMESPACE "\" system namespace");
    if (!str_eq(w->a->name, w->node))
        return refuse(w, "can only access node lease with the same name as the requesting node");
    return NULL;
}

enum verdict admit_node_write(const struct admission *a, const char *subresource, const json_t *obj,
                              const json_t *old, json_t **status)
{
    static const struct {
        const char *group, *kind;
        json_t *(*check)(const struct node_write *w);
    } table[] = {
        {"", "Pod", check_pod},
        {"", "Node", check_node},
        {"coordination.k8s.io", "Lease", check_lease},
    };
    const struct schema_resource *res = a->route->res;
    const char *node = a->user ? node_of_user(a->user) : NULL;
    if (!node || !authz_nodes(a->srv->authz))
        return VERDICT_WRITE;
    const struct node_write w = {
        .a = a, .node = node, .subresource = subresource, .obj = obj, .old = old};
    if (!*node)
        *status = refuse(&w, "could not determine node from user \"%s\"", a->user->name);
    for (size_t i = 0; !*status && i < ARRAY_SIZE(table); i++)
        if (str_eq(table[i].kind, res->kind) && str_eq(table[i].group, res->group))
            *status = table[i].check(&w);
    return *status ? VERDICT_REFUSE : VERDICT_WRITE;
}

/* ---- tokens ---- */

/* Whether a projected volume of the pod asks for a token for @audience. */
static bool mounts_token_for(const json_t *pod, const char *audience, const json_t *own)
{
    size_t i, k, n;
    json_t *volume, *source, *one;
    json_array_foreach(json_path(pod, "spec.volumes"), i, volume) {
        json_array_foreach(json_path(volume, "projected.sources"), k, source) {
            const json_t *token = json_object_get(source, "serviceAccountToken");
            if (!token)
                continue;
            if (str_eq(text_at(token, "audience"), audience))
                return true;
            json_array_foreach(own, n, one) {
                if (!*text_at(token, "audience") && str_eq(json_string_value(one), audience))
                    return true;
            }
        }
    }
    return false;
}

json_t *admit_node_token(const struct admission *a, const json_t *request, const json_t *pod)
{
    const char *node = node_of_user(a->user);
    const struct node_write w = {.a = a, .node = node, .subresource = "token"};
    const json_t *own = accounts_audiences(a->srv->accounts);
    size_t i;
    json_t *audience;
    if (!node || !authz_nodes(a->srv->authz))
        return NULL;
    if (!pod || !str_eq(text_at(request, "spec.boundObjectRef.kind"), "Pod"))
        return refuse(&w, "node requested token not bound to a pod");
    if (!*text_at(request, "spec.boundObjectRef.uid"))
        return refuse(&w, "node requested token with a pod binding without a uid");
    if (!str_eq(text_at(pod, "spec.nodeName"), node))
        return refuse(&w, "node requested token bound to a pod scheduled on a different node");
    json_array_foreach(json_path(request, "spec.audiences"), i, audience) {
        if (!mounts_token_for(pod, json_string_value(audience), own))
            return refuse(&w, "audience \"%s\" not found in pod spec volume",
                          json_string_value(audience));
    }
    return NULL;
}
