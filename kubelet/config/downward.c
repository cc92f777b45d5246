/* The downward API; see downward.h. Texts of errors and the form of maps are upstream's. */
#include "kubelet/config/downward.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/strbuf.h"
#include "kube/quantity.h"

/* ---- fields ---- */
static int by_key(const void *a, const void *b)
{
    return strcmp((*(const struct string_pair *const *)a)->key,
                  (*(const struct string_pair *const *)b)->key);
}

/* Quotes as Go's %q does, which is what readers of these files parse. */
static void add_quoted(struct strbuf *out, const char *text)
{
    static const char escapes[] = "\aa\bb\ff\nn\rr\tt\vv\\\\\"\"";
    strbuf_addc(out, '"');
    for (const char *p = text; *p; p++) {
        const char *e = escapes;
        while (*e && *e != *p)
            e += 2;
        if (*e)
            strbuf_addf(out, "\\%c", e[1]);
        else if ((unsigned char)*p < 0x20 || *p == 0x7f)
            strbuf_addf(out, "\\x%02x", (unsigned char)*p);
        else
            strbuf_addc(out, *p);
    }
    strbuf_addc(out, '"');
}

/* key="value", one a line, sorted by key. */
static char *format_map(const struct string_map *m)
{
    struct strbuf out = STRBUF_INIT;
    _cleanup_free_ const struct string_pair **sorted =
        mem_zalloc((m->count + 1) * sizeof(struct string_pair *));
    for (size_t i = 0; i < m->count; i++)
        sorted[i] = &m->items[i];
    qsort(sorted, m->count, sizeof(*sorted), by_key);
    for (size_t i = 0; i < m->count; i++) {
        strbuf_addf(&out, "%s%s=", i ? "\n" : "", sorted[i]->key);
        add_quoted(&out, sorted[i]->value);
    }
    return strbuf_take(&out);
}

/* "['key']": the value under key, "" when there is none; NULL when it is no subscript. */
static char *subscripted(const struct string_map *m, const char *subscript)
{
    size_t len = strlen(subscript);
    if (len < 5 || !str_starts(subscript, "['") || !str_ends(subscript, "']"))
        return NULL;
    _cleanup_free_ char *key = str_ndup(subscript + 2, len - 4);
    const char *value = string_map_get(m, key);
    return str_dup(value ? value : "");
}

static char *map_field(const struct string_map *m, const char *rest)
{
    return *rest ? subscripted(m, rest) : format_map(m);
}

char *downward_metadata(const struct pod *pod, const char *path, struct error *err)
{
    static const char labels[] = "metadata.labels", annotations[] = "metadata.annotations";
    char *text = NULL;
    if (str_eq(path, "metadata.name"))
        text = str_dup(pod->meta.name);
    else if (str_eq(path, "metadata.namespace"))
        text = str_dup(pod->meta.ns);
    else if (str_eq(path, "metadata.uid"))
        text = str_dup(pod->meta.uid);
    else if (path && str_starts(path, labels))
        text = map_field(&pod->meta.labels, path + sizeof(labels) - 1);
    else if (path && str_starts(path, annotations))
        text = map_field(&pod->meta.annotations, path + sizeof(annotations) - 1);
    if (!text)
        (void)error_set(err, -EINVAL, "unsupported fieldPath: %.100s", path ? path : "");
    return text;
}

static char *first_of(const char *list)
{
    return str_ndup(list ? list : "", strcspn(list ? list : "", ","));
}

char *downward_field(const struct pod *pod, const struct downward_context *ctx, const char *path,
                     struct error *err)
{
    if (str_eq(path, "spec.nodeName"))
        return str_dup(ctx->node_name ? ctx->node_name : "");
    if (str_eq(path, "spec.serviceAccountName"))
        return str_dup(pod->spec.service_account ? pod->spec.service_account : "");
    if (str_eq(path, "status.hostIP"))
        return first_of(ctx->host_ips);
    if (str_eq(path, "status.hostIPs"))
        return str_dup(ctx->host_ips ? ctx->host_ips : "");
    if (str_eq(path, "status.podIP"))
        return first_of(ctx->pod_ips);
    if (str_eq(path, "status.podIPs"))
        return str_dup(ctx->pod_ips ? ctx->pod_ips : "");
    return downward_metadata(pod, path, err);
}

/* ---- resources ---- */
static const struct {
    const char *name;
    size_t limit; /* in struct node_capacity; its size when the node has no such number */
    bool milli;
} resources[] = {
    {"cpu", offsetof(struct node_capacity, cpu_milli), true},
    {"memory", offsetof(struct node_capacity, memory), false},
    {"ephemeral-storage", offsetof(struct node_capacity, ephemeral), false},
    {"hugepages-", sizeof(struct node_capacity), false},
};

/* In units of the divisor ("0" and "" are 1), rounded up. */
static char *divided(int64_t amount, const char *divisor, bool milli)
{
    int64_t one = milli ? 1000 : 1, d = one;
    if (divisor && *divisor)
        d = milli ? quantity_text_milli(divisor, one) : quantity_text_value(divisor, one);
    if (d < 1)
        d = one;
    return str_printf("%" PRId64, amount / d + (amount % d > 0));
}

static int64_t node_limit(const struct node_capacity *all, size_t offset)
{
    int64_t value = 0;
    if (offset < sizeof(*all))
        memcpy(&value, (const char *)all + offset, sizeof(value));
    return value;
}

char *downward_resource(const struct pod *pod, const struct downward_context *ctx,
                        const struct container_spec *container,
                        const struct resource_field_selector *r, struct error *err)
{
    const char *what = r->resource ? r->resource : "";
    if (r->container_name && *r->container_name)
        container = pod_container(pod, r->container_name);
    if (!container) {
        (void)error_set(err, -EINVAL, "container %.63s not found",
                        r->container_name ? r->container_name : "");
        return NULL;
    }
    bool limits = str_starts(what, "limits."), requests = str_starts(what, "requests.");
    const char *name = strchr(what, '.');
    for (size_t i = 0; (limits || requests) && i < ARRAY_SIZE(resources); i++) {
        bool prefix = str_ends(resources[i].name, "-");
        if (prefix ? !str_starts(name + 1, resources[i].name)
                   : !str_eq(name + 1, resources[i].name))
            continue;
        const struct string_map *m =
            limits ? &container->resources.limits : &container->resources.requests;
        int64_t amount =
            resources[i].milli ? resource_milli(m, name + 1, 0) : resource_value(m, name + 1, 0);
        if (limits && amount <= 0)
            amount = node_limit(&ctx->limit, resources[i].limit);
        return divided(amount, r->divisor, resources[i].milli);
    }
    (void)error_set(err, -EINVAL, "unsupported container resource : %.100s", what);
    return NULL;
}
