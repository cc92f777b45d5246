/* Cells of volumes, claims, and classes. */
#include "base/json.h"
#include "base/strbuf.h"
#include "kube/meta.h"
#include "kube/table_internal.h"

static json_t *modes_cell(const json_t *modes)
{
    static const char *const forms[][2] = {{"ReadWriteOnce", "RWO"},
                                           {"ReadOnlyMany", "ROX"},
                                           {"ReadWriteMany", "RWX"},
                                           {"ReadWriteOncePod", "RWOP"}};
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    size_t i;
    json_t *mode;
    for (size_t k = 0; k < ARRAY_SIZE(forms); k++) {
        json_array_foreach(modes, i, mode) {
            if (str_eq(json_string_value(mode), forms[k][0]))
                strbuf_addf(&text, "%s%s", text.len ? "," : "", forms[k][1]);
        }
    }
    return json_text(strbuf_text(&text));
}

static json_t *phase_cell(const json_t *obj)
{
    const char *phase = json_path_string(obj, "status.phase");
    return json_text(*meta_deletion_timestamp(obj) ? "Terminating" : phase ? phase : "");
}

json_t *table_volume_cell(const char *column, const json_t *pv)
{
    if (str_eq(column, "Access Modes"))
        return modes_cell(json_path(pv, "spec.accessModes"));
    if (str_eq(column, "Status"))
        return phase_cell(pv);
    if (str_eq(column, "VolumeAttributesClass"))
        return table_text(json_path_string(pv, "spec.volumeAttributesClassName"), "<unset>");
    const char *ns = json_path_string(pv, "spec.claimRef.namespace");
    const char *name = json_path_string(pv, "spec.claimRef.name");
    if (!str_eq(column, "Claim") || !name)
        return NULL;
    _cleanup_free_ char *text = str_printf("%s/%s", ns ? ns : "", name);
    return json_text(text);
}

json_t *table_claim_cell(const char *column, const json_t *pvc)
{
    const char *volume = json_path_string(pvc, "spec.volumeName");
    if (str_eq(column, "Status"))
        return phase_cell(pvc);
    if (str_eq(column, "VolumeAttributesClass"))
        return table_text(json_path_string(pvc, "spec.volumeAttributesClassName"), "<unset>");
    if (!volume || !*volume)
        return NULL;
    if (str_eq(column, "Capacity"))
        return json_text(json_path_string(pvc, "status.capacity.storage")
                             ? json_path_string(pvc, "status.capacity.storage")
                             : "");
    if (str_eq(column, "Access Modes"))
        return modes_cell(json_path(pvc, "status.accessModes"));
    return NULL;
}

json_t *table_class_cell(const char *column, const json_t *obj)
{
    if (str_eq(column, "Name")) {
        bool standard =
            str_eq(meta_annotation(obj, "storageclass.kubernetes.io/is-default-class"), "true");
        _cleanup_free_ char *text =
            str_printf("%s%s", meta_name(obj), standard ? " (default)" : "");
        return json_text(text);
    }
    if (str_eq(column, "AllowVolumeExpansion"))
        return json_boolean(json_path_bool(obj, "allowVolumeExpansion", false));
    if (str_eq(column, "Global-Default"))
        return json_boolean(json_path_bool(obj, "globalDefault", false));
    if (str_eq(column, "Drivers"))
        return json_integer((json_int_t)json_array_size(json_path(obj, "spec.drivers")));
    return NULL;
}
