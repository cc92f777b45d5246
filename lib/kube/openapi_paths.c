/* The paths of OpenAPI documents: for each resource its collection, its objects and their
 * subresources, with the parameters that clients look for. */
#include <ctype.h>
#include <string.h>

#include "base/json.h"
#include "kube/openapi_internal.h"

struct op {
    const char *method;       /* "get" */
    const char *action;       /* x-kubernetes-action: "list" */
    const char *verb;         /* of the operation's name: "list" */
    const char *body;         /* definition of the body, NULL for none */
    const char *result;       /* definition of the answer */
    const char *const *query; /* NULL-terminated names of parameters */
};

static const char *const WRITE_QUERY[] = {"pretty", "dryRun", "fieldManager", "fieldValidation",
                                          NULL};
static const char *const PATCH_QUERY[] = {"pretty",          "dryRun", "fieldManager",
                                          "fieldValidation", "force",  NULL};
static const char *const LIST_QUERY[] = {"pretty",
                                         "allowWatchBookmarks",
                                         "continue",
                                         "fieldSelector",
                                         "labelSelector",
                                         "limit",
                                         "resourceVersion",
                                         "resourceVersionMatch",
                                         "sendInitialEvents",
                                         "timeoutSeconds",
                                         "watch",
                                         NULL};
static const char *const DELETE_QUERY[] = {
    "pretty", "dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy", NULL};
static const char *const PRETTY[] = {"pretty", NULL};
static const char PATCH_TYPE[] = META_TYPE("Patch");

static void set_text(json_t *o, const char *key, const char *value)
{
    (void)json_object_set_new(o, key, json_text(value));
}

/* ---- parameters ---- */

static const char *parameter_type(const char *name)
{
    static const char *const booleans[] = {"allowWatchBookmarks", "sendInitialEvents", "watch",
                                           "force", "orphanDependents"};
    static const char *const integers[] = {"limit", "timeoutSeconds", "gracePeriodSeconds"};
    for (size_t i = 0; i < ARRAY_SIZE(booleans); i++)
        if (str_eq(booleans[i], name))
            return "boolean";
    for (size_t i = 0; i < ARRAY_SIZE(integers); i++)
        if (str_eq(integers[i], name))
            return "integer";
    return "string";
}

static json_t *parameter(const struct openapi_form *form, const char *name, const char *in)
{
    json_t *p = json_object(), *type = json_object();
    set_text(p, "name", name);
    set_text(p, "in", in);
    if (str_eq(in, "path"))
        (void)json_object_set_new(p, "required", json_true());
    set_text(type, "type", parameter_type(name));
    if (form->v3)
        (void)json_object_set(p, "schema", type);
    else
        (void)json_object_update(p, type);
    json_decref(type);
    return p;
}

static json_t *path_parameters(const struct openapi_form *form, const char *path)
{
    static const char *const names[] = {"name", "namespace", "path"};
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *part = str_printf("{%s}", names[i]);
        if (strstr(path, part))
            (void)json_array_append_new(list, parameter(form, names[i], "path"));
    }
    return list;
}

/* ---- operations ---- */

static json_t *content(const struct openapi_form *form, const char *type, const char *media)
{
    json_t *m = json_object(), *c = json_object();
    (void)json_object_set_new(m, "schema", openapi_ref(form, type));
    (void)json_object_set_new(c, media, m);
    return c;
}

static const char *const PATCHES[] = {"application/json-patch+json", "application/merge-patch+json",
                                      "application/strategic-merge-patch+json"};

static void add_body(const struct openapi_form *form, const struct op *op, json_t *out,
                     json_t *parameters)
{
    bool patch = str_eq(op->method, "patch");
    if (form->v3) {
        json_t *body = json_object(), *media = json_object();
        if (patch) {
            for (size_t i = 0; i < ARRAY_SIZE(PATCHES); i++) {
                _cleanup_json_ json_t *one = content(form, op->body, PATCHES[i]);
                (void)json_object_update(media, one);
            }
        } else {
            _cleanup_json_ json_t *one = content(form, op->body, "*/*");
            (void)json_object_update(media, one);
        }
        (void)json_object_set_new(body, "content", media);
        if (!str_eq(op->method, "delete"))
            (void)json_object_set_new(body, "required", json_true());
        (void)json_object_set_new(out, "requestBody", body);
        return;
    }
    json_t *consumes = json_array(), *body = json_object();
    for (size_t i = 0; patch && i < ARRAY_SIZE(PATCHES); i++)
        (void)json_array_append_new(consumes, json_string(PATCHES[i]));
    if (!patch)
        (void)json_array_append_new(consumes, json_string("*/*"));
    (void)json_object_set_new(out, "consumes", consumes);
    set_text(body, "name", "body");
    set_text(body, "in", "body");
    if (!str_eq(op->method, "delete"))
        (void)json_object_set_new(body, "required", json_true());
    (void)json_object_set_new(body, "schema", openapi_ref(form, op->body));
    (void)json_array_append_new(parameters, body);
}

static json_t *responses(const struct openapi_form *form, const struct op *op)
{
    json_t *all = json_object(), *ok = json_object(), *denied = json_object();
    set_text(ok, "description", "OK");
    if (op->result && form->v3)
        (void)json_object_set_new(ok, "content", content(form, op->result, "application/json"));
    else if (op->result)
        (void)json_object_set_new(ok, "schema", openapi_ref(form, op->result));
    set_text(denied, "description", "Unauthorized");
    (void)json_object_set_new(all, str_eq(op->method, "post") ? "201" : "200", ok);
    (void)json_object_set_new(all, "401", denied);
    return all;
}

/* "list" + "CoreV1" + "NamespacedPod": what generated clients call it. */
static char *operation_name(const struct schema_resource *res, const char *verb, const char *path,
                            const char *sub)
{
    struct strbuf name = STRBUF_INIT;
    const char *group = *res->group ? res->group : "core";
    strbuf_adds(&name, verb);
    strbuf_addc(&name, (char)toupper((unsigned char)*group));
    strbuf_add(&name, group + 1, strcspn(group, ".") - 1);
    strbuf_addc(&name, (char)toupper((unsigned char)*res->version));
    strbuf_adds(&name, res->version + 1);
    if (strstr(path, "{namespace}"))
        strbuf_adds(&name, "Namespaced");
    strbuf_adds(&name, res->kind);
    if (*sub) {
        strbuf_addc(&name, (char)toupper((unsigned char)*sub));
        strbuf_adds(&name, sub + 1);
    }
    if (res->namespaced && !strstr(path, "{namespace}"))
        strbuf_adds(&name, "ForAllNamespaces");
    return strbuf_take(&name);
}

struct target {
    const struct openapi_form *form;
    const struct schema_resource *res;
    const char *path;
    const char *sub; /* "" for the object */
    json_t *gvk;     /* owned by the caller; NULL when none is known */
    json_t *item;    /* the path's object */
};

static void add_operation(const struct target *t, const struct op *op)
{
    json_t *out = json_object(), *parameters = json_array();
    _cleanup_free_ char *name = operation_name(t->res, op->verb, t->path, t->sub);
    json_t *tags = json_array();
    _cleanup_free_ char *tag = operation_name(t->res, "", "", "");
    tag[strlen(tag) - strlen(t->res->kind) -
        (t->res->namespaced ? strlen("ForAllNamespaces") : 0)] = '\0';
    (void)json_array_append_new(tags, json_text(tag));
    (void)json_object_set_new(out, "tags", tags);
    set_text(out, "operationId", name);
    for (size_t i = 0; op->query && op->query[i]; i++)
        (void)json_array_append_new(parameters, parameter(t->form, op->query[i], "query"));
    if (op->body)
        add_body(t->form, op, out, parameters);
    (void)json_object_set_new(out, "parameters", parameters);
    (void)json_object_set_new(out, "responses", responses(t->form, op));
    set_text(out, "x-kubernetes-action", op->action);
    if (t->gvk)
        (void)json_object_set(out, "x-kubernetes-group-version-kind", t->gvk);
    (void)json_object_set_new(t->item, op->method, out);
}

static void add_path(struct target *t, json_t *paths, const struct op *ops, size_t n)
{
    t->item = json_object();
    for (size_t i = 0; i < n; i++)
        add_operation(t, &ops[i]);
    json_t *parameters = path_parameters(t->form, t->path);
    if (json_array_size(parameters))
        (void)json_object_set(t->item, "parameters", parameters);
    json_decref(parameters);
    (void)json_object_set_new(paths, t->path, t->item);
}

/* ---- resources ---- */

static void add_collection(struct target *t, json_t *paths, const char *list_type)
{
    const char *type = t->res->type->name;
    const struct op ops[] = {
        {"get", "list", "list", NULL, list_type, LIST_QUERY},
        {"post", "post", "create", type, type, WRITE_QUERY},
        {"delete", "deletecollection", "deletecollection", META_TYPE("DeleteOptions"),
         META_TYPE("Status"), LIST_QUERY},
    };
    if (!t->res->storage)
        add_path(t, paths, &ops[1], 1);
    else if (t->res->namespaced && !strstr(t->path, "{namespace}"))
        add_path(t, paths, ops, 1);
    else
        add_path(t, paths, ops, ARRAY_SIZE(ops));
}

static void add_object(struct target *t, json_t *paths)
{
    const char *type = t->res->type->name;
    const struct op ops[] = {
        {"get", "get", "read", NULL, type, PRETTY},
        {"put", "put", "replace", type, type, WRITE_QUERY},
        {"patch", "patch", "patch", PATCH_TYPE, type, PATCH_QUERY},
        {"delete", "delete", "delete", META_TYPE("DeleteOptions"), META_TYPE("Status"),
         DELETE_QUERY},
    };
    add_path(t, paths, ops, ARRAY_SIZE(ops));
}

const struct openapi_sub OPENAPI_SUBS[] = {
    {"scale", "autoscaling", "v1", "Scale", "io.k8s.api.autoscaling.v1.Scale", false},
    {"binding", "", "v1", "Binding", "io.k8s.api.core.v1.Binding", true},
    {"eviction", "policy", "v1", "Eviction", "io.k8s.api.policy.v1.Eviction", true},
    {"token", "authentication.k8s.io", "v1", "TokenRequest",
     "io.k8s.api.authentication.v1.TokenRequest", true},
    {NULL, NULL, NULL, NULL, NULL, false},
};

static const struct openapi_sub *find_sub(const char *name)
{
    const struct openapi_sub *sub = OPENAPI_SUBS;
    while (sub->name && !str_eq(sub->name, name))
        sub++;
    return sub->name ? sub : NULL;
}

static void add_subresource(struct target *t, json_t *paths)
{
    const char *own = t->res->type->name;
    const struct openapi_sub *sub = find_sub(t->sub);
    const char *type = sub ? sub->type : own;
    const struct op object_ops[] = {
        {"get", "get", "read", NULL, type, PRETTY},
        {"put", "put", "replace", type, type, WRITE_QUERY},
        {"patch", "patch", "patch", PATCH_TYPE, type, PATCH_QUERY},
    };
    const struct op connect_ops[] = {
        {"get", "connect", "connectGet", NULL, NULL, NULL},
        {"post", "connect", "connectPost", NULL, NULL, NULL},
    };
    const struct op log_op = {"get", "get", "read", NULL, NULL, PRETTY};
    const struct op post_op = {"post", "post", "create", type, type, WRITE_QUERY};
    const struct op put_op = {"put", "put", "replace", own, own, WRITE_QUERY};
    static const char *const streams[] = {"exec", "attach", "portforward", "proxy"};
    for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
        if (str_eq(t->sub, streams[i])) {
            t->gvk = NULL;
            add_path(t, paths, connect_ops, ARRAY_SIZE(connect_ops));
            return;
        }
    _cleanup_json_ json_t *gvk = sub ? openapi_gvk(sub->group, sub->version, sub->kind) : NULL;
    if (gvk)
        t->gvk = gvk;
    if (str_eq(t->sub, "log"))
        add_path(t, paths, &log_op, 1);
    else if (str_eq(t->sub, "finalize"))
        add_path(t, paths, &put_op, 1);
    else if (sub && sub->posted)
        add_path(t, paths, &post_op, 1);
    else
        add_path(t, paths, object_ops, ARRAY_SIZE(object_ops));
}

void openapi_add_paths(const struct openapi_form *form, const struct schema_resource *res,
                       json_t *paths)
{
    if (!schema_is_served(res))
        return;
    _cleanup_json_ json_t *gvk = openapi_gvk(res->group, res->version, res->kind);
    _cleanup_free_ char *base = *res->group ? str_printf("/apis/%s/%s", res->group, res->version)
                                            : str_printf("/api/%s", res->version);
    _cleanup_free_ char *all = str_printf("%s/%s", base, res->plural);
    _cleanup_free_ char *collection =
        res->namespaced ? str_printf("%s/namespaces/{namespace}/%s", base, res->plural)
                        : str_dup(all);
    _cleanup_free_ char *object = str_printf("%s/{name}", collection);
    const char *dot = strrchr(res->type->name, '.');
    _cleanup_free_ char *list_type =
        str_printf("%.*s.%sList", (int)(dot - res->type->name), res->type->name, res->kind);
    struct target t = {.form = form, .res = res, .sub = "", .gvk = gvk};
    if (res->namespaced && res->storage) {
        t.path = all;
        add_collection(&t, paths, list_type);
    }
    t.path = collection;
    add_collection(&t, paths, list_type);
    if (!res->storage)
        return;
    t.path = object;
    add_object(&t, paths);
    for (size_t i = 0; res->subresources[i]; i++) {
        _cleanup_free_ char *path = str_printf("%s/%s", object, res->subresources[i]);
        t.path = path;
        t.sub = res->subresources[i];
        t.gvk = gvk;
        add_subresource(&t, paths);
    }
}
