/*
 * The checkpoint file, in the form of upstream's kubelet: an entry for each container and resource,
 * its devices by NUMA node ("-1": none), the plugin's answer as base64. Upstream's Checksum is
 * taken over the memory of Go's structs and is neither written nor looked at: files are replaced as
 * a whole.
 */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kubelet/devices/devices.h"

static json_t *encode_entry(const struct allocation *a)
{
    json_t *ids = json_array();
    _cleanup_free_ char *answer = base64_encode(a->answer, a->answer_len);
    for (size_t i = 0; i < a->ids.count; i++)
        (void)json_array_append_new(ids, json_text(a->ids.items[i]));
    return json_pack("{s:s,s:s,s:s,s:{s:o},s:s}", "PodUID", a->pod_uid, "ContainerName",
                     a->container, "ResourceName", a->resource, "DeviceIDs", "-1", ids, "AllocResp",
                     answer ? answer : "");
}

char *checkpoint_encode(const struct allocation_list *l, const struct string_list *registered)
{
    struct strbuf out = STRBUF_INIT;
    json_t *entries = json_array(), *resources = json_object();
    for (size_t i = 0; i < l->count; i++)
        if (l->items[i].answer)
            (void)json_array_append_new(entries, encode_entry(&l->items[i]));
    for (size_t i = 0; i < registered->count; i++)
        (void)json_object_set_new(resources, registered->items[i], json_array());
    _cleanup_json_ json_t *all = json_pack("{s:{s:o,s:o}}", "Data", "PodDeviceEntries", entries,
                                           "RegisteredDevices", resources);
    json_encode(all, &out);
    return strbuf_take(&out);
}

static int bad(const char *field, struct error *err)
{
    return error_set(err, -EINVAL, "%s: is not what the kubelet writes", field);
}

static int read_ids(const json_t *nodes, struct string_list *ret, struct error *err)
{
    const char *node;
    json_t *ids;
    if (!json_is_object(nodes))
        return bad("DeviceIDs", err);
    json_object_foreach((json_t *)(uintptr_t)nodes, node, ids) {
        for (size_t i = 0; i < json_array_size(ids); i++) {
            const char *id = json_string_value(json_array_get(ids, i));
            if (!id || !*id || strlen(id) > DEVICE_ID_MAX || ret->count >= DEVICES_MAX)
                return bad("DeviceIDs", err);
            if (!string_list_has(ret, id))
                string_list_add(ret, id);
        }
    }
    return 0;
}

static int read_answer(const char *text, struct allocation *a, struct error *err)
{
    struct bytes bytes = {.data = NULL};
    if (!text || strlen(text) > 2 * DEVICE_ANSWER_MAX ||
        base64_decode(text, strlen(text), &bytes) < 0)
        return bad("AllocResp", err);
    ProtobufCMessage *m = protobuf_c_message_unpack(
        &v1beta1__container_allocate_response__descriptor, NULL, bytes.len, bytes.data);
    bool ok = m != NULL;
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
    a->answer = bytes.data ? bytes.data : mem_zalloc(1);
    a->answer_len = bytes.len;
    return ok ? 0 : bad("AllocResp", err);
}

static int read_entry(const json_t *j, struct allocation_list *l, struct error *err)
{
    const char *uid = json_path_string(j, "PodUID");
    const char *container = json_path_string(j, "ContainerName");
    const char *resource = json_path_string(j, "ResourceName");
    if (!uid || !*uid || !container || !resource || !resource_is_extended(resource) ||
        allocation_find(l, uid, container, resource))
        return bad("PodDeviceEntries", err);
    struct allocation *a = allocation_add(l, uid, container, resource);
    int r = read_ids(json_object_get(j, "DeviceIDs"), &a->ids, err);
    return r < 0 ? r : read_answer(json_path_string(j, "AllocResp"), a, err);
}

int checkpoint_decode(const char *text, size_t len, struct allocation_list *ret,
                      struct string_list *ret_registered, struct error *err)
{
    const char *name;
    json_t *value;
    *ret = (struct allocation_list){.items = NULL};
    *ret_registered = (struct string_list){.items = NULL};
    _cleanup_json_ json_t *j = json_parse(text, len, err);
    if (!j)
        return -EINVAL;
    const json_t *entries = json_path(j, "Data.PodDeviceEntries");
    const json_t *resources = json_path(j, "Data.RegisteredDevices");
    int r = 0;
    if ((entries && !json_is_array(entries) && !json_is_null(entries)) ||
        !json_is_object(json_path(j, "Data")) || json_object_size(resources) > DEVICE_RESOURCES_MAX)
        r = bad("Data", err);
    for (size_t i = 0; r == 0 && i < json_array_size(entries); i++)
        r = read_entry(json_array_get(entries, i), ret, err);
    if (r == 0) {
        json_object_foreach((json_t *)(uintptr_t)resources, name, value) {
            if (resource_is_extended(name))
                string_list_add(ret_registered, name);
        }
    } else {
        allocation_list_done(ret);
    }
    return r;
}
