/* Which kinds are admitted how; see admission.h. */
#include "apiserver/admission/admission.h"

#include "base/strbuf.h"

#define RBAC "rbac.authorization.k8s.io"

struct admission request_admission(const struct request *r, struct plan *plan)
{
    return (struct admission){.srv = r->srv,
                              .route = r->route,
                              .user = &r->user,
                              .ns = r->info.namespace_,
                              .name = r->info.name,
                              .plan = plan};
}

enum verdict admit_create(const struct admission *a, json_t *obj, json_t **status)
{
    static const struct {
        const char *group, *kind;
        enum verdict (*admit)(const struct admission *a, json_t *obj, json_t **status);
    } table[] = {
        {"", "Pod", admit_pod_account},
        {"", "Pod", admit_pod_priority},
        {"", "Pod", admit_pod_runtime},
        {"", "PersistentVolume", admit_volume},
        {"", "PersistentVolumeClaim", admit_claim},
        {"certificates.k8s.io", "CertificateSigningRequest", admit_csr},
    };
    const struct schema_resource *res = a->route->res;
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (!str_eq(table[i].kind, res->kind) || !str_eq(table[i].group, res->group))
            continue;
        enum verdict verdict = table[i].admit(a, obj, status);
        if (verdict != VERDICT_WRITE)
            return verdict;
    }
    return VERDICT_WRITE;
}

enum verdict admit_write(const struct admission *a, const char *subresource, const json_t *obj,
                         const json_t *old, json_t **status)
{
    static const struct {
        const char *group, *kind;
        enum verdict (*admit)(const struct admission *a, const json_t *obj, const json_t *old,
                              json_t **status);
    } table[] = {
        {RBAC, "Role", admit_role},
        {RBAC, "ClusterRole", admit_role},
        {RBAC, "RoleBinding", admit_binding},
        {RBAC, "ClusterRoleBinding", admit_binding},
        {"", "PersistentVolumeClaim", admit_claim_write},
    };
    const struct schema_resource *res = a->route->res;
    enum verdict verdict = admit_node_write(a, subresource, obj, old, status);
    if (verdict == VERDICT_WRITE && obj && old && str_eq(res->kind, "CertificateSigningRequest"))
        verdict = admit_csr_write(a, subresource, obj, old, status);
    for (size_t i = 0; verdict == VERDICT_WRITE && i < ARRAY_SIZE(table); i++)
        if (obj && a->user && str_eq(table[i].kind, res->kind) &&
            str_eq(table[i].group, res->group))
            verdict = table[i].admit(a, obj, old, status);
    return verdict;
}
