/* Cells of bindings (rbac.authorization.k8s.io) and certificate signing requests. */
#include "base/json.h"
#include "base/strbuf.h"
#include "kube/table_internal.h"

static json_t *subjects_cell(const json_t *binding, const char *kind)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    size_t i;
    json_t *subject;
    json_array_foreach(json_object_get(binding, "subjects"), i, subject) {
        const char *ns = json_path_string(subject, "namespace");
        const char *name = json_path_string(subject, "name");
        if (!str_eq(json_path_string(subject, "kind"), kind))
            continue;
        strbuf_adds(&text, text.len ? ", " : "");
        if (str_eq(kind, "ServiceAccount"))
            strbuf_addf(&text, "%s/", ns ? ns : "");
        strbuf_adds(&text, name ? name : "");
    }
    return json_text(strbuf_text(&text));
}

json_t *table_binding_cell(const char *column, const json_t *binding)
{
    if (str_eq(column, "Users"))
        return subjects_cell(binding, "User");
    if (str_eq(column, "Groups"))
        return subjects_cell(binding, "Group");
    if (str_eq(column, "ServiceAccounts"))
        return subjects_cell(binding, "ServiceAccount");
    if (!str_eq(column, "Role"))
        return NULL;
    const char *kind = json_path_string(binding, "roleRef.kind");
    const char *name = json_path_string(binding, "roleRef.name");
    _cleanup_free_ char *text = str_printf("%s/%s", kind ? kind : "", name ? name : "");
    return json_text(text);
}

static json_t *csr_condition(const json_t *csr)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    size_t i;
    json_t *c;
    static const char *const order[] = {"Approved", "Denied", "Failed"};
    for (size_t k = 0; k < ARRAY_SIZE(order); k++) {
        json_array_foreach(json_path(csr, "status.conditions"), i, c) {
            if (str_eq(json_path_string(c, "type"), order[k]))
                strbuf_addf(&text, "%s%s", text.len ? "," : "", order[k]);
        }
    }
    if (!text.len)
        strbuf_adds(&text, "Pending");
    if (json_string_length(json_path(csr, "status.certificate")))
        strbuf_adds(&text, ",Issued");
    return json_text(strbuf_text(&text));
}

json_t *table_csr_cell(const char *column, const json_t *csr)
{
    char age[TABLE_AGE_MAX];
    int64_t seconds = json_path_int(csr, "spec.expirationSeconds", 0);
    if (str_eq(column, "Condition"))
        return csr_condition(csr);
    if (!str_eq(column, "RequestedDuration"))
        return NULL;
    return json_text(seconds ? table_age(seconds, age) : "<none>");
}
