/* Which kinds are admitted how; see admission.h. */
#include "apiserver/admission.h"

#include "base/strbuf.h"

enum verdict admit_create(const struct admission *a, json_t *obj, json_t **status)
{
    static const struct {
        const char *group, *kind;
        enum verdict (*admit)(const struct admission *a, json_t *obj, json_t **status);
    } table[] = {
        {"", "Pod", admit_pod_account},
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
