/*
 * Nobody gives away what he does not have: who writes a role must hold its rules, or may "escalate"
 * it; who writes a binding must hold the rules of its role, or may "bind" it. As upstream.
 */
#include <errno.h>

#include "apiserver/admission/admission.h"
#include "apiserver/auth/authz.h"
#include "apiserver/auth/rbac.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"

#define GROUP "rbac.authorization.k8s.io"

static bool may(const struct admission *a, const char *verb, const char *resource, const char *name)
{
    struct access access = ACCESS_INIT;
    access.user = a->user;
    access.verb = verb;
    access.is_resource = true;
    access.group = GROUP;
    access.resource = resource;
    access.ns = a->ns;
    access.name = name;
    return authz_allows(a->srv->authz, &access, NULL);
}

static json_t *refuse(const struct admission *a, const char *missing)
{
    _cleanup_strbuf_ struct strbuf groups = STRBUF_INIT;
    for (size_t i = 0; i < a->user->n_groups; i++)
        strbuf_addf(&groups, "%s\"%s\"", i ? " " : "", a->user->groups[i]);
    return status_forbidden(&a->route->about, a->name,
                            "user \"%s\" (groups=[%s]) is attempting to grant RBAC permissions not "
                            "currently held:%s",
                            a->user->name, strbuf_text(&groups), missing);
}

static enum verdict check_rules(const struct admission *a, const struct rules *wanted,
                                json_t **status)
{
    _cleanup_strbuf_ struct strbuf missing = STRBUF_INIT;
    const struct rule **owned = NULL;
    size_t n = rbac_rules_of(authz_rbac(a->srv->authz), a->user, a->ns, &owned);
    int covered = role_rules_cover(owned, n, wanted, &missing);
    free(owned);
    if (covered == 1)
        return VERDICT_WRITE;
    if (covered == -E2BIG)
        strbuf_addf(&missing, " too many to be compared (at most %d combinations are)",
                    RULE_PARTS_MAX);
    *status = refuse(a, strbuf_text(&missing));
    return VERDICT_REFUSE;
}

/* Whether only what the garbage collector writes differs. */
static bool only_collected(const json_t *obj, const json_t *old)
{
    static const char *const fields[] = {"finalizers", "ownerReferences", "resourceVersion"};
    if (!old)
        return false;
    _cleanup_json_ json_t *a = json_deep_copy(obj), *b = json_deep_copy(old);
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        (void)json_object_del(meta_of(a), fields[i]);
        (void)json_object_del(meta_of(b), fields[i]);
    }
    return json_equal(a, b) != 0;
}

enum verdict admit_role(const struct admission *a, const json_t *obj, const json_t *old,
                        json_t **status)
{
    static const char everything[] =
        "[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]},"
        "{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]";
    if (only_collected(obj, old) || may(a, "escalate", a->route->res->plural, a->name))
        return VERDICT_WRITE;
    const json_t *aggregation = json_object_get(obj, "aggregationRule");
    struct rules rules;
    /* Whose rules are gathered by label may come to hold any. */
    if (aggregation && !json_equal(aggregation, json_object_get(old, "aggregationRule"))) {
        _cleanup_json_ json_t *all = json_parse(everything, sizeof(everything) - 1, NULL);
        role_rules_parse(all, &rules);
    } else {
        role_rules_parse(json_object_get(obj, "rules"), &rules);
    }
    enum verdict verdict = check_rules(a, &rules, status);
    role_rules_done(&rules);
    return verdict;
}

enum verdict admit_binding(const struct admission *a, const json_t *obj, const json_t *old,
                           json_t **status)
{
    const char *kind = json_path_string(obj, "roleRef.kind");
    const char *name = json_path_string(obj, "roleRef.name");
    const char *plural = str_eq(kind, "Role") ? "roles" : "clusterroles";
    if (only_collected(obj, old) || may(a, "bind", plural, name) ||
        may(a, "escalate", plural, name))
        return VERDICT_WRITE;
    _cleanup_free_ char *key = str_eq(kind, "Role")
                                   ? str_printf("/registry/roles/%s/%s", a->ns, name)
                                   : str_printf("/registry/clusterroles/%s", name);
    const struct rules *rules = rbac_rules_at(authz_rbac(a->srv->authz), key);
    if (rules)
        return check_rules(a, rules, status);
    const struct status_resource about = {.group = GROUP, .resource = plural, .kind = kind};
    *status = status_not_found(&about, name);
    return VERDICT_REFUSE;
}
