/* Allocation of cluster IPs and node ports; see service.h. */
#include "apiserver/service.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "apiserver/service_internal.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/times.h"
#include "kube/decode.h"
#include "kube/meta.h"
#include "kube/status.h"

/* A Service's ports are bounded by the schema; this is what fits in one transaction. */
#define PORTS_MAX 1000

static const struct status_resource about_services = {
    .group = "", .resource = "services", .kind = "Service"};

int allocations_init(struct allocations *a, const char *ip_cidr, const char *port_range,
                     struct error *err)
{
    *a = (struct allocations){.ports_revision = 0};
    if (ip_range_parse(ip_cidr, &a->ips, err) < 0 ||
        port_range_parse(port_range, &a->ports, err) < 0)
        return -EINVAL;
    a->ip_cidr = str_dup(ip_cidr);
    return 0;
}

void allocations_done(struct allocations *a)
{
    number_range_done(&a->ips);
    number_range_done(&a->ports);
    free(a->ip_cidr);
    a->ip_cidr = NULL;
}

uint32_t allocations_first_ip(const struct allocations *a)
{
    return a->ips.base;
}

static json_t *refuse(const json_t *svc, struct field_errors *errs)
{
    json_t *status = status_invalid(&about_services, meta_name(svc), errs);
    field_errors_done(errs);
    return status;
}

/* ---- cluster IPs ---- */

bool service_cluster_ip(const json_t *svc, uint32_t *ret)
{
    const char *ip = json_path_string(svc, "spec.clusterIP");
    return ip && ip_parse(ip, ret) == 0;
}

static bool is_external_name(const json_t *svc)
{
    return str_eq(json_path_string(svc, "spec.type"), "ExternalName");
}

void service_plan_ip(struct plan *plan, const char *key, const json_t *svc)
{
    char uid[37], now[TIME_TEXT_MAX];
    random_uuid(uid);
    _cleanup_json_ json_t *object = json_pack(
        "{s:s,s:s,s:{s:s,s:s,s:s,s:{s:s,s:s}},s:{s:{s:s,s:s,s:s,s:s}}}", "kind", "IPAddress",
        "apiVersion", "networking.k8s.io/v1", "metadata", "name", key + strlen(SERVICE_IP_PREFIX),
        "uid", uid, "creationTimestamp", time_format(time_now(), now), "labels",
        "ipaddress.kubernetes.io/ip-family", "IPv4", "ipaddress.kubernetes.io/managed-by",
        "ipallocator.k8s.io", "spec", "parentRef", "group", "", "resource", "services", "namespace",
        meta_namespace(svc), "name", meta_name(svc));
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(object, &text);
    plan_guard(plan, key, STORE_ABSENT, 0);
    plan_put(plan, key, text.data, text.len, 0);
}

static void set_cluster_ip(json_t *svc, const char *ip)
{
    json_t *spec = json_object_get(svc, "spec");
    (void)json_object_set_new(spec, "clusterIP", json_string(ip));
    (void)json_object_set_new(spec, "clusterIPs", json_pack("[s]", ip));
}

static json_t *take_ip(struct allocations *a, json_t *svc, bool chosen, uint32_t ip,
                       struct plan *plan)
{
    struct field_errors errs = FIELD_ERRORS_INIT;
    const struct field_path *path = FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "clusterIPs"), 0);
    char text[IP_TEXT_MAX];
    if (chosen && !number_range_has(&a->ips, ip)) {
        field_invalid_text(&errs, path, ip_format(ip, text),
                           "failed to allocate IP %s: the provided IP is not in the valid range, "
                           "which is %s",
                           text, a->ip_cidr);
        return refuse(svc, &errs);
    }
    for (int tries = 0; tries < 2; tries++) {
        if (!chosen && number_range_pick(&a->ips, &ip) < 0)
            return status_internal_error("failed to allocate a cluster IP: the range %s is full",
                                         a->ip_cidr);
        _cleanup_free_ char *key = str_printf(SERVICE_IP_PREFIX "%s", ip_format(ip, text));
        const struct learned *there = plan_learned(plan, key);
        if (there && there->revision) {
            number_range_set(&a->ips, ip, true);
            if (!chosen)
                continue;
            field_invalid_text(&errs, path, text,
                               "failed to allocate IP %s: provided IP is already allocated", text);
            return refuse(svc, &errs);
        }
        service_plan_ip(plan, key, svc);
        set_cluster_ip(svc, text);
        return NULL;
    }
    return status_internal_error("failed to allocate a cluster IP: others were faster");
}

static void give_ip_back(uint32_t ip, struct plan *plan)
{
    char text[IP_TEXT_MAX];
    _cleanup_free_ char *key = str_printf(SERVICE_IP_PREFIX "%s", ip_format(ip, text));
    plan_delete(plan, key);
}

static void check_families(const json_t *svc, struct field_errors *errs)
{
    const struct field_path *spec = FIELD(NULL, "spec");
    const char *policy = json_path_string(svc, "spec.ipFamilyPolicy");
    if (str_eq(policy, "RequireDualStack"))
        field_invalid_text(errs, FIELD(spec, "ipFamilyPolicy"), policy,
                           "this cluster is not configured for dual-stack services");
    size_t i;
    json_t *family;
    json_array_foreach(json_path(svc, "spec.ipFamilies"), i, family) {
        if (!str_eq(json_string_value(family), "IPv4"))
            field_invalid(errs, FIELD_INDEX(FIELD(spec, "ipFamilies"), i), family,
                          "not configured on this cluster");
    }
    json_array_foreach(json_path(svc, "spec.clusterIPs"), i, family) {
        const char *ip = json_string_value(family);
        if (i > 0 || (ip && strchr(ip, ':')))
            field_invalid(errs, FIELD_INDEX(FIELD(spec, "clusterIPs"), i), family,
                          "this cluster has one IPv4 range for services");
    }
}

/* clusterIP and clusterIPs say the same; families are filled in. NULL or a Status. */
static json_t *settle_addresses(json_t *svc)
{
    struct field_errors errs = FIELD_ERRORS_INIT;
    json_t *spec = json_object_get(svc, "spec");
    if (is_external_name(svc)) {
        static const char *const fields[] = {"clusterIP", "clusterIPs", "ipFamilies",
                                             "ipFamilyPolicy", "internalTrafficPolicy"};
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
            (void)json_object_del(spec, fields[i]);
        return NULL;
    }
    check_families(svc, &errs);
    const char *ip = json_path_string(svc, "spec.clusterIP");
    const char *first = json_string_value(json_array_get(json_path(svc, "spec.clusterIPs"), 0));
    if (ip && *ip && first && *first && !str_eq(ip, first))
        field_invalid_text(&errs, FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "clusterIPs"), 0), first,
                           "first value must match `clusterIP`");
    if (errs.count)
        return refuse(svc, &errs);
    if (ip && *ip)
        (void)json_object_set_new(spec, "clusterIPs", json_pack("[s]", ip));
    else if (first && *first)
        (void)json_object_set_new(spec, "clusterIP", json_string(first));
    if (!json_array_size(json_object_get(spec, "ipFamilies")))
        (void)json_object_set_new(spec, "ipFamilies", json_pack("[s]", "IPv4"));
    if (!json_object_get(spec, "ipFamilyPolicy"))
        (void)json_object_set_new(spec, "ipFamilyPolicy", json_string("SingleStack"));
    return NULL;
}

static json_t *plan_cluster_ip(struct allocations *a, const json_t *old, json_t *next,
                               struct plan *plan)
{
    json_t *status = next ? settle_addresses(next) : NULL;
    if (status)
        return status;
    uint32_t had = 0, wants = 0;
    bool held = old && service_cluster_ip(old, &had);
    const char *ip = next ? json_path_string(next, "spec.clusterIP") : NULL;
    bool chosen = next && service_cluster_ip(next, &wants);
    if (ip && *ip && !chosen && !str_eq(ip, "None")) {
        struct field_errors errs = FIELD_ERRORS_INIT;
        field_invalid_text(&errs, FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "clusterIPs"), 0), ip,
                           "must be a valid IP address");
        return refuse(next, &errs);
    }
    bool headless = ip && str_eq(ip, "None");
    if (held && chosen && had == wants)
        return NULL;
    if (held)
        give_ip_back(had, plan);
    if (!next || headless || is_external_name(next))
        return NULL;
    return take_ip(a, next, chosen, wants, plan);
}

/* ---- node ports ---- */

bool service_has_node_ports(const json_t *svc)
{
    const char *type = json_path_string(svc, "spec.type");
    return str_eq(type, "NodePort") ||
           (str_eq(type, "LoadBalancer") &&
            json_path_bool(svc, "spec.allocateLoadBalancerNodePorts", true));
}

/* Whether @svc holds @port; also its health check port. */
static bool holds_port(const json_t *svc, int64_t port)
{
    size_t i;
    json_t *p;
    json_array_foreach(json_path(svc, "spec.ports"), i, p) {
        if (json_path_int(p, "nodePort", 0) == port)
            return true;
    }
    return false;
}

void service_learn_ports(struct allocations *a, const void *value, size_t len, int64_t revision)
{
    memset(a->ports.used, 0, a->ports.size / 8 + 1);
    a->ports_revision = revision;
    _cleanup_json_ json_t *object = len ? json_parse(value, len, NULL) : NULL;
    const char *data = json_path_string(object, "data");
    struct bytes raw = {.data = NULL};
    if (data && base64_decode(data, strlen(data), &raw) == 0)
        number_range_load(&a->ports, (const uint8_t *)raw.data, raw.len);
    free(raw.data);
}

void service_plan_ports(const struct allocations *a, const struct number_range *ports,
                        struct plan *plan)
{
    _cleanup_strbuf_ struct strbuf bitmap = STRBUF_INIT, text = STRBUF_INIT;
    number_range_bitmap(ports, &bitmap);
    _cleanup_free_ char *data = base64_encode(strbuf_text(&bitmap), bitmap.len);
    _cleanup_free_ char *range =
        str_printf("%" PRIu32 "-%" PRIu32, ports->base, ports->base + ports->size - 1);
    _cleanup_json_ json_t *object =
        json_pack("{s:s,s:s,s:{},s:s,s:s}", "kind", "RangeAllocation", "apiVersion", "v1",
                  "metadata", "range", range, "data", data);
    json_encode(object, &text);
    plan_guard(plan, SERVICE_PORTS_KEY, a->ports_revision ? STORE_AT_REVISION : STORE_ABSENT,
               a->ports_revision);
    plan_put(plan, SERVICE_PORTS_KEY, text.data, text.len, 0);
}

/* Takes the ports that people chose, refusing those that are taken. */
static void take_chosen_ports(struct number_range *ports, const json_t *old, const json_t *next,
                              struct field_errors *errs)
{
    size_t i;
    json_t *p;
    json_array_foreach(json_path(next, "spec.ports"), i, p) {
        int64_t port = json_path_int(p, "nodePort", 0);
        const struct field_path *path =
            FIELD(FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "ports"), i), "nodePort");
        if (!port || (old && service_has_node_ports(old) && holds_port(old, port)))
            continue;
        bool mine = false; /* the same number for another protocol of this Service */
        for (size_t j = 0; j < i; j++)
            mine |= json_path_int(json_array_get(json_path(next, "spec.ports"), j), "nodePort",
                                  0) == port;
        if (port < 0 || !number_range_has(ports, (uint32_t)port))
            field_invalid_int(errs, path, port,
                              "provided port is not in the valid range. The range of valid ports "
                              "is %" PRIu32 "-%" PRIu32,
                              ports->base, ports->base + ports->size - 1);
        else if (!mine && number_range_used(ports, (uint32_t)port))
            field_invalid_int(errs, path, port, "provided port is already allocated");
        else
            number_range_set(ports, (uint32_t)port, true);
    }
}

static int take_free_ports(struct number_range *ports, json_t *next)
{
    size_t i;
    json_t *p;
    json_array_foreach(json_path(next, "spec.ports"), i, p) {
        uint32_t port;
        if (json_path_int(p, "nodePort", 0))
            continue;
        if (number_range_pick(ports, &port) < 0)
            return -ENOSPC;
        number_range_set(ports, port, true);
        (void)json_object_set_new(p, "nodePort", json_integer(port));
    }
    return 0;
}

static void drop_node_ports(json_t *svc)
{
    size_t i;
    json_t *p;
    json_array_foreach(json_path(svc, "spec.ports"), i, p)
        (void)json_object_del(p, "nodePort");
}

static json_t *plan_node_ports(struct allocations *a, const json_t *old, json_t *next,
                               struct plan *plan)
{
    bool had = old && service_has_node_ports(old), wants = next && service_has_node_ports(next);
    if (next && !wants)
        drop_node_ports(next);
    if (!had && !wants)
        return NULL;
    const struct learned *l = plan_learned(plan, SERVICE_PORTS_KEY);
    if (l)
        service_learn_ports(a, l->value, l->len, l->revision);
    struct number_range ports;
    number_range_init(&ports, a->ports.base, a->ports.size);
    ports.reserved = a->ports.reserved;
    memcpy(ports.used, a->ports.used, a->ports.size / 8 + 1);
    struct field_errors errs = FIELD_ERRORS_INIT;
    json_t *status = NULL;
    size_t i;
    json_t *p;
    if (had) {
        json_array_foreach(json_path(old, "spec.ports"), i, p) {
            int64_t port = json_path_int(p, "nodePort", 0);
            if (port > 0 && (!wants || !holds_port(next, port)))
                number_range_set(&ports, (uint32_t)port, false);
        }
    }
    if (wants)
        take_chosen_ports(&ports, old, next, &errs);
    if (errs.count) {
        /* What is in memory may be old: refuse only what the store has confirmed. */
        if (l) {
            status = refuse(next, &errs);
        } else {
            field_errors_done(&errs);
            plan_guard(plan, SERVICE_PORTS_KEY, STORE_AT_REVISION, INT64_MAX);
        }
    } else if (wants && take_free_ports(&ports, next) < 0) {
        status = status_internal_error("failed to allocate a nodePort: range is full");
    } else if (memcmp(ports.used, a->ports.used, ports.size / 8 + 1) != 0) {
        service_plan_ports(a, &ports, plan);
    }
    number_range_done(&ports);
    return status;
}

json_t *service_plan(struct apiserver *srv, const json_t *old, json_t *next, struct plan *plan)
{
    struct allocations *a = srv->allocations;
    if (json_array_size(json_path(next, "spec.ports")) > PORTS_MAX)
        return status_bad_request("a Service has at most %d ports", PORTS_MAX);
    json_t *status = plan_cluster_ip(a, old, next, plan);
    return status ? status : plan_node_ports(a, old, next, plan);
}

/* ---- what transactions tell ---- */

static void note_ip(struct allocations *a, const char *key, bool used)
{
    uint32_t ip;
    if (str_starts(key, SERVICE_IP_PREFIX) && ip_parse(key + strlen(SERVICE_IP_PREFIX), &ip) == 0)
        number_range_set(&a->ips, ip, used);
}

void service_committed(struct apiserver *srv, const struct plan *plan, int64_t revision)
{
    struct allocations *a = srv->allocations;
    for (size_t i = 0; i < plan->n_ops; i++)
        note_ip(a, plan->ops[i].key, plan->ops[i].action == STORE_PUT);
    const struct store_op *op = plan_op(plan, SERVICE_PORTS_KEY);
    if (!op || revision < a->ports_revision)
        return;
    service_learn_ports(a, op->value, op->len, revision);
}

void service_conflicted(struct apiserver *srv, const struct plan *plan)
{
    struct allocations *a = srv->allocations;
    for (size_t i = 0; i < plan->n_guards; i++) {
        const struct learned *l = plan_learned(plan, plan->guards[i].key);
        if (l)
            note_ip(a, plan->guards[i].key, l->revision != 0);
    }
    const struct learned *l = plan_learned(plan, SERVICE_PORTS_KEY);
    if (l && l->revision > a->ports_revision)
        service_learn_ports(a, l->value, l->len, l->revision);
}
