/*
 * What happens to an object between decoding and validation: fields a client may not set are
 * cleared or carried over from what is stored, generations are counted, values derived from others
 * are filled in.
 */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/times.h"
#include "kube/decode.h"
#include "kube/format.h"
#include "kube/meta.h"
#include "kube/object_internal.h"
#include "kube/quantity.h"
#include "kube/selector.h"

static const char *text_of(const json_t *obj, const char *key)
{
    const char *s = json_string_value(json_object_get(obj, key));
    return s ? s : "";
}

/* obj[key] = old[key], or nothing. */
static void keep(json_t *obj, const json_t *old, const char *key)
{
    json_t *value = json_object_get(old, key);
    if (value)
        (void)json_object_set_new(obj, key, json_deep_copy(value));
    else
        (void)json_object_del(obj, key);
}

static void set_missing(json_t *obj, const char *key, json_t *value)
{
    if (json_object_get(obj, key))
        json_decref(value);
    else
        (void)json_object_set_new(obj, key, value);
}

static json_t *child(json_t *obj, const char *key)
{
    json_t *c = json_object_get(obj, key);
    if (!json_is_object(c)) {
        c = json_object();
        (void)json_object_set_new(obj, key, c);
    }
    return c;
}

/* ---- pods ---- */

static bool counts_for_qos(const char *resource)
{
    return str_eq(resource, "cpu") || str_eq(resource, "memory");
}

static bool is_positive(const json_t *list, const char *name)
{
    struct quantity q;
    const char *text = json_string_value(json_object_get(list, name));
    return text && quantity_parse(text, &q, NULL) == 0 && quantity_sign(&q) > 0;
}

static bool same_quantity(const json_t *a, const json_t *b)
{
    struct quantity x, y;
    return quantity_parse(json_string_value(a), &x, NULL) == 0 &&
           quantity_parse(json_string_value(b), &y, NULL) == 0 && quantity_compare(&x, &y) == 0;
}

/* Whether anything is asked for, and whether cpu and memory are limited to just what is asked. */
static void qos_of(const json_t *containers, bool *any, bool *guaranteed)
{
    for (size_t i = 0; i < json_array_size(containers); i++) {
        const json_t *resources = json_object_get(json_array_get(containers, i), "resources");
        const json_t *limits = json_object_get(resources, "limits");
        const json_t *requests = json_object_get(resources, "requests");
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)requests, key, value) {
            if (counts_for_qos(key) && is_positive(requests, key)) {
                *any = true;
                *guaranteed = *guaranteed && is_positive(limits, key) &&
                              same_quantity(value, json_object_get(limits, key));
            }
        }
        json_object_foreach((json_t *)(uintptr_t)limits, key, value) {
            *any |= counts_for_qos(key) && is_positive(limits, key);
        }
        *guaranteed = *guaranteed && is_positive(limits, "cpu") && is_positive(limits, "memory");
    }
}

const char *object_pod_qos(const json_t *pod_spec)
{
    bool any = false, guaranteed = true;
    qos_of(json_object_get(pod_spec, "containers"), &any, &guaranteed);
    qos_of(json_object_get(pod_spec, "initContainers"), &any, &guaranteed);
    if (!any)
        return "BestEffort";
    return guaranteed ? "Guaranteed" : "Burstable";
}

static bool tolerates(const json_t *tolerations, const char *key)
{
    for (size_t i = 0; i < json_array_size(tolerations); i++) {
        const json_t *t = json_array_get(tolerations, i);
        bool this_key = str_eq(text_of(t, "key"), key) || !*text_of(t, "key");
        bool effect = str_eq(text_of(t, "effect"), "NoExecute") || !*text_of(t, "effect");
        if (this_key && effect)
            return true;
    }
    return false;
}

/* Pods stay five minutes on a node that is lost, unless they say otherwise. */
static void add_toleration(json_t *spec, const char *key)
{
    if (tolerates(json_object_get(spec, "tolerations"), key))
        return;
    set_missing(spec, "tolerations", json_array());
    json_t *t = json_object();
    (void)json_object_set_new(t, "key", json_string(key));
    (void)json_object_set_new(t, "operator", json_string("Exists"));
    (void)json_object_set_new(t, "effect", json_string("NoExecute"));
    (void)json_object_set_new(t, "tolerationSeconds", json_integer(300));
    (void)json_array_append_new(json_object_get(spec, "tolerations"), t);
}

static int64_t priority_of(const char *class_name)
{
    if (str_eq(class_name, "system-node-critical"))
        return 2000001000;
    return str_eq(class_name, "system-cluster-critical") ? 2000000000 : 0;
}

/* What a pod has that its manifest need not say: priority and patience with lost nodes. */
static void complete_pod_spec(json_t *spec, int64_t priority)
{
    set_missing(spec, "priority", json_integer(priority));
    set_missing(spec, "preemptionPolicy", json_string("PreemptLowerPriority"));
    add_toleration(spec, "node.kubernetes.io/not-ready");
    add_toleration(spec, "node.kubernetes.io/unreachable");
}

static void prepare_pod(json_t *obj)
{
    json_t *spec = child(obj, "spec");
    json_t *status = json_object();
    (void)json_object_set_new(status, "phase", json_string("Pending"));
    (void)json_object_set_new(status, "qosClass", json_string(object_pod_qos(spec)));
    (void)json_object_set_new(obj, "status", status);
    complete_pod_spec(spec, priority_of(text_of(spec, "priorityClassName")));
}

/* An update by a manifest that says no more than at creation is no change. */
static void update_pod(json_t *obj, const json_t *old)
{
    json_t *spec = child(obj, "spec");
    const json_t *was = json_object_get(old, "spec");
    if (!json_object_get(spec, "preemptionPolicy"))
        keep(spec, was, "preemptionPolicy");
    complete_pod_spec(spec, json_integer_value(json_object_get(was, "priority")));
}

/* ---- services ---- */

static bool has_cluster_ip(const json_t *spec)
{
    return !str_eq(text_of(spec, "type"), "ExternalName");
}

/* clusterIP and the first of clusterIPs are one value in two places. */
static void sync_cluster_ips(json_t *spec)
{
    const char *ip = text_of(spec, "clusterIP");
    json_t *ips = json_object_get(spec, "clusterIPs");
    if (*ip && !ips) {
        ips = json_array();
        (void)json_array_append_new(ips, json_string(ip));
        (void)json_object_set_new(spec, "clusterIPs", ips);
    } else if (!*ip && json_array_size(ips)) {
        (void)json_object_set(spec, "clusterIP", json_array_get(ips, 0));
    }
}

static void prepare_service(json_t *obj)
{
    json_t *spec = child(obj, "spec");
    json_t *status = json_object();
    (void)json_object_set_new(status, "loadBalancer", json_object());
    (void)json_object_set_new(obj, "status", status);
    if (!has_cluster_ip(spec))
        return;
    sync_cluster_ips(spec);
    bool ipv6 = strchr(text_of(spec, "clusterIP"), ':') != NULL;
    if (!json_object_get(spec, "ipFamilies")) {
        json_t *families = json_array();
        (void)json_array_append_new(families, json_string(ipv6 ? "IPv6" : "IPv4"));
        (void)json_object_set_new(spec, "ipFamilies", families);
    }
    set_missing(spec, "ipFamilyPolicy", json_string("SingleStack"));
}

static bool needs_node_port(const json_t *spec)
{
    const char *type = text_of(spec, "type");
    return str_eq(type, "NodePort") || str_eq(type, "LoadBalancer");
}

/* Node ports that the new object does not name stay what they were, port by port. */
static void keep_node_ports(json_t *spec, const json_t *old)
{
    json_t *ports = json_object_get(spec, "ports");
    const json_t *before = json_object_get(old, "ports");
    for (size_t i = 0; i < json_array_size(ports); i++) {
        json_t *port = json_array_get(ports, i);
        if (json_integer_value(json_object_get(port, "nodePort")))
            continue;
        for (size_t o = 0; o < json_array_size(before); o++) {
            const json_t *was = json_array_get(before, o);
            if (json_equal(json_object_get(port, "port"), json_object_get(was, "port")) &&
                json_equal(json_object_get(port, "protocol"), json_object_get(was, "protocol")) &&
                json_object_get(was, "nodePort"))
                (void)json_object_set(port, "nodePort", json_object_get(was, "nodePort"));
        }
    }
}

static void update_service(json_t *obj, const json_t *old)
{
    json_t *spec = child(obj, "spec");
    const json_t *was = json_object_get(old, "spec");
    if (has_cluster_ip(spec) && has_cluster_ip(was)) {
        if (!*text_of(spec, "clusterIP") && !json_array_size(json_object_get(spec, "clusterIPs"))) {
            keep(spec, was, "clusterIP");
            keep(spec, was, "clusterIPs");
        }
        sync_cluster_ips(spec);
        static const char *const families[] = {"ipFamilies", "ipFamilyPolicy"};
        for (size_t i = 0; i < ARRAY_SIZE(families); i++)
            if (!json_object_get(spec, families[i]))
                keep(spec, was, families[i]);
    }
    if (needs_node_port(spec) && needs_node_port(was))
        keep_node_ports(spec, was);
    if (!needs_node_port(spec) && needs_node_port(was)) {
        /* Leaving NodePort: ports given before are given back unless named differently. */
        json_t *ports = json_object_get(spec, "ports");
        const json_t *before = json_object_get(was, "ports");
        for (size_t i = 0; i < json_array_size(ports); i++) {
            json_t *port = json_array_get(ports, i);
            const json_t *o = json_array_get(before, i);
            if (json_equal(json_object_get(port, "nodePort"), json_object_get(o, "nodePort")))
                (void)json_object_del(port, "nodePort");
        }
        if (json_equal(json_object_get(spec, "externalTrafficPolicy"),
                       json_object_get(was, "externalTrafficPolicy")) &&
            !json_array_size(json_object_get(spec, "externalIPs")))
            (void)json_object_del(spec, "externalTrafficPolicy");
    }
}

/* ---- secrets ---- */

/* stringData goes into data and is never stored. */
static void fold_string_data(json_t *obj)
{
    const char *key;
    json_t *value, *text = json_object_get(obj, "stringData");
    if (!text)
        return;
    json_t *data = child(obj, "data");
    json_object_foreach(text, key, value) {
        _cleanup_free_ char *encoded =
            base64_encode(json_string_value(value), json_string_length(value));
        (void)json_object_set_new(data, key, json_string(encoded));
    }
    (void)json_object_del(obj, "stringData");
}

/* ---- all kinds ---- */

static bool has_generation(const struct schema_resource *res)
{
    return object_is(res, "", "Pod") || object_is(res, "apps", "Deployment") ||
           object_is(res, "apps", "ReplicaSet") ||
           object_is(res, "discovery.k8s.io", "EndpointSlice");
}

/* Whose status a client may write when it creates the object: the kubelet does for its node. */
static bool keeps_status_on_create(const struct schema_resource *res)
{
    return object_is(res, "", "Node");
}

static void prepare_namespace(json_t *obj)
{
    json_t *spec = child(obj, "spec");
    json_t *finalizers = json_object_get(spec, "finalizers");
    bool present = false;
    for (size_t i = 0; i < json_array_size(finalizers); i++)
        present |= str_eq(json_string_value(json_array_get(finalizers, i)), "kubernetes");
    if (!present) {
        set_missing(spec, "finalizers", json_array());
        (void)json_array_append_new(json_object_get(spec, "finalizers"), json_string("kubernetes"));
    }
    json_t *status = json_object();
    (void)json_object_set_new(status, "phase", json_string("Active"));
    (void)json_object_set_new(obj, "status", status);
}

void object_prepare_create(const struct schema_resource *res, json_t *obj)
{
    json_t *meta = meta_of(obj);
    (void)json_object_del(meta, "selfLink");
    (void)json_object_del(meta, "generation");
    (void)json_object_del(meta, "deletionTimestamp");
    (void)json_object_del(meta, "deletionGracePeriodSeconds");
    (void)json_object_del(meta, "managedFields");
    if (has_generation(res))
        meta_set_int(obj, "generation", 1);
    if (schema_field_get(res->type, "status") && !keeps_status_on_create(res))
        (void)json_object_set_new(obj, "status", json_object());
    if (object_is(res, "", "Pod"))
        prepare_pod(obj);
    else if (object_is(res, "", "Service"))
        prepare_service(obj);
    else if (object_is(res, "", "Namespace"))
        prepare_namespace(obj);
    else if (object_is(res, "", "Secret"))
        fold_string_data(obj);
    /* Once more: what was reset has defaults too. */
    object_default(res, obj);
}

/* Everything but metadata, kind, apiVersion and @part comes from what is stored. */
static void keep_all_but(const struct schema_resource *res, json_t *obj, const json_t *old,
                         const char *part)
{
    for (size_t i = 0; i < res->type->n_fields; i++) {
        const char *name = res->type->fields[i].name;
        if (!str_eq(name, part) && !str_eq(name, "metadata") && !str_eq(name, "kind") &&
            !str_eq(name, "apiVersion"))
            keep(obj, old, name);
    }
}

/* What the server writes into metadata stays; a generation only moves by raise_generation(). */
static void keep_metadata(json_t *obj, const json_t *old)
{
    static const char *const fields[] = {"creationTimestamp", "deletionTimestamp",
                                         "deletionGracePeriodSeconds", "generation"};
    json_t *meta = meta_of(obj);
    const json_t *was = json_object_get(old, "metadata");
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        keep(meta, was, fields[i]);
    if (!*meta_uid(obj))
        keep(meta, was, "uid");
    if (!*meta_name(obj))
        keep(meta, was, "name");
    if (!*meta_namespace(obj))
        keep(meta, was, "namespace");
    (void)json_object_del(meta, "selfLink");
    (void)json_object_del(meta, "managedFields");
}

static void raise_generation(const struct schema_resource *res, json_t *obj, const json_t *old)
{
    if (!has_generation(res))
        return;
    bool changed = false;
    for (size_t i = 0; i < res->type->n_fields; i++) {
        const char *name = res->type->fields[i].name;
        if (!str_eq(name, "status") && !str_eq(name, "metadata") && !str_eq(name, "kind") &&
            !str_eq(name, "apiVersion"))
            changed |= !json_equal(json_object_get(obj, name), json_object_get(old, name)) &&
                       (json_object_get(obj, name) || json_object_get(old, name));
    }
    meta_set_int(obj, "generation", meta_generation(old) + changed);
}

/* A volume's status says since when its phase holds. */
static void date_phase(json_t *obj, const json_t *old)
{
    char buf[TIME_TEXT_MAX];
    json_t *status = child(obj, "status");
    const json_t *was = json_object_get(old, "status");
    if (str_eq(text_of(status, "phase"), text_of(was, "phase")))
        keep(status, was, "lastPhaseTransitionTime");
    else
        (void)json_object_set_new(status, "lastPhaseTransitionTime",
                                  json_string(time_format(time_now(), buf)));
}

static void update_status(const struct schema_resource *res, json_t *obj, const json_t *old)
{
    keep_all_but(res, obj, old, "status");
    json_t *meta = meta_of(obj);
    keep(meta, json_object_get(old, "metadata"), "ownerReferences");
    if (str_eq(res->group, "apps"))
        keep(meta, json_object_get(old, "metadata"), "labels");
    json_t *status = child(obj, "status");
    if (object_is(res, "", "Pod") && !*text_of(status, "qosClass"))
        keep(status, json_object_get(old, "status"), "qosClass");
}

static void update_part_of_spec(const struct schema_resource *res, json_t *obj, const json_t *old,
                                const char *field)
{
    _cleanup_json_ json_t *value =
        json_incref(json_object_get(json_object_get(obj, "spec"), field));
    keep_all_but(res, obj, old, "");
    json_t *spec = child(obj, "spec");
    if (value)
        (void)json_object_set(spec, field, value);
    else
        (void)json_object_del(spec, field);
}

/* The resize subresource: resources and resize policies of containers, matched by name. */
static void update_resources(const struct schema_resource *res, json_t *obj, const json_t *old)
{
    _cleanup_json_ json_t *wanted = json_incref(json_object_get(obj, "spec"));
    static const char *const lists[] = {"containers", "initContainers"};
    keep_all_but(res, obj, old, "");
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        json_t *to = json_object_get(json_object_get(obj, "spec"), lists[l]);
        const json_t *from = json_object_get(wanted, lists[l]);
        for (size_t i = 0; i < json_array_size(to); i++)
            for (size_t k = 0; k < json_array_size(from); k++) {
                json_t *c = json_array_get(to, i);
                const json_t *w = json_array_get(from, k);
                if (str_eq(text_of(c, "name"), text_of(w, "name"))) {
                    keep(c, w, "resources");
                    keep(c, w, "resizePolicy");
                }
            }
    }
}

/* ---- certificate signing requests ---- */

static bool is_csr(const struct schema_resource *res)
{
    return object_is(res, "certificates.k8s.io", "CertificateSigningRequest");
}

static const json_t *condition_of(const json_t *status, const char *type)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(status, "conditions"), i, c) {
        if (str_eq(text_of(c, "type"), type))
            return c;
    }
    return NULL;
}

/* Clients need not say when. */
static void date_conditions(json_t *obj, const json_t *old)
{
    char buf[TIME_TEXT_MAX];
    const char *now = time_format(time_now(), buf);
    size_t i;
    json_t *c;
    json_array_foreach(json_path(obj, "status.conditions"), i, c) {
        const json_t *was = condition_of(json_object_get(old, "status"), text_of(c, "type"));
        const char *since = text_of(was, "lastTransitionTime");
        bool same = was && str_eq(text_of(was, "status"), text_of(c, "status"));
        set_missing(c, "lastUpdateTime", json_string(now));
        set_missing(c, "lastTransitionTime", json_string(same && *since ? since : now));
    }
}

/* Of the status, only the conditions. */
static void update_approval(const struct schema_resource *res, json_t *obj, const json_t *old)
{
    _cleanup_json_ json_t *conditions =
        json_incref(json_object_get(json_object_get(obj, "status"), "conditions"));
    keep_all_but(res, obj, old, "");
    json_t *status = child(obj, "status");
    if (conditions)
        (void)json_object_set(status, "conditions", conditions);
    else
        (void)json_object_del(status, "conditions");
    date_conditions(obj, old);
}

static void update_object(const struct schema_resource *res, json_t *obj, const json_t *old)
{
    if (schema_field_get(res->type, "status"))
        keep(obj, old, "status");
    if (is_csr(res))
        keep(obj, old, "spec");
    if (object_is(res, "", "Service"))
        update_service(obj, old);
    else if (object_is(res, "", "Secret"))
        fold_string_data(obj);
    else if (object_is(res, "", "Namespace"))
        keep(child(obj, "spec"), json_object_get(old, "spec"), "finalizers");
    else if (object_is(res, "", "Pod"))
        update_pod(obj, old);
    raise_generation(res, obj, old);
}

void object_prepare_update(const struct schema_resource *res, const char *subresource, json_t *obj,
                           const json_t *old)
{
    keep_metadata(obj, old);
    if (!subresource || !*subresource) {
        update_object(res, obj, old);
    } else if (str_eq(subresource, "ephemeralcontainers")) {
        update_part_of_spec(res, obj, old, "ephemeralContainers");
        raise_generation(res, obj, old);
    } else if (str_eq(subresource, "finalize")) {
        update_part_of_spec(res, obj, old, "finalizers");
    } else if (str_eq(subresource, "approval")) {
        update_approval(res, obj, old);
    } else if (str_eq(subresource, "resize")) {
        update_resources(res, obj, old);
        raise_generation(res, obj, old);
    } else if (str_eq(subresource, "status")) {
        update_status(res, obj, old);
        if (is_csr(res))
            date_conditions(obj, old);
        else if (object_is(res, "", "PersistentVolume"))
            date_phase(obj, old);
    }
    object_default(res, obj);
}

/* ---- scale ---- */

json_t *object_scale_get(const struct schema_resource *res, const json_t *obj)
{
    static const char *const copied[] = {"name", "namespace", "uid", "resourceVersion",
                                         "creationTimestamp"};
    (void)res;
    json_t *scale = json_object();
    (void)json_object_set_new(scale, "kind", json_string("Scale"));
    (void)json_object_set_new(scale, "apiVersion", json_string("autoscaling/v1"));
    json_t *meta = meta_of(scale);
    for (size_t i = 0; i < ARRAY_SIZE(copied); i++)
        keep(meta, json_object_get(obj, "metadata"), copied[i]);
    json_t *spec = child(scale, "spec");
    (void)json_object_set_new(spec, "replicas",
                              json_integer(json_path_int(obj, "spec.replicas", 0)));
    json_t *status = child(scale, "status");
    (void)json_object_set_new(status, "replicas",
                              json_integer(json_path_int(obj, "status.replicas", 0)));
    struct selector *selector = NULL;
    if (selector_from_object(json_path(obj, "spec.selector"), &selector, NULL) == 0) {
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        selector_write(selector, &text);
        (void)json_object_set_new(status, "selector", json_text(strbuf_text(&text)));
        selector_free(selector);
    }
    return scale;
}

int object_scale_set(json_t *obj, const json_t *scale, struct field_errors *errs)
{
    int64_t replicas = json_path_int(scale, "spec.replicas", 0);
    if (replicas < 0) {
        field_invalid_int(errs, FIELD(FIELD(NULL, "spec"), "replicas"), replicas,
                          "must be greater than or equal to 0");
        return -EINVAL;
    }
    json_t *spec = child(obj, "spec");
    if (json_path_int(obj, "spec.replicas", -1) != replicas)
        meta_set_int(obj, "generation", meta_generation(obj) + 1);
    (void)json_object_set_new(spec, "replicas", json_integer(replicas));
    return 0;
}
