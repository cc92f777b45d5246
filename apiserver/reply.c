/* Answers in their shapes; see reply.h. */
#include "apiserver/reply.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/times.h"
#include "kube/meta.h"
#include "kube/status.h"
#include "kube/table.h"

#define JSON_TYPE "application/json"
/* Smaller objects are copied into a list's reply: a reference costs more. */
#define SHARE_MIN 1024

static void add_warnings(struct request *r)
{
    size_t i;
    json_t *text;
    json_array_foreach(r->warnings, i, text) {
        _cleanup_strbuf_ struct strbuf quoted = STRBUF_INIT;
        _cleanup_strbuf_ struct strbuf value = STRBUF_INIT;
        for (const char *c = json_string_value(text); c && *c; c++) {
            if (*c == '"' || *c == '\\')
                strbuf_addc(&quoted, '\\');
            strbuf_addc(&quoted, (char)((unsigned char)*c < ' ' ? ' ' : *c));
        }
        strbuf_addf(&value, "299 - \"%s\"", strbuf_text(&quoted));
        http_exchange_add_header(r->x, "Warning", strbuf_text(&value));
    }
}

static void finish(struct request *r, int code, const char *text, size_t len)
{
    add_warnings(r);
    http_exchange_reply(r->x, code, JSON_TYPE, text, len);
    request_free(r);
}

void reply_json(struct request *r, int code, json_t *tree)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (r->accept.pretty)
        json_encode_pretty(tree, 2, &text);
    else
        json_encode(tree, &text);
    strbuf_addc(&text, '\n');
    json_decref(tree);
    finish(r, code, text.data, text.len);
}

void reply_status(struct request *r, json_t *status)
{
    int64_t retry = json_path_int(status, "details.retryAfterSeconds", 0);
    if (retry > 0) {
        char text[24];
        (void)snprintf(text, sizeof(text), "%" PRId64, retry);
        http_exchange_add_header(r->x, "Retry-After", text);
    }
    bool success = str_eq(json_path_string(status, "status"), "Success");
    reply_json(r, success ? 200 : status_code(status), status);
}

void reply_not_found(struct request *r)
{
    reply_status(r, status_not_found(&r->route->about, r->info.name));
}

void reply_store_error(struct request *r, int code, const struct error *err)
{
    bool reading = r->verb == VERB_GET || r->verb == VERB_LIST || r->verb == VERB_WATCH;
    if (code == -ECONNREFUSED && reading) {
        http_exchange_add_header(r->x, "Retry-After", "1");
        reply_status(r, status_unavailable("the store cannot be reached: %s", error_text(err)));
    } else if (code == -ETIMEDOUT || code == -ECONNREFUSED) {
        reply_status(r, status_timeout("the store did not answer in time: %s", error_text(err)));
    } else if (code == -EMSGSIZE) {
        reply_status(r, status_too_large("the object is too large: at most %u bytes are stored",
                                         STORE_VALUE_MAX));
    } else {
        reply_status(r, status_internal_error("the store: %s", error_text(err)));
    }
}

static json_t *table_of(const struct request *r, bool columns, const json_t *list_meta)
{
    return table_new(r->route->res, r->accept.version, columns, list_meta);
}

static enum table_include include_of(const struct request *r)
{
    enum table_include include = TABLE_INCLUDE_METADATA;
    (void)table_include_parse(http_exchange_query_get(r->x, "includeObject"), &include);
    return include;
}

static json_t *metadata_only(const struct request *r, const json_t *tree)
{
    json_t *out = json_object();
    _cleanup_free_ char *api_version = str_printf("meta.k8s.io/%s", r->accept.version);
    (void)json_object_set_new(out, "kind", json_string("PartialObjectMetadata"));
    (void)json_object_set_new(out, "apiVersion", json_string(api_version));
    (void)json_object_set(out, "metadata", json_object_get(tree, "metadata"));
    return out;
}

json_t *shape_tree(const struct request *r, const json_t *tree, bool columns)
{
    switch (r->accept.shape) {
    case SHAPE_TABLE: {
        _cleanup_json_ json_t *meta =
            json_pack("{s:s}", "resourceVersion", meta_resource_version(tree));
        json_t *table = table_of(r, columns, meta);
        table_add(table, r->route->res, tree, include_of(r), time_now());
        return table;
    }
    case SHAPE_METADATA:
        return metadata_only(r, tree);
    case SHAPE_OBJECT:
        break;
    }
    return json_incref((json_t *)(uintptr_t)tree);
}

void reply_tree(struct request *r, int code, const json_t *tree)
{
    reply_json(r, code, shape_tree(r, tree, true));
}

void reply_object(struct request *r, int code, const struct encoded *e)
{
    if (r->accept.shape == SHAPE_OBJECT && !r->accept.pretty) {
        finish(r, code, e->data, e->len);
        return;
    }
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *tree = encoded_tree(e, &err);
    if (!tree)
        reply_status(r, status_internal_error("%s", error_text(&err)));
    else
        reply_tree(r, code, tree);
}

void reply_stored(struct request *r, int code, const char *key, const void *value, size_t len,
                  int64_t revision)
{
    struct error err = ERROR_INIT;
    _cleanup_(encoded_unrefp) struct encoded *e = encoded_new(key, value, len, revision, &err);
    if (!e)
        reply_status(r, status_internal_error("%s", error_text(&err)));
    else
        reply_object(r, code, e);
}

/* ---- lists ---- */

static json_t *list_meta(int64_t revision, const char *continue_token, int64_t remaining)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, revision);
    json_t *meta = json_object();
    (void)json_object_set_new(meta, "resourceVersion", json_string(text));
    if (continue_token) {
        (void)json_object_set_new(meta, "continue", json_string(continue_token));
        if (remaining >= 0)
            (void)json_object_set_new(meta, "remainingItemCount", json_integer(remaining));
    }
    return meta;
}

static void reply_shaped_list(struct request *r, const struct encoded_list *list, json_t *meta)
{
    bool table = r->accept.shape == SHAPE_TABLE;
    _cleanup_json_ json_t *out = NULL;
    json_t *items = json_array();
    if (table) {
        out = table_of(r, true, meta);
        json_decref(items);
    } else {
        _cleanup_free_ char *api_version = str_printf("meta.k8s.io/%s", r->accept.version);
        out = json_object();
        (void)json_object_set_new(out, "kind", json_string("PartialObjectMetadataList"));
        (void)json_object_set_new(out, "apiVersion", json_string(api_version));
        (void)json_object_set(out, "metadata", meta);
        (void)json_object_set_new(out, "items", items);
    }
    enum table_include include = include_of(r);
    for (size_t i = 0; i < list->count; i++) {
        struct error err = ERROR_INIT;
        _cleanup_json_ json_t *tree = encoded_tree(list->items[i], &err);
        if (!tree) {
            reply_status(r, status_internal_error("%s", error_text(&err)));
            return;
        }
        if (table)
            table_add(out, r->route->res, tree, include, time_now());
        else
            (void)json_array_append_new(items, metadata_only(r, tree));
    }
    reply_json(r, 200, TAKE_PTR(out));
}

static void release_encoded(const void *data, size_t len, void *arg)
{
    (void)data;
    (void)len;
    (void)encoded_unref(arg);
}

void reply_list(struct request *r, const struct encoded_list *list, int64_t revision,
                const char *continue_token, int64_t remaining)
{
    _cleanup_json_ json_t *meta = list_meta(revision, continue_token, remaining);
    if (r->accept.shape != SHAPE_OBJECT) {
        reply_shaped_list(r, list, meta);
        return;
    }
    char api_version[SCHEMA_API_VERSION_MAX];
    _cleanup_strbuf_ struct strbuf head = STRBUF_INIT;
    strbuf_addf(&head,
                "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":", r->route->res->list_kind,
                schema_api_version(r->route->res, api_version));
    json_encode(meta, &head);
    strbuf_adds(&head, ",\"items\":[");
    static const char tail[] = "]}\n";
    size_t len = head.len + strlen(tail) + (list->count ? list->count - 1 : 0);
    for (size_t i = 0; i < list->count; i++)
        len += list->items[i]->len;
    add_warnings(r);
    http_exchange_begin(r->x, 200, JSON_TYPE, (int64_t)len);
    /* Small pieces are gathered: one write is one TLS record at least. */
    struct strbuf *gather = &head;
    for (size_t i = 0; i < list->count; i++) {
        struct encoded *e = list->items[i];
        if (i)
            strbuf_addc(gather, ',');
        if (e->len < SHARE_MIN) {
            strbuf_add(gather, e->data, e->len);
        } else {
            http_exchange_write(r->x, gather->data, gather->len);
            strbuf_truncate(gather, 0);
            http_exchange_write_shared(r->x, e->data, e->len, release_encoded, encoded_ref(e));
        }
    }
    strbuf_adds(gather, tail);
    http_exchange_write(r->x, gather->data, gather->len);
    http_exchange_end(r->x);
    request_free(r);
}
