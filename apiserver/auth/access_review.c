/* What somebody may do, for those who ask: the kinds of authorization.k8s.io. */
#include <string.h>

#include "apiserver/auth/access.h"
#include "apiserver/auth/authz.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/auth/reviews.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/selector.h"
#include "kube/status.h"

static const char *text_at(const json_t *obj, const char *path)
{
    const char *text = json_path_string(obj, path);
    return text ? text : "";
}

/* ---- the question ---- */

static json_t *validate(const struct review *review, bool names_user)
{
    const struct route *route = review->r->route;
    const json_t *spec = json_object_get(review->body, "spec");
    const json_t *resource = json_object_get(spec, "resourceAttributes");
    const json_t *other = json_object_get(spec, "nonResourceAttributes");
    const struct field_path *path = FIELD(NULL, "spec");
    struct field_errors errs = FIELD_ERRORS_INIT;
    if (resource && other)
        field_invalid(&errs, FIELD(path, "nonResourceAttributes"), other,
                      "cannot be specified in combination with resourceAttributes");
    if (!resource && !other)
        field_invalid(&errs, FIELD(path, "resourceAttributes"), NULL,
                      "exactly one of nonResourceAttributes or resourceAttributes must be "
                      "specified");
    if (names_user && !*text_at(spec, "user") && !json_array_size(json_object_get(spec, "groups")))
        field_invalid_text(&errs, FIELD(path, "user"), "",
                           "at least one of user or group must be specified");
    json_t *status = errs.count ? status_invalid(&route->about, "", &errs) : NULL;
    field_errors_done(&errs);
    return status;
}

/* The user that a question names. */
static void read_user(const json_t *spec, struct user *ret)
{
    size_t i;
    json_t *group, *values, *value;
    const char *key;
    *ret = (struct user){.name = str_dup(text_at(spec, "user"))};
    if (*text_at(spec, "uid"))
        ret->uid = str_dup(text_at(spec, "uid"));
    json_array_foreach(json_object_get(spec, "groups"), i, group) {
        user_add_group(ret, json_string_value(group), json_string_length(group));
    }
    json_object_foreach(json_object_get(spec, "extra"), key, values) {
        json_array_foreach(values, i, value) {
            user_add_extra(ret, key, json_string_value(value));
        }
    }
}

/* The node that a field selector of the question asks for; the caller frees. */
static char *read_node(const json_t *attributes)
{
    static const char *const known[] = {"spec.nodeName", NULL};
    struct field_selector *fields = NULL;
    const char *raw = json_path_string(attributes, "fieldSelector.rawSelector");
    size_t i;
    json_t *term;
    if (raw && field_selector_parse(raw, known, &fields, NULL) == 0) {
        char *node = str_dup(field_selector_exact(fields, known[0]));
        field_selector_free(fields);
        return node;
    }
    json_array_foreach(json_path(attributes, "fieldSelector.requirements"), i, term) {
        const json_t *values = json_object_get(term, "values");
        if (str_eq(text_at(term, "key"), known[0]) && str_eq(text_at(term, "operator"), "In") &&
            json_array_size(values) == 1)
            return str_dup(json_string_value(json_array_get(values, 0)));
    }
    return NULL;
}

/* ---- the answer ---- */

static void answer(struct review *review, const struct user *user)
{
    const json_t *spec = json_object_get(review->body, "spec");
    const json_t *resource = json_object_get(spec, "resourceAttributes");
    const json_t *other = json_object_get(spec, "nonResourceAttributes");
    struct access a = ACCESS_INIT;
    _cleanup_free_ char *node = read_node(resource);
    _cleanup_strbuf_ struct strbuf reason = STRBUF_INIT;
    a.user = user;
    a.is_resource = resource != NULL;
    a.verb = text_at(resource ? resource : other, "verb");
    a.group = text_at(resource, "group");
    a.resource = text_at(resource, "resource");
    a.subresource = text_at(resource, "subresource");
    a.ns = text_at(resource, "namespace");
    a.name = text_at(resource, "name");
    a.path = text_at(other, "path");
    a.node = node ? node : "";
    bool allowed = authz_allows(review->r->srv->authz, &a, &reason);
    json_t *status = json_pack("{s:b}", "allowed", (int)allowed);
    if (reason.len)
        (void)json_object_set_new(status, "reason", json_text(strbuf_text(&reason)));
    review_answer(review, status);
}

static json_t *review_named(struct review *review)
{
    json_t *status = validate(review, true);
    if (status)
        return status;
    struct user user;
    read_user(json_object_get(review->body, "spec"), &user);
    answer(review, &user);
    user_done(&user);
    return NULL;
}

json_t *review_access(struct review *review)
{
    return review_named(review);
}

json_t *review_local_access(struct review *review)
{
    const char *ns = review->r->info.namespace_;
    json_t *resource = json_object_get(json_object_get(review->body, "spec"), "resourceAttributes");
    if (json_path(review->body, "spec.nonResourceAttributes"))
        return status_bad_request(
            "spec.nonResourceAttributes: a namespace has no paths of its own");
    if (resource && !*text_at(resource, "namespace"))
        (void)json_object_set_new(resource, "namespace", json_text(ns));
    if (!str_eq(text_at(resource, "namespace"), ns))
        return status_bad_request("spec.resourceAttributes.namespace must match namespace: %s", ns);
    return review_named(review);
}

json_t *review_self_access(struct review *review)
{
    json_t *status = validate(review, false);
    if (!status)
        answer(review, &review->r->user);
    return status;
}

/* ---- all that the asker may do ---- */

json_t *review_self_rules(struct review *review)
{
    static const char everything[] =
        "{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}";
    static const char all_paths[] = "{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}";
    struct request *r = review->r;
    const struct authz *authz = r->srv->authz;
    const char *ns = text_at(review->body, "spec.namespace");
    if (!*ns)
        return status_bad_request("no namespace on request");
    json_t *resources = json_array(), *paths = json_array();
    if (authz_allows_all(authz) || user_in_group(&r->user, GROUP_MASTERS)) {
        (void)json_array_append_new(resources, json_parse(everything, strlen(everything), NULL));
        (void)json_array_append_new(paths, json_parse(all_paths, strlen(all_paths), NULL));
    }
    const struct rule **rules = NULL;
    size_t n = authz_uses_rbac(authz) ? rbac_rules_of(authz_rbac(authz), &r->user, ns, &rules) : 0;
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(rules[i]->urls ? paths : resources, rule_json(rules[i]));
    free(rules);
    /* What a kubelet may do is a matter of single objects. */
    json_t *status = json_pack("{s:o,s:o,s:b}", "resourceRules", resources, "nonResourceRules",
                               paths, "incomplete", (int)(authz_nodes(authz) != NULL));
    if (authz_nodes(authz))
        (void)json_object_set_new(status, "evaluationError",
                                  json_string("node authorizer does not support user rule "
                                              "resolution"));
    review_answer(review, status);
    return NULL;
}
