/* Field selectors: terms "path=value", "path==value", "path!=value", separated by commas; a
 * backslash protects a comma, an equals sign or itself in a value. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "kube/selector.h"

struct term {
    char *path, *value;
    bool negated;
};

struct field_selector {
    struct term *items;
    size_t count;
};

struct field_selector *field_selector_free(struct field_selector *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->count; i++) {
        free(s->items[i].path);
        free(s->items[i].value);
    }
    free(s->items);
    free(s);
    return NULL;
}

static bool is_supported(const char *path, const char *const *supported)
{
    if (str_eq(path, "metadata.name") || str_eq(path, "metadata.namespace"))
        return true;
    for (; supported && *supported; supported++)
        if (str_eq(path, *supported))
            return true;
    return false;
}

/* The value of a term up to an unprotected comma, in new memory; NULL when a backslash protects
 * nothing or an equals sign is bare. */
static char *take_value(const char **text)
{
    struct strbuf value = STRBUF_INIT;
    const char *c = *text;
    for (; *c && *c != ','; c++) {
        if (*c == '=' || (*c == '\\' && (!c[1] || !strchr("\\,=", c[1])))) {
            strbuf_done(&value);
            return NULL;
        }
        c += *c == '\\';
        strbuf_addc(&value, *c);
    }
    *text = c;
    return strbuf_take(&value);
}

static int parse_term(const char **text, const char *const *supported, struct term *t,
                      struct error *err)
{
    const char *start = *text;
    size_t len = strcspn(start, "=!,");
    const char *op = start + len;
    bool good = (*op == '=' || (*op == '!' && op[1] == '=')) && len > 0;
    if (good) {
        t->path = str_ndup(start, len);
        t->negated = *op == '!';
        op += t->negated || op[1] == '=' ? 2 : 1;
        t->value = take_value(&op);
        *text = op;
    }
    if (!good || !t->value)
        return error_set(err, -EINVAL,
                         "invalid field selector: \"%.200s\": can't understand '%.*s'", start,
                         (int)(strcspn(start, ",") > 200 ? 200 : strcspn(start, ",")), start);
    if (!is_supported(t->path, supported))
        return error_set(err, -EINVAL, "field label not supported: %s", t->path);
    return 0;
}

int field_selector_parse(const char *text, const char *const *supported,
                         struct field_selector **ret, struct error *err)
{
    struct field_selector *s = mem_zalloc(sizeof(*s));
    int r = 0;
    if (!text)
        text = "";
    if (strlen(text) > SELECTOR_MAX_BYTES)
        r = error_set(err, -EINVAL, "the selector is longer than %d bytes", SELECTOR_MAX_BYTES);
    while (r == 0 && *text) {
        if (*text == ',') {
            text++;
            continue;
        }
        s->items = mem_grow(s->items, s->count + 1, sizeof(*s->items));
        s->items[s->count] = (struct term){0};
        r = parse_term(&text, supported, &s->items[s->count++], err);
    }
    if (r < 0) {
        field_selector_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

const char *const *field_selector_fields(const char *group, const char *kind)
{
    static const char *const none[] = {NULL};
    static const char *const pod[] = {"spec.nodeName",
                                      "spec.restartPolicy",
                                      "spec.schedulerName",
                                      "spec.serviceAccountName",
                                      "spec.hostNetwork",
                                      "status.phase",
                                      "status.podIP",
                                      "status.podIPs",
                                      "status.nominatedNodeName",
                                      NULL};
    static const char *const event[] = {"involvedObject.kind",
                                        "involvedObject.namespace",
                                        "involvedObject.name",
                                        "involvedObject.uid",
                                        "involvedObject.apiVersion",
                                        "involvedObject.resourceVersion",
                                        "involvedObject.fieldPath",
                                        "reason",
                                        "reportingComponent",
                                        "source",
                                        "type",
                                        NULL};
    static const char *const events_v1[] = {"regarding.kind",
                                            "regarding.namespace",
                                            "regarding.name",
                                            "regarding.uid",
                                            "regarding.apiVersion",
                                            "regarding.resourceVersion",
                                            "regarding.fieldPath",
                                            "reason",
                                            "reportingController",
                                            "type",
                                            NULL};
    static const char *const node[] = {"spec.unschedulable", NULL};
    static const char *const namespaces[] = {"status.phase", NULL};
    static const char *const secret[] = {"type", NULL};
    static const char *const service[] = {"spec.clusterIP", "spec.type", NULL};
    static const char *const replica_set[] = {"status.replicas", NULL};
    static const struct {
        const char *group, *kind;
        const char *const *fields;
    } kinds[] = {
        {"", "Pod", pod},
        {"", "Event", event},
        {"", "Node", node},
        {"", "Namespace", namespaces},
        {"", "Secret", secret},
        {"", "Service", service},
        {"apps", "ReplicaSet", replica_set},
        {"events.k8s.io", "Event", events_v1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (str_eq(kinds[i].group, group) && str_eq(kinds[i].kind, kind))
            return kinds[i].fields;
    return none;
}

/* Text of the field as upstream's field sets hold it; the buffer is for numbers. */
static const char *field_text(const json_t *obj, const char *path, char *buf, size_t size)
{
    const json_t *v = json_path(obj, path);
    /* An Event is also found by the component of its source, whichever form it was written in. */
    if (str_eq(path, "source") || str_eq(path, "reportingComponent"))
        v = json_path(obj, "source.component") ? json_path(obj, "source.component")
                                               : json_path(obj, "reportingComponent");
    if (json_is_string(v))
        return json_string_value(v);
    if (json_is_boolean(v))
        return json_is_true(v) ? "true" : "false";
    if (json_is_integer(v)) {
        (void)snprintf(buf, size, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return buf;
    }
    bool is_flag = str_eq(path, "spec.unschedulable") || str_eq(path, "spec.hostNetwork");
    return is_flag ? "false" : "";
}

static bool any_pod_ip(const json_t *obj, const char *value)
{
    const json_t *ips = json_path(obj, "status.podIPs");
    for (size_t i = 0; i < json_array_size(ips); i++)
        if (str_eq(json_path_string(json_array_get(ips, i), "ip"), value))
            return true;
    return json_array_size(ips) == 0 && !*value;
}

bool field_selector_matches(const struct field_selector *s, const json_t *obj)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct term *t = &s->items[i];
        char buf[32];
        bool equal = str_eq(t->path, "status.podIPs")
                         ? any_pod_ip(obj, t->value)
                         : str_eq(field_text(obj, t->path, buf, sizeof(buf)), t->value);
        if (equal == t->negated)
            return false;
    }
    return true;
}

const char *field_selector_exact(const struct field_selector *s, const char *path)
{
    for (size_t i = 0; i < s->count; i++)
        if (!s->items[i].negated && str_eq(s->items[i].path, path))
            return s->items[i].value;
    return NULL;
}

bool field_selector_is_everything(const struct field_selector *s)
{
    return s->count == 0;
}
