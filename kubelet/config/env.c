/*
 * The environment of a container. The order of precedence, lowest first: service variables,
 * envFrom in order, env in order. A reference sees what stands before it.
 */
#include "kubelet/config/env.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/strbuf.h"

struct builder {
    const struct pod *pod;
    const struct container_spec *container;
    const struct env_context *ctx;
    struct env_list own;      /* env and envFrom: the result */
    struct env_list services; /* what expansion falls back to */
};

void env_list_done(struct env_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->items[i].key);
        free(l->items[i].value);
    }
    free(l->items);
    memset(l, 0, sizeof(*l));
}

static struct string_pair *find(const struct env_list *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (str_eq(l->items[i].key, name))
            return &l->items[i];
    return NULL;
}

const char *env_list_get(const struct env_list *l, const char *name)
{
    const struct string_pair *p = find(l, name);
    return p ? p->value : NULL;
}

/* Takes @value. */
static int put(struct env_list *l, const char *name, char *value, struct error *err)
{
    l->bytes += strlen(name) + strlen(value) + 2;
    if (l->bytes > ENV_TOTAL_MAX) {
        free(value);
        return error_set(err, -E2BIG, "environment is larger than %u bytes", ENV_TOTAL_MAX);
    }
    struct string_pair *old = find(l, name);
    if (old) {
        free(old->value);
        old->value = value;
        return 0;
    }
    l->items = mem_grow(l->items, l->count + 1, sizeof(*l->items));
    l->items[l->count++] = (struct string_pair){.key = str_dup(name), .value = value};
    return 0;
}

/* ---- $(VAR) ---- */
static char *expand(const char *text, const struct env_list *first, const struct env_list *second)
{
    struct strbuf out = STRBUF_INIT;
    for (const char *p = text; *p;) {
        size_t plain = strcspn(p, "$");
        strbuf_add(&out, p, plain);
        p += plain;
        if (!*p)
            break;
        const char *end = p[1] == '(' ? strchr(p, ')') : NULL;
        if (p[1] == '$') {
            strbuf_addc(&out, '$');
            p += 2;
        } else if (end) {
            _cleanup_free_ char *name = str_ndup(p + 2, (size_t)(end - p) - 2);
            const char *value = env_list_get(first, name);
            if (!value && second)
                value = env_list_get(second, name);
            if (value)
                strbuf_adds(&out, value);
            else
                strbuf_add(&out, p, (size_t)(end - p) + 1);
            p = end + 1;
        } else {
            strbuf_addc(&out, *p++);
        }
        if (out.len > ENV_TOTAL_MAX) {
            strbuf_done(&out);
            return NULL;
        }
    }
    return strbuf_take(&out);
}

char *env_expand(const char *text, const struct env_list *env)
{
    return expand(text, env, NULL);
}

/* ---- service variables ---- */

/* "my-svc" → "MY_SVC" */
static char *upper_name(const char *name)
{
    char *s = str_dup(name);
    for (char *p = s; *p; p++)
        *p = (char)(*p == '-' ? '_' : toupper((unsigned char)*p));
    return s;
}

static _printf_(3, 4) void put_service(struct builder *b, const char *name, const char *fmt, ...)
{
    va_list args;
    struct strbuf value = STRBUF_INIT;
    va_start(args, fmt);
    strbuf_addv(&value, fmt, args);
    va_end(args);
    (void)put(&b->services, name, strbuf_take(&value), NULL);
}

static void put_link(struct builder *b, const char *prefix, const struct service *s,
                     const struct service_port *p, bool first)
{
    const char *upper = p->protocol ? p->protocol : "TCP";
    _cleanup_free_ char *proto = str_dup(upper);
    for (char *c = proto; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    bool v6 = strchr(s->cluster_ip, ':');
    _cleanup_free_ char *url =
        str_printf(v6 ? "%s://[%s]:%" PRId64 : "%s://%s:%" PRId64, proto, s->cluster_ip, p->port);
    if (first) {
        _cleanup_free_ char *n = str_printf("%s_PORT", prefix);
        put_service(b, n, "%s", url);
    }
    _cleanup_free_ char *base = str_printf("%s_PORT_%" PRId64 "_%s", prefix, p->port, upper);
    _cleanup_free_ char *n_proto = str_printf("%s_PROTO", base);
    _cleanup_free_ char *n_port = str_printf("%s_PORT", base);
    _cleanup_free_ char *n_addr = str_printf("%s_ADDR", base);
    put_service(b, base, "%s", url);
    put_service(b, n_proto, "%s", proto);
    put_service(b, n_port, "%" PRId64, p->port);
    put_service(b, n_addr, "%s", s->cluster_ip);
}

static void add_service(const struct service *s, void *arg)
{
    struct builder *b = arg;
    bool links = !b->pod->spec.service_links.set || b->pod->spec.service_links.value;
    bool master = str_eq(s->ns, "default") && str_eq(s->name, "kubernetes");
    if (!master && !(links && str_eq(s->ns, b->pod->meta.ns)))
        return;
    if (!s->ports.count)
        return;
    _cleanup_free_ char *prefix = upper_name(s->name);
    _cleanup_free_ char *host = str_printf("%s_SERVICE_HOST", prefix);
    _cleanup_free_ char *port = str_printf("%s_SERVICE_PORT", prefix);
    put_service(b, host, "%s", s->cluster_ip);
    put_service(b, port, "%" PRId64, s->ports.items[0].port);
    for (size_t i = 0; i < s->ports.count; i++) {
        if (!s->ports.items[i].name || !*s->ports.items[i].name)
            continue;
        _cleanup_free_ char *suffix = upper_name(s->ports.items[i].name);
        _cleanup_free_ char *name = str_printf("%s_%s", port, suffix);
        put_service(b, name, "%" PRId64, s->ports.items[i].port);
    }
    for (size_t i = 0; i < s->ports.count; i++)
        put_link(b, prefix, s, &s->ports.items[i], i == 0);
}

/* ---- ConfigMaps and Secrets ---- */

/* 0 with *ret_data NULL when the object is absent and that is allowed. */
static int object_of(const struct builder *b, enum object_kind kind, const char *name,
                     bool optional, const struct bytes_map **ret_data, struct error *err)
{
    const struct bytes_map *data = NULL;
    enum object_state state =
        name && b->ctx->object ? b->ctx->object(b->ctx->arg, kind, name, &data) : OBJECT_ABSENT;
    *ret_data = NULL;
    switch (state) {
    case OBJECT_PRESENT:
        *ret_data = data;
        return 0;
    case OBJECT_ABSENT:
        if (optional)
            return 0;
        return error_set(err, -ENOENT, "%s \"%s\" not found", object_kind_name(kind),
                         name ? name : "");
    case OBJECT_NO_API:
        return error_set(err, -ENOTCONN, "%s \"%s\": there is no API server to read it from",
                         object_kind_name(kind), name ? name : "");
    case OBJECT_PENDING:
        break;
    }
    return error_set(err, -EAGAIN, "failed to sync %s cache: timed out waiting for the condition",
                     object_kind_name(kind));
}

/* *ret NULL when the key is absent and that is allowed. */
static int key_of(const struct builder *b, enum object_kind kind,
                  const struct config_key_selector *s, char **ret, struct error *err)
{
    const struct bytes_map *data;
    int code = object_of(b, kind, s->name, s->optional, &data, err);
    if (code < 0 || !data)
        return code;
    const struct bytes *v = bytes_map_get(data, s->key);
    if (!v && s->optional)
        return 0;
    if (!v)
        return error_set(err, -ENOENT, "couldn't find key %s in %s %s/%s", s->key ? s->key : "",
                         kind == OBJECT_SECRET ? "Secret" : "ConfigMap", b->pod->meta.ns, s->name);
    if (memchr(v->data ? (const char *)v->data : "", 0, v->len))
        return error_set(err, -EINVAL, "key %s of %s %s/%s holds a NUL byte", s->key,
                         kind == OBJECT_SECRET ? "Secret" : "ConfigMap", b->pod->meta.ns, s->name);
    *ret = str_ndup(v->data ? (const char *)v->data : "", v->len);
    return 0;
}

/* A variable's name: printable ASCII without '='. */
static bool name_ok(const char *name)
{
    if (!name || !*name || strlen(name) > 4096)
        return false;
    for (const char *p = name; *p; p++)
        if (*p <= ' ' || *p > '~' || *p == '=')
            return false;
    return true;
}

static int add_from(struct builder *b, const struct env_from_source *f, struct error *err)
{
    enum object_kind kind = f->config_map_ref ? OBJECT_CONFIG_MAP : OBJECT_SECRET;
    const struct env_source_ref *ref = f->config_map_ref ? f->config_map_ref : f->secret_ref;
    const struct bytes_map *data;
    if (!ref)
        return error_set(err, -EINVAL, "envFrom names neither a ConfigMap nor a Secret");
    int code = object_of(b, kind, ref->name, ref->optional, &data, err);
    struct strbuf skipped = STRBUF_INIT;
    for (size_t i = 0; !code && data && i < data->count; i++) {
        const struct bytes *v = &data->items[i].value;
        _cleanup_free_ char *name =
            str_printf("%s%s", f->prefix ? f->prefix : "", data->items[i].key);
        if (name_ok(name) && !memchr(v->data ? (const char *)v->data : "", 0, v->len))
            code = put(&b->own, name, str_ndup(v->data ? (const char *)v->data : "", v->len), err);
        else
            strbuf_addf(&skipped, "%s%s", skipped.len ? ", " : "", name);
    }
    if (skipped.len && b->ctx->skipped)
        b->ctx->skipped(b->ctx->arg, kind, ref->name, strbuf_text(&skipped));
    strbuf_done(&skipped);
    return code;
}

static int add_env(struct builder *b, const struct env_var *e, struct error *err)
{
    char *value = NULL;
    int code = 0;
    const struct env_var_source *from = e->value_from;
    if (!name_ok(e->name))
        return error_set(err, -EINVAL, "env: not a valid name: \"%.60s\"", e->name ? e->name : "");
    if (!from || (e->value && *e->value)) {
        value = expand(e->value ? e->value : "", &b->own, &b->services);
        if (!value)
            return error_set(err, -E2BIG, "env %.60s: too long once expanded", e->name);
    } else if (from->field_ref) {
        value = downward_field(b->pod, &b->ctx->downward, from->field_ref->field_path, err);
    } else if (from->resource_field_ref) {
        value = downward_resource(b->pod, &b->ctx->downward, b->container, from->resource_field_ref,
                                  err);
    } else if (from->config_map_key_ref || from->secret_key_ref) {
        bool is_map = from->config_map_key_ref;
        code = key_of(b, is_map ? OBJECT_CONFIG_MAP : OBJECT_SECRET,
                      is_map ? from->config_map_key_ref : from->secret_key_ref, &value, err);
        if (!code && !value)
            return 0;
    } else {
        return error_set(err, -ENOTSUP, "env %.60s: this valueFrom is not supported", e->name);
    }
    if (code < 0 || !value)
        return code < 0 ? code : -EINVAL;
    return put(&b->own, e->name, value, err);
}

int env_build(const struct pod *pod, const struct container_spec *c, const struct env_context *ctx,
              struct env_list *ret, struct error *err)
{
    struct builder b = {.pod = pod, .container = c, .ctx = ctx};
    int code = 0;
    /* Static pods do not wait for an API server: one of them may be it. */
    if (ctx->services && pod->source == POD_FROM_API && !service_cache_synced(ctx->services))
        return error_set(err, -EAGAIN,
                         "services have not yet been read at least once, cannot construct envvars");
    if (ctx->services)
        service_cache_each(ctx->services, add_service, &b);
    for (size_t i = 0; !code && i < c->env_from.count; i++)
        code = add_from(&b, &c->env_from.items[i], err);
    for (size_t i = 0; !code && i < c->env.count; i++)
        code = add_env(&b, &c->env.items[i], err);
    for (size_t i = 0; !code && i < b.services.count; i++)
        if (!find(&b.own, b.services.items[i].key))
            code = put(&b.own, b.services.items[i].key, str_dup(b.services.items[i].value), err);
    env_list_done(&b.services);
    if (code < 0) {
        env_list_done(&b.own);
        return code;
    }
    *ret = b.own;
    return 0;
}
