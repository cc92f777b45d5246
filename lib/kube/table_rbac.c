/* Cells of bindings (rbac.authorization.k8s.io). */
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
