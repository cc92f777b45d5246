/* Tables; see table.h. Columns with a path are read from the object, the others computed here. */
#include "kube/table.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kube/meta.h"
#include "kube/object_internal.h"
#include "kube/selector.h"
#include "kube/table_internal.h"

#define LIST_MAX 3 /* endpoints and ports that are spelled out */

int table_include_parse(const char *text, enum table_include *ret)
{
    if (!text || !*text || str_eq(text, "Metadata"))
        *ret = TABLE_INCLUDE_METADATA;
    else if (str_eq(text, "Object"))
        *ret = TABLE_INCLUDE_OBJECT;
    else if (str_eq(text, "None"))
        *ret = TABLE_INCLUDE_NONE;
    else
        return -EINVAL;
    return 0;
}

char *table_age(int64_t seconds, char *buf)
{
    const long long s = seconds, m = s / 60, h = m / 60, d = h / 24, y = d / 365;
    const struct {
        bool applies;
        long long first;
        char first_unit;
        long long second;
        char second_unit;
    } forms[] = {
        {s < 120, s, 's', 0, 0},
        {m < 10, m, 'm', s % 60, 's'},
        {m < 180, m, 'm', 0, 0},
        {h < 8, h, 'h', m % 60, 'm'},
        {h < 48, h, 'h', 0, 0},
        {h < 24 * 8, d, 'd', h % 24, 'h'},
        {h < 24 * 365 * 2, d, 'd', 0, 0},
        {h < 24 * 365 * 8, y, 'y', d % 365, 'd'},
        {true, y, 'y', 0, 0},
    };
    if (seconds < 0) {
        (void)snprintf(buf, TABLE_AGE_MAX, "%s", seconds < -1 ? "<invalid>" : "0s");
        return buf;
    }
    size_t i = 0;
    while (!forms[i].applies)
        i++;
    if (forms[i].second)
        (void)snprintf(buf, TABLE_AGE_MAX, "%lld%c%lld%c", forms[i].first, forms[i].first_unit,
                       forms[i].second, forms[i].second_unit);
    else
        (void)snprintf(buf, TABLE_AGE_MAX, "%lld%c", forms[i].first, forms[i].first_unit);
    return buf;
}

json_t *table_age_of(const char *timestamp, int64_t now)
{
    int64_t ns;
    char buf[TABLE_AGE_MAX];
    if (!timestamp || !*timestamp || time_parse(timestamp, &ns) < 0)
        return json_string("<unknown>");
    return json_string(table_age(now - ns / 1000000000, buf));
}

json_t *table_text(const char *text, const char *otherwise)
{
    return json_text(text && *text ? text : otherwise);
}

static const char *text_at(const json_t *j, const char *path)
{
    const char *s = json_path_string(j, path);
    return s ? s : "";
}

static json_t *joined(struct strbuf *text, const char *otherwise)
{
    json_t *cell = table_text(strbuf_text(text), otherwise);
    strbuf_done(text);
    return cell;
}

static void add_comma(struct strbuf *text)
{
    if (text->len)
        strbuf_addc(text, ',');
}

static int by_text(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static json_t *labels_cell(const json_t *labels)
{
    size_t n = 0;
    const char **keys = mem_grow(NULL, json_object_size(labels) + 1, sizeof(char *));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)labels, key, value) {
        keys[n++] = key;
    }
    qsort((void *)keys, n, sizeof(char *), by_text);
    struct strbuf text = STRBUF_INIT;
    for (size_t i = 0; i < n; i++) {
        add_comma(&text);
        strbuf_addf(&text, "%s=%s", keys[i], json_string_value(json_object_get(labels, keys[i])));
    }
    free((void *)keys);
    return joined(&text, "<none>");
}

/* ---- nodes ---- */

static json_t *node_status(const json_t *node)
{
    struct strbuf text = STRBUF_INIT;
    const json_t *list = json_path(node, "status.conditions");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        if (str_eq(text_at(c, "type"), "Ready"))
            strbuf_adds(&text, str_eq(text_at(c, "status"), "True") ? "Ready" : "NotReady");
    }
    if (!text.len)
        strbuf_adds(&text, "Unknown");
    if (json_path_bool(node, "spec.unschedulable", false))
        strbuf_adds(&text, ",SchedulingDisabled");
    return joined(&text, "");
}

static json_t *node_roles(const json_t *node)
{
    static const char prefix[] = "node-role.kubernetes.io/";
    const json_t *labels = meta_labels(node);
    size_t n = 0;
    const char **roles = mem_grow(NULL, json_object_size(labels) + 1, sizeof(char *));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)labels, key, value) {
        if (str_starts(key, prefix) && key[strlen(prefix)])
            roles[n++] = key + strlen(prefix);
        else if (str_eq(key, "kubernetes.io/role") && *json_string_value(value))
            roles[n++] = json_string_value(value);
    }
    qsort((void *)roles, n, sizeof(char *), by_text);
    struct strbuf text = STRBUF_INIT;
    for (size_t i = 0; i < n; i++) {
        if (i && str_eq(roles[i], roles[i - 1]))
            continue;
        add_comma(&text);
        strbuf_adds(&text, roles[i]);
    }
    free((void *)roles);
    return joined(&text, "<none>");
}

static json_t *node_cell(const char *column, const json_t *node)
{
    static const struct {
        const char *column, *path;
    } paths[] = {{"OS-Image", "status.nodeInfo.osImage"},
                 {"Kernel-Version", "status.nodeInfo.kernelVersion"},
                 {"Container-Runtime", "status.nodeInfo.containerRuntimeVersion"}};
    if (str_eq(column, "Status"))
        return node_status(node);
    if (str_eq(column, "Roles"))
        return node_roles(node);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (str_eq(column, paths[i].column))
            return table_text(json_path_string(node, paths[i].path), "<unknown>");
    const char *type = str_eq(column, "Internal-IP")   ? "InternalIP"
                       : str_eq(column, "External-IP") ? "ExternalIP"
                                                       : NULL;
    const json_t *list = json_path(node, "status.addresses");
    for (size_t i = 0; type && i < json_array_size(list); i++)
        if (str_eq(text_at(json_array_get(list, i), "type"), type))
            return table_text(text_at(json_array_get(list, i), "address"), "<none>");
    return type ? json_string("<none>") : NULL;
}

/* ---- services and endpoints ---- */

static json_t *service_external_ip(const json_t *svc)
{
    struct strbuf text = STRBUF_INIT;
    const char *type = text_at(svc, "spec.type");
    if (str_eq(type, "ExternalName"))
        return table_text(json_path_string(svc, "spec.externalName"), "<none>");
    bool balanced = str_eq(type, "LoadBalancer");
    const json_t *ingress = json_path(svc, "status.loadBalancer.ingress");
    for (size_t i = 0; balanced && i < json_array_size(ingress); i++) {
        const json_t *in = json_array_get(ingress, i);
        add_comma(&text);
        strbuf_adds(&text, *text_at(in, "ip") ? text_at(in, "ip") : text_at(in, "hostname"));
    }
    const json_t *ips = json_path(svc, "spec.externalIPs");
    for (size_t i = 0; i < json_array_size(ips); i++) {
        add_comma(&text);
        strbuf_adds(&text, json_string_value(json_array_get(ips, i)));
    }
    return joined(&text, balanced ? "<pending>" : "<none>");
}

static json_t *service_ports(const json_t *svc)
{
    struct strbuf text = STRBUF_INIT;
    const json_t *ports = json_path(svc, "spec.ports");
    for (size_t i = 0; i < json_array_size(ports); i++) {
        const json_t *port = json_array_get(ports, i);
        int64_t node_port = json_path_int(port, "nodePort", 0);
        add_comma(&text);
        strbuf_addf(&text, "%lld", (long long)json_path_int(port, "port", 0));
        if (node_port)
            strbuf_addf(&text, ":%lld", (long long)node_port);
        strbuf_addf(&text, "/%s", text_at(port, "protocol"));
    }
    return joined(&text, "<none>");
}

static json_t *service_cell(const char *column, const json_t *svc)
{
    if (str_eq(column, "Type"))
        return json_text(text_at(svc, "spec.type"));
    if (str_eq(column, "Cluster-IP"))
        return table_text(json_path_string(svc, "spec.clusterIP"), "<none>");
    if (str_eq(column, "External-IP"))
        return service_external_ip(svc);
    if (str_eq(column, "Port(s)"))
        return service_ports(svc);
    return str_eq(column, "Selector") ? labels_cell(json_path(svc, "spec.selector")) : NULL;
}

/* A list of which only the first are spelled out. */
struct short_list {
    struct strbuf text;
    size_t count;
};

static void add_item(struct short_list *l, const char *fmt, ...) _printf_(2, 3);
static void add_item(struct short_list *l, const char *fmt, ...)
{
    va_list args;
    if (l->count++ >= LIST_MAX)
        return;
    add_comma(&l->text);
    va_start(args, fmt);
    strbuf_addv(&l->text, fmt, args);
    va_end(args);
}

static json_t *end_list(struct short_list *l, const char *otherwise)
{
    if (l->count > LIST_MAX)
        strbuf_addf(&l->text, " + %zu more...", l->count - LIST_MAX);
    return joined(&l->text, otherwise);
}

static json_t *endpoints_cell(const json_t *obj)
{
    struct short_list list = {0};
    const json_t *subsets = json_object_get(obj, "subsets");
    for (size_t s = 0; s < json_array_size(subsets); s++) {
        const json_t *addresses = json_object_get(json_array_get(subsets, s), "addresses");
        const json_t *ports = json_object_get(json_array_get(subsets, s), "ports");
        size_t n = json_array_size(ports) ? json_array_size(ports) : 1;
        for (size_t p = 0; p < n; p++)
            for (size_t a = 0; a < json_array_size(addresses); a++) {
                const char *ip = text_at(json_array_get(addresses, a), "ip");
                bool v6 = strchr(ip, ':') != NULL;
                if (!json_array_size(ports))
                    add_item(&list, "%s", ip);
                else
                    add_item(&list, "%s%s%s:%lld", v6 ? "[" : "", ip, v6 ? "]" : "",
                             (long long)json_path_int(json_array_get(ports, p), "port", 0));
            }
    }
    return end_list(&list, "<none>");
}

static json_t *slice_cell(const char *column, const json_t *slice)
{
    struct short_list list = {0};
    bool ports = str_eq(column, "Ports");
    if (!ports && !str_eq(column, "Endpoints"))
        return NULL;
    const json_t *items = json_object_get(slice, ports ? "ports" : "endpoints");
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const json_t *addresses = json_object_get(item, "addresses");
        if (ports && json_object_get(item, "port"))
            add_item(&list, "%lld", (long long)json_path_int(item, "port", 0));
        else if (ports)
            add_item(&list, "*");
        for (size_t a = 0; !ports && a < json_array_size(addresses); a++)
            add_item(&list, "%s", json_string_value(json_array_get(addresses, a)));
    }
    return end_list(&list, "<unset>");
}

/* ---- events ---- */

/* The first of the paths that is there. */
static const char *first_of(const json_t *obj, const char *a, const char *b)
{
    return *text_at(obj, a) ? text_at(obj, a) : text_at(obj, b);
}

static json_t *event_object(const json_t *about)
{
    _cleanup_free_ char *kind = str_dup(text_at(about, "kind"));
    for (char *c = kind; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    const char *name = text_at(about, "name");
    _cleanup_free_ char *text = str_printf("%s%s%s", kind, *name ? "/" : "", name);
    return json_text(text);
}

static json_t *event_source(const json_t *e)
{
    const char *component = first_of(e, "source.component", "deprecatedSource.component");
    const char *host = first_of(e, "source.host", "deprecatedSource.host");
    if (!*component)
        component = first_of(e, "reportingComponent", "reportingController");
    if (!*host)
        host = text_at(e, "reportingInstance");
    _cleanup_free_ char *text = str_printf("%s%s%s", component, *host ? ", " : "", host);
    return json_text(text);
}

/* Both forms of events: core/v1 and events.k8s.io/v1. */
static json_t *event_cell(const char *column, const json_t *e, int64_t now)
{
    const json_t *about = json_object_get(e, "involvedObject");
    if (!about)
        about = json_object_get(e, "regarding");
    const char *first = first_of(e, "firstTimestamp", "deprecatedFirstTimestamp");
    if (!*first)
        first = text_at(e, "eventTime");
    if (str_eq(column, "First Seen"))
        return table_age_of(first, now);
    if (str_eq(column, "Last Seen")) {
        const char *last = first_of(e, "lastTimestamp", "deprecatedLastTimestamp");
        if (json_path(e, "series"))
            last = text_at(e, "series.lastObservedTime");
        return table_age_of(*last ? last : first, now);
    }
    if (str_eq(column, "Type"))
        return json_text(text_at(e, "type"));
    if (str_eq(column, "Reason"))
        return json_text(text_at(e, "reason"));
    if (str_eq(column, "Object"))
        return event_object(about);
    if (str_eq(column, "Subobject"))
        return json_text(text_at(about, "fieldPath"));
    if (str_eq(column, "Source"))
        return event_source(e);
    if (str_eq(column, "Message"))
        return json_text(first_of(e, "message", "note"));
    if (!str_eq(column, "Count"))
        return NULL;
    int64_t count = json_path_int(e, "count", json_path_int(e, "deprecatedCount", 1));
    count = json_path_int(e, "series.count", count);
    return json_integer(count ? count : 1);
}

/* ---- workloads ---- */

static json_t *container_texts(const json_t *spec, const char *key)
{
    struct strbuf text = STRBUF_INIT;
    const json_t *list = json_object_get(spec, "containers");
    for (size_t i = 0; i < json_array_size(list); i++) {
        add_comma(&text);
        strbuf_adds(&text, text_at(json_array_get(list, i), key));
    }
    return joined(&text, "");
}

static json_t *selector_cell(const json_t *obj)
{
    struct selector *s = NULL;
    struct strbuf text = STRBUF_INIT;
    const json_t *object = json_path(obj, "spec.selector");
    if (object && selector_from_object(object, &s, NULL) == 0) {
        selector_write(s, &text);
        selector_free(s);
    }
    return joined(&text, "<none>");
}

static json_t *workload_cell(const struct schema_resource *res, const char *column,
                             const json_t *obj)
{
    bool deployment = str_eq(res->kind, "Deployment");
    const json_t *spec = object_pod_spec(res, (json_t *)(uintptr_t)obj);
    int64_t wanted = json_path_int(obj, "spec.replicas", 0);
    int64_t ready = json_path_int(obj, "status.readyReplicas", 0);
    if (str_eq(column, "Containers"))
        return container_texts(spec, "name");
    if (str_eq(column, "Images"))
        return container_texts(spec, "image");
    if (str_eq(column, "Selector"))
        return selector_cell(obj);
    if (str_eq(column, "Pod Labels"))
        return labels_cell(json_path(obj, "template.metadata.labels"));
    if (str_eq(column, "Ready") && deployment) {
        _cleanup_free_ char *text = str_printf("%lld/%lld", (long long)ready, (long long)wanted);
        return json_string(text);
    }
    if (str_eq(column, "Ready"))
        return json_integer(ready);
    if (str_eq(column, "Desired"))
        return json_integer(wanted);
    if (str_eq(column, "Current"))
        return json_integer(json_path_int(obj, "status.replicas", 0));
    if (str_eq(column, "Up-to-date"))
        return json_integer(json_path_int(obj, "status.updatedReplicas", 0));
    if (str_eq(column, "Available"))
        return json_integer(json_path_int(obj, "status.availableReplicas", 0));
    return NULL;
}

/* ---- rows ---- */

static json_t *computed_cell(const struct schema_resource *res, const char *column,
                             const json_t *obj, int64_t now)
{
    if (str_eq(column, "Age"))
        return table_age_of(meta_creation_timestamp(obj), now);
    if (object_is(res, "", "Pod"))
        return table_pod_cell(column, obj, now);
    if (object_is(res, "", "Node"))
        return node_cell(column, obj);
    if (object_is(res, "", "Service"))
        return service_cell(column, obj);
    if (object_is(res, "", "Endpoints"))
        return endpoints_cell(obj);
    if (object_is(res, "discovery.k8s.io", "EndpointSlice"))
        return slice_cell(column, obj);
    if (str_eq(res->kind, "Event"))
        return event_cell(column, obj, now);
    if (object_is(res, "", "PersistentVolume"))
        return table_volume_cell(column, obj);
    if (object_is(res, "", "PersistentVolumeClaim"))
        return table_claim_cell(column, obj);
    if (object_is(res, "certificates.k8s.io", "CertificateSigningRequest"))
        return table_csr_cell(column, obj);
    if (object_is_rbac(res))
        return table_binding_cell(column, obj);
    if (str_eq(column, "Data"))
        return json_integer((json_int_t)json_object_size(json_object_get(obj, "data")) +
                            (json_int_t)json_object_size(json_object_get(obj, "binaryData")));
    if (str_eq(column, "Secrets"))
        return json_integer((json_int_t)json_array_size(json_object_get(obj, "secrets")));
    return object_pod_spec_path(res) ? workload_cell(res, column, obj)
                                     : table_class_cell(column, obj);
}

json_t *table_cells(const struct schema_resource *res, const json_t *obj, int64_t now)
{
    json_t *cells = json_array();
    if (!res->n_columns)
        (void)json_array_append_new(cells, json_text(meta_name(obj)));
    for (size_t i = 0; i < res->n_columns; i++) {
        const struct schema_column *c = &res->columns[i];
        json_t *cell = NULL;
        if (c->path)
            cell = json_incref((json_t *)(uintptr_t)json_path(obj, c->path));
        else
            cell = computed_cell(res, c->name, obj, now);
        (void)json_array_append_new(cells, cell ? cell : json_string(""));
    }
    return cells;
}

static json_t *definition(const char *name, const char *type, const char *format,
                          const char *description, int priority)
{
    json_t *d = json_object();
    (void)json_object_set_new(d, "name", json_text(name));
    (void)json_object_set_new(d, "type", json_text(type));
    (void)json_object_set_new(d, "format", json_text(format));
    (void)json_object_set_new(d, "description", json_text(description));
    (void)json_object_set_new(d, "priority", json_integer(priority));
    return d;
}

json_t *table_new(const struct schema_resource *res, const char *version, bool with_columns,
                  const json_t *list_meta)
{
    json_t *table = json_object();
    _cleanup_free_ char *api_version = str_printf("meta.k8s.io/%s", version);
    (void)json_object_set_new(table, "kind", json_string("Table"));
    (void)json_object_set_new(table, "apiVersion", json_string(api_version));
    (void)json_object_set_new(table, "metadata",
                              list_meta ? json_deep_copy(list_meta) : json_object());
    if (with_columns) {
        json_t *columns = json_array();
        for (size_t i = 0; i < res->n_columns; i++) {
            const struct schema_column *c = &res->columns[i];
            (void)json_array_append_new(
                columns, definition(c->name, c->type, c->format, c->description, c->priority));
        }
        if (!res->n_columns)
            (void)json_array_append_new(columns, definition("Name", "string", "name", "Name.", 0));
        (void)json_object_set_new(table, "columnDefinitions", columns);
    } else {
        (void)json_object_set_new(table, "columnDefinitions", json_null());
    }
    (void)json_object_set_new(table, "rows", json_array());
    return table;
}

/* Pods that ended are marked, so that clients can leave them out or dim them. */
static void add_conditions(json_t *row, const struct schema_resource *res, const json_t *obj)
{
    const char *phase = json_path_string(obj, "status.phase");
    bool done = str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
    if (!object_is(res, "", "Pod") || !done)
        return;
    json_t *c = json_object(), *list = json_array();
    (void)json_object_set_new(c, "type", json_string("Completed"));
    (void)json_object_set_new(c, "status", json_string("True"));
    (void)json_object_set_new(c, "reason", json_text(phase));
    (void)json_array_append_new(list, c);
    (void)json_object_set_new(row, "conditions", list);
}

void table_add(json_t *table, const struct schema_resource *res, const json_t *obj,
               enum table_include include, int64_t now)
{
    json_t *row = json_object();
    (void)json_object_set_new(row, "cells", table_cells(res, obj, now));
    add_conditions(row, res, obj);
    if (include == TABLE_INCLUDE_OBJECT) {
        (void)json_object_set_new(row, "object", json_deep_copy(obj));
    } else if (include == TABLE_INCLUDE_METADATA) {
        json_t *partial = json_object();
        (void)json_object_set_new(partial, "kind", json_string("PartialObjectMetadata"));
        (void)json_object_set(partial, "apiVersion", json_object_get(table, "apiVersion"));
        (void)json_object_set_new(partial, "metadata",
                                  json_deep_copy(json_object_get(obj, "metadata")));
        (void)json_object_set_new(row, "object", partial);
    }
    (void)json_array_append_new(json_object_get(table, "rows"), row);
}
