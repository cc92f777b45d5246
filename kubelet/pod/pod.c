/* Pods: decoding, lifetime, lookups. */
#include "kubelet/pod/pod.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kube/quantity.h"

static const struct decode_field condition_fields[] = {
    DECODE_FIELD(struct pod_condition, type, "type", DECODE_STRING),
    DECODE_FIELD(struct pod_condition, status, "status", DECODE_STRING),
    DECODE_FIELD(struct pod_condition, reason, "reason", DECODE_STRING),
    DECODE_FIELD(struct pod_condition, message, "message", DECODE_STRING),
    DECODE_FIELD(struct pod_condition, transition, "lastTransitionTime", DECODE_STRING),
    DECODE_END};
static const struct decode_type condition_type = {"PodCondition", sizeof(struct pod_condition),
                                                  condition_fields};
static const struct decode_field state_fields[] = {
    DECODE_FIELD(struct api_container_state, name, "name", DECODE_STRING),
    DECODE_FIELD(struct api_container_state, restart_count, "restartCount", DECODE_INT),
    DECODE_FIELD(struct api_container_state, container_id, "containerID", DECODE_STRING),
    DECODE_FIELD(struct api_container_state, ready, "ready", DECODE_BOOL),
    DECODE_FIELD(struct api_container_state, started, "started", DECODE_BOOL),
    DECODE_END};
static const struct decode_type state_type = {"ContainerStatus", sizeof(struct api_container_state),
                                              state_fields};
static const struct decode_field status_fields[] = {
    DECODE_FIELD(struct api_status, phase, "phase", DECODE_STRING),
    DECODE_FIELD(struct api_status, reason, "reason", DECODE_STRING),
    DECODE_FIELD(struct api_status, message, "message", DECODE_STRING),
    DECODE_FIELD(struct api_status, start_time, "startTime", DECODE_STRING),
    DECODE_FIELD(struct api_status, pod_ip, "podIP", DECODE_STRING),
    DECODE_SUB(struct api_status, conditions, "conditions", DECODE_ARRAY, &condition_type),
    DECODE_SUB(struct api_status, containers, "containerStatuses", DECODE_ARRAY, &state_type),
    DECODE_SUB(struct api_status, init_containers, "initContainerStatuses", DECODE_ARRAY,
               &state_type),
    DECODE_SUB(struct api_status, ephemeral, "ephemeralContainerStatuses", DECODE_ARRAY,
               &state_type),
    DECODE_END};
static const struct decode_type status_type = {"PodStatus", sizeof(struct api_status),
                                               status_fields};

/* The encoded object without managedFields. */
static void keep_json(struct pod *pod, const json_t *object)
{
    _cleanup_json_ json_t *copy = json_copy((json_t *)(uintptr_t)object);
    const json_t *meta = json_object_get(object, "metadata");
    if (json_object_get(meta, "managedFields")) {
        json_t *m = json_copy((json_t *)(uintptr_t)meta);
        json_object_del(m, "managedFields");
        json_object_set_new(copy, "metadata", m);
    }
    struct strbuf out = STRBUF_INIT;
    json_encode(copy, &out);
    pod->json_len = out.len;
    char *text = strbuf_take(&out);
    pod->json = mem_grow(text, pod->json_len + 1, 1);
}

/* A volume's source is the one key beside "name". */
static void find_unsupported(struct pod *pod, const json_t *spec)
{
    static const char *const known[] = {"name",
                                        "hostPath",
                                        "emptyDir",
                                        "configMap",
                                        "secret",
                                        "downwardAPI",
                                        "projected",
                                        "nfs",
                                        "image",
                                        "ephemeral",
                                        "persistentVolumeClaim"};
    const json_t *volumes = json_object_get(spec, "volumes");
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        struct volume_spec *v = &pod->spec.volumes.items[i];
        const char *key;
        json_t *value;
        freep(&v->unsupported);
        v->unsupported = NULL;
        json_object_foreach(json_array_get(volumes, i), key, value) {
            bool is_known = json_is_null(value);
            for (size_t k = 0; k < ARRAY_SIZE(known); k++)
                is_known |= str_eq(key, known[k]);
            if (!is_known && !v->unsupported)
                v->unsupported = str_ndup(key, 64);
        }
    }
}

static int decode_spec(struct pod *pod, const json_t *object, struct error *err)
{
    const json_t *spec = json_object_get(object, "spec");
    struct error why = ERROR_INIT;
    int code = decode(&pod_spec_type, spec, &pod->spec, &why);
    if (code < 0)
        return error_set(err, code, "spec.%s", error_text(&why));
    find_unsupported(pod, spec);
    pod_default(pod);
    return pod_validate(pod, err);
}

int pod_decode(const json_t *object, enum pod_source source, struct pod **ret, struct error *err)
{
    _cleanup_(pod_unrefp) struct pod *pod = mem_zalloc(sizeof(*pod));
    pod->refs = 1;
    pod->source = source;
    int code = decode(&pod_meta_type, json_object_get(object, "metadata"), &pod->meta, err);
    if (code < 0)
        return error_prefix(err, code, "metadata");
    if (!pod->meta.ns)
        pod->meta.ns = str_dup("default");
    if (!name_is_dns(pod->meta.name, 253, true))
        return error_set_field(err, -EINVAL, "metadata.name", "metadata.name: not a DNS subdomain");
    if (!name_is_dns(pod->meta.ns, 63, false))
        return error_set_field(err, -EINVAL, "metadata.namespace",
                               "metadata.namespace: not a DNS label");
    if (!name_is_dns(pod->meta.uid, 128, false))
        return error_set_field(err, -EINVAL, "metadata.uid", "metadata.uid: not a safe identifier");
    const json_t *status = json_object_get(object, "status");
    if (json_is_object(status) && decode(&status_type, status, &pod->status, NULL) < 0)
        memset(&pod->status, 0, sizeof(pod->status));
    struct error why = ERROR_INIT;
    if (decode_spec(pod, object, &why) < 0)
        pod->invalid = str_dup(error_text(&why));
    keep_json(pod, object);
    *ret = TAKE_PTR(pod);
    return 0;
}

struct pod *pod_ref(struct pod *pod)
{
    pod->refs++;
    return pod;
}

struct pod *pod_unref(struct pod *pod)
{
    if (!pod || --pod->refs)
        return NULL;
    decode_done(&pod_meta_type, &pod->meta);
    free(pod->spec.security.supplemental_groups);
    decode_done(&pod_spec_type, &pod->spec);
    decode_done(&status_type, &pod->status);
    free(pod->invalid);
    free(pod->json);
    free(pod);
    return NULL;
}

size_t pod_fixed_count(const struct pod *pod)
{
    return pod->spec.init_containers.count + pod->spec.containers.count;
}

size_t pod_container_count(const struct pod *pod)
{
    return pod_fixed_count(pod) + pod->spec.ephemeral.count;
}

const struct container_spec *pod_container_at(const struct pod *pod, size_t i)
{
    size_t init = pod->spec.init_containers.count, fixed = pod_fixed_count(pod);
    return i < init    ? &pod->spec.init_containers.items[i]
           : i < fixed ? &pod->spec.containers.items[i - init]
                       : &pod->spec.ephemeral.items[i - fixed];
}

const char *pod_container_field(const struct pod *pod, size_t i)
{
    return pod_container_is_init(pod, i) ? "initContainers"
           : i < pod_fixed_count(pod)    ? "containers"
                                         : "ephemeralContainers";
}

const struct container_spec *pod_container(const struct pod *pod, const char *name)
{
    for (size_t i = 0; i < pod_container_count(pod); i++)
        if (str_eq(pod_container_at(pod, i)->name, name))
            return pod_container_at(pod, i);
    return NULL;
}

const struct volume_spec *pod_volume(const struct pod *pod, const char *name)
{
    for (size_t i = 0; i < pod->spec.volumes.count; i++)
        if (str_eq(pod->spec.volumes.items[i].name, name))
            return &pod->spec.volumes.items[i];
    return NULL;
}

const char *pod_label(const struct pod *pod, char *buf)
{
    (void)snprintf(buf, POD_LABEL_MAX, "%s/%s", pod->meta.ns, pod->meta.name);
    return buf;
}

int64_t pod_grace(const struct pod *pod)
{
    if (pod->meta.deletion_grace.set)
        return pod->meta.deletion_grace.value;
    return pod->spec.grace.set ? pod->spec.grace.value : 30;
}

bool pod_is_mirror(const struct pod *pod)
{
    return string_map_get(&pod->meta.annotations, POD_ANNOTATION_MIRROR) != NULL;
}

bool pod_is_over(const struct pod *pod)
{
    const char *phase = pod->source == POD_FROM_API ? pod->status.phase : NULL;
    return str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
}

const struct pod_condition *pod_condition_of(const struct pod *pod, const char *type)
{
    for (size_t i = 0; i < pod->status.conditions.count; i++)
        if (str_eq(pod->status.conditions.items[i].type, type))
            return &pod->status.conditions.items[i];
    return NULL;
}

/* What priority classes of the system begin at. */
#define SYSTEM_PRIORITY 2000000000

bool pod_is_critical(const struct pod *pod)
{
    const struct opt_int *p = &pod->spec.priority;
    return pod->source == POD_FROM_FILE || (p->set && p->value >= SYSTEM_PRIORITY);
}

const char *qos_name(enum qos_class qos)
{
    static const char *const names[] = {"Guaranteed", "Burstable", "BestEffort"};
    return names[qos];
}

void container_hash(const struct container_spec *c, char out[9])
{
    /* FNV-1a; only compared with what this function wrote. */
    uint32_t h = 2166136261U;
    const char *const parts[] = {c->name, c->image};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        for (const char *p = parts[i] ? parts[i] : "";; p++) {
            h = (h ^ (unsigned char)*p) * 16777619U;
            if (!*p)
                break;
        }
    (void)snprintf(out, 9, "%08x", h);
}

int64_t resource_milli(const struct string_map *m, const char *name, int64_t fallback)
{
    return quantity_text_milli(string_map_get(m, name), fallback);
}

int64_t resource_value(const struct string_map *m, const char *name, int64_t fallback)
{
    return quantity_text_value(string_map_get(m, name), fallback);
}
